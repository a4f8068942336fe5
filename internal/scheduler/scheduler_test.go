package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/scheduler"
	"github.com/stackflow/relatch/internal/workertest"
)

const (
	queueARN   = "arn:aws:sqs:us-east-1:123456789012:reenable"
	deadARN    = "arn:aws:sqs:us-east-1:123456789012:reenable-dead"
	roleARN    = "arn:aws:iam::123456789012:role/relatch-scheduler"
	name       = "relatch-O-ABCDEFGHIJ"
	theSub     = mfa.Sub("maria")
	wantedBody = `{"pool_id":"us-east-1_EXAMPLE12","sub":"maria","override":"O-ABCDEFGHIJ"}`
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// group makes a group of the test's own, and a timer in it.
func group(t *testing.T, config aws.Config) (*sdk.Client, string, *scheduler.Timer) {
	t.Helper()
	other, name := sdk.NewFromConfig(config), strings.NewReplacer("/", "-", ",", "").Replace(t.Name())
	name = name[max(0, len(name)-64):]
	if _, err := other.CreateScheduleGroup(t.Context(), &sdk.CreateScheduleGroupInput{Name: &name}); err != nil && !mototest.Lost(err) {
		t.Fatal(err)
	}
	return other, name, scheduler.New(sdk.NewFromConfig(config), scheduler.Config{Group: name, Queue: queueARN, Role: roleARN, DeadLetters: deadARN})
}

func TestTimerOverTheWire(t *testing.T) {
	config := mototest.Start(t)
	workertest.Timer(t, func(t *testing.T) workertest.Clock {
		other, group, timer := group(t, config)
		return workertest.Clock{Timer: timer, FiresAt: func(t *testing.T, name string) time.Time {
			got, err := other.GetSchedule(t.Context(), &sdk.GetScheduleInput{Name: &name, GroupName: &group})
			if _, ok := errors.AsType[*types.ResourceNotFoundException](err); ok {
				return time.Time{}
			}
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse("at(2006-01-02T15:04:05)", *got.ScheduleExpression)
			if err != nil {
				t.Fatal(err)
			}
			return at
		}}
	})
}

func TestTheScheduleOverTheWireIsExact(t *testing.T) {
	other, group, timer := group(t, mototest.Start(t))
	east := time.FixedZone("east", 5*60*60+30*60)
	want := &sdk.GetScheduleOutput{
		Name: new(name), GroupName: &group, State: types.ScheduleStateEnabled, ActionAfterCompletion: types.ActionAfterCompletionDelete,
		ScheduleExpression: new("at(2026-11-24T09:15:00)"), ScheduleExpressionTimezone: new("UTC"),
		FlexibleTimeWindow: &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
		Target: &types.Target{
			Arn: new(queueARN), RoleArn: new(roleARN), Input: new(wantedBody), DeadLetterConfig: &types.DeadLetterConfig{Arn: new(deadARN)},
			RetryPolicy: &types.RetryPolicy{MaximumRetryAttempts: new(int32(185)), MaximumEventAgeInSeconds: new(int32(86400))},
		},
	}
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{time.Date(2026, 11, 24, 14, 45, 0, 0, east), "at(2026-11-24T09:15:00)"},
		{time.Date(2026, 11, 24, 9, 14, 58, 1, time.UTC), "at(2026-11-24T09:14:59)"}, // moved, never to before the time asked for
	} {
		if err := timer.Schedule(t.Context(), name, c.at, workertest.Pool, theSub); err != nil {
			t.Fatal(err)
		}
		got, err := other.GetSchedule(t.Context(), &sdk.GetScheduleInput{Name: new(name), GroupName: &group})
		if err != nil {
			t.Fatal(err)
		}
		want.ScheduleExpression = &c.want
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(*got, types.Target{}, types.RetryPolicy{}, types.DeadLetterConfig{}, types.FlexibleTimeWindow{}),
			cmpopts.IgnoreFields(*got, "Arn", "CreationDate", "LastModificationDate", "ResultMetadata")); diff != "" {
			t.Errorf("the schedule (-want +got):\n%s", diff)
		}
	}
}

