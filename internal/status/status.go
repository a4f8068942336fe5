// Package status tells what is open now: who can sign in without MFA, until when
// and what happens then, and whether Relatch itself is at work.
//
// It refuses to know where the ledger is, and it changes nothing.
package status

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// Schema names the format of Status as JSON.
const Schema = "relatch.status/1"

// SweepLate is how long after a complete sweep the next one is too late.
const SweepLate = 3 * worker.SweepEvery

// ToldFor is how long an incident that only a person can end counts as wrong
// after it last changed: Relatch does not hear that the person has ended it.
const ToldFor = 24 * time.Hour

// Ledger is what is read of the ledger.
type Ledger interface {
	Open(context.Context, mfa.PoolID) iter.Seq2[mfa.Standing, error]
	Incidents(context.Context) iter.Seq2[mfa.Standing, error]
	Entries(ctx context.Context, journal string) iter.Seq2[mfa.Entry, error]
	Justifications(context.Context, mfa.PoolID, mfa.Sub) ([]mfa.Justification, error)
	Load(context.Context, worker.Query) (worker.Loaded, error)
	Bookmark(context.Context) (worker.Bookmark, error)
}

// Users names users.
type Users interface {
	User(context.Context, mfa.PoolID, mfa.Sub) (mfa.User, error)
}

// Sources are where Read looks.
type Sources struct {
	Ledger Ledger
	Users  Users
	Policy worker.PolicySource
	Pools  []mfa.PoolID
	// Mode is "enforce" or "observe"; empty if nobody knows.
	Mode string
}

// Status is what is open at a time.
type Status struct {
	Schema string    `json:"schema"`
	At     time.Time `json:"at"`
	Mode   string    `json:"mode"` // "enforce", "observe" or "unknown"
	// Wrong says what is not as it should be; nothing if all is well.
	Wrong     []string   `json:"wrong"`
	Sweep     Sweep      `json:"sweep"`
	Policy    Policy     `json:"policy"`
	Pools     []Pool     `json:"pools"`
	Overrides []Override `json:"overrides"` // those first that end first
	Incidents []Incident `json:"incidents"` // those that are no open override's
	Users     []User     `json:"users"`     // who are listed for something else
	// Asked is the user who was asked for; nil: everybody.
	Asked *Asked `json:"asked,omitempty"`
	// Unnamed is why users could not be looked up, if they could not.
	Unnamed string `json:"unnamed,omitempty"`
	// Flags are what the commands that the text suggests have to repeat, such as " --stack prod".
	Flags string `json:"-"`
}

// Sweep is the last complete one.
type Sweep struct {
	CompletedAt time.Time `json:"completed_at,omitzero"`
	AgeSeconds  int64     `json:"age_seconds,omitempty"`
	TooOld      bool      `json:"too_old"`
}

// Policy is the one in force.
type Policy struct {
	Revision      string     `json:"revision"`
	RequiredRoles []mfa.Role `json:"required_roles"`
	// Doubt is what is wrong with the record, or keeps it from being read.
	Doubt string `json:"doubt,omitempty"`
}

// Pool is a guarded pool.
type Pool struct {
	ID mfa.PoolID `json:"id"`
	// Posture is how many users with a required role have had no MFA since
	// Relatch first looked.
	Posture int `json:"posture"`
	// Lacks is how the pool is weaker than it was.
	Lacks []string `json:"lacks,omitempty"`
}

// Override is one that has not ended.
type Override struct {
	ID       string       `json:"id"`
	Pool     mfa.PoolID   `json:"pool_id"`
	Sub      mfa.Sub      `json:"sub"`
	Username string       `json:"username,omitempty"`
	Roles    []mfa.Role   `json:"roles,omitempty"`
	Required bool         `json:"required"`
	Factors  []mfa.Factor `json:"factors"` // that were taken
	// Actor is an ARN; empty if nobody knows who it was.
	Actor        string        `json:"actor,omitempty"`
	ActorType    mfa.ActorType `json:"actor_type,omitempty"`
	OpenedAt     time.Time     `json:"opened_at"`
	Deadline     time.Time     `json:"deadline"`
	SecondsLeft  int64         `json:"seconds_left"` // below zero after the deadline
	Overdue      bool          `json:"overdue"`
	Unrestorable bool          `json:"unrestorable"`
	// Then is what happens at the end, in words.
	Then          string             `json:"then"`
	Severity      mfa.Severity       `json:"severity,omitempty"` // of its incident, if it has one
	Justified     bool               `json:"justified"`
	Failed        []mfa.Rule         `json:"failed_rules,omitempty"`
	Why           []string           `json:"why,omitempty"` // the same in words
	Justification *mfa.Justification `json:"justification,omitempty"`
	// JustifyUntil is until when the actor can still justify it; zero if not any more.
	JustifyUntil time.Time `json:"justify_until,omitzero"`
	// Unfinished is since when something that was decided waits to be done.
	Unfinished time.Time `json:"unfinished_since,omitzero"`
	// Notes are what else is to be known.
	Notes []string `json:"notes,omitempty"`
}

