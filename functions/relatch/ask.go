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
		House: mfa.House{Pools: a.settings.Pools(), Observe: a.settings[stack.Mode] == "observe"}, Flags: l.same(),
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

const justifyHelp = `Record why a user's MFA is off, or is going to be switched off. It counts for an
override that you yourself opened or will open, if it is recorded at most 15
minutes after MFA was switched off, or at most 24 hours before (the policy may say
otherwise). The incident is then a warning and no page. With --cause lost_device,
relatch end warns before it locks the user out.

` + userHelp + `

Output: text. With --output json one object, relatch.answer/1: pool_id, sub, id of
the justification, at, approver, override (empty: none is open), failed_rules and
why.
` + refusalHelp + `

Exit status:
  0  on record, and it counts as far as can be told now
  1  refused; or on record, but it does not justify the override that is open
  2  bad usage, a USER who does not exist or could be several, or no access to AWS

` + awsHelp

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

		ValidArgsFunction: cobra.NoFileCompletions, DisableFlagsInUseLine: true,
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
	p, counts := t.page("text"), answer.Override == "" || len(answer.FailedRules) == 0
	switch {
	case f.output == "json":
		if err := t.json(answered{"relatch.answer/1", answer}); err != nil {
			return err
		}
	case answer.Override == "":
		p.line("%s is on record. No override of %s is open: it counts for one that you open%s.", answer.ID, person.Name, f.by(ctx, p, o, answer))
	case counts:
		p.line("%s is on record, and justifies override %s of %s.", answer.ID, answer.Override, person.Name)
	}
	if counts {
		return nil
	}
	return undone{fmt.Errorf("%s is on record, but does not justify override %s of %s: %s", answer.ID, answer.Override, person.Name, strings.Join(answer.Why, "; "))}
}

// by is until when the justification counts, if the policy can be read.
func (f *justifyFlags) by(ctx context.Context, p page, o *operator.Operator, a request.Answer) string {
	policy, doubt, err := o.Rules(ctx)
	if err != nil || doubt != "" {
		return ""
	}
	return " by " + p.at(a.At.Add(policy.Before))
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

J-… is the justification's id: whoever needs the approval was told it.

` + userHelp + `

Output: text. With --output json one object, relatch.answer/1: pool_id, sub, id of
the justification, at and approver.
` + refusalHelp + `

Exit status:
  0  approved
  1  refused
  2  bad usage, a USER who does not exist or could be several, or no access to AWS

` + awsHelp

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

		ValidArgsFunction: cobra.NoFileCompletions, DisableFlagsInUseLine: true,
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
	if j, err := o.Justification(ctx, person, id); err == nil && j != nil { // it is approved of all the same
		p.line("%s wrote on %s: %s; %s", alert.Who(mfa.Actor{ARN: j.Author}), p.at(j.At), j.Reason, j.Ticket)
	}
	return nil
}

const endHelp = `End a user's open override now: MFA comes on again, and the user is signed out.
Whoever may ask the function override may do this.

Where the device was declared lost, that would lock the user out, who has not
enrolled a new one: the command says so and does nothing, unless --lock-out is given.

` + userHelp + `

Output: text. With --output json one object, relatch.end/1: user {pool_id, sub,
username, roles}, override, closed (restored, reenabled, reenrolled or gone; absent:
not yet) and unrestorable.
` + refusalHelp + `

Exit status:
  0  it has ended (with --wait 0: it was asked for)
  1  refused; or asked for and not ended: standard error says why
  2  bad usage, a USER who does not exist or could be several, or no access to AWS

` + awsHelp

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

		SuggestFor: []string{"enable", "restore", "on"}, ValidArgsFunction: cobra.NoFileCompletions, DisableFlagsInUseLine: true,
	}
	c.Flags().SortFlags = false
	c.Flags().BoolVar(&f.lockOut, "lock-out", false, "end it also if the user cannot sign in afterwards")
	waits(c, &f.wait, "the longest `DURATION`, such as 90s, to wait for the end; 0: do not wait")
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
	if unasked(err) && ctx.Err() == nil {
		err = fmt.Errorf("%w. Whether it was asked for is not known; ask again, or switch MFA on without Relatch, which ends it too:\n  %s",
			err, person.CLI(open.Restorable(), true, f.same("profile", "region", "endpoint-url")))
	}
	if err != nil {
		return f.undone(t, err)
	}
	p := t.page(f.output)
	p.line("Asked for the end of %s of %s.", open.ID, person.Name)
	s, done, err := o.Await(ctx, person, f.wait, func(s mfa.Standing) bool {
		return s.Override == nil || s.Override.ID != open.ID || s.Override.Unrestorable || s.Override.Tried && o.House.Observe
	})
	if err != nil {
		return undone{fmt.Errorf("it was asked for; whether it has ended is not known: %w", err)}
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
		return undone{fmt.Errorf("Cognito refuses to switch MFA on for %s, who has nothing enrolled. The user is signed out, and %s stays open until the user enrols a new device", person.Name, open.ID)} //nolint:staticcheck // a name
	case done && out.Closed == "":
		return undone{fmt.Errorf("Relatch only observes, and switches nothing on. Do it without Relatch:\n  %s", person.CLI(open.Restorable(), true, f.same("profile", "region", "endpoint-url")))} //nolint:staticcheck // a name
	case out.Closed == mfa.Gone:
		p.line("It has ended: the user is deleted.")
	case done:
		p.line("It has ended: %s has MFA again (%s).", person.Name, out.Closed)
	case f.wait > 0:
		return undone{fmt.Errorf("it was asked for, and has not ended in %s; see relatch status %s%s, or relatch doctor", short(f.wait), open.ID, f.same())}
	}
	return nil
}
