package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	cognitotypes "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/trail"
	"github.com/stackflow/relatch/internal/wiretest"
	"github.com/stackflow/relatch/internal/worker"
)

// city is an account with Relatch in it, as the command sees it: AWS behind one
// endpoint, which also keeps CloudTrail's record of who switched what off, and
// override behind its function URL.
type city struct {
	*wiretest.Account
	t                         *testing.T
	audit, reenable, override *lambdatest.Function
	aws, url                  string
	subs                      map[string]mfa.Sub     // by username
	records                   []string               // not delivered yet
	by                        atomic.Pointer[string] // role and session of whoever runs the command
	now                       time.Duration          // how far the clock has gone on by waiting
	deletes                   bool                   // AdminDeleteSoftwareToken is there
	broken                    string                 // the operation that is not answered once MFA is off
}

// build compiles the functions and starts everything.
func build(t *testing.T) *city {
	t.Helper()
	c := &city{Account: wiretest.Open(t), t: t, subs: map[string]mfa.Sub{}}
	c.by.Store(new("SupportAdmin/ops-7"))
	c.audit = lambdatest.Start(t, lambdatest.Build(t, "./functions/audit"), c.Environment()...)
	c.reenable = lambdatest.Start(t, lambdatest.Build(t, "./functions/reenable"), c.Environment()...)
	c.override = lambdatest.Start(t, lambdatest.Build(t, "./functions/override"), c.Environment()...)
	c.aws, c.url = c.serve(t, c.front()), c.serve(t, http.HandlerFunc(c.functionURL))
	return c
}

func (c *city) serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func (c *city) arn() string { return "arn:aws:sts::123456789012:assumed-role/" + *c.by.Load() }

func (c *city) clock() time.Time { return time.Now().Add(c.now) }

// front is moto, but for what moto has not: AdminDeleteSoftwareToken, sessions
// whose database in DynamoDB Local is the functions', and CloudTrail.
func (c *city) front() http.Handler {
	target, err := url.Parse(*c.Moto.BaseEndpoint)
	if err != nil {
		c.t.Fatal(err)
	}
	moto := httputil.NewSingleHostReverseProxy(target)
	moto.ErrorLog = log.New(io.Discard, "", 0) // of requests that the SDK cancels
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the SDK has cancelled it
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		switch {
		case operation != "" && operation == c.broken && len(c.records) > 0:
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"AccessDeniedException","message":"not now"}`)
		case strings.Contains(string(body), "Action=GetCallerIdentity"):
			w.Header().Set("Content-Type", "text/xml")
			fmt.Fprintf(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>%s</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>`, c.arn())
		case operation == "AdminDeleteSoftwareToken" && !c.deletes:
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"UnknownOperationException"}`)
		case operation == "AdminDeleteSoftwareToken":
			c.record(operation, r.UserAgent(), body)
			name := struct{ Username string }{}
			if err := json.Unmarshal(body, &name); err != nil {
				c.t.Error(err)
			}
			c.Switch(c.t, c.Pool, c.subs[name.Username], false, mfa.TOTP)
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			fmt.Fprint(w, "{}")
		default:
			if operation == "AdminSetUserMFAPreference" {
				c.record(operation, r.UserAgent(), body)
			}
			moto.ServeHTTP(w, r)
		}
	})
}

// record keeps what CloudTrail records of the call.
func (c *city) record(operation, agent string, body []byte) {
	var parameters map[string]json.RawMessage
	if err := json.Unmarshal(body, &parameters); err != nil {
		c.t.Error(err)
		return
	}
	name := strings.Trim(string(parameters["Username"]), `"`)
	shown := map[string]any{"username": "HIDDEN_DUE_TO_SECURITY_REASONS"}
	for key, value := range parameters {
		if key != "Username" {
			shown[strings.ToLower(key[:1])+key[1:]] = json.RawMessage(regexp.MustCompile(`"([A-Z])`).ReplaceAllStringFunc(string(value), func(s string) string {
				if key == "UserPoolId" {
					return s
				}
				return strings.ToLower(s)
			}))
		}
	}
	raw, err := json.Marshal(map[string]any{
		"eventVersion": "1.11", "eventID": fmt.Sprintf("e-%d", time.Now().UnixNano()), "eventTime": c.clock().UTC().Format(time.RFC3339), "eventType": "AwsApiCall",
		"eventSource": "cognito-idp.amazonaws.com", "eventName": operation, "awsRegion": "us-east-1", "recipientAccountId": "123456789012", "sourceIPAddress": "192.0.2.7",
		"userAgent": agent, "userIdentity": map[string]any{"type": "AssumedRole", "arn": c.arn(), "accountId": "123456789012"},
		"requestParameters": shown, "additionalEventData": map[string]any{"sub": c.subs[name]}, "responseElements": nil,
	})
	if err != nil {
		c.t.Error(err)
	}
	c.records = append(c.records, string(raw))
}

