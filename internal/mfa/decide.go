package mfa

import (
	"slices"
	"time"
)

// Decide says what is to be done about a change, in this order of precedence:
//
//  0. before any look at a user: reject what names no user, ignore what is not
//     ours, failed, known, nobody's business (Screen); guard; pool; own act
//  1. the user is gone, or federated
//  2. the pool does not let anybody switch MFA on or off
//  3. the user has an adequate factor: close, late, brief, or still protected
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
	l := look{State: s, change: c, policy: p, now: now, next: s.Standing}
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
	case c.Kind == FactorsChanged && len(c.Off) == 0 && len(c.On) > 0 && s.House.own(c.Actor):
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
	case len(adequate) > 0 && c.Kind == TokenVerified && l.ended(c.At) >= 0:
		return l.swapped(l.ended(c.At))
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
	OwnRoles       []string // ARNs of the roles of Relatch's own functions
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
	// Counted are the users counted under the change's CountKey, in the order in
	// which they came; never more than MassUsers.
	Counted []Sub
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
// cannot be used. The last good policy before is in the standing.
type Reading struct {
	Policy Policy
	Raw    []byte
	Err    error
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
	// Count is the place, from 1, at which the user is to be counted under the
	// change's CountKey; 0 if he is not.
	Count int
	// RetellAt is when a posture that has changed may be told again. It is no
	// reason to look: it only says when a look is not in vain.
	RetellAt time.Time
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
	// Before the look at a journal: every timer that is made and cancelled comes back so.
	case c.Kind == GuardChanged && c.Failed == "" && h.own(c.Actor):
		return verdict(Ignores, OwnAct)
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
		Alerts: []Alert{h.say(Alert{Kind: UnreadableEvent, Severity: Warning, State: StateNoted})},
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
	change Change
	policy Policy
	now    time.Time
	next   Standing // becomes the decision's standing; its slices and pointers are shared until cloned
	alerts []Alert
	count  int // becomes the decision's
}

// required reports whether the user must have a factor fit for a required
// role: by a role held now, or when the open override opened. Leaving the group
// does not help, nor does a weaker policy.
func (l *look) required() bool {
	requires := func(r Role) bool { return slices.Contains(l.policy.RequiredRoles, r) }
	o := l.Standing.Override
	return slices.ContainsFunc(l.User.Roles, requires) || o != nil && (o.Required || slices.ContainsFunc(o.Roles, requires))
}

func (l *look) decision(v Verdict, r Reason) Decision {
	d := Decision{Verdict: v, Reason: r, Standing: l.next, Alerts: l.alerts, Count: l.count}
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

// raise says something about an incident: it triggers it, or changes the open one.
func (l *look) raise(kind AlertKind, s Severity, key string) {
	a := l.House.say(Alert{Kind: kind, Severity: s, State: StateChanged, Incident: key})
	l.next.Incidents = slices.Clone(l.next.Incidents)
	if in := l.next.incident(key); in != nil {
		in.Severity = a.Severity
	} else {
		a.State = StateTriggered
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
	l.alerts = append(l.alerts, Alert{Kind: in.Kind, Severity: in.Severity, State: StateResolved, Incident: key})
	l.next.Incidents = slices.DeleteFunc(slices.Clone(l.next.Incidents), func(i Incident) bool { return i.Key == key })
	return true
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
