package alert_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
)

var update = flag.Bool("update", false, "write the golden file anew")

// sent are the alerts of every scenario, by scenario.
func sent(t *testing.T) map[string][]alert.Alert {
	t.Helper()
	var l replay.Loader
	scenarios, err := l.Load([]string{"../../events"})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]alert.Alert{}
	for _, s := range scenarios {
		told := func(_ mfa.Record, alerts []alert.Alert) { all[s.Name] = append(all[s.Name], alerts...) }
		if _, err := replay.Run(t.Context(), s, replay.Options{Told: told}); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestAlertsReadAsTheGoldenFileSays has one alert of each kind, severity and
// state that a scenario raises, whole, as EventBridge gets it.
func TestAlertsReadAsTheGoldenFileSays(t *testing.T) {
	golden(t, "testdata/alerts.golden", func(a alert.Alert) (name, text string) {
		raw, err := json.MarshalIndent(a, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s %s %s", a.Kind, a.Severity, a.State), string(raw) + "\n"
	})
}

// TestTextsReadAsTheGoldenFileSays has one text of each kind, severity and state,
// for each way in which its override is justified or not, as on-call reads it.
func TestTextsReadAsTheGoldenFileSays(t *testing.T) {
	golden(t, "testdata/texts.golden", func(a alert.Alert) (name, text string) {
		name = fmt.Sprintf("%s %s %s", a.Kind, a.Severity, a.State)
		if j := a.Justification; j != nil {
			name += " " + j.Status
			for _, f := range j.Failed {
				name += " " + string(f.Rule)
			}
		}
		return name, a.Text
	})
}

// golden compares the first alert of each name that a scenario raises with the file.
func golden(t *testing.T, file string, told func(alert.Alert) (name, text string)) {
	t.Helper()
	all := sent(t)
	examples := map[string]string{}
	for _, scenario := range slices.Sorted(maps.Keys(all)) {
		for _, a := range all[scenario] {
			if name, text := told(a); examples[name] == "" {
				examples[name] = fmt.Sprintf("== %s (%s)\n%s", name, scenario, text)
			}
		}
	}
	var got strings.Builder
	for _, name := range slices.Sorted(maps.Keys(examples)) {
		got.WriteString(examples[name])
	}
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("alerts (-golden +got; -update writes it anew):\n%s", diff)
	}
}

// TestTheFirstHundredCharactersOfATitleDecide: who, what and because of whom
// must stand before a pager cuts the title off.
func TestTheFirstHundredCharactersOfATitleDecide(t *testing.T) {
	pages := 0
	for scenario, alerts := range sent(t) {
		for _, a := range alerts {
			head := a.Title
			if utf8.RuneCountInString(head) > 100 {
				head = string([]rune(head)[:100])
			}
			if a.User != nil && a.User.Username != "" && !strings.Contains(head, a.User.Username) {
				t.Errorf("%s: %q does not name the user in its first 100 characters", scenario, a.Title)
			}
			if a.State == mfa.StateTriggered && a.Severity == mfa.Critical {
				pages++
				if a.Runbook == "" || a.WhatHappened == "" {
					t.Errorf("%s: a page without runbook or what happened: %+v", scenario, a)
				}
				if a.User != nil && len(a.WhatToDo) == 0 && a.Override != nil {
					t.Errorf("%s: a page that does not say what to do: %q", scenario, a.Title)
				}
			}
		}
	}
	if pages == 0 {
		t.Error("no scenario pages")
	}
}
