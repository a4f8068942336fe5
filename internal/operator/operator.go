// Package operator is a person who uses the command: it finds the user that is
// meant, foretells what an override will bring, switches factors off with the
// person's own credentials and watches what Relatch makes of it.
//
// It decides nothing by itself: what will be is what mfa.Decide says of a change
// that has not happened yet, and what is taken or refused is override's to say.
// It refuses to know terminals.
package operator

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/request"
	"github.com/stackflow/relatch/internal/worker"
)

// Operator is the person at work.
type Operator struct {
	// House has the guarded pools, and whether Relatch only observes.
	House  mfa.House
	Users  Users
	Ledger Ledger
	Policy worker.PolicySource
	Desk   Desk
	Hand   Hand
	Now    func() time.Time
	// Wait waits that long, or until the context ends, whose error it returns.
	Wait func(context.Context, time.Duration) error
	// Flags are what the commands that it suggests have to repeat, such as " --stack prod".
	Flags string
}

// Users is what Operator needs of the user pools.
type Users interface {
	User(context.Context, mfa.PoolID, mfa.Sub) (mfa.User, error)
	Pool(ctx context.Context, id mfa.PoolID, roles []mfa.Role, since time.Time) (mfa.Pool, error)
	Find(ctx context.Context, pool mfa.PoolID, name string) ([]mfa.Sub, error)
}

// Ledger is what Operator needs of the ledger. It only reads.
type Ledger interface {
	worker.Loader
	Justifications(context.Context, mfa.PoolID, mfa.Sub) ([]mfa.Justification, error)
	TicketUse(ctx context.Context, ticket string) (*mfa.TicketUse, error)
	Open(context.Context, mfa.PoolID) iter.Seq2[mfa.Standing, error]
}

// Desk takes requests to the function override.
type Desk interface {
	Ask(context.Context, request.Request) (request.Answer, error)
}

// Hand takes factors from users; cognito.Hand has the contract.
type Hand interface {
	Disable(ctx context.Context, pool mfa.PoolID, username string, factors []mfa.Factor, ticket string) error
	DeleteToken(ctx context.Context, pool mfa.PoolID, username, ticket string) (bool, error)
}

// Person is the user that is meant.
type Person struct {
	Pool mfa.PoolID
	mfa.User
	// Name is what people call the user: the username, or the address by which
	// one was found whose username is the sub.
	Name string
}

// Whole is the name with the roles.
func (p Person) Whole() string {
	if len(p.Roles) == 0 {
		return p.Name
	}
	return p.Name + " (" + p.Held() + ")"
}

// Held are the roles, separated by commas.
func (p Person) Held() string {
	roles := make([]string, len(p.Roles))
	for i, r := range p.Roles {
		roles[i] = string(r)
	}
	return strings.Join(roles, ", ")
}

// Unclear is the error of a USER that means nobody, or more than one.
type Unclear struct {
	Who        string
	Pools      []mfa.PoolID // that were looked into
	Candidates []Person
}

