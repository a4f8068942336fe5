package queue

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stackflow/relatch/internal/mfa"
)

// Look is a message in audit's queue that is no delivery: somebody asked for
// something, so that the user is to be looked at again.
type Look struct {
	// Kind is mfa.Justified or mfa.Asked.
	Kind mfa.Kind   `json:"look"`
	Pool mfa.PoolID `json:"pool_id"`
	Sub  mfa.Sub    `json:"sub"`
	// By is the ARN of who asked, and At when.
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// ErrLook says that a message which is a Look cannot be used.
var ErrLook = errors.New("a message that asks for a look is not of a kind that there is, or lacks the user, who asked, or when")

// ReadLook reads a Look, and reports whether the message is one: it alone has a
// member "look", which no delivery has. The error is ErrLook.
func ReadLook(raw []byte) (Look, bool, error) {
	// Almost everything in the queue is a delivery, which is not to be read twice.
	if !bytes.Contains(raw, []byte(`"look"`)) {
		return Look{}, false, nil
	}
	var told struct {
		Look jsontext.Value `json:"look"`
	}
	if err := json.Unmarshal(raw, &told); err != nil || told.Look == nil {
		return Look{}, false, nil //nolint:nilerr // whatever it is, it is for others to read
	}
	var l Look
	switch err := json.Unmarshal(raw, &l, json.RejectUnknownMembers(true)); {
	case err != nil, l.Kind != mfa.Justified && l.Kind != mfa.Asked,
		l.Pool == "", l.Sub == "", l.By == "", l.At.IsZero():
		return Look{}, true, ErrLook
	}
	l.At = l.At.UTC()
	return l, true, nil
}

// Audit is the queue of audit, which also carries CloudTrail's deliveries.
type Audit struct {
	client Client
	url    string
}

// NewAudit makes an Audit of the URL of a standard queue.
func NewAudit(client Client, url string) *Audit { return &Audit{client: client, url: url} }

// Look has audit look at the user. Twice sends two messages.
func (a *Audit) Look(ctx context.Context, l Look) error { return send(ctx, a.client, a.url, l) }
