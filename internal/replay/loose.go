package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	runs  []span // those of them that were too many to be held, in runs on the shelf
	// arriving: one says when it arrives. Then the order is not that of their
	// times, and all are held.
	arriving bool
	early    archive.Passed
	late     archive.Passed // after Loader.Until
	errs     []error
	skipped  map[Skip]int
	records  int // of one file, for Progress
}

// loose reads the files that belong to no scenario, several at a time: files,
// trees of files and "-".
func (l *Loader) loose(ctx context.Context, paths []string) (Scenario, error) {
	var all gathering
	var mu sync.Mutex
	var readers sync.WaitGroup
	inputs := make(chan input, 64)
	for range runtime.GOMAXPROCS(0) {
		readers.Go(func() {
			var g gathering
			s := &archive.Scanner{Until: l.Until, Guard: l.Account != nil && len(l.Account.Guard) > 0}
			for in := range inputs {
				l.gather(ctx, s, in, &g)
			}
			mu.Lock()
			defer mu.Unlock()
			all.join(l, g)
		})
	}
	var listed gathering
	err := l.list(ctx, paths, inputs, &listed)
	close(inputs)
	readers.Wait()
	all.join(l, listed)
	slices.SortFunc(all.errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	s := Scenario{Account: l.Account, Skipped: all.skipped}
	s.Deliveries, s.spilled = all.deliveries(l)
	if s.spilled == nil {
		err = errors.Join(err, l.shelf.failed())
	}
	return s, errors.Join(append(all.errs, err)...)
}

func (g *gathering) join(l *Loader, o gathering) {
	g.found, g.runs, g.errs = append(g.found, o.found...), append(g.runs, o.runs...), append(g.errs, o.errs...)
	g.arriving = g.arriving || o.arriving
	g.early.Join(o.early)
	g.late.Join(o.late)
	for why, n := range o.skipped {
		g.skip(why, n)
	}
	g.spill(l)
}

func (g *gathering) skip(why Skip, n int) {
	if g.skipped == nil {
		g.skipped = map[Skip]int{}
	}
	g.skipped[why] += n
}

// unread tells of what could not be read.
func (g *gathering) unread(path string, why Skip, err error) {
	what := "read"
	if why == Unlisted {
		what = "listed"
	}
	g.errs = append(g.errs, fmt.Errorf("%s: cannot be %s: %w", path, what, err))
	g.skip(why, 1)
}

// heldAtOnce is how many deliveries all readers together hold before they put
// them on the shelf, of which atOnce are not too many for any; each takes about 1 KB.
const heldAtOnce, atOnce = 4 << 10, 512

// spill puts what is found on the shelf, if it is too much to be held.
func (g *gathering) spill(l *Loader) {
	if len(g.found) > cmp.Or(l.hold, max(heldAtOnce/runtime.GOMAXPROCS(0), atOnce)) && !g.arriving {
		g.put(l)
	}
}

func (g *gathering) put(l *Loader) {
	slices.SortFunc(g.found, func(a, b found) int { return compare(&a, &b) })
	g.runs = append(g.runs, l.shelf.put(g.found))
	clear(g.found)
	g.found = g.found[:0]
}

// list sends on the files that the paths name.
func (l *Loader) list(ctx context.Context, paths []string, inputs chan<- input, g *gathering) error {
	for _, path := range paths {
		some, unlisted := false, len(g.errs)
		var err error
		if inS3(path) {
			some, err = l.objects(ctx, path, inputs, g)
		} else if info, statErr := os.Stat(path); path == "-" || statErr != nil || !info.IsDir() {
			some = true
			inputs <- l.local(ctx, path)
		} else {
			err = l.Filter.Walk(ctx, path, func(path string, kind fs.FileMode) {
				switch {
				case !taken(filepath.Base(path)):
				case endless(path, kind):
					g.unread(path, Unreadable, errors.New("it is no file"))
				default:
					some = true
					inputs <- l.local(ctx, path)
				}
			}, func(dir string, err error) { g.unread(dir, Unlisted, err) })
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			g.errs = append(g.errs, err)
		case some || len(g.errs) > unlisted:
		case l.Filter.Empty():
			g.errs = append(g.errs, fmt.Errorf("%s: no deliveries in this folder: it has no .json, .jsonl or .ndjson file, plain or .gz", path))
		default:
			g.errs = append(g.errs, fmt.Errorf("%s: no deliveries in this folder that are of these days, Regions and accounts", path))
		}
	}
	return nil
}

// endless reports whether what is in a folder is a pipe or the like, which nobody
// may ever write to.
func endless(path string, kind fs.FileMode) bool {
	if kind == fs.ModeSymlink {
		if info, err := os.Stat(path); err == nil {
			kind = info.Mode().Type()
		}
	}
	return kind&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeDevice) != 0
}

func inS3(path string) bool { return strings.HasPrefix(path, "s3://") }

