package replay

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// SummarySchema names the format of Summary.
const SummarySchema = "relatch.summary/1"

// Summary counts what came of a scenario, or of several together.
type Summary struct {
	Schema   string             `json:"schema"`
	Scenario string             `json:"scenario,omitempty"`
	Events   int                `json:"events"` // deliveries; never timers, sweeps, justifications or commands
	Acted    int                `json:"acted"`
	Ignored  map[mfa.Reason]int `json:"ignored"`
	Rejected int                `json:"rejected"`
	// Overrides: opened is the sum of the six others.
	Overrides struct {
		Opened       int `json:"opened"`
		Restored     int `json:"restored"`
		Reenabled    int `json:"reenabled"`
		Reenrolled   int `json:"reenrolled"`
		Gone         int `json:"gone"`
		Unrestorable int `json:"unrestorable"`
		Open         int `json:"open"`
	} `json:"overrides"`
	// Alerts counts incidents, and noted messages, at their highest severity.
	Alerts struct {
		Critical int `json:"critical"`
		Warning  int `json:"warning"`
		Info     int `json:"info"`
	} `json:"alerts"`
	// Skipped is how many files and folders of an archive were not read, and why.
	Skipped map[Skip]int `json:"skipped,omitempty"`
	Unmet   []string     `json:"unmet"`
}

// Add adds another summary to s.
func (s *Summary) Add(o Summary) {
	s.Schema = SummarySchema
	s.Events, s.Acted, s.Rejected = s.Events+o.Events, s.Acted+o.Acted, s.Rejected+o.Rejected
	if s.Ignored == nil {
		s.Ignored, s.Unmet = map[mfa.Reason]int{}, []string{}
	}
	for reason, n := range o.Ignored {
		s.Ignored[reason] += n
	}
	for why, n := range o.Skipped {
		if s.Skipped == nil {
			s.Skipped = map[Skip]int{}
		}
		s.Skipped[why] += n
	}
	a, b := &s.Overrides, o.Overrides
	a.Opened, a.Restored, a.Reenabled, a.Reenrolled = a.Opened+b.Opened, a.Restored+b.Restored, a.Reenabled+b.Reenabled, a.Reenrolled+b.Reenrolled
	a.Gone, a.Unrestorable, a.Open = a.Gone+b.Gone, a.Unrestorable+b.Unrestorable, a.Open+b.Open
	s.Alerts.Critical, s.Alerts.Warning, s.Alerts.Info = s.Alerts.Critical+o.Alerts.Critical, s.Alerts.Warning+o.Alerts.Warning, s.Alerts.Info+o.Alerts.Info
	for _, text := range o.Unmet {
		s.Unmet = append(s.Unmet, o.Scenario+": "+text)
	}
}

// Balanced reports whether every delivery and every override is accounted for.
func (s *Summary) Balanced() bool {
	ignored := 0
	for _, n := range s.Ignored {
		ignored += n
	}
	o := s.Overrides
	return s.Events == s.Acted+ignored+s.Rejected &&
		o.Opened == o.Restored+o.Reenabled+o.Reenrolled+o.Gone+o.Unrestorable+o.Open
}

// tally keeps count during a run.
type tally struct {
	events, acted, rejected int
	ignored                 map[mfa.Reason]int
	unreadable              []string
	records                 []mfa.Record
	closed                  *mfa.Record
	overrides               map[string]string // id: how it ended, or "open", or "unrestorable"
	incidents               map[string]*told
	order                   []string // of incidents, as they were triggered
	noted                   map[mfa.Severity]int
	heard                   map[mfa.AlertKind]mfa.Severity // the loudest of each kind, but for resolves
}

// told is an incident as on-call heard of it.
type told struct {
	kind    mfa.AlertKind
	highest mfa.Severity
	open    bool
}

func (t *tally) count(d Delivery, seen worker.Seen) {
	t.events += 1 + d.Others
	switch seen.Verdict {
	case mfa.Ignores:
		if t.ignored == nil {
			t.ignored = map[mfa.Reason]int{}
		}
		t.ignored[seen.Reason] += 1 + d.Others
	case mfa.Rejects:
		t.rejected++
		problem := "names no user: additionalEventData.sub is missing or hidden"
		if d.Err != nil {
			problem = d.Err.Error()
		}
		t.unreadable = append(t.unreadable, d.Place+": "+problem)
	default:
		t.acted++
	}
}

