package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/invoke"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/queue"
	"github.com/stackflow/relatch/internal/request"
	"github.com/stackflow/relatch/internal/telemetry"
	"github.com/stackflow/relatch/internal/worker"
)

const (
	ops  = "arn:aws:sts::123456789012:assumed-role/SupportAdmin/ops-7"
	eva  = "arn:aws:sts::123456789012:assumed-role/TeamLead/eva"
	main = mfa.PoolID("us-east-1_EXAMPLE12")
)

const people = `{"pools":[{"id":"us-east-1_EXAMPLE12"},{"id":"us-east-1_OTHER"},{"id":"us-east-1_ON","mode":"on"},{"id":"us-east-1_OFF","mode":"off"}],"users":[
 {"pool_id":"us-east-1_EXAMPLE12","sub":"s-maria","username":"maria","roles":["itsm_manager"],"factors":["totp"]},
 {"pool_id":"us-east-1_EXAMPLE12","sub":"s-ben","username":"ben","roles":["viewer"],"factors":["totp","sms"]},
 {"pool_id":"us-east-1_EXAMPLE12","sub":"s-rita","username":"rita","roles":["itsm_manager"],"factors":["totp","sms"]},
 {"pool_id":"us-east-1_EXAMPLE12","sub":"s-fed","username":"google_42","federated":true},
 {"pool_id":"us-east-1_EXAMPLE12","sub":"s-none","username":"nora"},
 {"pool_id":"us-east-1_EXAMPLE12","sub":"s-sms","username":"sam","roles":["itsm_manager"],"factors":["sms"]},
 {"pool_id":"us-east-1_EXAMPLE12","sub":"s-eva","username":"eva","factors":["totp"]},
 {"pool_id":"us-east-1_OTHER","sub":"s-eva-2","username":"eva","factors":["totp"]},
 {"pool_id":"us-east-1_OTHER","sub":"s-mail","username":"s-mail","factors":["totp"]},
 {"pool_id":"us-east-1_ON","sub":"s-on","username":"onno","factors":["totp"]},
 {"pool_id":"us-east-1_OFF","sub":"s-off","username":"otto","factors":["totp"]}]}`

// house is an operator in an account in memory, at noon, who is ops-7. Its
// clock goes on while it waits, and then the worker sees what was switched off.
type house struct {
	*Operator
	account *account.Account
	now     time.Time
	by      string
	called  []string // of Hand
	lacking bool     // the service cannot delete tokens
	stuck   bool     // what is switched off stays on
	// What the calls that switch something off, or a look at a user, fail with; lost:
	// the call is done all the same.
	disable, remove, look error
	lost                  bool
	slow                  int // pauses until the worker works
}

type users struct {
	*house
	*account.Account
	addresses map[string]mfa.Sub
}

func (u users) User(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) (mfa.User, error) {
	if len(u.called) > 0 && u.look != nil {
		return mfa.User{}, u.look
	}
	if err := ctx.Err(); err != nil {
		return mfa.User{}, err
	}
	return u.Account.User(ctx, pool, sub)
}

func (u users) Find(_ context.Context, pool mfa.PoolID, name string) ([]mfa.Sub, error) {
	var subs []mfa.Sub
	for _, user := range u.Users() {
		if user.Pool == pool && (user.Username == name || string(user.Sub) == name || u.addresses[name] == user.Sub) {
			subs = append(subs, user.Sub)
		}
	}
	return subs, nil
}

func (h *house) Disable(_ context.Context, pool mfa.PoolID, username string, factors []mfa.Factor, ticket string) error {
	h.called = append(h.called, fmt.Sprintf("disable %s %v %s", username, factors, ticket))
	if h.disable == nil || h.lost {
		h.call(mfa.FactorsChanged, pool, username, factors)
	}
	return h.disable
}

func (h *house) DeleteToken(_ context.Context, pool mfa.PoolID, username, ticket string) (bool, error) {
	h.called = append(h.called, fmt.Sprintf("delete token %s %s", username, ticket))
	if h.lacking {
		return false, nil
	}
	if h.remove == nil || h.lost {
		h.call(mfa.TokenDeleted, pool, username, []mfa.Factor{mfa.TOTP})
	}
	return h.remove == nil, h.remove
}

