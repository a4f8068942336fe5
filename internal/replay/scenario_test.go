package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

func TestEveryScenarioRunsAsExpected(t *testing.T) {
	for _, s := range scenariosOf(t) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			if s.Expect == nil || s.Account == nil {
				t.Fatal("a scenario has an account.json and an expect.json")
			}
			result, err := Run(context.Background(), s, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, unmet := range s.Expect.Check(result) {
				t.Errorf("%s\n\t%s", unmet.Where, strings.Join(unmet.Diff, "\n\t"))
			}
			if !result.Summary.Balanced() || result.Summary.Events != len(s.Deliveries) {
				t.Errorf("%d deliveries came; the sums are not right: %+v", len(s.Deliveries), result.Summary)
			}
			endingOf(t, result, result.Account) // checks the chain of every journal
		})
	}
}

func TestTheReadmeOfTheScenariosHasARowForEach(t *testing.T) {
	raw, err := os.ReadFile("../../events/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(string(raw), "## The scenarios")
	if !found {
		t.Fatal("events/README.md has no list of the scenarios")
	}
	var rows, folders []string
	for _, row := range regexp.MustCompile("(?m)^\\| `?([a-z0-9-]*[a-z0-9])`? *\\|").FindAllStringSubmatch(list, -1) {
		if row[1] != "scenario" {
			rows = append(rows, row[1])
		}
	}
	entries, err := os.ReadDir("../../events")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, e.Name())
		}
	}
	slices.Sort(rows)
	if diff := cmp.Diff(folders, rows); diff != "" {
		t.Errorf("-folders +rows:\n%s", diff)
	}
}

func TestSkippingSweepsChangesNothing(t *testing.T) {
	for _, s := range scenariosOf(t) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			s := cutDown(s, crowd)
			skipping, err := Run(context.Background(), s, Options{})
			if err != nil {
				t.Fatal(err)
			}
			every, err := Run(context.Background(), s, Options{everySweep: true})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(every.Records, skipping.Records); diff != "" {
				t.Errorf("-every sweep +skipping:\n%s", diff)
			}
			if diff := cmp.Diff(endingOf(t, every, every.Account), endingOf(t, skipping, skipping.Account)); diff != "" {
				t.Errorf("-every sweep +skipping:\n%s", diff)
			}
		})
	}
}

