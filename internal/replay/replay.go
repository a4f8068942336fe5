// Package replay runs recorded deliveries through the very worker that the
// functions run, on an account in memory, with a clock that jumps from one
// thing that happens to the next.
//
// It refuses to decide anything: it says when, the worker says what.
package replay

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"time"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// Options are what the command line adds to a scenario.
type Options struct {
	// Policy replaces the account's policy record, if not nil.
	Policy []byte
	// Start is when the clock starts if neither the account nor a delivery says.
	Start time.Time
	// Until is when the clock stops; zero: when nothing lies ahead any more.
	Until time.Time
	// Told is told of every record as it is made, with the alerts that went
	// with it; nil for nobody.
	Told func(mfa.Record, []alert.Alert)
	// Ports may put something between the worker and the account, which live by
	// the clock now; nil for nothing.
	Ports func(p worker.Ports, now func() time.Time) worker.Ports
	// Together is the workers': the account in memory bears only one call at a
	// time, which is the default.
	Together func(...func() error) error
	// Crashed says when a trigger whose look ended with err comes again; nil
	// ends the replay with the error.
	Crashed func(err error) (after time.Duration, again bool)

	// Forget keeps no record once Told has been told: Result.Records and the
	// journals of Result.Account have none. So a long replay needs little memory.
	Forget bool

	// everySweep skips no sweep, and no user in one.
	everySweep bool
}

// Result is how a scenario ended.
type Result struct {
	Name    string
	Records []mfa.Record
	Summary Summary
	// Closed is the last record that closed an override; nil if none did.
	Closed *mfa.Record
	// Users are those at the end, as account.json has them.
	Users []account.UserFile
	// OpenIncidents are those still open, with the kind that triggered each.
	OpenIncidents []mfa.Incident
	Timers        int
	// Rejected are the deliveries that could not be read, with file, place and reason.
	Rejected []string
	// Left are the deliveries that Options.Until left out.
	Left int
	// Heard is the loudest alert of each kind that on-call heard of.
	Heard   map[mfa.AlertKind]mfa.Severity
	Account *account.Account
}

// Run replays the scenario. The error is the context's, which comes with the
// result up to then, or the worker's if
// something was put between it and the account; or what was too much for memory
// cannot be read again; or the sums do not add up, which cannot happen.
func Run(ctx context.Context, s Scenario, o Options) (Result, error) {
	r := newRun(s, o)
	defer r.calls.stop()
	defer r.deliveries.stop()
	err := r.all(ctx)
	if ctx.Err() != nil {
		r.leave()
	}
	if s.spilled != nil && s.spilled.shelf.failed() != nil {
		return Result{}, s.spilled.shelf.failed()
	}
	if err != nil && ctx.Err() == nil {
		return Result{}, fmt.Errorf("%s at %s: %w", s.Name, r.now.Format(time.RFC3339), err)
	}
	if ctx.Err() != nil {
		return r.result(), fmt.Errorf("%s at %s: %w", s.Name, r.now.Format(time.RFC3339), ctx.Err())
	}
	result := r.result()
	if !result.Summary.Balanced() {
		return result, fmt.Errorf("%s: the sums do not add up: %+v", s.Name, result.Summary)
	}
	return result, nil
}

// run is one replay in progress.
type run struct {
	Options
	name     string
	account  *account.Account
	audit    *worker.Worker // also the sweep: neither may write to users
	reenable *worker.Worker
	start    time.Time
	now      time.Time
	swept    time.Time

	calls      *line[mfa.Change] // by eventTime
	faults     []account.Fault
	policies   []account.PolicyFile
	justified  []account.JustificationFile
	deliveries *line[Delivery] // by arrival; Arrives is set
	skipped    map[Skip]int
	left       int
	again      []retry // triggers that come again after a crash

	// What a sweep must look at: everybody, whoever was touched since the last
	// one, and whoever a look will decide differently about by now.
	everybody bool
	touched   map[string]bool
	known     agenda
	retells   agenda // when a pool's posture may be told again: no reason to go on

	tally
}

type retry struct {
	at time.Time
	do func(context.Context) error
}

