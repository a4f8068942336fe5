// Package account is an AWS account in memory: it implements the worker's ports
// with the behaviour that the real services are known for, so that what it is
// told, it shows. relatch replay and the tests run the very worker on it.
//
// It refuses to decide anything, and it has no clock: whoever drives it says
// what time it is.
package account

import (
	"container/heap"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// Account is the account. It is not for concurrent use.
type Account struct {
	*Ledger
	pools  map[mfa.PoolID]*pool
	order  []mfa.PoolID
	timers map[string]*timer
	due    timerHeap
	asks   []Ask
	sent   []alert.Alert
	policy []byte
	before []mfa.Incident // open before the start
}

type pool struct {
	mfa.Pool
	groups map[mfa.Role]bool
	users  map[mfa.Sub]*user
	order  []*user
}

type user struct {
	mfa.User
	registered []mfa.Factor
	refuse     bool // from now on every restore is refused
	fireTwice  bool
	signOuts   int
}

// Ask is a message in reenable's queue.
type Ask struct {
	Pool  mfa.PoolID
	Sub   mfa.Sub
	Timer bool // a timer sent it
}

// New makes the account that the file describes. policy is the one that the
// worker has read before the start.
func New(f File, policy mfa.Policy, raw []byte, start time.Time) *Account {
	a := &Account{Ledger: NewLedger(), pools: map[mfa.PoolID]*pool{}, timers: map[string]*timer{}, policy: raw}
	for _, p := range f.Pools {
		a.pools[p.ID] = &pool{
			Pool:   mfa.Pool{Mode: p.Mode, Factors: slices.Clone(p.Factors), PreToken: *p.PreToken},
			groups: map[mfa.Role]bool{}, users: map[mfa.Sub]*user{},
		}
		a.order = append(a.order, p.ID)
		for _, role := range policy.RequiredRoles {
			a.pools[p.ID].groups[role] = true
		}
	}
	posture := map[mfa.PoolID][]mfa.Sub{}
	for _, u := range f.Users {
		a.pools[u.Pool].add(&user{
			User: mfa.User{
				Sub: u.Sub, Found: true, Username: u.Username, Enabled: *u.Enabled, Federated: u.Federated, CreatedAt: u.CreatedAt,
				Roles: slices.Clone(u.Roles), Factors: inOrder(u.Factors), Preferred: u.Preferred,
			},
			registered: slices.Clone(u.Registered),
		})
		required := len(policy.Requires(u.Roles)) > 0
		adopted := required && len(mfa.Adequate(u.Factors, true)) == 0 && !u.Federated
		if u.Adopted != nil {
			adopted = *u.Adopted
		}
		if adopted {
			posture[u.Pool] = append(posture[u.Pool], u.Sub)
		}
		a.seed(mfa.Standing{
			Journal: mfa.UserJournal(u.Pool, u.Sub), Posture: adopted, EverHeld: len(u.Factors) > 0,
			Baseline: &mfa.Baseline{Factors: inOrder(u.Factors), Preferred: u.Preferred, SeenAt: start},
		})
	}
	for id, p := range a.pools {
		whole := p.shown(policy.RequiredRoles)
		s := mfa.Standing{Journal: mfa.PoolJournal(id), Pool: &whole, Count: posture[id]}
		if slices.Sort(s.Count); len(s.Count) > 0 {
			s.Incidents = []mfa.Incident{{Key: "posture/" + string(id), Kind: mfa.PostureGap, Severity: mfa.Warning, Since: start}}
			a.before = append(a.before, s.Incidents...)
		}
		a.seed(s)
	}
	for _, j := range f.Justifications {
		if !j.At.After(start) {
			a.Submit(j)
		}
	}
	return a
}

func (p *pool) add(u *user) {
	p.users[u.Sub] = u
	p.order = append(p.order, u)
	for _, role := range u.Roles {
		p.groups[role] = true
	}
}

func (p *pool) shown(roles []mfa.Role) mfa.Pool {
	out := p.Pool
	out.Groups = nil
	for _, role := range roles {
		if p.groups[role] {
			out.Groups = append(out.Groups, role)
		}
	}
	return out
}

// inOrder puts factors into the one order, so that equal sets are equal lists.
func inOrder(factors []mfa.Factor) []mfa.Factor { return mfa.Both(mfa.Factors, factors) }

// User implements worker.UserPool.
func (a *Account) User(_ context.Context, id mfa.PoolID, sub mfa.Sub) (mfa.User, error) {
	if p := a.pools[id]; p != nil && p.users[sub] != nil {
		return p.users[sub].User, nil
	}
	return mfa.User{Sub: sub}, nil
}

// Pool implements worker.UserPool.
func (a *Account) Pool(_ context.Context, id mfa.PoolID, roles []mfa.Role, _ time.Time) (mfa.Pool, error) {
	p := a.pools[id]
	if p == nil {
		return mfa.Pool{}, fmt.Errorf("ResourceNotFoundException: User pool %s does not exist", id)
	}
	return p.shown(roles), nil
}

// Members implements worker.UserPool.
func (a *Account) Members(_ context.Context, id mfa.PoolID, role mfa.Role) iter.Seq2[mfa.Sub, error] {
	return func(yield func(mfa.Sub, error) bool) {
		p := a.pools[id]
		if p == nil {
			return
		}
		for _, u := range p.order {
			if u.Found && slices.Contains(u.Roles, role) && !yield(u.Sub, nil) {
				return
			}
		}
	}
}

// refusals are Cognito's words (aws-facts section 3) for a factor that the user
// has nothing registered for.
var refusals = map[mfa.Factor]string{
	mfa.TOTP:     "User has not verified software token mfa",
	mfa.SMS:      "User does not have a phone_number set to turn on SMS MFA",
	mfa.Email:    "User does not have an email set to turn on email MFA",
	mfa.WebAuthn: "User has no registered passkey",
}

// Enable implements worker.UserWriter.
func (a *Account) Enable(_ context.Context, id mfa.PoolID, sub mfa.Sub, factors []mfa.Factor, preferred mfa.Factor) error {
	u := a.find(id, sub)
	if u == nil {
		return fmt.Errorf("%w: UserNotFoundException: User does not exist", worker.ErrRefused)
	}
	for _, f := range factors {
		if u.refuse || !slices.Contains(u.registered, f) {
			return fmt.Errorf("%w: InvalidParameterException: %s", worker.ErrRefused, refusals[f])
		}
	}
	u.Factors = inOrder(mfa.Union(u.Factors, factors))
	if preferred != "" {
		u.Preferred = preferred
	}
	return nil
}

// SignOut implements worker.UserWriter.
func (a *Account) SignOut(_ context.Context, id mfa.PoolID, sub mfa.Sub) error {
	if u := a.find(id, sub); u != nil {
		u.signOuts++
	}
	return nil
}

// SignOuts is how often the user's sessions were ended.
func (a *Account) SignOuts(id mfa.PoolID, sub mfa.Sub) int {
	if u := a.find(id, sub); u != nil {
		return u.signOuts
	}
	return 0
}

func (a *Account) find(id mfa.PoolID, sub mfa.Sub) *user {
	if p := a.pools[id]; p != nil && p.users[sub] != nil && p.users[sub].Found {
		return p.users[sub]
	}
	return nil
}

// Ask implements worker.Queue.
func (a *Account) Ask(_ context.Context, id mfa.PoolID, sub mfa.Sub) error {
	a.asks = append(a.asks, Ask{Pool: id, Sub: sub})
	return nil
}

// Asks takes what is in reenable's queue.
func (a *Account) Asks() []Ask {
	asks := a.asks
	a.asks = nil
	return asks
}

// Send implements worker.Alerts.
func (a *Account) Send(_ context.Context, alerts []alert.Alert) error {
	a.sent = append(a.sent, alerts...)
	return nil
}

// Sent takes the alerts that were sent since it was asked last.
func (a *Account) Sent() []alert.Alert {
	sent := a.sent
	a.sent = nil
	return sent
}

// Read implements worker.PolicySource.
func (a *Account) Read(context.Context) ([]byte, error) { return a.policy, nil }

// SetPolicy replaces the policy record; nil removes it.
func (a *Account) SetPolicy(raw []byte) { a.policy = raw }

// Inject makes something go wrong.
func (a *Account) Inject(f Fault) {
	for _, id := range a.order {
		u := a.find(id, f.Sub)
		if u == nil {
			continue
		}
		switch f.Do {
		case LoseTimer:
			for name, t := range a.timers {
				if t.ask.Pool == id && t.ask.Sub == f.Sub {
					delete(a.timers, name)
				}
			}
		case FireTwice:
			u.fireTwice = true
		case RefuseRestore:
			u.refuse = true
		}
	}
}

// Submit records a justification under an ID of the ledger's, and its approval.
func (a *Account) Submit(j JustificationFile) {
	key := mfa.UserJournal(j.Pool, j.Sub)
	id := fmt.Sprintf("J-%d", len(a.justifications[key])+1)
	a.record(key, j.Pool, j.Sub, mfa.Justification{ID: id, Reason: j.Reason, Ticket: j.Ticket, Cause: j.Cause, Author: j.Author, At: j.At})
	if j.Approver != "" {
		a.approvals[key+"/"+id] = mfa.Approval{Approver: j.Approver, At: j.At}
	}
}

// Call does what a recorded call did, at the time it was made. A failed call,
// and one about another pool, does nothing.
func (a *Account) Call(c mfa.Change) {
	if c.Failed != "" {
		return
	}
	if c.Pool == "" {
		for _, id := range a.order {
			if c.Pool == "" && a.find(id, c.Sub) != nil {
				c.Pool = id
			}
		}
	}
	p := a.pools[c.Pool]
	if p == nil {
		return
	}
	switch {
	case c.Sets != nil:
		p.set(*c.Sets)
	case c.EventName == "CreateGroup":
		p.groups[c.Role] = true
	case c.EventName == "DeleteGroup":
		delete(p.groups, c.Role)
		for _, u := range p.order {
			u.Roles = mfa.Without(u.Roles, []mfa.Role{c.Role})
		}
	case c.EventName == "AdminCreateUser" && c.Sub != "" && p.users[c.Sub] == nil:
		p.add(&user{User: mfa.User{Sub: c.Sub, Found: true, Enabled: true, CreatedAt: c.At}})
	default:
		if u := a.find(c.Pool, c.Sub); u != nil {
			u.call(c, p.Mode)
		}
	}
}

func (p *pool) set(s mfa.PoolSettings) {
	if s.Mode != "" {
		p.Mode = s.Mode
	}
	p.Factors = inOrder(mfa.Without(mfa.Union(p.Factors, s.On), s.Off))
	if s.PreToken != nil {
		p.PreToken = *s.PreToken
	}
}

func (u *user) call(c mfa.Change, mode mfa.Mode) {
	switch c.EventName {
	case "AdminAddUserToGroup":
		u.Roles = mfa.Union(u.Roles, []mfa.Role{c.Role})
	case "AdminRemoveUserFromGroup":
		u.Roles = mfa.Without(u.Roles, []mfa.Role{c.Role})
	case "AdminDeleteUser", "DeleteUser":
		u.User = mfa.User{Sub: u.Sub}
	case "AdminDisableUser":
		u.Enabled = false
	case "AdminEnableUser":
		u.Enabled = true
	}
	switch c.Kind {
	case mfa.FactorsChanged:
		if mode == mfa.ModeOn {
			return // nobody can switch factors on or off in such a pool
		}
		u.Factors = inOrder(mfa.Without(mfa.Union(u.Factors, c.On), c.Off))
		u.registered = mfa.Union(u.registered, c.On) // or the call would have failed
		if c.Preferred != "" {
			u.Preferred = c.Preferred
		}
	case mfa.TokenDeleted, mfa.UserChanged:
		u.Factors = mfa.Without(u.Factors, c.Off)
		u.registered = mfa.Without(u.registered, c.Off)
	case mfa.TokenVerified:
		u.registered = mfa.Union(u.registered, []mfa.Factor{c.Verified})
	default: // changes none of his factors
	}
	if !slices.Contains(u.Factors, u.Preferred) {
		u.Preferred = ""
	}
}

// Users returns the users of all pools as they are now, without those who are gone.
func (a *Account) Users() []UserFile {
	var out []UserFile
	for _, id := range a.order {
		for _, u := range a.pools[id].order {
			if !u.Found {
				continue
			}
			out = append(out, UserFile{
				Pool: id, Sub: u.Sub, Username: u.Username, CreatedAt: u.CreatedAt, Enabled: new(u.Enabled), Federated: u.Federated,
				Roles: u.Roles, Factors: u.Factors, Registered: inOrder(u.registered), Preferred: u.Preferred,
			})
		}
	}
	return out
}

// timer is a one-time schedule. A heap orders them by time.
type timer struct {
	name string
	at   time.Time
	ask  Ask
	seq  int
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *timerHeap) Push(x any) { *h = append(*h, x.(*timer)) } //nolint:errcheck // only timers are pushed

// Pop implements heap.Interface.
func (h *timerHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// Schedule implements worker.Timer.
func (a *Account) Schedule(_ context.Context, name string, at time.Time, id mfa.PoolID, sub mfa.Sub) error {
	if old := a.timers[name]; old != nil && !at.Before(old.at) {
		return nil
	}
	a.steps++ // any number that only grows orders timers of the same minute
	t := &timer{name: name, at: at, ask: Ask{Pool: id, Sub: sub, Timer: true}, seq: a.steps}
	a.timers[name] = t
	heap.Push(&a.due, t)
	return nil
}

// Cancel implements worker.Timer.
func (a *Account) Cancel(_ context.Context, name string) error {
	delete(a.timers, name)
	return nil
}

// Stands implements worker.Timer.
func (a *Account) Stands(_ context.Context, name string) (bool, error) {
	return a.timers[name] != nil, nil
}

// Timers returns how many schedules are left.
func (a *Account) Timers() int { return len(a.timers) }

// NextTimer returns when the next timer fires; zero if there is none.
func (a *Account) NextTimer() time.Time {
	for len(a.due) > 0 {
		if t := a.due[0]; a.timers[t.name] == t {
			return t.at
		}
		heap.Pop(&a.due) // was cancelled, moved or lost
	}
	return time.Time{}
}

// Fire fires the timers that are due at now: what they send is in the result,
// and they are gone.
func (a *Account) Fire(now time.Time) []Ask {
	var asks []Ask
	for at := a.NextTimer(); !at.IsZero() && !at.After(now); at = a.NextTimer() {
		t := a.due[0]
		delete(a.timers, t.name)
		asks = append(asks, t.ask)
		if u := a.find(t.ask.Pool, t.ask.Sub); u != nil && u.fireTwice {
			u.fireTwice = false
			asks = append(asks, t.ask)
		}
	}
	return asks
}

// Before returns the incidents that were open before the start.
func (a *Account) Before() []mfa.Incident { return a.before }
