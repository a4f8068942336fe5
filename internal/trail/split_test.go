package trail

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stackflow/relatch/internal/mfa"
)

// told is a unit as the tables below write it: "place raw", or "place error",
// with what is left of a long raw.
func told(u Unit) string {
	text := string(u.Raw)
	switch {
	case errors.Is(u.Err, ErrCutOff):
		text = "CUT OFF " + text
	case errors.Is(u.Err, ErrNoJSON):
		text = "NO JSON " + text
	case errors.Is(u.Err, ErrComma):
		text = "NO COMMA " + text
	case errors.Is(u.Err, ErrEmpty):
		text = "EMPTY " + text
	case u.Err != nil:
		text = u.Err.Error()
	}
	if len(text) > 60 {
		text = text[:60] + "…"
	}
	return strings.TrimSpace(u.Place + " " + text)
}

func units(data []byte) []Unit { return slices.Collect(Split(data)) }

func TestAnInputIsTakenApart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		in   string
		want []string
	}{
		"a log file":                  {`{"Records":[{"a":1},{"b":[2]}]}`, []string{`Records[0] {"a":1}`, `Records[1] {"b":[2]}`}},
		"a log file with more in it":  {`{"x":{"Records":[1]},"Records":[{"a":1}],"y":[{}]}`, []string{`Records[0] {"a":1}`}},
		"a log file without records":  {`{"Records":[]}`, nil},
		"the output of lookup-events": {"{\n \"Events\": [\n  {\"EventId\": \"1\"}\n ],\n \"NextToken\": \"[{\"\n}\n", []string{`Events[0] {"EventId": "1"}`}},
		"a list":                      {` [ {"a":1} , {"b":2} ] `, []string{`[0] {"a":1}`, `[1] {"b":2}`}},
		"a mixed list": {
			`[{"a":1}, null, 7, "x,]", true, [{"b":2}]]`,
			[]string{`[0] {"a":1}`, `[1] null`, `[2] 7`, `[3] "x,]"`, `[4] true`, `[5] [{"b":2}]`},
		},
		"one per line":          {"{\"a\":1}\n{\"b\":2}\n\n{\"c\":3}", []string{`line 1 {"a":1}`, `line 2 {"b":2}`, `line 4 {"c":3}`}},
		"one per line, CRLF":    {"{\"a\":1}\r\n{\"b\":2}\r\n", []string{`line 1 {"a":1}`, `line 2 {"b":2}`}},
		"behind each other":     {`{"a":1}{"b":2} [{"c":3}]`, []string{`line 1 {"a":1}`, `line 1 {"b":2}`, `[0] {"c":3}`}},
		"a log file per line":   {"{\"Records\":[{\"a\":1}]}\n{\"Records\":[{\"b\":2}]}", []string{`Records[0] {"a":1}`, `line 2: Records[0] {"b":2}`}},
		"a byte order mark":     {"\ufeff{\"a\":1}", []string{`line 1 {"a":1}`}},
		"a mark and a log file": {"\ufeff{\"Records\":[{\"a\":1}]}", []string{`Records[0] {"a":1}`}},
		"brackets and escapes in strings": {
			`{"Records":[{"a":"}]\"{\\"},{"b":"\u007b\\\""}]}`, []string{`Records[0] {"a":"}]\"{\\"}`, `Records[1] {"b":"\u007b\\\""}`},
		},
		"a line break in a string is for Parse to refuse": {"{\"a\":\"x\ny\"}\n{\"b\":2}", []string{"line 1 {\"a\":\"x\ny\"}", `line 3 {"b":2}`}},
		"nothing":                {"", []string{`EMPTY`}},
		"white space only":       {" \r\n\t", []string{`EMPTY`}},
		"a byte order mark only": {"\ufeff", []string{`EMPTY`}},
		"Records is null":        {`{"Records":null}`, []string{`line 1 {"Records":null}`}},
		"Records in a string":    {`{"eventName":"Records","x":"Records"}`, []string{`line 1 {"eventName":"Records","x":"Records"}`}},
		"a word":                 {"oops", []string{"line 1 NO JSON oops"}},
		"words":                  {"it is not JSON", []string{"line 1 NO JSON it is not JSON"}},
		"a page of HTML":         {"<html>\n<body>\n", []string{"line 1 NO JSON <html>\n<body>"}},

		// Broken in the middle.
		"a line cut off among good ones": {
			"{\"a\":1}\n{\"b\":{\"x\":1}\n{\"c\":3}\n{\"d\":4}",
			[]string{`line 1 {"a":1}`, "line 2 CUT OFF {\"b\":{\"x\":1}", `line 3 {"c":3}`, `line 4 {"d":4}`},
		},
		"lines cut off anywhere": {
			"{\n{\"b\n{\"b\\\n{\"b\"\n{\"b\":\n{\"b\":1,\n{\"b\":[\n{\"b\":[1,\n{\"c\":3}",
			[]string{
				"line 1 CUT OFF {", "line 2 CUT OFF {\"b", "line 3 CUT OFF {\"b\\", "line 4 CUT OFF {\"b\"", "line 5 CUT OFF {\"b\":",
				"line 6 CUT OFF {\"b\":1,", "line 7 CUT OFF {\"b\":[", "line 8 CUT OFF {\"b\":[1,", `line 9 {"c":3}`,
			},
		},
		"a missing bracket here and one too many there do not hide what is between": {
			"{\"a\":{\"x\":1}\n{\"b\":2}\n{\"c\":3}}\n{\"d\":4}",
			[]string{"line 1 CUT OFF {\"a\":{\"x\":1}", `line 2 {"b":2}`, `line 3 {"c":3}`, "line 3 NO JSON }", `line 4 {"d":4}`},
		},
		"a line of garbage":          {"{\"a\":1}\n@@@ {\"x\"\n{\"b\":2}", []string{`line 1 {"a":1}`, "line 2 NO JSON @@@ {\"x\"", `line 3 {"b":2}`}},
		"garbage at the end":         {`{"a":1} @`, []string{`line 1 {"a":1}`, `line 1 NO JSON @`}},
		"a word at the end":          {`{"a":1} x`, []string{`line 1 {"a":1}`, `line 1 NO JSON x`}},
		"one bracket too many":       {`{"Records":[{"a":1}]}}`, []string{`Records[0] {"a":1}`, `line 1 NO JSON }`}},
		"brackets that do not match": {`{"Records":[{"a":[1}]}`, []string{`line 1 NO JSON {"a":[1}]}`}},
		"an unsound record in a log file is for Parse to refuse": {
			`{"Records":[{"a":1},{"b" 2,},{"c":tru},{"d":4}]}`, []string{`Records[0] {"a":1}`, `Records[1] {"b" 2,}`, `Records[2] {"c":tru}`, `Records[3] {"d":4}`},
		},
		"a missing comma":     {`[{"a":1} {"b":2}, {"c":3}]`, []string{`[0] {"a":1}`, `line 1 NO COMMA`, `[1] {"b":2}`, `[2] {"c":3}`}},
		"something for comma": {`[{"a":1}; {"b":2}]`, []string{`[0] {"a":1}`, `line 1 NO JSON ; {"b":2}]`}},
		"an element cut off in a list with lines of their own": {
			"{\"Records\": [\n  {\"a\": 1},\n  {\"b\": [2\n  {\"c\": 3},\n  {\"d\": 4}\n]}",
			[]string{`Records[0] {"a": 1}`, "line 3 CUT OFF {\"b\": [2", `Records[2] {"c": 3}`, `Records[3] {"d": 4}`},
		},
		"an indented element cut off": {
			"[\n  {\n    \"a\": [\n      {\"x\": 1}\n  },\n  {\n    \"b\": 2\n  }\n]",
			[]string{"line 2 NO JSON {\n    \"a\": [\n      {\"x\": 1}\n  },", "[1] {\n    \"b\": 2\n  }"},
		},
		"a log file cut off before another one": {
			"{\"Records\":[{\"a\":1},{\"b\":\n{\"Records\":[{\"c\":3}]}", []string{`Records[0] {"a":1}`, `line 1 CUT OFF {"b":`, `line 2: Records[0] {"c":3}`},
		},
		"a log file without its last brackets": {`{"Records":[{"a":1}`, []string{`Records[0] {"a":1}`, `line 1 CUT OFF`}},
		"a log file without its last bracket":  {`{"Records":[{"a":1}]`, []string{`Records[0] {"a":1}`, `line 1 CUT OFF`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, u := range units([]byte(test.in)) {
				got = append(got, told(u))
			}
			if diff := cmp.Diff(trimmed(test.want), trimmed(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func trimmed(lines []string) []string {
	out := slices.Clone(lines)
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	return out
}

func TestWhatIsCutOffNamesItsEvent(t *testing.T) {
	t.Parallel()
	for u := range Split([]byte(`{"eventID": "e1", "eventName": "Admin`)) {
		var e *Error
		if !errors.As(u.Err, &e) || e.EventID != "e1" || u.Err.Error() != "event e1: what begins here is cut off" {
			t.Errorf("the error is %v", u.Err)
		}
	}
}

// layouts write records as inputs do. whole reports whether a cut between two
// records can be seen.
var layouts = map[string]struct {
	write func(records []string) string
	whole bool
}{
	"log file":      {func(r []string) string { return `{"Records":[` + strings.Join(r, ",") + `]}` }, true},
	"pretty":        {func(r []string) string { return "{\n  \"Records\": [\n    " + strings.Join(r, ",\n    ") + "\n  ]\n}" }, true},
	"lookup-events": {func(r []string) string { return `{"Events": [` + strings.Join(r, ", ") + `], "NextToken": "x"}` }, true},
	"list":          {func(r []string) string { return "[\n" + strings.Join(r, ",\n") + "\n]" }, true},
	"lines":         {func(r []string) string { return strings.Join(r, "\n") }, false},
	"lines, CRLF":   {func(r []string) string { return strings.Join(r, "\r\n") }, false},
	"concatenated":  {func(r []string) string { return strings.Join(r, "") }, false},
}

func TestACutAnywhereLosesNothingBeforeItAndIsSeen(t *testing.T) {
	t.Parallel()
	for name, layout := range layouts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				records := rapid.SliceOfN(someRecord(), 1, 4).Draw(t, "records")
				data := []byte(layout.write(records))
				ends := endsOf(data, records)
				for cut := range len(data) + 1 {
					checkCut(t, data[:cut:cut], records, ends, layout.whole && cut < len(data))
				}
			})
		})
	}
}

