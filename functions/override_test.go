package functions_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/invoke"
	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/queue"
	"github.com/stackflow/relatch/internal/request"
	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/telemetry"
	"github.com/stackflow/relatch/internal/wiretest"
	"github.com/stackflow/relatch/internal/worker"
)

const (
	ops     = "arn:aws:sts::123456789012:assumed-role/SupportAdmin/ops-7" // as in disable
	opsElse = "arn:aws:sts::123456789012:assumed-role/TeamLead/ops-7"
	eva     = "arn:aws:sts::123456789012:assumed-role/TeamLead/eva"
	tom     = "arn:aws:iam::123456789012:user/tom"
)

// desk is the function override with an account around it, in memory or over the wire.
type desk struct {
	house
	ask func(*testing.T, events.LambdaFunctionURLRequest) events.LambdaFunctionURLResponse
	// written are the keys of all that is on record.
	written func(*testing.T) []string
	// sent takes the messages in audit's queue.
	sent func(*testing.T) []string
	// names are the words that stand for ids in requests.
	names *strings.Replacer
	pool  mfa.PoolID
	maria mfa.Sub
	ben   mfa.Sub
}

// house is the ledger that a test prepares.
type house interface {
	worker.Ledger
	invoke.Book
}

// signed is a request to the function URL as Lambda hands it over.
func signed(by, body string) events.LambdaFunctionURLRequest {
	e := events.LambdaFunctionURLRequest{Version: "2.0", RawPath: "/", Headers: map[string]string{"content-type": "application/json; charset=utf-8"}, Body: body}
	e.RequestContext.HTTP = events.LambdaFunctionURLRequestContextHTTPDescription{Method: http.MethodPost, Path: "/", SourceIP: "192.0.2.7"}
	if by != "" {
		e.RequestContext.Authorizer = &events.LambdaFunctionURLRequestContextAuthorizerDescription{
			IAM: &events.LambdaFunctionURLRequestContextAuthorizerIAMDescription{AccountID: "123456789012", UserARN: by},
		}
	}
	return e
}

func (d desk) says(t *testing.T, by, body string) events.LambdaFunctionURLResponse {
	t.Helper()
	return d.ask(t, signed(by, d.names.Replace(body)))
}

// taken asks, and returns the answer, which must be of the status.
func (d desk) taken(t *testing.T, status int, by, body string) request.Answer {
	t.Helper()
	r := d.says(t, by, body)
	var a request.Answer
	if err := json.Unmarshal([]byte(r.Body), &a); err != nil || r.StatusCode != status || r.Headers["content-type"] != "application/json" {
		t.Fatalf("%s: have %d %s %s, want status %d", body, r.StatusCode, r.Headers["content-type"], r.Body, status)
	}
	return a
}

const accountFile = `{"pools":[{"id":"us-east-1_EXAMPLE12"}],"users":[
 {"sub":"s-maria","username":"maria","roles":["itsm_manager"],"factors":["totp"]},
 {"sub":"s-ben","username":"ben","factors":["totp"]},
 {"sub":"s-fed","username":"google_42","federated":true}]}`

// mailbox is audit's queue in memory.
type mailbox struct{ messages []string }

func (m *mailbox) Look(_ context.Context, l queue.Look) error {
	raw, err := json.Marshal(l)
	m.messages = append(m.messages, string(raw))
	return err
}

