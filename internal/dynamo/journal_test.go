package dynamo

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// readers reads in small pages, and does something before each.
type readers struct {
	*dynamodb.Client
	before func()
}

func (r readers) Scan(ctx context.Context, in *dynamodb.ScanInput, with ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error) {
	r.before()
	in.Limit = new(int32(3))
	return r.Client.Scan(ctx, in, with...)
}

func (r readers) Query(ctx context.Context, in *dynamodb.QueryInput, with ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	r.before()
	in.Limit = new(int32(2))
	return r.Client.Query(ctx, in, with...)
}

func (r readers) BatchGetItem(ctx context.Context, in *dynamodb.BatchGetItemInput, with ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	r.before()
	return r.Client.BatchGetItem(ctx, in, with...)
}

func (l *Ledger) grow(t *testing.T, journal string, n int) {
	t.Helper()
	for range n {
		s, _ := load(t, l, journal, "")
		mustAppend(t, l, step(s, fmt.Sprintf("e-%d", s.Entries)))
	}
}

func journals(t *testing.T, l *Ledger) map[string]Journal {
	t.Helper()
	all := map[string]Journal{}
	for j, err := range l.Journals(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := all[j.Name]; twice {
			t.Errorf("%s is there twice", j.Name)
		}
		all[j.Name] = j
	}
	return all
}

func TestJournalsAreReadWholeWhileTheyGrow(t *testing.T) {
	client := connect(t, http.DefaultTransport)
	l := New(client, testTable)
	names := []string{journal, mfa.UserJournal(pool, "u-2"), mfa.PolicyJournal, mfa.GuardJournal(strings.Repeat("arn", 400))}
	for i, name := range names {
		l.grow(t, name, 2*i+1)
	}
	reason := mfa.Justification{ID: "J-1", Ticket: "CHG0000001", At: noon}
	for _, sub := range []mfa.Sub{"u-1", "u-3"} { // what else there is in the table is no journal
		if _, err := l.Justify(t.Context(), pool, sub, reason); err != nil {
			t.Fatal(err)
		}
	}
	approval, err := l.Approve(t.Context(), pool, "u-1", "J-1", mfa.Approval{Approver: "arn:b", At: noon})
	if err != nil {
		t.Fatal(err)
	}
	reason.Approver, reason.ApprovedAt = approval.Approver, approval.At
	if err := l.KeepBookmark(t.Context(), worker.Bookmark{CompletedAt: noon}); err != nil {
		t.Fatal(err)
	}
	round := 0
	growing := New(readers{client, func() {
		l.grow(t, names[round%len(names)], 1)
		round++
	}}, testTable)
	all := journals(t, growing)
	if len(all) != len(names) {
		t.Errorf("there are %d journals, want %d", len(all), len(names))
	}
	for _, name := range names {
		j := all[name]
		if len(j.Entries) == 0 || len(j.Entries) < j.Standing.Entries || j.Standing.Journal != name {
			t.Errorf("%.20s: %d entries, its standing counts %d", name, len(j.Entries), j.Standing.Entries)
			continue
		}
		var reasons []mfa.Justification
		if name == journal {
			reasons = append(reasons, reason)
		}
		if diff := cmp.Diff(reasons, j.Justifications); diff != "" {
			t.Errorf("%.20s: justifications (-want +got)\n%s", name, diff)
		}
		prev := ""
		for i, e := range j.Entries {
			if e.Number != i+1 || e.Prev != prev || e.Sum() != e.Hash {
				t.Errorf("%.20s: entry %d does not follow", name, i+1)
			}
			prev = e.Hash
		}
		if j.Standing.Head != j.Entries[j.Standing.Entries-1].Hash {
			t.Errorf("%.20s: the standing has another head", name)
		}
		one, err := l.Journal(t.Context(), name)
		if err != nil || one.Name != name || len(one.Entries) != one.Standing.Entries {
			t.Errorf("%.20s by itself: %d entries, %v", name, len(one.Entries), err)
		}
	}
}

func TestWhatWasDoneToTheTableShows(t *testing.T) {
	client := connect(t, http.DefaultTransport)
	l := New(client, testTable)
	remove := func(journal, sk string) {
		if _, err := client.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: new(testTable), Key: itemKey(journal, sk)}); err != nil {
			t.Fatal(err)
		}
	}
	put := func(it item) {
		if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: new(testTable), Item: it}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"guard/gap", "guard/end", "guard/lone", "guard/added", "guard/moved", "guard/garbled"} {
		l.grow(t, name, 3)
	}
	remove("guard/gap", entryKey(2))
	remove("guard/end", entryKey(3))
	remove("guard/lone", skStanding)
	added, _ := load(t, l, "guard/added", "")
	put(must(entryItem(*step(added, "").Entry)))
	moved, _ := load(t, l, "guard/moved", "")
	foreign := must(entryItem(*step(moved, "").Entry))
	foreign[attrPK] = text("guard/gap")
	foreign[attrSK] = text(entryKey(2))
	put(foreign)
	garbled := itemKey("guard/garbled", skStanding)
	garbled[attrStanding] = text("{")
	put(garbled)

	type shape struct{ Entries, Counted, Sound int }
	got, failed := map[string]shape{}, 0
	for j, err := range l.Journals(t.Context()) {
		if err != nil {
			failed++
			continue
		}
		s := shape{Entries: len(j.Entries), Counted: j.Standing.Entries}
		for _, e := range j.Entries {
			if e.Sum() == e.Hash {
				s.Sound++
			}
		}
		got[j.Name] = s
	}
	want := map[string]shape{
		"guard/gap": {3, 3, 2}, "guard/end": {2, 3, 2}, "guard/lone": {3, 0, 3}, "guard/added": {4, 3, 4}, "guard/moved": {3, 3, 3},
	}
	if diff := cmp.Diff(want, got); diff != "" || failed != 1 {
		t.Errorf("%d journals cannot be read, want one; -want +got\n%s", failed, diff)
	}
}

func must(it item, err error) item {
	if err != nil {
		panic(err)
	}
	return it
}

func TestIncidentsThatNoSweepLooksAtAreListedWhileTheyAreOpen(t *testing.T) {
	l := empty(t)
	listed := func() []string {
		var names []string
		for s, err := range l.Incidents(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, s.Journal)
		}
		slices.Sort(names)
		return names
	}
	all := []string{mfa.GuardJournal("arn:aws:events:r:1:rule/relatch"), mfa.PolicyJournal, mfa.PoolJournal(pool), journal}
	for _, name := range append(all, mfa.UserJournal(pool, "swept")) {
		key := name // of the one that a sweep looks at
		if name == journal {
			key = "override/O-1"
		}
		mustAppend(t, l, worker.Step{Standing: mfa.Standing{Journal: name, Incidents: []mfa.Incident{{Key: key, Severity: mfa.Critical, Since: noon}}}})
	}
	if diff := cmp.Diff(all, listed()); diff != "" {
		t.Errorf("-open +listed\n%s", diff)
	}
	for _, name := range all[1:] {
		s, _ := load(t, l, name, "")
		s.Incidents = nil
		mustAppend(t, l, worker.Step{Standing: s})
	}
	if diff := cmp.Diff(all[:1], listed()); diff != "" {
		t.Errorf("-open +listed\n%s", diff)
	}
}
