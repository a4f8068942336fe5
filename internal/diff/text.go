package diff

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/report"
	"github.com/stackflow/relatch/internal/story"
)

// Text writes the differences for a terminal: what happened, what that makes for
// on-call and for the user, and what came of it on each side. Without any it
// writes nothing.
func (c *Comparison) Text(out io.Writer) error {
	w := bufio.NewWriter(out)
	if len(c.All) > 0 && c.Scenario != "" {
		fmt.Fprintln(w, story.Line(c.Scenario))
	}
	day := ""
	for i := range c.All {
		d := &c.All[i]
		if is := d.At.Format("Mon 2 Jan 2006"); is != day {
			day = is
			fmt.Fprintf(w, "  %s (UTC)\n", day)
		}
		fmt.Fprintf(w, "  %s  %s\n", d.At.Format(time.TimeOnly), d.what())
		for _, line := range d.says() {
			fmt.Fprintf(w, "            %s\n", line)
		}
		side(w, "A", d.A.words())
		side(w, "B", d.B.words())
	}
	if len(c.All) > 0 {
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// The measures of a side's words.
const (
	width  = 120
	indent = 17
)

func side(w io.Writer, name, words string) {
	for _, line := range report.Wrap(words, width-indent) {
		fmt.Fprintf(w, "%*s  %s\n", indent-2, name, line)
		name = ""
	}
}

// Totals writes the totals of both sides side by side, or that nothing differs.
func (c *Comparison) Totals(out io.Writer) error {
	w := bufio.NewWriter(out)
	if c.Differ == 0 {
		fmt.Fprintln(w, "nothing differs")
	} else {
		fmt.Fprintf(w, "%d difference%s\n", c.Differ, plural(c.Differ))
	}
	line := func(name string, a, b any) { fmt.Fprintf(w, "%-22s  %12v  %12v\n", name, a, b) }
	fmt.Fprintln(w)
	line("", "A", "B")
	line("policy", revision(c.A.Policies), revision(c.B.Policies))
	line("pages", c.A.Pages, c.B.Pages)
	line("warnings", c.A.Warnings, c.B.Warnings)
	line("notes", c.A.Notes, c.B.Notes)
	line("overrides", c.A.Overrides, c.B.Overrides)
	line("  justified", c.A.Justified, c.B.Justified)
	for _, end := range slices.Sorted(maps.Keys(both(c.A.Ended, c.B.Ended))) {
		line("  "+string(end), c.A.Ended[end], c.B.Ended[end])
	}
	hours := func(seconds int64) string { return fmt.Sprintf("%.1f", float64(seconds)/3600) }
	line("hours without MFA", hours(c.A.Seconds), hours(c.B.Seconds))
	return w.Flush()
}

// revision names the policy that held.
func revision(all []string) string {
	switch len(all) {
	case 0:
		return "-"
	case 1:
		return all[0]
	default:
		return fmt.Sprintf("%d of them", len(all))
	}
}

// both has what occurs on either side.
func both(a, b map[mfa.End]int) map[mfa.End]int {
	sum := map[mfa.End]int{}
	for _, ended := range []map[mfa.End]int{a, b} {
		for end, n := range ended {
			if n > 0 {
				sum[end] += n
			}
		}
	}
	return sum
}

// what says what happened, and to whom.
func (d *Difference) what() string {
	text := ""
	if d.Incident != "" {
		text = d.Incident
	}
	if d.User != nil {
		text = cmp.Or(d.Username, string(d.User.Sub))
	}
	if c := d.Cause; c != nil {
		act := c.EventName
		switch {
		case act != "":
			act += " by " + alert.Who(mfa.Actor{ARN: c.Actor, Type: c.ActorType})
		case c.Kind == mfa.Justified:
			act = "a justification is recorded"
		case c.Kind == mfa.Swept:
			act = "a sweep finds MFA missing"
		default:
			act = string(c.Kind)
		}
		if d.Incident != "" {
			act = "incident, after " + act
		}
		text = strings.Join(present(text, act), ": ")
	}
	return story.Line(text)
}

// says puts in words what the difference makes.
func (d *Difference) says() []string {
	var out []string
	a, b := d.A.Override, d.B.Override
	for _, aspect := range d.Differs {
		switch {
		case aspect == Page && d.B.Pages:
			out = append(out, "B would page, A would not")
		case aspect == Page:
			out = append(out, "A would page, B would not")
		case aspect == Opened && a == nil:
			out = append(out, "an override under B only")
		case aspect == Opened && b == nil:
			out = append(out, "an override under A only")
		case aspect == Decided && d.A.Verdict == mfa.Ignores && d.B.Verdict == mfa.Ignores:
			out = append(out, "ignored for another reason")
		case aspect == Justification && a.Justified && !b.Justified:
			out = append(out, "justified under A only")
		case aspect == Justification && b.Justified && !a.Justified:
			out = append(out, "justified under B only")
		case aspect == Ended && d.EarlierSeconds > 0:
			out = append(out, "B would have ended it "+report.Length(d.EarlierSeconds)+" earlier")
		case aspect == Ended && d.EarlierSeconds < 0:
			out = append(out, "B would have ended it "+report.Length(-d.EarlierSeconds)+" later")
		case aspect == Ended && b.ClosedAt.IsZero() && !a.ClosedAt.IsZero():
			out = append(out, "ended under A only")
		case aspect == Ended && a.ClosedAt.IsZero() && !b.ClosedAt.IsZero():
			out = append(out, "ended under B only")
		case aspect == Deadline && !slices.Contains(d.Differs, Ended):
			if by := a.Deadline.Sub(b.Deadline); by > 0 {
				out = append(out, "its deadline would be "+report.Length(int64(by/time.Second))+" earlier under B")
			} else {
				out = append(out, "its deadline would be "+report.Length(int64(-by/time.Second))+" later under B")
			}
		}
	}
	return out
}

// words are what came of it on one side.
func (o *Outcome) words() string {
	var parts []string
	switch {
	case o.Override != nil:
		parts = append(parts, override(o.Override))
	case o.Verdict == mfa.Ignores:
		parts = append(parts, "ignored, "+string(o.Reason))
	case o.Verdict != "":
		parts = append(parts, string(o.Verdict)+", "+string(o.Reason))
	case len(o.Alerts) == 0:
		return "nothing"
	}
	if o.Override != nil || len(o.Alerts) > 0 {
		parts = append(parts, o.heard())
	}
	return story.Line(strings.Join(append(parts, present(o.Problem)...), "; "))
}

func override(o *report.Override) string {
	text := "override, justified"
	if !o.Justified {
		failed := make([]string, len(o.Failed))
		for i, rule := range o.Failed {
			failed[i] = string(rule)
		}
		text = "override, unjustified (" + strings.Join(failed, ", ") + ")"
	}
	switch {
	case o.Brief:
		return text + "; " + string(o.Ended) + " before anybody looked"
	case o.ClosedAt.IsZero():
		return text + "; " + string(o.Ended) + ", deadline " + moment(o.Deadline)
	default:
		return text + "; " + string(o.Ended) + " " + moment(o.ClosedAt) + " after " + report.Length(o.Seconds)
	}
}

// heard says how loud it was, and what on-call heard of.
func (o *Outcome) heard() string {
	if len(o.Alerts) == 0 {
		return "no alert"
	}
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(o.Alerts)) {
		text := string(kind)
		if n := o.Alerts[kind]; n > 1 {
			text = fmt.Sprintf("%d %s", n, kind)
		}
		kinds = append(kinds, text)
	}
	severity := string(o.Severity)
	if o.Pages {
		severity = "PAGE"
	}
	return severity + " " + strings.Join(kinds, ", ")
}

func moment(t time.Time) string { return t.UTC().Format("Mon 2 Jan 15:04:05") }

func present(all ...string) []string {
	return slices.DeleteFunc(all, func(text string) bool { return text == "" })
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
