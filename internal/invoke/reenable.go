package invoke

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/aws/aws-lambda-go/events"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/queue"
)

// Reenable ends overrides: its worker may write to users.
type Reenable struct{ Function }

// Invoke takes a batch of SQS whose messages are queue.Message, as timers and
// the other functions send them, or one of them by itself, also as the detail of
// an EventBridge event.
func (r *Reenable) Invoke(ctx context.Context, event json.RawMessage) (events.SQSEventResponse, error) {
	return r.invoke(ctx, event, func(ctx context.Context, raw []byte) error {
		m, err := read(raw)
		if err != nil {
			return r.reject(ctx, raw, err)
		}
		_, err = r.look(ctx, mfa.Change{Kind: mfa.Due, Pool: m.Pool, Sub: m.Sub, Timer: m.Override != ""})
		return err
	})
}

// read reads a message to reenable. Its error tells nothing of what stands in it.
func read(raw []byte) (queue.Message, error) {
	var m struct {
		queue.Message
		Detail *queue.Message `json:"detail"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return queue.Message{}, errors.New("a message to reenable is no JSON object with pool_id and sub")
	}
	if m.Detail != nil {
		m.Message = *m.Detail
	}
	if m.Pool == "" || m.Sub == "" {
		return queue.Message{}, errors.New("a message to reenable has no pool_id or no sub")
	}
	return m.Message, nil
}