// checkCut: the whole records, and only these, come without an error.
func checkCut(t *rapid.T, data []byte, records []string, ends []int, seen bool) {
	want := 0
	for want < len(ends) && ends[want] <= len(data) {
		want++
	}
	// Between records that follow each other a cut cannot be seen.
	inside := want < len(ends) && len(bytes.TrimSpace(data)) > 0 && (want == 0 || len(bytes.TrimSpace(data[ends[want-1]:])) > 0)
	var got []string
	problems := 0
	for u := range Split(data) {
		if u.Err != nil {
			problems++
			continue
		}
		got = append(got, string(u.Raw))
	}
	if diff := cmp.Diff(records[:want], got, cmp.Transformer("empty", func(s []string) string { return strings.Join(s, "\x00") })); diff != "" {
		t.Fatalf("cut to %q (-want +got):\n%s", data, diff)
	}
	if missing := seen || inside || len(data) == 0; (problems > 0) != missing {
		t.Fatalf("cut to %q: %d problems, something is missing: %v", data, problems, missing)
	}
}

// endsOf finds where each record ends.
func endsOf(data []byte, records []string) []int {
	var ends []int
	at := 0
	for _, r := range records {
		at += bytes.Index(data[at:], []byte(r)) + len(r)
		ends = append(ends, at)
	}
	return ends
}

