package functions_test

import (
	"fmt"
	"testing"
	"time"

	cognito "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/wiretest"
)

// manager is a required role.
const manager mfa.Role = "itsm_manager"

// past is long enough ago for an override to be over, and not for its delivery to
// be of no use.
const past = 24*time.Hour + 5*time.Minute

// The courses that an override can take, in both kinds of pool.
func TestAnOverrideTakesItsCourse(t *testing.T) {
	t.Parallel()
	s := perform(t)
	for _, pool := range []mfa.PoolID{s.Pool, s.EmailPool} {
		for _, story := range []struct {
			name string
			play func(*stage, *testing.T, mfa.PoolID)
		}{
			{"repeated deliveries change nothing", (*stage).repeated},
			{"late, it is over at once", (*stage).late},
			{"refused by Cognito, it stays open", (*stage).refused},
			{"its timer is lost", (*stage).timerLost},
			{"its message to reenable is lost", (*stage).messageLost},
			{"its user is deleted", (*stage).userDeleted},
			{"its user is deleted before reenable comes to it", (*stage).userDeletedBeforeTheEnd},
			{"its user is deleted before audit comes to it", (*stage).userDeletedBeforeTheStart},
			{"a person ends it", (*stage).endedByHand},
			{"its user leaves the role", (*stage).roleLeft},
			{"its user comes to a required role", (*stage).roleTaken},
			{"its pool is weakened and put back", (*stage).poolWeakened},
		} {
			t.Run(s.kind(pool)+"/"+story.name, func(t *testing.T) { story.play(s, t, pool) })
		}
	}
	s.isDiscreet(t)
}

// kind is what the pool's users sign in with.
func (s *stage) kind(pool mfa.PoolID) string {
	if pool == s.EmailPool {
		return "addresses"
	}
	return "usernames"
}

// incident is an override's.
func (s *stage) incident(t *testing.T, u user) string {
	t.Helper()
	st := s.standing(t, u.journal())
	if st.Override == nil {
		t.Fatalf("no override is open: %+v", st)
	}
	return "override/" + st.Override.ID
}

// opens delivers the disable of a required role without a justification, and
// returns the incident.
func (s *stage) opens(t *testing.T, disable call) string {
	t.Helper()
	s.deliver(t, disable)
	incident := s.incident(t, disable.user)
	same(t, "what on-call hears of the start", []mfa.Alert{{Kind: mfa.RequiredRoleWithoutMFA, Severity: mfa.Critical, State: mfa.StateTriggered, Incident: incident}}, states(s.heard(t)))
	return incident
}

// resolved is what on-call hears of the end of what opens started.
func resolved(incident string) []mfa.Alert {
	return []mfa.Alert{{Kind: mfa.RequiredRoleWithoutMFA, Severity: mfa.Critical, State: mfa.StateResolved, Incident: incident}}
}

// isOver fails the test unless nothing is left of an override but how it ended.
func (s *stage) isOver(t *testing.T, u user, end mfa.End) {
	t.Helper()
	st := s.standing(t, u.journal())
	if st.Open() || len(st.Incidents) > 0 || len(st.Past) != 1 || st.Past[0].End != end {
		t.Errorf("it did not end %s: %+v", end, st)
	}
	if left := s.timer(t, u); left != nil {
		t.Errorf("a timer is left: %s", *left.Name)
	}
	if asked := s.Take(t, wiretest.ReenableQueue); len(asked) > 0 {
		t.Errorf("reenable is asked %d times after the end", len(asked))
	}
}

// last is the last record of the user's journal.
func (s *stage) last(t *testing.T, u user) mfa.Record {
	t.Helper()
	records := s.records(t, u.journal())
	if len(records) == 0 {
		t.Fatal("nothing is recorded")
	}
	return records[len(records)-1]
}

// did are the actions and their results.
func did(r mfa.Record) []string {
	var all []string
	for _, o := range r.Actions {
		all = append(all, string(o.Do)+" "+string(o.Result))
	}
	return all
}