func TestAScheduleThatWasTamperedWithDoesNotStandAndIsReplaced(t *testing.T) {
	other, group, timer := group(t, mototest.Start(t))
	for _, c := range []struct {
		name   string
		change sdk.UpdateScheduleInput
	}{
		{"switched off", sdk.UpdateScheduleInput{ScheduleExpression: new("at(2026-11-23T12:00:00)"), State: types.ScheduleStateDisabled}},
		{"turned to another queue", sdk.UpdateScheduleInput{ScheduleExpression: new("at(2026-11-23T12:00:00)"), Target: &types.Target{Arn: new(deadARN), RoleArn: new(roleARN)}}},
		{"made recurring", sdk.UpdateScheduleInput{ScheduleExpression: new("rate(365 days)")}},
		{"in another zone", sdk.UpdateScheduleInput{ScheduleExpression: new("at(2026-11-23T12:00:00)"), ScheduleExpressionTimezone: new("America/New_York")}},
	} {
		if err := timer.Schedule(t.Context(), name, noon, workertest.Pool, theSub); err != nil {
			t.Fatal(err)
		}
		c.change.Name, c.change.GroupName = new(name), &group
		c.change.FlexibleTimeWindow = &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff}
		if c.change.Target == nil {
			c.change.Target = &types.Target{Arn: new(queueARN), RoleArn: new(roleARN)}
		}
		if _, err := other.UpdateSchedule(t.Context(), &c.change); err != nil {
			t.Fatal(err)
		}
		if stands, err := timer.Stands(t.Context(), name); err != nil || stands {
			t.Errorf("%s: stands %t, %v", c.name, stands, err)
		}
		if err := timer.Schedule(t.Context(), name, noon, workertest.Pool, theSub); err != nil {
			t.Fatal(err)
		}
		got, err := other.GetSchedule(t.Context(), &sdk.GetScheduleInput{Name: new(name), GroupName: &group})
		if err != nil || *got.ScheduleExpression != "at(2026-11-23T12:00:00)" || got.State != types.ScheduleStateEnabled ||
			*got.ScheduleExpressionTimezone != "UTC" || *got.Target.Arn != queueARN || *got.Target.Input != wantedBody {
			t.Errorf("%s: replaced by %+v, %v", c.name, got, err)
		}
	}
}

// vanishing is a schedule that is in the way and has fired when it is looked at,
// for the first times Create is called.
type vanishing struct {
	scheduler.Client
	times, created int
	update         bool // it fires between Get and Update
}

func apiError(code string) error { return &smithy.GenericAPIError{Code: code} }

func (v *vanishing) CreateSchedule(context.Context, *sdk.CreateScheduleInput, ...func(*sdk.Options)) (*sdk.CreateScheduleOutput, error) {
	if v.created++; v.created <= v.times {
		return nil, apiError("ConflictException")
	}
	return &sdk.CreateScheduleOutput{}, nil
}

func (v *vanishing) GetSchedule(context.Context, *sdk.GetScheduleInput, ...func(*sdk.Options)) (*sdk.GetScheduleOutput, error) {
	if v.update {
		return &sdk.GetScheduleOutput{ScheduleExpression: new("at(2027-01-01T00:00:00)")}, nil
	}
	return nil, fmt.Errorf("wrapped: %w", apiError("ResourceNotFoundException"))
}

func (v *vanishing) UpdateSchedule(context.Context, *sdk.UpdateScheduleInput, ...func(*sdk.Options)) (*sdk.UpdateScheduleOutput, error) {
	return nil, apiError("ResourceNotFoundException")
}

func TestAScheduleThatFiresMeanwhileIsMadeAgain(t *testing.T) {
	for _, update := range []bool{false, true} {
		v := &vanishing{times: 2, update: update}
		if err := scheduler.New(v, scheduler.Config{}).Schedule(t.Context(), name, noon, workertest.Pool, theSub); err != nil || v.created != 3 {
			t.Errorf("%v after %d tries", err, v.created)
		}
		v = &vanishing{times: 99, update: update}
		if err := scheduler.New(v, scheduler.Config{}).Schedule(t.Context(), name, noon, workertest.Pool, theSub); err == nil || v.created != 3 {
			t.Errorf("%v after %d tries", err, v.created)
		}
	}
}

func (v *vanishing) DeleteSchedule(context.Context, *sdk.DeleteScheduleInput, ...func(*sdk.Options)) (*sdk.DeleteScheduleOutput, error) {
	return nil, apiError("ThrottlingException")
}

func TestOtherErrorsAreErrors(t *testing.T) {
	config := mototest.Config("http://127.0.0.1:1") // nobody listens there
	config.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	timer := scheduler.New(sdk.NewFromConfig(config), scheduler.Config{Group: "relatch"})
	_, err := timer.Stands(t.Context(), name)
	for what, err := range map[string]error{
		"schedule": timer.Schedule(t.Context(), name, noon, workertest.Pool, theSub), "cancel": timer.Cancel(t.Context(), name), "stands": err,
		"cancel, throttled": scheduler.New(&vanishing{}, scheduler.Config{}).Cancel(t.Context(), name),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
