package infra_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/bus"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/worker"
)

// theLedgersTableIsTheOneThatDynamoDescribes, and outlives the stack.
func theLedgersTableIsTheOneThatDynamoDescribes(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, parameters())
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

// aFunctionIsWholeAndWatched: log retention, reserved concurrency that
// shares the quotas as the function is told, alarms, a dead-letter queue.
func aFunctionIsWholeAndWatched(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, parameters())
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
		if timeout := whole(p["Timeout"]); timeout < within[function][0] || timeout > within[function][1] {
			t.Errorf("%s has %v seconds", id, p["Timeout"])
		}
		logs := ""
		for _, group := range s.of("AWS::Logs::LogGroup") {
			if l := s.Resources[group].Properties; l["LogGroupName"] == under(p, "LoggingConfig", "LogGroup") && l["RetentionInDays"] == s.parameters["LogRetentionDays"] {
				logs = text(l["LogGroupName"])
			}
		}
		if logs != "/aws/lambda/"+text(p["FunctionName"]) {
			t.Errorf("%s has no log group of its name with a retention", id)
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
	reserved := whole(s.Resources["SweepFunction"].Properties["ReservedConcurrentExecutions"]) + whole(s.Resources["OverrideFunction"].Properties["ReservedConcurrentExecutions"])
	for _, parameter := range []string{"AuditConcurrency", "ReenableConcurrency"} {
		reserved += whole(under(s.template, "Parameters", parameter, "MaxValue"))
	}
	if reserved > 1000/10 {
		t.Errorf("the functions may reserve %d of the 1,000 processes of an account and Region", reserved)
	}
}

// within are the least and the most seconds that a function has. A message of a
// batch of ten gets a tenth of it; people wait for override; the sweep has what is
// between two.
var within = map[string][2]int{"audit": {51, 120}, "reenable": {51, 120}, "override": {10, 30}, "sweep": {600, 900}}

// aQueueFitsItsFunction (Lambda Developer Guide, "Configuring a queue to use
// with Lambda"), and what fails too often is kept.
func aQueueFitsItsFunction(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, parameters())
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
		if timeout := whole(function["Timeout"]); timeout <= 0 || whole(q["VisibilityTimeout"]) < 6*timeout {
			t.Errorf("%s: visible again after %v s, the function has %v s", id, q["VisibilityTimeout"], function["Timeout"])
		}
		if whole(p["BatchSize"]) != 10 || !slices.Equal(texts(p["FunctionResponseTypes"]), []string{"ReportBatchItemFailures"}) || p["Enabled"] != nil || p["FilterCriteria"] != nil {
			t.Errorf("%s does not take everything, or does not say what failed: %v", id, p)
		}
		if fmt.Sprint(under(p, "ScalingConfig", "MaximumConcurrency")) != fmt.Sprint(function["ReservedConcurrentExecutions"]) {
			t.Errorf("%s polls for more than the function may run", id)
		}
		if n := whole(under(q, "RedrivePolicy", "maxReceiveCount")); n < 5 || n > 100 || s.queue(t, text(under(q, "RedrivePolicy", "deadLetterTargetArn"))) != strings.TrimSuffix(id, "Source")+"DeadLetters" {
			t.Errorf("%s: what fails is not kept: %v", id, q["RedrivePolicy"])
		}
	}
}

