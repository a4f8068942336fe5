package status

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/report"
	"github.com/stackflow/relatch/internal/story"
)

const textWidth = 100

// Text writes the status for a terminal of 100 columns: first what is wrong, then
// who can sign in without MFA, then the rest.
func (s *Status) Text(out io.Writer) error {
	p := page{Writer: bufio.NewWriter(out)}
	if s.Mode == "observe" {
		p.line("OBSERVE MODE: Relatch restores nothing and signs nobody out. Every override stays open.")
	}
	p.line("Relatch, %s", s.At.UTC().Format("Monday 2 January 2006, 15:04:05 UTC"))
	p.label("Wrong", "", s.Wrong...)
	if len(s.Wrong) == 0 {
		p.label("Well", "nothing is overdue, unrestorable or critical")
	}
	if s.Asked != nil {
		p.label("User", s.Asked.text())
	}
	p.overrides(s)
	p.others(s)
	p.line("")
	p.label("Sweep", s.Sweep.text())
	p.label("Mode", map[string]string{
		"enforce": "enforce", "observe": "OBSERVE: nothing is restored", "unknown": "unknown: the stack does not say",
	}[s.Mode])
	p.label("Policy", fmt.Sprintf("revision %s; MFA required for %s", s.Policy.Revision, joined(s.Policy.RequiredRoles)))
	if s.Policy.Doubt != "" {
		p.label("", "IN DOUBT: "+s.Policy.Doubt)
	}
	for _, pool := range s.Pools {
		text := []string{string(pool.ID)}
		if pool.Posture > 0 {
			text = append(text, fmt.Sprintf("%d with a required role have had no MFA since Relatch first looked", pool.Posture))
		}
		p.label("Pool", strings.Join(append(text, pool.Lacks...), "; "))
	}
	if s.Unnamed != "" {
		p.label("Names", "not all users could be looked up: "+s.Unnamed)
	}
	return p.Flush()
}

func (a Asked) text() string {
	text := name(a.Username, a.Sub)
	if len(a.Roles) > 0 {
		text += " (" + joined(a.Roles) + ")"
	}
	text += ", pool " + string(a.Pool) + ": "
	if !a.Enabled {
		text += "disabled; "
	}
	if len(a.Factors) == 0 {
		return text + "NO MFA IS ON"
	}
	return text + alert.Names(a.Factors) + " on"
}

func (s Sweep) text() string {
	if s.CompletedAt.IsZero() {
		return "NEVER COMPLETED"
	}
	text := fmt.Sprintf("%s ago, at %s", alert.Span(time.Duration(s.AgeSeconds)*time.Second), clock(s.CompletedAt))
	if s.TooOld {
		text += ": TOO OLD"
	}
	return text
}

// page is what is written, without control characters that came from elsewhere.
type page struct{ *bufio.Writer }

func (p page) line(text string, args ...any) {
	fmt.Fprintln(p, story.Clean(fmt.Sprintf(text, args...)))
}

const labelWidth = 13

// label writes a text, and more of them, beside the label.
func (p page) label(label, text string, more ...string) {
	if text != "" {
		more = slices.Insert(slices.Clone(more), 0, text)
	}
	for _, text := range more {
		for _, line := range report.Wrap(text, textWidth-labelWidth) {
			p.line("%-*s%s", labelWidth, label, line)
			label = ""
		}
	}
}

func (p page) overrides(s *Status) {
	p.line("")
	unjustified := 0
	for i := range s.Overrides {
		if !s.Overrides[i].Justified {
			unjustified++
		}
	}
	switch {
	case len(s.Overrides) == 0:
		p.line("No override is open.")
	case unjustified == 0:
		p.line("%s open, justified", count(len(s.Overrides), "override"))
	default:
		p.line("%s open, %d NOT JUSTIFIED", count(len(s.Overrides), "override"), unjustified)
	}
	for i := range s.Overrides {
		p.override(&s.Overrides[i], s)
	}
}

