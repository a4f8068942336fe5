package account

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stackflow/relatch/internal/mfa"
)

// File is an account.json: the account before the earliest recorded call, and
// what happens in it besides the deliveries (README, "Your own CloudTrail").
type File struct {
	// Now is when the clock starts. Defaults to the arrival of the first delivery.
	Now time.Time `json:"now"`
	// Pools are the guarded ones. Defaults to those of the users, optional, with
	// TOTP and SMS and the pre-token trigger.
	Pools          []PoolFile          `json:"pools"`
	Users          []UserFile          `json:"users"`
	Justifications []JustificationFile `json:"justifications"`
	// Policy is what the worker has read before the start. Defaults to mfa.DefaultPolicy.
	Policy         jsontext.Value `json:"policy"`
	Policies       []PolicyFile   `json:"policies"`
	Mode           string         `json:"mode"` // "enforce", the default, or "observe"
	Guard          []string       `json:"guard"`
	OwnRole        string         `json:"own_role"`
	DeploymentRole string         `json:"deployment_role"`
	Faults         []Fault        `json:"faults"`
}

// PoolFile is a user pool.
type PoolFile struct {
	ID       mfa.PoolID   `json:"id"`
	Mode     mfa.Mode     `json:"mode"`      // defaults to "optional"
	Factors  []mfa.Factor `json:"factors"`   // defaults to totp and sms
	PreToken *bool        `json:"pre_token"` // defaults to true
}

// UserFile is a user.
type UserFile struct {
	Pool       mfa.PoolID   `json:"pool_id"` // defaults to the only pool
	Sub        mfa.Sub      `json:"sub"`
	Username   string       `json:"username"`
	CreatedAt  time.Time    `json:"created_at"` // defaults to long ago
	Enabled    *bool        `json:"enabled"`    // defaults to true
	Federated  bool         `json:"federated"`
	Roles      []mfa.Role   `json:"roles"`
	Factors    []mfa.Factor `json:"factors"`
	Registered []mfa.Factor `json:"registered"` // defaults to factors
	Preferred  mfa.Factor   `json:"preferred"`
	// Adopted says whether the user is already part of the posture. Defaults to
	// true for a user with a required role and no adequate factor.
	Adopted *bool `json:"adopted"`
}

// JustificationFile is a recorded justification.
type JustificationFile struct {
	Pool     mfa.PoolID `json:"pool_id"` // defaults to the only pool
	Sub      mfa.Sub    `json:"sub"`
	Reason   string     `json:"reason"`
	Ticket   string     `json:"ticket"`
	Cause    mfa.Cause  `json:"cause"` // defaults to "other"
	Author   string     `json:"author"`
	Approver string     `json:"approver"`
	At       time.Time  `json:"at"`
}

// PolicyFile replaces the policy record at a time; null: it is missing from then on.
type PolicyFile struct {
	At    time.Time      `json:"at"`
	Value jsontext.Value `json:"value"`
}

// Fault is something that goes wrong.
type Fault struct {
	At  time.Time `json:"at"`
	Sub mfa.Sub   `json:"sub"`
	Do  FaultKind `json:"do"`
}

// FaultKind names a fault.
type FaultKind string

// The faults.
const (
	LoseTimer     FaultKind = "lose_timer"     // the user's standing timer vanishes
	FireTwice     FaultKind = "fire_twice"     // the user's next timer fires twice
	RefuseRestore FaultKind = "refuse_restore" // every restore is refused from then on
)

// ParseFile reads an account.json. The error joins every problem found, each
// with the path of its field.
func ParseFile(raw []byte) (File, error) {
	var f File
	if err := json.Unmarshal(raw, &f, json.RejectUnknownMembers(true)); err != nil {
		return File{}, err
	}
	if err := f.complete(); err != nil {
		return File{}, err
	}
	return f, nil
}