// functionURL is Lambda's: it proves who asks, here by the signature being there.
func (c *city) functionURL(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Error(err)
	}
	if !regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=\w+/\d{8}/us-east-1/lambda/aws4_request, SignedHeaders=.*host.*, Signature=[0-9a-f]{64}$`).MatchString(r.Header.Get("Authorization")) || r.Header.Get("X-Amz-Date") == "" {
		http.Error(w, `{"Message":"Forbidden"}`, http.StatusForbidden)
		return
	}
	e := events.LambdaFunctionURLRequest{Version: "2.0", RawPath: r.URL.Path, Headers: map[string]string{}, Body: string(body)}
	for name := range r.Header {
		e.Headers[strings.ToLower(name)] = r.Header.Get(name)
	}
	e.RequestContext.HTTP.Method, e.RequestContext.HTTP.Path = r.Method, r.URL.Path
	e.RequestContext.Authorizer = &events.LambdaFunctionURLRequestContextAuthorizerDescription{IAM: &events.LambdaFunctionURLRequestContextAuthorizerIAMDescription{UserARN: c.arn()}}
	event, err := json.Marshal(e)
	if err != nil {
		c.t.Error(err)
	}
	raw, err := c.override.Invoke(r.Context(), event)
	if err != nil {
		c.t.Error(err)
	}
	var answer events.LambdaFunctionURLResponse
	if err := json.Unmarshal(raw, &answer); err != nil {
		c.t.Error(err)
	}
	for name, value := range answer.Headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.WriteString(w, answer.Body)
}

// works lets Relatch work: what CloudTrail recorded is delivered, and the
// functions take what waits for them.
func (c *city) works() {
	c.t.Helper()
	for _, record := range c.records {
		c.Put(c.t, record)
	}
	c.records = nil
	for _, step := range []struct {
		function *lambdatest.Function
		queue    wiretest.Queue
	}{{c.audit, wiretest.AuditQueue}, {c.reenable, wiretest.ReenableQueue}} {
		if messages := c.Take(c.t, step.queue); len(messages) > 0 {
			if answer, err := step.function.Invoke(c.t.Context(), wiretest.Batch(c.t, step.queue, messages...)); err != nil || string(answer) != `{"batchItemFailures":[]}` {
				c.t.Fatalf("%s: %s, %v", step.queue, answer, err)
			}
		}
	}
}

// environment is what the command is told.
func (c *city) environment(more ...string) map[string]string {
	env := map[string]string{"LANG": "C.UTF-8"}
	for _, set := range append(c.Environment("AWS_ENDPOINT_URL="+c.aws, "RELATCH_OVERRIDE_URL="+c.url), more...) {
		name, value, _ := strings.Cut(set, "=")
		env[name] = value
	}
	return env
}

type said struct {
	code     int
	out, err string
}

// relatch runs the command, with an answer for its question. While it waits,
// Relatch works.
func (c *city) relatch(t *testing.T, env map[string]string, answer string, args ...string) said {
	t.Helper()
	c.t = t
	for name, value := range env {
		if strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, value) // the SDK reads it for itself
		}
	}
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	var out, errs bytes.Buffer
	code := run(t.Context(), args, terminal{
		in: strings.NewReader(answer), inIsTerminal: answer != "", out: &out, err: &errs, now: func() time.Time { return c.clock().UTC() },
		getenv: func(name string) string { return env[name] },
		wait: func(ctx context.Context, d time.Duration) error {
			c.now += d
			c.works()
			return ctx.Err()
		},
	})
	return said{code, out.String(), errs.String()}
}

// says runs the command without a terminal, and compares the exit status.
func (c *city) says(t *testing.T, code int, args ...string) said {
	t.Helper()
	s := c.relatch(t, c.environment(), "", args...)
	if s.code != code {
		t.Fatalf("relatch %s: exit status %d, not %d\n%s%s", strings.Join(args, " "), s.code, code, s.out, s.err)
	}
	return s
}

func (c *city) add(t *testing.T, name string, roles ...mfa.Role) mfa.Sub {
	t.Helper()
	c.subs[name] = c.Add(t, wiretest.Person{Pool: c.Pool, Name: name, Roles: roles, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP}})
	return c.subs[name]
}

func (c *city) ledger() *dynamo.Ledger { return dynamo.New(c.DynamoDB, wiretest.Table) }

func (c *city) standing(t *testing.T, name string) mfa.Standing {
	t.Helper()
	return c.ofUser(t, c.Pool, c.subs[name])
}

func (c *city) ofUser(t *testing.T, pool mfa.PoolID, sub mfa.Sub) mfa.Standing {
	t.Helper()
	loaded, err := c.ledger().Load(t.Context(), worker.Query{Journal: mfa.UserJournal(pool, sub)})
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Standing
}

// written counts the items of the ledger.
func (c *city) written(t *testing.T) int32 {
	t.Helper()
	out, err := c.DynamoDB.Scan(t.Context(), &dynamodb.ScanInput{TableName: new(wiretest.Table), ConsistentRead: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	return out.Count
}

// has reports what the text lacks of the parts.
func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %q in\n%s", part, text)
		}
	}
}

const reason = "--reason=Phone broke on the stairs, new one comes tomorrow"

func TestTheCommandOnAWS(t *testing.T) {
	c := build(t)
	t.Run("an override", c.overrides)
	t.Run("what is false is said outright, and the ticket named", c.saysWhatIsFalse)
	t.Run("beside the AWS CLI", c.besideTheCLI)
	t.Run("a lost device", c.losesDevices)
	t.Run("over the budget", c.needsApproval)
	t.Run("refusals", c.refuses)
	t.Run("in both kinds of pools", c.refusesInBothPools)
}

func (c *city) overrides(t *testing.T) {
	c.t = t
	sub := c.add(t, "maria", "itsm_manager")
	override := []string{"override", "maria", reason, "--ticket", "CHG0012345"}

	t.Run("a dry run changes nothing", func(t *testing.T) {
		before := c.written(t)
		s := c.says(t, 0, append(override, "--dry-run")...)
		has(t, s.out, "You           SupportAdmin/ops-7", "User          maria, pool "+string(c.Pool), "Role          itsm_manager: MFA is required\n", "Factors on    TOTP\n",
			"Will be       switched off\n", "Overrides     0 of 2 used in the last 7 days",
			"then TOTP comes on again", "On-call sees  warning (no page): the reason is on record, and a role of the user requires MFA",
			"WARNING maria (itsm_manager) can sign in without MFA; SupportAdmin/ops-7 switched TOTP off, justified", "Dry run: nothing was done.")
		if on := c.Factors(t, c.Pool, sub); len(on) != 1 || c.written(t) != before || len(c.records) > 0 {
			t.Errorf("switched on are %v, %d items were written", on, c.written(t)-before)
		}
	})
	t.Run("who says no has done nothing", func(t *testing.T) {
		before := c.written(t)
		s := c.relatch(t, c.environment(), "n\n", override...)
		has(t, s.out, "Switch MFA off for maria? [y/N] ")
		if s.code != 1 || c.written(t) != before || len(c.records) > 0 {
			t.Errorf("exit status %d: %s", s.code, s.err)
		}
	})
	t.Run("where Relatch only observes", func(t *testing.T) {
		s := c.relatch(t, c.environment("RELATCH_MODE=observe"), "", append(override, "--dry-run")...)
		has(t, s.out, "Until         you switch it on again: Relatch only observes\n")
	})
	t.Run("a policy that cannot be read", func(t *testing.T) {
		s := c.relatch(t, c.environment("RELATCH_POLICY_TABLE=Another"), "", append(override, "--dry-run")...)
		has(t, s.out, "Policy        IN DOUBT: this goes by the defaults, and Relatch may go by another: ")
		if s.code != 0 || s.err != "" {
			t.Errorf("exit status %d: %s", s.code, s.err)
		}
	})
	t.Run("a ledger that cannot be read", func(t *testing.T) {
		s := c.relatch(t, c.environment("RELATCH_TABLE=nowhere"), "", append(override, "--yes")...)
		has(t, s.err, "read the ledger: ", "Nothing was switched off", "  aws cognito-idp admin-set-user-mfa-preference --user-pool-id "+string(c.Pool)+" --username maria --software-token-mfa-settings Enabled=false,PreferredMfa=false\n",
			"That PAGES on-call if a role of the user requires MFA: nobody has justified it. ", "relatch justify maria --reason ")
		if on := c.Factors(t, c.Pool, sub); s.code != 1 || len(on) != 1 {
			t.Errorf("exit status %d, switched on are %v", s.code, on)
		}
	})
	t.Run("a server that cannot be reached", func(t *testing.T) {
		s := c.relatch(t, c.environment("RELATCH_OVERRIDE_URL=http://127.0.0.1:1"), "", append(override, "--yes", "--region", "us-east-1", "--pools", string(c.Pool))...)
		bare := "  aws cognito-idp admin-set-user-mfa-preference --region us-east-1 --user-pool-id " + string(c.Pool) +
			" --username maria --software-token-mfa-settings Enabled=false,PreferredMfa=false\n"
		why := "relatch justify maria --reason 'Phone broke on the stairs, new one comes tomorrow' --ticket CHG0012345 --region us-east-1 --pools " + string(c.Pool) + "\n"
		has(t, s.err, "Nothing was switched off", bare, "That PAGES on-call: nobody has justified it. ", why)
		if on := c.Factors(t, c.Pool, sub); s.code != 1 || len(on) != 1 {
			t.Errorf("exit status %d, switched on are %v", s.code, on)
		}
	})
	t.Run("it is done, and seen", func(t *testing.T) {
		s := c.relatch(t, c.environment(), "y\n", override...)
		if s.code != 0 {
			t.Fatalf("exit status %d: %s%s", s.code, s.out, s.err)
		}
		o := c.standing(t, "maria").Override
		if o == nil || !o.Match.Justified() || o.Actor.ARN != c.arn() || len(c.Factors(t, c.Pool, sub)) > 0 {
			t.Fatalf("%+v\n%s", o, s.out)
		}
		has(t, s.out, "MFA of maria is off: read back, no factor is on. Justification "+o.Match.ID, "Override      "+o.ID+", justified", "Deadline      "+o.Deadline.Format("Mon 2 Jan 15:04 UTC"),
			"End it early  relatch end "+o.ID+"\n", "Tell the user sign in with the password until")
		has(t, c.audit.Output(), o.ID)
	})
	t.Run("a second one is refused", func(t *testing.T) {
		has(t, c.says(t, 1, append(override, "--yes")...).err, "is open already", "by SupportAdmin/ops-7", "relatch justify O-")
	})
	t.Run("it is ended by its id", func(t *testing.T) {
		o := c.standing(t, "maria").Override
		s := c.says(t, 0, "end", o.ID)
		has(t, s.out, "Asked for the end of "+o.ID+" of maria.", "It has ended: maria has MFA again (restored).")
		if on := c.Factors(t, c.Pool, sub); len(on) != 1 {
			t.Errorf("switched on are %v", on)
		}
		has(t, c.says(t, 1, "end", "maria").err, "no override of maria is open")
	})
	t.Run("the same reason does not count twice", func(t *testing.T) {
		has(t, c.says(t, 1, append(override, "--yes")...).err, "has justified override O-", " already")
	})
}

func (c *city) saysWhatIsFalse(t *testing.T) {
	c.t = t
	c.add(t, "hana")
	s := c.says(t, 0, "override", "hana", reason, "--ticket", "CHG0020000", "--yes", "--wait", "0", "--output", "json")
	var out overridden
	if err := json.Unmarshal([]byte(s.out), &out); err != nil || !out.Done || out.Override != "" || out.Justification == "" || out.Schema != "relatch.override/1" {
		t.Errorf("%v: %s", err, s.out)
	}
	if len(c.records) != 1 {
		t.Fatalf("calls: %v", c.records)
	}
	has(t, c.records[0], `"softwareTokenMfaSettings":{"enabled":false,"preferredMfa":false}`)
	changes, err := trail.Parse([]byte(`{"detail-type":"AWS API Call via CloudTrail","source":"aws.cognito-idp","detail":` + c.records[0] + `}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"CHG0020000"}, changes.Claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s\n%s", diff, c.records[0])
	}
}