// theSweepNeverOverlaps itself.
func theSweepNeverOverlaps(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, parameters())
	f, schedule, invocation := s.Resources["SweepFunction"].Properties, s.Resources["SweepSchedule"].Properties, s.Resources["SweepInvocation"].Properties
	for what, ok := range map[string]bool{
		"ends before the next one":              whole(f["Timeout"]) < int(worker.SweepEvery.Seconds()),
		"runs once at a time":                   whole(f["ReservedConcurrentExecutions"]) == 1,
		"runs as often as the worker counts on": schedule["ScheduleExpression"] == fmt.Sprintf("rate(%d minutes)", int(worker.SweepEvery.Minutes())),
		"is switched on, without an end":        schedule["State"] == "ENABLED" && schedule["StartDate"] == nil && schedule["EndDate"] == nil && under(schedule, "FlexibleTimeWindow", "Mode") == "OFF" && under(schedule, "Target", "Arn") == s.attribute(t, "SweepFunction", "Arn"),
		"is not tried again by the scheduler":   whole(under(schedule, "Target", "RetryPolicy", "MaximumRetryAttempts")) == 0,
		"is not tried again by Lambda":          invocation["MaximumRetryAttempts"] == 0 && invocation["MaximumEventAgeInSeconds"] == 60 && invocation["FunctionName"] == f["FunctionName"] && invocation["Qualifier"] == "$LATEST",
		"keeps what failed":                     s.queue(t, text(under(invocation, "DestinationConfig", "OnFailure", "Destination"))) == "SweepDeadLetters",
		"is in a group of its own":              schedule["GroupName"] != s.settings(t, "SweepFunction").ScheduleGroup,
	} {
		if !ok {
			t.Errorf("it is not so that the sweep %s", what)
		}
	}
}

