// Package functions_test plays whole stories with the functions as they are
// shipped: compiled, under a Runtime API server, on moto and DynamoDB Local.
package functions_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventbridge "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	awsscheduler "github.com/aws/aws-sdk-go-v2/service/scheduler"
	scheduler "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/wiretest"
)

func TestMain(m *testing.M) { lambdatest.Main(m) }

// override is one of TestADisableIsEndedAtItsDeadline.
type override struct {
	user
	session  wiretest.Session
	disable  call
	deadline time.Time

	justified bool
	digest    string // of its justification
	role      mfa.Role
	kind      mfa.AlertKind // what on-call hears of; none if empty
	severity  mfa.Severity
}

func TestADisableIsEndedAtItsDeadline(t *testing.T) {
	t.Parallel()
	s := perform(t)
	began := time.Now()
	var all []*override
	for _, pool := range []mfa.PoolID{s.Pool, s.EmailPool} {
		for _, o := range []override{
			{role: "itsm_manager", justified: true, kind: mfa.RequiredRoleWithoutMFA, severity: mfa.Warning},
			{role: "itsm_manager", kind: mfa.RequiredRoleWithoutMFA, severity: mfa.Critical},
			{role: viewer, kind: mfa.UnjustifiedOverride, severity: mfa.Warning},
			{role: viewer, justified: true},
		} {
			o.user = s.disarmed(t, pool, o.role)
			o.session = s.SignIn(t, pool, o.sub)
			all = append(all, &o)
		}
	}

	// What must be before the deadline takes longer than making the users did.
	ahead := 15*time.Second + 3*time.Since(began)
	began = time.Now().UTC().Truncate(time.Second)
	deadline := began.Add(ahead.Truncate(time.Second))
	for _, o := range all {
		o.disable, o.deadline = o.disabled(deadline.Add(-24*time.Hour)), deadline
		if o.justified {
			o.digest = s.justify(t, o.disable)
		}
	}
	s.opened(t, all, began)
	s.cameEarly(t, all)
	if !time.Now().Before(deadline) {
		t.Fatalf("this machine took longer than %v for what must be before the deadline", ahead)
	}
	select { // the deadline is a moment of the real clock, the functions' only one
	case <-time.After(time.Until(deadline)):
	case <-t.Context().Done():
	}
	s.ended(t, all)
	s.isDiscreet(t)
}

// justify records the administrator's reason for the call, an hour before it, and
// returns its digest.
func (s *stage) justify(t *testing.T, c call) string {
	t.Helper()
	j, err := s.ledger.Justify(t.Context(), c.user.pool, c.user.sub, mfa.Justification{
		ID: "J-1", Reason: "Phone broken, new one arrives tomorrow", Ticket: fmt.Sprintf("CHG%07d", slices.Index(s.names, c.user.name)), Cause: mfa.BrokenApp,
		Author: c.user.actor(), At: c.at.Add(-time.Hour),
	})
	must(t, err)
	return j.Sum()
}

