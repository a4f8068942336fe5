package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/stackflow/relatch/internal/alert"
)

const (
	textColumns = "%-19s  %-30s  %-25s  %-19s  %-18s\n"
	textWidth   = 120
	textIndent  = 21
)

// Text writes the report for a terminal of 120 columns: two lines or more for
// each override, then the sums.
func (r *Report) Text(out io.Writer) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "MFA overrides, %s (UTC)\n\n", Period{r.From, r.To}.span())
	if len(r.All) > 0 {
		fmt.Fprintf(w, "%s\n", strings.TrimRight(fmt.Sprintf(textColumns, "OPENED", "USER", "BY", "LASTED", "ENDED"), " \n"))
	}
	for i := range r.All {
		o := newRow(&r.All[i])
		line := fmt.Sprintf(textColumns, o.Opened, cut(o.User, 30), cut(o.By, 25), o.Lasted, o.EndedAs)
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
		late := ""
		if o.Late != "" {
			late = o.Late + " late"
		}
		about := present(o.ID, alert.Names(o.Factors), o.Roles, o.Again(), late)
		why := strings.Join(present(o.Verdict(), o.Because), ": ")
		if o.Proof != "" {
			why += " (" + o.Proof + ")"
		}
		for _, text := range []string{strings.Join(about, "; "), why} {
			for _, line := range Wrap(text, textWidth-textIndent) {
				fmt.Fprintf(w, "%*s%s\n", textIndent, "", line)
			}
		}
	}
	if len(r.All) > 0 {
		fmt.Fprintln(w)
	}
	for _, s := range r.lines() {
		if s.Note != "" {
			s.Note = "  (" + s.Note + ")"
		}
		fmt.Fprintf(w, "%-19s  %s%s\n", s.Name, s.Value, s.Note)
	}
	return w.Flush()
}

// cut shortens a text to n characters.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-3]) + "..."
}

// Wrap breaks a text into lines of at most n characters, at white space where
// there is some.
func Wrap(text string, n int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		for utf8.RuneCountInString(word) > n {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			runes := []rune(word)
			lines, word = append(lines, string(runes[:n])), string(runes[n:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > n:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
