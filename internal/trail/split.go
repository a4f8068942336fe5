package trail

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
)

// Unit is one delivery of an input that may hold many, or a part of it that
// could not be taken apart.
type Unit struct {
	Raw   []byte // shares the input's memory
	Place string // such as "line 7" or "Records[12]"
	Err   error
}

// Split takes an input apart: a CloudTrail log file ({"Records":[…]}), the
// output of lookup-events ({"Events":[…]}), a list of deliveries, one delivery,
// or several behind each other, as in a file with one per line. It finds only
// where each begins and ends; whether it is sound is Parse's to say. So one
// broken delivery does not hide the good ones around it. What cannot be taken
// apart is a Unit with an error; after it, Split goes on at the next line that
// begins like a delivery.
func Split(data []byte) iter.Seq[Unit] {
	return func(yield func(Unit) bool) {
		s := &splitter{data: bytes.TrimPrefix(data, []byte("\ufeff")), yield: yield}
		if s.space(); s.at == len(s.data) {
			yield(Unit{Err: errors.New("the input is empty")})
			return
		}
		for s.at < len(s.data) {
			start := s.at
			ok, more := s.top()
			if !more {
				return
			}
			if !ok && !s.resume(start) {
				return
			}
			s.space()
		}
	}
}

type splitter struct {
	data  []byte
	at    int
	yield func(Unit) bool
}

func (s *splitter) line(at int) string {
	return fmt.Sprintf("line %d", 1+bytes.Count(s.data[:at], []byte("\n")))
}

// top takes one top-level value. ok is false where it is broken, more where the
// caller of Split has had enough.
func (s *splitter) top() (ok, more bool) {
	start := s.at
	switch s.data[s.at] {
	case '[':
		return s.list("")
	case '{':
		if name := s.container(); name != "" {
			if ok, more = s.list(name); !ok || !more {
				return ok, more
			}
			// The rest of the container, such as NextToken, is of no interest.
			rest := s.at
			if !s.toClose() {
				return false, s.broken(rest)
			}
			return true, true
		}
	}
	s.at = start
	if !s.value() {
		return false, s.broken(start)
	}
	return true, s.yield(Unit{Raw: s.data[start:s.at], Place: s.line(start)})
}

func (s *splitter) broken(at int) bool {
	what := "is no JSON"
	if s.at >= len(s.data) {
		what = "is cut off"
	}
	return s.yield(Unit{Raw: s.data[at:], Place: s.line(at), Err: fmt.Errorf("what begins here %s", what)})
}

// resume goes to the next line after a broken value that begins like a delivery.
func (s *splitter) resume(start int) bool {
	for at := start; ; {
		next := bytes.IndexByte(s.data[at:], '\n')
		if next < 0 {
			return false
		}
		at += next + 1
		if at < len(s.data) && s.data[at] == '{' {
			s.at = at
			return true
		}
	}
}

// list takes the elements of the list that begins here.
func (s *splitter) list(name string) (ok, more bool) {
	s.at++
	for i := 0; ; i++ {
		if s.space(); s.at < len(s.data) && s.data[s.at] == ']' {
			s.at++
			return true, true
		}
		start := s.at
		if !s.value() {
			return false, s.broken(start)
		}
		if !s.yield(Unit{Raw: s.data[start:s.at], Place: fmt.Sprintf("%s[%d]", name, i)}) {
			return true, false
		}
		if s.space(); s.at < len(s.data) && s.data[s.at] == ',' {
			s.at++
		} else if s.at >= len(s.data) || s.data[s.at] != ']' {
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
		if s.at < len(s.data) && s.data[s.at] == '[' && (name == "Records" || name == "Events") {
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
// be as deep as the input is long. Where brackets do not match it stops.
func (s *splitter) value() bool {
	var open []byte
	for s.at < len(s.data) {
		switch b := s.data[s.at]; b {
		case '{', '[':
			open = append(open, b+2) // the closing bracket in ASCII
			s.at++
		case '}', ']':
			if len(open) == 0 || open[len(open)-1] != b {
				return false
			}
			open = open[:len(open)-1]
			s.at++
		case '"':
			if !s.str() {
				return false
			}
		case ' ', '\t', '\r', '\n', ',', ':':
			if len(open) == 0 {
				return false
			}
			s.at++
		default:
			if !s.scalar() {
				return false
			}
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
			s.at++
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
