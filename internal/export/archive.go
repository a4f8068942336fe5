// Package export reads what was kept of the ledger outside of it: entries, records
// and logged heads in files, one JSON value per line, and the items of its table.
//
// It refuses to know what they say, and whether entries are true.
package export

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
)

// maxLine is the longest line that is read, in bytes. CloudWatch Logs keeps
// events of up to 1 MB, DynamoDB items of up to 400 KB.
const maxLine = 8 << 20

// Files are read one after the other, plain or gzip; "-" is standard input.
type Files struct {
	Paths []string
	Stdin io.Reader
	// Journal, if it is not nil, is told of every journal before its entries, when
	// the files have items of the table, standings among them.
	Journal func(dynamo.Journal)
}

// ErrNoEntry says that a line is neither an entry nor a record.
var ErrNoEntry = errors.New("neither an entry of the ledger nor a record")

// ErrNoHead says that a line may have had a head, and cannot be read.
var ErrNoHead = errors.New("a line that cannot be read, which may have been a head")

// Entries yields an entry for each line:
//
//   - an entry, {"journal", "number", "prev", "hash", "record"}. Its record is the
//     JSON object, whose bytes are taken as they stand, or that object as a
//     string, or its base64, as encoding/json writes mfa.Entry;
//   - a record alone, in a log line too, is an entry without number and hash. It
//     has no journal, but "scenario/2" after the first summary of relatch replay,
//     "scenario/3" after the second, and so on: scenarios have the same names for
//     different things;
//   - an item of the table in DynamoDB's JSON, alone or as the member Item, as
//     exports to S3 have it. What is neither entry nor standing nor justification
//     yields nothing.
//
// A file may also be one JSON document, with the items in a list or in the member
// Items, as aws dynamodb scan writes it. Items have no order in a file: they are
// held, and come last, by journal and place in it.
//
// Lines may be wrapped, as Heads says. Summaries and empty lines yield nothing,
// every other line an error, with file and line, and reading goes on. A file
// that cannot be read yields one error.
func (f Files) Entries() iter.Seq2[mfa.Entry, error] {
	return func(yield func(mfa.Entry, error) bool) {
		scenario := 1
		var held []map[string]types.AttributeValue
		for r, err := range f.lines {
			var e mfa.Entry
			if err == nil {
				if it, ok := item(r.text); ok {
					held = append(held, it)
					continue
				}
				var l line
				if l, err = parse(r.text); err == nil && l.Schema == replay.SummarySchema {
					scenario++
					continue
				}
				if err == nil {
					e, err = l.entry(scenario)
				}
				if err != nil {
					err = fmt.Errorf("%s: %w", r.place(), err)
				}
			}
			if !yield(e, err) {
				return
			}
		}
		journals, standings := dynamo.JournalsOf(held)
		for j, err := range journals {
			if err != nil {
				if !yield(mfa.Entry{}, err) {
					return
				}
				continue
			}
			if f.Journal != nil && standings {
				f.Journal(j)
			}
			for _, e := range j.Entries {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// item reads an item of the table.
func item(text []byte) (map[string]types.AttributeValue, bool) {
	if !bytes.Contains(text, []byte(`"S"`)) {
		return nil, false
	}
	type attributes map[string]struct{ S, N *string }
	var whole struct{ Item attributes }
	if err := json.Unmarshal(text, &whole); err != nil || whole.Item == nil {
		if json.Unmarshal(text, &whole.Item) != nil {
			return nil, false
		}
	}
	it := map[string]types.AttributeValue{}
	for name, a := range whole.Item {
		switch {
		case a.S != nil:
			it[name] = &types.AttributeValueMemberS{Value: *a.S}
		case a.N != nil:
			it[name] = &types.AttributeValueMemberN{Value: *a.N}
		}
	}
	return it, true
}

// Head is one that was logged, with the file and line it stands in.
type Head struct {
	mfa.Head

	Place string
}

// Heads yields the heads that were logged: {"journal", "number", "hash"}, alone in
// a line or as the member head of a function's log line. Either may be wrapped as
// {"message": "…"} or {"@message": "…"}, and stand after a time stamp, as
// CloudWatch Logs exports them. JSON without a head yields nothing, other text a
// Head that is empty but for its place, and what looks like JSON and cannot be read,
// as a line that was cut off, an ErrNoHead, with file and line.
func (f Files) Heads() iter.Seq2[Head, error] {
	return func(yield func(Head, error) bool) {
		for r, err := range f.lines {
			head := Head{Place: r.place()}
			if err == nil {
				l, cannot := parse(r.text)
				switch {
				case cannot != nil && bytes.IndexByte(l.text, '{') >= 0:
					err = fmt.Errorf("%s: %w", head.Place, ErrNoHead)
				case cannot != nil:
				case l.Head != nil:
					head.Head = *l.Head
				case l.Journal != "" && l.Hash != "":
					head.Head = mfa.Head{Journal: l.Journal, Number: l.Number, Hash: l.Hash}
				default:
					continue
				}
			}
			if !yield(head, err) {
				return
			}
		}
	}
}

// line is any of the lines that are read.
type line struct {
	Schema  string         `json:"schema"`
	Journal string         `json:"journal"`
	Number  int            `json:"number"`
	Prev    string         `json:"prev"`
	Hash    string         `json:"hash"`
	Record  jsontext.Value `json:"record"`
	Head    *mfa.Head      `json:"head"`
	Message *string        `json:"message"`
	Insight *string        `json:"@message"`

	text []byte // the line itself, unwrapped; until the next one is read
}

// parse reads a line. Beside an error there is the text that cannot be read.
func parse(text []byte) (line, error) {
	if i := bytes.IndexByte(text, '{'); i > 0 && bytes.IndexByte(text[:i], ' ') > 0 {
		text = text[i:] // a time stamp
	}
	l := line{text: text}
	if err := json.Unmarshal(text, &l); err != nil {
		return line{text: text}, fmt.Errorf("%w: %w", ErrNoEntry, err)
	}
	inner := l.Message
	if inner == nil {
		inner = l.Insight
	}
	if inner == nil || l.Schema != "" || l.Hash != "" {
		return l, nil
	}
	text = bytes.TrimSpace([]byte(*inner))
	l = line{text: text}
	if err := json.Unmarshal(text, &l); err != nil {
		return line{text: text}, fmt.Errorf("%w: %w", ErrNoEntry, err)
	}
	return l, nil
}

func (l line) entry(scenario int) (mfa.Entry, error) {
	if l.Schema == mfa.RecordSchema {
		e := mfa.Entry{Record: bytes.Clone(l.text)}
		if scenario > 1 {
			e.Journal = "scenario/" + strconv.Itoa(scenario)
		}
		return e, nil
	}
	if l.Journal == "" || l.Hash == "" || len(l.Record) == 0 {
		return mfa.Entry{}, ErrNoEntry
	}
	e := mfa.Entry{Journal: l.Journal, Number: l.Number, Prev: l.Prev, Hash: l.Hash}
	if l.Record.Kind() != '"' {
		e.Record = l.Record
		return e, nil
	}
	var text string
	if err := json.Unmarshal(l.Record, &text); err != nil {
		return mfa.Entry{}, err
	}
	e.Record = []byte(text)
	if !strings.HasPrefix(text, "{") {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return mfa.Entry{}, fmt.Errorf("the entry's record is neither JSON nor base64: %w", err)
		}
		e.Record = raw
	}
	return e, nil
}

// row is a line of a file, without white space around it, or an item of a document.
type row struct {
	path   string
	number int
	item   bool
	text   []byte // until the next one is read
}

func (r row) place() string {
	if r.item {
		return fmt.Sprintf("%s: item %d", r.path, r.number)
	}
	return fmt.Sprintf("%s:%d", r.path, r.number)
}

// lines yields the lines that are not empty, and an error for each file that
// cannot be read to its end.
func (f Files) lines(yield func(row, error) bool) {
	for _, path := range f.Paths {
		more, err := f.file(path, yield)
		if err != nil {
			more = yield(row{}, fmt.Errorf("%s: %w", path, err))
		}
		if !more {
			return
		}
	}
}

func (f Files) file(path string, yield func(row, error) bool) (more bool, err error) {
	in := f.Stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return true, unplaced(err)
		}
		defer file.Close()
		in = file
	}
	buffered := bufio.NewReader(in)
	if magic, err := buffered.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return true, err
		}
		buffered = bufio.NewReader(z)
	}
	if begin, _ := buffered.Peek(256); document.Match(begin) { // what keeps it from being read is told below
		return f.items(path, buffered, yield)
	}
	s := bufio.NewScanner(buffered)
	s.Buffer(nil, maxLine)
	for n := 1; s.Scan(); n++ {
		text := bytes.TrimSpace(s.Bytes())
		if len(text) > 0 && !yield(row{path: path, number: n, text: text}, nil) {
			return false, nil
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return true, fmt.Errorf("a line is longer than %d MB", maxLine>>20)
	}
	return true, unplaced(s.Err())
}

