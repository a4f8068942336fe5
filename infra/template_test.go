// Package infra_test holds the template to what linters do not know: what the
// code calls, what the worker acts on, and how the parts fit together.
package infra_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The account that a stack is worked out for.
const (
	account = "111122223333"
	region  = "us-east-1"
	name    = "relatch"
	pool    = "us-east-1_EXAMPLE12"
)

// parameters are what every stack must be given, and then what is given.
func parameters(more ...string) map[string]any {
	p := map[string]any{
		"UserPoolArns": []any{"arn:aws:cognito-idp:us-east-1:111122223333:userpool/" + pool},
		"TrailArn":     "arn:aws:cloudtrail:us-east-1:111122223333:trail/management",
		"AlertEmail":   "security@example.com",
	}
	for _, pair := range more {
		key, value, _ := strings.Cut(pair, "=")
		p[key] = value
	}
	return p
}

// everything switches every condition on.
func everything(more ...string) map[string]any {
	return parameters(append([]string{
		"DeploymentRoleArn=arn:aws:iam::111122223333:role/relatch-deploy", "PolicyParameter=/relatch/policy",
		"PolicyKmsKeyArn=arn:aws:kms:us-east-1:111122223333:key/1", "PagerDutyRoutingKey=0123456789abcdef0123456789abcdef",
		"NoticeEmail=administrators@example.com", "SlackToken=xoxb-1", "SlackChannel=C0123456789", "CentralBusArn=arn:aws:events:us-east-1:444455556666:event-bus/central",
	}, more...)...)
}

// stack is the template worked out for an account: every function replaced by
// its value, what a condition leaves out left out.
type stack struct {
	template   map[string]any
	parameters map[string]any
	account    string
	region     string
	name       string // the stack's own; those of its resources begin with the parameter Name
	Resources  map[string]resource
	Outputs    map[string]any
}

type resource struct {
	Type       string
	Properties map[string]any
	Whole      map[string]any
}

// files are the template and the guardrail in this folder.
var files = sync.OnceValues(func() (source, error) {
	template, err := os.ReadFile("template.yaml")
	if err != nil {
		return source{}, err
	}
	guardrail, err := os.ReadFile("guardrail.json")
	if err != nil {
		return source{}, err
	}
	return parse(string(template), string(guardrail))
})

// parse reads a template and a guardrail. Short forms become long ones: !Ref x is
// {Ref: x}.
func parse(template, guardrail string) (source, error) {
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(template), &node); err != nil {
		return source{}, err
	}
	v, err := value(node.Content[0])
	if err != nil {
		return source{}, err
	}
	in := source{template: object(v), stacks: &sync.Map{}}
	return in, json.Unmarshal([]byte(guardrail), &in.guardrail)
}

func value(n *yaml.Node) (any, error) {
	v, err := plain(n)
	short, ok := strings.CutPrefix(n.Tag, "!")
	if err != nil || !ok || strings.HasPrefix(n.Tag, "!!") {
		return v, err
	}
	switch short {
	case "Ref", "Condition":
		return map[string]any{short: v}, nil
	case "GetAtt":
		if s, ok := v.(string); ok {
			id, attribute, _ := strings.Cut(s, ".")
			v = []any{id, attribute}
		}
	}
	return map[string]any{"Fn::" + short: v}, nil
}

func plain(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if _, twice := out[key]; twice {
				return nil, fmt.Errorf("line %d: %s is there twice", n.Content[i].Line, key)
			}
			v, err := value(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			out[key] = v
		}
		return out, nil
	case yaml.SequenceNode:
		out := []any{}
		for _, c := range n.Content {
			v, err := value(c)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case yaml.ScalarNode:
		if !strings.HasPrefix(n.Tag, "!!") {
			return n.Value, nil
		}
		var v any
		err := n.Decode(&v)
		return v, err
	default:
		return nil, fmt.Errorf("line %d: neither map, list nor scalar; CloudFormation takes no aliases", n.Line)
	}
}

// deploy works the template in this folder out.
func deploy(t testing.TB, given map[string]any) *stack {
	t.Helper()
	return committed(t).deploy(t, given)
}

func deployAs(t testing.TB, name, account, region string, given map[string]any) *stack {
	t.Helper()
	return committed(t).deployAs(t, name, account, region, given)
}

// deployTemplate works another template out, in a Region.
func deployTemplate(t testing.TB, template, region string) *stack {
	t.Helper()
	in, err := parse(template, "{}")
	if err != nil {
		t.Fatal(err)
	}
	return in.deployAs(t, name, account, region, parameters())
}

// deploy works the template out.
func (in source) deploy(t testing.TB, given map[string]any) *stack {
	t.Helper()
	return in.deployAs(t, name, account, region, given)
}

