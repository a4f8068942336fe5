package whole_test

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stackflow/relatch/internal/whole"
)

// folder is one with an older file in it, whose path it returns.
func folder(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(path, []byte("older"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// alone fails the test if not just this is in the folder.
func alone(t *testing.T, path, want string) {
	t.Helper()
	there, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != want || len(there) != 1 || len(hidden) > 0 {
		t.Errorf("%q, %v, beside %v %v; want %q alone", text, err, there, hidden, want)
	}
}

func TestAFileIsReplacedAndOnlyItsOwnerMayReadIt(t *testing.T) {
	path := folder(t)
	if err := whole.Write(path, func(w *bufio.Writer) error { _, err := w.WriteString("newer"); return err }); err != nil {
		t.Fatal(err)
	}
	alone(t, path, "newer")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestALinkIsNotReplaced(t *testing.T) {
	path := folder(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{whole.Check(link), whole.Write(link, func(*bufio.Writer) error { return nil })} {
		if err == nil || !strings.Contains(err.Error(), link+": is no file, or only a link to one") {
			t.Error(err)
		}
	}
	alone(t, path, "older")
}

func TestWhatFailsLeavesTheOlderFile(t *testing.T) {
	path := folder(t)
	broken := errors.New("broken")
	err := whole.Write(path, func(w *bufio.Writer) error { return errors.Join(w.WriteByte('n'), broken) })
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	alone(t, path, "older")
}

func TestACheckSaysWhetherAFileCanBeWrittenAndChangesNothing(t *testing.T) {
	path := folder(t)
	if err := whole.Check(path); err != nil {
		t.Error(err)
	}
	alone(t, path, "older")
	for _, bad := range []string{filepath.Dir(path), filepath.Join(path, "x"), filepath.Join(filepath.Dir(path), "no", "x")} {
		for _, err := range []error{whole.Check(bad), whole.Write(bad, func(*bufio.Writer) error { return nil })} {
			if err == nil || !strings.Contains(err.Error(), bad) {
				t.Errorf("%s: %v", bad, err)
			}
		}
	}
	alone(t, path, "older")
}
