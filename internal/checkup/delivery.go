package checkup

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/stackflow/relatch/internal/stack"
)

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
