package cognito

import (
	"errors"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
)

// This file alone knows the error codes of Cognito (aws-facts.md section 3).
// Codes are compared as text: not every operation has every error in its model.

const (
	userNotFound        = "UserNotFoundException"
	resourceNotFound    = "ResourceNotFoundException"
	invalidParameter    = "InvalidParameterException"
	operationNotEnabled = "OperationNotEnabledException"
)

// userFirst are the errors by which a factor cannot be switched on until
// somebody has done something about the user or the pool: asking again does not
// help. Throttling, Cognito's own faults and missing permissions are not among them.
var userFirst = []string{
	userNotFound, "UserNotConfirmedException", "PasswordResetRequiredException", operationNotEnabled,
}

// unavailable are the errors by which an operation does not exist, is not there
// for the pool or the Region, or is not allowed to this role.
var unavailable = []string{
	"UnknownOperationException", "UnsupportedOperationException", operationNotEnabled, "AccessDeniedException",
}

// noUser reports whether Cognito knows no such user.
func noUser(err error) bool { return code(err) == userNotFound }

// noGroup reports whether the pool has no such group. A missing pool has the
// same code.
func noGroup(err error) bool {
	return code(err) == resourceNotFound && !strings.Contains(message(err), "User pool")
}

// notHere reports whether the pool does not allow the operation here, as a
// secondary replica.
func notHere(err error) bool { return code(err) == operationNotEnabled }

// refused reports whether the user must do something before the factor can be
// switched on.
func refused(err error) bool {
	if code(err) == invalidParameter {
		return unregistered(message(err))
	}
	return slices.Contains(userFirst, code(err))
}

// unregistered knows the texts for a factor that has nothing registered. Every
// other invalid parameter is a fault of ours.
func unregistered(text string) bool {
	switch {
	case strings.HasPrefix(text, "User has not verified software token mfa"),
		strings.HasPrefix(text, "User has not set up software token mfa"):
		return true
	default:
		// "User does not have a phone_number set to turn on SMS MFA",
		// "User does not have delivery config set to turn on SOFTWARE_TOKEN_MFA"
		return strings.HasPrefix(text, "User does not have ") && strings.Contains(text, " to turn on ")
	}
}

// unanswered reports whether the service does not answer the operation at all,
// so that asking again soon does not help.
func unanswered(err error) bool {
	return slices.Contains(unavailable, code(err))
}

func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

func message(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorMessage()
	}
	return ""
}
