package functions_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/queue"
	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/wiretest"
)

func TestTheAWSCLISeesAndEndsAnOverride(t *testing.T) {
	aws := newCLI(t)
	a := stacktest.Open(t)
	aws.env = append(aws.env, a.Here("AWS_DEFAULT_REGION="+mototest.Region)...) // version 1 does not know AWS_REGION
	audit := lambdatest.Start(t, lambdatest.Build(t, "./functions/audit"), a.Environment("audit")...)
	reenable := lambdatest.Start(t, lambdatest.Build(t, "./functions/reenable"), a.Environment("reenable")...)
	const maria = "maria@example.com"
	pool, sub := a.EmailPool, a.Add(t, wiretest.Person{
		Pool: a.EmailPool, Name: maria, Roles: []mfa.Role{"itsm_manager"}, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP},
	})
	takes := func(f *lambdatest.Function, q wiretest.Queue) {
		t.Helper()
		answer, err := f.Invoke(t.Context(), wiretest.Batch(t, q, a.Take(t, q)...))
		if err != nil || string(answer) != `{"batchItemFailures":[]}` {
			t.Fatalf("%s, %v", answer, err)
		}
	}
	user := func(t *testing.T) (seen struct {
		UserMFASettingList  []string
		PreferredMfaSetting string
	},
	) {
		t.Helper()
		aws.says(t, &seen, "cognito-idp", "admin-get-user", "--user-pool-id", string(pool), "--username", maria)
		return seen
	}
	entries := func(t *testing.T) (records []mfa.Record) {
		t.Helper()
		var found struct {
			Items []struct{ Record struct{ S string } }
		}
		aws.says(t, &found, "dynamodb", "query", "--table-name", wiretest.Table, "--consistent-read",
			"--key-condition-expression", "pk = :journal and begins_with(sk, :entry)",
			"--expression-attribute-values", `{":journal":{"S":"`+mfa.UserJournal(pool, sub)+`"},":entry":{"S":"entry/"}}`)
		for _, item := range found.Items {
			var r mfa.Record
			decode(t, item.Record.S, &r)
			records = append(records, r)
		}
		return records
	}
	open := func(t *testing.T) (journals []string) {
		t.Helper()
		var found struct {
			Items []struct{ PK struct{ S string } }
		}
		aws.says(t, &found, "dynamodb", "query", "--table-name", wiretest.Table, "--index-name", "open",
			"--key-condition-expression", "#pool = :pool", "--expression-attribute-names", `{"#pool":"pool"}`,
			"--expression-attribute-values", `{":pool":{"S":"`+string(pool)+`"}}`)
		for _, item := range found.Items {
			journals = append(journals, item.PK.S)
		}
		return journals
	}
	alerts := func(t *testing.T) (said []mfa.Alert) {
		t.Helper()
		var received struct{ Messages []struct{ Body string } }
		aws.says(t, &received, "sqs", "receive-message", "--endpoint-url", *a.Moto.BaseEndpoint, // version 1 does not take it from the environment
			"--queue-url", a.URL(wiretest.AlertQueue), "--max-number-of-messages", "10", "--visibility-timeout", "600")
		for _, m := range received.Messages {
			var event struct{ Detail alert.Alert }
			decode(t, m.Body, &event)
			if event.Detail.User == nil || event.Detail.User.Username != string(sub) && event.Detail.User.Username != maria {
				t.Errorf("an alert about %+v", event.Detail.User)
			}
			said = append(said, event.Detail.Alert)
		}
		return slices.Compact(said) // moto may have one twice
	}

	aws.does(t, "cognito-idp", "admin-set-user-mfa-preference", "--user-pool-id", string(pool), "--username", maria,
		"--software-token-mfa-settings", "Enabled=false,PreferredMfa=false")
	at := time.Now().UTC().Add(-2 * time.Minute).Truncate(time.Second)
	off := disable(pool, sub, "cli-1", at)
	a.Put(t, off)
	takes(audit, wiretest.AuditQueue)

	opened := entries(t)
	if len(opened) != 1 || opened[0].Verdict != mfa.Opens || opened[0].User == nil || opened[0].User.Sub != sub || opened[0].Override == nil {
		t.Fatalf("ledger: %+v", opened)
	}
	override := opened[0].Override
	timer := mfa.TimerName(override.ID)
	said := mfa.Alert{Kind: mfa.RequiredRoleWithoutMFA, Severity: mfa.Critical, State: mfa.StateTriggered, Incident: "override/" + override.ID}
	schedule := []string{"scheduler", "get-schedule", "--group-name", wiretest.ScheduleGroup, "--name", timer}
	t.Run("while it is open", func(t *testing.T) {
		t.Run("the user", func(t *testing.T) {
			t.Parallel()
			if seen := user(t); len(seen.UserMFASettingList) > 0 {
				t.Errorf("MFA is on: %v", seen)
			}
		})
		t.Run("the schedule", func(t *testing.T) {
			t.Parallel()
			var listed struct{ Schedules []struct{ Name string } }
			aws.says(t, &listed, "scheduler", "list-schedules", "--group-name", wiretest.ScheduleGroup)
			if len(listed.Schedules) != 1 || listed.Schedules[0].Name != timer {
				t.Errorf("schedules %v, not %s", listed.Schedules, timer)
			}
			var s struct {
				ScheduleExpression string
				Target             struct{ Arn, Input string }
			}
			aws.says(t, &s, schedule...)
			if want := at.Add(24*time.Hour + time.Minute - 1).Truncate(time.Minute).Format("at(2006-01-02T15:04:05)"); s.ScheduleExpression != want {
				t.Errorf("it fires %s, not %s", s.ScheduleExpression, want)
			}
			var payload queue.Message
			decode(t, s.Target.Input, &payload)
			if payload.Pool != pool || payload.Sub != sub || s.Target.Arn != wiretest.ReenableQueue.ARN() {
				t.Errorf("it sends %s to %s", s.Target.Input, s.Target.Arn)
			}
		})
		t.Run("the ledger", func(t *testing.T) {
			t.Parallel()
			if !override.OpenedAt.Equal(at) || !override.Deadline.Equal(at.Add(24*time.Hour)) || opened[0].Cause.Key == "" {
				t.Errorf("%+v of %+v", override, opened[0].Cause)
			}
			if diff := cmp.Diff([]string{mfa.UserJournal(pool, sub)}, open(t)); diff != "" {
				t.Errorf("open (-want +got):\n%s", diff)
			}
		})
		t.Run("on-call", func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff([]mfa.Alert{said}, alerts(t)); diff != "" {
				t.Errorf("alerts (-want +got):\n%s", diff)
			}
		})
		t.Run("the alert bus", func(t *testing.T) {
			t.Parallel()
			var bus struct{ Name string }
			aws.says(t, &bus, "events", "describe-event-bus", "--name", wiretest.AlertBus)
			if bus.Name != wiretest.AlertBus {
				t.Errorf("bus %q", bus.Name)
			}
		})
	})

	for _, command := range byHand(t) {
		aws.does(t, strings.Fields(strings.NewReplacer("POOL", string(pool), "SUB", string(sub)).Replace(command))...)
	}

	on := strings.NewReplacer("cli-1", "cli-2", at.Format(time.RFC3339), at.Add(time.Minute).Format(time.RFC3339),
		`"enabled":false,"preferredMfa":false`, `"enabled":true,"preferredMfa":true`).Replace(off)
	a.Put(t, on)
	takes(audit, wiretest.AuditQueue)
	takes(reenable, wiretest.ReenableQueue) // it is asked to sign the user out

	t.Run("when a person has ended it as the runbook says", func(t *testing.T) {
		t.Run("the user", func(t *testing.T) {
			t.Parallel()
			if seen := user(t); !slices.Equal(seen.UserMFASettingList, []string{"SOFTWARE_TOKEN_MFA"}) || seen.PreferredMfaSetting != "SOFTWARE_TOKEN_MFA" {
				t.Errorf("the user has %v", seen)
			}
		})
		t.Run("the schedule", func(t *testing.T) {
			t.Parallel()
			if out, err := aws.run(t, schedule...); err == nil || !strings.Contains(err.Error(), "ResourceNotFoundException") {
				t.Errorf("%s, %v", out, err)
			}
		})
		t.Run("the ledger", func(t *testing.T) {
			t.Parallel()
			all := entries(t)
			if len(all) < 2 || all[1].Verdict != mfa.Closes || all[1].Override == nil || all[1].Override.Closed != mfa.Reenabled || all[1].Override.ID != override.ID {
				t.Errorf("ledger: %+v", all)
			}
			if journals := open(t); len(journals) > 0 {
				t.Errorf("open: %v", journals)
			}
		})
		t.Run("on-call", func(t *testing.T) {
			t.Parallel()
			resolved := said
			resolved.State = mfa.StateResolved
			if diff := cmp.Diff([]mfa.Alert{resolved}, alerts(t)); diff != "" {
				t.Errorf("alerts (-want +got):\n%s", diff)
			}
		})
	})
}