// inMemory is a desk at noon, whose clock goes on by a second for each request.
func inMemory(t *testing.T, change ...func(*invoke.Override)) desk {
	t.Helper()
	f, err := account.ParseFile([]byte(accountFile))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	a := account.New(f, mfa.DefaultPolicy(), mfa.DefaultDocument(), now)
	box := &mailbox{}
	override := invoke.Override{
		Pools: f.House().Pools, Users: a, Book: a, Policy: a, Audit: box, Now: func() time.Time { return now },
		Telemetry: telemetry.New(telemetry.NewLogger(io.Discard), "override", func() time.Time { return now }),
	}
	for _, f := range change {
		f(&override)
	}
	return desk{
		house: a, maria: "s-maria", ben: "s-ben", pool: "us-east-1_EXAMPLE12",
		names: strings.NewReplacer("{pool}", "us-east-1_EXAMPLE12", "{maria}", "s-maria", "{ben}", "s-ben", "{fed}", "s-fed", "{gone}", "s-gone"),
		ask: func(t *testing.T, e events.LambdaFunctionURLRequest) events.LambdaFunctionURLResponse {
			t.Helper()
			now = now.Add(time.Second)
			r, err := override.Invoke(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			return r
		},
		written: func(t *testing.T) []string {
			t.Helper()
			var all []string
			for _, sub := range []mfa.Sub{"s-maria", "s-ben", "s-fed", "s-gone"} {
				js, err := a.Justifications(t.Context(), "us-east-1_EXAMPLE12", sub)
				if err != nil {
					t.Fatal(err)
				}
				for _, j := range js {
					all = append(all, fmt.Sprint(sub, j.ID, j.Approver))
				}
			}
			for _, ticket := range tickets {
				if use, err := a.TicketUse(t.Context(), ticket); err != nil || use != nil {
					all = append(all, fmt.Sprint(ticket, use.Sub, err))
				}
			}
			return all
		},
		sent: func(*testing.T) []string {
			defer func() { box.messages = nil }()
			return box.messages
		},
	}
}

// overTheWire is a desk with the compiled function.
func overTheWire(t *testing.T, a *stacktest.Account) desk {
	t.Helper()
	override := lambdatest.Start(t, lambdatest.Build(t, "./functions/override"), a.Environment("override")...)
	maria := a.Add(t, wiretest.Person{Pool: a.Pool, Name: "maria", Roles: []mfa.Role{"itsm_manager"}, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP}})
	ben := a.Add(t, wiretest.Person{Pool: a.Pool, Name: "ben"})
	deleted := a.Add(t, wiretest.Person{Pool: a.Pool, Name: "gone"})
	_, err := a.Cognito.AdminDeleteUser(t.Context(), &cognitoidentityprovider.AdminDeleteUserInput{UserPoolId: new(string(a.Pool)), Username: new("gone")})
	gone(t, err)
	return desk{
		house: dynamo.New(a.DynamoDB, wiretest.Table), maria: maria, ben: ben, pool: a.Pool,
		names: strings.NewReplacer("{pool}", string(a.Pool), "{maria}", string(maria), "{ben}", string(ben), "{gone}", string(deleted)),
		ask: func(t *testing.T, e events.LambdaFunctionURLRequest) events.LambdaFunctionURLResponse {
			t.Helper()
			event, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := override.Invoke(t.Context(), event)
			if err != nil {
				t.Fatal(err)
			}
			var r events.LambdaFunctionURLResponse
			if err := json.Unmarshal(answer, &r); err != nil {
				t.Fatal(err)
			}
			if printed := override.Output(); strings.Contains(printed, "maria") && !strings.Contains(e.RequestContext.Authorizer.IAM.UserARN, "maria") {
				t.Errorf("the log has a username: %s", printed)
			}
			return r
		},
		written: func(t *testing.T) []string {
			t.Helper()
			out, err := a.DynamoDB.Scan(t.Context(), &dynamodb.ScanInput{TableName: new(wiretest.Table), ConsistentRead: new(true)})
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, it := range out.Items {
				all = append(all, it["pk"].(*types.AttributeValueMemberS).Value+" "+it["sk"].(*types.AttributeValueMemberS).Value) //nolint:errcheck // a panic tells
			}
			slices.Sort(all)
			return all
		},
		sent: func(t *testing.T) []string {
			t.Helper()
			var all []string
			for _, m := range a.Take(t, wiretest.AuditQueue) {
				all = append(all, *m.Body)
			}
			return slices.Compact(all)
		},
	}
}

const (
	lost     = `"reason":"Lost her phone on the train, the new one arrives tomorrow"`
	justifyM = `{"do":"justify","pool_id":"{pool}","sub":"{maria}",` + lost + `,"ticket":"CHG0012345","cause":"lost_device"}`
	usedB    = `{"do":"justify","pool_id":"{pool}","sub":"{ben}",` + lost + `,"ticket":"CHG0077777"}`
	approveM = `{"do":"approve","pool_id":"{pool}","sub":"{maria}","justification":"{id}"}`
)

// more adds a member to a request.
func more(body, member string) string { return strings.TrimSuffix(body, "}") + "," + member + "}" }

// tickets are all that the requests here name.
var tickets = []string{"CHG0012345", "CHG0077777", "CHG0000001", "none", ""}

// prepared asks for what the refusals below are about: maria's override is
// justified and approved, and ben's justification has been used.
func (d desk) prepared(t *testing.T) (id string) {
	t.Helper()
	id = d.taken(t, http.StatusCreated, ops, justifyM).ID
	d.taken(t, http.StatusCreated, eva, strings.ReplaceAll(approveM, "{id}", id))
	used := d.taken(t, http.StatusCreated, ops, usedB).ID
	loaded, err := d.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(d.pool, d.ben)})
	if err != nil {
		t.Fatal(err)
	}
	s := loaded.Standing
	s.Past = []mfa.Past{{ID: "O-BEFORE", OpenedAt: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC), Justification: used}}
	if err := d.Append(t.Context(), worker.Step{Standing: s}); err != nil {
		t.Fatal(err)
	}
	d.sent(t)
	return id
}

