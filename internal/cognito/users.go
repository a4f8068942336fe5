// Package cognito is the worker's UserPool and UserWriter on Amazon Cognito.
//
// It shows users and pools as Cognito has them and does what it is asked. It
// refuses to know which factors are enough, which roles matter and when
// something is due.
package cognito

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	cognito "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// Reader is what Users needs of Cognito's client.
type Reader interface {
	AdminGetUser(context.Context, *cognito.AdminGetUserInput, ...func(*cognito.Options)) (*cognito.AdminGetUserOutput, error)
	AdminGetUserAuthFactors(context.Context, *cognito.AdminGetUserAuthFactorsInput, ...func(*cognito.Options)) (*cognito.AdminGetUserAuthFactorsOutput, error)
	AdminListGroupsForUser(context.Context, *cognito.AdminListGroupsForUserInput, ...func(*cognito.Options)) (*cognito.AdminListGroupsForUserOutput, error)
	ListUsers(context.Context, *cognito.ListUsersInput, ...func(*cognito.Options)) (*cognito.ListUsersOutput, error)
	ListUsersInGroup(context.Context, *cognito.ListUsersInGroupInput, ...func(*cognito.Options)) (*cognito.ListUsersInGroupOutput, error)
	DescribeUserPool(context.Context, *cognito.DescribeUserPoolInput, ...func(*cognito.Options)) (*cognito.DescribeUserPoolOutput, error)
	GetUserPoolMfaConfig(context.Context, *cognito.GetUserPoolMfaConfigInput, ...func(*cognito.Options)) (*cognito.GetUserPoolMfaConfigOutput, error)
	ListGroups(context.Context, *cognito.ListGroupsInput, ...func(*cognito.Options)) (*cognito.ListGroupsOutput, error)
}

// Options of Users. The zero value is that of every default.
type Options struct {
	// PoolFor is how long a pool is shown as it was when it was looked at. It
	// defaults to 30 s; below zero a pool is looked at every time.
	PoolFor time.Duration
	// ListedOnly takes a TOTP that is listed as switched on at its word. Otherwise
	// AdminGetUserAuthFactors is asked about every user who has one, and a TOTP
	// without a registered secret is not shown. A pool for which the service does
	// not answer that (an older one, a secondary replica, a role without the
	// permission) is not asked about again for an hour; meanwhile, too, a listed
	// TOTP is taken at its word.
	ListedOnly bool
	// Now is the clock by which PoolFor and that hour are measured; without one,
	// everything is asked every time.
	Now func() time.Time
	// Limits defaults to none.
	Limits *Limits
}

// Users implements worker.UserPool. Its methods may be called concurrently.
type Users struct {
	client     Reader
	limits     *Limits
	poolFor    time.Duration
	listedOnly bool
	now        func() time.Time

	mu         sync.Mutex
	pools      map[mfa.PoolID]*shown
	unanswered map[mfa.PoolID]time.Time // when AdminGetUserAuthFactors was not answered
}

// New makes Users of a client of the pools' Region.
func New(client Reader, o Options) *Users {
	if o.PoolFor == 0 {
		o.PoolFor = 30 * time.Second
	}
	return &Users{
		client: client, limits: o.Limits, poolFor: o.PoolFor, listedOnly: o.ListedOnly, now: o.Now,
		pools: map[mfa.PoolID]*shown{}, unanswered: map[mfa.PoolID]time.Time{},
	}
}

// User implements worker.UserPool: one round trip for a user whom Cognito finds
// by the sub, two more for another one, and one more for one with TOTP.
func (u *Users) User(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) (mfa.User, error) {
	user, err := u.named(ctx, pool, sub, string(sub))
	if err != nil || user.Found {
		return user, err
	}
	// Cognito takes the sub for the username of its own users only.
	username, err := find(ctx, u.client, u.limits, pool, sub)
	if err != nil || username == "" {
		return mfa.User{Sub: sub}, err
	}
	return u.named(ctx, pool, sub, username)
}

