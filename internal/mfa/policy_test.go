package mfa

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func parsed(t *testing.T, raw string) Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var comparePatterns = cmp.Comparer(func(a, b *regexp.Regexp) bool { return a.String() == b.String() })

func TestTheDefaultPolicyIsTheProductsDocumentation(t *testing.T) {
	want := Policy{
		RequiredRoles: []Role{"super_admin", "itsm_manager", "cloud_admin", "security_admin"},
		OptionalRoles: []Role{"itsm_agent", "viewer", "developer"},
		Grace:         7 * 24 * time.Hour, MaxDuration: 24 * time.Hour, SignOut: true, Notices: []time.Duration{4 * time.Hour, time.Hour},
		Budget: 2, BudgetSpan: 7 * 24 * time.Hour, MinLength: 15, TicketPattern: regexp.MustCompile(`^(INC|CHG)[0-9]{7}$`),
		Before: 24 * time.Hour, Late: 15 * time.Minute,
	}
	got := DefaultPolicy()
	if !got.Valid() {
		t.Error("it is not valid")
	}
	got.Revision = ""
	if diff := cmp.Diff(want, got, comparePatterns); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff(DefaultPolicy(), parsed(t, string(DefaultDocument())), comparePatterns); diff != "" {
		t.Errorf("the document stands for another policy: -want +got\n%s", diff)
	}
}

func TestAListOfRolesHasTheDefaultsForTheRest(t *testing.T) {
	want := DefaultPolicy()
	want.RequiredRoles, want.OptionalRoles = []Role{"super_admin"}, nil
	for _, raw := range []string{`["super_admin"]`, ` [ "super_admin" ] `, `{"mfa_enforcement":{"required_roles":["super_admin"]}}`} {
		got := parsed(t, raw)
		want.Revision = got.Revision
		if diff := cmp.Diff(want, got, comparePatterns); diff != "" {
			t.Errorf("%s: -want +got\n%s", raw, diff)
		}
	}
}

func TestAMissingRecordIsNoPolicy(t *testing.T) {
	for _, raw := range []string{"", " \n", "null", " null "} {
		if p, err := ParsePolicy([]byte(raw)); !errors.Is(err, ErrNoPolicy) || p.Valid() {
			t.Errorf("%q: %v, %t; want ErrNoPolicy", raw, err, p.Valid())
		}
	}
}

func TestTheZeroPolicyIsInvalid(t *testing.T) {
	if (Policy{}).Valid() {
		t.Error("it is valid")
	}
}

func TestEveryProblemIsReportedAtOnceWithItsPath(t *testing.T) {
	const raw = `{"mfa_enforcement": {"required_roles": ["a", "", "b"], "optional_roles": ["b"], "grace_period_days": -1, "new_in_the_product": true},
		"override": {"max_hours": 25, "sign_out": "yes", "notice_hours": [0, 1, 25], "budget": {"overrides": -1, "days": 0, "weeks": 1},
		"justification": {"min_length": null, "ticket_pattern": "(", "before_hours": "24", "late_minutes": 1441}, "max_ours": 8}}`
	_, err := ParsePolicy([]byte(raw))
	if err == nil {
		t.Fatal("no problem")
	}
	want := []string{
		"mfa_enforcement: a role has an empty name", `mfa_enforcement: "b" is both required and optional`, "mfa_enforcement.grace_period_days: -1",
		"override.max_hours: 25", "override.sign_out: want true or false, have a string", "override.notice_hours[0]: 0", "override.notice_hours[2]: 25",
		"override.budget.overrides: -1", "override.budget.days: 0", "override.budget.weeks: unknown field",
		"override.justification.min_length: is null", "override.justification.ticket_pattern: ", "override.justification.before_hours: want a whole number, have a string",
		"override.justification.late_minutes: 1441", "override.max_ours: unknown field",
	}
	for _, problem := range want {
		if !strings.Contains(err.Error(), problem) {
			t.Errorf("%q is not reported", problem)
		}
	}
	if got := strings.Count(err.Error(), "\n") + 1; got != len(want) {
		t.Errorf("%d problems, want %d:\n%v", got, len(want), err)
	}
}

