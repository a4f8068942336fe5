package invoke

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/queue"
	"github.com/stackflow/relatch/internal/request"
	"github.com/stackflow/relatch/internal/telemetry"
	"github.com/stackflow/relatch/internal/worker"
)

// Override takes people's requests. Who asks is what AWS proves, and nothing else.
type Override struct {
	// Pools are those that Relatch guards.
	Pools     []mfa.PoolID
	Users     Directory
	Book      Book
	Policy    worker.PolicySource
	Audit     Looks
	Telemetry *telemetry.Telemetry
	Now       func() time.Time
}

// Directory is what Override needs of the user pools.
type Directory interface {
	User(context.Context, mfa.PoolID, mfa.Sub) (mfa.User, error)
}

// Book is what Override needs of the ledger; workertest.Book has the contract.
type Book interface {
	worker.Loader
	Justifications(context.Context, mfa.PoolID, mfa.Sub) ([]mfa.Justification, error)
	Justify(context.Context, mfa.PoolID, mfa.Sub, mfa.Justification) (mfa.Justification, error)
	Approve(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, id string, a mfa.Approval) (mfa.Approval, error)
	TicketUse(ctx context.Context, ticket string) (*mfa.TicketUse, error)
}

// Looks has audit look at users.
type Looks interface {
	Look(context.Context, queue.Look) error
}

// Invoke answers one request to the function URL, as package request has it. What
// went wrong is in the answer and in the log, and no error of the invocation.
func (o *Override) Invoke(ctx context.Context, e events.LambdaFunctionURLRequest) (events.LambdaFunctionURLResponse, error) {
	c := conversation{Override: o, told: telemetry.Request{By: caller(e)}, now: o.Now().UTC().Truncate(time.Second)}
	content, answer := "application/json", any(nil)
	err := inItsTime(ctx, o.Now(), 1, func(ctx context.Context) error {
		a, err := c.take(ctx, e)
		answer = a
		return err
	})
	if err != nil {
		problem, refused := errors.AsType[*request.Problem](err)
		if !refused {
			c.told.Err = err
			problem = request.New(request.Unavailable, "it could not be done now; send the same request again: it will be done once")
		}
		content, answer = "application/problem+json", problem
		c.told.Status, c.told.Problem = problem.Status, problem.Type.Name()
	}
	o.Telemetry.Request(c.told)
	body, err := json.Marshal(answer)
	return events.LambdaFunctionURLResponse{
		StatusCode: c.told.Status, Headers: map[string]string{"content-type": content, "cache-control": "no-store"}, Body: string(body),
	}, err
}

// caller is who signed the request, or "".
func caller(e events.LambdaFunctionURLRequest) string {
	if a := e.RequestContext.Authorizer; a != nil && a.IAM != nil {
		return a.IAM.UserARN
	}
	return ""
}

// conversation is one request and what becomes of it.
type conversation struct {
	*Override
	request.Request
	now  time.Time
	told telemetry.Request
}

// take does what is asked. An error is a *request.Problem if it was refused.
func (c *conversation) take(ctx context.Context, e events.LambdaFunctionURLRequest) (request.Answer, error) {
	if c.told.By == "" {
		return request.Answer{}, request.New(request.Unidentified, "sign the request: the function URL takes AWS_IAM only")
	}
	body, err := bodyOf(e)
	if err == nil {
		c.Request, err = request.Read(body)
	}
	if err != nil {
		return request.Answer{}, err
	}
	c.told.Do = string(c.Do)
	if !slices.Contains(c.Pools, c.Pool) {
		return request.Answer{}, request.New(request.UnknownPool, "Relatch does not guard the pool "+string(c.Pool))
	}
	c.told.Pool = c.Pool
	var answer request.Answer
	switch c.Do {
	case request.Justify:
		answer, err = c.justify(ctx)
	case request.Approve:
		answer, err = c.approve(ctx)
	default:
		answer, err = c.end(ctx)
	}
	answer.Pool, answer.Sub = c.Pool, c.Sub
	return answer, err
}

// bodyOf takes the body out of the request.
func bodyOf(e events.LambdaFunctionURLRequest) ([]byte, error) {
	media, _, err := mime.ParseMediaType(e.Headers["content-type"]) // a function URL has header names in lower case
	if e.RequestContext.HTTP.Method != http.MethodPost || strings.Trim(e.RawPath, "/") != "" || err != nil || media != "application/json" {
		return nil, request.New(request.Malformed, "send a POST to / with content-type application/json")
	}
	if !e.IsBase64Encoded {
		return []byte(e.Body), nil
	}
	body, err := base64.StdEncoding.DecodeString(e.Body)
	if err != nil {
		return nil, request.New(request.Malformed, "the body is not the base64 that it is said to be")
	}
	return body, nil
}

