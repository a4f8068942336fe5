package workertest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// Account is a user pool service with an account behind it.
type Account struct {
	worker.UserPool
	worker.UserWriter
}

// World is what the suite of an account starts from.
type World struct {
	// Pools are optional, with TOTP and SMS and the pre-token trigger, and have
	// the groups.
	Pools  []mfa.PoolID
	Groups []mfa.Role
	Users  []Resident
}

// Resident is a user and what is registered of his, which is what can be
// switched on.
type Resident struct {
	mfa.User
	Pool       mfa.PoolID
	Registered []mfa.Factor
}

var world = World{
	Pools:  []mfa.PoolID{Pool, OtherPool},
	Groups: []mfa.Role{"itsm_manager", "cloud_admin"},
	Users: []Resident{
		resident("maria", []mfa.Role{"itsm_manager"}, []mfa.Factor{mfa.TOTP, mfa.SMS}, []mfa.Factor{mfa.TOTP, mfa.SMS}),
		resident("ben", []mfa.Role{"itsm_manager", "cloud_admin"}, nil, []mfa.Factor{mfa.TOTP, mfa.SMS}),
		resident("chris", nil, nil, []mfa.Factor{mfa.SMS}),
		resident("dora", nil, nil, nil),
	},
}

func resident(sub mfa.Sub, roles []mfa.Role, on, registered []mfa.Factor) Resident {
	u := mfa.User{Sub: sub, Found: true, Username: string(sub) + "@example.com", Enabled: true, CreatedAt: noon.AddDate(-1, 0, 0), Roles: roles, Factors: on}
	if len(on) > 0 {
		u.Preferred = on[0]
	}
	return Resident{User: u, Pool: Pool, Registered: registered}
}

// UserPool runs the suites of worker.UserPool and worker.UserWriter. arrange
// makes an account with the world in it.
func UserPool(t *testing.T, arrange func(*testing.T, World) Account) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Account){
		"a user is shown as he is":                              userShown,
		"a user who does not exist is not found, and no error":  userMissing,
		"a pool shows its enforcement and the groups asked for": poolShown,
		"the members of a group are complete and stable":        membersComplete,
		"what is switched on shows":                             enableShows,
		"switching on twice is switching on once":               enableTwice,
		"what Cognito refuses changes nothing":                  enableRefused,
		"sessions end, also of a user who is gone":              signOut,
	} {
		t.Run(name, func(t *testing.T) { test(t, arrange(t, world)) })
	}
}

func user(t *testing.T, a Account, pool mfa.PoolID, sub mfa.Sub) mfa.User {
	t.Helper()
	u, err := a.User(t.Context(), pool, sub)
	if err != nil {
		t.Fatalf("user %s: %v", sub, err)
	}
	return u
}

func userShown(t *testing.T, a Account) {
	for _, want := range world.Users {
		if diff := cmp.Diff(want.User, user(t, a, want.Pool, want.Sub), sameWhenEmpty); diff != "" {
			t.Errorf("%s (-arranged +shown):\n%s", want.Sub, diff)
		}
	}
}

// sameWhenEmpty: no roles are no roles, nil or not.
var sameWhenEmpty = cmp.FilterPath(func(cmp.Path) bool { return true }, cmp.Options{
	emptyEqual[mfa.Role](), emptyEqual[mfa.Factor](),
})

func emptyEqual[T any]() cmp.Option {
	return cmp.FilterValues(func(a, b []T) bool { return len(a) == 0 && len(b) == 0 }, cmp.Comparer(func(_, _ []T) bool { return true }))
}

func userMissing(t *testing.T, a Account) {
	for _, at := range []mfa.PoolID{Pool, OtherPool} {
		if u := user(t, a, at, "nobody"); u.Found || u.Enabled || len(u.Factors) > 0 {
			t.Errorf("nobody in %s is %+v", at, u)
		}
	}
	if u := user(t, a, OtherPool, "maria"); u.Found {
		t.Error("a user of one pool is found in another")
	}
}

