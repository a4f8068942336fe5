package functions_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"sort"
	"testing"
	"time"

	"github.com/stackflow/relatch/internal/lambdatest"
)

func TestMain(m *testing.M) { lambdatest.Main(m) }

func TestProbe(t *testing.T) {
	aws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(`{}`)) }))
	defer aws.Close()
	env := []string{"AWS_ENDPOINT_URL=" + aws.URL, "RELATCH_POOLS=us-east-1_EXAMPLE12", "RELATCH_OWN_ROLES=arn:aws:iam::123456789012:role/audit", "RELATCH_TABLE=relatch", "RELATCH_ALERT_BUS=relatch",
		"RELATCH_REENABLE_QUEUE_URL=http://127.0.0.1/123456789012/reenable", "RELATCH_REENABLE_QUEUE_ARN=arn:aws:sqs:us-east-1:123456789012:reenable", "RELATCH_DEAD_LETTERS_URL=http://127.0.0.1/123456789012/dead",
		"RELATCH_SCHEDULE_GROUP=relatch", "RELATCH_SCHEDULE_ROLE=arn:aws:iam::123456789012:role/s", "RELATCH_SCHEDULE_DEAD_LETTERS=arn:aws:sqs:us-east-1:123456789012:dead", "RELATCH_POLICY_PARAMETER=p"}
	event, _ := os.ReadFile("../events/not-relevant/01-list-users.json")
	if event == nil {
		event = []byte(`{"detail-type":"AWS API Call via CloudTrail","source":"aws.cognito-idp","detail":{"eventVersion":"1.11","eventSource":"cognito-idp.amazonaws.com","eventName":"ListUsers","eventTime":"2026-11-23T08:00:00Z","eventID":"e"}}`)
	}
	for _, p := range []string{"./internal/lambdatest/testdata/hello", "./functions/audit"} {
		b := lambdatest.Build(t, p)
		var all []time.Duration
		for range 12 {
			f := lambdatest.Start(t, b, env...)
			if _, err := f.Invoke(t.Context(), event); err != nil {
				t.Fatal(err)
			}
			all = append(all, f.FirstResponse())
			m, _ := f.PeakMemory()
			if len(all) == 12 {
				t.Log(p, m, f.Output())
			}
		}
		sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
		t.Log(p, all[0], all[6], all[11])
	}
}
