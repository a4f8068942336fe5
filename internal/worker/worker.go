// Package worker is the arrows between the packages, and nothing else: it alone
// knows that a Change is observed, decided on, written down, acted on and
// confirmed, in this order.
//
// It refuses to decide (mfa does) and to know AWS (the ports do).
package worker

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/trail"
)

// Worker looks at users. One is made per process; it is not for concurrent use.
type Worker struct {
	House mfa.House
	Ports
	// Now is the clock, in UTC.
	Now func() time.Time
	// Together runs calls that do not depend on each other, and returns when all
	// have returned. It defaults to running one after the other until one fails;
	// the function of the same name runs them at once.
	Together func(...func() error) error

	policy *policy
	recent map[string]bool // cause keys that this process has seen
}

// New returns a worker. Until Refresh has been called it goes by the default policy.
func New(h mfa.House, p Ports, now func() time.Time) *Worker {
	return &Worker{House: h, Ports: p, Now: now, policy: &policy{}, recent: map[string]bool{}}
}

// WithWriter returns a worker that may write to users: reenable. It shares the
// policy with w.
func (w *Worker) WithWriter(u UserWriter) *Worker {
	r := *w
	r.Writer = u
	return &r
}

// Seen is what came of a look.
type Seen struct {
	// Records are those to be kept: usually one, none for what is of no
	// interest, two where an unfinished intention was finished on the way.
	Records []mfa.Record
	// Heads are where the records stand in the ledger, each at the index of its record.
	Heads []mfa.Head
	// Verdict and Reason are those of the change itself, also without a record.
	Verdict mfa.Verdict
	Reason  mfa.Reason
	// LookAt is when a look will decide differently although nothing happens; zero if never.
	LookAt time.Time
	// RetellAt is when a look that finds the pool's posture changed may say so.
	RetellAt time.Time
}

// ErrBusy means that somebody else is acting on the same journal. Try again
// after mfa.Lease.
var ErrBusy = errors.New("somebody else is acting on this journal")

// attempts is how often a look is repeated when the journal has moved on.
const attempts = 8

// Reject records and alerts that a delivery could not be read, as trail.Parse
// says. The delivery is evidence: whoever received it must keep its bytes, in a
// function by leaving it to the dead-letter queue.
func (w *Worker) Reject(ctx context.Context, problem error) (Seen, error) {
	var unreadable *trail.Error
	c := mfa.Change{}
	if errors.As(problem, &unreadable) {
		c.Key, c.EventID = unreadable.EventID, unreadable.EventID
	}
	return w.screened(ctx, c, mfa.Reject(w.House, problem.Error()))
}

// Look handles one change, of a delivery that trail.Parse could read or of another
// trigger.
func (w *Worker) Look(ctx context.Context, c mfa.Change) (Seen, error) {
	if d, done := mfa.Screen(w.House, c); done {
		return w.screened(ctx, c, d)
	}
	if c.NamesUser() && c.Pool == "" && c.Kind.Delivered() {
		found, err := w.locate(ctx, c.Sub)
		if err != nil {
			return Seen{}, err
		}
		if c.Pool = found; found == "" {
			return w.screened(ctx, c, mfa.Decision{Verdict: mfa.Ignores, Reason: mfa.NotOurs})
		}
	}
	return w.look(ctx, c, func(*mfa.State) {})
}

// screened ends what needed no look at anything: there is no journal to write to.
func (w *Worker) screened(ctx context.Context, c mfa.Change, d mfa.Decision) (Seen, error) {
	now := w.Now()
	if err := w.send(ctx, mfa.State{House: w.House}, c, d, now); err != nil {
		return Seen{}, err
	}
	var holds mfa.Policy // before Refresh none is known, and nothing depended on it
	if w.policy.refreshed {
		holds = w.rules()
	}
	return seen(d).with(mfa.NewRecord(c, d, holds, now, nil), mfa.Head{}), nil
}

