package replay

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/trail"
)

// Delivery is one recorded delivery, read.
type Delivery struct {
	Place   string // file and place in it
	Change  mfa.Change
	Err     error     // why it could not be read
	Arrives time.Time // when it arrives, if it says so
}

// Scenario is what one replay starts from.
type Scenario struct {
	// Name is the folder's; empty for files that belong to no scenario.
	Name       string
	Deliveries []Delivery
	Account    *account.File // nil: inferred from the deliveries
	Expect     *Expect       // nil: nothing is expected
}

// Loader reads scenarios. Its zero value reads them as they are.
type Loader struct {
	// Account replaces every account.json, if not nil.
	Account *account.File
	// Stdin is what the path "-" stands for.
	Stdin io.Reader
	// Progress is told of every file read, if not nil.
	Progress func(files int, bytes int64)

	files int
	bytes int64
}

// Load reads what the paths name: a scenario's folder, a folder of scenarios, a
// folder of files, a file, or "-". Files that belong to no scenario make one
// together, the last. The error joins what could not be read; the scenarios are
// the rest. What a file holds is never in the error: a delivery that cannot be
// read is a Delivery with an Err.
func (l *Loader) Load(paths []string) ([]Scenario, error) {
	var all []Scenario
	var loose []Delivery
	var errs []error
	hasLoose := false
	for _, path := range paths {
		switch kind, err := l.kind(path); {
		case err != nil:
			errs = append(errs, err)
		case kind == aScenario:
			s, err := l.scenario(path)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			all = append(all, s)
		case kind == scenarios:
			folders, err := os.ReadDir(path)
			errs = append(errs, err)
			for _, f := range folders {
				dir := filepath.Join(path, f.Name())
				if kind, err := l.kind(dir); err != nil || kind != aScenario {
					continue // a file beside the scenarios, such as their README
				}
				s, err := l.scenario(dir)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				all = append(all, s)
			}
		default:
			hasLoose = true
			some, err := l.files1(path)
			loose = append(loose, some...)
			errs = append(errs, err)
		}
	}
	if hasLoose {
		all = append(all, Scenario{Deliveries: inTime(loose), Account: l.Account})
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

func (l *Loader) kind(path string) (pathKind, error) {
	if path == "-" {
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
	isScenario := func(dir string) bool {
		return exists(filepath.Join(dir, "account.json")) || exists(filepath.Join(dir, "expect.json"))
	}
	if isScenario(path) {
		return aScenario, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return 0, fmt.Errorf("%s: cannot be listed: %w", path, err)
	}
	for _, e := range entries {
		if e.IsDir() && isScenario(filepath.Join(path, e.Name())) {
			return scenarios, nil
		}
	}
	return someFiles, nil
}

// taken reports whether a file in a folder is one of deliveries.
func taken(name string) bool {
	name = strings.TrimSuffix(name, ".gz")
	return slices.Contains([]string{".json", ".jsonl", ".ndjson"}, filepath.Ext(name)) && name != "account.json" && name != "expect.json"
}

func (l *Loader) scenario(dir string) (Scenario, error) {
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
		if s.Expect, err = ParseExpect(raw); err != nil {
			return s, fmt.Errorf("%s: %w", path, err)
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
		some, err := l.file(filepath.Join(dir, e.Name()))
		if err != nil {
			return s, err
		}
		s.Deliveries = append(s.Deliveries, some...)
	}
	return s, nil
}

// ReadAccount reads an account.json.
func ReadAccount(path string) (account.File, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return account.File{}, err
	}
	f, err := account.ParseFile(raw)
	if err != nil {
		return account.File{}, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// files1 reads one path that belongs to no scenario: a file, a tree of files or "-".
func (l *Loader) files1(path string) ([]Delivery, error) {
	if info, err := os.Stat(path); path == "-" || err == nil && !info.IsDir() {
		return l.file(path)
	}
	var all []Delivery
	var errs []error
	found := false
	err := filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: cannot be listed: %w", name, err))
			return nil
		case e.IsDir() || !taken(e.Name()):
			return nil
		}
		found = true
		some, err := l.file(name)
		errs = append(errs, err)
		all = append(all, some...)
		return nil
	})
	errs = append(errs, err)
	if !found {
		errs = append(errs, fmt.Errorf("%s: no deliveries in this folder: it has no .json, .jsonl or .ndjson file, plain or .gz", path))
	}
	return all, errors.Join(errs...)
}

// file reads the deliveries of one file.
func (l *Loader) file(path string) ([]Delivery, error) {
	var raw []byte
	var err error
	if path == "-" {
		path = "standard input"
		raw, err = io.ReadAll(l.Stdin)
	} else {
		raw, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", path, err)
	}
	l.files, l.bytes = l.files+1, l.bytes+int64(len(raw))
	if l.Progress != nil {
		l.Progress(l.files, l.bytes)
	}
	broken := error(nil)
	if bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		raw, broken = gunzip(raw)
	}
	all := deliveries(path, raw)
	if broken != nil {
		// What was cut off shows in the JSON as well: one defect, one delivery.
		if n := len(all); n > 0 && all[n-1].Err != nil {
			all = all[:n-1]
		}
		all = append(all, Delivery{Place: path, Err: fmt.Errorf("gzip: %w; what comes before it is used", broken)})
	}
	return all, nil
}

func gunzip(raw []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return readAll(z)
}

// readAll returns what could be read, and the error if that is not all.
func readAll(r io.Reader) ([]byte, error) {
	var out bytes.Buffer
	_, err := out.ReadFrom(r)
	return out.Bytes(), err
}

// arriving is the wrapping that says when a delivery arrives.
type arriving struct {
	Arrives time.Time      `json:"arrives"`
	Event   jsontext.Value `json:"event"`
}

func deliveries(path string, raw []byte) []Delivery {
	var all []Delivery
	for u := range trail.Split(raw) {
		var wrapped arriving
		if u.Err == nil && bytes.Contains(u.Raw[:min(len(u.Raw), 200)], []byte(`"arrives"`)) &&
			json.Unmarshal(u.Raw, &wrapped, json.RejectUnknownMembers(true), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) == nil {
			for inner := range trail.Split(wrapped.Event) {
				inner.Place = u.Place
				all = append(all, delivery(path, inner, wrapped.Arrives.UTC()))
			}
			continue
		}
		all = append(all, delivery(path, u, time.Time{}))
	}
	return all
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

// inTime orders deliveries by eventTime. What has none stays behind the one
// that it came after.
func inTime(all []Delivery) []Delivery {
	last := time.Time{}
	at := make([]time.Time, len(all))
	order := make([]int, len(all))
	for i, d := range all {
		if !d.Change.At.IsZero() {
			last = d.Change.At
		}
		at[i], order[i] = last, i
	}
	slices.SortStableFunc(order, func(a, b int) int { return at[a].Compare(at[b]) })
	out := make([]Delivery, len(all))
	for i, j := range order {
		out[i] = all[j]
	}
	return out
}
