package mfa_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/refusaltest"
)

// played is the decision about the row's justification, and the standing before.
func played(r refusaltest.Row) (mfa.Standing, mfa.Decision) {
	const address = "maria@example.com"
	p := refusaltest.Place{
		Account: "111122223333", Pool: "us-east-1_EXAMPLE12", Sub: "s-maria", Other: "s-ben", Called: "maria",
		Now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
	}
	user := mfa.User{Sub: p.Sub, Found: true, Username: "maria", Enabled: true, Roles: []mfa.Role{"itsm_manager"}}
	if r.Address {
		p.Called, user.Username, user.Names = address, string(p.Sub), []string{address}
	}
	standing := r.Standing(p)
	state := mfa.State{
		House: mfa.House{Pools: []mfa.PoolID{p.Pool}}, Pool: mfa.Pool{Mode: mfa.ModeOptional}, User: user, Standing: standing,
		Justifications: []mfa.Justification{r.Justification(p)},
	}
	return standing, mfa.Decide(state, mfa.Change{Kind: mfa.Justified, Pool: p.Pool, Sub: p.Sub, At: p.Now}, mfa.DefaultPolicy(), p.Now)
}

func TestAJustificationThatMustNotCountFailsItsRules(t *testing.T) {
	for _, r := range refusaltest.Table() {
		t.Run(r.Name, func(t *testing.T) {
			before, d := played(r)
			if diff := cmp.Diff(r.Failed, d.Override.Failed); diff != "" || d.Override.Justification != "unjustified" {
				t.Errorf("%s; failed rules (-want +got):\n%s", d.Override.Justification, diff)
			}
			// Whoever approves is told more plainly than whoever reads the record.
			if says := slices.ContainsFunc(d.Override.Why, func(why string) bool { return strings.Contains(why, r.Says) }); !says && (r.Approver == "" || r.Problem == "") {
				t.Errorf("it says %q and nothing of %q", d.Override.Why, r.Says)
			}
			if d.Standing.Override.Deadline != before.Override.Deadline {
				t.Error("the deadline has moved")
			}
		})
	}
	if _, d := played(refusaltest.Good()); d.Override.Justification != "justified" {
		t.Errorf("what nothing is wrong with fails %v", d.Override.Failed)
	}
}
