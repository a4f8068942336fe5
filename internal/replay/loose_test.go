package replay

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/archive"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/trail"
)

// inputs are the files of the repository that hold deliveries, and the real ones
// beside it where they are.
func inputs(tb testing.TB) map[string][]byte {
	tb.Helper()
	all := map[string][]byte{}
	for _, root := range []string{"../../events", "../trail/testdata", "../../../shared/cloudtrail", "../../../shared/samples"} {
		here := os.DirFS(root)
		err := fs.WalkDir(here, ".", func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && strings.Contains(root, "shared") {
				tb.Logf("%s is not there", root)
				return nil
			}
			if err != nil || e.IsDir() || !taken(e.Name()) {
				return err
			}
			raw, err := fs.ReadFile(here, path)
			if bytes.HasPrefix(raw, magic) {
				raw = unzipped(tb, raw)
			}
			all[filepath.Join(root, path)] = raw
			return err
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return all
}

func unzipped(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		tb.Fatal(err)
	}
	raw, err = io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// deliveries are those of a text.
func deliveries(path string, raw []byte) []Delivery {
	var all []Delivery
	for u := range trail.Split(raw) {
		all = append(all, unit(path, u)...)
	}
	return all
}

// decoded are the deliveries of a text, each of them decoded.
func decoded(l *Loader, path string, text []byte) []Delivery {
	all, err := l.all(context.Background(), held{bytes.NewReader(text)}, path)
	if err != nil {
		panic(err) // cannot happen: it is in memory
	}
	out, _ := all.deliveries(l)
	return out
}

// both reads the text in both ways.
func both(l *Loader, text []byte) (sifted, whole []Delivery, err error) {
	s := &archive.Scanner{Until: l.Until, Guard: l.Account != nil && len(l.Account.Guard) > 0}
	one, err := l.scan(s, bytes.NewReader(text), "f")
	if errors.Is(err, archive.ErrSeveral) {
		s.Lines = true
		one, err = l.scan(s, bytes.NewReader(text), "f")
	}
	sifted, _ = one.deliveries(l)
	return sifted, decoded(l, "f", text), err
}

var asText = cmpopts.AcyclicTransformer("text", func(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
})

// loaders are those that make a difference to what can matter.
func loaders() map[string]*Loader {
	guard := &account.File{Guard: []string{"arn:aws:lambda:us-east-1:111122223333:function:relatch-audit", "arn:aws:cloudtrail:us-east-1:111122223333:trail/main"}}
	return map[string]*Loader{
		"inferred": {}, "guarded": {Account: guard},
		"until": {Until: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)},
	}
}

func TestBothWaysDecideTheSameOnEveryInputOfTheRepository(t *testing.T) {
	t.Parallel()
	for path, raw := range inputs(t) {
		for name, l := range loaders() {
			sifted, whole, err := both(l, raw)
			if errors.Is(err, archive.ErrOdd) {
				continue // it is read as a whole
			}
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if diff := cmp.Diff(whole, sifted, asText); diff != "" {
				t.Errorf("%s, %s (-decoded +sifted):\n%s", path, name, diff)
			}
		}
	}
}

func TestBothWaysDecideTheSameOnWellFormedMutations(t *testing.T) {
	t.Parallel()
	all := inputs(t)
	swift := 0
	for _, path := range slices.Sorted(maps.Keys(all)) {
		raw := all[path]
		units, sound := unitsOf(raw)
		if !sound || len(units) == 0 {
			continue
		}
		if len(units) > 25 {
			units = units[:25]
		}
		for seed := range uint64(3) {
			text := mutated(units, seed)
			for name, l := range loaders() {
				sifted, whole, err := both(l, text)
				if errors.Is(err, archive.ErrOdd) {
					continue
				}
				swift++
				if diff := cmp.Diff(whole, sifted, asText); diff != "" || err != nil {
					t.Fatalf("%s, %s, seed %d: %v (-decoded +sifted):\n%s", path, name, seed, err, diff)
				}
			}
		}
	}
	if swift < 400 {
		t.Errorf("only %d mutations were read by the scanner", swift)
	}
}

func FuzzBothWaysDecideTheSame(f *testing.F) {
	for _, raw := range inputs(f) {
		if len(raw) < 6<<10 {
			f.Add(raw, uint64(len(raw)))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64) {
		units, sound := unitsOf(raw)
		if !sound {
			return
		}
		for name, l := range loaders() {
			for _, text := range [][]byte{raw, mutated(units, seed)} {
				sifted, whole, err := both(l, text)
				if errors.Is(err, archive.ErrOdd) || slices.ContainsFunc(whole, func(d Delivery) bool { return d.Err != nil }) {
					continue
				}
				if diff := cmp.Diff(whole, sifted, asText); diff != "" || err != nil {
					t.Fatalf("%s: %v (-decoded +sifted):\n%s\n%s", name, err, diff, text[:min(len(text), 3000)])
				}
			}
		}
	})
}

// unitsOf takes a text apart; sound is false where not all of it is JSON.
func unitsOf(raw []byte) (units [][]byte, sound bool) {
	for u := range trail.Split(raw) {
		if u.Err != nil || !jsontext.Value(u.Raw).IsValid() {
			return nil, false
		}
		units = append(units, u.Raw)
	}
	return units, true
}

// mutated writes the units again as a log file or one per line: as they are, with
// spaces, with any white space, with members in another order, with letters of
// strings escaped.
func mutated(units [][]byte, seed uint64) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	m := &mutator{r: rand.New(rand.NewChaCha8(key))}
	m.spaces, m.shuffles, m.escapes = []int{0, 0, 1, 2}[m.r.IntN(4)], m.r.IntN(3) == 0, []int{0, 0, 200, 9}[m.r.IntN(4)]
	log := m.r.IntN(3) > 0
	if log {
		m.text(`{"Records":[`)
	}
	for i, u := range units {
		switch {
		case log && i > 0 && m.r.IntN(40) == 0: // several files behind each other
			m.text("]}")
			m.space()
			m.text(`{"Records":[`)
		case log && i > 0:
			m.text(",")
			m.space()
		case i > 0:
			m.text("\n")
		}
		m.value(u)
	}
	if log {
		m.text("]}")
	}
	return m.out
}

