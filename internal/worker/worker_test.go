package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/trail"
	"github.com/stackflow/relatch/internal/worker"
)

const pool mfa.PoolID = "us-east-1_EXAMPLE12"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// house is an account with a worker for deliveries, one for restores, and a clock.
type house struct {
	*account.Account
	now             time.Time
	audit, reenable *worker.Worker
}

func newHouse(t testing.TB, file string, between func(worker.Ports) worker.Ports) *house {
	t.Helper()
	f, err := account.ParseFile([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return houseOf(f, between)
}

func houseOf(f account.File, between func(worker.Ports) worker.Ports) *house {
	h := &house{Account: account.New(f, mfa.DefaultPolicy(), mfa.DefaultDocument(), noon), now: noon}
	ports := worker.Ports{Users: h, Writer: h, Ledger: h, Timer: h, Queue: h, Alerts: h, Policy: h}
	if between != nil {
		ports = between(ports)
	}
	writer := ports.Writer
	ports.Writer = nil
	h.audit = worker.New(f.House(), ports, func() time.Time { return h.now })
	h.reenable = h.audit.WithWriter(writer)
	return h
}

func one(factors, registered string) string {
	return fmt.Sprintf(`{"users":[{"pool_id":%q,"sub":"maria","roles":["itsm_manager"],"factors":%s,"registered":%s}],"own_role":"arn:aws:iam::111122223333:role/relatch"}`, pool, factors, registered)
}

func disable(key string, at time.Time, off ...mfa.Factor) mfa.Change {
	return mfa.Change{
		Key: key, EventID: key, Kind: mfa.FactorsChanged, EventName: "AdminSetUserMFAPreference", At: at, Pool: pool, Sub: "maria", Off: off,
		Actor: mfa.Actor{ARN: "arn:aws:iam::111122223333:user/ops", Type: mfa.Admin},
	}
}

// happens makes the call and delivers it.
func (h *house) happens(t *testing.T, c mfa.Change) worker.Seen {
	t.Helper()
	h.Call(c)
	return h.looks(t, h.audit, c)
}

func (h *house) looks(t *testing.T, w *worker.Worker, c mfa.Change) worker.Seen {
	t.Helper()
	seen, err := w.Look(t.Context(), c)
	if err != nil {
		t.Fatalf("look for %s: %v", c.Kind, err)
	}
	return seen
}

func (h *house) standing(t *testing.T) mfa.Standing {
	t.Helper()
	loaded, err := h.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(pool, "maria")})
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Standing
}

func (h *house) factors() []mfa.Factor { return h.Users()[0].Factors }

var due = mfa.Change{Kind: mfa.Due, Pool: pool, Sub: "maria", Timer: true}

// failing fails a port's call when told to.
type failing struct {
	worker.Ledger
	worker.UserWriter
	conflicts int
	signOut   error
	schedule  error
	worker.Timer
	orders []string
}

func (f *failing) Append(ctx context.Context, s worker.Step) error {
	if f.conflicts > 0 {
		f.conflicts--
		return fmt.Errorf("%w: for the test", worker.ErrConflict)
	}
	return f.Ledger.Append(ctx, s)
}

func (f *failing) SignOut(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) error {
	if f.signOut != nil {
		return f.signOut
	}
	return f.UserWriter.SignOut(ctx, pool, sub)
}

func (f *failing) Schedule(ctx context.Context, name string, at time.Time, pool mfa.PoolID, sub mfa.Sub) error {
	if f.schedule != nil {
		return f.schedule
	}
	return f.Timer.Schedule(ctx, name, at, pool, sub)
}

func (f *failing) Enable(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, factors []mfa.Factor, preferred mfa.Factor) error {
	f.orders = append(f.orders, fmt.Sprint(factors))
	return f.UserWriter.Enable(ctx, pool, sub, factors, preferred)
}

func (f *failing) between(p worker.Ports) worker.Ports {
	f.Ledger, f.UserWriter, f.Timer = p.Ledger, p.Writer, p.Timer
	p.Ledger, p.Writer, p.Timer = f, f, f
	return p
}

