package infra_test

import (
	"context"
	"fmt"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stackflow/relatch/internal/checkup"
	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/property"
	"github.com/stackflow/relatch/internal/scheduler"
	outputs "github.com/stackflow/relatch/internal/stack"
	"github.com/stackflow/relatch/internal/worker"
)

// aim is a target of a rule or a schedule, and by which role it is reached.
type aim struct{ from, kind, to, role, deadLetters string }

func (s *stack) aims() []aim {
	var out []aim
	for _, id := range slices.Concat(s.of("AWS::Events::Rule"), s.of("AWS::Scheduler::Schedule")) {
		p := s.Resources[id].Properties
		for _, target := range append(list(p["Targets"]), list(p["Target"])...) {
			out = append(out, aim{id, s.Resources[id].Type, text(under(target, "Arn")), text(under(target, "RoleArn")), text(under(target, "DeadLetterConfig", "Arn"))})
		}
	}
	return out
}

// serviceOf is the service of an ARN.
func serviceOf(arn string) string { return strings.Split(arn+"::", ":")[2] }

// aServicesRoleMayDoWhatItIsForAndNoMore: what the rules and schedules that have
// it reach by it, and what timers do. Every other role is a function's.
func aServicesRoleMayDoWhatItIsForAndNoMore(t testing.TB, in source) {
	t.Helper()
	for variant, given := range map[string]map[string]any{"least": parameters(), "everything": everything()} {
		s := in.deploy(t, given)
		c := s.settings(t, "AuditFunction")
		want := map[string][]string{c.ScheduleRole: {"sqs:SendMessage on " + c.ReenableQueueARN, "sqs:SendMessage on " + c.ScheduleDeadLetters}}
		for _, a := range s.aims() {
			var grants []string
			switch {
			case a.role == "":
				continue
			case serviceOf(a.to) == "lambda":
				grants = []string{"lambda:InvokeFunction on " + a.to}
			case serviceOf(a.to) == "sns":
				key := s.attribute(t, "TopicKey", "Arn")
				grants = []string{"sns:Publish on " + a.to, "kms:Decrypt on " + key, "kms:GenerateDataKey on " + key}
			case strings.Contains(a.to, ":api-destination/"):
				grants = []string{"events:InvokeApiDestination on " + a.to}
			case strings.Contains(a.to, ":event-bus/"):
				grants = []string{"events:PutEvents on " + a.to}
			default:
				t.Errorf("%s, %s: nobody knows what it takes to reach %s", variant, a.from, a.to)
			}
			if a.kind == "AWS::Scheduler::Schedule" { // the scheduler sends dead letters by the same role
				grants = append(grants, "sqs:SendMessage on "+a.deadLetters)
			}
			want[a.role] = append(want[a.role], grants...)
		}
		for id := range functions {
			delete(want, s.attribute(t, s.roleOf(t, id), "Arn"))
		}
		for _, id := range s.of("AWS::IAM::Role") {
			arn := s.attribute(t, id, "Arn")
			if slices.ContainsFunc(slices.Collect(maps.Keys(functions)), func(f string) bool { return s.roleOf(t, f) == id }) {
				continue
			}
			if want[arn] == nil {
				t.Errorf("%s, %s: nobody has this role", variant, id)
			}
			exactly(t, variant+", "+id, want[arn], granted(t, s.identities(t, id)))
		}
	}
}

// rolesAreOfOneServiceEach: of Lambda, of one schedule group, or of the rules
// that have it, and of nobody else.
func rolesAreOfOneServiceEach(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
	type trust struct {
		service string
		sources []string
	}
	group := func(name string) trust {
		return trust{"scheduler.amazonaws.com", []string{"arn:aws:scheduler:" + region + ":" + account + ":schedule-group/" + name}}
	}
	want := map[string]trust{s.settings(t, "AuditFunction").ScheduleRole: group(s.settings(t, "AuditFunction").ScheduleGroup)}
	for id := range functions {
		want[s.attribute(t, s.roleOf(t, id), "Arn")] = trust{"lambda.amazonaws.com", nil}
	}
	for _, a := range s.aims() {
		switch {
		case a.role == "":
		case a.kind == "AWS::Scheduler::Schedule":
			want[a.role] = group(text(s.Resources[a.from].Properties["GroupName"]))
		default:
			want[a.role] = trust{"events.amazonaws.com", append(want[a.role].sources, s.attribute(t, a.from, "Arn"))}
		}
	}
	for _, id := range s.of("AWS::IAM::Role") {
		all := statements(id+"'s trust", s.Resources[id].Properties["AssumeRolePolicyDocument"])
		w := want[s.attribute(t, id, "Arn")]
		if len(all) != 1 || !slices.Equal(all[0].services, []string{w.service}) || len(all[0].principals) > 0 || !slices.Equal(all[0].actions, []string{"sts:AssumeRole"}) {
			t.Errorf("%s trusts %v, want %s", id, all, w.service)
			continue
		}
		sources := sourcesOf(all[0])
		for _, source := range w.sources {
			if !slices.ContainsFunc(sources, func(pattern string) bool { return wildcard(source, pattern) }) {
				t.Errorf("%s is not for %s: %v", id, source, sources)
			}
		}
		if w.service == "scheduler.amazonaws.com" && !slices.Equal(sources, w.sources) {
			t.Errorf("%s is for %v, want %v", id, sources, w.sources)
		}
	}
}

