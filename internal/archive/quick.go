package archive

import "bytes"

// layout is how one writer lays out log files.
type layout struct{ begin, between, at, source, name string }

// layouts are AWS's own, and the one of whoever put spaces behind commas and colons.
var layouts = [...]layout{
	{`{"eventVersion":"1.`, `},{`, `,"eventTime":"`, `","eventSource":"`, `","eventName":"`},
	{`{"eventVersion": "1.`, `}, {`, `, "eventTime": "`, `", "eventSource": "`, `", "eventName": "`},
}

// quick does what begin and head do, for a record that is laid out like this and
// has another one behind it, with about half of the stops. It finds the header
// by the Z of its time, a rare letter, and then looks only at opening braces:
// behind a colon or a bracket none can begin the next record; behind a comma one
// does if as many braces have closed as were opened.
//
// Closing braces in strings are counted as well. They can make a record end
// early, before an object of a list in it. What begins there is handed over
// unless that object is a record by itself, and then found to be none. The
// record's own header comes before, so none is hidden like this.
//
// If not ok, begin has to look; more of d is needed first where end is -1.
func (l *layout) quick(d []byte) (end int, h head, ok bool) {
	if len(d) < len(l.begin) || string(d[:len(l.begin)]) != l.begin {
		return 0, h, false
	}
	z := l.header(d)
	if z < 0 {
		return -1, h, false
	}
	header := z - stampLen - len(l.at)
	h.at = d[z-stampLen : z]
	values := d[z+len(l.source):]
	n := bytes.IndexByte(values, '"')
	if n <= 0 || len(values)-n < len(l.name) || string(values[n:n+len(l.name)]) != l.name {
		return 0, h, false
	}
	h.source = values[:n]
	n += len(l.name)
	m := bytes.IndexByte(values[n:], '"')
	if m <= 0 || bytes.IndexByte(values[:n+m], '\\') >= 0 {
		return 0, h, false
	}
	h.name = values[n : n+m]

	level := 1 - bytes.Count(d[:header], closing) // of the header, once what opens before it is known
	opened, closed, counted := 1, 0, 0
	for at := 1; ; at++ {
		i := bytes.IndexByte(d[at:], '{')
		if i < 0 {
			return -1, h, false
		}
		if at += i; !structural(d, at) {
			return 0, h, false
		}
		if before := d[at-1]; before != ':' && before != '[' && (before != ' ' || d[at-2] != ':') {
			closed += bytes.Count(d[counted:at], closing)
			counted = at
			if closed >= opened {
				end = at - len(l.between) + 2
				ok = closed == opened && level == 1 && header < end && string(d[end-1:at+1]) == l.between
				return max(end, 0), h, ok
			}
		}
		opened++
		if at < header {
			level++
		}
	}
}

// header is the place behind the time of the first header, or -1.
func (l *layout) header(d []byte) int {
	at := len(l.begin) + len(l.at) + stampLen
	for at < len(d) {
		i := bytes.IndexByte(d[at:], 'Z')
		if i < 0 {
			break
		}
		at += i + 1
		if len(d)-at > len(l.source) && d[at+1] == ',' && string(d[at:at+len(l.source)]) == l.source &&
			string(d[at-stampLen-len(l.at):at-stampLen]) == l.at {
			return at
		}
	}
	return -1
}

var closing = []byte(`}`)