type refusal struct {
	name, by, body string
	want           request.Type
	status         int
	failed         []mfa.Rule
	says           string // in the detail
	changed        func(*events.LambdaFunctionURLRequest)
	memory         bool // moto has no such thing
}

func refusals(id string) []refusal {
	with := func(members string) string {
		return `{"do":"justify","pool_id":"{pool}","sub":"{maria}",` + members + `}`
	}
	reason := func(text string) string { return with(`"ticket":"CHG0000001","reason":"` + text + `"`) }
	approve := strings.ReplaceAll(approveM, "{id}", id)
	text := []mfa.Rule{mfa.RuleTooShort, mfa.RuleBoilerplate}
	return []refusal{
		{name: "nobody signed it", body: justifyM, want: request.Unidentified, status: 401},
		{name: "an author in the body", by: tom, body: with(lost + `,"ticket":"CHG0000001","author":"` + ops + `"`), want: request.Malformed, status: 400, says: "author"},
		{name: "an approver in the body", by: tom, body: with(lost + `,"ticket":"CHG0000001","approver":"` + eva + `"`), want: request.Malformed, status: 400, says: "approver"},
		{name: "a time in the body", by: ops, body: with(lost + `,"ticket":"CHG0000001","at":"2026-11-23T03:12:04Z"`), want: request.Malformed, status: 400, says: "at"},
		{name: "an approver who names another one", by: tom, body: more(approve, `"approver":"`+eva+`"`), want: request.Malformed, status: 400, says: "approver"},
		{name: "a member twice", by: ops, body: with(lost + `,"ticket":"CHG0000001","ticket":"CHG0012345"`), want: request.Malformed, status: 400, says: "ticket: is there twice"},
		{name: "not JSON", by: ops, body: "please", want: request.Malformed, status: 400},
		{name: "nothing", by: ops, want: request.Malformed, status: 400},
		{name: "something behind it", by: ops, body: justifyM + "{}", want: request.Malformed, status: 400},
		{name: "a list", by: ops, body: "[" + justifyM + "]", want: request.Malformed, status: 400},
		{name: "null", by: ops, body: "null", want: request.Malformed, status: 400, says: "do"},
		{name: "a GET", by: ops, body: justifyM, changed: func(e *events.LambdaFunctionURLRequest) { e.RequestContext.HTTP.Method = http.MethodGet }, want: request.Malformed, status: 400, says: "POST"},
		{name: "another content-type", by: ops, body: justifyM, changed: func(e *events.LambdaFunctionURLRequest) { e.Headers["content-type"] = "text/plain" }, want: request.Malformed, status: 400, says: "application/json"},
		{name: "no base64", by: ops, body: justifyM, changed: func(e *events.LambdaFunctionURLRequest) { e.IsBase64Encoded = true }, want: request.Malformed, status: 400, says: "base64"},
		{name: "something else", by: ops, body: `{"do":"open","pool_id":"{pool}","sub":"{maria}"}`, want: request.Malformed, status: 400, says: "do:"},
		{name: "no user", by: ops, body: `{"do":"end","pool_id":"{pool}"}`, want: request.Malformed, status: 400, says: "sub: is missing"},
		{name: "a reason to end", by: ops, body: `{"do":"end","pool_id":"{pool}","sub":"{maria}",` + lost + `}`, want: request.Malformed, status: 400, says: "reason: end has none"},
		{name: "an unknown cause", by: ops, body: with(lost + `,"ticket":"CHG0000001","cause":"lazy"`), want: request.Malformed, status: 400, says: "cause"},
		{name: "a line in the reason", by: ops, body: reason(`Lost her phone\nCRITICAL all is well`), want: request.Malformed, status: 400, says: "control character"},
		{name: "a reason that reads backwards", by: ops, body: reason(`Lost her phone \u202e on the train`), want: request.Malformed, status: 400, says: "control character"},
		{name: "a reason of 1,001 characters", by: ops, body: reason(strings.Repeat("é", 1001)), want: request.Malformed, status: 400, says: "1000 characters"},
		{name: "a ticket of 101 characters", by: ops, body: with(lost + `,"ticket":"` + strings.Repeat("1", 101) + `"`), want: request.Malformed, status: 400, says: "100 characters"},
		{name: "a body that is too large", by: ops, body: reason(strings.Repeat("x", request.MaxBody)), want: request.TooLarge, status: 413},
		{name: "a pool that is not guarded", by: ops, body: strings.Replace(justifyM, "{pool}", "us-east-1_OTHER", 1), want: request.UnknownPool, status: 404},
		{name: "a username", by: ops, body: strings.Replace(justifyM, "{maria}", "maria", 1), want: request.UnknownUser, status: 404},
		{name: "a deleted user", by: ops, body: strings.Replace(justifyM, "{maria}", "{gone}", 1), want: request.UnknownUser, status: 404},
		{name: "a federated user", by: ops, body: strings.Replace(justifyM, "{maria}", "{fed}", 1), want: request.FederatedUser, status: 409, memory: true},
		{name: "no reason", by: ops, body: with(`"ticket":"CHG0000001"`), want: request.FailedRules, status: 422, failed: text, says: "15 characters"},
		{name: "a blank reason", by: ops, body: reason("                    "), want: request.FailedRules, status: 422, failed: text},
		{name: "a reason that is too short", by: ops, body: reason("Broken display"), want: request.FailedRules, status: 422, failed: []mfa.Rule{mfa.RuleTooShort}},
		{name: "boilerplate", by: ops, body: reason("please disable mfa for user"), want: request.FailedRules, status: 422, failed: []mfa.Rule{mfa.RuleBoilerplate}},
		{name: "repetition", by: ops, body: reason("phone phone phone phone phone"), want: request.FailedRules, status: 422, failed: []mfa.Rule{mfa.RuleBoilerplate}},
		{name: "no ticket", by: ops, body: with(lost), want: request.FailedRules, status: 422, failed: []mfa.Rule{mfa.RuleTicket}, says: "^(INC|CHG)[0-9]{7}$"},
		{name: "all of it", by: ops, body: with(`"reason":"test","ticket":"none"`), want: request.FailedRules, status: 422, failed: append(text, mfa.RuleTicket)},
		{
			name: "another user's ticket", by: ops, body: strings.Replace(justifyM, "{maria}", "{ben}", 1),
			want: request.UsedTicket, status: 409, failed: []mfa.Rule{mfa.RuleUsed}, says: "ticket CHG0012345 was used on 20",
		},
		{name: "used before", by: ops, body: usedB, want: request.UsedJustification, status: 409, failed: []mfa.Rule{mfa.RuleUsed}, says: "O-BEFORE of 2026-11-02"},
		{name: "approved by the author", by: ops, body: approve, want: request.FailedRules, status: 422, failed: []mfa.Rule{mfa.RuleApprover}},
		{name: "approved by the author in another role", by: opsElse, body: approve, want: request.FailedRules, status: 422, failed: []mfa.Rule{mfa.RuleApprover}},
		{name: "approved by the user", by: "arn:aws:iam::123456789012:user/Maria", body: approve, want: request.FailedRules, status: 422, failed: []mfa.Rule{mfa.RuleApprover}},
		{name: "approved by a second one", by: tom, body: approve, want: request.ApprovedAlready, status: 409, says: eva},
		{name: "an unknown justification", by: eva, body: strings.ReplaceAll(approveM, "{id}", "J-NONE"), want: request.UnknownJustification, status: 404},
		{name: "a justification of another user", by: eva, body: strings.Replace(approve, "{maria}", "{ben}", 1), want: request.UnknownJustification, status: 404},
		{name: "nothing to approve", by: eva, body: `{"do":"approve","pool_id":"{pool}","sub":"{maria}"}`, want: request.Malformed, status: 400, says: "justification: is missing"},
		{name: "nothing to end", by: eva, body: `{"do":"end","pool_id":"{pool}","sub":"{maria}"}`, want: request.NothingOpen, status: 409},
	}
}

