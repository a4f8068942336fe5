package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/bus"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/workertest"
)

func TestAlertsOverTheWireReachAQueueByARule(t *testing.T) {
	config := mototest.Start(t)
	events, queues := eventbridge.NewFromConfig(config), sqs.NewFromConfig(config)
	workertest.Alerts(t, func(t *testing.T) workertest.Pager {
		ctx := t.Context()
		if _, err := events.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: new("security")}); err != nil && !mototest.Lost(err) {
			t.Fatal(err)
		}
		queue, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: new("on-call")})
		if err != nil {
			t.Fatal(err)
		}
		// The event that somebody else puts on the bus is not matched.
		rule := eventbridge.PutRuleInput{Name: new("on-call"), EventBusName: new("security"), EventPattern: new(`{"source":["relatch"],"detail-type":["MFA Alert"],"detail":{"severity":["critical"]}}`)}
		if _, err := events.PutRule(ctx, &rule); err != nil {
			t.Fatal(err)
		}
		if _, err := events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: rule.Name, EventBusName: rule.EventBusName, Targets: []types.Target{
			{Id: new("1"), Arn: new("arn:aws:sqs:" + mototest.Region + ":" + mototest.Account + ":on-call")},
		}}); err != nil {
			t.Fatal(err)
		}
		if _, err := events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
			{EventBusName: rule.EventBusName, Source: new("somebody"), DetailType: new("MFA Alert"), Detail: new(`{"severity":"critical"}`)},
		}}); err != nil {
			t.Fatal(err)
		}
		b := bus.New(events, "security")
		if err := b.Check(ctx); err != nil {
			t.Error(err)
		}
		return workertest.Pager{Alerts: b, Sent: func(t *testing.T) []alert.Alert { return receive(t, queues, queue.QueueUrl) }}
	})
	if err := bus.New(events, "missing").Check(t.Context()); err == nil {
		t.Error("a missing bus is not found")
	}
}

// receive takes the alerts from a queue until it is empty, in the order of their
// numbers: a standard queue promises none.
func receive(t *testing.T, queues *sqs.Client, url *string) []alert.Alert {
	t.Helper()
	var all []alert.Alert
	for {
		out, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range out.Messages {
			var event struct {
				Source     string      `json:"source"`
				DetailType string      `json:"detail-type"`
				Detail     alert.Alert `json:"detail"`
			}
			if err := json.Unmarshal([]byte(*m.Body), &event); err != nil || event.Source != "relatch" || event.DetailType != "MFA Alert" {
				t.Errorf("%v: %s", err, *m.Body)
			}
			all = append(all, event.Detail)
		}
		if len(out.Messages) == 0 {
			break
		}
	}
	number := func(a alert.Alert) int {
		n := 0
		if _, err := fmt.Sscanf(a.Title, "alert %d", &n); err != nil {
			t.Error(err)
		}
		return n
	}
	slices.SortFunc(all, func(a, b alert.Alert) int { return number(a) - number(b) })
	return all
}

// fake accepts events but those whose turn it is to fail: moto accepts all.
type fake struct {
	bus.Client
	fail     map[string]int // how often an incident fails
	broken   error
	accepted []string // incidents
	batches  []int    // how many entries each request had
	bytes    int      // the most that a request had
}

func (f *fake) PutEvents(_ context.Context, in *eventbridge.PutEventsInput, _ ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	if f.broken != nil {
		return nil, f.broken
	}
	f.batches = append(f.batches, len(in.Entries))
	var out eventbridge.PutEventsOutput
	bytes := 0
	for _, e := range in.Entries {
		bytes += len(*e.Detail) + len(*e.Source) + len(*e.DetailType)
		var a alert.Alert
		if err := json.Unmarshal([]byte(*e.Detail), &a); err != nil {
			return nil, err
		}
		if f.fail[a.Incident] > 0 {
			f.fail[a.Incident]--
			out.FailedEntryCount++
			out.Entries = append(out.Entries, types.PutEventsResultEntry{ErrorCode: new("ThrottlingException"), ErrorMessage: new("slow down")})
			continue
		}
		f.accepted = append(f.accepted, a.Incident)
		out.Entries = append(out.Entries, types.PutEventsResultEntry{EventId: new("1")})
	}
	f.bytes = max(f.bytes, bytes)
	return &out, nil
}

func alerts(n int, text string) []alert.Alert {
	out := make([]alert.Alert, n)
	for i := range out {
		out[i] = alert.Alert{Schema: alert.Schema, Alert: mfa.Alert{Incident: fmt.Sprint(i)}, WhatHappened: text}
	}
	return out
}

func TestBatchesAreOfTenAndUnderTheLimit(t *testing.T) {
	for _, c := range []struct {
		n, bytes int
		want     []int
	}{
		{0, 0, nil},
		{10, 10, []int{10}},
		{25, 10, []int{10, 10, 5}},
		{7, 100_000, []int{2, 2, 2, 1}},
		{3, 300_000, []int{1, 1, 1}}, // each too large by itself: EventBridge says so
	} {
		f := &fake{}
		if err := bus.New(f, "security").Send(t.Context(), alerts(c.n, strings.Repeat("x", c.bytes))); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(f.batches, c.want) || len(f.accepted) != c.n || c.bytes <= 100_000 && f.bytes > 256*1024 {
			t.Errorf("%d of %d bytes: batches %v, at most %d bytes, %d accepted", c.n, c.bytes, f.batches, f.bytes, len(f.accepted))
		}
	}
}

func TestFailedEntriesAreTriedAgainOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{fail: map[string]int{"1": 1, "11": 3}}
		began := time.Now()
		if err := bus.New(f, "security").Send(t.Context(), alerts(12, "")); err != nil {
			t.Fatal(err)
		}
		if want := []int{10, 1, 2, 1, 1, 1}; !slices.Equal(f.batches, want) || len(f.accepted) != 12 {
			t.Errorf("batches %v, accepted %v", f.batches, f.accepted)
		}
		if took, want := time.Since(began), 100*time.Millisecond+(100+200+400)*time.Millisecond; took != want {
			t.Errorf("waited %s, not %s", took, want)
		}
	})
}

func TestAnEntryThatNeverIsAcceptedIsNamedAndHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{fail: map[string]int{"3": 1000}}
		err := bus.New(f, "security").Send(t.Context(), alerts(12, ""))
		if err == nil || !strings.Contains(err.Error(), "event for 3: ThrottlingException: slow down") || strings.Contains(err.Error(), "\n") {
			t.Errorf("the error is %v", err)
		}
		if len(f.accepted) != 11 || len(f.batches) != 6 {
			t.Errorf("batches %v, accepted %v", f.batches, f.accepted)
		}
	})
}

func TestSendEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		f := &fake{fail: map[string]int{"0": 1000}}
		if err := bus.New(f, "security").Send(ctx, alerts(1, "")); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Throttling") {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestARequestThatFailsIsAnError(t *testing.T) {
	broken := errors.New("no network")
	if err := bus.New(&fake{broken: broken}, "security").Send(t.Context(), alerts(12, "")); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
}
