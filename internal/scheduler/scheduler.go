// Package scheduler is the worker's Timer on Amazon EventBridge Scheduler: one
// one-time schedule for each name, in a group of Relatch's own, whose target is
// reenable's queue.
//
// It refuses to know when something is due and what becomes of a message.
package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/queue"
)

// Client is what Timer needs of the scheduler's client.
type Client interface {
	CreateSchedule(context.Context, *scheduler.CreateScheduleInput, ...func(*scheduler.Options)) (*scheduler.CreateScheduleOutput, error)
	GetSchedule(context.Context, *scheduler.GetScheduleInput, ...func(*scheduler.Options)) (*scheduler.GetScheduleOutput, error)
	UpdateSchedule(context.Context, *scheduler.UpdateScheduleInput, ...func(*scheduler.Options)) (*scheduler.UpdateScheduleOutput, error)
	DeleteSchedule(context.Context, *scheduler.DeleteScheduleInput, ...func(*scheduler.Options)) (*scheduler.DeleteScheduleOutput, error)
}

// Config is where schedules are kept and what they send to.
type Config struct {
	// Group has Relatch's schedules and no others.
	Group string
	// Queue is the ARN of reenable's queue, Role that of the role by which the
	// scheduler may send to it and to DeadLetters, the ARN of a standard queue.
	Queue, Role, DeadLetters string
	// Retries is how often a message that could not be sent is tried again, at
	// most 185, and RetryFor for how long, from 1 minute to 24 hours. Default to
	// the most there is.
	Retries  int32
	RetryFor time.Duration
}

// The most that the scheduler allows.
const (
	mostRetries = 185
	longest     = 24 * time.Hour
)

// Timer implements worker.Timer. Its methods may be called concurrently.
type Timer struct {
	client Client
	config Config
}

// New makes a Timer of a client of the queue's Region.
func New(client Client, c Config) *Timer {
	if c.Retries == 0 {
		c.Retries = mostRetries
	}
	if c.RetryFor == 0 {
		c.RetryFor = longest
	}
	return &Timer{client: client, config: c}
}

// expression is that of a one-time schedule, in UTC.
const expression = "at(2006-01-02T15:04:05)"

// tries is how often Schedule begins again when the schedule that was in its way
// has fired meanwhile.
const tries = 3

// Schedule implements worker.Timer. Part of a second is rounded up; the
// scheduler fires within the minute. A schedule of the name that somebody
// switched off, made recurring or turned elsewhere is replaced, whatever its time.
func (t *Timer) Schedule(ctx context.Context, name string, at time.Time, pool mfa.PoolID, sub mfa.Sub) error {
	at = at.Add(time.Second - time.Nanosecond).Truncate(time.Second).UTC()
	target, err := t.target(name, pool, sub)
	if err != nil {
		return err
	}
	for range tries {
		_, err = t.client.CreateSchedule(ctx, &scheduler.CreateScheduleInput{
			Name: &name, GroupName: &t.config.Group, Target: target,
			ScheduleExpression: new(at.Format(expression)), ScheduleExpressionTimezone: new("UTC"),
			FlexibleTimeWindow:    &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
			ActionAfterCompletion: types.ActionAfterCompletionDelete, State: types.ScheduleStateEnabled,
		})
		if err == nil {
			return nil
		}
		if !taken(err) {
			return fmt.Errorf("create schedule: %w", err)
		}
		if err = t.moveEarlier(ctx, name, at, target); !missing(err) {
			return err
		}
	}
	return err
}

// moveEarlier moves the schedule if it fires later than at, or not at all.
func (t *Timer) moveEarlier(ctx context.Context, name string, at time.Time, target *types.Target) error {
	old, err := t.client.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: &name, GroupName: &t.config.Group})
	if err != nil {
		return fmt.Errorf("get schedule: %w", err)
	}
	if firesAt, ok := t.fires(old); ok && !firesAt.After(at) {
		return nil
	}
	// What an update leaves out is set back to its default.
	_, err = t.client.UpdateSchedule(ctx, &scheduler.UpdateScheduleInput{
		Name: &name, GroupName: &t.config.Group, Target: target,
		ScheduleExpression: new(at.Format(expression)), ScheduleExpressionTimezone: new("UTC"),
		FlexibleTimeWindow:    &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
		ActionAfterCompletion: types.ActionAfterCompletionDelete, State: types.ScheduleStateEnabled,
	})
	if err != nil {
		return fmt.Errorf("update schedule: %w", err)
	}
	return nil
}

// fires returns when a schedule fires, and whether it does so as Timer made it:
// once, in UTC, switched on, and to reenable's queue.
func (t *Timer) fires(s *scheduler.GetScheduleOutput) (time.Time, bool) {
	if s.ScheduleExpression == nil || s.State == types.ScheduleStateDisabled {
		return time.Time{}, false
	}
	if s.Target == nil || s.Target.Arn == nil || *s.Target.Arn != t.config.Queue {
		return time.Time{}, false
	}
	if zone := s.ScheduleExpressionTimezone; zone != nil && *zone != "UTC" {
		return time.Time{}, false
	}
	at, err := time.Parse(expression, *s.ScheduleExpression)
	return at, err == nil
}

func (t *Timer) target(name string, pool mfa.PoolID, sub mfa.Sub) (*types.Target, error) {
	m := queue.Message{Pool: pool, Sub: sub}
	if override, ok := strings.CutPrefix(name, mfa.TimerName("")); ok {
		m.Override = override
	}
	input, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write message: %w", err)
	}
	target := &types.Target{
		Arn: &t.config.Queue, RoleArn: &t.config.Role, Input: new(string(input)),
		RetryPolicy: &types.RetryPolicy{MaximumRetryAttempts: &t.config.Retries, MaximumEventAgeInSeconds: new(seconds(t.config.RetryFor))},
	}
	if t.config.DeadLetters != "" {
		target.DeadLetterConfig = &types.DeadLetterConfig{Arn: &t.config.DeadLetters}
	}
	return target, nil
}

func seconds(d time.Duration) int32 {
	return int32(min(d, longest) / time.Second) //nolint:gosec // G115: at most a day
}

// Cancel implements worker.Timer. A message that is on its way still arrives.
func (t *Timer) Cancel(ctx context.Context, name string) error {
	_, err := t.client.DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{Name: &name, GroupName: &t.config.Group})
	if err != nil && !missing(err) {
		return fmt.Errorf("delete schedule: %w", err)
	}
	return nil
}

// Stands implements worker.Timer. One that somebody switched off or changed so
// that it does not fire once, in UTC, to reenable's queue, does not stand.
func (t *Timer) Stands(ctx context.Context, name string) (bool, error) {
	s, err := t.client.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: &name, GroupName: &t.config.Group})
	switch {
	case missing(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("get schedule: %w", err)
	}
	_, ok := t.fires(s)
	return ok, nil
}
