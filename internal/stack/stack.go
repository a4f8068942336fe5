// Package stack says where a deployed Relatch is: the outputs of its
// CloudFormation stack, or what a person gives instead of them.
//
// It refuses to know what the settings are used for, and asks AWS nothing but
// DescribeStacks, and that only if a setting is missing that is needed.
package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/smithy-go"

	"github.com/stackflow/relatch/internal/mfa"
)

// Default is the name of the stack where nobody gives another one.
const Default = "relatch"

// Output is the name of an output of the stack. The set is closed: add, never rename.
type Output string

// The outputs. Lists are separated by commas.
const (
	LedgerTable         Output = "LedgerTable"
	PoolIDs             Output = "PoolIds"
	OverrideURL         Output = "OverrideUrl"
	AlertBusName        Output = "AlertBusName"
	TopicARN            Output = "TopicArn"
	AuditQueueURL       Output = "AuditQueueUrl"
	ReenableQueueURL    Output = "ReenableQueueUrl"
	DeadLetterQueueURLs Output = "DeadLetterQueueUrls"
	ScheduleGroup       Output = "ScheduleGroup"
	RuleName            Output = "RuleName"
	FunctionNames       Output = "FunctionNames"
	Mode                Output = "Mode"
	PolicyTable         Output = "PolicyTable"
	PolicyKey           Output = "PolicyKey"
	PolicyValue         Output = "PolicyValue"
	PolicyParameter     Output = "PolicyParameter"
)

// Besides, the stack's name, its parameters of these names, and the names of all of
// them.
const (
	Name       Output = "StackName"
	TrailARN   Output = "TrailArn"
	RunbookURL Output = "RunbookUrl"
	AlertEmail Output = "AlertEmail"
	Parameters Output = "Parameters"
)

// Variables are the environment variables that give a setting without a stack. Where
// the functions have the setting too, they are told it by the same variable.
var Variables = map[Output]string{
	LedgerTable: "RELATCH_TABLE", PoolIDs: "RELATCH_POOLS", OverrideURL: "RELATCH_OVERRIDE_URL",
	AlertBusName: "RELATCH_ALERT_BUS", TopicARN: "RELATCH_TOPIC_ARN",
	AuditQueueURL: "RELATCH_AUDIT_QUEUE_URL", ReenableQueueURL: "RELATCH_REENABLE_QUEUE_URL", DeadLetterQueueURLs: "RELATCH_DEAD_LETTERS_URL",
	ScheduleGroup: "RELATCH_SCHEDULE_GROUP", RuleName: "RELATCH_RULE", FunctionNames: "RELATCH_FUNCTIONS", Mode: "RELATCH_MODE",
	PolicyTable: "RELATCH_POLICY_TABLE", PolicyKey: "RELATCH_POLICY_KEY", PolicyValue: "RELATCH_POLICY_VALUE", PolicyParameter: "RELATCH_POLICY_PARAMETER",
	TrailARN: "RELATCH_TRAIL_ARN",
}

// Flags are the command's flags that give a setting.
var Flags = map[Output]string{LedgerTable: "table", PoolIDs: "pools", OverrideURL: "url"}

// Settings are what is known of a Relatch. What is not known is empty.
type Settings map[Output]string

// List is a setting that is a list.
func (s Settings) List(o Output) []string {
	return strings.FieldsFunc(s[o], func(r rune) bool { return r == ',' || r == ' ' })
}

// Pools are the guarded user pools. The setting may have ARNs, as the stack's
// output does.
func (s Settings) Pools() []mfa.PoolID {
	var pools []mfa.PoolID
	for _, pool := range s.List(PoolIDs) {
		pools = append(pools, mfa.PoolID(pool[strings.LastIndexByte(pool, '/')+1:]))
	}
	return pools
}

// Describer is what Find needs of CloudFormation's client.
type Describer interface {
	DescribeStacks(context.Context, *cloudformation.DescribeStacksInput, ...func(*cloudformation.Options)) (*cloudformation.DescribeStacksOutput, error)
}