// byHand has the commands by which the runbook has a person end an override who has
// nothing but the AWS CLI, without their first word.
func byHand(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../infra/runbook/required_role_without_mfa.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "by hand; for SMS it is `--sms-mfa-settings`:\n\n   ```sh\n")
	block, _, _ = strings.Cut(block, "   ```")
	var commands []string
	for line := range strings.Lines(block) {
		commands = append(commands, strings.TrimPrefix(strings.TrimSpace(line), "aws "))
	}
	if len(commands) != 2 {
		t.Fatalf("the page has not two commands that end an override: %q", commands)
	}
	return commands
}

// cli is the AWS CLI, version 1 or 2.
type cli struct {
	path string
	env  []string
}

// newCLI takes nothing from the AWS settings of whoever runs the test.
func newCLI(t *testing.T) *cli {
	t.Helper()
	path := stacktest.Tool(t, "aws", "python3 -m pip install 'awscli>=1.44,<2', or version 2")
	env := slices.DeleteFunc(os.Environ(), func(set string) bool { return strings.HasPrefix(set, "AWS_") })
	return &cli{path, append(env, "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_PAGER=", "AWS_DEFAULT_OUTPUT=json")}
}

// run returns what the command prints. The error has what it says of one.
func (c *cli) run(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.path, args...)
	cmd.Env = c.env
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%w: %s", err, &said)
	}
	return out, nil
}

// does runs a command that must succeed.
func (c *cli) does(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := c.run(t, args...)
	if err != nil {
		t.Fatalf("aws %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// says decodes what a command prints into a value.
func (c *cli) says(t *testing.T, into any, args ...string) {
	t.Helper()
	decode(t, string(c.does(t, args...)), into)
}

// decode decodes JSON; nothing at all is no change.
func decode(t *testing.T, text string, into any) {
	t.Helper()
	if strings.TrimSpace(text) == "" {
		return // receive-message without a message
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}
