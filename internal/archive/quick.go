package archive

import "bytes"

// layout is how one writer lays out log files.
type layout struct{ begin, next, at, source, name string }

// layouts are AWS's own, and the one of whoever put spaces behind commas and colons.
var layouts = [...]layout{
	{`{"eventVersion":"1.`, `},{"eventVersion":"1.`, `,"eventTime":"`, `","eventSource":"`, `","eventName":"`},
	{`{"eventVersion": "1.`, `}, {"eventVersion": "1.`, `, "eventTime": "`, `", "eventSource": "`, `", "eventName": "`},
}

// quick does what begin and head do, for a record that is laid out like this and
// has another one behind it. Quotes and letters side by side as in these
// texts stand in no string, so it need not look at any other quote: it looks for
// the header by the Z of its time, and for the next record by the V of its
// version, both rare letters, and proves by the number of braces that the header is the
// record's own and that the record ends where the next one begins. That holds unless a record has
// a list of objects that look like records and also strings whose braces make up for those
// of the list. Then the objects are counted; no record can be hidden like this,
// because userIdentity, which alone comes before the header, has no such list.
//
// If not ok, begin has to look; more of d is needed first where end is -1.
func (l *layout) quick(d []byte) (end int, h head, ok bool) {
	if len(d) < len(l.begin) || string(d[:len(l.begin)]) != l.begin {
		return 0, h, false
	}
	z := l.header(d, len(l.begin))
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
	after := len(d) - len(values) + n + m
	if end = l.record(d, after); end < 0 {
		return -1, h, false
	}
	ok = opened(d[:header]) == 1 && opened(d[header:end]) == -1 && l.header(d[:end], after) < 0
	return end, h, ok
}

// header is the place behind the time of the first header behind this place, or -1.
func (l *layout) header(d []byte, at int) int {
	least := len(l.at) + stampLen
	for {
		i := bytes.IndexByte(d[at:], 'Z')
		if i < 0 {
			return -1
		}
		at += i + 1
		if len(d)-at > len(l.source) && d[at+1] == ',' && string(d[at:at+len(l.source)]) == l.source &&
			at > least && string(d[at-least:at-stampLen]) == l.at {
			return at
		}
	}
}

// record is the place behind the closing brace before the first record that
// begins behind this place, or -1.
func (l *layout) record(d []byte, at int) int {
	v := len(l.next) - len(l.begin) + len(`{"event`)
	for {
		i := bytes.IndexByte(d[at:], 'V')
		if i < 0 {
			return -1
		}
		at += i + 1
		if from := at - 1 - v; from >= 0 && d[from] == '}' && len(d)-from > len(l.next) && string(d[from:from+len(l.next)]) == l.next {
			return from + 1
		}
	}
}

// opened is how many more braces open than close.
func opened(d []byte) int { return bytes.Count(d, opening) - bytes.Count(d, closing) }

var opening, closing = []byte(`{`), []byte(`}`)