func TestAnIntentionIsItsAuthorsUntilTheLeaseEnds(t *testing.T) {
	f := &failing{schedule: errors.New("throttled")}
	h := newHouse(t, one(`["totp"]`, `["totp"]`), f.between)
	c := disable("e-1", noon, mfa.TOTP)
	h.Call(c)
	if _, err := h.audit.Look(t.Context(), c); err == nil {
		t.Fatal("no error although the timer could not be made")
	}
	f.schedule = nil
	h.now = noon.Add(mfa.Lease - time.Second)
	if _, err := h.audit.Look(t.Context(), c); !errors.Is(err, worker.ErrBusy) {
		t.Errorf("within the lease: %v, not ErrBusy", err)
	}
	h.now = noon.Add(mfa.Lease)
	if seen := h.looks(t, h.audit, c); seen.Verdict != mfa.Ignores || seen.Reason != mfa.Duplicate || len(seen.Records) == 0 || seen.Records[0].Verdict != mfa.Opens {
		t.Errorf("the redelivery finishes the intention and is a duplicate, not %+v", seen)
	}
	if s := h.standing(t); s.Intention != nil || s.Override == nil || h.Timers() != 1 {
		t.Errorf("afterwards: intention %v, override %v, %d timers", s.Intention, s.Override, h.Timers())
	}
}

// Our own restore died between switching on and signing out. Whoever finds that
// must not forget that the restore was ours.
func TestAnUnfinishedRestoreIsFinishedWhateverComesFirst(t *testing.T) {
	own := disable("e-own", noon.Add(24*time.Hour))
	own.Off, own.On, own.Actor = nil, []mfa.Factor{mfa.TOTP}, mfa.Actor{ARN: "arn:aws:iam::111122223333:role/relatch", Type: mfa.Admin}
	for name, c := range map[string]mfa.Change{
		"the timer again":          due,
		"the own act's delivery":   own,
		"the disable's redelivery": disable("e-1", noon, mfa.TOTP),
		"a justification":          {Kind: mfa.Justified, Pool: pool, Sub: "maria"},
		"a sweep":                  {Kind: mfa.Swept, Pool: pool, Sub: "maria"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &failing{}
			h := newHouse(t, one(`["totp"]`, `["totp"]`), f.between)
			h.happens(t, disable("e-1", noon, mfa.TOTP))
			h.now = noon.Add(24 * time.Hour)
			f.signOut = errors.New("throttled")
			if _, err := h.reenable.Look(t.Context(), due); err == nil {
				t.Fatal("no error although the sign-out failed")
			}
			f.signOut = nil
			h.now = h.now.Add(mfa.Lease)
			first := h.looks(t, h.audit, c)
			h.looks(t, h.reenable, due)
			if len(first.Records) == 0 || first.Records[0].Override == nil || first.Records[0].Override.Closed != mfa.Restored {
				t.Errorf("the override is not closed as restored: %+v", first.Records)
			}
			if s := h.standing(t); s.Override != nil || s.Intention != nil || s.SignOut || len(s.Incidents) > 0 {
				t.Errorf("left over: %+v", s)
			}
		})
	}
}

func TestALookIsRepeatedWhenTheJournalHasMovedOn(t *testing.T) {
	for conflicts, fails := range map[int]bool{0: false, 1: false, 7: false, 8: true} {
		f := &failing{conflicts: conflicts}
		h := newHouse(t, one(`["totp"]`, `["totp"]`), f.between)
		c := disable("e-1", noon, mfa.TOTP)
		h.Call(c)
		seen, err := h.audit.Look(t.Context(), c)
		if fails != errors.Is(err, worker.ErrConflict) || !fails && err != nil {
			t.Errorf("%d conflicts: %v", conflicts, err)
		}
		if opened := h.standing(t).Override != nil; opened == fails || !fails && seen.Verdict != mfa.Opens {
			t.Errorf("%d conflicts: opened %t, %s", conflicts, opened, seen.Verdict)
		}
	}
}

func TestOfTwoFactorsTheOneThatCognitoDoesNotRefuseIsRestored(t *testing.T) {
	for _, c := range []struct {
		name, registered string
		want             []mfa.Factor
		closed           mfa.End
	}{
		{"both can be", `["totp","sms"]`, []mfa.Factor{mfa.TOTP, mfa.SMS}, mfa.Restored},
		{"only the adequate one", `["totp"]`, []mfa.Factor{mfa.TOTP}, mfa.Restored},
		{"only the one that is not adequate", `["sms"]`, []mfa.Factor{mfa.SMS}, ""},
		{"neither", `[]`, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, one(`["totp","sms"]`, c.registered), nil)
			h.happens(t, disable("e-1", noon, mfa.TOTP, mfa.SMS))
			h.now = noon.Add(24 * time.Hour)
			seen := h.looks(t, h.reenable, due)
			if got := h.factors(); !slices.Equal(got, c.want) {
				t.Errorf("switched on are %v, not %v", got, c.want)
			}
			if o := seen.Records[0].Override; o.Closed != c.closed {
				t.Errorf("closed is %q, not %q", o.Closed, c.closed)
			}
			if o := h.standing(t).Override; (o != nil && o.Unrestorable) != (c.closed == "") {
				t.Errorf("the override is left as %+v", o)
			}
		})
	}
}

