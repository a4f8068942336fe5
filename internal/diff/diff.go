// Package diff says in what two replays of the same deliveries differ: what
// was decided under a policy A and what under a policy B.
//
// It refuses to know how they were replayed and which policies these were: it
// sees only records. Ids of overrides count per user and so may shift between
// policies: what is held against each other is what the same delivery opened.
package diff

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/stackflow/relatch/internal/incident"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/report"
)

// The formats of Difference and Totals.
const (
	DifferenceSchema = "relatch.difference/1"
	Schema           = "relatch.comparison/1"
)

// Aspect is in what the two sides of a difference differ.
type Aspect string

// The aspects. Add, never rename.
const (
	Page          Aspect = "page"          // one pages, the other does not
	Opened        Aspect = "opened"        // one opened an override, the other did not, or of another time or factors
	Decided       Aspect = "decided"       // another verdict or reason
	Justification Aspect = "justification" // justified or not, or for other rules
	Deadline      Aspect = "deadline"
	Ended         Aspect = "ended"  // how, or when
	Alerts        Aspect = "alerts" // other kinds, or another severity
)

// Difference is a delivery, an override that no delivery opened, or an incident
// that is about no override, of which the sides are not alike.
type Difference struct {
	Schema   string    `json:"schema"`
	Scenario string    `json:"scenario,omitempty"`
	At       time.Time `json:"at"` // of the call; of what no call made, when it was first noted
	// Differs are in the order of the constants.
	Differs  []Aspect         `json:"differs"`
	User     *mfa.RecordUser  `json:"user,omitempty"`
	Username string           `json:"username,omitempty"`
	Cause    *mfa.RecordCause `json:"cause,omitempty"` // nil of an incident that no delivery made
	Incident string           `json:"incident,omitempty"`
	// EarlierSeconds is how much sooner B ended the override; less than 0: later.
	EarlierSeconds int64   `json:"b_ends_earlier_seconds,omitempty"`
	A              Outcome `json:"a"`
	B              Outcome `json:"b"`
}

// Outcome is what came of it on one side; the zero Outcome if nothing did.
type Outcome struct {
	Verdict mfa.Verdict `json:"verdict,omitempty"`
	Reason  mfa.Reason  `json:"reason,omitempty"`
	Problem string      `json:"problem,omitempty"` // of an incident: what was found wrong
	// Override is the one that it opened.
	Override *report.Override `json:"override,omitempty"`
	Pages    bool             `json:"pages"`
	Severity mfa.Severity     `json:"severity,omitempty"` // the loudest alert
	// Alerts are the kinds that on-call heard of: an incident's once, notes each.
	Alerts map[mfa.AlertKind]int `json:"alerts,omitempty"`
}

func (o *Outcome) hear(in *incident.Incident) {
	if o.Alerts == nil {
		o.Alerts = map[mfa.AlertKind]int{}
	}
	for _, kind := range in.Kinds {
		o.Alerts[kind]++
	}
	if in.Severity.Rank() > o.Severity.Rank() {
		o.Severity = in.Severity
	}
	o.Pages = o.Severity == mfa.Critical
}

// Totals are those of one side.
type Totals struct {
	// Policies are the revisions of the policies that held, in their order.
	Policies  []string `json:"policy_revisions"`
	Pages     int      `json:"pages"` // critical incidents
	Warnings  int      `json:"warnings"`
	Notes     int      `json:"notes"`
	Overrides int      `json:"overrides"`
	Justified int      `json:"justified"` // of the overrides
	// Ended is how many overrides ended in each way, as relatch.report/1 names them.
	Ended map[mfa.End]int `json:"ended"`
	// Seconds without MFA are those of the overrides together; one that is open
	// counts until the last record of both sides.
	Seconds int64 `json:"seconds_without_mfa"`
}

