package diff_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/diff"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
	"github.com/stackflow/relatch/internal/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

var start = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func at(hours float64) time.Time { return start.Add(time.Duration(hours * float64(time.Hour))) }

var user = &mfa.RecordUser{Pool: "p", Sub: "u"}

// delivered is a record of the disable with that key, made at start.
func delivered(key string, v mfa.Verdict, reason mfa.Reason) mfa.Record {
	return mfa.Record{
		At: at(0), User: user, Verdict: v, Reason: reason,
		Cause: mfa.RecordCause{Key: key, Kind: mfa.FactorsChanged, EventName: "AdminSetUserMFAPreference", EventTime: at(0)},
	}
}

// opened opens the override of that id, which is to end after so many hours.
func opened(key, id string, hours float64, failed ...mfa.Rule) mfa.Record {
	r := delivered(key, mfa.Opens, mfa.TakenAway)
	r.Override = &mfa.RecordOverride{
		ID: id, OpenedAt: at(0), Deadline: at(hours), Factors: []mfa.Factor{mfa.TOTP}, Justification: "justified", Failed: failed,
	}
	if len(failed) > 0 {
		r.Override.Justification = "unjustified"
	}
	return r
}

// ended ends the override that the record opened.
func ended(r mfa.Record, hours float64, end mfa.End) mfa.Record {
	o := *r.Override
	o.Closed = end
	return mfa.Record{At: at(hours), User: user, Verdict: mfa.Restores, Cause: mfa.RecordCause{Kind: mfa.Due}, Override: &o}
}

func alerted(r mfa.Record, kind mfa.AlertKind, s mfa.Severity, key string) mfa.Record {
	r.Alerts = append(slices.Clone(r.Alerts), mfa.Alert{Kind: kind, Severity: s, State: mfa.StateTriggered, Incident: key})
	return r
}

func compared(a, b []mfa.Record) diff.Comparison {
	var x, y diff.Side
	for _, r := range a {
		x.Add(r)
	}
	for _, r := range b {
		y.Add(r)
	}
	return diff.Compare(&x, &y, func(u mfa.RecordUser) string { return "name of " + string(u.Sub) }, time.Time{})
}

