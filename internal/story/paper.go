package story

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Paper is what a story is written on. The zero Paper takes plain UTF-8.
type Paper struct {
	W     io.Writer
	Color bool // a terminal that may be coloured
	ASCII bool // a locale that is not UTF-8

	err error
}

type ink string

const (
	plain  ink = ""
	red    ink = "\x1b[1;31m"
	yellow ink = "\x1b[33m"
	green  ink = "\x1b[32m"
	faint  ink = "\x1b[2m"
	bold   ink = "\x1b[1m"
)

// in returns the text in the ink.
func (p *Paper) in(i ink, text string) string {
	if !p.Color || i == plain {
		return text
	}
	return string(i) + text + "\x1b[0m"
}

// line writes a line. The first error stays; Err has it.
func (p *Paper) line(format string, args ...any) {
	if p.err != nil {
		return
	}
	text := strings.TrimRight(fmt.Sprintf(format, args...), " ")
	if p.ASCII {
		text = ASCII(text)
	}
	_, p.err = fmt.Fprintln(p.W, text)
}

// Err is the first error of writing.
func (p *Paper) Err() error { return p.err }

var asciiFor = strings.NewReplacer("…", "...", "✓", "ok", "✗", "FAIL", "–", "-", "×", "x")

// ASCII is the text for a locale that is not UTF-8.
func ASCII(text string) string {
	return strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return '?'
		}
		return r
	}, asciiFor.Replace(text))
}

// Clean takes out of a text what would move a terminal's cursor or turn the
// direction of its text. Line feeds stay.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, text)
}

// Line is Clean for a recorded value within a line, one space between its words.
func Line(value string) string { return strings.Join(strings.Fields(Clean(value)), " ") }

// clean is Clean for a text within a line, whose spaces stay.
func clean(value string) string { return Clean(strings.ReplaceAll(value, "\n", " ")) }
