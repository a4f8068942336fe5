package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/refusaltest"
	"github.com/stackflow/relatch/internal/request"
	"github.com/stackflow/relatch/internal/wiretest"
	"github.com/stackflow/relatch/internal/worker"
)

// program runs the command as it is built, without a terminal.
func (c *city) program(t *testing.T, args ...string) said {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), lambdatest.Build(t, "./functions/relatch"), args...)
	for name, value := range c.environment("AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null") {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if exit, ok := errors.AsType[*exec.ExitError](cmd.Run()); !ok && cmd.ProcessState == nil {
		t.Fatal(exit)
	}
	return said{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// table is all that is in the ledger's table, whole, by its key.
func (c *city) table(t *testing.T) map[string]string {
	t.Helper()
	out, err := c.DynamoDB.Scan(t.Context(), &dynamodb.ScanInput{TableName: new(wiretest.Table), ConsistentRead: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	text := func(v types.AttributeValue) string { return v.(*types.AttributeValueMemberS).Value } //nolint:errcheck // a panic tells
	for _, it := range out.Items {
		names := slices.Sorted(maps.Keys(it))
		whole := ""
		for _, name := range names {
			switch v := it[name].(type) {
			case *types.AttributeValueMemberS:
				whole += name + "=" + v.Value + "\n"
			case *types.AttributeValueMemberN:
				whole += name + "=" + v.Value + "\n"
			default:
				whole += fmt.Sprintf("%s=%v\n", name, v)
			}
		}
		all[text(it["pk"])+" "+text(it["sk"])] = whole
	}
	return all
}

func TestTheCommandSaysWhyAJustificationDoesNotCount(t *testing.T) {
	c := build(t)
	other := c.Add(t, wiretest.Person{Pool: c.Pool, Name: "other"})
	for i, r := range append(refusaltest.Table(), refusaltest.Good()) {
		t.Run(r.Name, func(t *testing.T) {
			c.t = t
			person := wiretest.Person{Pool: c.Pool, Name: fmt.Sprint("user-", i)}
			if r.Address {
				person = wiretest.Person{Pool: c.EmailPool, Name: fmt.Sprintf("user-%d@example.com", i)}
			}
			p := refusaltest.Place{Account: "123456789012", Pool: person.Pool, Sub: c.Add(t, person), Called: person.Name, Other: other, Now: time.Now()}
			r.Prepare(t, c.ledger(), p)
			before := c.table(t)
			by, what := r.Asks(p)
			c.by.Store(new(strings.TrimPrefix(by, refusaltest.ARN(p.Account, "", ""))))
			args := []string{"justify", person.Name, "--reason", what.Reason, "--ticket", what.Ticket}
			if what.Do == request.Approve {
				args = []string{"approve", person.Name, what.Justification}
			}
			s := c.program(t, args...)
			if len(r.Failed) == 0 {
				has(t, s.out, "is on record, and justifies override O-OPEN of "+person.Name)
				return
			}
			blank := strings.TrimSpace(what.Reason) == "" && what.Do == request.Justify // bad usage: nobody is asked
			if blank && (s.code != 2 || !strings.Contains(s.err, "say what happened")) || !blank && (s.code != 1 || !strings.Contains(s.err, r.Says)) {
				t.Errorf("exit status %d, %s%s", s.code, s.out, s.err)
			}
			after := c.table(t)
			if r.Problem != "" {
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("the table (-before +after):\n%s", diff)
				}
				return
			}
			has(t, s.err, " is on record, but ", " override O-OPEN of "+person.Name)
			evidence := mfa.UserJournal(p.Pool, p.Sub) + " justification/"
			for key, item := range after {
				if was, there := before[key]; item != was && (there || !strings.HasPrefix(key, evidence) && !strings.HasPrefix(key, "ticket/")) {
					t.Errorf("%s was %q and is %q", key, was, item)
				}
			}
		})
	}
}

func TestTheCommandTellsAReasonThatNamesTheUser(t *testing.T) {
	c := build(t)
	sub := c.add(t, "maria", "itsm_manager")
	before := c.table(t)
	for _, args := range [][]string{
		{"override", "maria", "--reason", "Maria lost her phone on the train", "--ticket", "CHG0012345", "--dry-run"},
		{"override", "maria", "--reason", "Maria lost her phone on the train", "--ticket", "CHG0012345", "--yes"},
		{"justify", "maria", "--reason", "Maria lost her phone on the train", "--ticket", "CHG0012345"},
	} {
		has(t, c.says(t, 1, args...).err, "the reason or the ticket names the user: write it without the username and the address")
	}
	if diff := cmp.Diff(before, c.table(t)); diff != "" || len(c.Factors(t, c.Pool, sub)) != 1 {
		t.Errorf("the table (-before +after):\n%s", diff)
	}
}

// Somebody who may write the table makes it look as if another person had approved.
func TestVerifyFindsAnApprovalThatWasEdited(t *testing.T) {
	c := build(t)
	c.add(t, "bert", "itsm_manager")
	s := c.standing(t, "bert")
	s.Journal = mfa.UserJournal(c.Pool, c.subs["bert"])
	for i := range 2 {
		at := time.Now().UTC().AddDate(0, 0, -i-1).Truncate(time.Second)
		s.Past = append(s.Past, mfa.Past{ID: fmt.Sprint("O-", i), OpenedAt: at, ClosedAt: at.Add(time.Hour)})
	}
	if err := c.ledger().Append(t.Context(), worker.Step{Standing: s}); err != nil {
		t.Fatal(err)
	}
	override := []string{"override", "bert", reason, "--ticket", "CHG0050000", "--yes"}
	id := regexp.MustCompile(`J-[A-Z2-7]{10}`).FindString(c.says(t, 1, override...).err)
	c.by.Store(new("TeamLead/eva"))
	c.says(t, 0, "approve", "bert", id)
	c.by.Store(new("SupportAdmin/ops-7"))
	c.says(t, 0, override...)
	c.says(t, 0, "end", "bert")
	has(t, c.says(t, 0, "verify").out, "whole, as far as the ledger tells")

	key := map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: s.Journal}, "sk": &types.AttributeValueMemberS{Value: "justification/" + id + "/approval"},
	}
	out, err := c.DynamoDB.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: new(wiretest.Table), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	approval := out.Item["approval"].(*types.AttributeValueMemberS) //nolint:errcheck // a panic tells
	approval.Value = strings.Replace(approval.Value, "TeamLead/eva", "TeamLead/ines", 1)
	if _, err := c.DynamoDB.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: new(wiretest.Table), Item: out.Item}); err != nil {
		t.Fatal(err)
	}
	has(t, c.says(t, 1, "verify").out, "altered  "+s.Journal+": justification "+id+" or its approval is not what entry ")
}
