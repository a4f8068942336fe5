package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/checkup"
	"github.com/stackflow/relatch/internal/cloud"
	"github.com/stackflow/relatch/internal/config"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/wiretest"
	"github.com/stackflow/relatch/internal/worker"
)

// deployed is the stack in an account, with the functions' worker in this process.
func deployed(t *testing.T) *observed {
	t.Helper()
	stacktest.Tool(t, "jq", "its package has the name jq")
	a := stacktest.Deploy(t)
	d := &observed{Account: a.Account, now: time.Now().UTC().Truncate(time.Second)}
	for _, set := range append(stacktest.Shell(d.Account), "AWS_MAX_ATTEMPTS=1") { // what moto does not know it would not know the next time
		name, value, _ := strings.Cut(set, "=")
		t.Setenv(name, value)
	}
	settings, err := config.Read(a.Environment("reenable"))
	if err != nil {
		t.Fatal(err)
	}
	settings.AlertBus = "default" // moto fails where a rule sends to a topic
	loaded, err := cloud.Load(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	var strung []string
	for _, function := range []string{"audit", "reenable", "sweep", "override"} { // moto keeps numbers, which Lambda makes strings
		strung = append(strung, `aws lambda update-function-configuration --function-name relatch-`+function+` --environment "$(aws lambda get-function-configuration --function-name relatch-`+function+
			` | jq '.Environment | .Variables[] |= tostring')"`)
	}
	sh(t, strung...)
	clock := func() time.Time { return d.now }
	d.Cloud = cloud.Open(loaded, settings, clock)
	d.worker = worker.New(settings.House(), d.Ports, clock)
	return d
}

// sh runs commands as somebody who pastes them does, all at once.
func sh(t *testing.T, commands ...string) {
	t.Helper()
	var all sync.WaitGroup
	for _, command := range commands {
		all.Go(func() {
			if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%.2000s", command, err, out)
			}
		})
	}
	all.Wait()
}

// doctor returns what it finds that is not ok, but for what is unknown on these
// servers: the sandbox, AdminGetUserAuthFactors, and backups.
func (d *observed) doctor(t *testing.T) (int, []checkup.Finding) {
	t.Helper()
	code, out, errs := d.run(t, "doctor", "--output", "json")
	var seen examined
	if err := json.Unmarshal([]byte(out), &seen); err != nil {
		t.Fatalf("exit status %d: %v\n%s%s", code, err, out, errs)
	}
	return code, slices.DeleteFunc(seen.Findings, func(f checkup.Finding) bool {
		return f.State == checkup.OK || f.State == checkup.Warning && slices.Contains([]string{"sms", "factors", "backups"}, f.Check)
	})
}

// lines are the findings in a line each.
func lines(found []checkup.Finding) string {
	var out strings.Builder
	for _, f := range found {
		fmt.Fprintf(&out, "%s %s: %s\n", f.State, f.Check, f.What)
	}
	return out.String()
}