func TestSidesDiffer(t *testing.T) {
	const key = "e-1"
	day, short := opened(key, "O-1", 24), opened(key, "O-1", 4)
	swept := mfa.Record{At: at(1), User: user, Cause: mfa.RecordCause{Kind: mfa.Swept}, Verdict: mfa.Opens, Override: &mfa.RecordOverride{ID: "O-1", OpenedAt: at(0.5), Deadline: at(24.5)}}
	gap := mfa.Record{At: at(0.25), Cause: mfa.RecordCause{Kind: mfa.Swept}, Verdict: mfa.Alerts}
	type aspects = []diff.Aspect
	for _, tt := range []struct {
		name    string
		a, b    []mfa.Record
		differs aspects
		earlier int64
		says    string
	}{
		{"nothing", []mfa.Record{day, ended(day, 24, mfa.Restored)}, []mfa.Record{day, ended(day, 24, mfa.Restored)}, nil, 0, ""},
		{"the number of the override only", []mfa.Record{day}, []mfa.Record{opened(key, "O-7", 24)}, nil, 0, ""},
		{
			"ended sooner",
			[]mfa.Record{day, ended(day, 24, mfa.Restored)},
			[]mfa.Record{short, ended(short, 4, mfa.Restored)},
			aspects{diff.Deadline, diff.Ended},
			72000, "B would have ended it 20 h earlier",
		},
		{
			"ended by others before",
			[]mfa.Record{short, ended(short, 4, mfa.Restored)},
			[]mfa.Record{day, ended(day, 5.5, mfa.Reenabled)},
			aspects{diff.Deadline, diff.Ended},
			-5400, "B would have ended it 1 h 30 min later",
		},
		{"never ended", []mfa.Record{day, ended(day, 24, mfa.Restored)}, []mfa.Record{day}, aspects{diff.Ended}, 0, "ended under A only"},
		{"the deadline only", []mfa.Record{day}, []mfa.Record{short}, aspects{diff.Deadline}, 0, "its deadline would be 20 h earlier under B"},
		{
			"a page",
			[]mfa.Record{alerted(day, mfa.RequiredRoleWithoutMFA, mfa.Critical, "override/O-1")},
			[]mfa.Record{alerted(day, mfa.UnjustifiedOverride, mfa.Warning, "override/O-1")},
			aspects{diff.Page, diff.Alerts},
			0, "A would page, B would not",
		},
		{
			"a page later in the override's life",
			[]mfa.Record{alerted(day, mfa.RequiredRoleWithoutMFA, mfa.Warning, "override/O-1")},
			[]mfa.Record{
				alerted(day, mfa.RequiredRoleWithoutMFA, mfa.Warning, "override/O-1"),
				alerted(ended(day, 24, ""), mfa.RequiredRoleWithoutMFA, mfa.Critical, "override/O-1"),
			},
			aspects{diff.Page, diff.Alerts},
			0, "B would page, A would not",
		},
		{"not opened", []mfa.Record{day}, []mfa.Record{delivered(key, mfa.Ignores, mfa.StillProtected)}, aspects{diff.Opened}, 0, "an override under A only"},
		{"opened by another delivery", []mfa.Record{day}, []mfa.Record{delivered(key, mfa.Ignores, mfa.StillProtected), opened("e-2", "O-1", 24)}, aspects{diff.Opened}, 0, "an override under A only"},
		{"found by the sweep of one side", nil, []mfa.Record{swept}, aspects{diff.Opened}, 0, "an override under B only"},
		{
			"ignored for another reason",
			[]mfa.Record{delivered(key, mfa.Ignores, mfa.StillProtected)},
			[]mfa.Record{delivered(key, mfa.Ignores, mfa.ReplayedAndPast)},
			aspects{diff.Decided},
			0, "ignored for another reason",
		},
		{"the second of two alike", []mfa.Record{day, delivered(key, mfa.Ignores, mfa.Duplicate)}, []mfa.Record{day, delivered(key, mfa.Holds, mfa.WithinTime)}, aspects{diff.Decided}, 0, ""},
		{"justified", []mfa.Record{day}, []mfa.Record{opened(key, "O-1", 24, mfa.RuleTooShort)}, aspects{diff.Justification}, 0, "justified under A only"},
		{"unjustified for another rule", []mfa.Record{opened(key, "O-1", 24, mfa.RuleTooShort)}, []mfa.Record{opened(key, "O-1", 24, mfa.RuleMissing)}, aspects{diff.Justification}, 0, ""},
		{
			"an incident of no override", nil,
			[]mfa.Record{alerted(gap, mfa.PolicyWeakened, mfa.Critical, "policy")},
			aspects{diff.Page, diff.Alerts},
			0, "B would page, A would not",
		},
		{
			"an incident that came later is the same",
			[]mfa.Record{alerted(gap, mfa.PolicyWeakened, mfa.Critical, "policy")},
			[]mfa.Record{alerted(mfa.Record{At: at(3), Cause: mfa.RecordCause{Kind: mfa.Swept}}, mfa.PolicyWeakened, mfa.Critical, "policy")},
			nil, 0, "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := compared(tt.a, tt.b)
			if tt.differs == nil {
				if got.Differ != 0 || got.All != nil {
					t.Fatalf("differs: %+v", got.All)
				}
				return
			}
			if len(got.All) == 0 {
				t.Fatal("nothing differs")
			}
			if d := got.All[0]; !slices.Equal(d.Differs, tt.differs) || d.EarlierSeconds != tt.earlier {
				t.Errorf("differs in %v, B ends %d s earlier; want %v, %d s", d.Differs, d.EarlierSeconds, tt.differs, tt.earlier)
			}
			var text strings.Builder
			if err := got.Text(&text); err != nil || !strings.Contains(text.String(), tt.says) {
				t.Errorf("%v; does not say %q:\n%s", err, tt.says, text.String())
			}
		})
	}
}

