package trail

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Plain says what is wrong with a JSON text in words, field first, for somebody
// who has the text before him and not our Go types. It wraps err, and is nil if
// err is; every error but those of the JSON decoder comes back as it is.
func Plain(err error) error {
	if err == nil {
		return nil
	}
	var meaning *json.SemanticError
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &meaning):
		return &plain{where(meaning.JSONPointer) + problem(meaning), err}
	case errors.As(err, &syntax):
		text := syntax.Err.Error()
		switch text = strings.TrimPrefix(text, "jsontext: "); {
		case errors.Is(err, jsontext.ErrDuplicateName):
			return &plain{where(syntax.JSONPointer) + "is there twice", err}
		case text == "unexpected EOF":
			text = "the text ends too early"
		case text == "exceeded max depth":
			text = "nested too deeply"
			syntax.JSONPointer = "" // ten thousand names long
		}
		return &plain{fmt.Sprintf("%s%s (at byte %d)", where(syntax.JSONPointer), text, syntax.ByteOffset), err}
	default:
		return err
	}
}

// discreet is Plain for a delivery, whose error goes into logs and records while
// the delivery itself is kept elsewhere: of the text it repeats nothing but the
// names of fields that every record has. A broken text may quote a token, a name
// below may be the key of somebody's metadata.
func discreet(err error) error {
	var meaning *json.SemanticError
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &meaning):
		meaning.JSONPointer, meaning.JSONValue = known(meaning.JSONPointer), nil
	case errors.As(err, &syntax):
		at := known(syntax.JSONPointer)
		if at != syntax.JSONPointer && errors.Is(err, jsontext.ErrDuplicateName) {
			syntax.Err = errors.New("a name is there twice")
		}
		if text := syntax.Err.Error(); strings.ContainsAny(text, quotes) {
			syntax.Err = errors.New(strings.TrimSpace(text[:strings.IndexAny(text, quotes)]))
		}
		syntax.JSONPointer = at
	}
	return Plain(err)
}

// quotes are those that the decoder puts around more than a character.
const quotes = "`\""

// known is the pointer as far as it has names that do not come from a delivery.
func known(p jsontext.Pointer) jsontext.Pointer {
	name, _, _ := strings.Cut(strings.TrimPrefix(string(p), "/"), "/")
	if !fieldNames()[name] {
		return ""
	}
	return jsontext.Pointer("/" + name)
}

// fieldNames are those of a record and of what can be around it.
var fieldNames = sync.OnceValue(func() map[string]bool {
	names := map[string]bool{}
	for _, t := range []reflect.Type{reflect.TypeFor[delivery](), reflect.TypeFor[record]()} {
		for i := range t.NumField() {
			names[t.Field(i).Tag.Get("json")] = true
		}
	}
	return names
})

type plain struct {
	text string
	err  error
}

func (p *plain) Error() string { return p.text }
func (p *plain) Unwrap() error { return p.err }

func problem(err *json.SemanticError) string {
	want := "something else"
	switch t := err.GoType; {
	case errors.Is(err, json.ErrUnknownName):
		return "is no known field"
	case t == nil:
	case t == reflect.TypeFor[time.Time]() && err.JSONKind == '"':
		return "is no time such as 2026-11-23T08:00:00Z"
	case t == reflect.TypeFor[time.Time]():
		want = "a time such as 2026-11-23T08:00:00Z"
	case t.Kind() == reflect.String:
		want = "a string"
	case t.Kind() == reflect.Bool:
		want = "true or false"
	case t.Kind() == reflect.Struct, t.Kind() == reflect.Map:
		want = "an object"
	case t.Kind() == reflect.Slice:
		want = "a list"
	case reflect.Int <= t.Kind() && t.Kind() <= reflect.Float64:
		want = "a number"
	}
	have := kindName(err.JSONKind)
	if len(err.JSONValue) > 0 {
		have = clip(string(err.JSONValue))
	}
	return "want " + want + ", have " + have
}

// where writes a JSON pointer as the rest of the product writes paths:
// users[0].sub.
func where(p jsontext.Pointer) string {
	var out strings.Builder
	for name := range p.Tokens() {
		switch {
		case strings.Trim(name, "0123456789") == "" && name != "":
			fmt.Fprintf(&out, "[%s]", name)
		case out.Len() > 0:
			out.WriteString("." + name)
		default:
			out.WriteString(name)
		}
	}
	if out.Len() == 0 {
		return ""
	}
	return clip(out.String()) + ": "
}
