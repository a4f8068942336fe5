package infra_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // G505: what authenticator apps use
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/wiretest"
)

// stageHands stand between the drill and moto, and do what moto does not: write
// CloudTrail's records, and answer a function URL. The default bus, the rule, the
// queues, the functions and the user pool are the stack's.
type stageHands struct {
	written  chan string // records that EventBridge is to get
	mu       sync.Mutex
	records  []map[string]any
	override *lambdatest.Function
}

// moto passes on what the AWS CLI asks, and writes the records.
func (h *stageHands) moto(t *testing.T, endpoint string) http.Handler {
	t.Helper()
	to, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		switch {
		case strings.HasSuffix(operation, "LookupEvents"):
			h.mu.Lock()
			defer h.mu.Unlock()
			found := []map[string]any{}
			for _, record := range h.records {
				found = append(found, map[string]any{"CloudTrailEvent": string(encode(t, record))})
			}
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			_, _ = w.Write(encode(t, map[string]any{"Events": found}))
			return
		case operation == "AssociateSoftwareToken": // moto's secrets are no base32
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			_, _ = io.WriteString(w, `{"SecretCode":"`+base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)+`"}`)
			return
		case operation == "VerifySoftwareToken": // moto takes any code
			if now := time.Now(); !strings.Contains(string(body), code(now)) && !strings.Contains(string(body), code(now.Add(-30*time.Second))) {
				t.Errorf("%s: the code of this time is %s", body, code(now))
			}
		case operation == "AdminSetUserMFAPreference" && strings.Contains(string(body), `"Enabled": false`):
			defer h.write(t, r.UserAgent(), body)
		}
		proxy.ServeHTTP(w, r)
	})
}

var secret = []byte("a secret of 26 bytes, so =")

// code is the secret's at the time (RFC 6238).
func code(at time.Time) string {
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/30) // a hash takes everything
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&math.MaxInt32%1_000_000)
}

// write writes what CloudTrail is believed to write.
func (h *stageHands) write(t *testing.T, agent string, body []byte) {
	var asked struct{ UserPoolId, Username string } //nolint:revive // as the API spells it
	if err := json.Unmarshal(body, &asked); err != nil {
		t.Error(err)
	}
	event := record("cognito-idp", "AdminSetUserMFAPreference", map[string]any{
		"userPoolId": asked.UserPoolId, "username": masked, "softwareTokenMfaSettings": map[string]any{"enabled": false, "preferredMfa": false},
	})
	detail := object(event["detail"])
	detail["eventTime"], detail["userAgent"] = time.Now().UTC().Format(time.RFC3339), agent
	detail["additionalEventData"] = map[string]any{"sub": asked.Username} // the test puts the sub in its place
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, detail)
	h.written <- asked.Username
}

// url answers as Lambda answers a function URL.
func (h *stageHands) url(t *testing.T) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
			t.Errorf("%v; signed %q", err, r.Header.Get("Authorization"))
		}
		e := events.LambdaFunctionURLRequest{Version: "2.0", RawPath: r.URL.Path, Headers: map[string]string{"content-type": r.Header.Get("Content-Type")}, Body: string(body)}
		e.RequestContext.HTTP = events.LambdaFunctionURLRequestContextHTTPDescription{Method: r.Method}
		e.RequestContext.Authorizer = &events.LambdaFunctionURLRequestContextAuthorizerDescription{
			IAM: &events.LambdaFunctionURLRequestContextAuthorizerIAMDescription{UserARN: "arn:aws:sts::123456789012:assumed-role/Admin/ops-7"},
		}
		raw, err := h.override.Invoke(t.Context(), encode(t, e))
		var answer events.LambdaFunctionURLResponse
		if err := errors.Join(err, json.Unmarshal(raw, &answer)); err != nil {
			t.Error(err)
		}
		w.WriteHeader(answer.StatusCode)
		_, _ = io.WriteString(w, answer.Body)
		h.written <- ""
	})
}

