package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/desk"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/operator"
	"github.com/stackflow/relatch/internal/request"
	"github.com/stackflow/relatch/internal/story"
)

const userHelp = `USER is a username, an e-mail address, a sub or POOL/SUB of a guarded user pool, or
the id of an open override, such as O-54BUAM5LQR. Several users that could be
meant are listed, and nothing is done.`

const overrideHelp = `Switch a user's MFA off for an emergency, with a reason on record. After 24 hours
(the policy may say less) Relatch switches it on again, to the next full minute.

It says what will happen and what on-call will see, asks once, records the reason,
switches every factor of the user off with your own AWS credentials, reads the user
back, waits until Relatch has seen it, and tells how to end it and what to tell the
user. It refuses, with the reason, if an override is open or no factor is on. If
Relatch cannot be asked, nothing is switched off, and you get the bare AWS CLI
command to copy, which pages on-call.

--reason says what happened, in the words of this case. --ticket has the form that
the policy asks for, and is of this user alone. A user who has had too many
overrides (two in seven days) needs somebody's approval first: then the reason is
recorded, nothing is switched off, and you are told what that person has to run.

--lost-device deletes the secret of the authenticator app, so that whoever has the
phone can do nothing with it; the user enrols a new one. The other factors are
switched off: their codes may reach the same phone. Where Cognito lacks the
operation, the command says so and switches TOTP off.

` + userHelp + `

Output: text. With --output json that goes to standard error, and one object to
standard output, relatch.override/1: done, forecast {by, user {pool_id, sub,
username, roles}, factors, overrides_used, budget, approver_needed, deadline,
alerts, policy_doubt}, justification, at, read_back, token_deleted, override,
justified, failed_rules and deadline.
` + refusalHelp + `

Exit status:
  0  MFA is off (with --dry-run: it could be). Also if the user could not be read
     back, or Relatch has not seen it yet: the output says so
  1  refused, or not done, or half done: standard error says what is off
  2  bad usage, a USER who does not exist or could be several, or no access to AWS

You need cognito-idp:ListUsers, AdminGetUser, AdminListGroupsForUser,
DescribeUserPool, GetUserPoolMfaConfig and AdminSetUserMFAPreference
(--lost-device: AdminDeleteSoftwareToken) in the user pools; to read the ledger's
table and the policy; lambda:InvokeFunctionUrl for the function override; and, to
find all that, cloudformation:DescribeStacks.

` + awsHelp

const overrideExamples = `  relatch override maria --reason 'Phone broke, new one comes tomorrow' --ticket CHG0012345
  relatch override maria@example.com --lost-device --ticket INC0000042 \
    --reason 'Phone stolen on the train to Lyon'
  relatch override maria --reason '…' --ticket CHG0012345 --dry-run   # what would happen
  relatch override maria --reason '…' --ticket CHG0012345 --yes --output json`

// exception are the flags that give a reason.
type exception struct {
	reason, ticket, cause string
}

func (e *exception) add(c *cobra.Command) {
	c.Flags().StringVar(&e.reason, "reason", "", "a `TEXT` that says what happened, and why it cannot wait")
	c.Flags().StringVar(&e.ticket, "ticket", "", "the `TICKET` of this user's case, such as CHG0012345")
	c.Flags().StringVar(&e.cause, "cause", "", "the `CAUSE`: lost_device, broken_app or other, which is the default")
	completes(c, "cause", string(mfa.LostDevice), string(mfa.BrokenApp), string(mfa.OtherCause))
}

func (e *exception) check() error {
	var errs []error
	if strings.TrimSpace(e.reason) == "" {
		errs = append(errs, errors.New("--reason is missing: say what happened"))
	}
	if !slices.Contains([]mfa.Cause{"", mfa.LostDevice, mfa.BrokenApp, mfa.OtherCause}, mfa.Cause(e.cause)) {
		errs = append(errs, fmt.Errorf("--cause: %q is none of lost_device, broken_app and other", e.cause))
	}
	return errors.Join(errs...)
}

type overrideFlags struct {
	live
	exception
	lost, dry, yes bool
	wait           time.Duration
}

