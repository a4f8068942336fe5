package cognito

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	cognito "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"github.com/stackflow/relatch/internal/mfa"
)

// Listed is a user as Cognito's lists show one: all that is known without a look
// at each.
type Listed struct {
	Sub                mfa.Sub
	Username           string
	CreatedAt          time.Time
	Enabled, Federated bool
}

// pageSize is the most users, and the most groups, that Cognito puts on a page.
const pageSize = 60

// ListRoles returns the names of all groups of the pool, in their order.
func (u *Users) ListRoles(ctx context.Context, pool mfa.PoolID) ([]mfa.Role, error) {
	all, err := u.groups(ctx, string(pool))
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	slices.Sort(all)
	return all, nil
}

// List lists every user of the pool, a page at a time and in Cognito's order. Who
// comes or goes meanwhile may be there or not, or be there twice.
func (u *Users) List(ctx context.Context, pool mfa.PoolID) iter.Seq2[[]Listed, error] {
	// Of the attributes only the sub is asked for: one that not all users have
	// would be an error (API reference, ListUsers).
	in := &cognito.ListUsersInput{UserPoolId: new(string(pool)), Limit: new(int32(pageSize)), AttributesToGet: []string{"sub"}}
	return pages("list users", func() ([]types.UserType, bool, error) {
		out, err := call(ctx, u.limits, userList, u.client.ListUsers, in)
		if err != nil {
			return nil, false, err
		}
		in.PaginationToken = out.PaginationToken
		return out.Users, value(in.PaginationToken) != "", nil
	})
}

// ListMembers lists the users of a group as List does. A group that is not there
// has none.
func (u *Users) ListMembers(ctx context.Context, pool mfa.PoolID, role mfa.Role) iter.Seq2[[]Listed, error] {
	in := &cognito.ListUsersInGroupInput{UserPoolId: new(string(pool)), GroupName: new(string(role)), Limit: new(int32(pageSize))}
	return pages(fmt.Sprintf("list the users of group %s", role), func() ([]types.UserType, bool, error) {
		out, err := call(ctx, u.limits, userList, u.client.ListUsersInGroup, in)
		switch {
		case noGroup(err):
			return nil, false, nil
		case err != nil:
			return nil, false, err
		}
		in.NextToken = out.NextToken
		return out.Users, value(in.NextToken) != "", nil
	})
}

// pages turns pages of Cognito's users into pages of Listed.
func pages(what string, next func() (page []types.UserType, more bool, err error)) iter.Seq2[[]Listed, error] {
	return func(yield func([]Listed, error) bool) {
		for more := true; more; {
			var page []types.UserType
			var err error
			page, more, err = next()
			listed := make([]Listed, 0, len(page))
			for _, user := range page {
				sub := mfa.Sub(attribute(user.Attributes, "sub"))
				if sub == "" {
					err = errors.New("a user without sub")
					break
				}
				listed = append(listed, Listed{
					Sub: sub, Username: value(user.Username), CreatedAt: value(user.UserCreateDate).UTC(),
					Enabled: user.Enabled, Federated: user.UserStatus == types.UserStatusTypeExternalProvider,
				})
			}
			if len(listed) > 0 && !yield(listed, nil) {
				return
			}
			if err != nil {
				yield(nil, fmt.Errorf("%s: %w", what, err))
				return
			}
		}
	}
}

// Factors are what a look at one user shows, and no list does.
type Factors struct {
	On        []mfa.Factor
	Preferred mfa.Factor
	// Registered can be switched on: those that are on, a verified phone number or
	// address and, where AdminGetUserAuthFactors is answered, a TOTP secret and a
	// passkey.
	Registered []mfa.Factor
}

// Factors looks at a listed user. Found is false if there is no such user any
// more. A federated user has none, and is not asked for.
func (u *Users) Factors(ctx context.Context, pool mfa.PoolID, l Listed) (f Factors, found bool, err error) {
	if l.Federated {
		return Factors{}, true, nil
	}
	user, err := call(ctx, u.limits, userRead, u.client.AdminGetUser, &cognito.AdminGetUserInput{UserPoolId: new(string(pool)), Username: &l.Username})
	switch {
	case noUser(err), err == nil && attribute(user.UserAttributes, "sub") != string(l.Sub):
		return Factors{}, false, nil
	case err != nil:
		return Factors{}, false, fmt.Errorf("get user: %w", err)
	}
	configured, err := u.configured(ctx, pool, l.Username)
	switch {
	case noUser(err):
		return Factors{}, false, nil
	case err != nil:
		return Factors{}, false, fmt.Errorf("get the user's registered factors: %w", err)
	}
	f.On, f.Preferred = factors(user.UserMFASettingList), settings[value(user.PreferredMfaSetting)]
	if !mayHaveToken(configured) {
		f.On, f.Preferred = withoutTOTP(f.On, f.Preferred)
	}
	registered := slices.Clone(f.On)
	for factor, shown := range map[mfa.Factor]bool{
		mfa.SMS:      attribute(user.UserAttributes, "phone_number_verified") == "true",
		mfa.Email:    attribute(user.UserAttributes, "email_verified") == "true",
		mfa.TOTP:     slices.Contains(configured, types.AuthFactorTypeSoftwareToken),
		mfa.WebAuthn: slices.Contains(configured, types.AuthFactorTypeWebAuthn),
	} {
		if shown {
			registered = append(registered, factor)
		}
	}
	f.Registered = mfa.Both(mfa.Factors, registered)
	return f, true, nil
}
