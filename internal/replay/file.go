package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	fast "github.com/klauspost/compress/gzip"

	"github.com/stackflow/relatch/internal/trail"
)

// File is an open file, or an object in S3. It is read once, and taken apart
// from the start where that did not do.
type File interface {
	io.ReadSeekCloser
	io.ReaderAt
}

// input is what is read as one: its name for people, and how it is opened.
type input struct {
	path string
	open func() (File, error)
}

// Skip is why something of an archive was not read.
type Skip string

// The reasons.
const (
	CutOff     Skip = "cut_off"    // a gzip file ends too early
	Damaged    Skip = "damaged"    // a gzip file is not what its checksum says
	NotGzip    Skip = "not_gzip"   // it is named like a gzip file, and is neither one nor JSON
	Unreadable Skip = "unreadable" // a file that cannot be opened or read
	Unlisted   Skip = "unlisted"   // a folder that cannot be listed
)

// local is a file, or standard input for "-".
func (l *Loader) local(ctx context.Context, path string) input {
	if path == "-" {
		return input{"standard input", func() (File, error) { return seekable(ctx, l.Stdin) }}
	}
	return input{path, func() (File, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if info.Mode().IsRegular() {
			return f, nil
		}
		defer f.Close()
		return seekable(ctx, f)
	}}
}

// atHand is how much of what can be read only once is held in memory, in bytes;
// the rest goes to a temporary file.
const atHand = 1 << 20

// held is a File in memory.
type held struct{ *bytes.Reader }

// Close implements io.Closer.
func (held) Close() error { return nil }

