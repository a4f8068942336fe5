package cognito_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/workertest"
)

func TestUsersAndWriterOverTheWire(t *testing.T) {
	config := mototest.Start(t)
	for name, usernames := range map[string][]types.UsernameAttributeType{
		"usernames":          nil, // moto does not find these by their sub, as Cognito does not find federated users
		"e-mail as username": {types.UsernameAttributeTypeEmail},
	} {
		t.Run(name, func(t *testing.T) {
			workertest.UserPool(t, func(t *testing.T, w workertest.World) workertest.Account {
				return arrange(t, config, usernames, w).account()
			})
		})
	}
}

func TestSignOutOverTheWireEndsTheSession(t *testing.T) {
	config := mototest.Start(t)
	// Only with usernames: moto keeps an e-mail pool's sessions under the address and does not find them by the sub.
	h := arrange(t, config, nil, workertest.World{Pools: []mfa.PoolID{workertest.Pool}, Users: []workertest.Resident{
		{User: mfa.User{Sub: "ben", Username: "ben"}, Pool: workertest.Pool},
	}})
	token := h.signIn("ben", h.pools[workertest.Pool])
	if _, err := h.admin.GetUser(t.Context(), &sdk.GetUserInput{AccessToken: token}); err != nil {
		t.Fatal(err)
	}
	if err := h.writer.SignOut(t.Context(), h.pools[workertest.Pool].id, h.subs["ben"]); err != nil {
		t.Fatal(err)
	}
	if _, err := h.admin.GetUser(t.Context(), &sdk.GetUserInput{AccessToken: token}); err == nil {
		t.Error("the session goes on")
	}
}

func TestWhatAnAdministratorDoesOverTheWireShows(t *testing.T) {
	config := mototest.Start(t)
	h := arrange(t, config, nil, workertest.World{
		Pools: []mfa.PoolID{workertest.Pool}, Groups: []mfa.Role{"cloud_admin"},
		Users: []workertest.Resident{{User: mfa.User{Sub: "ben", Username: "ben", Factors: []mfa.Factor{mfa.TOTP}}, Pool: workertest.Pool, Registered: []mfa.Factor{mfa.TOTP}}},
	})
	pool := string(h.pools[workertest.Pool].id)
	for _, step := range []struct {
		name string
		do   func() error
		want mfa.User
	}{
		{"as arranged", func() error { return nil }, mfa.User{Found: true, Enabled: true, Factors: []mfa.Factor{mfa.TOTP}}},
		{"TOTP off", func() error {
			return switchOff(t, config, pool, "ben")
		}, mfa.User{Found: true, Enabled: true}},
		{"disabled", func() error {
			_, err := h.admin.AdminDisableUser(t.Context(), &sdk.AdminDisableUserInput{UserPoolId: &pool, Username: new("ben")})
			return err
		}, mfa.User{Found: true}},
		{"TOTP on, by Relatch", func() error {
			return h.writer.Enable(t.Context(), mfa.PoolID(pool), h.subs["ben"], []mfa.Factor{mfa.TOTP}, mfa.TOTP)
		}, mfa.User{Found: true, Factors: []mfa.Factor{mfa.TOTP}}},
		{"deleted", func() error {
			_, err := h.admin.AdminDeleteUser(t.Context(), &sdk.AdminDeleteUserInput{UserPoolId: &pool, Username: new("ben")})
			if mototest.Gone(err) {
				return nil
			}
			return err
		}, mfa.User{}},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		got, err := h.users.User(t.Context(), mfa.PoolID(pool), h.subs["ben"])
		if err != nil || got.Found != step.want.Found || got.Enabled != step.want.Enabled || len(got.Factors) != len(step.want.Factors) {
			t.Errorf("%s: %+v, %v", step.name, got, err)
		}
	}
}

