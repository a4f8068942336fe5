package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/operator"
	"github.com/stackflow/relatch/internal/story"
)

// json writes a value for machines.
func (t terminal) json(v any) error {
	e := json.NewEncoder(t.out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// confirms asks once; everything but yes is no, and so is Ctrl-C.
func (t terminal) confirms(ctx context.Context, w io.Writer, question string) bool {
	fmt.Fprintf(w, "%s [y/N] ", story.Clean(question))
	said := make(chan string, 1)
	go func() {
		answer, _ := bufio.NewReader(t.in).ReadString('\n') // without an end it is what there is
		said <- answer
	}()
	answer := ""
	select {
	case <-ctx.Done():
	case answer = <-said:
	}
	if !strings.HasSuffix(answer, "\n") {
		fmt.Fprintln(w)
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// page is what a person reads: on standard output, or on standard error where
// that is for a machine.
type page struct {
	w     io.Writer
	ascii bool
	zone  *time.Location
}

func (t terminal) page(output string) page {
	p := page{t.out, !t.utf8(), t.now().Location()}
	if output == "json" {
		p.w = t.err
	}
	return p
}

func (p page) line(format string, args ...any) {
	text := story.Clean(fmt.Sprintf(format, args...))
	if p.ascii {
		text = story.ASCII(text)
	}
	fmt.Fprintln(p.w, text)
}

func (p page) row(name, format string, args ...any) {
	p.line("%-13s %s", name, fmt.Sprintf(format, args...))
}

// at is a time as the person's clock shows it, and in UTC.
func (p page) at(t time.Time) string {
	utc := t.UTC().Format("Mon 2 Jan 15:04 UTC")
	if local := t.In(p.zone).Format("Mon 2 Jan 15:04 MST"); local != utc {
		return local + " (" + utc + ")"
	}
	return utc
}

func (p page) forecast(f operator.Forecast, observe bool) {
	p.row("You", "%s", cmp.Or(alert.Who(mfa.Actor{ARN: f.By}), f.By))
	p.row("User", "%s, pool %s, sub %s", f.Name, f.Pool, f.Sub)
	p.row("Role", "%s", role(f))
	p.row("Factors on", "%s", alert.Names(f.Factors))
	if off := mfa.Without(f.Factors, []mfa.Factor{mfa.TOTP}); f.Token && len(off) > 0 {
		p.row("Will be", "deleted: TOTP; switched off: %s", alert.Names(off))
	} else if f.Token {
		p.row("Will be", "deleted")
	} else {
		p.row("Will be", "switched off")
	}
	p.row("Overrides", "%d of %d used in the last %.0f days", f.Spent, f.Policy.Budget, f.Policy.BudgetSpan.Hours()/24)
	if f.Approval {
		p.row("Approver", "needed, and there is none yet: the reason is recorded, and nothing is switched off")
	} else if f.Justification.Approver != "" {
		p.row("Approver", "%s", alert.Who(mfa.Actor{ARN: f.Justification.Approver}))
	}
	if !f.Approval {
		p.row("Until", "%s", p.until(f, observe))
		p.onCall(f)
	}
	p.row("Reason", "%s; %s", f.Reason, cmp.Or(f.Ticket, "no ticket"))
	if f.Doubt != "" {
		p.row("Policy", "IN DOUBT: %s", f.Doubt)
	}
}

// role says which roles the user holds, and whether MFA is required.
func role(f operator.Forecast) string {
	text := cmp.Or(f.Held(), "none")
	if f.Override.Required {
		text += ": MFA is required"
	} else {
		text += ": MFA is not required"
	}
	if !f.Enabled {
		text += "; the account is disabled"
	}
	return text
}

// until says when it ends, and what then.
func (p page) until(f operator.Forecast, observe bool) string {
	on, when := f.Override.Restorable(), p.at(f.Override.Deadline)
	switch {
	case observe:
		return "you switch it on again: Relatch only observes"
	case len(on) == 0:
		return "the user enrols a new device, by " + when + ": the old one cannot be switched on again"
	}
	text := fmt.Sprintf("%s; then %s %s on again", when, alert.Names(on), alert.Verb(on, "comes", "come"))
	if f.Policy.SignOut {
		text += ", and the user is signed out"
	}
	switch {
	case f.Token && len(mfa.Adequate(on, f.Override.Required)) == 0:
		text += ". For the role that is not enough: it stays open until the user enrols a new device"
	case f.Token:
		text += ". TOTP is back only when the user enrols a new device"
	}
	return text
}

// onCall says what on-call will see, and why.
func (p page) onCall(f operator.Forecast) {
	if len(f.Alerts) == 0 {
		p.row("On-call sees", "nothing: no role of the user requires MFA, and the reason is on record")
		return
	}
	for _, a := range f.Alerts {
		why := "the reason is on record, and a role of the user requires MFA"
		switch {
		case !f.Enabled:
			why = "the user's account is disabled"
		case a.Kind == mfa.MassDisable:
			why = "you switch MFA off for many users"
		case a.Kind == mfa.OverrideRepeated:
			why = "it takes two calls, the second one after Relatch has opened the override"
		case !f.Override.Match.Justified():
			why = "nobody justified it"
		}
		page := "no page"
		if a.Severity == mfa.Critical {
			page = "a page"
		}
		p.row("On-call sees", "%s (%s): %s", a.Severity, page, why)
		p.row("", "%s", a.Title)
	}
}

// afterwards says what is left to know once MFA is off. o has no ID if Relatch has
// not seen it yet, and end is the command that ends it.
func (p page) afterwards(f operator.Forecast, o mfa.Override, t operator.Taken, end string, observe bool) {
	switch {
	case o.ID == "":
		p.row("Override", "not seen by Relatch yet: CloudTrail takes minutes, and without it a sweep finds it within the hour. relatch status shows it then")
	case o.Match.Justified():
		p.row("Override", "%s, justified", o.ID)
	default:
		p.row("Override", "%s, NOT JUSTIFIED: %s", o.ID, strings.Join(o.Match.Why, "; "))
	}
	on := f.Factors
	if t.Deleted {
		on = mfa.Without(on, []mfa.Factor{mfa.TOTP})
	}
	p.row("Deadline", "%s", p.at(o.Deadline))
	p.row("End it early", "%s", end)
	switch {
	case observe:
		p.row("Tell the user", "sign in with the password, until you are told that MFA is on again.")
	case t.Deleted && len(on) == 0:
		p.row("Tell the user", "sign in with the password, and enrol a new authenticator app at once: the old one is worth nothing any more.")
	case f.Cause == mfa.LostDevice:
		p.row("Tell the user", "sign in with the password, and enrol a new authenticator app before %s: then %s %s asked for again, as before.",
			p.at(o.Deadline), alert.Names(on), alert.Verb(on, "is", "are"))
	default:
		p.row("Tell the user", "sign in with the password until %s; then %s %s asked for again, and you have to sign in anew.",
			p.at(o.Deadline), alert.Names(on), alert.Verb(on, "is", "are"))
	}
}