// opened plays from the deliveries to the timers, and looks at what is there.
func (s *stage) opened(t *testing.T, all []*override, began time.Time) {
	t.Helper()
	s.putSomethingElse(t)
	var disables []call
	for _, o := range all {
		disables = append(disables, o.disable)
	}
	s.wereDelivered(t, disables, s.deliver(t, disables...))
	alerts := s.heard(t)
	for _, o := range all {
		st := s.standing(t, o.journal())
		if st.Override == nil {
			t.Fatalf("no override is open of %+v", o)
		}
		records := s.records(t, o.journal())
		same(t, "the journal of the opening", []mfa.Record{o.opening(st.Override.ID)}, records, cmpopts.IgnoreFields(mfa.Record{}, "At"))
		if at := records[0].At; at.Before(began) || at.After(time.Now()) {
			t.Errorf("recorded at %v", at)
		}
		same(t, "the timer", o.schedule(st.Override.ID), s.timer(t, o.user),
			cmpopts.IgnoreFields(awsscheduler.GetScheduleOutput{}, "Arn", "CreationDate", "LastModificationDate", "ResultMetadata"),
			cmpopts.IgnoreUnexported(awsscheduler.GetScheduleOutput{}, scheduler.Target{}, scheduler.RetryPolicy{}, scheduler.DeadLetterConfig{}, scheduler.FlexibleTimeWindow{}))
		same(t, "what on-call hears", o.alerts(s, st.Override.ID, mfa.StateTriggered), about(alerts, o.user))
		if asked := s.Factors(t, o.pool, o.sub); len(asked) > 0 {
			t.Errorf("%v came on again", asked)
		}
	}
	if n := len(s.Schedules(t)); n != len(all) {
		t.Errorf("%d timers of %d overrides", n, len(all))
	}
	if asked := s.Take(t, wiretest.ReenableQueue); len(asked) > 0 {
		t.Errorf("reenable is asked before the deadline, %d times", len(asked))
	}
}

// putSomethingElse puts an event on the default bus that the rule does not match.
func (s *stage) putSomethingElse(t *testing.T) {
	t.Helper()
	_, err := s.Events.PutEvents(t.Context(), &sdk.PutEventsInput{Entries: []eventbridge.PutEventsRequestEntry{{
		Source: new("aws.s3"), DetailType: new("AWS API Call via CloudTrail"), Detail: new(`{"eventName":"PutObject"}`),
	}}})
	must(t, err)
}

// wereDelivered compares what came from audit's queue with what was put on the
// bus, each at least once and nothing else.
func (s *stage) wereDelivered(t *testing.T, calls []call, messages []sqstypes.Message) {
	t.Helper()
	put, came := map[string]any{}, map[string]any{}
	for _, c := range calls {
		put[c.id] = decoded(t, c.record())
	}
	for _, m := range messages {
		var e struct {
			Source     string         `json:"source"`
			DetailType string         `json:"detail-type"`
			Detail     map[string]any `json:"detail"`
		}
		must(t, json.Unmarshal([]byte(*m.Body), &e))
		if e.Source != "aws.cognito-idp" || e.DetailType != "AWS API Call via CloudTrail" {
			t.Errorf("the rule has matched %s, %s", e.Source, e.DetailType)
		}
		came[fmt.Sprint(e.Detail["eventID"])] = e.Detail
	}
	same(t, "the deliveries in audit's queue", put, came)
}

func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	var all map[string]any
	must(t, json.Unmarshal([]byte(text), &all))
	return all
}

// opening is the record of it.
func (o *override) opening(id string) mfa.Record {
	r := mfa.Record{
		Schema: "relatch.record/1", Verdict: mfa.Opens, Reason: mfa.TakenAway, Policy: mfa.DefaultPolicy().Revision,
		Cause: mfa.RecordCause{
			Key: o.disable.id, Kind: mfa.FactorsChanged, EventName: "AdminSetUserMFAPreference", EventTime: o.disable.at,
			Actor: o.actor(), ActorType: mfa.Admin, SourceIP: "192.0.2.7",
		},
		User:     &mfa.RecordUser{Pool: o.pool, Sub: o.sub},
		Override: o.shown(id, ""),
		Actions:  []mfa.Outcome{{Action: mfa.Action{Do: mfa.Schedule, At: o.firesAt()}, Result: mfa.Done}},
	}
	if o.kind != "" {
		r.Alerts = []mfa.Alert{{Kind: o.kind, Severity: o.severity, State: mfa.StateTriggered, Incident: "override/" + id}}
	}
	return r
}

func (o *override) shown(id string, closed mfa.End) *mfa.RecordOverride {
	r := &mfa.RecordOverride{ID: id, OpenedAt: o.disable.at, Deadline: o.deadline, Factors: []mfa.Factor{mfa.TOTP}, Justification: "justified", Closed: closed}
	if o.justified {
		r.JustificationID, r.JustificationDigest = "J-1", o.digest
	} else {
		r.Justification, r.Failed, r.Why = "unjustified", []mfa.Rule{mfa.RuleMissing}, []string{"nobody gave a reason"}
	}
	return r
}

