package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// A worker that is killed just before or just after any of its writes leaves
// nothing undone: the trigger comes again and everything ends as it would have.
// A second death while the first one is made good changes nothing either.
func TestACrashAtAnyWriteLosesNothing(t *testing.T) {
	var points atomic.Int64
	t.Cleanup(func() { t.Logf("%d runs with a crash", points.Load()) })
	for _, s := range scenariosOf(t) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			s := cutDown(s, crowd)
			want := runWithCrash(t, s)
			step := 1
			if testing.Short() {
				step = 7
			}
			random := rand.New(rand.NewPCG(1, uint64(want.writes)))
			for k := 1; k <= want.writes; k += step {
				for _, deaths := range [][]death{
					{{k, false}},
					{{k, true}},
					{{k, false}, {k + 1 + random.IntN(6), random.IntN(2) == 0}},
					{{k, true}, {k + 1 + random.IntN(6), random.IntN(2) == 0}},
				} {
					points.Add(1)
					got := runWithCrash(t, s, deaths...)
					if diff := cmp.Diff(want.ending, got.ending); diff != "" && !onlyLater(t, s, got) {
						t.Errorf("%v of %d writes: %v:\n%s", deaths, want.writes, got.killed, diff)
					}
				}
			}
		})
	}
}

// mattersWhen are the scenarios in which something happens so soon after a delivery
// or a deadline that it matters when that is looked at, and why. There the
// ending may also be that of a look that merely came later, nothing of it having
// been done before.
var mattersWhen = map[string]string{
	"off-and-on-in-a-minute-seen-live":   "three minutes later it is off-and-on-in-a-minute-seen-late",
	"timer-lost-at-the-deadline":         "a quarter of an hour later it is overdue",
	"new-phone-under-justified-override": "the switching on overtakes the verification of the token",
	"new-phone-of-optional-role-user":    "the switching on overtakes the verification of the token",
	"attacker-token-switched-on":         "the switching on overtakes the verification of the token",
	"token-deleted-then-user-enrols":     "the switching on overtakes the verification of the token",
	"cognito-refuses-then-new-phone":     "the switching on overtakes the verification of the token",
	"brief-exactly-24h-old":              "three minutes later it is past",
	"mass-explained-late":                "another user is the sixth",
}

// onlyLater reports whether the run ended as one in which a look only came later.
func onlyLater(t *testing.T, s Scenario, got crashed) bool {
	t.Helper()
	if mattersWhen[s.Name] == "" {
		return false
	}
	for _, first := range runWithCrash(t, s).looks {
		if cmp.Equal(runWithCrash(t, s, death{first, false}).ending, got.ending) {
			return true
		}
	}
	return false
}

// death is when the process is killed.
type death struct {
	write int // its number; from 1
	after bool
}

func (d death) String() string {
	if d.after {
		return fmt.Sprintf("killed after write %d", d.write)
	}
	return fmt.Sprintf("killed before write %d", d.write)
}

// redelivered is how long after a crash the trigger comes again: after the
// lease of whatever intention was left.
const redelivered = 3 * time.Minute

// crashed is how a run with a crash ended.
type crashed struct {
	ending
	killed []string // the writes at which the process was killed
	writes int
	looks  []int // the first write of each look
}

func runWithCrash(t *testing.T, s Scenario, deaths ...death) crashed {
	t.Helper()
	var c *crasher
	result, err := Run(context.Background(), s, Options{
		Ports: func(p worker.Ports, _ func() time.Time) worker.Ports {
			c = &crasher{Ports: p, deaths: deaths, signedOut: map[string]bool{}, begins: true}
			return worker.Ports{Users: c, Writer: c, Ledger: c, Timer: c, Queue: c, Alerts: c, Policy: c}
		},
		Crashed: func(err error) (time.Duration, bool) {
			if c.dead = false; errors.Is(err, errKilled) || errors.Is(err, worker.ErrBusy) {
				return redelivered, true
			}
			return 0, false
		},
	})
	if err != nil {
		t.Fatalf("%v: %v: %v", deaths, c.killed, err)
	}
	out := crashed{ending: endingOf(t, result, result.Account), killed: c.killed, writes: c.writes, looks: c.looks}
	out.Alerts, out.SignedOut = said(c.sent), slices.Sorted(maps.Keys(c.signedOut))
	return out
}

// said is what on-call heard, each thing once.
func said(sent []alert.Alert) []string {
	heard := map[string]bool{}
	for _, a := range sent {
		about := a.Incident
		if about == "" {
			about = string(a.Kind)
			if a.User != nil {
				about += " of " + string(a.User.Sub)
			}
		}
		heard[about+" "+string(a.State)] = true
	}
	return slices.Sorted(maps.Keys(heard))
}

