package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/archive"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/trail"
)

// Delivery is one recorded delivery, read.
type Delivery struct {
	Place   string // file and place in it
	Change  mfa.Change
	Err     error     // why it could not be read
	Arrives time.Time // when it arrives, if it says so
	// Others is how many more this one stands for, which are not relevant and
	// come between it and the last one.
	Others int
}

// Scenario is what one replay starts from.
type Scenario struct {
	// Name is the folder's; empty for files that belong to no scenario.
	Name string
	// Deliveries are in the order in which they are looked at, but for those that
	// say when they arrive. None are here where there are too many to be held:
	// then only Run has them, until its Loader is closed.
	Deliveries []Delivery
	Account    *account.File // nil: inferred from the deliveries
	Expect     *Expect       // nil: nothing is expected
	// Skipped is how many files and folders were not read, and why.
	Skipped map[Skip]int

	spilled *spill // the deliveries instead, where there are too many to be held
}

// Loader reads scenarios. Its zero value reads them as they are.
type Loader struct {
	// Account replaces every account.json, if not nil.
	Account *account.File
	// Stdin is what the path "-" stands for.
	Stdin io.Reader
	// S3 walks what is under an s3:// path: every object that is taken is handed
	// over open, with its address, and for what cannot be listed (a folder) or read
	// broken is called, both by several goroutines at once. The error is the context's,
	// or that nothing can be asked of S3. Nil: such paths are errors.
	S3 func(ctx context.Context, path string, takes func(address string, folder bool) bool,
		object func(address string, f File), broken func(address string, folder bool, err error)) error
	// Filter leaves out files of archives by their paths.
	Filter archive.Filter
	// Until is the Options.Until of the replay.
	Until time.Time
	// DecodeAll reads every record as a whole, where otherwise those that
	// archive.Scanner passes over are only counted.
	DecodeAll bool
	// Progress counts what is read, if not nil.
	Progress *Progress

	shelf shelf
	hold  int // how many deliveries each reader holds; 0: so many that memory stays small
}

// Close lets go of the temporary file in which deliveries of its scenarios may
// lie; they cannot be run any more.
func (l *Loader) Close() { l.shelf.close() }

// Load reads what the paths name: a scenario's folder, a folder of scenarios, a
// folder of files, a file, or "-". Files that belong to no scenario make one
// together, the last. The error joins what could not be read; the scenarios are
// the rest. What a file holds is never in the error: a delivery that cannot be
// read is a Delivery with an Err.
//
// Records of files without a scenario that are not relevant are not told one by
// one: Delivery.Others counts them. So what is held is only what can matter.
func (l *Loader) Load(paths []string) ([]Scenario, error) {
	return l.LoadContext(context.Background(), paths)
}

