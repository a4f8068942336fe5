// Package faulttest is a wire that fails: an HTTP transport between the AWS SDK
// and a server, which counts the calls and spoils some of them.
//
// It refuses to know what the calls are for and what must come of it.
package faulttest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Kind is what becomes of a spoiled call.
type Kind string

// The kinds. All attempts of the call fail, so that the SDK's own retries do not
// help, but for Mended.
const (
	// Unreachable: the connection times out before anything is sent.
	Unreachable Kind = "unreachable"
	// Lost: the first attempt is sent and done, but the connection is reset before
	// its answer; the others do not get through.
	Lost Kind = "lost"
	// Internal: the service answers with status 500, and has done nothing.
	Internal Kind = "internal"
	// Throttled: the service's own error for too many requests.
	Throttled Kind = "throttled"
	// Conflict: DynamoDB cancels the transaction because of another one. Of any
	// other call it is Throttled.
	Conflict Kind = "conflict"
	// Mended: like Lost, but the SDK's next attempt gets through.
	Mended Kind = "mended"
)

// Call is one call of the SDK, with all its attempts.
type Call struct {
	Service   string // as its endpoint is called, such as "dynamodb"
	Operation string // as the API Reference calls it; of the scheduler the HTTP method
}

func (c Call) String() string { return c.Service + " " + c.Operation }

// writes are the operations that change something.
var writes = []string{
	"TransactWriteItems", "PutItem", "SendMessage", "PutEvents", "AdminSetUserMFAPreference", "AdminUserGlobalSignOut",
	http.MethodPost, http.MethodPut, http.MethodDelete,
}

// Writes reports whether the call may change something.
func (c Call) Writes() bool { return slices.Contains(writes, c.Operation) }

// Wire is the transport. It may be used by many at once.
type Wire struct {
	next http.RoundTripper

	mu       sync.Mutex
	calls    []Call
	numbers  map[string]int // by invocation id
	spoiled  map[int]Kind
	attempts map[int]int
}

// New returns a wire that spoils nothing.
func New(next http.RoundTripper) *Wire {
	w := &Wire{next: next}
	w.Spoil(nil)
	return w
}

// Spoil counts the calls from 1 again, and spoils those of the numbers.
func (w *Wire) Spoil(numbers map[int]Kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls, w.numbers, w.spoiled, w.attempts = nil, map[string]int{}, numbers, map[int]int{}
}

// Calls returns those made since Spoil, in the order of their first attempts.
func (w *Wire) Calls() []Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// RoundTrip implements http.RoundTripper.
func (w *Wire) RoundTrip(r *http.Request) (*http.Response, error) {
	call, kind, first := w.count(r)
	switch {
	case kind == "", kind == Mended && !first:
		return w.next.RoundTrip(r)
	case first && (kind == Lost || kind == Mended):
		answer, err := w.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err == nil {
			err = syscall.ECONNRESET
		}
		_ = answer.Body.Close() // it is lost anyway
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: err}
	case kind == Internal:
		return refuse(r, http.StatusInternalServerError, "InternalServerError", ""), nil
	case kind == Conflict && call.Operation == "TransactWriteItems":
		return refuse(r, http.StatusBadRequest, "TransactionCanceledException", `,"CancellationReasons":[{"Code":"TransactionConflict"}]`), nil
	case kind == Throttled, kind == Conflict:
		return refuse(r, http.StatusBadRequest, throttling[call.Service], ""), nil
	default:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
}

// count returns the call, what is to become of it and whether this is its first attempt.
func (w *Wire) count(r *http.Request) (call Call, kind Kind, first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := r.Header.Get("Amz-Sdk-Invocation-Id")
	number, known := w.numbers[id]
	if !known {
		number = len(w.calls) + 1
		w.numbers[id], w.calls = number, append(w.calls, callOf(r))
	}
	call = w.calls[number-1]
	w.attempts[number]++
	return call, w.spoiled[number], w.attempts[number] == 1
}

// callOf reads the call from its signature and from the header that names the
// operation, which the scheduler's calls do not have.
func callOf(r *http.Request) Call {
	c := Call{Operation: r.Method}
	// AWS4-HMAC-SHA256 Credential=key/date/region/service/aws4_request, …
	if scope := strings.Split(r.Header.Get("Authorization"), "/"); len(scope) > 3 {
		c.Service = scope[3]
	}
	if _, operation, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok {
		c.Operation = operation
	}
	return c
}

// throttling is what each service says of too many requests.
var throttling = map[string]string{
	"dynamodb": "ProvisionedThroughputExceededException", "cognito-idp": "TooManyRequestsException",
	"events": "ThrottlingException", "scheduler": "ThrottlingException", "sqs": "RequestThrottled",
}

// refuse is an error as a service answers it.
func refuse(r *http.Request, status int, code, more string) *http.Response {
	if r.Body != nil {
		_ = r.Body.Close() // a transport must
	}
	body := fmt.Sprintf(`{"__type":%q,"message":"made up by faulttest"%s}`, code, more)
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"X-Amzn-Errortype": {code}, "Content-Type": {r.Header.Get("Content-Type")}},
		Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}
