package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/stackflow/relatch/internal/mfa"
)

// Schema names the format of the notes of a snapshot that is not done: a head,
// and a line for each user who has been looked at. No usernames are in it.
const Schema = "relatch.snapshot/1"

// Partial is the file of the notes of a snapshot that will be written to path.
func Partial(path string) string { return path + ".partial" }

type head struct {
	Schema string       `json:"schema"`
	Began  time.Time    `json:"began"`
	Pools  []mfa.PoolID `json:"pools"`
	Roles  []mfa.Role   `json:"roles"`
	// Registered: what is registered and not switched on was asked for.
	Registered bool `json:"registered,omitempty"`
}

// kept is what a look at one user showed.
type kept struct {
	Pool       mfa.PoolID   `json:"pool_id"`
	Sub        mfa.Sub      `json:"sub"`
	On         []mfa.Factor `json:"factors"`
	Registered []mfa.Factor `json:"registered"`
	Preferred  mfa.Factor   `json:"preferred"`
}

type key struct {
	pool mfa.PoolID
	sub  mfa.Sub
}

// notes are the file of that name while it is written.
type notes struct {
	*os.File

	head  head
	known map[key]*kept
}

// open opens the notes, or begins them with the head given. Notes of other pools
// or roles are an error, and stay as they are, unless nobody is in them. What was cut off at the end, as
// when the machine stopped, is dropped.
func open(path string, h head) (*notes, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	n := &notes{File: f, head: h, known: map[key]*kept{}}
	if err := n.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return n, nil
}

func (n *notes) read() error {
	raw, err := io.ReadAll(n)
	if err != nil {
		return err
	}
	first, rest, whole := bytes.Cut(raw, []byte("\n"))
	if !whole {
		return n.begin()
	}
	sound := len(first) + 1
	for line := range bytes.Lines(rest) {
		var k kept
		if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &k) != nil {
			break
		}
		n.known[key{k.Pool, k.Sub}] = &k
		sound += len(line)
	}
	var h head
	switch err := json.Unmarshal(first, &h); {
	case err != nil, h.Schema != Schema:
		return errors.New("these are no notes of a snapshot: delete the file, or give another --output")
	case slices.Equal(h.Pools, n.head.Pools) && slices.Equal(h.Roles, n.head.Roles) && h.Registered == n.head.Registered:
		n.head = h
		return n.Truncate(int64(sound))
	case len(n.known) == 0:
		return n.begin()
	default:
		return errors.New("these are the notes of a snapshot of other pools or roles, or with other factors: give the same flags, or delete the file")
	}
}

func (n *notes) begin() error {
	if err := n.Truncate(0); err != nil {
		return err
	}
	return n.write(n.head)
}

func (n *notes) write(v any) error {
	raw, err := json.Marshal(v)
	if err == nil {
		_, err = n.Write(append(raw, '\n'))
	}
	return err
}