// everyQueueIsWatched: a dead-letter queue for messages, another one for how
// old its oldest message is. Each is encrypted.
func everyQueueIsWatched(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
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

// whatCannotBeDeliveredIsKept, of every rule and schedule.
func whatCannotBeDeliveredIsKept(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
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
			if s.Resources[id].Type == "AWS::Events::Rule" && p["EventBusName"] != nil && under(target, "RetryPolicy") != nil {
				t.Errorf("%s tries for less than the day that EventBridge does", id)
			}
		}
		if p["State"] == "DISABLED" {
			t.Errorf("%s is switched off", id)
		}
	}
	for id := range s.patterns(t) {
		// ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS would add what reads.
		if state := s.Resources[id].Properties["State"]; state != "ENABLED" {
			t.Errorf("%s is %v", id, state)
		}
		if on := s.Resources[id].Properties["EventBusName"]; on != nil {
			t.Errorf("%s is on the bus %v, where CloudTrail sends nothing", id, on)
		}
		retry := under(list(s.Resources[id].Properties["Targets"])[0], "RetryPolicy")
		if whole(under(retry, "MaximumRetryAttempts")) != 185 || whole(under(retry, "MaximumEventAgeInSeconds")) != 24*3600 {
			t.Errorf("%s does not try for as long as EventBridge can: %v", id, retry)
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

// alarmsAreOnWhatIsMeasured and tell somebody, also when they end.
func alarmsAreOnWhatIsMeasured(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
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
		own, of := text(p["AlarmName"]), text(under(append(list(p["Dimensions"]), nil)[0], "Value"))
		if !strings.HasPrefix(own, name+"-") {
			t.Errorf("%s is named %s, so nobody is paged", id, own)
		}
		if p["Namespace"] != "Relatch" && !strings.HasPrefix(own, of) {
			t.Errorf("%s is named %s and is on %s", id, own, of)
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
		p := s.Resources[id].Properties
		want, known := bounds[text(p["Namespace"])+" "+text(p["MetricName"])]
		got := bound{text(p["Statistic"]), whole(p["Threshold"]), whole(p["Period"]), whole(p["EvaluationPeriods"])}
		switch {
		case !known:
			t.Errorf("nobody knows when %s has to ring, on %v %v", id, p["Namespace"], p["MetricName"])
		case got != want || p["DatapointsToAlarm"] != nil || p["Metrics"] != nil || p["Unit"] != nil:
			t.Errorf("%s rings at %+v, want %+v", id, got, want)
		case p["Namespace"] != "Relatch" && (p["ComparisonOperator"] != "GreaterThanThreshold" || p["TreatMissingData"] != "notBreaching"):
			t.Errorf("%s: %v, missing data %v", id, p["ComparisonOperator"], p["TreatMissingData"])
		}
	}
}

// bound is when an alarm rings: above which value, over how many periods of how
// many seconds.
type bound struct {
	statistic                  string
	threshold, period, periods int
}

var bounds = map[string]bound{
	"AWS/SQS ApproximateNumberOfMessagesVisible": {"Maximum", 0, 60, 1}, "AWS/SQS ApproximateAgeOfOldestMessage": {"Maximum", 300, 60, 1},
	"AWS/Lambda Errors": {"Sum", 0, 300, 1}, "AWS/Lambda Throttles": {"Sum", 0, 300, 1},
	"Relatch OverridesOverdue": {"Maximum", 0, 900, 1}, "Relatch OverridesUnrestorable": {"Maximum", 0, 900, 1}, "Relatch SweepAge": {"Maximum", 3600, 900, 1},
	"Relatch SweepComplete": {"SampleCount", 1, 900, 2}, // the heartbeat: two sweeps are missing
}

// unwatched are the metrics without alarm that the dashboard shows, of whom.
var unwatched = map[string][]string{"OverridesOpen": {"sweep"}, "EventToAlert": {"audit"}, "ReenableLateness": {"reenable"}, "Failures": {"audit", "reenable"}}

// theDashboardShowsWhatIsMeasured, and every alarm.
func theDashboardShowsWhatIsMeasured(t testing.TB, in source) {
	t.Helper()
	s := in.deployAs(t, name, account, "eu-west-1", parameters())
	body := text(s.Resources["Dashboard"].Properties["DashboardBody"])
	var board struct {
		Widgets []struct {
			Properties struct {
				View    string   `json:"view"`
				Region  string   `json:"region"`
				Stat    string   `json:"stat"`
				Metrics [][]any  `json:"metrics"`
				Alarms  []string `json:"alarms"`
			} `json:"properties"`
		} `json:"widgets"`
	}
	if err := json.Unmarshal([]byte(body), &board); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	metrics, shown, atOnce := said(t), map[string]bool{}, map[string]bool{}
	for _, w := range board.Widgets {
		for _, m := range w.Properties.Metrics {
			if len(m) >= 4 && m[0] == "Relatch" && !metrics[fmt.Sprintf("Relatch %s by %s", m[1], m[2])] {
				t.Errorf("no function says %v", m)
			}
			if len(m) >= 4 && len(s.alarms(text(m[0]), text(m[1]), text(m[2]), text(m[3]))) == 0 && !slices.Contains(unwatched[text(m[1])], text(m[3])) {
				t.Errorf("%v is shown, and watched is another", m)
			}
			if len(m) >= 2 && w.Properties.View == "singleValue" {
				atOnce[fmt.Sprint(m[1])] = true
			}
		}
		if len(w.Properties.Metrics) > 0 && w.Properties.Region != "eu-west-1" || w.Properties.View == "singleValue" && w.Properties.Stat != "Maximum" {
			t.Errorf("shown is the %s of %s: %v", w.Properties.Stat, w.Properties.Region, w.Properties.Metrics)
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
	for _, metric := range []string{"OverridesOverdue", "OverridesUnrestorable", "OverridesOpen", "SweepAge"} {
		if !atOnce[metric] {
			t.Errorf("%s is not shown as one number", metric)
		}
	}
	for _, metric := range []string{"EventToAlert", "ReenableLateness", "Deliveries"} {
		if !strings.Contains(body, metric) {
			t.Errorf("%s is not shown", metric)
		}
	}
}

// theOutputsSayWhereRelatchIs, under the names by which the command relatch
// asks for it.
func theOutputsSayWhereRelatchIs(t testing.TB, in source) {
	t.Helper()
	for variant, given := range map[string]map[string]any{"in a table": parameters(), "in a parameter": everything()} {
		s := in.deploy(t, given)
		for _, output := range []string{
			"LedgerTable", "PoolIds", "OverrideUrl", "AlertBusName", "TopicArn", "AuditQueueUrl", "ReenableQueueUrl", "DeadLetterQueueUrls",
			"ScheduleGroup", "RuleName", "FunctionNames", "Mode",
		} {
			if text(s.Outputs[output]) == "" {
				t.Errorf("%s is %v", output, s.Outputs[output])
			}
		}
		if variant == "in a parameter" && s.Outputs["AuditorKeyPolicyArn"] != s.ref(t, "AuditorKeyPolicy") || !strings.HasSuffix(text(s.Outputs["DashboardUrl"]), "/"+text(s.ref(t, "Dashboard"))) {
			t.Errorf("the key's policy is %v, the dashboard at %v", s.Outputs["AuditorKeyPolicyArn"], s.Outputs["DashboardUrl"])
		}
		c, audited := s.settings(t, "AuditFunction"), s.settings(t, "OverrideFunction")
		for output, want := range map[string]string{
			"LedgerTable": c.Table, "AlertBusName": c.AlertBus, "AuditQueueUrl": audited.AuditQueueURL, "ReenableQueueUrl": c.ReenableQueueURL, "ScheduleGroup": c.ScheduleGroup,
			"TopicArn": text(s.ref(t, "Topic")), "NoticeTopicArn": text(s.ref(t, "NoticeTopic")), "RuleName": text(s.ref(t, "MfaRule")), "PoolIds": strings.Join(texts(s.parameters["UserPoolArns"]), ","),
			"OperatorPolicyArn": text(s.ref(t, "OperatorPolicy")), "AuditorPolicyArn": text(s.ref(t, "AuditorPolicy")), "Mode": "enforce", "OverrideUrl": s.attribute(t, "OverrideUrl", "FunctionUrl"),
		} {
			if s.Outputs[output] != want {
				t.Errorf("%s is %v, want %s", output, s.Outputs[output], want)
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
		for id := range functions {
			if !slices.Contains(strings.Split(text(s.Outputs["FunctionNames"]), ","), text(s.ref(t, id))) {
				t.Errorf("%s is none of %v", id, s.Outputs["FunctionNames"])
			}
		}
	}
}

// theTopicsAreEncryptedWithAKeyThatAlarmsMayUse, and that is turned over.
func theTopicsAreEncryptedWithAKeyThatAlarmsMayUse(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, parameters())
	alias := s.Resources["TopicKeyAlias"].Properties
	if s.Resources["TopicKey"].Properties["EnableKeyRotation"] != true || alias["TargetKeyId"] != "TopicKey" || alias["AliasName"] != "alias/relatch" {
		t.Errorf("the key %v, its alias %v", s.Resources["TopicKey"].Properties, alias)
	}
	if all := statements("TopicKey", s.Resources["TopicKey"].Properties["KeyPolicy"]); !slices.ContainsFunc(all, func(st statement) bool {
		return slices.Equal(st.principals, []string{"arn:aws:iam::" + account + ":root"}) && slices.Equal(st.actions, []string{"kms:*"})
	}) {
		t.Error("the account has no key to its key")
	}
	for _, id := range s.of("AWS::SNS::Topic") {
		if key := s.Resources[id].Properties["KmsMasterKeyId"]; key != "TopicKey" {
			t.Errorf("%s is encrypted with %v", id, key)
		}
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

// properties are those that the checks know, by the type of their resource: one
// more can undo what the others say, such as a layer, a filter or a boundary.
var properties = map[string]string{
	"AWS::CloudWatch::Alarm": "AlarmName AlarmDescription Namespace MetricName Dimensions Statistic Period EvaluationPeriods DatapointsToAlarm Threshold ComparisonOperator " +
		"TreatMissingData ActionsEnabled AlarmActions OKActions",
	"AWS::CloudWatch::Dashboard": "DashboardName DashboardBody",
	"AWS::DynamoDB::Table": "TableName BillingMode AttributeDefinitions KeySchema GlobalSecondaryIndexes TimeToLiveSpecification.AttributeName TimeToLiveSpecification.Enabled " +
		"PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled SSESpecification.SSEEnabled DeletionProtectionEnabled ResourcePolicy.PolicyDocument",
	"AWS::Events::ApiDestination": "Name ConnectionArn InvocationEndpoint HttpMethod InvocationRateLimitPerSecond",
	"AWS::Events::Archive":        "ArchiveName SourceArn RetentionDays EventPattern",
	"AWS::Events::Connection":     "Name AuthorizationType AuthParameters",
	"AWS::Events::EventBus":       "Name Description",
	"AWS::Events::Rule": "Name Description EventBusName EventPattern State Targets.Id Targets.Arn Targets.RoleArn Targets.RetryPolicy Targets.DeadLetterConfig.Arn " +
		"Targets.InputTransformer",
	"AWS::IAM::ManagedPolicy":         "ManagedPolicyName Description PolicyDocument",
	"AWS::IAM::Policy":                "PolicyName Roles PolicyDocument",
	"AWS::IAM::Role":                  "RoleName Description AssumeRolePolicyDocument ManagedPolicyArns Policies.PolicyName Policies.PolicyDocument",
	"AWS::KMS::Alias":                 "AliasName TargetKeyId",
	"AWS::KMS::Key":                   "Description EnableKeyRotation KeyPolicy",
	"AWS::Lambda::EventInvokeConfig":  "FunctionName Qualifier MaximumRetryAttempts MaximumEventAgeInSeconds DestinationConfig.OnFailure.Destination",
	"AWS::Lambda::EventSourceMapping": "FunctionName EventSourceArn BatchSize FunctionResponseTypes Enabled FilterCriteria ScalingConfig.MaximumConcurrency",
	"AWS::Lambda::Function": "FunctionName Description Code Runtime Handler Architectures MemorySize Timeout ReservedConcurrentExecutions Role LoggingConfig.LogGroup " +
		"LoggingConfig.LogFormat Environment.Variables",
	"AWS::Lambda::Permission":       "FunctionName Action Principal FunctionUrlAuthType",
	"AWS::Lambda::Url":              "TargetFunctionArn AuthType InvokeMode",
	"AWS::Logs::LogGroup":           "LogGroupName RetentionInDays",
	"AWS::SNS::Subscription":        "TopicArn Protocol Endpoint",
	"AWS::SNS::Topic":               "TopicName DisplayName KmsMasterKeyId",
	"AWS::SNS::TopicPolicy":         "Topics PolicyDocument",
	"AWS::SQS::Queue":               "QueueName VisibilityTimeout MessageRetentionPeriod SqsManagedSseEnabled RedrivePolicy.deadLetterTargetArn RedrivePolicy.maxReceiveCount",
	"AWS::SQS::QueuePolicy":         "Queues PolicyDocument",
	"AWS::Scheduler::Schedule":      "Name GroupName ScheduleExpression FlexibleTimeWindow.Mode State StartDate EndDate Target.Arn Target.RoleArn Target.Input Target.RetryPolicy Target.DeadLetterConfig.Arn",
	"AWS::Scheduler::ScheduleGroup": "Name",
}

// theTemplateIsPlain: no transform, no resource of a kind and no property that
// nothing here looks at, such as one that runs code of its own, and each parameter
// in one group of the console.
func theTemplateIsPlain(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
	if s.template["Transform"] != nil {
		t.Errorf("the template has the transform %v", s.template["Transform"])
	}
	for id, r := range s.Resources {
		known, ok := properties[r.Type]
		if !ok {
			t.Errorf("%s is a %s, which nothing looks at", id, r.Type)
			continue
		}
		var walk func(path string, v any)
		walk = func(path string, v any) {
			if slices.Contains(strings.Fields(known), path) {
				return
			}
			switch v := v.(type) {
			case map[string]any:
				for key, e := range v {
					walk(strings.TrimPrefix(path+"."+key, "."), e)
				}
			case []any:
				for _, e := range v {
					walk(path, e)
				}
			default:
				t.Errorf("%s, a %s, has %s, which nothing looks at", id, r.Type, path)
			}
		}
		walk("", r.Properties)
	}
	grouped := map[string]int{}
	for _, group := range list(under(s.template, "Metadata", "AWS::CloudFormation::Interface", "ParameterGroups")) {
		if text(under(group, "Label", "default")) == "" {
			t.Errorf("the group of %v has no label", under(group, "Parameters"))
		}
		for _, p := range texts(under(group, "Parameters")) {
			grouped[p]++
		}
	}
	for id := range object(s.template["Parameters"]) {
		if grouped[id] != 1 {
			t.Errorf("the parameter %s is in %d groups", id, grouped[id])
		}
		delete(grouped, id)
	}
	if len(grouped) > 0 {
		t.Errorf("there are no parameters %v", grouped)
	}
}

// conditional are the resources that there are only if somebody wants them.
var conditional = map[string][]string{
	"HasEmail": {"Email"}, "HasNotices": {"Notices"}, "HasPolicyKey": {"AuditorKeyPolicy", "PolicyKeyPolicy"}, "HasCentralBus": {"ForwardPolicy", "ForwardedAlerts"},
	"HasPagerDuty": {"AlarmPage", "AlarmPageResolved", "Page", "PagePolicy", "PageResolved", "PagerDuty", "PagerDutyConnection"},
	"HasSlack":     {"Slack", "SlackConnection", "SlackLoud", "SlackPolicy", "SlackQuiet"},
	// In part: where the policy is, who puts dead letters back.
	"": {"AuditFunction", "AuditorPolicy", "DeliveryPolicy", "OverrideFunction", "RecordPolicy", "ReenableFunction", "SweepFunction"},
}

// wanted are the parameters that conditional's conditions are about.
var wanted = map[string]string{
	"HasEmail": "AlertEmail", "HasNotices": "NoticeEmail", "HasPolicyKey": "PolicyKmsKeyArn", "HasCentralBus": "CentralBusArn",
	"HasPagerDuty": "PagerDutyRoutingKey", "HasSlack": "SlackToken",
}

// everythingElseIsAlwaysThere: what watches and protects depends on no parameter,
// the rest on its own one.
func everythingElseIsAlwaysThere(t testing.TB, in source) {
	t.Helper()
	got := map[string][]string{}
	resources := object(in.template["Resources"])
	for _, id := range slices.Sorted(maps.Keys(resources)) {
		if c := text(under(resources[id], "Condition")); c != "" {
			got[c] = append(got[c], id)
		}
		if strings.Contains(string(encode(t, resources[id])), `"Fn::If":`) {
			got[""] = append(got[""], id)
		}
	}
	if diff := cmp.Diff(conditional, got); diff != "" {
		t.Errorf("conditional (-want +got):\n%s", diff)
	}
	least := in.deploy(t, parameters("AlertEmail=")).Resources
	for condition, parameter := range wanted {
		var more []string
		for id := range in.deploy(t, parameters("AlertEmail=", parameter+"="+text(everything()[parameter]))).Resources {
			if _, always := least[id]; !always {
				more = append(more, id)
			}
		}
		if slices.Sort(more); !slices.Equal(more, conditional[condition]) {
			t.Errorf("%s brings %v, want %v", parameter, more, conditional[condition])
		}
	}
}

// refused are values that a parameter must not take.
var refused = map[string][]string{
	"UserPoolArns": {"", "us-east-1_EXAMPLE12", "*", "arn:aws:cognito-idp:us-east-1:111122223333:userpool/*"}, "TrailArn": {"", "management", "*"},
	"DeploymentRoleArn": {"*", "arn:aws:iam::111122223333:user/me", "arn:aws:iam::*:role/x"}, "Mode": {"", "off"}, "Name": {"", "Relatch", "a name", strings.Repeat("n", 21)},
	"AlertEmail": {"nobody", "a b@example.com"}, "NoticeEmail": {"nobody"}, "PagerDutyRoutingKey": {"short"}, "SlackToken": {"token"}, "SlackChannel": {"#security"},
	"CentralBusArn": {"central", "*"}, "RunbookUrl": {"http://example.com/", "https://example.com", `https://example.com/"/`}, "PolicyParameter": {"*"}, "PolicyTable": {"*"},
	"PolicyKmsKeyArn": {"*", "alias/x"}, "PolicyKey": {""}, "PolicyValue": {""}, "AuditConcurrency": {"1", "1000"}, "ReenableConcurrency": {"0", "1000"}, "QuotaShare": {"0", "0.5", "1"}, "AuthFactors": {"", "true"},
	"SweepAgeLimit": {"0", "900", "1000000"}, "LogRetentionDays": {"1", "0", "77"}, "AlertRetentionDays": {"0"},
}

// parametersAreExplainedAndHeldToAForm: what was forgotten or mistyped is refused
// before anything is made. Only what nobody else can know has no default.
func parametersAreExplainedAndHeldToAForm(t testing.TB, in source) {
	t.Helper()
	takes := func(p any, value string) bool {
		if allowed := texts(under(p, "AllowedValues")); len(allowed) > 0 {
			return slices.Contains(allowed, value)
		}
		if under(p, "Type") == "Number" {
			n, err := strconv.ParseFloat(value, 64)
			least, wrong := strconv.ParseFloat(fmt.Sprint(under(p, "MinValue")), 64)
			most, wrongToo := strconv.ParseFloat(fmt.Sprint(under(p, "MaxValue")), 64)
			return err == nil && (wrong != nil || n >= least) && (wrongToo != nil || n <= most)
		}
		pattern, err := regexp.Compile(text(under(p, "AllowedPattern")))
		return err != nil || pattern.MatchString(value)
	}
	whole := in.deploy(t, everything())
	for id, p := range object(in.template["Parameters"]) {
		if said := text(under(p, "Description")); len(said) < 20 || !strings.HasSuffix(said, ".") {
			t.Errorf("%s is described as %q", id, said)
		}
		if len(refused[id]) == 0 {
			t.Errorf("nobody knows what %s must not be", id)
		}
		for _, value := range refused[id] {
			if takes(p, value) {
				t.Errorf("%s may be %q", id, value)
			}
		}
		for _, value := range texts(whole.parameters[id]) {
			if !takes(p, value) {
				t.Errorf("%s may not be %q", id, value)
			}
		}
		if otherwise, has := object(p)["Default"]; has == (id == "UserPoolArns" || id == "TrailArn") || has && !takes(p, fmt.Sprint(otherwise)) {
			t.Errorf("%s has the default %v", id, otherwise)
		}
	}
	if mode := under(in.template, "Parameters", "Mode", "Default"); mode != "enforce" {
		t.Errorf("who says nothing gets the mode %v", mode)
	}
}

// refuses are the rules of the template that do not let it be deployed.
func (s *stack) refuses(t testing.TB) []string {
	t.Helper()
	var out []string
	for id, rule := range object(s.template["Rules"]) {
		if c := under(rule, "RuleCondition"); c != nil && !s.holds(t, c) {
			continue
		}
		for _, a := range list(under(rule, "Assertions")) {
			if !s.holds(t, under(a, "Assert")) {
				out = append(out, id)
			}
		}
	}
	return out
}

// somebodyIsToldOfAlarms: CloudFormation refuses a stack whose alarms go nowhere.
func somebodyIsToldOfAlarms(t testing.TB, in source) {
	t.Helper()
	const key = "PagerDutyRoutingKey=0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		given []string
		want  bool
	}{
		{nil, true},
		{[]string{"AlertEmail="}, false},
		{[]string{"AlertEmail=", key}, true},
		{[]string{"AlertEmail=", "SlackToken=xoxb-1", "SlackChannel=C0123456789"}, false},
		{[]string{"AlertEmail=", "NoticeEmail=administrators@example.com"}, false},
		{[]string{"SlackToken=xoxb-1"}, false},
		{[]string{"SlackToken=xoxb-1", "SlackChannel=C0123456789"}, true},
	} {
		if got := in.deploy(t, parameters(c.given...)).refuses(t); (len(got) == 0) != c.want {
			t.Errorf("%v is refused by %v", c.given, got)
		}
	}
}

// stackSet is how CloudFormation calls a StackSet's stack.
const stackSet = "StackSet-relatch-01234567-89ab-cdef-0123-456789abcdef"

// aStackSetsNamesFit: resources are not named after the stack, and what an account
// has for all Regions is named after the Region. The limits are
// those of the services' API references.
func aStackSetsNamesFit(t testing.TB, in source) {
	t.Helper()
	limits := map[string]int{
		"AWS::IAM::Role": 64, "AWS::Lambda::Function": 64, "AWS::Events::Rule": 64, "AWS::Events::Archive": 48, "AWS::Events::ApiDestination": 64, "AWS::Events::Connection": 64,
		"AWS::Scheduler::ScheduleGroup": 64, "AWS::Scheduler::Schedule": 64, "AWS::SQS::Queue": 80, "AWS::IAM::ManagedPolicy": 128,
	}
	for _, region := range []string{"ap-southeast-2", "us-gov-west-1"} {
		s := in.deployAs(t, stackSet, account, region, everything("Name="+strings.Repeat("n", 20)))
		for id, r := range s.Resources {
			_, own := s.identity(t, id)
			if most := limits[r.Type]; most > 0 && len(own) > most {
				t.Errorf("%s is named %s, with %d characters; %d fit", id, own, len(own), most)
			}
			global := r.Type == "AWS::IAM::Role" || r.Type == "AWS::IAM::ManagedPolicy" || r.Type == "AWS::CloudWatch::Dashboard"
			if strings.Contains(own, "StackSet") || limits[r.Type] > 0 && own == id || global && !strings.Contains(own, region) {
				t.Errorf("%s, a %s, is named %s", id, r.Type, own)
			}
		}
	}
}

// alertsAreKeptAndMailed, to whom they are for, if somebody gave an address; and
// the central account is told what to allow.
func alertsAreKeptAndMailed(t testing.TB, in source) {
	t.Helper()
	for variant, given := range map[string]map[string]any{"least": parameters("AlertEmail="), "everything": everything()} {
		s := in.deploy(t, given)
		kept := slices.ContainsFunc(s.of("AWS::Events::Archive"), func(id string) bool {
			p := s.Resources[id].Properties
			return p["SourceArn"] == s.attribute(t, "AlertBus", "Arn") && p["EventPattern"] == nil && whole(p["RetentionDays"]) >= 1
		})
		if !kept {
			t.Errorf("%s: no archive keeps every alert", variant)
		}
		want, got := map[string]string{}, map[string]string{}
		if variant == "everything" {
			want = map[string]string{text(s.ref(t, "Topic")): "email security@example.com", text(s.ref(t, "NoticeTopic")): "email administrators@example.com"}
		}
		for _, id := range s.of("AWS::SNS::Subscription") {
			p := s.Resources[id].Properties
			got[text(p["TopicArn"])] = text(p["Protocol"]) + " " + text(p["Endpoint"])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, subscriptions (-want +got):\n%s", variant, diff)
		}
		var statement map[string]any
		if variant == "least" {
			if s.Outputs["CentralBusStatement"] != nil {
				t.Error("there is a statement for no central bus")
			}
			continue
		}
		if err := json.Unmarshal([]byte(text(s.Outputs["CentralBusStatement"])), &statement); err != nil {
			t.Errorf("the statement for the central bus: %v", err)
		}
		if diff := cmp.Diff(map[string]any{
			"Sid": "Relatch" + account, "Effect": "Allow", "Principal": map[string]any{"AWS": s.attribute(t, "AlertRole", "Arn")}, "Action": "events:PutEvents",
			"Resource": s.parameters["CentralBusArn"], "Condition": map[string]any{"StringEquals": map[string]any{"events:source": bus.Source, "events:detail-type": bus.DetailType}},
		}, statement); diff != "" {
			t.Errorf("the statement for the central bus (-want +got):\n%s", diff)
		}
	}
}
