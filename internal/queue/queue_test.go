package queue_test

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

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