func seen(d mfa.Decision) Seen {
	return Seen{Verdict: d.Verdict, Reason: d.Reason, LookAt: d.LookAt, RetellAt: d.RetellAt}
}

// with adds a record, if it is to be kept.
func (s Seen) with(r mfa.Record, h mfa.Head) Seen {
	if r.Kept() {
		s.Records, s.Heads = append(s.Records, r), append(s.Heads, h)
	}
	return s
}

// locate finds the guarded pool that has the user, or had: a call that the
// user's own token authorises does not name one, and may have been the last.
func (w *Worker) locate(ctx context.Context, sub mfa.Sub) (mfa.PoolID, error) {
	found := make([]bool, len(w.House.Pools))
	calls := make([]func() error, len(w.House.Pools))
	for i, pool := range w.House.Pools {
		calls[i] = func() error {
			u, err := w.Users.User(ctx, pool, sub)
			if found[i] = u.Found; err != nil {
				return fmt.Errorf("look up the user in %s: %w", pool, err)
			}
			return nil
		}
	}
	if err := w.together(calls...); err != nil {
		return "", err
	}
	if i := slices.Index(found, true); i >= 0 {
		return w.House.Pools[i], nil
	}
	for _, pool := range w.House.Pools {
		s, err := w.standing(ctx, mfa.UserJournal(pool, sub))
		if err != nil {
			return "", fmt.Errorf("look for the user's journal in %s: %w", pool, err)
		}
		if s.Version > 0 {
			return pool, nil
		}
	}
	return "", nil
}

// look observes, decides and carries out, and does so again when somebody else
// was faster.
func (w *Worker) look(ctx context.Context, c mfa.Change, told func(*mfa.State)) (Seen, error) {
	var finished Seen // intentions on the way
	for range attempts {
		seen, err := w.attempt(ctx, c, told)
		seen.Records, seen.Heads = append(finished.Records, seen.Records...), append(finished.Heads, seen.Heads...)
		switch {
		case errors.Is(err, errFinished), errors.Is(err, ErrConflict):
			finished = Seen{Records: seen.Records, Heads: seen.Heads}
		case err != nil:
			return Seen{Records: seen.Records, Heads: seen.Heads}, err
		default:
			return seen, nil
		}
	}
	return finished, fmt.Errorf("%w, %d times", ErrConflict, attempts)
}

// errFinished: an unfinished intention was finished first; look again.
var errFinished = errors.New("finished an intention")

func (w *Worker) attempt(ctx context.Context, c mfa.Change, told func(*mfa.State)) (Seen, error) {
	now := w.Now()
	s := mfa.State{House: w.House}
	told(&s)
	ahead := w.mayAskAhead(c)
	err := w.load(ctx, &s, c, ahead, now)
	if err != nil {
		return Seen{}, err
	}
	if s.Standing.At.After(now.Add(-settled)) {
		ahead = false
	}
	if in := s.Standing.Intention; in != nil {
		switch {
		case now.Before(in.LeasedUntil):
			return Seen{}, ErrBusy
		case in.Record.Verdict != mfa.Restores:
			return w.resume(ctx, s, now)
		case handedOn(in.Record).Kept():
			return w.say(ctx, s, now)
		case c.Kind != mfa.Due: // whether he still is to be restored is for another look to say, and first
			seen, err := w.attempt(ctx, mfa.Change{Kind: mfa.Due, Pool: c.Pool, Sub: c.Sub}, func(*mfa.State) {})
			if err == nil {
				err = errFinished
			}
			return seen, err
		}
	}
	if s.Known {
		d := mfa.Decide(s, c, w.rules(), now)
		return seen(d).with(mfa.NewRecord(c, d, w.rules(), now, nil), mfa.Head{}), nil
	}
	if !ahead {
		err = w.together(w.sights(ctx, &s, c, now)...)
	}
	if err == nil {
		err = w.lookForTimer(ctx, &s, c, now)
	}
	if err != nil {
		return Seen{}, err
	}
	return w.carry(ctx, s, c, mfa.Decide(s, c, w.rules(), now), now)
}