// objects sends on what is in S3; some reports whether there was something.
func (l *Loader) objects(ctx context.Context, path string, inputs chan<- input, g *gathering) (some bool, err error) {
	if l.S3 == nil {
		return false, fmt.Errorf("%s: S3 cannot be read here", path)
	}
	var mu sync.Mutex
	err = l.S3(ctx, path, func(address string, folder bool) bool {
		return address == path || (folder || taken(address[strings.LastIndexByte(address, '/')+1:])) &&
			(!folder && l.Filter.Empty() || l.Filter.Takes(address))
	}, func(address string, f File) {
		mu.Lock()
		some = true
		mu.Unlock()
		inputs <- input{address, func() (File, error) { return f, nil }}
	}, func(address string, folder bool, err error) {
		why := Unreadable
		if folder {
			why = Unlisted
		}
		mu.Lock()
		defer mu.Unlock()
		g.unread(address, why, err)
	})
	return some, err
}

// gather reads one file. Where the scanner does not know its way, or is not to be
// used, the file is taken apart in memory.
func (l *Loader) gather(ctx context.Context, s *archive.Scanner, in input, g *gathering) {
	f, err := in.open()
	if err == nil {
		defer f.Close()
		if ctx.Err() != nil || l.shelf.failed() != nil { // which Run tells
			return
		}
		var one gathering
		if one, err = l.open(ctx, s, f, in.path); err == nil {
			l.Progress.done(one.records)
			g.join(l, one)
			return
		}
	}
	if ctx.Err() == nil {
		g.unread(in.path, Unreadable, err)
	}
}

// open reads one file that is open.
func (l *Loader) open(ctx context.Context, s *archive.Scanner, f File, path string) (one gathering, err error) {
	if l.DecodeAll {
		return l.all(ctx, f, path)
	}
	in := &counter{lasting: lasting{ctx: ctx, Reader: f}, progress: l.Progress}
	s.Lines = false
	if one, err = l.scan(s, in, path); errors.Is(err, archive.ErrSeveral) {
		if _, err = f.Seek(0, io.SeekStart); err != nil {
			return one, err
		}
		in.again()
		s.Lines = true
		one, err = l.scan(s, in, path)
	}
	if errors.Is(err, archive.ErrOdd) {
		in.again()
		return l.all(ctx, f, path)
	}
	return one, err
}

// all takes every delivery of a file.
func (l *Loader) all(ctx context.Context, f File, path string) (one gathering, err error) {
	before, order := time.Time{}, 0
	err = l.file(ctx, path, f, func(d Delivery) {
		one.add(l, found{d, before, path, order})
		order++
		if !d.Change.At.IsZero() {
			before = d.Change.At
		}
	}, func(why Skip) { one.skip(why, 1) })
	l.Progress.whole(f)
	one.records = order
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
	one.records = order + early.Count + late.Count
	return one, errors.Join(err, odd)
}

// add keeps what can matter and counts what cannot.
func (g *gathering) add(l *Loader, f found) {
	if !f.Change.At.IsZero() {
		f.at = f.Change.At
	}
	switch {
	case f.Err != nil || !f.Arrives.IsZero() || f.Change.At.IsZero() || !l.irrelevant(f.Change):
		g.arriving = g.arriving || !f.Arrives.IsZero()
		g.found = append(g.found, f)
		g.spill(l)
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

// deliveries are in the order of their time: as they are, or on the shelf. Of those
// that are not relevant there are the first and the last: when there is nothing to
// be done, that there was something makes no difference but to the counts.
func (g *gathering) deliveries(l *Loader) ([]Delivery, *spill) {
	for _, p := range []archive.Passed{g.early, g.late} {
		if p.Count > 0 {
			g.found = append(g.found, found{at: p.First, Delivery: Delivery{Change: mfa.Change{Kind: mfa.NotRelevant, At: p.First}, Others: max(p.Count-2, 0)}})
		}
		if p.Count > 1 {
			g.found = append(g.found, found{at: p.Last, Delivery: Delivery{Change: mfa.Change{Kind: mfa.NotRelevant, At: p.Last}}})
		}
	}
	spilled := &spill{&l.shelf, g.runs}
	if len(g.runs) > 0 && !g.arriving {
		g.put(l)
		spilled.runs = g.runs
		return nil, spilled
	}
	for f := range spilled.each() {
		g.found = append(g.found, f)
	}
	slices.SortFunc(g.found, func(a, b found) int { return compare(&a, &b) })
	out := make([]Delivery, len(g.found))
	for i := range g.found {
		out[i] = g.found[i].Delivery
	}
	return out, nil
}

// lasting reads until the context ends, and remembers why it could not.
type lasting struct {
	ctx context.Context
	io.Reader
	err error
}

func (l *lasting) Read(p []byte) (n int, err error) {
	if l.err == nil {
		l.err = l.ctx.Err()
	}
	if l.err != nil {
		return 0, l.err
	}
	n, err = l.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = err
	}
	return n, err
}

// counter counts what is read.
type counter struct {
	lasting

	progress *Progress
	n        int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.lasting.Read(p)
	c.n += int64(n)
	c.progress.read(int64(n))
	return n, err
}

// again takes back what was counted: the file is read once more.
func (c *counter) again() {
	c.progress.read(-c.n)
	c.n = 0
}
