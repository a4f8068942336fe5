package chain_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stackflow/relatch/internal/chain"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
	"github.com/stackflow/relatch/internal/worker"
)

// grow returns n entries of a journal, about the override if there is one, and how
// its standing ends.
func grow(name string, n int, override ...*mfa.RecordOverride) ([]mfa.Entry, mfa.Standing) {
	s := mfa.Standing{Journal: name}
	entries := make([]mfa.Entry, n)
	var of *mfa.RecordOverride
	if len(override) > 0 {
		of = override[0]
	}
	for i := range entries {
		s, entries[i] = s.Append(mfa.Record{
			Schema: mfa.RecordSchema, At: time.Date(2026, 11, 23, 3, 12, i, 0, time.UTC), Verdict: mfa.Holds, Reason: mfa.WithinTime,
			Cause: mfa.RecordCause{Kind: mfa.Swept}, User: &mfa.RecordUser{Pool: "us-east-1_EXAMPLE12", Sub: mfa.Sub(name)}, Override: of,
		})
	}
	return entries, s
}

func head(e mfa.Entry) mfa.Head {
	return mfa.Head{Journal: e.Journal, Number: e.Number, Hash: e.Hash}
}

// walk verifies the entries and returns what was found.
func walk(t interface{ Fatal(...any) }, entries []mfa.Entry, logged []mfa.Head, standings ...mfa.Standing) []chain.Finding {
	var w chain.Walk
	for _, h := range logged {
		if err := w.Logged(h); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range entries {
		w.Entry(e)
	}
	for _, s := range standings {
		w.Standing(mfa.Head{Journal: s.Journal, Number: s.Entries, Hash: s.Head})
	}
	return w.End()
}

// rehash makes the entry true to itself again.
func rehash(e mfa.Entry) mfa.Entry {
	e.Hash = e.Sum()
	return e
}

func TestTheFirstBrokenEntryIsNamed(t *testing.T) {
	type ledger struct {
		entries  []mfa.Entry
		logged   []mfa.Head
		standing []mfa.Standing
	}
	for _, tt := range []struct {
		name  string
		spoil func(*ledger)
		want  string // journal number kind: what
	}{
		{"untouched", func(*ledger) {}, ""},
		{"a record is edited", func(l *ledger) { l.entries[2].Record = []byte(`{}`) }, "a 3 edited: entry 3 was edited: its hash is not that of its content"},
		{"a hash is edited", func(l *ledger) { l.entries[2].Hash = "00" }, "a 3 edited: entry 3 was edited: its hash is not that of its content"},
		{"an entry is edited and hashed anew", func(l *ledger) {
			l.entries[2].Record = []byte(`{}`)
			l.entries[2] = rehash(l.entries[2])
		}, "a 4 unchained: entry 4 does not follow entry 3: one of the two was replaced"},
		{"the first entry is removed", func(l *ledger) { l.entries = l.entries[1:] }, "a 2 removed: entry 1 is missing"},
		{"two entries are removed", func(l *ledger) { l.entries = slices.Delete(l.entries, 1, 3) }, "a 4 removed: entries 2 to 3 are missing"},
		{"two entries are swapped", func(l *ledger) { l.entries[1], l.entries[3] = l.entries[3], l.entries[1] }, "a 4 reordered: entry 4 stands before entry 3"},
		{"an entry is there twice", func(l *ledger) { l.entries = slices.Insert(l.entries, 4, l.entries[1]) }, "a 2 repeated: entry 2 is there again after entry 4"},
		{"the last entries are cut off and were logged", func(l *ledger) {
			l.logged = []mfa.Head{head(l.entries[1]), head(l.entries[4])}
			l.entries = l.entries[:3]
		}, "a 4 truncated: entry 5 was logged, but the journal ends with entry 3"},
		{"a whole journal is gone", func(l *ledger) {
			l.logged, l.entries = []mfa.Head{head(l.entries[0])}, nil
		}, "a 1 truncated: the whole journal is missing: entry 1 was logged"},
		{"the last entries are cut off and counted", func(l *ledger) {
			_, s := grow("a", 5)
			l.standing, l.entries = []mfa.Standing{s}, l.entries[:3]
		}, "a 4 truncated: the standing counts 5 entries, but the journal ends with entry 3"},
		{"the standing was put back", func(l *ledger) {
			_, s := grow("a", 3)
			l.standing = []mfa.Standing{s}
		}, "a 4 uncounted: the standing counts 3 entries, but the journal ends with entry 5"},
		{"the last entry was written anew", func(l *ledger) {
			_, s := grow("a", 5)
			l.entries[4].Record = []byte(`{}`)
			l.entries[4], l.standing = rehash(l.entries[4]), []mfa.Standing{s}
		}, "a 5 replaced: entry 5 has not the hash that the standing has"},
		{"history was written anew and went on", func(l *ledger) {
			l.logged = []mfa.Head{head(l.entries[1]), head(l.entries[2])}
			l.entries[1].Record = []byte(`{}`)
			for i := 1; i < 5; i++ {
				l.entries[i].Prev = l.entries[i-1].Hash
				l.entries[i] = rehash(l.entries[i])
			}
			l.logged = append(l.logged, head(l.entries[4]))
		}, "a 2 replaced: entry 2 was logged with the hash"},
		{"one number was logged twice", func(l *ledger) {
			l.logged = []mfa.Head{head(l.entries[1]), {Journal: "a", Number: 2, Hash: l.entries[0].Hash}}
		}, "a 2 forked: entry 2 was logged with two different hashes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entries, _ := grow("a", 5)
			l := ledger{entries: entries}
			tt.spoil(&l)
			var got []string
			for _, f := range walk(t, l.entries, l.logged, l.standing...) {
				got = append(got, fmt.Sprintf("%s %d %s: %s", f.Journal, f.Number, f.Kind, f.What))
			}
			if all := strings.Join(got, "\n"); (tt.want == "") != (all == "") || len(got) > 1 || !strings.HasPrefix(all, tt.want) {
				t.Errorf("found %q, want %q", all, tt.want)
			}
		})
	}
}

