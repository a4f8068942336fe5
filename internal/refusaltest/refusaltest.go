// Package refusaltest is one table of justifications that must not count, for
// whoever takes them: the decision, the function override, the command.
//
// In each row a user's MFA is off, and somebody says why. It refuses to know how
// that is said and answered.
package refusaltest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/request"
	"github.com/stackflow/relatch/internal/worker"
)

// Actor is the role and session of whoever switched MFA off. Other people are named
// so too; USER in a name stands for what the user is called.
const Actor = "SupportAdmin/ops-7"

// Row is a justification, and what is wrong with it.
type Row struct {
	Name string
	// Reason and Ticket are what is written, By whom. Each row has a ticket of its own.
	Reason, Ticket, By string
	// After is how long after the disable it is written; below zero: before.
	After time.Duration
	// Approver approves of it, Approved after the disable; empty: nobody.
	Approver string
	Approved time.Duration
	// Self: the user switched MFA off. Spent are the user's overrides of this week.
	Self  bool
	Spent int
	// Used: it has justified another override. Taken: the ticket was recorded for
	// another user before.
	Used, Taken bool
	// Address: the user is of a pool where the e-mail address is the username.
	Address bool

	// Problem is what override refuses with; empty: it is kept as evidence.
	Problem request.Type
	// Failed are the rules that it fails, and Says is a part of what is said of them.
	Failed []mfa.Rule
	Says   string
}

// Good is the row from which each of Table differs in one thing: it counts.
func Good() Row {
	return Row{Name: "nothing is wrong", Reason: "Lost her phone on the train, the new one arrives tomorrow", Ticket: "CHG0090000", By: Actor, After: time.Minute}
}

