package queue_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/queue"
	"github.com/stackflow/relatch/internal/workertest"
)

func TestQueueOverTheWire(t *testing.T) {
	client := sqs.NewFromConfig(mototest.Start(t))
	workertest.Queue(t, func(t *testing.T) workertest.Mailbox {
		made, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: new("reenable")})
		if err != nil {
			t.Fatal(err)
		}
		return workertest.Mailbox{Queue: queue.New(client, *made.QueueUrl), Asked: func(t *testing.T) []string {
			out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: made.QueueUrl, MaxNumberOfMessages: 10})
			if err != nil {
				t.Fatal(err)
			}
			var asked []string
			for _, m := range out.Messages {
				var got queue.Message
				if err := json.Unmarshal([]byte(*m.Body), &got); err != nil {
					t.Fatalf("%s: %v", *m.Body, err)
				}
				if want := `{"pool_id":"` + string(got.Pool) + `","sub":"` + string(got.Sub) + `"}`; *m.Body != want {
					t.Errorf("the message is %s, not %s", *m.Body, want)
				}
				asked = append(asked, string(got.Pool)+"/"+string(got.Sub))
			}
			return asked
		}}
	})
}

func TestAQueueThatIsMissingIsAnError(t *testing.T) {
	client := sqs.NewFromConfig(mototest.Start(t))
	if err := queue.New(client, "http://127.0.0.1/"+mototest.Account+"/missing").Ask(t.Context(), workertest.Pool, "maria"); err == nil {
		t.Error("no error")
	}
}

// TestEvidenceIsKeptByteForByte: SQS takes neither an empty message nor every character.
func TestEvidenceIsKeptByteForByte(t *testing.T) {
	client := sqs.NewFromConfig(mototest.Start(t))
	made, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: new("dead")})
	if err != nil && !mototest.Lost(err) {
		t.Fatal(err)
	}
	dead := queue.NewDeadLetters(client, *made.QueueUrl)
	for _, c := range []struct{ raw, problem, told string }{
		{`{"detail":1}`, "no JSON", "no JSON"},
		{"tab\tand\r\nlines, é, 日本, \U0001F512", "it is", "it is"},
		{"", "nothing", "nothing"},
		{"\x00\x01\x1f", "has \x00 in it", "has   in it"},
		{"\xff\xfe no UTF-8", "bad \xff", "bad "},
		{"not a character: \uFFFE", "", "unknown"},
		{"base64:looks like one", strings.Repeat("é", 600), strings.Repeat("é", 512)},
	} {
		if err := dead.Keep(t.Context(), []byte(c.raw), c.problem); err != nil {
			t.Errorf("%q: %v", c.raw, err)
			continue
		}
		out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: made.QueueUrl, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"}})
		if err != nil || len(out.Messages) == 0 { // a second one of the same content is no harm
			t.Fatalf("%q: %d messages, %v", c.raw, len(out.Messages), err)
		}
		for _, m := range out.Messages {
			if got := original(t, m); got != c.raw {
				t.Errorf("%q is kept as %q", c.raw, got)
			}
			if got := *m.MessageAttributes["problem"].StringValue; got != c.told {
				t.Errorf("%q: the problem is %q, want %q", c.raw, got, c.told)
			}
		}
	}
}

// original is what was kept in the message, as its attribute encoding says.
func original(t *testing.T, m types.Message) string {
	t.Helper()
	switch encoding := *m.MessageAttributes["encoding"].StringValue; encoding {
	case "text":
		return *m.Body
	case "base64":
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(*m.Body, "base64:"))
		if err != nil {
			t.Error(err)
		}
		return string(raw)
	default:
		t.Errorf("encoding is %q", encoding)
		return ""
	}
}
