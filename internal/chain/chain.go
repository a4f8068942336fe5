// Package chain verifies what the ledger kept: that the entries of each journal
// follow from one another, that none is missing of those whose heads were logged,
// and that the justifications on record, which are in no chain, are those that the
// entries were matched with.
//
// It refuses to know where all this comes from, and what else the records say.
package chain

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stackflow/relatch/internal/mfa"
)

// Kind is what is wrong with a journal. The set is closed: add, never rename.
type Kind string

// The kinds. The first five are about one entry and its place in the chain, the
// next four about what was known of the journal besides, and the last two about
// the justification that an entry names.
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

	Altered   Kind = "altered"   // the justification or its approval is not what it was when it was matched
	Unfounded Kind = "unfounded" // there is no such justification
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
// journal, 60 for each logged head, 300 for each justification, and nothing for an
// entry. The zero Walk is ready for use.
//
// Of each journal it names the first entry that breaks the chain, the first that
// contradicts what was logged, an end that contradicts what was logged or its
// standing, and the first entry whose justification is not the one on record.
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
	named    []named
	record   map[string]evidence // by the justification's ID; nil: not told
}

// named is a justification that an entry names.
type named struct {
	number     int // of the first entry that names it so
	id, digest string
	written    []byte // as records have it
}

// evidence are the sums of a justification on record, as it is and without its
// approval, which may have come after a match.
type evidence struct{ whole, unapproved string }

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

// Justifications tells of all justifications on record for the user of a journal.
// They may come at any time before End, and must have been read after the entries.
// Those of a journal that nothing is told of are not verified.
func (w *Walk) Justifications(name string, all []mfa.Justification) {
	record := make(map[string]evidence, len(all))
	for _, j := range all {
		on := evidence{j.Sum(), j.Unapproved().Sum()}
		if _, twice := record[j.ID]; twice {
			on = evidence{} // which of them is the one, nobody can tell
		}
		record[j.ID] = on
	}
	w.journal(name).record = record
}

// Entry walks the next entry.
func (w *Walk) Entry(e mfa.Entry) {
	w.Entries++
	j := w.journal(e.Journal)
	w.step(j, e)
	j.top = max(j.top, e.Number)
	j.name(e)
	want, logged := j.logged[e.Number]
	if logged && !j.denied && hex.EncodeToString(want[:]) != e.Hash {
		j.denied = true
		w.found(e.Journal, e.Number, Replaced, "entry %d was logged with the hash %.12s..., here it has %.12s...",
			e.Number, hex.EncodeToString(want[:]), e.Hash)
	}
}

// name keeps which justification the entry names, once.
func (j *journal) name(e mfa.Entry) {
	i := bytes.Index(e.Record, []byte(`"justification_id"`))
	if i < 0 || slices.ContainsFunc(j.named, func(n named) bool { return bytes.HasPrefix(e.Record[i:], n.written) }) {
		return
	}
	var r struct{ Override mfa.RecordOverride }
	if json.Unmarshal(e.Record, &r) != nil {
		return // it was edited, and that is found
	}
	if id, digest := r.Override.JustificationID, r.Override.JustificationDigest; digest != "" {
		j.named = append(j.named, named{e.Number, id, digest, fmt.Appendf(nil, `"justification_id":%q,"justification_digest":%q`, id, digest)})
	}
}

// founded holds the justifications on record against those that the entries name.
func (w *Walk) founded(name string, j *journal) {
	if j.record == nil {
		return
	}
	for _, n := range j.named {
		on, there := j.record[n.id]
		switch {
		case !there:
			w.found(name, n.number, Unfounded, "entry %d was matched with justification %s, which is not on record", n.number, n.id)
			return
		case n.digest != on.whole && n.digest != on.unapproved:
			w.found(name, n.number, Altered, "justification %s or its approval is not what entry %d was matched with", n.id, n.number)
			return
		}
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
		w.founded(name, j)
		s := j.standing
		switch {
		case j.last > j.top && j.top == 0:
			w.found(name, 1, Truncated, "the whole journal is missing: entry %d was logged", j.last)
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