func (c *city) besideTheCLI(t *testing.T) {
	path := stacktest.Tool(t, "aws", "python3 -m pip install 'awscli>=1.44,<2', or version 2")
	c.t = t
	c.add(t, "clara", "itsm_manager")
	cli := func(t *testing.T, args ...string) string {
		t.Helper()
		c.t = t
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(set string) bool { return strings.HasPrefix(set, "AWS_") }),
			append(c.Environment("AWS_ENDPOINT_URL="+c.aws, "AWS_DEFAULT_REGION=us-east-1"), "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_PAGER=", "AWS_DEFAULT_OUTPUT=json")...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("aws %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	user := []string{"cognito-idp", "admin-get-user", "--user-pool-id", string(c.Pool), "--username", "clara"}

	t.Run("what the CLI switches off", func(t *testing.T) {
		// The very command that relatch prints when override cannot be reached.
		s := c.relatch(t, c.environment("RELATCH_OVERRIDE_URL=http://127.0.0.1:1"), "", "override", "clara", reason, "--ticket", "CHG0030000", "--yes")
		bare := regexp.MustCompile(`(?m)^  aws (.*)$`).FindStringSubmatch(s.err)
		if bare == nil {
			t.Fatal(s.err)
		}
		cli(t, strings.Fields(bare[1])...)
		c.works()
		o := c.standing(t, "clara").Override
		c.sees(t, "clara", o, "NO MFA IS ON", "NOT JUSTIFIED: nobody gave a reason")
		if o == nil || o.Match.Justified() {
			t.Fatalf("%+v", o)
		}
		has(t, c.says(t, 1, "override", "clara", reason, "--ticket", "CHG0030000", "--yes").err, "override "+o.ID+" of clara is open already")
		has(t, c.says(t, 0, "justify", o.ID, reason, "--ticket", "CHG0030000").out, "is on record, and justifies override "+o.ID+" of clara.")
		c.works()
		if o := c.standing(t, "clara").Override; o == nil || !o.Match.Justified() {
			t.Errorf("%+v", o)
		}
		c.sees(t, "clara", o, "NO MFA IS ON", "Why        justified")
		c.says(t, 0, "end", "clara")
		has(t, cli(t, user...), "SOFTWARE_TOKEN_MFA")
		c.sees(t, "clara", nil, "TOTP on", "No override is open.")
	})
	t.Run("what the command switches off", func(t *testing.T) {
		c.says(t, 0, "override", "clara", "--reason", "Phone drowned in the lake on the way home", "--ticket", "CHG0030000", "--yes")
		if out := cli(t, user...); strings.Contains(out, "SOFTWARE_TOKEN_MFA") {
			t.Error(out)
		}
		// The very command that relatch prints when override cannot be reached.
		s := c.relatch(t, c.environment("RELATCH_OVERRIDE_URL=http://127.0.0.1:1"), "", "end", "clara")
		has(t, s.err, "Whether it was asked for is not known; ask again, or switch MFA on without Relatch, which ends it too:\n")
		bare := regexp.MustCompile(`(?m)^  aws (.*)$`).FindStringSubmatch(s.err)
		if bare == nil || s.code != 1 {
			t.Fatalf("exit status %d: %s", s.code, s.err)
		}
		cli(t, strings.Fields(bare[1])...)
		c.sees(t, "clara", c.standing(t, "clara").Override, "on now: TOTP")
		c.works()
		c.sees(t, "clara", nil, "TOTP on", "No override is open.")
		has(t, c.says(t, 1, "end", "clara").err, "no override of clara is open")
	})
}

// sees has status tell of the user, with the override unless it is nil.
func (c *city) sees(t *testing.T, name string, o *mfa.Override, parts ...string) {
	t.Helper()
	s := c.relatch(t, c.environment(), "", "status", name)
	if o != nil {
		parts = append(parts, o.ID)
	}
	has(t, s.out, parts...)
	if s.err != "" {
		t.Error(s.err)
	}
}

func (c *city) losesDevices(t *testing.T) {
	c.t = t
	c.by.Store(new("SupportAdmin/ops-8")) // six users of one actor are a mass disable
	c.add(t, "lena", "itsm_manager")
	c.add(t, "nina", "itsm_manager")
	lost := []string{"--reason", "Phone stolen on the train to Lyon", "--lost-device", "--yes"}
	t.Run("where the service lacks the operation", func(t *testing.T) {
		s := c.says(t, 0, append(lost, "override", "lena", "--ticket", "INC0000001")...)
		has(t, s.out, "Will be       deleted\n", "the old one cannot be switched on again", "Cognito cannot delete tokens there (AdminDeleteSoftwareToken): TOTP is switched off instead", "enrol a new authenticator app before")
		has(t, c.says(t, 1, "end", "lena").err, "now TOTP would be asked for again, and lock out the user, who does not have it", "relatch end "+c.standing(t, "lena").Override.ID+" --lock-out\n")
		if c.standing(t, "lena").Override == nil {
			t.Error("it has ended")
		}
		has(t, c.says(t, 0, "end", "lena", "--lock-out").out, "It has ended")
	})
	t.Run("where it has it", func(t *testing.T) {
		c.deletes = true
		s := c.says(t, 0, append(lost, "override", "nina", "--ticket", "INC0000002")...)
		has(t, s.out, "Will be       deleted\n", "enrol a new authenticator app at once: the old one is worth nothing any more")
		o := c.standing(t, "nina").Override
		if o == nil || o.Match.Cause != mfa.LostDevice || !o.Match.Justified() || o.Repeated {
			t.Errorf("%+v", o)
		}
		has(t, c.says(t, 1, "end", "nina").err, "its token is deleted, and nothing is left to switch on")
	})
	t.Run("done by half, or not read back", c.isHalfDone)
	t.Run("on-call hears what was foretold", func(t *testing.T) {
		both := []mfa.Factor{mfa.TOTP, mfa.SMS}
		for i, p := range []wiretest.Person{
			{Pool: c.Pool, Name: "rita", Roles: []mfa.Role{"itsm_manager"}, Registered: both, Factors: both},
			{Pool: c.Pool, Name: "olga", Registered: both, Factors: both},
		} {
			c.subs[p.Name] = c.Add(t, p)
			c.Take(t, wiretest.AlertQueue)
			s := c.says(t, 0, append(lost, "override", p.Name, "--ticket", fmt.Sprintf("INC000001%d", i))...)
			for _, m := range c.Take(t, wiretest.AlertQueue) {
				var e struct{ Detail alert.Alert }
				if err := json.Unmarshal([]byte(*m.Body), &e); err != nil {
					t.Fatal(err)
				}
				// What was taken by then depends on which call is looked at first.
				has(t, s.out, strings.Replace(e.Detail.Title, "switched TOTP off", "switched TOTP and SMS off", 1))
			}
		}
	})
}

func (c *city) isHalfDone(t *testing.T) {
	c.t, c.deletes = t, true
	c.by.Store(new("SupportAdmin/ops-9"))
	defer c.by.Store(new("SupportAdmin/ops-8"))
	both := []mfa.Factor{mfa.TOTP, mfa.SMS}
	for _, name := range []string{"ines", "ivan"} {
		c.subs[name] = c.Add(t, wiretest.Person{Pool: c.Pool, Name: name, Roles: []mfa.Role{"itsm_manager"}, Registered: both, Factors: both})
	}
	stolen := []string{"--reason", "Phone stolen in the queue at the baker's", "--lost-device", "--yes"}
	c.broken = "AdminDeleteSoftwareToken"
	s := c.says(t, 1, append(stolen, "override", "ines", "--ticket", "INC0000021")...)
	has(t, s.err, "delete software token: ", "AccessDeniedException", "; only half is done: switched off: SMS; still on: TOTP. The reason is on record as J-", "relatch status ines\n")
	c.broken = ""
	c.works()
	has(t, c.says(t, 0, append(stolen, "override", "ines", "--ticket", "INC0000021")...).out, "MFA of ines is off: read back, no factor is on.")

	c.broken = "AdminGetUser"
	s = c.says(t, 0, append(stolen, "override", "ivan", "--ticket", "INC0000022", "--output", "json")...)
	c.broken = ""
	var out overridden
	if err := json.Unmarshal([]byte(s.out), &out); err != nil || !out.Done || out.ReadBack || out.Override != c.standing(t, "ivan").Override.ID || !out.Justified {
		t.Errorf("%v: %s", err, s.out)
	}
	has(t, s.err, "MFA of ivan is off: Cognito took the call. Justification J-", "NOT READ BACK: ", "End it early  relatch end "+out.Override+"\n")
	if on := c.Factors(t, c.Pool, c.subs["ivan"]); len(on) > 0 {
		t.Errorf("switched on are %v", on)
	}
}

func (c *city) needsApproval(t *testing.T) {
	c.t = t
	c.by.Store(new("SupportAdmin/ops-7"))
	c.add(t, "bert", "itsm_manager")
	s := c.standing(t, "bert")
	s.Journal = mfa.UserJournal(c.Pool, c.subs["bert"])
	for i := range 2 {
		at := time.Now().UTC().Add(-time.Duration(i+1) * 24 * time.Hour).Truncate(time.Second)
		s.Past = append(s.Past, mfa.Past{ID: fmt.Sprint("O-", i), OpenedAt: at, ClosedAt: at.Add(time.Hour)})
	}
	if err := c.ledger().Append(t.Context(), worker.Step{Standing: s}); err != nil {
		t.Fatal(err)
	}
	override := []string{"override", "bert", reason, "--ticket", "CHG0050000", "--yes"}
	refused := c.says(t, 1, override...)
	has(t, refused.out, "Overrides     2 of 2 used in the last 7 days", "Approver      needed")
	has(t, refused.err, "bert needs an approver: nothing was switched off")
	id := regexp.MustCompile(`J-[A-Z2-7]{10}`).FindString(refused.err)
	if on := c.Factors(t, c.Pool, c.subs["bert"]); len(on) != 1 {
		t.Fatalf("switched on are %v", on)
	}
	has(t, c.says(t, 1, "approve", "bert", id).err, "the approver is the author or the user; somebody else must approve")
	c.by.Store(new("TeamLead/eva"))
	has(t, c.says(t, 0, "approve", "bert", id).out, "You have approved of "+id+" for bert.", "SupportAdmin/ops-7 wrote on", "Phone broke on the stairs")
	c.by.Store(new("SupportAdmin/ops-7"))
	has(t, c.says(t, 0, override...).out, "Approver      TeamLead/eva", ", justified")
}

func (c *city) refuses(t *testing.T) {
	c.t = t
	c.add(t, "mara", "itsm_manager")
	c.add(t, "ben")
	c.Switch(t, c.Pool, c.add(t, "nora"), false, mfa.TOTP)
	twin := c.Add(t, wiretest.Person{Pool: c.EmailPool, Name: "twin@example.com"})
	other := c.Add(t, wiretest.Person{Pool: c.Pool, Name: "twin@example.com"})
	has(t, c.says(t, 0, "justify", "ben", reason, "--ticket", "CHG0000001").out, "No override of ben is open: it counts for one that you open by")
	before := c.written(t)
	for _, row := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"another user's ticket", []string{"override", "mara", reason, "--ticket", "CHG0000001", "--yes"}, 1, "relatch override: ticket CHG0000001 was used on " + time.Now().UTC().Format(time.DateOnly) + " for another user\n"},
		{"and to justify", []string{"justify", "mara", reason, "--ticket", "CHG0000001"}, 1, "relatch justify: ticket CHG0000001 was used on " + time.Now().UTC().Format(time.DateOnly) + " for another user\n"},
		{
			"everything wrong",
			[]string{"override", "mara", "--reason", "test", "--ticket", "none", "--yes"},
			1,
			"relatch override: the reason has fewer than 15 characters; the reason says nothing about this case; the ticket does not match ^(INC|CHG)[0-9]{7}$\n",
		},
		{"no factor", []string{"override", "nora", reason, "--ticket", "CHG0000002", "--yes"}, 1, "relatch override: nora has no factor that is switched on: there is nothing to switch off\n"},
		{"nobody", []string{"override", "nobody", reason, "--ticket", "CHG0000002", "--yes"}, 2, "relatch override: no user has the username, e-mail address or sub nobody in the guarded pools ("},
		{
			"two",
			[]string{"override", "twin@example.com", reason, "--ticket", "CHG0000002", "--yes"},
			2,
			fmt.Sprintf("relatch override: twin@example.com means 2 users; take the one you mean as POOL/SUB:\n  %s/%s  twin@example.com\n  %s/%s  twin@example.com\n", c.Pool, other, c.EmailPool, twin),
		},
		{"an override that is not", []string{"end", "O-ABCDEFGH23"}, 2, "relatch end: no override is open that is called O-ABCDEFGH23"},
		{"a justification that is not", []string{"approve", "mara", "J-NONE"}, 1, "relatch approve: the user has no justification J-NONE\n"},
		{"nobody can be asked", []string{"override", "mara", reason, "--ticket", "CHG0000002"}, 2, "relatch override: standard input is no terminal: nobody can be asked; use --yes, or --dry-run"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if s := c.says(t, row.code, row.args...); !strings.HasPrefix(s.err, row.want) {
				t.Errorf("have %s\nwant %s", s.err, row.want)
			}
		})
	}
	t.Run("for machines", func(t *testing.T) {
		s := c.says(t, 1, "override", "mara", "--reason", "test", "--ticket", "none", "--yes", "--output", "json")
		const want = `{"schema":"relatch.refusal/1","why":"the reason has fewer than 15 characters; the reason says nothing about this case; the ticket does not match ^(INC|CHG)[0-9]{7}$","failed_rules":["too_short","boilerplate","ticket"]}` + "\n"
		if s.out != want {
			t.Errorf("have %s\nwant %s", s.out, want)
		}
	})
	if after := c.written(t); after != before || len(c.records) > 0 {
		t.Errorf("%d items written, calls: %v", after-before, c.records)
	}
	t.Run("a reason that comes too late", func(t *testing.T) {
		c.t = t
		c.Switch(t, c.Pool, c.subs["mara"], false, mfa.TOTP)
		c.now = -20 * time.Minute
		c.record("AdminSetUserMFAPreference", "aws-cli", fmt.Appendf(nil, `{"UserPoolId":%q,"Username":"mara","SoftwareTokenMfaSettings":{"Enabled":false}}`, c.Pool))
		c.now = 0
		c.works()
		s := c.says(t, 1, "justify", "mara", reason, "--ticket", "CHG0000003")
		has(t, s.err, "is on record, but does not justify override O-", "of mara: the justification was written on ", "more than 15 min after MFA was switched off")
	})
	t.Run("an address is enough, and so is a sub", func(t *testing.T) {
		on := []mfa.Factor{mfa.TOTP}
		sub := c.Add(t, wiretest.Person{Pool: c.EmailPool, Name: "mail@example.com", Roles: []mfa.Role{"itsm_manager"}, Registered: on, Factors: on})
		for name, shown := range map[string]string{"mail@example.com": "mail@example.com", string(sub): string(sub)} {
			s := c.says(t, 0, "override", name, reason, "--ticket", "CHG0000004", "--dry-run")
			has(t, s.out, fmt.Sprintf("User          %s, pool %s, sub %s\nRole          itsm_manager: MFA is required\n", shown, c.EmailPool, sub))
		}
	})
	t.Run("a stack says where Relatch is", func(t *testing.T) {
		client := cloudformation.NewFromConfig(c.Moto)
		template := fmt.Sprintf(`{"Resources":{"Queue":{"Type":"AWS::SQS::Queue"}},"Outputs":{"LedgerTable":{"Value":%q},"PoolIds":{"Value":"%s,%s"},"OverrideUrl":{"Value":%q},"PolicyTable":{"Value":%q}}}`,
			wiretest.Table, c.Pool, c.EmailPool, c.url, wiretest.PropertyTable)
		if _, err := client.CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: new("prod"), TemplateBody: &template}); err != nil {
			t.Fatal(err)
		}
		env := c.environment()
		for name := range env {
			if strings.HasPrefix(name, "RELATCH_") {
				delete(env, name)
			}
		}
		if s := c.relatch(t, env, "", "override", string(c.subs["ben"]), "--stack", "prod", reason, "--ticket", "CHG0000001", "--dry-run"); s.code != 0 {
			t.Error(s)
		}
		s := c.relatch(t, env, "", "end", "ben")
		if s.code != 2 {
			t.Errorf("exit status %d", s.code)
		}
		has(t, s.err, "there is no stack relatch in this account and Region; name Relatch's stack with --stack or RELATCH_STACK, or give LedgerTable (--table or RELATCH_TABLE)")
	})
}

