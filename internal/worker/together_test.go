package worker_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stackflow/relatch/internal/worker"
)

func TestTogetherWaitsForAllAndJoinsTheirErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, first, second := time.Now(), errors.New("first"), errors.New("second")
		err := worker.Together(
			func() error { return first },
			func() error { <-time.After(time.Second); return second },
			func() error { <-time.After(time.Second); return nil },
			func() error { panic("trouble") },
		)
		if !errors.Is(err, first) || !errors.Is(err, second) || !strings.Contains(err.Error(), "panic: trouble") || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}