// LoadContext is Load, and when the context ends it returns what it has read so
// far, with the context's error joined to the others.
func (l *Loader) LoadContext(ctx context.Context, paths []string) ([]Scenario, error) {
	var all []Scenario
	var loose []string
	var errs []error
	beside := func(path string) { loose = append(loose, path) }
	for _, path := range paths {
		switch kind, err := l.kind(path); {
		case err != nil:
			errs = append(errs, err)
		case kind == aScenario:
			s, err := l.scenario(ctx, path)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			all = append(all, s)
		case kind == scenarios:
			entries, err := os.ReadDir(path)
			errs = append(errs, err)
			for _, e := range entries {
				name := filepath.Join(path, e.Name())
				if !isScenario(name) {
					if hasDeliveries(name) {
						beside(name)
					}
					continue
				}
				s, err := l.scenario(ctx, name)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				all = append(all, s)
			}
		default:
			beside(path)
		}
	}
	if len(loose) > 0 {
		s, err := l.loose(ctx, loose)
		all = append(all, s)
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

type pathKind int

const (
	someFiles pathKind = iota
	aScenario
	scenarios
)

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func isScenario(dir string) bool {
	return exists(filepath.Join(dir, "account.json")) || exists(filepath.Join(dir, "expect.json"))
}

// hasDeliveries reports whether this is a file of deliveries, or a folder that
// has one somewhere.
func hasDeliveries(path string) bool {
	found := false
	// What cannot be listed is told by whoever reads it.
	_ = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() && taken(e.Name()) {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found
}

func (l *Loader) kind(path string) (pathKind, error) {
	if path == "-" || inS3(path) {
		return someFiles, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s: there is no such file or folder", path)
	}
	if err != nil {
		return 0, err
	}
	if !info.IsDir() {
		return someFiles, nil
	}
	if isScenario(path) {
		return aScenario, nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return someFiles, nil // whoever lists them tells
	}
	defer dir.Close()
	for {
		entries, err := dir.ReadDir(256) // there may be a hundred thousand
		for _, e := range entries {
			if e.IsDir() && isScenario(filepath.Join(path, e.Name())) {
				return scenarios, nil
			}
		}
		if err == io.EOF {
			return someFiles, nil
		}
		if err != nil {
			return 0, fmt.Errorf("%s: cannot be listed: %w", path, err)
		}
	}
}

// taken reports whether a file in a folder is one of deliveries. The digests that
// CloudTrail puts beside its log files are not.
func taken(name string) bool {
	if strings.Contains(name, "_CloudTrail-Digest_") {
		return false
	}
	name = strings.TrimSuffix(name, ".gz")
	return slices.Contains([]string{".json", ".jsonl", ".ndjson"}, filepath.Ext(name)) && name != "account.json" && name != "expect.json"
}

func (l *Loader) scenario(ctx context.Context, dir string) (Scenario, error) {
	s := Scenario{Name: filepath.Base(filepath.Clean(dir)), Account: l.Account}
	if abs, err := filepath.Abs(dir); err == nil {
		s.Name = filepath.Base(abs)
	}
	if path := filepath.Join(dir, "account.json"); s.Account == nil && exists(path) {
		f, err := ReadAccount(path)
		if err != nil {
			return s, err
		}
		s.Account = &f
	}
	if path := filepath.Join(dir, "expect.json"); exists(path) {
		raw, err := os.ReadFile(path)
		if err != nil {
			return s, err
		}
		if err = object(raw); err == nil {
			s.Expect, err = ParseExpect(raw)
		}
		if err != nil {
			return s, inFile(path, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return s, fmt.Errorf("%s: cannot be listed: %w", dir, err)
	}
	for _, e := range entries {
		if e.IsDir() || !taken(e.Name()) {
			continue
		}
		if err := l.recorded(ctx, filepath.Join(dir, e.Name()), &s); err != nil {
			return s, err
		}
	}
	return s, nil
}

// recorded reads a file of a scenario.
func (l *Loader) recorded(ctx context.Context, path string, s *Scenario) error {
	f, err := l.local(ctx, path).open()
	if err != nil {
		return fmt.Errorf("%s: cannot be read: %w", path, err)
	}
	defer f.Close()
	before := len(s.Deliveries)
	err = l.file(ctx, path, f, func(d Delivery) { s.Deliveries = append(s.Deliveries, d) }, func(why Skip) {
		if s.Skipped == nil {
			s.Skipped = map[Skip]int{}
		}
		s.Skipped[why]++
	})
	if err != nil {
		return fmt.Errorf("%s: cannot be read: %w", path, err)
	}
	l.Progress.whole(f)
	l.Progress.done(len(s.Deliveries) - before)
	return nil
}

// ReadAccount reads an account.json.
func ReadAccount(path string) (account.File, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return account.File{}, err
	}
	if err := object(raw); err != nil {
		return account.File{}, inFile(path, err)
	}
	f, err := account.ParseFile(raw)
	if err != nil {
		return account.File{}, inFile(path, err)
	}
	return f, nil
}

// object refuses what is no JSON object; null would read like an empty one.
func object(raw []byte) error {
	switch jsontext.Value(raw).Kind() {
	case '{':
		return nil
	case jsontext.KindInvalid:
		return errors.New("want a JSON object, which begins with {")
	default:
		return fmt.Errorf("want a JSON object, have %.60s", bytes.TrimSpace(raw))
	}
}

// inFile says of each problem in which file it is.
func inFile(path string, err error) error {
	var several interface{ Unwrap() []error }
	if !errors.As(err, &several) {
		return fmt.Errorf("%s: %w", path, trail.Plain(err))
	}
	var all []error
	for _, err := range several.Unwrap() {
		all = append(all, inFile(path, err))
	}
	return errors.Join(all...)
}

func unit(path string, u trail.Unit) []Delivery {
	if u.Err == nil && bytes.Contains(u.Raw, []byte(`"arrives"`)) {
		if some, ok := wrapped(path, u); ok {
			return some
		}
	}
	return []Delivery{delivery(path, u, time.Time{})}
}

// wrapped reads {"arrives":"…Z","event":{…}}, which says when a delivery, or a
// file of them, arrives. ok is false if u is something else.
func wrapped(path string, u trail.Unit) (all []Delivery, ok bool) {
	var fields map[string]jsontext.Value
	broken := json.Unmarshal(u.Raw, &fields, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	arrives, ok := fields["arrives"]
	if !ok {
		return nil, false
	}
	var at time.Time
	if err := json.Unmarshal(arrives, &at); err != nil || at.Year() < 2000 || at.Year() > 2999 {
		return unread(path, u, fmt.Errorf("arrives: %.60s is no time such as \"2026-11-23T08:00:00Z\"", arrives)), true
	}
	at = at.UTC()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if name != "arrives" && name != "event" {
			return unread(path, u, fmt.Errorf("%.60s: is no known field beside arrives; there is only event", name)), true
		}
	}
	event := fields["event"]
	switch {
	case broken != nil:
		return []Delivery{delivery(path, u, at)}, true // which says what is wrong
	case event == nil:
		return unread(path, u, errors.New("event: is missing beside arrives")), true
	}
	for inner := range trail.Split(event) {
		if strings.HasPrefix(inner.Place, "line ") {
			inner.Place = u.Place
		} else {
			inner.Place = u.Place + ": " + inner.Place
		}
		all = append(all, delivery(path, inner, at))
	}
	return all, true
}

func unread(path string, u trail.Unit, err error) []Delivery {
	u.Err = errors.New(strings.ToValidUTF8(err.Error(), "\ufffd"))
	return []Delivery{delivery(path, u, time.Time{})}
}

func delivery(path string, u trail.Unit, arrives time.Time) Delivery {
	d := Delivery{Place: path, Arrives: arrives, Err: u.Err}
	if u.Place != "" {
		d.Place += ": " + u.Place
	}
	if d.Err == nil {
		d.Change, d.Err = trail.Parse(u.Raw)
	}
	return d
}
