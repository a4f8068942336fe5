package checkup

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/status"
)

// MaxSkew is how far the clock here may be from that of AWS: deadlines are told
// by it.
const MaxSkew = time.Minute

// skew judges the clock here against that of AWS.
func skew(here, there time.Time) Finding {
	off := here.Sub(there)
	switch {
	case there.IsZero():
		return warn("AWS did not tell its time")
	case off.Abs() > MaxSkew:
		return bad("the clock here is %s off: time left and lateness are told wrongly", off.Abs().Round(time.Second)).mend("sudo timedatectl set-ntp true")
	default:
		return good("the clock here agrees with that of AWS")
	}
}

// table judges the ledger's table.
func table(t *dynamotypes.TableDescription, index string) []Finding {
	name := value(t.TableName)
	out := []Finding{good("the table %s is there", name)}
	if t.TableStatus != dynamotypes.TableStatusActive {
		out[0] = bad("the table %s is %s", name, t.TableStatus).mend("aws dynamodb describe-table --table-name %s", name).advise("wait, or find out who did that")
	}
	if !slices.ContainsFunc(t.GlobalSecondaryIndexes, func(i dynamotypes.GlobalSecondaryIndexDescription) bool { return value(i.IndexName) == index }) {
		out = append(out, bad("the table %s has no index %s: sweeps do not find what is open", name, index).
			mend(`aws dynamodb update-table --table-name %s --attribute-definitions AttributeName=pool,AttributeType=S AttributeName=due,AttributeType=S --global-secondary-index-updates %s`, name,
				`[{"Create":{"IndexName":"`+index+`","KeySchema":[{"AttributeName":"pool","KeyType":"HASH"},{"AttributeName":"due","KeyType":"RANGE"}],"Projection":{"ProjectionType":"KEYS_ONLY"}}}]`))
	}
	if !value(t.DeletionProtectionEnabled) {
		return append(out, bad("the table %s can be deleted", name).mend("aws dynamodb update-table --table-name %s --deletion-protection-enabled", name))
	}
	return append(out, good("the table %s is protected against deletion", name))
}

// backups judges the table's point-in-time recovery.
func backups(name string, b *dynamodb.DescribeContinuousBackupsOutput) Finding {
	if d := b.ContinuousBackupsDescription; d != nil && d.PointInTimeRecoveryDescription != nil &&
		d.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus == dynamotypes.PointInTimeRecoveryStatusEnabled {
		return good("the table %s has point-in-time recovery", name)
	}
	return bad("the table %s has no point-in-time recovery: what is deleted from the ledger is lost", name).
		mend("aws dynamodb update-continuous-backups --table-name %s --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true", name)
}

// swept judges when the last complete sweep was; function is its name, if it is known.
func swept(completed, now time.Time, function string) Finding {
	late := now.Sub(completed)
	f := bad("the last complete sweep was %s ago", alert.Span(late))
	switch {
	case completed.IsZero():
		f = bad("no sweep has ever been completed")
	case late <= status.SweepLate:
		return good("the last complete sweep was %s ago", alert.Span(late))
	}
	if function != "" {
		f = f.mend("aws lambda invoke --function-name %s --invocation-type Event /dev/null", function)
	}
	return f.advise("if it is not complete in 15 minutes, the function's log says why: /aws/lambda/%s", cmp.Or(function, "SWEEP"))
}

