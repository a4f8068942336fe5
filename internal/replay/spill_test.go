package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/archive"
	"github.com/stackflow/relatch/internal/trail"
)

// replayed is what a replay of files comes to.
func replayed(t *testing.T, l *Loader, paths ...string) Result {
	t.Helper()
	defer l.Close()
	all, err := l.Load(paths)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), all[len(all)-1], Options{Until: l.Until})
	if err != nil {
		t.Fatal(err)
	}
	r.Account = nil
	return r
}

func TestWhatIsTooMuchForMemoryIsDecidedOnInTheSameWay(t *testing.T) {
	t.Parallel()
	spilled := 0
	for path, raw := range inputs(t) {
		if !strings.Contains(path, "events") && len(raw) > 100<<10 {
			continue
		}
		dir := tree(t, map[string]string{"a.json": string(raw), "b.json": disableOf("b", nine)})
		for name, held := range loaders() {
			for _, all := range []bool{false, true} {
				if all && name != "inferred" {
					continue
				}
				few := &Loader{Account: held.Account, Until: held.Until, DecodeAll: all, hold: 1}
				want := replayed(t, &Loader{Account: held.Account, Until: held.Until, DecodeAll: all}, dir)
				if diff := cmp.Diff(want, replayed(t, few, dir)); diff != "" {
					t.Errorf("%s, %s (-held +spilled):\n%s", path, name, diff)
				}
				if few.shelf.end > 0 {
					spilled++
				}
			}
		}
	}
	if spilled < 150 {
		t.Errorf("only %d replays needed the temporary file", spilled)
	}
}

func TestADeliveryComesBackFromTheShelfAsItWas(t *testing.T) {
	t.Parallel()
	var s shelf
	defer s.close()
	var all []found
	for path, raw := range inputs(t) {
		if len(raw) > 100<<10 {
			continue
		}
		for i, d := range deliveries(path, raw) {
			all = append(all, found{d, d.Change.At, path, i})
		}
	}
	all = append(all, found{Delivery: Delivery{Place: "\xff", Err: errors.New("no end")}}, found{Delivery: Delivery{Err: &trail.Error{EventID: "e", Err: trail.ErrCutOff}}})
	slices.SortFunc(all, func(a, b found) int { return compare(&a, &b) })
	i := 0
	for got := range (&spill{&s, []span{s.put(all)}}).all() {
		want := all[i].Delivery
		want.Place = strings.ToValidUTF8(want.Place, "\ufffd")
		if got.Arrives = want.Arrives; !cmp.Equal(want, got, asText) { // one that says when it arrives is held
			t.Fatalf("%s (-want +got):\n%s", want.Place, cmp.Diff(want, got, asText))
		}
		id := func(err error) string {
			e, _ := errors.AsType[*trail.Error](err)
			if e == nil {
				return ""
			}
			return e.EventID
		}
		if id(got.Err) != id(want.Err) {
			t.Errorf("event %q, want %q", id(got.Err), id(want.Err))
		}
		i++
	}
	if i != len(all) || s.failed() != nil {
		t.Errorf("%d of %d came back; %v", i, len(all), s.failed())
	}
}

func TestNothingIsLeftInTheFolderForTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var s shelf
	s.put([]found{{at: time.Unix(0, 0)}})
	info, err := s.file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the file has mode %o", mode)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 && runtime.GOOS != "windows" {
		t.Errorf("while it is open there are %v, %v", left, err)
	}
	s.close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("afterwards there are %v, %v", left, err)
	}
}

func TestWithoutAPlaceForATemporaryFileAReplayThatNeedsOneFails(t *testing.T) {
	dir := tree(t, map[string]string{"a.json": disableOf("a", nine) + "\n" + disableOf("b", ten)})
	t.Setenv("TMPDIR", filepath.Join(dir, "nowhere"))
	l := &Loader{hold: 1}
	defer l.Close()
	all, err := l.Load([]string{filepath.Join(dir, "a.json")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), all[0], Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want %v", err, os.ErrNotExist)
	}
}

