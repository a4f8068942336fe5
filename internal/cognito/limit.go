package cognito

import (
	"context"
	"fmt"
	"math"

	cognito "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"golang.org/x/time/rate"
)

// Limits keep a process under a share of Cognito's rate quotas, which hold for
// the whole account and Region (aws-facts.md section 6). Each category has a
// bucket of its own, so that reading users does not delay changing them. What the
// SDK asks again after Cognito has refused it takes no token: it waits by itself.
// A nil *Limits limits nothing.
type Limits struct {
	userRead, userResourceRead, userList    *rate.Limiter
	poolRead, poolConfigRead, poolGroupRead *rate.Limiter
	userResourceUpdate, userUpdate          *rate.Limiter
}

// NewLimits makes the limits of one of that many processes (in Lambda: the
// reserved concurrency), which together use the share, above 0 and at most 1, of
// each quota. Fewer processes than one are one; any other share is a half.
func NewLimits(share float64, processes int) *Limits {
	if !(share > 0 && share <= 1) {
		share = 0.5
	}
	share /= float64(max(processes, 1))
	per := func(quota float64) *rate.Limiter {
		return rate.NewLimiter(rate.Limit(quota*share), int(math.Ceil(quota*share)))
	}
	// A process looks at each pool once in PoolFor: the first looks may come at
	// once, or a small share would draw them out over many seconds.
	perPool := func(quota float64) *rate.Limiter {
		return rate.NewLimiter(rate.Limit(quota*share), max(int(math.Ceil(quota*share)), poolsAtOnce))
	}
	return &Limits{
		userRead: per(120), userResourceRead: per(50), userList: per(30),
		// The last two are of one category, with 20; that each may have 5 for one
		// pool is far from what one look in PoolFor takes.
		poolRead: perPool(15), poolConfigRead: perPool(10), poolGroupRead: perPool(10),
		userResourceUpdate: per(25), userUpdate: per(25),
	}
}

// poolsAtOnce is how many pools a process may look at for the first time at once.
const poolsAtOnce = 5

// wait waits for a token of the bucket that pick names. One that would come
// only after the context's deadline is an error at once.
func (l *Limits) wait(ctx context.Context, pick func(*Limits) *rate.Limiter) error {
	if l == nil {
		return nil
	}
	if err := pick(l).Wait(ctx); err != nil {
		return fmt.Errorf("keep to the quota: %w", err)
	}
	return nil
}

// The buckets by name.
func userRead(l *Limits) *rate.Limiter           { return l.userRead }
func userResourceRead(l *Limits) *rate.Limiter   { return l.userResourceRead }
func userList(l *Limits) *rate.Limiter           { return l.userList }
func poolRead(l *Limits) *rate.Limiter           { return l.poolRead }
func poolConfigRead(l *Limits) *rate.Limiter     { return l.poolConfigRead }
func poolGroupRead(l *Limits) *rate.Limiter      { return l.poolGroupRead }
func userResourceUpdate(l *Limits) *rate.Limiter { return l.userResourceUpdate }
func userUpdate(l *Limits) *rate.Limiter         { return l.userUpdate }

// call calls the operation when its bucket has a token.
func call[In, Out any](
	ctx context.Context, l *Limits, bucket func(*Limits) *rate.Limiter,
	operation func(context.Context, *In, ...func(*cognito.Options)) (*Out, error), in *In,
) (*Out, error) {
	if err := l.wait(ctx, bucket); err != nil {
		return nil, err
	}
	return operation(ctx, in)
}
