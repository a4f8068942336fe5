package infra_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/worker"
)

// TestTheLedgersTableIsTheOneThatDynamoDescribes, and outlives the stack.
func TestTheLedgersTableIsTheOneThatDynamoDescribes(t *testing.T) {
	s := deploy(t, parameters())
	r := s.Resources["Ledger"]
	described := dynamo.Table(s.settings(t, "AuditFunction").Table)
	var want map[string]any
	if err := json.Unmarshal(encode(t, described), &want); err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	for _, key := range []string{"TableName", "BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes"} {
		got[key] = r.Properties[key]
	}
	if diff := cmp.Diff(some(want), some(got)); diff != "" {
		t.Errorf("(-dynamo.Table +template):\n%s", diff)
	}
	for what, ok := range map[string]bool{
		"retained":                   r.Whole["DeletionPolicy"] == "Retain" && r.Whole["UpdateReplacePolicy"] == "Retain",
		"protected against deletion": r.Properties["DeletionProtectionEnabled"] == true,
		"recoverable to any point":   under(r.Properties, "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled") == true,
		"encrypted":                  under(r.Properties, "SSESpecification", "SSEEnabled") == true,
		"free of anything that ends": r.Properties["TimeToLiveSpecification"] == nil,
	} {
		if !ok {
			t.Errorf("the ledger is not %s", what)
		}
	}
}

// some is the value without what is null or empty.
func some(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, e := range v {
			if w := some(e); w != nil && w != "" {
				out[key] = w
			}
		}
		return out
	case []any:
		out := []any{}
		for _, e := range v {
			out = append(out, some(e))
		}
		return out
	default:
		return v
	}
}

// TestAFunctionIsWholeAndWatched: log retention, reserved concurrency that
// shares the quotas as the function is told, alarms, a dead-letter queue.
func TestAFunctionIsWholeAndWatched(t *testing.T) {
	s := deploy(t, parameters())
	share := 0.0
	for id, function := range functions {
		p := s.Resources[id].Properties
		c := s.settings(t, id)
		share += c.QuotaShare
		if reserved := fmt.Sprint(p["ReservedConcurrentExecutions"]); reserved != fmt.Sprint(c.Concurrency) {
			t.Errorf("%s has %s processes reserved and is told of %d", id, reserved, c.Concurrency)
		}
		for key, want := range map[string]any{"Runtime": "provided.al2023", "Handler": "bootstrap", "MemorySize": 256, "Architectures": []any{"arm64"}, "Code": "../dist/" + function + ".zip"} {
			if diff := cmp.Diff(want, p[key]); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", id, key, diff)
			}
		}
		logs := ""
		for _, group := range s.of("AWS::Logs::LogGroup") {
			if s.Resources[group].Properties["LogGroupName"] == under(p, "LoggingConfig", "LogGroup") && s.Resources[group].Properties["RetentionInDays"] != nil {
				logs = group
			}
		}
		if logs == "" {
			t.Errorf("%s has no log group with a retention", id)
		}
		for _, metric := range []string{"Errors", "Throttles"} {
			if len(s.alarms("AWS/Lambda", metric, "FunctionName", text(p["FunctionName"]))) == 0 {
				t.Errorf("no alarm on the %s of %s", metric, id)
			}
		}
	}
	if share > 1 {
		t.Errorf("the functions together may use %v of Cognito's quotas", share)
	}
	most, ok := object(object(s.template["Parameters"])["QuotaShare"])["MaxValue"].(float64)
	if !ok || float64(len(workers))*most+s.settings(t, "OverrideFunction").QuotaShare > 1 {
		t.Errorf("QuotaShare may be %v for each of three functions", most)
	}
}