func poolShown(t *testing.T, a Account) {
	got, err := a.Pool(t.Context(), Pool, []mfa.Role{"cloud_admin", "super_admin", "itsm_manager"}, time.Time{})
	want := mfa.Pool{Mode: mfa.ModeOptional, Factors: []mfa.Factor{mfa.TOTP, mfa.SMS}, PreToken: true, Groups: []mfa.Role{"cloud_admin", "itsm_manager"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("the pool (-arranged +shown), %v:\n%s", err, diff)
	}
	if got, err := a.Pool(t.Context(), Pool, nil, time.Time{}); err != nil || len(got.Groups) > 0 {
		t.Errorf("asked for no groups: %v, %v", got.Groups, err)
	}
	if _, err := a.Pool(t.Context(), "us-east-1_NOSUCHPOOL", nil, time.Time{}); err == nil {
		t.Error("a pool that does not exist is no error")
	}
}

func membersComplete(t *testing.T, a Account) {
	members := func(pool mfa.PoolID, role mfa.Role) []mfa.Sub {
		var all []mfa.Sub
		for sub, err := range a.Members(t.Context(), pool, role) {
			if err != nil {
				t.Fatalf("members of %s: %v", role, err)
			}
			all = append(all, sub)
		}
		return all
	}
	got := members(Pool, "itsm_manager")
	if again := members(Pool, "itsm_manager"); !slices.Equal(got, again) {
		t.Errorf("listed in one order and then in another: %v, %v", got, again)
	}
	if slices.Sort(got); !slices.Equal(got, []mfa.Sub{"ben", "maria"}) {
		t.Errorf("the members of itsm_manager are %v", got)
	}
	if got := members(Pool, "cloud_admin"); !slices.Equal(got, []mfa.Sub{"ben"}) {
		t.Errorf("the members of cloud_admin are %v", got)
	}
	if got := append(members(Pool, "super_admin"), members(OtherPool, "itsm_manager")...); len(got) > 0 {
		t.Errorf("groups without members have %v", got)
	}
	for _, err := range a.Members(t.Context(), Pool, "itsm_manager") {
		if err != nil {
			t.Error(err)
		}
		break // who lists may stop
	}
}

func enableShows(t *testing.T, a Account) {
	if err := a.Enable(t.Context(), Pool, "ben", []mfa.Factor{mfa.TOTP}, ""); err != nil {
		t.Fatal(err)
	}
	if u := user(t, a, Pool, "ben"); !slices.Equal(u.Factors, []mfa.Factor{mfa.TOTP}) || u.Preferred != "" {
		t.Errorf("after TOTP was switched on: %v, preferred %q", u.Factors, u.Preferred)
	}
	if err := a.Enable(t.Context(), Pool, "ben", []mfa.Factor{mfa.SMS}, mfa.SMS); err != nil {
		t.Fatal(err)
	}
	if u := user(t, a, Pool, "ben"); !slices.Equal(u.Factors, []mfa.Factor{mfa.TOTP, mfa.SMS}) || u.Preferred != mfa.SMS {
		t.Errorf("after SMS was switched on besides, and preferred: %v, preferred %q", u.Factors, u.Preferred)
	}
	if u := user(t, a, Pool, "chris"); len(u.Factors) > 0 {
		t.Errorf("another user has %v", u.Factors)
	}
}

func enableTwice(t *testing.T, a Account) {
	for range 2 {
		if err := a.Enable(t.Context(), Pool, "ben", []mfa.Factor{mfa.TOTP, mfa.SMS}, mfa.TOTP); err != nil {
			t.Fatal(err)
		}
	}
	if u := user(t, a, Pool, "ben"); !slices.Equal(u.Factors, []mfa.Factor{mfa.TOTP, mfa.SMS}) || u.Preferred != mfa.TOTP {
		t.Errorf("switched on twice: %v, preferred %q", u.Factors, u.Preferred)
	}
}

func enableRefused(t *testing.T, a Account) {
	for _, c := range []struct {
		sub     mfa.Sub
		factors []mfa.Factor
	}{
		{"chris", []mfa.Factor{mfa.TOTP}},
		{"chris", []mfa.Factor{mfa.SMS, mfa.TOTP}}, // one of the two could be switched on
		{"chris", []mfa.Factor{mfa.TOTP, mfa.SMS}},
		{"dora", []mfa.Factor{mfa.SMS}},
	} {
		before := user(t, a, Pool, c.sub)
		if err := a.Enable(t.Context(), Pool, c.sub, c.factors, c.factors[0]); !errors.Is(err, worker.ErrRefused) {
			t.Errorf("switching on %v for %s: %v, not ErrRefused", c.factors, c.sub, err)
		}
		if diff := cmp.Diff(before, user(t, a, Pool, c.sub)); diff != "" {
			t.Errorf("switching on %v for %s was refused and changed him:\n%s", c.factors, c.sub, diff)
		}
	}
}

func signOut(t *testing.T, a Account) {
	for _, sub := range []mfa.Sub{"maria", "maria", "nobody"} {
		if err := a.SignOut(t.Context(), Pool, sub); err != nil {
			t.Errorf("sign out %s: %v", sub, err)
		}
	}
	if diff := cmp.Diff(world.Users[0].User, user(t, a, Pool, "maria"), sameWhenEmpty); diff != "" {
		t.Errorf("the sign-out changed the user:\n%s", diff)
	}
}

// Clock is a timer and a way to see what it holds.
type Clock struct {
	worker.Timer
	// FiresAt says when the timer of that name fires; zero if there is none.
	FiresAt func(t *testing.T, name string) time.Time
}

// Timer runs the suite of worker.Timer. empty makes one without schedules.
func Timer(t *testing.T, empty func(*testing.T) Clock) {
	t.Helper()
	const name = "relatch-O-ABCDEFGHIJ"
	schedule := func(t *testing.T, c Clock, name string, at time.Time) {
		t.Helper()
		if err := c.Schedule(t.Context(), name, at, Pool, "maria"); err != nil {
			t.Fatalf("schedule %s: %v", name, err)
		}
	}
	firesAt := func(t *testing.T, c Clock, name string, want time.Time) {
		t.Helper()
		if got := c.FiresAt(t, name); !got.Equal(want) {
			t.Errorf("%s fires at %v, not at %v", name, got, want)
		}
		if stands, err := c.Stands(t.Context(), name); err != nil || stands == want.IsZero() {
			t.Errorf("%s stands: %t, %v", name, stands, err)
		}
	}
	for _, c := range []struct {
		name string
		at   []time.Time
		want time.Time
	}{
		{"there is none that nobody made", nil, time.Time{}},
		{"one that was made stands", []time.Time{noon}, noon},
		{"a second one of the name changes nothing", []time.Time{noon, noon}, noon},
		{"a second one never moves it later", []time.Time{noon, noon.Add(time.Hour)}, noon},
		{"a second one moves it earlier", []time.Time{noon, noon.Add(-time.Hour), noon.Add(-time.Minute)}, noon.Add(-time.Hour)},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := empty(t)
			for _, at := range c.at {
				schedule(t, clock, name, at)
			}
			firesAt(t, clock, name, c.want)
		})
	}
	t.Run("one that is cancelled is gone, also when it is cancelled again", func(t *testing.T) {
		clock := empty(t)
		schedule(t, clock, name, noon)
		schedule(t, clock, name+"2", noon)
		for range 2 {
			if err := clock.Cancel(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			firesAt(t, clock, name, time.Time{})
		}
		firesAt(t, clock, name+"2", noon)
		schedule(t, clock, name, noon.Add(time.Hour))
		firesAt(t, clock, name, noon.Add(time.Hour))
	})
}

