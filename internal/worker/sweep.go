package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
)

// Sweep looks at every user with a required role and at whoever the ledger
// lists as open, then at each pool. looks tells the caller of every look, and
// may be nil; skip may leave out users of whom is known that a look changes
// nothing, and may be nil too. One user's trouble does not keep the others from
// being looked at: errors are joined.
func (w *Worker) Sweep(ctx context.Context, skip func(mfa.PoolID, mfa.Sub) bool, looks func(mfa.PoolID, mfa.Sub, Seen)) error {
	if looks == nil {
		looks = func(mfa.PoolID, mfa.Sub, Seen) {}
	}
	seen, err := w.Refresh(ctx)
	looks("", "", seen)
	errs := []error{err}
	for _, pool := range w.House.Pools {
		errs = append(errs, w.sweepPool(ctx, pool, skip, looks))
	}
	return errors.Join(errs...)
}

func (w *Worker) sweepPool(ctx context.Context, pool mfa.PoolID, skip func(mfa.PoolID, mfa.Sub) bool, looks func(mfa.PoolID, mfa.Sub, Seen)) error {
	standing, _, err := w.Ledger.Load(ctx, mfa.PoolJournal(pool), "")
	if err != nil {
		return fmt.Errorf("load the journal of pool %s: %w", pool, err)
	}
	var errs []error
	visited := map[mfa.Sub]bool{}
	visit := func(sub mfa.Sub) {
		if visited[sub] || skip != nil && skip(pool, sub) {
			return
		}
		visited[sub] = true
		seen, err := w.look(ctx, mfa.Change{Kind: mfa.Swept, Pool: pool, Sub: sub}, func(s *mfa.State) { s.Swept = standing.Swept })
		if err != nil && !errors.Is(err, ErrBusy) { // whoever is busy with him sees to him
			errs = append(errs, fmt.Errorf("sweep user %s: %w", sub, err))
		}
		looks(pool, sub, seen)
	}
	for _, role := range w.policy.holds.RequiredRoles {
		for sub, err := range w.Users.Members(ctx, pool, role) {
			if err != nil {
				errs = append(errs, fmt.Errorf("list the members of %s: %w", role, err))
				break
			}
			visit(sub)
		}
	}
	open, err := w.listed(ctx, pool, func(mfa.Standing) bool { return true })
	errs = append(errs, err)
	for _, sub := range open {
		visit(sub)
	}
	if err := errors.Join(errs...); err != nil {
		return err // not a complete sweep: the posture is counted another time
	}
	posture, err := w.listed(ctx, pool, func(s mfa.Standing) bool { return s.Posture })
	if err != nil {
		return err
	}
	slices.Sort(posture)
	told, err := w.look(ctx, mfa.Change{Kind: mfa.Swept, Pool: pool}, func(s *mfa.State) { s.Listed = posture })
	looks(pool, "", told)
	return err
}

// listed returns those of the users whom the ledger lists as open that are wanted.
func (w *Worker) listed(ctx context.Context, pool mfa.PoolID, wanted func(mfa.Standing) bool) ([]mfa.Sub, error) {
	var subs []mfa.Sub
	for s, err := range w.Ledger.Open(ctx, pool) {
		if err != nil {
			return subs, fmt.Errorf("list what is open in %s: %w", pool, err)
		}
		if wanted(s) {
			subs = append(subs, mfa.Sub(strings.TrimPrefix(s.Journal, mfa.UserJournal(pool, ""))))
		}
	}
	return subs, nil
}

// SweepEvery is how often the sweep runs.
const SweepEvery = 15 * time.Minute
