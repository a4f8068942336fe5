package infra_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// rail are the statements of the service control policy.
func (in source) rail() []statement { return statements("guardrail.json", in.guardrail) }

// The stack and the role that the guardrail is written for.
const deployment = "arn:aws:iam::111122223333:role/relatch-deploy"

// strangers are who must not: an administrator, who has every permission, and
// those whose names come near.
var strangers = []string{
	"arn:aws:iam::111122223333:role/Admin", "arn:aws:iam::111122223333:user/relatch-deploy", "arn:aws:iam::111122223333:role/relatch",
	"arn:aws:iam::111122223333:role/my-relatch-us-east-1-audit", "arn:aws:iam::111122223333:root",
}

// ends are the ways to end, blind or misuse a part of Relatch, by the service and
// the kind in its ARN.
var ends = map[string][]string{
	"events rule": {"DeleteRule", "DisableRule", "PutRule", "RemoveTargets", "PutTargets"}, "events event-bus": {"DeleteEventBus", "UpdateEventBus", "PutEvents"},
	"events archive": {"DeleteArchive", "UpdateArchive"}, "events api-destination": {"DeleteApiDestination", "UpdateApiDestination"},
	"events connection": {"DeleteConnection", "UpdateConnection", "DeauthorizeConnection"},
	"lambda function": {
		"DeleteFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration", "PutFunctionConcurrency", "DeleteFunctionConcurrency",
		"PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig", "DeleteFunctionEventInvokeConfig", "CreateFunctionUrlConfig", "UpdateFunctionUrlConfig",
		"DeleteFunctionUrlConfig", "AddPermission", "RemovePermission", "PublishVersion", "InvokeFunction", "InvokeAsync",
	},
	"sqs":            {"DeleteQueue", "PurgeQueue", "SetQueueAttributes", "AddPermission", "RemovePermission", "SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "StartMessageMoveTask"},
	"sns":            {"DeleteTopic", "SetTopicAttributes", "AddPermission", "RemovePermission", "Subscribe", "SetSubscriptionAttributes", "Unsubscribe", "PutDataProtectionPolicy", "Publish"},
	"dynamodb table": {"DeleteTable", "UpdateTable", "UpdateContinuousBackups", "UpdateTimeToLive", "PutResourcePolicy", "DeleteResourcePolicy", "DeleteItem", "PutItem", "UpdateItem", "BatchWriteItem", "PartiQLInsert", "PartiQLUpdate", "PartiQLDelete"},

	"scheduler schedule-group": {"DeleteScheduleGroup"}, "scheduler schedule": {"CreateSchedule", "DeleteSchedule", "UpdateSchedule"},
	"iam role": {
		"CreateRole", "DeleteRole", "AttachRolePolicy", "DetachRolePolicy", "PutRolePolicy", "DeleteRolePolicy", "UpdateAssumeRolePolicy", "PutRolePermissionsBoundary",
		"PassRole",
	},
	"iam policy":       {"CreatePolicy", "CreatePolicyVersion", "SetDefaultPolicyVersion", "DeletePolicyVersion", "DeletePolicy"},
	"cloudwatch alarm": {"DeleteAlarms", "DisableAlarmActions", "PutMetricAlarm", "PutAlarmMuteRule", "SetAlarmState"},
	"logs log-group":   {"DeleteLogGroup", "DeleteLogStream", "PutRetentionPolicy", "AssociateKmsKey", "PutLogEvents"},
	"kms key":          {"DisableKey", "ScheduleKeyDeletion", "PutKeyPolicy", "RevokeGrant"}, "kms alias": {"DeleteAlias", "UpdateAlias"},
	"cloudformation stack": {"DeleteStack", "UpdateStack", "ExecuteChangeSet", "CreateChangeSet", "UpdateTerminationProtection", "SetStackPolicy"},
}

// work is what nobody but Relatch's own roles has to do, the deployment role neither.
var work = []string{"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:BatchWriteItem", "dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate", "dynamodb:PartiQLDelete", "lambda:InvokeFunction", "lambda:InvokeAsync", "sns:Publish", "logs:PutLogEvents"}

// theGuardrailProtectsTheGuard from everybody but the deployment role, and all
// that there is is known here. The trail's name is the account's, so whoever may
// stop it is the account's to say.
func theGuardrailProtectsTheGuard(t testing.TB, in source) {
	t.Helper()
	policy := in.rail()
	s := in.deploy(t, everything())
	here := func(service, resource string) string {
		return "arn:aws:" + service + ":us-east-1:111122223333:" + resource
	}
	all := append(slices.Clone(s.settings(t, "AuditFunction").Guard),
		here("events", "connection/relatch-pagerduty/1"), here("events", "rule/relatch-alerts/relatch-loud"), here("scheduler", "schedule/relatch/r-1"),
		here("scheduler", "schedule/relatch-sweep/relatch-sweep"), here("kms", "alias/relatch"))
	for _, arn := range all {
		f := strings.SplitN(arn, ":", 6)
		kind := f[2]
		if i := strings.IndexAny(f[5], ":/"); i > 0 {
			kind += " " + f[5][:i]
		}
		if kind == "cloudtrail trail" {
			continue
		}
		if len(ends[kind]) == 0 {
			t.Errorf("nobody knows how to end %s, a %s", arn, kind)
		}
		switch kind {
		case "events api-destination", "cloudformation stack": // as IAM has them
			arn += "/1"
		}
		arn = strings.Replace(arn, "*", "us-east-1-audit", 1)
		for _, operation := range ends[kind] {
			r := request{action: f[2] + ":" + operation, resource: arn, keys: map[string][]string{"kms:ResourceAliases": {"alias/relatch"}}}
			for _, r.principal = range strangers {
				if !denied(t, policy, r) {
					t.Errorf("anybody may: %s", r)
				}
			}
			if r.principal = deployment; denied(t, policy, r) != slices.Contains(work, r.action) {
				t.Errorf("the deployment role: %s", r)
			}
		}
	}
	for _, operation := range []string{"CreateEventSourceMapping", "UpdateEventSourceMapping", "DeleteEventSourceMapping"} {
		r := request{
			principal: strangers[0], action: "lambda:" + operation, resource: here("lambda", "event-source-mapping:1"),
			keys: map[string][]string{"lambda:FunctionArn": {s.attribute(t, "AuditFunction", "Arn")}},
		}
		if !denied(t, policy, r) {
			t.Errorf("anybody may: %s", r)
		}
		if r.principal = deployment; denied(t, policy, r) {
			t.Errorf("the deployment role may not: %s", r)
		}
		if r.keys["lambda:FunctionArn"][0] = here("lambda", "function:other"); denied(t, policy, r) {
			t.Errorf("what is not ours is not ours to deny: %s", r)
		}
	}
	for _, suffix := range []string{"", ":$LATEST"} {
		r := request{principal: strangers[0], action: "lambda:InvokeFunction", resource: s.attribute(t, "OverrideFunction", "Arn") + suffix}
		for _, r.principal = range append(slices.Clone(strangers), deployment, s.attribute(t, "AuditRole", "Arn")) {
			r.keys = nil
			if !denied(t, policy, r) {
				t.Errorf("around its URL: %s", r)
			}
			if r.keys = map[string][]string{"lambda:InvokedViaFunctionUrl": {"false"}}; !denied(t, policy, r) {
				t.Errorf("around its URL: %s", r)
			}
			if r.keys = map[string][]string{"lambda:InvokedViaFunctionUrl": {"true"}}; denied(t, policy, r) {
				t.Errorf("nobody may ask by the URL: %s", r)
			}
		}
	}
}

// theGuardrailLeavesTheFunctionsTheirWork, what services do by the stack's roles,
// people theirs, and everybody what is not Relatch's.
func theGuardrailLeavesTheFunctionsTheirWork(t testing.TB, in source) {
	t.Helper()
	policy := in.rail()
	for _, given := range []map[string]any{parameters(), everything()} {
		s := in.deploy(t, given)
		for _, role := range s.of("AWS::IAM::Role") {
			for _, st := range s.identities(t, role) {
				for _, action := range st.actions {
					for _, resource := range st.resources {
						if r := (request{principal: s.attribute(t, role, "Arn"), action: action, resource: resource}); denied(t, policy, r) {
							t.Errorf("%s may not: %s", role, r)
						}
					}
				}
			}
		}
		for _, people := range []string{"OperatorPolicy", "AuditorPolicy"} {
			for _, st := range statements(people, s.Resources[people].Properties["PolicyDocument"]) {
				for _, action := range st.actions {
					for _, resource := range st.resources {
						r := request{principal: strangers[0], action: action, resource: resource, keys: map[string][]string{"lambda:InvokedViaFunctionUrl": {"true"}}}
						if denied(t, policy, r) {
							t.Errorf("%s: nobody may: %s", people, r)
						}
					}
				}
			}
		}
	}
	for _, r := range []request{
		{action: "lambda:UpdateFunctionCode", resource: "arn:aws:lambda:us-east-1:111122223333:function:shop-relatch-audit"},
		{action: "lambda:CreateEventSourceMapping", resource: "*"},
		{action: "sqs:PurgeQueue", resource: "arn:aws:sqs:us-east-1:111122223333:orders"},
		{action: "iam:PassRole", resource: "arn:aws:iam::111122223333:role/shop"},
		{action: "kms:DisableKey", resource: "arn:aws:kms:us-east-1:111122223333:key/other"},
		{action: "cloudformation:DeleteStack", resource: "arn:aws:cloudformation:us-east-1:111122223333:stack/relatch-shop/1"},
		{action: "dynamodb:PutItem", resource: "arn:aws:dynamodb:us-east-1:111122223333:table/relatch-shop"},
	} {
		if r.principal = strangers[0]; denied(t, policy, r) {
			t.Errorf("what is not ours is not ours to deny: %s", r)
		}
	}
}

// theGuardrailFitsAndDeniesOnly: an Allow in it would do nothing, or all.
func theGuardrailFitsAndDeniesOnly(t testing.TB, in source) {
	t.Helper()
	const most = 5120 // Organizations quotas, "Maximum size of a policy document"
	if n := len(encode(t, in.guardrail)); n > most {
		t.Errorf("without white space it has %d characters, at most %d fit", n, most)
	}
	for _, st := range in.rail() {
		if st.effect != "Deny" || len(st.actions) == 0 || len(st.resources) == 0 || len(st.condition) == 0 {
			t.Errorf("%s denies everybody, or nothing: %s %v %v %v", st.where, st.effect, st.actions, st.resources, st.condition)
		}
	}
}

// TestTheGuardrailFitsAsItIs: the AWS CLI counts white space too.
func TestTheGuardrailFitsAsItIs(t *testing.T) {
	raw, err := os.ReadFile("guardrail.json")
	if err != nil || len(raw) > 5120 || !json.Valid(raw) {
		t.Errorf("guardrail.json has %d characters, at most 5120 fit: %v", len(raw), err)
	}
}