// seekable keeps what can be read only once.
func seekable(ctx context.Context, r io.Reader) (File, error) {
	r = &lasting{ctx: ctx, Reader: r}
	var start bytes.Buffer
	_, err := io.CopyN(&start, r, atHand)
	if errors.Is(err, io.EOF) {
		return held{bytes.NewReader(start.Bytes())}, nil
	}
	if err != nil {
		return nil, err
	}
	f, err := temporary()
	if err != nil {
		return nil, err
	}
	if err := keep(f, io.MultiReader(&start, r), bytes.HasPrefix(start.Bytes(), magic)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// keep writes to a temporary file, packed.
func keep(f *scratch, r io.Reader, packed bool) error {
	out := io.WriteCloser(f.File)
	if !packed {
		z, err := fast.NewWriterLevel(f, fast.BestSpeed)
		if err != nil {
			return err
		}
		out = z
	}
	_, err := io.Copy(out, r)
	if !packed {
		err = errors.Join(err, out.Close())
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	return err
}

// scratch is a temporary file. It has no name once it is open, where the system
// allows that, so that nothing is left however the program ends.
type scratch struct {
	*os.File
	named bool
}

func temporary() (*scratch, error) {
	f, err := os.CreateTemp("", "relatch-*") // which only this user can read
	if err != nil {
		return nil, err
	}
	return &scratch{f, os.Remove(f.Name()) != nil}, nil
}

// Close implements io.Closer.
func (s *scratch) Close() error {
	err := s.File.Close()
	if s.named {
		err = errors.Join(err, os.Remove(s.Name()))
	}
	return err
}

var magic = []byte{0x1f, 0x8b}

// file takes a file apart. Of a gzip file counts what a checksum vouches for; the
// rest is one Delivery with an Err, and a Skip that skipped is told of. The error is
// the reader's.
func (l *Loader) file(ctx context.Context, path string, f File, take func(Delivery), skipped func(Skip)) error {
	var start [512]byte
	n, err := f.ReadAt(start[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	t := &taker{path: path, take: take}
	begins := bytes.TrimLeft(bytes.TrimPrefix(start[:n], []byte("\ufeff")), " \t\r\n")
	skip := func(why Skip, text string, args ...any) {
		skipped(why)
		t.some = true
		take(Delivery{Place: path, Err: fmt.Errorf(text, args...)})
	}
	whole := &lasting{ctx: ctx, Reader: io.NewSectionReader(f, 0, 1<<62)}
	switch {
	case bytes.HasPrefix(start[:n], magic):
		all := parts(whole)
		if whole.err != nil {
			return whole.err
		}
		it := "it"
		if len(all) > 1 {
			it = "this part of it"
		}
		for _, p := range all {
			switch {
			case p.err == nil:
				var z *gzip.Reader
				if z, err = gzip.NewReader(&lasting{ctx: ctx, Reader: io.NewSectionReader(f, p.from, p.to-p.from)}); err == nil {
					err = t.text(z)
				}
				if err != nil {
					return err
				}
			case errors.Is(p.err, io.ErrUnexpectedEOF), errors.Is(p.err, io.EOF):
				skip(CutOff, "the gzip file is cut off: %w; %s is skipped", p.err, it)
			default:
				skip(Damaged, "the gzip file is damaged: %w; %s is skipped", p.err, it)
			}
		}
	case strings.HasSuffix(path, ".gz") && len(begins) > 0 && begins[0] != '{' && begins[0] != '[':
		skip(NotGzip, "this is no gzip file, nor JSON; it is skipped")
	default:
		if err := t.text(whole); err != nil {
			return err
		}
	}
	if !t.some {
		take(Delivery{Place: path, Err: trail.ErrEmpty})
	}
	return nil
}

// part is one or several members of a gzip file behind each other that are sound,
// or what is not, and why.
type part struct {
	from, to int64
	err      error
}

// parts reads a gzip file to its end, and sees what can be used of it.
func parts(r io.Reader) (all []part) {
	in := &packed{Reader: bufio.NewReaderSize(r, 1<<16)}
	var z gzip.Reader
	for {
		from := in.n
		if _, err := in.Peek(1); errors.Is(err, io.EOF) && from > 0 {
			return all
		}
		err := z.Reset(in)
		if err == nil {
			z.Multistream(false)
			_, err = io.Copy(io.Discard, &z)
		}
		if last := len(all) - 1; err == nil && last >= 0 && all[last].err == nil {
			all[last].to = in.n
		} else {
			all = append(all, part{from, in.n, err})
		}
		if err != nil && !errors.Is(err, gzip.ErrChecksum) {
			return all // where another member may begin is not known
		}
	}
}

// packed counts how many bytes were taken.
type packed struct {
	*bufio.Reader
	n int64
}

// Read implements io.Reader.
func (p *packed) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.n += int64(n)
	return n, err
}

// ReadByte implements io.ByteReader.
func (p *packed) ReadByte() (byte, error) {
	b, err := p.Reader.ReadByte()
	if err == nil {
		p.n++
	}
	return b, err
}

const (
	atLeast = 1 << 20 // a text that has less is taken apart as a whole
	// maxText is how much is held of a text in which no delivery ends, in bytes.
	maxText = 1 << 30
)

// taker takes texts apart.
type taker struct {
	path  string
	take  func(Delivery)
	lines int // so far
	some  bool
}

// text takes a text apart, as trail.Split does, and of a long one not more at a
// time than it must. The error is the reader's.
func (t *taker) text(r io.Reader) error {
	d := make([]byte, 0, 32<<10)
	for {
		if len(d) == cap(d) {
			d = append(make([]byte, 0, 2*cap(d)), d...)
		}
		n, err := io.ReadFull(r, d[len(d):cap(d)])
		d = d[:len(d)+n]
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			t.split(d)
			return nil
		case err != nil:
			return err
		case len(d) < atLeast:
			continue
		}
		if end := boundary(d); end > 0 {
			t.split(d[:end])
			d = append(d[:0], d[end:]...)
		} else if len(d) >= maxText {
			t.some = true
			t.take(Delivery{Place: fmt.Sprintf("%s: line %d", t.path, t.lines+1), Err: fmt.Errorf("no end comes in %d MB, which is more than is held in memory", maxText>>20)})
			return nil
		}
	}
}

func (t *taker) split(d []byte) {
	if len(bytes.TrimSpace(d)) > 0 {
		for u := range trail.SplitFrom(d, t.lines+1) {
			for _, one := range unit(t.path, u) {
				t.take(one)
			}
		}
		t.some = true
	}
	t.lines += bytes.Count(d, []byte("\n"))
}

// boundary is the last place in a text at which one value has ended and another
// one begins, or 0: a line that begins with a brace behind one that ended with one,
// or a log file right behind another one. Nowhere within JSON is such a place.
func boundary(d []byte) int {
	for at := bytes.LastIndexByte(d, '{'); at > 0; at = bytes.LastIndexByte(d[:at], '{') {
		before := bytes.TrimRight(d[:at], " \t\r\n")
		if bytes.HasSuffix(before, []byte("}")) && (bytes.IndexByte(d[len(before):at], '\n') >= 0 || bytes.HasPrefix(d[at:], []byte(`{"Records"`))) {
			return at
		}
	}
	return 0
}
