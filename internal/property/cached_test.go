package property_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stackflow/relatch/internal/property"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func says(t *testing.T, s property.Source, want string) {
	t.Helper()
	if raw, err := s.Read(t.Context()); err != nil || string(raw) != want {
		t.Fatalf("have %q, %v; want %q", raw, err, want)
	}
}

// editions is a source that says something else each time it is asked.
type editions struct {
	asked   int
	err     error
	missing bool
}

func (e *editions) Read(context.Context) ([]byte, error) {
	e.asked++
	switch {
	case e.err != nil:
		return nil, e.err
	case e.missing:
		return nil, nil
	default:
		return fmt.Appendf(nil, "edition %d", e.asked), nil
	}
}

func TestACopyIsKeptForAsLongAsItIsFresh(t *testing.T) {
	for name, c := range map[string]struct {
		fresh time.Duration
		want  map[time.Duration]string // by how long after the first read
	}{
		"a minute by default":      {0, map[time.Duration]string{59 * time.Second: "edition 1", time.Minute: "edition 2"}},
		"as long as told":          {time.Hour, map[time.Duration]string{59 * time.Minute: "edition 1", time.Hour: "edition 2"}},
		"not at all":               {-1, map[time.Duration]string{0: "edition 2"}},
		"when the clock goes back": {0, map[time.Duration]string{-time.Hour: "edition 2"}},
	} {
		for after, want := range c.want {
			t.Run(fmt.Sprint(name, ", after ", after), func(t *testing.T) {
				now := noon
				cached := &property.Cached{Source: &editions{}, Fresh: c.fresh, Now: func() time.Time { return now }}
				says(t, cached, "edition 1")
				now = now.Add(after)
				says(t, cached, want)
			})
		}
	}
}

func TestAMissingRecordIsKeptToo(t *testing.T) {
	source := &editions{missing: true}
	cached := &property.Cached{Source: source, Now: func() time.Time { return noon }}
	for range 2 {
		if raw, err := cached.Read(t.Context()); raw != nil || err != nil {
			t.Fatalf("have %q, %v", raw, err)
		}
		source.missing = false
	}
}

func TestACopyStandsInForAnErrorUntilItIsTooOld(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		spare, after time.Duration
		stands       bool
	}{
		"a quarter of an hour by default": {0, 15 * time.Minute, true},
		"and no longer":                   {0, 15*time.Minute + 1, false},
		"as long as told":                 {time.Hour, time.Hour, true},
		"and no longer than told":         {time.Hour, time.Hour + 1, false},
		"not at all":                      {-1, time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			now, source := noon, &editions{}
			cached := &property.Cached{Source: source, Spare: c.spare, Now: func() time.Time { return now }}
			says(t, cached, "edition 1")
			source.err, now = broken, now.Add(c.after)
			if c.stands {
				says(t, cached, "edition 1")
			} else if raw, err := cached.Read(t.Context()); raw != nil || !errors.Is(err, broken) {
				t.Fatalf("have %q, %v", raw, err)
			}
			source.err = nil // which the next read finds out
			says(t, cached, "edition 3")
		})
	}
}

func TestAnErrorDoesNotMakeTheCopyYounger(t *testing.T) {
	now, source := noon, &editions{}
	cached := &property.Cached{Source: source, Now: func() time.Time { return now }}
	says(t, cached, "edition 1")
	source.err = errors.New("broken")
	for range 15 {
		now = now.Add(time.Minute)
		says(t, cached, "edition 1")
	}
	now = now.Add(time.Minute)
	if raw, err := cached.Read(t.Context()); raw != nil || !errors.Is(err, source.err) {
		t.Fatalf("have %q, %v", raw, err)
	}
}

func TestAnErrorWithoutACopyIsTheSources(t *testing.T) {
	source := &editions{err: errors.New("broken")}
	cached := &property.Cached{Source: source, Now: func() time.Time { return noon }}
	if raw, err := cached.Read(t.Context()); raw != nil || !errors.Is(err, source.err) {
		t.Fatalf("have %q, %v", raw, err)
	}
	source.err = nil
	says(t, cached, "edition 2")
}

func TestManyHaveTheSameCopyAndNobodyCanChangeIt(t *testing.T) {
	cached := &property.Cached{Source: &editions{}, Now: func() time.Time { return noon }}
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			raw, err := cached.Read(t.Context())
			if err != nil || string(raw) != "edition 1" {
				t.Errorf("have %q, %v", raw, err)
				return
			}
			raw[0] = 'X'
		})
	}
	readers.Wait()
	says(t, cached, "edition 1")
}
