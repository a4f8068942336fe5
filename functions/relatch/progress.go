package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/replay"
)

const (
	quiet  = time.Second            // what takes no longer shows no progress
	redraw = 250 * time.Millisecond // how often it is drawn anew
)

// shows draws on a terminal a line that says how far something is, until stop is
// called, which wipes it. It begins after quiet, and then also runs aside, if not
// nil, whose context ends with it. Where standard error is no terminal, or a dumb one,
// nothing happens.
func (t terminal) shows(line func() string, aside func(context.Context)) (stop func()) {
	if !t.errIsTerminal || t.getenv("TERM") == "dumb" {
		return func() {}
	}
	ctx, end := context.WithCancel(context.Background())
	var drawing sync.WaitGroup
	drawing.Go(func() {
		if t.wait(ctx, quiet) != nil {
			return
		}
		if aside != nil {
			drawing.Go(func() { aside(ctx) })
		}
		for err := error(nil); err == nil; err = t.wait(ctx, redraw) {
			// A line that is longer than the terminal is wide must not wrap.
			fmt.Fprintf(t.err, "\r\x1b[?7l%s\x1b[K\x1b[?7h", line())
		}
		fmt.Fprint(t.err, "\r\x1b[K")
	})
	return func() {
		end()
		drawing.Wait()
	}
}

// reads shows how far the loader is with the paths.
func (t terminal) reads(l *replay.Loader, paths []string) (stop func()) {
	if !t.errIsTerminal {
		return func() {}
	}
	l.Progress = new(replay.Progress)
	var total atomic.Int64
	began := t.now()
	return t.shows(func() string {
		return reading(l.Progress.Bytes(), total.Load(), l.Progress.Records(), t.now().Sub(began))
	}, func(ctx context.Context) {
		if size, known := l.Size(ctx, paths); known {
			total.Store(size)
		}
	})
}

// reading is how far reading is after that time: with a bar and the time left if
// the total is known, which is above 0 then.
func reading(bytes, total, records int64, took time.Duration) string {
	rate := float64(bytes) / took.Seconds()
	speed := fmt.Sprintf("%s/s, %s records", size(int64(rate)), replay.Thousands(int(records)))
	if total < bytes || rate <= 0 { // not known, or files have grown
		return size(bytes) + " read, " + speed
	}
	const width = 12
	done := int(width * bytes / total)
	left := time.Duration(float64(total-bytes) / rate * float64(time.Second))
	return fmt.Sprintf("%3d%% [%s%s] %s of %s, %s left, %s", 100*bytes/total,
		strings.Repeat("#", done), strings.Repeat(".", width-done), size(bytes), size(total), span(left), speed)
}

// size writes bytes with three digits and a unit of a thousand, as disks are sold.
func size(bytes int64) string {
	n, unit := float64(bytes), "kMGTP"
	for n >= 999.5e3 && len(unit) > 1 {
		n, unit = n/1e3, unit[1:]
	}
	switch n /= 1e3; {
	case n < 9.995:
		return fmt.Sprintf("%.2f %cB", n, unit[0])
	case n < 99.95:
		return fmt.Sprintf("%.1f %cB", n, unit[0])
	default:
		return fmt.Sprintf("%.0f %cB", n, unit[0])
	}
}

// span is alert.Span, but for seconds.
func span(d time.Duration) string {
	if d < 90*time.Second {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return alert.Span(d)
}
