package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/stack"
	"github.com/stackflow/relatch/internal/status"
)

const statusHelp = `Tell what is open now: who can sign in without MFA, since when and by whom,
whether that was justified, how much time is left and what happens then; what
is overdue or cannot be restored; incidents; and whether Relatch is at work.

USER is a username, an e-mail address or a sub, of whom all that is open is told,
and which factors are on; or the id of an override. Without one it is everybody.

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
		if err := p.only(ctx, &s, user); err != nil {
			return err
		}
	}
	write := s.Text
	if output == "json" {
		e := json.NewEncoder(t.out)
		e.SetEscapeHTML(false)
		err = e.Encode(s)
	} else {
		err = write(t.out)
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if len(s.Wrong) > 0 {
		return exit(exitUnmet)
	}
	return nil
}

// only leaves what is about the user, or about the override.
func (p *place) only(ctx context.Context, s *status.Status, user string) error {
	if slices.ContainsFunc(s.Overrides, func(o status.Override) bool { return o.ID == user }) {
		s.Only(user, nil)
		return nil
	}
	finder, ok := p.Ports.Users.(interface {
		Find(context.Context, mfa.PoolID, string) ([]mfa.Sub, error)
	})
	if !ok {
		panic("cannot happen: the users of place are Cognito's")
	}
	var asked []status.Asked
	for _, pool := range p.settings.Pools() {
		subs, err := finder.Find(ctx, pool, user)
		if err != nil {
			return fmt.Errorf("find the user: %w", err)
		}
		for _, sub := range subs {
			u, err := p.Ports.Users.User(ctx, pool, sub)
			if err != nil {
				return err
			}
			asked = append(asked, status.Asked{Pool: pool, Sub: sub, Username: u.Username, Roles: u.Roles, Enabled: u.Enabled, Factors: u.Factors})
		}
	}
	if len(asked) == 0 {
		return fmt.Errorf("there is neither a user %s in the guarded pools nor an open override of that id", user)
	}
	s.Only("", asked)
	return nil
}