// ending is what a run leaves behind.
type ending struct {
	Users     map[string]string // factors, enabled and roles
	Overrides map[string]string // how each ended; by user and running number
	Open      map[string]string // what is open in each journal
	Incidents []string          // the keys of those that on-call ever heard of
	Alerts    []string
	SignedOut []string
	Timers    int
	Events    int
}

// journals are a ledger, in memory or not.
type journals interface {
	Journals() []string
	Load(context.Context, worker.Query) (worker.Loaded, error)
	Entries(journal string) []mfa.Entry
}

// endingOf reads the ending from the account and the ledger, because a process
// that was killed told nobody what it had done.
func endingOf(t *testing.T, r Result, ledger journals) ending {
	t.Helper()
	e := ending{Users: map[string]string{}, Overrides: map[string]string{}, Open: map[string]string{}, Timers: r.Timers, Events: r.Summary.Events}
	for _, u := range r.Users {
		e.Users[mfa.UserJournal(u.Pool, u.Sub)] = fmt.Sprintf("%v %s enabled=%t %v", u.Factors, u.Preferred, *u.Enabled, u.Roles)
	}
	incidents := map[string]bool{}
	for _, name := range ledger.Journals() {
		loaded, err := ledger.Load(context.Background(), worker.Query{Journal: name})
		if err != nil {
			t.Fatal(err)
		}
		standing := loaded.Standing
		if standing.Intention != nil {
			t.Errorf("%s: an intention is left unfinished: %+v", name, standing.Intention.Record)
		}
		var keys []string
		for _, in := range standing.Incidents {
			keys = append(keys, in.Key+" "+string(in.Severity))
		}
		if slices.Sort(keys); standing.Override != nil || len(keys) > 0 || standing.SignOut {
			e.Open[name] = fmt.Sprintf("override=%t sign_out=%t %v", standing.Override != nil, standing.SignOut, keys)
		}
		for _, record := range chained(t, ledger, name) {
			if o := record.Override; o != nil && (o.Closed != "" || e.Overrides[o.ID] == "") {
				e.Overrides[o.ID] = fmt.Sprintf("%s %s", record.User.Sub, o.Closed)
			}
			for _, a := range record.Alerts {
				incidents[a.Incident] = true
			}
		}
		if o := standing.Override; o != nil {
			e.Overrides[o.ID] = fmt.Sprintf("%s unrestorable=%t", name, o.Unrestorable)
		}
	}
	delete(incidents, "")
	e.Incidents = slices.Sorted(maps.Keys(incidents))
	if !r.Summary.Balanced() && r.Summary.Events != 0 {
		ignored := 0
		for _, n := range r.Summary.Ignored {
			ignored += n
		}
		if r.Summary.Events != r.Summary.Acted+ignored+r.Summary.Rejected {
			t.Errorf("dropped: %s", r.Summary.String())
		}
	}
	return e
}