// mayAskAhead reports whether what the look depends on can be asked for while
// the journal is being loaded, which saves a round trip. It is in vain for a
// duplicate, so not for a cause that this process has seen.
func (w *Worker) mayAskAhead(c mfa.Change) bool {
	if w.Together == nil || c.Sub == "" || !c.NamesUser() {
		return false
	}
	if c.Key == "" {
		return true
	}
	seen := w.recent[c.Key]
	if len(w.recent) >= mostRecent {
		clear(w.recent)
	}
	w.recent[c.Key] = true
	return !seen
}

// mostRecent is how many cause keys a process remembers.
const mostRecent = 10_000

func (w *Worker) together(calls ...func() error) error {
	if w.Together != nil && len(calls) > 1 {
		return w.Together(calls...)
	}
	for _, call := range calls {
		if err := call(); err != nil {
			return err
		}
	}
	return nil
}

// Together runs the calls at once and returns when all have returned: their
// errors, joined. A panic is an error of its call.
func Together(calls ...func() error) error {
	errs := make([]error, len(calls))
	var all sync.WaitGroup
	for i, call := range calls {
		all.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					errs[i] = fmt.Errorf("panic: %v", p)
				}
			}()
			errs[i] = call()
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// take takes the step, now.
func (w *Worker) take(ctx context.Context, s Step) error {
	s.Standing.At = w.Now().UTC().Truncate(time.Second)
	return w.Ledger.Append(ctx, s)
}

// standing loads the standing of a journal, and nothing else.
func (w *Worker) standing(ctx context.Context, journal string) (mfa.Standing, error) {
	loaded, err := w.Ledger.Load(ctx, Query{Journal: journal})
	return loaded.Standing, err
}

// settled is how long a journal must have been left alone for a look that was
// made while it was being loaded: longer than any look takes, with the difference
// of clocks. Else the look may be older than what the journal says of it.
const settled = time.Minute

// load loads what the ledger knows, and looks ahead if it may.
func (w *Worker) load(ctx context.Context, s *mfa.State, c mfa.Change, ahead bool, now time.Time) error {
	var loaded Loaded
	var loadErr, lookErr error
	load := func() error {
		loaded, loadErr = w.Ledger.Load(ctx, Query{Journal: w.House.Journal(c), Key: c.Key, Count: c.CountKey()})
		return nil
	}
	calls := []func() error{load}
	if ahead {
		calls = append(w.sights(ctx, s, c, now), load)
	}
	lookErr = w.together(calls...)
	switch {
	case loadErr != nil:
		return fmt.Errorf("load the journal: %w", loadErr)
	case lookErr != nil && !loaded.Known: // a duplicate needs no look
		return lookErr
	}
	s.Standing, s.Known, s.Counted = loaded.Standing, loaded.Known, loaded.Counted
	s.Standing.Journal = w.House.Journal(c)
	return nil
}

// observe adds to the state what the decision about a user or a pool depends on.
func (w *Worker) observe(ctx context.Context, s *mfa.State, c mfa.Change, now time.Time) error {
	if err := w.together(w.sights(ctx, s, c, now)...); err != nil {
		return err
	}
	return w.lookForTimer(ctx, s, c, now)
}

