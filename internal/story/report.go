package story

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
)

// Report is what is told of one scenario that has been run.
type Report struct {
	replay.Result
	Story  Story
	Period Period
	Unmet  []replay.Unmet
	// Expected says whether the scenario expects anything.
	Expected bool
}

// mark says whether it came as expected.
func (r *Report) mark(p *Paper) string {
	switch {
	case len(r.Unmet) > 0:
		return p.in(red, "✗")
	case r.Expected:
		return p.in(green, "✓")
	default:
		return "–"
	}
}

// Tell writes the scenario's story and how it ended. In full, each page comes
// with what is to be done.
func (r *Report) Tell(p *Paper, full bool) {
	r.Story.Write(p, r.Name, full)
	if r.Story.told == 0 {
		p.line("  nothing came that Relatch would act on")
	}
	p.line("  %s %s", r.mark(p), r.ended())
	r.differences(p)
	p.line("")
}

// Line writes the scenario as one line of a list whose names are as wide as width.
func (r *Report) Line(p *Paper, width int) {
	alerted := r.alerted()
	severity := r.loudest()
	p.line("%s %s  %s  %s", r.mark(p), pad(clean(r.Name), width), p.in(severity, pad(alerted, 38)), r.ended())
	r.differences(p)
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

func (r *Report) differences(p *Paper) {
	for _, u := range r.Unmet {
		p.line("    %s (- wanted, + came)", p.in(bold, u.Where))
		for _, d := range u.Diff {
			colour := green
			if strings.HasPrefix(d, "-") {
				colour = red
			}
			p.line("      %s", p.in(colour, clean(d)))
		}
	}
}

// alerted names the loudest thing that on-call heard of, and how much more there was.
func (r *Report) alerted() string {
	kinds := slices.SortedFunc(maps.Keys(r.Heard), func(a, b mfa.AlertKind) int {
		if n := r.Heard[b].Rank() - r.Heard[a].Rank(); n != 0 {
			return n
		}
		return strings.Compare(string(a), string(b))
	})
	if len(kinds) == 0 {
		return "no alert"
	}
	text, more := fmt.Sprintf("%s %s", r.Heard[kinds[0]], kinds[0]), 0
	for _, kind := range kinds[1:] {
		if r.Heard[kind] != mfa.Info {
			more++
		}
	}
	if more > 0 {
		text += fmt.Sprintf(" +%d", more)
	}
	return text
}

func (r *Report) loudest() ink {
	loudest := mfa.Severity("")
	for _, s := range r.Heard {
		if s.Rank() > loudest.Rank() {
			loudest = s
		}
	}
	switch loudest {
	case mfa.Critical:
		return red
	case mfa.Warning:
		return yellow
	default:
		return plain
	}
}

// end is how many overrides ended in one way.
type end struct {
	n    int
	what string
}

// ends are the ways in which overrides ended, those in which any did.
func ends(s *replay.Summary) []end {
	o := s.Overrides
	return slices.DeleteFunc([]end{
		{o.Restored, "restored"},
		{o.Reenabled, "reenabled"},
		{o.Reenrolled, "reenrolled"},
		{o.Gone, "gone"},
		{o.Unrestorable, "unrestorable"},
		{o.Open, "still open"},
	}, func(e end) bool { return e.n == 0 })
}

// ended says what became of the overrides or, without any, of the deliveries.
func (r *Report) ended() string {
	var parts []string
	for _, e := range ends(&r.Summary) {
		if e.n == 1 && r.Summary.Overrides.Opened == 1 {
			parts = append(parts, e.what+r.lasted())
		} else {
			parts = append(parts, fmt.Sprintf("%d %s", e.n, e.what))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "no override")
		for _, reason := range slices.Sorted(maps.Keys(r.Summary.Ignored)) {
			parts = append(parts, string(reason))
		}
	}
	if n := len(r.OpenIncidents); n > 0 {
		parts = append(parts, fmt.Sprintf("%d incident%s open", n, plural(n)))
	}
	return strings.Join(parts, ", ")
}

// lasted is how long the only override lasted.
func (r *Report) lasted() string {
	switch {
	case r.Closed == nil:
		return ""
	case r.Closed.Reason == mfa.OffAndOn:
		return " before anybody looked"
	default:
		return " after " + alert.Span(r.Closed.At.Sub(r.Closed.Override.OpenedAt))
	}
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// Sums writes the sums of all reports, and last how many came as expected.
func Sums(p *Paper, reports []*Report, took time.Duration) {
	var total replay.Summary
	expected, met, left := 0, 0, 0
	for _, r := range reports {
		total.Add(r.Summary)
		left += r.Left
		if r.Expected {
			expected++
			if len(r.Unmet) == 0 {
				met++
			}
		}
	}
	o, a := total.Overrides, total.Alerts
	p.line("%s", &total)
	if len(total.Ignored) > 0 {
		var reasons []string
		for _, reason := range slices.Sorted(maps.Keys(total.Ignored)) {
			reasons = append(reasons, fmt.Sprintf("%s %s", reason, replay.Thousands(total.Ignored[reason])))
		}
		p.line("ignored: %s", strings.Join(reasons, ", "))
	}
	if o.Opened == 0 {
		p.line("no override was opened")
	} else {
		var terms []string
		for _, e := range ends(&total) {
			terms = append(terms, replay.Thousands(e.n)+" "+e.what)
		}
		p.line("%s override%s = %s", replay.Thousands(o.Opened), plural(o.Opened), strings.Join(terms, " + "))
	}
	if a.Critical+a.Warning+a.Info == 0 {
		p.line("nothing was alerted")
	} else {
		p.line("incidents and notes, at their loudest: %d critical (page), %d warning, %d info", a.Critical, a.Warning, a.Info)
	}
	if len(total.Skipped) > 0 {
		var reasons []string
		for _, why := range slices.Sorted(maps.Keys(total.Skipped)) {
			reasons = append(reasons, fmt.Sprintf("%s %s", replay.Thousands(total.Skipped[why]), skips[why]))
		}
		p.line("skipped: %s", strings.Join(reasons, ", "))
	}
	if left > 0 {
		p.line("the clock was stopped before %s of the deliveries arrived", replay.Thousands(left))
	}
	if expected == 0 {
		p.line("nothing was expected; done in %.1f s", took.Seconds())
		return
	}
	colour := green
	if met < expected {
		colour = red
	}
	p.line("%s", p.in(colour, fmt.Sprintf("%d of %d as expected in %.1f s", met, expected, took.Seconds())))
}

var skips = map[replay.Skip]string{
	replay.CutOff: "cut off", replay.Damaged: "damaged", replay.NotGzip: "not gzip", replay.Unreadable: "unreadable", replay.Unlisted: "not listed",
}

// Blank writes an empty line.
func Blank(p *Paper) { p.line("") }