func TestOnlyAHeadIsLogged(t *testing.T) {
	good, _ := grow("a", 1)
	for _, h := range []mfa.Head{
		{},
		{Journal: "a", Number: 1},
		{Journal: "a", Number: 1, Hash: good[0].Hash + "00"},
		{Journal: "a", Number: 1, Hash: strings.Repeat("x", 64)},
		{Journal: "a", Number: 0, Hash: good[0].Hash},
		{Journal: "", Number: 1, Hash: good[0].Hash},
	} {
		if new(chain.Walk).Logged(h) == nil {
			t.Errorf("%+v is taken", h)
		}
	}
}

// house is a random ledger: some journals, their entries mixed as they were
// written, a standing of each.
type house struct {
	entries   []mfa.Entry
	standings []mfa.Standing
	logged    []mfa.Head
}

func build(t *rapid.T) house {
	var h house
	var left [][]mfa.Entry
	for i := range rapid.IntRange(1, 4).Draw(t, "journals") {
		entries, s := grow(fmt.Sprint("user/pool/", i), rapid.IntRange(1, 8).Draw(t, "entries"))
		left, h.standings = append(left, entries), append(h.standings, s)
	}
	mixed := rapid.Bool().Draw(t, "mixed")
	for len(left) > 0 {
		i := 0
		if mixed {
			i = rapid.IntRange(0, len(left)-1).Draw(t, "next")
		}
		h.entries, left[i] = append(h.entries, left[i][0]), left[i][1:]
		if len(left[i]) == 0 {
			left = slices.Delete(left, i, i+1)
		}
	}
	for _, e := range h.entries {
		if rapid.Bool().Draw(t, "logged") {
			h.logged = append(h.logged, head(e))
		}
	}
	return h
}

func TestAnUntouchedLedgerIsNeverAccused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := build(t)
		if got := walk(t, h.entries, h.logged, h.standings...); len(got) > 0 {
			t.Fatal(got)
		}
	})
}

func TestWhateverIsDoneToOneEntryIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := build(t)
		i := rapid.IntRange(0, len(h.entries)-1).Draw(t, "entry")
		e, journal := &h.entries[i], h.entries[i].Journal
		switch do := rapid.SampledFrom([]string{"record", "number", "prev", "hash", "journal", "rehash", "remove", "swap", "repeat"}).Draw(t, "do"); do {
		case "record", "rehash":
			e.Record = slices.Clone(e.Record)
			e.Record[rapid.IntRange(0, len(e.Record)-1).Draw(t, "byte")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
			if do == "rehash" {
				e.Hash = e.Sum()
			}
		case "number":
			e.Number += rapid.SampledFrom([]int{-9, -1, 1, 2, 100}).Draw(t, "by")
		case "prev":
			e.Prev += "0"
		case "hash":
			e.Hash = strings.Repeat("0", 64)
		case "journal":
			e.Journal = "user/pool/" + fmt.Sprint(rapid.IntRange(5, 6).Draw(t, "to"))
		case "remove":
			h.entries = slices.Delete(h.entries, i, i+1)
		case "swap":
			k := slices.IndexFunc(h.entries[i+1:], func(other mfa.Entry) bool { return other.Journal == journal })
			if k < 0 {
				return
			}
			h.entries[i], h.entries[i+1+k] = h.entries[i+1+k], h.entries[i]
		case "repeat":
			h.entries = slices.Insert(h.entries, rapid.IntRange(i, len(h.entries)).Draw(t, "at"), *e)
		}
		got := walk(t, h.entries, h.logged, h.standings...)
		if !slices.ContainsFunc(got, func(f chain.Finding) bool { return f.Journal == journal }) {
			t.Fatalf("nothing found in %s, only %v", journal, got)
		}
	})
}

// matched is a journal whose second entry was matched with the justification, and
// whose third was matched anew when it had been approved.
func matched(j mfa.Justification) []mfa.Entry {
	s := mfa.Standing{Journal: "a"}
	var entries []mfa.Entry
	for _, digest := range []string{"", j.Unapproved().Sum(), j.Sum(), j.Sum()} {
		r := mfa.Record{Schema: mfa.RecordSchema, Verdict: mfa.Holds, Override: &mfa.RecordOverride{ID: "O-1"}}
		if digest != "" {
			r.Override.JustificationID, r.Override.JustificationDigest = j.ID, digest
		}
		var e mfa.Entry
		s, e = s.Append(r)
		entries = append(entries, e)
	}
	return entries
}

func TestAJustificationIsTheOneThatWasMatched(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	j := mfa.Justification{
		ID: "J-1", Reason: "Lost her phone on the train", Ticket: "CHG0012345", Cause: mfa.LostDevice, Author: "arn:a", At: noon,
		Approver: "arn:b", ApprovedAt: noon.Add(time.Minute),
	}
	altered := func(n int) string {
		return fmt.Sprintf("a %d altered: justification J-1 or its approval is not what entry %d was matched with", n, n)
	}
	one := func(change func(*mfa.Justification)) []mfa.Justification {
		changed := j
		change(&changed)
		return []mfa.Justification{{ID: "J-0", Reason: "of another override"}, changed}
	}
	for _, tt := range []struct {
		name     string
		entries  []mfa.Entry
		onRecord []mfa.Justification
		want     string
	}{
		{"as it was", matched(j), one(func(*mfa.Justification) {}), ""},
		{"approved after it was matched", matched(j.Unapproved()), one(func(*mfa.Justification) {}), ""},
		{"another reason", matched(j), one(func(j *mfa.Justification) { j.Reason += " to Lyon" }), altered(2)},
		{"another author", matched(j), one(func(j *mfa.Justification) { j.Author = "arn:c" }), altered(2)},
		{"an earlier time", matched(j), one(func(j *mfa.Justification) { j.At = noon.Add(-time.Hour) }), altered(2)},
		{"another approver", matched(j), one(func(j *mfa.Justification) { j.Approver = "arn:c" }), altered(3)},
		{"an earlier approval", matched(j), one(func(j *mfa.Justification) { j.ApprovedAt = noon }), altered(3)},
		{"the approval is gone", matched(j), one(func(j *mfa.Justification) { *j = j.Unapproved() }), altered(3)},
		{"another one under its ID", matched(j), append(one(func(j *mfa.Justification) { j.Reason = "forged" }), j), altered(2)},
		{"it is gone", matched(j), nil, "a 2 unfounded: entry 2 was matched with justification J-1, which is not on record"},
		{"an entry says that it was another one", func() []mfa.Entry {
			entries := matched(j)
			entries[3].Record = []byte(strings.Replace(string(entries[3].Record), j.Sum(), strings.Repeat("0", 64), 1))
			entries[3] = rehash(entries[3])
			return entries
		}(), one(func(*mfa.Justification) {}), altered(4)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, told := range []bool{true, false} {
				var w chain.Walk
				for _, e := range tt.entries {
					w.Entry(e)
				}
				want := ""
				if told {
					w.Justifications("a", tt.onRecord)
					want = tt.want
				}
				got := ""
				for _, f := range w.End() {
					got += fmt.Sprintf("%s %d %s: %s", f.Journal, f.Number, f.Kind, f.What)
				}
				if got != want {
					t.Errorf("told of the justifications: %t; found %q, want %q", told, got, want)
				}
			}
		})
	}
}