// complete fills in the defaults and checks the rest.
func (f *File) complete() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	factors := func(path string, list []mfa.Factor) {
		for i, x := range list {
			if !slices.Contains(mfa.Factors, x) {
				problem("%s[%d]: %q is no factor; want one of %v", path, i, x, mfa.Factors)
			}
		}
	}
	moment := func(path string, at time.Time, must bool) {
		switch {
		case at.IsZero() && must:
			problem("%s: is missing", path)
		case !at.IsZero() && (at.Year() < 2000 || at.Year() > 2999):
			problem("%s: %s is not between the years 2000 and 2999", path, at.Format(time.RFC3339))
		}
	}
	if len(f.Pools) == 0 {
		for _, u := range f.Users {
			if u.Pool != "" && !slices.ContainsFunc(f.Pools, func(p PoolFile) bool { return p.ID == u.Pool }) {
				f.Pools = append(f.Pools, PoolFile{ID: u.Pool})
			}
		}
	}
	for i := range f.Pools {
		p, path := &f.Pools[i], fmt.Sprintf("pools[%d]", i)
		if p.ID == "" {
			problem("%s.id: is missing", path)
		}
		if slices.ContainsFunc(f.Pools[:i], func(other PoolFile) bool { return other.ID == p.ID }) {
			problem("%s.id: %s is there twice", path, p.ID)
		}
		if p.Mode == "" {
			p.Mode = mfa.ModeOptional
		}
		if p.Mode != mfa.ModeOff && p.Mode != mfa.ModeOptional && p.Mode != mfa.ModeOn {
			problem("%s.mode: %q is none of off, optional, on", path, p.Mode)
		}
		if p.Factors == nil {
			p.Factors = []mfa.Factor{mfa.TOTP, mfa.SMS}
		}
		if p.PreToken == nil {
			p.PreToken = new(true)
		}
		factors(path+".factors", p.Factors)
	}
	pool := func(path string, id *mfa.PoolID) {
		switch {
		case *id == "" && len(f.Pools) == 1:
			*id = f.Pools[0].ID
		case *id == "":
			problem("%s.pool_id: is missing and there is not just one pool", path)
		case !slices.ContainsFunc(f.Pools, func(p PoolFile) bool { return p.ID == *id }):
			problem("%s.pool_id: %s is not in pools", path, *id)
		}
	}
	type key struct {
		pool mfa.PoolID
		sub  mfa.Sub
	}
	known := map[key]bool{}
	for i := range f.Users {
		u, path := &f.Users[i], fmt.Sprintf("users[%d]", i)
		pool(path, &u.Pool)
		if u.Sub == "" {
			problem("%s.sub: is missing", path)
		}
		if known[key{u.Pool, u.Sub}] {
			problem("%s.sub: %s is there twice", path, u.Sub)
		}
		known[key{u.Pool, u.Sub}] = true
		if u.Enabled == nil {
			u.Enabled = new(true)
		}
		if u.Registered == nil {
			u.Registered = u.Factors
		}
		factors(path+".factors", u.Factors)
		factors(path+".registered", u.Registered)
		if u.Preferred != "" {
			factors(path+".preferred", []mfa.Factor{u.Preferred})
		}
	}
	for i := range f.Justifications {
		j, path := &f.Justifications[i], fmt.Sprintf("justifications[%d]", i)
		pool(path, &j.Pool)
		switch j.Cause {
		case "":
			j.Cause = mfa.OtherCause
		case mfa.LostDevice, mfa.BrokenApp, mfa.OtherCause:
		default:
			problem("%s.cause: %q is none of lost_device, broken_app, other", path, j.Cause)
		}
		moment(path+".at", j.At, true)
	}
	for i, x := range f.Faults {
		if x.Do != LoseTimer && x.Do != FireTwice && x.Do != RefuseRestore {
			problem("faults[%d].do: %q is none of lose_timer, fire_twice, refuse_restore", i, x.Do)
		}
		moment(fmt.Sprintf("faults[%d].at", i), x.At, true)
	}
	for i, p := range f.Policies {
		moment(fmt.Sprintf("policies[%d].at", i), p.At, true)
	}
	moment("now", f.Now, false)
	if f.Mode != "" && f.Mode != "enforce" && f.Mode != "observe" {
		problem("mode: %q is neither enforce nor observe", f.Mode)
	}
	// A ticket is of the user for whom it was recorded first, whatever stands first in the file.
	slices.SortStableFunc(f.Justifications, func(a, b JustificationFile) int { return a.At.Compare(b.At) })
	return errors.Join(problems...)
}

// House is what the worker of this account is told.
func (f *File) House() mfa.House {
	h := mfa.House{Guard: f.Guard, DeploymentRole: f.DeploymentRole, Observe: f.Mode == "observe"}
	if f.OwnRole != "" {
		h.OwnRoles = []string{f.OwnRole}
	}
	for _, p := range f.Pools {
		h.Pools = append(h.Pools, p.ID)
	}
	return h
}

// Infer makes up an account from recorded calls, in the order of their time, which
// it goes through twice:
// every pool that they name is ours; before his first disable a user is
// protected by the factors that it switches off, else by TOTP; roles are those
// of the group events.
func Infer(calls iter.Seq[mfa.Change]) File {
	f := File{}
	pools, users := map[mfa.PoolID]bool{}, map[string]int{}
	addPool := func(id mfa.PoolID) {
		if !pools[id] {
			pools[id] = true
			f.Pools = append(f.Pools, PoolFile{ID: id, PreToken: new(false)})
		}
	}
	home := map[mfa.Sub]mfa.PoolID{} // where else a sub is seen, for calls without a pool
	for c := range calls {
		if c.Pool != "" && (c.NamesUser() || c.Kind == mfa.PoolChanged || c.Kind == mfa.RoleChanged) {
			addPool(c.Pool)
			if c.Sub != "" {
				home[c.Sub] = c.Pool
			}
		}
	}
	protected, joined := map[int]bool{}, map[string]bool{}
	for c := range calls {
		if !c.NamesUser() || c.Sub == "" || c.Failed != "" {
			continue
		}
		if c.Pool == "" {
			if c.Pool = home[c.Sub]; c.Pool == "" {
				c.Pool = UnknownPool
				if len(f.Pools) == 1 {
					c.Pool = f.Pools[0].ID
				}
				addPool(c.Pool)
				home[c.Sub] = c.Pool
			}
		}
		journal := mfa.UserJournal(c.Pool, c.Sub)
		i, seen := users[journal]
		if !seen {
			i = len(f.Users)
			users[journal] = i
			f.Users = append(f.Users, UserFile{Pool: c.Pool, Sub: c.Sub, Factors: []mfa.Factor{mfa.TOTP}, Adopted: new(false)})
		}
		u := &f.Users[i]
		if len(c.Off) > 0 && !protected[i] {
			protected[i] = true
			u.Factors = c.Off
		}
		member := journal + "\x00" + string(c.Role)
		if c.EventName == "AdminRemoveUserFromGroup" && !joined[member] {
			u.Roles = append(u.Roles, c.Role) // he was in it from the start
		}
		joined[member] = joined[member] || c.Kind == mfa.RoleChanged
	}
	if err := f.complete(); err != nil {
		panic(err) // cannot happen: everything that is checked was made here
	}
	return f
}

// UnknownPool stands for the pool of users whom no event names a pool for.
const UnknownPool mfa.PoolID = "unknown-pool"
