package checkup

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	cognitotypes "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/property"
	"github.com/stackflow/relatch/internal/scheduler"
	"github.com/stackflow/relatch/internal/stack"
	"github.com/stackflow/relatch/internal/worker"
)

// Cognito is what is asked of Cognito.
type Cognito interface {
	GetUserPoolMfaConfig(context.Context, *cognitoidentityprovider.GetUserPoolMfaConfigInput, ...func(*cognitoidentityprovider.Options)) (*cognitoidentityprovider.GetUserPoolMfaConfigOutput, error)
	DescribeUserPool(context.Context, *cognitoidentityprovider.DescribeUserPoolInput, ...func(*cognitoidentityprovider.Options)) (*cognitoidentityprovider.DescribeUserPoolOutput, error)
	ListUserPoolClients(context.Context, *cognitoidentityprovider.ListUserPoolClientsInput, ...func(*cognitoidentityprovider.Options)) (*cognitoidentityprovider.ListUserPoolClientsOutput, error)
	DescribeUserPoolClient(context.Context, *cognitoidentityprovider.DescribeUserPoolClientInput, ...func(*cognitoidentityprovider.Options)) (*cognitoidentityprovider.DescribeUserPoolClientOutput, error)
	AdminGetUserAuthFactors(context.Context, *cognitoidentityprovider.AdminGetUserAuthFactorsInput, ...func(*cognitoidentityprovider.Options)) (*cognitoidentityprovider.AdminGetUserAuthFactorsOutput, error)
}

// Users shows users as they are listed, whether or not they have a token.
type Users interface {
	User(context.Context, mfa.PoolID, mfa.Sub) (mfa.User, error)
	Members(context.Context, mfa.PoolID, mfa.Role) iter.Seq2[mfa.Sub, error]
}

// Tables is what is asked of DynamoDB.
type Tables interface {
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
	DescribeContinuousBackups(context.Context, *dynamodb.DescribeContinuousBackupsInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeContinuousBackupsOutput, error)
}

// Ledger is what is read of the ledger.
type Ledger interface {
	worker.Loader
	Open(context.Context, mfa.PoolID) iter.Seq2[mfa.Standing, error]
	Incidents(context.Context) iter.Seq2[mfa.Standing, error]
	Bookmark(context.Context) (worker.Bookmark, error)
}

// Trails is what is asked of CloudTrail.
type Trails interface {
	DescribeTrails(context.Context, *cloudtrail.DescribeTrailsInput, ...func(*cloudtrail.Options)) (*cloudtrail.DescribeTrailsOutput, error)
	GetTrailStatus(context.Context, *cloudtrail.GetTrailStatusInput, ...func(*cloudtrail.Options)) (*cloudtrail.GetTrailStatusOutput, error)
	GetEventSelectors(context.Context, *cloudtrail.GetEventSelectorsInput, ...func(*cloudtrail.Options)) (*cloudtrail.GetEventSelectorsOutput, error)
}

// Events is what is asked of EventBridge.
type Events interface {
	DescribeRule(context.Context, *eventbridge.DescribeRuleInput, ...func(*eventbridge.Options)) (*eventbridge.DescribeRuleOutput, error)
	ListTargetsByRule(context.Context, *eventbridge.ListTargetsByRuleInput, ...func(*eventbridge.Options)) (*eventbridge.ListTargetsByRuleOutput, error)
	DescribeEventBus(context.Context, *eventbridge.DescribeEventBusInput, ...func(*eventbridge.Options)) (*eventbridge.DescribeEventBusOutput, error)
	ListRules(context.Context, *eventbridge.ListRulesInput, ...func(*eventbridge.Options)) (*eventbridge.ListRulesOutput, error)
}

// Functions is what is asked of Lambda.
type Functions interface {
	GetFunctionConfiguration(context.Context, *lambda.GetFunctionConfigurationInput, ...func(*lambda.Options)) (*lambda.GetFunctionConfigurationOutput, error)
	GetFunctionConcurrency(context.Context, *lambda.GetFunctionConcurrencyInput, ...func(*lambda.Options)) (*lambda.GetFunctionConcurrencyOutput, error)
	ListEventSourceMappings(context.Context, *lambda.ListEventSourceMappingsInput, ...func(*lambda.Options)) (*lambda.ListEventSourceMappingsOutput, error)
}

