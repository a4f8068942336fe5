package functions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/cloud"
	"github.com/stackflow/relatch/internal/config"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/faulttest"
	"github.com/stackflow/relatch/internal/invoke"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/telemetry"
	"github.com/stackflow/relatch/internal/wiretest"
	"github.com/stackflow/relatch/internal/worker"
)

// Whatever call of a function fails, what the function was invoked with comes
// again three minutes later, and then everything ends as it would have: from a
// disable, beside it a delivery that nobody can read, to a restore and a sweep.
// Every call is spoiled so that it does not happen, and every write so that it does.
// Scenarios are spoiled in internal/replay; here are the calls around the worker:
// the check at the start, the evidence, the bookmark.
func TestAFunctionThatFailsIsInvokedAgain(t *testing.T) {
	a := stacktest.Open(t)
	a.SetPolicy(t, `["itsm_manager"]`) // the fewest calls
	s := story{Account: a, wire: faulttest.New(http.DefaultTransport), sub: a.Add(t, wiretest.Person{
		Pool: a.EmailPool, Name: "maria@example.com", Roles: []mfa.Role{"itsm_manager"}, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP},
	})}
	want := s.play(t, nil)
	if last := want.Past[len(want.Past)-1]; last != "restored" {
		t.Fatalf("undisturbed: %+v", want)
	}
	calls := s.wire.Calls()
	notDone := []faulttest.Kind{faulttest.Unreachable, faulttest.Internal, faulttest.Throttled, faulttest.Conflict}
	step, runs := 1, 0
	if testing.Short() {
		step = 8
	}
	for i := 0; i < len(calls); i += step {
		for _, kind := range []faulttest.Kind{notDone[i%len(notDone)], []faulttest.Kind{faulttest.Lost, faulttest.Mended}[i%2]} {
			if !calls[i].Writes() && !slices.Contains(notDone, kind) {
				continue // as if it had not been sent
			}
			runs++
			got := s.play(t, map[int]faulttest.Kind{i + 1: kind})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("call %d of %d, %s, is %s: -undisturbed +spoiled:\n%s", i+1, len(calls), calls[i], kind, diff)
			}
		}
	}
	t.Logf("%d runs of %d calls", runs, len(calls))
}

// story is played again and again with the same user, each time on a new ledger.
type story struct {
	*stacktest.Account
	wire *faulttest.Wire
	sub  mfa.Sub
	runs int
	now  time.Time
}

// ended is what a story leaves behind.
type ended struct {
	Factors   []string
	Past      []string // how the overrides ended
	Open      bool     // whether anything is still open
	Alerts    []string // which states of which incidents, each once
	Evidence  []string // each once
	Schedules int
	Swept     bool
}

func (s *story) play(t *testing.T, spoiled map[int]faulttest.Kind) ended {
	t.Helper()
	s.runs++
	settings, err := config.Read(s.Environment("audit"))
	if err != nil {
		t.Fatal(err)
	}
	settings.Pools, settings.Table = []mfa.PoolID{s.EmailPool}, fmt.Sprintf("relatch-%d", s.runs)
	s.MakeLedger(t, settings.Table)
	s.now = time.Date(2026, 11, 23, 3, 13, 11, 0, time.UTC)
	s.Switch(t, s.EmailPool, s.sub, false, mfa.TOTP)
	s.wire.Spoil(spoiled)

	now := func() time.Time { return s.now }
	open := func() (*cloud.Cloud, *worker.Worker) {
		c := cloud.Open(s.config(t), settings, now)
		w := worker.New(settings.House(), c.Ports, now)
		w.Together = worker.Together
		return c, w
	}
	said := telemetry.New(telemetry.NewLogger(io.Discard), "test", now)
	c, w := open()
	audit := invoke.Audit{Function: invoke.Function{Worker: w, Evidence: c.Evidence, Telemetry: said, Ready: c.Ready(t.Context())}}
	s.untilDone(t, audit.Invoke, disable(s.EmailPool, s.sub, "e-1", s.now.Add(-time.Minute)), "{")

	c, w = open()
	reenable := invoke.Reenable{Function: invoke.Function{Worker: w.WithWriter(c.Writer), Evidence: c.Evidence, Telemetry: said, Ready: c.Ready(t.Context())}}
	for _, timer := range s.Schedules(t) {
		at, err := time.Parse("at(2006-01-02T15:04:05)", *timer.ScheduleExpression)
		if err != nil {
			t.Fatal(err)
		}
		s.now = at
		_, err = s.Scheduler.DeleteSchedule(t.Context(), &scheduler.DeleteScheduleInput{Name: timer.Name, GroupName: timer.GroupName}) // as it does itself
		gone(t, err)
		s.untilDone(t, reenable.Invoke, *timer.Target.Input)
	}
	for _, m := range s.Take(t, wiretest.ReenableQueue) {
		s.untilDone(t, reenable.Invoke, *m.Body)
	}

	c, w = open()
	sweep := invoke.Sweep{Worker: w, Bookmarks: c.Ledger, Telemetry: said, Ready: c.Ready(t.Context())}
	for range tries {
		s.now = s.now.Add(worker.SweepEvery)
		if err = sweep.Invoke(t.Context(), nil); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("the sweep fails %d times: %v", tries, err)
	}
	return s.ended(t, settings)
}

