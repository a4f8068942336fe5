package checkup

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	awsscheduler "github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/property"
	"github.com/stackflow/relatch/internal/stack"
)

// settings are those of a stack, as its outputs say them.
var settings = stack.Settings{
	stack.LedgerTable: "relatch", stack.PoolIDs: "us-east-1_A", stack.AlertBusName: "relatch-alerts", stack.TopicARN: "arn:aws:sns:us-east-1:111122223333:relatch-oncall",
	stack.AuditQueueURL: "https://sqs.us-east-1.amazonaws.com/111122223333/relatch-audit", stack.ReenableQueueURL: "https://sqs.us-east-1.amazonaws.com/111122223333/relatch-reenable",
	stack.DeadLetterQueueURLs: "https://sqs.us-east-1.amazonaws.com/111122223333/relatch-audit-dead-letters", stack.ScheduleGroup: "relatch", stack.RuleName: "relatch-mfa",
	stack.FunctionNames: "relatch-audit,relatch-sweep", stack.Mode: "enforce", stack.PolicyTable: "StackFlow_SystemProperty",
	stack.TrailARN: "arn:aws:cloudtrail:us-east-1:111122223333:trail/management", stack.RunbookURL: "https://example.com/", stack.AlertEmail: "security@example.com",
}

// asking is a doctor whose every call ends with the error.
func asking(err error) *Doctor {
	a := aws.Config{Region: "us-east-1", APIOptions: []func(*middleware.Stack) error{func(s *middleware.Stack) error {
		return s.Initialize.Add(middleware.InitializeMiddlewareFunc("fail", func(context.Context, middleware.InitializeInput, middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			return middleware.InitializeOutput{}, middleware.Metadata{}, err
		}), middleware.Before)
	}}}
	users, items := cognitoidentityprovider.NewFromConfig(a), dynamodb.NewFromConfig(a)
	return &Doctor{
		Settings: settings, Region: a.Region, Cognito: users, Users: cognito.New(users, cognito.Options{ListedOnly: true}), Tables: items, Ledger: dynamo.New(items, "relatch"),
		Policy: property.NewTable(items, property.Place{Table: "StackFlow_SystemProperty", Key: "name", Value: "value"}),
		Trails: cloudtrail.NewFromConfig(a), Events: eventbridge.NewFromConfig(a), Queues: sqs.NewFromConfig(a), Functions: lambda.NewFromConfig(a),
		Messages: sns.NewFromConfig(a), Schedules: awsscheduler.NewFromConfig(a), Now: time.Now,
	}
}

func TestWhoMayNotLookIsToldWhichPermissionIsMissing(t *testing.T) {
	action := regexp.MustCompile(`^could not be looked at: you may not ([a-z-]+:[A-Za-z]+) \(User: arn:ops is not authorized\)$`)
	for _, code := range []string{"AccessDeniedException", "AccessDenied", "AuthorizationError", "NotAuthorizedException"} {
		checks := map[string]bool{}
		for _, f := range asking(&smithy.GenericAPIError{Code: code, Message: "User: arn:ops is not authorized"}).Examine(t.Context()) {
			if f.Check == "mode" {
				continue // the stack says it
			}
			checks[f.Check] = true
			if f.State != Warning || !action.MatchString(f.What) || f.Advice == "" {
				t.Errorf("%s: %+v", code, f)
			}
		}
		if len(checks) != 15 {
			t.Errorf("%s: of the checks there are %v", code, checks)
		}
	}
}

func TestWhatCouldNotBeLookedAtIsAWarningThatSaysWhy(t *testing.T) {
	for _, err := range []error{errors.New("no route to host"), &smithy.GenericAPIError{Code: "UnknownOperationException", Message: "what?"}} {
		for _, f := range asking(err).Examine(t.Context()) {
			if f.Check != "mode" && (f.State != Warning || !strings.Contains(f.What, "no route to host") && !strings.Contains(f.What, "answers UnknownOperationException: what?")) {
				t.Errorf("%v: %+v", err, f)
			}
		}
	}
}