// Given is what a person says of where Relatch is.
type Given struct {
	// Stack is the flag --stack. Empty: the variable RELATCH_STACK, else Default.
	Stack string
	// Flags are the other flags that are set.
	Flags  Settings
	Getenv func(string) string
}

// Find returns the settings: each from its flag, else from the stack if that is
// given by its flag, else from its variable, else from the stack. The stack is
// asked for when one of those needed is missing without it. A stack given by its
// flag has to be there. A *Missing says what is missing even then, and why.
func Find(ctx context.Context, client Describer, g Given, needed ...Output) (Settings, error) {
	s := Settings{}
	s.add(g.Flags)
	if g.Stack == "" {
		s.add(g.variables())
	}
	if s.lacks(needed) == nil {
		return s, nil
	}
	name := firstOf(g.Stack, g.Getenv("RELATCH_STACK"), Default)
	outputs, err := describe(ctx, client, name)
	if err != nil && g.Stack != "" { // what variables say may be of another Relatch
		return nil, err
	}
	s.add(outputs)
	s.add(g.variables())
	if missing := s.lacks(needed); missing != nil {
		if err == nil {
			err = fmt.Errorf("the stack %s does not say", name)
		}
		return nil, &Missing{Outputs: missing, Err: err}
	}
	return s, nil
}

func (g Given) variables() Settings {
	s := Settings{}
	for output, variable := range Variables {
		s[output] = g.Getenv(variable)
	}
	return s
}

func firstOf(texts ...string) string {
	i := slices.IndexFunc(texts, func(t string) bool { return t != "" })
	return texts[i]
}

// add takes what is not known yet.
func (s Settings) add(more Settings) {
	for output, value := range more {
		if value = strings.TrimSpace(value); value != "" && s[output] == "" {
			s[output] = value
		}
	}
}

func (s Settings) lacks(needed []Output) []Output {
	var missing []Output
	for _, o := range needed {
		if s[o] == "" {
			missing = append(missing, o)
		}
	}
	return missing
}

// describe returns the outputs of the stack, and what is taken of its parameters.
func describe(ctx context.Context, client Describer, name string) (Settings, error) {
	out, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "ValidationError" {
		return nil, fmt.Errorf("there is no stack %s in this account and Region", name) // the API has no code of its own for that
	}
	if err != nil {
		return nil, fmt.Errorf("describe the stack %s: %w", name, err)
	}
	s := Settings{}
	for _, found := range out.Stacks {
		for _, o := range found.Outputs {
			if o.OutputKey != nil && o.OutputValue != nil {
				s[Output(*o.OutputKey)] = *o.OutputValue
			}
		}
		var names []string
		for _, p := range found.Parameters {
			name, value := Output(aws.ToString(p.ParameterKey)), aws.ToString(p.ParameterValue)
			if names = append(names, string(name)); slices.Contains([]Output{TrailARN, RunbookURL, AlertEmail}, name) {
				s[name] = value
			}
		}
		s[Name], s[Parameters] = aws.ToString(found.StackName), strings.Join(names, ",")
	}
	return s, nil
}

// Missing is the error of Find: what it could not find, and the remedy.
type Missing struct {
	Outputs []Output
	// Err is why the stack does not say it.
	Err error
}

func (m *Missing) Error() string {
	said := make([]string, len(m.Outputs))
	for i, o := range m.Outputs {
		said[i] = string(o) + " (" + Variables[o] + ")"
		if flag := Flags[o]; flag != "" {
			said[i] = string(o) + " (--" + flag + " or " + Variables[o] + ")"
		}
	}
	return fmt.Sprintf("%s; name Relatch's stack with --stack or RELATCH_STACK, or give %s", m.Err, strings.Join(said, ", "))
}

func (m *Missing) Unwrap() error { return m.Err }
