package cognito_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/mfa"
)

func names(pages iter.Seq2[[]cognito.Listed, error]) (out []string, err error) {
	for page, failed := range pages {
		err = errors.Join(err, failed)
		for _, l := range page {
			out = append(out, l.Username)
		}
	}
	return out, err
}

func TestAPoolIsListedPageByPageAndOnlyWithSubs(t *testing.T) {
	f := &fake{answers: map[string]func(map[string]any) string{"ListUsers": func(in map[string]any) string {
		if in["PaginationToken"] == nil {
			return `{"Users":[{"Username":"maria","Enabled":true,"UserStatus":"CONFIRMED","UserCreateDate":1763899200.5,"Attributes":[{"Name":"sub","Value":"s-1"}]}],"PaginationToken":"2"}`
		}
		return `{"Users":[{"Username":"google_42","UserStatus":"EXTERNAL_PROVIDER","Attributes":[{"Name":"sub","Value":"s-2"}]}]}`
	}}}
	var got []cognito.Listed
	for page, err := range cognito.New(serve(t, f), cognito.Options{}).List(t.Context(), thePool) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
	}
	want := []cognito.Listed{
		{Sub: "s-1", Username: "maria", CreatedAt: time.Date(2025, 11, 23, 12, 0, 0, 5e8, time.UTC), Enabled: true},
		{Sub: "s-2", Username: "google_42", CreatedAt: time.Time{}, Federated: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, asked := range f.all() {
		if !strings.Contains(asked, `"AttributesToGet":["sub"]`) || !strings.Contains(asked, `"Limit":60`) {
			t.Errorf("asked %s", asked)
		}
	}
}

func TestMembersAreListedAndAMissingGroupHasNone(t *testing.T) {
	f := &fake{answers: map[string]func(map[string]any) string{
		"ListUsersInGroup": func(in map[string]any) string {
			switch {
			case in["GroupName"] != "cloud_admin":
				return failed("ResourceNotFoundException", "Group not found.")(in)
			case in["NextToken"] == nil:
				return `{"Users":[{"Username":"maria","Attributes":[{"Name":"sub","Value":"s-1"}]}],"NextToken":"2"}`
			default:
				return `{"Users":[{"Username":"ben","Attributes":[{"Name":"sub","Value":"s-2"}]}]}`
			}
		},
		"ListGroups": always(`{"Groups":[{"GroupName":"viewer"},{"GroupName":"cloud_admin"}]}`),
	}}
	users := cognito.New(serve(t, f), cognito.Options{})
	if got, err := names(users.ListMembers(t.Context(), thePool, "cloud_admin")); err != nil || !slices.Equal(got, []string{"maria", "ben"}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := names(users.ListMembers(t.Context(), thePool, "gone")); err != nil || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := users.ListRoles(t.Context(), thePool); err != nil || !slices.Equal(got, []mfa.Role{"cloud_admin", "viewer"}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAListThatFailsSaysSoBehindWhatWasListed(t *testing.T) {
	f := &fake{answers: map[string]func(map[string]any) string{"ListUsers": func(in map[string]any) string {
		if in["PaginationToken"] == nil {
			return `{"Users":[{"Username":"maria","Attributes":[{"Name":"sub","Value":"s-1"}]}],"PaginationToken":"2"}`
		}
		return failed("TooManyRequestsException", "Rate exceeded")(in)
	}}}
	users := cognito.New(serve(t, f), cognito.Options{})
	if got, err := names(users.List(t.Context(), thePool)); err == nil || !strings.HasPrefix(err.Error(), "list users: ") || !slices.Equal(got, []string{"maria"}) {
		t.Errorf("%v, %v", got, err)
	}
	f.answers["ListGroups"] = failed("TooManyRequestsException", "Rate exceeded")
	if _, err := users.ListRoles(t.Context(), thePool); err == nil {
		t.Error("the groups: no error")
	}
}

func TestALookShowsWhatIsOnAndWhatIsRegistered(t *testing.T) {
	const totp = `["SOFTWARE_TOKEN_MFA"]`
	user := func(on, preferred, attributes string) func(map[string]any) string {
		return always(fmt.Sprintf(`{"Username":"maria","UserMFASettingList":%s,"PreferredMfaSetting":%q,"UserAttributes":[{"Name":"sub","Value":%q}%s]}`, on, preferred, theSub, attributes))
	}
	verified := `,{"Name":"phone_number_verified","Value":"true"},{"Name":"email_verified","Value":"true"}`
	noUser := failed("UserNotFoundException", "User does not exist.")
	for _, c := range []struct {
		name             string
		user, configured func(map[string]any) string
		want             cognito.Factors
		found, err       bool
	}{
		{"nothing", user(`[]`, "", ""), configured(`["PASSWORD"]`), cognito.Factors{}, true, false},
		{"on", user(totp, "SOFTWARE_TOKEN_MFA", ""), configured(`["SOFTWARE_TOKEN"]`), cognito.Factors{On: []mfa.Factor{mfa.TOTP}, Preferred: mfa.TOTP, Registered: []mfa.Factor{mfa.TOTP}}, true, false},
		{"off, with a secret and a passkey", user(`[]`, "", ""), configured(`["WEB_AUTHN","SOFTWARE_TOKEN"]`), cognito.Factors{Registered: []mfa.Factor{mfa.TOTP, mfa.WebAuthn}}, true, false},
		{"listed without a secret", user(totp, "SOFTWARE_TOKEN_MFA", verified), configured(`["PASSWORD"]`), cognito.Factors{Registered: []mfa.Factor{mfa.SMS, mfa.Email}}, true, false},
		{"not answered", user(totp, "", verified), failed("AccessDeniedException", ""), cognito.Factors{On: []mfa.Factor{mfa.TOTP}, Registered: []mfa.Factor{mfa.TOTP, mfa.SMS, mfa.Email}}, true, false},
		{"gone", noUser, nil, cognito.Factors{}, false, false},
		{"gone between the calls", user(totp, "", ""), noUser, cognito.Factors{}, false, false},
		{"another user by now", always(`{"Username":"maria","UserAttributes":[{"Name":"sub","Value":"s-9"}]}`), nil, cognito.Factors{}, false, false},
		{"throttled", failed("TooManyRequestsException", ""), nil, cognito.Factors{}, false, true},
		{"throttled at the second call", user(totp, "", ""), failed("TooManyRequestsException", ""), cognito.Factors{}, false, true},
	} {
		f := &fake{answers: map[string]func(map[string]any) string{"AdminGetUser": c.user, "AdminGetUserAuthFactors": c.configured}}
		got, found, err := cognito.New(serve(t, f), cognito.Options{}).Factors(t.Context(), thePool, cognito.Listed{Sub: theSub, Username: "maria"})
		if diff := cmp.Diff(c.want, got); diff != "" || found != c.found || (err != nil) != c.err {
			t.Errorf("%s: found is %v, error %v (-want +got):\n%s", c.name, found, err, diff)
		}
	}
	f := &fake{}
	if got, found, err := cognito.New(serve(t, f), cognito.Options{}).Factors(t.Context(), thePool, cognito.Listed{Sub: theSub, Federated: true}); err != nil || !found || len(got.Registered) > 0 || len(f.all()) > 0 {
		t.Errorf("a federated user: %+v, %v, %v after %v", got, found, err, f.all())
	}
}