func someRecord() *rapid.Generator[string] {
	text := rapid.StringOfN(rapid.RuneFrom([]rune(`a{}[],:"\ é`)), 0, 6, -1)
	return rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]func() string{
			func() string { return `{}` },
			func() string { return fmt.Sprintf(`{"a":%s}`, quoted(text.Draw(t, "text"))) },
			func() string { return fmt.Sprintf(`{%s:[1,{"b":null}],"c":{}}`, quoted(text.Draw(t, "name"))) },
			func() string { return fmt.Sprintf("{\"a\" : [ ] ,\n \"b\": %s}", quoted(text.Draw(t, "text"))) },
		}).Draw(t, "shape")()
	})
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(s) + `"`
}

func TestDeepNestingIsSplitWithoutRecursionAndRefusedByParse(t *testing.T) {
	t.Parallel()
	const deep = 200_000
	for name, in := range map[string]string{
		"lists":            strings.Repeat("[", deep) + strings.Repeat("]", deep),
		"objects":          strings.Repeat(`{"a":`, deep) + "1" + strings.Repeat("}", deep),
		"opened only":      strings.Repeat("[", deep),
		"braces only":      strings.Repeat("{", deep),
		"lines of braces":  strings.Repeat("{\n", deep),
		"closed only":      strings.Repeat("]\n", deep),
		"behind a good":    `{"a":1}` + "\n" + strings.Repeat(`{"a":[`, deep) + "\n{\"b\":2}",
		"within a log":     `{"Records":[` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + `]}`,
		"unfinished lines": strings.Repeat("{\"a\":{\"b\":1}\n", deep),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused := false
			for u := range Split([]byte(in)) {
				err := u.Err
				if err == nil {
					_, err = Parse(u.Raw)
				}
				refused = refused || err != nil
			}
			if !refused {
				t.Error("was read without an error")
			}
		})
	}
}

