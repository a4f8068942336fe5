package lambdatest

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	hello = "./internal/lambdatest/testdata/hello"
	probe = "./internal/lambdatest/testdata/probe"
)

func TestMain(m *testing.M) { Main(m) }

func start(t *testing.T, env ...string) *Function {
	t.Helper()
	return Start(t, Build(t, probe), env...)
}

func invoke(t *testing.T, f *Function, event string) string {
	t.Helper()
	payload, err := f.Invoke(t.Context(), []byte(event))
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

func TestAnAnswerIsReturned(t *testing.T) {
	f := Start(t, Build(t, hello))
	if got := invoke(t, f, `{}`); got != `"hello"` {
		t.Errorf("answer %s", got)
	}
	if took := f.FirstResponse(); took <= 0 {
		t.Errorf("first answer after %v", took)
	}
}

func TestOneProcessHasAllEvents(t *testing.T) {
	f := start(t)
	for _, want := range []string{"1", "2"} {
		if got := invoke(t, f, `{"Do":"count"}`); got != want {
			t.Errorf("answer %s, want %s", got, want)
		}
	}
}

func TestConcurrentInvocationsWaitForTheirTurn(t *testing.T) {
	f := start(t)
	answers := make([]string, 20)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			payload, err := f.Invoke(t.Context(), []byte(`{"Do":"count"}`))
			if err != nil {
				t.Error(err)
			}
			answers[i] = string(payload)
		})
	}
	all.Wait()
	slices.Sort(answers)
	if different := len(slices.Compact(answers)); different != 20 {
		t.Errorf("%d different answers to 20 events", different)
	}
}

func TestAnInvocationGivenUpBeforeItsTurnLeavesTheFunctionAlone(t *testing.T) {
	lives := listen(t)
	f := start(t)
	first := make(chan error, 1)
	go func() {
		_, err := f.Invoke(t.Context(), lives.event("hang"))
		first <- err
	}()
	lives.accept()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Invoke(ctx, []byte(`{"Do":"count"}`)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := lives.conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-first; err != nil {
		t.Errorf("the invocation before: %v", err)
	}
}

func TestTheFunctionIsToldItsDeadlineAndRequest(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	f := start(t)
	payload, err := f.Invoke(ctx, []byte(`{"Do":"context"}`))
	if err != nil {
		t.Fatal(err)
	}
	type told struct {
		Deadline int64  `json:"deadline"`
		ID       string `json:"id"`
		ARN      string `json:"arn"`
	}
	var got told
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	deadline, _ := ctx.Deadline()
	want := told{deadline.UnixMilli(), "00000000-0000-4000-8000-000000000001", arn}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutADeadlineTheFunctionHasAMinute(t *testing.T) {
	f := start(t)
	before := time.Now()
	payload, err := f.Invoke(context.Background(), []byte(`{"Do":"context"}`))
	if err != nil {
		t.Fatal(err)
	}
	var told struct{ Deadline int64 }
	if err := json.Unmarshal(payload, &told); err != nil {
		t.Fatal(err)
	}
	deadline := time.UnixMilli(told.Deadline)
	if earliest := before.Add(timeout).Truncate(time.Millisecond); deadline.Before(earliest) || deadline.After(time.Now().Add(timeout)) {
		t.Errorf("deadline %v after %v", deadline, before)
	}
}

func TestTheEnvironmentIsLambdasAndTheOneGiven(t *testing.T) {
	t.Setenv("SECRET_OF_THE_TEST", "1")
	f := start(t, "TABLE=ledger", "AWS_REGION=eu-central-1")
	var env []string
	if err := json.Unmarshal([]byte(invoke(t, f, `{"Do":"environment"}`)), &env); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"TABLE=ledger", "AWS_REGION=eu-central-1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128"} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %q", want, env)
		}
	}
	for _, v := range env {
		if strings.HasPrefix(v, "SECRET_OF_THE_TEST=") || strings.HasPrefix(v, "HOME=") || v == "AWS_REGION=us-east-1" {
			t.Errorf("%s in its environment", v)
		}
	}
}

func TestWhatIsPrintedIsThereWithTheAnswer(t *testing.T) {
	f := start(t)
	invoke(t, f, `{"Do":"print"}`)
	if got := f.Output(); got != "to standard output\nto standard error\n" {
		t.Errorf("printed %q", got)
	}
}

func TestAnErrorOfTheFunctionIsReturned(t *testing.T) {
	f := start(t)
	_, err := f.Invoke(t.Context(), []byte(`{"Do":"fail"}`))
	if diff := cmp.Diff(error(&Error{Type: "fault", Message: "as asked"}), err); diff != "" {
		t.Error(diff)
	}
	if got := invoke(t, f, `{"Do":"count"}`); got != "2" {
		t.Errorf("the event after an error is number %s", got)
	}
}

func TestAPanicIsReturnedAndTheFunctionExits(t *testing.T) {
	f := start(t)
	_, err := f.Invoke(t.Context(), []byte(`{"Do":"panic"}`))
	if diff := cmp.Diff(error(&Error{Type: "string", Message: "as asked"}), err); diff != "" {
		t.Error(diff)
	}
	_, err = f.Invoke(t.Context(), []byte(`{"Do":"count"}`))
	wantError(t, err, "function exited (exit status 1)", "as asked")
}

