package mfa

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Verdict is what Decide says.
type Verdict string

// The verdicts.
const (
	Opens    Verdict = "open"
	Holds    Verdict = "hold"
	Restores Verdict = "restore"
	Closes   Verdict = "close"
	Alerts   Verdict = "alert"
	Ignores  Verdict = "ignore"
	Rejects  Verdict = "reject"
)

// Reason is why. Those of Ignores are part of the outside contract.
type Reason string

// The reasons to ignore a change.
const (
	NotOurs         Reason = "not_ours"
	Irrelevant      Reason = "not_relevant"
	CallFailed      Reason = "call_failed"
	Duplicate       Reason = "duplicate"
	OwnAct          Reason = "own_act"
	NoSuchUser      Reason = "no_such_user"
	Federated       Reason = "federated"
	StillProtected  Reason = "still_protected"
	Ineffective     Reason = "ineffective"
	NotRequired     Reason = "not_required"
	NothingOpen     Reason = "nothing_open"
	InGrace         Reason = "in_grace"
	ReplayedAndPast Reason = "replayed_and_past"
)

// The reasons of the other verdicts.
const (
	Unreadable      Reason = "unreadable"
	NamesNoUser     Reason = "names_no_user"
	TakenAway       Reason = "taken_away"
	FoundMissing    Reason = "found_without"
	WithinTime      Reason = "within_time"
	Waiting         Reason = "waiting_for_a_delivery"
	DeadlineReached Reason = "deadline_reached"
	AskedFor        Reason = "asked_for"
	CannotRestore   Reason = "cannot_restore"
	ProtectedAgain  Reason = "protected_again"
	OffAndOn        Reason = "off_and_on_again"
	UserGone        Reason = "user_gone"
	WithoutMFA      Reason = "required_role_without_mfa"
	Resolved        Reason = "resolved"
	PoolWeaker      Reason = "pool_weakened"
	GuardTouched    Reason = "guard_changed"
	PolicyRead      Reason = "policy_read"
	PostureCounted  Reason = "posture_counted"
)

// Do is an action's name.
type Do string

// The actions.
const (
	Schedule Do = "schedule"
	Cancel   Do = "cancel"
	Restore  Do = "restore"
	SignOut  Do = "sign_out"
)

// Action is something to be done to the account. Doing it twice is doing it once.
type Action struct {
	Do Do        `json:"do"`
	At time.Time `json:"at,omitzero"` // of a schedule: the deadline rounded up to the minute
}

// Result is what came of an action.
type Result string

// The results.
const (
	Done    Result = "done"
	Handed  Result = "asked"   // handed to reenable, which alone may write to users
	Failed  Result = "failed"  // of the format; an action that failed is tried again, not recorded
	Refused Result = "refused" // Cognito said that it cannot be done
	Would   Result = "would"   // observe mode
)

// Outcome is an action with its result.
type Outcome struct {
	Action
	Result Result `json:"result"`
}

// Severity says how loud an alert is. Only Critical pages.
type Severity string

// The severities.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// Rank orders severities; the zero Severity is below all of them.
func (s Severity) Rank() int {
	switch s {
	case Critical:
		return 3
	case Warning:
		return 2
	case Info:
		return 1
	default:
		return 0
	}
}

func atMost(s, limit Severity) Severity {
	if s.Rank() > limit.Rank() {
		return limit
	}
	return s
}

// AlertKind is what an alert is about.
type AlertKind string

// The alert kinds.
const (
	RequiredRoleWithoutMFA AlertKind = "required_role_without_mfa"
	UnjustifiedOverride    AlertKind = "unjustified_override"
	OverrideRepeated       AlertKind = "override_repeated"
	OverrideOverdue        AlertKind = "override_overdue"
	CannotRestoreUser      AlertKind = "cannot_restore"
	FactorSwapped          AlertKind = "factor_swapped"
	PostureGap             AlertKind = "posture_gap"
	PoolWeakened           AlertKind = "pool_weakened"
	MassDisable            AlertKind = "mass_disable"
	GuardTampered          AlertKind = "guard_changed"
	PolicyInvalid          AlertKind = "policy_invalid"
	PolicyWeakened         AlertKind = "policy_weakened"
	UnreadableEvent        AlertKind = "unreadable_event"
	BriefOverride          AlertKind = "brief_override"
	DeadlineNear           AlertKind = "deadline_near"
	LockedOutLikely        AlertKind = "locked_out_likely"
)

// AlertState is where an alert stands in the life of its incident.
type AlertState string

