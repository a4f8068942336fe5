// Package chain verifies what the ledger kept: that the entries of each journal
// follow from one another, and that none is missing of those whose heads were
// logged.
//
// It refuses to know where entries and heads come from, and what the records say.
package chain

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/stackflow/relatch/internal/mfa"
)

// Kind is what is wrong with a journal. The set is closed: add, never rename.
type Kind string

// The kinds. The first five are about one entry and its place in the chain, the
// others about what was known of the journal besides.
const (
	Edited    Kind = "edited"    // the entry's hash is not that of its content
	Unchained Kind = "unchained" // it does not carry the hash of the entry before
	Removed   Kind = "removed"   // entries before it are missing
	Reordered Kind = "reordered" // it stands before one that it has to follow
	Repeated  Kind = "repeated"  // its number was there before

	Replaced  Kind = "replaced"  // its hash is not the one that was logged, or that the standing has
	Forked    Kind = "forked"    // two hashes were logged for its number
	Truncated Kind = "truncated" // the journal ends before the entry that was logged, or that the standing counts
	Uncounted Kind = "uncounted" // the journal goes on after the last entry that the standing counts
)

// Finding is what is wrong with a journal, at the first entry where it shows.
type Finding struct {
	Journal string `json:"journal"`
	Number  int    `json:"number"` // of the entry
	Kind    Kind   `json:"kind"`
	What    string `json:"what"` // in words
}

// Walk verifies journals. Entries may come in any order of journals, those of one
// journal in the order of their numbers. It keeps some hundred bytes for each
// journal and 60 for each logged head, and nothing for an entry. The zero Walk
// is ready for use.
//
// Of each journal it names the first entry that breaks the chain, the first that
// contradicts what was logged, and an end that contradicts what was logged or
// its standing.
type Walk struct {
	Entries int // that were walked
	Heads   int // that were logged

	journals map[string]*journal
	findings []Finding
}

type sum [32]byte

type journal struct {
	next     int    // the number that is to come
	prev     string // the hash that it has to carry
	top      int    // the highest number so far
	broken   int    // index of the chain's finding, from 1
	missing  int    // of a chain broken by a gap: the first number that is missing
	logged   map[int]sum
	last     int  // the highest number that was logged
	denied   bool // a logged head has been contradicted
	standing *mfa.Head
}

func (w *Walk) journal(name string) *journal {
	j := w.journals[name]
	if j == nil {
		if w.journals == nil {
			w.journals = map[string]*journal{}
		}
		j = &journal{next: 1}
		w.journals[name] = j
	}
	return j
}

// Journals is how many there are, whether with entries or only with a head.
func (w *Walk) Journals() int { return len(w.journals) }

func (w *Walk) found(name string, number int, kind Kind, what string, args ...any) {
	w.findings = append(w.findings, Finding{name, number, kind, fmt.Sprintf(what, args...)})
}

// Logged tells of a head that was logged. All of them come before the first
// entry. The error says that it is no head.
func (w *Walk) Logged(h mfa.Head) error {
	var s sum
	if n, err := hex.Decode(s[:], []byte(h.Hash[:min(len(h.Hash), 2*len(s))])); err != nil || n != len(s) || len(h.Hash) != 2*len(s) {
		return fmt.Errorf("the hash of a head is %d hexadecimal digits, not %.80q", 2*len(s), h.Hash)
	}
	if h.Journal == "" || h.Number < 1 {
		return fmt.Errorf("a head names a journal and a number from 1, not %.80q and %d", h.Journal, h.Number)
	}
	w.Heads++
	j := w.journal(h.Journal)
	if j.logged == nil {
		j.logged = map[int]sum{}
	}
	switch old, there := j.logged[h.Number]; {
	case !there:
		j.logged[h.Number] = s
		j.last = max(j.last, h.Number)
	case old != s && !j.denied:
		j.denied = true
		w.found(h.Journal, h.Number, Forked, "entry %d was logged with two different hashes", h.Number)
	}
	return nil
}

// Standing tells how the journal's standing has its end: mfa.Standing.Entries and
// Head. It may come at any time before End, and must have been read together
// with the entries: a ledger that went on meanwhile looks truncated.
func (w *Walk) Standing(h mfa.Head) { w.journal(h.Journal).standing = &h }

// Entry walks the next entry.
func (w *Walk) Entry(e mfa.Entry) {
	w.Entries++
	j := w.journal(e.Journal)
	w.step(j, e)
	j.top = max(j.top, e.Number)
	want, logged := j.logged[e.Number]
	if logged && !j.denied && hex.EncodeToString(want[:]) != e.Hash {
		j.denied = true
		w.found(e.Journal, e.Number, Replaced, "entry %d was logged with the hash %.12s..., here it has %.12s...",
			e.Number, hex.EncodeToString(want[:]), e.Hash)
	}
}

// step holds the entry against the one before. After the first break it only
// looks whether what was missing comes late.
func (w *Walk) step(j *journal, e mfa.Entry) {
	if j.broken > 0 {
		if f := &w.findings[j.broken-1]; f.Kind == Removed && e.Number >= j.missing && e.Number < f.Number {
			f.Kind, f.What = Reordered, fmt.Sprintf("entry %d stands before entry %d", f.Number, e.Number)
		}
		return
	}
	breaks := func(kind Kind, what string, args ...any) {
		w.found(e.Journal, e.Number, kind, what, args...)
		j.broken, j.missing = len(w.findings), j.next
	}
	switch {
	case e.Sum() != e.Hash:
		breaks(Edited, "entry %d was edited: its hash is not that of its content", e.Number)
	case e.Number < j.next:
		breaks(Repeated, "entry %d is there again after entry %d", e.Number, j.next-1)
	case e.Number == j.next+1:
		breaks(Removed, "entry %d is missing", j.next)
	case e.Number > j.next:
		breaks(Removed, "entries %d to %d are missing", j.next, e.Number-1)
	case e.Prev != j.prev:
		breaks(Unchained, "entry %d does not follow entry %d: one of the two was replaced", e.Number, e.Number-1)
	}
	j.next, j.prev = e.Number+1, e.Hash
}

// End holds the ends of the journals against what is known of them and returns
// all findings, by journal and number.
func (w *Walk) End() []Finding {
	for name, j := range w.journals {
		s := j.standing
		switch {
		case j.last > j.top:
			w.found(name, j.top+1, Truncated, "entry %d was logged, but the journal ends with entry %d", j.last, j.top)
		case s == nil || j.broken > 0:
		case s.Number > j.top:
			w.found(name, j.top+1, Truncated, "the standing counts %d entries, but the journal ends with entry %d", s.Number, j.top)
		case s.Number < j.top:
			w.found(name, s.Number+1, Uncounted, "the standing counts %d entries, but the journal ends with entry %d", s.Number, j.top)
		case s.Hash != j.prev:
			w.found(name, j.top, Replaced, "entry %d has not the hash that the standing has", j.top)
		}
	}
	slices.SortFunc(w.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Journal, b.Journal), cmp.Compare(a.Number, b.Number), cmp.Compare(a.Kind, b.Kind))
	})
	return w.findings
}
