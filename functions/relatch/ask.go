package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/desk"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/operator"
	"github.com/stackflow/relatch/internal/request"
	"github.com/stackflow/relatch/internal/stack"
)

// operator opens what the commands work with that ask override, and says under
// which ARN they do.
func (l *live) operator(ctx context.Context, t terminal) (*operator.Operator, string, error) {
	a, err := l.open(ctx, t, stack.LedgerTable, stack.PoolIDs, stack.OverrideURL)
	if err != nil {
		return nil, "", err
	}
	who, err := sts.NewFromConfig(a.aws).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, "", undone{fmt.Errorf("ask AWS who you are: %w", err)}
	}
	users := cognitoidentityprovider.NewFromConfig(a.aws)
	client := a.aws.HTTPClient
	return &operator.Operator{
		House: mfa.House{Pools: a.settings.Pools(), Observe: a.settings[stack.Mode] == "observe"},
		// What Cognito lists as switched on is what is to be switched off.
		Users:  cognito.New(users, cognito.Options{ListedOnly: true}),
		Ledger: a.Ledger, Policy: a.Ports.Policy, Hand: cognito.NewHand(users), Now: t.now, Wait: t.wait,
		Desk: &desk.Desk{
			URL: a.settings[stack.OverrideURL], Region: a.aws.Region, Credentials: a.aws.Credentials, HTTP: client, Now: t.now, Wait: t.wait,
		},
	}, *who.Arn, nil
}

// unclear keeps a USER who is not exactly one as bad usage; everything else
// could not be done.
func unclear(err error) error {
	if _, ok := errors.AsType[*operator.Unclear](err); ok {
		return err
	}
	return undone{err}
}

const justifyHelp = `Record why a user's MFA is off, or is going to be switched off. The reason counts
for an override that you yourself opened, if it is recorded at most 15 minutes
after MFA was switched off or at most 24 hours before (the policy may say
otherwise). It then lowers the incident to a warning.

USER is a username, an e-mail address or a sub in one of the guarded user pools,
POOL/SUB, or the id of the open override, such as O-54BUAM5LQR.

` + awsHelp + `

` + exitHelp

type justifyFlags struct {
	live
	exception
}

func justifyCommand(t terminal) *cobra.Command {
	var f justifyFlags
	c := &cobra.Command{
		Use:   "justify USER --reason TEXT --ticket TICKET [--cause CAUSE]",
		Short: "Record why a user's MFA is off",
		Long:  justifyHelp,
		Example: `  relatch justify O-54BUAM5LQR --reason 'Phone broke, new one comes tomorrow' --ticket CHG0012345
  relatch justify maria --reason 'Phone stolen on the train to Lyon' --ticket INC0000042 --cause lost_device`,
		Args: oneUser,
		RunE: func(c *cobra.Command, args []string) error { return f.run(c.Context(), t, args[0]) },

		DisableFlagsInUseLine: true,
	}
	c.Flags().SortFlags = false
	f.exception.add(c)
	f.live.add(c)
	return c
}

func (f *justifyFlags) run(ctx context.Context, t terminal, who string) error {
	if err := errors.Join(f.live.check(), f.exception.check()); err != nil {
		return err
	}
	o, by, err := f.operator(ctx, t)
	if err != nil {
		return err
	}
	person, err := o.Find(ctx, who)
	if err != nil {
		return unclear(err)
	}
	answer, err := o.Justify(ctx, person, operator.Exception{By: by, Reason: f.reason, Ticket: f.ticket, Cause: mfa.Cause(f.cause)})
	if err != nil {
		return f.undone(t, err)
	}
	policy, err := o.Rules(ctx)
	if err != nil {
		return undone{err}
	}
	p := t.page("text")
	switch {
	case f.output == "json":
		if err := t.json(answered{"relatch.answer/1", answer}); err != nil {
			return err
		}
	case answer.Override == "":
		p.line("%s is on record. No override of %s is open: it counts for one that you open by %s.", answer.ID, person.Name, p.at(answer.At.Add(policy.Before)))
	case len(answer.FailedRules) == 0:
		p.line("%s is on record, and justifies override %s of %s.", answer.ID, answer.Override, person.Name)
	}
	if answer.Override == "" || len(answer.FailedRules) == 0 {
		return nil
	}
	why, err := o.Why(ctx, person, answer)
	if err != nil {
		return undone{err}
	}
	return undone{fmt.Errorf("%s is on record, but does not justify override %s of %s: %s", answer.ID, answer.Override, person.Name, strings.Join(why, "; "))}
}

// answered is what override answered, as JSON.
type answered struct {
	Schema string `json:"schema"`
	request.Answer
}

// inVain tells of an approval that is on record and does not justify the override
// that is open.
func (l *live) inVain(t terminal, p operator.Person, a request.Answer) error {
	if l.output == "json" {
		if err := t.json(answered{"relatch.answer/1", a}); err != nil {
			return err
		}
	}
	return undone{fmt.Errorf("your approval of %s is on record, but it does not justify override %s of %s: %s", a.ID, a.Override, p.Name, strings.Join(a.Why, "; "))}
}

const approveHelp = `Approve of a justification that somebody else recorded. It counts only if you are
neither its author nor the user. The first approval stands.

` + userHelp + `
J-… is the justification's id, which its author has.

` + awsHelp + `

` + exitHelp

