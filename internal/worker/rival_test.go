package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// before lets something happen before the n-th call, from 1, of the ledger.
type before struct {
	worker.Ledger
	n  int
	do func()
}

func (b *before) tick() {
	if b.n--; b.n == 0 {
		b.do()
	}
}

func (b *before) Load(ctx context.Context, q worker.Query) (worker.Loaded, error) {
	b.tick()
	return b.Ledger.Load(ctx, q)
}

func (b *before) Justifications(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) ([]mfa.Justification, error) {
	b.tick()
	return b.Ledger.Justifications(ctx, pool, sub)
}

func (b *before) Append(ctx context.Context, s worker.Step) error {
	b.tick()
	return b.Ledger.Append(ctx, s)
}

// A reason is recorded, and somebody else looks at the user for it, before each call
// that the opening of the override makes: whoever is slower finds the other's work.
func TestAReasonThatComesWhileTheOverrideIsOpenedCounts(t *testing.T) {
	reason := mfa.Justification{
		ID: "J-1", Reason: "Phone fell into the lake at Annecy", Ticket: "CHG0012345", Cause: mfa.OtherCause,
		Author: "arn:aws:iam::111122223333:user/ops", At: noon,
	}
	for n := 1; ; n++ {
		between := &before{n: n}
		h := newHouse(t, one(`["totp"]`, `["totp"]`), func(p worker.Ports) worker.Ports {
			between.Ledger = p.Ledger
			p.Ledger = between
			return p
		})
		other := worker.New(h.audit.House, worker.Ports{Users: h, Ledger: h, Timer: h, Queue: h, Alerts: h, Policy: h}, func() time.Time { return h.now })
		justified := mfa.Change{Kind: mfa.Justified, At: noon, Pool: pool, Sub: "maria", Actor: mfa.Actor{ARN: reason.Author, Type: mfa.Admin}}
		var busy error
		between.do = func() {
			if _, err := h.Justify(t.Context(), pool, "maria", reason); err != nil {
				t.Fatal(err)
			}
			_, busy = other.Look(t.Context(), justified)
		}
		h.happens(t, disable("e-1", noon, mfa.TOTP))
		if between.n > 0 {
			if n < 4 {
				t.Fatalf("the opening makes %d calls", n-1)
			}
			return
		}
		if busy != nil {
			if !errors.Is(busy, worker.ErrBusy) {
				t.Fatal(busy)
			}
			h.looks(t, other, justified) // the message comes again
		}
		o := h.standing(t).Override
		if o == nil || !o.Match.Justified() || o.Disables != 1 || o.Match.Digest != reason.Sum() {
			t.Fatalf("before call %d: %+v", n, o)
		}
		if got := fmt.Sprint(h.standing(t).Incidents); len(h.standing(t).Incidents) != 1 || h.standing(t).Incidents[0].Severity != mfa.Warning {
			t.Errorf("before call %d the incidents are %s", n, got)
		}
	}
}

func TestWhatWasOnlyTriedIsNotOverdueWhileRelatchObserves(t *testing.T) {
	h := newHouse(t, one(`["totp"]`, `["totp"]`), nil)
	h.audit.House.Observe, h.reenable.House.Observe = true, true
	count := func(want worker.Census) {
		t.Helper()
		if got, err := h.audit.Census(t.Context()); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	h.happens(t, disable("e-1", noon, mfa.TOTP))
	h.now = noon.Add(24*time.Hour + mfa.OverdueAfter)
	swept := mfa.Change{Kind: mfa.Swept, Pool: pool, Sub: "maria"}
	h.looks(t, h.audit, swept) // reenable has not tried it: told as overdue, and it is
	count(worker.Census{Open: 1, Overdue: 1})
	h.looks(t, h.reenable, due)
	count(worker.Census{Open: 1})
	h.audit.House.Observe, h.reenable.House.Observe = false, false
	count(worker.Census{Open: 1, Overdue: 1})
	h.looks(t, h.reenable, swept)
	if on := h.factors(); len(on) != 1 {
		t.Errorf("enforced, and switched on are %v", on)
	}
	count(worker.Census{})
}
