// Package invoke is what a function does when Lambda invokes it: it takes the
// event apart into messages, hands each one to the worker by itself, and tells
// Lambda which must come again.
//
// It refuses to know AWS clients and what a decision means: it passes on what
// the worker says to telemetry.
package invoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/telemetry"
	"github.com/stackflow/relatch/internal/worker"
)

// Evidence keeps what could not be read.
type Evidence interface {
	// Keep keeps the message as it came. Twice is no harm.
	Keep(ctx context.Context, raw []byte, problem string) error
}

// Function is what the functions that take messages have.
type Function struct {
	Worker    *worker.Worker
	Evidence  Evidence
	Telemetry *telemetry.Telemetry
	// Ready is waited for before the first message that the worker has to look
	// at anything for. Its error makes the message come again.
	Ready func(context.Context) error

	mu sync.Mutex // the worker is not for concurrent use
}

// reserve is what is left of an invocation's time for its answer.
const reserve = time.Second

var errNoTime = errors.New("no time was left in this invocation")

// message is one message of an event.
type message struct {
	id, body string
}

// messages takes an event apart. What is no batch of SQS is one message, and
// then there is nothing to report failures of.
func messages(event json.RawMessage) (all []message, batch bool) {
	var sqs events.SQSEvent
	if err := json.Unmarshal(event, &sqs); err != nil || len(sqs.Records) == 0 || sqs.Records[0].EventSource != "aws:sqs" {
		return []message{{body: string(event)}}, false
	}
	for _, m := range sqs.Records {
		all = append(all, message{m.MessageId, m.Body})
	}
	return all, true
}

// invoke has each message of the event taken. Of a batch, the answer names those
// that must come again; of anything else, the error says that it must.
func (f *Function) invoke(ctx context.Context, event json.RawMessage, take func(context.Context, []byte) error) (events.SQSEventResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, batch := messages(event)
	answer := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}} // not null
	for i, m := range all {
		err := inItsTime(ctx, f.Worker.Now(), len(all)-i, func(ctx context.Context) error { return take(ctx, []byte(m.body)) })
		if err == nil {
			continue
		}
		f.Telemetry.Failed(m.id, err)
		if !batch {
			return answer, errors.New(telemetry.Text(err))
		}
		answer.BatchItemFailures = append(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.id})
	}
	return answer, nil
}

// inItsTime calls do with its share of the time, so that one message that hangs
// does not take that of the others, or of the answer. A panic is an error of that
// message alone.
func inItsTime(ctx context.Context, now time.Time, left int, do func(context.Context) error) (err error) {
	if end, ok := ctx.Deadline(); ok {
		share := (end.Sub(now) - reserve) / time.Duration(left)
		if share <= 0 {
			return errNoTime
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, share)
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return do(ctx)
}

// ready waits for the start-up check and has the policy read.
func (f *Function) ready(ctx context.Context) error {
	if err := f.Ready(ctx); err != nil {
		return fmt.Errorf("check at the start: %w", err)
	}
	seen, err := f.Worker.Refresh(ctx)
	tell(f.Telemetry, seen)
	return err
}

// look has the worker look, and tells what it saw, also when that ended with an
// error. What is ignored without a look at anything waits for nothing.
func (f *Function) look(ctx context.Context, c mfa.Change) (worker.Seen, error) {
	if d, screened := mfa.Screen(f.Worker.House, c); !screened || d.Verdict != mfa.Ignores {
		if err := f.ready(ctx); err != nil {
			return worker.Seen{}, err
		}
	}
	seen, err := f.Worker.Look(ctx, c)
	tell(f.Telemetry, seen)
	return seen, err
}

// reject keeps the message, and then has it recorded and alerted as one that could
// not be read.
func (f *Function) reject(ctx context.Context, raw []byte, problem error) error {
	if err := f.Evidence.Keep(ctx, raw, problem.Error()); err != nil {
		return fmt.Errorf("keep what could not be read: %w", err)
	}
	if err := f.ready(ctx); err != nil {
		return err
	}
	seen, err := f.Worker.Reject(ctx, problem)
	tell(f.Telemetry, seen)
	return err
}

func tell(t *telemetry.Telemetry, seen worker.Seen) {
	for i, r := range seen.Records {
		t.Record(r, seen.Heads[i])
	}
}
