package mfa

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	thePool = PoolID("us-east-1_EXAMPLE12")
	theSub  = Sub("6f1f6c0e-5d0a-4b7e-9f2a-1c2d3e4f5a6b")
	ownRole = "arn:aws:iam::111122223333:role/relatch-reenable"
	deploys = "arn:aws:iam::111122223333:role/relatch-deploy"
	ruleARN = "arn:aws:events:us-east-1:111122223333:rule/relatch-mfa"
)

// t0 is when the administrator switches the user's MFA off.
var t0 = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

var admin = Actor{ARN: "arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7", Issuer: "arn:aws:iam::111122223333:role/SupportAdmin", Type: Admin}

func own() Actor {
	return Actor{ARN: "arn:aws:sts::111122223333:assumed-role/relatch-reenable/x", Type: Admin}
}

// theUser has the required role and the given factors switched on.
func theUser(factors ...Factor) User {
	return User{
		Sub: theSub, Found: true, Username: "maria@example.com", Enabled: true, CreatedAt: t0.AddDate(-1, 0, 0),
		Roles: []Role{"itsm_manager"}, Factors: factors,
	}
}

// now is a state in which the user, last seen with TOTP, has the given factors.
func now(factors ...Factor) State {
	return State{
		House: House{Pools: []PoolID{thePool}, Guard: []string{ruleARN}, OwnRoles: []string{ownRole}, DeploymentRole: deploys},
		Pool:  Pool{Mode: ModeOptional, Factors: []Factor{TOTP, SMS}, PreToken: true},
		User:  theUser(factors...),
		Standing: Standing{
			Journal: UserJournal(thePool, theSub), EverHeld: true,
			Baseline: &Baseline{Factors: []Factor{TOTP}, Preferred: TOTP, SeenAt: t0.AddDate(0, 0, -1)},
		},
	}
}

// but is the state with something changed.
func but(s State, change ...func(*State)) State {
	for _, f := range change {
		f(&s)
	}
	return s
}

func optional(s *State)   { s.User.Roles = []Role{"viewer"} }
func disabled(s *State)   { s.User.Enabled = false }
func enabled(s *State)    { s.User.Enabled = true }
func gone(s *State)       { s.User = User{Sub: theSub} }
func observed(s *State)   { s.House.Observe = true }
func enforced(s *State)   { s.House.Observe = false }
func tried(s *State)      { s.Standing.Override.Tried = true }
func modeOff(s *State)    { s.Pool.Mode = ModeOff }
func modeOn(s *State)     { s.Pool.Mode = ModeOn }
func known(s *State)      { s.Known = true }
func federated(s *State)  { s.User.Federated = true }
func noTimer(s *State)    { s.TimerMissing = true }
func swept(s *State)      { s.Swept = []Role{"itsm_manager"} }
func neverHeld(s *State)  { s.Standing.EverHeld, s.Standing.Baseline = false, &Baseline{} }
func unseen(s *State)     { s.Standing.EverHeld, s.Standing.Baseline = false, nil }
func young(s *State)      { s.User.CreatedAt = t0.AddDate(0, 0, -3) }
func mass(s *State)       { s.Counted = []Sub{"a", "b", "c", "d", "e"} }
func afterMass(s *State)  { s.Counted = []Sub{"a", "b", "c", "d", "e", "f"} }
func counted(s *State)    { s.Counted = []Sub{"a", "b", "c", "d", "e", theSub} }
func justified(s *State)  { s.Justifications = []Justification{reasonable()} }
func lostDevice(s *State) { justified(s); s.Justifications[0].Cause = LostDevice }
func intended(s *State) {
	s.Standing.Intention = &Intention{Record: Record{Verdict: Restores}}
}

// late: the disable was delivered two hours after the deadline.
func late(s *State) {
	s.Standing = Decide(*s, off(t0, TOTP), DefaultPolicy(), t0.Add(26*time.Hour)).Standing
}

func refused(s *State) {
	o := *s.Standing.Override
	o.Unrestorable = true
	s.Standing.Override = &o
}

func has(factors ...Factor) func(*State) {
	return func(s *State) { s.User.Factors = factors }
}

func noted(at time.Time) func(*State) {
	return func(s *State) { s.Standing.NotedAt = at }
}

// warned: the user's own incident has been open since then.
func warned(since time.Time, severity Severity) func(*State) {
	return func(s *State) {
		s.Standing.Incidents = []Incident{{Key: s.Standing.Journal, Kind: RequiredRoleWithoutMFA, Severity: severity, Since: since}}
	}
}

// ended: there was an override from then to then.
func ended(from, to time.Time) func(*State) {
	return func(s *State) { s.Standing.Past = []Past{{ID: "O-1", OpenedAt: from, ClosedAt: to}} }
}

func reasonable() Justification {
	return Justification{
		ID: "J-1", Reason: "Lost her phone on the train, the new one arrives tomorrow", Ticket: "CHG0012345",
		Cause: OtherCause, Author: admin.ARN, At: t0.Add(-10 * time.Minute),
	}
}

// opened is the state in which the user's TOTP was switched off at t0 and that
// was looked at immediately.
func opened(given ...func(*State)) State {
	s := but(now(), given...)
	s.Standing = Decide(s, off(t0, TOTP), DefaultPolicy(), t0).Standing
	return s
}

func change(kind Kind, name string, at time.Time) Change {
	return Change{Key: name + at.Format(time.RFC3339), Kind: kind, EventName: name, At: at, Actor: admin, Pool: thePool, Sub: theSub}
}

func off(at time.Time, factors ...Factor) Change {
	c := change(FactorsChanged, "AdminSetUserMFAPreference", at)
	c.Off = factors
	return c
}

func on(at time.Time, factors ...Factor) Change {
	c := change(FactorsChanged, "AdminSetUserMFAPreference", at)
	c.On = factors
	return c
}

func verified(at time.Time) Change {
	c := change(TokenVerified, "VerifySoftwareToken", at)
	c.Verified = TOTP
	return c
}

func promoted(at time.Time) Change { return change(RoleChanged, "AdminAddUserToGroup", at) }

