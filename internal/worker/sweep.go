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

// SweepEvery is how often the sweep runs.
const SweepEvery = 15 * time.Minute

// Round is one pass of the sweep. The zero Round looks at everybody, in one go.
type Round struct {
	// From is where the pass before stopped; the zero Place begins anew.
	From Place
	// Enough is asked before each look whether to stop. Nil never stops.
	Enough func() bool
	// Skip may leave out users of whom is known that a look changes nothing.
	Skip func(mfa.PoolID, mfa.Sub) bool
	// Looks is told of every look. The policy's look names no pool, a pool's no sub.
	Looks func(mfa.PoolID, mfa.Sub, Seen)
}

// Place is where a pass stopped: at the users of the pool that come after the
// sub. The zero Place means that it did not stop.
type Place struct {
	Pool mfa.PoolID `json:"pool"`
	Sub  mfa.Sub    `json:"sub,omitempty"`
	// Failed: somebody in the pool could not be looked at.
	Failed bool `json:"failed,omitempty"`
}

// Sweep looks at whoever the ledger lists as open, those first that are due
// first, then at every user with a required role or in the posture, and at each
// pool once all its users have been looked at. A pass that stopped is resumed by another one from
// the Place that this one returns; what is open comes first in each. One user's
// trouble does not keep the others from being looked at: errors are joined.
func (w *Worker) Sweep(ctx context.Context, r Round) (Place, error) {
	if r.Looks == nil {
		r.Looks = func(mfa.PoolID, mfa.Sub, Seen) {}
	}
	seen, err := w.Refresh(ctx)
	r.Looks("", "", seen)
	p := pass{Worker: w, Round: r, errs: []error{err}}
	for _, id := range w.House.Pools {
		p.pools = append(p.pools, p.open(ctx, id))
	}
	place := p.all(ctx)
	return place, errors.Join(p.errs...)
}

// pass is one Round in progress.
type pass struct {
	*Worker
	Round
	pools []*sweptPool
	errs  []error
}

// sweptPool is a pool in a pass.
type sweptPool struct {
	id      mfa.PoolID
	swept   []mfa.Role // as its journal has it
	listed  []mfa.Sub  // open when the pass began, but for the posture
	posture []mfa.Sub  // open for the posture alone
	visited map[mfa.Sub]bool
	failed  bool // not everybody could be looked at
}

// fail notes that not everybody could be looked at. What fails because the pass
// is stopped is looked at by the next one.
func (p *pass) fail(ctx context.Context, pool *sweptPool, err error) {
	if ctx.Err() == nil {
		pool.failed = true
		p.errs = append(p.errs, err)
	}
}

func (p *pass) open(ctx context.Context, id mfa.PoolID) *sweptPool {
	pool := &sweptPool{id: id, visited: map[mfa.Sub]bool{}}
	standing, err := p.standing(ctx, mfa.PoolJournal(id))
	if err != nil {
		p.fail(ctx, pool, fmt.Errorf("load the journal of pool %s: %w", id, err))
	}
	pool.swept = standing.Swept
	pool.listed, err = p.listed(ctx, id, func(s mfa.Standing) bool {
		if s.OnlyPosture() {
			pool.posture = append(pool.posture, subOf(id, s))
			return false
		}
		return true
	})
	if err != nil {
		p.fail(ctx, pool, err)
	}
	return pool
}

func (p *pass) all(ctx context.Context) Place {
	begin := max(0, slices.IndexFunc(p.pools, func(pool *sweptPool) bool { return pool.id == p.From.Pool }))
	if len(p.pools) > 0 && p.pools[begin].id != p.From.Pool {
		p.From = Place{Pool: p.pools[begin].id}
	}
	for _, pool := range p.pools {
		for _, sub := range pool.listed {
			if p.enough(ctx) {
				return p.From
			}
			p.visit(ctx, pool, sub)
		}
	}
	for _, pool := range p.pools[begin:] {
		if pool.id != p.From.Pool {
			p.From = Place{Pool: pool.id}
		}
		if !p.walk(ctx, pool) {
			return p.From
		}
	}
	return Place{}
}

// enough reports whether to stop. Nothing can be looked at when the context has ended.
func (p *pass) enough(ctx context.Context) bool {
	return ctx.Err() != nil || p.Enough != nil && p.Enough()
}

