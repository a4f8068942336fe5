package dynamo

import (
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// DynamoDB's errors are told apart here and nowhere else.

// The codes of a cancellation reason (API Reference, TransactWriteItems,
// TransactionCanceledException).
const (
	reasonNone     = "None"
	reasonUnmet    = "ConditionalCheckFailed"
	reasonConflict = "TransactionConflict"
)

// conflicts reports whether a transaction was cancelled because somebody else
// wrote, and for no other reason.
func conflicts(err error) bool {
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) {
		return false
	}
	found := false
	for _, r := range cancelled.CancellationReasons {
		switch aws.ToString(r.Code) {
		case reasonUnmet, reasonConflict:
			found = true
		case reasonNone, "":
		default:
			return false
		}
	}
	return found
}

// unmet reports whether a write's condition was not met, and returns the item as
// it is.
func unmet(err error) (item, bool) {
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		return nil, false
	}
	return failed.Item, true
}
