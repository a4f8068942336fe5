// Package snapshot writes down user pools as they are now: the account.json that
// a replay starts from.
//
// It refuses to judge what it sees, and to keep anything of a user that a replay
// does not need: of the attributes there is the username only.
package snapshot

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/whole"
)

// Users are the live pools.
type Users interface {
	Pool(ctx context.Context, id mfa.PoolID, roles []mfa.Role, since time.Time) (mfa.Pool, error)
	ListRoles(ctx context.Context, pool mfa.PoolID) ([]mfa.Role, error)
	List(ctx context.Context, pool mfa.PoolID) iter.Seq2[[]cognito.Listed, error]
	ListMembers(ctx context.Context, pool mfa.PoolID, role mfa.Role) iter.Seq2[[]cognito.Listed, error]
	Factors(ctx context.Context, pool mfa.PoolID, l cognito.Listed) (f cognito.Factors, found bool, err error)
}

// Taker takes snapshots of the pools.
type Taker struct {
	Users Users
	Pools []mfa.PoolID
	// Roles are the groups whose members are taken, without their other roles.
	// None: everybody is taken, with every role.
	Roles []mfa.Role
	// Registered: Users also show what is registered and not switched on.
	Registered bool
	// Tell is told how far it is, by one goroutine at a time; nil for nobody.
	Tell func(Progress)
	Now  func() time.Time
}

// Progress is how far a snapshot is.
type Progress struct {
	Listed     int       // users found so far
	Looked     int       // of them looked at
	Kept       int       // of these looked at before an interruption
	Gone       int       // of these deleted since they were listed
	Began      time.Time // when the snapshot was begun, before any interruption
	LookedFrom time.Time // when all were listed, since when they are looked at; zero: not yet
}

// lookers are how many users are looked at at once: enough for all of the quota,
// 120 calls a second, if each takes a quarter of a second.
const lookers = 32

// person is a user who is to be looked at.
type person struct {
	cognito.Listed
	pool  mfa.PoolID
	roles []mfa.Role
	known *kept // once looked at, and found
}

// Take writes a snapshot to the file, which is replaced as a whole at the end and
// can be read by its owner only. What is found out meanwhile stands in the file
// Partial(path): where Take ended with an error, it goes on from there the next
// time, if it is of the same pools, roles and factors. Who is deleted meanwhile is left
// out. The same pools give the same file, byte for byte.
func (t *Taker) Take(ctx context.Context, path string) error {
	notes, err := open(Partial(path), head{Schema: Schema, Began: t.Now().UTC().Truncate(time.Second), Pools: t.Pools, Roles: slices.Sorted(slices.Values(t.Roles)), Registered: t.Registered})
	if err != nil {
		return err
	}
	defer notes.Close()
	p := Progress{Began: notes.head.Began}
	var pools []account.PoolFile
	var people []*person
	missing := t.Roles
	for _, id := range t.Pools {
		shown, err := t.Users.Pool(ctx, id, nil, time.Time{})
		if err != nil {
			return fmt.Errorf("pool %s: %w", id, err)
		}
		pools = append(pools, account.PoolFile{ID: id, Mode: shown.Mode, Factors: listed(shown.Factors), PreToken: &shown.PreToken})
		roles, err := t.Users.ListRoles(ctx, id)
		if err != nil {
			return fmt.Errorf("pool %s: %w", id, err)
		}
		missing = mfa.Without(missing, roles)
		some, err := t.list(ctx, id, roles, &p)
		if err != nil {
			return fmt.Errorf("pool %s: %w", id, err)
		}
		people = append(people, some...)
	}
	if len(missing) > 0 {
		return fmt.Errorf("none of the pools has a group %s", missing[0])
	}
	if err := t.look(ctx, people, notes, &p); err != nil {
		return err
	}
	people = slices.DeleteFunc(people, func(u *person) bool { return u.known == nil })
	if err := whole.Write(path, func(w *bufio.Writer) error { return write(w, pools, people) }); err != nil {
		return err
	}
	return errors.Join(notes.Close(), os.Remove(Partial(path)))
}

