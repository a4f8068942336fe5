package checkup

import (
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
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/mfa"
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

// Queues is what is asked of SQS.
type Queues interface {
	GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
}

// Messages is what is asked of SNS.
type Messages interface {
	GetSMSSandboxAccountStatus(context.Context, *sns.GetSMSSandboxAccountStatusInput, ...func(*sns.Options)) (*sns.GetSMSSandboxAccountStatusOutput, error)
}

// Doctor looks at a Relatch. Every field is required.
type Doctor struct {
	Settings stack.Settings
	Region   string

	Cognito   Cognito
	Users     Users
	Tables    Tables
	Ledger    Ledger
	Policy    worker.PolicySource
	Trails    Trails
	Events    Events
	Queues    Queues
	Messages  Messages
	Schedules scheduler.Client
	Now       func() time.Time
}

// Examine looks at everything, and says how it found it.
func (d *Doctor) Examine(ctx context.Context) []Finding {
	checks := []check{
		{"mode", func(context.Context) ([]Finding, error) { return []Finding{observed(d.Settings[stack.Mode])}, nil }},
		{"policy", d.policy},
	}
	for _, pool := range d.Settings.Pools() {
		checks = append(checks,
			check{"pool", func(ctx context.Context) ([]Finding, error) { return d.mfa(ctx, pool) }},
			check{"roles", func(ctx context.Context) ([]Finding, error) { return d.pool(ctx, pool) }},
			check{"factors", func(ctx context.Context) ([]Finding, error) { return d.factors(ctx, pool) }},
		)
	}
	return run(ctx, append(checks, check{"sms", d.sms},
		check{"trail", d.trail}, check{"rule", d.rule}, check{"alerts", d.bus}, check{"queues", d.queues},
		check{"ledger", d.table}, check{"backups", d.backups}, check{"sweep", d.sweep}, check{"timers", d.timers}, check{"guard", d.guard},
	))
}

// need returns a setting, or an error that says how to give it.
func (d *Doctor) need(o stack.Output) (string, error) {
	if v := d.Settings[o]; v != "" {
		return v, nil
	}
	return "", fmt.Errorf("nobody says %s: give %s, or --stack", o, stack.Variables[o])
}

func (d *Doctor) policy(ctx context.Context) ([]Finding, error) {
	place := "the table " + d.Settings[stack.PolicyTable]
	if d.Settings[stack.PolicyParameter] != "" {
		place = "the parameter " + d.Settings[stack.PolicyParameter]
	} else if _, err := d.need(stack.PolicyTable); err != nil {
		return nil, err
	}
	raw, err := d.Policy.Read(ctx)
	if err != nil {
		return nil, err
	}
	return record(raw, place), nil
}

func (d *Doctor) mfa(ctx context.Context, pool mfa.PoolID) ([]Finding, error) {
	c, err := d.Cognito.GetUserPoolMfaConfig(ctx, &cognitoidentityprovider.GetUserPoolMfaConfigInput{UserPoolId: new(string(pool))})
	if missing(err) {
		return []Finding{bad("there is no pool "+string(pool), "correct the stack's pools")}, nil
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
				return nil, fmt.Errorf("AdminGetUserAuthFactors does not answer for %s, so Relatch takes a listed TOTP for registered (RELATCH_AUTH_FACTORS=off saves the question): %w", pool, err)
			}
			return []Finding{factors(u, out.ConfiguredUserAuthFactors)}, nil
		}
	}
	return []Finding{warn(fmt.Sprintf("%s: of %d users with a required role none has TOTP on, so AdminGetUserAuthFactors was not tried", pool, min(seen, asked)), "")}, nil
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
	if found := trails(d.Region, all); found.State == OK || len(errs) == 0 {
		return []Finding{found}, nil
	}
	return nil, errors.Join(errs...)
}

func (d *Doctor) rule(ctx context.Context) ([]Finding, error) {
	name, err := d.need(stack.RuleName)
	if err != nil {
		return nil, err
	}
	audit, err := d.attributes(ctx, d.Settings[stack.AuditQueueURL])
	if err != nil {
		return nil, err
	}
	r, err := d.Events.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: &name})
	if missing(err) {
		return []Finding{bad("there is no rule "+name+": no delivery arrives", "deploy Relatch's stack again")}, nil
	}
	if err != nil {
		return nil, err
	}
	t, err := d.Events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &name})
	if err != nil {
		return nil, err
	}
	return rule(name, audit["QueueArn"], r, t.Targets), nil
}

func (d *Doctor) bus(ctx context.Context) ([]Finding, error) {
	bus, err := d.need(stack.AlertBusName)
	if err != nil {
		return nil, err
	}
	if _, err := d.Events.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: &bus}); missing(err) {
		return []Finding{bad("there is no bus "+bus+": alerts are lost", "deploy Relatch's stack again")}, nil
	} else if err != nil {
		return nil, err
	}
	rules, err := d.Events.ListRules(ctx, &eventbridge.ListRulesInput{EventBusName: &bus})
	if err != nil {
		return nil, err
	}
	targets := map[string]int{}
	for _, r := range rules.Rules {
		t, err := d.Events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: r.Name, EventBusName: &bus})
		if err != nil {
			return nil, err
		}
		targets[value(r.Name)] = len(t.Targets)
	}
	return []Finding{receivers(bus, rules.Rules, targets)}, nil
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
		QueueUrl: &queue, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameQueueArn, sqstypes.QueueAttributeNameApproximateNumberOfMessages},
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
			out = append(out, bad("there is no queue "+queue, "deploy Relatch's stack again"))
		case err != nil:
			errs = append(errs, err)
		default:
			out = append(out, waiting(queue, dead, a["ApproximateNumberOfMessages"]))
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
	if len(errs) > 0 {
		return out, errs[0]
	}
	return out, nil
}

func (d *Doctor) table(ctx context.Context) ([]Finding, error) {
	name := d.Settings[stack.LedgerTable]
	out, err := d.Tables.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
	if missing(err) {
		return []Finding{bad("there is no table "+name, "deploy Relatch's stack again; if it was deleted, restore it first")}, nil
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
	return []Finding{swept(b.CompletedAt, d.Now())}, nil
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
				return nil, err
			}
			o := s.Override
			if o == nil || o.Unrestorable || !o.Deadline.After(d.Now()) {
				continue
			}
			stands, err := timer.Stands(ctx, mfa.TimerName(o.ID))
			switch {
			case err != nil:
				return nil, err
			case stands:
				stand++
			default:
				out = append(out, bad(fmt.Sprintf("%s, due %s, has no timer %s in the group %s", o.ID, o.Deadline.UTC().Format(time.RFC3339), mfa.TimerName(o.ID), group),
					"the next sweep makes it anew; find out who removed it; to end the override now: relatch end "+o.ID))
			}
		}
	}
	if len(out) == 0 {
		out = []Finding{good("all %d open overrides that are not due yet have their timers", stand)}
	}
	return out, nil
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
