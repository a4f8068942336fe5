package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/trail"
)

// block is a fenced block of the README.
type block struct{ kind, text string }

func readme(t *testing.T) []block {
	t.Helper()
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	for _, m := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(string(raw), -1) {
		blocks = append(blocks, block{m[1], m[2]})
	}
	return blocks
}

// TestEveryCommandOfTheREADMERuns runs each line of its sh blocks, and holds a
// text block that follows one command against what that command prints; […]
// stands for anything.
func TestEveryCommandOfTheREADMERuns(t *testing.T) {
	t.Chdir("../..")
	t.Setenv("LANG", "C.UTF-8")
	blocks := readme(t)
	ran := 0
	for i, b := range blocks {
		if b.kind != "sh" {
			continue
		}
		for line := range strings.Lines(b.text) {
			line = strings.TrimSpace(line)
			args, isRelatch := strings.CutPrefix(line, "go run ./functions/relatch ")
			switch {
			case isRelatch:
				code, out, errs := relatch(t, map[string]string{"LANG": "C.UTF-8"}, strings.Fields(args)...)
				if code != 0 {
					t.Errorf("%s: exit status %d: %s", line, code, errs)
				}
				if i+1 < len(blocks) && blocks[i+1].kind == "text" && strings.Count(b.text, "\n") == 1 {
					expectText(t, line, blocks[i+1].text, out)
				}
			case strings.HasPrefix(line, "go test "):
				// This test is part of what go test runs; that the very command
				// is what CI or a task runs is left to see.
				ci, err := os.ReadFile(".ci/run")
				if err != nil {
					t.Fatal(err)
				}
				tasks, err := os.ReadFile("Taskfile.yml")
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(string(ci), line) && !strings.Contains(string(tasks), line) {
					t.Errorf("%s: neither .ci/run nor a task runs it", line)
				}
			default:
				t.Errorf("%s: the test does not know how to run this", line)
			}
			ran++
		}
	}
	if ran < 4 {
		t.Errorf("found %d commands in the README", ran)
	}
}

func expectText(t *testing.T, command, want, got string) {
	t.Helper()
	gap := regexp.QuoteMeta("[…]")
	pattern := regexp.QuoteMeta(strings.TrimSpace(want))
	pattern = strings.ReplaceAll(pattern, "\n"+gap+"\n", "\n(?s:.*?)") // lines, or none
	pattern = strings.ReplaceAll(pattern, gap, "(?s:.*?)")
	if !regexp.MustCompile("^" + pattern + "$").MatchString(strings.TrimSpace(got)) {
		t.Errorf("%s: the README shows\n%s\nbut it prints\n%s", command, want, got)
	}
}

// TestEveryLinkOfTheDocumentsLeadsSomewhere: to a file, and to a heading in it.
func TestEveryLinkOfTheDocumentsLeadsSomewhere(t *testing.T) {
	t.Chdir("../..")
	documents, err := filepath.Glob("infra/runbook/*.md")
	if err != nil {
		t.Fatal(err)
	}
	// anchors are a document's headings as GitHub links them.
	anchors := func(document string) (all []string) {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
			heading := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(m[1]), "")
			all = append(all, strings.ReplaceAll(heading, " ", "-"))
		}
		return all
	}
	for _, document := range append(documents, "README.md", "CONTRIBUTING.md", "events/README.md") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\]\(([^)\s]*)\)`).FindAllStringSubmatch(string(text), -1) {
			path, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			to := document
			if path != "" {
				to = filepath.Join(filepath.Dir(document), path)
			}
			if _, err := os.Stat(to); err != nil || anchor != "" && !slices.Contains(anchors(to), anchor) {
				t.Errorf("%s: %s leads nowhere", document, m[0])
			}
		}
	}
}

// TestTheREADMEsQueriesAskForWhatRelatchReads holds the names in the queries
// against those that are read.
func TestTheREADMEsQueriesAskForWhatRelatchReads(t *testing.T) {
	t.Chdir("../..")
	queries := 0
	for _, b := range readme(t) {
		if b.kind != "sql" {
			continue
		}
		queries++
		quoted := func(before string) (names []string) {
			list := regexp.MustCompile(`(?is)` + before + `\s+IN\s+\(([^)]*)\)`).FindStringSubmatch(b.text)
			if list == nil {
				t.Fatalf("no %s IN (…) in\n%s", before, b.text)
			}
			for _, name := range regexp.MustCompile(`'([^']*)'`).FindAllStringSubmatch(list[1], -1) {
				names = append(names, name[1])
			}
			slices.Sort(names)
			return names
		}
		if diff := cmp.Diff(trail.Names(), quoted("eventName")); diff != "" {
			t.Errorf("operations (-read +asked for):\n%s", diff)
		}
		if diff := cmp.Diff(trail.GuardSources(), quoted("eventSource")); diff != "" {
			t.Errorf("services of the guard (-read +asked for):\n%s", diff)
		}
		if strings.Count(b.text, "(") != strings.Count(b.text, ")") || strings.Count(b.text, "[") != strings.Count(b.text, "]") || strings.Count(b.text, "'")%2 != 0 {
			t.Errorf("something is not closed in\n%s", b.text)
		}
	}
	if queries != 2 {
		t.Errorf("%d queries, want one for Athena and one for CloudTrail Lake", queries)
	}
}