func TestTheTextHasNoControlCharactersAndNoLongLines(t *testing.T) {
	r := opened("e-1", "O-1", 24, mfa.RuleTooShort)
	r.Cause.Actor = "arn:aws:sts::111122223333:assumed-role/Admin/o\x1b[2Jps\u202e\nx"
	var x, y diff.Side
	x.Add(r)
	c := diff.Compare(&x, &y, func(mfa.RecordUser) string { return "\x1b[31m\u202ename\n" }, time.Time{})
	var text strings.Builder
	if err := c.Text(&text); err != nil || strings.ContainsAny(text.String(), "\x1b\u202e") {
		t.Errorf("%v, %q", err, text.String())
	}
	for line := range strings.Lines(text.String()) {
		if n := utf8.RuneCountInString(line); n > 121 {
			t.Errorf("%d characters: %s", n, line)
		}
	}
}

func scenarios(t testing.TB) []replay.Scenario {
	t.Helper()
	all, err := (&replay.Loader{}).Load([]string{"../../events"})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// side is what the scenario comes to under the policy, as relatch replay has it.
func side(t interface {
	Helper()
	Fatalf(string, ...any)
}, s replay.Scenario, policy string,
) (*diff.Side, replay.Result) {
	t.Helper()
	var out diff.Side
	file := *s.Account
	file.Policies = nil
	s.Account = &file
	o := replay.Options{Start: start, Policy: []byte(policy), Told: func(r mfa.Record, _ []alert.Alert) { out.Add(r) }}
	result, err := replay.Run(context.Background(), s, o)
	if err != nil {
		t.Fatalf("%s: %v", s.Name, err)
	}
	return &out, result
}

func noName(mfa.RecordUser) string { return "" }

// anyPolicy draws a policy record.
func anyPolicy(t *rapid.T, name string) string {
	roles := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"super_admin", "itsm_manager", "cloud_admin", "viewer"}), 1, 3, rapid.ID[string]).Draw(t, name+" roles")
	if rapid.Bool().Draw(t, name+" is a list") {
		return text(roles)
	}
	return text(map[string]any{
		"mfa_enforcement": map[string]any{"required_roles": roles, "optional_roles": []string{}, "grace_period_days": rapid.IntRange(0, 9).Draw(t, name+" grace")},
		"override": map[string]any{
			"max_hours": rapid.IntRange(1, 24).Draw(t, name+" hours"), "sign_out": rapid.Bool().Draw(t, name+" sign out"),
			"notice_hours": rapid.SliceOfN(rapid.IntRange(1, 8), 0, 2).Draw(t, name+" notices"),
			"budget":       map[string]any{"overrides": rapid.IntRange(0, 2).Draw(t, name+" budget")},
			"justification": map[string]any{
				"min_length": rapid.SampledFrom([]int{1, 15, 70}).Draw(t, name+" length"), "require_approver": rapid.Bool().Draw(t, name+" approver"),
				"ticket_pattern": rapid.SampledFrom([]string{"^CHG", "^INC", "."}).Draw(t, name+" ticket"),
			},
		},
	})
}

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func TestEqualPoliciesDifferInNothingAndChangedOverSidesMirror(t *testing.T) {
	all := scenarios(t)
	rapid.Check(t, func(t *rapid.T) {
		s := all[rapid.IntRange(0, len(all)-1).Draw(t, "scenario")]
		a, b := anyPolicy(t, "A"), anyPolicy(t, "B")
		run := func(policy string) *diff.Side { out, _ := side(t, s, policy); return out }
		if same := diff.Compare(run(a), run(a), noName, time.Time{}); same.Differ != 0 || !cmp.Equal(same.A, same.B) {
			t.Fatalf("a policy differs from itself: %+v", same)
		}
		want := diff.Compare(run(a), run(b), noName, time.Time{})
		got := diff.Compare(run(b), run(a), noName, time.Time{})
		got.A, got.B = got.B, got.A
		for i := range got.All {
			d := &got.All[i]
			d.A, d.B, d.EarlierSeconds = d.B, d.A, -d.EarlierSeconds
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s: -(A, B) +(B, A):\n%s", s.Name, diff)
		}
		if !slices.IsSortedFunc(want.All, func(x, y diff.Difference) int { return x.At.Compare(y.At) }) {
			t.Fatal("not in the order of time")
		}
		if want.Differ == 0 && !cmp.Equal(total(want.A), total(want.B)) {
			t.Fatalf("nothing differs but the totals: %+v", want)
		}
	})
}