// The same records in other files, in another order within them, on another number
// of cores.
func TestTheOrderOfFilesAndWithinThemMakesNoDifference(t *testing.T) {
	var records []string
	for i := range 60 {
		at, id := []string{eight, nine, ten}[i%3], fmt.Sprintf("e-%02d", i*37%60)
		record := strings.Replace(disableOf(id, at), `"sub":"u1"`, fmt.Sprintf(`"sub":"u%d"`, i%7), 1)
		if i%2 == 0 {
			record = strings.Replace(record, `"softwareTokenMfaSettings":{}`, `"softwareTokenMfaSettings":{"enabled":true}`, 1)
		}
		if i%11 == 0 {
			record = strings.Replace(record, "cognito-idp", "s3", 1)
		}
		records = append(records, record)
	}
	var want Result
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 0))
		random.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		files := map[string]string{}
		for i := 0; i < len(records); {
			n := min(1+random.IntN(20), len(records)-i)
			files[fmt.Sprintf("%08x.json", random.Uint32())] = logOf(records[i : i+n]...)
			i += n
		}
		before := runtime.GOMAXPROCS(1 + int(seed%2))
		got := replayed(t, &Loader{hold: []int{0, 1, 7}[seed%3], DecodeAll: seed%4 == 3}, tree(t, files))
		runtime.GOMAXPROCS(before)
		if seed == 0 {
			want = got
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("seed %d (-first +this):\n%s", seed, diff)
		}
	}
	if want.Summary.Events != len(records) || want.Summary.Overrides.Opened == 0 {
		t.Errorf("%+v", want.Summary)
	}
}

// A text of several MB is taken apart piece by piece, as it is as a whole.
func TestALongTextIsTakenApartAsAWhole(t *testing.T) {
	t.Parallel()
	record := disableOf("a", nine)
	broken := record[:len(record)/2]
	for name, lines := range map[string][]string{
		"records":                    {record},
		"records with a broken line": {record, record, broken, record},
		"log files":                  {logOf(record, record)},
		"what comes in more lines":   {strings.ReplaceAll(logOf(record, record), ",", ",\n  ")},
		"a word now and then":        {record, record, "hello", record},
	} {
		var text bytes.Buffer
		for i := 0; text.Len() < 3*atLeast; i++ {
			text.WriteString(lines[i%len(lines)] + "\n")
		}
		compareTexts(t, name, text.Bytes())
	}
	compareTexts(t, "log files without a line's end", []byte(strings.Repeat(logOf(record, record), 3*atLeast/len(record))))
}

func compareTexts(t *testing.T, name string, text []byte) {
	t.Helper()
	var got []Delivery
	pieces := &taker{path: "f", take: func(d Delivery) { got = append(got, d) }}
	if err := pieces.text(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	want := deliveries("f", text)
	for i := range got {
		if i >= len(want) || got[i].Place != want[i].Place || got[i].Change.EventID != want[i].Change.EventID || fmt.Sprint(got[i].Err) != fmt.Sprint(want[i].Err) {
			t.Fatalf("%s: delivery %d is %+v", name, i, got[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d deliveries, want %d", name, len(got), len(want))
	}
}

func TestWhatCanBeReadOnlyOnceMayBeLong(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	for i := 0; text.Len() < 3*atHand; i++ {
		record := disableOf(fmt.Sprintf("e-%d", i), nine)
		if i > 0 {
			record = strings.Replace(record, "cognito-idp", "s3", 1)
		}
		text.WriteString(record)
		text.WriteByte('\n')
	}
	n := bytes.Count(text.Bytes(), []byte("\n"))
	for name, stdin := range map[string]string{"plain": text.String(), "packed": zipped(t, text.String()+some(2*atHand))} {
		r := replayed(t, &Loader{Stdin: strings.NewReader(stdin)}, "-")
		if s := r.Summary; s.Acted != 1 || s.Ignored["not_relevant"] != n-1 || s.Rejected != map[string]int{"plain": 0, "packed": 1}[name] {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// failing is a file whose second half cannot be read.
type failing struct{ held }

func (f failing) ReadAt(p []byte, at int64) (int, error) {
	if at >= f.Size()/2 {
		return 0, os.ErrPermission
	}
	return f.held.ReadAt(p[:min(int64(len(p)), f.Size()/2-at)], at)
}

func (f failing) Read(p []byte) (int, error) {
	at, _ := f.Seek(0, io.SeekCurrent)
	n, err := f.ReadAt(p, at)
	_, _ = f.Seek(int64(n), io.SeekCurrent)
	return n, err
}

func TestAFileThatCannotBeReadToItsEndIsNotCalledDamaged(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"packed": zipped(t, logOf(disableOf(some(9000), nine))), "plain": logOf(disableOf(some(9000), nine))} {
		for _, all := range []bool{false, true} {
			var g gathering
			l := &Loader{DecodeAll: all}
			l.gather(t.Context(), &archive.Scanner{}, input{"f.gz", func() (File, error) { return failing{held{bytes.NewReader([]byte(text))}}, nil }}, &g)
			if len(g.errs) != 1 || !errors.Is(g.errs[0], os.ErrPermission) || g.skipped[Unreadable] != 1 || len(g.found) > 0 {
				t.Errorf("%s, all of it %v: %v, %v, %v", name, all, g.errs, g.skipped, g.found)
			}
		}
	}
}