// TestDoctorOnTheStack brings the stack that moto makes to health by nothing but
// doctor's remedies, then spoils one thing after the other, and mends it by the
// remedy again.
func TestDoctorOnTheStack(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the AWS CLI a hundred times")
	}
	d := deployed(t)
	d.Bucket(t, "calls")
	d.MakeQueues(t, wiretest.AlertQueue)
	const topic = "arn:aws:sns:us-east-1:123456789012:relatch-oncall"
	const subscribed = "aws sns list-subscriptions-by-topic --topic-arn " + topic + " --query Subscriptions[0].SubscriptionArn --output text"
	t.Run("what moto leaves out of a stack", func(t *testing.T) {
		// The stack was told of a trail that nobody has made; moto selects no events.
		sh(t, "aws cloudtrail create-trail --name management --s3-bucket-name calls && aws cloudtrail start-logging --name management")
		_, found := d.doctor(t)
		var commands []string
		for _, f := range found {
			if f.Check == "sweep" {
				d.sweep(t) // moto runs no functions
			} else {
				commands = append(commands, f.Remedy)
			}
		}
		sh(t, commands...)
		if code, found := d.doctor(t); code != 0 || len(found) > 0 {
			t.Fatalf("exit status %d\n%s", code, lines(found))
		}
	})

	maria := d.Add(t, wiretest.Person{Pool: d.Pool, Name: "maria", Roles: []mfa.Role{"itsm_manager"}, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP}})
	d.sweep(t)
	d.disable(t, d.Pool, maria, "e-1")
	d.Take(t, wiretest.ReenableQueue)
	pool, timer := string(d.Pool), *d.Schedules(t)[0].Name
	client := stacktest.CLI(t, d.Account, "cognito-idp", "list-user-pool-clients", "--user-pool-id", pool, "--query", "UserPoolClients[0].ClientId", "--output", "text")
	id := stacktest.CLI(t, d.Account, "lambda", "list-event-source-mappings", "--function-name", "relatch-audit", "--query", "EventSourceMappings[0].UUID", "--output", "text")
	sh(t, "aws cognito-idp add-custom-attributes --user-pool-id "+pool+" --custom-attributes Name=role,AttributeDataType=String,Mutable=true")
	put := func(pattern string) string {
		return "aws events put-rule --name relatch-mfa --event-pattern '" + pattern + "'"
	}
	redrive := func(policy string) { // the AWS CLI 1 asks queues where their URLs say, which on moto are AWS's
		if _, err := d.SQS.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
			QueueUrl: new(d.URL(wiretest.ReenableQueue)), Attributes: map[string]string{"RedrivePolicy": policy},
		}); err != nil {
			t.Fatal(err)
		}
	}
	rows := []struct {
		round       int
		name, spoil string // a command
		with        func() // instead of one
		want        string // the line that comes of it, and no other
		remedy      string // part of it
		mend        func() // where moto cannot do what the remedy says
	}{
		{
			round: 1, name: "a rule that is disabled", spoil: "aws events disable-rule --name relatch-mfa",
			want: "failed rule: the rule relatch-mfa is disabled: no disable is seen until a sweep finds it", remedy: "aws --region us-east-1 events enable-rule --name relatch-mfa",
		},
		{
			round: 1, name: "a rule that is deleted", spoil: "aws events remove-targets --rule relatch-guard --ids audit && aws events delete-rule --name relatch-guard",
			want: "failed rule: there is no rule relatch-guard: nobody sees what is done to Relatch itself", remedy: "put-rule --name relatch-guard --event-pattern",
		},
		{
			round: 2, name: "a target that is removed", spoil: "aws events remove-targets --rule relatch-mfa --ids audit",
			want: "failed rule: the rule relatch-mfa does not send to relatch-audit: no disable is seen", remedy: "put-targets --rule relatch-mfa",
		},
		{
			round: 3, name: "a target that gets something else", spoil: `aws events put-targets --rule relatch-mfa --targets '[{"Id":"audit","Arn":"` + wiretest.AuditQueue.ARN() + `","InputPath":"$.id","DeadLetterConfig":{"Arn":"` + wiretest.AuditQueue.ARN() + `"}}]'`,
			want: "failed rule: the rule relatch-mfa sends to relatch-audit something else than the event", remedy: "put-targets --rule relatch-mfa",
		},
		{
			round: 4, name: "a pattern with fewer names", spoil: put(`{"source":["aws.cognito-idp"],"detail":{"eventName":["SetUserMFAPreference"]}}`),
			want: "failed rule: the rule relatch-mfa lets less through than it was shipped with: detail.eventName lacks AdminSetUserMFAPreference, AdminSetUserSettings,", remedy: "put-rule --name relatch-mfa --event-pattern",
		},
		{
			round: 2, name: "a pattern with an exception", spoil: `aws events put-rule --name relatch-guard --event-pattern "$(aws events describe-rule --name relatch-guard --query EventPattern --output text |
				jq -c '.detail.userIdentity = {arn: [{"anything-but": ["arn:aws:iam::1:user/eve"]}]}')"`,
			want: `failed rule: the rule relatch-guard lets less through than it was shipped with: it also asks for detail.userIdentity {"arn":[{"anything-but":["arn:aws:iam::1:user/eve"]}]}`, remedy: "put-rule --name relatch-guard",
		},
		{
			round: 1, name: "alerts that are not sent on", spoil: "aws events disable-rule --name relatch-loud --event-bus-name relatch-alerts",
			want: "failed alerts: the rule relatch-loud is disabled: alerts do not reach whom it tells", remedy: "enable-rule --name relatch-loud --event-bus-name relatch-alerts",
		},
		{
			round: 2, name: "nobody who gets the alerts", spoil: "aws sns unsubscribe --subscription-arn $(" + subscribed + ")",
			want: "failed alerts: nobody is reached: ", remedy: "aws --region us-east-1 sns subscribe --topic-arn " + topic + " --protocol email --notification-endpoint security@example.com",
		},
		{
			round: 1, name: "a subscription with a filter", spoil: "aws sns set-subscription-attributes --subscription-arn $(" + subscribed + ")" + ` --attribute-name FilterPolicy --attribute-value '{"severity":["info"]}'`,
			want: "warning alerts: the subscription of email security@example.com to the topic relatch-oncall has a filter", remedy: "set-subscription-attributes",
		},
		{
			round: 1, name: "a dead letter", with: func() { d.Send(t, wiretest.DeadLetters, "{}") }, mend: func() { d.Take(t, wiretest.DeadLetters) },
			want: "failed queues: messages in the dead-letter queue relatch-audit-dead-letters: 1,", remedy: "sqs start-message-move-task --source-arn arn:aws:sqs:us-east-1:123456789012:relatch-audit-dead-letters",
		},
		{
			round: 2, name: "a letter", with: func() { d.Send(t, wiretest.AuditQueue, "{}") }, mend: func() { d.Take(t, wiretest.AuditQueue) },
			want: "warning queues: messages that wait in the queue relatch-audit: 1", remedy: "sqs receive-message",
		},
		{
			round: 4, name: "a queue without dead letters", with: func() { redrive("") }, mend: func() {
				redrive(`{"deadLetterTargetArn":"` + wiretest.ReenableQueue.ARN() + `-dead-letters","maxReceiveCount":"10"}`)
			},
			want: "failed queues: the queue relatch-reenable has no dead-letter queue", remedy: `relatch-reenable-dead-letters\",\"maxReceiveCount\":\"10\"}"}`,
		},
		{
			round: 1, name: "a timer that is gone", spoil: "aws scheduler delete-schedule --group-name relatch --name " + timer, mend: func() { d.sweep(t) },
			want: "failed timers: O-", remedy: "lambda invoke --function-name relatch-sweep",
		},
		{
			round: 1, name: "a trail that is stopped", spoil: "aws cloudtrail stop-logging --name management",
			want: "failed trail: no trail logs management events here, so EventBridge gets no calls: management is stopped", remedy: "cloudtrail start-logging --name management",
		},
		{
			round: 2, name: "a trail of other events", spoil: `aws cloudtrail put-event-selectors --trail-name management --event-selectors '[{"ReadWriteType":"ReadOnly","IncludeManagementEvents":true}]'`,
			want: "failed trail: no trail logs management events here, so EventBridge gets no calls: management logs no management events that write", remedy: "cloudtrail put-event-selectors",
		},
		{
			round: 1, name: "TOTP off", spoil: "aws cognito-idp set-user-pool-mfa-config --user-pool-id " + pool + " --mfa-configuration OPTIONAL --software-token-mfa-configuration Enabled=false",
			want: "failed pool: " + pool + ": authenticator apps (TOTP) are not enabled", remedy: "set-user-pool-mfa-config",
		},
		{
			round: 2, name: "a pool that asks nobody", spoil: "aws cognito-idp set-user-pool-mfa-config --user-pool-id " + pool + " --mfa-configuration OFF --software-token-mfa-configuration Enabled=true",
			want: "failed pool: " + pool + ": MFA is OFF: nobody is asked for a second factor", remedy: "set-user-pool-mfa-config",
		},
		{
			round: 3, name: "a trigger that is detached", spoil: "aws cognito-idp update-user-pool --user-pool-id " + pool + " --lambda-config '{}'",
			want: "failed trigger: " + pool + ": there is no pre token generation trigger", remedy: "StackFlowCognitoPreToken",
		},
		{
			round: 1, name: "an attribute that users write", spoil: "aws cognito-idp update-user-pool-client --user-pool-id " + pool + " --client-id " + client + " --write-attributes email custom:role",
			want: "failed roles: " + pool + ": users can write custom:role of their own by app client " + client, remedy: "update-user-pool-client",
		},
		{
			round: 1, name: "no record", spoil: `aws dynamodb delete-item --table-name StackFlow_SystemProperty --key '{"name":{"S":"mfa.required_roles"}}'`,
			want: "failed policy: there is no record mfa.required_roles in the table StackFlow_SystemProperty", remedy: "dynamodb update-item --table-name StackFlow_SystemProperty",
		},
		{
			round: 2, name: "a record that says nothing", with: func() { d.SetPolicy(t, `{"mfa_enforcement": {"required_roles": "all"}}`) },
			want: "failed policy: the record in the table StackFlow_SystemProperty cannot be used: ", remedy: "dynamodb update-item",
		},
		{
			round: 3, name: "a weaker record", with: func() { d.SetPolicy(t, `["super_admin"]`) },
			want: "warning policy: the record in the table StackFlow_SystemProperty is weaker than the product's defaults: ", remedy: "dynamodb update-item",
		},
		{
			round: 1, name: "a mapping that is disabled", spoil: "aws lambda update-event-source-mapping --uuid " + id + " --no-enabled",
			want: "failed functions: the event source mapping from the queue relatch-audit to relatch-audit is Disabled: nothing is handled", remedy: "update-event-source-mapping --uuid " + id + " --enabled",
		},
		{
			round: 1, name: "a schedule that is disabled", spoil: `aws scheduler update-schedule --cli-input-json "$(aws scheduler get-schedule --name relatch-sweep --group-name relatch-sweep | jq 'del(.Arn, .CreationDate, .LastModificationDate) | .State = "DISABLED"')"`,
			want: "failed functions: the schedule relatch-sweep is disabled", remedy: "scheduler update-schedule",
		},
		{
			round: 1, name: "a function that may not run", spoil: "aws lambda put-function-concurrency --function-name relatch-reenable --reserved-concurrent-executions 0",
			want: "failed functions: the function relatch-reenable may not run: its reserved concurrency is 0", remedy: "put-function-concurrency --function-name relatch-reenable --reserved-concurrent-executions 2",
		},
		{
			round: 2, name: "a mapping with a filter", spoil: "aws lambda update-event-source-mapping --uuid " + id + ` --filter-criteria '{"Filters":[{"Pattern":"{}"}]}'`,
			want: "failed functions: the event source mapping from the queue relatch-audit to relatch-audit has a filter", remedy: "--filter-criteria",
		},
		{
			round: 3, name: "another one who takes the messages", spoil: "aws lambda create-event-source-mapping --function-name relatch-override --batch-size 1 --event-source-arn " + wiretest.AuditQueue.ARN(),
			want: "failed functions: the function relatch-override also takes messages from the queue relatch-audit", remedy: "delete-event-source-mapping --uuid",
		},
		{
			round: 1, name: "a table that can be deleted", spoil: "aws dynamodb update-table --table-name relatch --no-deletion-protection-enabled",
			want: "failed ledger: the table relatch can be deleted", remedy: "dynamodb update-table --table-name relatch --deletion-protection-enabled",
		},
		{
			round: 3, name: "no sweep", with: func() { d.now = d.now.Add(46 * time.Minute) }, mend: func() { d.now = d.now.Add(-46 * time.Minute) },
			want: "failed sweep: the last complete sweep was 46 min ago", remedy: "lambda invoke --function-name relatch-sweep",
		},
	}
	for round := 1; round <= 4; round++ { // each spoils other things
		var commands []string
		for _, c := range rows {
			switch {
			case c.round != round:
			case c.spoil != "":
				commands = append(commands, c.spoil)
			default:
				c.with()
			}
		}
		sh(t, commands...)
		_, found := d.doctor(t)
		commands = nil
		for _, c := range rows {
			if c.round != round {
				continue
			}
			i := slices.IndexFunc(found, func(f checkup.Finding) bool { return strings.HasPrefix(lines([]checkup.Finding{f}), c.want) })
			if i < 0 || !strings.Contains(found[i].Remedy, c.remedy) {
				t.Errorf("%s\nwant %s\n%s", c.name, c.want, c.remedy)
				continue
			}
			if c.mend == nil {
				commands = append(commands, found[i].Remedy)
			} else {
				c.mend()
			}
			found = slices.Delete(found, i, i+1)
		}
		if len(found) > 0 {
			t.Errorf("round %d: besides there is\n%s", round, lines(found))
		}
		sh(t, commands...)
	}
	if code, found := d.doctor(t); code != 0 || len(found) > 0 {
		t.Errorf("mended: exit status %d\n%s", code, lines(found))
	}
	t.Run("the output", func(t *testing.T) { d.page(t) })
	t.Run("observe mode", func(t *testing.T) { // the last: moto cannot update the stack with all the parameters of the remedy
		sh(t, "aws cloudformation update-stack --stack-name relatch --use-previous-template --capabilities CAPABILITY_NAMED_IAM --parameters ParameterKey=Mode,ParameterValue=observe "+
			"ParameterKey=TrailArn,UsePreviousValue=true ParameterKey=UserPoolArns,UsePreviousValue=true ParameterKey=AlertEmail,UsePreviousValue=true")
		_, found := d.doctor(t)
		if !slices.ContainsFunc(found, func(f checkup.Finding) bool {
			return f.Check == "mode" && strings.HasPrefix(f.What, "OBSERVE MODE: nothing is restored") && strings.Contains(f.Remedy, "ParameterKey=Mode,ParameterValue=enforce ParameterKey=UserPoolArns,UsePreviousValue=true")
		}) {
			t.Errorf("%+v", found)
		}
	})
}

