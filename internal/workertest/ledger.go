// Package workertest is what every implementation of the worker's ports has to
// do: one suite per port, run on the account in memory and on the adapters.
//
// It asserts the state afterwards, never the calls, and it refuses to know how a
// port is implemented.
package workertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// The names that the suites use. An implementation need not know them before.
const (
	Pool      mfa.PoolID = "us-east-1_EXAMPLE12"
	OtherPool mfa.PoolID = "us-east-1_EXAMPLE34"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// Book is a ledger that takes what people say.
type Book interface {
	worker.Ledger
	// Justify records a justification under its ID, which must not be empty, and
	// its ticket for the user. It returns what is recorded. To record it again is
	// no error, and the first At stands; another justification under the same ID
	// is one. TicketOf is the ledger's to say, and Approver is Approve's.
	Justify(context.Context, mfa.PoolID, mfa.Sub, mfa.Justification) (mfa.Justification, error)
	// Approve records an approval of the user's justification of the ID, which is
	// recorded. It returns the first one, which stands.
	Approve(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, id string, a mfa.Approval) (mfa.Approval, error)
	// TicketUse returns the first use of a ticket, nil if there was none.
	TicketUse(ctx context.Context, ticket string) (*mfa.TicketUse, error)
}

// Ledger runs the suite of worker.Ledger. empty makes an empty one.
func Ledger(t *testing.T, empty func(*testing.T) Book) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Book){
		"what nobody wrote is at version 0":                    ledgerEmpty,
		"what is loaded is what was appended":                  ledgerKeeps,
		"a stale version conflicts and stores nothing":         ledgerStale,
		"a known cause key conflicts and stores nothing":       ledgerKnown,
		"a cause key is known to its own journal only":         ledgerKeys,
		"open lists what is open, in a stable order, per pool": ledgerOpen,
		"justifications are in the order of their time":        ledgerJustifications,
		"a justification is recorded once":                     ledgerJustifiesOnce,
		"the first approval stands":                            ledgerApprovals,
		"a ticket is the user's for whom it came first":        ledgerTickets,
		"what is due first is listed first":                    ledgerDue,
		"a count gives each place once":                        ledgerCount,
	} {
		t.Run(name, func(t *testing.T) { test(t, empty(t)) })
	}
}

func load(t *testing.T, l worker.Ledger, journal, key string) (mfa.Standing, bool) {
	t.Helper()
	loaded, err := l.Load(t.Context(), worker.Query{Journal: journal, Key: key})
	if err != nil {
		t.Fatalf("load %s: %v", journal, err)
	}
	return loaded.Standing, loaded.Known
}

func mustAppend(t *testing.T, l worker.Ledger, s worker.Step) {
	t.Helper()
	if err := l.Append(t.Context(), s); err != nil {
		t.Fatalf("append to %s: %v", s.Standing.Journal, err)
	}
}

// unchanged asserts that a journal is as it was, and knows no such key.
func unchanged(t *testing.T, l worker.Ledger, want mfa.Standing, key string) {
	t.Helper()
	got, known := load(t, l, want.Journal, key)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a refused step changed the standing (-want +got):\n%s", diff)
	}
	if known {
		t.Errorf("a refused step left the cause key %q", key)
	}
}

