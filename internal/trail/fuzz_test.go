package trail

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
)

func FuzzParse(f *testing.F) {
	seeds(f, func(raw []byte) {
		for u := range Split(raw) {
			f.Add(u.Raw)
		}
	})
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := Parse(raw)
		if err != nil {
			var e *Error
			if !reflect.ValueOf(c).IsZero() || !errors.As(err, &e) || e.Error() == "" {
				t.Fatalf("an error of type %T, %q, comes with %+v", err, err, c)
			}
			return
		}
		again, err := Parse(raw)
		if diff := cmp.Diff(c, again); err != nil || diff != "" {
			t.Fatalf("read again: %v\n%s", err, diff)
		}
		if !c.Kind.Delivered() {
			t.Fatalf("kind %q is none of a delivery", c.Kind)
		}
		if c.Kind == mfa.NotRelevant {
			return
		}
		if c.Key == "" || c.EventName == "" || c.At.IsZero() || c.Actor.Type == "" {
			t.Fatalf("something essential is missing: %+v", c)
		}
		if c.At.Location() != time.UTC || c.At.Nanosecond() != 0 {
			t.Fatalf("the time %v is not in whole seconds UTC", c.At)
		}
		if _, err := c.At.AddDate(1000, 0, 0).MarshalJSON(); err != nil {
			t.Fatalf("the time %v leaves no room for a deadline: %v", c.At, err)
		}
		known := map[mfa.Factor]bool{}
		for _, factor := range append(append([]mfa.Factor{}, c.On...), c.Off...) {
			if known[factor] {
				t.Fatalf("%s is switched twice: on %v, off %v", factor, c.On, c.Off)
			}
			known[factor] = true
		}
	})
}

func FuzzSplit(f *testing.F) {
	seeds(f, func(raw []byte) { f.Add(raw) })
	for _, layout := range layouts {
		f.Add([]byte(layout.write([]string{`{"a":"}\"\\"}`, `{"b":[1,{"c":null}]}`})))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		end, n := 0, 0
		for u := range Split(data) {
			if n++; n > len(data)+1 {
				t.Fatal("more units than bytes")
			}
			if errors.Is(u.Err, ErrEmpty) {
				if n > 1 || len(u.Raw) > 0 {
					t.Fatalf("an empty input with %d units", n)
				}
				continue
			}
			if u.Place == "" || u.Err == nil && len(u.Raw) == 0 {
				t.Fatalf("a unit without place or content: %q %q", u.Place, u.Raw)
			}
			start := offset(data, u.Raw)
			if start < end || start+len(u.Raw) > len(data) {
				t.Fatalf("%s lies at %d to %d of %d; the one before it ends at %d", u.Place, start, start+len(u.Raw), len(data), end)
			}
			end = start + len(u.Raw)
		}
		if n == 0 && len(data) < len(`[]`) {
			t.Fatal("no unit")
		}
	})
}

// offset is where a part of the data begins, or -1 if it is none: its memory is
// compared, not its content.
func offset(data, part []byte) int {
	at := int(reflect.ValueOf(part).Pointer()) - int(reflect.ValueOf(data).Pointer())
	if cap(part) == 0 && at == 0 || at < 0 || at > len(data) {
		return len(data)
	}
	return at
}

// seeds are the deliveries of events/, and the samples where they are at hand.
func seeds(f *testing.F, add func([]byte)) {
	f.Helper()
	for _, dir := range folders(f) {
		files := deliveryFiles(f, dir)
		if len(files) > 9 {
			files = files[:9]
		}
		for _, file := range files {
			for i, u := range unitsOf(f, file) {
				if i < 3 { // three of three hundred are as good
					add(u.Raw)
				}
			}
			if raw := read(f, file); len(raw) < 8<<10 {
				add(raw)
			}
		}
	}
	samples, err := filepath.Glob(filepath.Join(shared, "samples", "*.json"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range samples {
		add(read(f, file))
	}
}
