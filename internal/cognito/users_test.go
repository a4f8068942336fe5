package cognito_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	sdk "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/worker"
)

const (
	thePool mfa.PoolID = "us-east-1_EXAMPLE12"
	theSub  mfa.Sub    = "11112222-3333-4444-5555-666677778888"
)

// fake answers like Cognito: each operation with a body, which is an error if it
// has a "__type". An operation that is not listed answers UserNotFoundException.
type fake struct {
	mu      sync.Mutex
	answers map[string]func(in map[string]any) string
	asked   []string // operation and body
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body, _ := io.ReadAll(r.Body)
	var in map[string]any
	json.Unmarshal(body, &in) //nolint:errcheck // what is missing shows in the answer
	f.mu.Lock()
	f.asked = append(f.asked, operation+" "+string(body))
	answer := failed("UserNotFoundException", "User does not exist.")
	if a := f.answers[operation]; a != nil {
		answer = a
	}
	f.mu.Unlock()
	text := answer(in)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	switch {
	case strings.HasPrefix(text, `{"__type":"InternalErrorException"`):
		w.WriteHeader(http.StatusInternalServerError)
	case strings.HasPrefix(text, `{"__type"`):
		w.WriteHeader(http.StatusBadRequest)
	}
	fmt.Fprint(w, text)
}

// all returns what was asked so far.
func (f *fake) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

func (f *fake) count(operation string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, asked := range f.asked {
		if strings.HasPrefix(asked, operation+" ") {
			n++
		}
	}
	return n
}

func always(text string) func(map[string]any) string {
	return func(map[string]any) string { return text }
}

func failed(code, text string) func(map[string]any) string {
	return always(fmt.Sprintf(`{"__type":%q,"message":%q}`, code, text))
}

// serve makes a client of the fake that tries once, or as the retryer says.
func serve(t *testing.T, f *fake, retryer ...aws.Retryer) *sdk.Client {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	config := mototest.Config(server.URL)
	return sdk.NewFromConfig(config, func(o *sdk.Options) {
		o.Retryer = aws.NopRetryer{}
		if len(retryer) > 0 {
			o.Retryer = retryer[0]
		}
	})
}

const local = `{"Username":"maria","Enabled":true,"UserStatus":"CONFIRMED","UserCreateDate":1763899200.5,
	"UserAttributes":[{"Name":"sub","Value":"11112222-3333-4444-5555-666677778888"},{"Name":"phone_number","Value":"+12025550100"},
		{"Name":"email","Value":"m@example.com"},{"Name":"preferred_username","Value":"mlopez"},{"Name":"given_name","Value":"Maria"}],
	"UserMFASettingList":["EMAIL_OTP","NEWER_MFA","SMS_MFA","SOFTWARE_TOKEN_MFA"],"PreferredMfaSetting":"SMS_MFA"}`