func TestTruncationIsFoundWhenAHeadWasLogged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries, _ := grow("a", rapid.IntRange(1, 20).Draw(t, "entries"))
		last := rapid.IntRange(1, len(entries)).Draw(t, "logged")
		keep := rapid.IntRange(0, last-1).Draw(t, "kept")
		got := walk(t, entries[:keep], []mfa.Head{head(entries[last-1])})
		want := []chain.Finding{{
			Journal: "a", Number: keep + 1, Kind: chain.Truncated,
			What: fmt.Sprintf("entry %d was logged, but the journal ends with entry %d", last, keep),
		}}
		if keep == 0 {
			want[0].What = fmt.Sprintf("the whole journal is missing: entry %d was logged", last)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	})
}

func TestTheLedgerOfEveryScenarioIsWhole(t *testing.T) {
	scenarios, err := (&replay.Loader{}).Load([]string{"../../events"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		r, err := replay.Run(t.Context(), s, replay.Options{Start: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)})
		if err != nil {
			t.Fatal(err)
		}
		var w chain.Walk
		for _, journal := range r.Account.Journals() {
			loaded, err := r.Account.Load(t.Context(), worker.Query{Journal: journal})
			if err != nil {
				t.Fatal(err)
			}
			w.Standing(mfa.Head{Journal: journal, Number: loaded.Standing.Entries, Hash: loaded.Standing.Head})
			for _, e := range r.Account.Entries(journal) {
				w.Entry(e)
			}
			user, ofUser := strings.CutPrefix(journal, "user/")
			if id, sub, _ := strings.Cut(user, "/"); ofUser {
				all, err := r.Account.Justifications(t.Context(), mfa.PoolID(id), mfa.Sub(sub))
				if err != nil {
					t.Fatal(err)
				}
				w.Justifications(journal, all)
			}
		}
		if found := w.End(); len(found) > 0 {
			t.Errorf("%s: %v", s.Name, found)
		}
	}
}

func TestMemoryDoesNotGrowWithTheEntries(t *testing.T) {
	var w chain.Walk
	s := mfa.Standing{Journal: "a"}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	walk := func(n int) {
		for range n {
			var e mfa.Entry
			s, e = s.Append(mfa.Record{Schema: mfa.RecordSchema, Verdict: mfa.Holds})
			w.Entry(e)
		}
	}
	walk(1_000)
	before := heap()
	walk(50_000)
	if after := heap(); after > before+1<<20 { // 20 bytes for each entry
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
	if found := w.End(); len(found) > 0 {
		t.Error(found)
	}
}

// The aim is 100,000 entries in under 5 seconds.
func BenchmarkWalk(b *testing.B) {
	const journals, each = 1000, 100
	j := mfa.Justification{ID: "J-1", Reason: "Lost her phone on the train", Ticket: "CHG0012345", Author: "arn:a"}
	for name, override := range map[string]*mfa.RecordOverride{"bare": nil, "justified": {ID: "O-1", JustificationID: j.ID, JustificationDigest: j.Sum()}} {
		b.Run(name, func(b *testing.B) { walks(b, journals, each, j, override) })
	}
}

func walks(b *testing.B, journals, each int, j mfa.Justification, override *mfa.RecordOverride) {
	b.Helper()
	var entries []mfa.Entry
	for i := range journals {
		of, _ := grow(fmt.Sprint("user/us-east-1_EXAMPLE12/", i), each, override)
		entries = append(entries, of...)
	}
	b.ReportAllocs()
	for b.Loop() {
		var w chain.Walk
		for _, e := range entries {
			w.Entry(e)
		}
		for i := range journals {
			w.Justifications(fmt.Sprint("user/us-east-1_EXAMPLE12/", i), []mfa.Justification{j})
		}
		if found := w.End(); len(found) > 0 || w.Entries != journals*each {
			b.Fatal(found)
		}
	}
}
