package checkup

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sns/types"
)

// subscriber is one of the topic's subscriptions, with its filter.
type subscriber struct {
	types.Subscription
	filter string // "" or "{}": it gets everything
}

// confirmed reports whether the subscription was; until then it has no ARN.
func (s subscriber) confirmed() bool { return strings.HasPrefix(value(s.SubscriptionArn), "arn:") }

func (s subscriber) filtered() bool { return s.filter != "" && s.filter != "{}" }

func (s subscriber) String() string { return value(s.Protocol) + " " + value(s.Endpoint) }

// heard judges who gets the alerts: reached is what the bus's enabled rules
// send to, all are the topic's subscriptions. Address is the stack's AlertEmail, if any.
func heard(topic, address string, reached map[string]bool, all []subscriber) []Finding {
	var out []Finding
	var by []string // whom alerts reach
	for _, s := range all {
		if !s.confirmed() {
			out = append(out, warn("the subscription of %s to the topic %s was never confirmed: nothing is sent there", s, tail(topic)).
				mend("aws sns subscribe --topic-arn %s --protocol %s --notification-endpoint %s", topic, value(s.Protocol), value(s.Endpoint)).
				advise("the command sends the message once more, in which a link is to be followed"))
			continue
		}
		if s.filtered() {
			out = append(out, warn("the subscription of %s to the topic %s has a filter, so that some alerts and alarms are not sent there: %s", s, tail(topic), s.filter).
				mend("aws sns set-subscription-attributes --subscription-arn %s --attribute-name FilterPolicy --attribute-value {}", value(s.SubscriptionArn)))
		}
		if reached[topic] {
			by = append(by, s.String())
		}
	}
	own := topic[:strings.LastIndexByte(topic, '-')+1] // of other topics of Relatch, on which is nobody on call
	for _, target := range slices.Sorted(maps.Keys(reached)) {
		if !strings.HasPrefix(target, own) {
			by = append(by, tail(target))
		}
	}
	subscribe := func(f Finding) Finding {
		return f.mend("aws sns subscribe --topic-arn %s --protocol email --notification-endpoint %s", topic, cmp.Or(address, "ADDRESS")).
			advise("the command sends a message, in which a link is to be followed")
	}
	unasked := address != "" && !slices.ContainsFunc(all, func(s subscriber) bool { return value(s.Endpoint) == address })
	nobody := bad("nobody is reached: no alert goes to a confirmed subscription of the topic %s, to PagerDuty or to Slack", tail(topic))
	switch {
	case len(by) == 0 && (unasked || len(all) == 0):
		out = append(out, subscribe(nobody))
	case len(by) == 0:
		out = append(out, nobody.advise("mend the rules and subscriptions that are named beside this"))
	case unasked:
		out = append(out, subscribe(warn("%s, who is to be told by the stack's AlertEmail, is not subscribed to the topic %s", address, tail(topic))))
	}
	if len(by) > 0 {
		out = append(out, good("alerts reach %s", strings.Join(by, ", ")))
	}
	return out
}