// refuses asks for everything that is refused, and finds nothing written or sent.
func (d desk) refuses(t *testing.T, wire bool) {
	t.Helper()
	id := d.prepared(t)
	for _, row := range refusals(id) {
		if wire && row.memory {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			before := d.written(t)
			e := signed(row.by, d.names.Replace(row.body))
			if row.changed != nil {
				row.changed(&e)
			}
			r := d.ask(t, e)
			var p request.Problem
			if err := json.Unmarshal([]byte(r.Body), &p); err != nil {
				t.Fatalf("%d %s: %v", r.StatusCode, r.Body, err)
			}
			if p.Type != row.want || p.Status != row.status || r.StatusCode != row.status || p.Title == "" || p.Detail == "" || r.Headers["content-type"] != "application/problem+json" {
				t.Errorf("have %d %s %s, want %d %s", r.StatusCode, r.Headers["content-type"], r.Body, row.status, row.want)
			}
			if diff := cmp.Diff(row.failed, p.FailedRules); diff != "" {
				t.Errorf("failed rules (-want +got):\n%s", diff)
			}
			if !strings.Contains(p.Detail, row.says) {
				t.Errorf("the detail %q has nothing of %q", p.Detail, row.says)
			}
			if diff := cmp.Diff(before, d.written(t)); diff != "" {
				t.Errorf("written (-before +after):\n%s", diff)
			}
		})
	}
	if sent := d.sent(t); len(sent) > 0 {
		t.Errorf("sent: %v", sent)
	}
}

