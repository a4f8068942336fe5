package functions_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/wiretest"
	"github.com/stackflow/relatch/internal/worker"
)

// What becomes of messages, and what a deployment is told by its environment.
func TestEveryMessageIsHandledOrComesAgain(t *testing.T) {
	t.Parallel()
	s := perform(t)
	for _, story := range []struct {
		name string
		play func(*testing.T, *stage)
	}{
		{"what cannot be read is kept and told", unreadable},
		{"of a poisoned batch what failed comes again", poisoned},
		{"events come by themselves", bare},
		{"what Relatch is made of is guarded", guards},
		{"without a bus for alerts everything waits", withoutBus},
		{"where it observes nothing is restored", observes},
		{"the policy is in a table", policyInTable},
		{"the policy is in a parameter", policyInParameter},
	} {
		t.Run(story.name, func(t *testing.T) { story.play(t, s) })
	}
	s.isDiscreet(t)
}

func unreadable(t *testing.T, s *stage) {
	u := s.disarmed(t, s.Pool, manager)
	id := "unreadable-1"
	s.Put(t, strings.Replace(disable(u.pool, u.sub, id, time.Now()), `"eventTime":"2`, `"eventTime":"the year 2`, 1))
	s.Put(t, u.disabled(time.Now()).record())
	messages := s.Take(t, wiretest.AuditQueue)
	garbage := message("\ufeffnot JSON, but SQS takes it:\t\"\u00e9\U0001f511\r\n")
	messages = append(messages, garbage)
	if failed := give(t, s.audit, wiretest.AuditQueue, messages...); len(failed) > 0 {
		t.Errorf("%d messages failed", len(failed))
	}

	want := map[string]string{*garbage.Body: "not a CloudTrail record"}
	for _, m := range messages {
		if strings.Contains(*m.Body, id) {
			want[*m.Body] = "eventTime"
		}
	}
	kept := map[string]string{}
	for _, m := range s.Take(t, wiretest.DeadLetters) {
		kept[*m.Body] = want[*m.Body]
		problem := m.MessageAttributes["problem"].StringValue
		if problem == nil || !strings.Contains(*problem, want[*m.Body]) {
			t.Errorf("kept with the attributes %+v", m.MessageAttributes)
		}
	}
	same(t, "the dead letters, byte for byte", want, kept)

	noted := mfa.Alert{Kind: mfa.UnreadableEvent, Severity: mfa.Warning, State: mfa.StateNoted}
	heard := states(s.heard(t))
	if n := len(slices.DeleteFunc(slices.Clone(heard), func(a mfa.Alert) bool { return a != noted })); n < 2 { // more where moto lost an answer
		t.Errorf("on-call hears %+v", heard)
	}
	s.incident(t, u) // the good one of the batch has opened it
	if logged := s.logged(t, id); len(logged) == 0 || logged[0].Verdict != mfa.Rejects {
		t.Errorf("logged as %+v", logged)
	}
}

// busy has somebody else act on the user's journal, until the function that it
// returns is called.
func (s *stage) busy(t *testing.T, u user) (done func()) {
	t.Helper()
	standing := s.standing(t, u.journal())
	standing.Intention = &mfa.Intention{LeasedUntil: time.Now().UTC().Add(mfa.Lease)}
	must(t, s.ledger.Append(t.Context(), worker.Step{Standing: standing}))
	return func() {
		standing := s.standing(t, u.journal())
		standing.Intention = nil
		must(t, s.ledger.Append(t.Context(), worker.Step{Standing: standing}))
	}
}

