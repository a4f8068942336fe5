package mfa

import (
	"slices"
	"time"
)

// Settle is the second half of Decide, for decisions whose standing and alerts
// depend on what came of their actions. after is the user read back once a
// restore was done. Like Decide it is total and pure.
func Settle(s State, c Change, p Policy, now time.Time, d Decision, outcomes []Outcome, after User) Decision {
	result := func(do Do) Result {
		for _, o := range outcomes {
			if o.Do == do {
				return o.Result
			}
		}
		return ""
	}
	if r := result(SignOut); r == Handed || r == Done || r == Would {
		d.Standing.SignOut = r == Handed
	}
	if d.Verdict != Restores || d.Standing.Override == nil {
		return d
	}
	now = whole(now)
	l := look{State: s, change: c, policy: p, now: now, next: d.Standing, alerts: d.Alerts}
	l.User = after
	o := *d.Standing.Override
	l.next.Override = &o
	d.Reason, d.Override = DeadlineReached, shown(&o, "")
	if !o.AskedAt.IsZero() {
		d.Reason = AskedFor
	}
	switch r := result(Restore); {
	case r == Would:
		o.Tried, o.AskedAt = true, time.Time{}
	case r != Done && r != Refused: // whoever it was handed to will see
	case !after.Found:
		l.finish(&o, Gone, now)
		d.Override.Closed = Gone
	case len(Adequate(after.Factors, l.required())) > 0:
		l.finish(&o, Restored, now)
		d.Override.Closed = Restored
	default:
		first := !o.Unrestorable
		o.Unrestorable, o.AskedAt = true, time.Time{}
		d.Reason = CannotRestore
		if first {
			l.raise(CannotRestoreUser, l.severity(&o), overrideIncident(o.ID))
		}
	}
	d.Standing, d.Alerts, d.LookAt = l.next, l.alerts, l.lookAt()
	return d
}

// NewRecord tells what was decided and what came of it.
func NewRecord(c Change, d Decision, p Policy, now time.Time, outcomes []Outcome) Record {
	r := Record{
		Schema: RecordSchema, At: whole(now),
		Cause: RecordCause{
			Key: c.Key, Kind: c.Kind, EventName: c.EventName, EventTime: c.At,
			Actor: c.Actor.ARN, ActorType: c.Actor.Type, SourceIP: c.Source,
		},
		Verdict: d.Verdict, Reason: d.Reason, Problem: d.Problem, Override: d.Override,
		Actions: outcomes, Alerts: d.Alerts, Policy: p.Revision,
	}
	if c.Sub != "" {
		r.User = &RecordUser{Pool: c.Pool, Sub: c.Sub}
	}
	return r
}

// Kept reports whether the record is to be kept and told. Every delivery,
// justification and command leaves one (but a delivery that is not relevant); a
// timer or a sweep only if it changed something itself.
func (r Record) Kept() bool {
	if r.Cause.Kind != Due && r.Cause.Kind != Swept {
		return r.Reason != Irrelevant
	}
	did := func(o Outcome) bool { return o.Result != Handed }
	return r.Verdict == Opens || r.Verdict == Closes || len(r.Alerts) > 0 || slices.ContainsFunc(r.Actions, did)
}
