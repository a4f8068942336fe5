package dynamo

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/stackflow/relatch/internal/dynamotest"
)

const testTable = "relatch"

// connect returns a client of a database of its own, with the table in it.
func connect(t *testing.T, transport http.RoundTripper) *dynamodb.Client {
	t.Helper()
	config := dynamotest.Start(t)
	config.HTTPClient = &http.Client{Transport: transport}
	client := dynamodb.NewFromConfig(config)
	if _, err := client.CreateTable(t.Context(), Table(testTable)); err != nil {
		t.Fatal(err)
	}
	return client
}

// counter counts the requests that go over the wire, and remembers what they ask for.
type counter struct {
	mu    sync.Mutex
	calls []string
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.calls = append(c.calls, r.Header.Get("X-Amz-Target"))
	c.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}

// since returns what was asked for since it was called last.
func (c *counter) since() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = nil
	return calls
}

// forgetful loses the response to the first attempt of every call: a write has
// happened, and nobody knows.
type forgetful struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (f *forgetful) RoundTrip(r *http.Request) (*http.Response, error) {
	out, err := http.DefaultTransport.RoundTrip(r)
	id := r.Header.Get("Amz-Sdk-Invocation-Id")
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || f.seen[id] || strings.HasSuffix(r.Header.Get("X-Amz-Target"), "Table") {
		return out, err
	}
	f.seen[id] = true
	return nil, errors.Join(out.Body.Close(), &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET})
}
