package archive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/stackflow/relatch/internal/trail"
)

// ErrSeveral means that a file is more than one log file, so that deliveries are
// told by their line: scan it again with Scanner.Lines.
var ErrSeveral = errors.New("several values behind each other")

// ErrOdd means that a file is not laid out as AWS writes them, or is damaged:
// nothing that Scan said of it counts, and trail.Split has to take it apart.
var ErrOdd = errors.New("not laid out as AWS writes files")

const (
	window  = 64 << 10 // at first; twice what is unpacked at a time
	maxUnit = trail.MaxRecord
	atOnce  = 1 << 20 // so much of a file is read at once; what fits is unpacked faster
)

// Scanner finds in a file the deliveries that can matter. It holds one window
// of the file, never the whole; it is for one goroutine, and reused from file to
// file.
type Scanner struct {
	// Guard says whether calls on the services of Relatch's own resources can matter.
	Guard bool
	// Lines says that lines are to be counted, which ErrSeveral asks for.
	Lines bool
	// Until parts what is passed over: early is up to it, late is behind it. Zero:
	// all is early.
	Until time.Time

	packed []byte // the beginning of the file
	small  bytes.Reader
	large  *bufio.Reader
	z      gzip.Reader
	src    io.Reader // one of the three

	buf []byte // the window
	at  int    // where in buf the next byte to be looked at is
	end int    // of what was read into buf
	err error

	// line is the number of the line that buf[lined] is on.
	line, lined int

	until, previous stamp
	early, late     span
}

// Passed is how many records were passed over without decoding them, because
// they are not relevant, and the eventTime of the first and the last of them.
type Passed struct {
	Count       int
	First, Last time.Time
}

// Add counts one more, at this time.
func (p *Passed) Add(at time.Time) { p.Join(Passed{1, at, at}) }

// Join adds what was passed over elsewhere.
func (p *Passed) Join(o Passed) {
	if o.Count == 0 {
		return
	}
	if p.Count == 0 || o.First.Before(p.First) {
		p.First = o.First
	}
	if p.Count == 0 || o.Last.After(p.Last) {
		p.Last = o.Last
	}
	p.Count += o.Count
}

// stamp is an eventTime as AWS writes it, in numbers that compare as the times do.
type stamp struct {
	day  uint64 // "2026-11-"
	hour uint64 // "23T08:00"
	rest uint32 // ":00Z"
}

const stampLen = len("2026-11-23T08:00:00Z")

// stampOf reads a stamp. ok is false if the text is not shaped like one; whether
// its digits make a time is not looked at.
func stampOf(text []byte) (s stamp, ok bool) {
	if len(text) != stampLen {
		return s, false
	}
	s = stamp{binary.BigEndian.Uint64(text), binary.BigEndian.Uint64(text[8:]), binary.BigEndian.Uint32(text[16:])}
	// A digit without its lower bits is 0x30. What stands in for one is no time.
	return s, s.day&0xf0f0f0f0_fff0f0ff == 0x30303030_2d30302d &&
		s.hour&0xf0f0fff0_f0fff0f0 == 0x30305430_303a3030 &&
		s.rest&0xfff0f0ff == 0x3a30305a
}

func (s stamp) before(o stamp) bool {
	switch {
	case s.day != o.day:
		return s.day < o.day
	case s.hour != o.hour:
		return s.hour < o.hour
	default:
		return s.rest < o.rest
	}
}

// time is zero if the digits make none that trail.Parse takes.
func (s stamp) time() time.Time {
	text := binary.BigEndian.AppendUint64(make([]byte, 0, stampLen), s.day)
	text = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(text, s.hour), s.rest)
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil || at.Year() < 2000 || at.Year() > 2999 {
		return time.Time{}
	}
	return at
}

type span struct {
	count       int
	first, last stamp
}

func (s *span) add(at stamp) {
	if s.count == 0 || at.before(s.first) {
		s.first = at
	}
	if s.last.before(at) {
		s.last = at
	}
	s.count++
}

func (s *span) passed() (Passed, error) {
	p := Passed{Count: s.count, First: s.first.time(), Last: s.last.time()}
	if s.count > 0 && (p.First.IsZero() || p.Last.IsZero()) {
		return Passed{}, ErrOdd
	}
	return p, nil
}