func (s *stage) repeated(t *testing.T, pool mfa.PoolID) {
	u := s.disarmed(t, pool, manager)
	first := u.disabled(time.Now())
	s.opens(t, first)
	before, timer := s.standing(t, u.journal()), s.timer(t, u)

	reissue := u.disabled(first.at)
	reissue.reissues = first.id
	s.deliver(t, first, reissue)
	same(t, "the standing", before, s.standing(t, u.journal()))
	if now := s.timer(t, u); now == nil || !now.LastModificationDate.Equal(*timer.LastModificationDate) {
		t.Errorf("the timer is now %+v", now)
	}
	if heard := s.heard(t); len(heard) > 0 {
		t.Errorf("on-call hears of a duplicate: %+v", heard)
	}
	if n := len(s.records(t, u.journal())); n != 1 {
		t.Errorf("%d entries", n)
	}
	logged := s.logged(t, first.id)
	for _, r := range logged[1:] {
		if r.Verdict != mfa.Ignores || r.Reason != mfa.Duplicate {
			t.Errorf("a duplicate: %s, %s", r.Verdict, r.Reason)
		}
	}
	if len(logged) < 3 { // more where moto lost an answer
		t.Errorf("%d records of the delivery, its repeat and its correction", len(logged))
	}
}

func (s *stage) late(t *testing.T, pool mfa.PoolID) {
	u := s.disarmed(t, pool, manager)
	session := s.SignIn(t, pool, u.sub)
	incident := s.opens(t, u.disabled(time.Now().Add(-past)))
	if timer := s.timer(t, u); timer != nil {
		t.Errorf("a timer for what is past: %s", *timer.Name)
	}
	same(t, "what audit asked", []string{"restore asked"}, did(s.last(t, u)))
	for _, m := range s.hand(t, s.reenable, wiretest.ReenableQueue) {
		same(t, "the message to reenable", fmt.Sprintf(`{"pool_id":%q,"sub":%q}`, pool, u.sub), *m.Body)
	}
	same(t, "the factors", []string{"SOFTWARE_TOKEN_MFA"}, s.Factors(t, pool, u.sub))
	s.isSignedOut(t, session)
	same(t, "what reenable did", []string{"restore done", "sign_out done"}, did(s.last(t, u)))
	same(t, "what on-call hears of the end", resolved(incident), states(s.heard(t)))
	s.isOver(t, u, mfa.Restored)
}

func (s *stage) isSignedOut(t *testing.T, session wiretest.Session) {
	t.Helper()
	if access, refresh := s.Lives(t, session); access || refresh {
		t.Errorf("a session lives on: access %t, refresh %t", access, refresh)
	}
}

// Nobody has ever verified a token of the user's.
func (s *stage) refused(t *testing.T, pool mfa.PoolID) {
	u := s.add(t, pool, manager)
	session := s.SignIn(t, pool, u.sub)
	incident := s.opens(t, u.disabled(time.Now().Add(-past)))
	s.hand(t, s.reenable, wiretest.ReenableQueue)
	last := s.last(t, u)
	same(t, "what reenable did", []string{"restore refused", "sign_out done"}, did(last))
	if last.Verdict != mfa.Restores || last.Reason != mfa.CannotRestore || last.Override.Closed != "" {
		t.Errorf("recorded as %+v", last)
	}
	same(t, "what on-call hears", []mfa.Alert{{Kind: mfa.CannotRestoreUser, Severity: mfa.Critical, State: mfa.StateChanged, Incident: incident}}, states(s.heard(t)))
	s.isSignedOut(t, session)

	census := s.sweeps(t)
	if census.OverridesUnrestorable == nil || *census.OverridesUnrestorable != 1 || *census.OverridesOverdue != 0 || census.SweepComplete != 1 || *census.SweepAge != 0 {
		t.Errorf("the sweep says %+v", census)
	}
	if st := s.standing(t, u.journal()); st.Override == nil || !st.Override.Unrestorable {
		t.Errorf("it does not stay open: %+v", st)
	}
	if asked, heard := s.Take(t, wiretest.ReenableQueue), s.heard(t); len(asked)+len(heard) > 0 {
		t.Errorf("of what Cognito refuses, the sweep asks %d times and on-call hears %+v", len(asked), heard)
	}

	// The user enrols, which ends it: reenabled, since no delivery says that the token is new.
	s.Enrol(t, pool, u.sub)
	s.Switch(t, pool, u.sub, true, mfa.TOTP)
	s.deliver(t, u.switched(true, time.Now()))
	s.hand(t, s.reenable, wiretest.ReenableQueue)
	same(t, "what on-call hears of the end", resolved(incident), states(s.heard(t)))
	s.isOver(t, u, mfa.Reenabled)
}

