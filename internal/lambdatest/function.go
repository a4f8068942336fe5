package lambdatest

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// timeout is an invocation's where its context has no deadline.
	timeout = time.Minute
	// shutdown is how long a function may go on after SIGTERM. Lambda gives one
	// with an internal extension 500 ms; a test's machine may be busy.
	shutdown = 2 * time.Second

	name = "function"
	arn  = "arn:aws:lambda:us-east-1:123456789012:function:" + name
)

// Function is a running function: one execution environment of Lambda.
type Function struct {
	cmd     *exec.Cmd
	printed string // the path of the file
	started time.Time
	exited  chan struct{}

	turn   chan struct{} // has the invocation that is under way
	events chan *invocation

	mu         sync.Mutex
	number     int         // of invocations
	current    *invocation // handed over and not yet answered
	asked      bool        // for an event
	registered bool        // an extension
	initError  *Error
	first      time.Duration
}

// Error is what a function says of an invocation that failed, or of its own
// initialisation.
type Error struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

func (e *Error) Error() string { return e.Type + ": " + e.Message }

// Start starts the program and kills it when the test ends, or when the test's
// process does (that only on Linux). Its environment is env and what Lambda sets,
// which env may override; nothing is taken from the test's own.
// What it printed is logged if the test fails.
func Start(t testing.TB, program string, env ...string) *Function {
	t.Helper()
	f := &Function{
		exited: make(chan struct{}), turn: make(chan struct{}, 1), events: make(chan *invocation),
	}
	server := httptest.NewServer(f.runtimeAPI())
	t.Cleanup(server.Close)
	// A file and no pipe: what was printed before an answer is there when the
	// answer is.
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	f.printed = output.Name()
	f.cmd = exec.Command(program) //nolint:gosec // G204: the program that the test has built
	f.cmd.Dir = filepath.Dir(program)
	f.cmd.Stdout, f.cmd.Stderr = output, output
	f.cmd.SysProcAttr = dieWithParent()
	f.cmd.Env = append(environment(f.cmd.Dir), env...) // of two with one name the last one counts
	f.cmd.Env = append(f.cmd.Env, "AWS_LAMBDA_RUNTIME_API="+server.Listener.Addr().String())
	if err := f.start(); err != nil {
		t.Fatalf("start function: %v", err)
	}
	t.Cleanup(func() {
		f.Kill()
		if t.Failed() {
			t.Logf("the function printed:\n%s", f.Output())
		}
	})
	return f
}

// environment is what Lambda sets for a function of 128 MB.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
func environment(root string) []string {
	return []string{
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_SESSION_TOKEN=test",
		"AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1",
		"AWS_LAMBDA_FUNCTION_NAME=" + name, "AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/" + name, "AWS_LAMBDA_LOG_STREAM_NAME=stream",
		"LAMBDA_TASK_ROOT=" + root, "LAMBDA_RUNTIME_DIR=/var/runtime", "_HANDLER=bootstrap",
		"LANG=en_US.UTF-8", "TZ=:UTC", "PATH=/usr/local/bin:/usr/bin/:/bin:/opt/bin",
	}
}

func (f *Function) start() error {
	failed := make(chan error)
	go func() {
		// The kernel sends the signal of dieWithParent when the thread ends that
		// started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		f.started = time.Now() //nolint:forbidigo // it measures
		err := f.cmd.Start()
		failed <- err
		if err == nil {
			_ = f.cmd.Wait() // f.cmd.ProcessState says how it ended
			close(f.exited)
		}
	}()
	return <-failed
}

// Invoke gives the function an event and returns its answer, an *Error if it
// reports one. A function that exits without an answer is another error that says
// how, with what it printed. The function's deadline is the context's, else in 60 s.
// As on Lambda, it is killed when that passes, or the context is cancelled, while it
// has the event. Calls wait for their turn: an environment has one event at a time.
func (f *Function) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the invocation before: %w", ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	i := &invocation{event: event, deadline: deadline, answer: make(chan answer, 1)}
	select {
	case f.events <- i:
	case <-f.exited:
		return nil, f.exit()
	case <-ctx.Done():
		return nil, fmt.Errorf("function does not ask for an event: %w; it printed:\n%s", ctx.Err(), f.Output())
	}
	select {
	case a := <-i.answer:
		return a.payload, a.err
	case <-f.exited:
	case <-ctx.Done():
		f.Kill()
	}
	// It may have answered all the same, and exited afterwards.
	select {
	case a := <-i.answer:
		return a.payload, a.err
	default:
		return nil, errors.Join(ctx.Err(), f.exit())
	}
}

// exit is the error of a function that has exited.
func (f *Function) exit() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.initError != nil:
		return fmt.Errorf("function exited (%s) with an init error: %w; it printed:\n%s", f.cmd.ProcessState, f.initError, f.Output())
	case !f.asked:
		return fmt.Errorf("function exited (%s) before it asked for an event; it printed:\n%s", f.cmd.ProcessState, f.Output())
	}
	return fmt.Errorf("function exited (%s); it printed:\n%s", f.cmd.ProcessState, f.Output())
}

// Output is what the function printed so far, on standard output and standard
// error, which both go to CloudWatch Logs. It has all that was printed before an
// answer when Invoke returns.
func (f *Function) Output() string {
	printed, err := os.ReadFile(f.printed)
	if err != nil {
		return err.Error()
	}
	return string(printed)
}

// Terminate ends the function as Lambda ends an environment, and returns how it
// exited: SIGTERM if it has registered an extension (lambda.WithEnableSIGTERM),
// SIGKILL 2 s later, and at once if it has not.
func (f *Function) Terminate() *os.ProcessState {
	f.mu.Lock()
	registered := f.registered
	f.mu.Unlock()
	if registered {
		_ = f.cmd.Process.Signal(syscall.SIGTERM) // fails if it has exited
		select {
		case <-f.exited:
		case <-time.After(shutdown):
		}
	}
	f.Kill()
	return f.cmd.ProcessState
}

// Kill ends the function at once, and returns when it has exited.
func (f *Function) Kill() {
	_ = f.cmd.Process.Kill() // fails if it has exited
	<-f.exited
}

// FirstResponse is how long it took from the start of the process until the first
// answer, including the time in which there was no event. Zero without an answer.
func (f *Function) FirstResponse() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

var highWater = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// PeakMemory is the largest resident size so far, in bytes, of a function that has
// not exited. It is known on Linux only.
//
// The rusage of an exited process would not do: its Maxrss is at least that of the
// process which started it.
func (f *Function) PeakMemory() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read memory of function: %w", err)
	}
	size := highWater.FindSubmatch(status)
	if size == nil { // it has exited, and nobody has waited for it yet
		return 0, fmt.Errorf("read memory of function: %w", os.ErrProcessDone)
	}
	kib, err := strconv.ParseInt(string(size[1]), 10, 64)
	return kib << 10, err
}
