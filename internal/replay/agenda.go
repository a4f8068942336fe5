package replay

import (
	"container/heap"
	"time"
)

// agenda knows when a look at a journal will decide differently although
// nothing happens meanwhile. The zero agenda is empty.
type agenda struct {
	at    map[string]time.Time
	items itemHeap
}

type item struct {
	at      time.Time
	journal string
}

type itemHeap []item

func (h itemHeap) Len() int           { return len(h) }
func (h itemHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h itemHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *itemHeap) Push(x any) { *h = append(*h, x.(item)) } //nolint:errcheck // only items are pushed

// Pop implements heap.Interface.
func (h *itemHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// set says when the journal is to be looked at; zero: at no known time.
func (a *agenda) set(journal string, at time.Time) {
	if a.at == nil {
		a.at = map[string]time.Time{}
	}
	if at.IsZero() {
		delete(a.at, journal)
		return
	}
	if a.at[journal].Equal(at) {
		return
	}
	a.at[journal] = at
	heap.Push(&a.items, item{at, journal})
}

// next is the earliest known time; zero if there is none.
func (a *agenda) next() time.Time {
	for len(a.items) > 0 {
		if first := a.items[0]; a.at[first.journal].Equal(first.at) {
			return first.at
		}
		heap.Pop(&a.items) // was set anew
	}
	return time.Time{}
}

func (a *agenda) due(now time.Time) bool {
	next := a.next()
	return !next.IsZero() && !next.After(now)
}

func (a *agenda) dueAt(journal string, now time.Time) bool {
	at, ok := a.at[journal]
	return ok && !at.After(now)
}

// drop forgets what was due: a sweep has been, and whoever it did not find is
// not there to be looked at.
func (a *agenda) drop(now time.Time) {
	for a.due(now) {
		delete(a.at, a.items[0].journal)
	}
}
