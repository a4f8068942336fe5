package worker

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
)

// The ports are what the worker needs of the world. Each implementation is run
// through the suites of workertest. Every call may be repeated: what is done
// twice is done once.

// UserPool shows users and pools as they are now.
type UserPool interface {
	// User returns the user; one who does not exist is a User that is not
	// Found, not an error.
	User(context.Context, mfa.PoolID, mfa.Sub) (mfa.User, error)
	// Pool returns the pool's enforcement as it was at since or later; with the
	// zero time it may be that of a moment ago. Groups are those of the roles
	// asked for that exist. A pool that does not exist is an error.
	Pool(ctx context.Context, id mfa.PoolID, roles []mfa.Role, since time.Time) (mfa.Pool, error)
	// Members yields the users of a group, in a stable order. A group that does
	// not exist has none. An error ends the sequence.
	Members(context.Context, mfa.PoolID, mfa.Role) iter.Seq2[mfa.Sub, error]
}

// UserWriter changes users. Only reenable has one.
type UserWriter interface {
	// Enable switches factors on and makes preferred the preferred one if it is
	// not empty. ErrRefused means that the user himself must do something first,
	// and that nothing was changed.
	Enable(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, factors []mfa.Factor, preferred mfa.Factor) error
	// SignOut ends the user's sessions. A user who is gone has none. ErrRefused
	// means that it cannot be done in this pool.
	SignOut(context.Context, mfa.PoolID, mfa.Sub) error
}

// ErrRefused is returned by UserWriter when Cognito says that it cannot be done and
// will not be by asking again: no verified token, no phone number, a replica.
var ErrRefused = errors.New("refused by the user pool")

// Ledger keeps the journals, the justifications and the counts.
type Ledger interface {
	// Load returns what is asked for.
	Load(context.Context, Query) (Loaded, error)
	// Append takes one step, whole or not at all. ErrConflict means that the
	// standing is not of the step's version any more, that the cause key is
	// known, or that the count has gone on: load and decide again.
	Append(context.Context, Step) error
	// Justifications returns those recorded for the user, in the order of At.
	Justifications(context.Context, mfa.PoolID, mfa.Sub) ([]mfa.Justification, error)
	// Open yields the standings of the pool's users that are Open, those first
	// that are DueAt first, and the others in a stable order. An error ends the
	// sequence.
	Open(context.Context, mfa.PoolID) iter.Seq2[mfa.Standing, error]
}

// Query is what Ledger.Load is asked.
type Query struct {
	Journal string
	// Key is a cause key, Count the key of a count; each may be empty.
	Key, Count string
}

// Loaded is the answer to a Query.
type Loaded struct {
	// Standing is that of the journal, of version 0 if there is none.
	Standing mfa.Standing
	// Known: the journal has the cause key. An empty one is never known.
	Known bool
	// Counted are the users of the count, in the order of their places.
	Counted []mfa.Sub
}

// Step is one transaction on a journal.
type Step struct {
	// Standing replaces the one of the version it has; it is stored under the next.
	Standing mfa.Standing
	// Key is the cause key to remember, if not empty.
	Key string
	// Entry is appended to the journal, if not nil.
	Entry *mfa.Entry
	// Count puts a user into a count, if not nil.
	Count *Count
}

// Count gives the user the next place, from 1, of the count of that key.
type Count struct {
	Key   string
	Sub   mfa.Sub
	Place int
}

// ErrConflict is returned by Ledger.Append when somebody else was faster.
var ErrConflict = errors.New("the journal has moved on")

// Timer keeps one-time schedules whose target is reenable's queue.
type Timer interface {
	// Schedule makes a timer. One of the same name is moved if it was later, and
	// left alone if it was earlier.
	Schedule(ctx context.Context, name string, at time.Time, pool mfa.PoolID, sub mfa.Sub) error
	// Cancel removes the timer. A missing one is no error.
	Cancel(ctx context.Context, name string) error
	// Stands reports whether there is such a timer.
	Stands(ctx context.Context, name string) (bool, error)
}

// Queue is the queue of reenable.
type Queue interface {
	// Ask has reenable look at the user.
	Ask(context.Context, mfa.PoolID, mfa.Sub) error
}

// Alerts takes messages to on-call.
type Alerts interface {
	Send(context.Context, []alert.Alert) error
}

// PolicySource has the record mfa.required_roles.
type PolicySource interface {
	// Read returns the record as it is, nil if it is missing.
	Read(context.Context) ([]byte, error)
}

// Ports are all of them. Writer is nil for everybody but reenable.
type Ports struct {
	Users  UserPool
	Writer UserWriter
	Ledger Ledger
	Timer  Timer
	Queue  Queue
	Alerts Alerts
	Policy PolicySource
}