func TestAChangedPoolOverTheWireShowsSinceTheChange(t *testing.T) {
	config := mototest.Start(t)
	h := arrange(t, config, nil, workertest.World{Pools: []mfa.PoolID{workertest.Pool}, Groups: []mfa.Role{"cloud_admin"}})
	id, roles := h.pools[workertest.Pool].id, []mfa.Role{"cloud_admin"}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	users := cognito.New(h.admin, cognito.Options{Now: func() time.Time { return now }})
	before := must[mfa.Pool](t, "look")(users.Pool(t.Context(), id, roles, time.Time{}))
	must[*sdk.SetUserPoolMfaConfigOutput](t, "switch off")(h.admin.SetUserPoolMfaConfig(t.Context(), &sdk.SetUserPoolMfaConfigInput{
		UserPoolId: new(string(id)), MfaConfiguration: types.UserPoolMfaTypeOff,
	}))
	must[*sdk.DeleteGroupOutput](t, "delete group")(h.admin.DeleteGroup(t.Context(), &sdk.DeleteGroupInput{UserPoolId: new(string(id)), GroupName: new("cloud_admin")}))
	now = now.Add(time.Second)
	if diff := cmp.Diff(before, must[mfa.Pool](t, "look")(users.Pool(t.Context(), id, roles, time.Time{}))); diff != "" || before.Mode != mfa.ModeOptional {
		t.Errorf("the pool as it was: %+v\n%s", before, diff)
	}
	after := must[mfa.Pool](t, "look")(users.Pool(t.Context(), id, roles, now))
	if after.Mode != mfa.ModeOff || len(after.Groups) > 0 {
		t.Errorf("since the change: %+v", after)
	}
	if diff := cmp.Diff(after, must[mfa.Pool](t, "look")(users.Pool(t.Context(), id, roles, time.Time{}))); diff != "" {
		t.Errorf("then (-since +then):\n%s", diff)
	}
}

// switchOff switches TOTP off in words of its own: the SDK leaves "Enabled" out
// when it is false, and moto, unlike Cognito, then changes nothing.
func switchOff(t *testing.T, config aws.Config, pool, username string) error {
	body := fmt.Sprintf(`{"UserPoolId":%q,"Username":%q,"SoftwareTokenMfaSettings":{"Enabled":false,"PreferredMfa":false}}`, pool, username)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, *config.BaseEndpoint, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AWSCognitoIdentityProviderService.AdminSetUserMFAPreference")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/cognito-idp/aws4_request, SignedHeaders=host, Signature=0")
	out, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer out.Body.Close()
	if out.StatusCode != http.StatusOK {
		return fmt.Errorf("switch off: %s", out.Status)
	}
	return nil
}

// house is a world on moto. The suites choose the ids of pools and the subs of
// users; Cognito chooses its own, so house knows which are which.
type house struct {
	t      *testing.T
	admin  *sdk.Client
	users  *cognito.Users
	writer *cognito.Writer
	pools  map[mfa.PoolID]pool
	subs   map[mfa.Sub]mfa.Sub
	people map[mfa.Sub]workertest.Resident // by Cognito's sub
	began  time.Time
}

type pool struct {
	id       mfa.PoolID
	clientID *string
	email    bool
}

const password = "Correct-Horse-1"

func arrange(t *testing.T, config aws.Config, usernames []types.UsernameAttributeType, w workertest.World) *house {
	t.Helper()
	admin := sdk.NewFromConfig(config)
	client := sdk.NewFromConfig(config, func(o *sdk.Options) { o.HTTPClient = &http.Client{Transport: phones{t: t, admin: admin}} })
	h := &house{
		t: t, admin: admin, users: cognito.New(client, cognito.Options{ListedOnly: true, Now: time.Now, Limits: cognito.NewLimits(1, 1)}), writer: cognito.NewWriter(client, cognito.NewLimits(1, 1)),
		pools: map[mfa.PoolID]pool{}, subs: map[mfa.Sub]mfa.Sub{}, people: map[mfa.Sub]workertest.Resident{}, began: time.Now(),
	}
	for _, id := range w.Pools {
		h.pools[id] = h.pool(string(id), usernames, w.Groups)
	}
	for _, r := range w.Users {
		h.resident(r)
	}
	return h
}

// account answers to the names of the suite.
func (h *house) account() workertest.Account { return workertest.Account{UserPool: h, UserWriter: h} }

func must[T any](t *testing.T, what string) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil && !mototest.Lost(err) {
			t.Fatalf("%s: %v", what, err)
		}
		return v
	}
}

