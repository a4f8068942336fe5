package replay

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/trail"
)

// found is a delivery, with what orders it: its eventTime, or of one that has
// none the eventTime of the delivery before it in its file.
type found struct {
	Delivery
	at    time.Time
	path  string
	order int
}

// compare orders deliveries by what they say, so that it makes no difference which
// file has them, and where: CloudTrail promises no order within a file either.
// What has no time of its own comes last in its second.
func compare(a, b *found) int {
	untimed := func(f *found) int {
		if f.Change.At.IsZero() {
			return 1
		}
		return 0
	}
	if n := cmp.Or(a.at.Compare(b.at), untimed(a)-untimed(b), cmp.Compare(a.Change.EventID, b.Change.EventID)); n != 0 {
		return n
	}
	if a.Err == nil && b.Err == nil {
		if n := bytes.Compare(a.text(), b.text()); n != 0 {
			return n
		}
	}
	return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.order, b.order))
}

// text is what the delivery says.
func (f *found) text() []byte {
	text, err := json.Marshal(f.Change, spilledAs)
	if err != nil {
		panic(err) // cannot happen: it is made of strings, numbers and times
	}
	return text
}

// spilledAs keeps apart what is empty and what is not there.
var spilledAs = json.JoinOptions(json.FormatNilSliceAsNull(true), jsontext.AllowInvalidUTF8(true))

// spilled is how a found lies on a shelf.
type spilled struct {
	At               time.Time
	Path             string
	Order            int
	Place            string
	Change           mfa.Change
	Problem, EventID string // of one that could not be read
	Others           int
}

// shelf is a temporary file for what is too much to be held: sorted runs behind
// each other. It is made when it is needed, and has no name once it is open, where
// the system allows that. So nothing is left, however the program ends. The zero
// shelf is empty; many may use it at once.
type shelf struct {
	mu   sync.Mutex
	file *scratch
	end  int64
	err  error // the first one
}

// span is where a run lies on a shelf.
type span struct{ from, size int64 }

// put lays down deliveries that are in order. That it cannot is for failed to say.
func (s *shelf) put(all []found) span {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil && s.err == nil {
		s.file, s.err = temporary()
	}
	if s.err != nil {
		return span{}
	}
	run := span{from: s.end}
	out := bufio.NewWriterSize(io.NewOffsetWriter(s.file, s.end), 1<<16)
	var size [binary.MaxVarintLen64]byte
	for i := range all {
		f := &all[i]
		one := spilled{At: f.at, Path: f.path, Order: f.order, Place: f.Place, Change: f.Change, Others: f.Others}
		if f.Err != nil {
			one.Problem = f.Err.Error()
			if e, ok := errors.AsType[*trail.Error](f.Err); ok {
				one.EventID = e.EventID
			}
		}
		raw, err := json.Marshal(one, spilledAs)
		if err != nil {
			panic(err) // cannot happen: it is made of strings, numbers and times
		}
		n := binary.PutUvarint(size[:], uint64(len(raw)))
		_, _ = out.Write(size[:n]) // Flush tells
		_, _ = out.Write(raw)
		run.size += int64(n + len(raw))
	}
	s.end += run.size
	s.err = out.Flush()
	return run
}

// fail remembers the first reason why not all can be read again.
func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = cmp.Or(s.err, err)
}

// failed says why not all that was put here can be read again; nil if it can.
func (s *shelf) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return fmt.Errorf("keep in a temporary file (TMPDIR says where) what is too much for memory: %w", s.err)
	}
	return nil
}

func (s *shelf) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		_ = s.file.Close() // nobody needs what is in it
		s.file = nil
	}
}

// spill is deliveries on a shelf: each run of them is in order.
type spill struct {
	shelf *shelf
	runs  []span
}

// all are the deliveries in order. Where the shelf cannot be read they end, and
// the shelf says so.
func (s *spill) all() iter.Seq[Delivery] {
	return func(yield func(Delivery) bool) {
		for f := range s.each() {
			if !yield(f.Delivery) {
				return
			}
		}
	}
}

func (s *spill) each() iter.Seq[found] {
	return func(yield func(found) bool) {
		var m merge
		for _, r := range s.runs {
			one := &source{in: bufio.NewReaderSize(io.NewSectionReader(s.shelf.file, r.from, r.size), 8<<10)}
			if m.err = errors.Join(m.err, one.read()); one.some {
				m.heads = append(m.heads, one)
			}
		}
		heap.Init(&m)
		for len(m.heads) > 0 && m.err == nil {
			first := m.heads[0]
			if !yield(first.found) {
				return
			}
			if m.err = first.read(); first.some {
				heap.Fix(&m, 0)
			} else {
				heap.Pop(&m)
			}
		}
		if m.err != nil {
			s.shelf.fail(m.err)
		}
	}
}

// source reads one run: found is the delivery that comes next, if there is some.
type source struct {
	found
	some bool
	in   *bufio.Reader
	raw  []byte
}

func (s *source) read() error {
	s.some = false
	size, err := binary.ReadUvarint(s.in)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil || size > 1<<30 {
		return errors.Join(err, errors.New("the run is damaged"))
	}
	if uint64(cap(s.raw)) < size {
		s.raw = make([]byte, size)
	}
	s.raw = s.raw[:size]
	if _, err := io.ReadFull(s.in, s.raw); err != nil {
		return err
	}
	var one spilled
	if err := json.Unmarshal(s.raw, &one); err != nil {
		return err
	}
	s.found = found{Delivery: Delivery{Place: one.Place, Change: one.Change, Others: one.Others}, at: one.At, path: one.Path, order: one.Order}
	switch {
	case one.EventID != "":
		s.Err = &trail.Error{EventID: one.EventID, Problem: strings.TrimPrefix(one.Problem, "event "+one.EventID+": ")}
	case one.Problem != "":
		s.Err = errors.New(one.Problem)
	}
	s.some = true
	return nil
}

// merge is a heap by what comes next.
type merge struct {
	heads []*source
	err   error
}

// Len implements heap.Interface.
func (m *merge) Len() int { return len(m.heads) }

// Less implements heap.Interface.
func (m *merge) Less(i, j int) bool { return compare(&m.heads[i].found, &m.heads[j].found) < 0 }

// Swap implements heap.Interface.
func (m *merge) Swap(i, j int) { m.heads[i], m.heads[j] = m.heads[j], m.heads[i] }

// Push implements heap.Interface.
func (m *merge) Push(x any) { m.heads = append(m.heads, x.(*source)) } //nolint:errcheck // only sources are pushed

// Pop implements heap.Interface.
func (m *merge) Pop() any {
	last := m.heads[len(m.heads)-1]
	m.heads = m.heads[:len(m.heads)-1]
	return last
}