func TestAUserIsShownAsCognitoAnswers(t *testing.T) {
	groups := func(in map[string]any) string {
		if in["NextToken"] == nil {
			return `{"Groups":[{"GroupName":"itsm_manager"}],"NextToken":"2"}`
		}
		return `{"Groups":[{"GroupName":"cloud_admin"}]}`
	}
	byUsername := func(username, answer string) func(map[string]any) string {
		return func(in map[string]any) string {
			if in["Username"] == username {
				return answer
			}
			return failed("UserNotFoundException", "User does not exist.")(in)
		}
	}
	listed := always(`{"Users":[{"Username":"google_42","Attributes":[{"Name":"sub","Value":"` + string(theSub) + `"}]}]}`)
	federated := strings.NewReplacer(`"maria"`, `"google_42"`, "CONFIRMED", "EXTERNAL_PROVIDER", `["EMAIL_OTP","NEWER_MFA","SMS_MFA","SOFTWARE_TOKEN_MFA"]`, "[]", `"SMS_MFA"`, `""`).Replace(local)
	created := time.Date(2025, 11, 23, 12, 0, 0, 5e8, time.UTC)
	gone := mfa.User{Sub: theSub}
	for _, c := range []struct {
		name    string
		answers map[string]func(map[string]any) string
		want    mfa.User
		calls   int
		err     bool
	}{
		{
			"a local user in two calls, one for the second page of groups and one for TOTP, with unknown factors left out",
			map[string]func(map[string]any) string{"AdminGetUser": always(local), "AdminListGroupsForUser": groups, "AdminGetUserAuthFactors": configured(`["PASSWORD","SOFTWARE_TOKEN"]`)},
			mfa.User{
				Sub: theSub, Found: true, Username: "maria", Names: []string{"m@example.com", "mlopez", "+12025550100"}, Enabled: true, CreatedAt: created, Roles: []mfa.Role{"cloud_admin", "itsm_manager"},
				Factors: []mfa.Factor{mfa.TOTP, mfa.SMS, mfa.Email}, Preferred: mfa.SMS,
			},
			4, false,
		},
		{
			"a federated user, found by the filter",
			map[string]func(map[string]any) string{"AdminGetUser": byUsername("google_42", federated), "AdminListGroupsForUser": byUsername("google_42", `{"Groups":[]}`), "ListUsers": listed},
			mfa.User{Sub: theSub, Found: true, Username: "google_42", Names: []string{"m@example.com", "mlopez", "+12025550100"}, Enabled: true, Federated: true, CreatedAt: created},
			5, false,
		},
		{
			"another user whose username is the sub is not the user",
			map[string]func(map[string]any) string{"AdminGetUser": always(strings.ReplaceAll(local, string(theSub), "another")), "AdminListGroupsForUser": always(`{}`), "ListUsers": always(`{"Users":[]}`)},
			gone, 3, false,
		},
		{
			"deleted before the groups were listed",
			map[string]func(map[string]any) string{"AdminGetUser": always(local), "ListUsers": always(`{"Users":[]}`)},
			gone, 3, false,
		},
		{"deleted after the filter found him", map[string]func(map[string]any) string{"ListUsers": listed}, gone, 5, false},
		{"nobody has the sub", map[string]func(map[string]any) string{"ListUsers": always(`{}`)}, gone, 3, false},
		{
			"throttled is no missing user",
			map[string]func(map[string]any) string{"AdminGetUser": failed("TooManyRequestsException", "Rate exceeded")},
			gone, 2, true,
		},
		{
			"groups that cannot be listed are an error",
			map[string]func(map[string]any) string{"AdminGetUser": always(local), "AdminListGroupsForUser": failed("InternalErrorException", "")},
			gone, 2, true,
		},
		{
			"a secondary replica that does not answer is an error",
			map[string]func(map[string]any) string{"AdminGetUser": failed("OperationNotEnabledException", "")},
			gone, 2, true,
		},
		{
			"a pool that does not exist is an error",
			map[string]func(map[string]any) string{"AdminGetUser": failed("ResourceNotFoundException", "User pool does not exist.")},
			gone, 2, true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{answers: c.answers}
			got, err := cognito.New(serve(t, f), cognito.Options{}).User(t.Context(), thePool, theSub)
			if diff := cmp.Diff(c.want, got); diff != "" || (err != nil) != c.err {
				t.Errorf("%v, (-want +got):\n%s", err, diff)
			}
			// A call that runs while the other one fails may or may not be sent.
			asked := f.all()
			if len(asked) > c.calls || c.want.Found && len(asked) < c.calls-1 {
				t.Errorf("%d calls, not %d: %v", len(asked), c.calls, asked)
			}
		})
	}
}

func TestASubCannotEndTheFilter(t *testing.T) {
	f := &fake{}
	u, err := cognito.New(serve(t, f), cognito.Options{}).User(t.Context(), thePool, `x" or sub ^= "`)
	if err != nil || u.Found || f.count("ListUsers") > 0 {
		t.Errorf("%+v, %v, %v", u, err, f.all())
	}
}

func TestMembersArePaged(t *testing.T) {
	f := &fake{answers: map[string]func(map[string]any) string{"ListUsersInGroup": func(in map[string]any) string {
		switch in["NextToken"] {
		case nil:
			return `{"Users":[{"Attributes":[{"Name":"sub","Value":"a"}]},{"Attributes":[{"Name":"sub","Value":"b"}]}],"NextToken":"2"}`
		case "2":
			return `{"Users":[],"NextToken":"3"}`
		default:
			return `{"Users":[{"Attributes":[{"Name":"sub","Value":"c"}]},{"Username":"d","Attributes":[]}]}`
		}
	}}}
	var got []mfa.Sub
	var last error
	for sub, err := range cognito.New(serve(t, f), cognito.Options{}).Members(t.Context(), thePool, "cloud_admin") {
		if last = err; err == nil {
			got = append(got, sub)
		}
	}
	if !slices.Equal(got, []mfa.Sub{"a", "b", "c"}) || last == nil {
		t.Errorf("%v, %v; the user without sub must not be passed over", got, last)
	}
}