func TestWhatDoctorPrintsCanBePasted(t *testing.T) {
	var out strings.Builder
	if err := (examined{Findings: []checkup.Finding{
		{Check: "queues", State: checkup.Failed, What: "messages in the dead-letter queue relatch-audit-dead-letters: 1, and 0 in somebody's hands: evidence", Remedy: "aws sqs receive-message\naws sqs start-message-move-task", Advice: "read them first"},
		{Check: "pool", State: checkup.Warning, What: "MFA is ON", Remedy: "aws cognito-idp set-user-pool-mfa-config --cli-input-json \"$(aws cognito-idp get-user-pool-mfa-config --output json |\n  jq .)\""},
		{Check: "sweep", State: checkup.OK, What: "the last complete sweep was \x1b[2J3 min ago"},
	}}).text(&out); err != nil {
		t.Fatal(err)
	}
	const want = `failed   queues     messages in the dead-letter queue relatch-audit-dead-letters: 1, and 0 in
                    somebody's hands: evidence
                    $ aws sqs receive-message
                    $ aws sqs start-message-move-task
                    read them first
warning  pool       MFA is ON
                    $ aws cognito-idp set-user-pool-mfa-config --cli-input-json "$(aws cognito-idp get-user-pool-mfa-config --output json |
                      jq .)"
ok       sweep      the last complete sweep was [2J3 min ago

1 failed, 1 warning, 1 ok
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// page looks at the text, and has the test page sent.
func (d *observed) page(t *testing.T) {
	sh(t, "aws events disable-rule --name relatch-mfa && aws events remove-targets --rule relatch-loud --event-bus-name relatch-alerts --ids topic && "+
		"aws events remove-targets --rule relatch-quiet --event-bus-name relatch-alerts --ids topic && aws sns subscribe --topic-arn arn:aws:sns:us-east-1:123456789012:relatch-oncall --protocol sqs --notification-endpoint "+wiretest.AlertQueue.ARN()+
		" && aws events put-rule --name on-call --event-bus-name relatch-alerts --event-pattern '{\"source\":[\"relatch\"]}' && aws events put-targets --rule on-call --event-bus-name relatch-alerts --targets Id=queue,Arn="+wiretest.AlertQueue.ARN())
	code, out, errs := d.run(t, "doctor", "--page", "--stack", "relatch")
	if code != 1 || !strings.HasPrefix(out, "failed   rule       the rule relatch-mfa is disabled: no disable is seen until a sweep finds it\n"+
		"                    $ aws --region us-east-1 events enable-rule --name relatch-mfa\n") || !strings.Contains(out, "A test page was sent") || !strings.HasSuffix(out, " ok\n") {
		t.Errorf("exit status %d: %s%s", code, out, errs)
	}
	command := false
	for line := range strings.Lines(out) { // commands are in one piece
		command = strings.HasPrefix(strings.TrimSpace(line), "$ ") || command && strings.HasPrefix(line, strings.Repeat(" ", margin+2))
		if len([]rune(strings.TrimRight(line, "\n"))) > columns && !command {
			t.Errorf("more than %d columns: %s", columns, line)
		}
	}
	sent := d.Take(t, wiretest.AlertQueue)
	if len(sent) == 0 {
		t.Fatal("no page arrived")
	}
	var event struct {
		Detail alert.Alert `json:"detail"`
	}
	if err := json.Unmarshal([]byte(*sent[0].Body), &event); err != nil {
		t.Fatal(err)
	}
	if p := event.Detail; p.Kind != alert.TestPage || p.Severity != mfa.Critical || p.State != mfa.StateNoted || !strings.HasPrefix(p.Title, "TEST ") {
		t.Errorf("sent: %+v", p)
	}
}
