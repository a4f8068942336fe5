// Package lambdatest runs a Lambda function in a test as it is shipped: it
// compiles the program and starts it under a Runtime API of its own.
//
// It refuses to know what the functions do: bytes go in, and bytes, an error
// and what was printed come out.
package lambdatest

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// folder has everything that was built. Main makes and removes it.
var folder string

// built has for each target what builds it once.
var (
	mu    sync.Mutex
	built = map[target]func() (path string, err error){}
)

// target is a program for an operating system and a processor, as Go calls them.
type target struct{ pkg, goos, goarch string }

// Main runs the tests of a package and removes what they have built. Call it in
// TestMain: without it, Build and ZipSize fail the test. m is a *testing.M, or
// what runs one.
func Main(m interface{ Run() int }) {
	dir, err := os.MkdirTemp("", "lambdatest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	folder = dir
	m.Run() // m keeps the exit code
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// Build compiles pkg, an import path or a path such as ./functions/audit that
// starts at the module's root, as it is shipped but for this machine, and returns
// the path of the program. It does so once for all tests of a package.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	return bootstrap(t, target{pkg, runtime.GOOS, runtime.GOARCH})
}

// ZipSize compiles pkg as it is deployed, for linux/arm64, and returns how many
// bytes the zip file of it has that Lambda is given.
func ZipSize(t testing.TB, pkg string) int64 {
	t.Helper()
	var size counter
	if err := pack(&size, bootstrap(t, target{pkg, "linux", "arm64"})); err != nil {
		t.Fatal(err)
	}
	return int64(size)
}

func bootstrap(t testing.TB, of target) string {
	t.Helper()
	if folder == "" {
		t.Fatal("lambdatest.Main is not called in TestMain")
	}
	mu.Lock()
	if built[of] == nil {
		built[of] = sync.OnceValues(func() (string, error) { return build(of) })
	}
	once := built[of]
	mu.Unlock()
	path, err := once()
	if err != nil {
		t.Fatalf("build %s: %v", of.pkg, err)
	}
	return path
}

func build(of target) (string, error) {
	mod, err := goTool("", of, "env", "GOMOD")
	if err != nil {
		return "", err
	}
	if err := depend(mod, of); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(folder, "")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bootstrap")
	_, err = goTool(filepath.Dir(mod), of, "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", path, of.pkg)
	return path, err
}

// depend makes the test's result depend on the sources. Go keeps the results of
// tests that pass, and does not see what the programs they start have read: what
// the test looks at itself counts.
func depend(mod string, of target) error {
	const own = "{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}"
	dirs, err := goTool(filepath.Dir(mod), of, "list", "-deps", "-tags", "lambda.norpc", "-f", own, of.pkg)
	if err != nil {
		return err
	}
	for dir := range strings.Lines(dirs) {
		if _, err := os.ReadDir(strings.TrimSpace(dir)); err != nil {
			return err
		}
	}
	_, err = os.Stat(mod)
	return err
}

// goTool runs the go command and returns what it prints, trimmed.
func goTool(dir string, of target, args ...string) (string, error) {
	cmd := exec.Command("go", args...) //nolint:gosec // G204: builds what the test names
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS="+of.goos, "GOARCH="+of.goarch)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("go %s: %w\n%s", args[0], err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// pack writes a zip file with the program in it, executable and named bootstrap
// (Lambda: "Building with an OS-only runtime").
func pack(to io.Writer, path string) error {
	program, err := os.Open(path)
	if err != nil {
		return err
	}
	defer program.Close()
	z := zip.NewWriter(to)
	header := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate}
	header.SetMode(0o755)
	w, err := z.CreateHeader(header)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, program); err != nil {
		return err
	}
	return z.Close()
}

// counter counts the bytes that are written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
