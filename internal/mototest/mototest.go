// Package mototest starts moto_server for the tests of the adapters, so that
// they talk over the wire to software that was not written here.
//
// It refuses to know what the tests ask of it: it gives them an aws.Config.
package mototest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"
)

// The account that moto plays.
const (
	Region  = "us-east-1"
	Account = "123456789012"
)

// startup is how long a server may take to answer, on a busy machine.
const startup = time.Minute

// Start starts a server of the test's own, waits until it answers, and stops it
// when the test ends. Without moto_server the test is skipped, or fails where
// RELATCH_SERVERS is "required".
func Start(t testing.TB) aws.Config {
	t.Helper()
	path, err := exec.LookPath("moto_server")
	if err != nil {
		const missing = "moto_server is not on PATH: python3 -m pip install 'moto[server]>=5.2,<5.3'"
		if os.Getenv("RELATCH_SERVERS") == "required" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	for range 3 { // somebody else may take the port before the server does
		endpoint, err := start(t, path)
		if err == nil {
			return Config(endpoint)
		}
		t.Log(err)
	}
	t.Fatal("moto_server does not start")
	return aws.Config{}
}

// Lost reports whether the error is that what a test makes exists already. On a
// busy machine moto, which closes each connection, sometimes does so before its
// answer has been read; then the SDK asks again, and finds what it made.
func Lost(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && (strings.Contains(e.ErrorCode(), "Exists") || e.ErrorCode() == "ConflictException")
}

// Gone reports whether the error is that what a test deletes is not there: by the
// same repeat, because it is deleted already.
func Gone(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && (e.ErrorCode() == "UserNotFoundException" || e.ErrorCode() == "ResourceNotFoundException")
}

// Config is that of clients of the server at the endpoint.
func Config(endpoint string) aws.Config {
	return aws.Config{
		Region: Region, BaseEndpoint: &endpoint, HTTPClient: &http.Client{},
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
}

func start(t testing.TB, path string) (string, error) {
	t.Helper()
	port, err := freePort(t.Context())
	if err != nil {
		return "", err
	}
	// The context of the test ends before its clean-up, which stops the server.
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	server := exec.CommandContext(ctx, path, "-H", "127.0.0.1", "-p", port) //nolint:gosec // G204: the moto_server on PATH
	if err := server.Start(); err != nil {
		stop()
		return "", fmt.Errorf("start moto_server: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Wait(); err != nil && ctx.Err() == nil {
			t.Logf("moto_server: %v", err)
		}
	}()
	end := func() {
		stop()
		<-ended
	}
	endpoint := "http://127.0.0.1:" + port
	if err := answers(t.Context(), endpoint, ended); err != nil {
		end()
		return "", err
	}
	t.Cleanup(end)
	return endpoint, nil
}

func freePort(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// answers waits until the server answers, asking ever less often.
func answers(ctx context.Context, endpoint string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait += wait / 4 {
		if reachable(ctx, endpoint) {
			return nil
		}
		select {
		case <-ended:
			return errors.New("moto_server ended before it answered")
		case <-ctx.Done():
			return fmt.Errorf("moto_server does not answer: %w", ctx.Err())
		case <-time.After(wait):
		}
	}
}

func reachable(ctx context.Context, endpoint string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/moto-api/", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
