package snapshot

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/mfa"
)

const (
	one   mfa.PoolID = "us-east-1_EXAMPLE12"
	other mfa.PoolID = "us-east-1_EXAMPLE34"
)

// town is pools in memory. Its lists come in another order each time, as Cognito's may.
type town struct {
	people map[mfa.PoolID][]citizen
	shift  int

	mu     sync.Mutex
	looked []mfa.Sub
	look   func(sub mfa.Sub) error // nil: every look succeeds
}

type citizen struct {
	cognito.Listed
	roles   []mfa.Role
	factors cognito.Factors
	gone    bool // by the time of the look
}

// build makes two pools of that many users each.
func build(n int) *town {
	t := &town{people: map[mfa.PoolID][]citizen{}}
	for _, pool := range []mfa.PoolID{one, other} {
		for i := range n {
			c := citizen{Listed: cognito.Listed{
				Sub: mfa.Sub(fmt.Sprintf("%s/%03d", pool, n-i)), Username: fmt.Sprintf("user-%03d", i), Enabled: i%7 != 0,
				CreatedAt: time.Date(2026, 1, 1, 0, 0, i, 5e8, time.UTC),
			}}
			if c.roles = []mfa.Role{"viewer"}; i%3 == 0 {
				c.roles = []mfa.Role{"cloud_admin", "viewer"}
			}
			switch i % 4 {
			case 0:
				c.factors = cognito.Factors{On: []mfa.Factor{mfa.TOTP}, Registered: []mfa.Factor{mfa.TOTP, mfa.SMS}, Preferred: mfa.TOTP}
			case 1:
				c.factors = cognito.Factors{Registered: []mfa.Factor{mfa.TOTP}}
			case 2:
				c.Federated = true
			}
			t.people[pool] = append(t.people[pool], c)
		}
	}
	return t
}

func (w *town) Pool(_ context.Context, id mfa.PoolID, _ []mfa.Role, _ time.Time) (mfa.Pool, error) {
	if w.people[id] == nil {
		return mfa.Pool{}, errors.New("no such pool")
	}
	return mfa.Pool{Mode: mfa.ModeOptional, Factors: []mfa.Factor{mfa.TOTP}, PreToken: id == one}, nil
}

func (w *town) ListRoles(context.Context, mfa.PoolID) ([]mfa.Role, error) {
	return []mfa.Role{"cloud_admin", "empty", "viewer"}, nil
}

func (w *town) List(ctx context.Context, pool mfa.PoolID) iter.Seq2[[]cognito.Listed, error] {
	return w.ListMembers(ctx, pool, "")
}

func (w *town) ListMembers(_ context.Context, pool mfa.PoolID, role mfa.Role) iter.Seq2[[]cognito.Listed, error] {
	return func(yield func([]cognito.Listed, error) bool) {
		w.shift += 11
		var page []cognito.Listed
		for i := range w.people[pool] {
			c := w.people[pool][(i+w.shift)%len(w.people[pool])]
			if role == "" || slices.Contains(c.roles, role) {
				page = append(page, c.Listed)
			}
			if len(page) == 60 && !yield(page, nil) {
				return
			} else if len(page) == 60 {
				page = page[58:] // two that came again with the next page
			}
		}
		yield(page, nil)
	}
}

func (w *town) Factors(ctx context.Context, pool mfa.PoolID, l cognito.Listed) (cognito.Factors, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked = append(w.looked, l.Sub)
	if w.look != nil {
		if err := errors.Join(w.look(l.Sub), ctx.Err()); err != nil {
			return cognito.Factors{}, false, err
		}
	}
	c := w.people[pool][slices.IndexFunc(w.people[pool], func(c citizen) bool { return c.Sub == l.Sub })]
	return c.factors, !c.gone, nil
}

func (w *town) taker(roles ...mfa.Role) *Taker {
	return &Taker{Users: w, Pools: []mfa.PoolID{one, other}, Roles: roles, Now: func() time.Time { return time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC) }}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func taken(t *testing.T, w *town, roles ...mfa.Role) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "account.json")
	if err := w.taker(roles...).Take(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want a file for its owner only", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); err != nil || len(left) != 1 {
		t.Errorf("beside the file there is %v, %v", left, err)
	}
	return read(t, path)
}

