package cognito

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	cognito "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// shown is a pool as it was when it was looked at. Its turn is taken by sending
// to the channel, so that of many who wait only the first one asks Cognito.
type shown struct {
	turn chan struct{}
	pool mfa.Pool
	at   time.Time // before the first call of the look; zero: not looked at yet
}

// Pool implements worker.UserPool: the pool is as it was up to PoolFor ago, but
// not before since by the clock Now. Of many who ask at once only the first one
// asks Cognito. An error is not kept.
func (u *Users) Pool(ctx context.Context, id mfa.PoolID, roles []mfa.Role, since time.Time) (mfa.Pool, error) {
	if u.now == nil || u.poolFor < 0 {
		pool, err := u.look(ctx, id)
		pool.Groups = mfa.Both(roles, pool.Groups)
		return pool, err
	}
	s := u.seen(id)
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return mfa.Pool{}, fmt.Errorf("get pool: %w", ctx.Err())
	}
	if now := u.now(); s.at.IsZero() || s.at.Before(since) || now.Sub(s.at) >= u.poolFor {
		pool, err := u.look(ctx, id)
		if err != nil {
			return mfa.Pool{}, err
		}
		s.pool, s.at = pool, now
	}
	pool := s.pool
	pool.Factors, pool.Groups = slices.Clone(pool.Factors), mfa.Both(roles, pool.Groups)
	return pool, nil
}

func (u *Users) seen(id mfa.PoolID) *shown {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pools[id] == nil {
		u.pools[id] = &shown{turn: make(chan struct{}, 1)}
	}
	return u.pools[id]
}

// look asks for everything at once: one round trip. Groups are all of the pool's.
func (u *Users) look(ctx context.Context, id mfa.PoolID) (mfa.Pool, error) {
	var (
		poolID = string(id)
		config *cognito.GetUserPoolMfaConfigOutput
		pool   *cognito.DescribeUserPoolOutput
		groups []mfa.Role
	)
	err := worker.Together(func() (err error) {
		config, err = call(ctx, u.limits, poolConfigRead, u.client.GetUserPoolMfaConfig, &cognito.GetUserPoolMfaConfigInput{UserPoolId: &poolID})
		return err
	}, func() (err error) {
		pool, err = call(ctx, u.limits, poolRead, u.client.DescribeUserPool, &cognito.DescribeUserPoolInput{UserPoolId: &poolID})
		return err
	}, func() (err error) {
		groups, err = u.groups(ctx, poolID)
		return err
	})
	if err != nil {
		return mfa.Pool{}, fmt.Errorf("get pool: %w", err)
	}
	mode := mfa.Mode(strings.ToLower(string(config.MfaConfiguration)))
	if !slices.Contains([]mfa.Mode{mfa.ModeOff, mfa.ModeOptional, mfa.ModeOn}, mode) {
		return mfa.Pool{}, fmt.Errorf("get pool: unknown MfaConfiguration %q", config.MfaConfiguration)
	}
	return mfa.Pool{Mode: mode, Factors: poolFactors(config), PreToken: preToken(pool), Groups: groups}, nil
}

// groups are all of the pool's: one page takes no longer than asking for one
// group, and few pools have more.
func (u *Users) groups(ctx context.Context, pool string) ([]mfa.Role, error) {
	var all []mfa.Role
	for in := (&cognito.ListGroupsInput{UserPoolId: &pool, Limit: new(int32(pageSize))}); ; {
		out, err := call(ctx, u.limits, poolGroupRead, u.client.ListGroups, in)
		if err != nil {
			return nil, err
		}
		for _, g := range out.Groups {
			all = append(all, mfa.Role(value(g.GroupName)))
		}
		if in.NextToken = out.NextToken; value(in.NextToken) == "" {
			return all, nil
		}
	}
}

func poolFactors(c *cognito.GetUserPoolMfaConfigOutput) []mfa.Factor {
	var on []mfa.Factor
	if c.SoftwareTokenMfaConfiguration != nil && c.SoftwareTokenMfaConfiguration.Enabled {
		on = append(on, mfa.TOTP)
	}
	if c.SmsMfaConfiguration != nil && c.SmsMfaConfiguration.SmsConfiguration != nil {
		on = append(on, mfa.SMS)
	}
	if c.EmailMfaConfiguration != nil {
		on = append(on, mfa.Email)
	}
	// A passkey is a second factor only in this one configuration.
	if w := c.WebAuthnConfiguration; w != nil && w.FactorConfiguration == types.WebAuthnFactorConfigurationTypeMultiFactorWithUserVerification {
		on = append(on, mfa.WebAuthn)
	}
	return on
}

// preToken reports whether the pool has a pre token generation trigger. Version
// 1 may stand in the old field alone.
func preToken(out *cognito.DescribeUserPoolOutput) bool {
	if out.UserPool == nil || out.UserPool.LambdaConfig == nil {
		return false
	}
	c := out.UserPool.LambdaConfig
	return value(c.PreTokenGeneration) != "" || c.PreTokenGenerationConfig != nil && value(c.PreTokenGenerationConfig.LambdaArn) != ""
}