// drills runs infra/drill.sh against the stack on moto. That CloudTrail
// records a call, that EventBridge gets it, that LookupEvents shows it, and that the
// function URL proves who asks, the test plays; so the drill's own findings about
// CloudTrail are what the test says, and only the real AWS answers them.
func drills(t *testing.T, a *stacktest.Account) {
	for _, program := range []string{"bash", "jq", "curl", "openssl", "base32"} {
		stacktest.Tool(t, program, "the drill needs it")
	}
	start := func(function string) *lambdatest.Function {
		return lambdatest.Start(t, lambdatest.Build(t, "./functions/"+function), a.Environment(function)...)
	}
	audit, reenable := start("audit"), start("reenable")
	hands := &stageHands{written: make(chan string, 1), override: start("override")}
	moto, desk := httptest.NewServer(hands.moto(t, *a.Moto.BaseEndpoint)), httptest.NewServer(hands.url(t))
	defer moto.Close()
	defer desk.Close()

	var said bytes.Buffer
	drill := exec.CommandContext(t.Context(), "./drill.sh", "-p", string(a.Pool), "-g", "itsm_manager")
	drill.Env = append(drill.Environ(), stacktest.Shell(a.Account)...)
	drill.Env = append(drill.Env, "AWS_ENDPOINT_URL="+moto.URL, "RELATCH_OVERRIDE_URL="+desk.URL, "DRILL_SECONDS=90")
	drill.Stdout, drill.Stderr = &said, &said
	if err := drill.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- drill.Wait() }()

	name := ""
	hand := func(f *lambdatest.Function, q wiretest.Queue) {
		messages := a.Take(t, q)
		if answer, err := f.Invoke(t.Context(), wiretest.Batch(t, q, messages...)); err != nil || string(answer) != `{"batchItemFailures":[]}` || len(messages) == 0 {
			t.Errorf("%s, %d messages: %s, %v", q, len(messages), answer, err)
		}
	}
	for running := true; running; {
		select {
		case who := <-hands.written:
			if who != "" { // a record
				name = who
				a.Put(t, hands.record(t, a, who))
			}
			hand(audit, wiretest.AuditQueue)
			if who == "" { // an end was asked for
				hand(reenable, wiretest.ReenableQueue)
			}
		case err := <-ended:
			running = false
			if err != nil {
				t.Fatalf("%v\n%s", err, said.String())
			}
		}
	}

	out := said.String()
	if n := strings.Count(out, "as assumed  "); n != 6 || strings.Contains(out, "DIFFERENT") {
		t.Errorf("%d of 6 points are as the test made them:\n%s", n, out)
	}
	_, table, _ := strings.Cut(out, "Seconds since MFA was switched off:")
	for _, hop := range []string{"MFA is switched off", "Relatch has recorded it: override O-", "the end is asked for", "closed restored, restore done, sign_out done", "Cognito shows MFA as on", "CloudTrail shows its record"} {
		if !strings.Contains(table, hop) {
			t.Errorf("no hop %q in\n%s", hop, table)
		}
	}
	if !strings.Contains(out, "It has sent: critical required_role_without_mfa") {
		t.Errorf("nobody was paged:\n%s", out)
	}
	_, err := a.Cognito.AdminGetUser(t.Context(), &cognitoidentityprovider.AdminGetUserInput{UserPoolId: new(string(a.Pool)), Username: &name})
	if _, gone := errors.AsType[*types.UserNotFoundException](err); !gone {
		t.Errorf("the user %s is still there: %v", name, err)
	}
	clients, err := a.Cognito.ListUserPoolClients(t.Context(), &cognitoidentityprovider.ListUserPoolClientsInput{UserPoolId: new(string(a.Pool)), MaxResults: new(int32(10))})
	if err != nil || len(clients.UserPoolClients) != 1 {
		t.Errorf("clients: %+v, %v", clients, err)
	}
}

// record is the last one written, with the user's sub.
func (h *stageHands) record(t *testing.T, a *stacktest.Account, name string) string {
	t.Helper()
	user, err := a.Cognito.AdminGetUser(t.Context(), &cognitoidentityprovider.AdminGetUserInput{UserPoolId: new(string(a.Pool)), Username: &name})
	if err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	detail := h.records[len(h.records)-1]
	for _, attribute := range user.UserAttributes {
		if *attribute.Name == "sub" {
			detail["additionalEventData"] = map[string]any{"sub": *attribute.Value}
		}
	}
	return string(encode(t, detail))
}
