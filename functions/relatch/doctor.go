package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
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
a warning or failed, with the command that mends it:

  mode        enforce, not observe
  policy      the record mfa.required_roles is there, valid, and no weaker than the
              product's defaults
  pool        authenticator apps are enabled and MFA is OPTIONAL
  trigger     the pre token generation trigger is attached
  roles       no app client lets users write an attribute that reads like a role
  factors     AdminGetUserAuthFactors lists the token of a user who has one
  sms         the account is out of the SMS sandbox, if a pool allows SMS
  trail       CloudTrail logs management events, so that EventBridge gets them
  rule        is enabled, matches Cognito's calls, and sends to audit's queue
  alerts      the bus is there, and somebody receives them
  queues      empty, the dead-letter queues above all
  ledger      the table is there, with its index and deletion protection; the clock
              here agrees with that of AWS
  backups     the table has point-in-time recovery
  sweep       completed in the last 45 minutes
  timers      each open override that is not due yet has its own
  guard       nobody has touched Relatch itself

Nothing is changed. What cannot be looked at is a warning that says why.

--page sends one test page to the alert bus (events:PutEvents), marked as such: kind
test_page, severity critical, and a title that begins with TEST.

Who asks needs, besides what relatch status needs, cognito-idp:GetUserPoolMfaConfig,
DescribeUserPool, ListUserPoolClients, DescribeUserPoolClient and ListUsersInGroup;
sns:GetSMSSandboxAccountStatus; cloudtrail:DescribeTrails, GetTrailStatus and
GetEventSelectors; events:DescribeRule, ListTargetsByRule, DescribeEventBus and
ListRules; sqs:GetQueueAttributes; dynamodb:DescribeTable and
DescribeContinuousBackups; scheduler:GetSchedule.

Output: text, for 100 columns; json, relatch.doctor/1.

Exit status: 0 nothing failed, though there may be warnings; 1 something failed; 2
bad usage, or AWS cannot be asked at all.`

const doctorExamples = `  relatch doctor
  relatch doctor --profile prod --region eu-west-1 --stack relatch-prod
  relatch doctor --page
  relatch doctor --output json | jq -r '.findings[] | select(.state != "ok") | .remedy'`

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
	doctor := checkup.Doctor{
		Settings: p.settings, Region: p.aws.Region, Cognito: users, Users: cognito.New(users, cognito.Options{ListedOnly: true}),
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
		if f.Remedy != "" {
			lines = append(lines, report.Wrap("mend it: "+f.Remedy, columns-margin)...)
		}
		for _, line := range lines {
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
	_, err := fmt.Fprintf(w, "\n%d ok, %d warnings, %d failed\n", e.count(checkup.OK), e.count(checkup.Warning), e.count(checkup.Failed))
	return err
}