func (p *pass) visit(ctx context.Context, pool *sweptPool, sub mfa.Sub) {
	if pool.visited[sub] || p.Skip != nil && p.Skip(pool.id, sub) {
		return
	}
	pool.visited[sub] = true
	seen, err := p.look(ctx, mfa.Change{Kind: mfa.Swept, Pool: pool.id, Sub: sub}, func(s *mfa.State) { s.Swept = pool.swept })
	if err != nil && !errors.Is(err, ErrBusy) { // whoever is busy with him sees to him
		p.fail(ctx, pool, fmt.Errorf("sweep user %s: %w", sub, err))
	}
	p.Looks(pool.id, sub, seen)
}

// walk looks at the users with a required role in the order of their subs,
// which does not depend on the order in which Cognito lists them, and then at
// the pool. It reports whether it came to the end, and leaves in From where not.
func (p *pass) walk(ctx context.Context, pool *sweptPool) bool {
	pool.failed = pool.failed || p.From.Failed
	for _, sub := range p.members(ctx, pool) {
		if sub <= p.From.Sub {
			continue
		}
		if p.enough(ctx) {
			p.From.Failed = pool.failed
			return false
		}
		p.visit(ctx, pool, sub)
		if ctx.Err() != nil { // he was not looked at
			break
		}
		p.From.Sub = sub
	}
	if p.From.Failed = pool.failed; ctx.Err() != nil {
		return false
	}
	if pool.failed {
		return true // not a complete sweep: the posture is counted another time
	}
	posture, err := p.listed(ctx, pool.id, func(s mfa.Standing) bool { return s.Posture })
	if err != nil {
		p.fail(ctx, pool, err)
		return ctx.Err() == nil
	}
	slices.Sort(posture)
	told, err := p.look(ctx, mfa.Change{Kind: mfa.Swept, Pool: pool.id}, func(s *mfa.State) { s.Listed = posture })
	p.Looks(pool.id, "", told)
	if err != nil {
		p.fail(ctx, pool, fmt.Errorf("sweep pool %s: %w", pool.id, err))
	}
	return ctx.Err() == nil
}

// members are the users with a required role, and those in the posture, who may
// have one no more: each once, sorted.
func (p *pass) members(ctx context.Context, pool *sweptPool) []mfa.Sub {
	subs := pool.posture
	for _, role := range p.rules().RequiredRoles {
		for sub, err := range p.Users.Members(ctx, pool.id, role) {
			if err != nil {
				p.fail(ctx, pool, fmt.Errorf("list the members of %s: %w", role, err))
				break
			}
			subs = append(subs, sub)
		}
	}
	slices.Sort(subs)
	return slices.Compact(subs)
}

// listed returns those of the users whom the ledger lists as open that are wanted.
func (w *Worker) listed(ctx context.Context, pool mfa.PoolID, wanted func(mfa.Standing) bool) ([]mfa.Sub, error) {
	var subs []mfa.Sub
	for s, err := range w.Ledger.Open(ctx, pool) {
		if err != nil {
			return subs, fmt.Errorf("list what is open in %s: %w", pool, err)
		}
		if wanted(s) {
			subs = append(subs, subOf(pool, s))
		}
	}
	return subs, nil
}

// subOf is whose journal it is.
func subOf(pool mfa.PoolID, s mfa.Standing) mfa.Sub {
	return mfa.Sub(strings.TrimPrefix(s.Journal, mfa.UserJournal(pool, "")))
}

// Census is how many overrides have not ended.
type Census struct {
	Open         int // all of them
	Overdue      int // of these, told as overdue, and not only because Relatch observes
	Unrestorable int // of these, waiting for their users to enrol
}

// Census counts what the ledger lists as open.
func (w *Worker) Census(ctx context.Context) (Census, error) {
	var c Census
	for _, pool := range w.House.Pools {
		for s, err := range w.Ledger.Open(ctx, pool) {
			switch o := s.Override; {
			case err != nil:
				return Census{}, fmt.Errorf("count what is open in %s: %w", pool, err)
			case o == nil:
			case o.Unrestorable:
				c.Open, c.Unrestorable = c.Open+1, c.Unrestorable+1
			case o.Overdue && (!o.Tried || !w.House.Observe):
				c.Open, c.Overdue = c.Open+1, c.Overdue+1
			default:
				c.Open++
			}
		}
	}
	return c, nil
}

// Bookmark is what one sweep leaves to the next.
type Bookmark struct {
	Place Place `json:"place,omitzero"`
	// Failed: an earlier pass of the round that stopped there had an error.
	Failed bool `json:"failed,omitempty"`
	// BegunAt is when the very first round began, CompletedAt when one last came
	// to its end without an error.
	BegunAt     time.Time `json:"begun_at,omitzero"`
	CompletedAt time.Time `json:"completed_at,omitzero"`
}
