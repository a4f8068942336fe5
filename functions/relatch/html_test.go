package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestThePageIsWrittenWholeAndForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(path, []byte("older"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, errs := relatch(t, nil, "replay", "--format", "json", "--html", path, "../../events/disable-by-console", "../../events/another-pool")
	if code != 0 || errs != "" || strings.Count(out, "relatch.summary/1") != 3 {
		t.Errorf("exit status %d: %s%s", code, out, errs)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"@example.com", `<h2 id="part0">disable-by-console</h2>`, "<p>another-pool</p>", "</html>"} {
		if !strings.Contains(string(page), text) {
			t.Errorf("the page lacks %q", text)
		}
	}
	if beside, err := os.ReadDir(filepath.Dir(path)); err != nil || len(beside) != 1 {
		t.Errorf("beside the page are %v, %v", beside, err)
	}
}

func TestAPageThatCannotBeWrittenIsNamedBeforeAnythingIsRead(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "missing", "page.html"), t.TempDir()} {
		code, out, errs := relatch(t, nil, "replay", "--html", path, "../../events/disable-by-console")
		if code != exitUsage || out != "" || !strings.Contains(errs, "--html: "+path) {
			t.Errorf("exit status %d, %q, %q", code, out, errs)
		}
	}
}

func TestAPageOfAStoppedReplaySaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(t.TempDir(), "page.html")
	code := run(ctx, []string{"replay", "--html", path, "../../events/log-file/01-log-file.json"}, terminal{
		in: strings.NewReader(""), out: new(strings.Builder), err: new(strings.Builder), now: time.Now, getenv: func(string) string { return "" },
	})
	page, err := os.ReadFile(path)
	if code != exitUsage || err != nil || !strings.Contains(string(page), "The replay was stopped") {
		t.Errorf("exit status %d, %v: %.300s", code, err, page)
	}
}