func newRun(s Scenario, o Options) *run {
	r := &run{Options: o, name: s.Name, skipped: s.Skipped, touched: map[string]bool{}, everybody: true}
	file := s.Account
	if file == nil {
		inferred := account.Infer(s.calls())
		file = &inferred
	}
	r.schedule(s, file)
	raw := []byte(file.Policy)
	switch {
	case o.Policy != nil:
		raw = o.Policy
	case raw == nil:
		raw = mfa.DefaultDocument()
	}
	policy, err := mfa.ParsePolicy(raw)
	if err != nil {
		policy = mfa.DefaultPolicy() // what holds; the first read tells of the problem
	}
	r.account = account.New(*file, policy, raw, r.start)
	r.account.Forget = o.Forget
	ports := worker.Ports{
		Users: r.account, Writer: r.account, Ledger: r.account, Timer: r.account, Queue: r.account, Alerts: r.account, Policy: r.account,
	}
	now := func() time.Time { return r.now }
	if o.Ports != nil {
		ports = o.Ports(ports, now)
	}
	writer := ports.Writer
	ports.Writer = nil
	r.audit = worker.New(file.House(), ports, now)
	r.audit.Together = o.Together
	r.reenable = r.audit.WithWriter(writer)
	return r
}

// line is what lies ahead, in order.
type line[T any] struct {
	head T
	some bool // there is a head
	next func() (T, bool)
	stop func()
}

func lineOf[T any](all iter.Seq[T]) *line[T] {
	l := &line[T]{}
	l.next, l.stop = iter.Pull(all)
	l.pop()
	return l
}

func (l *line[T]) pop() { l.head, l.some = l.next() }

// calls are the calls behind the deliveries, each once, in the order of their time.
func (s *Scenario) calls() iter.Seq[mfa.Change] {
	if s.spilled != nil {
		return callsOf(s.spilled.all())
	}
	all := slices.Collect(callsOf(slices.Values(s.Deliveries)))
	slices.SortStableFunc(all, func(a, b mfa.Change) int { return a.At.Compare(b.At) })
	return slices.Values(all)
}

// callsOf are the calls behind the deliveries, each once.
func callsOf(deliveries iter.Seq[Delivery]) iter.Seq[mfa.Change] {
	return func(yield func(mfa.Change) bool) {
		known := map[string]bool{}
		for d := range deliveries {
			if d.Err != nil || d.Change.Kind == mfa.NotRelevant && d.Change.Role == "" || d.Change.Kind == mfa.GuardChanged || known[d.Change.Key] {
				continue
			}
			known[d.Change.Key] = true
			if !yield(d.Change) {
				return
			}
		}
	}
}

// arriving are the deliveries in the order in which they arrive, from this time on
// at the earliest; Arrives is set.
func (s *Scenario) arriving(now time.Time) iter.Seq[Delivery] {
	if s.spilled != nil {
		return arrivalsOf(s.spilled.all(), now)
	}
	all := slices.Collect(arrivalsOf(slices.Values(s.Deliveries), now))
	slices.SortStableFunc(all, func(a, b Delivery) int { return a.Arrives.Compare(b.Arrives) })
	return slices.Values(all)
}

// arrivalsOf says of those deliveries that do not say it when they arrive.
func arrivalsOf(deliveries iter.Seq[Delivery], last time.Time) iter.Seq[Delivery] {
	return func(yield func(Delivery) bool) {
		last := last
		for d := range deliveries {
			if d.Arrives.IsZero() {
				d.Arrives = later(d.Change.At, last)
			}
			last = d.Arrives
			if !yield(d) {
				return
			}
		}
	}
}

// schedule fixes when everything happens.
func (r *run) schedule(s Scenario, f *account.File) {
	r.start = f.Now
	for d := range s.arriving(f.Now) {
		if !r.start.IsZero() {
			break
		}
		r.start = d.Arrives
	}
	if r.start.IsZero() {
		r.start = r.Start
	}
	r.now, r.swept = r.start, r.start
	r.deliveries = lineOf(s.arriving(f.Now))
	r.calls = lineOf(s.calls())
	r.faults, r.policies = slices.Clone(f.Faults), slices.Clone(f.Policies)
	slices.SortStableFunc(r.faults, func(a, b account.Fault) int { return a.At.Compare(b.At) })
	slices.SortStableFunc(r.policies, func(a, b account.PolicyFile) int { return a.At.Compare(b.At) })
	for _, j := range f.Justifications {
		if j.At.After(r.start) {
			r.justified = append(r.justified, j)
		}
	}
	slices.SortStableFunc(r.justified, func(a, b account.JustificationFile) int { return a.At.Compare(b.At) })
}

