// Package story tells people what a replay did: one scenario as a story, many
// as a list, and the sums.
//
// It decides and counts nothing; it only finds the words.
package story

import (
	"fmt"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
)

// Story is what happens in one scenario. Names are the usernames by sub.
type Story struct {
	Names    map[mfa.Sub]string
	chapters []chapter
	live     *teller // writes them instead, as they come
	told     int
	limit    int // how many of them are written; 0: all
}

// manyChapters is how much of a story of log files is told, unless in full.
const manyChapters = 200

// chapter is what one record tells.
type chapter struct {
	record mfa.Record
	alerts []alert.Alert
}

// Tell adds a record and the alerts that went with it.
func (s *Story) Tell(r mfa.Record, alerts []alert.Alert) {
	s.told++
	switch {
	case s.limit > 0 && s.told > s.limit:
		return
	case s.live != nil:
		s.live.tell(chapter{r, alerts})
	default:
		s.chapters = append(s.chapters, chapter{r, alerts})
	}
}

// Begin has the story written as it is told, so that a long one need not be held.
// Write writes the rest. A long one of log files, which have no name, is written to
// its end only in full.
func (s *Story) Begin(p *Paper, name string, full bool) {
	if name != "" {
		p.line("%s", p.in(bold, clean(name)))
	}
	s.live = &teller{Paper: p, names: s.Names, full: full}
	if name == "" && !full {
		s.limit = manyChapters
	}
}

// alike says which chapters need not all be told in full.
func (c chapter) alike() string {
	key := string(c.record.Cause.Kind) + c.record.Cause.EventName + string(c.record.Verdict) + string(c.record.Reason)
	for _, a := range c.alerts {
		key += " " + string(a.Kind) + string(a.Severity) + string(a.State)
	}
	return key
}

// manyAlike is how many chapters alike are told before the rest is counted.
const manyAlike = 3

// Write tells the story; in full, with what each page says is to be done.
func (s *Story) Write(p *Paper, name string, full bool) {
	if s.live == nil {
		s.Begin(p, name, full)
		for _, c := range s.chapters {
			s.live.tell(c)
		}
	}
	s.live.flush()
	if more := s.told - s.limit; s.limit > 0 && more > 0 {
		p.line("            … and %s more records: -v tells of them all", replay.Thousands(more))
	}
}

type teller struct {
	*Paper
	names map[mfa.Sub]string
	full  bool
	day   string
	last  time.Time

	run     []chapter // alike, not written yet; no more of them than may be told
	more    int       // further ones
	running time.Time // the last of all
}

// tell writes a chapter once it is known how many alike follow it.
func (t *teller) tell(c chapter) {
	if len(t.run) > 0 && t.run[0].alike() != c.alike() {
		t.flush()
	}
	if len(t.run) > manyAlike {
		t.more++
	} else {
		t.run = append(t.run, c)
	}
	t.running = c.record.At
}

func (t *teller) flush() {
	if t.more > 0 {
		t.run, t.more = t.run[:manyAlike], t.more+1
	}
	for _, c := range t.run {
		t.chapter(c)
	}
	if t.more > 0 {
		t.line("            %s", t.in(faint, fmt.Sprintf("… %d more like these, the last at %s …", t.more, t.running.Format(time.TimeOnly))))
	}
	t.run, t.more, t.last = nil, 0, t.running
}

func (t *teller) chapter(c chapter) {
	r := c.record
	if gap := r.At.Sub(t.last); !t.last.IsZero() && gap >= time.Hour {
		t.line("            %s", t.in(faint, "… "+passed(gap)+" …"))
	}
	t.last = r.At
	if act := t.act(r); act != "" {
		at := r.Cause.EventTime
		if at.IsZero() {
			at = r.At
		}
		t.at(at, t.in(bold, act))
	}
	t.verdict(r)
	for _, a := range c.alerts {
		word, colour := loud(a)
		t.line("            %s %s", t.in(colour, fmt.Sprintf("%-9s", word)), clean(strings.TrimPrefix(afterWord(a.Title), " ")))
		if t.full && a.Severity == mfa.Critical {
			for i, step := range a.WhatToDo {
				t.line("                      %s", t.in(faint, fmt.Sprintf("%d %s", i+1, clean(step))))
			}
		}
	}
}

