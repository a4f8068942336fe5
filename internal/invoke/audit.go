package invoke

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-lambda-go/events"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/queue"
	"github.com/stackflow/relatch/internal/trail"
)

// Audit looks at the users whom deliveries name, or people's requests.
type Audit struct{ Function }

// Invoke takes a batch of SQS whose messages are deliveries or queue.Look, or one
// of them by itself.
func (a *Audit) Invoke(ctx context.Context, event json.RawMessage) (events.SQSEventResponse, error) {
	irrelevant := 0
	defer func() { a.Telemetry.Irrelevant(irrelevant) }()
	return a.invoke(ctx, event, func(ctx context.Context, raw []byte) error {
		c, err := change(raw)
		if err != nil {
			return a.reject(ctx, raw, err)
		}
		switch d, screened := mfa.Screen(a.Worker.House, c); {
		case screened && d.Reason == mfa.Irrelevant:
			irrelevant++
			return nil
		case screened && d.Verdict == mfa.Rejects: // the worker records it; its bytes are evidence
			if err := a.Evidence.Keep(ctx, raw, d.Problem); err != nil {
				return fmt.Errorf("keep what names no user: %w", err)
			}
		}
		_, err = a.look(ctx, c)
		return err
	})
}

// change reads a message to audit.
func change(raw []byte) (mfa.Change, error) {
	l, is, err := queue.ReadLook(raw)
	switch {
	case err != nil:
		return mfa.Change{}, err
	case is:
		return mfa.Change{Kind: l.Kind, Pool: l.Pool, Sub: l.Sub, At: l.At, Actor: mfa.Actor{ARN: l.By, Type: mfa.Admin}}, nil
	default:
		return trail.Parse(raw)
	}
}