// waiting judges a queue with that many messages; those in flight are with somebody.
func waiting(url, arn string, dead bool, messages, inFlight string) Finding {
	name := url[strings.LastIndexByte(url, '/')+1:]
	read := "aws sqs receive-message --visibility-timeout 0 --max-number-of-messages 10 --attribute-names All --queue-url " + quote(url)
	empty := messages == "0" && (inFlight == "0" || inFlight == "" || !dead)
	switch {
	case empty && dead:
		return good("the dead-letter queue %s is empty", name)
	case empty:
		return good("the queue %s is empty", name)
	case dead:
		f := bad("messages in the dead-letter queue %s: %s, and %s in somebody's hands: evidence that nobody has looked at", name, messages, cmp.Or(inFlight, "0")).mend(read)
		if strings.HasSuffix(name, "-audit-dead-letters") || strings.HasSuffix(name, "-reenable-dead-letters") {
			f.Remedy += "\naws sqs start-message-move-task --source-arn " + quote(arn)
			return f.advise("read them, mend the cause, then put them back by the second command, which only the deployment role may")
		}
		return f.advise("read them and mend the cause; the README says under Alarms what this queue has. Then empty it: aws sqs purge-queue")
	default:
		return warn("messages that wait in the queue %s: %s; that is well if there are none a minute from now", name, messages).mend(read)
	}
}

// lossy judges a queue without dead letters. Its own are named as the template names them.
func lossy(url, arn string) Finding {
	policy := `{"deadLetterTargetArn":"` + arn + `-dead-letters","maxReceiveCount":"10"}`
	return bad("the queue %s has no dead-letter queue: what fails is tried until it is forgotten", url[strings.LastIndexByte(url, '/')+1:]).
		mend("aws sqs set-queue-attributes --queue-url %s --attributes %s", url, fmt.Sprintf(`{"RedrivePolicy":%q}`, policy))
}

// observed judges the mode. The stack may be unknown, and so its parameters.
func observed(mode, name string, parameters []string) Finding {
	switch mode {
	case "enforce":
		return good("the mode is enforce")
	case "observe":
		f := warn("OBSERVE MODE: nothing is restored and nobody is signed out")
		if len(parameters) == 0 {
			return f.advise("deploy the stack with Mode=enforce")
		}
		keep := ""
		for _, p := range parameters {
			if p != "Mode" {
				keep += " ParameterKey=" + p + ",UsePreviousValue=true"
			}
		}
		return f.mend("aws cloudformation update-stack --stack-name %s --use-previous-template --capabilities CAPABILITY_NAMED_IAM --parameters ParameterKey=Mode,ParameterValue=enforce"+keep, name).
			advise("once you have seen who would have been restored; those past their deadline then are at the next sweep")
	default:
		return warn("nobody says whether the mode is enforce or observe").advise("give RELATCH_MODE, or --stack")
	}
}

// touched judges the guard's incidents.
func touched(all []mfa.Incident) []Finding {
	var out []Finding
	for _, in := range all {
		if strings.HasPrefix(in.Key, mfa.GuardJournal("")) && in.Severity.Rank() > mfa.Info.Rank() {
			out = append(out, warn("Relatch itself was touched: %s, since %s", strings.TrimPrefix(in.Key, mfa.GuardJournal("")), in.Since.UTC().Format(time.RFC3339)).
				mend("relatch status").advise("the command tells by whom; undo it, then ask"))
		}
	}
	if out == nil {
		out = []Finding{good("nobody but the deployment has touched Relatch itself")}
	}
	return out
}

// gone judges what somebody deleted. CloudFormation does not make it anew of itself.
func gone(kind, name string) Finding {
	return bad("there is no %s %s", kind, name[strings.LastIndexByte(name, '/')+1:]).
		advise("somebody deleted it, which CloudFormation does not notice: delete the stack, which leaves the ledger, and deploy it again as the README says under Remove; find out who did that")
}

// lost judges an open override without its timer.
func lost(id string, deadline time.Time, group, sweeper string) Finding {
	f := bad("%s, due %s, has no timer %s in the group %s: it ends late", id, deadline.UTC().Format(time.RFC3339), mfa.TimerName(id), group)
	if sweeper != "" {
		f = f.mend("aws lambda invoke --function-name %s --invocation-type Event /dev/null", sweeper)
	}
	return f.advise("a sweep, which runs every 15 minutes, makes it anew; find out who removed it; to end the override now: relatch end %s", id)
}