// named returns the user of that username if it has the sub: a username may be
// anything, also another user's sub. One who is deleted between the calls is not
// Found.
func (u *Users) named(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, username string) (mfa.User, error) {
	var (
		user               *cognito.AdminGetUserOutput
		roles              []mfa.Role
		userErr, rolesErr  error
		poolID             = string(pool)
		stopping, stopBoth = context.WithCancel(ctx)
	)
	defer stopBoth()
	panicked := worker.Together(func() error {
		user, userErr = call(stopping, u.limits, userRead, u.client.AdminGetUser, &cognito.AdminGetUserInput{UserPoolId: &poolID, Username: &username})
		if userErr != nil {
			stopBoth()
		}
		return nil
	}, func() error {
		roles, rolesErr = u.roles(stopping, poolID, username)
		return nil
	})
	switch {
	case panicked != nil:
		return mfa.User{Sub: sub}, panicked
	case noUser(userErr), userErr == nil && noUser(rolesErr):
		return mfa.User{Sub: sub}, nil
	case userErr != nil:
		return mfa.User{Sub: sub}, fmt.Errorf("get user: %w", userErr)
	case attribute(user.UserAttributes, "sub") != string(sub):
		return mfa.User{Sub: sub}, nil
	case rolesErr != nil:
		return mfa.User{Sub: sub}, fmt.Errorf("list the user's groups: %w", rolesErr)
	}
	shown := mfa.User{
		Sub: sub, Found: true, Username: value(user.Username), Enabled: user.Enabled,
		Federated: user.UserStatus == types.UserStatusTypeExternalProvider,
		CreatedAt: value(user.UserCreateDate).UTC(), Roles: roles, Names: names(user.UserAttributes),
		Factors: factors(user.UserMFASettingList), Preferred: settings[value(user.PreferredMfaSetting)],
	}
	if slices.Contains(shown.Factors, mfa.TOTP) {
		return u.withoutEmptyTOTP(ctx, pool, username, shown)
	}
	return shown, nil
}

// roles are the user's groups in the order of their names; Cognito's has no
// meaning.
func (u *Users) roles(ctx context.Context, pool, username string) ([]mfa.Role, error) {
	var roles []mfa.Role
	for in := (&cognito.AdminListGroupsForUserInput{UserPoolId: &pool, Username: &username}); ; {
		out, err := call(ctx, u.limits, userResourceRead, u.client.AdminListGroupsForUser, in)
		if err != nil {
			return nil, err
		}
		for _, g := range out.Groups {
			roles = append(roles, mfa.Role(value(g.GroupName)))
		}
		if in.NextToken = out.NextToken; value(in.NextToken) == "" {
			slices.Sort(roles)
			return roles, nil
		}
	}
}

// Members implements worker.UserPool, in the order of Cognito's pages.
func (u *Users) Members(ctx context.Context, pool mfa.PoolID, role mfa.Role) iter.Seq2[mfa.Sub, error] {
	return func(yield func(mfa.Sub, error) bool) {
		for page, err := range u.ListMembers(ctx, pool, role) {
			if err != nil {
				yield("", err)
				return
			}
			for _, user := range page {
				if !yield(user.Sub, nil) {
					return
				}
			}
		}
	}
}

// lister is what find needs of Cognito's client.
type lister interface {
	ListUsers(context.Context, *cognito.ListUsersInput, ...func(*cognito.Options)) (*cognito.ListUsersOutput, error)
}

// find returns the username of the user with the sub, or "" if there is none.
func find(ctx context.Context, client lister, limits *Limits, pool mfa.PoolID, sub mfa.Sub) (string, error) {
	// A quote in a sub, which none has, must not end the filter.
	if sub == "" || strings.ContainsAny(string(sub), `"\`) {
		return "", nil
	}
	poolID, filter := string(pool), fmt.Sprintf(`sub = "%s"`, sub)
	out, err := call(ctx, limits, userList, client.ListUsers, &cognito.ListUsersInput{UserPoolId: &poolID, Filter: &filter})
	if err != nil {
		return "", fmt.Errorf("list users by sub: %w", err)
	}
	for _, user := range out.Users {
		if attribute(user.Attributes, "sub") == string(sub) {
			return value(user.Username), nil
		}
	}
	return "", nil
}

// settings are Cognito's names of the factors in UserMFASettingList and
// PreferredMfaSetting. Others, also that of a passkey, are not documented.
var settings = map[string]mfa.Factor{"SOFTWARE_TOKEN_MFA": mfa.TOTP, "SMS_MFA": mfa.SMS, "EMAIL_OTP": mfa.Email}

// factors are those of the names that are known, in the order of mfa.Factors.
func factors(names []string) []mfa.Factor {
	var on []mfa.Factor
	for _, name := range names {
		on = append(on, settings[name])
	}
	return mfa.Both(mfa.Factors, on)
}

// names are the attributes by which a user may sign in beside the username.
func names(all []types.AttributeType) []string {
	var out []string
	for _, name := range []string{"email", "preferred_username", "phone_number"} {
		if v := attribute(all, name); v != "" {
			out = append(out, v)
		}
	}
	return out
}

func attribute(all []types.AttributeType, name string) string {
	for _, a := range all {
		if value(a.Name) == name {
			return value(a.Value)
		}
	}
	return ""
}

// value is what p points to; zero if nothing.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
