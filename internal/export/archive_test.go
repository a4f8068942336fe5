package export_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/export"
	"github.com/stackflow/relatch/internal/mfa"
)

const bare = `{"schema":"relatch.record/1","at":"2026-11-23T03:13:11Z","verdict":"open"}`

func entry(t *testing.T) mfa.Entry {
	t.Helper()
	_, e := mfa.Standing{Journal: "user/p/u"}.Append(mfa.Record{Schema: mfa.RecordSchema, Problem: `<a> & "b"`})
	return e
}

func quote(t *testing.T, text string) string {
	t.Helper()
	raw, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func entries(t *testing.T, text string) ([]mfa.Entry, []string) {
	t.Helper()
	var all []mfa.Entry
	var problems []string
	for e, err := range (export.Files{Paths: []string{"-"}, Stdin: strings.NewReader(text)}).Entries() {
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		all = append(all, e)
	}
	return all, problems
}

func TestAnEntryKeepsItsBytesHoweverItsRecordIsWritten(t *testing.T) {
	e := entry(t)
	marshaled, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	object := `{"journal":"user/p/u","number":1,"hash":"` + e.Hash + `","record":`
	for name, text := range map[string]string{
		"as encoding/json writes it": string(marshaled),
		"object":                     object + string(e.Record) + "}",
		"string":                     object + quote(t, string(e.Record)) + "}",
		"base64":                     object + quote(t, base64.StdEncoding.EncodeToString(e.Record)) + "}",
		"wrapped":                    `{"timestamp":1,"message":` + quote(t, string(marshaled)+"\n") + `}`,
	} {
		got, problems := entries(t, "\n"+text+"\n\n")
		if diff := cmp.Diff([]mfa.Entry{e}, got); diff != "" || len(problems) > 0 {
			t.Errorf("%s: %v, -want +got:\n%s", name, problems, diff)
		}
		if len(got) > 0 && got[0].Sum() != e.Hash {
			t.Errorf("%s: the hash is another", name)
		}
	}
}

func TestRecordsAloneAreEntriesOfTheirScenario(t *testing.T) {
	other := strings.ReplaceAll(bare, "open", "hold")
	got, problems := entries(t, bare+"\n"+`{"schema":"relatch.summary/1"}`+"\n2026-11-23T03:13:11.000Z "+other)
	want := []mfa.Entry{{Record: []byte(bare)}, {Journal: "scenario/2", Record: []byte(other)}}
	if diff := cmp.Diff(want, got); diff != "" || len(problems) > 0 {
		t.Errorf("%v, -want +got:\n%s", problems, diff)
	}
}

func TestWhatIsNeitherIsNamedAndTheRestIsRead(t *testing.T) {
	for _, text := range []string{
		"START RequestId", "{", "null", "[]", `{"journal":"a","number":1,"hash":"b"}`, `{"schema":"relatch.alert/1"}`,
		`{"journal":"a","number":1,"hash":"b","record":"%"}`, `{"message":"hello"}`, `{"message":""}`,
	} {
		got, problems := entries(t, bare+"\n"+text+"\n"+bare)
		if len(got) != 2 || len(problems) != 1 || !strings.HasPrefix(problems[0], "-:2: ") {
			t.Errorf("%s: %d entries and the problems %q", text, len(got), problems)
		}
	}
}

func TestAFileThatCannotBeReadIsNamed(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(bare + "\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, raw []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		path    string
		entries int
		want    string
	}{
		{write("good.gz", packed.Bytes()), 1, ""},
		{write("cut.gz", packed.Bytes()[:packed.Len()-6]), 1, "unexpected EOF"},
		{write("long", bytes.Repeat([]byte("x"), 9<<20)), 0, "a line is longer than 8 MB"},
		{filepath.Join(dir, "nowhere"), 0, "no such file"},
		{dir, 0, "is a directory"},
	} {
		n, said := 0, ""
		for _, err := range (export.Files{Paths: []string{tt.path}}).Entries() {
			if err != nil {
				said += err.Error()
				continue
			}
			n++
		}
		if n != tt.entries || (said == "") != (tt.want == "") || !strings.Contains(said, tt.want) || said != "" && !strings.HasPrefix(said, tt.path+": ") {
			t.Errorf("%s: %d entries, %q", tt.path, n, said)
		}
	}
}

func TestHeadsAreFoundAmongLogLines(t *testing.T) {
	line := `{"level":"info","msg":"record","schema":"relatch.record/1","head":{"journal":"a","number":2,"hash":"ff"}}`
	text := strings.Join([]string{
		"INIT_START Runtime Version", `{"level":"info","msg":"sweep"}`, bare, `{"head":{"journal":"a"`, "",
		`{"journal":"a","number":1,"hash":"ee"}`,
		line,
		"2026-11-23T03:13:11.000Z " + line,
		`{"timestamp":1,"message":` + quote(t, line) + `}`,
		`{"@message":` + quote(t, line) + `}`,
		`{"message":"no head"}`,
	}, "\n")
	var got []export.Head
	var broken []string
	for h, err := range (export.Files{Paths: []string{"-"}, Stdin: strings.NewReader(text)}).Heads() {
		if err != nil {
			broken = append(broken, err.Error())
			continue
		}
		got = append(got, h)
	}
	want := []export.Head{{Place: "-:1"}, {Head: mfa.Head{Journal: "a", Number: 1, Hash: "ee"}, Place: "-:6"}}
	for n := 7; n <= 10; n++ {
		want = append(want, export.Head{Head: mfa.Head{Journal: "a", Number: 2, Hash: "ff"}, Place: fmt.Sprint("-:", n)})
	}
	want = append(want, export.Head{Place: "-:11"})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"-:4: " + export.ErrNoHead.Error()}, broken); diff != "" {
		t.Errorf("broken lines (-want +got):\n%s", diff)
	}
	for _, err := range (export.Files{Paths: []string{"nowhere"}}).Heads() {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a missing file: %v", err)
		}
	}
}