// Queues is what is asked of SQS.
type Queues interface {
	GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
}

// Messages is what is asked of SNS.
type Messages interface {
	GetSMSSandboxAccountStatus(context.Context, *sns.GetSMSSandboxAccountStatusInput, ...func(*sns.Options)) (*sns.GetSMSSandboxAccountStatusOutput, error)
	ListSubscriptionsByTopic(context.Context, *sns.ListSubscriptionsByTopicInput, ...func(*sns.Options)) (*sns.ListSubscriptionsByTopicOutput, error)
	GetSubscriptionAttributes(context.Context, *sns.GetSubscriptionAttributesInput, ...func(*sns.Options)) (*sns.GetSubscriptionAttributesOutput, error)
}

// Doctor looks at a Relatch. Every field but Flags and Own is required.
type Doctor struct {
	Settings stack.Settings
	Region   string
	// Flags is what each command of a remedy is given to ask the same AWS, such as
	// "--region", "eu-west-1"; Own is what those of relatch are given besides.
	Flags, Own []string

	Cognito   Cognito
	Users     Users
	Tables    Tables
	Ledger    Ledger
	Policy    worker.PolicySource
	Trails    Trails
	Events    Events
	Queues    Queues
	Functions Functions
	Messages  Messages
	Schedules scheduler.Client
	Now       func() time.Time
}

// Examine looks at everything, and says how it found it, the worst first.
func (d *Doctor) Examine(ctx context.Context) []Finding {
	checks := []check{{"mode", d.mode}, {"policy", d.policy}}
	for _, pool := range d.Settings.Pools() {
		checks = append(checks,
			check{"pool", func(ctx context.Context) ([]Finding, error) { return d.mfa(ctx, pool) }},
			check{"roles", func(ctx context.Context) ([]Finding, error) { return d.pool(ctx, pool) }},
			check{"factors", func(ctx context.Context) ([]Finding, error) { return d.factors(ctx, pool) }},
		)
	}
	found := run(ctx, append(checks, check{"sms", d.sms},
		check{"trail", d.trail}, check{"rule", d.rules}, check{"alerts", d.alerts}, check{"queues", d.queues}, check{"functions", d.functions},
		check{"ledger", d.table}, check{"backups", d.backups}, check{"sweep", d.sweep}, check{"timers", d.timers}, check{"guard", d.guard},
	))
	for i := range found {
		found[i].Remedy = addressed(found[i].Remedy, d.Flags, d.Own)
	}
	return found
}

func (d *Doctor) mode(context.Context) ([]Finding, error) {
	return []Finding{observed(d.Settings[stack.Mode], d.Settings[stack.Name], d.Settings.List(stack.Parameters))}, nil
}

// need returns a setting, or an error that says how to give it.
func (d *Doctor) need(o stack.Output) (string, error) {
	if v := d.Settings[o]; v != "" {
		return v, nil
	}
	return "", fmt.Errorf("nobody says %s: give %s, or --stack", o, stack.Variables[o])
}

func (d *Doctor) policy(ctx context.Context) ([]Finding, error) {
	table := d.Settings[stack.PolicyTable]
	place := "the table " + table
	// An update, which leaves the item's other attributes as they are.
	write := "aws dynamodb update-item --table-name " + quote(table) + ` --key '{"` + cmp.Or(d.Settings[stack.PolicyKey], "name") + `":{"S":"` + property.Record +
		`"}}' --update-expression 'SET #v = :v' --expression-attribute-names '{"#v":"` + cmp.Or(d.Settings[stack.PolicyValue], "value") +
		`"}' --expression-attribute-values "$(jq -n --arg v %s '{":v":{"S":$v}}')"`
	if parameter := d.Settings[stack.PolicyParameter]; parameter != "" {
		place = "the parameter " + parameter
		write = "aws ssm put-parameter --name " + quote(parameter) + " --type String --overwrite --value %s"
	} else if _, err := d.need(stack.PolicyTable); err != nil {
		return nil, err
	}
	raw, err := d.Policy.Read(ctx)
	if missing(err) {
		return []Finding{bad("there is no place for the record mfa.required_roles: %s is not there", place).
			advise("it is the product's; until it is there the last good record holds, else the product's defaults")}, nil
	}
	if err != nil {
		return nil, err
	}
	return []Finding{record(raw, place, write)}, nil
}