// takes asks for everything that is taken, and again.
func (d desk) takes(t *testing.T) {
	t.Helper()
	before := len(d.written(t))
	first := d.taken(t, http.StatusCreated, ops, justifyM)
	want := request.Answer{Pool: d.pool, Sub: d.maria, ID: first.ID, At: first.At}
	if diff := cmp.Diff(want, first); diff != "" || !strings.HasPrefix(first.ID, "J-") || first.At.IsZero() {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	message := fmt.Sprintf(`{"look":"justified","pool_id":%q,"sub":%q,"by":%q,"at":`, d.pool, d.maria, ops)
	if sent := d.sent(t); len(sent) != 1 || !strings.HasPrefix(sent[0], message) {
		t.Errorf("sent: %v, want %s…", sent, message)
	}
	for range 2 {
		if again := d.taken(t, http.StatusOK, ops, justifyM); cmp.Diff(want, again) != "" {
			t.Errorf("again: %+v, want %+v", again, want)
		}
	}
	if n := len(d.written(t)) - before; n != 2 { // the justification and its ticket
		t.Errorf("a request that came three times wrote %d items", n)
	}
	other := d.taken(t, http.StatusCreated, ops, more(justifyM, `"request_id":"2"`))
	theirs := d.taken(t, http.StatusCreated, tom, justifyM)
	if other.ID == first.ID || theirs.ID == first.ID || other.ID == theirs.ID {
		t.Errorf("the IDs of three requests are %s, %s and %s", first.ID, other.ID, theirs.ID)
	}

	approve := strings.ReplaceAll(approveM, "{id}", first.ID)
	approved := d.taken(t, http.StatusCreated, eva, approve)
	if again := d.taken(t, http.StatusOK, eva, approve); cmp.Diff(approved, again) != "" || approved.Approver != eva {
		t.Errorf("approved: %+v, and again: %+v", approved, again)
	}
	if again := d.taken(t, http.StatusOK, ops, justifyM); again.Approver != eva {
		t.Errorf("the approver is %q", again.Approver)
	}
	all, err := d.Justifications(t.Context(), d.pool, d.maria)
	if err != nil {
		t.Fatal(err)
	}
	approvers := map[string]string{}
	for _, j := range all {
		approvers[j.Author+j.ID] = j.Approver
	}
	if diff := cmp.Diff(map[string]string{ops + first.ID: eva, ops + other.ID: "", tom + theirs.ID: ""}, approvers); diff != "" {
		t.Errorf("approvers (-want +got):\n%s", diff)
	}
}

// foresees opens an override, and is told what justifications fail for it.
func (d desk) foresees(t *testing.T) {
	t.Helper()
	loaded, err := d.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(d.pool, d.ben)})
	if err != nil {
		t.Fatal(err)
	}
	s := loaded.Standing
	open := func(at time.Time) {
		s.Override = &mfa.Override{ID: "O-OPEN", OpenedAt: at, Deadline: at.Add(24 * time.Hour), Actor: mfa.Actor{ARN: ops, Type: mfa.Admin}}
		if err := d.Append(t.Context(), worker.Step{Standing: s}); err != nil {
			t.Fatal(err)
		}
		s.Version++
	}
	request := func(id string) string {
		return `{"do":"justify","pool_id":"{pool}","sub":"{ben}",` + lost + `,"ticket":"CHG0000001","request_id":"` + id + `"}`
	}
	now := d.taken(t, http.StatusCreated, ops, request("0")).At
	for i, c := range []struct {
		name, by string
		opened   time.Time
		want     []mfa.Rule
	}{
		{"in time", ops, now.Add(-5 * time.Minute), nil},
		{"late", ops, now.Add(-16 * time.Minute), []mfa.Rule{mfa.RuleTooLate}},
		{"of somebody else", tom, now, []mfa.Rule{mfa.RuleAuthor}},
		{"of the same session name in another role", opsElse, now, []mfa.Rule{mfa.RuleAuthor}},
	} {
		open(c.opened)
		if a := d.taken(t, http.StatusCreated, c.by, request(fmt.Sprint(i+1))); a.Override != "O-OPEN" || !slices.Equal(a.FailedRules, c.want) || len(a.Why) != len(c.want) {
			t.Errorf("%s: %+v, want %v", c.name, a, c.want)
		}
	}
	d.sent(t)
	end := d.taken(t, http.StatusAccepted, tom, `{"do":"end","pool_id":"{pool}","sub":"{ben}"}`)
	if end.Override != "O-OPEN" || end.At.IsZero() {
		t.Errorf("end: %+v", end)
	}
	message := fmt.Sprintf(`{"look":"asked","pool_id":%q,"sub":%q,"by":%q,"at":`, d.pool, d.ben, tom)
	if sent := d.sent(t); len(sent) != 1 || !strings.HasPrefix(sent[0], message) {
		t.Errorf("sent: %v, want %s…", sent, message)
	}
}