func by(a Actor, c Change) Change {
	c.Actor = a
	return c
}

func failed(c Change) Change {
	c.Failed = "AccessDeniedException"
	return c
}

// level is a change without a delivery.
func level(kind Kind) Change { return Change{Kind: kind, Pool: thePool, Sub: theSub} }

func timer() Change {
	c := level(Due)
	c.Timer = true
	return c
}

// guarded is a call on a rule of EventBridge.
func onRule(by Actor, rule string) Change {
	return Change{
		Key: "1", Kind: GuardChanged, EventName: "DisableRule", At: t0, Actor: by, Region: "us-east-1", Account: "111122223333",
		Service: "events", Resources: []string{rule},
	}
}

func guardState() State {
	return State{House: now().House, Standing: Standing{Journal: GuardJournal(ruleARN)}}
}

func poolChange() Change {
	return Change{Key: "1", Kind: PoolChanged, EventName: "SetUserPoolMfaConfig", At: t0, Actor: admin, Pool: thePool}
}

// poolNow is a state of the pool's journal: it was optional with TOTP and SMS and a trigger.
func poolNow(p Pool) State {
	return State{House: now().House, Pool: p, Standing: Standing{
		Journal: PoolJournal(thePool), Pool: &Pool{Mode: ModeOptional, Factors: []Factor{TOTP, SMS}, PreToken: true},
	}}
}

func wholePool() Pool { return Pool{Mode: ModeOptional, Factors: []Factor{TOTP, SMS}, PreToken: true} }

// weakPool has been told of: its mode is off.
func weakPool(p Pool) State {
	s := poolNow(Pool{Mode: ModeOff, Factors: []Factor{TOTP, SMS}, PreToken: true})
	s.Standing = Decide(s, poolChange(), DefaultPolicy(), t0).Standing
	s.Pool = p
	return s
}

func listed(subs ...Sub) State {
	s := poolNow(wholePool())
	s.Listed = subs
	return s
}

func policyRead(raw, last string, in ...Incident) State {
	r := Reading{Raw: []byte(raw)}
	r.Policy, r.Err = ParsePolicy(r.Raw)
	return State{House: now().House, Reading: &r, Standing: Standing{Journal: PolicyJournal, Incidents: in, Policy: []byte(last)}}
}

// done are results of the actions; with none the decision is taken as Decide made it.
type done struct {
	results map[Do]Result
	after   User
}

func restoredTo(factors ...Factor) *done {
	return &done{map[Do]Result{Restore: Done, SignOut: Done}, theUser(factors...)}
}

func restoreResult(r Result) *done { return &done{map[Do]Result{Restore: r}, theUser()} }

// want is what a decision must say. Actions and alerts are in words: "schedule",
// and "kind severity state".
type want struct {
	Verdict Verdict
	Reason  Reason
	Closed  End
	Actions []Do
	Alerts  []string
}

type decided struct {
	name   string
	state  State
	change Change
	after  time.Duration // since t0
	done   *done
	want   want
}