func (h *house) call(kind mfa.Kind, pool mfa.PoolID, username string, off []mfa.Factor) {
	if h.stuck {
		return
	}
	for _, u := range h.account.Users() {
		if u.Pool == pool && u.Username == username {
			h.account.Call(mfa.Change{Kind: kind, Pool: pool, Sub: u.Sub, Off: off, At: h.now})
		}
	}
}

// Ask is the function override in memory, asked by h.by.
func (h *house) Ask(ctx context.Context, r request.Request) (request.Answer, error) {
	o := invoke.Override{
		Pools: h.House.Pools, Users: h.account, Book: h.account, Policy: h.account, Audit: looks{}, Now: h.Now,
		Telemetry: telemetry.New(telemetry.NewLogger(io.Discard), "override", h.Now),
	}
	body, err := json.Marshal(r)
	if err != nil {
		return request.Answer{}, err
	}
	e := events.LambdaFunctionURLRequest{Headers: map[string]string{"content-type": "application/json"}, Body: string(body)}
	e.RequestContext.HTTP.Method = "POST"
	e.RequestContext.Authorizer = &events.LambdaFunctionURLRequestContextAuthorizerDescription{IAM: &events.LambdaFunctionURLRequestContextAuthorizerIAMDescription{UserARN: h.by}}
	got, err := o.Invoke(ctx, e)
	if err != nil {
		return request.Answer{}, err
	}
	if got.StatusCode/100 == 2 {
		var a request.Answer
		return a, json.Unmarshal([]byte(got.Body), &a)
	}
	var p request.Problem
	return request.Answer{}, errors.Join(json.Unmarshal([]byte(got.Body), &p), &p)
}

type looks struct{}

func (looks) Look(context.Context, queue.Look) error { return nil }

func open(t *testing.T) *house {
	t.Helper()
	f, err := account.ParseFile([]byte(people))
	if err != nil {
		t.Fatal(err)
	}
	h := &house{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), by: ops}
	h.account = account.New(f, mfa.DefaultPolicy(), mfa.DefaultDocument(), h.now)
	w := worker.New(f.House(), worker.Ports{Users: h.account, Ledger: h.account, Timer: h.account, Queue: h.account, Alerts: h.account, Policy: h.account}, func() time.Time { return h.now })
	h.Operator = &Operator{
		House: f.House(), Users: users{h, h.account, map[string]mfa.Sub{"mail@example.com": "s-mail"}}, Ledger: h.account, Policy: h.account, Desk: h, Hand: h, Flags: " --stack prod",
		Now: func() time.Time { return h.now },
		Wait: func(ctx context.Context, d time.Duration) error {
			h.now = h.now.Add(d)
			if h.slow--; h.slow >= 0 {
				return ctx.Err()
			}
			_, err := w.Look(ctx, mfa.Change{
				Kind: mfa.FactorsChanged, Key: "e-1", EventID: "e-1", At: h.now.Add(-d), Actor: mfa.Actor{ARN: ops, Type: mfa.Admin}, Pool: main, Sub: "s-maria", Off: []mfa.Factor{mfa.TOTP},
			})
			return err
		},
	}
	return h
}

// because is a good reason.
func because() Exception {
	return Exception{By: ops, Reason: "Phone broke on the stairs, new one comes tomorrow", Ticket: "CHG0012345"}
}

func (h *house) find(t *testing.T, who string) Person {
	t.Helper()
	p, err := h.Find(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// change changes the user's standing.
func (h *house) change(t *testing.T, sub mfa.Sub, f func(*mfa.Standing)) {
	t.Helper()
	loaded, err := h.account.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(main, sub)})
	if err != nil {
		t.Fatal(err)
	}
	f(&loaded.Standing)
	if err := h.account.Append(t.Context(), worker.Step{Standing: loaded.Standing}); err != nil {
		t.Fatal(err)
	}
}

