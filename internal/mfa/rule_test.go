package mfa

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAMatchSaysEachFailedRuleWithItsFacts(t *testing.T) {
	first := claimed(spent(7*day-time.Second, time.Hour))
	for _, c := range []struct {
		name  string
		claim claim
		why   []string
	}{
		{"everything is met", claimed(), nil},
		{"nothing was written", claimed(func(c *claim) { c.all = nil }), []string{"nobody gave a reason"}},
		{"the user's own disable", claimed(func(c *claim) { c.actor.Type = Self }), []string{"users cannot justify a disable of their own"}},
		{"somebody else wrote it", claimed(wrote(func(j *Justification) { j.Author = lead })), []string{"the justification was not written by SupportAdmin/ops-7, who switched MFA off"}},
		{"an unknown actor", claimed(func(c *claim) { c.actor = Actor{} }), []string{"the justification was not written by whoever switched MFA off"}},
		{"too early", claimed(wrote(func(j *Justification) { j.At = t0.Add(-25 * time.Hour) })), []string{"the justification was written on 2026-11-22 07:00Z, more than 24 h before MFA was switched off"}},
		{"too late", claimed(wrote(func(j *Justification) { j.At = t0.Add(time.Hour) })), []string{"the justification was written on 2026-11-23 09:00Z, more than 15 min after MFA was switched off"}},
		{
			"used by another override", claimed(func(c *claim) { c.past = []Past{{ID: "O-1", OpenedAt: t0.Add(-time.Hour), Justification: "J-1"}} }),
			[]string{"J-1 has justified override O-1 of 2026-11-23 already"},
		},
		{
			"a ticket of another user", claimed(wrote(func(j *Justification) { j.TicketOf = &TicketUse{Pool: thePool, Sub: "ben", At: t0.AddDate(0, 0, -21)} })),
			[]string{"ticket CHG0012345 was used on 2026-11-02 for another user"},
		},
		{"over the budget", first, []string{"the justification needs an approver who is neither its author nor the user: 2 of 2 overrides in 7 days are used, the first on 2026-11-16"}},
		{"an approver is required", claimed(approvalRequired), []string{"the justification needs an approver who is neither its author nor the user: the policy asks for one"}},
		{
			"no budget at all", claimed(func(c *claim) { c.policy.Budget = 0 }),
			[]string{"the justification needs an approver who is neither its author nor the user: the policy allows no override without one"},
		},
		{"approved too late", claimed(approvalRequired, approvedAt(time.Hour)), []string{"the approval came on 2026-11-23 09:00Z, more than 15 min after MFA was switched off"}},
		{
			"its text", claimed(wrote(func(j *Justification) { j.Reason, j.Ticket = "test", "?" })),
			[]string{"the reason has fewer than 15 characters", "the reason says nothing about this case", "the ticket does not match ^(INC|CHG)[0-9]{7}$"},
		},
	} {
		if diff := cmp.Diff(c.why, c.claim.match().Why); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
	}
}

// TestEveryRuleIsSaid: with facts and without, in words of its own, and never
// with what only alerts may have.
func TestEveryRuleIsSaid(t *testing.T) {
	all := constants(t, "Rule")
	j := reasonable()
	j.Author, j.Approver = lead, lead
	facts := Facts{Justification: j, Policy: DefaultPolicy(), Actor: admin, At: t0, Used: &Past{ID: "O-1", OpenedAt: t0}, Spent: 2, Since: t0}
	for _, f := range []Facts{{}, facts} {
		said := map[string]bool{}
		for _, rule := range slices.Sorted(maps.Values(all)) {
			text := Rule(rule).Says(f)
			if text == rule || text == "" || said[text] {
				t.Errorf("%s says %q", rule, text)
			}
			if strings.Contains(text, "eva") || strings.Contains(text, j.Reason) {
				t.Errorf("%s says who wrote or approved, or the reason: %q", rule, text)
			}
			said[text] = true
		}
	}
}

func TestAnApproverIsNeededOverTheBudgetOrByPolicy(t *testing.T) {
	p := DefaultPolicy()
	asks := p
	asks.RequireApprover = true
	for _, c := range []struct {
		claim  claim
		policy Policy
		want   bool
	}{
		{claimed(spent(time.Hour)), p, false},
		{claimed(spent(time.Hour, 2*time.Hour)), p, true},
		{claimed(spent(time.Hour, 7*day)), p, false},
		{claimed(), asks, true},
	} {
		if got := (Standing{Past: c.claim.past}).NeedsApprover(t0, c.policy); got != c.want {
			t.Errorf("%v: %t, want %t", c.claim.past, got, c.want)
		}
	}
}

func TestWhatWasDeletedCannotBeRestored(t *testing.T) {
	deleted := func(at time.Time) Change {
		c := change(TokenDeleted, "AdminDeleteSoftwareToken", at)
		c.Off = []Factor{TOTP}
		return c
	}
	phone := change(UserChanged, "AdminDeleteUserAttributes", t0)
	phone.Off = []Factor{SMS}
	bySMS := but(now(), optional, func(s *State) { s.Standing.Baseline = &Baseline{Factors: []Factor{SMS}} })
	for _, c := range []struct {
		name    string
		state   State
		changes []Change
		want    []Factor
	}{
		{"switched off", now(), []Change{off(t0, TOTP)}, []Factor{TOTP}},
		{"the token is deleted", now(), []Change{deleted(t0)}, nil},
		{"switched off, then deleted", now(), []Change{off(t0, TOTP), deleted(t0.Add(time.Minute))}, nil},
		{"deleted, then enrolled anew", now(), []Change{deleted(t0), verified(t0.Add(time.Minute))}, []Factor{TOTP}},
		{"the phone number is deleted", bySMS, []Change{phone}, nil},
	} {
		s := c.state
		for _, change := range c.changes {
			s.Standing = Decide(s, change, DefaultPolicy(), change.At.Add(time.Second)).Standing
		}
		if s.Standing.Override == nil {
			t.Fatalf("%s: no override is open", c.name)
		}
		if diff := cmp.Diff(c.want, s.Standing.Override.Restorable()); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
		s.Standing.Override.Unrestorable = true
		if got := s.Standing.Override.Restorable(); got != nil {
			t.Errorf("%s: Cognito refuses, but %v", c.name, got)
		}
	}
}
