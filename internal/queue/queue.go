// Package queue is the worker's Queue on Amazon SQS: what asks reenable to look
// at a user.
//
// It refuses to know why. A message carries ids and no state, so that a late or
// repeated one does no harm.
package queue

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/stackflow/relatch/internal/mfa"
)

// Message is what reenable's queue carries.
type Message struct {
	Pool mfa.PoolID `json:"pool_id"`
	Sub  mfa.Sub    `json:"sub"`
	// Override is the one whose timer sent the message; empty if no timer did.
	Override string `json:"override,omitempty"`
}

// Client is what Queue needs of the client of SQS.
type Client interface {
	SendMessage(context.Context, *sqs.SendMessageInput, ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
}

// Queue implements worker.Queue. Its methods may be called concurrently.
type Queue struct {
	client Client
	url    string
}

// New makes a Queue of the URL of a standard queue.
func New(client Client, url string) *Queue {
	return &Queue{client: client, url: url}
}

// Ask implements worker.Queue. Asking twice sends two messages.
func (q *Queue) Ask(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) error {
	body, err := json.Marshal(Message{Pool: pool, Sub: sub})
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	if _, err := q.client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: new(string(body))}); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	return nil
}