func TestAUserIsFoundByWhateverPeopleCallOne(t *testing.T) {
	h := open(t)
	h.change(t, "s-maria", func(s *mfa.Standing) {
		s.Override = &mfa.Override{ID: "O-ABCDEFGH23", Deadline: h.now}
	})
	for _, c := range []struct{ who, sub, name string }{
		{"maria", "s-maria", "maria"},
		{"s-maria", "s-maria", "maria"},
		{"O-ABCDEFGH23", "s-maria", "maria"},
		{"us-east-1_OTHER/s-eva-2", "s-eva-2", "eva"},
		{"us-east-1_OTHER/eva", "s-eva-2", "eva"},
		{"mail@example.com", "s-mail", "mail@example.com"},
	} {
		p, err := h.Find(t.Context(), c.who)
		if err != nil || string(p.Sub) != c.sub || p.Name != c.name {
			t.Errorf("%s: %s called %s, %v", c.who, p.Sub, p.Name, err)
		}
	}
	for who, want := range map[string]string{
		"eva":          "eva means 2 users; take the one you mean as POOL/SUB:\n  us-east-1_EXAMPLE12/s-eva  eva\n  us-east-1_OTHER/s-eva-2  eva",
		"nobody":       "no user has the username, e-mail address or sub nobody in the guarded pools (us-east-1_EXAMPLE12, us-east-1_OTHER, us-east-1_ON, us-east-1_OFF)",
		"O-ABCDEFGH24": "no override is open that is called O-ABCDEFGH24 in the guarded pools (us-east-1_EXAMPLE12, us-east-1_OTHER, us-east-1_ON, us-east-1_OFF)",
	} {
		_, err := h.Find(t.Context(), who)
		if u, ok := errors.AsType[*Unclear](err); !ok || u.Error() != want {
			t.Errorf("%s: %v\nwant %s", who, err, want)
		}
	}
}

