package trail

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// The reasons for which a part of an input cannot be taken apart.
var (
	ErrEmpty  = errors.New("the input is empty")
	ErrCutOff = errors.New("what begins here is cut off")
	ErrNoJSON = errors.New("what begins here is no JSON")
	ErrComma  = errors.New("a comma is missing before what begins here")
)

// Unit is one delivery of an input that may hold many, or a part of it that
// could not be taken apart.
type Unit struct {
	Raw   []byte // shares the input's memory
	Place string // such as "line 7" or "Records[12]"
	Err   error  // an *Error around one of those above
}

// Split takes an input apart: a CloudTrail log file ({"Records":[…]}), the
// output of lookup-events ({"Events":[…]}) or of a CloudTrail Lake query for
// eventJson ({"QueryResultRows":[[…],…]}), a list of deliveries, one delivery,
// or several behind each other, as in a file with one per line. It finds only
// where each begins and ends; whether it is sound is Parse's to say. So one
// broken delivery does not hide the good ones around it. What cannot be taken
// apart is a Unit with an error; after it, Split goes on at the next line that
// is indented like this one and begins like a delivery.
func Split(data []byte) iter.Seq[Unit] { return SplitFrom(data, 1) }

// SplitFrom is Split for a later part of an input, which begins in this line.
func SplitFrom(data []byte, line int) iter.Seq[Unit] {
	return func(yield func(Unit) bool) {
		s := &splitter{data: bytes.TrimPrefix(data, []byte("\ufeff")), yield: yield, lines: line - 1}
		if s.space(); s.at == len(s.data) {
			yield(Unit{Err: &Error{Err: ErrEmpty}})
			return
		}
		for s.at < len(s.data) && s.top() {
			s.space()
		}
	}
}

type splitter struct {
	data  []byte
	at    int
	yield func(Unit) bool

	// counted is how far lines are counted, and lines how many there are.
	counted, lines int
	// next: the value ended where the next one begins on a line of its own.
	next bool
}

// line names the line of a place at or behind the one asked for before.
func (s *splitter) line(at int) string {
	s.lines += bytes.Count(s.data[s.counted:at], []byte("\n"))
	s.counted = at
	return fmt.Sprintf("line %d", 1+s.lines)
}

// top takes one top-level value. It returns false where the caller of Split has
// had enough.
func (s *splitter) top() (more bool) {
	start := s.at
	switch s.data[s.at] {
	case '[':
		_, more = s.list(start, "")
		return more
	case '{':
		if name := s.container(); name != "" {
			whole, more := s.list(start, name)
			if !whole || !more {
				return more
			}
			// The rest of the container, such as NextToken, is of no interest.
			rest := s.at
			return s.toClose() || s.broken(rest)
		}
	}
	s.at = start
	if s.data[start] != '{' { // no delivery begins like this, but a number or a word can be told as one
		end := bytes.IndexByte(s.data[start:], '\n') + start
		if end < start {
			end = len(s.data)
		}
		if !jsontext.Value(s.data[start:end]).IsValid() {
			return s.broken(start)
		}
	}
	if !s.value() {
		return s.broken(start)
	}
	return s.yield(Unit{Raw: s.data[start:s.at], Place: s.line(start)})
}

// broken reports what begins at start, and goes to the next line that is
// indented like this one and begins like a delivery, or to the end.
func (s *splitter) broken(start int) (more bool) {
	err := ErrNoJSON
	if s.at >= len(s.data) || s.next {
		err = ErrCutOff
	}
	line := s.data[bytes.LastIndexByte(s.data[:start], '\n')+1:]
	indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
	s.at = len(s.data)
	if i := bytes.Index(s.data[start:], fmt.Appendf(nil, "\n%s{", indent)); i >= 0 {
		s.at = start + i + 1 + len(indent)
	}
	raw := s.data[start:s.at]
	return s.yield(Unit{Raw: raw, Place: s.line(start), Err: &Error{EventID: firstID(raw), Err: err}})
}

// leads reports whether only white space is before this on its line.
func (s *splitter) leads(at int) bool {
	for at > 0 && (s.data[at-1] == ' ' || s.data[at-1] == '\t') {
		at--
	}
	return at == 0 || s.data[at-1] == '\n'
}

