package mfa

import "slices"

// PoolID names a Cognito user pool, such as "us-east-1_EXAMPLE12".
type PoolID string

// Sub names a user within a pool. Cognito promises no format for it, in
// particular not that of a UUID.
type Sub string

// Role is the name of a Cognito group that the policy may require MFA of.
type Role string

// Factor is something a user proves besides the password.
type Factor string

// The factors that Cognito knows.
const (
	TOTP     Factor = "totp"
	SMS      Factor = "sms"
	Email    Factor = "email"
	WebAuthn Factor = "webauthn"
)

// Factors lists every factor, the strongest to restore first.
var Factors = []Factor{TOTP, SMS, Email, WebAuthn}

// Adequate returns those of the active factors that protect the user. A user
// with a required role needs TOTP; WebAuthn does as well, but only beside
// another active factor, because Cognito does not ask for it alone. For
// everybody else any factor is adequate. No result means: unprotected.
func Adequate(active []Factor, required bool) []Factor {
	if !required {
		return active
	}
	var out []Factor
	for _, f := range active {
		if f == TOTP || f == WebAuthn && len(active) > 1 {
			out = append(out, f)
		}
	}
	return out
}

// Both returns what a and b have in common, in the order of a.
func Both[T comparable](a, b []T) []T {
	var out []T
	for _, x := range a {
		if slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

// Union returns a and what b has besides, in that order.
func Union[T comparable](a, b []T) []T {
	out := slices.Clone(a)
	for _, x := range b {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

// Without returns a without what is in b, in the order of a.
func Without[T comparable](a, b []T) []T {
	var out []T
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}
