package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stackflow/relatch/internal/archive"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/trail"
)

// gathering is what the files without a scenario hold: what can matter, and how
// much cannot. It does not depend on the order in which files are read.
type gathering struct {
	found []found
	early archive.Passed
	late  archive.Passed // after Loader.Until
	errs  []error
}

// found is a delivery, with what orders it: its eventTime, or of one that has
// none the eventTime of the delivery before it in its file.
type found struct {
	Delivery
	at    time.Time
	path  string
	order int
}

// loose reads the files that belong to no scenario, several at a time: files,
// trees of files and "-".
func (l *Loader) loose(ctx context.Context, paths []string) ([]Delivery, error) {
	var all gathering
	var mu sync.Mutex
	var readers sync.WaitGroup
	files := make(chan string, 64)
	for range runtime.GOMAXPROCS(0) {
		readers.Go(func() {
			var g gathering
			s := &archive.Scanner{Until: l.Until, Guard: l.Account != nil && len(l.Account.Guard) > 0}
			for path := range files {
				l.gather(ctx, s, path, &g)
			}
			mu.Lock()
			defer mu.Unlock()
			all.join(g)
		})
	}
	var listed gathering
	err := l.list(ctx, paths, files, &listed)
	close(files)
	readers.Wait()
	all.join(listed)
	slices.SortFunc(all.errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return all.deliveries(), errors.Join(append(all.errs, err)...)
}

func (g *gathering) join(o gathering) {
	g.found, g.errs = append(g.found, o.found...), append(g.errs, o.errs...)
	g.early.Join(o.early)
	g.late.Join(o.late)
}

// list sends on the files that the paths name.
func (l *Loader) list(ctx context.Context, paths []string, files chan<- string, g *gathering) error {
	for _, path := range paths {
		if info, err := os.Stat(path); path == "-" || err != nil || !info.IsDir() {
			if path == "-" {
				l.gather(ctx, nil, path, g)
			} else {
				files <- path
			}
			continue
		}
		some, unlisted := false, len(g.errs)
		err := l.Filter.Walk(ctx, path, func(path string) {
			if taken(filepath.Base(path)) {
				some = true
				files <- path
			}
		}, func(dir string, err error) {
			g.errs = append(g.errs, fmt.Errorf("%s: cannot be listed: %w", dir, err))
		})
		switch {
		case err != nil:
			return err
		case some || len(g.errs) > unlisted:
		case l.Filter.Empty():
			g.errs = append(g.errs, fmt.Errorf("%s: no deliveries in this folder: it has no .json, .jsonl or .ndjson file, plain or .gz", path))
		default:
			g.errs = append(g.errs, fmt.Errorf("%s: no deliveries in this folder that are of these days, Regions and accounts", path))
		}
	}
	return nil
}

// gather reads one file. Where the scanner does not know its way, or without
// one, all of the file is taken apart in memory.
func (l *Loader) gather(ctx context.Context, s *archive.Scanner, path string, g *gathering) {
	if s != nil && !l.DecodeAll {
		one, err := l.open(ctx, s, path)
		switch {
		case err == nil:
			l.Progress.done(one.records())
			g.join(one)
			return
		case ctx.Err() != nil:
			return
		case !errors.Is(err, archive.ErrOdd):
			g.errs = append(g.errs, fmt.Errorf("%s: cannot be read: %w", path, err))
			return
		}
	}
	all, err := l.file(path)
	if err != nil {
		g.errs = append(g.errs, err)
	}
	one := l.all(path, all)
	l.Progress.done(one.records())
	g.join(one)
}

// all takes every delivery of a file.
func (l *Loader) all(path string, deliveries []Delivery) (g gathering) {
	before := time.Time{}
	for i, d := range deliveries {
		g.add(l, found{d, before, path, i})
		if !d.Change.At.IsZero() {
			before = d.Change.At
		}
	}
	return g
}

func (l *Loader) open(ctx context.Context, s *archive.Scanner, path string) (one gathering, err error) {
	f, err := os.Open(path)
	if err != nil {
		return one, err
	}
	defer f.Close()
	in := &counter{ctx: ctx, Reader: f, progress: l.Progress}
	defer func() {
		if err != nil {
			in.again()
		}
	}()
	s.Lines = false
	if one, err = l.scan(s, in, path); errors.Is(err, archive.ErrSeveral) {
		if _, err = f.Seek(0, io.SeekStart); err != nil {
			return one, err
		}
		in.again()
		s.Lines = true
		one, err = l.scan(s, in, path)
	}
	return one, err
}

// scan takes those deliveries that the scanner hands over. The error is
// archive.ErrOdd, or the reader's; with it nothing of the rest counts.
func (l *Loader) scan(s *archive.Scanner, in io.Reader, path string) (one gathering, err error) {
	var odd error
	order := 0
	early, late, err := s.Scan(in, func(u trail.Unit, before time.Time) (at time.Time) {
		for _, d := range unit(path, u) {
			if d.Err != nil && (strings.Contains(u.Place, "Records[") || !jsontext.Value(u.Raw).IsValid()) {
				odd = archive.ErrOdd // where it begins and ends is not sure
			}
			if !d.Change.At.IsZero() {
				at = d.Change.At
			}
			one.add(l, found{d, before, path, order})
			order++
		}
		return at
	})
	one.early.Join(early)
	one.late.Join(late)
	return one, errors.Join(err, odd)
}

// add keeps what can matter and counts what cannot.
func (g *gathering) add(l *Loader, f found) {
	if !f.Change.At.IsZero() {
		f.at = f.Change.At
	}
	switch {
	case f.Err != nil || !f.Arrives.IsZero() || f.Change.At.IsZero() || !l.irrelevant(f.Change):
		g.found = append(g.found, f)
	case !l.Until.IsZero() && f.at.After(l.Until):
		g.late.Add(f.at)
	default:
		g.early.Add(f.at)
	}
}

// irrelevant reports whether a change cannot matter to an account in which
// these resources are guarded.
func (l *Loader) irrelevant(c mfa.Change) bool {
	switch c.Kind {
	case mfa.NotRelevant:
		return c.Role == ""
	case mfa.GuardChanged:
		var h mfa.House
		if l.Account != nil {
			h = l.Account.House()
		}
		d, _ := mfa.Screen(h, c)
		return d.Reason == mfa.Irrelevant
	default:
		return false
	}
}

// deliveries are in the order of their time. Of those that are not relevant
// there are the first and the last: when there is nothing to be done, that there
// was something makes no difference but to the counts.
func (g *gathering) deliveries() []Delivery {
	for _, p := range []archive.Passed{g.early, g.late} {
		if p.Count > 0 {
			g.found = append(g.found, found{at: p.First, Delivery: Delivery{Change: mfa.Change{Kind: mfa.NotRelevant, At: p.First}, Others: max(p.Count-2, 0)}})
		}
		if p.Count > 1 {
			g.found = append(g.found, found{at: p.Last, Delivery: Delivery{Change: mfa.Change{Kind: mfa.NotRelevant, At: p.Last}}})
		}
	}
	slices.SortStableFunc(g.found, func(a, b found) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.path, b.path), cmp.Compare(a.order, b.order))
	})
	out := make([]Delivery, len(g.found))
	for i := range g.found {
		out[i] = g.found[i].Delivery
	}
	return out
}

// records counts what a file holds.
func (g *gathering) records() int { return len(g.found) + g.early.Count + g.late.Count }

// counter counts what is read, and reads until the context ends.
type counter struct {
	ctx context.Context
	io.Reader
	progress *Progress
	n        int64
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	c.progress.read(int64(n))
	return n, err
}

// again takes back what was counted: the file is read once more.
func (c *counter) again() {
	c.progress.read(-c.n)
	c.n = 0
}
