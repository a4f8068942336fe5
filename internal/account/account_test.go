package account

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
	"github.com/stackflow/relatch/internal/workertest"
)

const pool1 = workertest.Pool

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	totp = []mfa.Factor{mfa.TOTP}
	sms  = []mfa.Factor{mfa.SMS}
	both = []mfa.Factor{mfa.TOTP, mfa.SMS}
)

func completed(t *testing.T, f File) File {
	t.Helper()
	if err := f.complete(); err != nil {
		t.Fatal(err)
	}
	return f
}

func made(t *testing.T, f File) *Account {
	t.Helper()
	return New(completed(t, f), mfa.DefaultPolicy(), mfa.DefaultDocument(), noon)
}

func TestTheAccountKeepsThePortsContracts(t *testing.T) {
	empty := func(t *testing.T) *Account { return made(t, File{Pools: []PoolFile{{ID: pool1}}}) }
	t.Run("ledger", func(t *testing.T) {
		workertest.Ledger(t, func(*testing.T) workertest.Book { return NewLedger() })
	})
	t.Run("user pool", func(t *testing.T) {
		workertest.UserPool(t, func(t *testing.T, w workertest.World) workertest.Account {
			f := File{}
			for _, id := range w.Pools {
				f.Pools = append(f.Pools, PoolFile{ID: id})
			}
			for _, u := range w.Users {
				f.Users = append(f.Users, UserFile{
					Pool: u.Pool, Sub: u.Sub, Username: u.Username, CreatedAt: u.CreatedAt, Roles: u.Roles,
					Factors: u.Factors, Registered: slices.Concat(u.Registered, []mfa.Factor{}), Preferred: u.Preferred,
				})
			}
			a := New(completed(t, f), mfa.Policy{}, nil, noon)
			for _, role := range w.Groups {
				a.Call(mfa.Change{EventName: "CreateGroup", Pool: pool1, Role: role})
			}
			return workertest.Account{UserPool: a, UserWriter: a}
		})
	})
	t.Run("timer", func(t *testing.T) {
		workertest.Timer(t, func(t *testing.T) workertest.Clock {
			a := empty(t)
			return workertest.Clock{Timer: a, FiresAt: func(_ *testing.T, name string) time.Time {
				if a.timers[name] == nil {
					return time.Time{}
				}
				return a.timers[name].at
			}}
		})
	})
	t.Run("queue", func(t *testing.T) {
		workertest.Queue(t, func(t *testing.T) workertest.Mailbox {
			a := empty(t)
			return workertest.Mailbox{Queue: a, Asked: func(*testing.T) []string {
				var asked []string
				for _, ask := range a.Asks() {
					asked = append(asked, string(ask.Pool)+"/"+string(ask.Sub))
				}
				return asked
			}}
		})
	})
	t.Run("alerts", func(t *testing.T) {
		workertest.Alerts(t, func(t *testing.T) workertest.Pager {
			a := empty(t)
			return workertest.Pager{Alerts: a, Sent: func(*testing.T) []alert.Alert { return a.Sent() }}
		})
	})
	t.Run("policy source", func(t *testing.T) {
		workertest.PolicySource(t, func(t *testing.T) workertest.Shelf {
			a := empty(t)
			return workertest.Shelf{PolicySource: a, Put: func(_ *testing.T, raw []byte) { a.SetPolicy(raw) }}
		})
	})
}

