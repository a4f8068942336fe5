package invoke_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/invoke"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/telemetry"
	"github.com/stackflow/relatch/internal/worker"
)

const pool mfa.PoolID = "us-east-1_EXAMPLE12"

var errTrouble = errors.New("trouble")

// house is an account with the functions of it. Its clock is time.Now, which is
// a bubble's own.
type house struct {
	*account.Account
	kept     [][]byte // evidence
	keepErr  error    // of the next evidence
	alertErr error    // of the next alerts
	listErr  map[mfa.Role]error
	looks    []mfa.Sub                               // at users, in their order
	meets    map[mfa.Sub]func(context.Context) error // what a look at the user meets first
	mark     worker.Bookmark
	audit    invoke.Audit
	reenable invoke.Reenable
	sweep    invoke.Sweep
}

// open makes the account with users who have a required role and TOTP.
func open(t *testing.T, subs ...mfa.Sub) *house {
	t.Helper()
	h := &house{meets: map[mfa.Sub]func(context.Context) error{}, listErr: map[mfa.Role]error{}}
	f := account.File{Pools: []account.PoolFile{{ID: pool, Mode: mfa.ModeOptional, Factors: []mfa.Factor{mfa.TOTP}, PreToken: new(true)}}}
	for _, sub := range subs {
		f.Users = append(f.Users, account.UserFile{
			Pool: pool, Sub: sub, Enabled: new(true), Roles: []mfa.Role{"itsm_manager"}, Factors: []mfa.Factor{mfa.TOTP}, Registered: []mfa.Factor{mfa.TOTP},
		})
	}
	h.Account = account.New(f, mfa.DefaultPolicy(), mfa.DefaultDocument(), time.Now())
	ports := worker.Ports{Users: seen{h}, Ledger: h, Timer: h, Queue: h, Alerts: sender{h}, Policy: h}
	w := worker.New(f.House(), ports, time.Now)
	function := invoke.Function{
		Worker: w, Evidence: h, Ready: func(context.Context) error { return nil },
		Telemetry: telemetry.New(telemetry.NewLogger(t.Output()), "test", time.Now),
	}
	h.audit.Worker, h.audit.Evidence, h.audit.Ready, h.audit.Telemetry = w, h, function.Ready, function.Telemetry
	h.reenable.Worker, h.reenable.Evidence, h.reenable.Ready, h.reenable.Telemetry = w.WithWriter(h), h, function.Ready, function.Telemetry
	h.sweep.Worker, h.sweep.Bookmarks, h.sweep.Ready, h.sweep.Telemetry = w, h, function.Ready, function.Telemetry
	return h
}

// seen shows the users after what a look at them meets.
type seen struct{ *house }

func (s seen) User(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) (mfa.User, error) {
	if meet := s.meets[sub]; meet != nil {
		if err := meet(ctx); err != nil {
			return mfa.User{}, err
		}
	}
	s.looks = append(s.looks, sub)
	return s.Account.User(ctx, pool, sub)
}

func (s seen) Members(ctx context.Context, pool mfa.PoolID, role mfa.Role) iter.Seq2[mfa.Sub, error] {
	if err := s.listErr[role]; err != nil {
		return func(yield func(mfa.Sub, error) bool) { yield("", err) }
	}
	return s.Account.Members(ctx, pool, role)
}

type sender struct{ *house }

func (s sender) Send(ctx context.Context, alerts []alert.Alert) error {
	if err := s.alertErr; err != nil {
		s.alertErr = nil
		return err
	}
	return s.Account.Send(ctx, alerts)
}

func (h *house) Keep(_ context.Context, raw []byte, _ string) error {
	if err := h.keepErr; err != nil {
		h.keepErr = nil
		return err
	}
	h.kept = append(h.kept, bytes.Clone(raw))
	return nil
}

func (h *house) Bookmark(context.Context) (worker.Bookmark, error) { return h.mark, nil }

