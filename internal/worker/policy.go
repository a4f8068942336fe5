package worker

import (
	"bytes"
	"context"
	"fmt"

	"github.com/stackflow/relatch/internal/mfa"
)

// policy is what was read last and what was good last.
type policy struct {
	refreshed bool
	read      bool // the last time
	raw       []byte
	good      mfa.Policy // invalid: none
}

// rules is the policy that holds.
func (w *Worker) rules() mfa.Policy {
	if !w.policy.good.Valid() {
		return mfa.DefaultPolicy()
	}
	return w.policy.good
}

// Refresh reads the policy record. Where it has changed, what that means is
// decided and told; a record that cannot be read or used leaves the last good
// policy, else the defaults, in force.
func (w *Worker) Refresh(ctx context.Context) (Seen, error) {
	raw, unread := w.Policy.Read(ctx)
	switch {
	case ctx.Err() != nil:
		return Seen{}, fmt.Errorf("read the policy: %w", ctx.Err())
	case unread == nil && w.policy.read && bytes.Equal(raw, w.policy.raw):
		return Seen{}, nil
	}
	r := mfa.Reading{Raw: raw, Err: unread}
	if unread == nil {
		r.Policy, r.Err = mfa.ParsePolicy(raw)
	}
	seen, err := w.look(ctx, mfa.Change{Kind: mfa.Swept}, func(s *mfa.State) { s.Reading = &r })
	if err != nil {
		return seen, err
	}
	good := r.Policy
	if r.Err != nil {
		if good, err = lastGood(ctx, w.Ledger); err != nil {
			return seen, err
		}
	}
	*w.policy = policy{refreshed: true, read: unread == nil, raw: raw, good: good}
	return seen, nil
}

// Loader is what loads of a Ledger.
type Loader interface {
	Load(context.Context, Query) (Loaded, error)
}

// lastGood is the newest policy that could be used, the zero Policy if there was none.
func lastGood(ctx context.Context, from Loader) (mfa.Policy, error) {
	loaded, err := from.Load(ctx, Query{Journal: mfa.PolicyJournal})
	if err != nil {
		return mfa.Policy{}, fmt.Errorf("load the last good policy: %w", err)
	}
	p, err := mfa.ParsePolicy(loaded.Standing.Policy)
	if err != nil {
		return mfa.Policy{}, nil //nolint:nilerr // only good documents are kept: there was none
	}
	return p, nil
}

// Rules returns the policy that holds, as Refresh has it, for those who decide
// nothing: nothing is kept or told of the record.
func Rules(ctx context.Context, record PolicySource, l Loader) (mfa.Policy, error) {
	raw, err := record.Read(ctx)
	if ctx.Err() != nil {
		return mfa.Policy{}, fmt.Errorf("read the policy: %w", ctx.Err())
	}
	if err == nil {
		if p, err := mfa.ParsePolicy(raw); err == nil {
			return p, nil
		}
	}
	p, err := lastGood(ctx, l)
	if err == nil && !p.Valid() {
		p = mfa.DefaultPolicy()
	}
	return p, err
}
