package checkup

import (
	"fmt"
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
		return warn("AWS did not tell its time", "")
	case off.Abs() > MaxSkew:
		return bad(fmt.Sprintf("the clock here is %s off: time left and lateness are told wrongly", off.Abs().Round(time.Second)), "set the clock: timedatectl set-ntp true")
	default:
		return good("the clock here agrees with that of AWS")
	}
}

// table judges the ledger's table.
func table(t *dynamotypes.TableDescription, index string) []Finding {
	name := value(t.TableName)
	out := []Finding{good("the table %s is there", name)}
	if t.TableStatus != dynamotypes.TableStatusActive {
		out[0] = bad(fmt.Sprintf("the table %s is %s", name, t.TableStatus), "wait, or find out who did that")
	}
	has := false
	for _, i := range t.GlobalSecondaryIndexes {
		has = has || value(i.IndexName) == index
	}
	if !has {
		out = append(out, bad(fmt.Sprintf("the table %s has no index %s: sweeps find nothing", name, index), "deploy Relatch's stack again"))
	}
	if !value(t.DeletionProtectionEnabled) {
		out = append(out, bad("the table "+name+" can be deleted", "aws dynamodb update-table --table-name "+name+" --deletion-protection-enabled"))
	} else {
		out = append(out, good("the table %s is protected against deletion", name))
	}
	return out
}

// backups judges the table's point-in-time recovery.
func backups(name string, b *dynamodb.DescribeContinuousBackupsOutput) Finding {
	if d := b.ContinuousBackupsDescription; d != nil && d.PointInTimeRecoveryDescription != nil &&
		d.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus == dynamotypes.PointInTimeRecoveryStatusEnabled {
		return good("the table %s has point-in-time recovery", name)
	}
	return bad("the table "+name+" has no point-in-time recovery",
		"aws dynamodb update-continuous-backups --table-name "+name+" --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true")
}

// swept judges when the last complete sweep was.
func swept(completed, now time.Time) Finding {
	const remedy = "look at the log of the function sweep, and whether its schedule is enabled: aws logs tail /aws/lambda/SWEEP --since 1h"
	switch age := now.Sub(completed); {
	case completed.IsZero():
		return bad("no sweep has ever been completed", remedy)
	case age > status.SweepLate:
		return bad("the last complete sweep was "+alert.Span(age)+" ago", remedy)
	default:
		return good("the last complete sweep was %s ago", alert.Span(age))
	}
}

// waiting judges a queue with that many messages.
func waiting(url string, dead bool, messages string) Finding {
	name := url[strings.LastIndexByte(url, '/')+1:]
	read := "aws sqs receive-message --visibility-timeout 0 --max-number-of-messages 10 --queue-url " + url
	switch {
	case messages == "0" && dead:
		return good("the dead-letter queue %s is empty", name)
	case messages == "0":
		return good("the queue %s is empty", name)
	case dead:
		return bad(fmt.Sprintf("the dead-letter queue %s has %s messages: evidence that nobody has looked at", name, messages),
			read+"; once the cause is mended: aws sqs start-message-move-task --source-arn ARN")
	default:
		return warn(fmt.Sprintf("%s messages wait in the queue %s; that is well if there are none a minute from now", messages, name), read)
	}
}

// observed judges the mode.
func observed(mode string) Finding {
	switch mode {
	case "enforce":
		return good("the mode is enforce")
	case "observe":
		return warn("OBSERVE MODE: nothing is restored and nobody is signed out", "deploy the stack with the mode enforce")
	default:
		return warn("nobody says whether the mode is enforce or observe", "give RELATCH_MODE, or --stack")
	}
}

// touched judges the guard's incidents.
func touched(all []mfa.Incident) []Finding {
	var out []Finding
	for _, in := range all {
		if strings.HasPrefix(in.Key, mfa.GuardJournal("")) && in.Severity.Rank() > mfa.Info.Rank() {
			out = append(out, warn(fmt.Sprintf("Relatch itself was touched: %s since %s", in.Key, in.Since.UTC().Format(time.RFC3339)), "relatch status tells by whom; undo it, then ask"))
		}
	}
	if out == nil {
		out = []Finding{good("nobody but the deployment has touched Relatch itself")}
	}
	return out
}