// refusesInBothPools has users whom people call by the username, the address or the
// sub, in a pool of usernames and in one where the address is the username.
func (c *city) refusesInBothPools(t *testing.T) {
	c.t = t
	c.by.Store(new("SupportAdmin/ops-6"))
	on := []mfa.Factor{mfa.TOTP}
	for i, pool := range []mfa.PoolID{c.Pool, c.EmailPool} {
		add := func(name string, factors []mfa.Factor) (mfa.Sub, []string) {
			called, address := name, name+"@example.org"
			if pool == c.EmailPool {
				called = address
			}
			sub := c.Add(t, wiretest.Person{Pool: pool, Name: called, Roles: []mfa.Role{"itsm_manager"}, Registered: on, Factors: factors})
			if c.subs[called] = sub; pool == c.EmailPool {
				c.subs[string(sub)] = sub // which is the username
			} else if _, err := c.Cognito.AdminUpdateUserAttributes(t.Context(), &cognitoidentityprovider.AdminUpdateUserAttributesInput{
				UserPoolId: new(string(pool)), Username: &name, UserAttributes: []cognitotypes.AttributeType{{Name: new("email"), Value: &address}},
			}); err != nil {
				t.Fatal(err)
			}
			return sub, []string{called, address, string(sub), string(pool) + "/" + string(sub)}
		}
		override := func(who string, ticket int) []string {
			return []string{"override", who, reason, "--ticket", fmt.Sprintf("CHG006%04d", 10*i+ticket), "--yes"}
		}
		sub, names := add(fmt.Sprint("opal", i), on)
		c.says(t, 0, override(names[1], 1)...)
		o := c.ofUser(t, pool, sub).Override
		if o == nil || !o.Match.Justified() {
			t.Fatalf("%+v", o)
		}
		for _, name := range append(names, o.ID) {
			has(t, c.says(t, 1, override(name, 2)...).err, "override "+o.ID+" of ", " is open already, since ")
		}
		_, names = add(fmt.Sprint("nero", i), nil)
		for _, name := range names {
			has(t, c.says(t, 1, override(name, 3)...).err, "has no factor that is switched on: there is nothing to switch off\n")
		}
		sub, names = add(fmt.Sprint("bard", i), on)
		s := c.ofUser(t, pool, sub)
		s.Journal = mfa.UserJournal(pool, sub)
		for i := range 2 {
			at := time.Now().UTC().Add(-time.Duration(i+1) * 24 * time.Hour).Truncate(time.Second)
			s.Past = append(s.Past, mfa.Past{ID: fmt.Sprint("O-", i), OpenedAt: at, ClosedAt: at.Add(time.Hour)})
		}
		if err := c.ledger().Append(t.Context(), worker.Step{Standing: s}); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			has(t, c.says(t, 1, override(name, 4)...).err, " needs an approver: nothing was switched off. Your reason is on record as J-", "\n  relatch approve "+name+" J-")
		}
		refused := c.says(t, 1, append(override(names[1], 4), "--output", "json")...)
		var out overridden
		if err := json.Unmarshal([]byte(refused.out), &out); err != nil || out.Done || !out.Forecast.Approval || out.Justification == "" {
			t.Errorf("%v: %s", err, refused.out)
		}
		if left := c.Factors(t, pool, sub); len(left) != 1 {
			t.Errorf("switched on are %v", left)
		}
	}
}