// sourcesOf are the source ARNs that a resource's statement is for.
func sourcesOf(st statement) []string {
	var out []string
	for _, operator := range []string{"StringEquals", "ArnEquals", "ArnLike"} {
		out = append(out, texts(under(st.condition, operator, "aws:SourceArn"))...)
	}
	return out
}

// whoMustSendMaySend: rules to queues and their dead letters, alarms to topics.
func whoMustSendMaySend(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
	policies := map[string][]statement{} // by the queue's URL or the topic's ARN
	for _, id := range slices.Concat(s.of("AWS::SQS::QueuePolicy"), s.of("AWS::SNS::TopicPolicy")) {
		p := s.Resources[id].Properties
		for _, of := range append(texts(p["Queues"]), texts(p["Topics"])...) {
			policies[of] = append(policies[of], statements(id, p["PolicyDocument"])...)
		}
	}
	may := func(of []statement, service, action, resource, source string) bool {
		return slices.ContainsFunc(of, func(st statement) bool {
			return st.effect == "Allow" && slices.Equal(st.services, []string{service}) && slices.Contains(st.actions, action) &&
				slices.Contains(st.resources, resource) && slices.ContainsFunc(sourcesOf(st), func(pattern string) bool { return wildcard(source, pattern) })
		})
	}
	for _, a := range s.aims() {
		if a.kind != "AWS::Events::Rule" {
			continue
		}
		for _, queue := range []string{a.to, a.deadLetters} {
			id := s.queue(t, queue)
			if id == "" {
				continue
			}
			if !may(policies[text(s.ref(t, id))], "events.amazonaws.com", "sqs:SendMessage", queue, s.attribute(t, a.from, "Arn")) {
				t.Errorf("%s may not send to %s", a.from, id)
			}
		}
		if a.role == "" && s.queue(t, a.to) == "" {
			t.Errorf("%s has no role to reach %s", a.from, a.to)
		}
	}
	key := statements("TopicKey", s.Resources["TopicKey"].Properties["KeyPolicy"])
	for _, id := range s.of("AWS::CloudWatch::Alarm") {
		arn := s.attribute(t, id, "Arn")
		for _, topic := range texts(s.Resources[id].Properties["AlarmActions"]) {
			if !may(policies[topic], "cloudwatch.amazonaws.com", "sns:Publish", topic, arn) || !may(key, "cloudwatch.amazonaws.com", "kms:GenerateDataKey*", "*", arn) {
				t.Errorf("%s may not publish to %s", id, topic)
			}
		}
	}
}

