package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
)

// resume finishes somebody's intention: what it says is done again, under the
// same names and keys, and confirmed.
func (w *Worker) resume(ctx context.Context, s mfa.State, now time.Time) (Seen, error) {
	in := s.Standing.Intention
	r := in.Record
	c := causeOf(r)
	leased := s.Standing
	again := *in
	again.LeasedUntil = now.Add(mfa.Lease)
	leased.Intention = &again
	if err := w.take(ctx, Step{Standing: leased}); err != nil {
		return Seen{}, fmt.Errorf("take over the intention: %w", err)
	}
	leased.Version++
	if err := w.observe(ctx, &s, c, now); err != nil {
		return Seen{}, err
	}
	d := mfa.Decision{Verdict: r.Verdict, Reason: r.Reason, Problem: r.Problem, Override: r.Override, Actions: in.Actions, Alerts: in.Alerts, Standing: leased}
	d, outcomes, err := w.do(ctx, s, c, d, now)
	if err != nil {
		return Seen{}, err
	}
	r.Actions = outcomes
	d.Standing.Intention = nil
	head, err := w.confirm(ctx, Step{Standing: d.Standing}, r)
	if err != nil {
		return Seen{}, err
	}
	return seen(d).with(r, head), errFinished
}

// say finishes what an unfinished restore had to say: its alerts and, if a
// delivery caused it, the record of that. The restore itself is for another look.
func (w *Worker) say(ctx context.Context, s mfa.State, now time.Time) (Seen, error) {
	in := *s.Standing.Intention
	r := handedOn(in.Record)
	c := causeOf(r)
	if err := w.observe(ctx, &s, c, now); err != nil {
		return Seen{}, err
	}
	d := mfa.Decision{Verdict: r.Verdict, Reason: r.Reason, Override: r.Override, Alerts: in.Alerts, Standing: s.Standing}
	if err := w.send(ctx, s, c, d, now); err != nil {
		return Seen{}, err
	}
	in.Alerts, in.Record.Alerts, in.Record.Cause, in.LeasedUntil = nil, nil, mfa.RecordCause{Kind: mfa.Due}, now
	next := s.Standing
	next.Intention = &in
	head, err := w.confirm(ctx, Step{Standing: next}, r)
	if err != nil {
		return Seen{}, err
	}
	return seen(d).with(r, head), errFinished
}

// handedOn is the record of a restore that somebody else is to do.
func handedOn(r mfa.Record) mfa.Record {
	r.Actions = []mfa.Outcome{{Action: mfa.Action{Do: mfa.Restore}, Result: mfa.Handed}}
	return r
}

// causeOf is the change that a record is about, as far as it tells.
func causeOf(r mfa.Record) mfa.Change {
	c := mfa.Change{
		Key: r.Cause.Key, EventID: r.Cause.Key, Kind: r.Cause.Kind, EventName: r.Cause.EventName, At: r.Cause.EventTime,
		Actor: mfa.Actor{ARN: r.Cause.Actor, Type: r.Cause.ActorType}, Source: r.Cause.SourceIP,
	}
	if r.User != nil {
		c.Pool, c.Sub = r.User.Pool, r.User.Sub
	}
	return c
}