// Mailbox is a queue and a way to read it.
type Mailbox struct {
	worker.Queue
	// Asked are the users asked for since it was called last, as "pool/sub".
	Asked func(*testing.T) []string
}

// Queue runs the suite of worker.Queue.
func Queue(t *testing.T, empty func(*testing.T) Mailbox) {
	t.Helper()
	m := empty(t)
	for _, sub := range []mfa.Sub{"maria", "ben"} {
		if err := m.Ask(t.Context(), Pool, sub); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := m.Asked(t), []string{string(Pool) + "/maria", string(Pool) + "/ben"}; !slices.Equal(got, want) {
		t.Errorf("asked for %v, not %v", got, want)
	}
}

// Pager takes alerts, and there is a way to read them.
type Pager struct {
	worker.Alerts
	// Sent are the alerts sent since it was called last.
	Sent func(*testing.T) []alert.Alert
}

// Alerts runs the suite of worker.Alerts: what is sent arrives, whole and in order.
func Alerts(t *testing.T, empty func(*testing.T) Pager) {
	t.Helper()
	p := empty(t)
	if err := p.Send(t.Context(), nil); err != nil {
		t.Errorf("sending nothing: %v", err)
	}
	var want []alert.Alert
	for i := range 12 { // more than EventBridge takes at once
		want = append(want, alert.Alert{
			Schema: alert.Schema, Title: fmt.Sprint("alert ", i), User: &alert.User{Pool: Pool, Sub: "maria", Username: "maria@example.com"}, EventTime: noon,
			Alert: mfa.Alert{Kind: mfa.RequiredRoleWithoutMFA, Severity: mfa.Critical, State: mfa.StateTriggered, Incident: fmt.Sprint("override/O-", i)},
		})
	}
	if err := p.Send(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, p.Sent(t)); diff != "" {
		t.Errorf("alerts (-sent +arrived):\n%s", diff)
	}
}

// Shelf is a policy source and a way to fill it.
type Shelf struct {
	worker.PolicySource
	// Put replaces the record; nil removes it.
	Put func(*testing.T, []byte)
}

// PolicySource runs the suite of worker.PolicySource.
func PolicySource(t *testing.T, empty func(*testing.T) Shelf) {
	t.Helper()
	s := empty(t)
	for _, want := range [][]byte{nil, []byte(`["super_admin"]`), []byte(`{"mfa_enforcement":`), nil} {
		s.Put(t, want)
		got, err := s.Read(t.Context())
		if err != nil || string(got) != string(want) || (got == nil) != (want == nil) {
			t.Errorf("the record is %q, read is %q, %v", want, got, err)
		}
	}
}