// sights are the looks at what a change concerns, none of which depends on
// another. A pool that was changed must be seen as it is now.
func (w *Worker) sights(ctx context.Context, s *mfa.State, c mfa.Change, now time.Time) []func() error {
	if c.Pool == "" {
		return nil
	}
	ofUser := c.Sub != "" && c.NamesUser()
	roles, since := w.rules().RequiredRoles, time.Time{}
	if s.Standing.Pool != nil {
		roles = mfa.Union(roles, s.Standing.Pool.Groups)
	}
	if !ofUser && c.Kind.Delivered() {
		since = now
	}
	sights := []func() error{func() (err error) {
		if s.Pool, err = w.Users.Pool(ctx, c.Pool, roles, since); err != nil {
			return fmt.Errorf("look at pool %s: %w", c.Pool, err)
		}
		return nil
	}}
	if !ofUser {
		return sights
	}
	sights = append(sights, func() (err error) {
		if s.User, err = w.Users.User(ctx, c.Pool, c.Sub); err != nil {
			return fmt.Errorf("look at the user: %w", err)
		}
		return nil
	})
	if len(c.Off) > 0 || c.Masked || c.Kind == mfa.Justified {
		sights = append(sights, func() (err error) {
			if s.Justifications, err = w.Ledger.Justifications(ctx, c.Pool, c.Sub); err != nil {
				return fmt.Errorf("load the justifications: %w", err)
			}
			for i, j := range s.Justifications {
				s.Justifications[i].Digest = j.Sum()
			}
			return nil
		})
	}
	return sights
}

// lookForTimer looks, in a sweep, whether the timer of the open override stands.
func (w *Worker) lookForTimer(ctx context.Context, s *mfa.State, c mfa.Change, now time.Time) error {
	if o := s.Standing.Override; o != nil && c.Kind == mfa.Swept && o.Deadline.After(now) {
		stands, err := w.Timer.Stands(ctx, mfa.TimerName(o.ID))
		if err != nil {
			return fmt.Errorf("look for the timer: %w", err)
		}
		s.TimerMissing = !stands
	}
	return nil
}

// carry writes the intention down, acts, and confirms.
func (w *Worker) carry(ctx context.Context, s mfa.State, c mfa.Change, d mfa.Decision, now time.Time) (Seen, error) {
	record := mfa.NewRecord(c, d, w.rules(), now, nil)
	step := Step{Standing: d.Standing, Key: c.Key}
	if d.Count > 0 {
		step.Count = &Count{Key: c.CountKey(), Sub: c.Sub, Place: d.Count}
	}
	if len(d.Actions) == 0 && len(d.Alerts) == 0 {
		step.Standing.Intention = nil
		if c.Key == "" && reflect.DeepEqual(step.Standing, s.Standing) && !record.Kept() {
			return seen(d), nil
		}
		head, err := w.confirm(ctx, step, record)
		if err != nil {
			return Seen{}, err
		}
		return seen(d).with(record, head), nil
	}
	step.Standing.Intention = &mfa.Intention{Record: record, Actions: d.Actions, Alerts: d.Alerts, LeasedUntil: now.Add(mfa.Lease)}
	if err := w.take(ctx, step); err != nil {
		return Seen{}, fmt.Errorf("write the intention: %w", err)
	}
	d.Standing = step.Standing
	d.Standing.Version++
	d, outcomes, err := w.do(ctx, s, c, d, now)
	if err != nil {
		return Seen{}, err
	}
	record = mfa.NewRecord(c, d, w.rules(), now, outcomes)
	d.Standing.Intention = nil
	head, err := w.confirm(ctx, Step{Standing: d.Standing}, record)
	if err != nil {
		return Seen{}, err
	}
	return seen(d).with(record, head), nil
}

// do acts and tells. What a restore has to tell depends on what came of it.
func (w *Worker) do(ctx context.Context, s mfa.State, c mfa.Change, d mfa.Decision, now time.Time) (mfa.Decision, []mfa.Outcome, error) {
	var outcomes []mfa.Outcome
	var after mfa.User
	act := func() (err error) {
		outcomes, after, err = w.act(ctx, s, c, d)
		return err
	}
	settle := func() mfa.Decision { return mfa.Settle(s, c, w.rules(), now, d, outcomes, after) }
	if d.Verdict != mfa.Restores {
		if err := w.together(act, func() error { return w.send(ctx, s, c, d, now) }); err != nil {
			return d, nil, err
		}
		return settle(), outcomes, nil
	}
	if err := act(); err != nil {
		return d, nil, err
	}
	d = settle()
	return d, outcomes, w.send(ctx, s, c, d, now)
}

