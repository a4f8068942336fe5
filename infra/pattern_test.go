package infra_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	gocmp "github.com/google/go-cmp/cmp"

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

// relevant reports whether audit looks at the delivery.
func relevant(l *look, raw []byte) bool {
	c, err := trail.Parse(raw)
	return l.relevant(c, err)
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

// whatTheWorkerActsOnIsMatched puts every delivery of every scenario through
// the rules as they would be in the scenario's account.
func whatTheWorkerActsOnIsMatched(t testing.TB, in source) {
	t.Helper()
	stacks, looks := map[string]*stack{}, map[string]*look{}
	relevant, others := 0, 0
	all, unread := recorded(t)
	for _, d := range all {
		key := d.account + d.region + d.trail
		if stacks[key] == nil {
			stacks[key] = in.deployAs(t, name, d.account, d.region, parameters("TrailArn="+d.trail))
			looks[key] = &look{patterns: stacks[key].patterns(t), house: stacks[key].settings(t, "AuditFunction").House()}
		}
		want := looks[key].relevant(d.change, d.err)
		if got := looks[key].delivered(t, d.event); got != want {
			t.Errorf("%s: matched %v, acted on %v", d.place, got, want)
		}
		if want {
			relevant++
		} else {
			others++
		}
	}
	t.Logf("%d deliveries matched, %d not, %d are no JSON", relevant, others, unread)
	if relevant < 500 || others < 10 || unread > 5 {
		t.Errorf("%d deliveries matched, %d not, %d are no JSON", relevant, others, unread)
	}
}

// delivery is one of a scenario, in the account that it is of, with the trail that
// the scenario guards.
type delivery struct {
	place, account, region, trail string
	event                         map[string]any
	change                        mfa.Change
	err                           error
}

// recorded are all deliveries of all scenarios, and how many are none that
// EventBridge could have: it has JSON only.
func recorded(t testing.TB) (all []delivery, unread int) {
	t.Helper()
	deliveries.Do(func() {
		files, err := filepath.Glob("../events/*/0*")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for place, raw := range raws(t, file) {
				event, ok := envelope(t, raw)
				if !ok {
					deliveries.unread++
					continue
				}
				d := delivery{place: file + " " + place, event: event}
				d.account, d.region, d.trail = placeOf(t, filepath.Dir(file), event)
				d.change, d.err = trail.Parse(raw)
				deliveries.all = append(deliveries.all, d)
			}
		}
	})
	return deliveries.all, deliveries.unread
}

var deliveries struct {
	sync.Once
	all    []delivery
	unread int
}

// look is what a stack makes of deliveries.
type look struct {
	patterns map[string]map[string]any
	house    mfa.House
}

// relevant reports whether audit looks at what was parsed.
func (l *look) relevant(c mfa.Change, err error) bool {
	if err != nil {
		return true // it is kept, and somebody is told
	}
	d, screened := mfa.Screen(l.house, c)
	return !screened || d.Reason != mfa.Irrelevant
}

// delivered reports whether a rule sends the event to audit.
func (l *look) delivered(t testing.TB, event map[string]any) bool {
	t.Helper()
	return len(l.rules(t, event)) > 0
}

// rules are the ids of those that send the event.
func (l *look) rules(t testing.TB, event map[string]any) []string {
	t.Helper()
	var out []string
	for id, pattern := range l.patterns {
		ok, err := matches(pattern, event)
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if ok {
			out = append(out, id)
		}
	}
	return out
}

