package report_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
	"github.com/stackflow/relatch/internal/report"
	"github.com/stackflow/relatch/internal/worker"
)

var update = flag.Bool("update", false, "write the golden files anew")

var start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// ran is a scenario and what came of it.
type ran struct {
	replay.Scenario
	replay.Result
}

// run replays scenarios; without names all of them.
func run(t testing.TB, names ...string) []ran {
	t.Helper()
	scenarios, err := (&replay.Loader{}).Load([]string{"../../events"})
	if err != nil {
		t.Fatal(err)
	}
	var all []ran
	for _, s := range scenarios {
		if len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		result, err := replay.Run(t.Context(), s, replay.Options{Start: start})
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		all = append(all, ran{s, result})
	}
	if len(names) > 0 && len(all) != len(names) {
		t.Fatalf("found %d of the %d scenarios", len(all), len(names))
	}
	return all
}

// build reports on the records, one ledger for each scenario.
func build(t testing.TB, all []ran, p report.Period, facts report.Facts) report.Report {
	t.Helper()
	var b report.Builder
	for _, s := range all {
		for _, r := range s.Records {
			b.Add(s.Scenario.Name, r)
		}
	}
	r, err := b.Report(t.Context(), p, time.Time{}, facts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheReportOfAReplayEqualsItsRecords(t *testing.T) {
	checked := 0
	for _, s := range run(t) {
		got := build(t, []ran{s}, report.Period{}, nil)
		want := map[mfa.End]int{
			mfa.Restored: s.Summary.Overrides.Restored, mfa.Reenabled: s.Summary.Overrides.Reenabled,
			mfa.Reenrolled: s.Summary.Overrides.Reenrolled, mfa.Gone: s.Summary.Overrides.Gone,
			report.Unrestorable: s.Summary.Overrides.Unrestorable, report.StillOpen: s.Summary.Overrides.Open,
		}
		if diff := cmp.Diff(want, got.Sums.Ended); diff != "" || got.Sums.Opened != s.Summary.Overrides.Opened {
			t.Errorf("%s: opened %d, -summary +report:\n%s", s.Scenario.Name, got.Sums.Opened, diff)
		}
		for i := range got.All {
			checked += equalsStanding(t, s, &got.All[i])
		}
	}
	if checked < 100 {
		t.Errorf("only %d overrides were compared", checked)
	}
}

// equalsStanding holds an override against the standing of its journal, and
// reports how many it compared: the standing forgets those long past.
func equalsStanding(t *testing.T, s ran, got *report.Override) int {
	t.Helper()
	loaded, err := s.Result.Account.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(got.User.Pool, got.User.Sub)})
	if err != nil {
		t.Fatal(err)
	}
	want := *got
	if o := loaded.Standing.Override; o != nil && o.ID == got.ID {
		want.OpenedAt, want.Deadline, want.ClosedAt = o.OpenedAt, o.Deadline, time.Time{}
		want.Actor, want.ActorType, want.Factors, want.Justified, want.Failed = o.Actor.ARN, o.Actor.Type, o.Taken, o.Match.Justified(), o.Match.Failed
	} else if i := slices.IndexFunc(loaded.Standing.Past, func(p mfa.Past) bool { return p.ID == got.ID }); i >= 0 {
		o := loaded.Standing.Past[i]
		want.OpenedAt, want.Deadline, want.Justified = o.OpenedAt, o.Deadline, o.Justification != ""
		if !got.Brief { // when a brief one ended is not known
			want.ClosedAt = o.ClosedAt
		}
		if o.Required && len(loaded.Standing.Past) == 1 && !got.Brief && !got.Required {
			t.Errorf("%s: %s is not told to be of a required role", s.Scenario.Name, got.ID)
		}
	} else {
		return 0
	}
	want.Seconds = got.Seconds
	if !want.ClosedAt.IsZero() {
		want.Seconds = int64(want.ClosedAt.Sub(want.OpenedAt) / time.Second)
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("%s: -standing +report:\n%s", s.Scenario.Name, diff)
	}
	return 1
}

func TestTheOrderOfJournalsDoesNotMatter(t *testing.T) {
	all := run(t, month...)
	want := build(t, all, report.Period{}, nil)
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		left := make([][]mfa.Record, len(all))
		for i, s := range all {
			left[i] = s.Records
			if rapid.Bool().Draw(t, "twice") { // as two exports that overlap have it
				left[i] = slices.Concat(s.Records, s.Records)
			}
		}
		var b report.Builder
		for range 100_000 {
			i := random.IntN(len(left))
			if len(left[i]) > 0 {
				b.Add(all[i].Scenario.Name, left[i][0])
				left[i] = left[i][1:]
			}
		}
		got, err := b.Report(context.Background(), report.Period{}, time.Time{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-in order +mixed:\n%s", diff)
		}
	})
}

func TestAnEndByTheTimersMinuteIsNotLate(t *testing.T) {
	opened := time.Date(2026, 11, 23, 3, 12, 4, 0, time.UTC)
	deadline := opened.Add(24 * time.Hour)
	for after, want := range map[time.Duration]int64{
		-time.Hour: 0, 0: 0, time.Second: 0, 56 * time.Second: 0, 57 * time.Second: 57, 10 * time.Minute: 600, 24 * time.Hour: 86400,
	} {
		var b report.Builder
		o := mfa.RecordOverride{ID: "O-1", OpenedAt: opened, Deadline: deadline, Closed: mfa.Restored}
		b.Add("", mfa.Record{At: deadline.Add(after), User: &mfa.RecordUser{Pool: "p", Sub: "s"}, Override: &o})
		r, err := b.Report(t.Context(), report.Period{}, time.Time{}, nil)
		if err != nil || r.All[0].LateSeconds != want || r.Sums.LatestSeconds != want {
			t.Errorf("%s after the deadline is %d s late, want %d (%v)", after, r.All[0].LateSeconds, want, err)
		}
	}
}