type mutator struct {
	r        *rand.Rand
	out      []byte
	spaces   int // 0: none, 1: one behind commas and colons, 2: any
	shuffles bool
	escapes  int // one of so many letters; 0: none
}

func (m *mutator) text(s string) { m.out = append(m.out, s...) }

func (m *mutator) space() {
	switch m.spaces {
	case 1:
		m.text(" ")
	case 2:
		m.text([]string{"", " ", "\n", "\t  ", "\r\n"}[m.r.IntN(5)])
	}
}

func (m *mutator) value(v jsontext.Value) {
	d := jsontext.NewDecoder(bytes.NewReader(v))
	switch v.Kind() {
	case '{':
		_, _ = d.ReadToken()
		var pairs [][2]jsontext.Value
		for d.PeekKind() != '}' {
			name, _ := d.ReadValue()
			name = name.Clone()
			value, _ := d.ReadValue()
			pairs = append(pairs, [2]jsontext.Value{name, value.Clone()})
		}
		if m.shuffles {
			m.r.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
		}
		m.text("{")
		for i, p := range pairs {
			if i > 0 {
				m.text(",")
				m.space()
			}
			m.value(p[0])
			m.text(":")
			m.space()
			m.value(p[1])
		}
		m.text("}")
	case '[':
		_, _ = d.ReadToken()
		m.text("[")
		for i := 0; d.PeekKind() != ']'; i++ {
			if i > 0 {
				m.text(",")
				m.space()
			}
			element, _ := d.ReadValue()
			m.value(element.Clone())
		}
		m.text("]")
	case '"':
		escaped := false
		for _, b := range bytes.TrimSpace(v) {
			if m.escapes > 0 && !escaped && (b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '{' || b == '}' || b == '.') && m.r.IntN(m.escapes) == 0 && !inEscape(m.out) {
				const hex = "0123456789abcdef"
				m.out = append(m.out, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
				continue
			}
			m.out = append(m.out, b)
			escaped = b == '\\' && !escaped
		}
	default:
		m.text(string(bytes.TrimSpace(v)))
	}
}

// inEscape reports whether the text ends within the digits of an escape.
func inEscape(text []byte) bool {
	for n := 2; n < 6 && n <= len(text); n++ {
		if tail := text[len(text)-n:]; tail[0] == '\\' && tail[1] == 'u' {
			return true
		}
	}
	return false
}

func TestAStringThatLooksLikeTheEndOfARecordEndsNone(t *testing.T) {
	t.Parallel()
	trap := `},{"eventVersion":"1.11","eventTime":"2026-11-23T08:00:00Z","eventSource":"s3.amazonaws.com","eventName":"X"},{`
	quoted, err := jsontext.AppendQuote(nil, trap)
	if err != nil {
		t.Fatal(err)
	}
	relevant := disableOf("a", nine)
	for _, extra := range []string{`"userAgent":` + string(quoted), `"userAgent":"}}}{"`, `"userAgent":"{{{"`, `"x":[{},` + relevant + `,{"eventVersion":"1.1"}]`, `"x":{"y":[` + relevant + `,{}]}`, `"userAgent":"\\","y":"{"`} {
		for _, record := range []string{
			strings.Replace(relevant, `"eventID"`, extra+`,"eventID"`, 1),
			strings.Replace(relevant, `"eventVersion":"1.11",`, `"eventVersion":"1.11","userIdentity":{"type":"A"},`+extra+`,`, 1),
			strings.Replace(strings.Replace(relevant, `"eventID"`, extra+`,"eventID"`, 1), "cognito-idp", "s3", 1),
		} {
			text := []byte(logOf(record, relevant, record, record, strings.Replace(relevant, "cognito-idp", "s3", 1), record))
			sifted, whole, err := both(&Loader{}, text)
			if diff := cmp.Diff(whole, sifted, asText); diff != "" || err != nil {
				t.Errorf("%s: %v (-decoded +sifted):\n%s", text, err, diff)
			}
		}
	}
}

func TestWhatWasReadBeforeTheContextEndedIsReturned(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for i := range 300 {
		files[fmt.Sprintf("%03d.json", i)] = logOf(disableOf(fmt.Sprint("e", i), nine))
	}
	dir := tree(t, files)
	ctx := &endsAfter{Context: t.Context()}
	ctx.looks.Store(300)
	all, err := new(Loader).LoadContext(ctx, []string{dir})
	if !errors.Is(err, context.Canceled) || len(all) != 1 {
		t.Fatalf("%d scenarios, error %v", len(all), err)
	}
	if n := len(all[0].Deliveries); n == 0 || n == len(files) {
		t.Errorf("%d deliveries of %d", n, len(files))
	}
}

// endsAfter is a context that ends once it has been looked at so often.
type endsAfter struct {
	context.Context

	looks atomic.Int64
}

func (c *endsAfter) Err() error {
	if c.looks.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

func TestRecordsThatAreNotRelevantAreCountedByTheirTime(t *testing.T) {
	t.Parallel()
	of := func(at string) string { return strings.Replace(disableOf("x", at), "cognito-idp", "s3", 1) }
	for _, all := range []bool{false, true} {
		dir := tree(t, map[string]string{"b.json": logOf(of(ten), of(nine), of(eight)), "a.json.gz": zipped(t, logOf(of(nine), disableOf("a", nine), of(nine)))})
		l := Loader{Until: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), DecodeAll: all}
		scenarios, err := l.Load([]string{dir})
		if err != nil {
			t.Fatal(err)
		}
		result, err := Run(t.Context(), scenarios[0], Options{Until: l.Until})
		if err != nil {
			t.Fatal(err)
		}
		if s := result.Summary; s.Events != 5 || s.Acted != 1 || s.Ignored[mfa.Irrelevant] != 4 || result.Left != 1 {
			t.Errorf("decoding all is %v: %+v, %d left", all, s, result.Left)
		}
	}
}

// One at a time or counted together: what is not relevant makes no difference to
// what is decided, and when.
func TestWhatIsNotRelevantMakesNoDifferenceButToTheCounts(t *testing.T) {
	t.Parallel()
	irrelevant := func(at time.Time) []byte {
		return []byte(strings.Replace(disableOf("x", at.Format(time.RFC3339)), "cognito-idp", "s3", 1))
	}
	tried := 0
	for path, raw := range inputs(t) {
		relevant := deliveries(path, raw)
		if len(relevant) == 0 || len(relevant) > 20 || relevant[0].Change.At.IsZero() || !relevant[0].Arrives.IsZero() {
			continue
		}
		tried++
		first := relevant[0].Change.At
		for name, l := range loaders() {
			l.Until = time.Time{}
			if name == "until" {
				l.Until = first.Add(50 * time.Hour)
			}
			text := slices.Clone(raw)
			for i := range 40 {
				text = append(append(text, '\n'), irrelevant(first.Add(time.Duration(i*i-3)*7*time.Minute))...)
			}
			var alone []Delivery
			for _, f := range ordered(deliveries("f", text)) {
				alone = append(alone, f.Delivery)
			}
			want := played(t, l, alone)
			if diff := cmp.Diff(want, played(t, l, decoded(l, "f", text))); diff != "" {
				t.Errorf("%s, %s (-one at a time +together):\n%s", path, name, diff)
			}
		}
	}
	if tried < 50 {
		t.Errorf("only %d inputs were tried", tried)
	}
}

// ordered are deliveries in the order of their time, none counted together.
func ordered(all []Delivery) []found {
	var out []found
	before := time.Time{}
	for i, d := range all {
		if !d.Change.At.IsZero() {
			before = d.Change.At
		}
		out = append(out, found{d, before, "f", i})
	}
	slices.SortFunc(out, func(a, b found) int { return compare(&a, &b) })
	return out
}

// played is what a replay comes to, but for the account, which has no text.
func played(t *testing.T, l *Loader, deliveries []Delivery) Result {
	t.Helper()
	r, err := Run(t.Context(), Scenario{Deliveries: deliveries, Account: l.Account}, Options{Until: l.Until})
	if err != nil {
		t.Fatal(err)
	}
	r.Account = nil
	return r
}
