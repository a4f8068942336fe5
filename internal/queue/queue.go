// Package queue is the queues between the functions on Amazon SQS: what asks
// reenable and audit to look at a user, and what nobody could read.
//
// It refuses to know what comes of a look. A message carries ids and no state, so
// that a late or repeated one does no harm.
package queue

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

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
	return send(ctx, q.client, q.url, Message{Pool: pool, Sub: sub})
}

func send(ctx context.Context, to Client, url string, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	if _, err := to.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new(string(body))}); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	return nil
}

// DeadLetters is a queue that keeps messages which nobody can handle.
type DeadLetters struct {
	client Client
	url    string
}

// NewDeadLetters makes DeadLetters of the URL of a standard queue.
func NewDeadLetters(client Client, url string) *DeadLetters {
	return &DeadLetters{client: client, url: url}
}

// mostProblem is how many bytes of a problem are kept beside the message.
const mostProblem = 1024

// Keep sends the message as it came, with the problem as the attribute of that
// name. SQS takes no empty message, and no text with some control characters:
// the body of such a one is its base64, which the attribute encoding says.
func (d *DeadLetters) Keep(ctx context.Context, raw []byte, problem string) error {
	body, encoding := string(raw), "text"
	if !sendable(body) {
		body, encoding = "base64:"+base64.StdEncoding.EncodeToString(raw), "base64"
	}
	_, err := d.client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &d.url, MessageBody: &body,
		MessageAttributes: map[string]types.MessageAttributeValue{
			"problem":  {DataType: new("String"), StringValue: new(clean(problem))},
			"encoding": {DataType: new("String"), StringValue: &encoding},
		},
	})
	if err != nil {
		return fmt.Errorf("send to the dead-letter queue: %w", err)
	}
	return nil
}

// sendable reports whether SQS takes the text (API Reference, SendMessage):
// #x9, #xA, #xD, #x20 to #xD7FF, #xE000 to #xFFFD, #x10000 to #x10FFFF.
func sendable(text string) bool {
	return text != "" && utf8.ValidString(text) && !strings.ContainsFunc(text, unsendable)
}

func unsendable(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
}

// clean is what may stand in an attribute.
func clean(problem string) string {
	problem = strings.ToValidUTF8(problem[:min(len(problem), mostProblem)], "")
	problem = strings.Map(func(r rune) rune {
		if unsendable(r) {
			return ' '
		}
		return r
	}, problem)
	return cmp.Or(problem, "unknown")
}