// TestTheREADMEsCommandsTurnResultsOfQueriesIntoAReplay runs its bash blocks with
// an aws that answers in the formats that AWS documents.
func TestTheREADMEsCommandsTurnResultsOfQueriesIntoAReplay(t *testing.T) {
	for _, tool := range []string{"bash", "jq"} {
		stacktest.Tool(t, tool, "its package has the name "+tool)
	}
	t.Chdir("../..")
	records := queried(t)
	dir := t.TempDir()
	file := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file("account.json", `{"users":[{"pool_id":"us-east-1_EXAMPLE12","sub":"s-1","username":"maria","roles":["cloud_admin"],"factors":["totp"]}],"guard":["arn:aws:sqs:us-east-1:111122223333:relatch-audit"]}`)
	file("log.json", `{"Records":[`+strings.Join(records, ",")+`]}`)
	columns, rows := athena(t, queries(t)[0], records)
	var lines, lake strings.Builder
	for _, row := range rows {
		line := map[string]string{}
		for i, name := range columns {
			if row[i] != nil {
				line[name] = *row[i]
			}
		}
		lines.WriteString(encoded(t, line) + "\n")
	}
	file("unload", lines.String())
	file("athena", encoded(t, resultSet(columns, rows)))
	for i, r := range records {
		next := ""
		if i+1 < len(records) {
			next = fmt.Sprintf(`"NextToken":"token-%d",`, i+1)
		}
		fmt.Fprintf(&lake, "%s\n", `{"QueryStatus":"FINISHED","QueryStatistics":{"ResultsCount":1,"TotalResultsCount":3,"BytesScanned":25077},`+next+`"QueryResultRows":[[{"eventJson":`+encoded(t, r)+`}]]}`)
	}
	file("lake", lake.String())
	for i, query := range queries(t) {
		file([]string{"athena.sql", "lake.sql"}[i], query)
	}
	file("aws", `#!/bin/bash
set -eu
case "$1 $2" in
"athena start-query-execution") [[ "$*" == *FROM\ cloudtrail_logs_pp* ]]; echo 11112222-3333-4444-5555-666677778888 ;;
"athena get-query-execution") echo SUCCEEDED ;;
"s3 cp") mkdir -p "$5"; gzip -c <unload >"$5/20261101_081205_00042_abcde_0f1e2d3c" ;;
"athena get-query-results") [[ "$4" == 11112222-* ]]; cat athena ;;
"cloudtrail start-query") [[ "$4" == "SELECT eventJson"* ]]; echo 11112222-3333-4444-5555-666677778888 ;;
"cloudtrail describe-query") echo FINISHED ;;
"cloudtrail get-query-results") [[ "$*" =~ token-([0-9]+) ]] && n=$((BASH_REMATCH[1] + 1)) || n=1; sed -n "${n}p" lake ;;
*) exit 64 ;;
esac
`)
	if err := os.Chmod(filepath.Join(dir, "aws"), 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "relatch")); err != nil {
		t.Fatal(err)
	}
	told := func(script string) string {
		c := exec.CommandContext(t.Context(), "bash", "-eu", "-o", "pipefail", "-c", script)
		c.Dir, c.Env = dir, append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"), "LANG=C.UTF-8")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v of\n%s\n%s", err, script, out)
		}
		text := string(out)
		return text[:strings.LastIndex(text, "; done in")]
	}
	want := told("relatch replay --account account.json log.json")
	for _, part := range []string{"PAGE      maria (cloud_admin) can sign in without MFA; SupportAdmin/ops-7", "Relatch itself was touched by SupportAdmin/ops-7: DeleteQueue", "3 deliveries = 2 acted + 1 ignored", "duplicate 1"} {
		if !strings.Contains(want, part) {
			t.Errorf("the log file itself: no %q in\n%s", part, want)
		}
	}
	scripts := 0
	for _, b := range readme(t) {
		if b.kind != "bash" {
			continue
		}
		scripts++
		got := told(b.text)
		if at := strings.Index(got, "  Mon "); at < 0 || got[at:] != want {
			t.Errorf("of\n%s\n(-log file +query):\n%s", b.text, cmp.Diff(want, got))
		}
	}
	if scripts != 3 {
		t.Errorf("%d scripts", scripts)
	}
}