// full is a standing with something in every field.
func full(journal string) mfa.Standing {
	record := mfa.Record{
		Schema: mfa.RecordSchema, At: noon, Verdict: mfa.Restores, Reason: mfa.DeadlineReached,
		Cause:   mfa.RecordCause{Key: "e-1", Kind: mfa.Due, EventTime: noon.Add(-time.Hour), Actor: "arn:aws:iam::111122223333:user/ops", ActorType: mfa.Admin},
		User:    &mfa.RecordUser{Pool: Pool, Sub: "u-1"},
		Actions: []mfa.Outcome{{Action: mfa.Action{Do: mfa.Schedule, At: noon}, Result: mfa.Done}},
	}
	return mfa.Standing{
		Journal: journal, Entries: 3, Head: "abc",
		Baseline: &mfa.Baseline{Factors: []mfa.Factor{mfa.TOTP, mfa.SMS}, Preferred: mfa.TOTP, SeenAt: noon},
		EverHeld: true, NotedAt: noon.Add(time.Minute), Lost: []mfa.Factor{mfa.SMS}, Posture: true, Number: 2,
		Override: &mfa.Override{
			ID: "O-ABCDEFGHIJ", OpenedAt: noon, Deadline: noon.Add(24 * time.Hour), SeenAt: noon.Add(time.Second), Disables: 2,
			Actor: mfa.Actor{ARN: "arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7", Issuer: "arn:aws:iam::111122223333:role/SupportAdmin", Type: mfa.Admin, SourceIdentity: "ops-7"},
			Roles: []mfa.Role{"itsm_manager"}, Taken: []mfa.Factor{mfa.TOTP}, Before: &mfa.Baseline{Factors: []mfa.Factor{mfa.TOTP}, SeenAt: noon},
			Match: mfa.Match{ID: "J-1", Failed: []mfa.Rule{mfa.RuleTooLate}, Cause: mfa.LostDevice}, Rank: 1,
			Repeated: true, Overdue: true, Verified: true, Unrestorable: true, Tried: true, AskedAt: noon, Noticed: []time.Duration{4 * time.Hour},
		},
		Past:    []mfa.Past{{ID: "O-BEFORE", OpenedAt: noon.Add(-time.Hour), ClosedAt: noon.Add(-time.Minute), Justification: "J-0"}},
		SignOut: true,
		Incidents: []mfa.Incident{
			{Key: "override/O-ABCDEFGHIJ", Kind: mfa.RequiredRoleWithoutMFA, Severity: mfa.Critical, Since: noon},
		},
		Intention: &mfa.Intention{
			Record: record, Actions: []mfa.Action{{Do: mfa.Restore}, {Do: mfa.SignOut}},
			Alerts:      []mfa.Alert{{Kind: mfa.DeadlineNear, Severity: mfa.Info, State: mfa.StateNoted}},
			LeasedUntil: noon.Add(mfa.Lease),
		},
		Pool:  &mfa.Pool{Mode: mfa.ModeOptional, Factors: []mfa.Factor{mfa.TOTP}, PreToken: true, Groups: []mfa.Role{"itsm_manager"}},
		Swept: []mfa.Role{"itsm_manager"}, Count: []mfa.Sub{"u-1"}, Told: noon, Lacks: []string{"MFA is off, it was optional"},
		Policy: []byte(`["itsm_manager"]`),
	}
}

func ledgerEmpty(t *testing.T, l Book) {
	journal := mfa.UserJournal(Pool, "u-1")
	for _, key := range []string{"", "e-1"} {
		got, known := load(t, l, journal, key)
		if got.Version != 0 || got.Entries != 0 || got.Open() || known {
			t.Errorf("an empty journal is %+v, key %q known: %t", got, key, known)
		}
	}
}

func ledgerKeeps(t *testing.T, l Book) {
	for _, journal := range []string{mfa.UserJournal(Pool, "u-1"), mfa.PoolJournal(Pool), mfa.PolicyJournal, mfa.GuardJournal("arn:aws:events:us-east-1:111122223333:rule/relatch")} {
		want := full(journal)
		next, entry := want.Append(want.Intention.Record)
		mustAppend(t, l, worker.Step{Standing: next, Key: "e-1", Entry: &entry})
		next.Version = 1
		got, known := load(t, l, journal, "e-1")
		if diff := cmp.Diff(next, got); diff != "" {
			t.Errorf("%s (-appended +loaded):\n%s", journal, diff)
		}
		if _, other := load(t, l, journal, "e-2"); !known || other {
			t.Errorf("%s: the cause key is known: %t; another one: %t", journal, known, other)
		}
		if _, known := load(t, l, journal, ""); known {
			t.Errorf("%s: the empty key is known", journal)
		}
	}
}

func ledgerStale(t *testing.T, l Book) {
	journal := mfa.UserJournal(Pool, "u-1")
	mustAppend(t, l, worker.Step{Standing: mfa.Standing{Journal: journal, Number: 1}, Key: "e-1"})
	mustAppend(t, l, worker.Step{Standing: mfa.Standing{Journal: journal, Version: 1, Number: 2}})
	before, _ := load(t, l, journal, "")
	if before.Version != 2 {
		t.Fatalf("after two steps the journal is at version %d", before.Version)
	}
	for _, version := range []int{0, 1, 3} {
		standing := full(journal)
		standing.Version = version
		next, entry := standing.Append(mfa.Record{Verdict: mfa.Opens, At: noon})
		if err := l.Append(t.Context(), worker.Step{Standing: next, Key: "e-2", Entry: &entry}); !errors.Is(err, worker.ErrConflict) {
			t.Errorf("a step from version %d at version 2: %v, not ErrConflict", version, err)
		}
		unchanged(t, l, before, "e-2")
	}
	if open := opened(t, l, Pool); len(open) > 0 {
		t.Errorf("a refused step is listed as open: %v", open)
	}
	mustAppend(t, l, worker.Step{Standing: before, Key: "e-2"})
}

