package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

func TestTogetherWaitsForAllAndJoinsTheirErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, first, second := time.Now(), errors.New("first"), errors.New("second")
		err := worker.Together(
			func() error { return first },
			func() error { <-time.After(time.Second); return second },
			func() error { <-time.After(time.Second); return nil },
			func() error { panic("trouble") },
		)
		if !errors.Is(err, first) || !errors.Is(err, second) || !strings.Contains(err.Error(), "panic: trouble") || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// meanwhile lets something happen between the look at a user and the answer of the ledger.
type meanwhile struct {
	worker.Ledger
	do func()
}

func (m *meanwhile) Load(ctx context.Context, q worker.Query) (worker.Loaded, error) {
	if do := m.do; do != nil {
		m.do = nil
		do()
	}
	return m.Ledger.Load(ctx, q)
}

// A sweep has looked at the user, who is protected; before the ledger answers it, the
// disable happens, and its delivery opens an override. What the sweep saw does not end it.
func TestALookThatIsOlderThanTheJournalEndsNothing(t *testing.T) {
	between := &meanwhile{}
	h := newHouse(t, one(`["totp"]`, `["totp"]`), func(p worker.Ports) worker.Ports {
		between.Ledger = p.Ledger
		p.Ledger = between
		return p
	})
	sweep := *h.audit
	sweep.Together = func(calls ...func() error) error {
		for _, call := range calls { // the look at the user comes before the ledger's answer
			if err := call(); err != nil {
				return err
			}
		}
		return nil
	}
	between.do = func() { h.happens(t, disable("e-1", h.now, mfa.TOTP)) }
	h.looks(t, &sweep, mfa.Change{Kind: mfa.Swept, Pool: pool, Sub: "maria"})
	if s := h.standing(t); s.Override == nil {
		t.Errorf("the override has ended: %+v", s.Past)
	}
}

// refusing refuses whatever is asked of it.
type refusing struct{ worker.UserWriter }

func (refusing) Enable(context.Context, mfa.PoolID, mfa.Sub, []mfa.Factor, mfa.Factor) error {
	return worker.ErrRefused
}

func (refusing) SignOut(context.Context, mfa.PoolID, mfa.Sub) error { return worker.ErrRefused }

func TestASignOutThatIsRefusedKeepsNoAlertBack(t *testing.T) {
	h := newHouse(t, one(`["totp"]`, `["totp"]`), func(p worker.Ports) worker.Ports {
		p.Writer = refusing{}
		return p
	})
	h.happens(t, disable("e-1", h.now, mfa.TOTP))
	h.now = h.now.Add(25 * time.Hour)
	seen := h.looks(t, h.reenable, due)
	if len(seen.Records) != 1 || seen.Records[0].Reason != mfa.CannotRestore || len(seen.Records[0].Alerts) == 0 {
		t.Fatalf("%+v", seen)
	}
	for _, o := range seen.Records[0].Actions {
		if o.Result != mfa.Refused {
			t.Errorf("%s is %s", o.Do, o.Result)
		}
	}
	if s := h.standing(t); s.Intention != nil || !s.Override.Unrestorable {
		t.Errorf("%+v", s)
	}
}