// list takes the elements of the list that begins here, in the container that
// begins at top. whole is false where its end was not found.
func (s *splitter) list(top int, name string) (whole, more bool) {
	if line := s.line(top); line != "line 1" {
		name = line + ": " + name
	}
	s.at++
	for i := 0; ; i++ {
		if s.space(); s.at < len(s.data) && s.data[s.at] == ']' {
			s.at++
			return true, true
		}
		start := s.at
		if !s.value() {
			leads := s.leads(start)
			if more := s.broken(start); !more || !leads || s.at >= len(s.data) {
				return false, more
			}
			continue // at the next element: they stand on lines of their own
		}
		raw := s.data[start:s.at]
		if strings.HasSuffix(name, "QueryResultRows") { // each is a list with an object for each column
			if one := bytes.Trim(raw, "[] \t\r\n"); len(one) > 0 {
				raw = one
			}
		}
		if !s.yield(Unit{Raw: raw, Place: fmt.Sprintf("%s[%d]", name, i)}) {
			return false, false
		}
		switch s.space(); {
		case s.at >= len(s.data):
			return false, s.broken(s.at)
		case s.data[s.at] == ',':
			s.at++
		case s.data[s.at] == '{':
			if !s.yield(Unit{Raw: s.data[s.at:s.at], Place: s.line(s.at), Err: &Error{Err: ErrComma}}) {
				return false, false
			}
		case s.data[s.at] != ']':
			return false, s.broken(s.at)
		}
	}
}

// container finds out whether the object here is a log file or the output of
// lookup-events. If so it stands at the list in it.
func (s *splitter) container() string {
	s.at++
	for {
		s.space()
		start := s.at
		if s.at >= len(s.data) || s.data[s.at] != '"' || !s.value() {
			return ""
		}
		name := string(s.data[start+1 : s.at-1])
		if s.space(); s.at >= len(s.data) || s.data[s.at] != ':' {
			return ""
		}
		s.at++
		s.space()
		if s.at < len(s.data) && s.data[s.at] == '[' && (name == "Records" || name == "Events" || name == "QueryResultRows") {
			return name
		}
		if !s.value() {
			return ""
		}
		if s.space(); s.at >= len(s.data) || s.data[s.at] != ',' {
			return ""
		}
		s.at++
	}
}

// toClose goes behind the end of the object that the list was in.
func (s *splitter) toClose() bool {
	for s.at < len(s.data) {
		switch s.space(); {
		case s.at >= len(s.data):
			return false
		case s.data[s.at] == '}':
			s.at++
			return true
		case s.data[s.at] == ',' || s.data[s.at] == ':':
			s.at++
		case !s.value():
			return false
		}
	}
	return false
}

func (s *splitter) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// value goes behind the value that begins here, without recursion: nesting may
// be as deep as the input is long. Where brackets do not match it stops, and at
// the start of a line that begins like a delivery where none can be: there this
// one was cut off, and the next one begins.
func (s *splitter) value() bool {
	var open []byte
	last := byte(',') // what comes before this: one of [ { , : or a value, v
	s.next = false
	for s.at < len(s.data) {
		b := s.data[s.at]
		switch b {
		case '{', '[':
			if n := len(open); n > 0 && b == '{' && (last == 'v' || open[n-1] == '}' && last != ':') {
				if s.next = s.leads(s.at); s.next {
					return false
				}
			}
			open = append(open, b+2) // the closing bracket in ASCII
			last = b
			s.at++
		case '}', ']':
			if len(open) == 0 || open[len(open)-1] != b {
				return false
			}
			open = open[:len(open)-1]
			last = 'v'
			s.at++
		case '"':
			if !s.str() {
				return false
			}
			last = 'v'
		case ',', ':':
			if len(open) == 0 {
				return false
			}
			last = b
			s.at++
		case ' ', '\t', '\r', '\n':
			if len(open) == 0 {
				return false
			}
			s.at++
		default:
			if !s.scalar() {
				return false
			}
			last = 'v'
		}
		if len(open) == 0 {
			return true
		}
	}
	return false
}

func (s *splitter) str() bool {
	for s.at++; s.at < len(s.data); s.at++ {
		switch s.data[s.at] {
		case '\\':
			if s.at+1 < len(s.data) && s.data[s.at+1] != '\n' {
				s.at++
			}
		case '\n': // no string goes over the end of a line
			line := bytes.TrimLeft(s.data[s.at+1:], " \t")
			if s.next = len(line) > 0 && line[0] == '{'; s.next {
				return false
			}
		case '"':
			s.at++
			return true
		}
	}
	return false
}

// scalar goes behind a number or a word.
func (s *splitter) scalar() bool {
	start := s.at
	for s.at < len(s.data) {
		b := s.data[s.at]
		if b != '+' && b != '-' && b != '.' && (b < '0' || b > '9') && (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') {
			break
		}
		s.at++
	}
	return s.at > start
}