// document is how a file begins that is not one JSON value per line.
var document = regexp.MustCompile(`^\s*(\[|\{\s*"(Items|Count|ScannedCount|ConsumedCapacity|LastEvaluatedKey|NextToken)"\s*:)`)

// items yields the items of documents that follow one another.
func (f Files) items(path string, in io.Reader, yield func(row, error) bool) (more bool, err error) {
	d := jsontext.NewDecoder(in)
	n := 0
	list := func() (more bool, err error) {
		if _, err := d.ReadToken(); err != nil { // [
			return true, err
		}
		for d.PeekKind() != ']' {
			text, err := d.ReadValue()
			if err != nil {
				return true, err
			}
			if n++; !yield(row{path: path, number: n, item: true, text: text}, nil) {
				return false, nil
			}
		}
		_, err = d.ReadToken()
		return true, err
	}
	for {
		switch d.PeekKind() {
		case '[':
			if more, err := list(); !more || err != nil {
				return more, err
			}
		case '{':
			if _, err := d.ReadToken(); err != nil {
				return true, err
			}
			for d.PeekKind() == '"' {
				name, err := d.ReadToken()
				if err != nil {
					return true, err
				}
				if name.String() != "Items" || d.PeekKind() != '[' {
					err = d.SkipValue()
				} else if more, listErr := list(); !more {
					return false, nil
				} else {
					err = listErr
				}
				if err != nil {
					return true, err
				}
			}
			if _, err := d.ReadToken(); err != nil { // }
				return true, err
			}
		default:
			if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
				return true, fmt.Errorf("neither a list nor an object with Items: %w", err)
			}
			return true, nil
		}
	}
}

// unplaced is the error without the path, which is told already.
func unplaced(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