// TestItemsOfTheTableAreReadHoweverTheyAreKept: as aws dynamodb scan writes them, as
// exports to S3 have them, in whatever order.
func TestItemsOfTheTableAreReadHoweverTheyAreKept(t *testing.T) {
	s := mfa.Standing{Journal: "user/p/u", Version: 1}
	var want []mfa.Entry
	var items []string
	for range 3 {
		next, e := s.Append(mfa.Record{Schema: mfa.RecordSchema, Problem: `<a> & "b"`})
		s, want = next, append(want, e)
		items = append(items, fmt.Sprintf(`{"pk":{"S":"user/p/u"},"sk":{"S":"entry/%010d"},"journal":{"S":"user/p/u"},"number":{"N":"%d"},"prev":{"S":%q},"hash":{"S":%q},"record":{"S":%s}}`,
			e.Number, e.Number, e.Prev, e.Hash, quote(t, string(e.Record))))
	}
	standing, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	items[0], items[2] = items[2], items[0]
	items = append(items, `{"pk":{"S":"user/p/u"},"sk":{"S":"standing"},"version":{"N":"3"},"standing":{"S":`+quote(t, string(standing))+`}}`, `{"pk":{"S":"ticket/CHG1"},"sk":{"S":"use"},"use":{"S":"{}"}}`)
	var pages strings.Builder
	for _, it := range items {
		pages.WriteString(`{"Count": 1, "Items": [` + it + `], "LastEvaluatedKey": {"pk": {"S": "x"}}}` + "\n")
	}
	for name, text := range map[string]string{
		"a scan":        "{\n    \"Items\": [\n" + strings.Join(items, ",\n") + "\n    ],\n    \"Count\": 5,\n    \"ConsumedCapacity\": null\n}\n",
		"pages of it":   pages.String(),
		"its items":     "[" + strings.Join(items, ",") + "]",
		"one per line":  strings.Join(items, "\n"),
		"as S3 has it":  `{"Item":` + strings.Join(items, "}\n{\"Item\":") + "}",
		"without count": `{"Items":[` + strings.Join(items, ",") + "]}",
	} {
		var got []mfa.Entry
		var told []dynamo.Journal
		for e, err := range (export.Files{Paths: []string{"-"}, Stdin: strings.NewReader(text), Journal: func(j dynamo.Journal) { told = append(told, j) }}).Entries() {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			got = append(got, e)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if len(told) != 1 || told[0].Standing.Entries != 3 || told[0].Standing.Head != want[2].Hash {
			t.Errorf("%s: the journals are %+v", name, told)
		}
	}
	for text, want := range map[string]string{
		`{"Items":[{"pk":{"S":"user/p/u"},"sk":{"S":"entry/1"}}]}`: "read journal user/p/u: read the entry: there is no number number",
		`{"Items":[{"pk":`: "-: jsontext: unexpected EOF",
		`[3]`:              "-: item 1: neither an entry of the ledger nor a record",
	} {
		got, problems := entries(t, text)
		if len(problems) != 1 || !strings.HasPrefix(problems[0], want) {
			t.Errorf("%s: %v, %q", text, got, problems)
		}
	}
}