func TestAUserWithoutAPoolIsLookedForInEveryGuardedPool(t *testing.T) {
	h := newHouse(t, `{"pools":[{"id":"a"},{"id":"b"}],"users":[{"pool_id":"b","sub":"maria","factors":["totp"]}]}`, nil)
	c := disable("e-1", noon, mfa.TOTP)
	c.Pool, c.Actor = "", mfa.Actor{Type: mfa.Self}
	if seen := h.happens(t, c); seen.Verdict != mfa.Opens || seen.Records[0].User.Pool != "b" {
		t.Errorf("the user of the second pool: %+v", seen)
	}
	c.Key, c.Sub = "e-2", "nobody"
	if seen := h.happens(t, c); seen.Verdict != mfa.Ignores || seen.Reason != mfa.NotOurs {
		t.Errorf("a user of no guarded pool: %s %s", seen.Verdict, seen.Reason)
	}
}

func TestAColdStartGoesOnWithTheLastGoodPolicy(t *testing.T) {
	h := newHouse(t, `{"users":[{"pool_id":"us-east-1_EXAMPLE12","sub":"maria","roles":["auditor"],"factors":["totp"],"registered":["totp"]}]}`, nil)
	h.SetPolicy([]byte(`["auditor"]`))
	if _, err := h.audit.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Sent()
	for _, raw := range [][]byte{nil, []byte(`[]`), []byte(`{"mfa_enforcement":`)} {
		h.SetPolicy(raw)
		cold := worker.New(h.audit.House, h.audit.Ports, func() time.Time { return h.now })
		if _, err := cold.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := disable(fmt.Sprint("e-", len(raw)), h.now, mfa.TOTP)
		h.Call(c)
		h.looks(t, cold, c)
		if in := h.standing(t).Incidents; len(in) != 1 || in[0].Kind != mfa.RequiredRoleWithoutMFA {
			t.Errorf("after a cold start with the record %q an auditor needs no MFA: %v", raw, in)
		}
	}
	said := map[mfa.AlertKind]int{}
	for _, a := range h.Sent() {
		said[a.Kind]++
	}
	if said[mfa.PolicyInvalid] != 1 {
		t.Errorf("policy_invalid was said %d times", said[mfa.PolicyInvalid])
	}
}

