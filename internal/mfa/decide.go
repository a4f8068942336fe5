package mfa

import (
	"slices"
	"time"
)

// Decide says what is to be done about a change, in this order of precedence
// (the numbers are those of the design):
//
//  0. before any look at a user: reject what names no user, ignore what is not
//     ours, failed, known, nobody's business (Screen); guard; pool; own act
//  1. the user is gone, or federated
//  2. the pool does not let anybody switch MFA on or off
//  3. the user has an adequate factor: close, brief, or still protected
//  4. an act took the adequate factor away and no override is open: open
//  5. an override is open and its deadline lies ahead: hold
//  6. its deadline is reached, or a person asked for its end: restore
//  7. no adequate factor and no act known: grace, waiting, warning, posture
//  8. nothing of all that: not required, or nothing open
//
// It is total and pure: the same arguments give the same decision, and the
// state that it is given stays as it was. now is taken in whole seconds, UTC, as
// everything that is kept of it.
func Decide(s State, c Change, p Policy, now time.Time) Decision {
	now = whole(now)
	l := look{State: s, change: &c, policy: p, now: now, next: s.Standing}
	if d, done := Screen(s.House, c); done {
		return d
	}
	switch {
	case s.Known:
		return l.ignore(Duplicate)
	case s.Reading != nil:
		return l.readPolicy(*s.Reading)
	case c.Kind == GuardChanged:
		return l.guard()
	case c.poolWide(), c.Kind == Swept && c.Sub == "":
		return l.pool()
	case c.Kind == FactorsChanged && len(c.Off) == 0 && len(c.On) > 0 && c.Actor.Is(s.House.OwnRole):
		return l.ignore(OwnAct)
	}

	open := s.Standing.Override
	adequate := Adequate(s.User.Factors, l.required())
	switch {
	case !s.User.Found && open != nil: // 1
		return l.close(Gone, UserGone)
	case !s.User.Found:
		l.next.SignOut = false
		return l.settled(NoSuchUser)
	case s.User.Federated:
		return l.ignore(Federated)

	case s.Pool.Mode == ModeOff: // 2
		return l.ignore(Ineffective)
	case s.Pool.Mode == ModeOn && c.Kind == FactorsChanged && open == nil:
		return l.ignore(Ineffective)

	case len(adequate) > 0 && open != nil: // 3
		return l.close(l.end(adequate), ProtectedAgain)
	case len(adequate) > 0 && c.Kind.Delivered() && now.Sub(c.At) > p.MaxDuration:
		return l.protected(ReplayedAndPast)
	case len(adequate) > 0 && len(c.Off) > 0 && len(Without(adequate, c.Off)) == 0 && !l.within(c.At):
		return l.brief()
	case len(adequate) > 0:
		return l.protected(StillProtected)

	case open == nil && l.tookAway(): // 4
		return l.open(c.At, c.Actor, 1)

	case open != nil: // 5, 6
		return l.continued()

	case c.Kind == Justified, c.Kind == Due, c.Kind == Asked: // 8, for what is no event
		return l.ignore(NothingOpen)
	}
	return l.unexplained() // 7, 8
}

// House is what a deployment is told once: what it guards and who it is.
type House struct {
	Pools          []PoolID
	Guard          []string // ARNs of Relatch's own resources
	OwnRole        string   // the role of reenable
	DeploymentRole string
	// Observe: decide, schedule and alert, but neither restore nor sign out.
	Observe bool
}

// State is all that a decision depends on, apart from the change, the policy and the time.
type State struct {
	House          House
	Pool           Pool
	User           User
	Standing       Standing
	Justifications []Justification
	// Known: the journal has the cause key already.
	Known bool
	// Rank is the user's place among those whom the actor disabled in the
	// window, counted to MassUsers+1; 0 if nobody counted.
	Rank int
	// TimerMissing: somebody looked for the override's timer and did not find it.
	TimerMissing bool
	// Swept are the required roles of the pool that had a complete sweep.
	Swept []Role
	// Listed is the pool's posture as a complete sweep found it.
	Listed []Sub
	// Reading is a policy record that was read anew.
	Reading *Reading
}