func poisoned(t *testing.T, s *stage) {
	good, address, busy := s.disarmed(t, s.Pool, manager), s.disarmed(t, s.EmailPool, viewer), s.disarmed(t, s.EmailPool, manager)
	elsewhere := user{pool: "us-east-1_ELSEWHERE", sub: "sub", by: "ops-7"}
	first, held, foreign := good.disabled(time.Now()), busy.disabled(time.Now()), elsewhere.disabled(time.Now())
	nobody := user{pool: s.Pool, by: "ops-7"}.disabled(time.Now())
	denied := good.disabled(time.Now())
	done := s.busy(t, busy)
	batch := []sqstypes.Message{
		message("{"), message(foreign.record()), message(good.call("AdminGetUser", time.Now(), nil).record()),
		message(first.record()), message(held.record()), message(first.record()), message(nobody.record()),
		message(`{"detail-type":"Scheduled Event","source":"aws.events","detail":{}}`), message(strings.Replace(denied.record(), `"eventName"`, `"errorCode":"AccessDenied","eventName"`, 1)), message(address.disabled(time.Now()).record()),
	}
	failed := give(t, s.audit, wiretest.AuditQueue, batch...)
	same(t, "what must come again", []string{*batch[4].MessageId}, failed)

	if n, m := len(s.records(t, good.journal())), len(s.records(t, address.journal())); n != 1 || m != 1 {
		t.Errorf("the good ones have %d and %d entries", n, m)
	}
	if len(s.timers(t, good, address)) != 2 {
		t.Error("the good ones have no timers")
	}
	for id, want := range map[string][]mfa.Reason{first.id: {mfa.TakenAway, mfa.Duplicate}, foreign.id: {mfa.NotOurs}, denied.id: {mfa.CallFailed}, held.id: nil} {
		var got []mfa.Reason
		for _, r := range s.logged(t, id) {
			got = append(got, r.Reason)
		}
		same(t, "what is logged of a message", want, got)
	}
	kept := map[string]bool{}
	for _, m := range s.Take(t, wiretest.DeadLetters) {
		kept[*m.Body] = true
	}
	same(t, "the dead letters", map[string]bool{"{": true, nobody.record(): true}, kept)
	done()
	if failed := give(t, s.audit, wiretest.AuditQueue, batch[4]); len(failed) > 0 {
		t.Error("what came again has failed again")
	}
	s.incident(t, busy)
	s.heard(t)
}

// timers are those of the users that have one.
func (s *stage) timers(t *testing.T, users ...user) []string {
	t.Helper()
	var all []string
	for _, u := range users {
		if timer := s.timer(t, u); timer != nil {
			all = append(all, *timer.Name)
		}
	}
	return all
}

// A rule, or a person who tries it out, may have a function invoked without a queue.
func bare(t *testing.T, s *stage) {
	for _, c := range []struct {
		name  string
		event func(u user) string // to reenable
	}{
		{"a bare message", func(u user) string { return fmt.Sprintf(`{"pool_id":%q,"sub":%q}`, u.pool, u.sub) }},
		{"the detail of an event", func(u user) string {
			return fmt.Sprintf(`{"version":"0","source":"relatch","detail-type":"Ask","detail":{"pool_id":%q,"sub":%q}}`, u.pool, u.sub)
		}},
	} {
		u := s.disarmed(t, s.Pool, manager)
		s.Put(t, u.disabled(time.Now().Add(-past)).record())
		event := s.Take(t, wiretest.AuditQueue)[0].Body // what the rule sends is the event
		answer, err := s.audit.Invoke(t.Context(), []byte(*event))
		if err != nil || string(answer) != `{"batchItemFailures":[]}` {
			t.Errorf("audit answers an event by itself: %s, %v", answer, err)
		}
		s.incident(t, u)
		s.Take(t, wiretest.ReenableQueue) // lost
		if answer, err = s.reenable.Invoke(t.Context(), []byte(c.event(u))); err != nil || string(answer) != `{"batchItemFailures":[]}` {
			t.Errorf("reenable answers %s: %s, %v", c.name, answer, err)
		}
		same(t, "the factors after "+c.name, []string{"SOFTWARE_TOKEN_MFA"}, s.Factors(t, u.pool, u.sub))
	}
	u := s.disarmed(t, s.EmailPool, manager)
	done := s.busy(t, u)
	if answer, err := s.audit.Invoke(t.Context(), []byte(u.disabled(time.Now()).record())); err == nil {
		t.Errorf("what has to come again by itself is answered with %s", answer)
	}
	done()
	s.heard(t)
}

