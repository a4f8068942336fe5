// Package report tells of every override of a period what the ledger's records
// say: who, by whom, why, how long, how it ended and how late.
//
// It refuses to know where records come from, and it judges nothing: what was
// justified was decided when it was matched.
package report

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
)

// Schema names the format of Report as JSON.
const Schema = "relatch.report/1"

// Period is the time from From until just before To. A zero time has no limit.
type Period struct{ From, To time.Time }

// overlaps reports whether an override that began at opened, and ended at closed
// or not yet, belongs to the period.
func (p Period) overlaps(opened, closed time.Time) bool {
	return (p.To.IsZero() || opened.Before(p.To)) && (closed.IsZero() || closed.After(p.From) || p.has(opened))
}

func (p Period) has(at time.Time) bool {
	return !at.Before(p.From) && (p.To.IsZero() || at.Before(p.To))
}

// How an override stands that has not closed; the other ends are those of mfa.End.
const (
	StillOpen    mfa.End = "open"
	Unrestorable mfa.End = "unrestorable" // Cognito refused: open until the user enrols
)

// ends are all of them, in the order in which they are counted.
var ends = []mfa.End{mfa.Restored, mfa.Reenabled, mfa.Reenrolled, mfa.Gone, Unrestorable, StillOpen}

// Report is what a period's overrides were.
type Report struct {
	Schema string    `json:"schema"`
	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"`
	AsOf   time.Time `json:"as_of,omitzero"` // until when it is known what is open
	// Empty: there was no record at all to read, of whatever time.
	Empty bool       `json:"empty,omitempty"`
	Sums  Sums       `json:"sums"`
	All   []Override `json:"overrides"` // by the time they were opened
}

// Sums are those of a report.
type Sums struct {
	Overrides int             `json:"overrides"`
	Opened    int             `json:"opened"` // within the period; the others were open when it began
	Ended     map[mfa.End]int `json:"ended"`  // every end is there
	Justified int             `json:"justified"`
	Required  int             `json:"required"` // of users with a required role
	Repeated  int             `json:"repeated"` // in which MFA was switched off again
	Overdue   int             `json:"overdue"`  // that ended, or are, more than mfa.OverdueAfter late
	// Longest and Latest are the ids of the override that lasted longest and of
	// the one that lasted longest after its deadline.
	Longest        string `json:"longest,omitempty"`
	LongestSeconds int64  `json:"longest_seconds,omitempty"`
	Latest         string `json:"latest,omitempty"`
	LatestSeconds  int64  `json:"latest_seconds,omitempty"`
}

// Override is one of them. What the records do not say is empty.
type Override struct {
	ID       string         `json:"id"`
	User     mfa.RecordUser `json:"user"`
	Username string         `json:"username,omitempty"`
	Roles    []mfa.Role     `json:"roles,omitempty"`
	// Required: on-call was told that the user holds a required role.
	Required bool         `json:"required,omitempty"`
	Factors  []mfa.Factor `json:"factors,omitempty"` // that were taken
	// Actor is who made the disable that counts for the deadline; empty if a
	// sweep found it and no delivery says who.
	Actor     string        `json:"actor,omitempty"`
	ActorType mfa.ActorType `json:"actor_type,omitempty"`
	SourceIP  string        `json:"source_ip,omitempty"`
	OpenedAt  time.Time     `json:"opened_at"`
	Deadline  time.Time     `json:"deadline"`
	// ClosedAt is when Relatch saw the user protected again; zero while it is open.
	ClosedAt time.Time `json:"closed_at,omitzero"`
	Ended    mfa.End   `json:"ended"`
	// Brief: it was over before Relatch looked, so it lasted at most that long.
	Brief bool `json:"brief,omitempty"`
	// Seconds is how long it lasted, until AsOf if it is open.
	Seconds int64 `json:"seconds"`
	// LateSeconds is how much of that lay after the deadline, zero if it ended by
	// the next full minute, when the timer fires. What Cognito refuses to restore
	// is not late.
	LateSeconds int64 `json:"late_seconds,omitempty"`
	Repeated    int   `json:"repeated,omitempty"` // how often MFA was switched off again
	Justified   bool  `json:"justified"`
	// Failed are the rules that are not met, and Why the same in words.
	Failed []mfa.Rule `json:"failed_rules,omitempty"`
	Why    []string   `json:"why,omitempty"`
	// JustificationID names the justification that counted, or else the one
	// that failed the fewest rules.
	JustificationID string             `json:"justification_id,omitempty"`
	Justification   *mfa.Justification `json:"justification,omitempty"`
}