// Reading is what came of reading the policy record: Err says why the record
// cannot be used, Last is the last good policy before (the zero Policy if none).
type Reading struct {
	Policy Policy
	Raw    []byte
	Err    error
	Last   Policy
}

// Decision is what Decide says.
type Decision struct {
	Verdict Verdict
	Reason  Reason
	Problem string
	// Standing is how the journal stands once this is done.
	Standing Standing
	Override *RecordOverride
	Actions  []Action
	// Restore are the factors that the action Restore switches on.
	Restore   []Factor
	Preferred Factor
	Alerts    []Alert
	// LookAt is when a look will decide differently although nothing has
	// happened meanwhile; zero if never.
	LookAt time.Time
}

// Screen decides what needs no look at anything but the change itself. It is
// the beginning of Decide, apart so that an irrelevant delivery costs no call.
func Screen(h House, c Change) (Decision, bool) {
	verdict := func(v Verdict, r Reason) (Decision, bool) { return Decision{Verdict: v, Reason: r}, true }
	switch {
	case c.Kind == "":
		return Reject(h, "the change is of no kind"), true
	case c.Kind == NotRelevant:
		return verdict(Ignores, Irrelevant)
	case c.Kind == GuardChanged && h.guarded(&c) == "":
		return verdict(Ignores, Irrelevant)
	// A call that failed need not name whom it failed for: IAM's refusals do not.
	case c.NamesUser() && c.Sub == "" && c.Kind.Delivered() && c.Failed == "":
		d := Reject(h, "the record names no user: additionalEventData.sub is missing or hidden")
		d.Reason = NamesNoUser
		return d, true
	case c.Pool != "" && !slices.Contains(h.Pools, c.Pool):
		return verdict(Ignores, NotOurs)
	case c.Failed != "":
		return verdict(Ignores, CallFailed)
	}
	return Decision{}, false
}

// Reject is the decision about a delivery that could not be read at all.
func Reject(h House, problem string) Decision {
	return Decision{
		Verdict: Rejects, Reason: Unreadable, Problem: problem,
		Alerts: []Alert{h.say(Alert{Kind: UnreadableEvent, Severity: Warning, State: Noted})},
	}
}