func TestWhatMustNotBeIsRefusedInWords(t *testing.T) {
	day := 24 * time.Hour
	for _, c := range []struct {
		name, who, want string
		failed          []mfa.Rule
		reason          Exception
		before          func(*testing.T, *house)
	}{
		{name: "an open override", who: "maria", want: "override O-ABCDEFGH23 of maria is open already, since 2026-11-23 11:00:00 UTC, by SupportAdmin/ops-7; it ends by 2026-11-24 11:00:00 UTC. " +
			"To justify it: relatch justify O-ABCDEFGH23 --reason … --ticket … --stack prod; to end it: relatch end O-ABCDEFGH23 --stack prod", before: func(t *testing.T, h *house) {
			h.change(t, "s-maria", func(s *mfa.Standing) {
				s.Override = &mfa.Override{ID: "O-ABCDEFGH23", OpenedAt: h.now.Add(-time.Hour), Deadline: h.now.Add(23 * time.Hour), Actor: mfa.Actor{ARN: ops}}
			})
		}},
		{name: "no factor", who: "nora", want: "nora has no factor that is switched on: there is nothing to switch off"},
		{name: "a federated user", who: "google_42", want: "google_42 signs in with an identity provider, which has the user's MFA: switch it off there"},
		{name: "a pool that requires MFA", who: "onno", want: "pool us-east-1_ON requires MFA of everybody: Cognito would ask onno all the same"},
		{name: "a pool without MFA", who: "otto", want: "pool us-east-1_OFF asks nobody for MFA: there is nothing to switch off"},
		{name: "no MFA as the role asks for it", who: "sam", want: "sam (itsm_manager) has only SMS, which is not the MFA that the role asks for: Relatch would not switch it on again"},
		{name: "a reason that hides something", who: "maria", reason: Exception{By: ops, Reason: "Lost the phone\a in the tram", Ticket: "CHG0012345"}, want: "reason: has a control character"},
		{name: "a story", who: "maria", reason: Exception{By: ops, Reason: strings.Repeat("Lost ", 201), Ticket: "CHG0012345"}, want: "reason: has more than 1000 characters"},
		{name: "a short reason", who: "maria", reason: Exception{By: ops, Reason: "Broken display", Ticket: "CHG0012345"}, want: "the reason has fewer than 15 characters", failed: []mfa.Rule{mfa.RuleTooShort}},
		{
			name: "everything", who: "maria", reason: Exception{By: ops, Reason: "test", Ticket: "none"}, failed: []mfa.Rule{mfa.RuleTooShort, mfa.RuleBoilerplate, mfa.RuleTicket},
			want: "the reason has fewer than 15 characters; the reason says nothing about this case; the ticket does not match ^(INC|CHG)[0-9]{7}$",
		},
		{name: "another user's ticket", who: "maria", want: "ticket CHG0012345 was used on 2026-11-02 for another user", failed: []mfa.Rule{mfa.RuleUsed}, before: func(t *testing.T, h *house) {
			now := h.now
			h.now = now.Add(-21 * day)
			if _, err := h.Justify(t.Context(), h.find(t, "ben"), because()); err != nil {
				t.Fatal(err)
			}
			h.now = now
		}},
		{name: "a reason that was used", who: "maria", want: "J-… has justified override O-BEFORE of 2026-11-23 already; say what is different now", failed: []mfa.Rule{mfa.RuleUsed}, before: func(t *testing.T, h *house) {
			a, err := h.Justify(t.Context(), h.find(t, "maria"), because())
			if err != nil {
				t.Fatal(err)
			}
			h.change(t, "s-maria", func(s *mfa.Standing) {
				s.Past = []mfa.Past{{ID: "O-BEFORE", OpenedAt: h.now.Add(-time.Hour), ClosedAt: h.now.Add(-time.Minute), Justification: a.ID}}
			})
		}},
		{name: "a reason of the day before yesterday", who: "maria", want: "the justification was written on 2026-11-23 12:00Z, more than 24 h before MFA was switched off", failed: []mfa.Rule{mfa.RuleTooEarly}, before: func(t *testing.T, h *house) {
			if _, err := h.Justify(t.Context(), h.find(t, "maria"), because()); err != nil {
				t.Fatal(err)
			}
			h.now = h.now.Add(25 * time.Hour)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			if c.before != nil {
				c.before(t, h)
			}
			e := c.reason
			if e.By == "" {
				e = because()
			}
			_, err := h.Forecast(t.Context(), h.find(t, c.who), e)
			r, ok := errors.AsType[*Refusal](err)
			if !ok {
				t.Fatalf("%v is no refusal", err)
			}
			if i := strings.Index(r.Why, "J-"); i >= 0 {
				r.Why = r.Why[:i] + "J-…" + r.Why[i+12:]
			}
			if r.Why != c.want || !slices.Equal(r.Failed, c.failed) {
				t.Errorf("have %s %v\nwant %s %v", r.Why, r.Failed, c.want, c.failed)
			}
			if len(h.called) > 0 {
				t.Errorf("called %v", h.called)
			}
		})
	}
}

func TestTheForecastIsWhatRelatchThenDoes(t *testing.T) {
	h := open(t)
	maria := h.find(t, "maria")
	f, err := h.Forecast(t.Context(), maria, because())
	if err != nil || f.Approval || len(f.Alerts) != 1 || len(h.called) > 0 {
		t.Fatalf("%+v, %v", f, err)
	}
	answer, err := h.Justify(t.Context(), maria, because())
	if err != nil || answer.ID != f.Justification.ID {
		t.Fatalf("%+v, %v, foretold %s", answer, err, f.Justification.ID)
	}
	if _, err := h.SwitchOff(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"disable maria [totp] CHG0012345"}, h.called); diff != "" {
		t.Errorf("called (-want +got):\n%s", diff)
	}
	h.slow = 3
	s, seen, err := h.Await(t.Context(), maria, time.Minute, func(s mfa.Standing) bool { return s.Override != nil })
	if err != nil || !seen {
		t.Fatal(seen, err)
	}
	if o := s.Override; o.Match.ID != answer.ID || !o.Match.Justified() || o.Required != f.Override.Required || o.ID != f.Override.ID || o.Deadline.Sub(f.Override.Deadline) != 15*time.Second {
		t.Errorf("foretold %+v\nis %+v", f.Override, o)
	}
	if sent := h.account.Sent(); len(sent) != 1 || sent[0].Title != f.Alerts[0].Title || sent[0].Severity != mfa.Warning {
		t.Errorf("foretold %+v\nsent %+v", f.Alerts, sent)
	}
	if _, seen, err := h.Await(t.Context(), maria, time.Minute, func(mfa.Standing) bool { return false }); seen || err != nil {
		t.Errorf("what never comes is awaited: %v, %v", seen, err)
	}
}