// tries is how often a function is invoked with something: the fault comes once,
// and then somebody else may be busy with what it left.
const tries = 4

// untilDone invokes the function with the messages, and again with those that
// must come again.
func (s *story) untilDone(t *testing.T, invoke func(context.Context, json.RawMessage) (events.SQSEventResponse, error), bodies ...string) {
	t.Helper()
	var left []sqstypes.Message
	for i, body := range bodies {
		id := strconv.Itoa(i)
		left = append(left, sqstypes.Message{MessageId: &id, ReceiptHandle: &id, Body: &body})
	}
	for range tries {
		answer, err := invoke(t.Context(), wiretest.Batch(t, wiretest.AuditQueue, left...))
		if err != nil {
			t.Fatal(err)
		}
		left = slices.DeleteFunc(left, func(m sqstypes.Message) bool {
			return !slices.Contains(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: *m.MessageId})
		})
		if len(left) == 0 {
			return
		}
		s.now = s.now.Add(3 * time.Minute)
	}
	t.Errorf("%d messages are not done after %d tries", len(left), tries)
}

// config is that of a function, with less patience.
func (s *story) config(t *testing.T) aws.Config {
	t.Helper()
	a, err := cloud.Load(func(name string) string {
		for _, variable := range s.Environment("audit") {
			if value, ok := strings.CutPrefix(variable, name+"="); ok {
				return value
			}
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	a.HTTPClient, a.Logger = &http.Client{Transport: s.wire}, s.Dynamo.Logger
	a.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff, o.RateLimiter = time.Millisecond, ratelimit.None })
	}
	return a
}

// ended reads how the story ended, as an administrator would.
func (s *story) ended(t *testing.T, settings config.Config) ended {
	t.Helper()
	ledger := dynamo.New(s.DynamoDB, settings.Table)
	loaded, err := ledger.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(s.EmailPool, s.sub)})
	if err != nil {
		t.Fatal(err)
	}
	mark, err := ledger.Bookmark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := ended{
		Factors: s.Factors(t, s.EmailPool, s.sub), Open: loaded.Standing.Open() || len(loaded.Standing.Incidents) > 0,
		Schedules: len(s.Schedules(t)), Swept: !mark.CompletedAt.IsZero() && mark.Place == worker.Place{},
	}
	for _, past := range loaded.Standing.Past {
		e.Past = append(e.Past, string(past.End))
	}
	once := map[string]bool{}
	for _, m := range s.Take(t, wiretest.AlertQueue) {
		var event struct {
			Detail alert.Alert `json:"detail"`
		}
		if err := json.Unmarshal([]byte(*m.Body), &event); err != nil {
			t.Fatal(err)
		}
		// What on-call heard of a policy that could not be read is told of in internal/replay.
		if d := event.Detail; d.Incident != mfa.PolicyJournal {
			once[fmt.Sprintf("%s %s %s", d.Kind, d.Incident, d.State)] = true
		}
	}
	e.Alerts = slices.Sorted(maps.Keys(once))
	clear(once)
	for _, m := range s.Take(t, wiretest.DeadLetters) {
		once[*m.Body] = true
	}
	e.Evidence = slices.Sorted(maps.Keys(once))
	return e
}
