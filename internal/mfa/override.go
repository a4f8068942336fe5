package mfa

import (
	"slices"
	"time"
)

// What Decide says about an override, from its opening to its end: rules 3 to 6.

// taken is what the change took from the user: what it switched off of what he
// was last seen with, or all of it if he was never seen.
func (l *look) taken() []Factor {
	var out []Factor
	b := l.Standing.Baseline
	for _, f := range Factors {
		off := slices.Contains(l.change.Off, f)
		if b != nil {
			off = (off || l.change.Masked) && slices.Contains(b.Factors, f)
		}
		if (off || slices.Contains(l.Standing.Lost, f)) && !slices.Contains(l.User.Factors, f) {
			out = append(out, f)
		}
	}
	return out
}

// tookAway reports whether the change is the act that left the user without an
// adequate factor: with what it took he would have one, and he has not been seen
// with one since.
func (l *look) tookAway() bool {
	protectedSince := func(o Past) bool { return l.change.At.Before(o.ClosedAt) }
	if !l.change.takes() || slices.ContainsFunc(l.Standing.Past, protectedSince) {
		return false
	}
	return len(Adequate(Union(l.User.Factors, l.taken()), l.required())) > 0
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
	l.massDisable(&o)
	d := l.decision(Opens, reason)
	d.Override = shown(&o, "")
	d.Actions = append(d.Actions, l.timer(&o))
	return d
}

// massDisable has the user counted, and pages once for an actor who disables
// many: by the override of the one who makes them many.
func (l *look) massDisable(o *Override) {
	if o.Rank == 0 || o.Rank > MassUsers || slices.Contains(l.Counted, l.change.Sub) {
		return
	}
	if l.count = o.Rank; l.count == MassUsers {
		l.alerts = append(l.alerts, l.House.say(Alert{Kind: MassDisable, Severity: Critical, State: StateTriggered, Incident: l.change.CountKey()}))
	}
}

// place is the user's place among those whom the actor disabled in the window,
// counted to MassUsers+1; 0 if nobody is counted.
func (l *look) place() int {
	if !l.change.counts() {
		return 0
	}
	if i := slices.Index(l.Counted, l.change.Sub); i >= 0 {
		return i + 1
	}
	return min(len(l.Counted), MassUsers) + 1
}

func (l *look) newOverride(at time.Time, actor Actor) Override {
	l.next.Number++
	o := Override{
		ID: overrideID(l.change.Pool, l.change.Sub, l.next.Number), OpenedAt: at, Deadline: l.deadline(at), SeenAt: l.now,
		Actor: actor, Roles: l.User.Roles, Required: l.required(), Taken: l.taken(), Before: l.Standing.Baseline, Rank: l.place(),
	}
	if len(o.Taken) == 0 && o.Before != nil {
		o.Taken = Without(o.Before.Factors, l.User.Factors)
	}
	o.Deleted = Both(o.Taken, l.change.deletes())
	o.Match = match(l.Justifications, actor, at, l.User, l.Standing.Past, l.policy)
	return o
}

// deadline is when an override ends that a disable of that time opened: counted
// from now if a clock ahead of ours put the disable into the future.
func (l *look) deadline(at time.Time) time.Time {
	if at.After(l.now) {
		at = l.now
	}
	return at.Add(l.policy.MaxDuration)
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
	case !o.Match.Justified():
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
	o.Required = l.required()
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
	case o.Unrestorable && o.AskedAt.IsZero(), o.Tried && reached && l.House.Observe:
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
	case c.Kind == Justified && !o.Match.Justified(): // what counts goes on to count
		o.Match = match(l.Justifications, o.Actor, o.OpenedAt, l.User, l.Standing.Past, l.policy)
	case c.Kind == TokenVerified && !c.At.Before(o.OpenedAt):
		o.Verified, o.Deleted = true, Without(o.Deleted, []Factor{c.Verified})
	case l.disables(o):
		o.Taken = Both(Factors, Union(o.Taken, l.taken()))
		o.Deleted = Both(o.Taken, Union(o.Deleted, c.deletes()))
		if c.At.Before(o.OpenedAt) && !l.earlier(o) {
			break // made while the user was still protected
		}
		repeated = o.Disables > 0
		o.Repeated = o.Repeated || repeated
		if !repeated {
			o.Actor, o.Rank = c.Actor, l.place()
			l.massDisable(o)
		}
		if l.earlier(o) {
			o.Actor, o.OpenedAt = c.Actor, c.At
		}
		if deadline := l.deadline(o.OpenedAt); deadline.Before(o.Deadline) {
			o.Deadline = deadline
			actions = append(actions, l.timer(o))
		}
		if !repeated || o.OpenedAt.Equal(c.At) {
			o.Match = match(l.Justifications, o.Actor, o.OpenedAt, l.User, l.Standing.Past, l.policy)
		}
		o.Disables++
	}
	l.adjust(o, repeated)
	return actions
}

