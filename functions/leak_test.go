package functions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	cognitotypes "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/wiretest"
)

// What must be found nowhere, except that alerts may carry the username.
const (
	markedName  = "maria-q7x"
	marked      = "Q7zsecret" // attributes, tokens, secrets
	markedPhone = "+12025557788"
	markedSoon  = "q7z" // what an error would quote of a token
)

// leaks are the marks in a text, whatever their case.
func leaks(text string, marks ...string) []string {
	var found []string
	text = strings.ToLower(text)
	for _, m := range marks {
		for at := strings.Index(text, strings.ToLower(m)); at >= 0; at = -1 {
			found = append(found, text[max(0, at-100):min(len(text), at+100)])
		}
	}
	return found
}

// fill puts marks wherever a record could have a name, an attribute, a token or a secret.
func fill(t *testing.T, record string, params map[string]any) string {
	t.Helper()
	var r map[string]any
	if err := json.Unmarshal([]byte(record), &r); err != nil {
		t.Fatal(err)
	}
	r["userAgent"] = marked + " app/" + marked
	r["errorMessage"] = marked
	r["responseElements"] = map[string]any{"user": map[string]any{"username": markedName, "attributes": marked}, "session": marked}
	r["tlsDetails"] = map[string]any{"clientProvidedHostHeader": marked}
	r[marked] = marked
	if id, ok := r["userIdentity"].(map[string]any); ok {
		id["userName"], id["accessKeyId"], id["principalId"], id["unknown"] = marked, marked, marked, marked
	}
	if extra, ok := r["additionalEventData"].(map[string]any); ok {
		extra["username"], extra["unknown"] = markedName, marked
	}
	p, ok := r["requestParameters"].(map[string]any)
	if !ok {
		p = map[string]any{}
		r["requestParameters"] = p
	}
	for name, value := range map[string]any{
		"username": markedName, "accessToken": marked, "session": marked, "password": marked, "secretHash": marked, "userCode": marked,
		"userAttributes": []any{map[string]any{"name": "email", "value": marked + "@example.com"}, map[string]any{"name": "phone_number", "value": markedPhone}},
		"clientMetadata": map[string]any{marked: marked}, "unknown": marked,
	} {
		p[name] = value
	}
	for name, value := range params {
		p[name] = value
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// talkative stands before moto and answers one operation with an error that
// repeats what was asked.
func talkative(t *testing.T, a *stacktest.Account) (endpoint string, fail func(operation string)) {
	t.Helper()
	to, err := url.Parse(*a.Moto.BaseEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	var failing atomic.Value
	failing.Store("")
	moto := httputil.NewSingleHostReverseProxy(to)
	moto.ErrorLog = log.New(io.Discard, "", 0) // of calls that the functions have given up
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); operation != "" && operation == failing.Load() {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"__type":"InvalidParameterException","message":"Value '%s' at 'username' failed to satisfy constraint; %s"}`, markedName, marked)
			return
		}
		moto.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL, func(operation string) { failing.Store(operation) }
}

func TestNothingMarkedIsToldOrKept(t *testing.T) {
	a := stacktest.Open(t)
	endpoint, fail := talkative(t, a)
	const guarded = "arn:aws:lambda:us-east-1:" + mototest.Account + ":function:relatch-audit"
	programs := map[string]*lambdatest.Function{}
	for _, name := range all {
		programs[name] = lambdatest.Start(t, lambdatest.Build(t, "./functions/"+name),
			a.Environment(name, "AWS_ENDPOINT_URL="+endpoint, "AWS_SECRET_ACCESS_KEY="+marked, "AWS_SESSION_TOKEN="+marked)...)
	}
	var told strings.Builder // what the functions answer
	invoke := func(name string, event []byte) {
		t.Helper()
		answer, err := programs[name].Invoke(t.Context(), event)
		fmt.Fprintf(&told, "%s %s %v\n", name, answer, err)
	}
	messages := func(bodies ...string) []byte {
		var all []sqstypes.Message
		for i, body := range bodies {
			all = append(all, sqstypes.Message{MessageId: new(fmt.Sprint("m-", i)), Body: new(body)})
		}
		return wiretest.Batch(t, wiretest.AuditQueue, all...)
	}

	maria := person(t, a, a.Pool, markedName)
	mail := person(t, a, a.EmailPool, marked+"@example.com")
	now := time.Now()
	long := now.Add(-25 * time.Hour)
	a.Switch(t, a.Pool, maria, false, mfa.TOTP)
	a.Switch(t, a.EmailPool, mail, false, mfa.TOTP)
	opens := fill(t, disable(a.Pool, maria, "e-1", now), nil)
	named := func(record, name string) string { return strings.Replace(record, "AdminSetUserMFAPreference", name, 1) }
	selfMade := strings.Replace(named(opens, "SetUserMFAPreference"), "e-1", "e-4", 1)

	// An error of AWS that repeats what was asked, of a batch and of one event.
	fail("AdminGetUser")
	invoke("audit", messages(opens))
	invoke("audit", []byte(opens))
	fail("")
	invoke("audit", messages(
		opens, opens,
		fill(t, disable(a.EmailPool, mail, "e-2", long), nil), // past its deadline
		fill(t, named(disable(a.Pool, maria, "e-3", now), "AdminUpdateUserAttributes"), nil),
		selfMade,
		fill(t, named(disable(a.Pool, maria, "e-5", now), "AdminCreateUser"), nil),
		fill(t, strings.Replace(disable(a.Pool, maria, "e-6", now), `"eventTime"`, `"errorCode":"NotAuthorizedException","eventTime"`, 1), nil),
		fill(t, disable(a.Pool, "", "e-7", now), nil), // names no user
		fill(t, named(disable(a.Pool, "", "e-8", now), "UpdateUserPool"), map[string]any{"mfaConfiguration": "OFF", "smsVerificationMessage": marked}),
		fill(t, strings.Replace(named(disable(a.Pool, "", "e-9", now), "UpdateFunctionConfiguration20150331v2"), "cognito-idp", "lambda", 1),
			map[string]any{"functionName": guarded, "description": marked, "environment": map[string]any{"variables": map[string]any{"KEY": marked}}}),
	))
	invoke("audit", messages(
		marked, "{\""+marked+"\":", `["`+marked+`"]`, "\x00"+marked, "", `{"`+marked+`":1,"`+marked+`":2}`,
		`{"eventName":["`+marked+`"]}`, `{"Records":"`+marked+`"}`, `{"CloudTrailEvent":"`+marked+`","EventId":"e-10"}`,
		`{"eventName":"AdminSetUserMFAPreference","eventSource":"cognito-idp.amazonaws.com","eventID":"e-11","requestParameters":{"clientMetadata":{"`+marked+`":1,"`+marked+`":2}}}`,
		strings.Replace(opens, `"accessToken":"`, `"accessToken":"`+marked+`\ud800`+markedSoon, 1),
		strings.Replace(opens, `"accessToken":"`, `"accessToken":"\q`+markedSoon, 1),
	))

	asked := a.Take(t, wiretest.ReenableQueue)
	fail("AdminSetUserMFAPreference")
	invoke("reenable", wiretest.Batch(t, wiretest.ReenableQueue, asked...))
	fail("")
	ids := fmt.Sprintf(`"pool_id":%q,"sub":%q`, a.Pool, maria)
	invoke("reenable", messages(
		marked, `{"pool_id":"`+marked, `{"pool_id":1,"sub":{"`+marked+`":"`+marked+`"}}`, `["`+marked+`"]`, `{"`+marked+`":"`+marked+`"}`,
		`{`+ids+`,"`+marked+`":"`+marked+`","username":"`+markedName+`"}`, `{"detail":"`+marked+`"}`, `{"detail":{`+ids+`,"token":"`+marked+`"}}`,
	))

	fail("ListUsersInGroup")
	invoke("sweep", []byte(`{"`+marked+`":"`+marked+`"}`))
	fail("")
	invoke("sweep", []byte(`{}`))
	for _, schedules := range a.Schedules(t) {
		invoke("reenable", messages(*schedules.Target.Input))
	}

	for name, program := range programs {
		out := program.Output()
		for _, leak := range leaks(out, markedName, marked, markedPhone, markedSoon) {
			t.Errorf("%s logs %s", name, leak)
		}
		if !strings.Contains(out, `"msg":`) {
			t.Errorf("%s logs nothing, which proves nothing", name)
		}
	}
	for what, text := range map[string]string{
		"an answer": told.String(), "the ledger": ledger(t, a), "a schedule": text(t, a.Schedules(t)),
		"reenable's queue": text(t, asked) + text(t, a.Take(t, wiretest.ReenableQueue)),
	} {
		for _, leak := range leaks(text, markedName, marked, markedPhone, markedSoon) {
			t.Errorf("%s has %s", what, leak)
		}
		if len(text) < 100 {
			t.Errorf("%s is %q, which proves nothing", what, text)
		}
	}
	alerts := text(t, a.Take(t, wiretest.AlertQueue))
	for _, leak := range leaks(alerts, marked, markedPhone, markedSoon) {
		t.Errorf("an alert has %s", leak)
	}
	if !strings.Contains(alerts, markedName) {
		t.Error("no alert names the user, which proves nothing")
	}
	if evidence := text(t, a.Take(t, wiretest.DeadLetters)); !strings.Contains(evidence, marked) {
		t.Error("the evidence is not kept as it came")
	}
}

func TestNoValueOfTheEnvironmentIsPrinted(t *testing.T) {
	for _, name := range all {
		program := lambdatest.Build(t, "./functions/"+name)
		for problem, env := range map[string][]string{
			"configuration": {
				"RELATCH_POOLS=" + marked, "RELATCH_MODE=" + marked, "RELATCH_TABLE=" + marked + " a", "RELATCH_QUOTA_SHARE=" + marked,
				"RELATCH_REENABLE_QUEUE_URL=" + marked, "RELATCH_NO_SUCH=" + marked,
			},
			"AWS": append(dummy, "AWS_USE_FIPS_ENDPOINT="+marked),
		} {
			f := lambdatest.Start(t, program, append(env, "AWS_SECRET_ACCESS_KEY="+marked, "AWS_SESSION_TOKEN="+marked)...)
			_, err := f.Invoke(t.Context(), []byte(`{}`))
			if err == nil || !strings.Contains(f.Output(), "_") {
				t.Errorf("%s, %s: %v, and it says %q", name, problem, err, f.Output())
			}
			for _, leak := range leaks(f.Output(), marked) {
				t.Errorf("%s, %s: %s", name, problem, leak)
			}
		}
	}
}

// person makes a user whose name and attributes are marked.
func person(t *testing.T, a *stacktest.Account, pool mfa.PoolID, name string) mfa.Sub {
	t.Helper()
	sub := a.Add(t, wiretest.Person{Pool: pool, Name: name, Roles: []mfa.Role{"itsm_manager"}, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP}})
	_, err := a.Cognito.AdminUpdateUserAttributes(t.Context(), &cognitoidentityprovider.AdminUpdateUserAttributesInput{
		UserPoolId: new(string(pool)), Username: &name, UserAttributes: []cognitotypes.AttributeType{
			{Name: new("phone_number"), Value: new(markedPhone)}, {Name: new("name"), Value: new(marked)}, {Name: new("given_name"), Value: new(marked)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// ledger is everything in the ledger's table.
func ledger(t *testing.T, a *stacktest.Account) string {
	t.Helper()
	var all strings.Builder
	for pages := dynamodb.NewScanPaginator(a.DynamoDB, &dynamodb.ScanInput{TableName: aws.String(wiretest.Table)}); pages.HasMorePages(); {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(text(t, page.Items))
	}
	return all.String()
}

// text is a value as JSON.
func text(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