func TestOverrideInMemory(t *testing.T) {
	t.Run("refuses", func(t *testing.T) { inMemory(t).refuses(t, false) })
	t.Run("takes", func(t *testing.T) { inMemory(t).takes(t) })
	t.Run("foresees", func(t *testing.T) { inMemory(t).foresees(t) })
}

func TestABodyMayComeAsBase64(t *testing.T) {
	d := inMemory(t)
	e := signed(ops, base64.StdEncoding.EncodeToString([]byte(d.names.Replace(justifyM))))
	e.IsBase64Encoded = true
	if r := d.ask(t, e); r.StatusCode != http.StatusCreated {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
}

// broken fails what is named, and lies about tickets on demand.
type broken struct {
	invoke.Override
	fails string
	panic bool
	blind bool
}

var errAWS = errors.New("throttled")

func (b *broken) err(what string) error {
	switch {
	case b.fails != what:
		return nil
	case b.panic:
		panic(what)
	default:
		return errAWS
	}
}

func (b *broken) User(ctx context.Context, p mfa.PoolID, s mfa.Sub) (mfa.User, error) {
	u, err := b.Users.User(ctx, p, s)
	return u, errors.Join(err, b.err("user"))
}

func (b *broken) Load(ctx context.Context, q worker.Query) (worker.Loaded, error) {
	l, err := b.Book.Load(ctx, q)
	return l, errors.Join(err, b.err("load"))
}

func (b *broken) Justifications(ctx context.Context, p mfa.PoolID, s mfa.Sub) ([]mfa.Justification, error) {
	js, err := b.Book.Justifications(ctx, p, s)
	return js, errors.Join(err, b.err("justifications"))
}

func (b *broken) Justify(ctx context.Context, p mfa.PoolID, s mfa.Sub, j mfa.Justification) (mfa.Justification, error) {
	j, err := b.Book.Justify(ctx, p, s, j)
	return j, errors.Join(err, b.err("justify"))
}

func (b *broken) Approve(ctx context.Context, p mfa.PoolID, s mfa.Sub, id string, a mfa.Approval) (mfa.Approval, error) {
	a, err := b.Book.Approve(ctx, p, s, id, a)
	return a, errors.Join(err, b.err("approve"))
}

func (b *broken) TicketUse(ctx context.Context, ticket string) (*mfa.TicketUse, error) {
	if b.blind {
		return nil, nil
	}
	use, err := b.Book.TicketUse(ctx, ticket)
	return use, errors.Join(err, b.err("ticket"))
}

func (b *broken) Look(ctx context.Context, l queue.Look) error {
	return errors.Join(b.Audit.Look(ctx, l), b.err("look"))
}

func breakable(t *testing.T) (desk, *broken) {
	t.Helper()
	b := &broken{}
	return inMemory(t, func(o *invoke.Override) {
		b.Override = *o
		o.Users, o.Book, o.Audit = b, b, b
	}), b
}

func TestWhatAWSCouldNotDoIsDoneOnceWhenItIsSentAgain(t *testing.T) {
	for _, fails := range []string{"user", "load", "ticket", "justifications", "justify", "look"} {
		for _, panics := range []bool{false, true} {
			d, b := breakable(t)
			b.fails, b.panic = fails, panics
			r := d.says(t, ops, justifyM)
			if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(r.Body, string(request.Unavailable)) || strings.Contains(r.Body, errAWS.Error()) {
				t.Errorf("%s: %d %s", fails, r.StatusCode, r.Body)
			}
			b.fails = ""
			if r := d.says(t, ops, justifyM); r.StatusCode != http.StatusCreated && r.StatusCode != http.StatusOK {
				t.Errorf("%s, again: %d %s", fails, r.StatusCode, r.Body)
			}
			if n := len(d.written(t)); n != 2 || len(d.sent(t)) == 0 {
				t.Errorf("%s: %d items afterwards", fails, n)
			}
		}
	}
}

func TestAnApprovalThatCouldNotBeToldIsToldWhenItIsSentAgain(t *testing.T) {
	for _, fails := range []string{"user", "justifications", "approve", "look"} {
		d, b := breakable(t)
		approve := strings.ReplaceAll(approveM, "{id}", d.taken(t, http.StatusCreated, ops, justifyM).ID)
		d.sent(t)
		b.fails = fails
		if r := d.says(t, eva, approve); r.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", fails, r.StatusCode, r.Body)
		}
		b.fails = ""
		if r := d.says(t, eva, approve); r.StatusCode != http.StatusCreated && r.StatusCode != http.StatusOK || len(d.sent(t)) == 0 {
			t.Errorf("%s, again: %d %s", fails, r.StatusCode, r.Body)
		}
	}
}