// Table has the rows.
func Table() []Row {
	const (
		day     = 24 * time.Hour
		another = "the justification was not written by SupportAdmin/ops-7, who switched MFA off"
		nobody  = "the justification needs an approver who is neither its author nor the user"
		budget  = nobody + ": 2 of 2 overrides in 7 days are used, the first on "
		someone = "the approver is the author or the user; somebody else must approve"
	)
	text := []mfa.Rule{mfa.RuleTooShort, mfa.RuleBoilerplate}
	rows := []Row{
		{Name: "forged in another's name", By: "TeamLead/eva", Failed: []mfa.Rule{mfa.RuleAuthor}, Says: another},
		{Name: "forged in a session of the same name", By: "TeamLead/ops-7", Failed: []mfa.Rule{mfa.RuleAuthor}, Says: another},
		{Name: "forged in another session of the role", By: "SupportAdmin/ops-8", Failed: []mfa.Rule{mfa.RuleAuthor}, Says: another},
		{Name: "late", After: 16 * time.Minute, Failed: []mfa.Rule{mfa.RuleTooLate}, Says: "more than 15 min after MFA was switched off"},
		{Name: "early", After: -day - time.Minute, Failed: []mfa.Rule{mfa.RuleTooEarly}, Says: "more than 24 h before MFA was switched off"},
		{Name: "of the user's own disable", Self: true, Failed: []mfa.Rule{mfa.RuleSelfService}, Says: "users cannot justify a disable of their own"},
		{Name: "empty", Reason: " ", Problem: request.FailedRules, Failed: text, Says: "the reason has fewer than 15 characters"},
		{Name: "blank", Reason: strings.Repeat(" ", 40), Problem: request.FailedRules, Failed: text, Says: "the reason has fewer than 15 characters"},
		{Name: "too short", Reason: "Broken display", Problem: request.FailedRules, Failed: text[:1], Says: "the reason has fewer than 15 characters"},
		{Name: "boilerplate", Reason: "please disable mfa for user", Problem: request.FailedRules, Failed: text[1:], Says: "the reason says nothing about this case"},
		{Name: "boilerplate in disguise", Reason: "ple\u200base disаble mfa for usеr", Problem: request.FailedRules, Failed: text[1:], Says: "the reason says nothing about this case"},
		{Name: "padded with what nobody sees", Reason: "Broken display\u200b\u2060", Problem: request.FailedRules, Failed: text[:1], Says: "the reason has fewer than 15 characters"},
		{Name: "a repetition of two words", Reason: "lost phone lost phone lost phone", Problem: request.FailedRules, Failed: text[1:], Says: "the reason says nothing about this case"},
		{Name: "late by a second", After: 15*time.Minute + time.Second, Failed: []mfa.Rule{mfa.RuleTooLate}, Says: "more than 15 min after MFA was switched off"},
		{Name: "repetition", Reason: "phone phone phone phone phone", Problem: request.FailedRules, Failed: text[1:], Says: "the reason says nothing about this case"},
		{Name: "with a ticket of another form", Ticket: "JIRA-4711", Problem: request.FailedRules, Failed: []mfa.Rule{mfa.RuleTicket}, Says: "the ticket does not match ^(INC|CHG)[0-9]{7}$"},
		{Name: "with a ticket and something behind it", Ticket: "CHG00123456", Problem: request.FailedRules, Failed: []mfa.Rule{mfa.RuleTicket}, Says: "the ticket does not match"},
		{Name: "with nothing right", Reason: "test", Ticket: "none", Problem: request.FailedRules, Failed: append(text[:2:2], mfa.RuleTicket), Says: "the ticket does not match"},
		{Name: "with another user's ticket", Taken: true, Problem: request.UsedTicket, Failed: []mfa.Rule{mfa.RuleUsed}, Says: " for another user"},
		{Name: "used before", Used: true, Problem: request.UsedJustification, Failed: []mfa.Rule{mfa.RuleUsed}, Says: "has justified override O-BEFORE of "},
		{Name: "over the budget", Spent: 2, Failed: []mfa.Rule{mfa.RuleApprover}, Says: budget},
		{Name: "over the budget, late and forged", Spent: 2, By: "TeamLead/eva", After: time.Hour, Failed: []mfa.Rule{mfa.RuleAuthor, mfa.RuleTooLate, mfa.RuleApprover}, Says: budget},
		{Name: "approved by the author", Spent: 2, Approver: Actor, Problem: request.FailedRules, Failed: []mfa.Rule{mfa.RuleApprover}, Says: someone},
		{Name: "approved by the author in another role", Spent: 2, Approver: "TeamLead/OPS-7", Problem: request.FailedRules, Failed: []mfa.Rule{mfa.RuleApprover}, Says: someone},
		{Name: "approved by the user", Spent: 2, Approver: "TeamLead/USER", Problem: request.FailedRules, Failed: []mfa.Rule{mfa.RuleApprover}, Says: someone},
		{Name: "approved by the user under the address", Spent: 2, Address: true, Approver: "AWSReservedSSO_Admin_0123456789abcdef/USER", Problem: request.FailedRules, Failed: []mfa.Rule{mfa.RuleApprover}, Says: someone},
		{Name: "approved by whoever switched MFA off", Spent: 2, By: "TeamLead/eva", Approver: Actor, Problem: request.FailedRules, Failed: []mfa.Rule{mfa.RuleAuthor, mfa.RuleApprover}, Says: someone},
		{Name: "approved late", Spent: 2, Approver: "TeamLead/eva", Approved: 16 * time.Minute, Failed: []mfa.Rule{mfa.RuleApprover}, Says: "more than 15 min after MFA was switched off"},
	}
	for i := range rows {
		good := Good()
		r := &rows[i]
		if r.Reason == "" {
			r.Reason = good.Reason
		}
		if r.Ticket == "" {
			r.Ticket = fmt.Sprintf("CHG009%04d", i+1)
		}
		if r.By == "" {
			r.By = good.By
		}
		if r.After == 0 {
			r.After = good.After
		}
		if r.Approver != "" && r.Approved == 0 {
			r.Approved = 2 * time.Minute
		}
	}
	return rows
}

// ARN is that of a role's session in the account, of a user who is called so.
func ARN(account, name, user string) string {
	return "arn:aws:sts::" + account + ":assumed-role/" + strings.ReplaceAll(name, "USER", user)
}

// Place is where a row is played.
type Place struct {
	Account string // of who asks
	Pool    mfa.PoolID
	Sub     mfa.Sub
	Called  string  // what USER stands for
	Other   mfa.Sub // whose ticket it is that was taken
	Now     time.Time
}

