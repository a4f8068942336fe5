package checkup

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
)

// function judges one of the functions: whether it can run, how many of it at
// once, and whether it is told the mode that the stack was told.
func function(c *lambda.GetFunctionConfigurationOutput, reserved *int32, mode string) []Finding {
	name := value(c.FunctionName)
	told := map[string]string{}
	if c.Environment != nil {
		told = c.Environment.Variables
	}
	var out []Finding
	switch {
	case c.State == types.StateFailed:
		out = append(out, bad("the function %s cannot run: %s", name, value(c.StateReason)).
			mend("aws lambda get-function-configuration --function-name %s", name).advise("mend what the reason names"))
	case c.State == types.StatePending:
		out = append(out, warn("the function %s is being made: look again in a minute", name))
	case c.LastUpdateStatus == types.LastUpdateStatusFailed:
		out = append(out, warn("the last update of the function %s failed: %s", name, value(c.LastUpdateStatusReason)).advise("deploy the stack again"))
	}
	put := "aws lambda put-function-concurrency --function-name %s --reserved-concurrent-executions %s"
	count := told["RELATCH_CONCURRENCY"]
	if count == "" {
		count = "2"
	}
	switch {
	case reserved == nil:
		out = append(out, warn("the function %s has no concurrency of its own: it may use more of Cognito's quotas than it is told", name).mend(put, name, count))
	case *reserved == 0:
		out = append(out, bad("the function %s may not run: its reserved concurrency is 0", name).mend(put, name, count))
	}
	if own := told["RELATCH_MODE"]; own != "" && mode != "" && own != mode {
		out = append(out, bad("the function %s works in mode %s, though the stack says %s", name, own, mode).
			advise("somebody has changed its environment: find out who. Deploying the stack with another mode and then with this one sets it back"))
	}
	if len(out) == 0 {
		out = []Finding{good("the function %s can run, %d at once", name, *reserved)}
	}
	return out
}

// judge judges what takes messages from the queue: the mapping to its function, as
// it was shipped, and nobody else.
func (s shippedSource) judge(all []types.EventSourceMappingConfiguration) []Finding {
	queue := tail(s.EventSourceArn)
	var out []Finding
	own := false
	for _, m := range all {
		id, to := value(m.UUID), nameOf(value(m.FunctionArn))
		change := "aws lambda update-event-source-mapping --uuid " + quote(id)
		if to != s.FunctionName {
			out = append(out, bad("the function %s also takes messages from the queue %s: those do not reach %s", to, queue, s.FunctionName).
				mend("aws lambda delete-event-source-mapping --uuid %s", id).advise("find out who made it"))
			continue
		}
		own = true
		if state := value(m.State); !slices.Contains([]string{"Enabled", "Enabling", "Updating", "Creating"}, state) {
			out = append(out, bad("the event source mapping from the queue %s to %s is %s: nothing is handled", queue, to, state).mend(change+" --enabled"))
		}
		if m.FilterCriteria != nil && len(m.FilterCriteria.Filters) > 0 {
			out = append(out, bad("the event source mapping from the queue %s to %s has a filter: what it does not match is deleted unread", queue, to).
				mend(change+" --filter-criteria %s", `{"Filters":[]}`))
		}
		if !slices.Contains(m.FunctionResponseTypes, types.FunctionResponseTypeReportBatchItemFailures) {
			out = append(out, warn("the event source mapping from the queue %s to %s does not report single failures: one message that fails repeats its whole batch", queue, to).
				mend(change+" --function-response-types ReportBatchItemFailures"))
		}
	}
	switch {
	case !own:
		out = append(out, bad("nothing takes messages from the queue %s: there is no event source mapping to %s", queue, s.FunctionName).
			mend("aws lambda create-event-source-mapping --function-name %s --event-source-arn %s --batch-size 10 --function-response-types ReportBatchItemFailures", s.FunctionName, s.EventSourceArn))
	case len(out) == 0:
		out = []Finding{good("the function %s gets what comes to the queue %s", s.FunctionName, queue)}
	}
	return out
}

// nameOf is the name in a function's ARN, with or without a version.
func nameOf(arn string) string {
	_, name, _ := strings.Cut(arn, ":function:")
	name, _, _ = strings.Cut(name, ":")
	return name
}

// judge judges the sweep's schedule; there is none if it is nil.
func (s shippedSchedule) judge(there *scheduler.GetScheduleOutput) Finding {
	const lost = "what deliveries miss is not found, and what a lost timer should have ended goes on"
	update := func(f Finding) Finding { return f.mend("aws scheduler update-schedule --cli-input-json %s", s.whole) }
	switch {
	case there == nil:
		return bad("there is no schedule %s: %s", s.Name, lost).mend("aws scheduler create-schedule --cli-input-json %s", s.whole)
	case there.State == schedulertypes.ScheduleStateDisabled:
		return update(bad("the schedule %s is disabled: %s", s.Name, lost))
	case value(there.ScheduleExpression) != s.ScheduleExpression || there.StartDate != nil || there.EndDate != nil:
		return update(bad("the schedule %s is %s, or has a beginning or an end, where it was shipped as %s: %s", s.Name, value(there.ScheduleExpression), s.ScheduleExpression, lost))
	case there.Target == nil || value(there.Target.Arn) != s.Target.Arn:
		return update(bad("the schedule %s does not run the function %s: %s", s.Name, tail(s.Target.Arn), lost))
	default:
		return good("the schedule %s is enabled and runs %s, %s", s.Name, tail(s.Target.Arn), s.ScheduleExpression)
	}
}