func (p page) override(o *Override, s *Status) {
	p.line("")
	user := name(o.Username, o.Sub)
	if len(o.Roles) > 0 {
		user += " (" + joined(o.Roles) + ")"
	}
	p.label(o.ID, user)
	p.label("  Off", fmt.Sprintf("%s since %s, by %s", alert.Names(o.Factors), clock(o.OpenedAt), alert.Who(mfa.Actor{ARN: o.Actor, Type: o.ActorType})))
	switch left := o.Deadline.Sub(s.At); {
	case o.Unrestorable:
		p.label("  Left", "CANNOT BE RESTORED; was due "+clock(o.Deadline))
	case o.Overdue:
		p.label("  Left", fmt.Sprintf("OVERDUE by %s; was due %s", alert.Span(-left), clock(o.Deadline)))
	case left <= 0:
		p.label("  Left", "due since "+clock(o.Deadline))
	default:
		p.label("  Left", fmt.Sprintf("%s, until %s", alert.Span(left), clock(o.Deadline)))
	}
	p.label("  Then", o.Then)
	why := verdict(o)
	if len(o.Why) > 0 {
		why += ": " + strings.Join(o.Why, "; ")
	}
	p.label("  Why", why)
	if j := o.Justification; j != nil {
		said := fmt.Sprintf("%q, %s, by %s", j.Reason, j.Ticket, alert.Who(mfa.Actor{ARN: j.Author}))
		if j.Approver != "" {
			said += ", approved by " + alert.Who(mfa.Actor{ARN: j.Approver})
		}
		p.label("", said)
	}
	p.label("  Note", "", o.Notes...)
	p.label("  Do", "", o.do(s.Flags)...)
}

// do are the commands that help.
func (o *Override) do(flags string) []string {
	var out []string
	if o.Unrestorable {
		return []string{"have the user enrol a device; until then consider disabling the user"}
	}
	switch until := o.JustifyUntil.UTC().Format("15:04Z"); {
	case o.JustifyUntil.IsZero():
	case o.Justification != nil && slices.Equal(o.Failed, []mfa.Rule{mfa.RuleApprover}):
		out = append(out, fmt.Sprintf("meant: relatch approve %s %s%s (neither its author nor the user, until %s)", o.ID, o.Justification.ID, flags, until))
	default:
		out = append(out, fmt.Sprintf("meant: relatch justify %s --reason … --ticket …%s (the actor, until %s)", o.ID, flags, until))
	}
	return append(out, "not meant, or no longer needed: relatch end "+o.ID+flags)
}

func (p page) others(s *Status) {
	if len(s.Incidents)+len(s.Users) > 0 {
		p.line("")
	}
	for i := range s.Incidents {
		in := &s.Incidents[i]
		text := fmt.Sprintf("%s %s, %s, since %s", strings.ToUpper(string(in.Severity)), in.Kind, in.Key, clock(in.Since))
		if in.Sub != "" {
			text += ", user " + name(in.Username, in.Sub)
		}
		if in.What != "" {
			text += ": " + in.What
		}
		if in.Actor != "" {
			text += ", by " + alert.Who(mfa.Actor{ARN: in.Actor})
		}
		if !in.ChangedAt.Equal(in.Since) {
			text += ", last at " + clock(in.ChangedAt)
		}
		if in.Person {
			text += "; a person ends it, where the page went"
		}
		p.label("Incident", text)
	}
	for i := range s.Users {
		u := &s.Users[i]
		var what []string
		if !u.Noted.IsZero() {
			what = append(what, "without the factors of before, noted "+clock(u.Noted)+"; the next sweep opens an override unless a delivery explains it")
		}
		if !u.Unfinished.IsZero() {
			what = append(what, "what was decided at "+clock(u.Unfinished)+" waits to be done")
		}
		if u.SignOut {
			what = append(what, "is to be signed out")
		}
		p.label("User", name(u.Username, u.Sub)+": "+strings.Join(what, "; "))
	}
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func joined(roles []mfa.Role) string {
	texts := make([]string, len(roles))
	for i, r := range roles {
		texts[i] = string(r)
	}
	return strings.Join(texts, ", ")
}