func (h *house) pool(name string, usernames []types.UsernameAttributeType, groups []mfa.Role) pool {
	ctx, t := h.t.Context(), h.t
	lambda := "arn:aws:lambda:us-east-1:" + mototest.Account + ":function:pretoken"
	made := must[*sdk.CreateUserPoolOutput](t, "create pool")(h.admin.CreateUserPool(ctx, &sdk.CreateUserPoolInput{
		PoolName: &name, UsernameAttributes: usernames, LambdaConfig: &types.LambdaConfigType{PreTokenGeneration: &lambda},
	}))
	id := made.UserPool.Id
	must[*sdk.SetUserPoolMfaConfigOutput](t, "set the pool's MFA")(h.admin.SetUserPoolMfaConfig(ctx, &sdk.SetUserPoolMfaConfigInput{
		UserPoolId: id, MfaConfiguration: types.UserPoolMfaTypeOptional,
		SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: true},
		SmsMfaConfiguration:           &types.SmsMfaConfigType{SmsConfiguration: &types.SmsConfigurationType{SnsCallerArn: new("arn:aws:iam::" + mototest.Account + ":role/sms")}},
	}))
	client := must[*sdk.CreateUserPoolClientOutput](t, "create client")(h.admin.CreateUserPoolClient(ctx, &sdk.CreateUserPoolClientInput{
		UserPoolId: id, ClientName: new("test"), ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth},
	}))
	for _, role := range groups {
		must[*sdk.CreateGroupOutput](t, "create group")(h.admin.CreateGroup(ctx, &sdk.CreateGroupInput{UserPoolId: id, GroupName: new(string(role))}))
	}
	return pool{id: mfa.PoolID(*id), clientID: client.UserPoolClient.ClientId, email: len(usernames) > 0}
}

// resident makes a user with what he has registered, and switches on what is on.
func (h *house) resident(r workertest.Resident) {
	ctx, t, p := h.t.Context(), h.t, h.pools[r.Pool]
	id, name := new(string(p.id)), new(r.Username)
	attributes := []types.AttributeType{{Name: new("email"), Value: new(string(r.Sub) + "@example.com")}}
	registered := map[mfa.Factor]bool{}
	for _, f := range r.Registered {
		registered[f] = true
	}
	if registered[mfa.SMS] {
		attributes = append(attributes, types.AttributeType{Name: new("phone_number"), Value: new("+12025550100")}, types.AttributeType{Name: new("phone_number_verified"), Value: new("true")})
	}
	must[*sdk.AdminCreateUserOutput](t, "create user")(h.admin.AdminCreateUser(ctx, &sdk.AdminCreateUserInput{UserPoolId: id, Username: name, UserAttributes: attributes, MessageAction: types.MessageActionTypeSuppress}))
	must[*sdk.AdminSetUserPasswordOutput](t, "set password")(h.admin.AdminSetUserPassword(ctx, &sdk.AdminSetUserPasswordInput{UserPoolId: id, Username: name, Password: new(password), Permanent: true}))
	if registered[mfa.TOTP] {
		token := h.signIn(*name, p)
		must[*sdk.AssociateSoftwareTokenOutput](t, "associate token")(h.admin.AssociateSoftwareToken(ctx, &sdk.AssociateSoftwareTokenInput{AccessToken: token}))
		must[*sdk.VerifySoftwareTokenOutput](t, "verify token")(h.admin.VerifySoftwareToken(ctx, &sdk.VerifySoftwareTokenInput{AccessToken: token, UserCode: new("123456")}))
	}
	for _, role := range r.Roles {
		must[*sdk.AdminAddUserToGroupOutput](t, "add to group")(h.admin.AdminAddUserToGroup(ctx, &sdk.AdminAddUserToGroupInput{UserPoolId: id, Username: name, GroupName: new(string(role))}))
	}
	set := &sdk.AdminSetUserMFAPreferenceInput{UserPoolId: id, Username: name}
	for _, f := range r.Factors {
		if f == mfa.TOTP {
			set.SoftwareTokenMfaSettings = &types.SoftwareTokenMfaSettingsType{Enabled: true, PreferredMfa: r.Preferred == f}
		} else {
			set.SMSMfaSettings = &types.SMSMfaSettingsType{Enabled: true, PreferredMfa: r.Preferred == f}
		}
	}
	must[*sdk.AdminSetUserMFAPreferenceOutput](t, "switch on")(h.admin.AdminSetUserMFAPreference(ctx, set))
	seen := must[*sdk.AdminGetUserOutput](t, "get user")(h.admin.AdminGetUser(ctx, &sdk.AdminGetUserInput{UserPoolId: id, Username: name}))
	for _, a := range seen.UserAttributes {
		if *a.Name == "sub" {
			h.subs[r.Sub], h.people[mfa.Sub(*a.Value)] = mfa.Sub(*a.Value), r
		}
	}
}

