package queue_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/queue"
)

var asked = queue.Look{
	Kind: mfa.Asked, Pool: "us-east-1_EXAMPLE12", Sub: "s-1", By: "arn:aws:iam::111122223333:user/tom",
	At: time.Date(2026, 11, 23, 3, 12, 4, 0, time.UTC),
}

func TestALookIsReadAsItWasSent(t *testing.T) {
	client := sqs.NewFromConfig(mototest.Start(t))
	made, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: new("audit")})
	if err != nil {
		t.Fatal(err)
	}
	if err := queue.NewAudit(client, *made.QueueUrl).Look(t.Context(), asked); err != nil {
		t.Fatal(err)
	}
	out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: made.QueueUrl})
	if err != nil || len(out.Messages) != 1 {
		t.Fatalf("%v, %v", out, err)
	}
	const want = `{"look":"asked","pool_id":"us-east-1_EXAMPLE12","sub":"s-1","by":"arn:aws:iam::111122223333:user/tom","at":"2026-11-23T03:12:04Z"}`
	if *out.Messages[0].Body != want {
		t.Errorf("sent: %s", *out.Messages[0].Body)
	}
	got, is, err := queue.ReadLook([]byte(*out.Messages[0].Body))
	if diff := cmp.Diff(asked, got); err != nil || !is || diff != "" {
		t.Errorf("%t, %v (-sent +read):\n%s", is, err, diff)
	}
}

func TestOnlyAMessageWithTheMemberLookIsOne(t *testing.T) {
	good, err := json.Marshal(asked)
	if err != nil {
		t.Fatal(err)
	}
	with := func(part, other string) string { return strings.Replace(string(good), part, other, 1) }
	for message, want := range map[string]bool{
		string(good): true, with(`"asked"`, `"due"`): true, with(`"asked"`, `null`): true, with(`"s-1"`, `""`): true, with(`"us-east-1_EXAMPLE12"`, `7`): true,
		with(`"arn:aws:iam::111122223333:user/tom"`, `""`): true, with(`"2026-11-23T03:12:04Z"`, `"now"`): true, with(`,"at":"2026-11-23T03:12:04Z"`, ""): true,
		with("}", `,"override":"O-1"}`): true, with(`"sub"`, `"Sub"`): true,
		with(`"look"`, `"Look"`): false, `{"detail":` + string(good) + `}`: false, `{"userAgent":"look"}`: false,
		`["look"]`: false, `"look"`: false, `{"look":"asked"`: false, `{}`: false, ``: false,
	} {
		got, is, err := queue.ReadLook([]byte(message))
		usable := message == string(good)
		if is != want || errors.Is(err, queue.ErrLook) != (is && !usable) || !usable && got != (queue.Look{}) {
			t.Errorf("%s: a look: %t, %v, %+v", message, is, err, got)
		}
	}
}