func ledgerKnown(t *testing.T, l Book) {
	journal := mfa.UserJournal(Pool, "u-1")
	mustAppend(t, l, worker.Step{Standing: mfa.Standing{Journal: journal, Number: 1}, Key: "e-1"})
	before, _ := load(t, l, journal, "")
	standing := full(journal)
	standing.Version = before.Version
	next, entry := standing.Append(mfa.Record{Verdict: mfa.Opens, At: noon})
	if err := l.Append(t.Context(), worker.Step{Standing: next, Key: "e-1", Entry: &entry}); !errors.Is(err, worker.ErrConflict) {
		t.Errorf("a step with a known cause key: %v, not ErrConflict", err)
	}
	unchanged(t, l, before, "")
	if open := opened(t, l, Pool); len(open) > 0 {
		t.Errorf("a refused step is listed as open: %v", open)
	}
}

func ledgerKeys(t *testing.T, l Book) {
	one, other := mfa.UserJournal(Pool, "u-1"), mfa.UserJournal(Pool, "u-2")
	mustAppend(t, l, worker.Step{Standing: mfa.Standing{Journal: one}, Key: "e-1"})
	if _, known := load(t, l, other, "e-1"); known {
		t.Error("a cause key of one journal is known to another")
	}
	mustAppend(t, l, worker.Step{Standing: mfa.Standing{Journal: other}, Key: "e-1"})
}

// opened are the journals that are listed as open.
func opened(t *testing.T, l worker.Ledger, pool mfa.PoolID) []string {
	t.Helper()
	var journals []string
	for s, err := range l.Open(t.Context(), pool) {
		if err != nil {
			t.Fatalf("list what is open: %v", err)
		}
		want, _ := load(t, l, s.Journal, "")
		if diff := cmp.Diff(want, s); diff != "" {
			t.Errorf("listed otherwise than loaded (-loaded +listed):\n%s", diff)
		}
		journals = append(journals, s.Journal)
	}
	return journals
}

func ledgerOpen(t *testing.T, l Book) {
	standings := map[mfa.Sub]mfa.Standing{
		"override": {Override: &mfa.Override{ID: "O-1"}}, "noted": {NotedAt: noon}, "intention": {Intention: &mfa.Intention{LeasedUntil: noon}},
		"sign-out": {SignOut: true}, "posture": {Posture: true}, "incident": {Incidents: []mfa.Incident{{Key: mfa.UserJournal(Pool, "incident"), Severity: mfa.Warning}}},
		"nothing": {EverHeld: true, Number: 3}, "another incident": {Incidents: []mfa.Incident{{Key: "override/O-0"}}},
	}
	var want []string
	for sub, s := range standings {
		s.Journal = mfa.UserJournal(Pool, sub)
		mustAppend(t, l, worker.Step{Standing: s})
		if s.Open() {
			want = append(want, s.Journal)
		}
	}
	slices.Sort(want)
	elsewhere := mfa.UserJournal(OtherPool, "u-1")
	mustAppend(t, l, worker.Step{Standing: mfa.Standing{Journal: elsewhere, SignOut: true}})
	mustAppend(t, l, worker.Step{Standing: mfa.Standing{Journal: mfa.PoolJournal(Pool), Intention: &mfa.Intention{LeasedUntil: noon}}})

	got := opened(t, l, Pool)
	if again := opened(t, l, Pool); !slices.Equal(got, again) {
		t.Errorf("listed in one order and then in another: %v, %v", got, again)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("open are %v, listed are %v", want, got)
	}
	if got := opened(t, l, OtherPool); !slices.Equal(got, []string{elsewhere}) {
		t.Errorf("of the other pool %v are listed", got)
	}
	for _, err := range l.Open(t.Context(), Pool) {
		if err != nil {
			t.Error(err)
		}
		break // who lists may stop
	}
	for _, journal := range want {
		mustAppend(t, l, worker.Step{Standing: mfa.Standing{Journal: journal, Version: 1}})
	}
	if got := opened(t, l, Pool); len(got) > 0 {
		t.Errorf("nothing is open any more, listed are %v", got)
	}
}

