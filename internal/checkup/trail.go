package checkup

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
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

// trails judges whether some trail brings the calls to EventBridge. Watched is the
// ARN of the one whose end Relatch reports; it may be unknown.
func trails(region, watched string, all []trail) Finding {
	var why []string
	var first Finding // with the remedy for the first that could do it
	if i := slices.IndexFunc(all, func(t trail) bool { return value(t.TrailARN) == watched }); i > 0 {
		all[0], all[i] = all[i], all[0]
	}
	for _, t := range all {
		name, mend := value(t.Name), Finding{}
		home := "" // a trail is changed in the Region where it was made
		if h := value(t.HomeRegion); h != region {
			home = " --region " + h
		}
		switch {
		case !value(t.IsMultiRegionTrail) && value(t.HomeRegion) != region:
			why = append(why, name+" is of another Region")
			continue
		case !t.logging:
			why = append(why, name+" is stopped")
			mend = mend.mend("aws cloudtrail start-logging"+home+" --name %s", name)
		case !t.writes():
			why = append(why, name+" logs no management events that write")
			mend = mend.mend("aws cloudtrail put-event-selectors"+home+" --trail-name %s --event-selectors %s", name, `[{"ReadWriteType":"All","IncludeManagementEvents":true}]`).
				advise("this replaces all selectors of the trail: if it logs data events too, add these")
		case watched != "" && watched != value(t.TrailARN):
			return warn("the trail %s logs management events, but Relatch reports only when somebody stops %s", name, tail(watched)).
				advise("deploy the stack with TrailArn=%s", value(t.TrailARN))
		default:
			return good("the trail %s logs management events", name)
		}
		if first.Remedy == "" {
			first = mend
		}
	}
	f := bad("there is no trail: EventBridge gets no calls")
	if len(why) > 0 {
		f = bad("no trail logs management events here, so EventBridge gets no calls: %s", strings.Join(why, "; "))
	}
	if first.Remedy == "" {
		first = first.mend("aws cloudtrail create-trail --name relatch --s3-bucket-name BUCKET --is-multi-region-trail && aws cloudtrail start-logging --name relatch").
			advise("BUCKET is one whose policy lets CloudTrail write")
	}
	f.Remedy, f.Advice = first.Remedy, first.Advice
	return f
}