// deployAs works the template out for a stack of that name, whose resources have
// it too unless a Name is given.
func (in source) deployAs(t testing.TB, name, account, region string, given map[string]any) *stack {
	t.Helper()
	if given["Name"] == nil {
		given["Name"] = name
	}
	key := fmt.Sprint(name, account, region, given)
	made, _ := in.stacks.Load(key)
	if already, ok := made.(*stack); ok {
		return already
	}
	s := &stack{template: in.template, parameters: given, account: account, region: region, name: name}
	in.stacks.Store(key, s.deploy(t))
	return s
}

func (s *stack) deploy(t testing.TB) *stack {
	t.Helper()
	s.Resources = map[string]resource{}
	for key, p := range object(s.template["Parameters"]) {
		if _, ok := s.parameters[key]; ok {
			continue
		}
		otherwise, ok := object(p)["Default"]
		if !ok {
			t.Fatalf("parameter %s has no default and was not given", key)
		}
		s.parameters[key] = otherwise
	}
	for id, r := range object(s.template["Resources"]) {
		whole := object(r)
		if c, ok := whole["Condition"]; ok && !s.holds(t, map[string]any{"Condition": c}) {
			continue
		}
		s.Resources[id] = resource{Type: text(whole["Type"]), Whole: whole, Properties: object(s.work(t, whole["Properties"]))}
	}
	s.Outputs = map[string]any{}
	for id, o := range object(s.template["Outputs"]) {
		if c, ok := object(o)["Condition"]; !ok || s.holds(t, map[string]any{"Condition": c}) {
			s.Outputs[id] = s.work(t, object(o)["Value"])
		}
	}
	return s
}

// absent is what !Ref AWS::NoValue stands for.
type absent struct{}

// work works a value out.
func (s *stack) work(t testing.TB, v any) any {
	t.Helper()
	switch v := v.(type) {
	case []any:
		out := []any{}
		for _, e := range v {
			if w := s.work(t, e); w != (absent{}) {
				out = append(out, w)
			}
		}
		return out
	case map[string]any:
		if len(v) == 1 {
			for function, argument := range v {
				if function == "Ref" || strings.HasPrefix(function, "Fn::") {
					return s.call(t, function, argument)
				}
			}
		}
		out := map[string]any{}
		for key, e := range v {
			if w := s.work(t, e); w != (absent{}) {
				out[key] = w
			}
		}
		return out
	default:
		return v
	}
}

func (s *stack) call(t testing.TB, function string, argument any) any {
	t.Helper()
	args := list(argument)
	switch function {
	case "Ref":
		return s.ref(t, text(argument))
	case "Fn::GetAtt":
		return s.attribute(t, text(args[0]), text(args[1]))
	case "Fn::Sub":
		words := map[string]any{}
		if len(args) == 2 {
			argument, words = args[0], object(s.work(t, args[1]))
		}
		return s.substitute(t, text(argument), words)
	case "Fn::Join":
		var parts []string
		for _, p := range list(s.work(t, args[1])) {
			parts = append(parts, fmt.Sprint(p))
		}
		return strings.Join(parts, text(args[0]))
	case "Fn::Split":
		var parts []any
		for p := range strings.SplitSeq(text(s.work(t, args[1])), text(args[0])) {
			parts = append(parts, p)
		}
		return parts
	case "Fn::Select":
		i, ok := args[0].(int)
		if !ok || i >= len(list(s.work(t, args[1]))) {
			t.Fatalf("Fn::Select: %v is no index", args[0])
		}
		return list(s.work(t, args[1]))[i]
	case "Fn::If":
		if s.holds(t, map[string]any{"Condition": args[0]}) {
			return s.work(t, args[1])
		}
		return s.work(t, args[2])
	default:
		t.Fatalf("%s is not known here", function)
		return nil
	}
}

// holds works a condition out.
func (s *stack) holds(t testing.TB, v any) bool {
	t.Helper()
	for function, argument := range object(v) {
		args := list(argument)
		switch function {
		case "Condition":
			c, ok := object(s.template["Conditions"])[text(argument)]
			if !ok {
				t.Fatalf("there is no condition %v", argument)
			}
			return s.holds(t, c)
		case "Fn::Equals":
			return fmt.Sprint(s.work(t, args[0])) == fmt.Sprint(s.work(t, args[1]))
		case "Fn::Not":
			return !s.holds(t, args[0])
		case "Fn::And":
			return !slices.ContainsFunc(args, func(a any) bool { return !s.holds(t, a) })
		}
	}
	t.Fatalf("%v is no condition", v)
	return false
}

func (s *stack) substitute(t testing.TB, template string, words map[string]any) string {
	t.Helper()
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(template, "${")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		word, after, _ := strings.Cut(rest, "}")
		template = after
		if v, ok := words[word]; ok {
			fmt.Fprint(&out, v)
		} else if id, attribute, ok := strings.Cut(word, "."); ok {
			fmt.Fprint(&out, s.attribute(t, id, attribute))
		} else {
			fmt.Fprint(&out, s.ref(t, word))
		}
	}
}

