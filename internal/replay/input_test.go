package replay

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/mfa"
)

// disableOf is a record of a disable, made at this time.
func disableOf(id, at string) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","eventTime":%q,"eventSource":"cognito-idp.amazonaws.com","eventName":"AdminSetUserMFAPreference",`+
		`"eventID":%q,"requestParameters":{"userPoolId":"us-east-1_EXAMPLE12","softwareTokenMfaSettings":{}},"additionalEventData":{"sub":"u1"}}`, at, id)
}

func envelopeOf(record string) string {
	return `{"version":"0","detail-type":"AWS API Call via CloudTrail","source":"aws.cognito-idp","detail":` + record + `}`
}

func logOf(records ...string) string { return `{"Records":[` + strings.Join(records, ",") + `]}` }

func zipped(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// some is a short text in a pseudo-random order of letters, which gzip cannot
// shorten much: so a cut in the file is a cut in the text.
func some(n int) string {
	var out strings.Builder
	for x := uint32(1); out.Len() < n; x = x*1664525 + 1013904223 {
		out.WriteByte('a' + byte(x>>24)%26)
	}
	return out.String()
}

const (
	eight = "2026-11-23T08:00:00Z"
	nine  = "2026-11-23T09:00:00Z"
	ten   = "2026-11-23T10:00:00Z"
)

// tree writes files and returns the folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// outline writes what was loaded: a line per scenario and per delivery, with
// the folder's name left out.
func outline(dir string, all []Scenario) string {
	var out strings.Builder
	for _, s := range all {
		fmt.Fprintf(&out, "scenario %q", s.Name)
		if s.Account != nil {
			out.WriteString(" account")
		}
		if s.Expect != nil {
			out.WriteString(" expect")
		}
		out.WriteString("\n")
		for _, d := range s.Deliveries {
			fmt.Fprintf(&out, "%s: ", d.Place)
			if d.Err != nil {
				fmt.Fprintf(&out, "error %v", d.Err)
			} else {
				out.WriteString(d.Change.EventID)
			}
			if !d.Arrives.IsZero() {
				fmt.Fprintf(&out, " arrives %s", d.Arrives.Format(time.RFC3339))
			}
			out.WriteString("\n")
		}
	}
	return strings.ReplaceAll(out.String(), dir+"/", "")
}

func TestAnyPathIsLoadedForWhatItIs(t *testing.T) {
	t.Parallel()
	const expected = `{"timers":0}`
	for name, test := range map[string]struct {
		files map[string]string
		paths []string // the folder itself, if nil
		want  string
		err   string // what the error says, if there is one
	}{
		"a scenario's folder": {
			files: map[string]string{
				"one/account.json": `{}`, "one/expect.json": expected, "one/README.md": "x", "one/notes.txt": "x", "one/deeper/01-x.json": "x",
				"one/02-b.json": envelopeOf(disableOf("b", eight)), "one/01-a.ndjson": disableOf("a", nine), "one/03-c.jsonl.gz": zipped(t, disableOf("c", eight)),
			},
			paths: []string{"one"},
			want: `scenario "one" account expect
one/01-a.ndjson: line 1: a
one/02-b.json: line 1: b
one/03-c.jsonl.gz: line 1: c
`,
		},
		"a scenario that expects nothing, and one whose account is inferred": {
			files: map[string]string{"a/account.json": `{}`, "a/1.json": disableOf("a", nine), "b/expect.json": expected, "b/1.json": disableOf("b", nine)},
			want: `scenario "a" account
a/1.json: line 1: a
scenario "b" expect
b/1.json: line 1: b
`,
		},
		"a folder of scenarios with deliveries beside them": {
			files: map[string]string{
				"README.md": "x", "docs/x.md": "x", "a/expect.json": expected, "a/1.json": disableOf("a", nine),
				"plain/deeper/1.json": disableOf("p", nine), "loose.json": disableOf("l", eight),
			},
			want: `scenario "a" expect
a/1.json: line 1: a
scenario ""
loose.json: line 1: l
plain/deeper/1.json: line 1: p
`,
		},
		"a tree of log files, in the order of eventTime": {
			files: map[string]string{
				"2026/11/23/a.json.gz": zipped(t, logOf(disableOf("ten", ten), disableOf("eight", eight))), "2026/11/24/b.json": disableOf("nine", nine), "2026/x.csv": "x",
			},
			want: `scenario ""
2026/11/23/a.json.gz: Records[1]: eight
2026/11/24/b.json: line 1: nine
2026/11/23/a.json.gz: Records[0]: ten
`,
		},
		"a scenario and a file": {
			files: map[string]string{"a/expect.json": expected, "a/1.json": disableOf("a", nine), "x.log": disableOf("x", nine)},
			paths: []string{"x.log", "a"},
			want: `scenario "a" expect
a/1.json: line 1: a
scenario ""
x.log: line 1: x
`,
		},
		"a file that is gzip by its content, not by its name": {
			files: map[string]string{"a.json": zipped(t, disableOf("a", nine)), "b.json.gz": disableOf("b", nine)},
			want: `scenario ""
a.json: line 1: a
b.json.gz: line 1: b
`,
		},
		"two gzip files in one": {
			files: map[string]string{"a.gz": zipped(t, disableOf("a", nine)) + zipped(t, "\n"+disableOf("b", nine))}, paths: []string{"a.gz"},
			want: `scenario ""
a.gz: line 1: a
a.gz: line 2: b
`,
		},
		"an empty folder": {
			files: map[string]string{"README.md": "x"},
			want:  "scenario \"\"\n",
			err:   "DIR: no deliveries in this folder: it has no .json, .jsonl or .ndjson file, plain or .gz",
		},
		"a path that is not there, beside one that is": {
			files: map[string]string{"a.json": disableOf("a", nine)}, paths: []string{"b.json", "a.json"},
			want: `scenario ""
a.json: line 1: a
`,
			err: "b.json: there is no such file or folder",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, test.files)
			paths := []string{dir}
			if test.paths != nil {
				paths = nil
				for _, p := range test.paths {
					paths = append(paths, filepath.Join(dir, p))
				}
			}
			all, err := new(Loader).Load(paths)
			if diff := cmp.Diff(test.want, outline(dir, all)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := saying(dir, err); got != test.err {
				t.Errorf("error %q, want %q", got, test.err)
			}
		})
	}
}

