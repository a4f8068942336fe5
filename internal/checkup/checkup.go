// Package checkup finds out whether Relatch can do its work in an AWS account:
// the product's minimum requirements, and Relatch's own resources. What AWS says
// is fetched by a Doctor; what it means is for functions that ask nobody.
//
// It changes nothing, and it refuses to know how a user stands.
package checkup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/aws/smithy-go"
)

// Schema names the format of the findings as JSON.
const Schema = "relatch.doctor/1"

// State is how something is.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning" // works, but not as it should; or could not be looked at
	Failed  State = "failed"
)

// Finding is how one thing is that was looked at.
type Finding struct {
	Check string `json:"check"` // what kind of thing, such as "pool"
	State State  `json:"state"`
	What  string `json:"what"`
	// Remedy is the command that mends it, for a POSIX shell, as it can be pasted.
	Remedy string `json:"remedy,omitempty"`
	// Advice is what a person has to do besides, or instead.
	Advice string `json:"advice,omitempty"`
}

func finding(s State, what string, args []any) Finding {
	return Finding{State: s, What: fmt.Sprintf(what, args...)}
}

func good(what string, args ...any) Finding { return finding(OK, what, args) }

func warn(what string, args ...any) Finding { return finding(Warning, what, args) }

func bad(what string, args ...any) Finding { return finding(Failed, what, args) }

// mend is the finding with its remedy, whose arguments are quoted for the shell.
func (f Finding) mend(command string, args ...string) Finding {
	quoted := make([]any, len(args))
	for i, a := range args {
		quoted[i] = quote(a)
	}
	f.Remedy = fmt.Sprintf(command, quoted...)
	return f
}

func (f Finding) advise(text string, args ...any) Finding {
	f.Advice = fmt.Sprintf(text, args...)
	return f
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:=,@+-]+$`)

// quote makes the text one word of a POSIX shell.
func quote(text string) string {
	if plain.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// begins is where a command of a remedy begins.
var begins = regexp.MustCompile(`(?m)(^|&& |\$\()(aws|relatch [a-z]+) `)

// addressed gives each command of the remedy the flags by which it asks the same
// AWS as Doctor, and those of relatch the others too.
func addressed(remedy string, flags, own []string) string {
	return begins.ReplaceAllStringFunc(remedy, func(begin string) string {
		given := flags
		if strings.Contains(begin, "relatch") {
			given = slices.Concat(flags, own)
		}
		for _, flag := range given {
			begin += quote(flag) + " "
		}
		return begin
	})
}

// check is one kind of thing with how to look at it.
type check struct {
	name string
	// look says what it found, and joins what kept it from finding more.
	look func(context.Context) ([]Finding, error)
}

// run runs the checks at once and returns what they found, the worst first, else
// in their order. What could not be looked at is a warning, never silence.
func run(ctx context.Context, checks []check) []Finding {
	found := make([][]Finding, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() {
			seen, err := c.look(ctx)
			for _, err := range parts(err) {
				if f := unseen(err); !slices.Contains(seen, f) {
					seen = append(seen, f)
				}
			}
			if len(seen) == 0 {
				seen = []Finding{warn("nothing was looked at")}
			}
			for j := range seen {
				if seen[j].Check == "" {
					seen[j].Check = c.name
				}
			}
			found[i] = seen
		})
	}
	all.Wait()
	out := slices.Concat(found...)
	rank := map[State]int{Failed: 0, Warning: 1, OK: 2}
	slices.SortStableFunc(out, func(a, b Finding) int { return cmp.Compare(rank[a.State], rank[b.State]) })
	return out
}

// parts are the errors that were joined.
func parts(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, parts(e)...)
	}
	return all
}

// unseen is the finding of what could not be looked at.
func unseen(err error) Finding {
	api, ok := errors.AsType[smithy.APIError](err)
	switch {
	case ok && denied(api.ErrorCode()):
		return warn("could not be looked at: you may not %s (%s)", action(err), api.ErrorMessage()).
			advise("your role needs that permission; the policy in the stack's output AuditorPolicyArn has it")
	case ok:
		return warn("could not be looked at: %s answers %s: %s", action(err), api.ErrorCode(), api.ErrorMessage())
	default:
		return warn("could not be looked at: %s", err)
	}
}

// denied reports whether the error code means that who asks may not.
func denied(code string) bool {
	return strings.Contains(code, "AccessDenied") || slices.Contains([]string{
		"NotAuthorizedException", "AuthorizationError", "AuthorizationErrorException", "UnauthorizedOperation",
	}, code)
}

// action is the IAM action of the call that failed, such as "sns:GetTopicAttributes".
func action(err error) string {
	op, ok := errors.AsType[*smithy.OperationError](err)
	if !ok {
		return "AWS"
	}
	service := strings.ToLower(op.Service())
	switch service {
	case "cognito identity provider":
		service = "cognito-idp"
	case "eventbridge":
		service = "events"
	}
	return service + ":" + op.Operation()
}

// missing reports whether AWS says that there is no such thing.
func missing(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	switch api.ErrorCode() {
	case "ResourceNotFoundException", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "TableNotFoundException",
		"NotFound", "NotFoundException":
		return true
	default:
		return false
	}
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