// disables reports whether the change is one of the override's disables: it
// switched off something that the user had, and in no override before.
func (l *look) disables(o *Override) bool {
	off := l.change.Off
	if o.Before != nil {
		off = Both(off, Union(o.Before.Factors, o.Taken))
	}
	return len(off) > 0 && !l.within(l.change.At)
}

// earlier reports whether a disable left the user without an adequate factor
// before the override is known to have begun. One that left him another factor
// did not.
func (l *look) earlier(o *Override) bool {
	return l.change.At.Before(o.OpenedAt) &&
		(o.Before == nil || len(Adequate(Without(o.Before.Factors, l.change.Off), l.required())) == 0)
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
		l.alerts = append(l.alerts, Alert{Kind: DeadlineNear, Severity: Info, State: StateNoted})
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
	l.past(o, at, end)
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
		l.alerts = append(l.alerts, Alert{Kind: FactorSwapped, Severity: Info, State: StateNoted})
	}
	l.resolve(key)
	if end == Restored && o.Match.Cause == LostDevice && !o.Verified {
		l.alerts = append(l.alerts, Alert{Kind: LockedOutLikely, Severity: l.unlessDisabled(Warning), State: StateNoted})
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
func (l *look) past(o *Override, closedAt time.Time, end End) {
	required := o.Required || len(l.policy.Requires(Union(l.User.Roles, o.Roles))) > 0
	kept := Past{ID: o.ID, OpenedAt: o.OpenedAt, ClosedAt: closedAt, Deadline: o.Deadline, End: end, Required: required, Unclaimed: o.Disables == 0}
	if end == Restored && o.Verified {
		kept.End = Reenrolled // its swap has been told
	}
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
	o.Disables = 1
	l.past(&o, o.OpenedAt, Reenabled) // when it ended is not known; later disables are overrides of their own
	l.seen()
	l.alerts = append(l.alerts, Alert{Kind: BriefOverride, Severity: l.unlessDisabled(Warning), State: StateNoted})
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

// within reports whether the moment lies in an override that has ended.
func (l *look) within(at time.Time) bool {
	return slices.ContainsFunc(l.Standing.Past, func(o Past) bool {
		return (o.Unclaimed || !at.Before(o.OpenedAt)) && !at.After(o.ClosedAt)
	})
}

// ended is the index of the override that had ended with the factor it opened
// with, and in which the moment lies; -1 if there is none.
func (l *look) ended(at time.Time) int {
	return slices.IndexFunc(l.Standing.Past, func(o Past) bool {
		return (o.End == Reenabled || o.End == Restored) && !at.Before(o.OpenedAt) && !at.After(o.ClosedAt)
	})
}

// swapped corrects the end of an override: the delivery that says that a token
// was verified in it came after its end.
func (l *look) swapped(i int) Decision {
	l.next.Past = slices.Clone(l.next.Past)
	o := &l.next.Past[i]
	end := o.End
	if end == Reenabled {
		end = Reenrolled
	}
	o.End = Reenrolled // told once
	l.seen()
	if o.Required && o.Justification == "" { // opens the incident again: a person must look at whose token it is
		l.raise(FactorSwapped, l.unlessDisabled(Critical), overrideIncident(o.ID))
	} else {
		l.alerts = append(l.alerts, Alert{Kind: FactorSwapped, Severity: Info, State: StateNoted})
	}
	d := l.decision(Closes, ProtectedAgain)
	d.Override = &RecordOverride{ID: o.ID, OpenedAt: o.OpenedAt, Deadline: o.Deadline, Justification: "unjustified", JustificationID: o.Justification, Closed: end}
	if o.Justification != "" {
		d.Override.Justification = "justified"
	}
	return d
}

func overrideIncident(id string) string { return "override/" + id }

func shown(o *Override, end End) *RecordOverride {
	return &RecordOverride{
		ID: o.ID, OpenedAt: o.OpenedAt, Deadline: o.Deadline, Factors: o.Taken,
		Justification: o.Match.String(), JustificationID: o.Match.ID, JustificationDigest: o.Match.Digest,
		Failed: o.Match.Failed, Why: o.Match.Why, Closed: end,
	}
}
