package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/spf13/cobra"

	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/operator"
	"github.com/stackflow/relatch/internal/stack"
	"github.com/stackflow/relatch/internal/status"
	"github.com/stackflow/relatch/internal/story"
)

const statusHelp = `Tell what is open now: who can sign in without MFA, since when and by whom,
whether that was justified, how much time is left and what happens then; what
is overdue or cannot be restored; incidents; and whether Relatch is at work.
Nothing is changed. Times are UTC.

With a USER it is what is open of that user, and which factors are on; without one
it is everybody.

` + userHelp + `

Output: text, for 100 columns. With --output json one object, relatch.status/1: at,
mode, wrong (what is not as it should be, in words), sweep {completed_at,
age_seconds, too_old}, policy {revision, required_roles, doubt}, pools [id, posture,
lacks], overrides [id, pool_id, sub, username, roles, required, factors, actor,
actor_type, opened_at, deadline, seconds_left, overdue, unrestorable, then, severity,
justified, failed_rules, why, justification {id, reason, ticket, cause, author,
approver, approved_at, at, ticket_of}, justify_until, unfinished_since, notes],
incidents [key, kind, severity, since, changed_at, pool_id, sub, username, actor,
what, person], users [pool_id, sub, username, noted_at, unfinished_since,
sign_out_owed], asked {pool_id, sub, username, roles, enabled, factors} and unnamed
(why users could not be named).

Exit status:
  0  all is well, even if overrides are open
  1  something is overdue or cannot be restored, an incident is critical, or no sweep
     was completed in the last 45 minutes. An incident that only a person can end
     (guard, policy, a swapped factor) counts for 24 hours
  2  bad usage, a USER who does not exist or could be several, or no access to AWS

You need dynamodb:Query and BatchGetItem on the ledger's table;
cognito-idp:AdminGetUser, AdminListGroupsForUser and ListUsers, or users are named
by their subs; and to read the policy (dynamodb:GetItem or ssm:GetParameter).`

const statusExamples = `  relatch status
  relatch status maria.lopez@example.com
  relatch status O-54BUAM5LQR
  relatch status --profile prod --region eu-west-1 --stack relatch-prod
  relatch status --output json | jq -r '.overrides[] | select(.justified | not) | .id'`

func statusCommand(t terminal) *cobra.Command {
	var l live
	c := &cobra.Command{
		Use:                   "status [USER]",
		Short:                 "Tell what is open now",
		Long:                  statusHelp + "\n\n" + awsHelp,
		Example:               statusExamples,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Args: func(c *cobra.Command, users []string) error {
			if len(users) == 0 {
				return nil
			}
			return oneUser(c, users)
		},
		RunE: func(c *cobra.Command, users []string) error {
			if err := l.check(); err != nil {
				return err
			}
			p, err := l.open(c.Context(), t, stack.LedgerTable, stack.PoolIDs)
			if err != nil {
				return err
			}
			return p.status(c.Context(), t, strings.Join(users, ""), &l)
		},
	}
	c.Flags().SortFlags = false
	l.add(c)
	return c
}

func (p *place) status(ctx context.Context, t terminal, user string, l *live) error {
	o := p.finder()
	s, err := status.Read(ctx, status.Sources{
		Ledger: p.Ledger, Users: o.Users, Policy: p.Ports.Policy, Pools: p.settings.Pools(), Mode: p.settings[stack.Mode],
	}, t.now())
	if err != nil {
		return err
	}
	if _, s.Policy.Doubt, err = o.Rules(ctx); err != nil {
		return err
	}
	if user != "" {
		person, err := o.Find(ctx, user)
		if err != nil {
			return err
		}
		s.Only(status.Asked{
			Pool: person.Pool, Sub: person.Sub, Username: person.Name, Roles: person.Roles, Enabled: person.Enabled, Factors: person.Factors,
		})
	}
	s.Flags = l.same()
	if l.output == "json" {
		err = t.json(s)
	} else if err = t.print(s.Text); err != nil {
		err = fmt.Errorf("write: %w", err)
	}
	if err != nil {
		return err
	}
	if len(s.Wrong) > 0 {
		return exit(exitUnmet)
	}
	return nil
}

// finder finds the users whom people mean.
func (p *place) finder() *operator.Operator {
	return &operator.Operator{
		House: mfa.House{Pools: p.settings.Pools()}, Ledger: p.Ledger, Policy: p.Ports.Policy,
		Users: cognito.New(cognitoidentityprovider.NewFromConfig(p.aws), cognito.Options{ListedOnly: true}),
	}
}

// print writes what the terminal's locale can show of a text.
func (t terminal) print(write func(io.Writer) error) error {
	var b strings.Builder
	if err := write(&b); err != nil {
		return err
	}
	text := b.String()
	if !t.utf8() {
		text = story.ASCII(text)
	}
	_, err := io.WriteString(t.out, text)
	return err
}