// all runs the clock: it goes on while something lies ahead, or a sweep will
// decide differently at a known time; then comes one last sweep, of everybody.
func (r *run) all(ctx context.Context) error {
	if err := r.trigger(ctx, func(ctx context.Context) error { return r.refresh(ctx) }); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		next := r.ahead()
		if sweep := r.nextSweep(); !sweep.IsZero() && (next.IsZero() || sweep.Before(next)) {
			next = sweep
		}
		last := next.IsZero()
		if last {
			next, r.everybody = r.tick(), true
		}
		if !r.Until.IsZero() && next.After(r.Until) {
			r.leave()
			return nil
		}
		r.now = later(next, r.now)
		if err := r.instant(ctx); err != nil {
			return err
		}
		if last && !r.everybody && r.ahead().IsZero() && r.known.next().IsZero() {
			return nil
		}
	}
}

// leave counts the deliveries that are left out.
func (r *run) leave() {
	for ; r.deliveries.some; r.deliveries.pop() {
		r.left += 1 + r.deliveries.head.Others
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ahead is when the next thing happens but for sweeps; zero if nothing does.
func (r *run) ahead() time.Time {
	var next time.Time
	consider := func(at time.Time) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if r.calls.some {
		consider(r.calls.head.At)
	}
	if len(r.policies) > 0 {
		consider(r.policies[0].At)
	}
	if len(r.justified) > 0 {
		consider(r.justified[0].At)
	}
	if r.deliveries.some {
		consider(later(r.deliveries.head.Arrives, r.start))
	}
	for _, again := range r.again {
		consider(again.at)
	}
	consider(r.account.NextTimer())
	if !next.IsZero() && len(r.faults) > 0 {
		consider(r.faults[0].At) // a fault alone is no reason to go on
	}
	return next
}

// tick is the next time at which a sweep may run.
func (r *run) tick() time.Time {
	return r.tickAfter(later(r.now, r.swept.Add(time.Second)))
}

// tickAfter is the first time at or after the given one at which a sweep may
// run. It counts seconds, because a Duration ends after 292 years.
func (r *run) tickAfter(at time.Time) time.Time {
	every := int64(worker.SweepEvery / time.Second)
	n := (at.Unix() - r.start.Unix() + every - 1) / every
	return time.Unix(r.start.Unix()+n*every, 0).UTC()
}

// nextSweep is when the next sweep runs that can change anything; zero if none can.
func (r *run) nextSweep() time.Time {
	tick := r.tick()
	if r.everybody || len(r.touched) > 0 {
		return tick
	}
	known := r.known.next()
	more := !known.IsZero() || !r.ahead().IsZero()
	retell := r.retells.next()
	switch {
	case r.everySweep && more:
		return tick
	case more && !retell.IsZero() && (known.IsZero() || retell.Before(known)):
		known = retell
	}
	switch {
	case known.IsZero():
		return known
	case !known.After(tick):
		return tick
	default:
		return r.tickAfter(known)
	}
}

// instant lets everything happen that happens now, in the order in which things of one moment do: what people did first, what Relatch does last.
func (r *run) instant(ctx context.Context) error {
	for ; r.calls.some && !r.calls.head.At.After(r.now); r.calls.pop() {
		r.account.Call(r.calls.head)
		r.touch(r.calls.head)
	}
	for ; len(r.faults) > 0 && !r.faults[0].At.After(r.now); r.faults = r.faults[1:] {
		r.account.Inject(r.faults[0])
		r.everybody, r.touched["fault"] = true, true
	}
	for ; len(r.policies) > 0 && !r.policies[0].At.After(r.now); r.policies = r.policies[1:] {
		r.account.SetPolicy(policyRecord(r.policies[0]))
		r.everybody, r.touched["policy"] = true, true
		if err := r.trigger(ctx, r.refresh); err != nil {
			return err
		}
	}
	for ; len(r.justified) > 0 && !r.justified[0].At.After(r.now); r.justified = r.justified[1:] {
		j := r.justified[0]
		r.account.Submit(j)
		if err := r.look(ctx, r.audit, mfa.Change{Kind: mfa.Justified, Pool: j.Pool, Sub: j.Sub}); err != nil {
			return err
		}
	}
	for _, ask := range r.account.Fire(r.now) {
		if err := r.ask(ctx, ask); err != nil {
			return err
		}
	}
	again := r.again
	r.again = nil
	for _, a := range again {
		if a.at.After(r.now) {
			r.again = append(r.again, a)
		} else if err := r.trigger(ctx, a.do); err != nil {
			return err
		}
	}
	for ; r.deliveries.some && !r.deliveries.head.Arrives.After(r.now); r.deliveries.pop() {
		if err := r.deliver(ctx, r.deliveries.head); err != nil {
			return err
		}
	}
	if r.now.After(r.swept) && r.tickAfter(r.now).Equal(r.now) && (r.everySweep || r.everybody || len(r.touched) > 0 || r.known.due(r.now) || r.retells.due(r.now)) {
		return r.sweep(ctx)
	}
	return nil
}

func policyRecord(p account.PolicyFile) []byte {
	if p.Value.Kind() == 'n' {
		return nil
	}
	return p.Value
}

// touch remembers that a sweep must look at whom the call concerns.
func (r *run) touch(c mfa.Change) {
	if c.Pool == "" || !c.NamesUser() {
		r.everybody = true
	}
	r.touched[mfa.UserJournal(c.Pool, c.Sub)] = true
}

// trigger does something that may crash, and then what it asked reenable for.
func (r *run) trigger(ctx context.Context, do func(context.Context) error) error {
	if err := do(ctx); err != nil {
		after, again := r.survives(err)
		if !again {
			return err
		}
		r.again = append(r.again, retry{r.now.Add(after), do})
	}
	return r.asked(ctx)
}

func (r *run) survives(err error) (after time.Duration, again bool) {
	if r.Crashed == nil {
		return 0, false
	}
	return r.Crashed(err)
}

// asked lets reenable look at whomever it was asked to look at.
func (r *run) asked(ctx context.Context) error {
	for _, ask := range r.account.Asks() {
		if err := r.ask(ctx, ask); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) ask(ctx context.Context, a account.Ask) error {
	return r.look(ctx, r.reenable, mfa.Change{Kind: mfa.Due, Pool: a.Pool, Sub: a.Sub, Timer: a.Timer})
}

func (r *run) look(ctx context.Context, w *worker.Worker, c mfa.Change) error {
	return r.trigger(ctx, func(ctx context.Context) error {
		seen, err := w.Look(ctx, c)
		r.told(seen)
		r.looked(c.Pool, c.Sub, seen)
		return err
	})
}

func (r *run) deliver(ctx context.Context, d Delivery) error {
	return r.trigger(ctx, func(ctx context.Context) error {
		var seen worker.Seen
		var err error
		if d.Err != nil {
			seen, err = r.audit.Reject(ctx, fmt.Errorf("%s: %w", filepath.Base(d.Place), d.Err))
		} else {
			seen, err = r.audit.Look(ctx, d.Change)
		}
		r.told(seen)
		if err != nil {
			return err
		}
		r.count(d, seen)
		if d.Err == nil && d.Change.Kind != mfa.NotRelevant {
			for _, record := range seen.Records {
				if record.User != nil {
					d.Change.Pool = record.User.Pool
				}
			}
			r.looked(d.Change.Pool, d.Change.Sub, seen)
		}
		return nil
	})
}

func (r *run) refresh(ctx context.Context) error {
	seen, err := r.audit.Refresh(ctx)
	r.told(seen)
	return err
}

// sweep looks at whoever may be decided on differently. One that crashed is not
// repeated: the next one looks at everybody.
func (r *run) sweep(ctx context.Context) error {
	everybody, touched := r.everybody || r.everySweep, r.touched
	r.everybody, r.touched, r.swept = false, map[string]bool{}, r.now
	skip := func(pool mfa.PoolID, sub mfa.Sub) bool {
		journal := mfa.UserJournal(pool, sub)
		return !everybody && !touched[journal] && !r.known.dueAt(journal, r.now)
	}
	_, err := r.audit.Sweep(ctx, worker.Round{Skip: skip, Looks: func(pool mfa.PoolID, sub mfa.Sub, seen worker.Seen) {
		r.told(seen)
		r.known.set(mfa.UserJournal(pool, sub), seen.LookAt)
		if sub == "" {
			r.retells.set(string(pool), seen.RetellAt)
		}
	}})
	r.known.drop(r.now)
	r.retells.drop(r.now)
	if err != nil {
		if _, again := r.survives(err); !again {
			return err
		}
		r.everybody, r.touched["crash"] = true, true
	}
	return r.asked(ctx)
}

// looked remembers what a look that was no sweep's leaves for the next sweep.
func (r *run) looked(pool mfa.PoolID, sub mfa.Sub, seen worker.Seen) {
	journal := mfa.UserJournal(pool, sub)
	r.touched[journal] = true
	r.known.set(journal, seen.LookAt)
}

// told passes records on.
func (r *run) told(seen worker.Seen) {
	sent := r.account.Sent()
	r.alerts(sent)
	for _, record := range seen.Records {
		r.record(record, r.Forget)
		if r.Told != nil {
			r.Told(record, sent)
		}
		sent = nil
	}
}
