package worker_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// shuffled lists the members in another order every time.
type shuffled struct {
	worker.UserPool
	t *rapid.T
}

func (s shuffled) Members(ctx context.Context, pool mfa.PoolID, role mfa.Role) iter.Seq2[mfa.Sub, error] {
	var subs []mfa.Sub
	for sub, err := range s.UserPool.Members(ctx, pool, role) {
		if err != nil {
			s.t.Fatal(err)
		}
		subs = append(subs, sub)
	}
	subs = rapid.Permutation(subs).Draw(s.t, "order")
	return func(yield func(mfa.Sub, error) bool) {
		for _, sub := range subs {
			if !yield(sub, nil) {
				return
			}
		}
	}
}

// drawTown is an account with two pools and some users in them, with and without
// required roles and factors.
func drawTown(t *rapid.T) account.File {
	f := account.File{}
	for _, id := range []mfa.PoolID{"pool-b", "pool-a"} {
		f.Pools = append(f.Pools, account.PoolFile{ID: id, Mode: mfa.ModeOptional, Factors: []mfa.Factor{mfa.TOTP}, PreToken: new(true)})
		for i := range rapid.IntRange(0, 6).Draw(t, "users") {
			u := account.UserFile{Pool: id, Sub: mfa.Sub(fmt.Sprint("user-", i)), Enabled: new(true)}
			u.Roles = rapid.SampledFrom([][]mfa.Role{nil, {"itsm_manager"}, {"itsm_manager", "cloud_admin"}}).Draw(t, "roles")
			u.Factors = rapid.SampledFrom([][]mfa.Factor{nil, {mfa.TOTP}}).Draw(t, "factors")
			u.Registered = u.Factors
			f.Users = append(f.Users, u)
		}
	}
	return f
}

// A round may be one pass or many: all the same users are looked at, and each
// pool once they have been. Only those who are open are looked at again.
func TestARoundInManyPassesLooksAtWhatOnePassLooksAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawTown(t)
		disabled := rapid.SliceOfDistinct(rapid.IntRange(0, 12), rapid.ID).Draw(t, "disabled")
		sweep := func(enough func() func() bool) map[string]int {
			h := houseOf(f, func(p worker.Ports) worker.Ports {
				p.Users = shuffled{p.Users, t}
				return p
			})
			for _, i := range disabled {
				if i >= len(f.Users) {
					continue
				}
				c := disable(fmt.Sprint("e-", i), h.now, mfa.TOTP)
				c.Pool, c.Sub = f.Users[i].Pool, f.Users[i].Sub
				h.Call(c)
				if _, err := h.audit.Look(context.Background(), c); err != nil {
					t.Fatal(err)
				}
			}
			looks := map[string]int{}
			for from := (worker.Place{}); ; {
				now := map[string]int{}
				place, err := h.audit.Sweep(context.Background(), worker.Round{From: from, Enough: enough(), Looks: func(pool mfa.PoolID, sub mfa.Sub, _ worker.Seen) {
					if pool != "" {
						now[string(pool)+"/"+string(sub)]++
					}
				}})
				if err != nil {
					t.Fatal(err)
				}
				for who, n := range now {
					if n > 1 {
						t.Errorf("one pass looks at %s %d times", who, n)
					}
					looks[who] += n
				}
				if from = place; from == (worker.Place{}) {
					break
				}
			}
			for who, n := range looks {
				open := slices.ContainsFunc(h.standings(t), func(s mfa.Standing) bool { return s.Journal == "user/"+who })
				if n > 1 && !open {
					t.Errorf("%s is looked at %d times", who, n)
				}
				looks[who] = 1
			}
			return looks
		}
		one := sweep(func() func() bool { return nil })
		passes := 0
		many := sweep(func() func() bool {
			if passes++; passes > 20 { // one that never ends would prove nothing
				return nil
			}
			left := rapid.IntRange(0, 9).Draw(t, "looks")
			return func() bool { left--; return left < 0 }
		})
		if diff := cmp.Diff(one, many); diff != "" {
			t.Errorf("-one pass +many:\n%s", diff)
		}
	})
}

// standings are those that the ledger lists as open.
func (h *house) standings(t rapid.TB) []mfa.Standing {
	t.Helper()
	var all []mfa.Standing
	for _, pool := range h.audit.House.Pools {
		for s, err := range h.Open(context.Background(), pool) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
	}
	return all
}

func TestTheCensusCountsEachOverrideOnce(t *testing.T) {
	h := houseOf(crowd(6), nil)
	for i, o := range []*mfa.Override{nil, {}, {Overdue: true}, {Overdue: true}, {Unrestorable: true}, {Unrestorable: true, Overdue: true}} {
		if o != nil {
			o.ID = fmt.Sprint("O-", i)
		}
		journal := mfa.UserJournal(pool, mfa.Sub(fmt.Sprint("user-", i)))
		s := mfa.Standing{Journal: journal, Version: 1, Override: o, SignOut: true} // also a sign-out that is owed is open
		if err := h.Append(t.Context(), worker.Step{Standing: s}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.audit.Census(t.Context())
	if diff := cmp.Diff(worker.Census{Open: 5, Overdue: 2, Unrestorable: 2}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// unread is a policy record that cannot be read now.
type unread struct {
	worker.PolicySource
	err error
}

func (u *unread) Read(ctx context.Context) ([]byte, error) {
	if u.err != nil {
		return nil, u.err
	}
	return u.PolicySource.Read(ctx)
}

func TestAPolicyThatCannotBeReadLeavesTheLastGoodOneAndIsToldOnce(t *testing.T) {
	source := &unread{}
	h := newHouse(t, `{"users":[{"pool_id":"us-east-1_EXAMPLE12","sub":"maria","roles":["auditor"],"factors":["totp"],"registered":["totp"]}]}`, func(p worker.Ports) worker.Ports {
		source.PolicySource = p.Policy
		p.Policy = source
		return p
	})
	told := func() []string {
		var all []string
		for _, a := range h.Sent() {
			all = append(all, string(a.Kind)+" "+string(a.State))
		}
		return all
	}
	refresh := func() {
		t.Helper()
		if _, err := h.audit.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.now = h.now.Add(time.Minute)
	}
	h.SetPolicy([]byte(`["auditor"]`))
	refresh()
	told()
	source.err = errors.New("throttled")
	for range 3 {
		refresh()
	}
	if diff := cmp.Diff([]string{"policy_invalid triggered"}, told()); diff != "" {
		t.Errorf("while it cannot be read (-want +got):\n%s", diff)
	}
	h.happens(t, disable("e-1", h.now, mfa.TOTP))
	if in := h.standing(t).Incidents; len(in) != 1 || in[0].Kind != mfa.RequiredRoleWithoutMFA {
		t.Errorf("by the last good policy an auditor needs MFA; the incidents are %v", in)
	}
	told()
	source.err = nil
	for range 2 {
		refresh()
	}
	if diff := cmp.Diff([]string{"policy_invalid resolved"}, told()); diff != "" {
		t.Errorf("when it can be read again (-want +got):\n%s", diff)
	}
}
