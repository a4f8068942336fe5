package checkup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	cognitotypes "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	awsscheduler "github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/stackflow/relatch/internal/dynamo"
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
	write := "aws dynamodb put-item --table-name " + quote(table) + " --item " +
		`"$(jq -n --arg v %s '{"` + cmp.Or(d.Settings[stack.PolicyKey], "name") + `":{"S":"` + property.Record + `"},"` + cmp.Or(d.Settings[stack.PolicyValue], "value") + `":{"S":$v}}')"`
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

func (d *Doctor) trail(ctx context.Context) ([]Finding, error) {
	out, err := d.Trails.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{})
	if err != nil {
		return nil, err
	}
	var all []trail
	var errs []error
	for _, t := range out.TrailList {
		seen := trail{Trail: t}
		s, err := d.Trails.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: t.TrailARN})
		if err == nil {
			seen.logging = value(s.IsLogging)
			seen.selectors, err = d.Trails.GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: t.TrailARN})
		}
		if err != nil {
			errs = append(errs, err) // an organisation's trail may not be ours to look at
			continue
		}
		all = append(all, seen)
	}
	if found := trails(d.Region, d.Settings[stack.TrailARN], all); found.State == OK || len(errs) == 0 {
		return []Finding{found}, nil
	}
	return nil, errors.Join(errs...)
}

// rules looks at the rules that bring the calls, and at those that page for alarms.
func (d *Doctor) rules(ctx context.Context) ([]Finding, error) {
	s, err := d.shipped()
	if err != nil {
		return nil, err
	}
	var out []Finding
	var errs []error
	for _, r := range s.rules {
		if r.EventBusName == "" {
			found, _, err := d.rule(ctx, r)
			out, errs = append(out, found...), append(errs, err)
		}
	}
	return out, errors.Join(errs...)
}

// rule looks at one rule, and returns its targets if it is enabled.
func (d *Doctor) rule(ctx context.Context, r shippedRule) ([]Finding, []eventtypes.Target, error) {
	var bus *string
	if r.EventBusName != "" {
		bus = &r.EventBusName
	}
	there, err := d.Events.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: &r.Name, EventBusName: bus})
	switch {
	case missing(err) && r.Conditional:
		return nil, nil, nil
	case missing(err):
		return r.judge(nil, nil), nil, nil
	case err != nil:
		return nil, nil, err
	}
	t, err := d.Events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &r.Name, EventBusName: bus})
	if err != nil {
		return nil, nil, err
	}
	found := r.judge(there, t.Targets)
	if there.State == eventtypes.RuleStateDisabled {
		return found, nil, nil
	}
	return found, t.Targets, nil
}

// alerts looks at the bus, at its rules, and at whom they reach.
func (d *Doctor) alerts(ctx context.Context) ([]Finding, error) {
	bus, err := d.need(stack.AlertBusName)
	if err != nil {
		return nil, err
	}
	if _, err := d.Events.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: &bus}); missing(err) {
		return []Finding{bad("there is no bus %s: alerts are lost", bus).mend("aws events create-event-bus --name %s", bus).
			advise("its rules are gone too: look again once it is there, and find out who deleted it")}, nil
	} else if err != nil {
		return nil, err
	}
	s, err := d.shipped()
	errs := []error{err}
	var out []Finding
	reached := map[string]bool{} // by enabled rules
	known := map[string]bool{}
	for _, r := range s.rules {
		if known[r.Name] = true; r.EventBusName != bus {
			continue
		}
		found, targets, err := d.rule(ctx, r)
		for _, t := range targets {
			reached[value(t.Arn)] = true
		}
		out, errs = append(out, found...), append(errs, err)
	}
	errs = append(errs, d.others(ctx, bus, known, reached))
	topic, err := d.need(stack.TopicARN)
	if err != nil {
		return out, errors.Join(append(errs, err)...)
	}
	subscribers, err := d.subscribers(ctx, topic)
	switch {
	case missing(err):
		out = append(out, gone("topic", tail(topic)))
	case err != nil:
		errs = append(errs, err)
	default:
		out = append(out, heard(topic, d.Settings[stack.AlertEmail], reached, subscribers)...)
	}
	return out, errors.Join(errs...)
}

