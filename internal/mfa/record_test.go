package mfa

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func written(t *testing.T, r Record) string {
	t.Helper()
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestARecordIsWrittenAsTheContractSays(t *testing.T) {
	const want = `{
 "schema": "relatch.record/1",
 "at": "2026-11-23T08:03:17Z",
 "cause": {
  "key": "11111111-2222-3333-4444-555555555555",
  "kind": "factors_changed",
  "event_name": "AdminSetUserMFAPreference",
  "event_time": "2026-11-23T08:00:00Z",
  "actor": "arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7",
  "actor_type": "admin",
  "source_ip": "198.51.100.7"
 },
 "user": {
  "pool_id": "us-east-1_EXAMPLE12",
  "sub": "6f1f6c0e-5d0a-4b7e-9f2a-1c2d3e4f5a6b"
 },
 "verdict": "open",
 "reason": "taken_away",
 "override": {
  "id": "ID",
  "opened_at": "2026-11-23T08:00:00Z",
  "deadline": "2026-11-24T08:00:00Z",
  "factors": [
   "totp"
  ],
  "justification": "justified",
  "justification_id": "J-1"
 },
 "actions": [
  {
   "do": "schedule",
   "at": "2026-11-24T08:00:00Z",
   "result": "done"
  }
 ],
 "alerts": [
  {
   "kind": "required_role_without_mfa",
   "severity": "warning",
   "state": "triggered",
   "incident": "override/ID"
  }
 ],
 "policy_revision": "REVISION"
}`
	c := off(t0, TOTP)
	c.Key, c.Source = "11111111-2222-3333-4444-555555555555", "198.51.100.7"
	at := t0.Add(3*time.Minute + 17*time.Second + 999*time.Millisecond).In(time.FixedZone("CET", 3600))
	d := Decide(but(now(), justified), c, DefaultPolicy(), at)
	got := written(t, NewRecord(c, d, DefaultPolicy(), at, []Outcome{{d.Actions[0], Done}}))
	got = strings.NewReplacer(d.Override.ID, "ID", DefaultPolicy().Revision, "REVISION").Replace(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestEmptyFieldsAreLeftOut(t *testing.T) {
	const want = `{
 "schema": "relatch.record/1",
 "at": "2026-11-23T08:00:00Z",
 "cause": {
  "kind": "swept"
 },
 "verdict": "alert"
}`
	if diff := cmp.Diff(want, written(t, NewRecord(Change{Kind: Swept}, Decision{Verdict: Alerts}, Policy{}, t0, nil))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestARecordNamesNobodyButBySub(t *testing.T) {
	s := but(now(), justified)
	d := Decide(s, off(t0, TOTP), DefaultPolicy(), t0)
	text := written(t, NewRecord(off(t0, TOTP), d, DefaultPolicy(), t0, nil))
	for _, secret := range []string{s.User.Username, "Lost her phone", "CHG0012345"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q stands in the record", secret)
		}
	}
}

func TestARecordIsKeptUnlessATimerOrSweepDidNothing(t *testing.T) {
	handed := []Outcome{{Action{Do: Restore}, Handed}}
	for _, c := range []struct {
		name string
		r    Record
		want bool
	}{
		{"an ignored delivery", Record{Cause: RecordCause{Kind: FactorsChanged}, Verdict: Ignores, Reason: StillProtected}, true},
		{"a delivery that is not relevant", Record{Cause: RecordCause{Kind: NotRelevant}, Verdict: Ignores, Reason: Irrelevant}, false},
		{"a justification", Record{Cause: RecordCause{Kind: Justified}, Verdict: Ignores, Reason: NothingOpen}, true},
		{"a command", Record{Cause: RecordCause{Kind: Asked}, Verdict: Restores, Actions: handed}, true},
		{"a sweep that holds", Record{Cause: RecordCause{Kind: Swept}, Verdict: Holds}, false},
		{"a sweep that only asks", Record{Cause: RecordCause{Kind: Swept}, Verdict: Restores, Actions: handed}, false},
		{"a sweep that opens", Record{Cause: RecordCause{Kind: Swept}, Verdict: Opens, Actions: handed}, true},
		{"a sweep that closes", Record{Cause: RecordCause{Kind: Swept}, Verdict: Closes}, true},
		{"a sweep that alerts", Record{Cause: RecordCause{Kind: Swept}, Verdict: Holds, Alerts: []Alert{{}}}, true},
		{"a timer that restores", Record{Cause: RecordCause{Kind: Due}, Verdict: Restores, Actions: []Outcome{{Action{Do: Restore}, Done}}}, true},
		{"a timer that finds nothing", Record{Cause: RecordCause{Kind: Due}, Verdict: Ignores}, false},
	} {
		if got := c.r.Kept(); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}

// journal has an entry for each of the verdicts.
func journal(verdicts ...Verdict) (Standing, []Entry) {
	s := Standing{Journal: UserJournal(thePool, theSub)}
	var entries []Entry
	for i, v := range verdicts {
		var e Entry
		s, e = s.Append(Record{Schema: RecordSchema, At: t0.Add(time.Duration(i) * time.Hour), Verdict: v})
		entries = append(entries, e)
	}
	return s, entries
}

// sound reports whether the entries are the journal whose head the standing has.
func sound(s Standing, entries []Entry) bool {
	prev := ""
	for i, e := range entries {
		if e.Journal != s.Journal || e.Number != i+1 || e.Prev != prev || e.Hash != e.Sum() {
			return false
		}
		prev = e.Hash
	}
	return s.Entries == len(entries) && s.Head == prev
}

func TestAJournalThatWasTamperedWithIsNotSound(t *testing.T) {
	s, whole := journal(Opens, Holds, Restores)
	if !sound(s, whole) {
		t.Fatal("the journal as it was written is not sound")
	}
	rehash := func(e *Entry) { e.Hash = e.Sum() }
	for name, tamper := range map[string]func([]Entry) []Entry{
		"an entry edited":             func(e []Entry) []Entry { e[1].Record = []byte(`{"verdict":"ignore"}`); return e },
		"edited and hashed again":     func(e []Entry) []Entry { e[1].Record = []byte(`{}`); rehash(&e[1]); return e },
		"the last one hashed again":   func(e []Entry) []Entry { e[2].Record = []byte(`{}`); rehash(&e[2]); return e },
		"the first one removed":       func(e []Entry) []Entry { return e[1:] },
		"one in the middle removed":   func(e []Entry) []Entry { return slices.Delete(e, 1, 2) },
		"the last one removed":        func(e []Entry) []Entry { return e[:2] },
		"two in the other order":      func(e []Entry) []Entry { e[0], e[1] = e[1], e[0]; return e },
		"renumbered":                  func(e []Entry) []Entry { e[1].Number = 7; return e },
		"moved to another journal":    func(e []Entry) []Entry { e[0].Journal = "user/other/x"; return e },
		"chained to something else":   func(e []Entry) []Entry { e[1].Prev = e[1].Hash; return e },
		"the record's spaces changed": func(e []Entry) []Entry { e[0].Record = append(slices.Clone(e[0].Record), ' '); return e },
	} {
		if sound(s, tamper(slices.Clone(whole))) {
			t.Errorf("%s: nobody notices", name)
		}
	}
}

func TestAppendLeavesTheStandingThatItIsGiven(t *testing.T) {
	before, _ := journal(Opens)
	kept := before
	if _, e := before.Append(Record{Verdict: Closes}); e.Number != 2 || e.Prev != kept.Head {
		t.Errorf("entry %d after %q, want 2 after %q", e.Number, e.Prev, kept.Head)
	}
	if diff := cmp.Diff(kept, before); diff != "" {
		t.Errorf("-before +after\n%s", diff)
	}
}

func TestAnActorsWindowIsTenClockMinutes(t *testing.T) {
	key := ActorKey(admin.ARN, t0)
	for after, same := range map[time.Duration]bool{9*time.Minute + 59*time.Second: true, 10 * time.Minute: false, -time.Second: false} {
		if (ActorKey(admin.ARN, t0.Add(after)) == key) != same {
			t.Errorf("%s later: in the same window %t, want %t", after, !same, same)
		}
	}
	if ActorKey("arn:aws:iam::111122223333:user/other", t0) == key || strings.Contains(key, "SupportAdmin") {
		t.Errorf("%s does not tell actors apart, or names one", key)
	}
}

func TestATimersNameIsAllowedByTheScheduler(t *testing.T) {
	name := TimerName(overrideID(thePool, theSub, 1))
	if len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", r)
	}) {
		t.Errorf("%q", name)
	}
	if name == TimerName(overrideID(thePool, theSub, 2)) {
		t.Error("two overrides of a user have the same timer")
	}
}