// Incident is one that is open and is no open override's.
type Incident struct {
	mfa.Incident
	ChangedAt time.Time  `json:"changed_at"`
	Pool      mfa.PoolID `json:"pool_id,omitempty"`
	Sub       mfa.Sub    `json:"sub,omitempty"`
	Username  string     `json:"username,omitempty"`
	Actor     string     `json:"actor,omitempty"`
	What      string     `json:"what,omitempty"`
	// Person: nobody but a person ends it, where the page went to.
	Person bool `json:"person"`
}

// User is one without an open override whom the next sweeps look at.
type User struct {
	Pool     mfa.PoolID `json:"pool_id"`
	Sub      mfa.Sub    `json:"sub"`
	Username string     `json:"username,omitempty"`
	// Noted is since when the user is seen without the factors of before, and
	// nobody knows yet by whose act.
	Noted time.Time `json:"noted_at,omitzero"`
	// Unfinished is since when something that was decided waits to be done.
	Unfinished time.Time `json:"unfinished_since,omitzero"`
	SignOut    bool      `json:"sign_out_owed,omitempty"`
}

// reading is a Status in the making.
type reading struct {
	Sources
	Status

	ctx    context.Context
	now    time.Time
	late   time.Duration       // how long after the disable a justification counts
	failed map[mfa.PoolID]bool // whose users could not be looked up
}

