package functions_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/invoke"
	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/refusaltest"
	"github.com/stackflow/relatch/internal/request"
	"github.com/stackflow/relatch/internal/wiretest"
	"github.com/stackflow/relatch/internal/worker"
)

// court is where a row is played against the function override.
type court struct {
	refusaltest.Place
	ledger house
	ask    func(*testing.T, events.LambdaFunctionURLRequest) events.LambdaFunctionURLResponse
	// items is all that is in the ledger's table, whole, by its key.
	items func(*testing.T) map[string]string
	// works has audit look at whom it is told of, and returns how many that are.
	works func(*testing.T) int
}

// plays plays the row: it is refused by the right names, and nothing but evidence is
// left behind.
func (c court) plays(t *testing.T, r refusaltest.Row) {
	t.Helper()
	r.Prepare(t, c.ledger, c.Place)
	before := c.items(t)
	by, what := r.Asks(c.Place)
	body, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	answer := c.ask(t, signed(by, string(body)))
	after := c.items(t)
	if r.Problem != "" {
		var p request.Problem
		if err := json.Unmarshal([]byte(answer.Body), &p); err != nil || answer.Headers["content-type"] != "application/problem+json" || p.Status != answer.StatusCode || p.Title == "" {
			t.Fatalf("%v: %d %s %s", err, answer.StatusCode, answer.Headers["content-type"], answer.Body)
		}
		rules := r.Failed
		if r.Approver != "" {
			rules = []mfa.Rule{mfa.RuleApprover} // what else is wrong is no matter of the approver's
		}
		if diff := cmp.Diff(rules, p.FailedRules); diff != "" || p.Type != r.Problem || !strings.Contains(p.Detail, r.Says) {
			t.Errorf("%s, %q; failed rules (-want +got):\n%s", p.Type, p.Detail, diff)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("the table (-before +after):\n%s", diff)
		}
		if n := c.works(t); n > 0 {
			t.Errorf("audit is told of %d", n)
		}
		return
	}
	var a request.Answer
	if err := json.Unmarshal([]byte(answer.Body), &a); err != nil || answer.StatusCode != http.StatusCreated {
		t.Fatalf("%v: %d %s", err, answer.StatusCode, answer.Body)
	}
	if diff := cmp.Diff(r.Failed, a.FailedRules); diff != "" || a.Override != "O-OPEN" || !strings.Contains(strings.Join(a.Why, "; "), r.Says) {
		t.Errorf("%+v; failed rules (-want +got):\n%s", a, diff)
	}
	c.onlyEvidence(t, r, before, after)
	if n := c.works(t); n != 1 {
		t.Fatalf("audit is told of %d", n)
	}
	loaded, err := c.ledger.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(c.Pool, c.Sub)})
	if err != nil || loaded.Standing.Override == nil {
		t.Fatalf("%+v, %v", loaded.Standing, err)
	}
	m := loaded.Standing.Override.Match
	if diff := cmp.Diff(r.Failed, m.Failed); diff != "" || m.ID != a.ID || !strings.Contains(strings.Join(m.Why, "; "), r.Says) {
		t.Errorf("matched: %+v; failed rules (-want +got):\n%s", m, diff)
	}
}

// onlyEvidence reports what else has changed than that the reason, or the approval, is on record.
func (c court) onlyEvidence(t *testing.T, r refusaltest.Row, before, after map[string]string) {
	t.Helper()
	user := mfa.UserJournal(c.Pool, c.Sub)
	want := []string{"ticket/" + r.Ticket + " use", user + " justification/" + r.Justification(c.Place).ID}
	if r.Approver != "" {
		want = []string{user + " justification/" + r.Justification(c.Place).ID + "/approval"}
	}
	var added []string
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if was, there := before[key]; !there {
			added = append(added, key)
		} else if was != after[key] {
			t.Errorf("%s was %s and is %s", key, was, after[key])
		}
	}
	if diff := cmp.Diff(want, added); diff != "" || len(after) != len(before)+len(want) {
		t.Errorf("added to the table (-want +got):\n%s", diff)
	}
}

// addressed are users who have an address, as in pools where that is the username.
type addressed struct {
	invoke.Directory
	address string
}

func (a addressed) User(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) (mfa.User, error) {
	u, err := a.Directory.User(ctx, pool, sub)
	u.Username, u.Names = string(sub), []string{a.address}
	return u, err
}