// decisions has a row for every reason, in the order of precedence of Decide.
func decisions() []decided {
	invalid := Incident{Key: PolicyJournal, Kind: PolicyInvalid, Severity: Warning, Since: t0}
	weakened := Incident{Key: PolicyJournal, Kind: PolicyWeakened, Severity: Critical, Since: t0}
	oldPast := ended(t0.Add(-2*time.Hour), t0.Add(time.Hour))
	return []decided{
		// 0
		{"a change of no kind is unreadable", now(TOTP), Change{}, 0, nil, want{Rejects, Unreadable, "", nil, []string{"unreadable_event warning noted"}}},
		{"a call that must name a user and does not", now(TOTP), Change{Kind: FactorsChanged, Pool: thePool, Off: []Factor{TOTP}}, 0, nil, want{Rejects, NamesNoUser, "", nil, []string{"unreadable_event warning noted"}}},
		{"an operation of no interest", now(TOTP), Change{Kind: NotRelevant}, 0, nil, want{Ignores, Irrelevant, "", nil, nil}},
		{"the same call on somebody else's rule", guardState(), onRule(admin, "nightly-report"), 0, nil, want{Ignores, Irrelevant, "", nil, nil}},
		{"another pool", now(), Change{Kind: FactorsChanged, Pool: "us-east-1_OTHER", Sub: theSub, Off: []Factor{TOTP}}, 0, nil, want{Ignores, NotOurs, "", nil, nil}},
		{"a call that failed", now(), failed(off(t0, TOTP)), 0, nil, want{Ignores, CallFailed, "", nil, nil}},
		{"a call that failed and names nobody", now(), failed(Change{Kind: FactorsChanged, Pool: thePool}), 0, nil, want{Ignores, CallFailed, "", nil, nil}},
		{"a delivery that the journal has", but(now(), known), off(t0, TOTP), 0, nil, want{Ignores, Duplicate, "", nil, nil}},
		{"a good policy as strong as before", policyRead(defaultDocument, defaultDocument), Change{Kind: Swept}, 0, nil, want{Ignores, NotRequired, "", nil, nil}},
		{"a policy that cannot be read", policyRead("{", defaultDocument), Change{Kind: Swept}, 0, nil, want{Alerts, PolicyRead, "", nil, []string{"policy_invalid warning triggered"}}},
		{"a policy that cannot be read either", policyRead("[", defaultDocument, invalid), Change{Kind: Swept}, 0, nil, want{Ignores, NotRequired, "", nil, nil}},
		{"a good policy after a bad one", policyRead(defaultDocument, defaultDocument, invalid), Change{Kind: Swept}, 0, nil, want{Alerts, PolicyRead, "", nil, []string{"policy_invalid warning resolved"}}},
		{"a policy that asks for less", policyRead(`["super_admin"]`, defaultDocument), Change{Kind: Swept}, 0, nil, want{Alerts, PolicyRead, "", nil, []string{"policy_weakened critical triggered"}}},
		{"a bad policy does not quieten a weakened one", policyRead("{", defaultDocument, weakened), Change{Kind: Swept}, 0, nil, want{Alerts, PolicyRead, "", nil, []string{"policy_invalid critical changed"}}},
		{"the guard touched by anybody", guardState(), onRule(admin, "relatch-mfa"), 0, nil, want{Alerts, GuardTouched, "", nil, []string{"guard_changed critical triggered"}}},
		{"the guard touched by the deployment", guardState(), onRule(Actor{ARN: deploys}, "relatch-mfa"), 0, nil, want{Alerts, GuardTouched, "", nil, []string{"guard_changed info triggered"}}},
		{"the guard touched by Relatch", guardState(), onRule(own(), "relatch-mfa"), 0, nil, want{Ignores, OwnAct, "", nil, nil}},
		{"a pool as strong as before", poolNow(wholePool()), poolChange(), 0, nil, want{Ignores, NotRequired, "", nil, nil}},
		{"a pool that asks for less", poolNow(Pool{Mode: ModeOff, Factors: []Factor{TOTP, SMS}, PreToken: true}), poolChange(), 0, nil, want{Alerts, PoolWeaker, "", nil, []string{"pool_weakened critical triggered"}}},
		{"a pool without its trigger", poolNow(Pool{Mode: ModeOptional, Factors: []Factor{TOTP, SMS}}), poolChange(), 0, nil, want{Alerts, PoolWeaker, "", nil, []string{"pool_weakened critical triggered"}}},
		{"a pool weakened further", weakPool(Pool{Mode: ModeOff, Factors: []Factor{TOTP}, PreToken: true}), poolChange(), 0, nil, want{Alerts, PoolWeaker, "", nil, []string{"pool_weakened critical changed"}}},
		{"a pool put back", weakPool(wholePool()), poolChange(), 0, nil, want{Alerts, Resolved, "", nil, []string{"pool_weakened critical resolved"}}},
		{"a weaker pool found by a sweep waits for the delivery", poolNow(Pool{Mode: ModeOff}), Change{Kind: Swept, Pool: thePool}, 0, nil, want{Ignores, NotRequired, "", nil, nil}},
		{"the posture is told once", listed("a", "b"), Change{Kind: Swept, Pool: thePool}, 0, nil, want{Alerts, PostureCounted, "", nil, []string{"posture_gap warning triggered"}}},
		{"on by Relatch itself", opened(has()), by(own(), on(t0, TOTP)), 0, nil, want{Ignores, OwnAct, "", nil, nil}},
		{"off by Relatch itself is anybody's act", now(), by(own(), off(t0, TOTP)), 0, nil, want{Opens, TakenAway, "", []Do{Schedule}, []string{"required_role_without_mfa critical triggered"}}},

		// 1
		{"gone in an override", but(opened(), gone), change(UserChanged, "AdminDeleteUser", t0), time.Hour, nil, want{Closes, UserGone, Gone, []Do{Cancel}, []string{"required_role_without_mfa critical resolved"}}},
		{"gone without one", but(now(), gone), off(t0, TOTP), 0, nil, want{Ignores, NoSuchUser, "", nil, nil}},
		{"gone with an incident of his own", but(now(), gone, warned(t0, Warning)), level(Swept), time.Hour, nil, want{Alerts, Resolved, "", nil, []string{"required_role_without_mfa warning resolved"}}},
		{"federated", but(now(), federated), off(t0, TOTP), 0, nil, want{Ignores, Federated, "", nil, nil}},

		// 2
		{"the pool asks nobody for MFA", but(now(), modeOff), off(t0, TOTP), 0, nil, want{Ignores, Ineffective, "", nil, nil}},
		{"what is open stays open in such a pool", but(opened(), modeOff), timer(), day, nil, want{Ignores, Ineffective, "", nil, nil}},
		{"the pool asks everybody for MFA", but(now(), modeOn), off(t0, TOTP), 0, nil, want{Ignores, Ineffective, "", nil, nil}},

		// 3
		{"on again by a person", but(opened(), has(TOTP)), on(t0.Add(time.Hour), TOTP), time.Hour, nil, want{Closes, ProtectedAgain, Reenabled, []Do{Cancel, SignOut}, []string{"required_role_without_mfa critical resolved"}}},
		{"on again by our own unfinished restore", but(opened(), has(TOTP), intended), level(Swept), day, nil, want{Closes, ProtectedAgain, Restored, []Do{SignOut}, []string{"required_role_without_mfa critical resolved"}}},
		{"another factor, justified", but(opened(justified), has(TOTP)), verified(t0.Add(time.Hour)), time.Hour, nil, want{Closes, ProtectedAgain, Reenrolled, []Do{Cancel, SignOut}, []string{"factor_swapped info changed", "required_role_without_mfa info resolved"}}},
		{"another factor, not justified, stays open", but(opened(), has(TOTP)), verified(t0.Add(time.Hour)), time.Hour, nil, want{Closes, ProtectedAgain, Reenrolled, []Do{Cancel, SignOut}, []string{"factor_swapped critical changed"}}},
		{"another factor of an optional role, justified", but(opened(optional, justified), has(SMS)), on(t0.Add(time.Hour), SMS), time.Hour, nil, want{Closes, ProtectedAgain, Reenrolled, []Do{Cancel, SignOut}, []string{"factor_swapped info noted"}}},
		{"26 hours late and long over", now(TOTP), off(t0, TOTP), 26 * time.Hour, nil, want{Ignores, ReplayedAndPast, "", nil, nil}},
		{"off and on before anybody looked", now(TOTP), off(t0, TOTP), time.Minute, nil, want{Closes, OffAndOn, Reenabled, []Do{SignOut}, []string{"brief_override warning noted"}}},
		{"off and on of a user who cannot sign in", but(now(TOTP), disabled), off(t0, TOTP), time.Minute, nil, want{Closes, OffAndOn, Reenabled, []Do{SignOut}, []string{"brief_override info noted"}}},
		{"off and on resolves the user's own incident", but(now(TOTP), warned(t0.Add(-time.Hour), Warning)), off(t0, TOTP), time.Minute, nil, want{Closes, OffAndOn, Reenabled, []Do{SignOut}, []string{"brief_override warning noted", "required_role_without_mfa warning resolved"}}},
		{"off in an override that has ended", but(now(TOTP), oldPast), off(t0, TOTP), 2 * time.Hour, nil, want{Ignores, StillProtected, "", nil, nil}},
		{"another factor is adequate", now(TOTP), off(t0, SMS), 0, nil, want{Ignores, StillProtected, "", nil, nil}},
		{"enrolled after a warning", but(now(TOTP), warned(t0, Warning)), on(t0.Add(time.Hour), TOTP), time.Hour, nil, want{Alerts, Resolved, "", nil, []string{"required_role_without_mfa warning resolved"}}},

		// 4
		{"a required role, not justified", now(), off(t0, TOTP), time.Minute, nil, want{Opens, TakenAway, "", []Do{Schedule}, []string{"required_role_without_mfa critical triggered"}}},
		{"a required role, justified", but(now(), justified), off(t0, TOTP), time.Minute, nil, want{Opens, TakenAway, "", []Do{Schedule}, []string{"required_role_without_mfa warning triggered"}}},
		{"an optional role, not justified", but(now(), optional), off(t0, TOTP), time.Minute, nil, want{Opens, TakenAway, "", []Do{Schedule}, []string{"unjustified_override warning triggered"}}},
		{"an optional role, justified, is a record only", but(now(), optional, justified), off(t0, TOTP), time.Minute, nil, want{Opens, TakenAway, "", []Do{Schedule}, nil}},
		{"a required role, in observe mode", but(now(), observed), off(t0, TOTP), time.Minute, nil, want{Opens, TakenAway, "", []Do{Schedule}, []string{"required_role_without_mfa warning triggered"}}},
		{"a user who cannot sign in", but(now(), disabled), off(t0, TOTP), time.Minute, nil, want{Opens, TakenAway, "", []Do{Schedule}, []string{"required_role_without_mfa info triggered"}}},
		{"the sixth user of one actor", but(now(), mass), off(t0, TOTP), time.Minute, nil, want{Opens, TakenAway, "", []Do{Schedule}, []string{"required_role_without_mfa warning triggered", "mass_disable critical triggered"}}},
		{"the seventh", but(now(), afterMass), off(t0, TOTP), time.Minute, nil, want{Opens, TakenAway, "", []Do{Schedule}, []string{"required_role_without_mfa warning triggered"}}},
		{"the seventh, justified and optional", but(now(), afterMass, optional, justified), off(t0, TOTP), time.Minute, nil, want{Opens, TakenAway, "", []Do{Schedule}, nil}},
		{"a delivery so late that the deadline is past", now(), off(t0, TOTP), 26 * time.Hour, nil, want{Opens, TakenAway, "", []Do{Restore}, []string{"required_role_without_mfa critical triggered"}}},
		{"an act that an ended override contains did not take this factor", but(now(), oldPast), off(t0, TOTP), 2 * time.Hour, nil, want{Holds, Waiting, "", nil, nil}},

		// 5
		{"the timer comes early", opened(), timer(), 23 * time.Hour, nil, want{Holds, WithinTime, "", []Do{Schedule}, nil}},
		{"the sweep finds no timer", but(opened(), noTimer), level(Swept), time.Hour, nil, want{Holds, WithinTime, "", []Do{Schedule}, nil}},
		{"another disable of a justified override", opened(justified), off(t0.Add(time.Hour), TOTP), time.Hour, nil, want{Holds, WithinTime, "", nil, []string{"override_repeated critical changed"}}},
		{"another disable of a quiet override", opened(justified, optional), off(t0.Add(time.Hour), TOTP), time.Hour, nil, want{Holds, WithinTime, "", nil, []string{"override_repeated warning triggered"}}},
		{"a disable before the one known", opened(justified), off(t0.Add(-time.Hour), TOTP), time.Hour, nil, want{Holds, WithinTime, "", []Do{Schedule}, []string{"override_repeated critical changed"}}},
		{"a justification in time", but(opened(), justified), level(Justified), time.Minute, nil, want{Holds, WithinTime, "", nil, []string{"required_role_without_mfa warning changed"}}},
		{"leaving the role does not help", but(opened(), optional), change(RoleChanged, "AdminRemoveUserFromGroup", t0), time.Hour, nil, want{Holds, WithinTime, "", nil, nil}},
		{"the user is disabled meanwhile", but(opened(), disabled), change(UserChanged, "AdminDisableUser", t0), time.Hour, nil, want{Holds, WithinTime, "", nil, []string{"required_role_without_mfa info changed"}}},
		{"the user is enabled again", but(opened(disabled), enabled), level(Swept), time.Hour, nil, want{Holds, WithinTime, "", nil, []string{"required_role_without_mfa critical changed"}}},
		{"four hours to go", opened(), level(Swept), 20 * time.Hour, nil, want{Holds, WithinTime, "", nil, []string{"deadline_near info noted"}}},
		{"refused, seen by the sweep", but(opened(), refused), level(Swept), 30 * time.Hour, nil, want{Holds, CannotRestore, "", nil, nil}},

		// 6
		{"the deadline is reached", opened(), timer(), day, restoredTo(TOTP), want{Restores, DeadlineReached, Restored, []Do{Restore, SignOut}, []string{"required_role_without_mfa critical resolved"}}},
		{"handed to reenable, there is nothing to tell", opened(), level(Swept), day, restoreResult(Handed), want{Restores, DeadlineReached, "", []Do{Restore, SignOut}, nil}},
		{"asked for", opened(), level(Asked), time.Hour, restoredTo(TOTP), want{Restores, AskedFor, Restored, []Do{Restore, SignOut, Cancel}, []string{"required_role_without_mfa critical resolved"}}},
		{"restored although the device is lost", opened(lostDevice), timer(), day, restoredTo(TOTP), want{Restores, DeadlineReached, Restored, []Do{Restore, SignOut}, []string{"required_role_without_mfa warning resolved", "locked_out_likely warning noted"}}},
		{"Cognito refuses", opened(justified), timer(), day, restoreResult(Refused), want{Restores, CannotRestore, "", []Do{Restore, SignOut}, []string{"cannot_restore critical changed"}}},
		{"Cognito refuses a quiet override", opened(justified, optional), timer(), day, &done{map[Do]Result{Restore: Refused}, but(now(), optional).User}, want{Restores, CannotRestore, "", []Do{Restore, SignOut}, []string{"cannot_restore warning triggered"}}},
		{"a restore that leaves the user with SMS", opened(), timer(), day, restoredTo(SMS), want{Restores, CannotRestore, "", []Do{Restore, SignOut}, []string{"cannot_restore critical changed"}}},
		{"a delivery that names the user: try again", but(opened(), refused), verified(t0.Add(30 * time.Hour)), 30 * time.Hour, restoreResult(Refused), want{Restores, CannotRestore, "", []Do{Restore, SignOut}, nil}},
		{"overdue", opened(justified), level(Swept), day + OverdueAfter, restoreResult(Handed), want{Restores, DeadlineReached, "", []Do{Restore, SignOut}, []string{"override_overdue critical changed"}}},
		{"not overdue when it has just been seen", but(now(), late), level(Swept), 26*time.Hour + time.Minute, restoreResult(Handed), want{Restores, DeadlineReached, "", []Do{Restore, SignOut}, nil}},
		{"observe mode keeps the timer when asked", opened(observed), level(Asked), time.Hour, restoreResult(Would), want{Restores, AskedFor, "", []Do{Restore, SignOut}, nil}},
		{"observe mode only says what it would do", opened(observed), timer(), day, restoreResult(Would), want{Restores, DeadlineReached, "", []Do{Restore, SignOut}, nil}},
		{"tried while observing, and still observing", but(opened(observed), tried), level(Swept), day, nil, want{Holds, WithinTime, "", nil, nil}},
		{"tried while observing, and enforcing now", but(opened(observed), tried, enforced), level(Swept), day, restoredTo(TOTP), want{Restores, DeadlineReached, Restored, []Do{Restore, SignOut}, []string{"required_role_without_mfa critical changed", "required_role_without_mfa critical resolved"}}},
		{"gone while being restored", opened(), timer(), day, &done{map[Do]Result{Restore: Refused}, User{Sub: theSub}}, want{Restores, DeadlineReached, Gone, []Do{Restore, SignOut}, []string{"required_role_without_mfa critical resolved"}}},

		// 7
		{"new and never held a factor", but(now(), neverHeld, young), promoted(t0), 0, nil, want{Ignores, InGrace, "", nil, nil}},
		{"new, with a factor that the role does not accept", but(now(SMS), unseen, young), promoted(t0), 0, nil, want{Alerts, WithoutMFA, "", nil, []string{"required_role_without_mfa warning triggered"}}},
		{"the role is left within the grace of others", but(now(), neverHeld, young, optional, warned(t0, Warning)), level(Swept), 0, nil, want{Alerts, Resolved, "", nil, []string{"required_role_without_mfa warning resolved"}}},
		{"the factor is gone and nobody knows why", now(), level(Swept), 0, nil, want{Holds, Waiting, "", nil, nil}},
		{"still so, and no delivery came", but(now(), noted(t0)), level(Swept), NotedFor, nil, want{Opens, FoundMissing, "", []Do{Schedule}, []string{"required_role_without_mfa critical triggered"}}},
		{"promoted without MFA", but(now(), neverHeld), promoted(t0), 0, nil, want{Alerts, WithoutMFA, "", nil, []string{"required_role_without_mfa warning triggered"}}},
		{"found by a later sweep", but(now(), neverHeld, swept), level(Swept), 0, nil, want{Alerts, WithoutMFA, "", nil, []string{"required_role_without_mfa warning triggered"}}},
		{"for 24 hours", but(now(), neverHeld, warned(t0, Warning)), level(Swept), day, nil, want{Alerts, WithoutMFA, "", nil, []string{"required_role_without_mfa critical changed"}}},
		{"found disabled, then enabled", but(now(), neverHeld, warned(t0, Info)), change(UserChanged, "AdminEnableUser", t0), time.Hour, nil, want{Alerts, WithoutMFA, "", nil, []string{"required_role_without_mfa warning changed"}}},
		{"found by the first complete sweep", but(now(), neverHeld), level(Swept), 0, nil, want{Ignores, NotRequired, "", nil, nil}},
		{"left the role after a warning", but(now(), neverHeld, optional, warned(t0, Warning)), level(Swept), time.Hour, nil, want{Alerts, Resolved, "", nil, []string{"required_role_without_mfa warning resolved"}}},

		// 8
		{"no role asks for MFA", but(now(), neverHeld, optional), promoted(t0), 0, nil, want{Ignores, NotRequired, "", nil, nil}},
		{"a timer without an override", but(now(), neverHeld), timer(), 0, nil, want{Ignores, NothingOpen, "", nil, nil}},
		{"a command without an override", but(now(), neverHeld), level(Asked), 0, nil, want{Ignores, NothingOpen, "", nil, nil}},
	}
}

