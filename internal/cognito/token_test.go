package cognito_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/mfa"
)

// listing is a user with what is listed as switched on, and what he has
// registered as AdminGetUserAuthFactors answers it.
func listing(listed, preferred string, registered func(map[string]any) string) *fake {
	return &fake{answers: map[string]func(map[string]any) string{
		"AdminGetUser": always(fmt.Sprintf(`{"Username":"maria","Enabled":true,"UserAttributes":[{"Name":"sub","Value":%q}],"UserMFASettingList":%s,"PreferredMfaSetting":%q}`,
			theSub, listed, preferred)),
		"AdminListGroupsForUser": always(`{}`), "AdminGetUserAuthFactors": registered, "ListUsers": always(`{}`),
	}}
}

func configured(factors string) func(map[string]any) string {
	return always(`{"Username":"maria","ConfiguredUserAuthFactors":` + factors + `}`)
}

func TestATOTPWithoutASecretIsNotShown(t *testing.T) {
	const both, totp = `["SOFTWARE_TOKEN_MFA","SMS_MFA"]`, "SOFTWARE_TOKEN_MFA"
	for _, c := range []struct {
		name              string
		listed, preferred string
		registered        func(map[string]any) string
		listedOnly        bool
		want              []mfa.Factor
		wantPreferred     mfa.Factor
		calls             int
	}{
		{"with a secret", both, totp, configured(`["PASSWORD","SOFTWARE_TOKEN"]`), false, []mfa.Factor{mfa.TOTP, mfa.SMS}, mfa.TOTP, 1},
		{"without one", both, totp, configured(`["PASSWORD","SMS_OTP"]`), false, []mfa.Factor{mfa.SMS}, "", 1},
		{"without one, another factor preferred", both, "SMS_MFA", configured(`["PASSWORD","SMS_OTP"]`), false, []mfa.Factor{mfa.SMS}, mfa.SMS, 1},
		{"without anything else either", `["SOFTWARE_TOKEN_MFA"]`, totp, configured(`["PASSWORD"]`), false, nil, "", 1},
		{"an empty list says nothing", both, totp, configured(`[]`), false, []mfa.Factor{mfa.TOTP, mfa.SMS}, mfa.TOTP, 1},
		{"an answer without the list says nothing", both, totp, always(`{"Username":"maria"}`), false, []mfa.Factor{mfa.TOTP, mfa.SMS}, mfa.TOTP, 1},
		{"without TOTP nothing is asked", `["SMS_MFA"]`, "SMS_MFA", configured(`[]`), false, []mfa.Factor{mfa.SMS}, mfa.SMS, 0},
		{"switched off", both, totp, configured(`["PASSWORD"]`), true, []mfa.Factor{mfa.TOTP, mfa.SMS}, mfa.TOTP, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := listing(c.listed, c.preferred, c.registered)
			u, err := cognito.New(serve(t, f), cognito.Options{ListedOnly: c.listedOnly}).User(t.Context(), thePool, theSub)
			if err != nil || !u.Found || !slices.Equal(u.Factors, c.want) || u.Preferred != c.wantPreferred {
				t.Errorf("%+v, %v", u, err)
			}
			if n := f.count("AdminGetUserAuthFactors"); n != c.calls {
				t.Errorf("asked %d times, not %d", n, c.calls)
			}
		})
	}
}

func TestTheSecretIsAskedForByTheNameThatFoundTheUser(t *testing.T) {
	f := listing(`["SOFTWARE_TOKEN_MFA"]`, "", configured(`["SOFTWARE_TOKEN"]`))
	local := f.answers["AdminGetUser"]
	f.answers["AdminGetUser"] = func(in map[string]any) string {
		if in["Username"] == "google_42" {
			return local(in)
		}
		return failed("UserNotFoundException", "User does not exist.")(in)
	}
	f.answers["ListUsers"] = always(`{"Users":[{"Username":"google_42","Attributes":[{"Name":"sub","Value":"` + string(theSub) + `"}]}]}`)
	u, err := cognito.New(serve(t, f), cognito.Options{}).User(t.Context(), thePool, theSub)
	asked := slices.DeleteFunc(f.all(), func(a string) bool { return !strings.HasPrefix(a, "AdminGetUserAuthFactors ") })
	if err != nil || !u.Found || len(asked) != 1 || !strings.Contains(asked[0], `"google_42"`) {
		t.Errorf("%+v, %v, %v", u, err, asked)
	}
}