func (s *stack) ref(t testing.TB, id string) any {
	t.Helper()
	switch id {
	case "AWS::AccountId":
		return s.account
	case "AWS::StackId":
		return "arn:aws:cloudformation:" + s.region + ":" + s.account + ":stack/" + s.name + "/1"
	case "AWS::Region":
		return s.region
	case "AWS::StackName":
		return s.name
	case "AWS::Partition":
		return "aws"
	case "AWS::NoValue":
		return absent{}
	}
	if v, ok := s.parameters[id]; ok {
		return v
	}
	kind, own := s.identity(t, id)
	switch kind {
	case "AWS::SQS::Queue":
		return "https://sqs." + s.region + ".amazonaws.com/" + s.account + "/" + own
	case "AWS::SNS::Topic", "AWS::IAM::ManagedPolicy":
		return s.attribute(t, id, "Arn")
	default:
		return own
	}
}

// identity is a resource's type and its name: the one it is given, or its own.
func (s *stack) identity(t testing.TB, id string) (kind, own string) {
	t.Helper()
	r, ok := object(s.template["Resources"])[id]
	if !ok {
		t.Fatalf("there is no resource or parameter %s", id)
	}
	kind = text(object(r)["Type"])
	properties := object(object(r)["Properties"])
	for _, key := range []string{"Name", "QueueName", "FunctionName", "TableName", "TopicName", "RoleName", "AlarmName", "LogGroupName", "DashboardName", "ArchiveName", "AliasName", "ManagedPolicyName"} {
		if v, ok := properties[key]; ok {
			return kind, text(s.work(t, v))
		}
	}
	return kind, id
}

// shapes are the last parts of ARNs by type.
var shapes = map[string]string{
	"AWS::SQS::Queue": "sqs:%s:%s:%s", "AWS::SNS::Topic": "sns:%s:%s:%s", "AWS::Lambda::Function": "lambda:%s:%s:function:%s",
	"AWS::DynamoDB::Table": "dynamodb:%s:%s:table/%s", "AWS::Scheduler::ScheduleGroup": "scheduler:%s:%s:schedule-group/%s",
	"AWS::Events::EventBus": "events:%s:%s:event-bus/%s", "AWS::Events::ApiDestination": "events:%s:%s:api-destination/%s/1",
	"AWS::Events::Connection": "events:%s:%s:connection/%s/1", "AWS::KMS::Key": "kms:%s:%s:key/%s",
	"AWS::CloudWatch::Alarm": "cloudwatch:%s:%s:alarm:%s", "AWS::Logs::LogGroup": "logs:%s:%s:log-group:%s:*",
}

func (s *stack) attribute(t testing.TB, id, attribute string) string {
	t.Helper()
	kind, own := s.identity(t, id)
	shape, ok := shapes[kind]
	switch {
	case attribute == "QueueName", attribute == "Name":
		return own
	case attribute == "FunctionUrl":
		return "https://" + strings.ToLower(own) + ".lambda-url." + s.region + ".on.aws/"
	case attribute != "Arn":
		t.Fatalf("%s.%s is not known here", id, attribute)
	case kind == "AWS::IAM::Role":
		return "arn:aws:iam::" + s.account + ":role/" + own
	case kind == "AWS::IAM::ManagedPolicy":
		return "arn:aws:iam::" + s.account + ":policy/" + own
	case kind == "AWS::Events::Rule":
		if bus, ok := object(object(object(s.template["Resources"])[id])["Properties"])["EventBusName"]; ok {
			own = text(s.work(t, bus)) + "/" + own
		}
		shape = "events:%s:%s:rule/%s"
	case !ok:
		t.Fatalf("the ARN of %s, a %s, is not known here", id, kind)
	}
	return "arn:aws:" + fmt.Sprintf(shape, s.region, s.account, own)
}

// of are the resources of a type, in the order of their ids.
func (s *stack) of(kind string) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(s.Resources)) {
		if s.Resources[id].Type == kind {
			ids = append(ids, id)
		}
	}
	return ids
}

func object(v any) map[string]any {
	m, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	return m
}

// list is a list; what is none, and not nothing, is a list of itself.
func list(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	default:
		return []any{v}
	}
}

func text(v any) string {
	s, ok := v.(string)
	if !ok {
		return ""
	}
	return s
}

func texts(v any) []string {
	var out []string
	for _, e := range list(v) {
		out = append(out, fmt.Sprint(e))
	}
	return out
}

// under is what stands at the path.
func under(v any, path ...string) any {
	for _, key := range path {
		v = object(v)[key]
	}
	return v
}

var errUnknown = errors.New("not known here")
