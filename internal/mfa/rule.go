package mfa

import (
	"fmt"
	"time"
)

// Facts are what is known about a justification that fails a rule. What is zero
// is not known, and not said.
type Facts struct {
	Justification Justification
	Policy        Policy
	Actor         Actor     // who switched MFA off
	At            time.Time // when
	Used          *Past     // what the justification was used for
	// Spent are the user's other overrides in the policy's BudgetSpan, and Since
	// is when the first of them opened.
	Spent int
	Since time.Time
}

// Says tells the failure of the rule in words: those of records, alerts, the
// function override and the command. They may have the ticket and the actor's
// name, but neither the reason nor the name of anybody else: the author or the
// approver may be the user.
func (r Rule) Says(f Facts) string {
	j, p := f.Justification, f.Policy
	switch r {
	case RuleMissing:
		return "nobody gave a reason"
	case RuleSelfService:
		return "users cannot justify a disable of their own"
	case RuleAuthor:
		return f.author()
	case RuleTooShort:
		if !p.Valid() {
			return "the reason is too short"
		}
		return fmt.Sprintf("the reason has fewer than %d characters", p.MinLength)
	case RuleBoilerplate:
		return "the reason says nothing about this case"
	case RuleTicket:
		if p.TicketPattern == nil {
			return "the ticket has not the form that the policy asks for"
		}
		return fmt.Sprintf("the ticket does not match %s", p.TicketPattern)
	case RuleTooEarly:
		if f.At.IsZero() {
			return "the justification was written too long before MFA was switched off"
		}
		return fmt.Sprintf("the justification was written on %s, more than %d h before MFA was switched off", minute(j.At), int(p.Before.Hours()))
	case RuleTooLate:
		if f.At.IsZero() {
			return "the justification was written too long after MFA was switched off"
		}
		return fmt.Sprintf("the justification was written on %s, more than %d min after MFA was switched off", minute(j.At), int(p.Late.Minutes()))
	case RuleUsed:
		return f.used()
	case RuleApprover:
		return f.approver()
	default:
		return string(r)
	}
}

func (f Facts) author() string {
	if name := f.Actor.Name(); name != "" {
		return fmt.Sprintf("the justification was not written by %s, who switched MFA off", name)
	}
	return "the justification was not written by whoever switched MFA off"
}

func (f Facts) used() string {
	j := f.Justification
	switch {
	case j.TicketOf != nil:
		return fmt.Sprintf("ticket %s was used on %s for another user", j.Ticket, j.TicketOf.At.UTC().Format(time.DateOnly))
	case f.Used != nil:
		return fmt.Sprintf("%s has justified override %s of %s already", j.ID, f.Used.ID, f.Used.OpenedAt.UTC().Format(time.DateOnly))
	default:
		return "the justification or its ticket was used before"
	}
}

func (f Facts) approver() string {
	p := f.Policy
	text := "the justification needs an approver who is neither its author nor the user"
	days := int(p.BudgetSpan.Hours() / 24)
	switch {
	case !p.Valid():
		return text
	case !f.At.IsZero() && f.Justification.ApprovedAt.After(f.At.Add(p.Late)):
		return fmt.Sprintf("the approval came on %s, more than %d min after MFA was switched off", minute(f.Justification.ApprovedAt), int(p.Late.Minutes()))
	case f.Spent >= p.Budget && f.Spent > 0:
		return fmt.Sprintf("%s: %d of %d overrides in %d days are used, the first on %s", text, f.Spent, p.Budget, days, f.Since.UTC().Format(time.DateOnly))
	case p.RequireApprover:
		return text + ": the policy asks for one"
	default:
		return text + ": the policy allows no override without one"
	}
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }
