package invoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/telemetry"
	"github.com/stackflow/relatch/internal/worker"
)

// Bookmarks keeps the sweep's bookmark between two invocations.
type Bookmarks interface {
	// Bookmark returns the one that was kept last, the zero one if there is none.
	Bookmark(context.Context) (worker.Bookmark, error)
	KeepBookmark(context.Context, worker.Bookmark) error
}

// Sweep finds what deliveries missed.
type Sweep struct {
	Worker    *worker.Worker
	Bookmarks Bookmarks
	Telemetry *telemetry.Telemetry
	// Ready is waited for first. Its error ends the sweep.
	Ready func(context.Context) error

	mu sync.Mutex // the worker is not for concurrent use
}

// A sweep stops so long before its time is over that the look it is at can end
// and the bookmark be kept; where there is little time, a quarter of it before.
const stopBefore = 15 * time.Second

// keepFor is how long keeping the bookmark and counting may take.
const keepFor = 10 * time.Second

// Invoke sweeps; the event says nothing. An error means that not everything
// could be looked at: the rest has been.
func (s *Sweep) Invoke(ctx context.Context, _ json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sweep(ctx); err != nil {
		s.Telemetry.Problem("sweep failed", err)
		return errors.New(telemetry.Text(err))
	}
	return nil
}

func (s *Sweep) sweep(ctx context.Context) error {
	if err := s.Ready(ctx); err != nil {
		return fmt.Errorf("check at the start: %w", err)
	}
	mark, err := s.Bookmarks.Bookmark(ctx)
	if err != nil {
		return fmt.Errorf("load the bookmark: %w", err)
	}
	if mark.BegunAt.IsZero() {
		mark.BegunAt = s.Worker.Now()
	}
	sweeping, stop := s.inTime(ctx)
	defer stop()
	place, err := s.Worker.Sweep(sweeping, worker.Round{
		From: mark.Place, Enough: enough(ctx, s.Worker.Now),
		Looks: func(_ mfa.PoolID, _ mfa.Sub, seen worker.Seen) { tell(s.Telemetry, seen) },
	})
	ended, failed := place == (worker.Place{}), mark.Failed || err != nil
	mark.Place, mark.Failed = place, failed && !ended
	complete := ended && !failed
	if complete {
		mark.CompletedAt = s.Worker.Now()
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepFor) // also after SIGTERM
	defer cancel()
	if keepErr := s.Bookmarks.KeepBookmark(ending, mark); keepErr != nil {
		err = errors.Join(err, fmt.Errorf("keep the bookmark: %w", keepErr))
	}
	said := telemetry.Sweep{Complete: complete, Last: mark.CompletedAt}
	if said.Last.IsZero() {
		said.Last = mark.BegunAt
	}
	if census, countErr := s.Worker.Census(ending); countErr == nil {
		said.Overrides = &census
	} else {
		err = errors.Join(err, countErr)
	}
	s.Telemetry.Sweep(said)
	return err
}

// inTime ends a look that hangs while there is time to keep the bookmark.
func (s *Sweep) inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end.Add(-min(keepFor, end.Sub(s.Worker.Now())/8)))
}

// enough returns what reports that the time for looks is over.
func enough(ctx context.Context, now func() time.Time) func() bool {
	end, ok := ctx.Deadline()
	if !ok {
		return nil
	}
	end = end.Add(-min(stopBefore, end.Sub(now())/4))
	return func() bool { return !now().Before(end) }
}
