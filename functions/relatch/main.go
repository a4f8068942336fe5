// Command relatch is Relatch on a terminal.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/stackflow/relatch/internal/story"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends the process
	code := run(ctx, os.Args[1:], terminal{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, now: time.Now, wait: wait,
		inIsTerminal: isTerminal(os.Stdin), outIsTerminal: isTerminal(os.Stdout), errIsTerminal: isTerminal(os.Stderr),
	})
	stop()
	os.Exit(code)
}

// terminal is what a command knows of where it runs.
type terminal struct {
	in                                         io.Reader
	out, err                                   io.Writer
	inIsTerminal, outIsTerminal, errIsTerminal bool
	getenv                                     func(string) string
	now                                        func() time.Time
	// wait waits that long, or until the context ends, whose error it returns.
	wait func(context.Context, time.Duration) error
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// utf8 reports whether the locale is UTF-8, as the first of LC_ALL, LC_CTYPE and LANG says.
func (t terminal) utf8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := t.getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// color reports whether standard output may be coloured (https://no-color.org).
func (t terminal) color() bool {
	return t.outIsTerminal && t.getenv("NO_COLOR") == "" && t.getenv("TERM") != "dumb"
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// The exit codes of every command.
const (
	exitUnmet = 1 // the command ran, and something is not as it should be, was refused or could not be done
	exitUsage = 2 // bad usage or unreadable input
)

// version is the module's, as it was built: "(devel)" from a checkout.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version + " " + info.GoVersion
}

// exit is an error that only carries the exit code: everything has been said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// undone is why something was refused or could not be done, though it was asked
// for as it should be.
type undone struct{ error }

func (u undone) Unwrap() error { return u.error }

func run(ctx context.Context, args []string, t terminal) int {
	root := &cobra.Command{
		Use:           "relatch",
		Short:         "Relatch makes every MFA exception end",
		Version:       version(),
		Args:          cobra.NoArgs,
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetArgs(args)
	root.SetIn(t.in)
	root.SetOut(t.out)
	root.SetErr(t.err)
	root.AddCommand(overrideCommand(t), justifyCommand(t), approveCommand(t), endCommand(t))
	root.AddCommand(statusCommand(t), doctorCommand(t), reportCommand(t), verifyCommand(t), replayCommand(t), snapshotCommand(t))
	c, err := root.ExecuteContextC(ctx)
	var (
		code exit
		why  undone
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &why):
		fmt.Fprintf(t.err, "%s: %s\n", c.CommandPath(), story.Clean(err.Error()))
		return exitUnmet
	default:
		fmt.Fprintf(t.err, "%s: %s\nSee '%s --help'.\n", c.CommandPath(), story.Clean(err.Error()), c.CommandPath())
		return exitUsage
	}
}
