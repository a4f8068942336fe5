package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stackflow/relatch/internal/lambdatest"
)

func TestMain(m *testing.M) {
	if root := os.Getenv(alone); root != "" {
		if err := unpack(root); err != nil {
			panic(err)
		}
		return
	}
	testscript.Main(&tests{M: m}, map[string]func(){"relatch": main})
}

// tests runs the tests with a place for the functions that they compile.
type tests struct {
	*testing.M
	code int
}

func (r *tests) Run() int {
	lambdatest.Main(runner(func() int {
		r.code = r.M.Run()
		return r.code
	}))
	return r.code
}

type runner func() int

func (r runner) Run() int { return r() }

// TestScripts runs the command as a person does: testdata/script/*.txtar.
func TestScripts(t *testing.T) {
	events, err := filepath.Abs("../../events")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("EVENTS", events)
			e.Setenv("LANG", "C.UTF-8")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"gzip": gzipFile, "repeat": repeatText, "bytes": writeBytes, "spoil": spoilFile,
		},
	})
}

// gzipFile: gzip FROM TO [LENGTH] packs a file and keeps LENGTH bytes of the
// result, or leaves out as many from its end if LENGTH is negative.
func gzipFile(ts *testscript.TestScript, _ bool, args []string) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(z.Close())
	raw := out.Bytes()
	if len(args) > 2 {
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		if n < 0 {
			n += len(raw)
		}
		raw = raw[:n]
	}
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[1])), 0o700))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), raw, 0o600))
}

// spoilFile: spoil FROM TO writes a gzip file with a wrong checksum.
func spoilFile(ts *testscript.TestScript, _ bool, args []string) {
	raw := []byte(ts.ReadFile(args[0]))
	raw[len(raw)-8] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), raw, 0o600))
}

// repeatText: repeat FILE BEFORE PART N AFTER writes BEFORE, N times PART, AFTER.
func repeatText(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[3])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(args[1]+strings.Repeat(args[2], n)+args[4]), 0o600))
}

// writeBytes: bytes FILE TEXT writes TEXT with its Go escapes.
func writeBytes(ts *testscript.TestScript, _ bool, args []string) {
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(args[1], `"`, `\"`) + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// relatch runs the command in this process and returns what it said.
func relatch(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(context.Background(), args, terminal{
		in: strings.NewReader(""), out: &out, err: &err, now: time.Now, wait: wait,
		outIsTerminal: env["TERM"] != "", errIsTerminal: env["TERM"] != "",
		getenv: func(name string) string { return env[name] },
	})
	return code, out.String(), err.String()
}

func TestColourIsForTerminalsThatWantIt(t *testing.T) {
	const scenario = "../../events/unjustified-disable-of-required-role"
	for _, tt := range []struct {
		name  string
		env   map[string]string
		color bool
	}{
		{"a terminal", map[string]string{"TERM": "xterm"}, true},
		{"NO_COLOR", map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		{"a dumb terminal", map[string]string{"TERM": "dumb"}, false},
		{"a pipe", nil, false},
	} {
		_, out, _ := relatch(t, tt.env, "replay", scenario)
		if got := strings.Contains(out, "\x1b["); got != tt.color {
			t.Errorf("%s: coloured is %v, want %v", tt.name, got, tt.color)
		}
	}
}

func TestOutputIsASCIIWhereTheLocaleIsNotUTF8(t *testing.T) {
	for _, tt := range []struct {
		env   map[string]string
		ascii bool
	}{
		{map[string]string{"LANG": "C"}, true},
		{map[string]string{}, true},
		{map[string]string{"LANG": "C.UTF-8", "LC_ALL": "POSIX"}, true},
		{map[string]string{"LANG": "en_US.UTF-8"}, false},
		{map[string]string{"LANG": "C", "LC_CTYPE": "C.utf8"}, false},
	} {
		_, out, _ := relatch(t, tt.env, "replay", "../../events")
		ascii := !strings.ContainsFunc(out, func(r rune) bool { return r > 127 })
		if ascii != tt.ascii {
			t.Errorf("%v: plain ASCII is %v, want %v", tt.env, ascii, tt.ascii)
		}
	}
}

func TestReadingShowsProgressOnATerminal(t *testing.T) {
	drawn, waits := make(chan struct{}), 0
	var errs bytes.Buffer
	code := run(context.Background(), []string{"replay", "../../events/bare-record", "-"}, terminal{
		in: reader(func(p []byte) (int, error) {
			<-drawn
			return 0, io.EOF
		}),
		out: &bytes.Buffer{}, err: &errs, errIsTerminal: true, getenv: func(string) string { return "" }, now: time.Now,
		wait: func(ctx context.Context, _ time.Duration) error {
			if waits++; waits == 1 {
				return nil
			}
			close(drawn) // the line has been
			<-ctx.Done()
			return ctx.Err()
		},
	})
	if want := regexp.MustCompile(`^\r\x1b\[\?7l\d+\.\d+ kB read, \d+(\.\d+)? [kMG]B/s, \d records\x1b\[K\x1b\[\?7h\r\x1b\[Krelatch replay: standard input`); !want.MatchString(errs.String()) {
		t.Errorf("exit status %d, standard error %q", code, errs.String())
	}
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }
