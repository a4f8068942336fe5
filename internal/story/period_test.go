package story

import (
	"bytes"
	"fmt"
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
			r := &Report{Story: years()}
			if name != "two-years" {
				r = reportOf(t, name)
			}
			var out bytes.Buffer
			r.Period(&Paper{W: &out})
			for line := range strings.Lines(out.String()) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > columns {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			golden(t, name+".period", out.Bytes())
		})
	}
}

// years is a story of an override on each of 60 days, up to one in the next year,
// all paged, by actors and of users with long names.
func years() Story {
	s := Story{Names: map[mfa.Sub]string{}}
	begin := time.Date(2026, 12, 10, 3, 12, 4, 0, time.UTC)
	for i := range 60 {
		at := begin.AddDate(0, 0, i)
		sub := mfa.Sub(fmt.Sprintf("1111%04d-3333-4444-5555-666677778888", i))
		if i%2 == 0 {
			s.Names[sub] = fmt.Sprintf("maria-magdalena.lopez-gonzalez-%d@subsidiary.example.com", i)
		}
		r := mfa.Record{
			At: at, Verdict: mfa.Opens, User: &mfa.RecordUser{Pool: "p", Sub: sub},
			Cause:    mfa.RecordCause{EventName: "AdminSetUserMFAPreference", Actor: "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Support_0123456789abcdef/magdalena.okafor@example.com"},
			Override: &mfa.RecordOverride{ID: fmt.Sprint("O-", i), OpenedAt: at},
		}
		page := alert.Alert{Alert: mfa.Alert{Severity: mfa.Critical, State: mfa.StateTriggered, Incident: fmt.Sprint("override/O-", i)}}
		s.Tell(r, []alert.Alert{page})
		ended := *r.Override
		ended.Closed = mfa.Reenrolled
		r.At, r.Verdict, r.Override = at.Add(5*time.Hour), mfa.Closes, &ended
		page.State = mfa.StateChanged
		s.Tell(r, []alert.Alert{page}) // the same incident pages once
	}
	return s
}

func TestThePagesByDayAddUpToThePagesOfTheSums(t *testing.T) {
	var l replay.Loader
	all, err := l.Load([]string{"../../events"})
	if err != nil {
		t.Fatal(err)
	}
	paged := 0
	for _, s := range all {
		r := &Report{}
		if r.Result, err = replay.Run(t.Context(), s, replay.Options{Told: r.Story.Tell}); err != nil {
			t.Fatal(err)
		}
		sum := 0
		_, pages := r.Story.pages()
		for _, n := range pages {
			sum += n
		}
		if sum != r.Summary.Alerts.Critical {
			t.Errorf("%s: %d pages, but %d critical incidents and notes", s.Name, sum, r.Summary.Alerts.Critical)
		}
		if n := len(r.Story.overrides()); n != r.Summary.Overrides.Opened {
			t.Errorf("%s: %d overrides of %d", s.Name, n, r.Summary.Overrides.Opened)
		}
		paged += sum
	}
	if paged == 0 {
		t.Error("no scenario pages")
	}
}

func TestALongStoryOfLogFilesIsNotToldUnlessAsked(t *testing.T) {
	long := reportOf(t, "mass-disable-300")
	for _, c := range []struct {
		expected, full, told bool
	}{{false, false, false}, {false, true, true}, {true, false, true}} {
		var out bytes.Buffer
		long.Expected = c.expected
		long.Tell(&Paper{W: &out}, c.full)
		if told := strings.Contains(out.String(), "switches TOTP off"); told != c.told || !told && !strings.Contains(out.String(), "too many to tell, -v tells them all") {
			t.Errorf("%+v: told is %v:\n%.300s", c, told, out.String())
		}
	}
}