func (h *house) KeepBookmark(ctx context.Context, b worker.Bookmark) error {
	if ctx.Err() == nil { // nothing can be kept without time
		h.mark = b
	}
	return ctx.Err()
}

// disabled switches the user's TOTP off, and is the record that CloudTrail has of it.
func (h *house) disabled(sub mfa.Sub) string {
	h.Call(mfa.Change{Kind: mfa.FactorsChanged, Pool: pool, Sub: sub, Off: []mfa.Factor{mfa.TOTP}})
	return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::123456789012:user/ops","accountId":"123456789012"},
"eventTime":%q,"eventSource":"cognito-idp.amazonaws.com","eventName":"AdminSetUserMFAPreference","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.7",
"requestParameters":{"userPoolId":%q,"username":"HIDDEN_DUE_TO_SECURITY_REASONS","softwareTokenMfaSettings":{"enabled":false}},"additionalEventData":{"sub":%q},
"eventID":"e-%s","eventType":"AwsApiCall","recipientAccountId":"123456789012"}`, time.Now().UTC().Format(time.RFC3339), pool, sub, sub)
}

// opened are those whose overrides are open.
func (h *house) opened(t *testing.T) []mfa.Sub {
	t.Helper()
	var subs []mfa.Sub
	for s, err := range h.Open(t.Context(), pool) {
		if err != nil {
			t.Fatal(err)
		}
		if s.Override != nil {
			subs = append(subs, mfa.Sub(s.Journal[len(mfa.UserJournal(pool, "")):]))
		}
	}
	slices.Sort(subs)
	return subs
}

// batch is an event of SQS; the messages have the ids m-0, m-1 and so on.
func batch(t *testing.T, bodies ...string) json.RawMessage {
	t.Helper()
	records := []map[string]string{}
	for i, body := range bodies {
		records = append(records, map[string]string{"messageId": fmt.Sprint("m-", i), "body": body, "eventSource": "aws:sqs"})
	}
	raw, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// failures invokes the function and returns the messages that must come again.
func failures[A any](ctx context.Context, t *testing.T, f func(context.Context, json.RawMessage) (A, error), event json.RawMessage) []string {
	t.Helper()
	answer, err := f(ctx, event)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		All []struct {
			ID string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	if out.All == nil { // null is not what Lambda takes for "none"
		t.Errorf("the answer is %s", raw)
	}
	var ids []string
	for _, f := range out.All {
		ids = append(ids, f.ID)
	}
	return ids
}

func TestABadMessageNeitherBlocksNorRepeatsTheOthers(t *testing.T) {
	for name, bad := range map[string]func(context.Context) error{
		"an error": func(context.Context) error { return errTrouble },
		"a panic":  func(context.Context) error { panic("trouble") },
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, "a", "b", "c")
			h.meets["b"] = bad
			event := batch(t, h.disabled("a"), h.disabled("b"), "{", h.disabled("c"))
			if diff := cmp.Diff([]string{"m-1"}, failures(t.Context(), t, h.audit.Invoke, event)); diff != "" {
				t.Errorf("to come again (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]mfa.Sub{"a", "c"}, h.opened(t)); diff != "" {
				t.Errorf("open (-want +got):\n%s", diff)
			}
			h.meets["b"] = nil
			if again := failures(t.Context(), t, h.audit.Invoke, batch(t, h.disabled("b"))); again != nil {
				t.Errorf("the message that came again fails again: %v", again)
			}
			if diff := cmp.Diff([]mfa.Sub{"a", "b", "c"}, h.opened(t)); diff != "" {
				t.Errorf("open in the end (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsNoBatchIsOneMessage(t *testing.T) {
	for name, wrap := range map[string]string{
		"a record":                `%s`,
		"an EventBridge delivery": `{"version":"0","id":"1","detail-type":"AWS API Call via CloudTrail","source":"aws.cognito-idp","detail":%s}`,
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, "a")
			h.meets["a"] = func(context.Context) error { return errTrouble }
			event := json.RawMessage(fmt.Sprintf(wrap, h.disabled("a")))
			if _, err := h.audit.Invoke(t.Context(), event); err == nil {
				t.Error("a delivery that could not be handled is no error: it would not come again")
			}
			h.meets["a"] = nil
			if again := failures(t.Context(), t, h.audit.Invoke, event); again != nil {
				t.Errorf("to come again: %v", again)
			}
			if got := h.opened(t); len(got) != 1 {
				t.Errorf("open: %v", got)
			}
		})
	}
}

func TestAMessageThatHangsTakesNoTimeOfTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, "a", "b", "c", "d")
		h.meets["a"] = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		event := batch(t, h.disabled("a"), h.disabled("b"), h.disabled("c"), h.disabled("d"))
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 41*time.Second)
		defer cancel()
		if diff := cmp.Diff([]string{"m-0"}, failures(ctx, t, h.audit.Invoke, event)); diff != "" {
			t.Errorf("to come again (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]mfa.Sub{"b", "c", "d"}, h.opened(t)); diff != "" {
			t.Errorf("open (-want +got):\n%s", diff)
		}
		if took := time.Since(began); took != 10*time.Second { // a quarter of what a second less leaves
			t.Errorf("it took %s", took)
		}
	})
}

func TestTheLastSecondIsForTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, "a", "b")
		event := batch(t, h.disabled("a"), h.disabled("b"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if diff := cmp.Diff([]string{"m-0", "m-1"}, failures(ctx, t, h.audit.Invoke, event)); diff != "" {
			t.Errorf("to come again (-want +got):\n%s", diff)
		}
		if got := h.opened(t); got != nil || h.looks != nil {
			t.Errorf("without time: opened %v, looked at %v", got, h.looks)
		}
	})
}

func TestEvidenceIsKeptBeforeTheRejectIsTold(t *testing.T) {
	nameless := `{"eventVersion":"1.11","eventTime":"2026-11-23T12:00:00Z","eventSource":"cognito-idp.amazonaws.com","eventName":"AdminSetUserMFAPreference","eventID":"e-1","eventType":"AwsApiCall",
"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::123456789012:user/ops"},"recipientAccountId":"123456789012","requestParameters":{"userPoolId":"` + string(pool) + `","softwareTokenMfaSettings":{"enabled":false}}}`
	for name, raw := range map[string]string{"unreadable": "{\x00 \xff", "empty": "", "names no user": nameless} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			// The message goes to audit by itself: JSON cannot carry such bytes in a batch.
			take := func() error {
				_, err := h.audit.Invoke(t.Context(), json.RawMessage(raw))
				return err
			}
			h.keepErr = errTrouble
			if err := take(); err == nil || len(h.Sent()) > 0 {
				t.Errorf("evidence that is not kept: %v; it must come again, and nothing be told", err)
			}
			h.alertErr = errTrouble
			if err := take(); err == nil || len(h.kept) != 1 {
				t.Errorf("an alert that is not sent: %v, kept %q; it must come again, and have been kept before", err, h.kept)
			}
			if err := take(); err != nil {
				t.Error(err)
			}
			for _, kept := range h.kept {
				if string(kept) != raw {
					t.Errorf("kept is %q, not %q", kept, raw)
				}
			}
			if sent := h.Sent(); len(sent) != 1 || sent[0].Kind != mfa.UnreadableEvent {
				t.Errorf("told: %+v", sent)
			}
		})
	}
}

func TestNothingIsLookedAtUnlessTheStartWasChecked(t *testing.T) {
	h := open(t, "a")
	h.audit.Ready = func(context.Context) error { return errTrouble }
	h.sweep.Ready, h.reenable.Ready = h.audit.Ready, h.audit.Ready
	const irrelevant = `{"eventVersion":"1.11","eventTime":"2026-11-23T12:00:00Z","eventSource":"cognito-idp.amazonaws.com","eventName":"ListUsers","eventID":"e-2","eventType":"AwsApiCall"}`
	if diff := cmp.Diff([]string{"m-0", "m-1"}, failures(t.Context(), t, h.audit.Invoke, batch(t, h.disabled("a"), "{", irrelevant))); diff != "" {
		t.Errorf("to come again (-want +got):\n%s", diff)
	}
	const ours, another = `{"pool_id":"us-east-1_EXAMPLE12","sub":"a"}`, `{"pool_id":"us-east-1_OTHER","sub":"a"}`
	if diff := cmp.Diff([]string{"m-0"}, failures(t.Context(), t, h.reenable.Invoke, batch(t, ours, another))); diff != "" {
		t.Errorf("to come again to reenable (-want +got):\n%s", diff)
	}
	if err := h.sweep.Invoke(t.Context(), nil); !errorsSay(err, "trouble") {
		t.Errorf("sweep: %v", err)
	}
	if h.looks != nil || len(h.Sent()) > 0 || len(h.kept) != 1 {
		t.Errorf("looked at %v, kept %d", h.looks, len(h.kept))
	}
}

func errorsSay(err error, what string) bool {
	return err != nil && bytes.Contains([]byte(err.Error()), []byte(what))
}

func TestReenableTakesItsMessagesInEveryForm(t *testing.T) {
	const ids = `{"pool_id":"us-east-1_EXAMPLE12","sub":"a"}`
	for name, event := range map[string]json.RawMessage{
		"asked":                    batch(t, ids),
		"a timer's":                batch(t, `{"pool_id":"us-east-1_EXAMPLE12","sub":"a","override":"O-1"}`),
		"by itself":                json.RawMessage(ids),
		"detail of an event":       json.RawMessage(`{"source":"relatch","detail-type":"any","detail":` + ids + `}`),
		"an event in a batch":      batch(t, `{"detail":`+ids+`}`),
		"with what nobody expects": batch(t, `{"pool_id":"us-east-1_EXAMPLE12","sub":"a","factors":["sms"],"deadline":"2999-01-01T00:00:00Z"}`),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, "a")
				if again := failures(t.Context(), t, h.audit.Invoke, batch(t, h.disabled("a"))); again != nil {
					t.Fatal(again)
				}
				if again := failures(t.Context(), t, h.reenable.Invoke, event); again != nil || len(h.opened(t)) != 1 {
					t.Errorf("before the deadline: to come again %v, open %v", again, h.opened(t))
				}
				<-time.After(24 * time.Hour)
				if again := failures(t.Context(), t, h.reenable.Invoke, event); again != nil {
					t.Errorf("to come again: %v", again)
				}
				if got := h.Users()[0].Factors; !slices.Equal(got, []mfa.Factor{mfa.TOTP}) || len(h.opened(t)) > 0 || len(h.kept) > 0 {
					t.Errorf("switched on are %v, open %v, evidence %q", got, h.opened(t), h.kept)
				}
			})
		})
	}
}

func TestReenableRejectsWhatNamesNobody(t *testing.T) {
	h := open(t, "a")
	bodies := []string{`null`, `[]`, `"a"`, `{"pool_id":"us-east-1_EXAMPLE12"}`, `{"sub":"a"}`, `{"pool_id":1,"sub":"a"}`, `{"detail":{}}`, `{`}
	if again := failures(t.Context(), t, h.reenable.Invoke, batch(t, bodies...)); again != nil {
		t.Errorf("to come again: %v", again)
	}
	var kept []string
	for _, raw := range h.kept {
		kept = append(kept, string(raw))
	}
	if diff := cmp.Diff(bodies, kept); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
	if told := h.Sent(); len(told) != len(bodies) {
		t.Errorf("told of %d of %d", len(told), len(bodies))
	}
}
