package functions_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	cognitotypes "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/wiretest"
)

const (
	processes = 4  // audit's reserved concurrency
	batch     = 10 // messages in one invocation
	// mostReceives is how often SQS hands a message out before it goes to the
	// dead-letter queue.
	mostReceives = 5
)

// TestEveryOneOfManyDisablesAtOnceIsActedOnOnce has one administrator switch MFA
// off for RELATCH_LOAD users, by default 500. It takes the time that Cognito's
// quotas leave: 50 looks in a second.
func TestEveryOneOfManyDisablesAtOnceIsActedOnOnce(t *testing.T) {
	n := 500
	if set := os.Getenv("RELATCH_LOAD"); set != "" {
		var err error
		if n, err = strconv.Atoi(set); err != nil || n < 100 {
			t.Fatalf("RELATCH_LOAD is %q, and not a number of users from 100", set)
		}
	}
	a := stacktest.Open(t)
	program := lambdatest.Build(t, "./functions/audit")
	var audits []*lambdatest.Function
	for range processes {
		audits = append(audits, lambdatest.Start(t, program, a.Environment("audit", fmt.Sprintf("RELATCH_CONCURRENCY=%d", processes))...))
	}
	began := time.Now()
	subs := employ(t, a, n)
	hired := time.Since(began)
	queued := disableAll(t, a, subs)
	t.Logf("%d users made in %v, their deliveries queued in %v", n, hired, time.Since(began)-hired)
	l := &loaded{audits: audits, receives: map[string]int{}}
	began = time.Now()
	l.handle(t, a, queued)
	t.Logf("%d deliveries handled in %v: %d messages failed and came again", l.deliveries, time.Since(began), l.failures)

	t.Run("one override of each user is open", func(t *testing.T) {
		overrides := map[mfa.Sub]string{}
		severities := map[mfa.Severity]int{}
		masses := 0
		for _, r := range records(t, a) {
			if r.User == nil {
				continue // the policy, read for the first time
			}
			if r.Verdict != mfa.Opens || overrides[r.User.Sub] != "" {
				t.Errorf("%s: one more entry, %s %s", r.User.Sub, r.Verdict, r.Reason)
				continue
			}
			overrides[r.User.Sub] = mfa.TimerName(r.Override.ID)
			for _, said := range r.Alerts {
				switch said.Kind {
				case mfa.RequiredRoleWithoutMFA:
					severities[said.Severity]++
				case mfa.MassDisable:
					masses++
				default:
					t.Errorf("%s: alert %s", r.User.Sub, said.Kind)
				}
			}
		}
		for _, sub := range subs {
			if overrides[sub] == "" {
				t.Errorf("%s: no override", sub)
			}
		}
		if len(overrides) != n {
			t.Errorf("%d users have an override, not %d", len(overrides), n)
		}
		want := map[mfa.Severity]int{mfa.Critical: mfa.MassUsers - 1, mfa.Warning: n - mfa.MassUsers + 1}
		if diff := cmp.Diff(want, severities); diff != "" || masses != 1 {
			t.Errorf("%d times mass_disable, severities (-want +got):\n%s", masses, diff)
		}
		var timers []string
		for _, name := range overrides {
			timers = append(timers, name)
		}
		slices.Sort(timers)
		if diff := cmp.Diff(timers, schedules(t, a)); diff != "" {
			t.Errorf("schedules (-want +got):\n%s", diff)
		}
		open := 0
		for s, err := range dynamo.New(a.DynamoDB, wiretest.Table).Open(t.Context(), a.Pool) {
			if err != nil {
				t.Fatal(err)
			}
			if open++; s.Override == nil || s.Intention != nil {
				t.Errorf("%s: override %v, intention %v", s.Journal, s.Override, s.Intention)
			}
		}
		if open != n {
			t.Errorf("%d standings are listed as open, not %d", open, n)
		}
	})
	t.Run("on-call gets one page for the mass", func(t *testing.T) {
		if len(l.pages) != mfa.MassUsers {
			t.Errorf("%d incidents page, not %d", len(l.pages), mfa.MassUsers)
		}
		masses := 0
		for _, kind := range l.pages {
			if kind == mfa.MassDisable {
				masses++
			}
		}
		if masses != 1 || len(l.told) != n+1 {
			t.Errorf("%d mass disables; %d incidents, not %d", masses, len(l.told), n+1)
		}
	})
	t.Run("nothing is lost", func(t *testing.T) {
		counted := map[string]int{}
		for _, audit := range audits {
			for line := range strings.Lines(audit.Output()) {
				var said struct {
					Verdict    mfa.Verdict
					Reason     mfa.Reason
					Deliveries int
				}
				if err := json.Unmarshal([]byte(line), &said); err != nil {
					t.Fatalf("%v: %s", err, line)
				}
				if said.Deliveries > 0 {
					counted[string(said.Verdict)+" "+string(said.Reason)] += said.Deliveries
				}
			}
		}
		// What was left unfinished is counted by whoever finished it, and as a
		// duplicate when it came again.
		extra := counted["ignore duplicate"] - (l.deliveries - n)
		if counted["open taken_away"] != n || extra < 0 || extra > l.left || len(counted) != 2 {
			t.Errorf("of %d deliveries (and %d left unfinished) these were counted: %v", l.deliveries, l.left, counted)
		}
		for _, q := range []wiretest.Queue{wiretest.DeadLetters, wiretest.ReenableQueue} {
			for _, m := range a.Take(t, q) {
				t.Errorf("%s has %s", q, *m.Body)
			}
		}
	})
	t.Run("memory is flat", func(t *testing.T) {
		for i, audit := range audits {
			peak := memory(t, audit)
			t.Logf("process %d: %.1f MiB, %.1f MiB after the first deliveries", i+1, mib(peak), mib(l.early[i]))
			if peak > 64<<20 || peak > l.early[i]+8<<20 {
				t.Errorf("process %d: it grew", i+1)
			}
		}
	})
}

