// Package incident folds the alerts of records into what on-call sees: one
// thing for each incident, and each note.
//
// It refuses to know where records come from, and it words nothing.
package incident

import (
	"slices"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
)

// Incident is one thing that on-call heard of.
type Incident struct {
	Key      string          // empty: a note
	Kind     mfa.AlertKind   // that triggered it
	Kinds    []mfa.AlertKind // of all its messages but resolves, as they came
	Severity mfa.Severity    // its highest
	HeardAt  time.Time
	PagedAt  time.Time // when it was first critical; zero if it never was
	// Override is the id of the override that it is about, if it is about one.
	Override string
	// User, Cause and Problem are those of the record that it was heard with; of what
	// is about an override, which has them, there is no Cause.
	User    *mfa.RecordUser
	Cause   *mfa.RecordCause
	Problem string
}

// Book has the incidents of a stream of records. The zero Book is ready for use.
type Book struct {
	all   []*Incident
	byKey map[string]*Incident
}

// Add takes the alerts of a record. Records come in the order of their time.
func (b *Book) Add(r mfa.Record) {
	for _, a := range r.Alerts {
		in := b.of(r, a)
		if a.State == mfa.StateResolved {
			continue
		}
		if !slices.Contains(in.Kinds, a.Kind) {
			in.Kinds = append(in.Kinds, a.Kind)
		}
		if a.Severity.Rank() > in.Severity.Rank() {
			in.Severity = a.Severity
		}
		if a.Severity == mfa.Critical && in.PagedAt.IsZero() {
			in.PagedAt = r.At
		}
	}
}

// of is the incident that the alert is a message of. Who only hears of its end
// hears of it nevertheless.
func (b *Book) of(r mfa.Record, a mfa.Alert) *Incident {
	noted := a.State == mfa.StateNoted
	if in := b.byKey[a.Incident]; in != nil && !noted {
		return in
	}
	in := &Incident{Kind: a.Kind, Severity: a.Severity, HeardAt: r.At, User: r.User, Problem: r.Problem}
	if noted {
		if r.Override != nil {
			in.Override = r.Override.ID
		}
	} else {
		in.Key = a.Incident
		in.Override, _ = strings.CutPrefix(a.Incident, "override/")
		if in.Override == a.Incident {
			in.Override = ""
		}
		if b.byKey == nil {
			b.byKey = map[string]*Incident{}
		}
		b.byKey[in.Key] = in
	}
	if in.Override == "" {
		cause := r.Cause // alone, or the record would stay
		in.Cause = &cause
	}
	b.all = append(b.all, in)
	return in
}

// All are the incidents and notes in the order in which they were heard of. They
// are the book's own and go on changing with it.
func (b *Book) All() []*Incident { return b.all }

// Count is how many there are of each severity, at their highest.
func (b *Book) Count() map[mfa.Severity]int {
	n := map[mfa.Severity]int{}
	for _, in := range b.all {
		n[in.Severity]++
	}
	return n
}