func TestASnapshotIsAnAccountFileWithEverybodyOnce(t *testing.T) {
	w := build(150)
	got, err := account.ParseFile([]byte(taken(t, w)))
	if err != nil {
		t.Fatal(err)
	}
	var want account.File
	for _, id := range []mfa.PoolID{one, other} {
		want.Pools = append(want.Pools, account.PoolFile{ID: id, Mode: mfa.ModeOptional, Factors: []mfa.Factor{mfa.TOTP}, PreToken: new(id == one)})
		for _, c := range w.people[id] {
			want.Users = append(want.Users, account.UserFile{
				Pool: id, Sub: c.Sub, Username: c.Username, CreatedAt: c.CreatedAt.Truncate(time.Second), Enabled: new(c.Enabled), Federated: c.Federated,
				Roles: listed(c.roles), Factors: listed(c.factors.On), Registered: listed(c.factors.Registered), Preferred: c.factors.Preferred,
			})
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTheSamePoolsGiveTheSameFile(t *testing.T) {
	w := build(100)
	if diff := cmp.Diff(taken(t, w), taken(t, w)); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyMembersAreTakenWhereRolesAreGiven(t *testing.T) {
	w := build(90)
	got, err := account.ParseFile([]byte(taken(t, w, "cloud_admin", "empty")))
	if err != nil || len(got.Users) != 60 {
		t.Fatalf("%d users, %v", len(got.Users), err)
	}
	for _, u := range got.Users {
		if !slices.Equal(u.Roles, []mfa.Role{"cloud_admin"}) {
			t.Errorf("%+v", u)
		}
	}
	if len(w.looked) != 60 {
		t.Errorf("%d users were looked at", len(w.looked))
	}
}

func TestARoleThatNoPoolHasIsAnError(t *testing.T) {
	w := build(5)
	err := w.taker("cloud_admin", "cloud_admins").Take(t.Context(), filepath.Join(t.TempDir(), "account.json"))
	if err == nil || !strings.Contains(err.Error(), "none of the pools has a group cloud_admins") || len(w.looked) > 0 {
		t.Errorf("%v after %d looks", err, len(w.looked))
	}
}

func TestAnInterruptedSnapshotGoesOnWhereItWas(t *testing.T) {
	const each = 80
	want := taken(t, build(each))
	w := build(each)
	path := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(path, []byte("an older one"), 0o600); err != nil {
		t.Fatal(err)
	}
	runs := 0
	for ; ; runs++ {
		ctx, stop := context.WithCancel(t.Context())
		before := len(w.looked)
		w.look = func(mfa.Sub) error {
			if len(w.looked)-before == 25 {
				stop()
			}
			return nil
		}
		err := w.taker().Take(ctx, path)
		stop()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) || read(t, path) != "an older one" {
			t.Fatalf("run %d: %v; the file is %.40s", runs, err, read(t, path))
		}
		notes := read(t, Partial(path))
		if strings.Contains(notes, "user-") {
			t.Fatal("usernames are in the notes")
		}
		if runs == 1 { // the machine stopped in the middle of a line
			if err := os.WriteFile(Partial(path), []byte(notes[:len(notes)-10]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(want, read(t, path)); diff != "" {
		t.Errorf("interrupted %d times (-in one go +interrupted):\n%s", runs, diff)
	}
	if _, err := os.Stat(Partial(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the notes are still there: %v", err)
	}
	again := map[mfa.Sub]int{}
	for _, sub := range w.looked {
		again[sub]++
	}
	twice := len(w.looked) - len(again)
	if runs < 3 || len(again) != 2*each || twice > runs*lookers+1 {
		t.Errorf("after %d interruptions %d users were looked at, %d of them again", runs, len(again), twice)
	}
}

func TestWhoIsDeletedMeanwhileIsLeftOut(t *testing.T) {
	w := build(10)
	w.people[one][4].gone = true
	var last Progress
	taker := w.taker()
	taker.Tell = func(p Progress) { last = p }
	path := filepath.Join(t.TempDir(), "account.json")
	if err := taker.Take(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if file := read(t, path); strings.Count(file, `"sub":`) != 19 || strings.Contains(file, string(w.people[one][4].Sub)) {
		t.Errorf("%s", file)
	}
	if last.Listed != 20 || last.Looked != 20 || last.Gone != 1 || last.Kept != 0 {
		t.Errorf("%+v", last)
	}
}

func TestAnErrorNamesPoolAndSubAndKeepsWhatIsKnown(t *testing.T) {
	w := build(50)
	bad := w.people[other][44].Sub
	broken := errors.New("throttled")
	w.look = func(sub mfa.Sub) error { return map[mfa.Sub]error{bad: broken}[sub] }
	path := filepath.Join(t.TempDir(), "account.json")
	err := w.taker().Take(t.Context(), path)
	if want := fmt.Sprintf("pool %s: user %s: throttled", other, bad); !errors.Is(err, broken) || err.Error() != want {
		t.Errorf("%v; want %s", err, want)
	}
	first := len(w.looked)
	w.look = nil
	if err := w.taker().Take(t.Context(), path); err != nil || len(w.looked)-first > 100-first+lookers {
		t.Errorf("%v; %d looks, then %d", err, first, len(w.looked)-first)
	}
}

func TestNotesOfOtherPoolsOrRolesAreRefusedAndStay(t *testing.T) {
	const user = `{"pool_id":"x","sub":"s-1","factors":["totp"],"registered":["totp"],"preferred":"totp"}` + "\n"
	for name, c := range map[string]struct {
		notes   string
		refused bool
	}{
		"other pools":         {`{"schema":"relatch.snapshot/1","began":"2026-11-23T08:00:00Z","pools":["x"],"roles":[]}` + "\n" + user, true},
		"other roles":         {fmt.Sprintf(`{"schema":"relatch.snapshot/1","began":"2026-11-23T08:00:00Z","pools":[%q,%q],"roles":["viewer"]}`, one, other) + "\n" + user, true},
		"no notes":            {"something else\n", true},
		"other factors":       {fmt.Sprintf(`{"schema":"relatch.snapshot/1","began":"2026-11-23T08:00:00Z","pools":[%q,%q],"roles":[],"registered":true}`, one, other) + "\n" + user, true},
		"other pools, nobody": {`{"schema":"relatch.snapshot/1","began":"2026-11-23T08:00:00Z","pools":["x"],"roles":[]}` + "\n", false},
		"a torn head":         {`{"schema":"relatch.sna`, false},
		"an empty file":       {"", false},
	} {
		path := filepath.Join(t.TempDir(), "account.json")
		if err := os.WriteFile(Partial(path), []byte(c.notes), 0o600); err != nil {
			t.Fatal(err)
		}
		err := build(5).taker().Take(t.Context(), path)
		if c.refused && (err == nil || !strings.Contains(err.Error(), Partial(path)) || read(t, Partial(path)) != c.notes) || !c.refused && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFileThatCannotBeWrittenLeavesTheNotes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "account.json")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	err := build(5).taker().Take(t.Context(), path)
	left, globErr := filepath.Glob(path + "*")
	if want := []string{path, Partial(path)}; err == nil || globErr != nil || !slices.Equal(left, want) {
		t.Errorf("%v; there is %v, want %v", err, left, want)
	}
}
