package checkup

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

// trail is one that is here, with what was asked about it.
type trail struct {
	types.Trail
	logging   bool
	selectors *cloudtrail.GetEventSelectorsOutput
}

const cognitoSource = "cognito-idp.amazonaws.com"

// writes reports whether the trail logs the management events that write, also
// those of Cognito.
func (t trail) writes() bool {
	if t.selectors == nil {
		return false
	}
	for _, s := range t.selectors.EventSelectors {
		if value(s.IncludeManagementEvents) && s.ReadWriteType != types.ReadWriteTypeReadOnly && !slices.Contains(s.ExcludeManagementEventSources, cognitoSource) {
			return true
		}
	}
	return slices.ContainsFunc(t.selectors.AdvancedEventSelectors, func(s types.AdvancedEventSelector) bool {
		management := false
		for _, f := range s.FieldSelectors {
			switch value(f.Field) {
			case "eventCategory":
				management = slices.Contains(f.Equals, "Management")
			case "readOnly":
				if slices.Contains(f.Equals, "true") {
					return false
				}
			case "eventSource":
				if slices.Contains(f.NotEquals, cognitoSource) || len(f.Equals) > 0 && !slices.Contains(f.Equals, cognitoSource) {
					return false
				}
			}
		}
		return management
	})
}

// trails judges whether some trail brings the calls to EventBridge.
func trails(region string, all []trail) Finding {
	var why []string
	for _, t := range all {
		name := value(t.Name)
		switch {
		case !value(t.IsMultiRegionTrail) && value(t.HomeRegion) != region:
			why = append(why, name+" is of another Region")
		case !t.logging:
			why = append(why, name+" is stopped")
		case !t.writes():
			why = append(why, name+" logs no management events that write")
		default:
			return good("the trail %s logs management events", name)
		}
	}
	if len(why) == 0 {
		return bad("there is no trail: EventBridge gets no calls",
			"aws cloudtrail create-trail --name relatch --s3-bucket-name BUCKET --is-multi-region-trail && aws cloudtrail start-logging --name relatch")
	}
	first := value(all[0].Name)
	return bad("no trail logs management events here: "+strings.Join(why, "; "),
		fmt.Sprintf(`aws cloudtrail start-logging --name %s && aws cloudtrail put-event-selectors --trail-name %s --event-selectors '[{"ReadWriteType":"All","IncludeManagementEvents":true}]'`, first, first))
}

// rule judges the rule that brings Cognito's calls to audit's queue.
func rule(name, queueARN string, r *eventbridge.DescribeRuleOutput, targets []eventtypes.Target) []Finding {
	var out []Finding
	if r.State == eventtypes.RuleStateDisabled {
		out = append(out, bad("the rule "+name+" is disabled: no delivery arrives", "aws events enable-rule --name "+name))
	}
	var pattern struct {
		Source     []any `json:"source"`
		DetailType []any `json:"detail-type"`
	}
	if err := json.Unmarshal([]byte(value(r.EventPattern)), &pattern); err != nil || !slices.Contains(pattern.Source, any("aws.cognito-idp")) ||
		!slices.Contains(pattern.DetailType, any("AWS API Call via CloudTrail")) {
		out = append(out, bad("the pattern of the rule "+name+" does not match Cognito's calls", "deploy Relatch's stack again"))
	}
	if !slices.ContainsFunc(targets, func(t eventtypes.Target) bool { return value(t.Arn) == queueARN }) {
		out = append(out, bad(fmt.Sprintf("the rule %s does not send to audit's queue %s", name, queueARN), "deploy Relatch's stack again"))
	}
	if len(out) == 0 {
		out = []Finding{good("the rule %s is enabled and sends to audit's queue", name)}
	}
	return out
}

// receivers judges who gets the alerts: the rules of the bus with their number of
// targets.
func receivers(bus string, rules []eventtypes.Rule, targets map[string]int) Finding {
	for _, r := range rules {
		if r.State != eventtypes.RuleStateDisabled && targets[value(r.Name)] > 0 {
			return good("alerts go to the bus %s, whose rule %s sends them on", bus, value(r.Name))
		}
	}
	return bad("nobody gets the alerts: the bus "+bus+" has no enabled rule with a target",
		fmt.Sprintf(`aws events put-rule --event-bus-name %s --name on-call --event-pattern '{"source":["relatch"]}' && aws events put-targets …`, bus))
}
