package trail

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
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