// passed is how much time went by between two lines.
func passed(d time.Duration) string {
	switch d = d.Round(time.Minute); {
	case d == time.Hour:
		return "1 hour"
	case d%time.Hour == 0:
		return fmt.Sprintf("%d hours", d/time.Hour)
	default:
		return alert.Span(d)
	}
}

// at writes a line with its time, under a heading for each day.
func (t *teller) at(when time.Time, text string) {
	when = when.UTC()
	if day := when.Format("Mon 2 Jan 2006"); day != t.day {
		t.day = day
		t.line("  %s", t.in(faint, day+" (UTC)"))
	}
	t.line("  %s  %s", when.Format(time.TimeOnly), text)
}

func loud(a alert.Alert) (string, ink) {
	switch {
	case a.State == mfa.StateResolved:
		return "resolved", green
	case a.Severity == mfa.Critical:
		return "PAGE", red
	case a.Severity == mfa.Warning:
		return "warning", yellow
	default:
		return "note", plain
	}
}

// afterWord is the title without its first word, which the story says in its own way.
func afterWord(title string) string {
	observe := strings.HasPrefix(title, "[observe] ")
	_, rest, _ := strings.Cut(strings.TrimPrefix(title, "[observe] "), " ")
	if observe {
		return "[observe] " + rest
	}
	return rest
}

// acts are the operations in the words of a story: %a is the actor, %u the user.
var acts = map[string]string{ //nolint:gosec // names of operations, no credentials
	"AdminSetUserMFAPreference":    "%a sets the factors of %u",
	"SetUserMFAPreference":         "%u sets their own factors",
	"AdminSetUserSettings":         "%a sets the SMS factor of %u",
	"SetUserSettings":              "%u sets their own SMS factor",
	"AdminDeleteSoftwareToken":     "%a deletes the TOTP token of %u",
	"DeleteWebAuthnCredential":     "%u deletes a passkey",
	"VerifySoftwareToken":          "%u verifies a TOTP token",
	"CompleteWebAuthnRegistration": "%u registers a passkey",
	"SetUserPoolMfaConfig":         "%a sets the MFA of the pool",
	"UpdateUserPool":               "%a updates the pool",
	"AdminAddUserToGroup":          "%a puts %u into a group",
	"AdminRemoveUserFromGroup":     "%a takes %u out of a group",
	"DeleteGroup":                  "%a deletes a group",
	"AdminCreateUser":              "%a creates %u",
	"AdminDeleteUser":              "%a deletes %u",
	"DeleteUser":                   "%u deletes the account",
	"AdminDisableUser":             "%a disables %u",
	"AdminEnableUser":              "%a enables %u",
	"AdminUpdateUserAttributes":    "%a updates attributes of %u",
	"UpdateUserAttributes":         "%u updates their own attributes",
	"AdminDeleteUserAttributes":    "%a deletes attributes of %u",
	"DeleteUserAttributes":         "%u deletes their own attributes",
}

// act says what was done, or "" for what Relatch does by itself.
func (t *teller) act(r mfa.Record) string {
	actor := mfa.Actor{ARN: r.Cause.Actor, Type: r.Cause.ActorType}
	words := strings.NewReplacer("%a", clean(alert.Who(actor)), "%u", t.user(r))
	switch name := r.Cause.EventName; {
	case r.Verdict == mfa.Rejects:
		return "a delivery that cannot be read"
	case name != "" && r.Override != nil && (r.Verdict == mfa.Opens || r.Reason == mfa.OffAndOn) && r.Cause.Kind == mfa.FactorsChanged && r.Cause.ActorType != mfa.Self:
		return words.Replace("%a switches " + alert.Names(r.Override.Factors) + " off for %u")
	case name != "" && r.Verdict == mfa.Opens && r.Cause.Kind == mfa.FactorsChanged:
		return words.Replace("%u switches " + alert.Names(r.Override.Factors) + " off")
	case acts[name] != "":
		return words.Replace(acts[name])
	case name != "":
		return words.Replace("%a calls ") + clean(name)
	case r.Cause.Kind == mfa.Justified:
		return words.Replace("a justification for %u is recorded")
	case r.Cause.Kind == mfa.Asked:
		return words.Replace("a person asks to end it for %u")
	}
	return ""
}