// queried are records that the queries ask for: a disable, the same one again as
// CloudTrail reissues it, and a call on a resource of the guard.
func queried(t *testing.T) []string {
	t.Helper()
	const by = `"userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:ops-7","arn":"arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7","accountId":"111122223333",` +
		`"sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/SupportAdmin"},"attributes":{"mfaAuthenticated":"true"}}}`
	disable := `{"eventVersion":"1.11",` + by + `,"eventTime":"2026-10-05T03:12:04Z","eventSource":"cognito-idp.amazonaws.com","eventName":"AdminSetUserMFAPreference","awsRegion":"us-east-1",` +
		`"sourceIPAddress":"192.0.2.10","userAgent":"aws-cli/2.15.0 app/CHG0012345","requestParameters":{"userPoolId":"us-east-1_EXAMPLE12","username":"HIDDEN_DUE_TO_SECURITY_REASONS",` +
		`"softwareTokenMfaSettings":{"enabled":false,"preferredMfa":false}},"responseElements":null,"additionalEventData":{"sub":"s-1"},"requestID":"r-1","eventID":"e-1","readOnly":false,` +
		`"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`
	again := strings.Replace(strings.Replace(disable, `"eventID":"e-1"`, `"eventID":"e-2","addendum":{"reason":"DELIVERY_DELAY","originalEventID":"e-1"}`, 1), "03:12:04", "03:12:05", 1)
	guard := `{"eventVersion":"1.08",` + by + `,"eventTime":"2026-10-05T04:00:00Z","eventSource":"sqs.amazonaws.com","eventName":"DeleteQueue","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.10",` +
		`"requestParameters":{"queueUrl":"https://sqs.us-east-1.amazonaws.com/111122223333/relatch-audit"},"requestID":"r-3","eventID":"e-3","readOnly":false,` +
		`"resources":[{"accountId":"111122223333","type":"AWS::SQS::Queue","ARN":"arn:aws:sqs:us-east-1:111122223333:relatch-audit"}],"eventType":"AwsApiCall","recipientAccountId":"111122223333","eventCategory":"Management"}`
	return []string{disable, again, guard}
}

// queries are those of the README: Athena's and CloudTrail Lake's.
func queries(t *testing.T) (texts []string) {
	t.Helper()
	for _, b := range readme(t) {
		if b.kind == "sql" {
			texts = append(texts, b.text)
		}
	}
	if len(texts) != 2 {
		t.Fatalf("%d queries", len(texts))
	}
	return texts
}

// athena is what the query's columns are of these records, as the engine would
// have them: all are text, and what is not there is null.
func athena(t *testing.T, query string, records []string) (columns []string, rows [][]*string) {
	t.Helper()
	list, _, _ := strings.Cut(strings.TrimPrefix(query, "SELECT "), "\nFROM ")
	depth, from := 0, 0
	for i, r := range list + "," {
		switch r {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case ',':
			if depth == 0 {
				words := strings.Fields(list[from:i])
				columns = append(columns, words[len(words)-1])
				from = i + 1
			}
		}
	}
	for _, record := range records {
		var fields map[string]any
		if err := json.Unmarshal([]byte(record), &fields); err != nil {
			t.Fatal(err)
		}
		for name, value := range fields {
			delete(fields, name)
			fields[strings.ToLower(name)] = value
		}
		at := func(path ...string) any {
			value := any(fields)
			for _, name := range path {
				object, _ := value.(map[string]any)
				value = object[name]
			}
			return value
		}
		made := map[string]any{
			"useridentity": map[string]any{
				"type": at("useridentity", "type"), "arn": at("useridentity", "arn"), "invokedBy": at("useridentity", "invokedBy"),
				"sessionContext": map[string]any{"sessionIssuer": map[string]any{"arn": at("useridentity", "sessionContext", "sessionIssuer", "arn")}},
			},
			"addendum": map[string]any{"originalEventID": at("addendum", "originalEventID")},
		}
		if some, ok := at("resources").([]any); ok {
			one, _ := some[0].(map[string]any)
			made["resources"] = []any{map[string]any{"arn": one["ARN"]}}
		}
		var row []*string
		for _, name := range columns {
			value := fields[name]
			if slices.Contains([]string{"useridentity", "addendum", "resources"}, name) {
				value = made[name]
			}
			switch value := value.(type) {
			case nil:
				row = append(row, nil)
			case string:
				row = append(row, &value)
			default:
				row = append(row, new(encoded(t, value)))
			}
		}
		rows = append(rows, row)
	}
	return columns, rows
}

// resultSet is the answer of GetQueryResults (API reference of Athena): the first
// row has the names.
func resultSet(columns []string, rows [][]*string) any {
	type datum struct {
		VarCharValue *string `json:",omitempty"`
	}
	type row struct{ Data []datum }
	var all []row
	head := row{}
	for _, name := range columns {
		head.Data = append(head.Data, datum{&name})
	}
	all = append(all, head)
	for _, values := range rows {
		var r row
		for _, value := range values {
			r.Data = append(r.Data, datum{value})
		}
		all = append(all, r)
	}
	return map[string]any{"UpdateCount": 0, "ResultSet": map[string]any{"Rows": all, "ResultSetMetadata": map[string]any{"ColumnInfo": []any{}}}}
}

func encoded(t *testing.T, value any) string {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