// The rule that watches users is disabled, which the other one sees.
func guards(t *testing.T, s *stage) {
	const rule = "relatch-mfa"
	c := user{by: "ops-7"}.call("DisableRule", time.Now(), map[string]any{"name": rule})
	s.Put(t, strings.Replace(c.record(), "cognito-idp.amazonaws.com", "events.amazonaws.com", 1))
	s.hand(t, s.audit, wiretest.AuditQueue)
	same(t, "what on-call hears", []mfa.Alert{{
		Kind: mfa.GuardTampered, Severity: mfa.Critical, State: mfa.StateTriggered, Incident: "guard/arn:aws:events:us-east-1:" + mototest.Account + ":rule/" + rule,
	}}, states(s.heard(t)))
}

func withoutBus(t *testing.T, s *stage) {
	const name = "not-there-yet"
	s = s.another(t, "waiting", "RELATCH_ALERT_BUS="+name)
	u := s.disarmed(t, s.Pool, manager)
	batch := []sqstypes.Message{
		message(u.call("AdminGetUser", time.Now(), nil).record()), message(u.disabled(time.Now().Add(-past)).record()), message("{"),
	}
	relevant := []string{*batch[1].MessageId, *batch[2].MessageId}
	same(t, "what must come again", relevant, give(t, s.audit, wiretest.AuditQueue, batch...))
	same(t, "what must come again a second time", relevant, give(t, s.audit, wiretest.AuditQueue, batch...))
	asked := message(fmt.Sprintf(`{"pool_id":%q,"sub":%q}`, u.pool, u.sub))
	same(t, "what must come again to reenable", []string{*asked.MessageId}, give(t, s.reenable, wiretest.ReenableQueue, asked))
	if _, err := s.sweep.Invoke(t.Context(), []byte(`{}`)); err == nil {
		t.Error("a sweep that cannot alert has succeeded")
	}
	if st := s.standing(t, u.journal()); st.Version != 0 {
		t.Errorf("something was written down: %+v", st)
	}

	_, err := s.Events.CreateEventBus(t.Context(), &eventbridge.CreateEventBusInput{Name: new(name)})
	must(t, err)
	if failed := give(t, s.audit, wiretest.AuditQueue, batch...); len(failed) > 0 {
		t.Errorf("%d messages fail with the bus", len(failed))
	}
	s.hand(t, s.reenable, wiretest.ReenableQueue)
	same(t, "the factors", []string{"SOFTWARE_TOKEN_MFA"}, s.Factors(t, u.pool, u.sub))
	s.Take(t, wiretest.DeadLetters)
	s.isDiscreet(t)
}

func observes(t *testing.T, s *stage) {
	s = s.another(t, "observing", "RELATCH_MODE=observe")
	u := s.disarmed(t, s.Pool, manager)
	session := s.SignIn(t, u.pool, u.sub)
	s.deliver(t, u.disabled(time.Now().Add(-past)))
	s.hand(t, s.reenable, wiretest.ReenableQueue)
	same(t, "what reenable would do", []string{"restore would", "sign_out would"}, did(s.last(t, u)))
	if factors := s.Factors(t, u.pool, u.sub); len(factors) > 0 {
		t.Errorf("%v came on", factors)
	}
	if access, refresh := s.Lives(t, session); !access || !refresh {
		t.Error("the user is signed out")
	}

	s.sweeps(t) // and once is enough
	if asked := s.Take(t, wiretest.ReenableQueue); len(asked) > 0 {
		t.Errorf("the sweep asks reenable again, %d times", len(asked))
	}
	if n := len(s.records(t, u.journal())); n != 2 {
		t.Errorf("%d entries", n)
	}
	heard := s.heard(t)
	same(t, "what on-call hears", []mfa.Alert{{Kind: mfa.RequiredRoleWithoutMFA, Severity: mfa.Warning, State: mfa.StateTriggered, Incident: s.incident(t, u)}}, states(heard))
	if slices.ContainsFunc(heard, func(a alert.Alert) bool { return len(a.Title) < 10 || a.Title[:10] != "[observe] " }) {
		t.Errorf("a title does not say so: %+v", heard)
	}
	s.isDiscreet(t)
}