func (t *teller) user(r mfa.Record) string {
	if r.User == nil {
		return "a user"
	}
	if name := t.names[r.User.Sub]; name != "" {
		return clean(name)
	}
	return clean(string(r.User.Sub))
}

// verdict says what Relatch made of it.
func (t *teller) verdict(r mfa.Record) {
	o := r.Override
	switch {
	case r.Verdict == mfa.Rejects:
		t.at(r.At, t.in(yellow, "rejected")+"  "+clean(r.Problem))
	case r.Verdict == mfa.Ignores && r.Cause.Kind == mfa.Due:
		t.at(r.At, "          "+t.outcomes(r))
	case r.Verdict == mfa.Ignores:
		t.at(r.At, fmt.Sprintf("%-9s %s%s", "ignored", r.Reason, late(r)))
	case r.Verdict == mfa.Opens:
		t.at(r.At, fmt.Sprintf("%-9s override %s, %s%s; %s%s", t.in(yellow, "open     "), o.ID, o.Justification, failed(o), t.outcomes(r), late(r)))
	case r.Verdict == mfa.Restores && o.Closed != "":
		t.at(r.At, fmt.Sprintf("%s %s for %s; closed %s after %s", t.in(green, "restored "), t.outcomes(r), t.user(r), o.Closed, alert.Span(r.At.Sub(o.OpenedAt))))
	case r.Verdict == mfa.Restores:
		t.at(r.At, fmt.Sprintf("%-9s %s for %s%s", "restore", t.outcomes(r), t.user(r), late(r)))
	case r.Verdict == mfa.Closes:
		t.at(r.At, fmt.Sprintf("%s %s, %s%s%s", t.in(green, "closed   "), o.Closed, t.user(r), after(t.outcomes(r)), late(r)))
	case r.Verdict == mfa.Holds && o != nil:
		t.at(r.At, fmt.Sprintf("%-9s %s%s until %s%s%s", "hold", o.Justification, failed(o), day(o.Deadline), after(t.outcomes(r)), late(r)))
	case r.Verdict == mfa.Holds:
		t.at(r.At, fmt.Sprintf("%-9s %s%s", "hold", r.Reason, late(r)))
	default:
		t.at(r.At, fmt.Sprintf("%-9s %s%s", "alert", r.Reason, late(r)))
	}
}

// outcomes lists what was done.
func (t *teller) outcomes(r mfa.Record) string {
	var words []string
	for _, o := range r.Actions {
		words = append(words, outcome(o, r.Override))
	}
	return strings.Join(words, ", ")
}

func outcome(o mfa.Outcome, override *mfa.RecordOverride) string {
	factors := "MFA"
	if override != nil {
		factors = alert.Names(override.Factors)
	}
	what := map[mfa.Do]string{
		mfa.Schedule: "timer set for " + day(o.At), mfa.Cancel: "timer cancelled",
		mfa.Restore: factors + " on again", mfa.SignOut: "signed out",
	}[o.Do]
	if o.Do == mfa.Restore || o.Do == mfa.SignOut {
		switch o.Result {
		case mfa.Handed:
			return map[mfa.Do]string{mfa.Restore: "asks reenable to end it", mfa.SignOut: "asks reenable for the sign-out"}[o.Do]
		case mfa.Refused:
			return "Cognito refuses to switch " + factors + " on"
		case mfa.Would:
			return "would do: " + what
		case mfa.Done:
		default:
			return what + ": " + string(o.Result)
		}
	}
	return what
}

func failed(o *mfa.RecordOverride) string {
	if len(o.Failed) == 0 {
		return ""
	}
	rules := make([]string, len(o.Failed))
	for i, r := range o.Failed {
		rules[i] = string(r)
	}
	return " (" + strings.Join(rules, ", ") + ")"
}

func after(text string) string {
	if text == "" {
		return ""
	}
	return "; " + text
}

// lateAfter is from when on a delivery's delay is worth a word.
const lateAfter = 5 * time.Minute

func late(r mfa.Record) string {
	if delay := r.At.Sub(r.Cause.EventTime); !r.Cause.EventTime.IsZero() && delay >= lateAfter {
		return fmt.Sprintf(" (arrived %s late)", alert.Span(delay))
	}
	return ""
}

func day(t time.Time) string { return t.UTC().Format("Mon 15:04:05") }
