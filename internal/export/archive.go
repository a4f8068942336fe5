// Package export reads what was kept of the ledger outside of it: entries,
// records and logged heads in files, one JSON value per line.
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
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

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
}

// ErrNoEntry says that a line is neither an entry nor a record.
var ErrNoEntry = errors.New("neither an entry of the ledger nor a record")

// Entries yields an entry for each line:
//
//   - an entry, {"journal", "number", "prev", "hash", "record"}. Its record is the
//     JSON object, whose bytes are taken as they stand, or that object as a
//     string, or its base64, as encoding/json writes mfa.Entry;
//   - a record alone, in a log line too, is an entry without number and hash. It
//     has no journal, but "scenario/2" after the first summary of relatch replay,
//     "scenario/3" after the second, and so on: scenarios have the same names for
//     different things.
//
// Either may be wrapped, as Heads says. Summaries and empty lines yield nothing,
// every other line an error, with file and line, and reading goes on. A file
// that cannot be read yields one error.
func (f Files) Entries() iter.Seq2[mfa.Entry, error] {
	return func(yield func(mfa.Entry, error) bool) {
		scenario := 1
		for r, err := range f.lines {
			var e mfa.Entry
			if err == nil {
				var l line
				if l, err = parse(r.text); err == nil && l.Schema == replay.SummarySchema {
					scenario++
					continue
				}
				if err == nil {
					e, err = l.entry(scenario)
				}
				if err != nil {
					err = fmt.Errorf("%s:%d: %w", r.path, r.number, err)
				}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Heads yields the heads that were logged: {"journal", "number", "hash"}, alone in
// a line or as the member head of a function's log line. Either may be wrapped as
// {"message": "…"} or {"@message": "…"}, and stand after a time stamp, as
// CloudWatch Logs exports them. Lines without a head are passed over.
func (f Files) Heads() iter.Seq2[mfa.Head, error] {
	return func(yield func(mfa.Head, error) bool) {
		for r, err := range f.lines {
			var head mfa.Head
			if err == nil {
				l, err := parse(r.text)
				switch {
				case err != nil:
					continue
				case l.Head != nil:
					head = *l.Head
				case l.Journal != "" && l.Hash != "":
					head = mfa.Head{Journal: l.Journal, Number: l.Number, Hash: l.Hash}
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

func parse(text []byte) (line, error) {
	if i := bytes.IndexByte(text, '{'); i > 0 && bytes.IndexByte(text[:i], ' ') > 0 {
		text = text[i:] // a time stamp
	}
	l := line{text: text}
	if err := json.Unmarshal(text, &l); err != nil {
		return line{}, fmt.Errorf("%w: %w", ErrNoEntry, err)
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
		return line{}, fmt.Errorf("%w: %w", ErrNoEntry, err)
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

// row is a line of a file, without white space around it.
type row struct {
	path   string
	number int
	text   []byte // until the next one is read
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
	in = buffered
	if magic, err := buffered.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return true, err
		}
		in = z
	}
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxLine)
	for n := 1; s.Scan(); n++ {
		text := bytes.TrimSpace(s.Bytes())
		if len(text) > 0 && !yield(row{path, n, text}, nil) {
			return false, nil
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return true, fmt.Errorf("a line is longer than %d MB", maxLine>>20)
	}
	return true, unplaced(s.Err())
}

// unplaced is the error without the path, which is told already.
func unplaced(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