// The alert states.
const (
	StateTriggered AlertState = "triggered"
	StateChanged   AlertState = "changed"
	StateResolved  AlertState = "resolved"
	StateNoted     AlertState = "noted" // one message, no incident
)

// Alert is one message to on-call, without its words.
type Alert struct {
	Kind     AlertKind  `json:"kind"`
	Severity Severity   `json:"severity"`
	State    AlertState `json:"state"`
	Incident string     `json:"incident,omitempty"`
}

// RecordSchema names the format of Record.
const RecordSchema = "relatch.record/1"

// Record is what is kept of one handled event: the ledger's entry, the log line
// and a line of relatch replay. Times are whole seconds, UTC.
type Record struct {
	Schema   string          `json:"schema"`
	At       time.Time       `json:"at"` // the clock when it was handled
	Cause    RecordCause     `json:"cause"`
	User     *RecordUser     `json:"user,omitempty"`
	Verdict  Verdict         `json:"verdict"`
	Reason   Reason          `json:"reason,omitempty"`
	Problem  string          `json:"problem,omitempty"` // of a reject or an alert: what was found wrong
	Override *RecordOverride `json:"override,omitempty"`
	Actions  []Outcome       `json:"actions,omitempty"`
	Alerts   []Alert         `json:"alerts,omitempty"`
	Policy   string          `json:"policy_revision,omitempty"`
}

// RecordCause is what made Relatch look.
type RecordCause struct {
	Key       string    `json:"key,omitempty"`
	Kind      Kind      `json:"kind,omitempty"`
	EventName string    `json:"event_name,omitempty"`
	EventTime time.Time `json:"event_time,omitzero"`
	Actor     string    `json:"actor,omitempty"`
	ActorType ActorType `json:"actor_type,omitempty"`
	SourceIP  string    `json:"source_ip,omitempty"`
}

// RecordUser names the user. Usernames and other attributes are never in a record.
type RecordUser struct {
	Pool PoolID `json:"pool_id"`
	Sub  Sub    `json:"sub"`
}

// RecordOverride is the override as the decision left it.
type RecordOverride struct {
	ID            string    `json:"id"`
	OpenedAt      time.Time `json:"opened_at"`
	Deadline      time.Time `json:"deadline"`
	Factors       []Factor  `json:"factors,omitempty"`
	Justification string    `json:"justification"`
	// JustificationID names the one that counted, or else the one that failed
	// the fewest rules, if there was one.
	JustificationID string `json:"justification_id,omitempty"`
	// JustificationDigest is the Sum of that one as it was matched, with the
	// approval if there was one by then: the chain holds it, which the
	// justification itself is no part of.
	JustificationDigest string `json:"justification_digest,omitempty"`
	// Failed are the rules of justification that are not met, and Why says each
	// of them in words.
	Failed []Rule   `json:"failed_rules,omitempty"`
	Why    []string `json:"why,omitempty"`
	Closed End      `json:"closed,omitempty"`
}

// Entry is a record in a journal, chained to the one before.
type Entry struct {
	Journal string `json:"journal"`
	Number  int    `json:"number"`
	Prev    string `json:"prev,omitempty"`
	Hash    string `json:"hash"`
	Record  []byte `json:"record"` // the very bytes that were hashed
}

// Head is the end of a journal at some time: the number of its last entry and that
// entry's hash. The zero Head is that of a record in no journal.
type Head struct {
	Journal string `json:"journal"`
	Number  int    `json:"number"`
	Hash    string `json:"hash"`
}

// Append returns the standing with the record as its newest entry, and the
// entry. The hash covers the journal, the number, the hash before and the
// record's bytes.
func (s Standing) Append(r Record) (Standing, Entry) {
	raw, err := json.Marshal(r)
	if err != nil {
		panic(err) // cannot happen: a record holds only strings, and times in the years 0 to 9999: trail and account.json take no others
	}
	e := Entry{Journal: s.Journal, Number: s.Entries + 1, Prev: s.Head, Record: raw}
	e.Hash = e.Sum()
	s.Entries, s.Head = e.Number, e.Hash
	return s, e
}

// Sum is the hash that the entry must have.
func (e Entry) Sum() string {
	h := sha256.New()
	head, err := json.Marshal([]any{e.Journal, e.Number, e.Prev})
	if err != nil {
		panic(err) // cannot happen: two strings and a number
	}
	h.Write(head)
	h.Write(e.Record)
	return hex.EncodeToString(h.Sum(nil))
}
