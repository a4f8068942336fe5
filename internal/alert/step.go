package alert

import (
	"fmt"
	"slices"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
)

// todo is what to do, in this order.
func (w words) todo() []string {
	o := w.override()
	if w.a.Kind == mfa.DeadlineNear {
		return w.before(o)
	}
	if w.a.Severity == mfa.Info || w.a.State == mfa.StateResolved {
		return nil
	}
	who := by(w.actor())
	switch w.a.Kind {
	case mfa.MassDisable:
		return []string{"revoke the sessions of " + who, "ask " + who, "not meant: relatch status lists the overrides to end"}
	case mfa.CannotRestoreUser:
		return []string{"have the user enrol", "until then: disable the user if the account is in danger"}
	case mfa.LockedOutLikely:
		return []string{
			"ask the user whether the old phone is there after all",
			"it is not: relatch override USER --lost-device deletes its token, so that the user can enrol a new one",
		}
	case mfa.FactorSwapped:
		return []string{"ask the user whether the new factor is theirs", "not theirs: delete it, sign the user out, and revoke the sessions of " + w.opener()}
	case mfa.PoolWeakened, mfa.GuardTampered:
		if w.actor().Type == "" {
			return []string{"find in CloudTrail who did it, and ask", "not meant: put it back, then revoke that session"}
		}
		return []string{"ask " + who, "not meant: put it back, then revoke that session"}
	case mfa.PolicyInvalid, mfa.PolicyWeakened:
		return []string{"find out who changed the record mfa.required_roles, and ask", "not meant: put it back"}
	case mfa.UnreadableEvent:
		return []string{"read it in the dead-letter queue: what could not be read may be a disable"}
	case mfa.PostureGap:
		return []string{"have these users enrol"}
	default:
	}
	switch {
	case o == nil && !w.closed():
		return []string{"have the user enrol", "until then: disable the user, or take the role away"}
	case w.closed():
		return []string{"ask " + who}
	case w.a.Kind == mfa.OverrideOverdue && w.s.House.Observe:
		return []string{"ask " + who, "no longer needed: " + w.byHand(o)}
	case w.a.Kind == mfa.OverrideOverdue:
		return []string{w.ends(o), "still off then: " + w.byHand(o), "relatch doctor says what keeps Relatch from it"}
	}
	return w.asked(o)
}

// asked is what to do about an open override: ask, then let it be or end it.
func (w words) asked(o *mfa.Override) []string {
	steps := []string{"ask " + by(o.Actor)}
	switch {
	case o.Disables == 0:
		steps[0] = "find in CloudTrail who did it, and ask"
	case o.Actor.Type == mfa.Self:
		steps[0] = "ask the user, over another channel"
	}
	switch until, _ := w.justifiable(); {
	case o.Match.Justified(), o.Disables == 0, o.Actor.Type == mfa.Self:
	case !until.After(w.now):
		steps = append(steps, "meant: too late to justify, let it end by itself")
	case w.unapproved():
		steps = append(steps, fmt.Sprintf("meant: by %s somebody else than its author and the user runs relatch approve %s %s", w.when(until), o.ID, o.Match.ID))
	default:
		step := fmt.Sprintf("meant: by %s %s runs relatch justify %s --reason … --ticket …", w.when(until), session(o.Actor), o.ID)
		if w.s.Standing.NeedsApprover(o.OpenedAt, w.p) {
			step += fmt.Sprintf(", and somebody else relatch approve %s J-…", o.ID)
		}
		steps = append(steps, step)
	}
	after := "revoke that session"
	if o.Actor.Type == mfa.Self {
		after = "reset the user's password"
	}
	switch {
	case w.s.House.Observe:
		return append(steps, fmt.Sprintf("not meant: %s, then %s", w.byHand(o), after))
	case len(o.Restorable()) == 0:
		return append(steps, "not meant: disable the user until they enrol, then "+after)
	default:
		return append(steps, fmt.Sprintf("not meant: %s, then %s", w.ends(o), after))
	}
}

// before is what to do before the deadline.
func (w words) before(o *mfa.Override) []string {
	on := o.Restorable()
	old := "whether what they need for it is at hand"
	if slices.Contains(on, mfa.TOTP) && !o.Verified {
		old = "whether the old phone is at hand"
	}
	switch {
	case w.s.House.Observe:
		return []string{"no longer needed: " + w.byHand(o)}
	case len(on) == 0:
		return []string{"have the user enrol before then"}
	case o.Match.Cause == mfa.LostDevice && !o.Verified:
		return []string{"have the user enrol a new phone before then", "too late: relatch override USER --lost-device deletes the old token, so that the user can enrol a new one"}
	default:
		return []string{"ask the user " + old, "it is not: have the user enrol a new one before then"}
	}
}

// ends is the command that ends the override, and what it does.
func (w words) ends(o *mfa.Override) string {
	return fmt.Sprintf("relatch end %s (%s on within 2 minutes)", o.ID, Names(o.Restorable()))
}

func (w words) byHand(o *mfa.Override) string {
	return fmt.Sprintf("switch %s on by hand, as the runbook says", Names(o.Taken))
}

// opener names who opened the override that the alert is about.
func (w words) opener() string {
	if o := w.override(); o != nil && o.Disables > 0 {
		return by(o.Actor)
	}
	return "whoever switched MFA off"
}

// unapproved reports whether all that the override's justification lacks is an
// approver.
func (w words) unapproved() bool {
	failed := w.override().Match.Failed
	return len(failed) == 1 && failed[0] == mfa.RuleApprover
}

// justifiable is until when a justification can be written and approved of, and to
// what it lowers the alert; "" if to nothing.
func (w words) justifiable() (time.Time, string) {
	o := w.override()
	until := o.OpenedAt.Add(w.p.Late)
	switch {
	case o.Match.Justified(), o.Disables == 0, o.Actor.Type == mfa.Self:
		return until, ""
	case o.Repeated, o.Overdue, o.Unrestorable, o.Rank >= mfa.MassUsers:
		return until, ""
	case w.a.Severity == mfa.Critical:
		return until, "a warning"
	case w.a.Severity == mfa.Warning && !o.Required:
		return until, "a note"
	default:
		return until, ""
	}
}
