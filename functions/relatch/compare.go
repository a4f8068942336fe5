package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/diff"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
	"github.com/stackflow/relatch/internal/story"
)

// last is what a replay comes to when every scenario has been played.
type last interface {
	end(took time.Duration) error
	unmet() bool
}

// player says how a scenario is played and told, and what comes last. When the
// context ends, the replay was stopped.
func (f *replayFlags) player(ctx context.Context, t terminal, out *bufio.Writer, all []replay.Scenario, o replay.Options) (
	func(context.Context, replay.Scenario) (*story.Report, error), last,
) {
	if f.compare != "" {
		c := f.comparer(t, out, o)
		return c.play, c
	}
	w := f.writer(t, out, all)
	if f.html != "" {
		w = &pageWriter{writer: w, ctx: ctx, path: f.html, asOf: o.Until}
	}
	return func(ctx context.Context, s replay.Scenario) (*story.Report, error) { return tell(ctx, s, o, w) }, w
}

// comparer replays each scenario under two policies and writes what differs.
type comparer struct {
	a, b         replay.Options
	nameA, nameB string
	out          io.Writer
	json         *json.Encoder // nil: text
	ascii        bool
	total        diff.Comparison
	played       int
	differ       int  // scenarios
	cut          bool // stopped before all were compared
}

func (f *replayFlags) comparer(t terminal, out io.Writer, o replay.Options) *comparer {
	c := &comparer{a: o, b: o, nameA: cmp.Or(f.policy, "the policy of the account"), nameB: f.compare, out: out, ascii: !t.utf8()}
	c.b.Policy = f.other
	if f.format == "json" {
		c.json = json.NewEncoder(out)
		c.json.SetEscapeHTML(false)
	}
	return c
}

// play replays the scenario under A, then under B. What is expected of it is not
// checked: it was written for one policy.
func (c *comparer) play(ctx context.Context, s replay.Scenario) (*story.Report, error) {
	var a, b diff.Side
	result, err := side(ctx, s, c.a, &a)
	if err == nil {
		_, err = side(ctx, s, c.b, &b)
	}
	if err != nil {
		c.cut = true
		return &story.Report{Result: result}, err
	}
	names := map[mfa.RecordUser]string{}
	if s.Account != nil {
		for i := range s.Account.Users {
			u := &s.Account.Users[i]
			names[mfa.RecordUser{Pool: u.Pool, Sub: u.Sub}] = u.Username
		}
	}
	found := diff.Compare(&a, &b, func(u mfa.RecordUser) string { return names[u] }, c.a.Until)
	return &story.Report{Result: result}, c.write(s.Name, &found)
}

// side replays the scenario under one policy. One that is given holds
// throughout: the account's do not replace it later.
func side(ctx context.Context, s replay.Scenario, o replay.Options, to *diff.Side) (replay.Result, error) {
	if o.Policy != nil && s.Account != nil && len(s.Account.Policies) > 0 {
		file := *s.Account
		file.Policies = nil
		s.Account = &file
	}
	o.Forget = true
	o.Told = func(r mfa.Record, _ []alert.Alert) { to.Add(r) }
	return replay.Run(ctx, s, o)
}

func (c *comparer) write(name string, found *diff.Comparison) error {
	found.Scenario = name
	c.played++
	if found.Differ > 0 {
		c.differ++
	}
	c.total.Add(*found)
	if c.json == nil {
		return c.text(found.Text)
	}
	for i := range found.All {
		found.All[i].Scenario = name
		if err := c.json.Encode(found.All[i]); err != nil {
			return err
		}
	}
	return c.json.Encode(found)
}

// text writes what the terminal's locale takes.
func (c *comparer) text(write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	text := b.String()
	if c.ascii {
		text = story.ASCII(text)
	}
	_, err := io.WriteString(c.out, text)
	return err
}

// end writes the totals of all scenarios.
func (c *comparer) end(time.Duration) error {
	switch {
	case c.played == 0:
		return nil
	case c.json == nil:
		return c.text(func(out io.Writer) error {
			if c.cut {
				fmt.Fprintln(out, "of what was compared before it was stopped:")
			}
			err := c.total.Totals(out)
			fmt.Fprintf(out, "\nA: %s\nB: %s\n", story.Clean(c.nameA), story.Clean(c.nameB))
			if c.played > 1 {
				fmt.Fprintf(out, "%d of %d scenarios differ\n", c.differ, c.played)
			}
			return err
		})
	case c.played > 1:
		return c.json.Encode(c.total)
	default:
		return nil
	}
}

// unmet is false: nothing was expected of two policies.
func (c *comparer) unmet() bool { return false }