func (r decided) decide() Decision {
	at := t0.Add(r.after)
	d := Decide(r.state, r.change, DefaultPolicy(), at)
	if r.done != nil {
		var outcomes []Outcome
		for _, a := range d.Actions {
			outcomes = append(outcomes, Outcome{a, r.done.results[a.Do]})
		}
		d = Settle(r.state, r.change, DefaultPolicy(), at, d, outcomes, r.done.after)
	}
	return d
}

func said(d Decision) want {
	got := want{Verdict: d.Verdict, Reason: d.Reason}
	if d.Override != nil {
		got.Closed = d.Override.Closed
	}
	for _, a := range d.Actions {
		got.Actions = append(got.Actions, a.Do)
	}
	for _, a := range d.Alerts {
		got.Alerts = append(got.Alerts, fmt.Sprintf("%s %s %s", a.Kind, a.Severity, a.State))
	}
	return got
}

func TestDecideSaysWhatTheDesignSays(t *testing.T) {
	for _, row := range decisions() {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, said(row.decide())); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestEveryVerdictReasonEndActionAndAlertHasARow(t *testing.T) {
	seen := map[string]map[string]bool{}
	row := func(of, value string) {
		if seen[of] == nil {
			seen[of] = map[string]bool{}
		}
		seen[of][value] = true
	}
	for _, r := range decisions() {
		row("Verdict", string(r.want.Verdict))
		row("Reason", string(r.want.Reason))
		row("End", string(r.want.Closed))
		for _, do := range r.want.Actions {
			row("Do", string(do))
		}
		for _, alert := range r.want.Alerts {
			words := strings.Fields(alert)
			row("AlertKind", words[0])
			row("Severity", words[1])
			row("AlertState", words[2])
		}
	}
	for _, r := range rulesFailed() {
		for _, rule := range r.failed {
			row("Rule", string(rule))
		}
	}
	for _, of := range []string{"Verdict", "Reason", "End", "Do", "AlertKind", "Severity", "AlertState", "Rule"} {
		for name, value := range constants(t, of) {
			if !seen[of][value] {
				t.Errorf("no row of the tables has the %s %s (%q)", of, name, value)
			}
		}
	}
}

// constants are the package's constants of a string type, as its source declares them.
func constants(t *testing.T, of string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, file := range sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != of {
				return true
			}
			for i, name := range spec.Names {
				literal, ok := spec.Values[i].(*ast.BasicLit)
				if !ok {
					t.Fatalf("%s %s is not a literal", of, name.Name)
				}
				value, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				found[name.Name] = value
			}
			return true
		})
	}
	if len(found) == 0 {
		t.Fatalf("the package declares no constant of type %s", of)
	}
	return found
}

