package invoke_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// lasts makes a look at each user take so long.
func (h *house) lasts(d time.Duration) {
	for _, u := range h.Users() {
		h.meets[u.Sub] = func(context.Context) error {
			<-time.After(d)
			return nil
		}
	}
}

// sweeps sweeps within the time and returns whom it looked at.
func (h *house) sweeps(t *testing.T, within time.Duration) ([]mfa.Sub, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	h.looks = nil
	err := h.sweep.Invoke(ctx, nil)
	return h.looks, err
}

func TestASweepStopsInTimeAndTheNextGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, "a", "b", "c", "d", "e", "f", "g")
		h.lasts(10 * time.Second)
		var all [][]mfa.Sub
		var complete []bool
		for range 3 {
			began := time.Now()
			looks, err := h.sweeps(t, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took >= time.Minute {
				t.Errorf("a sweep of a minute took %s", took)
			}
			all, complete = append(all, looks), append(complete, h.mark.CompletedAt.Equal(time.Now()))
		}
		// No look begins in the last 15 seconds; after the last user comes the first.
		if diff := cmp.Diff([][]mfa.Sub{{"a", "b", "c", "d", "e"}, {"f", "g"}, {"a", "b", "c", "d", "e"}}, all); diff != "" {
			t.Errorf("looked at (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]bool{false, true, false}, complete); diff != "" {
			t.Errorf("complete (-want +got):\n%s", diff)
		}
	})
}

func TestWhatIsOpenIsLookedAtFirstInEverySweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, "a", "b", "c", "d")
		if again := failures(t.Context(), t, h.audit.Invoke, batch(t, h.disabled("c"))); again != nil {
			t.Fatal(again)
		}
		h.lasts(16 * time.Second)
		for _, want := range [][]mfa.Sub{{"c", "a", "b"}, {"c", "d"}} {
			looks, err := h.sweeps(t, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, looks); diff != "" {
				t.Errorf("looked at (-want +got):\n%s", diff)
			}
		}
	})
}

func TestASweepIsCompleteOnlyIfNobodyWasLeftOut(t *testing.T) {
	for name, goesWrong := range map[string]func(*house, error){
		"a user":           func(h *house, err error) { h.fails("a", err) },
		"a role's members": func(h *house, err error) { h.listErr["cloud_admin"] = err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, "a", "b", "c")
				h.lasts(20 * time.Second)
				goesWrong(h, errTrouble)
				if _, err := h.sweeps(t, time.Minute/2); !errorsSay(err, "trouble") || h.mark.Place == (worker.Place{}) {
					t.Errorf("%v, stopped at %+v", err, h.mark.Place)
				}
				goesWrong(h, nil)
				if _, err := h.sweeps(t, time.Hour); err != nil { // the rest of the round
					t.Error(err)
				}
				if h.mark.Place != (worker.Place{}) || h.mark.Failed || !h.mark.CompletedAt.IsZero() {
					t.Errorf("the round has ended and was not complete; the bookmark is %+v", h.mark)
				}
				looks, err := h.sweeps(t, time.Hour)
				if diff := cmp.Diff([]mfa.Sub{"a", "b", "c"}, looks); err != nil || diff != "" {
					t.Errorf("%v; looked at (-want +got):\n%s", err, diff)
				}
				if h.mark.BegunAt = (time.Time{}); h.mark != (worker.Bookmark{CompletedAt: time.Now()}) {
					t.Errorf("all were looked at; the bookmark is %+v", h.mark)
				}
			})
		})
	}
}

// fails makes a look at the user fail, if err is not nil.
func (h *house) fails(sub mfa.Sub, err error) {
	h.meets[sub] = func(context.Context) error { return err }
}

func TestTheUserAtHandWhenTheFunctionIsEndedIsNotSkipped(t *testing.T) {
	h := open(t, "a", "b", "c")
	ctx, terminate := context.WithCancel(t.Context())
	h.meets["b"] = func(ctx context.Context) error {
		terminate()
		return ctx.Err()
	}
	if err := h.sweep.Invoke(ctx, nil); err != nil {
		t.Errorf("a sweep that was ended goes on later: %v", err)
	}
	want := worker.Bookmark{Place: worker.Place{Pool: pool, Sub: "a"}, BegunAt: h.mark.BegunAt}
	if h.mark != want || h.mark.BegunAt.IsZero() {
		t.Errorf("the bookmark is %+v, not %+v", h.mark, want)
	}
	h.meets["b"] = nil
	looks, err := h.sweeps(t, time.Hour)
	if h.mark.CompletedAt.IsZero() {
		t.Error("the round that went on is not complete")
	}
	if diff := cmp.Diff([]mfa.Sub{"b", "c"}, looks); err != nil || diff != "" {
		t.Errorf("%v; looked at (-want +got):\n%s", err, diff)
	}
}

func TestABookmarkThatCannotBeReadIsAnError(t *testing.T) {
	h := open(t, "a")
	h.sweep.Bookmarks = lost{h}
	if err := h.sweep.Invoke(t.Context(), nil); !errorsSay(err, "trouble") || h.looks != nil {
		t.Errorf("%v, looked at %v", err, h.looks)
	}
}

type lost struct{ *house }

func (lost) Bookmark(context.Context) (worker.Bookmark, error) { return worker.Bookmark{}, errTrouble }

func TestALookThatHangsCostsASweepNoBookmark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, "a", "b", "c")
		h.meets["b"] = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		looks, err := h.sweeps(t, time.Minute)
		if took := time.Since(began); err != nil || took >= time.Minute {
			t.Errorf("%v after %s", err, took)
		}
		if want := (worker.Place{Pool: pool, Sub: "a"}); h.mark.Place != want {
			t.Errorf("looked at %v, the bookmark is at %+v, not %+v", looks, h.mark.Place, want)
		}
	})
}