func TestTheTimeToSplitGrowsWithTheInputOnly(t *testing.T) {
	t.Parallel()
	// A line counted anew for every delivery would read these 60 MB 100,000 times.
	line := `{"a":"` + strings.Repeat("x", 600) + "\"}\n"
	n, last := 0, ""
	for u := range Split([]byte(strings.Repeat(line, 100_000))) {
		n, last = n+1, u.Place
	}
	if n != 100_000 || last != "line 100000" {
		t.Errorf("%d units, the last in %s", n, last)
	}
}

func TestARecordOfFiveMegabytesIsSplitAndRefusedByParse(t *testing.T) {
	t.Parallel()
	huge := call(`{"userAgent": "` + strings.Repeat("x", 5<<20) + `"}`)
	data := slices.Concat([]byte(`{"Records":[`), call(`{}`), []byte(","), huge, []byte(","), call(`{"eventID": "e3"}`), []byte("]}"))
	var kinds []mfa.Kind
	var problems []string
	for u := range Split(data) {
		c, err := Parse(u.Raw)
		if kinds = append(kinds, c.Kind); err != nil {
			problems = append(problems, u.Place+": "+err.Error())
		}
	}
	if diff := cmp.Diff([]mfa.Kind{mfa.FactorsChanged, "", mfa.FactorsChanged}, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	want := []string{fmt.Sprintf("Records[1]: event c75eb7a5-eb8c-43d1-8331-f4412e756e69: the record has %d bytes; CloudTrail writes none over 1048576", len(huge))}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestSplitStopsWhenItsCallerHasHadEnough(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`{"Records":[{"a":1},{"b":2}]}`, `[{"a":1} {"b":2}]`, "{\"a\":1}\n{\"b\":2}", "@\n{\"b\":2}", "[\n{\n{\"b\":2}\n]", ""} {
		for enough := range 3 {
			n := 0
			for range Split([]byte(in)) {
				if n++; n > enough {
					break
				}
			}
			if n > enough+1 {
				t.Errorf("%q: %d units, wanted no more than %d", in, n, enough+1)
			}
		}
	}
}