func TestTheClockStopsWhenItIsTold(t *testing.T) {
	all := scenariosOf(t)
	s := all[slices.IndexFunc(all, func(s Scenario) bool { return s.Name == "01-justified-disable-ends-after-24h" })]
	result, err := Run(context.Background(), s, Options{Until: s.Deliveries[0].Arrives.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if o := result.Summary.Overrides; o.Opened != 1 || o.Open != 1 || result.Timers != 1 || !result.Summary.Balanced() {
		t.Errorf("an hour later: %+v, %d timers", o, result.Timers)
	}
}

// came is a result with two records to compare with.
func came() Result {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	r := Result{
		Records: []mfa.Record{
			{
				Schema: mfa.RecordSchema, At: at, Verdict: mfa.Opens, Reason: mfa.TakenAway, User: &mfa.RecordUser{Pool: "p", Sub: "maria"},
				Actions:  []mfa.Outcome{{Action: mfa.Action{Do: mfa.Schedule, At: at}, Result: mfa.Done}, {Action: mfa.Action{Do: mfa.SignOut}, Result: mfa.Handed}},
				Override: &mfa.RecordOverride{ID: "O-1", Factors: []mfa.Factor{mfa.TOTP, mfa.SMS}},
			},
			{Schema: mfa.RecordSchema, At: at, Verdict: mfa.Ignores, Reason: mfa.Duplicate},
			{Schema: mfa.RecordSchema, At: at, Verdict: mfa.Restores, Reason: mfa.DeadlineReached},
		},
		Users:         []account.UserFile{{Sub: "maria", Factors: []mfa.Factor{mfa.TOTP}, Roles: []mfa.Role{"itsm_manager"}, Enabled: new(true)}},
		OpenIncidents: []mfa.Incident{{Key: "override/O-1", Kind: mfa.RequiredRoleWithoutMFA}, {Key: "override/O-2", Kind: mfa.RequiredRoleWithoutMFA}},
		Timers:        1,
	}
	r.Summary.Events, r.Summary.Acted, r.Summary.Ignored = 3, 2, map[mfa.Reason]int{mfa.Duplicate: 1}
	return r
}

func TestExpectations(t *testing.T) {
	const whole = `{"verdict":"open"},{"verdict":"restore"}`
	for _, c := range []struct {
		name, expect string
		unmet        []string // where
	}{
		{"every record that is no ignore", `{"records":[` + whole + `]}`, nil},
		{"an ignore may be expected", `{"records":[{"verdict":"open"},{"reason":"duplicate"},{"verdict":"restore"}]}`, nil},
		{"a record that did not come", `{"records":[` + whole + `,{"verdict":"close"}]}`, []string{"records[2]"}},
		{"a record that nobody expects", `{"records":[{"verdict":"open"}]}`, []string{"records"}},
		{"no record at all is expected", `{"records":[]}`, []string{"records", "records"}},
		{"the wrong order", `{"records":[{"verdict":"restore"},{"verdict":"open"}]}`, []string{"records[0]", "records"}},
		{"another value", `{"records":[{"verdict":"open","reason":"found_without"},{"verdict":"restore"}]}`, []string{"records[0]"}},
		{"some elements of a list of values, in any order", `{"records":[{"override":{"factors":["sms"]}},{"verdict":"restore"}]}`, nil},
		{"some objects of a list", `{"records":[{"actions":[{"do":"sign_out"}]},{"verdict":"restore"}]}`, nil},
		{"objects of a list in the wrong order", `{"records":[{"verdict":"open","actions":[{"do":"sign_out"},{"do":"schedule"}]},{"verdict":"restore"}]}`, []string{"records[0]"}},
		{"an empty list means none", `{"records":[{"verdict":"open","actions":[]},{"verdict":"restore"}]}`, []string{"records[0]"}},
		{"an empty list is met by a missing one", `{"records":[{"verdict":"open","alerts":[]},{"verdict":"restore","actions":[]}]}`, nil},
		{"an empty value is met by a missing one", `{"records":[{"verdict":"open","problem":""},{"verdict":"restore","user":{}}]}`, nil},
		{"a user", `{"account":{"users":[{"sub":"maria","factors":["totp"],"registered":[],"enabled":true}]}}`, nil},
		{"a user who is otherwise", `{"account":{"users":[{"sub":"maria","factors":["sms"]}]}}`, []string{"account.users[0] (maria)"}},
		{"a user who should have nothing", `{"account":{"users":[{"sub":"maria","factors":[]}]}}`, []string{"account.users[0] (maria)"}},
		{"a user who is not there", `{"account":{"users":[{"sub":"ben"}]}}`, []string{"account.users[0]"}},
		{"open incidents, one each", `{"open_incidents":["required_role_without_mfa","required_role_without_mfa"]}`, nil},
		{"too few open incidents", `{"open_incidents":["required_role_without_mfa"]}`, []string{"open_incidents"}},
		{"no open incidents", `{"open_incidents":[]}`, []string{"open_incidents"}},
		{"timers", `{"timers":1}`, nil},
		{"no timers", `{"timers":0}`, []string{"timers"}},
		{"a part of the summary", `{"summary":{"events":3,"ignored":{"duplicate":1},"overrides":{"opened":0}}}`, nil},
		{"another summary", `{"summary":{"events":4,"alerts":{"critical":1}}}`, []string{"summary"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := ParseExpect([]byte(c.expect))
			if err != nil {
				t.Fatal(err)
			}
			var where []string
			for _, u := range e.Check(came()) {
				where = append(where, u.Where)
				if len(u.Diff) < 2 || !strings.HasPrefix(u.Diff[0], "- ") || !strings.HasPrefix(u.Diff[1], "+ ") {
					t.Errorf("the difference is not shown: %q", u.Diff)
				}
			}
			if diff := cmp.Diff(c.unmet, where); diff != "" {
				t.Errorf("unmet (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := ParseExpect([]byte(`{"record":[]}`)); err == nil {
		t.Error("an unknown key is no error")
	}
}

// TestNoUsernameIsInARecordOrTheLedger: records carry the sub, alerts and the
// operator's terminal the username.
func TestNoUsernameIsInARecordOrTheLedger(t *testing.T) {
	found := 0
	for _, s := range scenariosOf(t) {
		r, err := Run(t.Context(), s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var kept strings.Builder
		for _, journal := range r.Account.Journals() {
			for _, e := range r.Account.Entries(journal) {
				kept.Write(e.Record)
			}
			loaded, err := r.Account.Load(t.Context(), worker.Query{Journal: journal})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&kept, "%+v", generic(loaded.Standing))
		}
		fmt.Fprintf(&kept, "%+v", generic(r.Records))
		for _, u := range r.Users {
			if u.Username == "" {
				continue
			}
			found++
			if strings.Contains(kept.String(), u.Username) {
				t.Errorf("%s: %s is in a record or in the ledger", s.Name, u.Username)
			}
		}
	}
	if found == 0 {
		t.Error("no scenario names its users")
	}
}

func TestACancelledReplayStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, scenariosOf(t)[0], Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}

// A clock that has 900 years to go takes no longer than one that has a day.
func TestTheClockReachesThingsCenturiesAhead(t *testing.T) {
	at := func(year int) time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
	r, err := Run(t.Context(), Scenario{Account: &account.File{
		Now: at(2000), Policies: []account.PolicyFile{{At: at(2900), Value: []byte("null")}},
	}}, Options{})
	if err != nil || len(r.OpenIncidents) != 1 {
		t.Errorf("%v, %+v; want the policy's incident", err, r.OpenIncidents)
	}
}
