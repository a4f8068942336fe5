package dynamo

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
	"github.com/stackflow/relatch/internal/workertest"
)

const pool = workertest.Pool

var (
	noon    = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	journal = mfa.UserJournal(pool, "u-1")
)

func empty(t *testing.T) *Ledger {
	t.Helper()
	return New(strict{connect(t, http.DefaultTransport)}, testTable)
}

func TestTheLedgerKeepsThePortsContract(t *testing.T) {
	workertest.Ledger(t, func(t *testing.T) workertest.Book { return empty(t) })
}

// What happened and was not answered is repeated by the SDK, under the same
// token, and is done once.
func TestTheLedgerKeepsThePortsContractWhenResponsesAreLost(t *testing.T) {
	workertest.Ledger(t, func(t *testing.T) workertest.Book {
		return New(connect(t, &forgetful{seen: map[string]bool{}}), testTable)
	})
}

func load(t *testing.T, l *Ledger, journal, key string) (mfa.Standing, bool) {
	t.Helper()
	loaded, err := l.Load(t.Context(), worker.Query{Journal: journal, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Standing, loaded.Known
}

func mustAppend(t *testing.T, l *Ledger, s worker.Step) {
	t.Helper()
	if err := l.Append(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func entries(t *testing.T, l *Ledger, journal string) []mfa.Entry {
	t.Helper()
	var all []mfa.Entry
	for e, err := range l.Entries(t.Context(), journal) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// step moves the standing on by one entry.
func step(s mfa.Standing, key string) worker.Step {
	next, entry := s.Append(mfa.Record{Schema: mfa.RecordSchema, At: noon, Verdict: mfa.Holds, Cause: mfa.RecordCause{Key: key}})
	return worker.Step{Standing: next, Key: key, Entry: &entry}
}

// chained asserts that the journal's entries lead to the standing's head.
func chained(t *testing.T, l *Ledger, s mfa.Standing) {
	t.Helper()
	all := entries(t, l, s.Journal)
	if len(all) != s.Entries {
		t.Fatalf("%s has %d entries, and counts %d", s.Journal, len(all), s.Entries)
	}
	head := ""
	for i, e := range all {
		if e.Number != i+1 || e.Prev != head || e.Hash != e.Sum() || e.Journal != s.Journal {
			t.Fatalf("entry %d of %s is not chained to the one before: %+v", i+1, s.Journal, e)
		}
		head = e.Hash
	}
	if head != s.Head {
		t.Errorf("the last entry has the hash %s, the head is %s", head, s.Head)
	}
}

func TestOfTwoWritersExactlyOneWins(t *testing.T) {
	l := empty(t)
	for round := range 20 {
		before, _ := load(t, l, journal, "")
		steps := [2]worker.Step{}
		var errs [2]error
		var both sync.WaitGroup
		for i := range steps {
			steps[i] = step(before, fmt.Sprintf("e-%d-%d", round, i))
			both.Go(func() { errs[i] = l.Append(t.Context(), steps[i]) })
		}
		both.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		if errs[winner] != nil || !errors.Is(errs[1-winner], worker.ErrConflict) {
			t.Fatalf("of two writers: %v, %v", errs[0], errs[1])
		}
		want := steps[winner].Standing
		want.Version++
		after, known := load(t, l, journal, steps[winner].Key)
		if diff := cmp.Diff(want, after); diff != "" || !known {
			t.Errorf("the winner's key is known: %t; his standing (-appended +loaded):\n%s", known, diff)
		}
		if _, known := load(t, l, journal, steps[1-winner].Key); known {
			t.Error("the loser's cause key was stored")
		}
		chained(t, l, after)
	}
}

func TestTheChainHoldsAfterManySteps(t *testing.T) {
	l := empty(t)
	const steps = 120
	for i := range steps {
		s, _ := load(t, l, journal, "")
		mustAppend(t, l, step(s, fmt.Sprint("e-", i)))
	}
	s, _ := load(t, l, journal, "")
	if s.Version != steps || s.Entries != steps {
		t.Errorf("after %d steps the journal is at version %d with %d entries", steps, s.Version, s.Entries)
	}
	chained(t, l, s)
	for _, err := range l.Entries(t.Context(), journal) {
		if err != nil {
			t.Error(err)
		}
		break // who lists may stop
	}
}

func TestLoadAndAppendAreOneRoundTripEach(t *testing.T) {
	wire := &counter{}
	l := New(connect(t, wire), testTable)
	wire.since()
	asked := func(what, want string) {
		t.Helper()
		if got := wire.since(); !slices.Equal(got, []string{"DynamoDB_20120810." + want}) {
			t.Errorf("%s asked for %v", what, got)
		}
	}
	for _, key := range []string{"", "e-1"} {
		load(t, l, journal, key)
		asked("load", "BatchGetItem")
	}
	mustAppend(t, l, step(mfa.Standing{Journal: journal}, "e-1"))
	asked("append", "TransactWriteItems")
	if err := l.Append(t.Context(), step(mfa.Standing{Journal: journal}, "e-2")); !errors.Is(err, worker.ErrConflict) {
		t.Error(err)
	}
	asked("a conflict", "TransactWriteItems")
	counted := worker.Step{Standing: mfa.Standing{Journal: mfa.UserJournal(pool, "u-2")}, Count: &worker.Count{Key: "actor/1", Sub: "u-2", Place: 1}}
	mustAppend(t, l, counted)
	asked("append with a count", "TransactWriteItems")
	if _, err := l.Load(t.Context(), worker.Query{Journal: journal, Key: "e-1", Count: "actor/1"}); err != nil {
		t.Fatal(err)
	}
	asked("load with a count", "BatchGetItem")
	if _, err := l.Justifications(t.Context(), pool, "u-1"); err != nil {
		t.Fatal(err)
	}
	asked("justifications", "Query")
}

func TestWhatIsOpenIsListedAcrossPagesByDueTime(t *testing.T) {
	client := connect(t, http.DefaultTransport)
	l := New(client, testTable)
	const open = 250 // more than two batches
	want := make([]string, open)
	var all sync.WaitGroup
	for i := range open {
		s := mfa.Standing{Journal: mfa.UserJournal(pool, mfa.Sub(fmt.Sprintf("u-%03d", i)))}
		if i < 7 {
			s.SignOut = true // has no time
		} else {
			s.Override = &mfa.Override{ID: "O-1", Deadline: noon.Add(-time.Duration(i/7) * time.Minute)} // seven at one instant
		}
		all.Go(func() { mustAppend(t, l, worker.Step{Standing: s}) })
		want[i] = due(s) + "/" + s.Journal
	}
	all.Wait()
	slices.Sort(want)
	for _, limit := range []int32{1000, 7} {
		l := New(paged{client, limit}, testTable)
		var got []string
		for s, err := range l.Open(t.Context(), pool) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, due(s)+"/"+s.Journal)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in pages of %d (-due +listed):\n%s", limit, diff)
		}
	}
	if !strings.HasSuffix(want[open-1], "u-006") {
		t.Errorf("the last one is %s, not one without a time", want[open-1])
	}
}

func TestAnIndexThatLagsBehindMisleadsNobody(t *testing.T) {
	client := connect(t, http.DefaultTransport)
	closed, never := mfa.UserJournal(pool, "closed"), mfa.UserJournal(pool, "never")
	l := New(lagging{client, []string{closed, never}}, testTable)
	mustAppend(t, l, worker.Step{Standing: mfa.Standing{Journal: journal, SignOut: true}})
	mustAppend(t, l, worker.Step{Standing: mfa.Standing{Journal: closed, SignOut: true}})
	mustAppend(t, l, worker.Step{Standing: mfa.Standing{Journal: closed, Version: 1}})
	var got []string
	for s, err := range l.Open(t.Context(), pool) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s.Journal)
	}
	if !slices.Equal(got, []string{journal}) {
		t.Errorf("listed are %v", got)
	}
	// The index itself holds only what is open.
	if keys, err := New(client, testTable).listed(t.Context(), string(pool)); err != nil || len(keys) != 1 {
		t.Errorf("the index has %v, %v", keys, err)
	}
}

func TestWhatIsListedMayBeChangedMeanwhile(t *testing.T) {
	l := empty(t)
	for i := range 5 {
		mustAppend(t, l, worker.Step{Standing: mfa.Standing{Journal: mfa.UserJournal(pool, mfa.Sub(fmt.Sprint(i))), SignOut: true}})
	}
	listed := 0
	for s, err := range l.Open(t.Context(), pool) {
		if err != nil {
			t.Fatal(err)
		}
		listed++
		s.Intention = &mfa.Intention{LeasedUntil: noon.Add(time.Duration(listed) * time.Hour)}
		mustAppend(t, l, worker.Step{Standing: s})
	}
	if listed != 5 {
		t.Errorf("of 5 journals %d are listed", listed)
	}
}

func TestManyAtOnceGetAPlaceEach(t *testing.T) {
	l := empty(t)
	const users = 12
	var all sync.WaitGroup
	for i := range users {
		all.Go(func() {
			sub := mfa.Sub(fmt.Sprint(i))
			for { // as the worker does: load and decide again
				loaded, err := l.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(pool, sub), Count: "actor/1"})
				if err != nil {
					t.Error(err)
					return
				}
				err = l.Append(t.Context(), worker.Step{
					Standing: loaded.Standing, Count: &worker.Count{Key: "actor/1", Sub: sub, Place: len(loaded.Counted) + 1},
				})
				if !errors.Is(err, worker.ErrConflict) {
					if err != nil {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	all.Wait()
	loaded, err := l.Load(t.Context(), worker.Query{Journal: "user/x/y", Count: "actor/1"})
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Compact(slices.Sorted(slices.Values(loaded.Counted)))
	if len(got) != users || len(loaded.Counted) != users {
		t.Errorf("of %d users who came at once %v are counted", users, loaded.Counted)
	}
}

func TestLongNamesAreKept(t *testing.T) {
	l := empty(t)
	long := strings.Repeat("x", 5000)
	for _, name := range []string{mfa.GuardJournal(long), mfa.GuardJournal(long + "y"), mfa.UserJournal(pool, mfa.Sub(long)), mfa.UserJournal(mfa.PoolID(long), "u-1")} {
		mustAppend(t, l, step(mfa.Standing{Journal: name, SignOut: true}, long))
		s, known := load(t, l, name, long)
		if s.Journal != name || s.Version != 1 || !known {
			t.Errorf("a journal whose name has %d bytes is at version %d, key known: %t", len(name), s.Version, known)
		}
		if _, known := load(t, l, name, long+"y"); known {
			t.Error("a key is known that only begins like one")
		}
		chained(t, l, s)
	}
	for _, pool := range []mfa.PoolID{pool, mfa.PoolID(long)} {
		for s, err := range l.Open(t.Context(), pool) {
			if err != nil || !strings.HasPrefix(s.Journal, mfa.UserJournal(pool, "")) {
				t.Errorf("listed is %.40s, %v", s.Journal, err)
			}
		}
	}
}

func TestWhatIsTooLargeIsAnErrorAndChangesNothing(t *testing.T) {
	l := empty(t)
	size := func(n int) worker.Step {
		return worker.Step{Standing: mfa.Standing{Journal: journal, Lacks: []string{strings.Repeat("x", n)}}, Key: "e-1"}
	}
	err := l.Append(t.Context(), size(maxItem))
	if err == nil || errors.Is(err, worker.ErrConflict) || !strings.Contains(err.Error(), "at most 409600") {
		t.Errorf("a standing that is too large: %v", err)
	}
	if s, known := load(t, l, journal, "e-1"); s.Version != 0 || known {
		t.Errorf("it is at version %d, key known: %t", s.Version, known)
	}
	fixed := 0
	it, err := standingItem(size(0).Standing)
	if err != nil {
		t.Fatal(err)
	}
	for name := range it {
		fixed += len(name) + len(it.text(name))
	}
	mustAppend(t, l, size(maxItem-fixed-len("1")-1)) // the largest that is sent is taken
}

func TestTheTableHasNoTimeToLive(t *testing.T) {
	client := connect(t, http.DefaultTransport)
	out, err := client.DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: aws.String(testTable)})
	if err != nil {
		t.Fatal(err)
	}
	if d := out.TimeToLiveDescription; d != nil && d.AttributeName != nil {
		t.Errorf("items expire by %s", *d.AttributeName)
	}
}

func TestTheBookmarkIsTheOneThatWasKeptLast(t *testing.T) {
	l := empty(t)
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	kept := []worker.Bookmark{
		{},
		{Place: worker.Place{Pool: "us-east-1_EXAMPLE12", Sub: "maria", Failed: true}, Failed: true, CompletedAt: at},
		{CompletedAt: at.Add(time.Hour)},
	}
	for i, want := range kept {
		if i > 0 { // at first there is none
			if err := l.KeepBookmark(t.Context(), want); err != nil {
				t.Fatal(err)
			}
		}
		got, err := l.Bookmark(t.Context())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-kept +got):\n%s", err, diff)
		}
	}
}
