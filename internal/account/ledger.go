package account

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// Ledger is a ledger in memory.
type Ledger struct {
	// Forget keeps no entries of journals, only where they stand.
	Forget bool

	journals       map[string]*journal
	justifications map[string][]mfa.Justification
	approvals      map[string]mfa.Approval // by journal and ID
	tickets        map[string]mfa.TicketUse
	counts         map[string][]mfa.Sub
	open           map[mfa.PoolID][]string // the journals that a sweep must look at, sorted
	steps          int
}

type journal struct {
	standing mfa.Standing
	keys     map[string]bool
	entries  []mfa.Entry
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{
		journals: map[string]*journal{}, justifications: map[string][]mfa.Justification{},
		approvals: map[string]mfa.Approval{}, tickets: map[string]mfa.TicketUse{}, counts: map[string][]mfa.Sub{}, open: map[mfa.PoolID][]string{},
	}
}

// Load implements worker.Ledger.
func (l *Ledger) Load(_ context.Context, q worker.Query) (worker.Loaded, error) {
	loaded := worker.Loaded{Standing: mfa.Standing{Journal: q.Journal}, Counted: l.counts[q.Count]}
	if j := l.journals[q.Journal]; j != nil {
		loaded.Standing, loaded.Known = j.standing, q.Key != "" && j.keys[q.Key]
	}
	return loaded, nil
}

// Append implements worker.Ledger.
func (l *Ledger) Append(_ context.Context, s worker.Step) error {
	j := l.journals[s.Standing.Journal]
	if j == nil {
		j = &journal{keys: map[string]bool{}}
	}
	switch {
	case s.Standing.Version != j.standing.Version:
		return fmt.Errorf("%w: %s is at version %d, not %d", worker.ErrConflict, s.Standing.Journal, j.standing.Version, s.Standing.Version)
	case s.Key != "" && j.keys[s.Key]:
		return fmt.Errorf("%w: %s has the cause key", worker.ErrConflict, s.Standing.Journal)
	case s.Count != nil && s.Count.Place != len(l.counts[s.Count.Key])+1:
		return fmt.Errorf("%w: %s has counted %d", worker.ErrConflict, s.Count.Key, len(l.counts[s.Count.Key]))
	}
	if s.Count != nil {
		l.counts[s.Count.Key] = append(slices.Clip(l.counts[s.Count.Key]), s.Count.Sub)
	}
	l.journals[s.Standing.Journal] = j
	j.standing = s.Standing
	j.standing.Version++
	if s.Key != "" {
		j.keys[s.Key] = true
	}
	if s.Entry != nil && !l.Forget {
		j.entries = append(j.entries, *s.Entry)
	}
	l.list(&j.standing)
	return nil
}

// list keeps the index of what the sweep must look at.
func (l *Ledger) list(s *mfa.Standing) {
	rest, ok := strings.CutPrefix(s.Journal, "user/")
	if !ok {
		return
	}
	id, _, _ := strings.Cut(rest, "/")
	pool := mfa.PoolID(id)
	open := l.open[pool]
	switch i, listed := slices.BinarySearch(open, s.Journal); {
	case s.Open() && !listed:
		l.open[pool] = slices.Insert(open, i, s.Journal)
	case !s.Open() && listed:
		l.open[pool] = slices.Delete(open, i, i+1)
	}
}

// seed stores what was known before the start.
func (l *Ledger) seed(s mfa.Standing) {
	s.Version = 1
	l.journals[s.Journal] = &journal{standing: s, keys: map[string]bool{}}
	l.list(&s)
}

// Justifications implements worker.Ledger.
func (l *Ledger) Justifications(_ context.Context, pool mfa.PoolID, sub mfa.Sub) ([]mfa.Justification, error) {
	key := mfa.UserJournal(pool, sub)
	all := slices.Clone(l.justifications[key])
	for i := range all {
		a := l.approvals[key+"/"+all[i].ID]
		all[i].Approver, all[i].ApprovedAt = a.Approver, a.At
	}
	return all, nil
}

// Justify records a justification under its ID, and its ticket for the user, as
// workertest.Book has it.
func (l *Ledger) Justify(_ context.Context, pool mfa.PoolID, sub mfa.Sub, j mfa.Justification) (mfa.Justification, error) {
	key := mfa.UserJournal(pool, sub)
	j = j.Unapproved()
	j.TicketOf = nil
	if j.ID == "" {
		return mfa.Justification{}, errors.New("the justification has no ID")
	}
	for _, old := range l.justifications[key] {
		if old.ID != j.ID {
			continue
		}
		if j.At, j.TicketOf = old.At, old.TicketOf; j != old {
			return mfa.Justification{}, fmt.Errorf("%s is another justification already", j.ID)
		}
		return old, nil
	}
	return l.record(key, pool, sub, j), nil
}

func (l *Ledger) record(key string, pool mfa.PoolID, sub mfa.Sub, j mfa.Justification) mfa.Justification {
	use, used := l.tickets[j.Ticket]
	switch {
	case used && !use.Of(pool, sub):
		j.TicketOf = &use
	case !used && j.Ticket != "":
		l.tickets[j.Ticket] = mfa.TicketUse{Pool: pool, Sub: sub, At: j.At}
	}
	all := append(slices.Clone(l.justifications[key]), j)
	slices.SortStableFunc(all, func(a, b mfa.Justification) int { return a.At.Compare(b.At) })
	l.justifications[key] = all
	return j
}

// Approve records an approval of the user's justification, as workertest.Book has it.
func (l *Ledger) Approve(_ context.Context, pool mfa.PoolID, sub mfa.Sub, id string, a mfa.Approval) (mfa.Approval, error) {
	key := mfa.UserJournal(pool, sub) + "/" + id
	if first, approved := l.approvals[key]; approved {
		return first, nil
	}
	l.approvals[key] = a
	return a, nil
}

// TicketUse returns the first use of a ticket, nil if there was none.
func (l *Ledger) TicketUse(_ context.Context, ticket string) (*mfa.TicketUse, error) {
	if use, used := l.tickets[ticket]; used {
		return &use, nil
	}
	return nil, nil
}

// Open implements worker.Ledger. The list is that of the moment at which it is asked for.
func (l *Ledger) Open(_ context.Context, pool mfa.PoolID) iter.Seq2[mfa.Standing, error] {
	return func(yield func(mfa.Standing, error) bool) {
		for _, name := range l.byDue(pool) {
			if s := l.journals[name].standing; s.Open() && !yield(s, nil) {
				return
			}
		}
	}
}

// never is after everything that is due.
var never = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// byDue are the open journals of a pool, those first that are due first.
func (l *Ledger) byDue(pool mfa.PoolID) []string {
	names := slices.Clone(l.open[pool])
	due := make(map[string]time.Time, len(names))
	for _, name := range names {
		if due[name] = l.journals[name].standing.DueAt(); due[name].IsZero() {
			due[name] = never
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return due[a].Compare(due[b]) })
	return names
}

// Entries returns a journal's entries, the oldest first.
func (l *Ledger) Entries(journal string) []mfa.Entry {
	if j := l.journals[journal]; j != nil {
		return slices.Clone(j.entries)
	}
	return nil
}

// Journals returns the names of all journals, sorted.
func (l *Ledger) Journals() []string { return slices.Sorted(maps.Keys(l.journals)) }