// Add adds other totals to t.
func (t *Totals) Add(o Totals) {
	for _, revision := range o.Policies {
		if !slices.Contains(t.Policies, revision) {
			t.Policies = append(t.Policies, revision)
		}
	}
	t.Pages, t.Warnings, t.Notes = t.Pages+o.Pages, t.Warnings+o.Warnings, t.Notes+o.Notes
	t.Overrides, t.Justified, t.Seconds = t.Overrides+o.Overrides, t.Justified+o.Justified, t.Seconds+o.Seconds
	if t.Ended == nil {
		t.Ended = map[mfa.End]int{}
	}
	for end, n := range o.Ended {
		t.Ended[end] += n
	}
}

// Comparison is what two sides differ in, and their totals.
type Comparison struct {
	Schema   string       `json:"schema"`
	Scenario string       `json:"scenario,omitempty"`
	Differ   int          `json:"differences"`
	A        Totals       `json:"a"`
	B        Totals       `json:"b"`
	All      []Difference `json:"-"` // in the order of their time
}

// Add adds another comparison's totals to c.
func (c *Comparison) Add(o Comparison) {
	c.Schema = Schema
	c.Differ += o.Differ
	c.A.Add(o.A)
	c.B.Add(o.B)
}

// Side is what one replay did. The zero Side is ready for use. It keeps what a
// delivery, an override and an incident came to, not the records.
type Side struct {
	events   map[string]*event
	named    map[string]int    // how many more there are of a name
	opened   map[string]*event // by the override's id
	builder  report.Builder
	book     incident.Book
	policies []string
	last     time.Time
}

// event is a delivery, an override that none opened, or an incident.
type event struct {
	id       string // what tells it from all others, on both sides alike
	at       time.Time
	user     *mfa.RecordUser
	cause    mfa.RecordCause
	incident string
	Outcome
}

// Add takes a record. Records come in the order in which they were made.
func (s *Side) Add(r mfa.Record) {
	if r.At.After(s.last) {
		s.last = r.At
	}
	if r.Policy != "" && !slices.Contains(s.policies, r.Policy) {
		s.policies = append(s.policies, r.Policy)
	}
	s.builder.Add("", r)
	s.book.Add(r)
	var e *event
	if r.Cause.Key != "" || r.Cause.Kind == mfa.Justified || r.Cause.Kind == mfa.Asked {
		e = s.record(r, string(r.Cause.Kind)+" "+r.Cause.Key)
	}
	if o := r.Override; o != nil && s.opened[o.ID] == nil {
		if e == nil {
			e = s.record(r, "found "+o.OpenedAt.Format(time.RFC3339))
			e.at = o.OpenedAt
		}
		s.opened[o.ID] = e
	}
}

// record is the event of a record that is of no other.
func (s *Side) record(r mfa.Record, name string) *event {
	e := &event{at: r.Cause.EventTime, user: r.User, cause: r.Cause, Outcome: Outcome{Verdict: r.Verdict, Reason: r.Reason}}
	if e.at.IsZero() {
		e.at = r.At
	}
	if r.User != nil {
		name = mfa.UserJournal(r.User.Pool, r.User.Sub) + " " + name
	}
	return s.add(name, e)
}

// add names an event: the n-th of its name on one side is the n-th on the other.
func (s *Side) add(name string, e *event) *event {
	if s.events == nil {
		s.events, s.named, s.opened = map[string]*event{}, map[string]int{}, map[string]*event{}
	}
	e.id = name
	if s.events[name] != nil {
		s.named[name]++
		e.id += " " + strconv.Itoa(s.named[name])
	}
	s.events[e.id] = e
	return e
}