func (s *stage) timerLost(t *testing.T, pool mfa.PoolID) {
	u := s.disarmed(t, pool, manager)
	s.opens(t, u.disabled(time.Now()))
	before := s.timer(t, u)
	s.loseTimer(t, u)
	s.sweeps(t)
	after := s.timer(t, u)
	if after == nil || *after.ScheduleExpression != *before.ScheduleExpression || *after.Target.Input != *before.Target.Input {
		t.Errorf("the timer is now %+v", after)
	}
	same(t, "what the sweep did", []string{"schedule done"}, did(s.last(t, u)))
	if heard := s.heard(t); len(heard) > 0 {
		t.Errorf("on-call hears of a lost timer: %+v", heard)
	}
}

func (s *stage) messageLost(t *testing.T, pool mfa.PoolID) {
	u := s.disarmed(t, pool, manager)
	incident := s.opens(t, u.disabled(time.Now().Add(-past)))
	if lost := s.Take(t, wiretest.ReenableQueue); len(lost) == 0 {
		t.Error("audit did not ask reenable")
	}
	s.sweeps(t)
	if n := len(s.records(t, u.journal())); n != 1 {
		t.Errorf("a sweep that only asks leaves %d entries", n)
	}
	s.hand(t, s.reenable, wiretest.ReenableQueue)
	same(t, "the factors", []string{"SOFTWARE_TOKEN_MFA"}, s.Factors(t, pool, u.sub))
	same(t, "what on-call hears of the end", resolved(incident), states(s.heard(t)))
	s.isOver(t, u, mfa.Restored)
}

func (s *stage) userDeleted(t *testing.T, pool mfa.PoolID) {
	u := s.disarmed(t, pool, manager)
	incident := s.opens(t, u.disabled(time.Now()))
	s.delete(t, u)
	s.deliver(t, u.call("AdminDeleteUser", time.Now(), nil))
	same(t, "what audit did", []string{"cancel done"}, did(s.last(t, u)))
	same(t, "what on-call hears of the end", resolved(incident), states(s.heard(t)))
	s.isOver(t, u, mfa.Gone)
}

func (s *stage) delete(t *testing.T, u user) {
	t.Helper()
	_, err := s.Cognito.AdminDeleteUser(t.Context(), &cognito.AdminDeleteUserInput{UserPoolId: new(string(u.pool)), Username: &u.name})
	gone(t, err)
}

func (s *stage) userDeletedBeforeTheEnd(t *testing.T, pool mfa.PoolID) {
	u := s.disarmed(t, pool, manager)
	incident := s.opens(t, u.disabled(time.Now().Add(-past)))
	s.delete(t, u)
	s.hand(t, s.reenable, wiretest.ReenableQueue)
	same(t, "what on-call hears of the end", resolved(incident), states(s.heard(t)))
	s.isOver(t, u, mfa.Gone)
}

func (s *stage) userDeletedBeforeTheStart(t *testing.T, pool mfa.PoolID) {
	u := s.disarmed(t, pool, manager)
	s.delete(t, u)
	s.deliver(t, u.disabled(time.Now()))
	if last := s.last(t, u); last.Verdict != mfa.Ignores || last.Reason != mfa.NoSuchUser {
		t.Errorf("recorded as %+v", last)
	}
	if heard := s.heard(t); len(heard) > 0 {
		t.Errorf("on-call hears of nobody: %+v", heard)
	}
}

func (s *stage) endedByHand(t *testing.T, pool mfa.PoolID) {
	u := s.disarmed(t, pool, manager)
	session := s.SignIn(t, pool, u.sub)
	incident := s.opens(t, u.disabled(time.Now()))
	s.Switch(t, pool, u.sub, true, mfa.TOTP)
	s.deliver(t, u.switched(true, time.Now()))
	last := s.last(t, u)
	if last.Verdict != mfa.Closes || last.Override.Closed != mfa.Reenabled {
		t.Errorf("recorded as %+v", last)
	}
	same(t, "what audit did", []string{"cancel done", "sign_out asked"}, did(last))
	same(t, "what on-call hears of the end", resolved(incident), states(s.heard(t)))
	if timer := s.timer(t, u); timer != nil {
		t.Errorf("the timer is not cancelled: %s", *timer.Name)
	}
	if access, _ := s.Lives(t, session); !access {
		t.Error("audit has signed the user out, which only reenable may")
	}
	s.hand(t, s.reenable, wiretest.ReenableQueue)
	s.isSignedOut(t, session)
	same(t, "what reenable did", []string{"sign_out done"}, did(s.last(t, u)))
	s.isOver(t, u, mfa.Reenabled)
}

