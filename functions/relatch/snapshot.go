package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/spf13/cobra"

	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
	"github.com/stackflow/relatch/internal/snapshot"
	"github.com/stackflow/relatch/internal/stack"
	"github.com/stackflow/relatch/internal/story"
	"github.com/stackflow/relatch/internal/whole"
)

const snapshotHelp = `Write user pools as they are now into an account file, which relatch replay
--account takes: the pools' MFA settings; of each user the sub, the username, when
created, enabled or not, federated or not, the roles, and which factors are
switched on, preferred and registered. No other attribute is asked for or kept.
The file can be read by its owner only, since usernames are in it.

The pools are those of Relatch's stack, or those that --pool names. Nothing is
changed. Who asks needs cognito-idp:ListUsers, ListUsersInGroup, ListGroups,
DescribeUserPool, GetUserPoolMfaConfig, AdminGetUser, AdminGetUserAuthFactors for
--auth-factors, and cloudformation:DescribeStacks without --pool.

Lists are read 60 users at a time; then each user but federated ones is looked at
in a call, which is what takes time: with the default share of a quarter of
Cognito's quota (120 such calls a second, for all programs of the account in the
Region) 108,000 users an hour, or 9.3 hours for a million. Cognito counts whoever
is looked at as an active user of the month. --role takes only the members of
groups, such as the roles that MFA is required of; to a replay everybody else is
then unknown, and deliveries about them are ignored as no_such_user.

--auth-factors asks in a second call what else the user has registered: a TOTP that
is switched off can then be switched on in the replay, as can a passkey, and one
that is switched on without having a secret is not taken for protection.

Ctrl-C, throttling or an error stops it; the same command goes on from there. Until
the file is done, what is known stands beside it in FILE.partial.

A replay begins with the account file, and the file says how things are now: take
one before the period that is to be replayed, such as every night. For an older
archive it gives names and roles, but whoever had MFA switched off since is
without it from the start.

` + poolHelp + `

Exit status: 0 the file is written; 1 not done, the same command goes on; 2 bad
usage, or AWS cannot be asked.`

const poolHelp = `AWS is asked as the AWS CLI asks: with the profile, SSO session, role or keys,
and in the Region, of your environment and ~/.aws, or of --profile and --region.
Where Relatch is, its CloudFormation stack says (--stack or RELATCH_STACK;
"relatch" by default).`

const snapshotExamples = `  relatch snapshot                                       the guarded pools, into account.json
  relatch snapshot --pool us-east-1_EXAMPLE12 --output november.json
  relatch snapshot --role super_admin,itsm_manager,cloud_admin,security_admin
  relatch replay --account november.json AWSLogs`

type snapshotFlags struct {
	live
	pools, roles []string
	share        float64
	authFactors  bool
}

func snapshotCommand(t terminal) *cobra.Command {
	var f snapshotFlags
	c := &cobra.Command{
		Use:                   "snapshot [--pool ID] [--role NAME] [--output FILE] [--share SHARE] [--auth-factors]",
		Short:                 "Write live user pools into an account file for replay",
		Long:                  snapshotHelp,
		Example:               snapshotExamples,
		DisableFlagsInUseLine: true,
		Args:                  cobra.NoArgs,
		RunE:                  func(c *cobra.Command, _ []string) error { return f.run(c.Context(), t) },
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringSliceVar(&f.pools, "pool", nil, "the user pool's `ID`, instead of the stack's (several with commas)")
	flags.StringSliceVar(&f.roles, "role", nil, "only the members of the group of this `NAME` (several with commas)")
	flags.StringVar(&f.output, "output", "account.json", "the `FILE` to write; one that is there is replaced at the end")
	flags.Float64Var(&f.share, "share", 0.25, "the `SHARE` of Cognito's quotas to use, above 0 and at most 1")
	flags.BoolVar(&f.authFactors, "auth-factors", false, "ask also what is registered and not switched on, which takes twice as long")
	f.reach(c)
	for _, flag := range stack.Flags { // nothing else of Relatch is asked for, and --pool names pools
		_ = flags.MarkHidden(flag)
	}
	return c
}

func (f *snapshotFlags) run(ctx context.Context, t terminal) error {
	if !(f.share > 0 && f.share <= 1) {
		return fmt.Errorf("--share: %v is not above 0 and at most 1", f.share)
	}
	if f.output == "" {
		return errors.New("--output: no FILE given")
	}
	if err := whole.Check(f.output); err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	if len(f.pools) > 0 {
		*f.given[stack.PoolIDs] = strings.Join(f.pools, ",")
	}
	p, err := f.open(ctx, t, stack.PoolIDs)
	if err != nil {
		return err
	}
	client := cognitoidentityprovider.NewFromConfig(p.aws, func(o *cognitoidentityprovider.Options) {
		// Others use the quotas, too: what is throttled is asked again for half a minute or so.
		o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) { r.MaxAttempts, r.RateLimiter = 8, ratelimit.None })
	})
	taker := snapshot.Taker{
		Users:      cognito.New(client, cognito.Options{Now: t.now, ListedOnly: !f.authFactors, Limits: cognito.NewLimits(f.share, 1)}),
		Registered: f.authFactors, Now: t.now,
	}
	for _, pool := range p.settings.Pools() {
		if !slices.Contains(taker.Pools, pool) {
			taker.Pools = append(taker.Pools, pool)
		}
	}
	for _, role := range f.roles {
		taker.Roles = append(taker.Roles, mfa.Role(role))
	}
	var told atomic.Pointer[snapshot.Progress]
	told.Store(&snapshot.Progress{})
	taker.Tell = func(p snapshot.Progress) { told.Store(&p) }
	stop := t.shows(func() string { return taking(*told.Load(), t.now()) }, nil)
	err = taker.Take(ctx, f.output)
	stop()
	s := told.Load()
	switch {
	case err == nil:
		fmt.Fprintf(t.err, "relatch snapshot: %s users in %s, looked at since %s\n",
			replay.Thousands(s.Listed-s.Gone), story.Clean(f.output), s.Began.Format(time.RFC3339))
		return nil
	case ctx.Err() != nil:
		err = errors.New("stopped")
	case s.LookedFrom.IsZero():
		return err
	}
	return undone{fmt.Errorf("%w; %s of %s users have been looked at, and the same command goes on from there",
		err, replay.Thousands(s.Looked), replay.Thousands(s.Listed))}
}

// taking is how far a snapshot is.
func taking(p snapshot.Progress, now time.Time) string {
	if p.LookedFrom.IsZero() {
		return fmt.Sprintf("%s users listed", replay.Thousands(p.Listed))
	}
	text := fmt.Sprintf("%s of %s users", replay.Thousands(p.Looked), replay.Thousands(p.Listed))
	if looked, took := p.Looked-p.Kept, now.Sub(p.LookedFrom); looked > 0 && took >= time.Second {
		rate := float64(looked) / took.Seconds()
		left := time.Duration(float64(p.Listed-p.Looked) / rate * float64(time.Second))
		text += fmt.Sprintf(", %.0f a second, %s left", rate, span(left))
	}
	return text
}
