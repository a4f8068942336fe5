package infra_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/config"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/trail"
)

// matches reports whether EventBridge would match the event (User Guide,
// "Comparison operators for use in event patterns"). An operator that it does
// not know is an error, never a match.
func matches(pattern, event map[string]any) (bool, error) {
	for key, want := range pattern {
		ok, err := false, error(nil)
		switch want := want.(type) {
		case []any:
			if key == "$or" {
				ok, err = anyOf(want, event)
				break
			}
			got, there := event[key]
			ok, err = leaf(want, got, there)
		case map[string]any:
			inner, is := event[key].(map[string]any)
			if !is {
				inner = map[string]any{}
			}
			ok, err = matches(want, inner)
		default:
			err = fmt.Errorf("%s: a pattern has lists and objects, not %T", key, want)
		}
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func anyOf(patterns []any, event map[string]any) (bool, error) {
	for _, p := range patterns {
		if ok, err := matches(object(p), event); err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

func leaf(wants []any, got any, there bool) (bool, error) {
	var values []any
	if there {
		values = list(got)
	}
	found := false
	for _, want := range wants {
		operators, is := want.(map[string]any)
		if !is {
			found = found || slices.ContainsFunc(values, func(v any) bool { return reflect.DeepEqual(v, want) })
			continue
		}
		if len(operators) != 1 {
			return false, fmt.Errorf("%v is not one operator", operators)
		}
		for operator, operand := range operators {
			if operator == "exists" {
				found = found || operand == there
				continue
			}
			if operator == "anything-but" { // of a list of strings; what is not there is nothing
				but, is := operand.([]any)
				if !is {
					return false, fmt.Errorf("operator %s: %w", operator, errUnknown)
				}
				found = found || slices.ContainsFunc(values, func(v any) bool { return !slices.Contains(but, v) })
				continue
			}
			compare, known := comparisons[operator]
			if _, is := operand.(string); !known || !is {
				return false, fmt.Errorf("operator %s: %w", operator, errUnknown)
			}
			found = found || slices.ContainsFunc(values, func(v any) bool {
				s, is := v.(string)
				return is && compare(s, text(operand))
			})
		}
	}
	return found, nil
}

var comparisons = map[string]func(value, operand string) bool{
	"prefix": strings.HasPrefix, "suffix": strings.HasSuffix, "wildcard": wildcard,
}

func wildcard(value, pattern string) bool {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return value == pattern
	}
	rest, ok := strings.CutPrefix(value, before)
	for ; ok && rest != ""; rest = rest[1:] {
		if wildcard(rest, after) {
			return true
		}
	}
	return ok && wildcard("", after)
}

func TestThePatternMatcherRefusesWhatItDoesNotKnow(t *testing.T) {
	event := map[string]any{"a": "b", "n": map[string]any{"x": []any{"1", "22"}}}
	for _, c := range []struct {
		pattern string
		want    bool
		known   bool
	}{
		{`{"a":["b"]}`, true, true},
		{`{"a":["c"]}`, false, true},
		{`{"b":["b"]}`, false, true},
		{`{"n":{"x":[{"prefix":"2"}]}}`, true, true},
		{`{"n":{"x":[{"wildcard":"*2*2"}]}}`, true, true},
		{`{"n":{"x":[{"wildcard":"*2*3"}]}}`, false, true},
		{`{"n":{"$or":[{"x":["7"]},{"x":[{"suffix":"1"}]}]}}`, true, true},
		{`{"c":[{"exists":false}]}`, true, true},
		{`{"a":[{"numeric":["<",1]}]}`, false, false},
		{`{"a":["b",{"anything-but":"c"}]}`, false, false},
		{`{"a":[{"anything-but":["c","d"]}]}`, true, true},
		{`{"a":[{"anything-but":["c","b"]}]}`, false, true},
		{`{"c":[{"anything-but":["c","b"]}]}`, false, true},
		{`{"c":[{"exists":false},{"anything-but":["c","b"]}]}`, true, true},
		{`{"a":"b"}`, false, false},
	} {
		var pattern map[string]any
		if err := json.Unmarshal([]byte(c.pattern), &pattern); err != nil {
			t.Fatal(err)
		}
		if got, err := matches(pattern, event); got != c.want || (err == nil) != c.known {
			t.Errorf("%s: %v, %v", c.pattern, got, err)
		}
	}
}

// patterns are those of the rules that send to audit's queue.
func (s *stack) patterns(t testing.TB) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	for _, id := range s.of("AWS::Events::Rule") {
		for _, target := range list(s.Resources[id].Properties["Targets"]) {
			if object(target)["Arn"] == s.attribute(t, "AuditQueue", "Arn") {
				out[id] = object(s.Resources[id].Properties["EventPattern"])
			}
		}
	}
	if len(out) == 0 {
		t.Fatal("no rule sends to audit's queue")
	}
	return out
}

// delivered reports whether a rule sends the event to audit.
func (s *stack) delivered(t testing.TB, event map[string]any) bool {
	t.Helper()
	found := false
	for id, pattern := range s.patterns(t) {
		ok, err := matches(pattern, event)
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		found = found || ok
	}
	return found
}

// settings is what the function is told, as it reads it.
func (s *stack) settings(t testing.TB, function string) config.Config {
	t.Helper()
	var environ []string
	for key, v := range object(under(s.Resources[function].Properties, "Environment", "Variables")) {
		environ = append(environ, fmt.Sprintf("%s=%v", key, v))
	}
	read := config.Read
	if function == "OverrideFunction" {
		read = config.ReadOverride
	}
	c, err := read(environ)
	if err != nil {
		t.Fatalf("%s: %v", function, err)
	}
	return c
}

// relevant reports whether audit, as the stack tells it, looks at the delivery.
func (s *stack) relevant(t testing.TB, raw []byte) bool {
	t.Helper()
	c, err := trail.Parse(raw)
	if err != nil {
		return true // it is kept, and somebody is told
	}
	d, screened := mfa.Screen(s.settings(t, "AuditFunction").House(), c)
	return !screened || d.Reason != mfa.Irrelevant
}

// envelope is the event that EventBridge has of a delivery, which may be one
// itself.
func envelope(t testing.TB, raw []byte) (event map[string]any, ok bool) {
	t.Helper()
	var delivery map[string]any
	if json.Unmarshal(raw, &delivery) != nil {
		return nil, false
	}
	if encoded, row := delivery["CloudTrailEvent"].(string); row {
		delivery = nil
		if json.Unmarshal([]byte(encoded), &delivery) != nil {
			return nil, false
		}
	}
	if _, wrapped := delivery["detail"]; wrapped {
		return delivery, true
	}
	service, _, isService := strings.Cut(text(delivery["eventSource"]), ".")
	kind := "AWS API Call via CloudTrail"
	if delivery["eventType"] == "AwsServiceEvent" {
		kind = "AWS Service Event via CloudTrail"
	}
	return map[string]any{"source": "aws." + service, "detail-type": kind, "account": delivery["recipientAccountId"], "region": delivery["awsRegion"], "detail": delivery}, isService
}

// TestWhatTheWorkerActsOnIsMatched puts every delivery of every scenario through
// the rules as they would be in the scenario's account.
func TestWhatTheWorkerActsOnIsMatched(t *testing.T) {
	files, err := filepath.Glob("../events/*/0*")
	if err != nil {
		t.Fatal(err)
	}
	stacks := map[string]*stack{}
	relevant, others, unread := 0, 0, 0
	for _, file := range files {
		for place, raw := range raws(t, file) {
			event, ok := envelope(t, raw)
			if !ok {
				unread++ // EventBridge has JSON only
				continue
			}
			s := stackFor(t, stacks, filepath.Dir(file), event)
			want := s.relevant(t, raw)
			if got := s.delivered(t, event); got != want {
				t.Errorf("%s %s: matched %v, acted on %v", file, place, got, want)
			}
			if want {
				relevant++
			} else {
				others++
			}
		}
	}
	t.Logf("%d deliveries matched, %d not, %d are no JSON", relevant, others, unread)
	if relevant < 500 || others < 10 || unread > 5 {
		t.Errorf("%d deliveries matched, %d not, %d are no JSON", relevant, others, unread)
	}
}

// raws are the deliveries in a file of a scenario.
func raws(t testing.TB, file string) map[string][]byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err == nil && strings.HasSuffix(file, ".gz") {
		var unzipped *gzip.Reader
		if unzipped, err = gzip.NewReader(bytes.NewReader(raw)); err == nil {
			raw, err = io.ReadAll(unzipped)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for u := range trail.Split(raw) {
		var wrapped struct {
			Arrives string          `json:"arrives"`
			Event   json.RawMessage `json:"event"`
		}
		if json.Unmarshal(u.Raw, &wrapped) == nil && wrapped.Arrives != "" {
			for inner := range trail.Split(wrapped.Event) {
				out[u.Place+" "+inner.Place] = inner.Raw
			}
			continue
		}
		out[u.Place] = u.Raw
	}
	return out
}

// stackFor is the stack of the account that the delivery is of, with the trail
// that the scenario guards.
func stackFor(t testing.TB, made map[string]*stack, scenario string, event map[string]any) *stack {
	t.Helper()
	account, region := text(under(event, "detail", "recipientAccountId")), text(under(event, "detail", "awsRegion"))
	if account == "" {
		account = "111122223333"
	}
	if region == "" {
		region = "us-east-1"
	}
	var file struct {
		Guard []string `json:"guard"`
	}
	if raw, err := os.ReadFile(filepath.Join(scenario, "account.json")); err == nil {
		if err := json.Unmarshal(raw, &file); err != nil {
			t.Fatal(err)
		}
	}
	at := "arn:aws:cloudtrail:" + region + ":" + account + ":trail/management"
	for _, arn := range file.Guard {
		if strings.Contains(arn, ":cloudtrail:") {
			at = arn
		}
	}
	key := account + region + at
	if made[key] == nil {
		made[key] = deployAs(t, name, account, region, parameters("TrailArn="+at))
	}
	return made[key]
}

// record is a management event of CloudTrail, in EventBridge's envelope.
func record(service, event string, parameters map[string]any) map[string]any {
	return map[string]any{
		"version": "0", "source": "aws." + service, "detail-type": "AWS API Call via CloudTrail", "account": account, "region": region,
		"detail": map[string]any{
			"eventVersion": "1.11", "eventID": "e-1", "eventTime": "2026-11-23T08:00:00Z", "eventSource": service + ".amazonaws.com",
			"eventName": event, "awsRegion": region, "recipientAccountId": account, "readOnly": false, "eventType": "AwsApiCall",
			"managementEvent": true, "eventCategory": "Management", "requestParameters": parameters,
			"userIdentity":        map[string]any{"type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/Admin/ops-7"},
			"additionalEventData": map[string]any{"sub": "87a42a58-6051-7076-79e2-fe9208b6ae3c"},
		},
	}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestEveryOperationIsMatchedAsTrailReadsIt: what Cognito can do is what its
// client has methods for.
func TestEveryOperationIsMatchedAsTrailReadsIt(t *testing.T) {
	s := deploy(t, parameters())
	client := reflect.TypeFor[*cognitoidentityprovider.Client]()
	matched, others := 0, 0
	for i := range client.NumMethod() {
		operation := client.Method(i).Name
		event := record("cognito-idp", operation, map[string]any{"userPoolId": pool})
		want := s.relevant(t, encode(t, event))
		if got := s.delivered(t, event); got != want {
			t.Errorf("%s: matched %v, acted on %v", operation, got, want)
		}
		if want {
			matched++
		} else {
			others++
		}
	}
	if matched < 20 || others < 50 {
		t.Errorf("%d operations matched, %d not", matched, others)
	}
}

// masked is what CloudTrail writes in the place of a value.
const masked = "HIDDEN_DUE_TO_SECURITY_REASONS"

// TestASwitchedOffFactorIsMatchedHoweverItIsWritten: nothing in the patterns
// may ask for enabled, or for anything else that a call may leave out.
func TestASwitchedOffFactorIsMatchedHoweverItIsWritten(t *testing.T) {
	s := deploy(t, parameters())
	for _, p := range []map[string]any{
		nil,
		{"softwareTokenMfaSettings": map[string]any{}},
		{"softwareTokenMfaSettings": map[string]any{"enabled": false}},
		{"softwareTokenMfaSettings": map[string]any{"enabled": true}},
		{"softwareTokenMfaSettings": masked},
	} {
		if event := record("cognito-idp", "AdminSetUserMFAPreference", p); !s.delivered(t, event) {
			t.Errorf("%v is not matched", p)
		}
	}
}

// TestWhoeverTouchesTheGuardIsMatched: for every ARN that audit is told, calls
// that name it, and the same calls on something of nearly the same name.
func TestWhoeverTouchesTheGuardIsMatched(t *testing.T) {
	s := deploy(t, parameters())
	seen := map[string]int{}
	for _, arn := range s.settings(t, "AuditFunction").Guard {
		service := strings.Split(arn, ":")[2]
		for _, c := range calls(t, arn) {
			seen[service]++
			event := record(service, c.event, c.parameters)
			if raw := encode(t, event); !s.relevant(t, raw) || !s.delivered(t, event) {
				t.Errorf("%s on %s %v: matched %v, acted on %v", c.event, arn, c.parameters, s.delivered(t, event), s.relevant(t, raw))
			}
			data := record(service, c.event, c.parameters)
			object(data["detail"])["eventCategory"] = "Data"
			if s.delivered(t, data) {
				t.Errorf("%s on %s as a data event is matched", c.event, arn)
			}
			lookalike := map[string]any{}
			for key, v := range c.parameters {
				if lookalike[key] = text(v) + "-2"; key == "eventBusName" && service == "events" && v == "default" || key == "state" {
					lookalike[key] = v
				}
			}
			event = record(service, c.event, lookalike)
			if raw := encode(t, event); s.relevant(t, raw) != s.delivered(t, event) {
				t.Errorf("%s on a lookalike of %s %v: matched %v, acted on %v", c.event, arn, lookalike, s.delivered(t, event), s.relevant(t, raw))
			}
		}
	}
	for _, service := range []string{"cloudtrail", "dynamodb", "events", "lambda", "scheduler", "sns", "sqs"} {
		if seen[service] == 0 {
			t.Errorf("nothing of %s is guarded", service)
		}
	}
}

// TestATimerOfRelatchsOwnIsNotSent: each would come back as an own act. Those
// that anybody else touches are.
func TestATimerOfRelatchsOwnIsNotSent(t *testing.T) {
	s := deploy(t, parameters())
	by := func(role string) map[string]any {
		event := record("scheduler", "DeleteSchedule", map[string]any{"groupName": "relatch", "name": "relatch-O-1"})
		object(event["detail"])["userIdentity"] = map[string]any{
			"type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/" + role + "/session",
			"sessionContext": map[string]any{"sessionIssuer": map[string]any{"type": "Role", "arn": "arn:aws:iam::111122223333:role/" + role, "userName": role}},
		}
		return event
	}
	for _, id := range workers {
		if own := text(s.Resources[s.roleOf(t, id)].Properties["RoleName"]); s.delivered(t, by(own)) {
			t.Errorf("what %s does to timers comes back", own)
		}
	}
	for _, role := range []string{"Admin", "relatch-us-east-1-audit2", "relatch-us-east-1-timer", "relatch-deploy", text(s.Resources["OverrideRole"].Properties["RoleName"])} {
		if !s.delivered(t, by(role)) {
			t.Errorf("what %s does to timers is not matched", role)
		}
	}
	whole := by("relatch-us-east-1-audit")
	object(object(whole["detail"])["requestParameters"])["groupName"] = "relatch-sweep"
	if !s.delivered(t, whole) {
		t.Error("what a function does to the sweep's schedule is not matched")
	}
}

// TestAuditIsToldOfEverythingThatRelatchIsMadeOf, and of the trail.
func TestAuditIsToldOfEverythingThatRelatchIsMadeOf(t *testing.T) {
	s := deploy(t, parameters())
	want := []string{text(s.parameters["TrailArn"]), s.attribute(t, "MfaRule", "Arn"), s.attribute(t, "GuardRule", "Arn")}
	for _, kind := range []string{
		"AWS::Events::EventBus", "AWS::SQS::Queue", "AWS::Lambda::Function", "AWS::Scheduler::ScheduleGroup", "AWS::DynamoDB::Table", "AWS::SNS::Topic",
	} {
		for _, id := range s.of(kind) {
			want = append(want, s.attribute(t, id, "Arn"))
		}
	}
	got := s.settings(t, "AuditFunction").Guard
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-made of +told):\n%s", diff)
	}
}

type call struct {
	event      string
	parameters map[string]any
}

// calls are the ways to delete, disable or narrow what the ARN names, with the
// request parameters that CloudTrail has of them.
func calls(t testing.TB, arn string) []call {
	t.Helper()
	f := strings.SplitN(arn, ":", 6)
	service, resource := f[2], f[5]
	last := resource[strings.LastIndexAny(resource, ":/")+1:]
	switch {
	case service == "cloudtrail":
		return []call{
			{"StopLogging", map[string]any{"name": arn}},
			{"StopLogging", map[string]any{"name": last}},
			{"DeleteTrail", map[string]any{"name": last}},
			{"UpdateTrail", map[string]any{"name": arn}},
			{"PutEventSelectors", map[string]any{"trailName": last}},
			{"PutEventSelectors", map[string]any{"trailName": arn}},
		}
	case service == "dynamodb":
		return []call{
			{"DeleteTable", map[string]any{"tableName": last}},
			{"UpdateTable", map[string]any{"tableName": arn}},
			{"UpdateContinuousBackups", map[string]any{"tableName": last}},
			{"PutResourcePolicy", map[string]any{"resourceArn": arn}},
		}
	case strings.HasPrefix(resource, "event-bus/"):
		return []call{{"DeleteEventBus", map[string]any{"name": last}}, {"DeleteRule", map[string]any{"name": "relatch-loud", "eventBusName": last}}}
	case service == "events":
		return []call{
			{"DisableRule", map[string]any{"name": last}},
			{"DeleteRule", map[string]any{"name": last, "eventBusName": "default"}},
			{"PutRule", map[string]any{"name": last, "state": "ENABLED"}},
			{"RemoveTargets", map[string]any{"rule": last}},
			{"PutTargets", map[string]any{"rule": last, "eventBusName": "default"}},
		}
	case service == "lambda":
		return []call{
			{"DeleteFunction20150331", map[string]any{"functionName": last}},
			{"UpdateFunctionCode20150331v2", map[string]any{"functionName": arn}},
			{"PutFunctionConcurrency", map[string]any{"functionName": account + ":function:" + last}},
			{"UpdateFunctionConfiguration20150331v2", map[string]any{"functionName": last}},
		}
	case service == "scheduler":
		return []call{
			{"DeleteScheduleGroup", map[string]any{"name": last}},
			{"DeleteSchedule", map[string]any{"groupName": last, "name": "r-1"}},
			{"UpdateSchedule", map[string]any{"groupName": last, "name": "r-1"}},
		}
	case service == "sns":
		return []call{
			{"DeleteTopic", map[string]any{"topicArn": arn}},
			{"SetTopicAttributes", map[string]any{"topicArn": arn}},
			{"Unsubscribe", map[string]any{"subscriptionArn": arn + ":0b0c"}},
		}
	case service == "sqs":
		url := "https://sqs.us-east-1.amazonaws.com/" + account + "/" + last
		return []call{{"DeleteQueue", map[string]any{"queueUrl": url}}, {"PurgeQueue", map[string]any{"queueUrl": url}}, {"SetQueueAttributes", map[string]any{"queueUrl": url}}}
	default:
		t.Fatalf("nobody knows how to touch %s", arn)
		return nil
	}
}

// TestPatternsAreNotTooLong for the longest names that the stack and the trail may
// have, in the Region with the longest name.
func TestPatternsAreNotTooLong(t *testing.T) {
	const most = 2048 // EventBridge quotas, "Event pattern size"
	s := deployAs(t, strings.Repeat("n", 20), account, "ap-southeast-2", parameters("TrailArn=arn:aws:cloudtrail:ap-southeast-2:111122223333:trail/"+strings.Repeat("t", 128)))
	for id, pattern := range s.patterns(t) {
		if n := len(encode(t, pattern)); n > most {
			t.Errorf("%s has %d characters, at most %d fit", id, n, most)
		} else {
			t.Logf("%s: %d characters", id, n)
		}
	}
}
