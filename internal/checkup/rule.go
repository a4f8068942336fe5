package checkup

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

// judge judges a rule by how it was shipped; there is none if it is nil.
func (r shippedRule) judge(there *eventbridge.DescribeRuleOutput, targets []types.Target) []Finding {
	lost := "alerts do not reach whom it tells"
	switch {
	case strings.HasSuffix(r.Name, "-mfa"):
		lost = "no disable is seen until a sweep finds it"
	case strings.Contains(r.Name, "-guard"):
		lost = "nobody sees what is done to Relatch itself"
	}
	put := r.command("put-rule --name") + " --event-pattern " + quote(string(r.EventPattern))
	aim := r.command("put-targets --rule") + " --targets " + quote(string(r.Targets))
	if there == nil {
		f := bad("there is no rule %s: %s", r.Name, lost).mend(put)
		if r.Targets != nil {
			f.Remedy += " && " + aim
		}
		return []Finding{f}
	}
	var out []Finding
	if there.State == types.RuleStateDisabled {
		out = append(out, bad("the rule %s is disabled: %s", r.Name, lost).mend(r.command("enable-rule --name")))
	}
	var want, live any
	if err := json.Unmarshal(r.EventPattern, &want); err != nil {
		panic(err) // cannot happen: shipped has read it
	}
	if json.Unmarshal([]byte(value(there.EventPattern)), &live) != nil {
		live = nil
	}
	if less := narrower("", want, live); len(less) > 0 {
		out = append(out, bad("the rule %s lets less through than it was shipped with: %s", r.Name, strings.Join(less, "; ")).mend(put))
	}
	out = append(out, r.aims(targets, aim, lost)...)
	if len(out) == 0 {
		out = []Finding{good("the rule %s is enabled, lets through all it was shipped to, and has its target", r.Name)}
	}
	return out
}

// aims judges what the rule sends to.
func (r shippedRule) aims(targets []types.Target, command, lost string) []Finding {
	if r.Targets == nil {
		if len(targets) == 0 {
			return []Finding{bad("the rule %s sends to nobody: %s", r.Name, lost).advise("deploy the stack with the same parameter once empty and once as it is: that makes the target anew")}
		}
		return nil
	}
	var wants []types.Target
	if err := json.Unmarshal(r.Targets, &wants); err != nil {
		panic(err) // cannot happen: a test reads it
	}
	var out []Finding
	for _, want := range wants {
		name := tail(value(want.Arn))
		i := slices.IndexFunc(targets, func(t types.Target) bool { return value(t.Arn) == value(want.Arn) })
		if i < 0 {
			out = append(out, bad("the rule %s does not send to %s: %s", r.Name, name, lost).mend(command))
			continue
		}
		live := targets[i]
		if want.InputTransformer == nil && (live.InputTransformer != nil || live.Input != nil || live.InputPath != nil) {
			out = append(out, bad("the rule %s sends to %s something else than the event: it cannot be read there", r.Name, name).mend(command))
		}
		if live.DeadLetterConfig == nil {
			out = append(out, warn("what the rule %s cannot send to %s is lost: it has no dead-letter queue", r.Name, name).mend(command))
		}
	}
	return out
}

// command begins a command of the AWS CLI about the rule.
func (r shippedRule) command(operation string) string {
	c := "aws events " + operation + " " + quote(r.Name)
	if r.EventBusName != "" {
		c += " --event-bus-name " + quote(r.EventBusName)
	}
	return c
}

// tail is the name that an ARN ends with.
func tail(arn string) string { return arn[strings.LastIndexAny(arn, ":/")+1:] }

// narrower says in what a pattern lets less through than the one that was shipped.
// One that has more values or asks for less is not narrower. Of the values of a
// field, what is not word for word there is taken for missing.
func narrower(path string, shipped, live any) []string {
	switch shipped := shipped.(type) {
	case map[string]any:
		fields, ok := live.(map[string]any)
		if !ok {
			return []string{strings.TrimSpace(path + " is no pattern that can be compared")}
		}
		var out []string
		for _, key := range slices.Sorted(maps.Keys(fields)) {
			at := strings.TrimPrefix(path+"."+key, ".")
			if want, asked := shipped[key]; asked {
				out = append(out, narrower(at, want, fields[key])...)
			} else {
				out = append(out, "it also asks for "+at+" "+text(fields[key]))
			}
		}
		return out
	case []any:
		values, _ := live.([]any)
		var lacks []string
		for _, want := range shipped {
			if !slices.ContainsFunc(values, func(v any) bool {
				return reflect.DeepEqual(v, want) || strings.HasSuffix(path, "$or") && len(narrower("", want, v)) == 0
			}) {
				lacks = append(lacks, text(want))
			}
		}
		if len(lacks) > 0 {
			return []string{path + " lacks " + strings.Join(lacks, ", ")}
		}
	}
	return nil
}

func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}