func approveCommand(t terminal) *cobra.Command {
	var f live
	c := &cobra.Command{
		Use:     "approve USER J-…",
		Short:   "Approve of somebody else's justification",
		Long:    approveHelp,
		Example: `  relatch approve maria J-5Q2MZQ7R3A`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 || !strings.HasPrefix(args[1], "J-") {
				return errors.New("a USER and the id of a justification, J-…, are expected")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return f.approve(c.Context(), t, args[0], args[1]) },

		DisableFlagsInUseLine: true,
	}
	c.Flags().SortFlags = false
	f.add(c)
	return c
}

func (l *live) approve(ctx context.Context, t terminal, who, id string) error {
	if err := l.check(); err != nil {
		return err
	}
	o, _, err := l.operator(ctx, t)
	if err != nil {
		return err
	}
	person, err := o.Find(ctx, who)
	if err != nil {
		return unclear(err)
	}
	answer, err := o.Approve(ctx, person, id)
	if err != nil {
		return l.undone(t, err)
	}
	if len(answer.FailedRules) > 0 {
		return l.inVain(t, person, answer)
	}
	if l.output == "json" {
		return t.json(answered{"relatch.answer/1", answer})
	}
	p := t.page("text")
	p.line("You have approved of %s for %s.", answer.ID, person.Name)
	j, err := o.Justification(ctx, person, id)
	if err != nil {
		return undone{err}
	}
	if j != nil {
		p.line("%s wrote on %s: %s; %s", alert.Who(mfa.Actor{ARN: j.Author}), p.at(j.At), j.Reason, j.Ticket)
	}
	return nil
}

const endHelp = `End the open override of a user now: MFA comes on again, and the user is signed
out. Anybody may who may ask the function override.

Where the device was declared lost, that locks the user out who has not enrolled
a new one: the command says so and does nothing, unless --lock-out is given.

USER is a username, an e-mail address or a sub in one of the guarded user pools,
POOL/SUB, or the id of the open override, such as O-54BUAM5LQR.

` + awsHelp + `

` + exitHelp

type endFlags struct {
	live
	lockOut bool
	wait    time.Duration
}

func endCommand(t terminal) *cobra.Command {
	var f endFlags
	c := &cobra.Command{
		Use:   "end USER [--lock-out]",
		Short: "End a user's open override now",
		Long:  endHelp,
		Example: `  relatch end O-54BUAM5LQR
  relatch end maria@example.com --lock-out`,
		Args: oneUser,
		RunE: func(c *cobra.Command, args []string) error { return f.run(c.Context(), t, args[0]) },

		DisableFlagsInUseLine: true,
	}
	c.Flags().SortFlags = false
	c.Flags().BoolVar(&f.lockOut, "lock-out", false, "also if the user cannot sign in afterwards")
	c.Flags().DurationVar(&f.wait, "wait", 3*time.Minute, "wait so long until it is done; 0: do not wait (a `DURATION`)")
	f.add(c)
	return c
}

// ended is the output as JSON.
type ended struct {
	Schema   string     `json:"schema"`
	User     alert.User `json:"user"`
	Override string     `json:"override"`
	// Closed is how it ended; empty: not yet.
	Closed mfa.End `json:"closed,omitzero"`
	// Unrestorable: Cognito refuses to switch it on; the user must enrol.
	Unrestorable bool `json:"unrestorable,omitzero"`
}

func (f *endFlags) run(ctx context.Context, t terminal, who string) error {
	if err := f.check(); err != nil {
		return err
	}
	o, _, err := f.operator(ctx, t)
	if err != nil {
		return err
	}
	person, err := o.Find(ctx, who)
	if err != nil {
		return unclear(err)
	}
	open, err := o.End(ctx, person, f.lockOut)
	if err != nil {
		return f.undone(t, err)
	}
	p := t.page(f.output)
	p.line("Asked for the end of %s of %s.", open.ID, person.Name)
	s, done, err := o.Await(ctx, person, f.wait, func(s mfa.Standing) bool {
		return s.Override == nil || s.Override.ID != open.ID || s.Override.Unrestorable || s.Override.Tried && o.House.Observe
	})
	if err != nil {
		return undone{err}
	}
	out := ended{Schema: "relatch.end/1", User: alert.User{Pool: person.Pool, Sub: person.Sub, Username: person.Username, Roles: person.Roles}, Override: open.ID}
	for _, past := range s.Past {
		if past.ID == open.ID {
			out.Closed = past.End
		}
	}
	out.Unrestorable = done && s.Override != nil && s.Override.Unrestorable
	if f.output == "json" {
		if err := t.json(out); err != nil {
			return err
		}
	}
	switch {
	case out.Unrestorable:
		return undone{fmt.Errorf("Cognito refuses to switch MFA on for %s, who has nothing enrolled; signed out. The user must enrol a new device", person.Name)} //nolint:staticcheck // a name
	case done && out.Closed == "":
		return undone{errors.New("Relatch only observes: it switches nothing on. Do it by hand")} //nolint:staticcheck // a name
	case done:
		p.line("It has ended: %s has MFA again (%s).", person.Name, out.Closed)
	case f.wait > 0:
		return undone{errors.New("it was asked for, and has not ended yet; relatch status shows it")}
	}
	return nil
}
