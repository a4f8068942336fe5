package story

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
)

var update = flag.Bool("update", false, "write the golden files anew")

func reportOf(t *testing.T, scenario string) *Report {
	t.Helper()
	var l replay.Loader
	all, err := l.Load([]string{filepath.Join("../../events", scenario)})
	if err != nil {
		t.Fatal(err)
	}
	r := &Report{Story: Story{Names: map[mfa.Sub]string{}}, Expected: true}
	for _, u := range all[0].Account.Users {
		r.Story.Names[u.Sub] = u.Username
	}
	if r.Result, err = replay.Run(t.Context(), all[0], replay.Options{Told: r.Story.Tell}); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestStoriesReadAsTheGoldenFilesSay tells scenarios that use most of the words.
func TestStoriesReadAsTheGoldenFilesSay(t *testing.T) {
	for _, name := range []string{
		"attacker-token-enable-first", "justification-used-before", "mass-disable-300", "observe-mode",
		"off-and-on-in-a-minute-seen-late", "schedule-deleted", "token-deleted-then-user-enrols", "unreadable-among-good",
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			r, paper := reportOf(t, name), &Paper{W: &out}
			r.Tell(paper, name == "schedule-deleted")
			r.Line(paper, len(name))
			if paper.Err() != nil {
				t.Fatal(paper.Err())
			}
			golden(t, name, out.Bytes())
		})
	}
}

// golden compares a text with the file of that name in testdata.
func golden(t *testing.T, name string, text []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("-golden +got (-update writes it anew):\n%s", diff)
	}
}

func TestWhatIsUnmetIsShownAsADiff(t *testing.T) {
	var out bytes.Buffer
	r := reportOf(t, "failed-call")
	r.Unmet = []replay.Unmet{{Where: "timers", Diff: []string{"- 1", "+ 0"}}}
	r.Line(&Paper{W: &out, ASCII: true}, 12)
	want := "FAIL failed-call   no alert                                no override, call_failed\n    timers (- wanted, + came)\n      - 1\n      + 0\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRecordedValuesCannotMoveTheCursor(t *testing.T) {
	for value, want := range map[string]string{
		"\x1b[2Jops":       "[2Jops",
		"a\u202eb":         "ab", // turns the direction of the text
		"a\u009b31mb\x07":  "a31mb",
		"two\nlines":       "two lines",
		"Zoë–李 …":          "Zoë–李 …",
		"\u200bzero\u2066": "zero",
	} {
		if got := clean(value); got != want {
			t.Errorf("clean(%q) = %q, want %q", value, got, want)
		}
	}
	if got := Clean("a\nb\x1b"); got != "a\nb" || strings.Contains(got, "\x1b") {
		t.Errorf("Clean keeps %q", got)
	}
}