// list lists who is to be taken of a pool that has these roles, each once, in the
// order of their names.
func (t *Taker) list(ctx context.Context, pool mfa.PoolID, roles []mfa.Role, p *Progress) ([]*person, error) {
	found := map[mfa.Sub]*person{}
	add := func(page []cognito.Listed, role mfa.Role) {
		for _, l := range page {
			if found[l.Sub] == nil {
				found[l.Sub] = &person{Listed: l, pool: pool}
				p.Listed++
			}
			if u := found[l.Sub]; role != "" && !slices.Contains(u.roles, role) {
				u.roles = append(u.roles, role)
			}
		}
		t.tell(*p)
	}
	if len(t.Roles) > 0 {
		roles = mfa.Both(roles, t.Roles)
	}
	for _, role := range roles {
		for page, err := range t.Users.ListMembers(ctx, pool, role) {
			if err != nil {
				return nil, err
			}
			add(page, role)
		}
	}
	if len(t.Roles) == 0 {
		for page, err := range t.Users.List(ctx, pool) {
			if err != nil {
				return nil, err
			}
			add(page, "")
		}
	}
	people := make([]*person, 0, len(found))
	for _, u := range found {
		people = append(people, u)
	}
	slices.SortFunc(people, func(a, b *person) int { return cmp.Or(cmp.Compare(a.Username, b.Username), cmp.Compare(a.Sub, b.Sub)) })
	return people, nil
}

// look looks at everybody who has not been looked at, and notes what it sees.
func (t *Taker) look(ctx context.Context, people []*person, notes *notes, p *Progress) error {
	var todo []*person
	for _, u := range people {
		if u.known = notes.known[key{u.pool, u.Sub}]; u.known == nil {
			todo = append(todo, u)
		}
	}
	p.Kept, p.LookedFrom = len(people)-len(todo), t.Now()
	p.Looked = p.Kept
	t.tell(*p)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var mu sync.Mutex
	next := func() *person {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil || len(todo) == 0 {
			return nil
		}
		u := todo[0]
		todo = todo[1:]
		return u
	}
	saw := func(u *person, f cognito.Factors, found bool, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			stop(fmt.Errorf("pool %s: user %s: %w", u.pool, u.Sub, err))
			return
		}
		if p.Looked++; found {
			u.known = &kept{u.pool, u.Sub, f.On, f.Registered, f.Preferred}
			if err := notes.write(u.known); err != nil {
				stop(err)
			}
		} else {
			p.Gone++
		}
		t.tell(*p)
	}
	var all sync.WaitGroup
	for range lookers {
		all.Go(func() {
			for u := next(); u != nil; u = next() {
				f, found, err := t.Users.Factors(ctx, u.pool, u.Listed)
				saw(u, f, found, err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

func (t *Taker) tell(p Progress) {
	if t.Tell != nil {
		t.Tell(p)
	}
}

// write writes an account file with a line for each pool and each user.
func write(w io.Writer, pools []account.PoolFile, people []*person) error {
	fmt.Fprint(w, `{"pools":[`)
	if err := lines(w, len(pools), func(i int) any { return pools[i] }); err != nil {
		return err
	}
	fmt.Fprint(w, `],"users":[`)
	if err := lines(w, len(people), func(i int) any { return people[i].file() }); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, `]}`)
	return err
}

func lines(w io.Writer, n int, value func(int) any) error {
	for i := range n {
		raw, err := json.Marshal(value(i), json.OmitZeroStructFields(true))
		if err != nil {
			return err
		}
		comma := ","
		if i == n-1 {
			comma = ""
		}
		if _, err := fmt.Fprintf(w, "\n%s%s", raw, comma); err != nil {
			return err
		}
	}
	return nil
}

func (u *person) file() account.UserFile {
	return account.UserFile{
		Pool: u.pool, Sub: u.Sub, Username: u.Username, CreatedAt: u.CreatedAt.Truncate(time.Second), Enabled: &u.Enabled, Federated: u.Federated,
		Roles: listed(u.roles), Factors: listed(u.known.On), Registered: listed(u.known.Registered), Preferred: u.known.Preferred,
	}
}

// listed is a list that is written also when it is empty: left out it would mean
// the default.
func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
