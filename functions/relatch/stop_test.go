//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// endsAfter is a context that ends once it has been looked at so often: Ctrl-C at
// any place.
type endsAfter struct {
	context.Context

	looks atomic.Int64
}

func (c *endsAfter) Err() error {
	if c.looks.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// interrupted runs the command until the context has been looked at so often.
func interrupted(t *testing.T, looks int64, args ...string) (code int, out, errs string) {
	t.Helper()
	ctx := &endsAfter{Context: t.Context()}
	ctx.looks.Store(looks)
	var stdout, stderr bytes.Buffer
	code = run(ctx, args, terminal{
		in: strings.NewReader(""), out: &stdout, err: &stderr, now: time.Now, wait: wait,
		getenv: func(name string) string { return map[string]string{"LANG": "C.UTF-8"}[name] },
	})
	return code, stdout.String(), stderr.String()
}

func TestCtrlCTellsWhatWasDoneSoFar(t *testing.T) {
	dir := t.TempDir()
	for i := range 40 {
		log := fmt.Sprintf(`{"Records":[{"eventVersion":"1.11","userIdentity":{"type":"Root"},"eventTime":"2026-11-%02dT03:12:04Z","eventSource":"cognito-idp.amazonaws.com",`+
			`"eventName":"AdminSetUserMFAPreference","requestParameters":{"userPoolId":"us-east-1_P","softwareTokenMfaSettings":{}},"additionalEventData":{"sub":"u-%d"},"eventID":"e-%d"}]}`, 1+i/2, i, i)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.json", i)), []byte(log), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"replay", dir}, {"replay", "--until", "2026-11-15T00:00:00Z", dir}} {
		reading, replaying, whole := 0, 0, 0
		for looks := int64(2); whole == 0; looks += 1 + looks/8 {
			code, out, errs := interrupted(t, looks, args...)
			switch {
			case strings.Contains(errs, "stopped while reading; what follows is about what was read"):
				reading++
			case strings.Contains(errs, "stopped: at 2026-11-"):
				replaying++
			case code == 0:
				whole++
				continue
			}
			if code != exitUsage || !strings.Contains(out, "deliver") && !strings.Contains(errs, "no deliveries") || strings.Contains(errs, "context canceled") {
				t.Errorf("%v, stopped at look %d: exit status %d, standard error %q, standard output\n%s", args, looks, code, errs, out)
			}
			if strings.Contains(out, "opened 2026") != strings.Contains(out, "ended (UTC)") {
				t.Errorf("%v, stopped at look %d:\n%s", args, looks, out)
			}
		}
		if reading == 0 || replaying == 0 {
			t.Errorf("%v: stopped %d times while reading, %d while replaying", args, reading, replaying)
		}
	}
}

func TestASummaryOfWhatWasReplayedAddsUpAfterCtrlC(t *testing.T) {
	for _, looks := range []int64{20, 60, 200} {
		code, out, errs := interrupted(t, looks, "replay", "--format", "json", "../../events/mass-disable-300")
		last := out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]
		if code != exitUsage || !strings.Contains(errs, "stopped: mass-disable-300 at 2026-11-2") || !strings.HasPrefix(last, `{"schema":"relatch.summary/1","scenario":"mass-disable-300","events":`) {
			t.Errorf("stopped at look %d: exit status %d, standard error %q, summary %s", looks, code, errs, last)
		}
	}
}

// The file never ends, so that the process waits for more of it: the first signal
// is caught and the next one does what signals do. Where the first one comes
// between two reads it is enough.
func TestTheSecondCtrlCEndsTheProcess(t *testing.T) {
	for range 20 {
		if state := twice(t); state.Signaled() && state.Signal() == syscall.SIGINT {
			return
		} else if state.ExitStatus() != exitUsage {
			t.Fatalf("ended with %v", state)
		}
	}
	t.Error("the command always ended by itself")
}

// twice sends the command signals until it has ended.
func twice(t *testing.T) syscall.WaitStatus {
	t.Helper()
	dir := t.TempDir()
	pipe, command := filepath.Join(dir, "pipe.json"), filepath.Join(dir, "relatch")
	self, err := os.Executable()
	if err := errors.Join(err, syscall.Mkfifo(pipe, 0o600), os.Symlink(self, command)); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), command, "replay", pipe)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Wait() // how it ended is asked for below
	}()
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0) // once the command reads
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if _, err := writer.WriteString(`{"Records":[`); err != nil {
		t.Fatal(err)
	}
	for {
		_ = c.Process.Signal(os.Interrupt) // it may have ended
		select {
		case <-ended:
			status, _ := c.ProcessState.Sys().(syscall.WaitStatus)
			return status
		case <-time.After(20 * time.Millisecond):
		}
	}
}