func whole(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// say keeps an observing house from paging.
func (h House) say(a Alert) Alert {
	if h.Observe {
		a.Severity = atMost(a.Severity, Warning)
	}
	return a
}

// look is one decision in the making.
type look struct {
	State
	change *Change
	policy Policy
	now    time.Time
	next   Standing // becomes the decision's standing; its slices and pointers are shared until cloned
	alerts []Alert
}

// required reports whether the user must have a factor fit for a required
// role: by a role held now, or when the open override opened. Leaving the group
// does not help.
func (l *look) required() bool {
	requires := func(r Role) bool { return slices.Contains(l.policy.RequiredRoles, r) }
	o := l.Standing.Override
	return slices.ContainsFunc(l.User.Roles, requires) || o != nil && slices.ContainsFunc(o.Roles, requires)
}

func (l *look) decision(v Verdict, r Reason) Decision {
	d := Decision{Verdict: v, Reason: r, Standing: l.next, Alerts: l.alerts}
	d.LookAt = l.lookAt()
	// A sign-out that was asked for is done by the next look that may do it.
	owed := l.next.SignOut && v != Opens && v != Closes && v != Restores
	if owed && (l.change.Kind == Due || l.change.Kind == Swept) {
		d.Actions = append(d.Actions, Action{Do: SignOut})
	}
	return d
}

func (l *look) ignore(r Reason) Decision { return l.decision(Ignores, r) }

// protected: the user has an adequate factor and no override is open.
func (l *look) protected(r Reason) Decision {
	l.seen()
	return l.settled(r)
}

// settled ignores the change for the reason, once whatever was open without an
// override is resolved.
func (l *look) settled(r Reason) Decision {
	l.next.Posture = false
	if l.resolve(l.userIncident()) {
		return l.decision(Alerts, Resolved)
	}
	return l.ignore(r)
}

// seen makes what the user has now the baseline.
func (l *look) seen() {
	l.next.NotedAt = time.Time{}
	l.next.Lost = nil
	b := l.next.Baseline
	if b != nil && slices.Equal(b.Factors, l.User.Factors) && b.Preferred == l.User.Preferred {
		return
	}
	l.next.Baseline = &Baseline{Factors: l.User.Factors, Preferred: l.User.Preferred, SeenAt: l.now}
	l.next.EverHeld = l.next.EverHeld || len(l.User.Factors) > 0
}

// within reports whether the moment lies in an override that has ended.
func (l *look) within(at time.Time) bool {
	return slices.ContainsFunc(l.Standing.Past, func(o Past) bool {
		return !at.Before(o.OpenedAt) && !at.After(o.ClosedAt)
	})
}

// taken is what the change took from the user: what it switched off of what he
// was last seen with, or all of it if he was never seen.
func (l *look) taken() []Factor {
	off, b := l.change.Off, l.Standing.Baseline
	if b != nil {
		if l.change.Masked {
			off = b.Factors
		}
		off = Both(b.Factors, off)
	}
	return Both(Factors, Without(Union(off, l.Standing.Lost), l.User.Factors))
}

// tookAway reports whether the change is the act that left the user without an
// adequate factor: with what it took he would have one, and he has not been seen
// with one since.
func (l *look) tookAway() bool {
	protectedSince := func(o Past) bool { return l.change.At.Before(o.ClosedAt) }
	return l.change.takes() && len(Adequate(Union(l.User.Factors, l.taken()), l.required())) > 0 &&
		!slices.ContainsFunc(l.Standing.Past, protectedSince)
}

func (l *look) open(at time.Time, actor Actor, disables int) Decision {
	o := l.newOverride(at, actor)
	o.Disables = disables
	l.next.Override, l.next.NotedAt, l.next.Lost, l.next.Posture = &o, time.Time{}, nil, false
	reason := TakenAway
	if disables == 0 {
		reason = FoundMissing
	}
	if kind := l.kind(&o); kind != "" {
		l.raise(kind, l.severity(&o), overrideIncident(o.ID))
	}
	if o.Rank == MassUsers {
		l.alerts = append(l.alerts, l.House.say(Alert{Kind: MassDisable, Severity: Critical, State: Triggered, Incident: ActorKey(actor.ARN, at)}))
	}
	d := l.decision(Opens, reason)
	d.Override = shown(&o, "")
	d.Actions = append(d.Actions, l.timer(&o))
	return d
}

func (l *look) newOverride(at time.Time, actor Actor) Override {
	l.next.Number++
	o := Override{
		ID: overrideID(l.change.Pool, l.change.Sub, l.next.Number), OpenedAt: at, Deadline: at.Add(l.policy.MaxDuration), SeenAt: l.now,
		Actor: actor, Roles: l.User.Roles, Taken: l.taken(), Before: l.Standing.Baseline, Rank: l.Rank,
	}
	if len(o.Taken) == 0 && o.Before != nil {
		o.Taken = Without(o.Before.Factors, l.User.Factors)
	}
	o.Match = match(l.Justifications, actor, at, l.User, l.Standing.Past, l.policy)
	return o
}

// timer is the action that makes the override end: a schedule at the deadline,
// or asking for the end if that is past.
func (l *look) timer(o *Override) Action {
	if o.Deadline.After(l.now) {
		return Action{Do: Schedule, At: minuteAfter(o.Deadline)}
	}
	return Action{Do: Restore}
}

// minuteAfter rounds up to the full minute, which is how exactly EventBridge
// Scheduler fires: never before the deadline.
func minuteAfter(t time.Time) time.Time {
	if m := t.Truncate(time.Minute); m.Before(t) {
		return m.Add(time.Minute)
	}
	return t
}

// kind is what the opening of the override is called, or "" if nobody needs to hear of it.
func (l *look) kind(o *Override) AlertKind {
	switch {
	case l.required():
		return RequiredRoleWithoutMFA
	case !o.Match.Justified() || o.Rank >= MassUsers:
		return UnjustifiedOverride
	default:
		return ""
	}
}

// severity is how loud the open override is now.
func (l *look) severity(o *Override) Severity {
	severity := Warning
	quiet := o.Match.Justified() && !o.Repeated && !o.Overdue && !o.Unrestorable
	switch {
	case l.required() && !quiet:
		severity = Critical
	case !l.required() && quiet:
		severity = Info
	}
	if o.Rank >= MassUsers {
		severity = Warning // the actor's own incident pages
	}
	return l.unlessDisabled(severity)
}

// continued decides about an open override: rules 5 and 6.
func (l *look) continued() Decision {
	o := *l.Standing.Override
	l.next.Override = &o
	actions := l.fold(&o)
	if l.change.Kind == Asked {
		o.AskedAt = l.now
	}
	again := l.change.Kind.Delivered() && o.Unrestorable // a delivery that names him: try again
	if again {
		o.AskedAt = l.now
	}
	reached := !o.Deadline.After(l.now)
	switch {
	case o.Unrestorable && o.AskedAt.IsZero(), o.Tried && reached:
		l.overdue(&o)
		return l.held(&o, actions)
	case reached || !o.AskedAt.IsZero():
		return l.restore(&o)
	}
	if l.change.Kind == Due && l.change.Timer || l.change.Kind == Swept && l.TimerMissing {
		actions = append(actions, l.timer(&o))
	}
	if l.change.Kind == Swept {
		l.notice(&o)
	}
	return l.held(&o, actions)
}

// fold takes what the change says about the override into it, and raises what
// on-call must hear of that.
func (l *look) fold(o *Override) []Action {
	var actions []Action
	c := l.change
	repeated := false
	switch {
	case c.Kind == Justified:
		o.Match = match(l.Justifications, o.Actor, o.OpenedAt, l.User, l.Standing.Past, l.policy)
	case c.Kind == TokenVerified && !c.At.Before(o.OpenedAt):
		o.Verified = true
	case len(c.Off) > 0 && !l.within(c.At):
		o.Taken = Both(Factors, Union(o.Taken, l.taken()))
		repeated = o.Disables > 0
		o.Repeated = o.Repeated || repeated
		if earlier := c.At.Before(o.OpenedAt); earlier || o.Disables == 0 {
			o.Actor = c.Actor
			if earlier {
				o.OpenedAt = c.At
			}
			if deadline := c.At.Add(l.policy.MaxDuration); deadline.Before(o.Deadline) {
				o.Deadline = deadline
				actions = append(actions, l.timer(o))
			}
			o.Match = match(l.Justifications, o.Actor, o.OpenedAt, l.User, l.Standing.Past, l.policy)
		}
		o.Disables++
	}
	l.adjust(o, repeated)
	return actions
}

// adjust raises what has become of the override's incident.
func (l *look) adjust(o *Override, repeated bool) {
	key, kind := overrideIncident(o.ID), l.kind(o)
	in := l.next.incident(key)
	switch {
	case repeated:
		l.raise(OverrideRepeated, l.severity(o), key)
	case in == nil && kind == "":
	case in == nil:
		l.raise(kind, l.severity(o), key)
	case in.Severity != l.House.say(Alert{Severity: l.severity(o)}).Severity:
		if kind == "" {
			kind = in.Kind
		}
		l.raise(kind, l.severity(o), key)
	}
}

func (l *look) held(o *Override, actions []Action) Decision {
	d := l.decision(Holds, WithinTime)
	if o.Unrestorable {
		d.Reason = CannotRestore
	}
	d.Override = shown(o, "")
	d.Actions = append(d.Actions, actions...)
	return d
}

// notice notes that the deadline is near, once for each notice of the policy
// whose time has come since the override opened.
func (l *look) notice(o *Override) {
	due := false
	for _, before := range l.policy.Notices {
		at := o.Deadline.Add(-before)
		if at.After(l.now) || !at.After(o.SeenAt) || slices.Contains(o.Noticed, before) {
			continue
		}
		o.Noticed = append(slices.Clone(o.Noticed), before)
		due = true
	}
	if due {
		l.alerts = append(l.alerts, Alert{Kind: DeadlineNear, Severity: Info, State: Noted})
	}
}

// OverdueAfter is how long after its deadline an override counts as overdue, or
// after Relatch saw it if that was later.
const OverdueAfter = 15 * time.Minute

func (o *Override) overdueAt() time.Time {
	if o.SeenAt.After(o.Deadline) {
		return o.SeenAt.Add(OverdueAfter)
	}
	return o.Deadline.Add(OverdueAfter)
}

func (l *look) overdue(o *Override) {
	if l.change.Kind != Swept || o.Overdue || o.Unrestorable || l.now.Before(o.overdueAt()) {
		return
	}
	o.Overdue = true
	l.raise(OverrideOverdue, l.severity(o), overrideIncident(o.ID))
}

func (l *look) restore(o *Override) Decision {
	l.overdue(o)
	d := l.decision(Restores, DeadlineReached)
	if !o.AskedAt.IsZero() {
		d.Reason = AskedFor
	}
	d.Override = shown(o, "")
	d.Restore = Without(o.Taken, l.User.Factors)
	if o.Before != nil && slices.Contains(d.Restore, o.Before.Preferred) {
		d.Preferred = o.Before.Preferred
	}
	d.Actions = append(d.Actions, Action{Do: Restore})
	if l.policy.SignOut || l.next.SignOut {
		d.Actions = append(d.Actions, Action{Do: SignOut})
	}
	if o.Deadline.After(l.now) && !l.House.Observe { // where nothing is restored, the timer is still needed
		d.Actions = append(d.Actions, Action{Do: Cancel})
	}
	return d
}

// end is how an override closes whose user has an adequate factor again.
func (l *look) end(adequate []Factor) End {
	o := l.Standing.Override
	switch {
	case l.Standing.Intention != nil && l.Standing.Intention.Record.Verdict == Restores:
		return Restored
	case o.Verified, l.change.Kind == TokenVerified && !l.change.At.Before(o.OpenedAt):
		return Reenrolled
	case o.Before != nil && len(Both(adequate, o.Before.Factors)) == 0:
		return Reenrolled
	case o.Before == nil && len(Both(adequate, o.Taken)) == 0:
		return Reenrolled
	default:
		return Reenabled
	}
}

func (l *look) close(end End, r Reason) Decision {
	o := *l.Standing.Override
	signOut := end != Gone && (l.policy.SignOut || l.next.SignOut)
	l.finish(&o, end, l.now)
	d := l.decision(Closes, r)
	d.Override = shown(&o, end)
	if l.now.Before(minuteAfter(o.Deadline)) {
		d.Actions = append(d.Actions, Action{Do: Cancel})
	}
	if signOut {
		d.Standing.SignOut = true
		d.Actions = append(d.Actions, Action{Do: SignOut})
	}
	return d
}

// finish ends the override in the next standing and says so to on-call.
func (l *look) finish(o *Override, end End, at time.Time) {
	l.next.Override, l.next.Posture, l.next.SignOut = nil, false, false
	l.past(o, at)
	if end != Gone {
		l.seen()
	}
	l.resolve(l.userIncident())
	key := overrideIncident(o.ID)
	swapped := end == Reenrolled || end == Restored && o.Verified
	switch {
	case swapped && l.required() && !o.Match.Justified():
		l.raise(FactorSwapped, l.unlessDisabled(Critical), key)
		return // a person must look at whose token it is
	case swapped && l.next.incident(key) != nil:
		l.raise(FactorSwapped, Info, key)
	case swapped:
		l.alerts = append(l.alerts, Alert{Kind: FactorSwapped, Severity: Info, State: Noted})
	}
	l.resolve(key)
	if end == Restored && o.Match.Cause == LostDevice && !o.Verified {
		l.alerts = append(l.alerts, Alert{Kind: LockedOutLikely, Severity: l.unlessDisabled(Warning), State: Noted})
	}
}

// unlessDisabled is the severity, or Info for a user as whom nobody can sign in.
func (l *look) unlessDisabled(s Severity) Severity {
	if !l.User.Enabled {
		return Info
	}
	return s
}

// past keeps what later decisions need of the override, and drops what none will ask for.
func (l *look) past(o *Override, closedAt time.Time) {
	kept := Past{ID: o.ID, OpenedAt: o.OpenedAt, ClosedAt: closedAt}
	if o.Match.Justified() {
		kept.Justification = o.Match.ID
	}
	keep := max(l.policy.BudgetSpan, l.policy.Before+l.policy.MaxDuration, 2*MaxHours*time.Hour)
	past := slices.DeleteFunc(slices.Clone(l.next.Past), func(p Past) bool { return l.now.Sub(p.ClosedAt) > keep })
	past = append(past, kept)
	l.next.Past = past
}

// brief records an override that was over before anybody looked.
func (l *look) brief() Decision {
	o := l.newOverride(l.change.At, l.change.Actor)
	o.Taken = Both(Factors, Both(l.User.Factors, l.change.Off))
	l.past(&o, o.OpenedAt) // when it ended is not known; later disables are overrides of their own
	l.seen()
	l.alerts = append(l.alerts, Alert{Kind: BriefOverride, Severity: l.unlessDisabled(Warning), State: Noted})
	l.next.Posture = false
	l.resolve(l.userIncident())
	d := l.decision(Closes, OffAndOn)
	d.Override = shown(&o, Reenabled)
	if l.policy.SignOut {
		d.Standing.SignOut = true
		d.Actions = append(d.Actions, Action{Do: SignOut})
	}
	return d
}

// NotedFor is how long a user whose factors are gone without a known act is
// given for the delivery to come.
const NotedFor = 15 * time.Minute

// CriticalAfter is how long a required role may go without MFA before it pages.
const CriticalAfter = 24 * time.Hour

// unexplained decides about a user without an adequate factor when nobody is
// known to have taken one: rules 7 and 8.
func (l *look) unexplained() Decision {
	b, swept := l.Standing.Baseline, l.change.Kind == Swept
	held := l.Standing.EverHeld || len(l.User.Factors) > 0 || b != nil && len(b.Factors) > 0
	lost := b != nil && len(Adequate(b.Factors, l.required())) > 0
	if !lost && (b != nil || swept) { // what a delivery shows first may be the end of a story
		l.seen()
	}
	in := l.Standing.incident(l.userIncident())
	switch {
	case !held && l.now.Before(l.graceEnd()) && l.required():
		return l.ignore(InGrace)
	case !held && l.now.Before(l.graceEnd()):
		return l.settled(InGrace)

	case lost && swept && !l.Standing.NotedAt.IsZero() && l.now.Sub(l.Standing.NotedAt) >= NotedFor:
		return l.open(l.Standing.NotedAt, Actor{}, 0)
	case lost:
		if l.next.NotedAt.IsZero() {
			l.next.NotedAt = l.now
		}
		l.next.Lost = Union(l.Standing.Lost, Both(b.Factors, l.change.Off))
		return l.decision(Holds, Waiting)

	case !l.required():
		return l.settled(NotRequired)

	case swept && in == nil && (l.Standing.Posture || len(Both(l.policy.Requires(l.User.Roles), l.Swept)) == 0):
		l.next.Posture = true
		return l.ignore(NotRequired)
	}
	severity := Warning
	if in != nil && l.now.Sub(in.Since) >= CriticalAfter {
		severity = Critical
	}
	severity = l.House.say(Alert{Severity: l.unlessDisabled(severity)}).Severity
	if in == nil || in.Severity != severity {
		l.raise(RequiredRoleWithoutMFA, severity, l.userIncident())
	}
	return l.decision(Alerts, WithoutMFA)
}

// graceEnd is until when the user may never have had a factor. It counts from
// his creation and is never renewed.
func (l *look) graceEnd() time.Time {
	grace := l.policy.Grace
	if l.required() {
		grace = min(grace, MaxGraceDays*24*time.Hour)
	}
	return l.User.CreatedAt.Add(grace)
}

func (l *look) userIncident() string { return UserJournal(l.change.Pool, l.change.Sub) }

func overrideIncident(id string) string { return "override/" + id }

// raise says something about an incident: it triggers it, or changes the open one.
func (l *look) raise(kind AlertKind, s Severity, key string) {
	a := l.House.say(Alert{Kind: kind, Severity: s, State: ChangedNow, Incident: key})
	l.next.Incidents = slices.Clone(l.next.Incidents)
	if in := l.next.incident(key); in != nil {
		in.Severity = a.Severity
	} else {
		a.State = Triggered
		l.next.Incidents = append(l.next.Incidents, Incident{Key: key, Kind: kind, Severity: a.Severity, Since: l.now})
	}
	l.alerts = append(l.alerts, a)
}

// resolve ends an open incident and reports whether there was one.
func (l *look) resolve(key string) bool {
	in := l.next.incident(key)
	if in == nil {
		return false
	}
	l.alerts = append(l.alerts, Alert{Kind: in.Kind, Severity: in.Severity, State: ResolvedIt, Incident: key})
	l.next.Incidents = slices.DeleteFunc(slices.Clone(l.next.Incidents), func(i Incident) bool { return i.Key == key })
	return true
}

func shown(o *Override, end End) *RecordOverride {
	return &RecordOverride{
		ID: o.ID, OpenedAt: o.OpenedAt, Deadline: o.Deadline, Factors: o.Taken,
		Justification: o.Match.String(), Failed: o.Match.Failed, Closed: end,
	}
}

// lookAt is when the standing that this look leaves behind must be looked at
// again although nothing happens meanwhile.
func (l *look) lookAt() time.Time {
	var at time.Time
	consider := func(t time.Time) {
		if t.After(l.now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if l.Pool.Mode == ModeOff || !l.User.Found || l.User.Federated {
		return at
	}
	o := l.next.Override
	switch {
	case o != nil && o.Unrestorable:
	case o != nil:
		consider(o.Deadline)
		if !o.Overdue {
			consider(o.overdueAt())
		}
		for _, before := range l.policy.Notices {
			if at := o.Deadline.Add(-before); at.After(o.SeenAt) {
				consider(at)
			}
		}
	case !l.next.NotedAt.IsZero():
		consider(l.next.NotedAt.Add(NotedFor))
	case len(Adequate(l.User.Factors, l.required())) == 0 && l.required():
		if in := l.next.incident(l.userIncident()); in != nil && in.Severity == Warning && !l.House.Observe {
			consider(in.Since.Add(CriticalAfter))
		} else if in == nil && !l.next.Posture && !l.next.EverHeld {
			consider(l.graceEnd())
		}
	}
	return at
}