// sources are the package's files without its tests.
func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	p, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, name := range p.GoFiles {
		if files[name], err = parser.ParseFile(token.NewFileSet(), name, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestConstantsOfOneTypeDiffer(t *testing.T) {
	for _, of := range []string{"Kind", "Verdict", "Reason", "Rule", "AlertKind", "End", "Do", "Result"} {
		all := constants(t, of)
		values := slices.Sorted(maps.Values(all))
		if len(slices.Compact(values)) != len(all) {
			t.Errorf("two constants of type %s are the same", of)
		}
	}
}

func TestAnOverrideEndsOneDayAfterTheEventNotTheDelivery(t *testing.T) {
	at := t0.Add(30*time.Second + 200*time.Millisecond)
	d := Decide(now(), off(t0.Add(17*time.Second), TOTP), DefaultPolicy(), at)
	want := &RecordOverride{
		ID: overrideID(thePool, theSub, 1), OpenedAt: t0.Add(17 * time.Second), Deadline: t0.Add(24*time.Hour + 17*time.Second),
		Factors: []Factor{TOTP}, Justification: "unjustified", Failed: []Rule{RuleMissing}, Why: []string{"nobody gave a reason"},
	}
	if diff := cmp.Diff(want, d.Override); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if at := d.Actions[0].At; !at.Equal(t0.Add(24*time.Hour + time.Minute)) {
		t.Errorf("the timer is at %s, want the deadline rounded up to the minute", at)
	}
	if want := t0.Add(20*time.Hour + 17*time.Second); !d.LookAt.Equal(want) {
		t.Errorf("a look will differ at %s, want %s, the first notice", d.LookAt, want)
	}
}

func TestAnOverrideFoundByTheSweepHasWholeSeconds(t *testing.T) {
	at := t0.Add(300 * time.Millisecond).In(time.FixedZone("CET", 3600))
	s := now()
	s.Standing = Decide(s, level(Swept), DefaultPolicy(), at).Standing
	d := Decide(s, level(Swept), DefaultPolicy(), at.Add(NotedFor))
	if d.Override == nil || d.Override.OpenedAt != t0 {
		t.Errorf("opened %+v, want opened_at %s", d.Override, t0)
	}
}

func TestAnEarlierDisableMovesTheDeadlineAndALaterOneDoesNot(t *testing.T) {
	for _, c := range []struct{ by, want time.Duration }{{-2 * time.Hour, 22 * time.Hour}, {2 * time.Hour, 24 * time.Hour}} {
		d := Decide(opened(), off(t0.Add(c.by), TOTP), DefaultPolicy(), t0.Add(3*time.Hour))
		if got := d.Override.Deadline.Sub(t0); got != c.want {
			t.Errorf("a disable %s from the known one: the deadline is %s after it, want %s", c.by, got, c.want)
		}
	}
}

func TestAnEarlierDisableHasItsOwnJustificationMatched(t *testing.T) {
	s := opened(justified)
	d := Decide(s, by(Actor{ARN: "arn:aws:iam::111122223333:user/mallory", Type: Admin}, off(t0.Add(-time.Hour), TOTP)), DefaultPolicy(), t0.Add(time.Hour))
	if d.Override.Justification != "unjustified" {
		t.Error("somebody else's earlier disable is justified by what the later actor wrote")
	}
}

func TestANoticeIsNotGivenForATimeThatWasPastWhenTheOverrideOpened(t *testing.T) {
	policy := parsed(t, `{"mfa_enforcement":{"required_roles":["itsm_manager"]},"override":{"max_hours":4}}`)
	s := now()
	s.Standing = Decide(s, off(t0, TOTP), policy, t0).Standing
	if d := Decide(s, level(Swept), policy, t0); len(d.Alerts) > 0 {
		t.Errorf("%v at the moment of the opening", said(d).Alerts)
	}
	if d := Decide(s, level(Swept), policy, t0.Add(3*time.Hour)); len(d.Alerts) != 1 {
		t.Errorf("%d alerts an hour before the deadline, want deadline_near", len(d.Alerts))
	}
}

func TestTheRequiredRolesGraceIsCappedAtSevenDays(t *testing.T) {
	policy := parsed(t, `{"mfa_enforcement":{"required_roles":["itsm_manager"],"grace_period_days":30}}`)
	for _, c := range []struct {
		name  string
		state State
		want  Reason
	}{
		{"required, in the eighth day", but(now(), neverHeld), WithoutMFA},
		{"optional, in the eighth day", but(now(), neverHeld, optional), InGrace},
		{"optional, held one once", but(now(), neverHeld, optional, func(s *State) { s.Standing.EverHeld = true }), NotRequired},
	} {
		c.state.User.CreatedAt = t0.AddDate(0, 0, -7)
		if d := Decide(c.state, promoted(t0), policy, t0); d.Reason != c.want {
			t.Errorf("%s: %s, want %s", c.name, d.Reason, c.want)
		}
	}
}

func TestLookAtIsWhenASweepWillDecideDifferently(t *testing.T) {
	for _, c := range []struct {
		name   string
		state  State
		change Change
		after  time.Duration
		want   time.Duration // since t0; 0: never
	}{
		{"protected", now(TOTP), on(t0, TOTP), 0, 0},
		{"noted", now(), level(Swept), 0, NotedFor},
		{"opened: the first notice", now(), off(t0, TOTP), 0, 20 * time.Hour},
		{"after the first notice: the second", opened(), level(Swept), 20 * time.Hour, 23 * time.Hour},
		{"after the second: the deadline", opened(), level(Swept), 23 * time.Hour, day},
		{"at the deadline: overdue", opened(), timer(), day, day + OverdueAfter},
		{"refused", but(opened(), refused), level(Swept), 25 * time.Hour, 0},
		{"in grace: its end", but(now(), neverHeld, young), promoted(t0), 0, 4 * day},
		{"warned: critical", but(now(), neverHeld), promoted(t0), 0, day},
		{"critical", but(now(), neverHeld, warned(t0, Critical)), level(Swept), 25 * time.Hour, 0},
		{"closed", but(opened(), has(TOTP)), on(t0, TOTP), time.Hour, 0},
		{"in a pool without MFA", but(opened(), modeOff), level(Swept), time.Hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := time.Time{}
			if c.want != 0 {
				want = t0.Add(c.want)
			}
			if got := Decide(c.state, c.change, DefaultPolicy(), t0.Add(c.after)).LookAt; !got.Equal(want) {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

func TestASignOutThatWasHandedOnIsDoneByTheNextLook(t *testing.T) {
	s := but(opened(), has(TOTP))
	d := Decide(s, on(t0, TOTP), DefaultPolicy(), t0.Add(time.Hour))
	d = Settle(s, on(t0, TOTP), DefaultPolicy(), t0.Add(time.Hour), d, []Outcome{{Action{Do: SignOut}, Handed}}, s.User)
	s.Standing = d.Standing
	d = Decide(s, level(Due), DefaultPolicy(), t0.Add(time.Hour))
	if diff := cmp.Diff(want{Ignores, StillProtected, "", []Do{SignOut}, nil}, said(d)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	d = Settle(s, level(Due), DefaultPolicy(), t0.Add(time.Hour), d, []Outcome{{d.Actions[0], Done}}, s.User)
	if d.Standing.SignOut {
		t.Error("the sign-out is still owed after it was done")
	}
}

func TestTheEndOfAnOverrideResolvesTheUsersOwnIncidentToo(t *testing.T) {
	s := but(now(), unseen, warned(t0, Warning))
	s.Standing = Decide(s, off(t0, TOTP), DefaultPolicy(), t0).Standing
	s.User.Factors = []Factor{TOTP}
	d := Decide(s, on(t0.Add(time.Hour), TOTP), DefaultPolicy(), t0.Add(time.Hour))
	if len(d.Standing.Incidents) > 0 {
		t.Errorf("still open: %+v", d.Standing.Incidents)
	}
}

func TestARestoreSwitchesOnWhatWasTakenAndPrefersWhatWasPreferred(t *testing.T) {
	for _, c := range []struct {
		name      string
		baseline  []Factor
		preferred Factor
		off       []Factor
		want      []Factor
		prefers   Factor
	}{
		{"what was taken of the baseline", []Factor{TOTP, SMS}, SMS, []Factor{SMS, TOTP, Email}, []Factor{TOTP, SMS}, SMS},
		{"not what stayed away", []Factor{TOTP}, TOTP, []Factor{SMS, TOTP}, []Factor{TOTP}, TOTP},
		{"without a baseline all that went, TOTP first", nil, "", []Factor{SMS, TOTP}, []Factor{TOTP, SMS}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := but(now(), unseen)
			if c.baseline != nil {
				s.Standing.Baseline = &Baseline{Factors: c.baseline, Preferred: c.preferred}
			}
			s.Standing = Decide(s, off(t0, c.off...), DefaultPolicy(), t0).Standing
			d := Decide(s, timer(), DefaultPolicy(), t0.Add(24*time.Hour))
			if diff := cmp.Diff(c.want, d.Restore); diff != "" || d.Preferred != c.prefers {
				t.Errorf("prefers %q, want %q; -want +got\n%s", d.Preferred, c.prefers, diff)
			}
		})
	}
}

func TestAMaskedSettingTakesWhateverIsMissing(t *testing.T) {
	c := change(FactorsChanged, "AdminSetUserSettings", t0)
	c.Masked = true
	if d := Decide(now(), c, DefaultPolicy(), t0); d.Verdict != Opens || !slices.Equal(d.Override.Factors, []Factor{TOTP}) {
		t.Errorf("%+v, want an override that took TOTP", said(d))
	}
	if d := Decide(now(TOTP), c, DefaultPolicy(), t0); d.Reason != StillProtected {
		t.Errorf("%+v, want still_protected", said(d))
	}
}

// A sweep found the override, a person ended it, and only then the delivery of
// the disable comes: it is that override's, and no other one.
func TestADisableThatComesAfterTheEndOfTheOverrideItOpenedIsNoOverrideOfItsOwn(t *testing.T) {
	s := but(now(), noted(t0.Add(10*time.Minute)))
	at := t0.Add(25 * time.Minute)
	s.Standing = Decide(s, level(Swept), DefaultPolicy(), at).Standing
	s = but(s, has(TOTP))
	s.Standing = Decide(s, on(at, TOTP), DefaultPolicy(), at.Add(time.Minute)).Standing
	d := Decide(s, off(t0, TOTP), DefaultPolicy(), at.Add(2*time.Minute))
	if d.Verdict != Ignores || d.Reason != StillProtected {
		t.Errorf("%s, %s; want it ignored, still protected", d.Verdict, d.Reason)
	}
}

func TestATokenVerifiedInAnOverrideThatHasEndedCorrectsItsEndOnce(t *testing.T) {
	for _, tt := range []struct {
		name     string
		state    State
		severity Severity
	}{
		{"unjustified", opened(), Critical},
		{"justified", opened(justified), Info},
		{"no required role", opened(optional), Info},
	} {
		s := but(tt.state, has(TOTP))
		s.Standing = Decide(s, on(t0.Add(time.Hour), TOTP), DefaultPolicy(), t0.Add(time.Hour)).Standing
		late := verified(t0.Add(50 * time.Minute))
		d := Decide(s, late, DefaultPolicy(), t0.Add(61*time.Minute))
		want := []Alert{{Kind: FactorSwapped, Severity: tt.severity, State: StateNoted}}
		if tt.severity == Critical { // a person must look at whose token it is
			want[0].State, want[0].Incident = StateTriggered, "override/"+d.Override.ID
		}
		if diff := cmp.Diff(want, d.Alerts); diff != "" || d.Verdict != Closes || d.Override.Closed != Reenrolled {
			t.Errorf("%s: %s %+v (-want +got):\n%s", tt.name, d.Verdict, d.Override, diff)
		}
		s.Standing = d.Standing
		if d := Decide(s, late, DefaultPolicy(), t0.Add(62*time.Minute)); d.Verdict != Ignores {
			t.Errorf("%s: told twice: %s", tt.name, d.Verdict)
		}
	}
}

// A call that left the user another factor, or took one he never had, is not
// when the override began, and nobody's second disable.
func TestWhatTookNoAdequateFactorDoesNotChangeAnOverride(t *testing.T) {
	both := func(s *State) { s.Standing.Baseline = &Baseline{Factors: []Factor{TOTP, SMS}} }
	before := off(t0.Add(-time.Hour), SMS)
	before.Actor = Actor{ARN: "arn:aws:sts::111122223333:assumed-role/Other/someone", Type: Admin}
	for name, s := range map[string]State{
		"he had it, and TOTP besides": opened(both, justified), "he never had it": opened(justified),
	} {
		d := Decide(s, before, DefaultPolicy(), t0.Add(10*time.Minute))
		was := s.Standing.Override
		if !d.Override.OpenedAt.Equal(was.OpenedAt) || !d.Override.Deadline.Equal(was.Deadline) || d.Override.Justification != "justified" {
			t.Errorf("%s: %+v, want it opened at %s and justified", name, d.Override, was.OpenedAt)
		}
		if len(d.Alerts) > 0 {
			t.Errorf("%s: alerts %+v", name, d.Alerts)
		}
	}
}

func TestAWeakerPolicyDoesNotQuietAnOpenOverride(t *testing.T) {
	weaker, err := ParsePolicy([]byte(`["super_admin"]`))
	if err != nil {
		t.Fatal(err)
	}
	if d := Decide(opened(), level(Swept), weaker, t0.Add(time.Hour)); len(d.Alerts) > 0 {
		t.Errorf("alerts %+v, want none", d.Alerts)
	}
	if d := Decide(opened(has(SMS)), level(Swept), weaker, t0.Add(time.Hour)); d.Verdict == Closes {
		t.Error("SMS ends the override of a user who needed TOTP when it opened")
	}
}

func TestTheActorsUsersAreCountedAlsoWhenTheSweepWasFirst(t *testing.T) {
	s := but(now(), noted(t0.Add(5*time.Minute)))
	s.Standing = Decide(s, level(Swept), DefaultPolicy(), t0.Add(20*time.Minute)).Standing
	d := Decide(but(s, mass), off(t0, TOTP), DefaultPolicy(), t0.Add(30*time.Minute))
	if !slices.ContainsFunc(d.Alerts, func(a Alert) bool { return a.Kind == MassDisable && a.State == StateTriggered }) {
		t.Errorf("alerts %+v, want mass_disable", d.Alerts)
	}
}

func TestAnEventTimeInTheFutureDoesNotMakeAnOverrideLonger(t *testing.T) {
	d := Decide(now(), off(t0.AddDate(50, 0, 0), TOTP), DefaultPolicy(), t0)
	if want := t0.Add(24 * time.Hour); !d.Override.Deadline.Equal(want) {
		t.Errorf("deadline %s, want %s", d.Override.Deadline, want)
	}
}

func TestOnlyAnAdministratorsDisableThatOpensOrExplainsAnOverrideIsCounted(t *testing.T) {
	found := but(now(), noted(t0.Add(5*time.Minute)))
	found.Standing = Decide(found, level(Swept), DefaultPolicy(), t0.Add(20*time.Minute)).Standing
	for name, c := range map[string]struct {
		state  State
		change Change
		want   int
	}{
		"it opens":                       {now(), off(t0, TOTP), 1},
		"it explains what a sweep found": {found, off(t0, TOTP), 1},
		"the sixth":                      {but(now(), mass), off(t0, TOTP), MassUsers},
		"nobody counts further":          {but(now(), afterMass), off(t0, TOTP), 0},
		"it has been counted":            {but(now(), counted), off(t0, TOTP), 0},
		"self-service":                   {now(), by(Actor{Type: Self}, off(t0, TOTP)), 0},
		"it takes nothing that matters":  {now(TOTP), off(t0, SMS), 0},
		"it repeats":                     {opened(), off(t0.Add(time.Minute), TOTP), 0},
	} {
		if d := Decide(c.state, c.change, DefaultPolicy(), t0.Add(30*time.Minute)); d.Count != c.want {
			t.Errorf("%s: counted at place %d, want %d", name, d.Count, c.want)
		}
	}
}

// Each timer that is made or cancelled comes back as a call on the guard. All of
// them in one journal would be in each other's way.
func TestRelatchsOwnCallsOnTheGuardNeedNoJournal(t *testing.T) {
	d, screened := Screen(guardState().House, onRule(own(), "relatch-mfa"))
	if !screened || d.Verdict != Ignores || d.Reason != OwnAct {
		t.Errorf("screened: %t, %s %s", screened, d.Verdict, d.Reason)
	}
}