func (u *Unclear) Error() string {
	if len(u.Candidates) == 0 {
		pools := make([]string, len(u.Pools))
		for i, p := range u.Pools {
			pools[i] = string(p)
		}
		what := "no user has the username, e-mail address or sub"
		if overrideID().MatchString(u.Who) {
			what = "no override is open that is called"
		}
		return fmt.Sprintf("%s %s in the guarded pools (%s)", what, u.Who, strings.Join(pools, ", "))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s means %d users; take the one you mean as POOL/SUB:", u.Who, len(u.Candidates))
	for _, c := range u.Candidates {
		fmt.Fprintf(&b, "\n  %s/%s  %s", c.Pool, c.Sub, c.Whole())
	}
	return b.String()
}

func overrideID() *regexp.Regexp { return regexp.MustCompile(`^O-[A-Z2-7]{10}$`) }

// Find returns the user whom a username, an e-mail address, a sub, POOL/SUB or
// the id of an open override means. The error is an *Unclear where that is not
// exactly one.
func (o *Operator) Find(ctx context.Context, who string) (Person, error) {
	if overrideID().MatchString(who) {
		return o.byOverride(ctx, who)
	}
	pools, name := o.House.Pools, who
	for _, p := range o.House.Pools {
		if rest, ok := strings.CutPrefix(who, string(p)+"/"); ok {
			pools, name = []mfa.PoolID{p}, rest
			user, err := o.person(ctx, p, mfa.Sub(rest), who)
			if err != nil || user.Found {
				return user, err
			}
		}
	}
	u := Unclear{Who: who, Pools: pools}
	for _, p := range pools {
		subs, err := o.Users.Find(ctx, p, name)
		if err != nil {
			return Person{}, fmt.Errorf("find %s in pool %s: %w", who, p, err)
		}
		for _, sub := range subs {
			user, err := o.person(ctx, p, sub, name)
			if err != nil {
				return Person{}, err
			}
			if user.Found {
				u.Candidates = append(u.Candidates, user)
			}
		}
	}
	if len(u.Candidates) != 1 {
		return Person{}, &u
	}
	return u.Candidates[0], nil
}

func (o *Operator) byOverride(ctx context.Context, id string) (Person, error) {
	for _, p := range o.House.Pools {
		for s, err := range o.Ledger.Open(ctx, p) {
			if err != nil {
				return Person{}, err
			}
			if s.Override != nil && s.Override.ID == id {
				sub := mfa.Sub(strings.TrimPrefix(s.Journal, mfa.UserJournal(p, "")))
				return o.person(ctx, p, sub, "")
			}
		}
	}
	return Person{}, &Unclear{Who: id, Pools: o.House.Pools}
}

func (o *Operator) person(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, name string) (Person, error) {
	user, err := o.Users.User(ctx, pool, sub)
	if err != nil {
		return Person{}, fmt.Errorf("look at %s in pool %s: %w", sub, pool, err)
	}
	if user.Username != string(sub) || !strings.Contains(name, "@") {
		name = user.Username
	}
	if name == "" {
		name = string(sub)
	}
	return Person{Pool: pool, User: user, Name: name}, nil
}

// Standing is how the ledger has the user.
func (o *Operator) Standing(ctx context.Context, p Person) (mfa.Standing, error) {
	loaded, err := o.Ledger.Load(ctx, worker.Query{Journal: mfa.UserJournal(p.Pool, p.Sub)})
	if err != nil {
		return mfa.Standing{}, fmt.Errorf("read the ledger: %w", err)
	}
	return loaded.Standing, nil
}

// Refusal is why what is asked for is not done. Nothing was changed.
type Refusal struct {
	Why string
	// Failed are the rules of the policy that are not met.
	Failed []mfa.Rule
}

func (r *Refusal) Error() string { return r.Why }

func refuse(format string, args ...any) error { return &Refusal{Why: fmt.Sprintf(format, args...)} }

// pause is how often the ledger is looked at by whoever waits for it.
const pause = 5 * time.Second

// Await looks at the ledger until the user's standing is as wanted, for at most
// that long, and reports whether it was. Zero: it does not look at all.
func (o *Operator) Await(ctx context.Context, p Person, most time.Duration, wanted func(mfa.Standing) bool) (mfa.Standing, bool, error) {
	if most <= 0 {
		return mfa.Standing{}, false, nil
	}
	for end := o.Now().Add(most); ; {
		s, err := o.Standing(ctx, p)
		if err != nil || wanted(s) {
			return s, err == nil, err
		}
		if !o.Now().Before(end) {
			return s, false, nil
		}
		if err := o.Wait(ctx, pause); err != nil {
			return s, false, fmt.Errorf("wait for Relatch: %w", err)
		}
	}
}

// End asks for the end of the user's open override, which it returns also with an
// error of asking. Where the device was declared lost and no token was verified
// since, it is refused unless lockOut is set: it would lock the user out or, where
// the token is deleted, switch nothing on.
func (o *Operator) End(ctx context.Context, p Person, lockOut bool) (mfa.Override, error) {
	s, err := o.Standing(ctx, p)
	switch {
	case err != nil:
		return mfa.Override{}, err
	case s.Override == nil:
		return mfa.Override{}, refuse("no override of %s is open", p.Name)
	case s.Override.Match.Cause == mfa.LostDevice && !s.Override.Verified && !lockOut:
		return mfa.Override{}, refuse("the device of %s was declared lost: %s. Have the user enrol a new device, which ends %s by itself; or end it all the same: relatch end %s --lock-out%s",
			p.Name, withoutDevice(s.Override), s.Override.ID, s.Override.ID, o.Flags)
	}
	_, err = o.Desk.Ask(ctx, request.Request{Do: request.End, Pool: p.Pool, Sub: p.Sub})
	return *s.Override, refused(err)
}

// withoutDevice is what the end brings to a user who has no new device.
func withoutDevice(o *mfa.Override) string {
	on := o.Restorable()
	if len(on) == 0 {
		return "its token is deleted, and nothing is left to switch on. Ending now signs the user out, tells on-call that MFA cannot be restored, and leaves it off"
	}
	return fmt.Sprintf("now %s would be asked for again, and lock out the user, who does not have it", alert.Names(on))
}

// refused makes a *Refusal of a problem that override names, and leaves every
// other error as it is.
func refused(err error) error {
	if p, ok := errors.AsType[*request.Problem](err); ok && p.Type != request.Unavailable {
		return &Refusal{Why: p.Detail, Failed: p.FailedRules}
	}
	return err
}

// Justify records a reason, for the override that is open or one to come.
func (o *Operator) Justify(ctx context.Context, p Person, e Exception) (request.Answer, error) {
	a, err := o.Desk.Ask(ctx, e.request(p))
	return a, refused(err)
}

// Approve approves of the justification of that ID.
func (o *Operator) Approve(ctx context.Context, p Person, id string) (request.Answer, error) {
	a, err := o.Desk.Ask(ctx, request.Request{Do: request.Approve, Pool: p.Pool, Sub: p.Sub, Justification: id})
	return a, refused(err)
}

// Justification is the user's of that ID, nil if there is none.
func (o *Operator) Justification(ctx context.Context, p Person, id string) (*mfa.Justification, error) {
	all, err := o.Ledger.Justifications(ctx, p.Pool, p.Sub)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	for _, j := range all {
		if j.ID == id {
			return &j, nil
		}
	}
	return nil, nil //nolint:nilnil // as the comment says
}

// Rules is the policy that holds, and the doubt about it: that the record is missing
// or invalid, so that Relatch goes by an older one, or that the person may not read
// it. Empty: there is none.
func (o *Operator) Rules(ctx context.Context) (p mfa.Policy, doubt string, err error) {
	record := heard{PolicySource: o.Policy}
	if p, err = worker.Rules(ctx, &record, o.Ledger); err != nil || record.wrong == nil {
		return p, "", err
	}
	doubt = "this goes by the last good policy"
	if p.Revision == mfa.DefaultPolicy().Revision {
		doubt = "this goes by the defaults"
	}
	if record.unread {
		doubt += ", and Relatch may go by another"
	}
	return p, fmt.Sprintf("%s: %v", doubt, record.wrong), nil
}

// heard keeps what is wrong with the record.
type heard struct {
	worker.PolicySource
	wrong  error
	unread bool
}

func (h *heard) Read(ctx context.Context) ([]byte, error) {
	raw, err := h.PolicySource.Read(ctx)
	if h.wrong, h.unread = err, err != nil; err == nil {
		_, h.wrong = mfa.ParsePolicy(raw)
	}
	return raw, err
}