func TestATicketTakenAtTheSameMomentIsRefusedAndKeptAsEvidence(t *testing.T) {
	d, b := breakable(t)
	d.taken(t, http.StatusCreated, ops, justifyM)
	d.sent(t)
	b.blind = true
	r := d.says(t, ops, strings.Replace(justifyM, "{maria}", "{ben}", 1))
	var p request.Problem
	if err := json.Unmarshal([]byte(r.Body), &p); err != nil || p.Type != request.UsedTicket || p.Detail != "ticket CHG0012345 was used on 2026-11-23 for another user" {
		t.Fatalf("%d %s", r.StatusCode, r.Body)
	}
	all, err := d.Justifications(t.Context(), d.pool, d.ben)
	if err != nil || len(all) != 1 || all[0].ID != p.ID || all[0].TicketOf == nil {
		t.Errorf("on record: %+v, %v; the problem names %q", all, err, p.ID)
	}
	if sent := d.sent(t); len(sent) > 0 {
		t.Errorf("sent: %v", sent)
	}
}

func TestARequestHasTimeForItsAnswer(t *testing.T) {
	d := inMemory(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Date(2026, 11, 23, 12, 0, 0, 5e8, time.UTC))
	defer cancel()
	o := invoke.Override{
		Pools: []mfa.PoolID{d.pool}, Now: func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) },
		Telemetry: telemetry.New(telemetry.NewLogger(io.Discard), "override", time.Now),
	}
	if r, err := o.Invoke(ctx, signed(ops, d.names.Replace(justifyM))); err != nil || r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%v, %d %s", err, r.StatusCode, r.Body)
	}
}

func TestOverrideOverTheWire(t *testing.T) {
	a := stacktest.Open(t)
	d := overTheWire(t, a)
	t.Run("takes", func(t *testing.T) {
		d := d
		d.maria = a.Add(t, wiretest.Person{Pool: a.Pool, Name: "olga"})
		d.names = strings.NewReplacer("{pool}", string(d.pool), "{maria}", string(d.maria), "CHG0012345", "CHG0012399")
		d.takes(t)
	})
	t.Run("refuses", func(t *testing.T) { d.refuses(t, true) })
	t.Run("foresees", func(t *testing.T) { d.foresees(t) })
	t.Run("a critical incident is lowered, and ended", func(t *testing.T) {
		d.maria = a.Add(t, wiretest.Person{Pool: a.Pool, Name: "nina", Roles: []mfa.Role{"itsm_manager"}, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP}})
		d.names = strings.NewReplacer("{pool}", string(d.pool), "{maria}", string(d.maria))
		d.story(t, a)
	})
}

// alerts takes what on-call got, by incident state and severity.
func alerts(t *testing.T, a *stacktest.Account) map[string]alert.Alert {
	t.Helper()
	all := map[string]alert.Alert{}
	for _, m := range a.Take(t, wiretest.AlertQueue) {
		var e struct{ Detail alert.Alert }
		if err := json.Unmarshal([]byte(*m.Body), &e); err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprintf("%s %s %s", e.Detail.Kind, e.Detail.State, e.Detail.Severity)] = e.Detail
	}
	return all
}