func TestARecordedCallChangesTheAccount(t *testing.T) {
	off, on := false, true
	for _, c := range []struct {
		name string
		call mfa.Change
		mode mfa.Mode
		want func(*UserFile)
	}{
		{
			"a factor is switched off",
			mfa.Change{Kind: mfa.FactorsChanged, EventName: "AdminSetUserMFAPreference", Off: totp},
			"",
			func(u *UserFile) { u.Factors, u.Preferred = sms, "" },
		},
		{"the preferred one stays", mfa.Change{Kind: mfa.FactorsChanged, Off: sms}, "", func(u *UserFile) { u.Factors = totp }},
		{
			"a factor is switched on, which registers it",
			mfa.Change{Kind: mfa.FactorsChanged, On: []mfa.Factor{mfa.Email}, Preferred: mfa.Email},
			"",
			func(u *UserFile) {
				u.Factors, u.Preferred = []mfa.Factor{mfa.TOTP, mfa.SMS, mfa.Email}, mfa.Email
				u.Registered = u.Factors
			},
		},
		{"nobody switches factors in a pool whose mode is on", mfa.Change{Kind: mfa.FactorsChanged, Off: totp}, mfa.ModeOn, func(*UserFile) {}},
		{"a failed call does nothing", mfa.Change{Kind: mfa.FactorsChanged, Off: totp, Failed: "AccessDenied"}, "", func(*UserFile) {}},
		{"another pool's call does nothing", mfa.Change{Kind: mfa.FactorsChanged, Pool: "us-east-1_OTHER", Off: totp}, "", func(*UserFile) {}},
		{
			"a deleted token is off and cannot be switched on",
			mfa.Change{Kind: mfa.TokenDeleted, EventName: "AdminDeleteSoftwareToken", Off: totp},
			"",
			func(u *UserFile) { u.Factors, u.Registered, u.Preferred = sms, sms, "" },
		},
		{
			"a deleted token is off where the mode is on, too",
			mfa.Change{Kind: mfa.TokenDeleted, Off: totp},
			mfa.ModeOn,
			func(u *UserFile) { u.Factors, u.Registered, u.Preferred = sms, sms, "" },
		},
		{
			"a verified token is registered and switches nothing on",
			mfa.Change{Kind: mfa.TokenVerified, Verified: mfa.WebAuthn},
			"",
			func(u *UserFile) { u.Registered = []mfa.Factor{mfa.TOTP, mfa.SMS, mfa.WebAuthn} },
		},
		{
			"a deleted phone number takes SMS away",
			mfa.Change{Kind: mfa.UserChanged, EventName: "AdminDeleteUserAttributes", Off: sms},
			"",
			func(u *UserFile) { u.Factors, u.Registered = totp, totp },
		},
		{
			"into a group",
			mfa.Change{Kind: mfa.RoleChanged, EventName: "AdminAddUserToGroup", Role: "cloud_admin"},
			"",
			func(u *UserFile) { u.Roles = []mfa.Role{"itsm_manager", "cloud_admin"} },
		},
		{"out of a group", mfa.Change{Kind: mfa.RoleChanged, EventName: "AdminRemoveUserFromGroup", Role: "itsm_manager"}, "", func(u *UserFile) { u.Roles = nil }},
		{"disabled", mfa.Change{Kind: mfa.UserChanged, EventName: "AdminDisableUser"}, "", func(u *UserFile) { u.Enabled = &off }},
		{"enabled", mfa.Change{Kind: mfa.UserChanged, EventName: "AdminEnableUser"}, "", func(u *UserFile) { u.Enabled = &on }},
		{"deleted by an administrator", mfa.Change{Kind: mfa.UserChanged, EventName: "AdminDeleteUser"}, "", nil},
		{"deleted by himself, without a pool id", mfa.Change{Kind: mfa.UserChanged, EventName: "DeleteUser", Pool: "?"}, "", nil},
		{"a group is deleted", mfa.Change{Kind: mfa.RoleChanged, EventName: "DeleteGroup", Role: "itsm_manager", Sub: "?"}, "", func(u *UserFile) { u.Roles = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := made(t, File{
				Pools: []PoolFile{{ID: pool1, Mode: c.mode}},
				Users: []UserFile{{Sub: "maria", Roles: []mfa.Role{"itsm_manager"}, Factors: both, Preferred: mfa.TOTP}},
			})
			want := a.Users()[0]
			if c.call.Pool == "" {
				c.call.Pool = pool1
			}
			c.call.Pool = mfa.PoolID(map[bool]string{false: string(c.call.Pool)}[c.call.Pool == "?"])
			if c.call.Sub = "maria"; c.call.EventName == "DeleteGroup" {
				c.call.Sub = ""
			}
			a.Call(c.call)
			if c.want == nil {
				if users := a.Users(); len(users) > 0 {
					t.Errorf("he is still there: %+v", users)
				}
				return
			}
			c.want(&want)
			if diff := cmp.Diff(want, a.Users()[0]); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestARecordedCallChangesThePool(t *testing.T) {
	a := made(t, File{Pools: []PoolFile{{ID: pool1}}})
	roles := mfa.DefaultPolicy().RequiredRoles
	shown := func() mfa.Pool {
		p, err := a.Pool(t.Context(), pool1, roles, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	want := mfa.Pool{Mode: mfa.ModeOptional, Factors: both, PreToken: true, Groups: roles}
	check := func(what string) {
		t.Helper()
		if diff := cmp.Diff(want, shown()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("at the start every group of the policy exists")
	a.Call(mfa.Change{Kind: mfa.PoolChanged, EventName: "SetUserPoolMfaConfig", Pool: pool1, Sets: &mfa.PoolSettings{Mode: mfa.ModeOff, Off: sms}})
	want.Mode, want.Factors = mfa.ModeOff, totp
	check("mode and factors are set")
	a.Call(mfa.Change{Kind: mfa.PoolChanged, EventName: "UpdateUserPool", Pool: pool1, Sets: &mfa.PoolSettings{On: sms, PreToken: new(false)}})
	want.Factors, want.PreToken = both, false
	check("what a call does not say stays")
	a.Call(mfa.Change{Kind: mfa.RoleChanged, EventName: "DeleteGroup", Pool: pool1, Role: roles[0]})
	want.Groups = roles[1:]
	check("a group is gone")
	a.Call(mfa.Change{EventName: "CreateGroup", Pool: pool1, Role: roles[0]})
	want.Groups = roles
	check("and back")
	a.Call(mfa.Change{Kind: mfa.UserChanged, EventName: "AdminCreateUser", Pool: pool1, Sub: "new", At: noon})
	if u, err := a.User(t.Context(), pool1, "new"); err != nil || !u.Found || !u.Enabled || !u.CreatedAt.Equal(noon) || len(u.Factors) > 0 {
		t.Errorf("the new user is %+v, %v", u, err)
	}
}

func TestTimersFireOnceInOrderAndAreGone(t *testing.T) {
	a := made(t, File{Pools: []PoolFile{{ID: pool1}}, Users: []UserFile{{Sub: "maria"}, {Sub: "ben"}}})
	for name, at := range map[string]time.Time{"late": noon.Add(time.Hour), "early": noon, "cancelled": noon.Add(-time.Hour)} {
		if err := a.Schedule(t.Context(), name, at, pool1, mfa.Sub(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Cancel(t.Context(), "cancelled"); err != nil {
		t.Fatal(err)
	}
	if err := a.Schedule(t.Context(), "late", noon.Add(time.Minute), pool1, "late"); err != nil {
		t.Fatal(err)
	}
	if next := a.NextTimer(); !next.Equal(noon) {
		t.Errorf("the next one fires at %v", next)
	}
	if asks := a.Fire(noon.Add(-time.Second)); len(asks) > 0 {
		t.Errorf("fired before their time: %v", asks)
	}
	want := []Ask{{Pool: pool1, Sub: "early", Timer: true}, {Pool: pool1, Sub: "late", Timer: true}}
	if got := a.Fire(noon.Add(time.Hour)); !slices.Equal(got, want) {
		t.Errorf("fired %v, not %v", got, want)
	}
	if a.Timers() != 0 || !a.NextTimer().IsZero() || len(a.Fire(noon.Add(48*time.Hour))) > 0 {
		t.Error("a timer is left after it has fired")
	}
}

func TestFaultsDoWhatTheySay(t *testing.T) {
	a := made(t, File{Pools: []PoolFile{{ID: pool1}}, Users: []UserFile{{Sub: "maria", Factors: totp}, {Sub: "ben", Factors: totp}}})
	for _, sub := range []mfa.Sub{"maria", "ben"} {
		if err := a.Schedule(t.Context(), string(sub), noon, pool1, sub); err != nil {
			t.Fatal(err)
		}
	}
	a.Inject(Fault{Sub: "maria", Do: LoseTimer})
	a.Inject(Fault{Sub: "ben", Do: FireTwice})
	want := []Ask{{Pool: pool1, Sub: "ben", Timer: true}, {Pool: pool1, Sub: "ben", Timer: true}}
	if got := a.Fire(noon); !slices.Equal(got, want) {
		t.Errorf("fired %v, not %v", got, want)
	}
	a.Inject(Fault{Sub: "maria", Do: RefuseRestore})
	if err := a.Enable(t.Context(), pool1, "maria", totp, ""); !errors.Is(err, worker.ErrRefused) {
		t.Errorf("the restore is not refused: %v", err)
	}
	if err := a.Enable(t.Context(), pool1, "ben", totp, ""); err != nil {
		t.Errorf("the restore of another user: %v", err)
	}
}

func TestWhoHasNoAdequateFactorAtTheStartIsOfThePosture(t *testing.T) {
	a := made(t, File{Pools: []PoolFile{{ID: pool1}}, Users: []UserFile{
		{Sub: "none", Roles: []mfa.Role{"itsm_manager"}},
		{Sub: "sms", Roles: []mfa.Role{"itsm_manager"}, Factors: sms},
		{Sub: "not adopted", Roles: []mfa.Role{"itsm_manager"}, Adopted: new(false)},
		{Sub: "protected", Roles: []mfa.Role{"itsm_manager"}, Factors: totp},
		{Sub: "federated", Roles: []mfa.Role{"itsm_manager"}, Federated: true},
		{Sub: "no role"},
	}})
	var posture []string
	for s, err := range a.Open(t.Context(), pool1) {
		if err != nil {
			t.Fatal(err)
		}
		posture = append(posture, s.Journal)
	}
	if want := []string{mfa.UserJournal(pool1, "none"), mfa.UserJournal(pool1, "sms")}; !slices.Equal(posture, want) {
		t.Errorf("the posture is %v, not %v", posture, want)
	}
	if len(a.Before()) != 1 || a.Before()[0].Key != "posture/"+string(pool1) {
		t.Errorf("open before the start: %v", a.Before())
	}
}

func TestAnAccountIsInferredFromItsCalls(t *testing.T) {
	f := Infer(slices.Values([]mfa.Change{
		{Kind: mfa.FactorsChanged, Pool: pool1, Sub: "maria", Off: sms, Failed: "AccessDenied"},
		{Kind: mfa.FactorsChanged, Pool: pool1, Sub: "maria", On: totp},
		{Kind: mfa.FactorsChanged, Pool: pool1, Sub: "maria", Off: both},
		{Kind: mfa.FactorsChanged, Pool: pool1, Sub: "maria", Off: sms},
		{Kind: mfa.RoleChanged, EventName: "AdminRemoveUserFromGroup", Pool: pool1, Sub: "ben", Role: "viewer"},
		{Kind: mfa.RoleChanged, EventName: "AdminAddUserToGroup", Pool: pool1, Sub: "ben", Role: "itsm_manager"},
		{Kind: mfa.RoleChanged, EventName: "AdminRemoveUserFromGroup", Pool: pool1, Sub: "ben", Role: "itsm_manager"},
		{Kind: mfa.FactorsChanged, Sub: "maria", Off: totp},
		{Kind: mfa.FactorsChanged, Sub: "self", Off: sms},
		{Kind: mfa.PoolChanged, Pool: workertest.OtherPool, Sets: &mfa.PoolSettings{Mode: mfa.ModeOff}},
		{Kind: mfa.NotRelevant, Pool: "us-east-1_NOTHING"},
	}))
	var pools []mfa.PoolID
	for _, p := range f.Pools {
		pools = append(pools, p.ID)
	}
	if want := []mfa.PoolID{pool1, workertest.OtherPool, UnknownPool}; !slices.Equal(pools, want) {
		t.Errorf("pools are %v, not %v", pools, want)
	}
	type inferred struct {
		Pool    mfa.PoolID
		Sub     mfa.Sub
		Factors []mfa.Factor
		Roles   []mfa.Role
	}
	var got []inferred
	for _, u := range f.Users {
		got = append(got, inferred{u.Pool, u.Sub, u.Factors, u.Roles})
	}
	want := []inferred{{pool1, "maria", both, nil}, {pool1, "ben", totp, []mfa.Role{"viewer"}}, {UnknownPool, "self", sms, nil}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
}

func TestAnAccountFileSaysAllThatIsWrongWithIt(t *testing.T) {
	_, err := ParseFile([]byte(`{"pools":[{"id":"a","mode":"maybe"},{"id":"","factors":["fax"]}],
		"users":[{"sub":""},{"pool_id":"b","sub":"x"},{"pool_id":"a","sub":"y"},{"pool_id":"a","sub":"y","preferred":"fax"}],
		"justifications":[{"pool_id":"a","sub":"y","cause":"why not"}],"faults":[{"do":"explode"}],"policies":[{}],"mode":"sometimes"}`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, path := range []string{
		"pools[0].mode", "pools[1].id", "pools[1].factors[0]", "users[0].pool_id", "users[0].sub", "users[1].pool_id", "users[3].sub", "users[3].preferred[0]",
		"justifications[0].cause", "justifications[0].at", "faults[0].do", "policies[0].at", "mode:",
	} {
		if !strings.Contains(err.Error(), path) {
			t.Errorf("nothing is said of %s:\n%v", path, err)
		}
	}
	if _, err := ParseFile([]byte(`{"user":[]}`)); err == nil {
		t.Error("an unknown key is no error")
	}
}

func TestATicketIsOfWhomItWasRecordedForFirst(t *testing.T) {
	f, err := ParseFile([]byte(`{"users":[{"pool_id":"p","sub":"ann"},{"pool_id":"p","sub":"ben"}],"justifications":[
		{"pool_id":"p","sub":"ann","ticket":"CHG0012345","at":"2026-11-23T03:00:00Z"},
		{"pool_id":"p","sub":"ben","ticket":"CHG0012345","at":"2026-11-02T09:14:00Z"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	a := made(t, f)
	for sub, want := range map[mfa.Sub]*mfa.TicketUse{"ann": {Pool: "p", Sub: "ben", At: f.Justifications[0].At}, "ben": nil} {
		all, err := a.Justifications(t.Context(), "p", sub)
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %v, %v", sub, all, err)
		}
		if diff := cmp.Diff(want, all[0].TicketOf); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sub, diff)
		}
	}
}

func TestASignOutIsCounted(t *testing.T) {
	a := made(t, File{Users: []UserFile{{Pool: "p", Sub: "u"}}})
	for range 2 {
		if err := a.SignOut(t.Context(), "p", "u"); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.SignOuts("p", "u"); got != 2 {
		t.Errorf("%d sign-outs, want 2", got)
	}
}

func TestAnAccountFileSaysWhatIsWrongWithIt(t *testing.T) {
	for raw, want := range map[string]string{
		`{"now":"1700-01-01T00:00:00Z"}`: "now: 1700-01-01T00:00:00Z is not between the years 2000 and 2999",
		`{"pools":[{"id":"p"}],"justifications":[{"sub":"u","at":"9999-01-01T00:00:00Z"}]}`: "justifications[0].at: 9999-01-01T00:00:00Z is not between",
		`{"policies":[{"value":null}]}`:           "policies[0].at: is missing",
		`{"faults":[{"sub":"u","do":"explode"}]}`: `faults[0].do: "explode" is none of`,
		`{"pools":[{"id":"p"},{"id":"p"}]}`:       "pools[1].id: p is there twice",
	} {
		if _, err := ParseFile([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
	}
}