// peopleMayDoWhatTheCommandCallsAndNoMore: auditors what its commands read, on
// what the stack's outputs name; operators, who are auditors too, what asks.
// relatch doctor --page is for who may send alerts anyway.
func peopleMayDoWhatTheCommandCallsAndNoMore(t testing.TB, in source) {
	t.Helper()
	installed(t)
	for variant, given := range map[string]map[string]any{"least": parameters(), "everything": everything()} {
		s := in.deploy(t, given)
		out := func(o outputs.Output) string { return text(s.Outputs[string(o)]) }
		here := func(service, resource string) string {
			return "arn:aws:" + service + ":" + region + ":" + account + ":" + resource
		}
		var queues []string
		for _, url := range append(strings.Split(out(outputs.DeadLetterQueueURLs), ","), out(outputs.AuditQueueURL), out(outputs.ReenableQueueURL)) {
			queues = append(queues, here("sqs", url[strings.LastIndexByte(url, '/')+1:]))
		}
		pools, table, rules, bus := strings.Split(out(outputs.PoolIDs), ","), here("dynamodb", "table/"+out(outputs.LedgerTable)), here("events", "rule/"+text(s.parameters["Name"])+"-*"), out(outputs.AlertBusName)
		group := out(outputs.ScheduleGroup)
		var programs []string
		for id := range functions {
			programs = append(programs, s.attribute(t, id, "Arn"))
		}
		all := []client{
			{"cloudformation", reflect.TypeFor[outputs.Describer](), []string{text(s.ref(t, "AWS::StackId"))}},
			{"cognito-idp", reflect.TypeFor[cognito.Reader](), pools},
			{"cognito-idp", reflect.TypeFor[checkup.Cognito](), pools},
			{"dynamodb", reflect.TypeFor[dynamo.Client](), []string{table}},
			{"dynamodb", reflect.TypeFor[dynamodb.ScanAPIClient](), []string{table}},
			{"dynamodb", reflect.TypeFor[checkup.Tables](), []string{table}},
			{"scheduler", reflect.TypeFor[scheduler.Client](), []string{here("scheduler", "schedule/"+group+"/*"), here("scheduler", "schedule/"+group+"-sweep/*")}},
			{"cloudtrail", reflect.TypeFor[checkup.Trails](), []string{text(s.parameters["TrailArn"])}},
			{"events", reflect.TypeFor[checkup.Events](), []string{rules}},
			{"lambda", reflect.TypeFor[checkup.Functions](), programs},
			{"sqs", reflect.TypeFor[checkup.Queues](), queues},
			{"sns", reflect.TypeFor[checkup.Messages](), []string{text(s.ref(t, "Topic"))}},
		}
		if parameter := out(outputs.PolicyParameter); parameter != "" {
			all = append(all, client{"ssm", reflect.TypeFor[property.Parameters](), []string{here("ssm", "parameter"+parameter)}})
		} else {
			all = append(all, client{"dynamodb", reflect.TypeFor[property.Items](), []string{here("dynamodb", "table/"+out(outputs.PolicyTable))}})
		}
		want := []string{"dynamodb:Query on " + table + "/index/" + dynamo.Index}
		for _, id := range s.of("AWS::Events::Rule") {
			if arn := s.attribute(t, id, "Arn"); !wildcard(arn, rules) {
				t.Errorf("the rule %s is not among %s", arn, rules)
			}
		}
		for _, c := range all {
			for i := range c.methods.NumMethod() {
				method, resources := c.methods.Method(i).Name, c.resources
				switch {
				case !begins(method, "Get", "List", "Describe", "BatchGet", "Query", "Scan", "AdminGet", "AdminList"):
					continue // the command has the functions' adapters, and asks them to read
				case len(iam(t, c.service)[strings.ToLower(method)].ResourceTypes) == 0:
					resources = []string{"*"}
				case method == "DescribeEventBus":
					resources = []string{here("events", "event-bus/"+bus)}
				}
				for _, resource := range resources {
					want = append(want, c.service+":"+method+" on "+resource)
				}
			}
		}
		for _, id := range slices.Sorted(maps.Keys(functions)) { // the lines for relatch verify --heads
			want = append(want, "logs:FilterLogEvents on "+here("logs", "log-group:"+text(under(s.Resources[id].Properties, "LoggingConfig", "LogGroup"))+":*"))
		}
		if strings.Contains(contents(t, "drill.sh"), "aws cloudtrail lookup-events") {
			want = append(want, "cloudtrail:LookupEvents on *")
		}
		if key := text(s.parameters["PolicyKmsKeyArn"]); key != "" {
			want = append(want, "kms:Decrypt on "+key+viaService)
		}
		auditor := statements("AuditorPolicy", s.Resources["AuditorPolicy"].Properties["PolicyDocument"])
		if key, has := s.Resources["AuditorKeyPolicy"]; has {
			auditor = append(auditor, statements("AuditorKeyPolicy", key.Properties["PolicyDocument"])...)
		}
		exactly(t, variant+", auditors", want, granted(t, auditor))
		override := s.attribute(t, "OverrideFunction", "Arn")
		want = []string{
			"lambda:InvokeFunction on " + override + ` if {"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}`,
			"lambda:InvokeFunctionUrl on " + override + ` if {"StringEquals":{"lambda:FunctionUrlAuthType":"AWS_IAM"}}`,
		}
		exactly(t, variant+", operators", want, granted(t, statements("OperatorPolicy", s.Resources["OperatorPolicy"].Properties["PolicyDocument"])))
	}
}