// story: somebody switches MFA off at three in the morning, says why in time, and
// somebody else ends it.
func (d desk) story(t *testing.T, a *stacktest.Account) {
	t.Helper()
	work := func(f *lambdatest.Function, q wiretest.Queue) {
		t.Helper()
		messages := a.Take(t, q)
		if len(messages) == 0 {
			t.Fatalf("there is nothing in %s", q)
		}
		if answer, err := f.Invoke(t.Context(), wiretest.Batch(t, q, messages...)); err != nil || string(answer) != `{"batchItemFailures":[]}` {
			t.Fatalf("%s: %s, %v\n%s", q, answer, err, f.Output())
		}
	}
	audit := lambdatest.Start(t, lambdatest.Build(t, "./functions/audit"), a.Environment("audit")...)
	reenable := lambdatest.Start(t, lambdatest.Build(t, "./functions/reenable"), a.Environment("reenable")...)
	want := func(alerts map[string]alert.Alert, names ...string) {
		t.Helper()
		if diff := cmp.Diff(names, slices.Sorted(maps.Keys(alerts))); diff != "" {
			t.Fatalf("alerts (-want +got):\n%s", diff)
		}
	}

	a.Switch(t, d.pool, d.maria, false, mfa.TOTP)
	a.Put(t, disable(d.pool, d.maria, "e-1", time.Now().Add(-2*time.Minute)))
	work(audit, wiretest.AuditQueue)
	got := alerts(t, a)
	want(got, "required_role_without_mfa triggered critical")

	answer := d.taken(t, http.StatusCreated, ops, strings.Replace(justifyM, "CHG0012345", "INC0000001", 1))
	if answer.Override == "" || len(answer.FailedRules) > 0 {
		t.Errorf("%+v", answer)
	}
	work(audit, wiretest.AuditQueue)
	got = alerts(t, a)
	want(got, "required_role_without_mfa changed warning")
	if !strings.Contains(audit.Output(), `"kind":"justified","event_time":"`+answer.At.Format(time.RFC3339)+`","actor":"`+ops+`"`) {
		t.Errorf("no record names who justified: %s", audit.Output())
	}

	ended := d.taken(t, http.StatusAccepted, eva, `{"do":"end","pool_id":"{pool}","sub":"{maria}"}`)
	if ended.Override != answer.Override {
		t.Errorf("ended is %s, not %s", ended.Override, answer.Override)
	}
	work(audit, wiretest.AuditQueue)
	work(reenable, wiretest.ReenableQueue)
	want(alerts(t, a), "locked_out_likely noted warning", "required_role_without_mfa resolved warning")
	if on := a.Factors(t, d.pool, d.maria); !slices.Equal(on, []string{"SOFTWARE_TOKEN_MFA"}) {
		t.Errorf("switched on are %v", on)
	}
	loaded, err := d.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(d.pool, d.maria)})
	if err != nil || loaded.Standing.Override != nil || len(loaded.Standing.Past) != 1 {
		t.Fatalf("%+v, %v", loaded.Standing, err)
	}
	past := loaded.Standing.Past[0]
	if past.End != mfa.Restored || past.Justification != answer.ID {
		t.Errorf("it ended %s, justified by %q", past.End, past.Justification)
	}
	if r := d.says(t, ops, strings.Replace(justifyM, "CHG0012345", "INC0000001", 1)); !strings.Contains(r.Body, string(request.UsedJustification)) {
		t.Errorf("what was used is taken again: %d %s", r.StatusCode, r.Body)
	}
}

// kept is evidence in memory.
type kept []string

func (k *kept) Keep(_ context.Context, raw []byte, problem string) error {
	*k = append(*k, string(raw)+" "+problem)
	return nil
}

func TestAuditTakesLooksBesidesDeliveries(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f, err := account.ParseFile([]byte(accountFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, message string
		want          mfa.Reason
		by            string
	}{
		{"justified", `{"look":"justified","pool_id":"us-east-1_EXAMPLE12","sub":"s-maria","by":"` + ops + `","at":"2026-11-23T11:59:00Z"}`, mfa.StillProtected, ops},
		{"asked", `{"look":"asked","pool_id":"us-east-1_EXAMPLE12","sub":"s-maria","by":"` + eva + `","at":"2026-11-23T11:59:00Z"}`, mfa.StillProtected, eva},
		{"of another pool", `{"look":"asked","pool_id":"us-east-1_OTHER","sub":"s-maria","by":"` + eva + `","at":"2026-11-23T11:59:00Z"}`, mfa.NotOurs, eva},
		{"of another kind", `{"look":"due","pool_id":"us-east-1_EXAMPLE12","sub":"s-maria","by":"` + eva + `","at":"2026-11-23T11:59:00Z"}`, mfa.Unreadable, ""},
		{"without a user", `{"look":"asked","pool_id":"us-east-1_EXAMPLE12","by":"` + eva + `","at":"2026-11-23T11:59:00Z"}`, mfa.Unreadable, ""},
		{"a delivery that looks", `{"detail-type":"look","look at":"look"}`, mfa.Unreadable, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := account.New(f, mfa.DefaultPolicy(), mfa.DefaultDocument(), now)
			evidence, lines := &kept{}, &strings.Builder{}
			clock := func() time.Time { return now }
			audit := invoke.Audit{Function: invoke.Function{
				Worker:   worker.New(f.House(), worker.Ports{Users: a, Ledger: a, Timer: a, Queue: a, Alerts: a, Policy: a}, clock),
				Evidence: evidence, Ready: func(context.Context) error { return nil }, Telemetry: telemetry.New(telemetry.NewLogger(lines), "audit", clock),
			}}
			if _, err := audit.Invoke(t.Context(), json.RawMessage(c.message)); err != nil {
				t.Fatal(err)
			}
			var r mfa.Record
			if err := json.Unmarshal([]byte(lines.String()), &r); err != nil || r.Reason != c.want || r.Cause.Actor != c.by {
				t.Errorf("%v, record %s", err, lines)
			}
			if want := c.want == mfa.Unreadable; (len(*evidence) == 1) != want || want && !strings.HasPrefix((*evidence)[0], c.message) {
				t.Errorf("evidence: %v", *evidence)
			}
		})
	}
}
