package property

import (
	"errors"

	"github.com/aws/smithy-go"
)

// This file alone knows the error codes of DynamoDB and SSM. Of DynamoDB's there
// is none to tell apart: without an item GetItem succeeds, and a missing table is
// an error like any other.

// noParameter reports whether there is no parameter of the name (API Reference,
// GetParameter). A missing version of one that is there has a code of its own.
func noParameter(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && e.ErrorCode() == "ParameterNotFound"
}
