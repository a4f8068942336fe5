package alert

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The most bytes of a title, and of each part of a text: the whole of it stays
// under 4 KB.
const (
	maxTitle    = 256
	maxHappened = 700
	maxWho      = 500
	maxWhy      = 600
	maxNext     = 300
	maxStep     = 240
	maxSteps    = 4
	maxUsers    = 8 // users named in a text
)

// Plain lays the alert out for a mail, a chat or a pager: the title and, in lines
// with a label each, what, who, why it is unjustified, what happens by itself,
// what to do and where to read on. It has less than 4 KB; what does not fit is
// cut at the end of its own line.
func (a Alert) Plain() string {
	var b strings.Builder
	b.WriteString(clip(plain(a.Title), maxTitle) + "\n")
	line := func(label, text string, most int) {
		if text != "" {
			fmt.Fprintf(&b, "%-7s %s\n", label, clip(plain(text), most))
		}
	}
	line("What", a.WhatHappened, maxHappened)
	line("Who", a.Who, maxWho)
	line("Users", a.named(), maxWho)
	line("Why", a.why(), maxWhy)
	line("Itself", a.WhatHappensNext, maxNext)
	label := "Do"
	for i, step := range a.WhatToDo[:min(len(a.WhatToDo), maxSteps)] {
		line(label, fmt.Sprintf("%d %s", i+1, step), maxStep)
		label = ""
	}
	line("Runbook", a.more(), maxNext)
	return b.String()
}

func (a Alert) named() string {
	n := min(len(a.Users), maxUsers)
	subs := make([]string, n)
	for i, sub := range a.Users[:n] {
		subs[i] = clip(plain(string(sub)), maxWho/maxUsers)
	}
	text := strings.Join(subs, ", ")
	if more := len(a.Users) - n; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// why says by what the override is justified, or why it is not.
func (a Alert) why() string {
	j := a.Justification
	switch {
	case j == nil:
		return ""
	case len(j.Failed) == 0 && j.Ticket != "":
		return fmt.Sprintf("%s by %s, ticket %s", j.Status, j.ID, j.Ticket)
	case len(j.Failed) == 0 && j.ID != "":
		return fmt.Sprintf("%s by %s", j.Status, j.ID)
	case len(j.Failed) == 0:
		return j.Status
	}
	said := make([]string, len(j.Failed))
	for i, f := range j.Failed {
		said[i] = f.Text
	}
	return j.Status + ": " + strings.Join(said, "; ")
}

// more says where to read on.
func (a Alert) more() string {
	text := a.Runbook
	if a.EventID != "" {
		text += "; event " + a.EventID
	}
	if a.Account != "" {
		text += "; account " + a.Account + " " + a.Region
	}
	return text
}

// marks are what readers of a line could take for markup, a link or the end of
// the line's string, and what stands for them.
var marks = strings.NewReplacer("<", "‹", ">", "›", `"`, "'", "`", "'", `\`, "/", "://", ": //")

// plain makes of a text a piece of one line that is nothing but text.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r): // the latter look like spaces
			return -1
		default:
			return r
		}
	}, text)
	return marks.Replace(strings.Join(strings.Fields(text), " "))
}

// clip cuts a text off that has more bytes, between two characters.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// middle takes characters out of the middle of a name that has more: its ends
// are what people know it by.
func middle(name string, most int) string {
	runes := []rune(name)
	if len(runes) <= most {
		return name
	}
	head := most / 2
	return string(runes[:head]) + "…" + string(runes[len(runes)-(most-head-1):])
}

func length(text string) int { return utf8.RuneCountInString(text) }
