package incident_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/incident"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
)

func at(minute int) time.Time { return time.Date(2026, 11, 23, 8, minute, 0, 0, time.UTC) }

func TestMessagesOfOneKeyAreOneIncident(t *testing.T) {
	var b incident.Book
	user, key := &mfa.RecordUser{Pool: "p", Sub: "u"}, "override/O-1"
	o := &mfa.RecordOverride{ID: "O-1"}
	b.Add(mfa.Record{At: at(0), User: user, Override: o, Alerts: []mfa.Alert{
		{Kind: mfa.RequiredRoleWithoutMFA, Severity: mfa.Warning, State: mfa.StateTriggered, Incident: key},
	}})
	b.Add(mfa.Record{At: at(1), User: user, Override: o, Alerts: []mfa.Alert{
		{Kind: mfa.OverrideRepeated, Severity: mfa.Critical, State: mfa.StateChanged, Incident: key},
		{Kind: mfa.DeadlineNear, Severity: mfa.Info, State: mfa.StateNoted},
	}})
	b.Add(mfa.Record{At: at(2), User: user, Override: o, Alerts: []mfa.Alert{
		{Kind: mfa.OverrideRepeated, Severity: mfa.Critical, State: mfa.StateChanged, Incident: key},
		{Kind: mfa.DeadlineNear, Severity: mfa.Info, State: mfa.StateNoted},
		{Kind: mfa.RequiredRoleWithoutMFA, Severity: mfa.Critical, State: mfa.StateResolved, Incident: key},
	}})
	note := func(minute int) *incident.Incident {
		return &incident.Incident{
			Kind: mfa.DeadlineNear, Kinds: []mfa.AlertKind{mfa.DeadlineNear}, Severity: mfa.Info, HeardAt: at(minute), Override: "O-1", User: user,
		}
	}
	want := []*incident.Incident{{
		Key: key, Kind: mfa.RequiredRoleWithoutMFA, Kinds: []mfa.AlertKind{mfa.RequiredRoleWithoutMFA, mfa.OverrideRepeated},
		Severity: mfa.Critical, HeardAt: at(0), PagedAt: at(1), Override: "O-1", User: user,
	}, note(1), note(2)}
	if diff := cmp.Diff(want, b.All()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(map[mfa.Severity]int{mfa.Critical: 1, mfa.Info: 2}, b.Count()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTheCountIsThatOfTheSummary(t *testing.T) {
	all, err := (&replay.Loader{}).Load([]string{"../../events"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		var b incident.Book
		result, err := replay.Run(t.Context(), s, replay.Options{Start: at(0), Told: func(r mfa.Record, _ []alert.Alert) { b.Add(r) }})
		if err != nil {
			t.Fatal(err)
		}
		n, want := b.Count(), result.Summary.Alerts
		if n[mfa.Critical] != want.Critical || n[mfa.Warning] != want.Warning || n[mfa.Info] != want.Info {
			t.Errorf("%s: counted %v, the summary says %+v", s.Name, n, want)
		}
	}
}
