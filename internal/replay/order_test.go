package replay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What EventBridge and SQS deliver twice is done once.
func TestDuplicatesChangeNothing(t *testing.T) {
	for _, s := range scenariosOf(t) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			want := comes(t, s)
			atOnce, atTheEnd, daysLater := s, s, s
			atOnce.Deliveries = nil
			for _, d := range s.Deliveries {
				atOnce.Deliveries = append(atOnce.Deliveries, d, again(d))
			}
			last := lastOf(s)
			atTheEnd.Deliveries = slices.Clone(s.Deliveries)
			daysLater.Deliveries = slices.Clone(s.Deliveries)
			for _, d := range s.Deliveries {
				atTheEnd.Deliveries = append(atTheEnd.Deliveries, again(d))
				d.Arrives = last.Add(72 * time.Hour)
				daysLater.Deliveries = append(daysLater.Deliveries, d)
			}
			for name, twice := range map[string]Scenario{"at once": atOnce, "at the end": atTheEnd, "three days later": daysLater} {
				if got := comes(t, twice); !cmp.Equal(want, got) {
					t.Errorf("delivered again %s:\n%s", name, cmp.Diff(want, got))
				}
			}
		})
	}
}

// again is the delivery once more, right after the one before it.
func again(d Delivery) Delivery {
	d.Arrives = time.Time{}
	return d
}

// Where every delivery comes after the last call, their order does not matter.
func TestTheOrderOfLateDeliveriesDoesNotMatter(t *testing.T) {
	for _, s := range scenariosOf(t) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			first := lastCall(s).Add(time.Minute)
			arriving := func(order []int) Scenario {
				late := s
				late.Deliveries = nil
				for i, j := range order {
					d := s.Deliveries[j]
					d.Arrives = first.Add(time.Duration(i) * time.Second)
					late.Deliveries = append(late.Deliveries, d)
				}
				return late
			}
			inOrder := make([]int, len(s.Deliveries))
			for i := range inOrder {
				inOrder[i] = i
			}
			want := comes(t, arriving(inOrder))
			for _, order := range orders(len(s.Deliveries)) {
				if got := comes(t, arriving(order)); !cmp.Equal(want, got) {
					t.Errorf("in the order %v:\n%s", order, cmp.Diff(want, got))
					break
				}
			}
		})
	}
}

// orders are all permutations of up to four deliveries, else 24 random ones.
func orders(n int) [][]int {
	if n > 4 {
		var out [][]int
		random := rand.New(rand.NewPCG(2026, uint64(n)))
		for range 24 {
			out = append(out, random.Perm(n))
		}
		return out
	}
	out := [][]int{nil}
	for i := range n {
		var longer [][]int
		for _, order := range out {
			for at := range len(order) + 1 {
				longer = append(longer, slices.Insert(slices.Clone(order), at, i))
			}
		}
		out = longer
	}
	return out
}

func TestOrdersAreAllPermutations(t *testing.T) {
	for n, want := range []int{1, 1, 2, 6, 24} {
		seen := map[string]bool{}
		for _, order := range orders(n) {
			seen[fmt.Sprint(order)] = true
		}
		if len(seen) != want {
			t.Errorf("%d deliveries have %d orders, not %d", n, len(seen), want)
		}
	}
}

// outcome is what must not depend on the order of deliveries.
type outcome struct {
	Users     map[string]string
	Overrides map[string]string
	Incidents []string
	Events    int
	Rejected  int
}

func comes(t *testing.T, s Scenario) outcome {
	t.Helper()
	result, err := Run(context.Background(), s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := endingOf(t, result, result.Account)
	out := outcome{Users: e.Users, Overrides: e.Overrides, Incidents: e.Incidents}
	unreadable := map[string]bool{}
	for _, d := range s.Deliveries {
		if d.Err != nil || d.Change.NamesUser() && d.Change.Sub == "" && d.Change.Failed == "" {
			unreadable[d.Place] = true
		}
	}
	out.Events, out.Rejected = len(slices.Collect(s.calls())), len(unreadable)
	if e.Events != len(s.Deliveries) {
		t.Errorf("%d deliveries came, %d were counted", len(s.Deliveries), e.Events)
	}
	if rejected := result.Summary.Rejected; rejected < len(unreadable) {
		t.Errorf("%d unreadable deliveries came, %d were rejected", len(unreadable), rejected)
	}
	return out
}

func lastCall(s Scenario) time.Time {
	last := time.Time{}
	if s.Account != nil {
		last = s.Account.Now
	}
	for _, d := range s.Deliveries {
		last = later(last, d.Change.At)
	}
	return last
}

func lastOf(s Scenario) time.Time {
	last := lastCall(s)
	for _, d := range s.Deliveries {
		last = later(last, d.Arrives)
	}
	return last
}
