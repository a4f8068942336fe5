package main

import (
	"context"
	"encoding/json"
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

USER is a username, an e-mail address or a sub in one of the guarded user pools,
POOL/SUB, or the id of the open override, such as O-54BUAM5LQR: then it is what is
open of this user, and which factors are on. Without one it is everybody.

Nothing is changed. Who asks needs to read the ledger's table (dynamodb:Query,
dynamodb:BatchGetItem), the users (cognito-idp:AdminGetUser,
AdminListGroupsForUser, AdminGetUserAuthFactors, ListUsers) and the policy
(dynamodb:GetItem or ssm:GetParameter), and cloudformation:DescribeStacks. Users
who cannot be looked up are named by their subs.

Output: text, for 100 columns; json, relatch.status/1. Times are UTC.

Exit status: 0 all is well, even if overrides are open; 1 something is overdue or
cannot be restored, an incident is critical, or no sweep was completed in the last
45 minutes; 2 bad usage, or AWS did not answer. An incident that only a person can
end (guard, policy, a swapped factor) counts for 24 hours.`

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
		Args:                  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, users []string) error {
			if err := l.check(); err != nil {
				return err
			}
			p, err := l.open(c.Context(), t, stack.LedgerTable, stack.PoolIDs)
			if err != nil {
				return err
			}
			return p.status(c.Context(), t, strings.Join(users, ""), l.output)
		},
	}
	l.add(c)
	return c
}

func (p *place) status(ctx context.Context, t terminal, user, output string) error {
	s, err := status.Read(ctx, status.Sources{
		Ledger: p.Ledger, Users: p.Ports.Users, Policy: p.Ports.Policy, Pools: p.settings.Pools(), Mode: p.settings[stack.Mode],
	}, t.now())
	if err != nil {
		return err
	}
	if user != "" {
		person, err := p.finder().Find(ctx, user)
		if err != nil {
			return err
		}
		s.Only(status.Asked{
			Pool: person.Pool, Sub: person.Sub, Username: person.Name, Roles: person.Roles, Enabled: person.Enabled, Factors: person.Factors,
		})
	}
	if output == "json" {
		e := json.NewEncoder(t.out)
		e.SetEscapeHTML(false)
		err = e.Encode(s)
	} else {
		err = t.print(s.Text)
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if len(s.Wrong) > 0 {
		return exit(exitUnmet)
	}
	return nil
}

// finder finds the users whom people mean.
func (p *place) finder() *operator.Operator {
	return &operator.Operator{
		House: mfa.House{Pools: p.settings.Pools()}, Ledger: p.Ledger,
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