func begins(name string, ways ...string) bool {
	return slices.ContainsFunc(ways, func(way string) bool { return strings.HasPrefix(name, way) })
}

// TestTheCommandAsksNoOtherService than those that peopleMayDoWhatTheCommandCallsAndNoMore
// knows, and STS, which tells everybody who he is. The buckets of archives are not the
// stack's.
func TestTheCommandAsksNoOtherService(t *testing.T) {
	known := []string{"cloudformation", "cloudtrail", "cognitoidentityprovider", "dynamodb", "eventbridge", "lambda", "scheduler", "sns", "sqs", "ssm", "sts"}
	files, err := filepath.Glob("../functions/relatch/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			if _, service, is := strings.Cut(strings.Trim(i.Path.Value, `"`), "aws-sdk-go-v2/service/"); is && !slices.Contains(known, service) && !strings.Contains(service, "/") {
				t.Errorf("%s asks %s, for which nobody is given a permission", file, service)
			}
		}
	}
}

// theLedgerIsWrittenByTheFunctionsOnly, and nothing is deleted from it, whatever
// an administrator's own policies allow.
func theLedgerIsWrittenByTheFunctionsOnly(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
	policy := statements("Ledger", under(s.Resources["Ledger"].Properties, "ResourcePolicy", "PolicyDocument"))
	writers := []string{}
	for id := range functions {
		writers = append(writers, s.attribute(t, s.roleOf(t, id), "Arn"))
	}
	r := request{resource: s.attribute(t, "Ledger", "Arn")}
	for _, r.principal = range slices.Concat(strangers, writers, []string{deployment}) {
		for _, operation := range []string{"DeleteItem", "BatchWriteItem", "PartiQLInsert", "PartiQLUpdate", "PartiQLDelete", "PutItem", "UpdateItem"} {
			r.action = "dynamodb:" + operation
			want := operation != "PutItem" && operation != "UpdateItem" || !slices.Contains(writers, r.principal)
			if denied(t, policy, r) != want {
				t.Errorf("denied is %v: %s", !want, r)
			}
		}
		if r.action = "dynamodb:Query"; denied(t, policy, r) {
			t.Errorf("nobody reads: %s", r)
		}
	}
}

// pen is a table that keeps what is written, and has nothing in it.
type pen struct {
	dynamo.Client
	puts, updates []request
}

func attributes(item map[string]types.AttributeValue) []string {
	return slices.Sorted(maps.Keys(item))
}

func leading(item map[string]types.AttributeValue) []string {
	if pk, ok := item["pk"].(*types.AttributeValueMemberS); ok {
		return []string{pk.Value}
	}
	return nil
}

func (p *pen) put(item map[string]types.AttributeValue) {
	p.puts = append(p.puts, request{action: "dynamodb:PutItem", keys: map[string][]string{"dynamodb:LeadingKeys": leading(item), "dynamodb:Attributes": attributes(item)}})
}

func (p *pen) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	p.put(in.Item)
	return &dynamodb.PutItemOutput{}, nil
}

func (p *pen) TransactWriteItems(_ context.Context, in *dynamodb.TransactWriteItemsInput, _ ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	for _, w := range in.TransactItems {
		switch {
		case w.Put != nil:
			p.put(w.Put.Item)
		case w.Update != nil:
			p.updates = append(p.updates, request{action: "dynamodb:UpdateItem", keys: map[string][]string{
				"dynamodb:LeadingKeys": leading(w.Update.Key), "dynamodb:Attributes": append(attributes(w.Update.Key), "subs"), // what its expressions name
			}})
		default:
			return nil, fmt.Errorf("%+v: %w", w, errUnknown)
		}
	}
	return &dynamodb.TransactWriteItemsOutput{}, nil
}

// whatIsWrittenFitsTheConditions: override's policy lets it write what it writes,
// neither a standing nor an entry; the workers update counts, and nothing else.
func whatIsWrittenFitsTheConditions(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, parameters())
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var asked, looked pen
	ledger := dynamo.New(&asked, "t")
	_, first := ledger.Justify(t.Context(), pool, paperSub, mfa.Justification{ID: "J-1", Reason: "The phone broke", Ticket: "CHG0012345", Author: strangers[0], At: now})
	_, second := ledger.Approve(t.Context(), pool, mfa.Sub(strings.Repeat("long", 300)), strings.Repeat("J", 1200), mfa.Approval{Approver: strangers[1], At: now})
	journal := mfa.UserJournal(pool, paperSub)
	third := dynamo.New(&looked, "t").Append(t.Context(), worker.Step{
		Standing: mfa.Standing{Journal: journal}, Entry: &mfa.Entry{Journal: journal, Number: 1, Record: []byte("{}")},
		Count: &worker.Count{Key: mfa.ActorKey(strangers[0], now), Sub: paperSub, Place: 1},
	})
	if first != nil || second != nil || third != nil || len(asked.puts) != 3 || len(looked.puts) != 2 || len(looked.updates) != 1 {
		t.Fatal(first, second, third, asked, looked)
	}
	may := func(role string, r request) bool {
		for _, st := range s.identities(t, role) {
			if !slices.Contains(st.actions, r.action) || !slices.Contains(st.resources, s.attribute(t, "Ledger", "Arn")) {
				continue
			}
			if met, err := r.meets(st.condition); err != nil {
				t.Fatalf("%s: %v", st.where, err)
			} else if met {
				return true
			}
		}
		return false
	}
	for _, r := range asked.puts {
		if !may("OverrideRole", r) {
			t.Errorf("override may not: %s", r)
		}
	}
	for _, r := range slices.Concat(looked.puts, looked.updates) {
		if may("OverrideRole", r) {
			t.Errorf("override may: %s", r)
		}
		update := r
		update.action = "dynamodb:UpdateItem"
		for _, role := range []string{"AuditRole", "ReenableRole", "SweepRole"} {
			if !may(role, r) {
				t.Errorf("%s may not: %s", role, r)
			}
			if update.action != r.action && may(role, update) {
				t.Errorf("%s may: %s", role, update)
			}
		}
	}
}

// statementsSayNothingElse than whom, what and when: a NotAction or NotResource
// would be everything else.
func statementsSayNothingElse(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
	known := []string{"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
	look := func(where string, document any, identity, trust bool) {
		if v := under(document, "Version"); v != "2012-10-17" {
			t.Errorf("%s has the version %v", where, v)
		}
		for i, v := range list(under(document, "Statement")) {
			for key := range object(v) {
				if !slices.Contains(known, key) {
					t.Errorf("%s, statement %d has a %s", where, i+1, key)
				}
			}
			effect, principal, resource := text(under(v, "Effect")), under(v, "Principal"), under(v, "Resource")
			if effect != "Allow" && effect != "Deny" || under(v, "Action") == nil || (principal == nil) != identity || (resource == nil) != trust {
				t.Errorf("%s, statement %d is not whole: %v", where, i+1, v)
			}
		}
	}
	for id, r := range s.Resources {
		if !strings.HasPrefix(r.Type, "AWS::IAM::") {
			for key, v := range r.Properties {
				if inner := under(v, "PolicyDocument"); inner != nil {
					v = inner
				}
				if strings.Contains(key, "Policy") && under(v, "Statement") != nil {
					look(id, v, false, false)
				}
			}
			continue
		}
		if r.Type == "AWS::IAM::Role" {
			look(id+"'s trust", r.Properties["AssumeRolePolicyDocument"], false, true)
			for _, p := range list(r.Properties["Policies"]) {
				look(id, under(p, "PolicyDocument"), true, false)
			}
			continue
		}
		look(id, r.Properties["PolicyDocument"], true, false)
	}
	look("guardrail.json", in.guardrail, true, false)
}

// policiesAreNotTooLong for eight pools and the longest names (IAM User Guide,
// "IAM and AWS STS quotas"; white space does not count).
func policiesAreNotTooLong(t testing.TB, in source) {
	t.Helper()
	given := everything("Name=" + strings.Repeat("n", 20))
	given["UserPoolArns"] = manyPools()
	s := in.deployAs(t, stackSet, account, "ap-southeast-2", given)
	for _, id := range s.of("AWS::IAM::ManagedPolicy") {
		if n := len(encode(t, s.Resources[id].Properties["PolicyDocument"])); n > 6144 {
			t.Errorf("%s has %d characters", id, n)
		}
	}
	for _, id := range s.of("AWS::IAM::Role") {
		n := 0
		for _, p := range list(s.Resources[id].Properties["Policies"]) {
			n += len(encode(t, under(p, "PolicyDocument")))
		}
		if trust := len(encode(t, s.Resources[id].Properties["AssumeRolePolicyDocument"])); n > 10240 || trust > 2048 {
			t.Errorf("%s has policies of %d characters, and %d of trust", id, n, trust)
		}
	}
}
