package story

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
)

func TestPeriodsReadAsTheGoldenFilesSay(t *testing.T) {
	for _, name := range []string{"mass-disable-300", "observe-mode", "off-and-on-in-a-minute-seen-late", "token-deleted-then-user-enrols", "two-years"} {
		t.Run(name, func(t *testing.T) {
			period := years()
			if name != "two-years" {
				_, period = periodOf(t, name)
			}
			var out bytes.Buffer
			period.Write(&Paper{W: &out})
			for line := range strings.Lines(out.String()) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > columns {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			golden(t, name+".period", out.Bytes())
		})
	}
}

// periodOf is a scenario as if it were log files.
func periodOf(t *testing.T, scenario string) (replay.Result, *Period) {
	t.Helper()
	var l replay.Loader
	all, err := l.Load([]string{filepath.Join("../../events", scenario)})
	if err != nil {
		t.Fatal(err)
	}
	names := map[mfa.Sub]string{}
	if all[0].Account != nil {
		for _, u := range all[0].Account.Users {
			names[u.Sub] = u.Username
		}
	}
	var period Period
	r, err := replay.Run(t.Context(), all[0], replay.Options{Told: func(r mfa.Record, alerts []alert.Alert) { period.Tell(r, alerts, names) }})
	if err != nil {
		t.Fatal(err)
	}
	return r, &period
}

// years is a story of an override on each of 60 days, up to one in the next year,
// all paged, by actors and of users with long names.
func years() *Period {
	s, names := &Period{}, map[mfa.Sub]string{}
	begin := time.Date(2026, 12, 10, 3, 12, 4, 0, time.UTC)
	for i := range 60 {
		at := begin.AddDate(0, 0, i)
		sub := mfa.Sub(fmt.Sprintf("1111%04d-3333-4444-5555-666677778888", i))
		if i%2 == 0 {
			names[sub] = fmt.Sprintf("maria-magdalena.lopez-gonzalez-%d@subsidiary.example.com", i)
		}
		r := mfa.Record{
			At: at, Verdict: mfa.Opens, User: &mfa.RecordUser{Pool: "p", Sub: sub},
			Cause:    mfa.RecordCause{EventName: "AdminSetUserMFAPreference", Actor: "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Support_0123456789abcdef/magdalena.okafor@example.com"},
			Override: &mfa.RecordOverride{ID: fmt.Sprint("O-", i), OpenedAt: at},
		}
		page := alert.Alert{Alert: mfa.Alert{Severity: mfa.Critical, State: mfa.StateTriggered, Incident: fmt.Sprint("override/O-", i)}}
		s.Tell(r, []alert.Alert{page}, names)
		ended := *r.Override
		ended.Closed = mfa.Reenrolled
		r.At, r.Verdict, r.Override = at.Add(5*time.Hour), mfa.Closes, &ended
		page.State = mfa.StateChanged
		s.Tell(r, []alert.Alert{page}, names) // the same incident pages once
	}
	return s
}

func TestThePagesByDayAddUpToThePagesOfTheSums(t *testing.T) {
	scenarios, err := filepath.Glob("../../events/*/expect.json")
	if err != nil {
		t.Fatal(err)
	}
	paged := 0
	for _, path := range scenarios {
		r, period := periodOf(t, filepath.Base(filepath.Dir(path)))
		sum := 0
		for _, n := range period.pages {
			sum += n
		}
		if sum != r.Summary.Alerts.Critical {
			t.Errorf("%s: %d pages, but %d critical incidents and notes", r.Name, sum, r.Summary.Alerts.Critical)
		}
		if n := len(period.overrides) + period.others; n != r.Summary.Overrides.Opened {
			t.Errorf("%s: %d overrides of %d", r.Name, n, r.Summary.Overrides.Opened)
		}
		paged += sum
	}
	if paged == 0 {
		t.Error("no scenario pages")
	}
}

func TestOfALongStoryOfLogFilesTheBeginningIsTold(t *testing.T) {
	for _, c := range []struct {
		name        string
		full, whole bool
	}{{"", false, false}, {"", true, true}, {"mass-disable-300", false, true}} {
		var out bytes.Buffer
		var long Story
		paper := &Paper{W: &out}
		long.Begin(paper, c.name, c.full)
		for i := range 1200 {
			long.Tell(mfa.Record{At: time.Date(2026, 11, 23, 0, 0, i, 0, time.UTC), Verdict: mfa.Ignores, Reason: mfa.Reason(fmt.Sprint("reason-", i))}, nil)
		}
		long.Write(paper, c.name, c.full)
		cut := strings.Contains(out.String(), "… and 1,000 more records: -v tells of them all")
		if whole := strings.Contains(out.String(), "reason-1199"); whole != c.whole || cut == whole || !strings.Contains(out.String(), "reason-199") {
			t.Errorf("%+v: whole is %v:\n%.300s", c, whole, out.String())
		}
	}
}