// total is what totals say without naming the policies.
func total(t diff.Totals) diff.Totals {
	t.Policies = nil
	return t
}

func TestTheTotalsAreThoseOfTheSummaries(t *testing.T) {
	const policy = `{"mfa_enforcement":{"required_roles":["super_admin"]},"override":{"max_hours":4}}`
	for _, s := range scenarios(t) {
		a, of := side(t, s, string(mfa.DefaultDocument()))
		b, against := side(t, s, policy)
		got := diff.Compare(a, b, noName, time.Time{})
		for _, x := range []struct {
			got  diff.Totals
			want replay.Summary
		}{{got.A, of.Summary}, {got.B, against.Summary}} {
			o, al := x.want.Overrides, x.want.Alerts
			want := diff.Totals{
				Policies: x.got.Policies, Pages: al.Critical, Warnings: al.Warning, Notes: al.Info, Overrides: o.Opened,
				Justified: x.got.Justified, Seconds: x.got.Seconds, Ended: map[mfa.End]int{
					mfa.Restored: o.Restored, mfa.Reenabled: o.Reenabled, mfa.Reenrolled: o.Reenrolled, mfa.Gone: o.Gone,
					report.Unrestorable: o.Unrestorable, report.StillOpen: o.Open,
				},
			}
			if diff := cmp.Diff(want, x.got); diff != "" {
				t.Errorf("%s: -summary +totals:\n%s", s.Name, diff)
			}
		}
	}
}

// TestAComparisonReadsAsTheGoldenFilesSay compares scenarios of which most kinds
// of differences come.
func TestAComparisonReadsAsTheGoldenFilesSay(t *testing.T) {
	names := []string{
		"01-justified-disable-ends-after-24h", "justification-used-before", "new-phone-of-optional-role-user", "promoted-without-mfa-24h", "policy-weakened",
		"unjustified-disable-of-required-role", "webauthn-alone",
	}
	const policy = `{"mfa_enforcement":{"required_roles":["super_admin","itsm_agent"]},"override":{"max_hours":4,"notice_hours":[1],"justification":{"ticket_pattern":"^INC"}}}`
	var out, lines strings.Builder
	var sum diff.Comparison
	e := json.NewEncoder(&lines)
	for _, s := range scenarios(t) {
		if !slices.Contains(names, s.Name) {
			continue
		}
		a, _ := side(t, s, string(mfa.DefaultDocument()))
		b, _ := side(t, s, policy)
		people := map[mfa.Sub]string{}
		for _, u := range s.Account.Users {
			people[u.Sub] = u.Username
		}
		c := diff.Compare(a, b, func(u mfa.RecordUser) string { return people[u.Sub] }, time.Time{})
		c.Scenario = s.Name
		sum.Add(c)
		if err := c.Text(&out); err != nil {
			t.Fatal(err)
		}
		for _, d := range c.All {
			if err := e.Encode(d); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := sum.Totals(&out); err != nil {
		t.Fatal(err)
	}
	if err := e.Encode(sum); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"differences.txt": out.String(), "differences.jsonl": lines.String()} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-golden +got; -update writes it anew):\n%s", path, diff)
		}
	}
}