// Scan reads a log file ({"Records":[…]}) or deliveries behind each other, plain
// or gzip, and hands over those that can be relevant as trail.Split does. take
// is also told the eventTime of the delivery before, zero if there is none, and
// returns the one of its own. Raw is valid until take returns.
//
// Passed over is a record whose eventSource, eventName and eventTime stand plain,
// without escapes, at its own depth, and which trail.Sift finds irrelevant by
// them. Nothing else is read of it, so a fault elsewhere in it does not show. The
// words may stand anywhere else in it, they decide nothing. Whatever is JSON and
// no such record is handed over.
//
// The error is ErrSeveral, ErrOdd, or the reader's. With an error, nothing of what
// was handed over counts.
func (s *Scanner) Scan(r io.Reader, take func(u trail.Unit, before time.Time) (at time.Time)) (early, late Passed, err error) {
	if err = s.open(r); err == nil {
		err = s.all(take)
	}
	if err == nil {
		early, err = s.early.passed()
	}
	if err == nil {
		late, err = s.late.passed()
	}
	return early, late, err
}

func (s *Scanner) open(r io.Reader) error {
	if s.buf == nil {
		s.packed, s.buf = make([]byte, atOnce), make([]byte, window)
		s.large = bufio.NewReaderSize(nil, window)
	}
	s.at, s.end, s.err = 0, 0, nil
	s.line, s.lined = 1, 0
	s.previous, s.early, s.late = stamp{}, span{}, span{}
	s.until = stamp{day: math.MaxUint64}
	if !s.Until.IsZero() {
		s.until, _ = stampOf([]byte(s.Until.UTC().Format(time.RFC3339)))
	}
	n, err := io.ReadFull(r, s.packed)
	start := s.packed[:n]
	s.small.Reset(start)
	s.src = &s.small
	switch {
	case err == nil: // there is more
		s.large.Reset(io.MultiReader(&s.small, r))
		s.src = s.large
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	if !bytes.HasPrefix(start, []byte{0x1f, 0x8b}) {
		return nil
	}
	if err := s.z.Reset(s.src); err != nil {
		return ErrOdd
	}
	s.src = &s.z
	return nil
}

// more reads on. What lies before s.at is forgotten.
func (s *Scanner) more() error {
	if s.err != nil {
		return s.err
	}
	s.count()
	s.end = copy(s.buf, s.buf[s.at:s.end])
	s.at, s.lined = 0, 0
	if s.end == len(s.buf) {
		if len(s.buf) > maxUnit {
			return ErrOdd
		}
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	for {
		n, err := s.src.Read(s.buf[s.end:])
		s.end += n
		if err != nil {
			s.err = err
			if !errors.Is(err, io.EOF) && s.src == &s.z {
				s.err = ErrOdd // to be told with what could be read before
			}
		}
		if n > 0 || err != nil {
			break
		}
	}
	if errors.Is(s.err, io.EOF) && s.at < s.end {
		return nil
	}
	return s.err
}

// count counts the lines up to s.at.
func (s *Scanner) count() {
	if s.Lines {
		s.line += bytes.Count(s.buf[s.lined:s.at], newline)
		s.lined = s.at
	}
}

var newline = []byte("\n")

// space goes to the next byte that is no white space and returns it; 0 at the end.
func (s *Scanner) space() (byte, error) {
	for {
		for ; s.at < s.end; s.at++ {
			switch b := s.buf[s.at]; b {
			case ' ', '\t', '\r', '\n':
			default:
				return b, nil
			}
		}
		if err := s.more(); errors.Is(err, io.EOF) {
			return 0, nil
		} else if err != nil {
			return 0, err
		}
	}
}

// want goes behind these bytes, white space between them left out; false if
// others come.
func (s *Scanner) want(text string) (bool, error) {
	for i := range len(text) {
		b, err := s.space()
		if err != nil || b != text[i] {
			return false, err
		}
		s.at++
	}
	return true, nil
}

func (s *Scanner) all(take func(trail.Unit, time.Time) time.Time) error {
	for n := 0; ; n++ {
		b, err := s.space()
		for err == nil && s.end-s.at < 256 && s.err == nil { // the beginning of a value has to be there as a whole
			err = s.more()
		}
		log := logBegins(s.buf[s.at:s.end])
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return err
		case b == 0 && n > 0:
			return nil
		case b != '{':
			return ErrOdd
		case !s.Lines && (n > 0 || log == 0 || s.at > 0):
			return ErrSeveral
		case log == 0:
			err = s.one(take)
		default:
			name := "Records"
			if s.count(); s.line > 1 {
				name = fmt.Sprintf("line %d: Records", s.line)
			}
			s.at += log
			err = s.list(name, take)
		}
		if err != nil {
			return err
		}
	}
}

// logBegins returns where the list of a log file begins, or 0.
func logBegins(d []byte) int {
	at := 0
	for _, token := range []string{`{`, `"Records"`, `:`, `[`} {
		if !bytes.HasPrefix(d[at:], []byte(token)) {
			return 0
		}
		at = len(d) - len(trim(d[at+len(token):]))
	}
	return at
}

// list takes the records of a log file up to its end.
func (s *Scanner) list(name string, take func(trail.Unit, time.Time) time.Time) error {
	b, err := s.space()
	l := &layouts[0]
	if bytes.HasPrefix(s.buf[s.at:s.end], []byte(layouts[1].begin)) {
		l = &layouts[1]
	}
	for i := 0; b == '{' && err == nil; i++ {
		var raw []byte
		end, h, ok := l.quick(s.buf[s.at:s.end])
		if end < 0 && s.end-s.at < window/4 && s.err == nil { // most of it is still to come
			if err = s.more(); err != nil {
				return err
			}
			end, h, ok = l.quick(s.buf[s.at:s.end])
		}
		if ok {
			raw = s.buf[s.at : s.at+end]
		} else if raw, h, err = s.object(); err != nil {
			return err
		}
		if !s.pass(raw, h) {
			s.hand(take, trail.Unit{Raw: raw, Place: fmt.Sprintf("%s[%d]", name, i)})
		}
		s.at += len(raw)
		if s.at+1 < s.end && s.buf[s.at] == ',' && s.buf[s.at+1] == '{' {
			s.at++
			continue
		}
		if b, err = s.space(); err != nil || b != ',' {
			break
		}
		s.at++
		if b, err = s.space(); b != '{' {
			return errors.Join(err, ErrOdd)
		}
	}
	if err != nil {
		return err
	}
	if ok, err := s.want("]}"); !ok {
		return errors.Join(err, ErrOdd)
	}
	return nil
}

// one takes one object, which may be a container of several deliveries.
func (s *Scanner) one(take func(trail.Unit, time.Time) time.Time) error {
	raw, h, err := s.object()
	if err != nil {
		return err
	}
	if !s.pass(raw, h) {
		s.count()
		for u := range trail.Split(raw) {
			if u.Err != nil {
				return ErrOdd
			}
			switch place := fmt.Sprintf("line %d", s.line); {
			case len(u.Raw) == len(raw):
				u.Place = place
			case s.line > 1:
				u.Place = place + ": " + u.Place
			}
			s.hand(take, u)
		}
	}
	s.at += len(raw)
	return nil
}

func (s *Scanner) hand(take func(trail.Unit, time.Time) time.Time, u trail.Unit) {
	if at := take(u, s.previous.time()); !at.IsZero() {
		s.previous, _ = stampOf([]byte(at.UTC().Format(time.RFC3339)))
	}
}

// object finds the end of the object at s.at, and reads on until it is there.
// The head is zero if it has none.
func (s *Scanner) object() (raw []byte, h head, err error) {
	for {
		d := s.buf[s.at:s.end]
		if o := begin(d); o.end > 0 {
			h, _ = o.head(d[:o.end])
			return d[:o.end], h, nil
		}
		if err := s.more(); errors.Is(err, io.EOF) {
			return nil, head{}, ErrOdd // cut off
		} else if err != nil {
			return nil, head{}, err
		}
	}
}

// pass counts the record if it is not relevant.
func (s *Scanner) pass(raw []byte, h head) bool {
	at, ok := stampOf(h.at)
	if !ok {
		return false
	}
	switch trail.Sift(h.source, h.name) {
	case trail.Matters:
		return false
	case trail.MattersToGuard:
		if s.Guard || !whole(raw) {
			return false
		}
	case trail.Irrelevant:
	}
	s.previous = at
	if s.until.before(at) {
		s.late.add(at)
	} else {
		s.early.add(at)
	}
	return true
}

// whole reports whether the record has the other fields without which
// trail.Parse rejects calls on the guard's services.
func whole(raw []byte) bool {
	return bytes.Contains(raw, []byte(`"eventVersion":"1.`)) && bytes.Contains(raw, []byte(`"eventID":"`))
}
