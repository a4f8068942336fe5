package archive

import "bytes"

// object is where an object ends, and where its own members are.
type object struct {
	end int // behind its closing brace; 0 if that is not there yet
	// own are the parts of it that lie in no other object inside it. Of an object
	// with more of them, those behind the last are not known.
	own  [16]part
	owns int
}

type part struct{ from, to int }

// begin looks at the object that d begins with. It stops at braces only, which
// bytes.IndexByte finds 32 bytes at a time, and has to know of each whether it
// stands in a string. It is exact for whatever is JSON.
func begin(d []byte) (o object) {
	depth, outside := 0, 0 // outside is a place that is in no string, with all before it known
	opens, closes := 0, from(d, 0, '}')
	for closes < len(d) {
		at := min(opens, closes)
		if !structural(d, at) && inString(d[outside:at]) {
			if outside = stringEnd(d, at); outside == 0 {
				break
			}
			if opens < outside {
				opens = from(d, outside, '{')
			}
			if closes < outside {
				closes = from(d, outside, '}')
			}
			continue
		}
		outside = at + 1
		if at == opens {
			if depth == 1 {
				o.close(at)
			}
			if depth++; depth == 1 {
				o.own[0].from = outside
			}
			opens = from(d, outside, '{')
			continue
		}
		if depth--; depth == 0 {
			o.close(at)
			o.end = outside
			return o
		}
		if depth == 1 && o.owns < len(o.own) {
			o.own[o.owns].from = outside
		}
		closes = from(d, outside, '}')
	}
	return object{}
}

func (o *object) close(at int) {
	if o.owns < len(o.own) {
		o.own[o.owns].to = at
		o.owns++
	}
}

// from is the first place of b in d at or behind this one, or the length of d.
func from(d []byte, at int, b byte) int {
	if i := bytes.IndexByte(d[at:], b); i >= 0 {
		return at + i
	}
	return len(d)
}

// structural reports whether the bytes around a brace prove that it stands in no
// string. If it stood in one, a quote right behind it would end that string, and
// no letter follows an end; a quote right before it would begin the string, and
// no letter comes before a beginning. False means that it is not known.
func structural(d []byte, at int) bool {
	if d[at] == '{' { // {"a or a":{, also with a space before it
		if at+2 < len(d) && d[at+1] == '"' && word(d[at+2]) {
			return true
		}
		if at > 0 && d[at-1] == ' ' {
			at--
		}
		return at >= 3 && d[at-1] == ':' && d[at-2] == '"' && word(d[at-3])
	}
	if at >= 2 && d[at-1] == '"' && word(d[at-2]) { // a"}
		return true
	}
	next := at + 1 // },"a or }]},{"a, also with a space behind the comma
	for next < len(d) && (d[next] == '}' || d[next] == ']') {
		next++
	}
	if next+4 >= len(d) || d[next] != ',' {
		return false
	}
	if next++; d[next] == ' ' {
		next++
	}
	if d[next] == '{' {
		next++
	}
	return d[next] == '"' && word(d[next+1])
}

func word(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' || '0' <= b && b <= '9' }

var quote = []byte(`"`)

// inString reports whether a string that begins in d goes on behind it.
func inString(d []byte) bool {
	quotes := bytes.Count(d, quote)
	for i := bytes.IndexByte(d, '\\'); i >= 0 && i+1 < len(d); {
		if d[i+1] == '"' {
			quotes--
		}
		d = d[i+2:]
		i = bytes.IndexByte(d, '\\')
	}
	return quotes%2 == 1
}

// stringEnd is the place behind the string that has a brace at this place, or 0
// if its end is not there yet.
func stringEnd(d []byte, at int) int {
	for at = from(d, at, '"'); at < len(d); at = from(d, at+1, '"') {
		escapes := 0
		for d[at-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return at + 1
		}
	}
	return 0
}

// head is what tells whether a record is relevant, and when it was.
type head struct{ at, source, name []byte }

// headOf reads them where they stand plain among the record's own members.
// AWS writes them in this order behind userIdentity.
func (o *object) head(d []byte) (h head, ok bool) {
	if o.owns > 1 {
		p := d[o.own[1].from:o.own[1].to]
		var okAt, okSource bool
		if h.at, p, okAt = following(p, `,"eventTime":"`); okAt {
			if h.source, p, okSource = following(p, `,"eventSource":"`); okSource {
				if h.name, _, ok = following(p, `,"eventName":"`); ok {
					return h, true
				}
			}
		}
	}
	return o.search(d)
}

// following reads a string value of letters behind this text.
func following(d []byte, text string) (value, rest []byte, ok bool) {
	if len(d) < len(text) || string(d[:len(text)]) != text {
		return nil, d, false
	}
	d = d[len(text):]
	i := bytes.IndexByte(d, '"')
	if i <= 0 || bytes.IndexByte(d[:i], '\\') >= 0 {
		return nil, d, false
	}
	return d[:i], d[i+1:], true
}

// search finds them in any order and layout.
func (o *object) search(d []byte) (h head, ok bool) {
	for _, own := range o.own[:o.owns] {
		p := d[own.from:own.to]
		for {
			start := bytes.IndexByte(p, '"')
			if start < 0 {
				break
			}
			end := stringEnd(p, start+1)
			if end == 0 {
				break
			}
			name := p[start+1 : end-1]
			p = trim(p[end:])
			if len(p) == 0 || p[0] != ':' {
				continue
			}
			var into *[]byte
			switch string(name) {
			case "eventTime":
				into = &h.at
			case "eventSource":
				into = &h.source
			case "eventName":
				into = &h.name
			default:
				continue
			}
			p = trim(p[1:])
			var found bool
			if *into != nil {
				return head{}, false
			}
			if *into, p, found = following(p, `"`); !found {
				return head{}, false
			}
			if h.at != nil && h.source != nil && h.name != nil {
				return h, true
			}
		}
	}
	return head{}, false
}

func trim(d []byte) []byte {
	for len(d) > 0 && (d[0] == ' ' || d[0] == '\n' || d[0] == '\r' || d[0] == '\t') {
		d = d[1:]
	}
	return d
}