func TestWhatIsNotThereIsAFailure(t *testing.T) {
	failed := map[string]bool{}
	for _, f := range asking(&smithy.GenericAPIError{Code: "ResourceNotFoundException", Message: "not found"}).Examine(t.Context()) {
		failed[f.Check] = failed[f.Check] || f.State == Failed
		if f.State == Failed && f.Remedy == "" && f.Advice == "" {
			t.Errorf("nothing mends it: %+v", f)
		}
	}
	want := map[string]bool{
		"mode": false, "policy": true, "pool": true, "roles": false, "factors": false, "sms": false, "trail": false, "rule": true, "alerts": true,
		"queues": true, "functions": true, "ledger": true, "backups": false, "sweep": false, "timers": false, "guard": false,
	}
	if diff := cmp.Diff(want, failed); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTheWorstComesFirst(t *testing.T) {
	look := func(all ...Finding) func(context.Context) ([]Finding, error) {
		return func(context.Context) ([]Finding, error) { return all, nil }
	}
	found := run(t.Context(), []check{{"one", look(good("a"), bad("b"))}, {"two", look()}, {"three", look(bad("c"), warn("d"))}})
	got := ""
	for _, f := range found {
		got += f.Check + " " + f.What + "; "
	}
	if want := "one b; three c; two nothing was looked at; three d; one a; "; got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
}

func TestARemedyAsksTheSameAWS(t *testing.T) {
	flags, own := []string{"--region", "eu-west-1", "--profile", "my prod"}, []string{"--stack", "x"}
	for remedy, want := range map[string]string{
		"":                           "",
		"aws events put-rule '{}'":   "aws --region eu-west-1 --profile 'my prod' events put-rule '{}'",
		"relatch status":             "relatch status --region eu-west-1 --profile 'my prod' --stack x",
		"sudo timedatectl":           "sudo timedatectl",
		"aws a && aws b \"$(aws c":   "aws --region eu-west-1 --profile 'my prod' a && aws --region eu-west-1 --profile 'my prod' b \"$(aws --region eu-west-1 --profile 'my prod' c",
		"aws a\naws b --what 'aws '": "aws --region eu-west-1 --profile 'my prod' a\naws --region eu-west-1 --profile 'my prod' b --what 'aws '",
	} {
		if got := strings.TrimRight(addressed(remedy+" ", flags, own), " "); got != want {
			t.Errorf("%s:\nhave %s\nwant %s", remedy, got, want)
		}
	}
	if got := bad("x").mend("aws %s %s", "a.b/c:1", `it's {"x"}`).Remedy; got != `aws a.b/c:1 'it'\''s {"x"}'` {
		t.Error(got)
	}
}

func TestAPatternThatLetsLessThroughIsTold(t *testing.T) {
	const shipped = `{"source":["a"],"detail":{"eventName":["x","y"],"$or":[{"p":[{"prefix":"1"},"2"]},{"q":["3"]}]}}`
	for live, want := range map[string]string{
		shipped: "",
		`{"source":["a","b"],"detail":{"eventName":["x","y","z"],"$or":[{"q":["4","3"]},{"p":["2",{"prefix":"1"}]},{"r":["5"]}]}}`: "",
		`{"source":["a"]}`: "",
		`{"source":["a"],"detail":{"eventName":["y"]}}`: "detail.eventName lacks x",
		`{"source":["b"]}`: "source lacks a",
		`{"source":["a"],"account":["1"],"detail":{"userIdentity":{"u":[{}]}}}`: `it also asks for account ["1"]; it also asks for detail.userIdentity {"u":[{}]}`,
		`{"detail":{"$or":[{"p":["2"]},{"q":["3"]}]}}`:                          `detail.$or lacks {"p":[{"prefix":"1"},"2"]}`,
		`{"detail":{"$or":[{"p":["2",{"prefix":"1"}],"s":["6"]},{"q":["3"]}]}}`: `detail.$or lacks {"p":[{"prefix":"1"},"2"]}`,
		`{"detail":{"eventName":["x",{"prefix":"y"}]}}`:                         "detail.eventName lacks y",
		`{"detail":["x"]}`: "detail is no pattern that can be compared",
		"":                 "is no pattern that can be compared",
	} {
		var w, l any
		if err := json.Unmarshal([]byte(shipped), &w); err != nil {
			t.Fatal(err)
		}
		if json.Unmarshal([]byte(live), &l) != nil {
			l = nil
		}
		if got := strings.Join(narrower("", w, l), "; "); got != want {
			t.Errorf("%s: %q, want %q", live, got, want)
		}
	}
}

func TestWhatIsShippedIsOfTheStack(t *testing.T) {
	d := Doctor{Settings: settings}
	s, err := d.shipped()
	if err != nil || len(s.rules) < 8 || len(s.sources) != 2 || len(s.schedules) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, r := range s.rules {
		if text := r.Name + r.EventBusName + string(r.EventPattern) + string(r.Targets); strings.Contains(text, "{name}") || strings.Contains(text, "{region}") || strings.Contains(text, "{trail}") || strings.Contains(text, "{runbook}") || !strings.HasPrefix(r.Name, "relatch-") {
			t.Error(text)
		}
	}
	d.Settings = stack.Settings{}
	if _, err := d.shipped(); err == nil || !strings.Contains(err.Error(), "give RELATCH_TOPIC_ARN, or --stack") {
		t.Error(err)
	}
}

func TestEachAnswerIsJudged(t *testing.T) {
	trailWith := func(t trail, fields ...trailtypes.AdvancedFieldSelector) []trail {
		t.logging, t.Name, t.TrailARN = true, new("calls"), new("arn:calls")
		t.selectors = &cloudtrail.GetEventSelectorsOutput{AdvancedEventSelectors: []trailtypes.AdvancedEventSelector{{FieldSelectors: fields}}}
		return []trail{t}
	}
	equals := func(field string, values ...string) trailtypes.AdvancedFieldSelector {
		return trailtypes.AdvancedFieldSelector{Field: &field, Equals: values}
	}
	not := func(field string, values ...string) trailtypes.AdvancedFieldSelector {
		return trailtypes.AdvancedFieldSelector{Field: &field, NotEquals: values}
	}
	here, management := trail{Trail: trailtypes.Trail{HomeRegion: new("eu-west-1")}}, equals("eventCategory", "Management")
	everywhere := trail{Trail: trailtypes.Trail{HomeRegion: new("us-east-1"), IsMultiRegionTrail: new(true)}}
	elsewhere := trail{Trail: trailtypes.Trail{HomeRegion: new("us-east-1")}}
	of := func(all []trail) Finding { return trails("eu-west-1", "arn:calls", all) }
	stopped := func(arn string) trail {
		return trail{Trail: trailtypes.Trail{HomeRegion: new("eu-west-1"), Name: new(arn), TrailARN: new("arn:" + arn)}}
	}

	schema := func(name string, mutable bool) *types.UserPoolType {
		return &types.UserPoolType{SchemaAttributes: []types.SchemaAttributeType{{Name: &name, Mutable: &mutable}}}
	}
	client := func(writes ...string) []types.UserPoolClientType {
		return []types.UserPoolClientType{{ClientId: new("c"), WriteAttributes: writes}}
	}
	user := mfa.User{Username: "maria"}
	backup := func(s dynamotypes.PointInTimeRecoveryStatus) *dynamodb.DescribeContinuousBackupsOutput {
		return &dynamodb.DescribeContinuousBackupsOutput{ContinuousBackupsDescription: &dynamotypes.ContinuousBackupsDescription{
			PointInTimeRecoveryDescription: &dynamotypes.PointInTimeRecoveryDescription{PointInTimeRecoveryStatus: s},
		}}
	}
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const arn = "arn:aws:sns:us-east-1:111122223333:relatch-oncall"
	mail := func(subscription, filter string) []subscriber {
		return []subscriber{{snstypes.Subscription{SubscriptionArn: &subscription, Protocol: new("email"), Endpoint: new("security@example.com")}, filter}}
	}
	hear := func(reached map[string]bool, all []subscriber) Finding {
		return heard(arn, "security@example.com", reached, all)[0]
	}
	byTopic, byPager := map[string]bool{arn: true}, map[string]bool{"arn:aws:events:us-east-1:111122223333:api-destination/relatch-pager": true}
	runs := func(state lambdatypes.State, reserved *int32, mode string) Finding {
		return function(&lambda.GetFunctionConfigurationOutput{
			FunctionName: new("relatch-audit"), State: state, StateReason: new("no role"),
			Environment: &lambdatypes.EnvironmentResponse{Variables: map[string]string{"RELATCH_MODE": mode, "RELATCH_CONCURRENCY": "4"}},
		}, reserved, "enforce")[0]
	}
	queue := shippedSource{FunctionName: "relatch-audit", EventSourceArn: "arn:aws:sqs:us-east-1:111122223333:relatch-audit"}
	feeds := func(function, state string, filters ...lambdatypes.Filter) Finding {
		return queue.judge([]lambdatypes.EventSourceMappingConfiguration{{
			UUID: new("u-1"), FunctionArn: new("arn:aws:lambda:us-east-1:111122223333:function:" + function), State: &state,
			FilterCriteria: &lambdatypes.FilterCriteria{Filters: filters}, FunctionResponseTypes: []lambdatypes.FunctionResponseType{"ReportBatchItemFailures"},
		}})[0]
	}
	rule := shippedRule{Name: "relatch-mfa", EventPattern: []byte(`{"source":["a"]}`), Targets: []byte(`[{"Id":"audit","Arn":"arn:q","DeadLetterConfig":{"Arn":"arn:d"}}]`)}
	rules := func(target eventtypes.Target) Finding {
		return rule.judge(&eventbridge.DescribeRuleOutput{State: eventtypes.RuleStateEnabled, EventPattern: new(`{"source":["a"]}`)}, []eventtypes.Target{target})[0]
	}
	for _, c := range []struct {
		name string
		got  Finding
		want State
		says string
	}{
		{"no trail", of(nil), Failed, "create-trail"},
		{"advanced selectors", of(trailWith(here, management)), OK, "calls"},
		{"a trail of all Regions", of(trailWith(everywhere, management)), OK, "calls"},
		{"a trail of another Region", of(trailWith(elsewhere, management)), Failed, "another Region"},
		{"only what writes", of(trailWith(here, management, equals("readOnly", "false"))), OK, "calls"},
		{"only what reads", of(trailWith(here, management, equals("readOnly", "true"))), Failed, "put-event-selectors --trail-name calls"},
		{"without Cognito", of(trailWith(here, management, not("eventSource", cognitoSource))), Failed, "no management events"},
		{"without KMS", of(trailWith(here, management, not("eventSource", "kms.amazonaws.com"))), OK, "calls"},
		{"data events", of(trailWith(here, equals("eventCategory", "Data"))), Failed, "no management events"},
		{"the watched trail is mended", of([]trail{stopped("other"), stopped("calls")}), Failed, "start-logging --name calls"},
		{"a trail that nobody watches", trails("eu-west-1", "arn:x:trail/mine", trailWith(here, management)), Warning, "only when somebody stops mine"},

		{"a role that users write", roles("p", schema("custom:role", true), client("custom:role"))[0], Failed, "custom:role of their own by app client c"},
		{"a role that cannot be changed", roles("p", schema("custom:role", false), client("custom:role"))[0], OK, "custom:role cannot be written"},
		{"a role that only administrators write", roles("p", schema("custom:role", true), client("email"))[0], OK, "custom:role cannot be written"},
		{"the default list", roles("p", &types.UserPoolType{}, client())[0], OK, "1 app clients"},

		{"in the sandbox", sandbox(true), Failed, "verified numbers only"},
		{"out of the sandbox", sandbox(false), OK, ""},

		{"a token that is listed", factors(user, []types.AuthFactorType{types.AuthFactorTypePassword, types.AuthFactorTypeSoftwareToken}), OK, "maria"},
		{"a token that is not listed", factors(user, []types.AuthFactorType{types.AuthFactorTypePassword}), Failed, "AuthFactors=off"},
		{"nothing listed", factors(user, nil), Warning, "lists nothing"},

		{"recovery", backups("t", backup(dynamotypes.PointInTimeRecoveryStatusEnabled)), OK, "t"},
		{"no recovery", backups("t", backup(dynamotypes.PointInTimeRecoveryStatusDisabled)), Failed, "update-continuous-backups --table-name t"},
		{"nothing about recovery", backups("t", &dynamodb.DescribeContinuousBackupsOutput{}), Failed, "no point-in-time recovery"},

		{"a clock that agrees", skew(noon.Add(MaxSkew), noon), OK, ""},
		{"a clock that is fast", skew(noon.Add(MaxSkew+time.Second), noon), Failed, "1m1s off"},
		{"a clock that is slow", skew(noon.Add(-MaxSkew-time.Second), noon), Failed, "1m1s off"},
		{"no clock of AWS", skew(noon, time.Time{}), Warning, "did not tell"},

		{"a target", rules(eventtypes.Target{Arn: new("arn:q"), DeadLetterConfig: &eventtypes.DeadLetterConfig{Arn: new("arn:d")}}), OK, "relatch-mfa"},
		{"a target without dead letters", rules(eventtypes.Target{Arn: new("arn:q")}), Warning, "put-targets --rule relatch-mfa"},
		{"another target", rules(eventtypes.Target{Arn: new("arn:x")}), Failed, "does not send to q"},
		{"a target that is told something else", rules(eventtypes.Target{Arn: new("arn:q"), Input: new("{}")}), Failed, "something else than the event"},
		{"PagerDuty's rule without a target", shippedRule{Name: "relatch-page", EventPattern: []byte("{}"), Conditional: true}.judge(&eventbridge.DescribeRuleOutput{EventPattern: new("{}")}, nil)[0], Failed, "sends to nobody"},

		{"the administrators' topic alone", hear(map[string]bool{strings.Replace(arn, "oncall", "notices", 1): true}, mail("arn:s", "")), Failed, "nobody is reached"},
		{"nobody is subscribed", hear(byTopic, nil), Failed, "sns subscribe --topic-arn " + arn + " --protocol email --notification-endpoint security@example.com"},
		{"nobody has confirmed", hear(byTopic, mail("PendingConfirmation", "")), Warning, "was never confirmed"},
		{"so nobody is reached", heard(arn, "security@example.com", byTopic, mail("PendingConfirmation", ""))[1], Failed, "nobody is reached"},
		{"subscribed, but nothing is sent", hear(nil, mail("arn:s", "")), Failed, "nobody is reached"},
		{"subscribed", hear(byTopic, mail("arn:s", "{}")), OK, "alerts reach email security@example.com"},
		{"subscribed with a filter", hear(byTopic, mail("arn:s", `{"a":["b"]}`)), Warning, "set-subscription-attributes --subscription-arn arn:s --attribute-name FilterPolicy"},
		{"PagerDuty alone", heard(arn, "", byPager, nil)[0], OK, "alerts reach relatch-pager"},
		{"PagerDuty, but the address is not subscribed", hear(byPager, nil), Warning, "is not subscribed"},

		{"a function", runs(lambdatypes.StateActive, new(int32(4)), "enforce"), OK, "4 at once"},
		{"a function that failed", runs(lambdatypes.StateFailed, new(int32(4)), "enforce"), Failed, "no role"},
		{"a function that may not run", runs(lambdatypes.StateActive, new(int32(0)), "enforce"), Failed, "put-function-concurrency --function-name relatch-audit --reserved-concurrent-executions 4"},
		{"a function without a share", runs(lambdatypes.StateActive, nil, "enforce"), Warning, "no concurrency of its own"},
		{"a function in another mode", runs(lambdatypes.StateActive, new(int32(4)), "observe"), Failed, "works in mode observe, though the stack says enforce"},
		{"a mapping", feeds("relatch-audit:live", "Enabled"), OK, "relatch-audit"},
		{"a mapping with a filter", feeds("relatch-audit", "Enabled", lambdatypes.Filter{Pattern: new("{}")}), Failed, `--uuid u-1 --filter-criteria '{"Filters":[]}'`},
		{"a mapping that is disabled", feeds("relatch-audit", "Disabled"), Failed, "--uuid u-1 --enabled"},
		{"a thief", feeds("thief", "Enabled"), Failed, "the function thief also takes messages from the queue relatch-audit"},
		{"no mapping", queue.judge(nil)[0], Failed, "create-event-source-mapping --function-name relatch-audit"},

		{"a dead letter in flight", waiting("https://q/x-dead-letters", "arn:x", true, "0", "1"), Failed, "1 in somebody's hands"},
		{"observe mode", observed("observe", "relatch", []string{"Mode", "UserPoolArns"}), Warning, "update-stack --stack-name relatch --use-previous-template --capabilities CAPABILITY_NAMED_IAM --parameters ParameterKey=Mode,ParameterValue=enforce ParameterKey=UserPoolArns,UsePreviousValue=true"},
		{"no mode", observed("", "", nil), Warning, "nobody says"},
		{"no trigger", trigger("p", &types.UserPoolType{Arn: new("arn:aws:cognito-idp:us-east-1:111122223333:userpool/p")}), Failed, "arn:aws:lambda:us-east-1:111122223333:function:StackFlowCognitoPreToken"},
	} {
		if c.got.State != c.want || !strings.Contains(c.got.What+" "+c.got.Remedy+" "+c.got.Advice, c.says) {
			t.Errorf("%s: %+v, want %s, %q", c.name, c.got, c.want, c.says)
		}
		if c.got.State == Failed && c.got.Remedy == "" && c.got.Advice == "" {
			t.Errorf("%s: nothing mends it", c.name)
		}
	}
}
