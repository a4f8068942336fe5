// Package bus is the worker's Alerts on Amazon EventBridge: an alert is an event
// "MFA Alert" of the source "relatch", whose detail is the alert.
//
// It refuses to know who receives alerts and what they say.
package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/stackflow/relatch/internal/alert"
)

// What the rules of receivers match.
const (
	Source     = "relatch"
	DetailType = "MFA Alert"
)

// The limits of one request: EventBridge takes ten entries and today 1 MiB, until
// 2026 256 KB, which is plenty (aws-facts.md section 4).
const (
	mostEntries = 10
	mostBytes   = 256 * 1024
)

// A failed entry is tried again this often, after waiting first firstWait and
// then twice as long each time. The client itself repeats failed requests.
const (
	tries     = 4
	firstWait = 100 * time.Millisecond
)

// Client is what Bus needs of EventBridge's client.
type Client interface {
	PutEvents(context.Context, *eventbridge.PutEventsInput, ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error)
	DescribeEventBus(context.Context, *eventbridge.DescribeEventBusInput, ...func(*eventbridge.Options)) (*eventbridge.DescribeEventBusOutput, error)
}

// Bus implements worker.Alerts. Its methods may be called concurrently.
type Bus struct {
	client Client
	name   string
}

// New makes a Bus of the name or ARN of an event bus.
func New(client Client, name string) *Bus {
	return &Bus{client: client, name: name}
}

// Check returns an error if there is no such bus. Call it at the start: events
// for a bus that is missing are accepted and lost.
func (b *Bus) Check(ctx context.Context) error {
	if _, err := b.client.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: &b.name}); err != nil {
		return fmt.Errorf("find event bus %s: %w", b.name, err)
	}
	return nil
}

// Send implements worker.Alerts. Every alert is tried, also after one has failed;
// the error names each one that was not accepted. Sending again sends them all.
func (b *Bus) Send(ctx context.Context, alerts []alert.Alert) error {
	var errs []error
	entries, incidents := make([]types.PutEventsRequestEntry, 0, len(alerts)), make([]string, 0, len(alerts))
	for _, a := range alerts {
		detail, err := json.Marshal(a)
		if err != nil {
			errs = append(errs, fmt.Errorf("write alert for %s: %w", a.Incident, err))
			continue
		}
		incidents = append(incidents, a.Incident)
		entries = append(entries, types.PutEventsRequestEntry{
			EventBusName: &b.name, Source: new(Source), DetailType: new(DetailType), Detail: new(string(detail)),
		})
	}
	for begin := 0; begin < len(entries); {
		end := begin + fit(entries[begin:])
		errs = append(errs, b.put(ctx, entries[begin:end], incidents[begin:end]))
		begin = end
	}
	return errors.Join(errs...)
}

// fit returns how many of the entries go into one request: at least one, since
// EventBridge is to say that one is too large.
func fit(entries []types.PutEventsRequestEntry) int {
	bytes := 0
	for i := range entries {
		bytes += size(&entries[i])
		if i == mostEntries || i > 0 && bytes > mostBytes {
			return i
		}
	}
	return len(entries)
}

// size is that of an entry as EventBridge counts it.
func size(e *types.PutEventsRequestEntry) int {
	return len(*e.Source) + len(*e.DetailType) + len(*e.Detail)
}

// put sends a batch, and then what was not accepted of it one by one.
func (b *Bus) put(ctx context.Context, entries []types.PutEventsRequestEntry, incidents []string) error {
	out, err := b.client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: entries})
	if err != nil {
		return fmt.Errorf("put %d events: %w", len(entries), err)
	}
	if len(out.Entries) != len(entries) {
		return fmt.Errorf("put %d events: %d answers", len(entries), len(out.Entries))
	}
	var errs []error
	for i := range entries {
		if err := failure(&out.Entries[i]); err != nil {
			if err = b.again(ctx, entries[i], err); err != nil {
				errs = append(errs, fmt.Errorf("put event for %s: %w", incidents[i], err))
			}
		}
	}
	return errors.Join(errs...)
}

// again tries an entry that failed with err until it is accepted, and returns the
// last error if it never is.
func (b *Bus) again(ctx context.Context, entry types.PutEventsRequestEntry, err error) error {
	wait := firstWait
	for range tries {
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(wait):
		}
		wait *= 2
		out, putErr := b.client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{entry}})
		switch {
		case putErr != nil:
			err = putErr
		case len(out.Entries) != 1:
			err = fmt.Errorf("%d answers to one event", len(out.Entries))
		default:
			err = failure(&out.Entries[0])
		}
		if err == nil {
			return nil
		}
	}
	return err
}

// failure is why an entry was not accepted; nil if it was.
func failure(e *types.PutEventsResultEntry) error {
	if e.ErrorCode == nil || *e.ErrorCode == "" {
		return nil
	}
	if e.ErrorMessage == nil {
		return errors.New(*e.ErrorCode)
	}
	return fmt.Errorf("%s: %s", *e.ErrorCode, *e.ErrorMessage)
}