func overrideCommand(t terminal) *cobra.Command {
	var f overrideFlags
	c := &cobra.Command{
		Use:     "override USER --reason TEXT --ticket TICKET [--lost-device] [--dry-run] [--yes]",
		Short:   "Switch a user's MFA off for an emergency, with a reason on record",
		Long:    overrideHelp,
		Example: overrideExamples,
		Args:    oneUser,
		RunE:    func(c *cobra.Command, args []string) error { return f.run(c.Context(), t, args[0]) },

		SuggestFor: []string{"disable", "off"}, ValidArgsFunction: cobra.NoFileCompletions, DisableFlagsInUseLine: true,
	}
	c.Flags().SortFlags = false
	f.exception.add(c)
	c.Flags().BoolVar(&f.lost, "lost-device", false, "the device is lost or stolen: delete its secret")
	c.Flags().BoolVar(&f.dry, "dry-run", false, "say what would happen, and do nothing")
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	waits(c, &f.wait, "the longest `DURATION`, such as 90s, to wait for Relatch to see it; 0: do not wait")
	f.live.add(c)
	return c
}

func (f *overrideFlags) check(t terminal) error {
	errs := []error{f.live.check(), f.exception.check()}
	if f.lost && f.cause != "" && f.cause != string(mfa.LostDevice) {
		errs = append(errs, fmt.Errorf("--lost-device and --cause %s contradict each other", f.cause))
	}
	if !f.yes && !f.dry && !t.inIsTerminal {
		errs = append(errs, errors.New("standard input is no terminal: nobody can be asked; use --yes, or --dry-run to see what would happen"))
	}
	return errors.Join(errs...)
}

func (f *overrideFlags) run(ctx context.Context, t terminal, who string) error {
	if err := f.check(t); err != nil {
		return err
	}
	if f.lost {
		f.cause = string(mfa.LostDevice)
	}
	o, by, err := f.operator(ctx, t)
	if err != nil {
		return err
	}
	person, err := o.Find(ctx, who)
	if err != nil {
		return unclear(err)
	}
	forecast, err := o.Forecast(ctx, person, operator.Exception{By: by, Reason: f.reason, Ticket: f.ticket, Cause: mfa.Cause(f.cause), DeleteToken: f.lost})
	if _, refused := errors.AsType[*operator.Refusal](err); err != nil && !refused && ctx.Err() == nil && len(person.Factors) > 0 {
		err = f.bare(err, person, who, "That PAGES on-call if a role of the user requires MFA", mfa.DefaultPolicy().Late)
	}
	if err != nil {
		return f.undone(t, err)
	}
	p := t.page(f.output)
	p.forecast(forecast, o.House.Observe)
	switch {
	case f.dry && f.output == "json":
		return f.print(t, overridden{Forecast: told(forecast)})
	case f.dry:
		p.line("Dry run: nothing was done.")
		return nil
	case !f.yes && !t.confirms(ctx, p.w, question(forecast)):
		return undone{errors.New("nothing was done")}
	}
	return f.do(ctx, t, o, forecast, who)
}

func question(f operator.Forecast) string {
	if f.Approval {
		return "Record the reason, for somebody else to approve of?"
	}
	return "Switch MFA off for " + f.Name + "?"
}

// do is what comes after the question. who is the user as given, whom that names
// better than the username if there are several.
func (f *overrideFlags) do(ctx context.Context, t terminal, o *operator.Operator, forecast operator.Forecast, who string) error {
	p, out := t.page(f.output), overridden{Forecast: told(forecast)}
	answer, err := o.Justify(ctx, forecast.Person, forecast.Exception)
	if unasked(err) && ctx.Err() == nil {
		page := "That PAGES on-call"
		if !forecast.Override.Required {
			page = "That warns on-call"
		}
		err = f.bare(err, forecast.Person, who, page, forecast.Policy.Late)
	}
	if err != nil {
		return f.undone(t, err)
	}
	out.Justification = answer.ID
	if forecast.Approval && answer.Approver == "" {
		err := undone{fmt.Errorf("%s needs an approver: nothing was switched off. Your reason is on record as %s. Somebody else, neither you nor the user, has to run\n"+
			"  relatch approve %s %s%s\nand then you run this command again, within %.0f hours", forecast.Name, answer.ID,
			operator.Quoted(who), answer.ID, f.same("region", "stack", "table", "pools", "url"), forecast.Policy.Before.Hours())}
		if f.output == "json" {
			return errors.Join(err, f.print(t, out))
		}
		return err
	}
	taken, err := o.SwitchOff(ctx, forecast)
	if err != nil {
		return undone{fmt.Errorf("%w. The reason is on record as %s and counts for %.0f hours: run this command again, or see what is on with\n  relatch status %s%s",
			err, answer.ID, forecast.Policy.Before.Hours(), operator.Quoted(who), f.same())}
	}
	p.line("")
	out.At, out.TokenDeleted, out.Done, out.ReadBack = taken.At, taken.Deleted, true, taken.Unread == nil
	if out.ReadBack {
		p.line("MFA of %s is off: read back, no factor is on. Justification %s.", forecast.Name, answer.ID)
	} else {
		p.line("MFA of %s is off: Cognito took the call. Justification %s. NOT READ BACK: %v", forecast.Name, answer.ID, taken.Unread)
	}
	if taken.Lacking {
		p.line("Cognito cannot delete tokens there (AdminDeleteSoftwareToken): TOTP is switched off instead, and the lost device keeps its secret.")
	}
	if f.wait > 0 {
		p.line("Waiting for Relatch to see it, up to %s …", short(f.wait))
	}
	s, seen, err := o.Await(ctx, forecast.Person, f.wait, func(s mfa.Standing) bool { return s.Override != nil })
	if err != nil {
		fmt.Fprintf(t.err, "relatch override: MFA is off, but: %s\n", story.Clean(err.Error()))
	}
	override := forecast.Override
	override.ID = ""
	if seen {
		override = *s.Override
		out.Override, out.Justified, out.Failed = override.ID, override.Match.Justified(), override.Match.Failed
	}
	out.Deadline = override.Deadline
	end := "relatch end " + operator.Quoted(cmp.Or(override.ID, who)) + f.same()
	if o.House.Observe {
		end = forecast.CLI(override.Restorable(), true, f.same("profile", "region", "endpoint-url"))
	}
	p.afterwards(forecast, override, taken, end, o.House.Observe)
	if f.output == "json" {
		return f.print(t, out)
	}
	return nil
}