// TestAQueueFitsItsFunction (Lambda Developer Guide, "Configuring a queue to use
// with Lambda"), and what fails too often is kept.
func TestAQueueFitsItsFunction(t *testing.T) {
	s := deploy(t, parameters())
	sources := s.of("AWS::Lambda::EventSourceMapping")
	if want := []string{"AuditSource", "ReenableSource"}; !slices.Equal(sources, want) {
		t.Fatalf("the sources are %v, want %v", sources, want)
	}
	for _, id := range sources {
		p := s.Resources[id].Properties
		function, q := s.Resources[strings.TrimSuffix(id, "Source")+"Function"].Properties, s.Resources[strings.TrimSuffix(id, "Source")+"Queue"].Properties
		if p["FunctionName"] != function["FunctionName"] || p["EventSourceArn"] != s.attribute(t, strings.TrimSuffix(id, "Source")+"Queue", "Arn") {
			t.Errorf("%s is of another queue or function: %v", id, p)
		}
		if whole(q["VisibilityTimeout"]) < 6*whole(function["Timeout"]) {
			t.Errorf("%s: visible again after %v s, the function has %v s", id, q["VisibilityTimeout"], function["Timeout"])
		}
		if whole(p["BatchSize"]) != 10 || !slices.Equal(texts(p["FunctionResponseTypes"]), []string{"ReportBatchItemFailures"}) {
			t.Errorf("%s: %v", id, p)
		}
		if fmt.Sprint(under(p, "ScalingConfig", "MaximumConcurrency")) != fmt.Sprint(function["ReservedConcurrentExecutions"]) {
			t.Errorf("%s polls for more than the function may run", id)
		}
		if whole(under(q, "RedrivePolicy", "maxReceiveCount")) < 5 || s.queue(t, text(under(q, "RedrivePolicy", "deadLetterTargetArn"))) == "" {
			t.Errorf("%s: what fails is not kept: %v", id, q["RedrivePolicy"])
		}
	}
}

// TestTheSweepNeverOverlaps itself.
func TestTheSweepNeverOverlaps(t *testing.T) {
	s := deploy(t, parameters())
	f, schedule, invocation := s.Resources["SweepFunction"].Properties, s.Resources["SweepSchedule"].Properties, s.Resources["SweepInvocation"].Properties
	for what, ok := range map[string]bool{
		"ends before the next one":              whole(f["Timeout"]) < int(worker.SweepEvery.Seconds()),
		"runs once at a time":                   whole(f["ReservedConcurrentExecutions"]) == 1,
		"runs as often as the worker counts on": schedule["ScheduleExpression"] == fmt.Sprintf("rate(%d minutes)", int(worker.SweepEvery.Minutes())),
		"is switched on":                        schedule["State"] == "ENABLED" && under(schedule, "Target", "Arn") == s.attribute(t, "SweepFunction", "Arn"),
		"is not tried again by the scheduler":   whole(under(schedule, "Target", "RetryPolicy", "MaximumRetryAttempts")) == 0,
		"is not tried again by Lambda":          invocation["MaximumRetryAttempts"] == 0 && invocation["FunctionName"] == f["FunctionName"],
		"keeps what failed":                     s.queue(t, text(under(invocation, "DestinationConfig", "OnFailure", "Destination"))) != "",
		"is in a group of its own":              schedule["GroupName"] != s.settings(t, "SweepFunction").ScheduleGroup,
	} {
		if !ok {
			t.Errorf("it is not so that the sweep %s", what)
		}
	}
}

// TestEveryQueueIsWatched: a dead-letter queue for messages, another one for how
// old its oldest message is. Each is encrypted.
func TestEveryQueueIsWatched(t *testing.T) {
	s := deploy(t, everything())
	dead := s.dead(t)
	for _, id := range s.of("AWS::SQS::Queue") {
		p := s.Resources[id].Properties
		own := text(p["QueueName"])
		metric := "ApproximateAgeOfOldestMessage"
		if dead[s.attribute(t, id, "Arn")] {
			metric = "ApproximateNumberOfMessagesVisible"
		} else if p["RedrivePolicy"] == nil {
			t.Errorf("%s has no dead-letter queue and is none", id)
		}
		if len(s.alarms("AWS/SQS", metric, "QueueName", own)) == 0 {
			t.Errorf("no alarm on %s of %s", metric, id)
		}
		if p["SqsManagedSseEnabled"] != true || whole(p["MessageRetentionPeriod"]) != 14*24*3600 {
			t.Errorf("%s is not encrypted or forgets early: %v", id, p)
		}
	}
}