func TestALostTokenIsDeletedAfterTheOthersAreOff(t *testing.T) {
	lost := because()
	lost.Cause, lost.DeleteToken = mfa.LostDevice, true
	for _, c := range []struct {
		who      string
		lacking  bool
		want     []string
		foretold []mfa.AlertKind
	}{
		{"ben", false, []string{"disable ben [sms] CHG0012345", "delete token ben CHG0012345"}, []mfa.AlertKind{mfa.OverrideRepeated}},
		{"rita", false, []string{"disable rita [sms] CHG0012345", "delete token rita CHG0012345"}, []mfa.AlertKind{mfa.RequiredRoleWithoutMFA}},
		{"maria", false, []string{"delete token maria CHG0012345"}, []mfa.AlertKind{mfa.RequiredRoleWithoutMFA}},
		{"maria", true, []string{"delete token maria CHG0012345", "disable maria [totp] CHG0012345"}, []mfa.AlertKind{mfa.RequiredRoleWithoutMFA}},
	} {
		h := open(t)
		h.lacking = c.lacking
		f, err := h.Forecast(t.Context(), h.find(t, c.who), lost)
		if err != nil {
			t.Fatal(err)
		}
		taken, err := h.SwitchOff(t.Context(), f)
		if diff := cmp.Diff(c.want, h.called); err != nil || diff != "" || taken.Deleted == c.lacking || taken.Lacking != c.lacking {
			t.Errorf("%s: %+v, %v (-want +got):\n%s", c.who, taken, err, diff)
		}
		var foretold []mfa.AlertKind
		for _, a := range f.Alerts {
			if foretold = append(foretold, a.Kind); a.Severity != mfa.Warning {
				t.Errorf("%s: foretold %s", c.who, a.Title)
			}
		}
		if diff := cmp.Diff(c.foretold, foretold); diff != "" {
			t.Errorf("%s: foretold (-want +got):\n%s", c.who, diff)
		}
	}
}

func TestTheSixthUserOfTenMinutesIsForetoldAsAPage(t *testing.T) {
	h := open(t)
	for i := range mfa.MassUsers - 1 {
		loaded, err := h.account.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(main, "s-ben")})
		if err != nil {
			t.Fatal(err)
		}
		count := &worker.Count{Key: mfa.ActorKey(ops, h.now), Sub: mfa.Sub(fmt.Sprint("s-", i)), Place: i + 1}
		if err := h.account.Append(t.Context(), worker.Step{Standing: loaded.Standing, Count: count}); err != nil {
			t.Fatal(err)
		}
	}
	f, err := h.Forecast(t.Context(), h.find(t, "maria"), because())
	if err != nil || len(f.Alerts) != 2 || f.Alerts[1].Kind != mfa.MassDisable || f.Alerts[1].Severity != mfa.Critical {
		t.Errorf("%+v, %v", f.Alerts, err)
	}
}

