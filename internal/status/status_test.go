package status

import (
	"context"
	"errors"
	"flag"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

var update = flag.Bool("update", false, "write the golden file anew")

const pool mfa.PoolID = "us-east-1_EXAMPLE12"

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// shelf is a ledger of standings as they are put there.
type shelf struct {
	open, other    []mfa.Standing
	entries        map[string][]mfa.Record
	justifications []mfa.Justification
	completed      time.Time
}

func sequence(all []mfa.Standing) iter.Seq2[mfa.Standing, error] {
	return func(yield func(mfa.Standing, error) bool) {
		for _, s := range all {
			if !yield(s, nil) {
				return
			}
		}
	}
}

func (s *shelf) Open(context.Context, mfa.PoolID) iter.Seq2[mfa.Standing, error] {
	return sequence(s.open)
}

func (s *shelf) Incidents(context.Context) iter.Seq2[mfa.Standing, error] { return sequence(s.other) }

func (s *shelf) Entries(_ context.Context, journal string) iter.Seq2[mfa.Entry, error] {
	return func(yield func(mfa.Entry, error) bool) {
		for _, r := range s.entries[journal] {
			if _, e := (mfa.Standing{Journal: journal}).Append(r); !yield(e, nil) {
				return
			}
		}
	}
}

func (s *shelf) Justifications(context.Context, mfa.PoolID, mfa.Sub) ([]mfa.Justification, error) {
	return s.justifications, nil
}

func (s *shelf) Load(_ context.Context, q worker.Query) (worker.Loaded, error) {
	return worker.Loaded{Standing: mfa.Standing{Journal: q.Journal}}, nil
}

func (s *shelf) Bookmark(context.Context) (worker.Bookmark, error) {
	return worker.Bookmark{CompletedAt: s.completed}, nil
}

// people are the usernames by sub; nil: nobody may look.
type people map[mfa.Sub]mfa.User

func (p people) User(_ context.Context, _ mfa.PoolID, sub mfa.Sub) (mfa.User, error) {
	if p == nil {
		return mfa.User{}, errors.New("not allowed")
	}
	return p[sub], nil
}

type silent struct{}

func (silent) Read(context.Context) ([]byte, error) { return mfa.DefaultDocument(), nil }

func read(t *testing.T, s *shelf, who Users, mode string) Status {
	t.Helper()
	if s.completed.IsZero() {
		s.completed = now.Add(-10 * time.Minute)
	}
	got, err := Read(t.Context(), Sources{Ledger: s, Users: who, Policy: silent{}, Pools: []mfa.PoolID{pool}, Mode: mode}, now)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// overridden is a user whose override opened so long ago.
func overridden(sub mfa.Sub, ago time.Duration, change func(*mfa.Standing, *mfa.Override)) mfa.Standing {
	at := now.Add(-ago)
	s := mfa.Standing{Journal: mfa.UserJournal(pool, sub), Version: 1, Override: &mfa.Override{
		ID: "O-" + strings.ToUpper(string(sub)), OpenedAt: at, Deadline: at.Add(24 * time.Hour), SeenAt: at, Disables: 1, Taken: []mfa.Factor{mfa.TOTP},
		Roles: []mfa.Role{"itsm_manager"}, Required: true, Match: mfa.Match{Failed: []mfa.Rule{mfa.RuleMissing}, Why: []string{mfa.RuleMissing.Says(mfa.Facts{})}},
		Actor: mfa.Actor{ARN: "arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7", Type: mfa.Admin},
	}}
	if change != nil {
		change(&s, s.Override)
	}
	return s
}

func incident(key string, kind mfa.AlertKind, severity mfa.Severity, ago time.Duration) []mfa.Incident {
	return []mfa.Incident{{Key: key, Kind: kind, Severity: severity, Since: now.Add(-ago)}}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	guard := mfa.GuardJournal("arn:aws:events:us-east-1:111122223333:rule/relatch")
	for _, c := range []struct {
		name  string
		shelf shelf
		mode  string
		want  []string // beginnings
	}{
		{"nothing", shelf{}, "enforce", nil},
		{"an override within its time", shelf{open: []mfa.Standing{overridden("ann", time.Hour, nil)}}, "enforce", nil},
		{"due, and not yet overdue", shelf{open: []mfa.Standing{overridden("ann", 24*time.Hour+14*time.Minute, nil)}}, "enforce", nil},
		{"overdue", shelf{open: []mfa.Standing{overridden("ann", 24*time.Hour+15*time.Minute, nil)}}, "enforce", []string{"O-ANN of ann is overdue by 15 min"}},
		{"past its time in observe mode", shelf{open: []mfa.Standing{overridden("ann", 30*time.Hour, nil)}}, "observe", nil},
		{
			"unrestorable",
			shelf{open: []mfa.Standing{overridden("ann", 30*time.Hour, func(_ *mfa.Standing, o *mfa.Override) { o.Unrestorable = true })}},
			"enforce",
			[]string{"O-ANN of ann cannot be restored"},
		},
		{
			"a critical one", shelf{open: []mfa.Standing{overridden("ann", time.Hour, func(s *mfa.Standing, _ *mfa.Override) {
				s.Incidents = incident("override/O-ANN", mfa.RequiredRoleWithoutMFA, mfa.Critical, time.Hour)
			})}}, "enforce", []string{"O-ANN of ann is critical: NOT JUSTIFIED"},
		},
		{"a sweep that is late", shelf{completed: now.Add(-46 * time.Minute)}, "enforce", []string{"the last complete sweep was 46 min ago"}},
		{"a sweep that is not", shelf{completed: now.Add(-45 * time.Minute)}, "enforce", nil},
		{"a guard touched today", shelf{other: []mfa.Standing{{Journal: guard, Incidents: incident(guard, mfa.GuardTampered, mfa.Critical, 23*time.Hour)}}}, "enforce", []string{guard + " (guard_changed) is critical"}},
		{"a guard touched before", shelf{other: []mfa.Standing{{Journal: guard, Incidents: incident(guard, mfa.GuardTampered, mfa.Critical, 24*time.Hour)}}}, "enforce", nil},
		{
			"a guard touched before, and again", shelf{
				other: []mfa.Standing{{Journal: guard, Incidents: incident(guard, mfa.GuardTampered, mfa.Critical, 48*time.Hour)}},
				entries: map[string][]mfa.Record{guard: {{
					Schema: mfa.RecordSchema, At: now.Add(-time.Hour), Verdict: mfa.Alerts, Problem: "DisableRule",
					Alerts: []mfa.Alert{{Kind: mfa.GuardTampered, Severity: mfa.Critical, State: mfa.StateChanged, Incident: guard}},
				}}},
			}, "enforce", []string{guard + " (guard_changed) is critical"},
		},
		{
			"a pool weakened long ago",
			shelf{other: []mfa.Standing{{Journal: mfa.PoolJournal(pool), Incidents: incident(mfa.PoolJournal(pool), mfa.PoolWeakened, mfa.Critical, 99*time.Hour)}}},
			"enforce",
			[]string{"pool/us-east-1_EXAMPLE12 (pool_weakened) is critical"},
		},
		{
			"a user noted, and one to be signed out", shelf{open: []mfa.Standing{
				{Journal: mfa.UserJournal(pool, "ann"), NotedAt: now.Add(-time.Minute)}, {Journal: mfa.UserJournal(pool, "bob"), SignOut: true},
			}}, "enforce", nil,
		},
	} {
		got := read(t, &c.shelf, people{"ann": {Sub: "ann", Found: true, Enabled: true, Username: "ann"}}, c.mode)
		if len(got.Wrong) != len(c.want) {
			t.Errorf("%s: %q, want %q", c.name, got.Wrong, c.want)
			continue
		}
		for i := range c.want {
			if !strings.HasPrefix(got.Wrong[i], c.want[i]) {
				t.Errorf("%s: %q, want %q", c.name, got.Wrong[i], c.want[i])
			}
		}
	}
}

func TestWhatHappensAtTheEndIsForetold(t *testing.T) {
	for _, c := range []struct {
		name   string
		ago    time.Duration
		mode   string
		change func(*mfa.Standing, *mfa.Override)
		want   string
	}{
		{"restored", time.Hour, "enforce", nil, "TOTP on again, and signed out"},
		{"observed", time.Hour, "observe", nil, "nothing: Relatch only observes"},
		{"due", 25 * time.Hour, "enforce", nil, "TOTP on again, and signed out: Relatch tries at every sweep"},
		{"asked for", time.Hour, "enforce", func(_ *mfa.Standing, o *mfa.Override) { o.AskedAt = now }, "TOTP on again, and signed out, at once"},
		{"lost", time.Hour, "enforce", func(_ *mfa.Standing, o *mfa.Override) { o.Match = mfa.Match{ID: "J-1", Cause: mfa.LostDevice} }, "TOTP on again, and signed out; the device was declared lost, so the user is likely locked out"},
		{"deleted", time.Hour, "enforce", func(_ *mfa.Standing, o *mfa.Override) { o.Deleted = o.Taken }, "nothing that would do: the token is deleted"},
		{"deleted, and codes are not enough", time.Hour, "enforce", func(_ *mfa.Standing, o *mfa.Override) {
			o.Taken, o.Deleted = []mfa.Factor{mfa.TOTP, mfa.SMS}, []mfa.Factor{mfa.TOTP}
		}, "nothing that would do: the token is deleted"},
		{"deleted, and codes are enough", time.Hour, "enforce", func(_ *mfa.Standing, o *mfa.Override) {
			o.Taken, o.Deleted, o.Required = []mfa.Factor{mfa.TOTP, mfa.SMS}, []mfa.Factor{mfa.TOTP}, false
		}, "SMS on again, and signed out"},
		{"refused", 25 * time.Hour, "enforce", func(_ *mfa.Standing, o *mfa.Override) { o.Unrestorable = true }, "cannot be restored"},
	} {
		got := read(t, &shelf{open: []mfa.Standing{overridden("ann", c.ago, c.change)}}, people{}, c.mode)
		if then := got.Overrides[0].Then; !strings.HasPrefix(then, c.want) {
			t.Errorf("%s: %s, want %s", c.name, then, c.want)
		}
	}
}

func TestWhoCannotBeLookedUpHasASub(t *testing.T) {
	got := read(t, &shelf{open: []mfa.Standing{overridden("ann", time.Hour, nil)}}, people(nil), "enforce")
	if got.Unnamed != "not allowed" || got.Overrides[0].Sub != "ann" || got.Overrides[0].Username != "" {
		t.Errorf("%+v", got)
	}
}

func TestTheTextReadsAsTheGoldenFileSays(t *testing.T) {
	swapped := overridden("eve", 72*time.Hour, nil)
	swapped.Override, swapped.Incidents = nil, incident("override/O-EVE", mfa.FactorSwapped, mfa.Critical, time.Hour)
	s := shelf{
		open: []mfa.Standing{
			overridden("ann", 23*time.Hour+30*time.Minute, func(s *mfa.Standing, o *mfa.Override) {
				o.Match.Failed = []mfa.Rule{mfa.RuleTooShort, mfa.RuleTicket}
				o.Match.Why = []string{mfa.RuleTooShort.Says(mfa.Facts{}), "ticket JIRA-4711 does not have the form that the policy asks for"}
				o.Match.ID, o.Repeated, o.Disables = "J-1", true, 2
				s.Incidents = incident("override/O-ANN", mfa.RequiredRoleWithoutMFA, mfa.Critical, time.Hour)
			}),
			overridden("bob", 25*time.Hour, func(_ *mfa.Standing, o *mfa.Override) { o.Roles, o.Required = nil, false }),
			overridden("cyd", 49*time.Hour, func(_ *mfa.Standing, o *mfa.Override) { o.Unrestorable, o.Actor, o.Disables = true, mfa.Actor{}, 0 }),
			overridden("fay", 5*time.Minute, nil),
			overridden("gil", 5*time.Minute, func(_ *mfa.Standing, o *mfa.Override) {
				o.Match = mfa.Match{ID: "J-1", Failed: []mfa.Rule{mfa.RuleApprover}, Why: []string{"the justification needs an approver who is neither its author nor the user"}}
			}),
			{Journal: mfa.UserJournal(pool, "dan"), NotedAt: now.Add(-5 * time.Minute), Posture: true},
		},
		other:          []mfa.Standing{swapped},
		justifications: []mfa.Justification{{ID: "J-1", Reason: "Lost \x1b[31mphone", Ticket: "JIRA-4711", Author: "arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7"}},
	}
	who := people{}
	for _, sub := range []mfa.Sub{"ann", "bob", "cyd", "dan", "eve", "fay", "gil"} {
		who[sub] = mfa.User{Sub: sub, Found: true, Enabled: true, Username: string(sub) + ".of.a.rather.long.name@department.example.com"}
	}
	got := read(t, &s, who, "enforce")
	var out strings.Builder
	if err := got.Text(&out); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > textWidth || strings.Contains(line, "\x1b") {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	file := filepath.Join("testdata", "status.txt")
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("-golden +got\n%s", diff)
	}
}