// TestWhatCannotBeDeliveredIsKept, of every rule and schedule.
func TestWhatCannotBeDeliveredIsKept(t *testing.T) {
	s := deploy(t, everything())
	for _, id := range slices.Concat(s.of("AWS::Events::Rule"), s.of("AWS::Scheduler::Schedule")) {
		p := s.Resources[id].Properties
		targets := append(list(p["Targets"]), list(p["Target"])...)
		if len(targets) == 0 || len(targets) > 5 {
			t.Errorf("%s has %d targets", id, len(targets))
		}
		for _, target := range targets {
			if s.queue(t, text(under(target, "DeadLetterConfig", "Arn"))) == "" {
				t.Errorf("%s has a target without dead-letter queue", id)
			}
		}
		if p["State"] == "DISABLED" {
			t.Errorf("%s is switched off", id)
		}
	}
	for _, id := range []string{"MfaRule", "GuardRule"} {
		// ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS would add what reads.
		if state := s.Resources[id].Properties["State"]; state != "ENABLED" {
			t.Errorf("%s is %v", id, state)
		}
	}
}

// dead are the ARNs of the queues that something sends to when it fails.
func (s *stack) dead(t testing.TB) map[string]bool {
	t.Helper()
	out := map[string]bool{s.settings(t, "AuditFunction").ScheduleDeadLetters: true}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, path := range [][]string{{"DeadLetterConfig", "Arn"}, {"deadLetterTargetArn"}, {"OnFailure", "Destination"}} {
				if arn := text(under(v, path...)); arn != "" {
					out[arn] = true
				}
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	for _, r := range s.Resources {
		walk(r.Properties)
	}
	return out
}

// queue is the id of the queue with the ARN, or "".
func (s *stack) queue(t testing.TB, arn string) string {
	t.Helper()
	for _, id := range s.of("AWS::SQS::Queue") {
		if s.attribute(t, id, "Arn") == arn {
			return id
		}
	}
	return ""
}

// alarms are the ids of those on the metric with that one dimension.
func (s *stack) alarms(namespace, metric, dimension, value string) []string {
	var out []string
	for _, id := range s.of("AWS::CloudWatch::Alarm") {
		p := s.Resources[id].Properties
		if p["Namespace"] == namespace && p["MetricName"] == metric &&
			cmp.Equal(p["Dimensions"], []any{map[string]any{"Name": dimension, "Value": value}}) {
			out = append(out, id)
		}
	}
	return out
}

// said are the metrics that the functions' lines have, "name by dimensions".
func said(t testing.TB) map[string]bool {
	t.Helper()
	golden, err := os.ReadFile("../internal/telemetry/testdata/lines.golden")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for line := range strings.Lines(string(golden)) {
		var l struct {
			Function string `json:"function"`
			AWS      struct {
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct{ Name string }
				}
			} `json:"_aws"`
		}
		if json.Unmarshal([]byte(line), &l) != nil {
			continue
		}
		for _, d := range l.AWS.CloudWatchMetrics {
			for _, m := range d.Metrics {
				for _, by := range d.Dimensions {
					out[d.Namespace+" "+m.Name+" by "+strings.Join(by, ",")] = true
				}
			}
		}
	}
	return out
}