// employ makes users with a required role. A few had TOTP, which has been
// switched off; that the others never had it, nobody can see who looks now.
//
// Those others have their sub as the username, by which Cognito finds everybody.
// So does moto in the pool of addresses, but there it goes through all users in
// every call.
func employ(t *testing.T, a *stacktest.Account, n int) []mfa.Sub {
	t.Helper()
	const role, enrolled = "itsm_manager", 8
	subs := make([]mfa.Sub, n)
	for i := range enrolled {
		subs[i] = a.Add(t, wiretest.Person{
			Pool: a.Pool, Name: fmt.Sprintf("enrolled%d", i), Roles: []mfa.Role{role},
			Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP},
		})
		a.Switch(t, a.Pool, subs[i], false, mfa.TOTP)
	}
	pool := new(string(a.Pool))
	add := func(name *string) error {
		_, err := a.Cognito.AdminCreateUser(t.Context(), &cognitoidentityprovider.AdminCreateUserInput{UserPoolId: pool, Username: name, MessageAction: cognitotypes.MessageActionTypeSuppress})
		if err == nil || mototest.Lost(err) {
			_, err = a.Cognito.AdminUpdateUserAttributes(t.Context(), &cognitoidentityprovider.AdminUpdateUserAttributesInput{
				UserPoolId: pool, Username: name, UserAttributes: []cognitotypes.AttributeType{{Name: new("sub"), Value: name}},
			})
		}
		if err == nil {
			_, err = a.Cognito.AdminAddUserToGroup(t.Context(), &cognitoidentityprovider.AdminAddUserToGroupInput{UserPoolId: pool, Username: name, GroupName: new(role)})
		}
		return err
	}
	errs := make([]error, processes)
	var all sync.WaitGroup
	for p := range processes {
		all.Go(func() {
			for i := enrolled + p; i < n && errs[p] == nil; i += processes {
				name := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
				subs[i], errs[p] = mfa.Sub(name), add(&name)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("make users: %v", err)
	}
	return subs
}

// disableAll puts the deliveries of the users' disables, all of one ten-minute
// window, into audit's queue and takes them out again. It does so bit by bit:
// moto takes ever longer for a long queue. The bus, at which it is slow, is left
// out here.
func disableAll(t *testing.T, a *stacktest.Account, subs []mfa.Sub) []sqstypes.Message {
	t.Helper()
	window := time.Now().Add(-mfa.Window).Truncate(mfa.Window)
	var deliveries []string
	for i, sub := range subs {
		at := window.Add(mfa.Window * time.Duration(i) / time.Duration(len(subs)))
		deliveries = append(deliveries, fmt.Sprintf(`{"version":"0","id":"load-%d","detail-type":"AWS API Call via CloudTrail","source":"aws.cognito-idp","account":"123456789012","time":%q,"region":"us-east-1","resources":[],"detail":%s}`,
			i, at.Format(time.RFC3339), disable(a.Pool, sub, fmt.Sprintf("load-%d", i), at)))
	}
	var queued []sqstypes.Message
	for some := range slices.Chunk(deliveries, 100) {
		a.Send(t, wiretest.AuditQueue, some...)
		queued = append(queued, a.Take(t, wiretest.AuditQueue)...)
	}
	if len(queued) < len(subs) {
		t.Fatalf("%d messages in the queue, of %d", len(queued), len(subs))
	}
	return queued
}

// loaded is what came of the deliveries.
type loaded struct {
	audits     []*lambdatest.Function
	deliveries int // as SQS has handed them out for the first time, twins included
	failures   int
	left       int                      // those of them that somebody may have left unfinished
	receives   map[string]int           // of each message
	told       map[string]bool          // the incidents that on-call got
	pages      map[string]mfa.AlertKind // those of them that are critical
	early      []int64                  // peak memory after the first deliveries
}

// handle has the batches taken by all processes at once. One in twenty is given
// to two processes at the same moment. What failed comes again after the rest.
func (l *loaded) handle(t *testing.T, a *stacktest.Account, queued []sqstypes.Message) {
	t.Helper()
	l.told, l.pages = map[string]bool{}, map[string]mfa.AlertKind{}
	l.deliveries = len(queued)
	for round, handled := 0, 0; len(queued) > 0; round++ {
		var given [][]sqstypes.Message
		for len(given) < len(l.audits) && len(queued) > 0 {
			end := min(batch, len(queued))
			given, queued = append(given, queued[:end]), queued[end:]
			if len(given) == 1 && round%5 == 0 {
				given = append(given, given[0])
				l.deliveries += end
			}
		}
		answers, errs := make([][]byte, len(given)), make([]error, len(given))
		var all sync.WaitGroup
		for i, messages := range given {
			event := wiretest.Batch(t, wiretest.AuditQueue, messages...)
			all.Go(func() { answers[i], errs[i] = l.audits[i].Invoke(t.Context(), event) })
		}
		all.Wait()
		handed, failed := 0, 0
		for i, messages := range given {
			var answer events.SQSEventResponse
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			if err := json.Unmarshal(answers[i], &answer); err != nil {
				t.Fatalf("%v: %s", err, answers[i])
			}
			for _, item := range answer.BatchItemFailures {
				at := slices.IndexFunc(messages, func(m sqstypes.Message) bool { return *m.MessageId == item.ItemIdentifier })
				if l.receives[item.ItemIdentifier]++; l.receives[item.ItemIdentifier] == mostReceives {
					t.Fatalf("%s fails for ever", *messages[at].Body)
				}
				queued = append(queued, messages[at])
				l.failures++
				failed++
			}
			handed += len(messages)
		}
		if handled += handed; failed == handed {
			l.left += failed
			select { // SQS waits longer than a lease anyway
			case <-time.After(mfa.Lease):
			case <-t.Context().Done():
			}
		}
		l.hear(t, a)
		if handled >= 100 && l.early == nil {
			for _, audit := range l.audits {
				l.early = append(l.early, memory(t, audit))
			}
		}
	}
}

// hear takes what on-call got.
func (l *loaded) hear(t *testing.T, a *stacktest.Account) {
	t.Helper()
	for _, m := range a.Take(t, wiretest.AlertQueue) {
		var event struct{ Detail alert.Alert }
		if err := json.Unmarshal([]byte(*m.Body), &event); err != nil {
			t.Fatalf("%v: %s", err, *m.Body)
		}
		said := event.Detail
		l.told[said.Incident] = true
		if said.Severity == mfa.Critical {
			l.pages[said.Incident] = said.Kind
		}
	}
}

// records are those of all entries in the ledger's table.
func records(t *testing.T, a *stacktest.Account) []mfa.Record {
	t.Helper()
	var all []mfa.Record
	for pages := dynamodb.NewScanPaginator(a.DynamoDB, &dynamodb.ScanInput{
		TableName: new(wiretest.Table), FilterExpression: new("begins_with(sk, :entry)"), ProjectionExpression: new("#record"),
		ExpressionAttributeNames:  map[string]string{"#record": "record"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":entry": &types.AttributeValueMemberS{Value: "entry/"}},
	}); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			var r mfa.Record
			raw, _ := item["record"].(*types.AttributeValueMemberS)
			if err := json.Unmarshal([]byte(raw.Value), &r); err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
	}
	return all
}

// schedules are the names of the timers that stand, in their order.
func schedules(t *testing.T, a *stacktest.Account) []string {
	t.Helper()
	var names []string
	for pages := scheduler.NewListSchedulesPaginator(a.Scheduler, &scheduler.ListSchedulesInput{
		GroupName: new(wiretest.ScheduleGroup), MaxResults: new(int32(100)),
	}); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Schedules {
			names = append(names, *s.Name)
		}
	}
	slices.Sort(names)
	return names
}

func memory(t *testing.T, f *lambdatest.Function) int64 {
	t.Helper()
	peak, err := f.PeakMemory()
	if err != nil {
		t.Fatal(err)
	}
	return peak
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