func TestAUserDeletedBeforeHisSecretWasAskedForIsNotFound(t *testing.T) {
	f := listing(`["SOFTWARE_TOKEN_MFA"]`, "", failed("UserNotFoundException", "User does not exist."))
	u, err := cognito.New(serve(t, f), cognito.Options{}).User(t.Context(), thePool, theSub)
	if err != nil || u.Found || len(u.Factors) > 0 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestWhereSecretsAreNotAnsweredForTheListingStandsForAnHour(t *testing.T) {
	const otherPool mfa.PoolID = "us-east-1_EXAMPLE34"
	for name, answer := range map[string]func(map[string]any) string{
		"an older service":             failed("UnknownOperationException", ""),
		"an operation without support": failed("UnsupportedOperationException", ""),
		"a secondary replica":          failed("OperationNotEnabledException", ""),
		"a role without permission":    failed("AccessDeniedException", "is not authorized to perform: cognito-idp:AdminGetUserAuthFactors"),
	} {
		t.Run(name, func(t *testing.T) {
			f := listing(`["SOFTWARE_TOKEN_MFA"]`, "", answer)
			now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
			users := cognito.New(serve(t, f), cognito.Options{Now: func() time.Time { return now }})
			for _, c := range []struct {
				pool  mfa.PoolID
				after time.Duration
				want  int
			}{{thePool, 0, 1}, {thePool, 59 * time.Minute, 1}, {otherPool, 0, 2}, {thePool, time.Minute, 3}, {thePool, 0, 3}} {
				now = now.Add(c.after)
				u, err := users.User(t.Context(), c.pool, theSub)
				if err != nil || !slices.Equal(u.Factors, []mfa.Factor{mfa.TOTP}) {
					t.Errorf("%s at %s: %+v, %v", c.pool, now, u, err)
				}
				if n := f.count("AdminGetUserAuthFactors"); n != c.want {
					t.Errorf("%s at %s: asked %d times, not %d", c.pool, now, n, c.want)
				}
			}
		})
	}
}

func TestASecretThatCannotBeAskedForNowIsAnError(t *testing.T) {
	for _, code := range []string{"TooManyRequestsException", "InternalErrorException", "ResourceNotFoundException", "InvalidParameterException", "NotAuthorizedException"} {
		f := listing(`["SOFTWARE_TOKEN_MFA"]`, "", failed(code, ""))
		users := cognito.New(serve(t, f), cognito.Options{Now: time.Now})
		if u, err := users.User(t.Context(), thePool, theSub); err == nil || u.Found {
			t.Errorf("%s: %+v, %v", code, u, err)
		}
		f.answers["AdminGetUserAuthFactors"] = configured(`["PASSWORD"]`)
		if u, err := users.User(t.Context(), thePool, theSub); err != nil || !u.Found || len(u.Factors) > 0 {
			t.Errorf("after %s: %+v, %v", code, u, err)
		}
	}
	f := listing(`["SOFTWARE_TOKEN_MFA"]`, "", nil)
	ctx, cancel := context.WithCancel(t.Context())
	f.answers["AdminGetUserAuthFactors"] = func(in map[string]any) string {
		cancel()
		return configured(`[]`)(in)
	}
	users := cognito.New(serve(t, f), cognito.Options{Now: time.Now})
	if u, err := users.User(ctx, thePool, theSub); err == nil || u.Found {
		t.Errorf("the caller has gone: %+v, %v", u, err)
	}
}
