package cognito

import (
	"context"
	"fmt"
	"slices"
	"time"

	cognito "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"github.com/stackflow/relatch/internal/mfa"
)

// unaskedFor is how long AdminGetUserAuthFactors is not asked about a pool for
// which it was not answered.
const unaskedFor = time.Hour

// withoutEmptyTOTP returns the user, whose TOTP is listed as switched on, without
// it if he has no secret for it.
func (u *Users) withoutEmptyTOTP(ctx context.Context, pool mfa.PoolID, username string, user mfa.User) (mfa.User, error) {
	configured, err := u.configured(ctx, pool, username)
	switch {
	case noUser(err):
		return mfa.User{Sub: user.Sub}, nil
	case err != nil:
		return mfa.User{Sub: user.Sub}, fmt.Errorf("get the user's registered factors: %w", err)
	case !mayHaveToken(configured):
		user.Factors, user.Preferred = withoutTOTP(user.Factors, user.Preferred)
	}
	return user, nil
}

func withoutTOTP(on []mfa.Factor, preferred mfa.Factor) ([]mfa.Factor, mfa.Factor) {
	if preferred == mfa.TOTP {
		preferred = ""
	}
	return mfa.Without(on, []mfa.Factor{mfa.TOTP}), preferred
}

// mayHaveToken: that a list of ConfiguredUserAuthFactors without SOFTWARE_TOKEN
// means none is an inference from AWS's example, not verified (aws-facts.md
// sections 3 and 10). An empty list says nothing, since a user who can sign in at
// all has a factor there: then the listing stands.
func mayHaveToken(configured []types.AuthFactorType) bool {
	return len(configured) == 0 || slices.Contains(configured, types.AuthFactorTypeSoftwareToken)
}

// configured are the user's ConfiguredUserAuthFactors; none where the service does
// not answer that.
func (u *Users) configured(ctx context.Context, pool mfa.PoolID, username string) ([]types.AuthFactorType, error) {
	if u.listedOnly || u.unasked(pool) {
		return nil, nil
	}
	out, err := call(ctx, u.limits, userRead, u.client.AdminGetUserAuthFactors, &cognito.AdminGetUserAuthFactorsInput{UserPoolId: new(string(pool)), Username: &username})
	switch {
	case unanswered(err):
		u.leave(pool)
		return nil, nil
	case err != nil:
		return nil, err
	}
	return out.ConfiguredUserAuthFactors, nil
}

func (u *Users) unasked(pool mfa.PoolID) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, ok := u.unanswered[pool]
	return ok && u.now().Sub(at) < unaskedFor
}

// leave leaves the pool unasked from now on.
func (u *Users) leave(pool mfa.PoolID) {
	if u.now == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.unanswered[pool] = u.now()
}