// justify records a justification that could count, and has the user looked at.
func (c *conversation) justify(ctx context.Context) (request.Answer, error) {
	user, err := c.user(ctx)
	if err != nil {
		return request.Answer{}, err
	}
	policy, err := worker.Rules(ctx, c.Policy, c.Book)
	if err != nil {
		return request.Answer{}, err
	}
	j := c.Record(c.told.By, c.now)
	if user.NamedIn(j.Reason) || user.NamedIn(j.Ticket) {
		return request.Answer{}, request.Named()
	}
	if failed := mfa.Check(j, policy); len(failed) > 0 {
		return request.Answer{}, request.Failed(failed, policy)
	}
	standing, err := c.standing(ctx)
	if err != nil {
		return request.Answer{}, err
	}
	if past := standing.UsedBy(j.ID); past != nil {
		used := mfa.RuleUsed.Says(mfa.Facts{Justification: j, Used: past})
		return request.Answer{}, request.New(request.UsedJustification, used+"; say what is different now", mfa.RuleUsed)
	}
	use, err := c.Book.TicketUse(ctx, j.Ticket)
	if err != nil {
		return request.Answer{}, err
	}
	if use != nil && !use.Of(c.Pool, c.Sub) {
		return request.Answer{}, request.Used(j.Ticket, *use)
	}
	before, err := c.recorded(ctx, j.ID)
	if err != nil {
		return request.Answer{}, err
	}
	if j, err = c.Book.Justify(ctx, c.Pool, c.Sub, j); err != nil {
		return request.Answer{}, err
	}
	c.told.ID = j.ID
	if j.TicketOf != nil { // somebody was faster
		problem := request.Used(j.Ticket, *j.TicketOf)
		problem.ID = j.ID
		return request.Answer{}, problem
	}
	c.told.Status = http.StatusCreated
	if before != nil {
		c.told.Status, j.Approver, j.ApprovedAt = http.StatusOK, before.Approver, before.ApprovedAt
	}
	return tried(standing, j, user, policy, j.At), c.look(ctx, mfa.Justified)
}

// tried is the answer about a justification as the next look will find it.
func tried(s mfa.Standing, j mfa.Justification, u mfa.User, p mfa.Policy, at time.Time) request.Answer {
	m := s.Try(j, u, p)
	answer := request.Answer{ID: j.ID, At: at, Approver: j.Approver, FailedRules: m.Failed, Why: m.Why}
	if s.Override != nil {
		answer.Override = s.Override.ID
	}
	return answer
}

// approve records that the caller approves, and has the user looked at.
func (c *conversation) approve(ctx context.Context) (request.Answer, error) {
	user, err := c.user(ctx)
	if err != nil {
		return request.Answer{}, err
	}
	j, err := c.recorded(ctx, c.Justification)
	if err != nil {
		return request.Answer{}, err
	}
	if j == nil {
		return request.Answer{}, request.New(request.UnknownJustification, "the user has no justification "+c.Justification)
	}
	c.told.ID = j.ID
	policy, err := worker.Rules(ctx, c.Policy, c.Book)
	if err != nil {
		return request.Answer{}, err
	}
	standing, err := c.standing(ctx)
	if err != nil {
		return request.Answer{}, err
	}
	var actor mfa.Actor
	if standing.Override != nil {
		actor = standing.Override.Actor
	}
	if !j.ApprovableBy(c.told.By, actor, user) {
		return request.Answer{}, request.New(request.FailedRules, "the approver is the author or the user; somebody else must approve", mfa.RuleApprover)
	}
	first, err := c.Book.Approve(ctx, c.Pool, c.Sub, j.ID, mfa.Approval{Approver: c.told.By, At: c.now})
	if err != nil {
		return request.Answer{}, err
	}
	if first.Approver != c.told.By {
		return request.Answer{}, request.New(request.ApprovedAlready, fmt.Sprintf("%s was approved by %s; the first approval stands", j.ID, first.Approver))
	}
	c.told.Status = http.StatusCreated
	if j.Approver != "" {
		c.told.Status = http.StatusOK
	}
	j.Approver, j.ApprovedAt = first.Approver, first.At
	return tried(standing, *j, user, policy, first.At), c.look(ctx, mfa.Justified)
}

// end has the open override ended.
func (c *conversation) end(ctx context.Context) (request.Answer, error) {
	standing, err := c.standing(ctx)
	if err != nil {
		return request.Answer{}, err
	}
	if standing.Override == nil {
		return request.Answer{}, request.New(request.NothingOpen, "no override of the user is open")
	}
	c.told.Sub, c.told.Status = c.Sub, http.StatusAccepted
	return request.Answer{At: c.now, Override: standing.Override.ID}, c.look(ctx, mfa.Asked)
}

// user is the user, whom there must be and whose MFA must be Cognito's.
func (c *conversation) user(ctx context.Context) (mfa.User, error) {
	u, err := c.Users.User(ctx, c.Pool, c.Sub)
	switch {
	case err != nil:
		return u, fmt.Errorf("look up the user: %w", err)
	case !u.Found:
		return u, request.New(request.UnknownUser, fmt.Sprintf("no user of pool %s has the sub %s", c.Pool, c.Sub))
	}
	c.told.Sub = c.Sub
	if u.Federated {
		return u, request.New(request.FederatedUser, "the user signs in with an identity provider, which has the user's MFA")
	}
	return u, nil
}

func (c *conversation) standing(ctx context.Context) (mfa.Standing, error) {
	loaded, err := c.Book.Load(ctx, worker.Query{Journal: mfa.UserJournal(c.Pool, c.Sub)})
	return loaded.Standing, err
}

// recorded is the user's justification of the ID, nil if there is none.
func (c *conversation) recorded(ctx context.Context, id string) (*mfa.Justification, error) {
	all, err := c.Book.Justifications(ctx, c.Pool, c.Sub)
	if i := slices.IndexFunc(all, func(j mfa.Justification) bool { return j.ID == id }); i >= 0 {
		return &all[i], err
	}
	return nil, err
}

func (c *conversation) look(ctx context.Context, kind mfa.Kind) error {
	err := c.Audit.Look(ctx, queue.Look{Kind: kind, Pool: c.Pool, Sub: c.Sub, By: c.told.By, At: c.now})
	if err != nil {
		return fmt.Errorf("ask audit to look: %w", err)
	}
	return nil
}
