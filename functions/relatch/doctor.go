package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/checkup"
	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/report"
	"github.com/stackflow/relatch/internal/stack"
	"github.com/stackflow/relatch/internal/story"
)

const doctorHelp = `Find out whether Relatch can do its work, and say for each thing whether it is ok,
a warning or failed, with the command that mends it. What is worst comes first.

  mode        enforce, not observe
  policy      the record mfa.required_roles is there, valid, and no weaker than the
              product's defaults
  pool        authenticator apps are enabled and MFA is OPTIONAL
  trigger     the pre token generation trigger is attached
  roles       no app client lets users write an attribute that reads like a role
  factors     AdminGetUserAuthFactors lists the token of a user who has one
  sms         the account is out of the SMS sandbox, if a pool allows SMS
  trail       CloudTrail logs management events, so that EventBridge gets them
  rule        the rules that bring the calls are enabled, let through all that they
              were shipped to let through, and send to audit's queue
  alerts      the bus and its rules are as they were shipped, and somebody receives
              what they send: subscriptions are confirmed and have no filter
  queues      empty, the dead-letter queues above all
  functions   each can run, in the stack's mode; the queues feed them, unfiltered; the
              sweep's schedule is enabled
  ledger      the table is there, with its index and deletion protection; the clock
              here agrees with that of AWS
  backups     the table has point-in-time recovery
  sweep       completed in the last 45 minutes
  timers      each open override that is not due yet has its own
  guard       nobody has touched Relatch itself

Nothing is changed. What cannot be looked at is a warning that names the permission
that you lack. A line after a $ is the command that mends it, as it can be pasted into
a shell; some need jq. Rules, schedules and queues are held against the version of
Relatch that this command is of: after an upgrade of the command, deploy.

Not looked at: alarms, the topic's key, and whether PagerDuty and Slack take what they
are sent. --page shows that: it sends one test page to the alert bus, marked as such:
kind test_page, severity critical, and a title that begins with TEST.

Who asks needs what the policy in the stack's output AuditorPolicyArn allows; for
--page events:PutEvents too, which the optional service control policy leaves to the
deployment role.

Output: text, for 100 columns, commands in one piece; json, one object: schema
(relatch.doctor/1), findings with check, state (ok, warning, failed), what, remedy
(the command) and advice, each of the last two only if there is one, and page, the
incident of the test page.

Exit status:
  0  nothing failed, though there may be warnings
  1  something failed, or the test page could not be sent
  2  bad usage, or AWS cannot be asked at all`

const doctorExamples = `  relatch doctor
  relatch doctor --profile prod --region eu-west-1 --stack relatch-prod
  relatch doctor --page
  relatch doctor --output json | jq -r '.findings[] | select(.state == "failed") | .what, .remedy // .advice'`

type doctorFlags struct {
	live
	page bool
}

func doctorCommand(t terminal) *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:                   "doctor [--page]",
		Short:                 "Find out whether Relatch can do its work",
		Long:                  doctorHelp + "\n\n" + awsHelp,
		Example:               doctorExamples,
		DisableFlagsInUseLine: true,
		Args:                  cobra.NoArgs,
		RunE:                  func(c *cobra.Command, _ []string) error { return f.run(c.Context(), t) },
	}
	c.Flags().BoolVar(&f.page, "page", false, "send one test page")
	f.add(c)
	return c
}

// examined is the output as JSON.
type examined struct {
	Schema   string            `json:"schema"`
	Findings []checkup.Finding `json:"findings"`
	// Page is the incident of the test page that was sent.
	Page string `json:"page,omitempty"`
}

func (f *doctorFlags) run(ctx context.Context, t terminal) error {
	if err := f.check(); err != nil {
		return err
	}
	needed := []stack.Output{stack.LedgerTable, stack.PoolIDs}
	if f.page {
		needed = append(needed, stack.AlertBusName)
	}
	p, err := f.open(ctx, t, needed...)
	if err != nil {
		return err
	}
	users := cognitoidentityprovider.NewFromConfig(p.aws)
	flags, own := f.again(p.aws.Region)
	doctor := checkup.Doctor{
		Settings: p.settings, Region: p.aws.Region, Flags: flags, Own: own, Functions: lambda.NewFromConfig(p.aws), Cognito: users, Users: cognito.New(users, cognito.Options{ListedOnly: true}),
		Tables: dynamodb.NewFromConfig(p.aws), Ledger: p.Ledger, Policy: p.Ports.Policy,
		Trails: cloudtrail.NewFromConfig(p.aws), Events: eventbridge.NewFromConfig(p.aws), Queues: sqs.NewFromConfig(p.aws),
		Messages: sns.NewFromConfig(p.aws), Schedules: scheduler.NewFromConfig(p.aws), Now: t.now,
	}
	found := examined{Schema: checkup.Schema, Findings: doctor.Examine(ctx)}
	if f.page {
		who, err := sts.NewFromConfig(p.aws).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return undone{fmt.Errorf("ask AWS who you are: %w", err)}
		}
		page := alert.Test(*who.Arn, t.now())
		if err := p.Ports.Alerts.Send(ctx, []alert.Alert{page}); err != nil {
			return undone{fmt.Errorf("send the test page: %w", err)}
		}
		found.Page = page.Incident
	}
	if f.output == "json" {
		e := json.NewEncoder(t.out)
		e.SetEscapeHTML(false)
		err = e.Encode(found)
	} else {
		err = t.print(found.text)
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if found.count(checkup.Failed) > 0 {
		return exit(exitUnmet)
	}
	return nil
}

// again are the flags by which a command asks the same AWS, and a command of
// relatch about the same stack.
func (f *doctorFlags) again(region string) (flags, own []string) {
	flags = []string{"--region", region}
	if f.profile != "" {
		flags = append(flags, "--profile", f.profile)
	}
	if f.endpoint != "" {
		flags = append(flags, "--endpoint-url", f.endpoint)
	}
	if f.stack != "" {
		own = []string{"--stack", f.stack}
	}
	return flags, own
}

func (e examined) count(s checkup.State) int {
	n := 0
	for _, f := range e.Findings {
		if f.State == s {
			n++
		}
	}
	return n
}

// columns are those of the text, and margin where what was found begins.
const columns, margin = 100, 20

func (e examined) text(w io.Writer) error {
	for _, f := range e.Findings {
		head := fmt.Sprintf("%-8s %-10s", f.State, f.Check)
		lines := report.Wrap(f.What, columns-margin)
		for _, command := range strings.Split(f.Remedy, "\n") {
			if prompt := "$ "; command != "" {
				if strings.HasPrefix(command, " ") {
					prompt = "" // it goes on
				}
				lines = append(lines, prompt+command)
			}
		}
		for _, line := range append(lines, report.Wrap(f.Advice, columns-margin)...) {
			fmt.Fprintf(w, "%-*s%s\n", margin, head, story.Clean(line))
			head = ""
		}
	}
	if e.Page != "" {
		fmt.Fprintln(w)
		for _, line := range report.Wrap("A test page was sent, "+e.Page+". On-call has to receive, as a critical one, a message that begins with "+
			`"TEST CRITICAL page of Relatch". If it has not come after five minutes, look at the targets of the bus's rules and at their dead letters.`, columns) {
			fmt.Fprintln(w, line)
		}
	}
	_, err := fmt.Fprintf(w, "\n%d failed, %s, %d ok\n", e.count(checkup.Failed), count(e.count(checkup.Warning), "warning"), e.count(checkup.OK))
	return err
}