// Compare holds one side against the other: alike sides have no differences, and
// with the sides changed over the differences are the same, changed over. name
// says how a user is called, "" if that is not known. What is open is so until the
// last record of both, or until the given time, if it is later. The sides are used up.
func Compare(a, b *Side, name func(mfa.RecordUser) string, until time.Time) Comparison {
	for _, last := range []time.Time{a.last, b.last} {
		if last.After(until) {
			until = last
		}
	}
	c := Comparison{Schema: Schema, A: a.finish(until), B: b.finish(until)}
	type pair struct {
		first *event // of both; of the two when they are of different times
		Difference
	}
	var all []pair
	hold := func(first, x, y *event) {
		d := difference(&x.Outcome, &y.Outcome)
		if len(d.Differs) == 0 {
			return
		}
		d.At, d.User, d.Incident = first.at, first.user, first.incident
		if first.incident == "" || first.cause.Key != "" {
			d.Cause = &first.cause
		}
		if d.User != nil {
			d.Username = name(*d.User)
		}
		all = append(all, pair{first, d})
	}
	for id, x := range a.events {
		if y := b.events[id]; y == nil {
			hold(x, x, &event{})
		} else if x.compare(y) <= 0 {
			hold(x, x, y)
		} else {
			hold(y, x, y)
		}
	}
	for id, y := range b.events {
		if a.events[id] == nil {
			hold(y, &event{}, y)
		}
	}
	slices.SortFunc(all, func(x, y pair) int { return x.first.compare(y.first) })
	for i := range all {
		c.All = append(c.All, all[i].Difference)
	}
	c.Differ = len(c.All)
	return c
}

// compare orders events: by time, and those of one time in the same way always.
func (e *event) compare(o *event) int {
	return cmp.Or(e.at.Compare(o.at), cmp.Compare(e.id, o.id), cmp.Compare(e.cause.Key, o.cause.Key))
}

// finish gives every override and every incident to its event, and sums up.
func (s *Side) finish(until time.Time) Totals {
	t := Totals{Policies: s.policies, Ended: map[mfa.End]int{}}
	r, err := s.builder.Report(context.Background(), report.Period{}, until, nil)
	if err != nil {
		panic(err) // cannot happen: only facts fail, and there are none
	}
	t.Ended = r.Sums.Ended
	t.Overrides, t.Justified = r.Sums.Overrides, r.Sums.Justified
	for i := range r.All {
		o := &r.All[i]
		s.opened[o.ID].Override = o
		t.Seconds += o.Seconds
	}
	for _, in := range s.book.All() {
		e := s.opened[in.Override]
		if e == nil {
			e = s.heard(in)
		}
		e.hear(in)
	}
	n := s.book.Count()
	t.Pages, t.Warnings, t.Notes = n[mfa.Critical], n[mfa.Warning], n[mfa.Info]
	return t
}

// heard is the event of an incident that is about no override.
func (s *Side) heard(in *incident.Incident) *event {
	e := &event{at: in.HeardAt, incident: in.Key, Outcome: Outcome{Problem: in.Problem}}
	if in.Cause != nil {
		e.cause = *in.Cause
	}
	if in.Key == "" {
		e.incident = string(in.Kind)
		return s.add(string(in.Kind)+in.HeardAt.Format(" 2006-01-02T15:04:05Z"), e)
	}
	if u := in.User; u != nil && mfa.UserJournal(u.Pool, u.Sub) == in.Key {
		e.user = u
	}
	return s.add("incident "+in.Key, e)
}

// difference says in what the outcomes differ.
func difference(a, b *Outcome) Difference {
	d := Difference{Schema: DifferenceSchema, A: *a, B: *b}
	differ := func(aspect Aspect, yes bool) {
		if yes {
			d.Differs = append(d.Differs, aspect)
		}
	}
	x, y := a.Override, b.Override
	both := x != nil && y != nil
	differ(Page, a.Pages != b.Pages)
	differ(Opened, (x == nil) != (y == nil) || both && (!x.OpenedAt.Equal(y.OpenedAt) || !slices.Equal(x.Factors, y.Factors)))
	differ(Decided, (x == nil) == (y == nil) && (a.Verdict != b.Verdict || a.Reason != b.Reason))
	if both {
		differ(Justification, x.Justified != y.Justified || !slices.Equal(x.Failed, y.Failed))
		differ(Deadline, !x.Deadline.Equal(y.Deadline))
		differ(Ended, x.Ended != y.Ended || !x.ClosedAt.Equal(y.ClosedAt))
		if !x.ClosedAt.IsZero() && !y.ClosedAt.IsZero() {
			d.EarlierSeconds = int64(x.ClosedAt.Sub(y.ClosedAt) / time.Second)
		}
	}
	differ(Alerts, a.Severity != b.Severity || !maps.Equal(a.Alerts, b.Alerts))
	return d
}