func (h *house) signIn(username string, p pool) *string {
	in := must[*sdk.AdminInitiateAuthOutput](h.t, "sign in")(h.admin.AdminInitiateAuth(h.t.Context(), &sdk.AdminInitiateAuthInput{
		UserPoolId: new(string(p.id)), ClientId: p.clientID, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": username, "PASSWORD": password},
	}))
	return in.AuthenticationResult.AccessToken
}

func (h *house) names(id mfa.PoolID, sub mfa.Sub) (mfa.PoolID, mfa.Sub) {
	if p, ok := h.pools[id]; ok {
		id = p.id
	}
	if s, ok := h.subs[sub]; ok {
		sub = s
	}
	return id, sub
}

func (h *house) User(ctx context.Context, id mfa.PoolID, sub mfa.Sub) (mfa.User, error) {
	ours, realSub := h.names(id, sub)
	u, err := h.users.User(ctx, ours, realSub)
	if u.Sub != realSub {
		h.t.Errorf("asked for %s, shown %s", realSub, u.Sub)
	}
	u.Sub = sub
	if !u.Found || err != nil {
		return u, err
	}
	r := h.people[realSub]
	// Cognito's own username in a pool with e-mail addresses is the sub; the suite knows users by the address.
	if h.pools[id].email && u.Username == string(realSub) {
		u.Username = r.Username
	}
	// The suite's people have no attributes, Cognito's an address.
	if !u.Called(string(realSub)) && !slices.Contains(u.Names, string(r.Sub)+"@example.com") && !h.pools[id].email {
		h.t.Errorf("%s is called %v", sub, u.Names)
	}
	u.Names = nil
	// moto does not create users in the past: see TestAUserIsShownAsCognitoAnswers.
	if u.CreatedAt.Before(h.began.Add(-time.Minute)) || u.CreatedAt.After(time.Now().Add(time.Minute)) {
		h.t.Errorf("%s was created at %s", sub, u.CreatedAt)
	}
	u.CreatedAt = r.CreatedAt
	// moto keeps a user's groups in no order, and the port promises none.
	u.Roles = mfa.Union(mfa.Both(r.Roles, u.Roles), u.Roles)
	return u, nil
}

func (h *house) Pool(ctx context.Context, id mfa.PoolID, roles []mfa.Role, since time.Time) (mfa.Pool, error) {
	id, _ = h.names(id, "")
	return h.users.Pool(ctx, id, roles, since)
}

func (h *house) Members(ctx context.Context, id mfa.PoolID, role mfa.Role) iter.Seq2[mfa.Sub, error] {
	id, _ = h.names(id, "")
	return func(yield func(mfa.Sub, error) bool) {
		for sub, err := range h.users.Members(ctx, id, role) {
			if r, ok := h.people[sub]; ok {
				sub = r.Sub
			}
			if !yield(sub, err) {
				return
			}
		}
	}
}

func (h *house) Enable(ctx context.Context, id mfa.PoolID, sub mfa.Sub, factors []mfa.Factor, preferred mfa.Factor) error {
	id, sub = h.names(id, sub)
	return h.writer.Enable(ctx, id, sub, factors, preferred)
}

func (h *house) SignOut(ctx context.Context, id mfa.PoolID, sub mfa.Sub) error {
	id, sub = h.names(id, sub)
	return h.writer.SignOut(ctx, id, sub)
}

// phones refuses SMS for users without a phone number, as Cognito does: moto
// switches it on for everybody.
type phones struct {
	t     *testing.T
	admin *sdk.Client
}

func (p phones) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".AdminSetUserMFAPreference") {
		return http.DefaultTransport.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var in struct {
		UserPoolId, Username string //nolint:revive // as Cognito spells it
		SMSMfaSettings       struct{ Enabled bool }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	if in.SMSMfaSettings.Enabled {
		user, err := p.admin.AdminGetUser(p.t.Context(), &sdk.AdminGetUserInput{UserPoolId: &in.UserPoolId, Username: &in.Username})
		if err == nil && !hasPhone(user) {
			text := `{"__type":"InvalidParameterException","message":"User does not have a phone_number set to turn on SMS MFA"}`
			return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
		}
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	return http.DefaultTransport.RoundTrip(r)
}

func hasPhone(u *sdk.AdminGetUserOutput) bool {
	for _, a := range u.UserAttributes {
		if *a.Name == "phone_number" {
			return true
		}
	}
	return false
}
