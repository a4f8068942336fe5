package infra_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// guardrail are the statements of the service control policy.
func guardrail(t testing.TB) []statement {
	t.Helper()
	raw, err := os.ReadFile("guardrail.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 5120 { // Organizations quotas, "Maximum size of a policy document"
		t.Errorf("guardrail.json has %d characters, at most 5120 fit", len(raw))
	}
	var document map[string]any
	if err := json.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	return statements("guardrail.json", document)
}

// denied reports whether the policy denies the action to the role.
func denied(t testing.TB, policy []statement, role, action, resource, function string) bool {
	t.Helper()
	for _, st := range policy {
		if st.effect != "Deny" {
			t.Fatalf("%s: %s", st.where, st.effect)
		}
		like := func(pattern string) func(string) bool {
			return func(p string) bool { return wildcard(pattern, p) }
		}
		applies := slices.Contains(st.actions, action) && slices.ContainsFunc(st.resources, like(resource)) &&
			!slices.ContainsFunc(texts(under(st.condition, "ArnNotLike", "aws:PrincipalArn")), like(role))
		if functions := texts(under(st.condition, "ArnLike", "lambda:FunctionArn")); len(functions) > 0 {
			applies = applies && slices.ContainsFunc(functions, like(function))
		}
		if applies {
			return true
		}
	}
	return false
}

// TestTheGuardrailProtectsTheGuard from everybody but the deployment role.
func TestTheGuardrailProtectsTheGuard(t *testing.T) {
	policy := guardrail(t)
	s := deploy(t, everything())
	const somebody, deployment = "arn:aws:iam::111122223333:role/Admin", "arn:aws:iam::111122223333:role/relatch-deploy"
	ends := map[string][]string{
		"events": {"events:DeleteRule", "events:DisableRule", "events:PutRule", "events:RemoveTargets", "events:PutTargets"},
		"lambda": {"lambda:DeleteFunction", "lambda:UpdateFunctionCode", "lambda:PutFunctionConcurrency", "lambda:UpdateFunctionConfiguration"},
		"sqs":    {"sqs:DeleteQueue", "sqs:PurgeQueue", "sqs:SetQueueAttributes"}, "sns": {"sns:DeleteTopic", "sns:SetTopicAttributes"},
		"dynamodb": {"dynamodb:DeleteTable", "dynamodb:UpdateTable", "dynamodb:DeleteItem"}, "scheduler": {"scheduler:DeleteScheduleGroup"},
	}
	for _, arn := range s.settings(t, "AuditFunction").Guard {
		for _, action := range ends[strings.Split(arn, ":")[2]] {
			if !denied(t, policy, somebody, action, arn, "") {
				t.Errorf("anybody may call %s on %s", action, arn)
			}
			if action != "dynamodb:DeleteItem" && denied(t, policy, deployment, action, arn, "") {
				t.Errorf("the deployment role may not call %s on %s", action, arn)
			}
		}
	}
	for _, schedule := range []string{"relatch/r-1", "relatch-sweep/relatch-sweep"} {
		if !denied(t, policy, somebody, "scheduler:DeleteSchedule", "arn:aws:scheduler:us-east-1:111122223333:schedule/"+schedule, "") {
			t.Errorf("anybody may delete %s", schedule)
		}
	}
	if override := s.attribute(t, "OverrideFunction", "Arn"); !denied(t, policy, somebody, "lambda:InvokeFunction", override, "") || !denied(t, policy, somebody, "lambda:InvokeFunction", override+":$LATEST", "") || !denied(t, policy, somebody, "lambda:InvokeAsync", override, "") || denied(t, policy, somebody, "lambda:InvokeFunctionUrl", override, "") {
		t.Error("anybody may invoke override without its URL, or nobody by it")
	}
	if !denied(t, policy, somebody, "lambda:UpdateEventSourceMapping", "arn:aws:lambda:us-east-1:111122223333:event-source-mapping:1", s.attribute(t, "AuditFunction", "Arn")) {
		t.Error("anybody may stop audit's queue from being polled")
	}
}

// TestTheGuardrailLeavesTheFunctionsTheirWork.
func TestTheGuardrailLeavesTheFunctionsTheirWork(t *testing.T) {
	policy := guardrail(t)
	for _, given := range []map[string]any{parameters(), everything()} {
		s := deploy(t, given)
		for id := range functions {
			role := s.attribute(t, s.roleOf(t, id), "Arn")
			for _, grant := range required(s, t, id) {
				action, resource, _ := strings.Cut(grant, " on ")
				if denied(t, policy, role, action, resource, "") {
					t.Errorf("%s may not: %s", id, grant)
				}
			}
		}
	}
}
