// Package functions_test plays whole stories with the functions as they are
// shipped: compiled, under a Runtime API server, on moto and DynamoDB Local.
package functions_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/wiretest"
)

func TestMain(m *testing.M) { lambdatest.Main(m) }

// disable is CloudTrail's record of an administrator's disable.
func disable(pool mfa.PoolID, sub mfa.Sub, id string, at time.Time) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:ops-7","arn":"arn:aws:sts::123456789012:assumed-role/SupportAdmin/ops-7","accountId":"123456789012",
"sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::123456789012:role/SupportAdmin","accountId":"123456789012","userName":"SupportAdmin"}}},
"eventTime":%q,"eventSource":"cognito-idp.amazonaws.com","eventName":"AdminSetUserMFAPreference","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.7","userAgent":"aws-cli/2.31",
"requestParameters":{"userPoolId":%q,"username":"HIDDEN_DUE_TO_SECURITY_REASONS","softwareTokenMfaSettings":{"enabled":false,"preferredMfa":false}},"responseElements":null,
"additionalEventData":{"sub":%q},"requestID":"r-%s","eventID":%q,"readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"123456789012","eventCategory":"Management"}`,
		at.UTC().Format(time.RFC3339), pool, sub, id, id)
}

func TestADisableIsEndedOverTheWire(t *testing.T) {
	a := wiretest.Open(t)
	audit := lambdatest.Start(t, lambdatest.Build(t, "./functions/audit"), a.Environment()...)
	sub := a.Add(t, wiretest.Person{Pool: a.Pool, Name: "maria", Roles: []mfa.Role{"itsm_manager"}, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP}})
	a.Switch(t, a.Pool, sub, false, mfa.TOTP)
	a.Put(t, disable(a.Pool, sub, "e-1", time.Now()))
	answer, err := audit.Invoke(t.Context(), wiretest.Batch(t, wiretest.AuditQueue, a.Take(t, wiretest.AuditQueue)...))
	if err != nil || string(answer) != `{"batchItemFailures":[]}` {
		t.Fatalf("%s, %v", answer, err)
	}

	for _, s := range a.Schedules(t) {
		raw, _ := json.Marshal(s)
		t.Log(string(raw))
	}
	for _, m := range a.Take(t, wiretest.AlertQueue) {
		t.Log(*m.Body)
	}
}
