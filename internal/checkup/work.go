package checkup

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	awsscheduler "github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/scheduler"
	"github.com/stackflow/relatch/internal/stack"
)

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