// Facts are what records do not hold: attributes of users, and what people wrote.
type Facts interface {
	// Person names the user and the roles; an unknown user is the zero User.
	Person(context.Context, mfa.RecordUser) (mfa.User, error)
	// Justification is the one that the override's JustificationID names; nil if
	// it is not known.
	Justification(context.Context, Override) (*mfa.Justification, error)
}

// Builder collects overrides from records, in whatever order they come. The
// zero Builder is ready for use.
type Builder struct {
	overrides map[key]*override
	last      time.Time // zero: no record was added
}

// key tells overrides apart: ids are unique within a ledger.
type key struct{ ledger, id string }

type override struct {
	Override
	saidAt time.Time // the record that the override stands as
	whoAt  time.Time // the record that says whose act counts
	whoFor time.Time // the OpenedAt that it says it for
	endAt  time.Time // the record that says how it ended
	again  map[string]bool
}

// Add takes what a record says of an override. Records of different ledgers, as
// replayed scenarios are, come with different names for them.
func (b *Builder) Add(ledger string, r mfa.Record) {
	if r.At.After(b.last) {
		b.last = r.At
	}
	if r.Override == nil || r.User == nil {
		return
	}
	if b.overrides == nil {
		b.overrides = map[key]*override{}
	}
	k := key{ledger, r.Override.ID}
	o := b.overrides[k]
	if o == nil {
		o = &override{Override: Override{ID: r.Override.ID, User: *r.User}, again: map[string]bool{}}
		b.overrides[k] = o
	}
	o.state(r)
	o.who(r)
	o.end(r)
	for _, a := range r.Alerts {
		switch {
		case a.Kind == mfa.OverrideRepeated:
			o.again[r.Cause.Key] = true
		case a.Kind == mfa.RequiredRoleWithoutMFA && strings.HasSuffix(a.Incident, "/"+o.ID):
			o.Required = true
		}
	}
}

// state takes the override as the latest record has it. One that only corrects
// how it ended says nothing of factors and rules.
func (o *override) state(r mfa.Record) {
	if r.At.Before(o.saidAt) {
		return
	}
	corrects := r.Override.Closed != "" && len(r.Override.Factors) == 0
	o.saidAt, o.OpenedAt, o.Deadline = r.At, r.Override.OpenedAt, r.Override.Deadline
	o.Justified = r.Override.Justification == "justified"
	if !corrects {
		o.Factors, o.Failed, o.Why, o.JustificationID = r.Override.Factors, r.Override.Failed, r.Override.Why, r.Override.JustificationID
	}
}

// who takes the actor from the delivery whose time the override counts from:
// the earliest such time, and of several deliveries the first.
func (o *override) who(r mfa.Record) {
	at := r.Cause.EventTime
	if !r.Cause.Kind.Delivered() || !at.Equal(r.Override.OpenedAt) {
		return
	}
	if o.whoAt.IsZero() || at.Before(o.whoFor) || at.Equal(o.whoFor) && r.At.Before(o.whoAt) {
		o.whoAt, o.whoFor = r.At, at
		o.Actor, o.ActorType, o.SourceIP = r.Cause.Actor, r.Cause.ActorType, r.Cause.SourceIP
	}
}