func (d *Doctor) mfa(ctx context.Context, pool mfa.PoolID) ([]Finding, error) {
	c, err := d.Cognito.GetUserPoolMfaConfig(ctx, &cognitoidentityprovider.GetUserPoolMfaConfigInput{UserPoolId: new(string(pool))})
	if missing(err) {
		return []Finding{bad("there is no pool %s", pool).advise("correct the stack's parameter UserPoolArns")}, nil
	}
	if err != nil {
		return nil, err
	}
	return mode(string(pool), c), nil
}

func (d *Doctor) sms(ctx context.Context) ([]Finding, error) {
	for _, pool := range d.Settings.Pools() {
		c, err := d.Cognito.GetUserPoolMfaConfig(ctx, &cognitoidentityprovider.GetUserPoolMfaConfigInput{UserPoolId: new(string(pool))})
		if err != nil {
			return nil, err
		}
		if !sms(c) {
			continue
		}
		s, err := d.Messages.GetSMSSandboxAccountStatus(ctx, &sns.GetSMSSandboxAccountStatusInput{})
		if err != nil {
			return nil, err
		}
		return []Finding{sandbox(s.IsInSandbox)}, nil
	}
	return []Finding{good("no pool allows SMS, so the account's sandbox does not matter")}, nil
}

func (d *Doctor) pool(ctx context.Context, pool mfa.PoolID) ([]Finding, error) {
	id := string(pool)
	p, err := d.Cognito.DescribeUserPool(ctx, &cognitoidentityprovider.DescribeUserPoolInput{UserPoolId: &id})
	if err != nil {
		return nil, err
	}
	out := []Finding{trigger(id, p.UserPool)}
	out[0].Check = "trigger"
	var clients []cognitotypes.UserPoolClientType
	for in := (&cognitoidentityprovider.ListUserPoolClientsInput{UserPoolId: &id, MaxResults: new(int32(60))}); ; {
		page, err := d.Cognito.ListUserPoolClients(ctx, in)
		if err != nil {
			return out, err
		}
		for _, c := range page.UserPoolClients {
			seen, err := d.Cognito.DescribeUserPoolClient(ctx, &cognitoidentityprovider.DescribeUserPoolClientInput{UserPoolId: &id, ClientId: c.ClientId})
			if err != nil {
				return out, err
			}
			clients = append(clients, *seen.UserPoolClient)
		}
		if in.NextToken = page.NextToken; value(in.NextToken) == "" {
			return append(out, roles(id, p.UserPool, clients)...), nil
		}
	}
}

// asked is how many users are looked at to find one whose TOTP is on.
const asked = 20

// factors asks about the first user with a required role whose TOTP is on.
func (d *Doctor) factors(ctx context.Context, pool mfa.PoolID) ([]Finding, error) {
	p, err := worker.Rules(ctx, d.Policy, d.Ledger)
	if err != nil {
		return nil, err
	}
	seen := 0
	for _, role := range p.RequiredRoles {
		for sub, err := range d.Users.Members(ctx, pool, role) {
			if err != nil {
				return nil, err
			}
			if seen++; seen > asked {
				break
			}
			u, err := d.Users.User(ctx, pool, sub)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(u.Factors, mfa.TOTP) {
				continue
			}
			out, err := d.Cognito.AdminGetUserAuthFactors(ctx, &cognitoidentityprovider.AdminGetUserAuthFactorsInput{UserPoolId: new(string(pool)), Username: &u.Username})
			if err != nil {
				return nil, fmt.Errorf("AdminGetUserAuthFactors does not answer for %s, so Relatch takes a listed TOTP for registered (AuthFactors=off, a parameter of the stack, saves the question): %w", pool, err)
			}
			return []Finding{factors(u, out.ConfiguredUserAuthFactors)}, nil
		}
	}
	return []Finding{warn("%s: of %d users with a required role none has TOTP on, so AdminGetUserAuthFactors was not tried", pool, min(seen, asked)).
		advise("nothing has to be done")}, nil
}