// confirm takes the step, with the outcome as an entry if it is to be kept.
func (w *Worker) confirm(ctx context.Context, step Step, r mfa.Record) (mfa.Head, error) {
	var head mfa.Head
	if r.Kept() {
		standing, entry := step.Standing.Append(r)
		step.Standing, step.Entry = standing, &entry
		head = mfa.Head{Journal: entry.Journal, Number: entry.Number, Hash: entry.Hash}
	}
	if err := w.take(ctx, step); err != nil {
		return mfa.Head{}, fmt.Errorf("write the outcome: %w", err)
	}
	return head, nil
}

// act carries out the decision's actions. A user who is changed is read back.
func (w *Worker) act(ctx context.Context, s mfa.State, c mfa.Change, d mfa.Decision) ([]mfa.Outcome, mfa.User, error) {
	var outcomes []mfa.Outcome
	after, asked := s.User, false
	for _, a := range d.Actions {
		if asked && d.Verdict == mfa.Restores {
			break // what belongs to a restore is done by whoever does it
		}
		result, err := mfa.Done, error(nil)
		switch {
		case a.Do == mfa.Schedule:
			err = w.Timer.Schedule(ctx, mfa.TimerName(d.Override.ID), a.At, c.Pool, c.Sub)
		case a.Do == mfa.Cancel:
			err = w.Timer.Cancel(ctx, mfa.TimerName(d.Override.ID))
		case w.House.Observe && (a.Do == mfa.SignOut || w.Writer != nil):
			result = mfa.Would
		case w.Writer == nil || d.Verdict == mfa.Opens:
			result, asked = mfa.Handed, true
			err = w.Queue.Ask(ctx, c.Pool, c.Sub)
		case a.Do == mfa.Restore:
			result, err = w.enable(ctx, c, d)
			if err == nil {
				after, err = w.Users.User(ctx, c.Pool, c.Sub)
			}
		case a.Do == mfa.SignOut:
			if err = w.Writer.SignOut(ctx, c.Pool, c.Sub); errors.Is(err, ErrRefused) {
				result, err = mfa.Refused, nil
			}
		}
		if err != nil {
			return nil, after, fmt.Errorf("%s: %w", a.Do, err)
		}
		outcomes = append(outcomes, mfa.Outcome{Action: a, Result: result})
	}
	return outcomes, after, nil
}

// enable switches on what was taken: all of it at once or, where Cognito refuses
// that, each factor that it does not refuse.
func (w *Worker) enable(ctx context.Context, c mfa.Change, d mfa.Decision) (mfa.Result, error) {
	err := w.Writer.Enable(ctx, c.Pool, c.Sub, d.Restore, d.Preferred)
	if !errors.Is(err, ErrRefused) {
		return mfa.Done, err
	}
	if len(d.Restore) < 2 {
		return mfa.Refused, nil
	}
	result := mfa.Refused
	for _, f := range d.Restore {
		preferred := d.Preferred
		if preferred != f {
			preferred = ""
		}
		switch err := w.Writer.Enable(ctx, c.Pool, c.Sub, []mfa.Factor{f}, preferred); {
		case err == nil:
			result = mfa.Done
		case !errors.Is(err, ErrRefused):
			return "", err
		}
	}
	return result, nil
}

func (w *Worker) send(ctx context.Context, s mfa.State, c mfa.Change, d mfa.Decision, now time.Time) error {
	if len(d.Alerts) == 0 {
		return nil
	}
	if err := w.Alerts.Send(ctx, alert.Compose(s, c, w.rules(), now, d)); err != nil {
		return fmt.Errorf("send alerts: %w", err)
	}
	return nil
}