// chained returns a journal's records after checking its chain.
func chained(t *testing.T, a journals, journal string) []mfa.Record {
	t.Helper()
	var records []mfa.Record
	prev := ""
	for i, entry := range a.Entries(journal) {
		if entry.Journal != journal || entry.Number != i+1 || entry.Prev != prev || entry.Hash != entry.Sum() {
			t.Errorf("%s: the chain is broken at entry %d: %+v", journal, i+1, entry)
		}
		prev = entry.Hash
		var record mfa.Record
		if err := json.Unmarshal(entry.Record, &record); err != nil {
			t.Fatal(err)
		}
		records = append(records, record)
	}
	loaded, err := a.Load(context.Background(), worker.Query{Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	standing := loaded.Standing
	if standing.Entries != len(records) || standing.Head != prev {
		t.Errorf("%s: the standing says %d entries and head %q; there are %d and it is %q", journal, standing.Entries, standing.Head, len(records), prev)
	}
	return records
}

// crowd is how many users are enough to show what a crash does to many.
const crowd = 12

// cutDown keeps the first users of more than that many.
func cutDown(s Scenario, crowd int) Scenario {
	if s.Account == nil || len(s.Account.Users) <= crowd {
		return s
	}
	file := *s.Account
	file.Users = file.Users[:crowd]
	s.Account = &file
	s.Deliveries = slices.DeleteFunc(slices.Clone(s.Deliveries), func(d Delivery) bool {
		return !slices.ContainsFunc(file.Users, func(u account.UserFile) bool { return u.Sub == d.Change.Sub })
	})
	return s
}

var loadScenarios = func() func() ([]Scenario, error) {
	var all []Scenario
	var err error
	return func() ([]Scenario, error) {
		if all == nil && err == nil {
			all, err = new(Loader).Load([]string{"../../events"})
		}
		return all, err
	}
}()

func scenariosOf(t testing.TB) []Scenario {
	t.Helper()
	all, err := loadScenarios()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 45 {
		t.Fatalf("only %d scenarios in events/", len(all))
	}
	return all
}

var errKilled = errors.New("signal: killed")

// crasher stands between the worker and the account. At its deaths the process
// is killed: nothing works any more until the trigger has ended.
type crasher struct {
	worker.Ports
	deaths    []death
	writes    int
	begins    bool // the next write is a look's first
	looks     []int
	dead      bool
	killed    []string
	sent      []alert.Alert
	signedOut map[string]bool
}

func (c *crasher) write(what string, do func() error) error {
	if c.dead {
		return errKilled
	}
	c.writes++
	if c.begins {
		c.looks, c.begins = append(c.looks, c.writes), false
	}
	for _, d := range c.deaths {
		if d.write != c.writes {
			continue
		}
		c.dead, c.begins, c.killed = true, true, append(c.killed, what)
		if d.after {
			if err := do(); err != nil {
				return err
			}
		}
		return errKilled
	}
	return do()
}

func (c *crasher) alive() error {
	if c.dead {
		return errKilled
	}
	return nil
}

func (c *crasher) User(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) (mfa.User, error) {
	if err := c.alive(); err != nil {
		return mfa.User{}, err
	}
	return c.Users.User(ctx, pool, sub)
}

func (c *crasher) Pool(ctx context.Context, id mfa.PoolID, roles []mfa.Role, since time.Time) (mfa.Pool, error) {
	if err := c.alive(); err != nil {
		return mfa.Pool{}, err
	}
	return c.Users.Pool(ctx, id, roles, since)
}

func (c *crasher) Members(ctx context.Context, pool mfa.PoolID, role mfa.Role) iter.Seq2[mfa.Sub, error] {
	return until(c, c.Users.Members(ctx, pool, role))
}

func (c *crasher) Open(ctx context.Context, pool mfa.PoolID) iter.Seq2[mfa.Standing, error] {
	return until(c, c.Ledger.Open(ctx, pool))
}

// until ends a sequence with an error once the process is dead.
func until[T any](c *crasher, all iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for x, err := range all {
			if c.dead {
				x, err = *new(T), errKilled
			}
			if !yield(x, err) || err != nil {
				return
			}
		}
	}
}

func (c *crasher) Enable(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, factors []mfa.Factor, preferred mfa.Factor) error {
	return c.write("enable", func() error { return c.Writer.Enable(ctx, pool, sub, factors, preferred) })
}

func (c *crasher) SignOut(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) error {
	return c.write("sign out", func() error {
		c.signedOut[mfa.UserJournal(pool, sub)] = true
		return c.Writer.SignOut(ctx, pool, sub)
	})
}

func (c *crasher) Load(ctx context.Context, q worker.Query) (worker.Loaded, error) {
	if err := c.alive(); err != nil {
		return worker.Loaded{}, err
	}
	return c.Ledger.Load(ctx, q)
}

func (c *crasher) Append(ctx context.Context, s worker.Step) error {
	what := "append to "
	switch {
	case s.Standing.Intention != nil:
		what = "append an intention to "
	case s.Entry != nil:
		what = "append an outcome to "
	}
	what += s.Standing.Journal
	err := c.write(what, func() error { return c.Ledger.Append(ctx, s) })
	c.begins = c.begins || s.Standing.Intention == nil
	return err
}

func (c *crasher) Justifications(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) ([]mfa.Justification, error) {
	if err := c.alive(); err != nil {
		return nil, err
	}
	return c.Ledger.Justifications(ctx, pool, sub)
}

func (c *crasher) Schedule(ctx context.Context, name string, at time.Time, pool mfa.PoolID, sub mfa.Sub) error {
	return c.write("schedule", func() error { return c.Timer.Schedule(ctx, name, at, pool, sub) })
}

func (c *crasher) Cancel(ctx context.Context, name string) error {
	return c.write("cancel", func() error { return c.Timer.Cancel(ctx, name) })
}

func (c *crasher) Stands(ctx context.Context, name string) (bool, error) {
	if err := c.alive(); err != nil {
		return false, err
	}
	return c.Timer.Stands(ctx, name)
}

func (c *crasher) Ask(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) error {
	return c.write("ask", func() error { return c.Queue.Ask(ctx, pool, sub) })
}

func (c *crasher) Send(ctx context.Context, alerts []alert.Alert) error {
	return c.write("send", func() error {
		c.sent = append(c.sent, alerts...)
		return c.Alerts.Send(ctx, alerts)
	})
}

func (c *crasher) Read(ctx context.Context) ([]byte, error) {
	if err := c.alive(); err != nil {
		return nil, err
	}
	return c.Policy.Read(ctx)
}