// bare is err with what is left to do where Relatch cannot be asked. page is what
// that does to on-call, and late is for how long it can be justified.
func (f *overrideFlags) bare(err error, p operator.Person, who, page string, late time.Duration) error {
	cause := ""
	if f.cause != "" {
		cause = " --cause " + f.cause
	}
	if f.lost {
		page = "The lost device keeps its secret. " + page
	}
	return fmt.Errorf("%w. Nothing was switched off. If it cannot wait, the bare command is\n  %s\n"+
		"%s: nobody has justified it. Once Relatch answers again, within %.0f minutes, say why:\n  relatch justify %s --reason %s --ticket %s%s%s",
		err, p.CLI(p.Factors, false, f.same("profile", "region", "endpoint-url")),
		page, late.Minutes(), operator.Quoted(who), operator.Quoted(f.reason), operator.Quoted(f.ticket), cause, f.same())
}

// unasked reports whether the function override did not take the request.
func unasked(err error) bool {
	problem, _ := errors.AsType[*request.Problem](err)
	_, unreachable := errors.AsType[*desk.Unreachable](err)
	return unreachable || problem != nil && problem.Type == request.Unavailable
}

// overridden is the output as JSON.
type overridden struct {
	Schema string `json:"schema"`
	// Done: MFA is off. False after a dry run.
	Done     bool     `json:"done"`
	Forecast forecast `json:"forecast"`

	Justification string     `json:"justification,omitzero"`
	At            time.Time  `json:"at,omitzero"`
	ReadBack      bool       `json:"read_back,omitzero"` // no factor is on
	TokenDeleted  bool       `json:"token_deleted,omitzero"`
	Override      string     `json:"override,omitzero"` // empty: not seen yet
	Justified     bool       `json:"justified,omitzero"`
	Failed        []mfa.Rule `json:"failed_rules,omitzero"`
	Deadline      time.Time  `json:"deadline,omitzero"`
}

func (f *overrideFlags) print(t terminal, o overridden) error {
	o.Schema = "relatch.override/1"
	return t.json(o)
}

// forecast is the forecast as JSON.
type forecast struct {
	By       string       `json:"by"`
	User     alert.User   `json:"user"`
	Factors  []mfa.Factor `json:"factors"`
	Spent    int          `json:"overrides_used"`
	Budget   int          `json:"budget"`
	Approval bool         `json:"approver_needed"`
	Deadline time.Time    `json:"deadline"`
	Alerts   []string     `json:"alerts"`
	// Doubt is what is wrong with the policy record, or keeps it from being read.
	Doubt string `json:"policy_doubt,omitzero"`
}

func told(f operator.Forecast) forecast {
	out := forecast{
		By: f.By, User: alert.User{Pool: f.Pool, Sub: f.Sub, Username: f.Username, Roles: f.Roles}, Factors: f.Factors,
		Spent: f.Spent, Budget: f.Policy.Budget, Approval: f.Approval, Deadline: f.Override.Deadline, Alerts: []string{},
		Doubt: f.Doubt,
	}
	for _, a := range f.Alerts {
		out.Alerts = append(out.Alerts, a.Title)
	}
	return out
}
