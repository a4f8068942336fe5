package checkup

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/smithy-go"

	"github.com/stackflow/relatch/internal/mfa"
)

func TestWhatCouldNotBeLookedAtIsAWarningThatSaysWhy(t *testing.T) {
	checks := func(err error) []check {
		return []check{
			{"one", func(context.Context) ([]Finding, error) { return []Finding{good("seen")}, err }},
			{"two", func(context.Context) ([]Finding, error) { return nil, nil }},
		}
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{&smithy.GenericAPIError{Code: "AccessDeniedException", Message: "User ops is not authorized to perform: sns:X"}, "you may not: User ops is not authorized to perform: sns:X"},
		{&smithy.GenericAPIError{Code: "UnknownOperationException", Message: "?"}, "UnknownOperationException: ?"},
		{errors.New("no route to host"), "could not be looked at: no route to host"},
	} {
		found := run(t.Context(), checks(c.err))
		if len(found) != 3 || found[0].State != OK || found[1].State != Warning || !strings.Contains(found[1].What, c.want) || found[2].State != Warning || found[2].Check != "two" {
			t.Errorf("%v: %+v", c.err, found)
		}
	}
}

func TestEachAnswerIsJudged(t *testing.T) {
	trailWith := func(t trail, fields ...trailtypes.AdvancedFieldSelector) []trail {
		t.logging, t.Name = true, new("calls")
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
	of := func(all []trail) Finding { return trails("eu-west-1", all) }

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
	pattern := func(text string) *eventbridge.DescribeRuleOutput {
		return &eventbridge.DescribeRuleOutput{State: eventtypes.RuleStateEnabled, EventPattern: &text}
	}
	calls := `{"source":["aws.cognito-idp"],"detail-type":["AWS API Call via CloudTrail"]}`
	to := []eventtypes.Target{{Arn: new("q")}}
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
		{"only what reads", of(trailWith(here, management, equals("readOnly", "true"))), Failed, "no management events that write"},
		{"without Cognito", of(trailWith(here, management, not("eventSource", cognitoSource))), Failed, "no management events"},
		{"without KMS", of(trailWith(here, management, not("eventSource", "kms.amazonaws.com"))), OK, "calls"},
		{"data events", of(trailWith(here, equals("eventCategory", "Data"))), Failed, "no management events"},

		{"a role that users write", roles("p", schema("custom:role", true), client("custom:role"))[0], Failed, "custom:role of their own by app client c"},
		{"a role that cannot be changed", roles("p", schema("custom:role", false), client("custom:role"))[0], OK, "custom:role cannot be written"},
		{"a role that only administrators write", roles("p", schema("custom:role", true), client("email"))[0], OK, "custom:role cannot be written"},
		{"the default list", roles("p", &types.UserPoolType{}, client())[0], OK, "1 app clients"},

		{"in the sandbox", sandbox(true), Failed, "verified numbers only"},
		{"out of the sandbox", sandbox(false), OK, ""},

		{"a token that is listed", factors(user, []types.AuthFactorType{types.AuthFactorTypePassword, types.AuthFactorTypeSoftwareToken}), OK, "maria"},
		{"a token that is not listed", factors(user, []types.AuthFactorType{types.AuthFactorTypePassword}), Failed, "RELATCH_AUTH_FACTORS=off"},
		{"nothing listed", factors(user, nil), Warning, "lists nothing"},

		{"recovery", backups("t", backup(dynamotypes.PointInTimeRecoveryStatusEnabled)), OK, "t"},
		{"no recovery", backups("t", backup(dynamotypes.PointInTimeRecoveryStatusDisabled)), Failed, "update-continuous-backups --table-name t"},
		{"nothing about recovery", backups("t", &dynamodb.DescribeContinuousBackupsOutput{}), Failed, "no point-in-time recovery"},

		{"a clock that agrees", skew(noon.Add(MaxSkew), noon), OK, ""},
		{"a clock that is fast", skew(noon.Add(MaxSkew+time.Second), noon), Failed, "1m1s off"},
		{"a clock that is slow", skew(noon.Add(-MaxSkew-time.Second), noon), Failed, "1m1s off"},
		{"no clock of AWS", skew(noon, time.Time{}), Warning, "did not tell"},

		{"a rule of another source", rule("r", "q", pattern(`{"source":["aws.ec2"],"detail-type":["AWS API Call via CloudTrail"]}`), to)[0], Failed, "does not match"},
		{"a rule without a pattern", rule("r", "q", pattern(""), to)[0], Failed, "does not match"},
		{"a rule without the target", rule("r", "other", pattern(calls), to)[0], Failed, "does not send to audit's queue other"},
		{"the rule", rule("r", "q", pattern(calls), to)[0], OK, "r"},

		{"a bus without rules", receivers("b", nil, nil), Failed, "no enabled rule"},
		{"a rule without targets", receivers("b", []eventtypes.Rule{{Name: new("x")}}, nil), Failed, "no enabled rule"},
		{"no mode", observed(""), Warning, "nobody says"},
		{"no trigger", trigger("p", &types.UserPoolType{}), Failed, "no pre token generation trigger"},
	} {
		if c.got.State != c.want || !strings.Contains(c.got.What+" "+c.got.Remedy, c.says) {
			t.Errorf("%s: %+v, want %s, %q", c.name, c.got, c.want, c.says)
		}
		if c.got.State == Failed && c.got.Remedy == "" {
			t.Errorf("%s: there is no remedy", c.name)
		}
	}
}