func TestWhatWasSwitchedOffIsSaidWhateverFails(t *testing.T) {
	denied, lost, gone := errors.New("delete software token: AccessDeniedException"), errors.New("set MFA preference: timeout"), errors.New("get user: no answer")
	for _, c := range []struct {
		name   string
		broken func(*house)
		stolen bool
		want   string // the error; empty: it is done
		unread error
	}{
		{name: "done"},
		{name: "what was taken stays on", broken: func(h *house) { h.stuck = true }, want: "Cognito took the call, but still switched on: TOTP and SMS"},
		{name: "refused", broken: func(h *house) { h.disable = lost }, want: "set MFA preference: timeout; nothing was switched off"},
		{name: "an answer that is lost", broken: func(h *house) { h.disable, h.lost = lost, true }},
		{name: "not read back", broken: func(h *house) { h.look = gone }, unread: gone},
		{name: "neither answered nor read back", broken: func(h *house) { h.disable, h.look = lost, gone }, want: "set MFA preference: timeout; what is off is not known, as the user cannot be read back: get user: no answer"},
		{name: "stolen", stolen: true},
		{name: "half done", stolen: true, broken: func(h *house) { h.remove = denied }, want: "delete software token: AccessDeniedException; only half is done: switched off: SMS; still on: TOTP"},
		{name: "a deletion whose answer is lost", stolen: true, broken: func(h *house) { h.remove, h.lost = denied, true }},
		{name: "stolen, and not read back", stolen: true, broken: func(h *house) { h.look = gone }, unread: gone},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			e := because()
			e.DeleteToken = c.stolen
			f, err := h.Forecast(t.Context(), h.find(t, "ben"), e)
			if err != nil {
				t.Fatal(err)
			}
			if c.broken != nil {
				c.broken(h)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // as Ctrl-C does: what was done is told all the same
			got, err := h.SwitchOff(ctx, f)
			switch {
			case c.want != "" && (err == nil || err.Error() != c.want), c.want == "" && err != nil:
				t.Errorf("have %v\nwant %s", err, c.want)
			case c.want == "" && (got.Deleted != c.stolen || !errors.Is(got.Unread, c.unread)):
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAForecastByAnotherPolicySaysSo(t *testing.T) {
	for _, c := range []struct {
		name   string
		record record
		want   string
	}{
		{"as it is", record{mfa.DefaultDocument(), nil}, ""},
		{"unreadable", record{nil, errors.New("get item: not allowed")}, "this goes by the defaults, and Relatch may go by another: get item: not allowed"},
		{"missing", record{}, "this goes by the defaults: the policy record is missing"},
		{"invalid", record{raw: []byte(`{"override":7}`)}, "this goes by the defaults: override: want an object"},
	} {
		h := open(t)
		h.Policy = c.record
		f, err := h.Forecast(t.Context(), h.find(t, "maria"), because())
		if err != nil || f.Doubt[:min(len(f.Doubt), len(c.want))] != c.want || c.want == "" && f.Doubt != "" {
			t.Errorf("%s: %q, %v, want %q", c.name, f.Doubt, err, c.want)
		}
	}
}

type record struct {
	raw []byte
	err error
}

func (r record) Read(context.Context) ([]byte, error) { return r.raw, r.err }

func TestOverTheBudgetSomebodyElseHasToApprove(t *testing.T) {
	h := open(t)
	h.change(t, "s-maria", func(s *mfa.Standing) {
		for i := range 2 {
			at := h.now.Add(-time.Duration(i+1) * 24 * time.Hour)
			s.Past = append(s.Past, mfa.Past{ID: fmt.Sprint("O-", i), OpenedAt: at, ClosedAt: at.Add(time.Hour)})
		}
	})
	maria := h.find(t, "maria")
	f, err := h.Forecast(t.Context(), maria, because())
	if err != nil || !f.Approval || f.Spent != 2 {
		t.Fatalf("%+v, %v", f, err)
	}
	a, err := h.Justify(t.Context(), maria, because())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Approve(t.Context(), maria, a.ID); err == nil || err.Error() != "the approver is the author or the user; somebody else must approve" {
		t.Errorf("approved by the author: %v", err)
	}
	h.by = eva
	if a, err = h.Approve(t.Context(), maria, a.ID); err != nil || a.Approver != eva {
		t.Errorf("%+v, %v", a, err)
	}
	if f, err = h.Forecast(t.Context(), maria, because()); err != nil || f.Approval || f.Justification.Approver != eva || !f.Override.Match.Justified() {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestNobodyIsLockedOutByAccident(t *testing.T) {
	h := open(t)
	maria := h.find(t, "maria")
	if _, err := h.End(t.Context(), maria, false); err == nil || err.Error() != "no override of maria is open" {
		t.Error(err)
	}
	h.change(t, "s-maria", func(s *mfa.Standing) {
		s.Override = &mfa.Override{ID: "O-ABCDEFGH23", OpenedAt: h.now, Deadline: h.now.Add(time.Hour), Match: mfa.Match{Cause: mfa.LostDevice}}
	})
	for _, c := range []struct {
		taken, deleted []mfa.Factor
		want           string
	}{
		{[]mfa.Factor{mfa.TOTP}, nil, "now TOTP would be asked for again, and lock out the user, who does not have it. "},
		{[]mfa.Factor{mfa.TOTP, mfa.SMS}, []mfa.Factor{mfa.TOTP}, "now SMS would be asked for again, and lock out the user, who does not have it. "},
		{[]mfa.Factor{mfa.TOTP}, []mfa.Factor{mfa.TOTP}, "its token is deleted, and nothing is left to switch on. Ending now signs the user out, tells on-call that MFA cannot be restored, and leaves it off. "},
	} {
		h.change(t, "s-maria", func(s *mfa.Standing) { s.Override.Taken, s.Override.Deleted = c.taken, c.deleted })
		want := "the device of maria was declared lost: " + c.want +
			"Have the user enrol a new device, which ends O-ABCDEFGH23 by itself; or end it all the same: relatch end O-ABCDEFGH23 --lock-out --stack prod"
		if _, err := h.End(t.Context(), maria, false); err == nil || err.Error() != want {
			t.Errorf("have %v\nwant %s", err, want)
		}
	}
	if o, err := h.End(t.Context(), maria, true); err != nil || o.ID != "O-ABCDEFGH23" {
		t.Error(o.ID, err)
	}
	h.change(t, "s-maria", func(s *mfa.Standing) { s.Override.Verified = true })
	if _, err := h.End(t.Context(), maria, false); err != nil {
		t.Error(err)
	}
}

func TestTheBareCommandSurvivesAShell(t *testing.T) {
	p := Person{Pool: main, User: mfa.User{Username: "o'hara; rm"}}
	for on, want := range map[bool]string{
		false: `aws cognito-idp admin-set-user-mfa-preference --profile 'a b' --user-pool-id us-east-1_EXAMPLE12 --username 'o'\''hara; rm' ` +
			"--software-token-mfa-settings Enabled=false,PreferredMfa=false --sms-mfa-settings Enabled=false,PreferredMfa=false --web-authn-mfa-settings Enabled=false",
		true: `aws cognito-idp admin-set-user-mfa-preference --profile 'a b' --user-pool-id us-east-1_EXAMPLE12 --username 'o'\''hara; rm' ` +
			"--software-token-mfa-settings Enabled=true --sms-mfa-settings Enabled=true --web-authn-mfa-settings Enabled=true",
	} {
		if got := p.CLI([]mfa.Factor{mfa.TOTP, mfa.SMS, mfa.WebAuthn}, on, " --profile 'a b'"); got != want {
			t.Errorf("have %s\nwant %s", got, want)
		}
	}
	words := []string{"", "maria@example.com", "o'hara; rm -rf $HOME `x`", "a\nb\t\"c\" \\ *?[x]", "~root", "#x", "J-…"}
	quotes := make([]string, len(words))
	for i, word := range words {
		quotes[i] = Quoted(word)
	}
	read, err := exec.CommandContext(t.Context(), "sh", "-c", "printf '%s\\0' "+strings.Join(quotes, " ")).Output()
	if diff := cmp.Diff(strings.Join(words, "\x00")+"\x00", string(read)); err != nil || diff != "" {
		t.Errorf("%v, -written +read\n%s", err, diff)
	}
}