// courtInMemory is a court of maria's at noon.
func courtInMemory(t *testing.T, r refusaltest.Row) court {
	t.Helper()
	p := refusaltest.Place{Account: "123456789012", Called: "maria", Now: time.Date(2026, 11, 23, 12, 0, 1, 0, time.UTC)}
	d := inMemory(t, func(made *invoke.Override) {
		if r.Address {
			p.Called = "maria@example.com"
			made.Users = addressed{made.Users, p.Called}
		}
	})
	p.Pool, p.Sub, p.Other = d.pool, d.maria, d.ben
	gone := mfa.Change{Kind: mfa.FactorsChanged, Pool: d.pool, Sub: d.maria, Off: []mfa.Factor{mfa.TOTP}}
	a := d.house.(interface { //nolint:errcheck // a panic tells
		worker.UserPool
		worker.Timer
		worker.Queue
		worker.Alerts
		worker.PolicySource
		Call(mfa.Change)
	})
	a.Call(gone)
	audit := worker.New(mfa.House{Pools: []mfa.PoolID{d.pool}}, worker.Ports{Users: a, Ledger: d.house, Timer: a, Queue: a, Alerts: a, Policy: a}, func() time.Time { return p.Now })
	return court{
		Place: p, ledger: d.house, ask: d.ask,
		items: func(t *testing.T) map[string]string {
			t.Helper()
			all := map[string]string{}
			for _, sub := range []mfa.Sub{d.maria, d.ben} {
				user := mfa.UserJournal(d.pool, sub)
				loaded, err := d.Load(t.Context(), worker.Query{Journal: user})
				if err != nil {
					t.Fatal(err)
				}
				all[user+" standing"] = asJSON(t, loaded.Standing)
				recorded, err := d.Justifications(t.Context(), d.pool, sub)
				if err != nil {
					t.Fatal(err)
				}
				for _, j := range recorded {
					if j.Approver != "" {
						all[user+" justification/"+j.ID+"/approval"] = j.Approver + j.ApprovedAt.String()
					}
					all[user+" justification/"+j.ID] = asJSON(t, j.Unapproved())
				}
			}
			if use, err := d.TicketUse(t.Context(), r.Ticket); err != nil || use != nil {
				all["ticket/"+r.Ticket+" use"] = asJSON(t, use)
			}
			return all
		},
		works: func(t *testing.T) int {
			t.Helper()
			sent := d.sent(t)
			for range sent {
				if _, err := audit.Look(t.Context(), mfa.Change{Kind: mfa.Justified, Pool: d.pool, Sub: d.maria, At: p.Now}); err != nil {
					t.Fatal(err)
				}
			}
			return len(sent)
		},
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestWhatMustNotCountIsRefusedInMemory(t *testing.T) {
	for _, r := range refusaltest.Table() {
		t.Run(r.Name, func(t *testing.T) { courtInMemory(t, r).plays(t, r) })
	}
}

// items is all that is in the table, whole, by its key.
func items(t *testing.T, a *wiretest.Account) map[string]string {
	t.Helper()
	all := map[string]string{}
	for pages := dynamodb.NewScanPaginator(a.DynamoDB, &dynamodb.ScanInput{TableName: new(wiretest.Table), ConsistentRead: new(true)}); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range page.Items {
			var key struct{ PK, SK struct{ Value string } }
			raw := asJSON(t, it)
			if err := json.Unmarshal([]byte(raw), &key); err != nil {
				t.Fatal(err)
			}
			all[key.PK.Value+" "+key.SK.Value] = raw
		}
	}
	return all
}

func TestWhatMustNotCountIsRefusedOverTheWire(t *testing.T) {
	a := wiretest.Open(t)
	override := lambdatest.Start(t, lambdatest.Build(t, "./functions/override"), a.Environment()...)
	audit := lambdatest.Start(t, lambdatest.Build(t, "./functions/audit"), a.Environment()...)
	other := a.Add(t, wiretest.Person{Pool: a.Pool, Name: "other"})
	ledger := dynamo.New(a.DynamoDB, wiretest.Table)
	for i, r := range refusaltest.Table() {
		t.Run(r.Name, func(t *testing.T) {
			p := wiretest.Person{Pool: a.Pool, Name: fmt.Sprint("user-", i)}
			if r.Address {
				p = wiretest.Person{Pool: a.EmailPool, Name: fmt.Sprintf("user-%d@example.com", i)}
			}
			court{
				Place:  refusaltest.Place{Account: "123456789012", Pool: p.Pool, Sub: a.Add(t, p), Other: other, Called: p.Name, Now: time.Now()},
				ledger: ledger, items: func(t *testing.T) map[string]string { t.Helper(); return items(t, a) },
				ask: func(t *testing.T, e events.LambdaFunctionURLRequest) events.LambdaFunctionURLResponse {
					t.Helper()
					return answered(t, override, e)
				},
				works: func(t *testing.T) int {
					t.Helper()
					messages := a.Take(t, wiretest.AuditQueue)
					if len(messages) == 0 {
						return 0
					}
					if answer, err := audit.Invoke(t.Context(), wiretest.Batch(t, wiretest.AuditQueue, messages...)); err != nil || string(answer) != `{"batchItemFailures":[]}` {
						t.Fatalf("%s, %v", answer, err)
					}
					return len(messages)
				},
			}.plays(t, r)
		})
	}
	t.Run("what is no request", func(t *testing.T) {
		before := items(t, a)
		_, what := refusaltest.Good().Asks(refusaltest.Place{Pool: a.Pool, Sub: other})
		strange(t, func(t *testing.T, e events.LambdaFunctionURLRequest) events.LambdaFunctionURLResponse {
			t.Helper()
			return answered(t, override, e)
		}, asJSON(t, what))
		same(t, "the table", before, items(t, a))
	})
	for _, f := range []*lambdatest.Function{override, audit} {
		for line := range strings.Lines(f.Output()) { // a session's name is who asks
			if strings.Contains(line, "@example.com") && !strings.Contains(line, "AWSReservedSSO_Admin") || strings.Contains(line, "Lost her phone") {
				t.Errorf("the log has an address or a reason: %s", line)
			}
		}
	}
}

// answered is what the function answers to a request.
func answered(t *testing.T, f *lambdatest.Function, e events.LambdaFunctionURLRequest) events.LambdaFunctionURLResponse {
	t.Helper()
	raw, err := f.Invoke(t.Context(), []byte(asJSON(t, e)))
	if err != nil {
		t.Fatal(err)
	}
	var answer events.LambdaFunctionURLResponse
	if err := json.Unmarshal(raw, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// strange is what is no request at all, and how it is answered.
func strange(t *testing.T, ask func(*testing.T, events.LambdaFunctionURLRequest) events.LambdaFunctionURLResponse, body string) {
	t.Helper()
	large := `{"reason":"` + strings.Repeat("x", request.MaxBody) + `"}`
	for _, c := range []struct {
		name   string
		change func(*events.LambdaFunctionURLRequest)
		want   request.Type
	}{
		{"nothing at all", func(e *events.LambdaFunctionURLRequest) { *e = events.LambdaFunctionURLRequest{} }, request.Unidentified},
		{"no authorizer", func(e *events.LambdaFunctionURLRequest) { e.RequestContext.Authorizer = nil }, request.Unidentified},
		{"an authorizer that is not IAM", func(e *events.LambdaFunctionURLRequest) { e.RequestContext.Authorizer.IAM = nil }, request.Unidentified},
		{"IAM without an ARN", func(e *events.LambdaFunctionURLRequest) {
			e.RequestContext.Authorizer.IAM.UserARN, e.RequestContext.Authorizer.IAM.UserID = "", "AIDAEXAMPLE"
		}, request.Unidentified},
		{"who asks in a header", func(e *events.LambdaFunctionURLRequest) {
			e.RequestContext.Authorizer, e.Headers["x-amzn-iam-user-arn"] = nil, ops
		}, request.Unidentified},
		{"another path", func(e *events.LambdaFunctionURLRequest) { e.RawPath = "/justify" }, request.Malformed},
		{"PUT", func(e *events.LambdaFunctionURLRequest) { e.RequestContext.HTTP.Method = http.MethodPut }, request.Malformed},
		{"DELETE", func(e *events.LambdaFunctionURLRequest) { e.RequestContext.HTTP.Method = http.MethodDelete }, request.Malformed},
		{"no content-type", func(e *events.LambdaFunctionURLRequest) { e.Headers = nil }, request.Malformed},
		{"a form", func(e *events.LambdaFunctionURLRequest) {
			e.Headers["content-type"] = "application/x-www-form-urlencoded"
		}, request.Malformed},
		{"too large", func(e *events.LambdaFunctionURLRequest) { e.Body = large }, request.TooLarge},
		{"too large, as base64", func(e *events.LambdaFunctionURLRequest) {
			e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString([]byte(large)), true
		}, request.TooLarge},
		{"no UTF-8", func(e *events.LambdaFunctionURLRequest) {
			e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString([]byte("{\"do\":\"end\",\"sub\":\"\xff\"}")), true
		}, request.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := signed(ops, body)
			c.change(&e)
			r := ask(t, e)
			var p request.Problem
			if err := json.Unmarshal([]byte(r.Body), &p); err != nil || p.Type != c.want || p.Status != r.StatusCode || p.Status/100 != 4 || p.Title == "" || p.Detail == "" || r.Headers["content-type"] != "application/problem+json" {
				t.Errorf("%v: %d %s %s, want %s", err, r.StatusCode, r.Headers["content-type"], r.Body, c.want)
			}
		})
	}
}

func TestWhatIsNoRequestIsRefusedInMemory(t *testing.T) {
	d := inMemory(t)
	before := len(d.written(t))
	strange(t, d.ask, d.names.Replace(justifyM))
	if after := len(d.written(t)); after != before || len(d.sent(t)) > 0 {
		t.Errorf("%d items were written", after-before)
	}
}