// end takes when it closed from the first record that says so, and how from the
// last.
func (o *override) end(r mfa.Record) {
	if closed := r.Override.Closed; closed != "" {
		if o.ClosedAt.IsZero() || r.At.Before(o.ClosedAt) {
			o.ClosedAt, o.Brief = r.At, r.Reason == mfa.OffAndOn
		}
		if !r.At.Before(o.endAt) {
			o.Ended, o.endAt = closed, r.At
		}
	} else if r.Reason == mfa.CannotRestore && o.Ended == "" {
		o.Ended = Unrestorable
	}
}

// Report tells of the overrides that the period touches. What is open is so
// asOf; zero stands for the time of the last record. The error is that of facts,
// which may be nil.
func (b *Builder) Report(ctx context.Context, p Period, asOf time.Time, facts Facts) (Report, error) {
	if asOf.IsZero() {
		asOf = b.last
	}
	r := Report{Schema: Schema, From: p.From, To: p.To, AsOf: asOf, Empty: b.last.IsZero(), All: []Override{}}
	for _, o := range b.overrides {
		if !p.overlaps(o.OpenedAt, o.ClosedAt) {
			continue
		}
		told, err := o.told(ctx, asOf, facts)
		if err != nil {
			return Report{}, err
		}
		r.All = append(r.All, told)
	}
	slices.SortFunc(r.All, func(a, b Override) int {
		return cmp.Or(a.OpenedAt.Compare(b.OpenedAt), cmp.Compare(a.ID, b.ID), a.ClosedAt.Compare(b.ClosedAt))
	})
	r.Sums = sums(r.All, p)
	return r, nil
}

func (o *override) told(ctx context.Context, asOf time.Time, facts Facts) (Override, error) {
	t := o.Override
	until := t.ClosedAt
	if until.IsZero() {
		until = asOf
	}
	if t.Ended == "" {
		t.Ended = StillOpen
	}
	t.Seconds = max(0, int64(until.Sub(t.OpenedAt)/time.Second))
	if timer := t.Deadline.Add(time.Minute - time.Second).Truncate(time.Minute); t.Ended != Unrestorable && !t.Brief && until.After(timer) {
		t.LateSeconds = int64(until.Sub(t.Deadline) / time.Second)
	}
	t.Repeated = len(o.again)
	if t.Justified {
		t.Failed, t.Why = nil, nil
	}
	if len(t.Why) == 0 { // a record need not say
		for _, rule := range t.Failed {
			t.Why = append(t.Why, rule.Says(mfa.Facts{}))
		}
	}
	if facts == nil {
		return t, nil
	}
	person, err := facts.Person(ctx, t.User)
	if err != nil {
		return Override{}, fmt.Errorf("name the user of %s: %w", t.ID, err)
	}
	t.Username, t.Roles = person.Username, person.Roles
	if t.Justified || t.JustificationID != "" {
		if t.Justification, err = facts.Justification(ctx, t); err != nil {
			return Override{}, fmt.Errorf("find the justification of %s: %w", t.ID, err)
		}
	}
	return t, nil
}

func sums(all []Override, p Period) Sums {
	s := Sums{Overrides: len(all), Ended: map[mfa.End]int{}}
	for _, e := range ends {
		s.Ended[e] = 0
	}
	count := func(n *int, yes bool) {
		if yes {
			*n++
		}
	}
	for i := range all {
		o := &all[i]
		s.Ended[o.Ended]++
		count(&s.Opened, p.has(o.OpenedAt))
		count(&s.Justified, o.Justified)
		count(&s.Required, o.Required)
		count(&s.Repeated, o.Repeated > 0)
		count(&s.Overdue, o.overdue())
		if o.Seconds > s.LongestSeconds {
			s.Longest, s.LongestSeconds = o.ID, o.Seconds
		}
		if o.LateSeconds > s.LatestSeconds {
			s.Latest, s.LatestSeconds = o.ID, o.LateSeconds
		}
	}
	return s
}

func (o *Override) overdue() bool { return o.LateSeconds > int64(mfa.OverdueAfter/time.Second) }
