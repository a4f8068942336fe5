package telemetry

import (
	"errors"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
)

// Text is what may be logged of an error: its text without the words of AWS
// services, which may repeat what was asked for and so a username ("Value 'x' at
// 'username' failed to satisfy constraint"). Operation, error code and request id
// stay. A function that returns an error to Lambda has it logged, and returns Text.
func Text(err error) string {
	messages := said(err)
	// The longest first: one may be part of another.
	slices.SortFunc(messages, func(a, b string) int { return len(b) - len(a) })
	text := err.Error()
	for _, m := range messages {
		text = strings.ReplaceAll(text, m, "(message left out)")
	}
	return text
}

// said are the messages of every AWS error in the tree, but empty ones.
func said(err error) []string {
	var out []string
	if e, ok := errors.AsType[smithy.APIError](err); ok && e.ErrorMessage() != "" {
		out = append(out, e.ErrorMessage())
	}
	switch e := err.(type) { //nolint:errorlint // walks the tree itself: errors.As would stop at the first
	case interface{ Unwrap() error }:
		out = append(out, said(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			out = append(out, said(inner)...)
		}
	}
	return out
}