// firesAt is the deadline, rounded up to the minute.
func (o *override) firesAt() time.Time {
	return o.deadline.Add(time.Minute - time.Nanosecond).Truncate(time.Minute)
}

// schedule is the timer as the scheduler must have it. Its name is far from the 64
// characters that a name may have, which moto does not count.
func (o *override) schedule(id string) *awsscheduler.GetScheduleOutput {
	return &awsscheduler.GetScheduleOutput{
		Name: new("relatch-" + id), GroupName: new(wiretest.ScheduleGroup), State: scheduler.ScheduleStateEnabled, ActionAfterCompletion: scheduler.ActionAfterCompletionDelete,
		ScheduleExpression: new(o.firesAt().Format("at(2006-01-02T15:04:05)")), ScheduleExpressionTimezone: new("UTC"),
		FlexibleTimeWindow: &scheduler.FlexibleTimeWindow{Mode: scheduler.FlexibleTimeWindowModeOff},
		Target: &scheduler.Target{
			Arn: new(wiretest.ReenableQueue.ARN()), RoleArn: new(wiretest.ScheduleRole), Input: new(o.payload(id)),
			DeadLetterConfig: &scheduler.DeadLetterConfig{Arn: new(wiretest.TimerDeadLetter.ARN())},
			RetryPolicy:      &scheduler.RetryPolicy{MaximumRetryAttempts: new(int32(185)), MaximumEventAgeInSeconds: new(int32(86400))},
		},
	}
}

// payload is what the timer sends: ids only.
func (o *override) payload(id string) string {
	return fmt.Sprintf(`{"pool_id":%q,"sub":%q,"override":%q}`, o.pool, o.sub, id)
}

// alerts are what on-call hears of it in the state. Cognito shows the sub as the
// username in a pool with addresses.
func (o *override) alerts(s *stage, id string, state mfa.AlertState) []heardOf {
	if o.kind == "" {
		return nil
	}
	name := o.name
	if o.pool == s.EmailPool {
		name = string(o.sub)
	}
	return []heardOf{{
		mfa.Alert{Kind: o.kind, Severity: o.severity, State: state, Incident: "override/" + id},
		alert.User{Pool: o.pool, Sub: o.sub, Username: name, Roles: []mfa.Role{o.role}},
	}}
}

// heardOf is what an alert says of whom.
type heardOf struct {
	mfa.Alert
	User alert.User
}

func about(alerts []alert.Alert, u user) []heardOf {
	var all []heardOf
	for _, a := range alerts {
		if a.User != nil && a.User.Sub == u.sub {
			all = append(all, heardOf{a.Alert, *a.User})
		}
	}
	return all
}

// cameEarly hands reenable what the timers send, before the deadline and from
// timers that are gone then, as those that fire are: nothing is restored, and the
// timers stand again.
func (s *stage) cameEarly(t *testing.T, all []*override) {
	t.Helper()
	fired := s.fire(t, all)
	for _, o := range all {
		if factors := s.Factors(t, o.pool, o.sub); len(factors) > 0 {
			t.Errorf("%v came on before the deadline", factors)
		}
		if access, refresh := s.Lives(t, o.session); !access || !refresh {
			t.Error("signed out before the deadline")
		}
		again := s.timer(t, o.user)
		if again == nil || *again.ScheduleExpression != *fired[o].ScheduleExpression || *again.Target.Input != *fired[o].Target.Input {
			t.Errorf("the timer that came early stands as %+v", again)
		}
		last := s.records(t, o.journal())[1]
		same(t, "the record of a timer that came early", mfa.Record{
			Schema: "relatch.record/1", At: last.At, Cause: mfa.RecordCause{Kind: mfa.Due}, User: &mfa.RecordUser{Pool: o.pool, Sub: o.sub},
			Verdict: mfa.Holds, Reason: mfa.WithinTime, Override: last.Override, Policy: mfa.DefaultPolicy().Revision,
			Actions: []mfa.Outcome{{Action: mfa.Action{Do: mfa.Schedule, At: o.firesAt()}, Result: mfa.Done}},
		}, last)
	}
	if heard := s.heard(t); len(heard) > 0 {
		t.Errorf("on-call hears of a timer that came early: %+v", heard)
	}
}