func TestAnExitWithoutAnAnswerSaysWhatWasPrinted(t *testing.T) {
	_, err := start(t).Invoke(t.Context(), []byte(`{"Do":"exit"}`))
	wantError(t, err, "function exited (exit status 7)", "on my way out")
	if _, ok := errors.AsType[*Error](err); ok {
		t.Errorf("%v is an error that the function reported", err)
	}
}

func TestAnExitBeforeTheFirstEventSaysSo(t *testing.T) {
	_, err := start(t, "INIT=exit").Invoke(t.Context(), []byte(`{}`))
	wantError(t, err, "function exited (exit status 1) before it asked for an event", "TABLE is not set")
}

func TestAnInitErrorIsReturned(t *testing.T) {
	_, err := start(t, "INIT=report").Invoke(t.Context(), []byte(`{}`))
	wantError(t, err, "function exited (exit status 3) with an init error")
	got, _ := errors.AsType[*Error](err)
	if diff := cmp.Diff(&Error{Type: "Config", Message: "TABLE is not set"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAFunctionWhoseInvocationIsCancelledIsKilled(t *testing.T) {
	lives := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	f := start(t)
	go func() {
		lives.accept()
		cancel()
	}()
	_, err := f.Invoke(ctx, lives.event("hang"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	wantError(t, err, "function exited (signal: killed)")
	lives.wait()
}

func TestWithSIGTERMTheCallbackRunsBeforeTheEnd(t *testing.T) {
	f := start(t, "SIGTERM=exit")
	invoke(t, f, `{"Do":"count"}`)
	if state := f.Terminate(); state.ExitCode() != 0 {
		t.Errorf("the function ended with %v", state)
	}
	if got := f.Output(); got != "told to end\n" {
		t.Errorf("printed %q", got)
	}
}

// WithContext's context ends the handler, and neither the loop nor the process.
func TestAFunctionThatDoesNotExitOnSIGTERMIsKilled(t *testing.T) {
	lives := listen(t)
	f := start(t, "SIGTERM=cancel")
	answered := make(chan error, 1)
	go func() {
		_, err := f.Invoke(t.Context(), lives.event("wait"))
		answered <- err
	}()
	lives.accept()
	if state := f.Terminate(); state.String() != "signal: killed" {
		t.Errorf("the function ended with %v", state)
	}
	if diff := cmp.Diff(error(&Error{Type: "errorString", Message: "context canceled"}), <-answered); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutAnExtensionThereIsNoSIGTERM(t *testing.T) {
	f := start(t)
	invoke(t, f, `{"Do":"count"}`)
	if state := f.Terminate(); state.String() != "signal: killed" {
		t.Errorf("the function ended with %v", state)
	}
}

func TestAFunctionEndsWithItsTest(t *testing.T) {
	lives := listen(t)
	abandoned := make(chan error, 1)
	t.Run("abandons it", func(t *testing.T) {
		f := start(t)
		go func() {
			_, err := f.Invoke(context.Background(), lives.event("hang"))
			abandoned <- err
		}()
		lives.accept()
	})
	lives.wait()
	wantError(t, <-abandoned, "signal: killed")
}

func TestTheZipHasTheProgramToRun(t *testing.T) {
	program := Build(t, hello)
	var file bytes.Buffer
	if err := pack(&file, program); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if len(z.File) != 1 || z.File[0].Name != "bootstrap" || z.File[0].Mode() != 0o755 {
		t.Fatalf("in the zip: %+v", z.File)
	}
	in, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	got, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("what is in the zip is not the program")
	}
}

func TestZipSizeIsThatOfASmallFunction(t *testing.T) {
	if size := ZipSize(t, hello); size < 1<<20 || size > 4<<20 {
		t.Errorf("%d bytes", size)
	}
}

func TestAProgramIsBuiltOnce(t *testing.T) {
	if first, second := Build(t, hello), Build(t, hello); first != second {
		t.Errorf("built %s and %s", first, second)
	}
}

func TestAProgramThatDoesNotCompileSaysWhy(t *testing.T) {
	_, err := build(target{pkg: "./internal/lambdatest/testdata/none"})
	wantError(t, err, "go list", "testdata/none")
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want %q in it", err, part)
		}
	}
}

// life is what a function connects to, so that its end is seen.
type life struct {
	net.Listener
	t    *testing.T
	conn net.Conn
}

func listen(t *testing.T) *life {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &life{Listener: l, t: t}
}

func (l *life) event(do string) []byte {
	return fmt.Appendf(nil, `{"Do":%q,"Address":%q}`, do, l.Addr())
}

// accept returns when the function has the event.
func (l *life) accept() {
	conn, err := l.Accept()
	if err != nil {
		l.t.Error(err)
		return
	}
	l.conn = conn
	l.t.Cleanup(func() { _ = conn.Close() })
}

// wait returns when the function that was accepted is no more.
func (l *life) wait() {
	if _, err := l.conn.Read(make([]byte, 1)); err == nil {
		l.t.Error("the function wrote something")
	}
}
