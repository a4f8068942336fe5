package property

import (
	"bytes"
	"cmp"
	"context"
	"sync"
	"time"
)

// The defaults of Cached.
const (
	DefaultFresh = time.Minute
	DefaultSpare = 15 * time.Minute
)

// Cached is a Source that keeps a copy of what another one said, a missing record
// too. Source and Now are required. It may be used by many at once: while one
// asks the source, the others wait for what it says, whatever their contexts say.
//
// An error is not kept: the next Read asks again. Until the copy is older than
// Spare it stands in for the error, which nobody hears of; after that the error
// is returned. To keep the last good policy for longer is the worker's duty, and
// it does so in the ledger.
type Cached struct {
	Source Source
	// Fresh is how long the source is not asked again after it was asked. Zero
	// means DefaultFresh; a negative one always asks.
	Fresh time.Duration
	// Spare is how old the copy may be that stands in for an error. Zero means
	// DefaultSpare; a negative one returns every error.
	Spare time.Duration
	// Now is the clock.
	Now func() time.Time

	mu    sync.Mutex
	known bool
	raw   []byte
	at    time.Time // when the source was asked for the copy
}

// Read implements worker.PolicySource. An error is the source's own.
func (c *Cached) Read(ctx context.Context) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Now().Round(0) // the monotonic clock may stand still while a function is frozen
	age := now.Sub(c.at)
	known := c.known && age >= 0 // nobody knows how old a copy from the future is
	if known && age < cmp.Or(c.Fresh, DefaultFresh) {
		return bytes.Clone(c.raw), nil
	}
	raw, err := c.Source.Read(ctx)
	switch {
	case err == nil:
		c.known, c.raw, c.at = true, bytes.Clone(raw), now
		return raw, nil
	case known && age <= cmp.Or(c.Spare, DefaultSpare):
		return bytes.Clone(c.raw), nil
	default:
		return nil, err
	}
}
