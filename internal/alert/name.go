package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
)

// Who names an actor as people do.
func Who(a mfa.Actor) string {
	name := a.Name()
	if sso, ok := strings.CutPrefix(name, "AWSReservedSSO_"); ok {
		// IAM Identity Center's role for a permission set: AWSReservedSSO_<set>_<16 hex digits>/<user>
		role, session, _ := strings.Cut(sso, "/")
		name = role[:max(0, strings.LastIndexByte(role, '_'))] + "/" + session
	}
	switch {
	case name != "":
		return name
	case a.Type == mfa.Self:
		return "the user"
	case a.Type == mfa.Service:
		return "an AWS service"
	default:
		return "an unknown actor"
	}
}

// by names an actor within a line.
func by(a mfa.Actor) string { return middle(plain(Who(a)), actorShown) }

// session is the last part of the actor's name: what people call a person.
func session(a mfa.Actor) string {
	name := by(a)
	if _, last, ok := strings.Cut(name, "/"); ok && last != "" {
		return last
	}
	return name
}

// Names lists factors as people write them.
func Names(factors []mfa.Factor) string {
	names := make([]string, len(factors))
	for i, f := range factors {
		names[i] = map[mfa.Factor]string{mfa.TOTP: "TOTP", mfa.SMS: "SMS", mfa.Email: "e-mail codes", mfa.WebAuthn: "passkeys"}[f]
		if names[i] == "" {
			names[i] = string(f)
		}
	}
	switch last := len(names) - 1; {
	case last < 0:
		return "MFA"
	case last == 0:
		return names[0]
	default:
		return strings.Join(names[:last], ", ") + " and " + names[last]
	}
}

// Verb is that form of a verb which goes with the Names of the factors.
func Verb(factors []mfa.Factor, one, many string) string {
	if len(factors) > 1 || slices.Contains(factors, mfa.Email) || slices.Contains(factors, mfa.WebAuthn) {
		return many
	}
	return one
}

func clock(t time.Time) string { return t.UTC().Format("Mon 2 Jan 15:04:05Z") }

// when is a time to come, to the minute, and its day unless that is today.
func (w words) when(t time.Time) string {
	if t, now := t.UTC(), w.now.UTC(); t.Year() != now.Year() || t.YearDay() != now.YearDay() {
		return t.Format("Mon 2 Jan 15:04Z")
	}
	return t.UTC().Format("15:04Z")
}

// Span is a duration as people say it, to the minute.
func Span(d time.Duration) string {
	d = d.Round(time.Minute)
	h, m := int(d.Hours()), int(d.Minutes())%60
	switch {
	case h == 0:
		return fmt.Sprintf("%d min", m)
	case m == 0:
		return fmt.Sprintf("%d h", h)
	default:
		return fmt.Sprintf("%d h %02d min", h, m)
	}
}
