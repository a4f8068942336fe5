package replay

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// asNobody does something as a user who may not read everything: root can.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		do()
		return
	}
	runtime.LockOSThread() // whose file system user changes
	defer runtime.UnlockOSThread()
	if err := syscall.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setfsuid(0); err != nil {
			t.Fatal(err)
		}
	}()
	do()
}

func TestWhatMayNotBeListedOrReadIsNamedSkippedAndCounted(t *testing.T) {
	dir := tree(t, map[string]string{
		"AWSLogs/2026/11/22/a.json": disableOf("a", nine), "AWSLogs/2026/11/23/b.json": disableOf("b", nine), "AWSLogs/2026/11/24/c.json": disableOf("c", ten),
	})
	for path := dir; strings.Contains(path, t.Name()); path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "AWSLogs/2026/11/23"), 0); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"AWSLogs", "AWSLogs/2026/11/23", "."} {
		var l Loader
		var all []Scenario
		var err error
		asNobody(t, func() { all, err = l.Load([]string{filepath.Join(dir, path)}) })
		if want := "AWSLogs/2026/11/23: cannot be listed: open AWSLogs/2026/11/23: permission denied"; saying(dir, err) != want || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: error %q, want %q", path, saying(dir, err), want)
		}
		if len(all) != 1 {
			t.Fatalf("%s: %d scenarios", path, len(all))
		}
		r, err := Run(t.Context(), all[0], Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := 2
		if strings.HasSuffix(path, "23") {
			want = 0
		}
		if diff := cmp.Diff(map[Skip]int{Unlisted: 1}, r.Summary.Skipped); diff != "" || r.Summary.Events != want {
			t.Errorf("%s: %d deliveries, want %d; skipped (-want +got):\n%s", path, r.Summary.Events, want, diff)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "AWSLogs/2026/11/23"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestAPipeInAFolderIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"a.json": disableOf("a", nine)})
	if err := errors.Join(syscall.Mkfifo(filepath.Join(dir, "b.json"), 0o600), os.Symlink("b.json", filepath.Join(dir, "c.json.gz")), syscall.Mkfifo(filepath.Join(dir, "other"), 0o600)); err != nil {
		t.Fatal(err)
	}
	var l Loader
	all, err := l.Load([]string{dir})
	if want := "b.json: cannot be read: it is no file\nc.json.gz: cannot be read: it is no file"; saying(dir, err) != want {
		t.Errorf("error %q, want %q", saying(dir, err), want)
	}
	if diff := cmp.Diff(map[Skip]int{Unreadable: 2}, all[0].Skipped); diff != "" || len(all[0].Deliveries) != 1 {
		t.Errorf("%d deliveries; skipped (-want +got):\n%s", len(all[0].Deliveries), diff)
	}
}