func justify(t *testing.T, l Book, pool mfa.PoolID, sub mfa.Sub, j mfa.Justification) mfa.Justification {
	t.Helper()
	got, err := l.Justify(t.Context(), pool, sub, j)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func justifications(t *testing.T, l Book, pool mfa.PoolID, sub mfa.Sub) []mfa.Justification {
	t.Helper()
	all, err := l.Justifications(t.Context(), pool, sub)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func ledgerJustifications(t *testing.T, l Book) {
	want := []mfa.Justification{}
	for i, at := range []time.Time{noon, noon.Add(-time.Hour), noon.Add(time.Hour)} {
		want = append(want, mfa.Justification{
			ID: fmt.Sprint("J-", i), Reason: fmt.Sprint("reason ", i), Ticket: "CHG0012345", Cause: mfa.LostDevice, Author: "arn:a", At: at,
		})
		justify(t, l, Pool, "u-1", want[i])
	}
	justify(t, l, Pool, "u-2", mfa.Justification{ID: "J-0", Reason: "another user's", At: noon})
	justify(t, l, OtherPool, "u-1", mfa.Justification{ID: "J-0", Reason: "another pool's", At: noon})
	want[0], want[1] = want[1], want[0]
	if diff := cmp.Diff(want, justifications(t, l, Pool, "u-1")); diff != "" {
		t.Errorf("justifications (-recorded +loaded):\n%s", diff)
	}
	if none := justifications(t, l, Pool, "u-3"); len(none) > 0 {
		t.Errorf("of a user without any: %v", none)
	}
}

func ledgerJustifiesOnce(t *testing.T, l Book) {
	first := mfa.Justification{ID: "J-1", Reason: "phone lost on the train", Ticket: "CHG0012345", Author: "arn:a", At: noon}
	again, claimed, other := first, first, first
	again.At, other.Reason = noon.Add(time.Minute), "something else"
	claimed.Approver, claimed.TicketOf = "arn:b", &mfa.TicketUse{Pool: Pool, Sub: "u-2", At: noon}
	for _, j := range []mfa.Justification{claimed, first, again} {
		got, err := l.Justify(t.Context(), Pool, "u-1", j)
		if diff := cmp.Diff(first, got); err != nil || diff != "" {
			t.Errorf("%v, recorded (-want +got):\n%s", err, diff)
		}
	}
	if _, err := l.Justify(t.Context(), Pool, "u-1", other); err == nil {
		t.Error("another justification took an ID that is in use")
	}
	if _, err := l.Justify(t.Context(), Pool, "u-1", mfa.Justification{Reason: "without an ID"}); err == nil {
		t.Error("a justification without an ID was taken")
	}
	if diff := cmp.Diff([]mfa.Justification{first}, justifications(t, l, Pool, "u-1")); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}

func ledgerApprovals(t *testing.T, l Book) {
	for _, id := range []string{"J-1", "J-1-2", "J-2"} {
		justify(t, l, Pool, "u-1", mfa.Justification{ID: id, Reason: "phone lost on the train", Author: "arn:a", At: noon})
	}
	first := mfa.Approval{Approver: "arn:b", At: noon}
	for _, a := range []mfa.Approval{first, {Approver: "arn:b", At: noon.Add(time.Minute)}, {Approver: "arn:c", At: noon.Add(time.Hour)}} {
		got, err := l.Approve(t.Context(), Pool, "u-1", "J-1", a)
		if diff := cmp.Diff(first, got); err != nil || diff != "" {
			t.Errorf("%v, recorded (-want +got):\n%s", err, diff)
		}
	}
	got := map[string]mfa.Approval{}
	for _, j := range justifications(t, l, Pool, "u-1") {
		got[j.ID] = mfa.Approval{Approver: j.Approver, At: j.ApprovedAt}
	}
	if diff := cmp.Diff(map[string]mfa.Approval{"J-1": first, "J-1-2": {}, "J-2": {}}, got); diff != "" {
		t.Errorf("approvals (-want +got):\n%s", diff)
	}
	if again := justify(t, l, Pool, "u-1", mfa.Justification{ID: "J-1", Reason: "phone lost on the train", Author: "arn:a", At: noon}); again.At != noon {
		t.Errorf("an approved one is not the same any more: %+v", again)
	}
}

func ledgerTickets(t *testing.T, l Book) {
	first := &mfa.TicketUse{Pool: Pool, Sub: "u-1", At: noon}
	for i, c := range []struct {
		pool   mfa.PoolID
		sub    mfa.Sub
		ticket string
		want   *mfa.TicketUse
	}{
		{Pool, "u-1", "CHG0012345", nil},
		{Pool, "u-1", "CHG0012345", nil},
		{Pool, "u-2", "CHG0012345", first},
		{OtherPool, "u-1", "CHG0012345", first},
		{Pool, "u-2", "CHG0012346", nil},
		{Pool, "u-1", "", nil},
		{Pool, "u-2", "", nil},
	} {
		got := justify(t, l, c.pool, c.sub, mfa.Justification{
			ID: fmt.Sprint("J-", i), Reason: "phone lost on the train", Ticket: c.ticket, Author: "arn:a", At: noon.Add(time.Duration(i) * time.Minute),
		})
		all := justifications(t, l, c.pool, c.sub)
		for _, got := range []mfa.Justification{got, all[len(all)-1]} {
			if diff := cmp.Diff(c.want, got.TicketOf); diff != "" {
				t.Errorf("ticket %q for %s in %s (-want +got):\n%s", c.ticket, c.sub, c.pool, diff)
			}
		}
	}
	for ticket, want := range map[string]*mfa.TicketUse{"CHG0012345": first, "CHG0099999": nil, "": nil} {
		if got, err := l.TicketUse(t.Context(), ticket); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("the first use of %q is %v, %v", ticket, got, err)
		}
	}
}

func ledgerDue(t *testing.T, l Book) {
	at := func(d time.Duration) *mfa.Override { return &mfa.Override{ID: "O-1", Deadline: noon.Add(d)} }
	for sub, s := range map[mfa.Sub]mfa.Standing{
		"a": {Override: at(3 * time.Hour)}, "b": {NotedAt: noon.Add(2 * time.Hour)}, "c": {SignOut: true},
		"d": {Override: at(time.Hour)}, "e": {Override: at(4 * time.Hour), Intention: &mfa.Intention{LeasedUntil: noon}},
	} {
		s.Journal = mfa.UserJournal(Pool, sub)
		mustAppend(t, l, worker.Step{Standing: s})
	}
	var want []string
	for _, sub := range []mfa.Sub{"e", "d", "b", "a", "c"} {
		want = append(want, mfa.UserJournal(Pool, sub))
	}
	if got := opened(t, l, Pool); !slices.Equal(got, want) {
		t.Errorf("listed are %v, want %v", got, want)
	}
}

func ledgerCount(t *testing.T, l Book) {
	const key = "actor/1"
	counted := func(key string) []mfa.Sub {
		loaded, err := l.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(Pool, "u-1"), Count: key})
		if err != nil {
			t.Fatal(err)
		}
		return loaded.Counted
	}
	place := func(sub mfa.Sub, n int) worker.Step {
		return worker.Step{Standing: mfa.Standing{Journal: mfa.UserJournal(Pool, sub)}, Key: "e-1", Count: &worker.Count{Key: key, Sub: sub, Place: n}}
	}
	if got := counted(key); len(got) > 0 {
		t.Errorf("before anybody is counted: %v", got)
	}
	if err := l.Append(t.Context(), place("u-2", 2)); !errors.Is(err, worker.ErrConflict) {
		t.Errorf("the second place before the first: %v, not ErrConflict", err)
	}
	mustAppend(t, l, place("u-1", 1))
	for _, n := range []int{1, 3} {
		if err := l.Append(t.Context(), place("u-2", n)); !errors.Is(err, worker.ErrConflict) {
			t.Errorf("place %d after the first: %v, not ErrConflict", n, err)
		}
		unchanged(t, l, mfa.Standing{Journal: mfa.UserJournal(Pool, "u-2")}, "e-1")
	}
	mustAppend(t, l, place("u-2", 2))
	if got := counted(key); !slices.Equal(got, []mfa.Sub{"u-1", "u-2"}) {
		t.Errorf("counted are %v", got)
	}
	stale := place("u-1", 3)
	stale.Key = ""
	if err := l.Append(t.Context(), stale); !errors.Is(err, worker.ErrConflict) {
		t.Errorf("a stale step with a count: %v, not ErrConflict", err)
	}
	if got := counted(key); len(got) != 2 {
		t.Errorf("a refused step was counted: %v", got)
	}
	if got := counted("actor/2"); len(got) > 0 {
		t.Errorf("of another actor: %v", got)
	}
}
