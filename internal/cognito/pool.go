package cognito

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	cognito "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"github.com/stackflow/relatch/internal/mfa"
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
		return u.look(ctx, id, roles)
	}
	s := u.seen(id, roles)
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return mfa.Pool{}, fmt.Errorf("get pool: %w", ctx.Err())
	}
	if now := u.now(); s.at.IsZero() || s.at.Before(since) || now.Sub(s.at) >= u.poolFor {
		pool, err := u.look(ctx, id, roles)
		if err != nil {
			return mfa.Pool{}, err
		}
		s.pool, s.at = pool, now
	}
	pool := s.pool
	pool.Factors, pool.Groups = slices.Clone(pool.Factors), slices.Clone(pool.Groups)
	return pool, nil
}

func (u *Users) seen(id mfa.PoolID, roles []mfa.Role) *shown {
	key := string(id)
	for _, role := range roles {
		key += "\x00" + string(role)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pools[key] == nil {
		u.pools[key] = &shown{turn: make(chan struct{}, 1)}
	}
	return u.pools[key]
}

// look asks for everything at once: one round trip.
func (u *Users) look(ctx context.Context, id mfa.PoolID, roles []mfa.Role) (mfa.Pool, error) {
	var (
		poolID = string(id)
		config *cognito.GetUserPoolMfaConfigOutput
		pool   *cognito.DescribeUserPoolOutput
		exists = make([]bool, len(roles))
		errs   = make([]error, len(roles)+2)
		all    sync.WaitGroup
	)
	all.Go(func() {
		config, errs[0] = call(ctx, u.limits, poolConfigRead, u.client.GetUserPoolMfaConfig, &cognito.GetUserPoolMfaConfigInput{UserPoolId: &poolID})
	})
	all.Go(func() {
		pool, errs[1] = call(ctx, u.limits, poolRead, u.client.DescribeUserPool, &cognito.DescribeUserPoolInput{UserPoolId: &poolID})
	})
	for i, role := range roles {
		all.Go(func() {
			group := string(role)
			_, err := call(ctx, u.limits, poolGroupRead, u.client.GetGroup, &cognito.GetGroupInput{UserPoolId: &poolID, GroupName: &group})
			exists[i] = err == nil
			if !noGroup(err) {
				errs[i+2] = err
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return mfa.Pool{}, fmt.Errorf("get pool: %w", err)
	}
	mode := mfa.Mode(strings.ToLower(string(config.MfaConfiguration)))
	if !slices.Contains([]mfa.Mode{mfa.ModeOff, mfa.ModeOptional, mfa.ModeOn}, mode) {
		return mfa.Pool{}, fmt.Errorf("get pool: unknown MfaConfiguration %q", config.MfaConfiguration)
	}
	shown := mfa.Pool{Mode: mode, Factors: poolFactors(config), PreToken: preToken(pool)}
	for i, role := range roles {
		if exists[i] {
			shown.Groups = append(shown.Groups, role)
		}
	}
	return shown, nil
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