// Ledger is what a row is prepared in.
type Ledger interface {
	worker.Loader
	Append(context.Context, worker.Step) error
	Justify(context.Context, mfa.PoolID, mfa.Sub, mfa.Justification) (mfa.Justification, error)
}

// Asks is who asks, for what, at the end of the row, which is now.
func (r Row) Asks(p Place) (by string, what request.Request) {
	what = r.request(p)
	if r.Approver == "" {
		return ARN(p.Account, r.By, p.Called), what
	}
	id := r.Justification(p).ID
	return ARN(p.Account, r.Approver, p.Called), request.Request{Do: request.Approve, Pool: p.Pool, Sub: p.Sub, Justification: id}
}

func (r Row) request(p Place) request.Request {
	return request.Request{Do: request.Justify, Pool: p.Pool, Sub: p.Sub, Reason: r.Reason, Ticket: r.Ticket, Cause: mfa.OtherCause}
}

// disabledAt is when MFA was switched off.
func (r Row) disabledAt(p Place) time.Time {
	at := p.Now.UTC().Truncate(time.Second)
	if r.Approver != "" {
		return at.Add(-r.Approved)
	}
	return at.Add(-r.After)
}

// Justification is what is on record in the end, if it is taken.
func (r Row) Justification(p Place) mfa.Justification {
	at := r.disabledAt(p)
	j := r.request(p).Record(ARN(p.Account, r.By, p.Called), at.Add(r.After))
	if r.Approver != "" {
		j.Approver, j.ApprovedAt = ARN(p.Account, r.Approver, p.Called), at.Add(r.Approved)
	}
	if r.Taken {
		j.TicketOf = &mfa.TicketUse{Pool: p.Pool, Sub: p.Other, At: at.AddDate(0, 0, -21)}
	}
	return j
}

// Standing is the user's, whose override is open.
func (r Row) Standing(p Place) mfa.Standing {
	at := r.disabledAt(p)
	o := mfa.Override{
		ID: "O-OPEN", OpenedAt: at, Deadline: p.Now.Add(24 * time.Hour), SeenAt: at, Disables: 1, Taken: []mfa.Factor{mfa.TOTP},
		Actor: mfa.Actor{ARN: ARN(p.Account, Actor, ""), Type: mfa.Admin}, Match: mfa.Match{Failed: []mfa.Rule{mfa.RuleMissing}},
	}
	if r.Self {
		o.Actor = mfa.Actor{Type: mfa.Self}
	}
	s := mfa.Standing{Journal: mfa.UserJournal(p.Pool, p.Sub), Number: r.Spent + 1, Override: &o}
	for i := range r.Spent {
		began := at.AddDate(0, 0, -i-1)
		s.Past = append(s.Past, mfa.Past{ID: fmt.Sprint("O-", i), OpenedAt: began, ClosedAt: began.Add(time.Hour)})
	}
	if r.Used {
		s.Past = append(s.Past, mfa.Past{ID: "O-BEFORE", OpenedAt: at.AddDate(0, 0, -1), ClosedAt: at.AddDate(0, 0, -1), Justification: r.Justification(p).ID})
	}
	return s
}

// Prepare makes the ledger what it is before somebody asks.
func (r Row) Prepare(t testing.TB, l Ledger, p Place) {
	t.Helper()
	j := r.Justification(p)
	record := func(sub mfa.Sub, j mfa.Justification) {
		if _, err := l.Justify(t.Context(), p.Pool, sub, j); err != nil {
			t.Fatal(err)
		}
	}
	if r.Taken {
		other := j
		other.At = j.TicketOf.At
		record(p.Other, other)
	}
	if r.Used || r.Approver != "" {
		record(p.Sub, j)
	}
	s := r.Standing(p)
	loaded, err := l.Load(t.Context(), worker.Query{Journal: s.Journal})
	if err != nil {
		t.Fatal(err)
	}
	s.Version = loaded.Standing.Version
	if err := l.Append(t.Context(), worker.Step{Standing: s}); err != nil {
		t.Fatal(err)
	}
}