// TestAlarmsAreOnWhatIsMeasured and tell somebody, also when they end.
func TestAlarmsAreOnWhatIsMeasured(t *testing.T) {
	s := deploy(t, everything())
	metrics := said(t)
	topic := s.attribute(t, "Topic", "Arn")
	for _, id := range s.of("AWS::CloudWatch::Alarm") {
		p := s.Resources[id].Properties
		if p["Namespace"] == "Relatch" {
			d := object(list(p["Dimensions"])[0])
			if key := fmt.Sprintf("Relatch %s by %s", p["MetricName"], d["Name"]); !metrics[key] || functions[strings.ToUpper(text(d["Value"])[:1])+text(d["Value"])[1:]+"Function"] == "" {
				t.Errorf("%s is on %s of %s, which no function says", id, key, d["Value"])
			}
		}
		for _, key := range []string{"AlarmActions", "OKActions"} {
			if !slices.Equal(texts(p[key]), []string{topic}) {
				t.Errorf("%s: %s are %v", id, key, p[key])
			}
		}
		if p["ActionsEnabled"] == false || p["TreatMissingData"] == nil || len(text(p["AlarmDescription"])) < 20 {
			t.Errorf("%s: actions enabled %v, missing data %v, %q", id, p["ActionsEnabled"], p["TreatMissingData"], p["AlarmDescription"])
		}
		if own := text(p["AlarmName"]); !strings.HasPrefix(own, name+"-") {
			t.Errorf("%s is named %s, so nobody is paged", id, own)
		}
	}
	for _, c := range []struct {
		metric, statistic, comparison, missing string
		threshold                              int
	}{
		{"OverridesOverdue", "Maximum", "GreaterThanThreshold", "notBreaching", 0},
		{"OverridesUnrestorable", "Maximum", "GreaterThanThreshold", "notBreaching", 0},
		{"SweepAge", "Maximum", "GreaterThanThreshold", "notBreaching", 3600},
		{"SweepComplete", "SampleCount", "LessThanThreshold", "breaching", 1}, // the heartbeat
	} {
		found := s.alarms("Relatch", c.metric, "function", "sweep")
		if len(found) != 1 {
			t.Errorf("alarms on %s: %v", c.metric, found)
			continue
		}
		p := s.Resources[found[0]].Properties
		if p["Statistic"] != c.statistic || p["ComparisonOperator"] != c.comparison || p["TreatMissingData"] != c.missing || whole(p["Threshold"]) != c.threshold {
			t.Errorf("%s: %v", found[0], p)
		}
	}
	for _, id := range s.of("AWS::CloudWatch::Alarm") {
		if p := s.Resources[id].Properties; p["Namespace"] != "Relatch" && (p["ComparisonOperator"] != "GreaterThanThreshold" || p["Metrics"] != nil) {
			t.Errorf("%s: %v", id, p)
		}
	}
}

// TestTheDashboardShowsWhatIsMeasured, and every alarm.
func TestTheDashboardShowsWhatIsMeasured(t *testing.T) {
	s := deploy(t, parameters())
	body := text(s.Resources["Dashboard"].Properties["DashboardBody"])
	var board struct {
		Widgets []struct {
			Properties struct {
				Metrics [][]any  `json:"metrics"`
				Alarms  []string `json:"alarms"`
			} `json:"properties"`
		} `json:"widgets"`
	}
	if err := json.Unmarshal([]byte(body), &board); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	metrics, shown := said(t), map[string]bool{}
	for _, w := range board.Widgets {
		for _, m := range w.Properties.Metrics {
			if len(m) >= 4 && m[0] == "Relatch" && !metrics[fmt.Sprintf("Relatch %s by %s", m[1], m[2])] {
				t.Errorf("no function says %v", m)
			}
		}
		for _, arn := range w.Properties.Alarms {
			shown[arn] = true
		}
	}
	for _, id := range s.of("AWS::CloudWatch::Alarm") {
		if !shown[s.attribute(t, id, "Arn")] {
			t.Errorf("%s is not shown", id)
		}
	}
	for _, metric := range []string{"OverridesOverdue", "OverridesUnrestorable", "OverridesOpen", "SweepAge", "EventToAlert", "ReenableLateness", "Deliveries"} {
		if !strings.Contains(body, metric) {
			t.Errorf("%s is not shown", metric)
		}
	}
}

// TestTheOutputsSayWhereRelatchIs, under the names by which the command relatch
// asks for it.
func TestTheOutputsSayWhereRelatchIs(t *testing.T) {
	for variant, given := range map[string]map[string]any{"in a table": parameters(), "in a parameter": everything()} {
		s := deploy(t, given)
		for _, output := range []string{
			"LedgerTable", "PoolIds", "OverrideUrl", "AlertBusName", "TopicArn", "AuditQueueUrl", "ReenableQueueUrl", "DeadLetterQueueUrls",
			"ScheduleGroup", "RuleName", "FunctionNames", "Mode",
		} {
			if text(s.Outputs[output]) == "" {
				t.Errorf("%s is %v", output, s.Outputs[output])
			}
		}
		table := []any{s.Outputs["PolicyTable"], s.Outputs["PolicyKey"], s.Outputs["PolicyValue"], s.Outputs["PolicyParameter"]}
		want := []any{"StackFlow_SystemProperty", "name", "value", nil}
		if variant == "in a parameter" {
			want = []any{nil, nil, nil, "/relatch/policy"}
		}
		if diff := cmp.Diff(want, table); diff != "" {
			t.Errorf("the policy %s (-want +got):\n%s", variant, diff)
		}
		dead := s.dead(t)
		var urls []string
		for _, id := range s.of("AWS::SQS::Queue") {
			if dead[s.attribute(t, id, "Arn")] {
				urls = append(urls, text(s.ref(t, id)))
			}
		}
		got := strings.Split(text(s.Outputs["DeadLetterQueueUrls"]), ",")
		slices.Sort(got)
		slices.Sort(urls)
		if diff := cmp.Diff(urls, got); diff != "" {
			t.Errorf("the dead letters (-there are +output):\n%s", diff)
		}
		if n := strings.Count(text(s.Outputs["FunctionNames"]), ","); n+1 != len(functions) {
			t.Errorf("the functions are %v", s.Outputs["FunctionNames"])
		}
	}
}

// TestTheTopicIsEncryptedWithAKeyThatAlarmsMayUse.
func TestTheTopicIsEncryptedWithAKeyThatAlarmsMayUse(t *testing.T) {
	s := deploy(t, parameters())
	if s.Resources["Topic"].Properties["KmsMasterKeyId"] != "TopicKey" || s.Resources["TopicKey"].Properties["EnableKeyRotation"] != true {
		t.Errorf("%v, %v", s.Resources["Topic"].Properties, s.Resources["TopicKey"].Properties)
	}
	for _, st := range statements("TopicKey", s.Resources["TopicKey"].Properties["KeyPolicy"]) {
		if slices.Contains(st.services, "cloudwatch.amazonaws.com") && slices.Equal(st.actions, []string{"kms:Decrypt", "kms:GenerateDataKey*"}) {
			return
		}
	}
	t.Error("alarms may not use the key")
}

func whole(v any) int {
	n, ok := v.(int)
	if !ok {
		return -1
	}
	return n
}

// TestTheTemplateIsPlain: no transform, no resource that runs code of its own,
// and each parameter described, in one group of the console.
func TestTheTemplateIsPlain(t *testing.T) {
	s := deploy(t, everything())
	if s.template["Transform"] != nil {
		t.Errorf("the template has the transform %v", s.template["Transform"])
	}
	for id, r := range s.Resources {
		if !strings.HasPrefix(r.Type, "AWS::") || strings.HasPrefix(r.Type, "AWS::CloudFormation::") {
			t.Errorf("%s is a %s", id, r.Type)
		}
	}
	grouped := map[string]int{}
	for _, group := range list(under(s.template, "Metadata", "AWS::CloudFormation::Interface", "ParameterGroups")) {
		for _, p := range texts(under(group, "Parameters")) {
			grouped[p]++
		}
	}
	for id, p := range object(s.template["Parameters"]) {
		if text(under(p, "Description")) == "" || grouped[id] != 1 {
			t.Errorf("%s is in %d groups and described as %q", id, grouped[id], under(p, "Description"))
		}
	}
}