// saying is the error's text without the folder that the test made up.
func saying(dir string, err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(strings.ReplaceAll(err.Error(), dir+"/", ""), dir, "DIR")
}

func TestALinkToAFolderIsFollowed(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"real/a.json": disableOf("a", nine)})
	if err := os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "link")); err != nil {
		t.Skipf("no links here: %v", err)
	}
	all, err := new(Loader).Load([]string{filepath.Join(dir, "link")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("scenario \"\"\nlink/a.json: line 1: a\n", outline(dir, all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestADashIsStandardInput(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"plain": disableOf("a", nine), "gzip": zipped(t, disableOf("a", nine))} {
		l := Loader{Stdin: strings.NewReader(text)}
		all, err := l.Load([]string{"-"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("scenario \"\"\nstandard input: line 1: a\n", outline("", all)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnAccountThatIsGivenReplacesEveryAccountFile(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"a/account.json": `not read`, "a/1.json": disableOf("a", nine), "b.json": disableOf("b", nine)})
	given := &account.File{Mode: "observe"}
	l := Loader{Account: given}
	all, err := l.Load([]string{dir})
	if err != nil || len(all) != 2 || all[0].Account != given || all[1].Account != given {
		t.Errorf("error %v; scenarios %v", err, all)
	}
}

func TestWhatIsInAFileIsReadOrToldWithFilePlaceAndProblem(t *testing.T) {
	t.Parallel()
	good, other := disableOf("good", nine), disableOf("other", ten)
	log := zipped(t, logOf(good, disableOf(some(4000), ten)))
	wrong := zipped(t, logOf(good, other))
	wrong = wrong[:len(wrong)-8] + "nope" + wrong[len(wrong)-4:]
	for name, test := range map[string]struct {
		text string
		want []string // each after "f.json: "
	}{
		"gzip cut off":                 {log[:len(log)/2], []string{"error the gzip file is cut off: unexpected EOF; it is skipped"}},
		"gzip cut off behind the text": {zipped(t, logOf(good))[:len(zipped(t, logOf(good)))-3], []string{"error the gzip file is cut off: unexpected EOF; it is skipped"}},
		"gzip cut off in its header":   {log[:7], []string{"error the gzip file is cut off: unexpected EOF; it is skipped"}},
		"gzip with a wrong checksum":   {wrong, []string{"error the gzip file is damaged: gzip: invalid checksum; it is skipped"}},
		"gzip with a wrong member between good ones": {
			zipped(t, good+"\n") + wrong + zipped(t, other) + zipped(t, "\n"+good),
			[]string{"line 1: good", "error the gzip file is damaged: gzip: invalid checksum; this part of it is skipped", "line 2: other", "line 3: good"},
		},
		"gzip cut off in its second member": {
			zipped(t, good) + log[:len(log)/2], []string{"line 1: good", "error the gzip file is cut off: unexpected EOF; this part of it is skipped"},
		},
		"gzip with garbage behind it": {
			zipped(t, good) + "garbage behind it", []string{"line 1: good", "error the gzip file is damaged: gzip: invalid header; this part of it is skipped"},
		},
		"gzip of nothing":   {zipped(t, ""), []string{"error the input is empty"}},
		"gzip in name only": {"\x1f\x8b", []string{"error the gzip file is cut off: unexpected EOF; it is skipped"}},

		"nothing":           {"", []string{"error the input is empty"}},
		"not JSON":          {"<html>\n", []string{"line 1: error what begins here is no JSON"}},
		"a word":            {"hello", []string{"line 1: error what begins here is no JSON"}},
		"null":              {"null", []string{"line 1: error not a CloudTrail record: want a JSON object, have null"}},
		"null for a record": {logOf(good, "null"), []string{"Records[0]: good", "Records[1]: error not a CloudTrail record: want a JSON object, have null"}},
		"null for Records":  {`{"Records":null}`, []string{"line 1: error Records is null, want a list of records"}},
		"null for an object in a record": {
			`{"eventVersion":"1.11","eventTime":"` + nine + `","eventSource":"cognito-idp.amazonaws.com","eventName":"AdminSetUserMFAPreference","eventID":"e","requestParameters":null,"additionalEventData":null,"userIdentity":null}`,
			[]string{"line 1: e"},
		},
		"a mixed list": {
			"[" + good + `,17,"x",[],` + envelopeOf(other) + "]",
			[]string{
				"[0]: good", "[1]: error not a CloudTrail record: want a JSON object, have a number", "[2]: error not a CloudTrail record: want a JSON object, have a string",
				"[3]: error not a CloudTrail record: want a JSON object, have a list", "[4]: other",
			},
		},
		"a broken line among good ones": {
			good + "\n" + `{"eventID":"bad","x":` + "\n" + other + "\n",
			[]string{"line 1: good", "line 2: error event bad: what begins here is cut off", "line 3: other"},
		},
		"invalid UTF-8": {
			logOf(good, "{\"eventID\":\"bad\",\"userAgent\":\"\xff\"}"), []string{"Records[0]: good", "Records[1]: error event bad: not a CloudTrail record: userAgent: invalid UTF-8 (at byte 30)"},
		},
		"a duplicate key": {
			logOf(good, `{"eventID":"bad","additionalEventData":{"sub":"a","sub":"b"}}`),
			[]string{"Records[0]: good", "Records[1]: error event bad: not a CloudTrail record: additionalEventData: a name is there twice (at byte 50)"},
		},
		"a log file cut off": {logOf(good, other)[:len(logOf(good))+20], []string{"Records[0]: good", "line 1: error what begins here is cut off"}},

		"an envelope that says when it arrives": {
			`{"arrives":"2026-11-23T11:30:00+01:00","event":` + envelopeOf(good) + `}`, []string{"line 1: good arrives 2026-11-23T10:30:00Z"},
		},
		"the time behind the event": {`{"event":` + envelopeOf(good) + `,"arrives":"` + ten + `"}`, []string{"line 1: good arrives " + ten}},
		"a log file that arrives": {
			`{"arrives":"` + ten + `","event":` + logOf(good, "7", other) + `}`,
			[]string{
				"line 1: Records[0]: good arrives " + ten,
				"line 1: Records[1]: error not a CloudTrail record: want a JSON object, have a number arrives " + ten,
				"line 1: Records[2]: other arrives " + ten,
			},
		},
		"wrapped ones, one per line": {
			`{"arrives":"` + ten + `","event":` + good + "}\n" + `{"arrives":"` + nine + `","event":` + other + "}",
			[]string{"line 1: good arrives " + ten, "line 2: other arrives " + nine},
		},
		"a wrapped event that cannot be read": {
			`{"arrives":"` + ten + `","event":{"eventID":"bad","x":1,"x":2}}`, []string{"line 1: error event bad: not a CloudTrail record: a name is there twice (at byte 23) arrives " + ten},
		},
		"a wrapped event with invalid UTF-8": {
			`{"arrives":"` + ten + "\",\"event\":{\"eventID\":\"\xff\"}}", []string{"line 1: error not a CloudTrail record: eventID: invalid UTF-8 (at byte 12) arrives " + ten},
		},
		"a wrapped event that is no JSON": {
			`{"arrives":"` + ten + `","event":{"eventID":"bad","x":tru}}`,
			[]string{`line 1: error event bad: not a CloudTrail record: invalid character '}' in literal true (expecting 'e') (at byte 66) arrives ` + ten},
		},
		"a wrapped null":             {`{"arrives":"` + ten + `","event":null}`, []string{"line 1: error not a CloudTrail record: want a JSON object, have null arrives " + ten}},
		"a wrapping without event":   {`{"arrives":"` + ten + `"}`, []string{"line 1: error event: is missing beside arrives"}},
		"a wrapping with more":       {`{"arrives":"` + ten + `","evnt":{}}`, []string{"line 1: error evnt: is no known field beside arrives; there is only event"}},
		"an arrival in words":        {`{"arrives":"soon","event":` + good + `}`, []string{`line 1: error arrives: "soon" is no time such as "2026-11-23T08:00:00Z"`}},
		"an arrival of null":         {`{"arrives":null,"event":` + good + `}`, []string{`line 1: error arrives: null is no time such as "2026-11-23T08:00:00Z"`}},
		"an arrival after all times": {`{"arrives":"9999-12-31T23:59:59Z","event":` + good + `}`, []string{`line 1: error arrives: "9999-12-31T23:59:59Z" is no time such as "2026-11-23T08:00:00Z"`}},
		"a record that holds the word arrives": {
			strings.Replace(good, `"softwareTokenMfaSettings"`, `"arrives":1,"softwareTokenMfaSettings"`, 1), []string{"line 1: good"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, map[string]string{"account.json": `{}`, "f.json": test.text})
			all, err := new(Loader).Load([]string{dir})
			if err != nil {
				t.Fatal(err)
			}
			_, lines, _ := strings.Cut(outline(dir, all), "\n")
			var want strings.Builder
			for _, line := range test.want {
				want.WriteString("f.json: " + line + "\n")
			}
			if diff := cmp.Diff(want.String(), lines); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAFileThatDescribesAScenarioIsReadOrRefusedByFileAndField(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, text, want string }{
		"an unknown key":             {"account.json", `{"usrs":[]}`, "usrs: is no known field"},
		"an unknown key, deeper":     {"account.json", `{"users":[{"sub":"a"},{"colour":"red"}]}`, "users[1].colour: is no known field"},
		"a number for a string":      {"account.json", `{"users":[{"sub":5}]}`, "users[0].sub: want a string, have a number"},
		"an object for a list":       {"account.json", `{"users":{}}`, "users: want a list, have an object"},
		"a string for an object":     {"account.json", `{"users":["u1"]}`, `users[0]: want an object, have a string`},
		"a string for a boolean":     {"account.json", `{"pools":[{"pre_token":"yes"}]}`, `pools[0].pre_token: want true or false, have a string`},
		"a time in words":            {"account.json", `{"now":"soon"}`, `now: is no time such as 2026-11-23T08:00:00Z`},
		"a key twice":                {"account.json", `{"users":[],"users":[]}`, "users: is there twice"},
		"cut off":                    {"account.json", `{"users":[{"sub":"a"`, "users[0]: the text ends too early (at byte 20)"},
		"no JSON":                    {"account.json", `mode: enforce`, "want a JSON object, which begins with {"},
		"an empty file":              {"account.json", ``, "want a JSON object, which begins with {"},
		"null":                       {"account.json", "null\n", "want a JSON object, have null"},
		"a list":                     {"account.json", `[]`, "want a JSON object, have []"},
		"more behind it":             {"account.json", `{} x`, "invalid character 'x' after top-level value (at byte 3)"},
		"every problem at once":      {"account.json", `{"pools":[{"id":"p","mode":"maybe"}],"mode":"look"}`, "pools[0].mode: \"maybe\" is none of off, optional, on\naccount.json: mode: \"look\" is neither enforce nor observe"},
		"an unknown expectation":     {"expect.json", `{"timer":1}`, "timer: is no known field"},
		"an unknown one, deeper":     {"expect.json", `{"account":{"user":[]}}`, "account.user: is no known field"},
		"a string for a number":      {"expect.json", `{"timers":"1"}`, `timers: want a number, have a string`},
		"an object for the records":  {"expect.json", `{"records":{}}`, "records: want a list, have an object"},
		"a number for an incident":   {"expect.json", `{"open_incidents":[1]}`, "open_incidents[0]: want a string, have a number"},
		"a list for the summary":     {"expect.json", `{"summary":[]}`, "summary: want an object, have a list"},
		"an expectation that is cut": {"expect.json", `{"timers":1`, "the text ends too early (at byte 11)"},
		"an expectation of null":     {"expect.json", `null`, "want a JSON object, have null"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, map[string]string{
				"a/" + test.file: test.text, "a/1.json": disableOf("a", nine), "b/account.json": `{}`, "b/1.json": disableOf("b", nine),
			})
			all, err := new(Loader).Load([]string{dir})
			got := strings.ReplaceAll(saying(dir, err), "a/"+test.file, test.file)
			if want := test.file + ": " + test.want; got != want {
				t.Errorf("the error says\n%s\nwant\n%s", got, want)
			}
			// One scenario that cannot be read does not stop the others.
			if diff := cmp.Diff("scenario \"b\" account\nb/1.json: line 1: b\n", outline(dir, all)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLooseFilesAreOrderedByEventTimeAndWhatHasNoneComesAfterTheSecondOfItsNeighbour(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"1.json": disableOf("ten", ten) + "\n{\n" + disableOf("eight", eight), "2.json": disableOf("nine", nine) + "\n7\n" + disableOf("nine too", nine),
	})
	all, err := new(Loader).Load([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	want := `scenario ""
1.json: line 3: eight
2.json: line 1: nine
2.json: line 3: nine too
2.json: line 2: error not a CloudTrail record: want a JSON object, have a number
1.json: line 1: ten
1.json: line 2: error what begins here is cut off
`
	if diff := cmp.Diff(want, outline(dir, all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if k := all[0].Deliveries[0].Change.Kind; k != mfa.FactorsChanged {
		t.Errorf("kind %q", k)
	}
}