// others adds what the enabled rules of the bus send to that are not known: somebody's own.
func (d *Doctor) others(ctx context.Context, bus string, known, reached map[string]bool) error {
	for in := (&eventbridge.ListRulesInput{EventBusName: &bus}); ; {
		page, err := d.Events.ListRules(ctx, in)
		if err != nil {
			return err
		}
		for _, r := range page.Rules {
			// The archive's rule tells nobody; it is AWS's own.
			if known[value(r.Name)] || r.State == eventtypes.RuleStateDisabled || strings.HasPrefix(value(r.Name), "Events-Archive-") {
				continue
			}
			t, err := d.Events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: r.Name, EventBusName: &bus})
			if err != nil {
				return err
			}
			for _, target := range t.Targets {
				reached[value(target.Arn)] = true
			}
		}
		if in.NextToken = page.NextToken; value(in.NextToken) == "" {
			return nil
		}
	}
}

func (d *Doctor) subscribers(ctx context.Context, topic string) ([]subscriber, error) {
	var all []subscriber
	for in := (&sns.ListSubscriptionsByTopicInput{TopicArn: &topic}); ; {
		page, err := d.Messages.ListSubscriptionsByTopic(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, found := range page.Subscriptions {
			s := subscriber{Subscription: found}
			if s.confirmed() {
				out, err := d.Messages.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: found.SubscriptionArn})
				if err != nil {
					return nil, err
				}
				s.filter = out.Attributes["FilterPolicy"]
			}
			all = append(all, s)
		}
		if in.NextToken = page.NextToken; value(in.NextToken) == "" {
			return all, nil
		}
	}
}

// functions looks at the functions, and at what makes them run.
func (d *Doctor) functions(ctx context.Context) ([]Finding, error) {
	var out []Finding
	var errs []error
	if _, err := d.need(stack.FunctionNames); err != nil {
		errs = append(errs, err)
	}
	for _, name := range d.Settings.List(stack.FunctionNames) {
		c, err := d.Functions.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
		if missing(err) {
			out = append(out, gone("function", name))
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		reserved, err := d.Functions.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: &name})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, function(c, reserved.ReservedConcurrentExecutions, d.Settings[stack.Mode])...)
	}
	s, err := d.shipped()
	errs = append(errs, err)
	for _, source := range s.sources {
		all, err := d.mappings(ctx, source.EventSourceArn)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, source.judge(all)...)
	}
	for _, schedule := range s.schedules {
		there, err := d.Schedules.GetSchedule(ctx, &awsscheduler.GetScheduleInput{Name: &schedule.Name, GroupName: &schedule.GroupName})
		if err != nil && !missing(err) {
			errs = append(errs, err)
			continue
		}
		out = append(out, schedule.judge(there))
	}
	return out, errors.Join(errs...)
}

func (d *Doctor) mappings(ctx context.Context, queue string) ([]lambdatypes.EventSourceMappingConfiguration, error) {
	var all []lambdatypes.EventSourceMappingConfiguration
	for in := (&lambda.ListEventSourceMappingsInput{EventSourceArn: &queue}); ; {
		page, err := d.Functions.ListEventSourceMappings(ctx, in)
		if err != nil {
			return nil, err
		}
		all = append(all, page.EventSourceMappings...)
		if in.Marker = page.NextMarker; value(in.Marker) == "" {
			return all, nil
		}
	}
}

// attributes are a queue's ARN and number of messages.
func (d *Doctor) attributes(ctx context.Context, queue string) (map[string]string, error) {
	if queue == "" {
		return nil, errors.New("nobody says all queues: give RELATCH_AUDIT_QUEUE_URL, RELATCH_REENABLE_QUEUE_URL and RELATCH_DEAD_LETTERS_URL, or --stack")
	}
	if u, err := url.Parse(queue); err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no queue's URL", queue)
	}
	out, err := d.Queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &queue, AttributeNames: []sqstypes.QueueAttributeName{
			sqstypes.QueueAttributeNameQueueArn, sqstypes.QueueAttributeNameApproximateNumberOfMessages, sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
			sqstypes.QueueAttributeNameRedrivePolicy,
		},
	})
	if err != nil {
		return nil, err
	}
	return out.Attributes, nil
}