func (t *tally) record(r mfa.Record, forget bool) {
	if !forget {
		t.records = append(t.records, r)
	}
	if r.Override == nil {
		return
	}
	if r.Override.Closed != "" {
		t.closed = &r
	}
	if t.overrides == nil {
		t.overrides = map[string]string{}
	}
	state := &mfa.Outcome{}
	for i := range r.Actions {
		if r.Actions[i].Do == mfa.Restore {
			state = &r.Actions[i]
		}
	}
	switch id := r.Override.ID; {
	case r.Override.Closed != "":
		t.overrides[id] = string(r.Override.Closed)
	case state.Result == mfa.Refused:
		t.overrides[id] = "unrestorable"
	case t.overrides[id] == "":
		t.overrides[id] = "open"
	}
}

func (t *tally) alerts(sent []alert.Alert) {
	if t.incidents == nil {
		t.incidents, t.noted, t.heard = map[string]*told{}, map[mfa.Severity]int{}, map[mfa.AlertKind]mfa.Severity{}
	}
	for _, a := range sent {
		if a.State != mfa.StateResolved && a.Severity.Rank() > t.heard[a.Kind].Rank() {
			t.heard[a.Kind] = a.Severity
		}
		if a.State == mfa.StateNoted {
			t.noted[a.Severity]++
			continue
		}
		in := t.incidents[a.Incident]
		if in == nil {
			in = &told{kind: a.Kind}
			t.incidents[a.Incident] = in
			t.order = append(t.order, a.Incident)
		}
		if a.Severity.Rank() > in.highest.Rank() {
			in.highest = a.Severity
		}
		if a.State == mfa.StateTriggered && a.Kind != mfa.FactorSwapped { // which opens the override's own incident again
			in.kind = a.Kind
		}
		in.open = a.State != mfa.StateResolved
	}
}

func (r *run) result() Result {
	out := Result{Name: r.name, Records: r.records, Closed: r.closed, Users: r.account.Users(), Timers: r.account.Timers(), Rejected: r.unreadable, Heard: r.heard, Left: r.left, Account: r.account}
	s := Summary{
		Schema: SummarySchema, Scenario: r.name, Events: r.events, Acted: r.acted, Rejected: r.rejected,
		Ignored: map[mfa.Reason]int{}, Skipped: r.skipped, Unmet: []string{},
	}
	maps.Copy(s.Ignored, r.ignored)
	s.Overrides.Opened = len(r.overrides)
	for _, end := range r.overrides {
		switch end {
		case string(mfa.Restored):
			s.Overrides.Restored++
		case string(mfa.Reenabled):
			s.Overrides.Reenabled++
		case string(mfa.Reenrolled):
			s.Overrides.Reenrolled++
		case string(mfa.Gone):
			s.Overrides.Gone++
		case "unrestorable":
			s.Overrides.Unrestorable++
		default:
			s.Overrides.Open++
		}
	}
	add := func(severity mfa.Severity, n int) {
		switch severity {
		case mfa.Critical:
			s.Alerts.Critical += n
		case mfa.Warning:
			s.Alerts.Warning += n
		default:
			s.Alerts.Info += n
		}
	}
	for severity, n := range r.noted {
		add(severity, n)
	}
	for _, key := range r.order {
		in := r.incidents[key]
		add(in.highest, 1)
		if in.open {
			out.OpenIncidents = append(out.OpenIncidents, mfa.Incident{Key: key, Kind: in.kind, Severity: in.highest})
		}
	}
	for _, in := range r.account.Before() {
		if r.incidents[in.Key] == nil { // open before the start, and nothing was said of it since
			out.OpenIncidents = append(out.OpenIncidents, in)
		}
	}
	slices.SortFunc(out.OpenIncidents, func(a, b mfa.Incident) int { return strings.Compare(a.Key, b.Key) })
	out.Summary = s
	return out
}

// String is what a person reads of the deliveries: the sum that must be right.
func (s *Summary) String() string {
	ignored := 0
	for _, n := range s.Ignored {
		ignored += n
	}
	deliveries := "deliveries"
	if s.Events == 1 {
		deliveries = "delivery"
	}
	return fmt.Sprintf("%s %s = %s acted + %s ignored + %s rejected",
		Thousands(s.Events), deliveries, Thousands(s.Acted), Thousands(ignored), Thousands(s.Rejected))
}

// Thousands writes a count as people read it: 2,900.
func Thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