func (s *stage) roleLeft(t *testing.T, pool mfa.PoolID) {
	u := s.disarmed(t, pool, manager)
	incident := s.opens(t, u.disabled(time.Now()))
	_, err := s.Cognito.AdminRemoveUserFromGroup(t.Context(), &cognito.AdminRemoveUserFromGroupInput{UserPoolId: new(string(pool)), Username: &u.name, GroupName: new(string(manager))})
	must(t, err)
	s.deliver(t, u.call("AdminRemoveUserFromGroup", time.Now(), map[string]any{"groupName": manager}))
	if last := s.last(t, u); last.Verdict != mfa.Holds || s.incident(t, u) != incident || s.timer(t, u) == nil {
		t.Errorf("leaving the role is recorded as %+v", last)
	}
	if heard := s.heard(t); len(heard) > 0 {
		t.Errorf("on-call hears of it: %+v", heard)
	}
}

func (s *stage) roleTaken(t *testing.T, pool mfa.PoolID) {
	u := s.disarmed(t, pool, viewer)
	s.deliver(t, u.disabled(time.Now()))
	incident := s.incident(t, u)
	_, err := s.Cognito.AdminAddUserToGroup(t.Context(), &cognito.AdminAddUserToGroupInput{UserPoolId: new(string(pool)), Username: &u.name, GroupName: new(string(manager))})
	must(t, err)
	s.deliver(t, u.call("AdminAddUserToGroup", time.Now(), map[string]any{"groupName": manager}))
	same(t, "what on-call hears", []mfa.Alert{
		{Kind: mfa.UnjustifiedOverride, Severity: mfa.Warning, State: mfa.StateTriggered, Incident: incident},
		{Kind: mfa.RequiredRoleWithoutMFA, Severity: mfa.Critical, State: mfa.StateChanged, Incident: incident},
	}, states(s.heard(t)))
}

func (s *stage) poolWeakened(t *testing.T, pool mfa.PoolID) {
	u := s.disarmed(t, pool, manager)
	incident := s.opens(t, u.disabled(time.Now()))
	somebody := user{pool: pool, by: "ops-pool"}
	key := mfa.PoolJournal(pool)

	s.setPool(t, pool, types.UserPoolMfaTypeOff)
	s.deliver(t, somebody.call("SetUserPoolMfaConfig", time.Now(), map[string]any{"mfaConfiguration": "OFF"}))
	weakened := mfa.Alert{Kind: mfa.PoolWeakened, Severity: mfa.Critical, State: mfa.StateTriggered, Incident: key}
	same(t, "what on-call hears of the pool", []mfa.Alert{weakened}, states(s.heard(t)))
	if s.incident(t, u) != incident {
		t.Error("the override of a user in it has not stayed open")
	}

	s.setPool(t, pool, types.UserPoolMfaTypeOptional)
	s.deliver(t, somebody.call("SetUserPoolMfaConfig", time.Now(), map[string]any{"mfaConfiguration": "OPTIONAL", "softwareTokenMfaConfiguration": map[string]any{"enabled": true}}))
	weakened.State = mfa.StateResolved
	same(t, "what on-call hears of the pool put back", []mfa.Alert{weakened}, states(s.heard(t)))
	records := s.records(t, key)
	if n := len(records); n < 2 || records[n-1].Reason != mfa.Resolved || records[n-1].User != nil {
		t.Errorf("the pool's journal: %+v", records)
	}
}

// setPool changes the pool's MFA; what it allows stays as it was made.
func (s *stage) setPool(t *testing.T, pool mfa.PoolID, mode types.UserPoolMfaType) {
	t.Helper()
	was, err := s.Cognito.GetUserPoolMfaConfig(t.Context(), &cognito.GetUserPoolMfaConfigInput{UserPoolId: new(string(pool))})
	must(t, err)
	_, err = s.Cognito.SetUserPoolMfaConfig(t.Context(), &cognito.SetUserPoolMfaConfigInput{
		UserPoolId: new(string(pool)), MfaConfiguration: mode,
		SoftwareTokenMfaConfiguration: was.SoftwareTokenMfaConfiguration, SmsMfaConfiguration: was.SmsMfaConfiguration,
	})
	must(t, err)
}