// look works the stack's patterns and the house of audit out.
func (s *stack) look(t testing.TB) *look {
	t.Helper()
	return &look{s.patterns(t), s.settings(t, "AuditFunction").House()}
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

// placeOf is where the delivery is of, and the trail that the scenario guards.
func placeOf(t testing.TB, scenario string, event map[string]any) (account, region, trail string) {
	t.Helper()
	account, region = cmp.Or(text(under(event, "detail", "recipientAccountId")), "111122223333"), cmp.Or(text(under(event, "detail", "awsRegion")), "us-east-1")
	var file struct {
		Guard []string `json:"guard"`
	}
	if raw, err := os.ReadFile(filepath.Join(scenario, "account.json")); err == nil {
		if err := json.Unmarshal(raw, &file); err != nil {
			t.Fatal(err)
		}
	}
	for _, arn := range file.Guard {
		if strings.Contains(arn, ":cloudtrail:") {
			return account, region, arn
		}
	}
	return account, region, "arn:aws:cloudtrail:" + region + ":" + account + ":trail/management"
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

// everyOperationIsMatchedAsTrailReadsIt: what Cognito can do is what its
// client has methods for.
func everyOperationIsMatchedAsTrailReadsIt(t testing.TB, in source) {
	t.Helper()
	l := in.deploy(t, parameters()).look(t)
	client := reflect.TypeFor[*cognitoidentityprovider.Client]()
	matched, others := 0, 0
	for i := range client.NumMethod() {
		operation := client.Method(i).Name
		event := record("cognito-idp", operation, map[string]any{"userPoolId": pool})
		want := relevant(l, encode(t, event))
		if got := l.delivered(t, event); got != want {
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

// aSwitchedOffFactorIsMatchedHoweverItIsWritten: nothing in the patterns
// may ask for enabled, or for anything else that a call may leave out.
func aSwitchedOffFactorIsMatchedHoweverItIsWritten(t testing.TB, in source) {
	t.Helper()
	l := in.deploy(t, parameters()).look(t)
	for _, p := range []map[string]any{
		nil,
		{"softwareTokenMfaSettings": map[string]any{}},
		{"softwareTokenMfaSettings": map[string]any{"enabled": false}},
		{"softwareTokenMfaSettings": map[string]any{"enabled": true}},
		{"softwareTokenMfaSettings": masked},
	} {
		event := record("cognito-idp", "AdminSetUserMFAPreference", p)
		for _, event["detail-type"] = range []string{"AWS API Call via CloudTrail", "AWS Service Event via CloudTrail"} { // the second is what managed login does
			if !l.delivered(t, event) {
				t.Errorf("%v as an %s is not matched", p, event["detail-type"])
			}
		}
	}
}

// onlyWhatCloudTrailSendsIsMatched: everybody who may put events on the default bus
// can write such a detail, but nobody a source that begins with aws.
func onlyWhatCloudTrailSendsIsMatched(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, parameters())
	l := s.look(t)
	events := []map[string]any{record("cognito-idp", "AdminSetUserMFAPreference", nil)}
	for _, arn := range s.settings(t, "AuditFunction").Guard {
		service := strings.Split(arn, ":")[2]
		events = append(events, calls(t, arn)[0].record(cmp.Or(sources[service], service), nil))
	}
	for _, event := range events {
		for key, other := range map[string]string{"source": "my.app", "detail-type": "My Event"} {
			forged := maps.Clone(event)
			if forged[key] = other; l.delivered(t, forged) {
				t.Errorf("what has the %s %s is matched by %v", key, other, l.rules(t, forged))
			}
		}
	}
}

// sources are the service's name in eventSource, by that in ARNs, where they differ.
var sources = map[string]string{"cloudwatch": "monitoring"}

// whoeverTouchesTheGuardIsMatched: for every ARN that audit is told, calls
// that name it, and the same calls on something of nearly the same name.
func whoeverTouchesTheGuardIsMatched(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, parameters())
	l := s.look(t)
	for _, arn := range s.settings(t, "AuditFunction").Guard {
		service := strings.Split(arn, ":")[2]
		service = cmp.Or(sources[service], service)
		for _, c := range calls(t, arn) {
			event := c.record(service, nil)
			if raw := encode(t, event); !relevant(l, raw) || !l.delivered(t, event) {
				t.Errorf("%s on %s %v: matched %v, acted on %v", c.event, arn, c.parameters, l.delivered(t, event), relevant(l, raw))
			}
			object(event["detail"])["eventCategory"] = "Data"
			if l.delivered(t, event) {
				t.Errorf("%s on %s as a data event is matched", c.event, arn)
			}
			for _, nearly := range []func(string) string{
				func(name string) string { return name + "-2" },
				func(name string) string {
					i := strings.LastIndexAny(name, ":/") + 1
					return name[:i] + "my-" + name[i:]
				},
			} {
				event = c.record(service, nearly)
				if raw := encode(t, event); relevant(l, raw) != l.delivered(t, event) {
					t.Errorf("%s on a lookalike of %s %v: matched %v, acted on %v", c.event, arn, event["detail"], l.delivered(t, event), relevant(l, raw))
				}
			}
		}
	}
}

// TestNobodyIsPagedForWhatIsNoChange of Relatch: none of these is matched, and
// audit calls each not relevant.
func TestNobodyIsPagedForWhatIsNoChange(t *testing.T) {
	s := deploy(t, parameters())
	l := s.look(t)
	for _, c := range []struct {
		service, event string
		parameters     map[string]any
	}{
		{"sns", "ConfirmSubscription", map[string]any{"topicArn": s.ref(t, "Topic")}},
		{"logs", "CreateLogStream", map[string]any{"logGroupName": "/aws/lambda/relatch-audit"}},
		{"logs", "StartQuery", map[string]any{"logGroupName": "/aws/lambda/relatch-audit"}},
		{"kms", "GenerateDataKey", map[string]any{"keyId": s.attribute(t, "TopicKey", "Arn")}},
		{"iam", "AttachRolePolicy", map[string]any{"roleName": "Support", "policyArn": s.attribute(t, "OperatorPolicy", "Arn")}},
		{"iam", "DeleteUser", map[string]any{"userName": "relatch-us-east-1-audit"}},
		{"lambda", "UpdateEventSourceMapping20150331", map[string]any{"uUID": "f1b3c2d4", "functionName": "shop"}},
		{"cloudformation", "UpdateStack", map[string]any{"stackName": "relatch-shop"}},
	} {
		event := record(c.service, c.event, c.parameters)
		if l.delivered(t, event) || relevant(l, encode(t, event)) {
			t.Errorf("%s %v: matched %v, acted on %v", c.event, c.parameters, l.delivered(t, event), relevant(l, encode(t, event)))
		}
	}
}

// aGuardRuleThatIsSwitchedOffIsSeenByTheOther: a rule that is disabled does not
// see that.
func aGuardRuleThatIsSwitchedOffIsSeenByTheOther(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, parameters())
	l := s.look(t)
	if len(l.patterns) < 3 {
		t.Errorf("only %v send to audit", slices.Sorted(maps.Keys(l.patterns)))
	}
	for id := range l.patterns {
		for _, c := range calls(t, s.attribute(t, id, "Arn")) {
			if !slices.ContainsFunc(l.rules(t, c.record("events", nil)), func(by string) bool { return by != id }) {
				t.Errorf("%s on %s is seen by no other rule", c.event, id)
			}
		}
	}
}

// aTimerOfRelatchsOwnIsNotSent: each would come back as an own act. Those
// that anybody else touches are.
func aTimerOfRelatchsOwnIsNotSent(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, parameters())
	l := s.look(t)
	by := func(role string) map[string]any {
		event := record("scheduler", "DeleteSchedule", map[string]any{"groupName": "relatch", "name": "relatch-O-1"})
		object(event["detail"])["userIdentity"] = map[string]any{
			"type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/" + role + "/session",
			"sessionContext": map[string]any{"sessionIssuer": map[string]any{"type": "Role", "arn": "arn:aws:iam::111122223333:role/" + role, "userName": role}},
		}
		return event
	}
	for _, id := range workers {
		if own := text(s.Resources[s.roleOf(t, id)].Properties["RoleName"]); l.delivered(t, by(own)) {
			t.Errorf("what %s does to timers comes back", own)
		}
	}
	for _, role := range []string{"Admin", "relatch-us-east-1-audit2", "relatch-us-east-1-timer", "relatch-deploy", text(s.Resources["OverrideRole"].Properties["RoleName"])} {
		if !l.delivered(t, by(role)) {
			t.Errorf("what %s does to timers is not matched", role)
		}
	}
	whole := by("relatch-us-east-1-audit")
	object(object(whole["detail"])["requestParameters"])["groupName"] = "relatch-sweep"
	if !l.delivered(t, whole) {
		t.Error("what a function does to the sweep's schedule is not matched")
	}
}

// auditIsToldOfEverythingThatRelatchIsMadeOf, and of the trail. Of what is many,
// the beginning of the name is enough. Rules on the alert bus are the bus's, and
// mappings the queue's; a subscription is the topic's.
func auditIsToldOfEverythingThatRelatchIsMadeOf(t testing.TB, in source) {
	t.Helper()
	s := in.deployAs(t, "stack", account, region, everything("Name=relatch"))
	told := s.settings(t, "AuditFunction").Guard
	want := []string{text(s.parameters["TrailArn"]), "arn:aws:cloudformation:us-east-1:111122223333:stack/stack"}
	var many []string
	for id, r := range s.Resources {
		switch r.Type {
		case "AWS::Events::Rule":
			if r.Properties["EventBusName"] == nil {
				want = append(want, s.attribute(t, id, "Arn"))
			}
		case "AWS::Events::EventBus", "AWS::SQS::Queue", "AWS::Lambda::Function", "AWS::Scheduler::ScheduleGroup", "AWS::DynamoDB::Table", "AWS::SNS::Topic", "AWS::KMS::Key":
			want = append(want, s.attribute(t, id, "Arn"))
		case "AWS::Events::Archive":
			want = append(want, "arn:aws:events:us-east-1:111122223333:archive/"+text(s.ref(t, id)))
		case "AWS::Events::ApiDestination":
			want = append(want, strings.TrimSuffix(s.attribute(t, id, "Arn"), "/1"))
		case "AWS::IAM::Role", "AWS::IAM::ManagedPolicy", "AWS::CloudWatch::Alarm", "AWS::Logs::LogGroup":
			many = append(many, s.attribute(t, id, "Arn"))
		}
	}
	for _, arn := range many {
		i := slices.IndexFunc(told, func(pattern string) bool { return strings.HasSuffix(pattern, "*") && wildcard(arn, pattern) })
		if i < 0 {
			t.Errorf("audit is not told of %s", arn)
		} else if !slices.Contains(want, told[i]) {
			want = append(want, told[i])
		}
	}
	slices.Sort(want)
	slices.Sort(told)
	if diff := gocmp.Diff(want, told); diff != "" {
		t.Errorf("(-made of +told):\n%s", diff)
	}
}

type call struct {
	service    string // where it is another than the ARN's
	event      string
	parameters map[string]any
	answer     map[string]any
}

// record is the event of such a call, with the names changed, if nearly is not nil.
func (c call) record(service string, nearly func(string) string) map[string]any {
	change := func(all map[string]any) map[string]any {
		out := maps.Clone(all)
		for key, v := range out {
			switch {
			case nearly == nil, v == "default", key == "state", key == "policyName":
			case text(v) != "":
				out[key] = nearly(text(v))
			case len(list(v)) == 1:
				out[key] = []any{nearly(text(list(v)[0]))}
			}
		}
		return out
	}
	event := record(cmp.Or(c.service, service), c.event, change(c.parameters))
	if c.answer != nil {
		object(event["detail"])["responseElements"] = change(c.answer)
	}
	return event
}

// calls are the ways to delete, disable or narrow what the ARN names, with the
// request parameters that CloudTrail has of them.
func calls(t testing.TB, arn string) []call {
	t.Helper()
	on := func(parameter, value string, events ...string) []call {
		var out []call
		for _, event := range events {
			out = append(out, call{event: event, parameters: map[string]any{parameter: value}})
		}
		return out
	}
	arn = strings.Replace(arn, "*", "us-east-1-audit", 1) // one of many
	f := strings.SplitN(arn, ":", 6)
	service, resource := f[2], f[5]
	kind := ""
	if i := strings.IndexAny(resource, ":/"); i > 0 {
		kind = resource[:i]
	}
	last := resource[strings.LastIndexAny(resource, ":/")+1:]
	switch strings.TrimSpace(service + " " + kind) {
	case "cloudtrail trail":
		return slices.Concat(on("name", arn, "StopLogging", "UpdateTrail"), on("name", last, "StopLogging", "DeleteTrail"),
			on("trailName", last, "PutEventSelectors", "PutInsightSelectors"), on("trailName", arn, "PutEventSelectors"))
	case "cloudformation stack":
		return append(on("stackName", last, "DeleteStack", "UpdateStack", "CreateChangeSet", "UpdateTerminationProtection"), on("stackName", arn+"/0f1e2d", "ExecuteChangeSet")...)
	case "cloudwatch alarm":
		return append(on("alarmName", last, "PutMetricAlarm", "SetAlarmState"), call{event: "DeleteAlarms", parameters: map[string]any{"alarmNames": []any{last}}},
			call{event: "DisableAlarmActions", parameters: map[string]any{"alarmNames": []any{last}}})
	case "dynamodb table":
		return slices.Concat(on("tableName", last, "DeleteTable", "UpdateContinuousBackups", "UpdateTimeToLive"), on("tableName", arn, "UpdateTable"),
			on("resourceArn", arn, "PutResourcePolicy", "DeleteResourcePolicy"))
	case "events api-destination":
		return on("name", last, "UpdateApiDestination", "DeleteApiDestination", "UpdateConnection", "DeleteConnection", "DeauthorizeConnection")
	case "events archive":
		return on("archiveName", last, "UpdateArchive", "DeleteArchive")
	case "events event-bus":
		return append(on("name", last, "DeleteEventBus"), call{event: "DeleteRule", parameters: map[string]any{"name": "relatch-loud", "eventBusName": last}},
			call{event: "RemoveTargets", parameters: map[string]any{"rule": "relatch-loud", "eventBusName": arn}})
	case "events rule":
		return append(on("name", last, "DisableRule", "DeleteRule"), call{event: "DeleteRule", parameters: map[string]any{"name": last, "eventBusName": "default"}},
			call{event: "PutRule", parameters: map[string]any{"name": last, "state": "ENABLED"}}, call{event: "RemoveTargets", parameters: map[string]any{"rule": last}},
			call{event: "PutTargets", parameters: map[string]any{"rule": last, "eventBusName": "default"}})
	case "iam policy":
		return on("policyArn", arn, "CreatePolicyVersion", "SetDefaultPolicyVersion", "DeletePolicyVersion", "DeletePolicy")
	case "iam role":
		return append(on("roleName", last, "CreateRole", "DeleteRole", "AttachRolePolicy", "DetachRolePolicy", "UpdateAssumeRolePolicy", "UpdateRole", "DeleteRolePolicy", "PutRolePermissionsBoundary", "DeleteRolePermissionsBoundary"),
			call{event: "PutRolePolicy", parameters: map[string]any{"roleName": last, "policyName": "more"}})
	case "kms key":
		return append(on("keyId", last, "DisableKey", "ScheduleKeyDeletion", "PutKeyPolicy"), on("keyId", arn, "DisableKey", "RevokeGrant")...)
	case "lambda function":
		return slices.Concat(on("functionName", last, "DeleteFunction20150331", "UpdateFunctionConfiguration20150331v2", "AddPermission20150331v2", "CreateEventSourceMapping20150331"),
			on("functionName", arn, "UpdateFunctionCode20150331v2"), on("functionName", account+":function:"+last, "PutFunctionConcurrency20171031"))
	case "logs log-group":
		return on("logGroupName", strings.TrimPrefix(resource, "log-group:"), "DeleteLogGroup", "DeleteLogStream", "PutRetentionPolicy", "DeleteRetentionPolicy", "AssociateKmsKey")
	case "scheduler schedule-group":
		return append(on("name", last, "DeleteScheduleGroup"), call{event: "DeleteSchedule", parameters: map[string]any{"groupName": last, "name": "r-1"}},
			call{event: "UpdateSchedule", parameters: map[string]any{"groupName": last, "name": "r-1"}})
	case "sns":
		return append(on("topicArn", arn, "DeleteTopic", "SetTopicAttributes", "AddPermission", "Subscribe"), on("subscriptionArn", arn+":0b0c", "Unsubscribe", "SetSubscriptionAttributes")...)
	case "sqs":
		all := on("queueUrl", "https://sqs.us-east-1.amazonaws.com/"+account+"/"+last, "DeleteQueue", "PurgeQueue", "SetQueueAttributes", "AddPermission")
		if strings.HasSuffix(last, "dead-letters") {
			return all
		}
		for _, event := range []string{"UpdateEventSourceMapping20150331", "DeleteEventSourceMapping20150331"} {
			all = append(all, call{service: "lambda", event: event, parameters: map[string]any{"uUID": "a1b2c3d4"}, answer: map[string]any{"eventSourceArn": arn, "state": "Disabling"}})
		}
		return append(all, call{service: "lambda", event: "CreateEventSourceMapping20150331", parameters: map[string]any{"eventSourceArn": arn, "functionName": "thief"}})
	default:
		t.Fatalf("nobody knows how to touch %s", arn)
		return nil
	}
}

// patternsAreNotTooLong for the longest names that the stack and the trail may
// have, in the Region with the longest name.
func patternsAreNotTooLong(t testing.TB, in source) {
	t.Helper()
	const most = 2048 // EventBridge quotas, "Event pattern size"
	s := in.deployAs(t, stackSet, account, "ap-southeast-2", everything(
		"Name="+strings.Repeat("n", 20), "TrailArn=arn:aws:cloudtrail:ap-southeast-2:111122223333:trail/"+strings.Repeat("t", 128)))
	for _, id := range s.of("AWS::Events::Rule") {
		if n := len(encode(t, s.Resources[id].Properties["EventPattern"])); n > most {
			t.Errorf("%s has %d characters, at most %d fit", id, n, most)
		} else {
			t.Logf("%s: %d characters", id, n)
		}
	}
}