// Read tells what is open now. Only the ledger has to answer: users who cannot be
// looked up keep their subs.
func Read(ctx context.Context, from Sources, now time.Time) (Status, error) {
	r := reading{Sources: from, ctx: ctx, now: now, failed: map[mfa.PoolID]bool{}, Status: Status{
		Schema: Schema, At: now.UTC().Truncate(time.Second), Mode: cmp.Or(from.Mode, "unknown"),
		Wrong: []string{}, Pools: []Pool{}, Overrides: []Override{}, Incidents: []Incident{}, Users: []User{},
	}}
	for _, step := range []func() error{r.sweep, r.policy, r.open, r.incidents} {
		if err := step(); err != nil {
			return Status{}, err
		}
	}
	slices.SortFunc(r.Overrides, func(a, b Override) int {
		return cmp.Or(a.Deadline.Compare(b.Deadline), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(r.Incidents, func(a, b Incident) int {
		return cmp.Or(cmp.Compare(b.Severity.Rank(), a.Severity.Rank()), b.ChangedAt.Compare(a.ChangedAt), cmp.Compare(a.Key, b.Key))
	})
	r.judge()
	return r.Status, nil
}

func (r *reading) sweep() error {
	b, err := r.Ledger.Bookmark(r.ctx)
	if err != nil {
		return fmt.Errorf("read when the last sweep was: %w", err)
	}
	r.Sweep = Sweep{CompletedAt: b.CompletedAt, TooOld: true}
	if !b.CompletedAt.IsZero() {
		age := r.now.Sub(b.CompletedAt)
		r.Sweep.AgeSeconds, r.Sweep.TooOld = int64(age/time.Second), age > SweepLate
	}
	return nil
}

func (r *reading) policy() error {
	p, err := worker.Rules(r.ctx, r.Sources.Policy, r.Ledger)
	if err != nil {
		return err
	}
	r.late = p.Late
	r.Status.Policy = Policy{Revision: p.Revision, RequiredRoles: p.RequiredRoles}
	return nil
}

func (r *reading) open() error {
	for _, id := range r.Sources.Pools {
		loaded, err := r.Ledger.Load(r.ctx, worker.Query{Journal: mfa.PoolJournal(id)})
		if err != nil {
			return err
		}
		pool := Pool{ID: id, Lacks: loaded.Standing.Lacks}
		for s, err := range r.Ledger.Open(r.ctx, id) {
			if err != nil {
				return err
			}
			if s.Posture {
				pool.Posture++
			}
			r.user(id, s)
		}
		r.Status.Pools = append(r.Status.Pools, pool)
	}
	return nil
}

// user takes what is open of a user.
func (r *reading) user(pool mfa.PoolID, s mfa.Standing) {
	sub := mfa.Sub(strings.TrimPrefix(s.Journal, mfa.UserJournal(pool, "")))
	unfinished := time.Time{}
	if s.Intention != nil {
		unfinished = s.Intention.LeasedUntil.Add(-mfa.Lease)
	}
	for _, in := range s.Incidents {
		if s.Override == nil || in.Key != incidentOf(s.Override.ID) {
			r.incident(s, in)
		}
	}
	switch {
	case s.Override != nil:
		r.override(pool, sub, s, unfinished)
	case !s.NotedAt.IsZero(), s.Intention != nil, s.SignOut:
		r.Status.Users = append(r.Status.Users, User{
			Pool: pool, Sub: sub, Username: r.person(pool, sub).Username, Noted: s.NotedAt, Unfinished: unfinished, SignOut: s.SignOut,
		})
	}
}

func incidentOf(override string) string { return "override/" + override }

func (r *reading) override(pool mfa.PoolID, sub mfa.Sub, s mfa.Standing, unfinished time.Time) {
	o := s.Override
	user := r.person(pool, sub)
	shown := Override{
		ID: o.ID, Pool: pool, Sub: sub, Username: user.Username, Roles: mfa.Union(o.Roles, user.Roles), Required: o.Required,
		Factors: o.Taken, Actor: o.Actor.ARN, ActorType: o.Actor.Type, OpenedAt: o.OpenedAt, Deadline: o.Deadline,
		SecondsLeft: int64(o.Deadline.Sub(r.now) / time.Second), Unrestorable: o.Unrestorable,
		Justified: o.Match.Justified(), Failed: o.Match.Failed, Why: o.Match.Why, Unfinished: unfinished,
	}
	shown.Overdue = !o.Unrestorable && !r.observes() && (o.Overdue || r.now.Sub(o.Deadline) >= mfa.OverdueAfter)
	shown.Then = r.then(o)
	if until := o.OpenedAt.Add(r.late); !shown.Justified && o.Actor.Type == mfa.Admin && r.now.Before(until) {
		shown.JustifyUntil = until
	}
	for _, in := range s.Incidents {
		if in.Key == incidentOf(o.ID) {
			shown.Severity = in.Severity
		}
	}
	if o.Match.ID != "" {
		all, err := r.Ledger.Justifications(r.ctx, pool, sub)
		if i := slices.IndexFunc(all, func(j mfa.Justification) bool { return j.ID == o.Match.ID }); i >= 0 {
			shown.Justification = &all[i]
		} else if err != nil {
			shown.Notes = append(shown.Notes, "the justification cannot be read: "+err.Error())
		}
	}
	note := func(yes bool, text string, args ...any) {
		if yes {
			shown.Notes = append(shown.Notes, fmt.Sprintf(text, args...))
		}
	}
	note(o.Repeated, "switched off again while it was off (%d times in all)", o.Disables)
	note(o.Rank >= mfa.MassUsers, "one of many users for whom this actor switched MFA off within ten minutes")
	note(o.Verified, "a token was verified since: whose?")
	note(len(user.Factors) > 0, "on now: %s", alert.Names(user.Factors))
	note(user.Found && !user.Enabled, "the user is disabled: nobody can sign in as them")
	note(!unfinished.IsZero(), "what was decided at %s waits to be done", clock(unfinished))
	r.Overrides = append(r.Overrides, shown)
}

// then is what happens at the end of the override.
func (r *reading) then(o *mfa.Override) string {
	restorable := o.Restorable()
	on := alert.Names(restorable) + " on again, and signed out"
	switch {
	case o.Unrestorable:
		return "cannot be restored: Cognito refuses, so sign-in stays possible without MFA until the user enrols a device"
	case r.observes():
		return "nothing: Relatch only observes; switch it on by hand"
	case len(mfa.Adequate(restorable, o.Required)) == 0 && len(o.Deleted) > 0:
		return "nothing that would do: the token is deleted, so it stays open until the user enrols a device"
	case o.Match.Cause == mfa.LostDevice && !o.Verified:
		return on + "; the device was declared lost, so the user is likely locked out unless a new one is enrolled before"
	case !o.AskedAt.IsZero():
		return on + ", at once: it was asked for at " + clock(o.AskedAt)
	case !r.now.Before(o.Deadline):
		return on + ": Relatch tries at every sweep"
	default:
		return on
	}
}

func (r *reading) observes() bool { return r.Sources.Mode == "observe" }

// incidents takes those that are no open user's.
func (r *reading) incidents() error {
	for s, err := range r.Ledger.Incidents(r.ctx) {
		if err != nil {
			return err
		}
		for _, in := range s.Incidents {
			r.incident(s, in)
		}
	}
	return nil
}

func (r *reading) incident(s mfa.Standing, in mfa.Incident) {
	shown := Incident{Incident: in, ChangedAt: in.Since}
	switch {
	case in.Key == mfa.PolicyJournal:
		shown.Person = in.Kind != mfa.PolicyInvalid // which a valid record ends
	case strings.HasPrefix(in.Key, "guard/"), strings.HasPrefix(in.Key, "override/"):
		shown.Person = true
	}
	if rest, ok := strings.CutPrefix(s.Journal, "user/"); ok {
		pool, sub, _ := strings.Cut(rest, "/")
		shown.Pool, shown.Sub = mfa.PoolID(pool), mfa.Sub(sub)
		shown.Username = r.person(shown.Pool, shown.Sub).Username
	}
	for e, err := range r.Ledger.Entries(r.ctx, s.Journal) {
		var said mfa.Record
		if err != nil || json.Unmarshal(e.Record, &said) != nil {
			continue // verify finds what is wrong with the journal
		}
		if slices.ContainsFunc(said.Alerts, func(a mfa.Alert) bool { return a.Incident == in.Key && a.State != mfa.StateResolved }) {
			shown.ChangedAt, shown.What, shown.Actor = said.At, said.Problem, said.Cause.Actor
		}
	}
	r.Incidents = append(r.Incidents, shown)
}

// person looks a user up. The last trouble is kept; nobody else of the pool is
// asked for then.
func (r *reading) person(pool mfa.PoolID, sub mfa.Sub) mfa.User {
	if r.failed[pool] {
		return mfa.User{}
	}
	u, err := r.Sources.Users.User(r.ctx, pool, sub)
	if err != nil {
		r.Unnamed, r.failed[pool] = err.Error(), true
		return mfa.User{}
	}
	return u
}

// judge says what is wrong.
func (s *Status) judge() {
	s.Wrong = []string{}
	wrong := func(yes bool, text string, args ...any) {
		if yes {
			s.Wrong = append(s.Wrong, fmt.Sprintf(text, args...))
		}
	}
	wrong(s.Sweep.CompletedAt.IsZero(), "no sweep has ever been completed")
	wrong(s.Sweep.TooOld && !s.Sweep.CompletedAt.IsZero(), "the last complete sweep was %s ago: what deliveries and timers miss is not found",
		alert.Span(time.Duration(s.Sweep.AgeSeconds)*time.Second))
	for i := range s.Overrides {
		o := &s.Overrides[i]
		user := name(o.Username, o.Sub)
		wrong(o.Overdue, "%s of %s is overdue by %s", o.ID, user, alert.Span(s.At.Sub(o.Deadline)))
		wrong(o.Unrestorable, "%s of %s cannot be restored: the user must enrol", o.ID, user)
		wrong(o.Severity == mfa.Critical && !o.Overdue && !o.Unrestorable, "%s of %s is critical: %s", o.ID, user, verdict(o))
	}
	for i := range s.Incidents {
		in := &s.Incidents[i]
		wrong(in.Severity == mfa.Critical && (!in.Person || s.At.Sub(in.ChangedAt) < ToldFor), "%s (%s) is critical since %s", in.Key, in.Kind, clock(in.Since))
	}
}

// Asked is a user who was asked for.
type Asked struct {
	Pool     mfa.PoolID   `json:"pool_id"`
	Sub      mfa.Sub      `json:"sub"`
	Username string       `json:"username,omitempty"`
	Roles    []mfa.Role   `json:"roles,omitempty"`
	Enabled  bool         `json:"enabled"`
	Factors  []mfa.Factor `json:"factors"` // switched on now
}

// Only leaves what is about the user.
func (s *Status) Only(a Asked) {
	s.Asked = &a
	s.Overrides = slices.DeleteFunc(s.Overrides, func(o Override) bool { return o.Pool != a.Pool || o.Sub != a.Sub })
	s.Incidents = slices.DeleteFunc(s.Incidents, func(in Incident) bool { return in.Pool != a.Pool || in.Sub != a.Sub })
	s.Users = slices.DeleteFunc(s.Users, func(u User) bool { return u.Pool != a.Pool || u.Sub != a.Sub })
	s.judge()
}

func name(username string, sub mfa.Sub) string { return cmp.Or(username, string(sub)) }

func verdict(o *Override) string {
	if o.Justified {
		return "justified"
	}
	return "NOT JUSTIFIED"
}

func clock(t time.Time) string { return t.UTC().Format("Mon 2 Jan 15:04:05Z") }