func TestAnOverrideBelongsToEveryPeriodInWhichItWasOpen(t *testing.T) {
	all := run(t, "disable-by-console") // 23 Nov 06:00:21 to 24 Nov 06:01:00
	at := func(day, hour, minute, second int) time.Time {
		return time.Date(2026, 11, day, hour, minute, second, 0, time.UTC)
	}
	for _, tt := range []struct {
		name           string
		from, to       time.Time
		inside, opened int
	}{
		{"without limits", time.Time{}, time.Time{}, 1, 1},
		{"all of it", at(23, 0, 0, 0), at(25, 0, 0, 0), 1, 1},
		{"its beginning", at(23, 0, 0, 0), at(23, 6, 0, 22), 1, 1},
		{"until just before", at(23, 0, 0, 0), at(23, 6, 0, 21), 0, 0},
		{"its end", at(24, 6, 0, 59), at(25, 0, 0, 0), 1, 0},
		{"from its end on", at(24, 6, 1, 0), time.Time{}, 0, 0},
		{"the middle", at(23, 12, 0, 0), at(23, 13, 0, 0), 1, 0},
		{"from its beginning", at(23, 6, 0, 21), at(23, 7, 0, 0), 1, 1},
	} {
		s := build(t, all, report.Period{From: tt.from, To: tt.to}, nil).Sums
		if s.Overrides != tt.inside || s.Opened != tt.opened {
			t.Errorf("%s: %d overrides, %d opened", tt.name, s.Overrides, s.Opened)
		}
	}
}

// month are scenarios whose users and ends differ.
var month = []string{
	"attacker-token-switched-on", "cognito-refuses-a-quiet-override", "disable-by-console", "disabled-again-at-hour-23",
	"justification-used-before", "late-26-hours-still-off", "new-phone-of-optional-role-user", "observe-mode",
	"off-and-on-in-a-minute-seen-late", "self-service-disable-without-pool-id", "user-deleted-meanwhile",
}

// facts are those of the scenarios' accounts.
type facts []ran

func (f facts) Person(_ context.Context, u mfa.RecordUser) (mfa.User, error) {
	for _, s := range f {
		if i := slices.IndexFunc(s.Scenario.Account.Users, func(x account.UserFile) bool { return x.Sub == u.Sub }); i >= 0 {
			return mfa.User{Username: s.Scenario.Account.Users[i].Username, Roles: s.Scenario.Account.Users[i].Roles}, nil
		}
	}
	return mfa.User{}, nil
}

func (f facts) Justification(_ context.Context, o report.Override) (*mfa.Justification, error) {
	for _, s := range f {
		all, err := s.Result.Account.Justifications(context.Background(), o.User.Pool, o.User.Sub)
		if err != nil || len(all) > 0 {
			return &all[0], err
		}
	}
	return nil, nil
}

func november(t testing.TB) report.Report {
	t.Helper()
	all := run(t, month...)
	return build(t, all, report.Period{From: start, To: start.AddDate(0, 1, 0)}, facts(all))
}

func TestAMonthReadsAsTheGoldenFilesSay(t *testing.T) {
	r := november(t)
	for name, write := range map[string]func(io.Writer) error{"txt": r.Text, "json": r.JSON, "csv": r.CSV, "html": r.HTML} {
		var out strings.Builder
		if err := write(&out); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "month."+name)
		if *update {
			if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), out.String()); diff != "" {
			t.Errorf("%s (-golden +got; -update writes it anew):\n%s", path, diff)
		}
	}
}

func TestNoLineOfTheTextIsWiderThanATerminal(t *testing.T) {
	r := november(t)
	r.All[0].Username = strings.Repeat("w", 300) + "\x1b[31m\u202e"
	r.All[0].Why = []string{strings.Repeat("w", 300), strings.Repeat("word ", 100)}
	var out strings.Builder
	if err := r.Text(&out); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(line) - 1; n > 120 || strings.ContainsAny(line, "\x1b\u202e") {
			t.Errorf("%d characters: %q", n, line)
		}
	}
}

func TestASpreadsheetReadsBackWhatWasWritten(t *testing.T) {
	r := november(t)
	hostile := []string{`=HYPERLINK("http://x","y")`, "+1", "-1", "@SUM(A1)", "＝1+1", "\tx", `a "b", c`, "two\nlines", "plain"}
	for i, text := range hostile {
		r.All[i].Username = text
	}
	var out strings.Builder
	if err := r.CSV(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "\r\n") < len(r.All)+1 {
		t.Error("lines do not end in CR LF, as RFC 4180 has it")
	}
	rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range hostile {
		want := text
		if i < 6 {
			want = "'" + text
		}
		if got := rows[i+1][slices.Index(rows[0], "username")]; got != want {
			t.Errorf("%q is written as %q", text, got)
		}
	}
}

func TestTheJSONReadsBackAsTheReport(t *testing.T) {
	want := november(t)
	var out strings.Builder
	if err := want.JSON(&out); err != nil {
		t.Fatal(err)
	}
	var got report.Report
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
}

func TestAReportOfNothingSaysSo(t *testing.T) {
	r := build(t, nil, report.Period{From: start, To: start.AddDate(0, 1, 0)}, nil)
	for name, write := range map[string]func(io.Writer) error{"text": r.Text, "html": r.HTML, "csv": r.CSV, "json": r.JSON} {
		var out strings.Builder
		if err := write(&out); err != nil || out.Len() == 0 || (name == "text" || name == "html") && !strings.Contains(out.String(), "there was no record to read") {
			t.Errorf("%s: %q, %v", name, out.String(), err)
		}
	}
}