func TestMembersOfAMissingPoolAreAnError(t *testing.T) {
	for text, want := range map[string]bool{"User pool us-east-1_EXAMPLE12 does not exist.": true, "Group not found.": false} {
		f := &fake{answers: map[string]func(map[string]any) string{"ListUsersInGroup": failed("ResourceNotFoundException", text)}}
		var last error
		for _, err := range cognito.New(serve(t, f), cognito.Options{}).Members(t.Context(), thePool, "cloud_admin") {
			last = err
		}
		if (last != nil) != want {
			t.Errorf("%s: %v", text, last)
		}
	}
}

func TestAPoolIsShownAsCognitoAnswers(t *testing.T) {
	for _, c := range []struct {
		name, config, pool string
		want               mfa.Pool
	}{
		{"off, with nothing", `{"MfaConfiguration":"OFF"}`, `{"UserPool":{}}`, mfa.Pool{Mode: mfa.ModeOff}},
		{
			"on, with every factor and the newer form of the trigger",
			`{"MfaConfiguration":"ON","SoftwareTokenMfaConfiguration":{"Enabled":true},"SmsMfaConfiguration":{"SmsConfiguration":{"SnsCallerArn":"arn"}},
			  "EmailMfaConfiguration":{},"WebAuthnConfiguration":{"FactorConfiguration":"MULTI_FACTOR_WITH_USER_VERIFICATION"}}`,
			`{"UserPool":{"LambdaConfig":{"PreTokenGenerationConfig":{"LambdaArn":"arn","LambdaVersion":"V2_0"}}}}`,
			mfa.Pool{Mode: mfa.ModeOn, Factors: []mfa.Factor{mfa.TOTP, mfa.SMS, mfa.Email, mfa.WebAuthn}, PreToken: true},
		},
		{
			"optional, a passkey as the only factor and TOTP off, another trigger",
			`{"MfaConfiguration":"OPTIONAL","SoftwareTokenMfaConfiguration":{"Enabled":false},"WebAuthnConfiguration":{"FactorConfiguration":"SINGLE_FACTOR"}}`,
			`{"UserPool":{"LambdaConfig":{"PostAuthentication":"arn"}}}`,
			mfa.Pool{Mode: mfa.ModeOptional},
		},
	} {
		f := &fake{answers: map[string]func(map[string]any) string{"GetUserPoolMfaConfig": always(c.config), "DescribeUserPool": always(c.pool), "ListGroups": always(`{}`)}}
		got, err := cognito.New(serve(t, f), cognito.Options{}).Pool(t.Context(), thePool, nil, time.Time{})
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", c.name, err, diff)
		}
	}
}

func TestAPoolIsLookedAtOnceForAWhile(t *testing.T) {
	f := &fake{answers: map[string]func(map[string]any) string{
		"GetUserPoolMfaConfig": always(`{"MfaConfiguration":"OPTIONAL"}`), "DescribeUserPool": always(`{"UserPool":{}}`), "ListGroups": always(`{"Groups":[{"GroupName":"cloud_admin"},{"GroupName":"viewer"}]}`),
	}}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	users := cognito.New(serve(t, f), cognito.Options{Now: func() time.Time { return now }})
	look := func() {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				p, err := users.Pool(t.Context(), thePool, []mfa.Role{"cloud_admin"}, time.Time{})
				if err != nil || !slices.Equal(p.Groups, []mfa.Role{"cloud_admin"}) {
					t.Errorf("%+v, %v", p, err)
					return
				}
				p.Groups[0] = "changed by whoever asked"
			})
		}
		all.Wait()
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {29 * time.Second, 1}, {time.Second, 2}, {time.Second, 2}} {
		now = now.Add(c.after)
		if look(); f.count("GetUserPoolMfaConfig") != c.want || f.count("ListGroups") != c.want {
			t.Errorf("at %s: %v", now, f.all())
		}
	}
	if p, err := users.Pool(t.Context(), thePool, nil, time.Time{}); err != nil || len(p.Groups) > 0 {
		t.Errorf("other roles are another answer: %+v, %v", p, err)
	}
}

