package functions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/stackflow/relatch/internal/cloud"
	"github.com/stackflow/relatch/internal/config"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/invoke"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/telemetry"
	"github.com/stackflow/relatch/internal/wiretest"
	"github.com/stackflow/relatch/internal/worker"
)

// meter counts the calls that go over the wire. In a bubble each one lasts
// exactly a second: the network is real, and while somebody waits for it the
// bubble's clock stands still, so that the time that has gone by is the number of
// round trips that came one after the other.
type meter struct {
	mu    sync.Mutex
	wire  http.RoundTripper // of the bubble; nil: nothing is measured
	calls []string
	units map[string]float64 // of DynamoDB's capacity, by operation
	lost  bool               // an answer, so that the SDK has asked again
}

func (m *meter) RoundTrip(r *http.Request) (*http.Response, error) {
	if m.wire == nil {
		return http.DefaultTransport.RoundTrip(r)
	}
	m.mu.Lock()
	m.calls = append(m.calls, operation(r))
	m.mu.Unlock()
	onDynamoDB := strings.HasPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB_")
	if onDynamoDB {
		if err := asksForUnits(r); err != nil {
			return nil, err
		}
	}
	out, err := m.wire.RoundTrip(r)
	if err == nil {
		err = readAll(out)
	}
	if err == nil && onDynamoDB {
		err = m.count(operation(r), out)
	}
	if err != nil {
		if r.Context().Err() == nil {
			m.mu.Lock()
			m.lost = true
			m.mu.Unlock()
		}
		return nil, err
	}
	select {
	case <-time.After(time.Second):
		return out, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// operation is what is asked for; the scheduler has paths.
func operation(r *http.Request) string {
	if _, name, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok {
		return name
	}
	return r.Method + " " + strings.SplitN(r.URL.Path, "/", 3)[1]
}

// asksForUnits has DynamoDB Local, which looks at no signature, say what the call
// has consumed.
func asksForUnits(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	body = bytes.Replace(body, []byte("{"), []byte(`{"ReturnConsumedCapacity":"TOTAL",`), 1)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return nil
}

// count adds what the call has consumed, of which there is one or a list.
func (m *meter) count(operation string, out *http.Response) error {
	body, err := io.ReadAll(out.Body)
	out.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return err
	}
	var answer struct{ ConsumedCapacity json.RawMessage }
	if err := json.Unmarshal(body, &answer); err != nil || answer.ConsumedCapacity == nil {
		return err
	}
	raw := answer.ConsumedCapacity
	if raw[0] != '[' {
		raw = append(append([]byte{'['}, raw...), ']')
	}
	var consumed []struct{ CapacityUnits float64 }
	err = json.Unmarshal(raw, &consumed)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range consumed {
		m.units[operation] += c.CapacityUnits
	}
	return err
}

// readAll reads the answer, so that its connection has ended.
func readAll(out *http.Response) error {
	body, err := io.ReadAll(out.Body)
	out.Body = io.NopCloser(bytes.NewReader(body))
	return errors.Join(err, out.Body.Close())
}

// cost is what an invocation cost: round trips one after the other, and calls.
type cost struct {
	trips int
	calls []string
	units map[string]float64
}

func (c cost) String() string {
	return fmt.Sprintf("%d trips, %d calls %v, units %v", c.trips, len(c.calls), c.calls, c.units)
}

// measure calls do in a bubble. What was lost on the way is no measurement.
func (m *meter) measure(t *testing.T, do func(context.Context) error) (c cost, ok bool) {
	t.Helper()
	m.calls, m.units, m.lost = nil, map[string]float64{}, false
	synctest.Test(t, func(t *testing.T) {
		m.wire = &http.Transport{DisableKeepAlives: true} // its connections end in the bubble
		defer func() { m.wire = nil }()
		began := time.Now()
		if err := do(t.Context()); err != nil {
			t.Error(err)
		}
		c = cost{int(time.Since(began) / time.Second), m.calls, m.units}
	})
	return c, !m.lost
}

// process is one process of each function, on an account.
type process struct {
	*meter
	now      time.Time
	ledger   *dynamo.Ledger
	audit    invoke.Audit
	reenable invoke.Reenable
	sweep    invoke.Sweep
}

func newProcess(t *testing.T, a *stacktest.Account) *process {
	t.Helper()
	env := a.Environment("audit", "RELATCH_POOL_FOR=5m", "RELATCH_POLICY_FOR=15m")
	settings, err := config.Read(env)
	if err != nil {
		t.Fatal(err)
	}
	sdk, err := cloud.Load(func(name string) string {
		for _, v := range env {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{meter: &meter{}, now: time.Now()}
	now := func() time.Time { return p.now } // the bubble has a clock of its own
	sdk.HTTPClient = &http.Client{Transport: p.meter}
	c := cloud.Open(sdk, settings, now)
	p.ledger = c.Ledger
	w := worker.New(settings.House(), c.Ports, now)
	w.Together = worker.Together
	ready := c.Ready(t.Context())
	if err := ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	log := telemetry.New(telemetry.NewLogger(io.Discard), "test", now)
	p.audit.Worker, p.audit.Evidence, p.audit.Ready, p.audit.Telemetry = w, c.Evidence, ready, log
	p.reenable.Worker, p.reenable.Evidence, p.reenable.Ready, p.reenable.Telemetry = w.WithWriter(c.Writer), c.Evidence, ready, log
	p.reenable.Worker.Together = worker.Together
	p.sweep.Worker, p.sweep.Bookmarks, p.sweep.Ready, p.sweep.Telemetry = w, c.Ledger, ready, log
	return p
}

// takes is an invocation with one message.
func takes[A any](t *testing.T, f func(context.Context, json.RawMessage) (A, error), body string) func(context.Context) error {
	event := wiretest.Batch(t, wiretest.AuditQueue, sqstypes.Message{MessageId: new("m"), Body: &body})
	return func(ctx context.Context) error {
		answer, err := f(ctx, event)
		if raw, _ := json.Marshal(answer); string(raw) != `{"batchItemFailures":[]}` {
			return fmt.Errorf("the answer is %s: %w", raw, err)
		}
		return err
	}
}

// What the ledger's table takes at most for each, in write units.
const (
	disableWrites = 24
	noticeWrites  = 20
	restoreWrites = 16
	otherWrites   = 4
)

func TestWhatADeliveryCosts(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	must(t, err)
	if says := fmt.Sprintf("%d write units for a disable, %d for each of two notices, %d for the restore and %d for any other delivery", disableWrites, noticeWrites, restoreWrites, otherWrites); !strings.Contains(string(text), says) {
		t.Errorf("the README does not say: %s", says)
	}
	a := stacktest.Open(t)
	p := newProcess(t, a)
	n := 0
	// disabled makes a user who has had MFA switched off, and its delivery.
	disabled := func(pool mfa.PoolID) (mfa.Sub, string) {
		n++
		sub := a.Add(t, wiretest.Person{
			Pool: pool, Name: fmt.Sprintf("user-%d@example.com", n), Roles: []mfa.Role{"itsm_manager"}, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP},
		})
		a.Switch(t, pool, sub, false, mfa.TOTP)
		return sub, disable(pool, sub, fmt.Sprint("e-", n), p.now)
	}
	warm := func(p *process, pools ...mfa.PoolID) {
		for _, pool := range pools {
			_, delivery := disabled(pool)
			if err := takes(t, p.audit.Invoke, delivery)(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	warm(p, a.EmailPool, a.Pool)
	other := newProcess(t, a)
	warm(other, a.EmailPool)

	sweep := func() cost {
		do := func(ctx context.Context) error { return p.sweep.Invoke(ctx, nil) }
		if err := do(t.Context()); err != nil { // the second one finds nothing new
			t.Fatal(err)
		}
		paid, _ := p.measure(t, do)
		return paid
	}
	before := sweep()
	a.Add(t, wiretest.Person{
		Pool: a.EmailPool, Name: "protected@example.com", Roles: []mfa.Role{"itsm_manager"}, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP},
	})
	after := sweep()
	t.Logf("a sweep of one more protected user: %d more trips, %d more calls than %s", after.trips-before.trips, len(after.calls)-len(before.calls), before)

	var opened []mfa.Sub // by what was measured
	for _, c := range []struct {
		name         string
		trips, calls int     // at most; -1: not promised
		writes       float64 // units of DynamoDB at most, of which the README's costs are made; 0: not promised
		arrange      func(t *testing.T) (*process, func(context.Context) error)
	}{
		{"a relevant disable, not justified", 4, 8, disableWrites, func(t *testing.T) (*process, func(context.Context) error) {
			sub, delivery := disabled(a.EmailPool)
			opened = []mfa.Sub{sub}
			return p, takes(t, p.audit.Invoke, delivery)
		}},
		{"a relevant disable, justified", 4, 8, disableWrites, func(t *testing.T) (*process, func(context.Context) error) {
			sub, delivery := disabled(a.EmailPool)
			_, err := p.ledger.Justify(t.Context(), a.EmailPool, sub, mfa.Justification{
				ID: "J-1", Reason: "Lost the phone on a journey, a new one comes tomorrow", Ticket: "INC0012345", Cause: mfa.LostDevice, Author: "arn:aws:sts::123456789012:assumed-role/SupportAdmin/ops-7", At: p.now.Add(-time.Minute),
			})
			if err != nil {
				t.Fatal(err)
			}
			return p, takes(t, p.audit.Invoke, delivery)
		}},
		{"a relevant disable by the user's own token", -1, -1, 0, func(t *testing.T) (*process, func(context.Context) error) {
			sub, delivery := disabled(a.EmailPool)
			opened = []mfa.Sub{sub}
			return p, takes(t, p.audit.Invoke, own(t, delivery))
		}},
		{"a relevant disable of a user found by ListUsers", -1, -1, 0, func(t *testing.T) (*process, func(context.Context) error) {
			_, delivery := disabled(a.Pool)
			return p, takes(t, p.audit.Invoke, delivery)
		}},
		{"a change of a protected user", -1, -1, otherWrites, func(t *testing.T) (*process, func(context.Context) error) {
			sub, delivery := disabled(a.EmailPool)
			a.Switch(t, a.EmailPool, sub, true, mfa.TOTP)
			return p, takes(t, p.audit.Invoke, strings.Replace(delivery, "AdminSetUserMFAPreference", "AdminUpdateUserAttributes", 1))
		}},
		{"a duplicate in the same process", 1, 1, 0, func(t *testing.T) (*process, func(context.Context) error) {
			_, delivery := disabled(a.EmailPool)
			do := takes(t, p.audit.Invoke, delivery)
			if err := do(t.Context()); err != nil {
				t.Fatal(err)
			}
			return p, do
		}},
		{"a duplicate in another process", 1, -1, 0, func(t *testing.T) (*process, func(context.Context) error) {
			_, delivery := disabled(a.EmailPool)
			if err := takes(t, p.audit.Invoke, delivery)(t.Context()); err != nil {
				t.Fatal(err)
			}
			return other, takes(t, other.audit.Invoke, delivery)
		}},
		{"not relevant", 0, 0, 0, func(t *testing.T) (*process, func(context.Context) error) {
			return p, takes(t, p.audit.Invoke, strings.Replace(disable(a.EmailPool, "any", "e-irrelevant", p.now), "AdminSetUserMFAPreference", "AdminGetUser", 1))
		}},
		{"another pool", 0, 0, 0, func(t *testing.T) (*process, func(context.Context) error) {
			return p, takes(t, p.audit.Invoke, disable("us-east-1_OTHER", "any", "e-other", p.now))
		}},
		{"a failed call", 0, 0, 0, func(t *testing.T) (*process, func(context.Context) error) {
			return p, takes(t, p.audit.Invoke, strings.Replace(disable(a.EmailPool, "any", "e-failed", p.now), `"responseElements":null`, `"responseElements":null,"errorCode":"AccessDenied"`, 1))
		}},
		{"a notice before the deadline", -1, -1, noticeWrites, func(t *testing.T) (*process, func(context.Context) error) {
			sub, delivery := disabled(a.EmailPool)
			if err := takes(t, p.audit.Invoke, delivery)(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.now = p.now.Add(23*time.Hour + time.Minute)
			warm(p, a.EmailPool)
			return p, func(ctx context.Context) error {
				seen, err := p.sweep.Worker.Look(ctx, mfa.Change{Kind: mfa.Swept, Pool: a.EmailPool, Sub: sub})
				if err == nil && seen.Verdict != mfa.Holds {
					err = fmt.Errorf("%s %s", seen.Verdict, seen.Reason)
				}
				return err
			}
		}},
		{"a restore", -1, -1, restoreWrites, func(t *testing.T) (*process, func(context.Context) error) {
			sub, delivery := disabled(a.EmailPool)
			if err := takes(t, p.audit.Invoke, delivery)(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.now = p.now.Add(24 * time.Hour)
			warm(p, a.EmailPool)
			return p, takes(t, p.reenable.Invoke, fmt.Sprintf(`{"pool_id":%q,"sub":%q}`, a.EmailPool, sub))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var paid cost
			for range 5 {
				process, do := c.arrange(t)
				var ok bool
				if paid, ok = process.measure(t, do); ok {
					break
				}
			}
			t.Log(paid)
			for _, sub := range opened {
				loaded, err := p.ledger.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(a.EmailPool, sub)})
				if err != nil || loaded.Standing.Override == nil {
					t.Errorf("no override was opened: %v", err)
				}
			}
			opened = nil
			if c.trips >= 0 && paid.trips > c.trips || c.calls >= 0 && len(paid.calls) > c.calls {
				t.Errorf("%s; want at most %d and %d", paid, c.trips, c.calls)
			}
			if n := paid.units["TransactWriteItems"] + paid.units["PutItem"] + paid.units["UpdateItem"]; c.writes > 0 && n > c.writes {
				t.Errorf("%s; want at most %v units written", paid, c.writes)
			}
			if c.trips != 0 && paid.trips == 0 {
				t.Error("nothing was measured")
			}
		})
	}
}

// own makes a delivery that of a call that the user's own token authorised: it
// names no pool.
func own(t *testing.T, delivery string) string {
	t.Helper()
	var record map[string]any
	must(t, json.Unmarshal([]byte(delivery), &record))
	detail := record
	if inner, ok := record["detail"].(map[string]any); ok {
		detail = inner
	}
	detail["userIdentity"] = map[string]any{"type": "Unknown", "principalId": "Anonymous"}
	detail["eventName"] = "SetUserMFAPreference"
	parameters, ok := detail["requestParameters"].(map[string]any)
	if !ok {
		t.Fatal("the delivery has no parameters")
	}
	delete(parameters, "userPoolId")
	parameters["accessToken"] = "HIDDEN_DUE_TO_SECURITY_REASONS"
	raw, err := json.Marshal(record)
	must(t, err)
	return string(raw)
}