func TestAPolicyThatIsNotSoundIsNotUsed(t *testing.T) {
	for raw, problem := range map[string]string{
		`[]`: "mfa_enforcement.required_roles: names no role",
		`{"mfa_enforcement":{"required_roles":[]}}`: "mfa_enforcement.required_roles: names no role",
		`{"mfa_enforcement":null}`:                  "mfa_enforcement: is null",
		`{"mfa_enforcement":[]}`:                    "mfa_enforcement: want an object",
		`{"mfa_enforcement":{"required_roles":1}}`:  "mfa_enforcement.required_roles: want a list, have a number",
		`"super_admin"`:                             "the record: want an object",
		`[1]`:                                       "required_roles: want a string, have a number",
		`[null]`:                                    "a role has an empty name",
		`["a"`:                                      "required_roles: unexpected end",
		`["a"] x`:                                   "required_roles: invalid character",
		"{\xff":                                     "the record: want an object",
	} {
		p, err := ParsePolicy([]byte(raw))
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v, want %q", raw, err, problem)
		}
		if p.Valid() || len(p.RequiredRoles) > 0 {
			t.Errorf("%s: the error comes with a policy", raw)
		}
	}
}

func TestHoursAreCappedAtADay(t *testing.T) {
	for hours, ok := range map[string]bool{"0": false, "1": true, "24": true, "25": false, "1e3": false, "1.5": false} {
		_, err := ParsePolicy([]byte(`{"mfa_enforcement":{"required_roles":["a"]},"override":{"max_hours":` + hours + `}}`))
		if (err == nil) != ok {
			t.Errorf("max_hours %s: %v", hours, err)
		}
	}
}

func TestNoticesAreInOrder(t *testing.T) {
	p := parsed(t, `{"mfa_enforcement":{"required_roles":["a"]},"override":{"notice_hours":[1,6,4]}}`)
	if diff := cmp.Diff([]time.Duration{6 * time.Hour, 4 * time.Hour, time.Hour}, p.Notices); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestTheRevisionIsTheContents(t *testing.T) {
	a, b := parsed(t, `["a"]`), parsed(t, `{ "mfa_enforcement": {"required_roles": ["a"], "grace_period_days": 7} }`)
	if a.Revision != b.Revision {
		t.Error("the same policy has two revisions")
	}
	if c := parsed(t, `["a","b"]`); c.Revision == a.Revision {
		t.Error("two policies have the same revision")
	}
}

func TestAPolicyIsWeakerThatAsksForLess(t *testing.T) {
	old := parsed(t, `{"mfa_enforcement":{"required_roles":["a","b"],"grace_period_days":3},"override":{"max_hours":8}}`)
	for _, c := range []struct {
		name, raw string
		want      []string
	}{
		{"the same", `{"mfa_enforcement":{"required_roles":["b","a"],"grace_period_days":3},"override":{"max_hours":8}}`, nil},
		{"a role less", `{"mfa_enforcement":{"required_roles":["a"],"optional_roles":["b"],"grace_period_days":3},"override":{"max_hours":8}}`, []string{"b no longer requires MFA"}},
		{"more of everything", `["c"]`, []string{
			"a no longer requires MFA", "b no longer requires MFA", "overrides last up to 24 hours, not 8", "new users have 7 days, not 3",
		}},
		{"stronger", `{"mfa_enforcement":{"required_roles":["a","b","c"],"grace_period_days":0},"override":{"max_hours":1}}`, nil},
	} {
		if diff := cmp.Diff(c.want, parsed(t, c.raw).Weaker(old)); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
	}
}

func TestAFileThatIsNoPolicyIsNotTakenForOne(t *testing.T) {
	for raw, problem := range map[string]string{
		`{"required_roles":["super_admin"],"max_hours":4}`: "required_roles: unknown field",
		`{"mfa_enforcment":{}}`:                            "mfa_enforcment: unknown field",
		`{"mfa_enforcement":{"required_role":["viewer"]}}`: "mfa_enforcement.required_role: unknown field",
	} {
		if _, err := ParsePolicy([]byte(raw)); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v, want %q", raw, err, problem)
		}
	}
	if _, err := ParsePolicy([]byte(`{"mfa_enforcement":{"required_roles":["a"],"their_own":1},"theirs":{}}`)); err != nil {
		t.Errorf("the product's own fields beside ours: %v", err)
	}
}

func TestWhatADocumentLeavesOutHasItsDefault(t *testing.T) {
	for _, raw := range []string{`{}`, `{"override":{"max_hours":8}}`, `{"mfa_enforcement":{"grace_period_days":3}}`} {
		p, err := ParsePolicy([]byte(raw))
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if diff := cmp.Diff(DefaultPolicy().RequiredRoles, p.RequiredRoles); diff != "" {
			t.Errorf("%s: required roles (-default +got):\n%s", raw, diff)
		}
	}
}
