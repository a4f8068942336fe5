package mfa

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// User is one user as the user pool shows him now. The zero User does not exist.
type User struct {
	Sub      Sub
	Found    bool
	Username string
	// Names are other names by which the user signs in, such as the e-mail
	// address. They tell who approves, and are never shown, logged or kept.
	Names     []string
	Enabled   bool
	Federated bool
	CreatedAt time.Time
	Roles     []Role
	Factors   []Factor // switched on
	Preferred Factor
}

// Called reports whether a person of that name, by whom AWS knows a session or an
// IAM user, is the user.
func (u User) Called(name string) bool {
	same := func(of string) bool { return strings.EqualFold(name, of) }
	return same(u.Username) || same(string(u.Sub)) || slices.ContainsFunc(u.Names, same)
}

// shortest is the name that is looked for in a text: a shorter one is there by chance.
const shortest = 3

// NamedIn reports whether the text has the username, or another name, as a word of
// its own.
func (u User) NamedIn(text string) bool {
	text = strings.ToLower(text)
	inText := func(name string) bool {
		if utf8.RuneCountInString(name) < shortest || name == string(u.Sub) {
			return false
		}
		name = strings.ToLower(name)
		for from := 0; ; {
			at := strings.Index(text[from:], name)
			if at < 0 {
				return false
			}
			begin, end := from+at, from+at+len(name)
			before, _ := utf8.DecodeLastRuneInString(text[:begin])
			after, _ := utf8.DecodeRuneInString(text[end:])
			if !inWord(before) && !inWord(after) {
				return true
			}
			from = end
		}
	}
	return inText(u.Username) || slices.ContainsFunc(u.Names, inText)
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// Mode is whether a pool asks for MFA.
type Mode string

// The modes, as Cognito names them but in lower case.
const (
	ModeOff      Mode = "off"
	ModeOptional Mode = "optional"
	ModeOn       Mode = "on"
)

func (m Mode) strength() int {
	switch m {
	case ModeOn:
		return 2
	case ModeOptional:
		return 1
	default:
		return 0
	}
}

// Pool is a user pool's enforcement as it is now, or was when it was last whole.
type Pool struct {
	Mode     Mode     `json:"mode"`
	Factors  []Factor `json:"factors,omitempty"`
	PreToken bool     `json:"pre_token,omitempty"`
	// Groups are those of the required roles that exist as groups.
	Groups []Role `json:"groups,omitempty"`
}

// Baseline is what the user was last seen protected by, and when.
type Baseline struct {
	Factors   []Factor  `json:"factors"`
	Preferred Factor    `json:"preferred,omitempty"`
	SeenAt    time.Time `json:"seen_at"`
}

// End is how an override closed.
type End string

// The ends.
const (
	Restored   End = "restored"   // by Relatch
	Reenabled  End = "reenabled"  // by a person, with the same factor
	Reenrolled End = "reenrolled" // with another factor, or with a token verified since it opened
	Gone       End = "gone"       // the user was deleted
)

// Override is one uninterrupted time in which somebody's act left a user
// without an adequate factor.
type Override struct {
	ID       string    `json:"id"`
	OpenedAt time.Time `json:"opened_at"` // eventTime of the disable that counts for the deadline
	Deadline time.Time `json:"deadline"`
	SeenAt   time.Time `json:"seen_at"` // when Relatch opened it
	// Disables counts the deliveries that switched something off in it.
	Disables int    `json:"disables"`
	Actor    Actor  `json:"actor"`
	Roles    []Role `json:"roles,omitempty"` // held when it opened
	// Required: one of the roles required MFA. A policy that is weakened later
	// does not help, nor does leaving the group.
	Required bool     `json:"required,omitempty"`
	Taken    []Factor `json:"taken"` // what is to be restored
	// Deleted are those of them that an act left nothing to restore of.
	Deleted []Factor `json:"deleted,omitempty"`
	// Before is the user's baseline when it opened; nil if he was never seen.
	Before *Baseline `json:"before,omitempty"`
	Match  Match     `json:"match"`
	// Rank is the user's place among those whom the actor disabled in the window.
	Rank int `json:"rank,omitempty"`

	Repeated     bool            `json:"repeated,omitempty"`
	Overdue      bool            `json:"overdue,omitempty"`
	Verified     bool            `json:"verified,omitempty"` // a token was verified since it opened
	Unrestorable bool            `json:"unrestorable,omitempty"`
	Tried        bool            `json:"tried,omitempty"` // in observe mode: would have been restored
	AskedAt      time.Time       `json:"asked_at,omitzero"`
	Noticed      []time.Duration `json:"noticed,omitempty"`
}

// Restorable are the factors that the end can switch on, as far as is known.
func (o *Override) Restorable() []Factor {
	if o.Unrestorable {
		return nil
	}
	return Without(o.Taken, o.Deleted)
}

// Past is what is kept of an override that has ended, for the budget, for used
// justifications and for deliveries that arrive after its end.
type Past struct {
	ID            string    `json:"id"`
	OpenedAt      time.Time `json:"opened_at"`
	ClosedAt      time.Time `json:"closed_at"`
	Justification string    `json:"justification,omitempty"`
	Deadline      time.Time `json:"deadline,omitzero"`
	End           End       `json:"end,omitempty"`
	Required      bool      `json:"required,omitempty"` // a required role, when it ended
	// Unclaimed: a sweep found it and no delivery said who did it, so a disable
	// before OpenedAt that comes later is its own.
	Unclaimed bool `json:"unclaimed,omitempty"`
}

// Incident is what on-call sees as one thing while it is open.
type Incident struct {
	Key      string    `json:"key"`
	Kind     AlertKind `json:"kind"` // the kind that triggered it
	Severity Severity  `json:"severity"`
	Since    time.Time `json:"since"`
}

// Intention is a decision that has been written down and whose outcome has not.
// Whoever finds it after LeasedUntil carries it out again.
type Intention struct {
	Record      Record    `json:"record"`
	Alerts      []Alert   `json:"alerts,omitempty"`
	Actions     []Action  `json:"actions,omitempty"`
	LeasedUntil time.Time `json:"leased_until"`
}

// Lease is how long an intention belongs to whoever wrote it.
const Lease = 2 * time.Minute

// Standing is the current summary of one journal: a user's, a pool's, the
// policy's or a guarded resource's. Decide never changes the one it is given.
type Standing struct {
	Journal string `json:"journal"`
	// Version is the ledger's optimistic lock; 0 means that nothing is stored.
	Version int `json:"version"`
	// At is when it became this version, by the clock of whoever wrote it.
	At time.Time `json:"at,omitzero"`
	// Entries counts the journal's entries and Head is the last one's hash.
	Entries int    `json:"entries,omitempty"`
	Head    string `json:"head,omitempty"`

	Baseline *Baseline `json:"baseline,omitempty"`
	EverHeld bool      `json:"ever_held,omitempty"`
	NotedAt  time.Time `json:"noted_at,omitzero"` // seen without the factors of the baseline, no act known
	// Lost is what deliveries are known to have switched off of the baseline
	// while the user is noted.
	Lost      []Factor   `json:"lost,omitempty"`
	Posture   bool       `json:"posture,omitempty"` // found unprotected on the first day
	Number    int        `json:"number,omitempty"`  // overrides so far
	Override  *Override  `json:"override,omitempty"`
	Past      []Past     `json:"past,omitempty"`
	SignOut   bool       `json:"sign_out,omitempty"` // asked of reenable and not done yet
	Incidents []Incident `json:"incidents,omitempty"`

	Intention *Intention `json:"intention,omitempty"`

	// Of a pool's journal only.
	Pool  *Pool     `json:"pool,omitempty"`  // when it was last whole
	Swept []Role    `json:"swept,omitempty"` // required roles with a complete sweep
	Count []Sub     `json:"count,omitempty"` // the posture as last reported
	Told  time.Time `json:"told,omitzero"`   // when that was
	Lacks []string  `json:"lacks,omitempty"` // how it is weaker than it was

	// Of the policy's journal only: the last good document.
	Policy []byte `json:"policy,omitempty"`
}

// incident returns the open incident with the key, or nil.
func (s *Standing) incident(key string) *Incident {
	for i := range s.Incidents {
		if s.Incidents[i].Key == key {
			return &s.Incidents[i]
		}
	}
	return nil
}

// Open reports whether the sweep has to look at the user although no required
// role may name him any more: an override, a noted loss, an unfinished
// intention, a sign-out that is owed, the posture, or an incident of his own.
func (s *Standing) Open() bool {
	return s.Override != nil || !s.NotedAt.IsZero() || s.Intention != nil || s.SignOut || s.Posture ||
		len(s.Incidents) > 0 && s.incident(s.Journal) != nil
}

// DueAt is when the next thing is due that the standing is Open for: a deadline,
// the end of a lease, a noted loss. It is zero if that has no time.
func (s *Standing) DueAt() time.Time {
	var at time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if s.Override != nil {
		earlier(s.Override.Deadline)
	}
	if s.Intention != nil {
		earlier(s.Intention.LeasedUntil)
	}
	earlier(s.NotedAt)
	return at
}

// OnlyPosture reports whether the standing is Open for nothing but the posture.
func (s *Standing) OnlyPosture() bool {
	if !s.Posture {
		return false
	}
	rest := *s
	rest.Posture = false
	return !rest.Open()
}

// UserJournal names the journal of a user.
func UserJournal(pool PoolID, sub Sub) string { return "user/" + string(pool) + "/" + string(sub) }

// PoolJournal names the journal of a pool.
func PoolJournal(pool PoolID) string { return "pool/" + string(pool) }

// PolicyJournal names the journal of the policy.
const PolicyJournal = "policy"

// GuardJournal names the journal of one of the guard's resources.
func GuardJournal(resource string) string { return "guard/" + resource }

// overrideID is made of the pool, the sub and the override's running number.
func overrideID(pool PoolID, sub Sub, number int) string {
	name := make([]byte, 0, 128)
	name = append(append(name, pool...), 0)
	name = append(append(name, sub...), 0)
	sum := sha256.Sum256(strconv.AppendInt(name, int64(number), 10))
	var id [16]byte // 80 bits, of which 50 are kept
	base32.StdEncoding.Encode(id[:], sum[:10])
	return "O-" + string(id[:10])
}

// TimerName is the name of the one-time schedule that ends the override: at
// most 64 characters of those that EventBridge Scheduler allows.
func TimerName(override string) string { return "relatch-" + override }

// Window is the ten clock minutes, by eventTime, in which the users of one
// actor are counted.
const Window = 10 * time.Minute

// MassUsers is the number of users of one actor in a window that is a mass disable.
const MassUsers = 6

// ActorKey is the incident of an actor in the window of at. The ARN is hashed,
// because keys travel further than alerts do.
func ActorKey(actor string, at time.Time) string {
	sum := sha256.Sum256([]byte(actor))
	return "actor/" + hex.EncodeToString(sum[:6]) + "/" + at.UTC().Truncate(Window).Format("20060102T1504Z")
}