func policyInTable(t *testing.T, s *stage) {
	key := map[string]types.AttributeValue{"name": &types.AttributeValueMemberS{Value: "mfa.required_roles"}}
	s.policyStory(t, s.another(t, "policy-in-table", "RELATCH_POLICY_FOR=0s"), func(document string) {
		if document != "" {
			s.SetPolicy(t, document)
			return
		}
		_, err := s.DynamoDB.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: new(wiretest.PropertyTable), Key: key})
		must(t, err)
	})
	s.SetPolicy(t, string(mfa.DefaultDocument()))
}

func policyInParameter(t *testing.T, s *stage) {
	const name = "/relatch/policy"
	client := ssm.NewFromConfig(s.Moto)
	deployed := s.another(t, "policy-in-parameter", "RELATCH_POLICY_FOR=0s", "RELATCH_POLICY_TABLE=", "RELATCH_POLICY_KEY=", "RELATCH_POLICY_VALUE=", "RELATCH_POLICY_PARAMETER="+name)
	s.policyStory(t, deployed, func(document string) {
		var err error
		if document != "" {
			_, err = client.PutParameter(t.Context(), &ssm.PutParameterInput{Name: new(name), Value: &document, Type: ssmtypes.ParameterTypeString, Overwrite: new(true)})
		} else {
			_, err = client.DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: new(name)})
		}
		must(t, err)
	})
}

// policyStory changes the policy record, which is missing if empty. After each
// change somebody is disarmed who has the role viewer, which the first one requires.
func (*stage) policyStory(t *testing.T, s *stage, set func(document string)) {
	t.Helper()
	const stricter, weaker = `["itsm_manager","viewer"]`, `{"mfa_enforcement":{"required_roles":["itsm_manager"]}}`
	of := func(kind mfa.AlertKind, severity mfa.Severity, state mfa.AlertState) mfa.Alert {
		return mfa.Alert{Kind: kind, Severity: severity, State: state, Incident: mfa.PolicyJournal}
	}
	for _, change := range []struct {
		what, document string
		policy         []mfa.Alert
		required       bool
	}{
		{"the first one", stricter, nil, true},
		{"it is deleted, and the last good one holds", "", []mfa.Alert{of(mfa.PolicyInvalid, mfa.Warning, mfa.StateTriggered)}, true},
		{"it is no policy, and the last good one holds", `{"mfa_enforcement":{"required_roles":[]}}`, nil, true},
		{"it is there again", stricter, []mfa.Alert{of(mfa.PolicyInvalid, mfa.Warning, mfa.StateResolved)}, true},
		{"it is weakened", weaker, []mfa.Alert{of(mfa.PolicyWeakened, mfa.Critical, mfa.StateTriggered)}, false},
	} {
		set(change.document)
		u := s.disarmed(t, s.Pool, viewer)
		s.deliver(t, u.disabled(time.Now()))
		of := mfa.Alert{Kind: mfa.UnjustifiedOverride, Severity: mfa.Warning, State: mfa.StateTriggered, Incident: s.incident(t, u)}
		if change.required {
			of.Kind, of.Severity = mfa.RequiredRoleWithoutMFA, mfa.Critical
		}
		same(t, "what on-call hears when "+change.what, append(change.policy, of), states(s.heard(t)))
	}
	s.records(t, mfa.PolicyJournal)
	s.isDiscreet(t)
}
