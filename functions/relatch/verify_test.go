package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/wiretest"
)

// verify runs the command on what comes in by standard input.
func verify(t *testing.T, in string, args ...string) (code int, out string) {
	t.Helper()
	var said, errs strings.Builder
	code = run(t.Context(), append([]string{"verify"}, args...), terminal{in: strings.NewReader(in), out: &said, err: &errs, getenv: os.Getenv, wait: wait, now: time.Now})
	return code, said.String() + errs.String()
}

// TestVerifyReadsWhatTheAWSCLIScans, whole and spoiled, as it came and as an export to
// S3 would have it.
func TestVerifyReadsWhatTheAWSCLIScans(t *testing.T) {
	d := observe(t)
	t.Setenv("AWS_DEFAULT_REGION", "us-east-1") // the AWS CLI 1 knows no AWS_REGION
	t.Setenv("AWS_PAGER", "")
	on := []mfa.Factor{mfa.TOTP}
	maria := d.Add(t, wiretest.Person{Pool: d.Pool, Name: "maria", Roles: []mfa.Role{"itsm_manager"}, Registered: on, Factors: on})
	leo := d.Add(t, wiretest.Person{Pool: d.Pool, Name: "leo", Registered: on, Factors: on})
	if _, err := d.Ledger.Justify(t.Context(), d.Pool, maria, mfa.Justification{ID: "J-1", Reason: "Left the phone in a taxi in Lyon", Ticket: "CHG0012345", Author: ops7, At: d.now}); err != nil {
		t.Fatal(err)
	}
	d.disable(t, d.Pool, maria, "e-1")
	d.disable(t, d.Pool, leo, "e-2")
	d.now = d.now.Add(time.Minute)
	d.disable(t, d.Pool, maria, "e-3")
	journal := mfa.UserJournal(d.Pool, maria)
	scan := stacktest.CLI(t, d.Account, "dynamodb", "scan", "--table-name", wiretest.Table, "--consistent-read", "--output", "json")
	var items struct{ Items []json.RawMessage }
	if err := json.Unmarshal([]byte(scan), &items); err != nil {
		t.Fatal(err)
	}
	var export bytes.Buffer
	z := gzip.NewWriter(&export)
	for _, it := range items.Items {
		var line bytes.Buffer
		if err := json.Compact(&line, it); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(z, `{"Item":%s}`+"\n", line.String())
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.json.gz")
	if err := os.WriteFile(file, export.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	const whole = "3 entries of 2 journals verified, 0 heads compared: whole, as far as the ledger tells"
	if code, out := verify(t, scan, "-"); code != 0 || !strings.HasPrefix(out, whole) {
		t.Errorf("exit status %d: %s", code, out)
	}
	if code, out := verify(t, "", file); code != 0 || !strings.HasPrefix(out, whole) {
		t.Errorf("as exported: exit status %d: %s", code, out)
	}
	heads := filepath.Join(t.TempDir(), "heads.jsonl")
	s := func(user mfa.Sub) string {
		j, err := d.Ledger.Journal(t.Context(), mfa.UserJournal(d.Pool, user))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"msg":"record","head":{"journal":%q,"number":%d,"hash":%q}}`+"\n", j.Name, j.Standing.Entries, j.Standing.Head)
	}
	if err := os.WriteFile(heads, []byte(s(maria)+s(leo)), 0o600); err != nil {
		t.Fatal(err)
	}
	item := func(sub mfa.Sub, sk string) string { // of the scan, as its keys say
		for _, it := range items.Items {
			if text := string(it); strings.Contains(text, `"user/`+string(d.Pool)+`/`+string(sub)+`"`) && strings.Contains(text, `"`+sk+`"`) {
				return text
			}
		}
		t.Fatalf("there is no %s of %s in %s", sk, sub, scan)
		return ""
	}
	without := func(drop ...string) string {
		var kept []string
	next:
		for _, it := range items.Items {
			for _, d := range drop {
				if string(it) == d {
					continue next
				}
			}
			kept = append(kept, string(it))
		}
		return `{"Items":[` + strings.Join(kept, ",") + `]}`
	}
	for _, c := range []struct{ name, scan, want string }{
		{"a record is edited", strings.Replace(scan, `"verdict\":\"open`, `"verdict\":\"hold`, 1), "edited  "},
		{"an entry is removed", without(item(maria, "entry/0000000001")), "removed  " + journal + ": entry 1 is missing\n"},
		{"the last entry is removed", without(item(maria, "entry/0000000002")), "truncated  " + journal + ": entry 2 was logged, but the journal ends with entry 1\n"},
		{"and its standing", without(item(maria, "entry/0000000002"), item(maria, "standing")), "truncated  " + journal + ": entry 2 was logged"},
		{"a journal is removed", without(item(leo, "entry/0000000001"), item(leo, "standing")), "truncated  " + mfa.UserJournal(d.Pool, leo) + ": the whole journal is missing: entry 1 was logged\n"},
		{"two entries change places", strings.NewReplacer("entry/0000000001", "entry/0000000002", "entry/0000000002", "entry/0000000001").Replace(scan), "reordered  " + journal + ": entry 2 stands before entry 1\n"},
		{"a reason is edited", strings.Replace(scan, "in a taxi in Lyon", "in a train in Lyon", 1), "altered  " + journal + ": justification J-1 or its approval is not what entry 1 was matched with\n"},
		{"a reason is removed", without(item(maria, "justification/J-1")), "unfounded  " + journal + ": entry 1 was matched with justification J-1, which is not on record\n"},
	} {
		if code, out := verify(t, c.scan, "--heads", heads, "-"); code != 1 || !strings.HasPrefix(out, c.want) {
			t.Errorf("%s: exit status %d: %s\nwant %s", c.name, code, out, c.want)
		}
	}
	if code, out := verify(t, scan, "--heads", heads, "-"); code != 0 || out != "3 entries of 2 journals verified, 2 heads compared: whole\n" {
		t.Errorf("with heads: exit status %d: %s", code, out)
	}
}