func (d *Doctor) queues(ctx context.Context) ([]Finding, error) {
	var out []Finding
	var errs []error
	look := func(queue string, dead bool) {
		a, err := d.attributes(ctx, queue)
		switch {
		case missing(err):
			out = append(out, gone("queue", queue))
		case err != nil:
			errs = append(errs, err)
		default:
			out = append(out, waiting(queue, a["QueueArn"], dead, a["ApproximateNumberOfMessages"], a["ApproximateNumberOfMessagesNotVisible"]))
			if !dead && a["RedrivePolicy"] == "" {
				out = append(out, lossy(queue, a["QueueArn"]))
			}
		}
	}
	look(d.Settings[stack.AuditQueueURL], false)
	look(d.Settings[stack.ReenableQueueURL], false)
	for _, queue := range d.Settings.List(stack.DeadLetterQueueURLs) {
		look(queue, true)
	}
	if len(d.Settings.List(stack.DeadLetterQueueURLs)) == 0 {
		look("", true)
	}
	return out, errors.Join(errs...)
}

func (d *Doctor) table(ctx context.Context) ([]Finding, error) {
	name := d.Settings[stack.LedgerTable]
	out, err := d.Tables.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
	if missing(err) {
		return []Finding{bad("there is no table %s: there is no ledger", name).
			mend("aws dynamodb list-backups --table-name %s", name).advise("if it was deleted, restore it to that name by point-in-time recovery; find out who deleted it")}, nil
	}
	if err != nil {
		return nil, err
	}
	there, _ := awsmiddleware.GetServerTime(out.ResultMetadata)
	here, ok := awsmiddleware.GetResponseAt(out.ResultMetadata)
	found := table(out.Table, dynamo.Index)
	if ok {
		found = append(found, skew(here, there))
	} else {
		found = append(found, skew(d.Now(), there))
	}
	return found, nil
}

func (d *Doctor) backups(ctx context.Context) ([]Finding, error) {
	name := d.Settings[stack.LedgerTable]
	b, err := d.Tables.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: &name})
	if err != nil {
		return nil, err
	}
	return []Finding{backups(name, b)}, nil
}

func (d *Doctor) sweep(ctx context.Context) ([]Finding, error) {
	b, err := d.Ledger.Bookmark(ctx)
	if err != nil {
		return nil, err
	}
	return []Finding{swept(b.CompletedAt, d.Now(), d.sweeper())}, nil
}

// timers looks for the timer of each open override that is not due yet and can be restored.
func (d *Doctor) timers(ctx context.Context) ([]Finding, error) {
	group, err := d.need(stack.ScheduleGroup)
	if err != nil {
		return nil, err
	}
	queue, err := d.attributes(ctx, d.Settings[stack.ReenableQueueURL])
	if err != nil {
		return nil, err
	}
	timer := scheduler.New(d.Schedules, scheduler.Config{Group: group, Queue: queue["QueueArn"]})
	var out []Finding
	stand := 0
	for _, pool := range d.Settings.Pools() {
		for s, err := range d.Ledger.Open(ctx, pool) {
			if err != nil {
				return out, err
			}
			o := s.Override
			if o == nil || o.Unrestorable || !o.Deadline.After(d.Now()) {
				continue
			}
			stands, err := timer.Stands(ctx, mfa.TimerName(o.ID))
			switch {
			case err != nil:
				return out, err
			case stands:
				stand++
			default:
				out = append(out, lost(o.ID, o.Deadline, group, d.sweeper()))
			}
		}
	}
	if len(out) == 0 {
		out = []Finding{good("open overrides that are not due yet: %d, each with its timer", stand)}
	}
	return out, nil
}

// sweeper is the name of the function sweep, if it is known.
func (d *Doctor) sweeper() string {
	names := d.Settings.List(stack.FunctionNames)
	if i := slices.IndexFunc(names, func(n string) bool { return strings.HasSuffix(n, "-sweep") }); i >= 0 {
		return names[i]
	}
	return ""
}

func (d *Doctor) guard(ctx context.Context) ([]Finding, error) {
	var all []mfa.Incident
	for s, err := range d.Ledger.Incidents(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, s.Incidents...)
	}
	slices.SortFunc(all, func(a, b mfa.Incident) int { return strings.Compare(a.Key, b.Key) })
	return touched(all), nil
}
