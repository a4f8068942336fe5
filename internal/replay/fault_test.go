package replay

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/faulttest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// spoiled are the scenarios in which calls are spoiled, one of each kind of end.
// None of them is among mattersWhen.
var spoiled = []string{
	"01-justified-disable-ends-after-24h",
	"unjustified-disable-of-required-role",
	"override-repeated",
	"same-delivery-twice",
	"user-deleted-meanwhile",
	"enable-arrives-before-disable", // a person switches on
	"cognito-refuses-a-quiet-override",
	"late-26-hours-still-off",
	"pool-switched-off-and-put-back",
	"policy-invalid",
	"trail-stopped", // a sweep finds it
	"mass-disable-300",
}

// fewCalls is a policy with only those roles to ask for that the scenarios have,
// and one notice to give.
const fewCalls = `{"mfa_enforcement":{"required_roles":["itsm_manager","super_admin"]},"override":{"notice_hours":[1]}}`

// In each run so many calls are spoiled, as far as can be from each other: what
// fails comes again before the next one.
const spoiledAtOnce = 4

// mostCalls is how many calls the runs of a scenario make together, about.
const mostCalls = 1500

// A call that fails, and then the function, leaves nothing undone: the message
// comes again, and everything ends as it would have. The calls are spoiled in
// turn, once so that what they write has happened, and once so that it has not;
// where that would be too many runs, calls are left out at equal distances. With
// RELATCH_FAULTS=all (task faults) none is, and every scenario is taken.
func TestACallThatFailsLosesNothing(t *testing.T) {
	var runs, faults, calls atomic.Int64
	began := time.Now()
	t.Cleanup(func() {
		t.Logf("%d runs with %d spoiled calls of %d, %v", runs.Load(), faults.Load(), calls.Load(), time.Since(began).Round(time.Second))
	})
	everything := os.Getenv("RELATCH_FAULTS") == "all"
	all := slices.DeleteFunc(slices.Clone(scenariosOf(t)), func(s Scenario) bool {
		known := mattersWhen[s.Name] != "" || notOnMoto[s.Name] != ""
		return !slices.Contains(spoiled, s.Name) && (!everything || known)
	})
	if len(all) < len(spoiled) {
		t.Fatalf("%d of %d scenarios are there", len(all), len(spoiled))
	}
	overTheWire(t, all, func(t *testing.T, w *wire, s Scenario) {
		s = knownToMoto(cutDown(s, 6))
		if s.Account.Policy == nil {
			file := *s.Account
			file.Policy = []byte(fewCalls)
			s.Account = &file
		}
		w.mail = s.Name != spoiled[0] // to look at a user costs two calls there, else five
		want := w.ending(t, s, nil)
		made := w.faults.Calls()
		most := max(mostCalls/len(made), 3)
		switch {
		case everything:
			most = len(made)
		case testing.Short():
			most = 2
		}
		for _, f := range spread(faultsAt(made), most) {
			got := w.ending(t, s, f)
			runs.Add(1)
			faults.Add(int64(len(f)))
			calls.Add(int64(len(w.faults.Calls())))
			hit := w.hit(f)
			if diff := cmp.Diff(want.heardWith(hit), got.heardWith(hit)); diff != "" {
				t.Errorf("spoiled: %v: -undisturbed +spoiled:\n%s", hit, diff)
			}
		}
	})
}

// faultsAt is what to spoil in each run, such that every call is spoiled twice.
func faultsAt(calls []faulttest.Call) []map[int]faulttest.Kind {
	notDone := []faulttest.Kind{faulttest.Unreachable, faulttest.Internal, faulttest.Throttled, faulttest.Conflict}
	done := []faulttest.Kind{faulttest.Lost, faulttest.Mended, faulttest.Lost}
	distance := (len(calls) + spoiledAtOnce - 1) / spoiledAtOnce
	var runs []map[int]faulttest.Kind
	for first := range distance {
		happens, happensNot := map[int]faulttest.Kind{}, map[int]faulttest.Kind{}
		for i := first; i < len(calls); i += distance {
			happens[i+1] = done[(i+i/distance)%len(done)]
			happensNot[i+1] = notDone[(i+i/distance)%len(notDone)]
		}
		runs = append(runs, happens, happensNot)
	}
	return runs
}

// spread returns at most that many of all, at equal distances.
func spread[T any](all []T, most int) []T {
	if len(all) <= most {
		return all
	}
	some := make([]T, 0, most)
	for i := range most {
		some = append(some, all[i*len(all)/most])
	}
	return some
}

// ending runs the scenario and reads how it ended.
func (w *wire) ending(t *testing.T, s Scenario, spoiled map[int]faulttest.Kind) ending {
	t.Helper()
	result, err := w.run(s, spoiled)
	if err != nil {
		t.Fatalf("%v: %v", spoiled, err)
	}
	e := endingOf(t, result, asIs{w})
	e.Alerts = said(w.sent)
	for _, journal := range slices.Sorted(maps.Keys(w.signedOut)) {
		if w.signedOut[journal] {
			e.SignedOut = append(e.SignedOut, journal)
		}
	}
	return e
}

// asIs is the ledger past the wire that spoils calls.
type asIs struct{ *wire }

// Load implements journals.
func (a asIs) Load(ctx context.Context, q worker.Query) (worker.Loaded, error) {
	return a.plain.Ledger.Load(ctx, q)
}

// hit are the calls that were spoiled, by what became of them: after the first
// one the others are not the same as in the undisturbed run.
func (w *wire) hit(spoiled map[int]faulttest.Kind) map[string]faulttest.Kind {
	hit := map[string]faulttest.Kind{}
	for i, call := range w.faults.Calls() {
		if kind, ok := spoiled[i+1]; ok {
			hit[fmt.Sprintf("call %d, %s", i+1, call)] = kind
		}
	}
	return hit
}

// heardWith leaves out what on-call heard of the policy where it could not be
// read, which is an incident until it can.
func (e ending) heardWith(hit map[string]faulttest.Kind) ending {
	for call := range hit {
		if strings.HasSuffix(call, " GetItem") {
			e.Incidents = without(e.Incidents, mfa.PolicyJournal)
			e.Alerts = without(e.Alerts, mfa.PolicyJournal)
			e.Open = maps.Clone(e.Open)
			delete(e.Open, mfa.PolicyJournal)
		}
	}
	return e
}

// without leaves out what is about the incident.
func without(all []string, incident string) []string {
	var left []string
	for _, about := range all {
		if about != incident && !strings.HasPrefix(about, incident+" ") {
			left = append(left, about)
		}
	}
	return left
}
