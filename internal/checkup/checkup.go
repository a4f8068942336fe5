// Package checkup finds out whether Relatch can do its work in an AWS account:
// the product's minimum requirements, and Relatch's own resources. What AWS says
// is fetched by a Doctor; what it means is for functions that ask nobody.
//
// It changes nothing, and it refuses to know how a user stands.
package checkup

import (
	"context"
	"errors"
	"fmt"
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
	// Remedy is the command that mends it, or what a person has to do.
	Remedy string `json:"remedy,omitempty"`
}

// check is one kind of thing with how to look at it.
type check struct {
	name string
	look func(context.Context) ([]Finding, error)
}

// run runs the checks at once and returns what they found, in their order. One
// that could not look is a warning, never silence.
func run(ctx context.Context, checks []check) []Finding {
	found := make([][]Finding, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() {
			seen, err := c.look(ctx)
			if err != nil {
				seen = append(seen, unseen(err))
			}
			if len(seen) == 0 {
				seen = []Finding{warn("nothing was looked at", "")}
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
	var out []Finding
	for _, seen := range found {
		out = append(out, seen...)
	}
	return out
}

// unseen is the finding of what could not be looked at.
func unseen(err error) Finding {
	api, ok := errors.AsType[smithy.APIError](err)
	switch {
	case ok && strings.Contains(api.ErrorCode(), "AccessDenied"), ok && api.ErrorCode() == "NotAuthorizedException":
		return warn("could not be looked at: you may not: "+api.ErrorMessage(), "have yourself be allowed what the message names")
	case ok:
		return warn(fmt.Sprintf("could not be looked at: %s: %s", api.ErrorCode(), api.ErrorMessage()), "")
	default:
		return warn("could not be looked at: "+err.Error(), "")
	}
}

func good(what string, args ...any) Finding {
	return Finding{State: OK, What: fmt.Sprintf(what, args...)}
}

func warn(what, remedy string) Finding { return Finding{State: Warning, What: what, Remedy: remedy} }

func bad(what, remedy string) Finding { return Finding{State: Failed, What: what, Remedy: remedy} }

// missing reports whether AWS says that there is no such thing.
func missing(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	switch api.ErrorCode() {
	case "ResourceNotFoundException", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "TableNotFoundException":
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
