package replay

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a worker may ask for at once depends on nothing else that is asked for
// with it: the order in which it is answered makes no difference.
func TestWhatIsAskedForTogetherIsAnsweredInAnyOrder(t *testing.T) {
	inTurn := func(calls ...func() error) error {
		var errs []error
		for _, call := range calls {
			errs = append(errs, call())
		}
		return errors.Join(errs...)
	}
	backwards := func(calls ...func() error) error {
		calls = slices.Clone(calls)
		slices.Reverse(calls)
		return inTurn(calls...)
	}
	for _, s := range scenariosOf(t) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			one, err := Run(context.Background(), s, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, together := range []func(...func() error) error{inTurn, backwards} {
				r := newRun(s, Options{})
				r.audit.Together, r.reenable.Together = together, together
				if err := r.all(context.Background()); err != nil {
					t.Fatal(err)
				}
				all := r.result()
				if diff := cmp.Diff(one.Records, all.Records); diff != "" {
					t.Errorf("records (-one after the other +together):\n%s", diff)
				}
				if diff := cmp.Diff(endingOf(t, one, one.Account), endingOf(t, all, all.Account)); diff != "" {
					t.Errorf("in the end (-one after the other +together):\n%s", diff)
				}
			}
		})
	}
}
