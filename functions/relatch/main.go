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
	context.AfterFunc(ctx, stop)       // the second Ctrl-C ends the process
	cobra.EnableCommandSorting = false // they stand in the order of use
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

// unknown is the Args of relatch itself: what is no command may be nearly one.
func unknown(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2
	near := strings.Join(c.SuggestionsFor(args[0]), " or ")
	if near == "" {
		return fmt.Errorf("unknown command %q", args[0])
	}
	return fmt.Errorf("unknown command %q; did you mean %s?", args[0], near)
}

const help = `Relatch makes every MFA exception end. Whoever switches a user's MFA off in Amazon
Cognito gives a reason; after 24 hours Relatch switches it on again, and it tells
on-call when somebody who must have MFA can sign in without it.

An emergency, from the first command to the report of the month:

  relatch override maria --reason 'Phone broke, new one comes tomorrow' --ticket CHG0012345
  relatch status                   who can sign in without MFA, why, and until when
  relatch end maria                MFA on again now
  relatch report --from 2026-11    every override of a month

Exit status of every command: 0 done, or all is well; 1 refused, not done, or
something is wrong; 2 bad usage, or AWS or a file cannot be read. "relatch COMMAND
--help" says what that is for each one, and what it needs. With --output json a
command prints one JSON object, which its schema names; keys are added, and never
renamed.`

func run(ctx context.Context, args []string, t terminal) int {
	root := &cobra.Command{
		Use:           "relatch",
		Short:         "Relatch makes every MFA exception end",
		Long:          help,
		Version:       version(),
		Args:          unknown,
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetArgs(args)
	root.SetIn(t.in)
	root.SetOut(t.out)
	root.SetErr(t.err)
	group := func(title string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: title, Title: title + ":"})
		for _, c := range commands {
			c.GroupID = title
			root.AddCommand(c)
		}
	}
	group("Overrides", overrideCommand(t), justifyCommand(t), approveCommand(t), endCommand(t))
	group("Status and report", statusCommand(t), reportCommand(t))
	group("Checks", doctorCommand(t), verifyCommand(t), replayCommand(t), snapshotCommand(t))
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