// fire has all timers fire: moto's never do. The scheduler deletes a schedule that
// has fired.
func (s *stage) fire(t *testing.T, all []*override) map[*override]*awsscheduler.GetScheduleOutput {
	t.Helper()
	fired := map[*override]*awsscheduler.GetScheduleOutput{}
	var messages []sqstypes.Message
	for _, o := range all {
		fired[o] = s.timer(t, o.user)
		s.loseTimer(t, o.user)
		messages = append(messages, message(*fired[o].Target.Input))
	}
	if failed := give(t, s.reenable, wiretest.ReenableQueue, messages...); len(failed) > 0 {
		t.Fatalf("%d of what the timers sent failed", len(failed))
	}
	return fired
}

// ended hands reenable what the timers send at the deadline, and looks at what
// has become of the users.
func (s *stage) ended(t *testing.T, all []*override) {
	t.Helper()
	fired := s.fire(t, all)
	alerts := s.heard(t)
	for _, o := range all {
		same(t, "the factors at the end", []string{"SOFTWARE_TOKEN_MFA"}, s.Factors(t, o.pool, o.sub))
		if access, refresh := s.Lives(t, o.session); access || refresh {
			t.Errorf("a session won without MFA lives on: access %t, refresh %t", access, refresh)
		}
		st := s.standing(t, o.journal())
		if st.Override != nil || len(st.Incidents) > 0 || st.Open() {
			t.Errorf("something is open at the end: %+v", st)
		}
		id := st.Past[0].ID
		same(t, "what on-call hears of the end", o.alerts(s, id, mfa.StateResolved), about(alerts, o.user))
		same(t, "the record of the end", o.ending(id), s.records(t, o.journal())[2], cmpopts.IgnoreFields(mfa.Record{}, "At"))
	}

	if left := s.Schedules(t); len(left) > 0 {
		t.Errorf("%d timers are left", len(left))
	}

	// The scheduler delivers at least once.
	var again []sqstypes.Message
	for _, o := range all {
		again = append(again, message(*fired[o].Target.Input))
	}
	if failed := give(t, s.reenable, wiretest.ReenableQueue, again...); len(failed) > 0 {
		t.Errorf("%d of what the timers sent again failed", len(failed))
	}
	for _, o := range all {
		if n := len(s.records(t, o.journal())); n != 3 {
			t.Errorf("a timer that fired twice leaves %d entries", n)
		}
	}
	if heard := s.heard(t); len(heard) > 0 {
		t.Errorf("on-call hears of a timer that fired twice: %+v", heard)
	}
}

// ending is the record of the end.
func (o *override) ending(id string) mfa.Record {
	r := mfa.Record{
		Schema: "relatch.record/1", Verdict: mfa.Restores, Reason: mfa.DeadlineReached, Policy: mfa.DefaultPolicy().Revision,
		Cause: mfa.RecordCause{Kind: mfa.Due}, User: &mfa.RecordUser{Pool: o.pool, Sub: o.sub}, Override: o.shown(id, mfa.Restored),
		Actions: []mfa.Outcome{{Action: mfa.Action{Do: mfa.Restore}, Result: mfa.Done}, {Action: mfa.Action{Do: mfa.SignOut}, Result: mfa.Done}},
	}
	if o.kind != "" {
		r.Alerts = []mfa.Alert{{Kind: o.kind, Severity: o.severity, State: mfa.StateResolved, Incident: "override/" + id}}
	}
	return r
}