func TestRulesAreThoseThatTheWorkerGoesBy(t *testing.T) {
	h := newHouse(t, one(`["totp"]`, `["totp"]`), nil)
	roles := func(from worker.PolicySource) []mfa.Role {
		t.Helper()
		p, err := worker.Rules(t.Context(), from, h.audit.Ledger)
		if err != nil {
			t.Fatal(err)
		}
		return p.RequiredRoles
	}
	standard, throttled := mfa.DefaultPolicy().RequiredRoles, &unread{err: errors.New("throttled")}
	if got := roles(throttled); !slices.Equal(got, standard) {
		t.Errorf("before any was read: %v", got)
	}
	h.SetPolicy([]byte(`["auditor"]`))
	if got := roles(h.audit.Policy); !slices.Equal(got, []mfa.Role{"auditor"}) {
		t.Errorf("of a new record: %v", got)
	}
	if len(h.Sent()) > 0 || slices.Contains(h.Journals(), mfa.PolicyJournal) {
		t.Error("to ask for the rules was told or kept")
	}
	if _, err := h.audit.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{"", "[]", `{"mfa_enforcement":`} {
		h.SetPolicy([]byte(raw))
		if got := roles(h.audit.Policy); !slices.Equal(got, []mfa.Role{"auditor"}) {
			t.Errorf("of the record %q: %v", raw, got)
		}
	}
	if got := roles(throttled); !slices.Equal(got, []mfa.Role{"auditor"}) {
		t.Errorf("of a record that cannot be read: %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p, err := worker.Rules(ctx, h.audit.Policy, h.audit.Ledger); err == nil || p.Valid() {
		t.Error("there are rules without time to read them")
	}
}

func TestWhatCannotBeReadIsRejectedWithAnAlert(t *testing.T) {
	h := newHouse(t, one(`["totp"]`, `["totp"]`), nil)
	for _, raw := range []string{"", "{", "null", "[1]", `{"detail":{"eventID":"e-9"}}`} {
		seen, err := deliver(t.Context(), h.audit, []byte(raw))
		if err != nil || seen.Verdict != mfa.Rejects || len(h.Sent()) != 1 {
			t.Errorf("%q: %s, %v", raw, seen.Verdict, err)
		}
	}
}

// crowd is an account with so many users, each protected by TOTP.
func crowd(n int) account.File {
	f := account.File{Pools: []account.PoolFile{{ID: pool, Mode: mfa.ModeOptional, Factors: []mfa.Factor{mfa.TOTP}, PreToken: new(true)}}}
	for i := range n {
		f.Users = append(f.Users, account.UserFile{
			Pool: pool, Sub: mfa.Sub(fmt.Sprint("user-", i)), Enabled: new(true), Roles: []mfa.Role{"itsm_manager"},
			Factors: []mfa.Factor{mfa.TOTP}, Registered: []mfa.Factor{mfa.TOTP},
		})
	}
	return f
}

// delivery is the EventBridge event of a call that switches TOTP off or on.
func delivery(b *testing.B, id string, sub mfa.Sub, at time.Time, on bool) []byte {
	b.Helper()
	raw, err := json.Marshal(map[string]any{
		"version": "0", "id": id, "detail-type": "AWS API Call via CloudTrail", "source": "aws.cognito-idp", "account": "111122223333",
		"time": at, "region": "us-east-1", "resources": []string{},
		"detail": map[string]any{
			"eventVersion": "1.11", "eventTime": at, "eventSource": "cognito-idp.amazonaws.com", "eventName": "AdminSetUserMFAPreference",
			"awsRegion": "us-east-1", "sourceIPAddress": "192.0.2.10", "userAgent": "aws-cli/2.32.10 md/awscrt#0.29.1 ua/2.1 os/linux#6.8.0",
			"userIdentity": map[string]any{
				"type": "AssumedRole", "principalId": "AROAIDPPEZS35WEXAMPLE:ops-" + id, "arn": "arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-" + id,
				"accountId":      "111122223333",
				"sessionContext": map[string]any{"sessionIssuer": map[string]any{"type": "Role", "arn": "arn:aws:iam::111122223333:role/SupportAdmin"}},
			},
			"requestParameters": map[string]any{
				"userPoolId": pool, "username": "HIDDEN_DUE_TO_SECURITY_REASONS", "softwareTokenMfaSettings": map[string]any{"enabled": on, "preferredMfa": on},
			},
			"responseElements": nil, "additionalEventData": map[string]any{"sub": sub}, "requestID": id, "eventID": id, "readOnly": false,
			"eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": "111122223333", "eventCategory": "Management",
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

// BenchmarkDeliver takes one delivery from bytes to an open override with timer
// and alert. Every time it is another user's.
func BenchmarkDeliver(b *testing.B) {
	for _, users := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			f := crowd(users)
			h := houseOf(f, nil)
			raw := make([][]byte, 0, 1000)
			for i := range 1000 {
				raw = append(raw, delivery(b, fmt.Sprint("e-", i), mfa.Sub(fmt.Sprint("user-", i)), noon, false))
			}
			switchOff := func() {
				h = houseOf(f, nil)
				for i := range raw {
					h.Call(mfa.Change{Kind: mfa.FactorsChanged, Pool: pool, Sub: mfa.Sub(fmt.Sprint("user-", i)), Off: []mfa.Factor{mfa.TOTP}})
				}
			}
			switchOff()
			b.ReportAllocs()
			b.ResetTimer()
			for n := range b.N {
				i := n % len(raw)
				if i == 0 && n > 0 {
					b.StopTimer()
					switchOff()
					b.StartTimer()
				}
				seen, err := deliver(context.Background(), h.audit, raw[i])
				if err != nil || seen.Verdict != mfa.Opens {
					b.Fatalf("%s %s, %v", seen.Verdict, seen.Reason, err)
				}
			}
		})
	}
}

// BenchmarkDeliverAfter takes one delivery about a user of whom so many have
// come before.
func BenchmarkDeliverAfter(b *testing.B) {
	for _, past := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("past=%d", past), func(b *testing.B) {
			h := houseOf(crowd(1), nil)
			n := 0
			deliver := func(raw []byte) {
				if _, err := deliver(context.Background(), h.audit, raw); err != nil {
					b.Fatal(err)
				}
			}
			next := func() []byte {
				n++
				return delivery(b, fmt.Sprint("e-", n), "user-0", noon, true)
			}
			for range past {
				deliver(next())
			}
			raw := make([][]byte, 1000)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if i%len(raw) == 0 {
					b.StopTimer()
					for j := range raw {
						raw[j] = next()
					}
					b.StartTimer()
				}
				deliver(raw[i%len(raw)])
			}
		})
	}
}

// deliver does what a function does with the bytes of a delivery.
func deliver(ctx context.Context, w *worker.Worker, raw []byte) (worker.Seen, error) {
	c, err := trail.Parse(raw)
	if err != nil {
		return w.Reject(ctx, err)
	}
	return w.Look(ctx, c)
}
