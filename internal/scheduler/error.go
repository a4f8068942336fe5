package scheduler

import (
	"errors"

	"github.com/aws/smithy-go"
)

// This file alone knows the error codes of the scheduler (aws-facts.md section 5).

// taken reports whether there is a schedule of the name already.
func taken(err error) bool { return code(err) == "ConflictException" }

// missing reports whether there is no schedule of the name. A missing group has
// the same code.
func missing(err error) bool { return code(err) == "ResourceNotFoundException" }

func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}
