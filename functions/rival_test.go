package functions_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/refusaltest"
	"github.com/stackflow/relatch/internal/request"
	"github.com/stackflow/relatch/internal/wiretest"
	"github.com/stackflow/relatch/internal/worker"
)

// rivals are people who ask at the same time, each of an override of their own.
type rivals struct {
	*wiretest.Account
	ledger *dynamo.Ledger
	desks  []*lambdatest.Function
	audit  *lambdatest.Function
}

// said is one request, and what it is answered.
type said struct {
	by     string
	what   request.Request
	status int
	answer request.Answer
	refuse request.Problem
}

// ask asks all at once.
func (r *rivals) ask(t *testing.T, all ...*said) {
	t.Helper()
	var together sync.WaitGroup
	for i, s := range all {
		together.Go(func() {
			var got events.LambdaFunctionURLResponse
			raw, err := r.desks[i%len(r.desks)].Invoke(t.Context(), []byte(asJSON(t, signed(s.by, asJSON(t, s.what)))))
			if err == nil {
				err = json.Unmarshal(raw, &got)
			}
			if s.status = got.StatusCode; err == nil && s.status/100 == 2 {
				err = json.Unmarshal([]byte(got.Body), &s.answer)
			} else if err == nil {
				err = json.Unmarshal([]byte(got.Body), &s.refuse)
			}
			if err != nil {
				t.Errorf("%+v: %v", s.what, err)
			}
		})
	}
	together.Wait()
}

func (r *rivals) standing(t *testing.T, p refusaltest.Place) mfa.Standing {
	t.Helper()
	loaded, err := r.ledger.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(p.Pool, p.Sub)})
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Standing
}