func TestAPoolSinceAMomentIsNotOlder(t *testing.T) {
	f := &fake{answers: map[string]func(map[string]any) string{"GetUserPoolMfaConfig": always(`{"MfaConfiguration":"ON"}`), "DescribeUserPool": always(`{"UserPool":{}}`), "ListGroups": always(`{}`)}}
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	now := start
	users := cognito.New(serve(t, f), cognito.Options{Now: func() time.Time { return now }})
	for _, c := range []struct {
		at, since time.Duration // after the start
		want      int
	}{
		{0, -time.Second, 1},
		{time.Second, 0, 1},                // a look at that very moment is one since
		{2 * time.Second, time.Second, 2},  // too old, though within PoolFor
		{3 * time.Second, time.Second, 2},  // the look of second 2 will do
		{31 * time.Second, time.Second, 2}, // for 30 seconds
		{32 * time.Second, time.Second, 3}, // but not longer
		{33 * time.Second, time.Minute, 7}, // ahead of the clock: none will do
	} {
		now = start.Add(c.at)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := users.Pool(t.Context(), thePool, nil, start.Add(c.since)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := f.count("GetUserPoolMfaConfig"); n != c.want {
			t.Errorf("at %s, since %s: %d looks, not %d", c.at, c.since, n, c.want)
		}
	}
}

func TestAnErrorIsNotKept(t *testing.T) {
	f := &fake{answers: map[string]func(map[string]any) string{"DescribeUserPool": always(`{"UserPool":{}}`), "ListGroups": always(`{}`), "GetUserPoolMfaConfig": failed("InternalErrorException", "")}}
	users := cognito.New(serve(t, f), cognito.Options{Now: time.Now})
	if _, err := users.Pool(t.Context(), thePool, nil, time.Time{}); err == nil {
		t.Error("no error")
	}
	f.answers["GetUserPoolMfaConfig"] = always(`{"MfaConfiguration":"ON"}`)
	if p, err := users.Pool(t.Context(), thePool, nil, time.Time{}); err != nil || p.Mode != mfa.ModeOn {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestOnlyTheFactorsToChangeAreSent(t *testing.T) {
	for _, c := range []struct {
		factors   []mfa.Factor
		preferred mfa.Factor
		want      string
	}{
		{[]mfa.Factor{mfa.TOTP}, mfa.TOTP, `"SoftwareTokenMfaSettings":{"Enabled":true,"PreferredMfa":true}`},
		{[]mfa.Factor{mfa.TOTP}, mfa.SMS, `"SoftwareTokenMfaSettings":{"Enabled":true}`},
		{[]mfa.Factor{mfa.SMS, mfa.Email}, mfa.Email, `"EmailMfaSettings":{"Enabled":true,"PreferredMfa":true},"SMSMfaSettings":{"Enabled":true}`},
		{[]mfa.Factor{mfa.WebAuthn}, mfa.WebAuthn, `"WebAuthnMfaSettings":{"Enabled":true}`},
	} {
		f := &fake{answers: map[string]func(map[string]any) string{"AdminSetUserMFAPreference": always(`{}`)}}
		if err := cognito.NewWriter(serve(t, f), nil).Enable(t.Context(), thePool, theSub, c.factors, c.preferred); err != nil {
			t.Fatal(err)
		}
		var got, want map[string]any
		_, sent, _ := strings.Cut(f.all()[0], " ")
		if err := errors.Join(json.Unmarshal([]byte(sent), &got), json.Unmarshal([]byte(`{"UserPoolId":"`+string(thePool)+`","Username":"`+string(theSub)+`",`+c.want+`}`), &want)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || len(f.all()) != 1 {
			t.Errorf("%v: %v (-want +sent):\n%s", c.factors, f.all(), diff)
		}
	}
}

func TestRefusalsAreToldFromErrors(t *testing.T) {
	for _, c := range []struct {
		code, text string
		refused    bool
	}{
		{"InvalidParameterException", "User has not verified software token mfa", true},
		{"InvalidParameterException", "User has not set up software token mfa", true},
		{"InvalidParameterException", "User does not have delivery config set to turn on SOFTWARE_TOKEN_MFA", true},
		{"InvalidParameterException", "User does not have a phone_number set to turn on SMS MFA", true},
		{"UserNotFoundException", "User does not exist.", true},
		{"UserNotConfirmedException", "User is not confirmed.", true},
		{"PasswordResetRequiredException", "Password reset required for the user", true},
		{"OperationNotEnabledException", "", true},
		{"InvalidParameterException", "1 validation error detected: Value at 'userPoolId' failed", false},
		{"InvalidParameterException", "", false},
		{"TooManyRequestsException", "Rate exceeded", false},
		{"LimitExceededException", "", false},
		{"InternalErrorException", "", false},
		{"ResourceNotFoundException", "User pool us-east-1_EXAMPLE12 does not exist.", false},
		{"NotAuthorizedException", "", false},
		{"AccessDeniedException", "User has not verified software token mfa", false},
	} {
		f := &fake{answers: map[string]func(map[string]any) string{"AdminSetUserMFAPreference": failed(c.code, c.text), "ListUsers": always(`{}`)}}
		err := cognito.NewWriter(serve(t, f), nil).Enable(t.Context(), thePool, theSub, []mfa.Factor{mfa.TOTP}, "")
		if err == nil || errors.Is(err, worker.ErrRefused) != c.refused {
			t.Errorf("%s %q: %v", c.code, c.text, err)
		}
	}
}

func TestAUserWhoCannotBeLookedForIsNotRefused(t *testing.T) {
	f := &fake{answers: map[string]func(map[string]any) string{"ListUsers": failed("OperationNotEnabledException", "")}}
	err := cognito.NewWriter(serve(t, f), nil).Enable(t.Context(), thePool, theSub, []mfa.Factor{mfa.TOTP}, "")
	if err == nil || errors.Is(err, worker.ErrRefused) {
		t.Errorf("%v", err)
	}
}

func TestThrottlingIsTriedAgainByTheClient(t *testing.T) {
	for _, code := range []string{"TooManyRequestsException", "LimitExceededException", "InternalErrorException"} {
		calls := 0
		f := &fake{answers: map[string]func(map[string]any) string{"AdminSetUserMFAPreference": func(in map[string]any) string {
			if calls++; calls < 3 {
				return failed(code, "")(in)
			}
			return `{}`
		}}}
		client := serve(t, f, retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		}))
		if err := cognito.NewWriter(client, nil).Enable(t.Context(), thePool, theSub, []mfa.Factor{mfa.TOTP}, ""); err != nil || calls != 3 {
			t.Errorf("%s: %v after %d calls", code, err, calls)
		}
	}
}

func TestSignOutFailsOnlyForUsersWhoAreThere(t *testing.T) {
	for code, want := range map[string]bool{"UserNotFoundException": false, "TooManyRequestsException": true, "ResourceNotFoundException": true} {
		f := &fake{answers: map[string]func(map[string]any) string{"AdminUserGlobalSignOut": failed(code, ""), "ListUsers": always(`{}`)}}
		if err := cognito.NewWriter(serve(t, f), nil).SignOut(t.Context(), thePool, theSub); (err != nil) != want {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestReadsDoNotStarveAReenable(t *testing.T) {
	f := &fake{answers: map[string]func(map[string]any) string{
		"AdminGetUser": always(local), "AdminListGroupsForUser": always(`{}`), "AdminSetUserMFAPreference": always(`{}`),
	}}
	client, limits := serve(t, f), cognito.NewLimits(0.001, 10)
	users, writer := cognito.New(client, cognito.Options{ListedOnly: true, Limits: limits}), cognito.NewWriter(client, limits)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := users.User(ctx, thePool, theSub); err != nil {
		t.Fatal(err)
	}
	if _, err := users.User(ctx, thePool, theSub); err == nil || f.count("AdminGetUser") != 1 {
		t.Errorf("the second read within the share: %v, %v", err, f.all())
	}
	if err := writer.Enable(ctx, thePool, theSub, []mfa.Factor{mfa.TOTP}, ""); err != nil {
		t.Errorf("the re-enable: %v", err)
	}
}

func TestTheFirstLooksAtPoolsAreNotDrawnOutByASmallShare(t *testing.T) {
	roles := []mfa.Role{"a", "b", "c", "d", "e", "f", "g", "h"}
	f := &fake{answers: map[string]func(map[string]any) string{
		"GetUserPoolMfaConfig": always(`{"MfaConfiguration":"OPTIONAL"}`), "DescribeUserPool": always(`{}`),
		"ListGroups": func(in map[string]any) string {
			if in["NextToken"] == nil {
				return `{"Groups":[{"GroupName":"a"},{"GroupName":"b"},{"GroupName":"c"}],"NextToken":"more"}`
			}
			return `{"Groups":[{"GroupName":"d"},{"GroupName":"e"},{"GroupName":"f"},{"GroupName":"g"},{"GroupName":"h"}]}`
		},
	}}
	users := cognito.New(serve(t, f), cognito.Options{Limits: cognito.NewLimits(0.001, 10)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // less than the bucket takes for one more
	defer cancel()
	for _, id := range []mfa.PoolID{thePool, "us-east-1_EXAMPLE34"} {
		if pool, err := users.Pool(ctx, id, roles, time.Time{}); err != nil || len(pool.Groups) != len(roles) {
			t.Errorf("%+v, %v", pool, err)
		}
	}
}
