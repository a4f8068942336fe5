package checkup

import (
	_ "embed" // shipped.jsonl
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/stackflow/relatch/internal/stack"
)

// shippedLines has what infra/template.yaml makes of the rules, of the event
// source mappings and of the sweep's schedule, by the names of their properties
// there; what a stack is told stands in braces. A test of infra writes it.
//
//go:embed shipped.jsonl
var shippedLines string

// shipped is what a stack has if nobody has touched it.
type shipped struct {
	rules     []shippedRule
	sources   []shippedSource
	schedules []shippedSchedule
}

type shippedRule struct {
	Name, EventBusName string
	EventPattern       json.RawMessage
	// Conditional rules are there only if the stack was told whom they send to.
	Conditional bool
	// Targets are not known of a conditional rule.
	Targets json.RawMessage
}

type shippedSource struct {
	FunctionName, EventSourceArn string
	BatchSize                    int32
	FunctionResponseTypes        []string
}

type shippedSchedule struct {
	Name, GroupName, ScheduleExpression string
	Target                              struct{ Arn string }
	whole                               string
}

// shipped is what the stack of the settings was made with.
func (d *Doctor) shipped() (shipped, error) {
	named := map[stack.Output]string{}
	for _, o := range []stack.Output{stack.TopicARN, stack.ScheduleGroup, stack.TrailARN} {
		v, err := d.need(o)
		if err != nil {
			return shipped{}, err
		}
		named[o] = v
	}
	here, err := arn.Parse(named[stack.TopicARN])
	if err != nil {
		return shipped{}, fmt.Errorf("read %s: %w", stack.TopicARN, err)
	}
	trail := named[stack.TrailARN]
	lines := strings.NewReplacer(
		"{name}", named[stack.ScheduleGroup], "{account}", here.AccountID, "{region}", here.Region, "arn:aws:", "arn:"+here.Partition+":",
		"{trail}", trail[strings.LastIndexByte(trail, '/')+1:], "{runbook}", d.Settings[stack.RunbookURL],
	).Replace(shippedLines)
	var s shipped
	for line := range strings.Lines(lines) {
		var r struct {
			Type       string
			Properties json.RawMessage
		}
		err := json.Unmarshal([]byte(line), &r)
		switch r.Type {
		case "AWS::Events::Rule":
			err = add(&s.rules, r.Properties)
		case "AWS::Lambda::EventSourceMapping":
			err = add(&s.sources, r.Properties)
		case "AWS::Scheduler::Schedule":
			if err = add(&s.schedules, r.Properties); err == nil {
				s.schedules[len(s.schedules)-1].whole = string(r.Properties)
			}
		}
		if err != nil {
			return shipped{}, fmt.Errorf("read what was shipped: %w", err)
		}
	}
	return s, nil
}

func add[T any](to *[]T, raw []byte) error {
	var v T
	err := json.Unmarshal(raw, &v)
	*to = append(*to, v)
	return err
}