func (r *rivals) recorded(t *testing.T, p refusaltest.Place) []mfa.Justification {
	t.Helper()
	all, err := r.ledger.Justifications(t.Context(), p.Pool, p.Sub)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// looks has audit take what is in its queue.
func (r *rivals) looks(t *testing.T) {
	t.Helper()
	if messages := r.Take(t, wiretest.AuditQueue); len(messages) > 0 {
		if answer, err := r.audit.Invoke(t.Context(), wiretest.Batch(t, wiretest.AuditQueue, messages...)); err != nil || string(answer) != `{"batchItemFailures":[]}` {
			t.Fatalf("%s, %v", answer, err)
		}
	}
}

// place is a new user's.
func (r *rivals) place(t *testing.T, name string) refusaltest.Place {
	t.Helper()
	sub := r.Add(t, wiretest.Person{Pool: r.Pool, Name: name})
	return refusaltest.Place{Account: "123456789012", Pool: r.Pool, Sub: sub, Called: name, Now: time.Now()}
}

func TestPeopleWhoAskAtTheSameTime(t *testing.T) {
	a := wiretest.Open(t)
	r := &rivals{Account: a, ledger: dynamo.New(a.DynamoDB, wiretest.Table), audit: lambdatest.Start(t, lambdatest.Build(t, "./functions/audit"), a.Environment()...)}
	for range 3 {
		r.desks = append(r.desks, lambdatest.Start(t, lambdatest.Build(t, "./functions/override"), a.Environment()...))
	}
	t.Run("two administrators of one override", r.twoAdministrators)
	t.Run("two users of one ticket", r.twoUsers)
	t.Run("one request many times", r.oneRequest)
	t.Run("two approvers", r.twoApprovers)
	t.Run("a reason while audit opens the override", r.whileAuditOpens)
	t.Run("a reason that names the user", r.namesTheUser)
}

func (r *rivals) twoAdministrators(t *testing.T) {
	p, row := r.place(t, "anna"), refusaltest.Good()
	row.Prepare(t, r.ledger, p)
	_, what := row.Asks(p)
	other := what
	other.Ticket = "CHG0080000"
	mine, theirs := &said{by: ops, what: what}, &said{by: eva, what: other}
	r.ask(t, mine, theirs)
	if mine.status != http.StatusCreated || len(mine.answer.FailedRules) > 0 {
		t.Errorf("whoever switched it off: %+v", mine)
	}
	if diff := cmp.Diff([]mfa.Rule{mfa.RuleAuthor}, theirs.answer.FailedRules); theirs.status != http.StatusCreated || diff != "" {
		t.Errorf("somebody else: %d (-want +got)\n%s", theirs.status, diff)
	}
	r.looks(t)
	if m := r.standing(t, p).Override.Match; !m.Justified() || m.ID != mine.answer.ID || len(r.recorded(t, p)) != 2 {
		t.Errorf("%+v of %+v", m, r.recorded(t, p))
	}
}

func (r *rivals) twoUsers(t *testing.T) {
	one, two := r.place(t, "bea"), r.place(t, "bob")
	for i := range 8 {
		ticket := fmt.Sprintf("CHG00810%02d", i)
		asked := map[mfa.Sub]*said{}
		for _, p := range []refusaltest.Place{one, two} {
			_, what := refusaltest.Good().Asks(p)
			what.Ticket = ticket
			asked[p.Sub] = &said{by: ops, what: what}
		}
		r.ask(t, asked[one.Sub], asked[two.Sub])
		use, err := r.ledger.TicketUse(t.Context(), ticket)
		if err != nil || use == nil {
			t.Fatalf("%+v, %v", use, err)
		}
		winner, loser, other := asked[use.Sub], asked[two.Sub], two
		if use.Sub == two.Sub {
			loser, other = asked[one.Sub], one
		}
		if winner.status != http.StatusCreated || loser.status != http.StatusConflict || loser.refuse.Type != request.UsedTicket {
			t.Errorf("%s: the first is told %d, the other one %d %s", ticket, winner.status, loser.status, loser.refuse.Type)
		}
		for _, j := range r.recorded(t, other) {
			if j.Ticket == ticket && (j.TicketOf == nil || j.ID != loser.refuse.ID) {
				t.Errorf("%s counts for both", ticket)
			}
		}
	}
}

func (r *rivals) oneRequest(t *testing.T) {
	p := r.place(t, "cleo")
	_, what := refusaltest.Good().Asks(p)
	what.Ticket = "CHG0082000"
	before := len(items(t, r.Account))
	var all []*said
	for range 9 {
		all = append(all, &said{by: ops, what: what})
	}
	r.ask(t, all...)
	for _, s := range all {
		if s.status/100 != 2 || s.answer.ID != all[0].answer.ID || !s.answer.At.Equal(all[0].answer.At) {
			t.Errorf("%d %+v, and the first %+v", s.status, s.answer, all[0].answer)
		}
	}
	if n := len(items(t, r.Account)) - before; n != 2 { // the justification and its ticket
		t.Errorf("one request wrote %d items", n)
	}
}

func (r *rivals) twoApprovers(t *testing.T) {
	p, row := r.place(t, "dora"), refusaltest.Good()
	row.Spent, row.Ticket = 2, "CHG0083000"
	row.Prepare(t, r.ledger, p)
	_, what := row.Asks(p)
	written := &said{by: ops, what: what}
	r.ask(t, written)
	approve := request.Request{Do: request.Approve, Pool: p.Pool, Sub: p.Sub, Justification: written.answer.ID}
	both := []*said{{by: eva, what: approve}, {by: tom, what: approve}}
	r.ask(t, both...)
	slices.SortFunc(both, func(a, b *said) int { return a.status - b.status })
	if both[0].status != http.StatusCreated || both[1].status != http.StatusConflict || both[1].refuse.Type != request.ApprovedAlready {
		t.Errorf("%+v and %+v", both[0], both[1])
	}
	r.looks(t)
	all := r.recorded(t, p)
	if len(all) != 1 || all[0].Approver != both[0].by || !r.standing(t, p).Override.Match.Justified() {
		t.Errorf("%+v, %+v", all, r.standing(t, p).Override.Match)
	}
}

func (r *rivals) whileAuditOpens(t *testing.T) {
	for i := range 6 {
		name := fmt.Sprint("emil", i)
		on := []mfa.Factor{mfa.TOTP}
		sub := r.Add(t, wiretest.Person{Pool: r.Pool, Name: name, Roles: []mfa.Role{"itsm_manager"}, Registered: on, Factors: on})
		p := refusaltest.Place{Account: "123456789012", Pool: r.Pool, Sub: sub, Called: name, Now: time.Now()}
		r.Switch(t, r.Pool, sub, false, mfa.TOTP)
		r.Put(t, disable(r.Pool, sub, fmt.Sprint("e-rival-", i), time.Now()))
		delivered := wiretest.Batch(t, wiretest.AuditQueue, r.Take(t, wiretest.AuditQueue)...)
		_, what := refusaltest.Good().Asks(p)
		what.Ticket = fmt.Sprintf("CHG00840%02d", i)
		var opening sync.WaitGroup
		opening.Go(func() {
			if answer, err := r.audit.Invoke(t.Context(), delivered); err != nil || string(answer) != `{"batchItemFailures":[]}` {
				t.Errorf("%s, %v", answer, err)
			}
		})
		reason := &said{by: ops, what: what}
		r.ask(t, reason)
		opening.Wait()
		r.looks(t)
		if o := r.standing(t, p).Override; o == nil || !o.Match.Justified() || o.Match.ID != reason.answer.ID {
			t.Errorf("%+v", o)
		}
	}
}

func (r *rivals) namesTheUser(t *testing.T) {
	p := r.place(t, "frida")
	address := refusaltest.Place{Account: p.Account, Pool: r.EmailPool, Sub: r.Add(t, wiretest.Person{Pool: r.EmailPool, Name: "gerda@example.com"})}
	before := items(t, r.Account)
	for _, c := range []struct {
		refusaltest.Place
		reason, ticket string
	}{
		{p, "Frida lost her phone on the train", "CHG0085000"},
		{p, "Lost her phone on the train (FRIDA)", "CHG0085000"},
		{address, "The phone of Gerda@Example.com is broken", "CHG0085000"},
	} {
		s := &said{by: ops, what: request.Request{Do: request.Justify, Pool: c.Pool, Sub: c.Sub, Reason: c.reason, Ticket: c.ticket}}
		r.ask(t, s)
		if s.status != http.StatusUnprocessableEntity || s.refuse.Type != request.NamesUser || !strings.Contains(s.refuse.Detail, "without the username and the address") {
			t.Errorf("%q: %d %+v", c.reason, s.status, s.refuse)
		}
	}
	if diff := cmp.Diff(before, items(t, r.Account)); diff != "" {
		t.Errorf("the table (-before +after):\n%s", diff)
	}
	s := &said{by: ops, what: request.Request{Do: request.Justify, Pool: p.Pool, Sub: p.Sub, Reason: "Fridays are bad: she lost her phone", Ticket: "CHG0085000"}}
	if r.ask(t, s); s.status != http.StatusCreated {
		t.Errorf("another word: %d %+v", s.status, s.refuse)
	}
}
