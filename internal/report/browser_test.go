package report_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// browser finds Chromium. Without it the test is skipped, or fails where
// RELATCH_SERVERS is "required".
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "no chromium is on PATH: apt-get install -y chromium"
	if os.Getenv("RELATCH_SERVERS") == "required" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// render opens a page and returns the document that came of it, and what the
// console said.
func render(t *testing.T, chromium, html string) (dom, console string) {
	t.Helper()
	dir := t.TempDir()
	page := filepath.Join(dir, "page.html")
	if err := os.WriteFile(page, []byte(html), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=" + filepath.Join(dir, "profile"),
		"--enable-logging=stderr", "--hide-scrollbars", "--window-size=1440,1780", "--dump-dom",
	}
	cmd := exec.CommandContext(t.Context(), chromium, append(args, "file://"+page)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	for line := range strings.Lines(errs.String()) {
		if strings.Contains(line, "CONSOLE") {
			console += line
		}
	}
	return out.String(), console
}

func TestAPageRendersInABrowser(t *testing.T) {
	chromium := browser(t)
	r := november(t)
	r.All[0].Username = `<script>document.title="owned"</script><img src=x onerror=alert(1)>`
	r.All[1].Why = []string{`"><svg onload=alert(1)>`}
	var out strings.Builder
	if err := r.HTML(&out); err != nil {
		t.Fatal(err)
	}
	dom, console := render(t, chromium, out.String())
	if console != "" {
		t.Errorf("the console says\n%s", console)
	}
	if !strings.Contains(dom, "<title>MFA overrides, November 2026</title>") {
		t.Error("the page has another title")
	}
	rows := regexp.MustCompile(`(?s)<tr id="[^"]+">.*?</tr>`).FindAllString(dom, -1)
	bars := regexp.MustCompile(`<rect class="bar [a-z]+" x="\d{3,4}" y="\d+" width="\d+" height="14">`).FindAllString(dom, -1)
	if len(rows) != len(r.All) || len(bars) != len(r.All) {
		t.Fatalf("%d overrides are %d rows and %d bars", len(r.All), len(rows), len(bars))
	}
	for i, o := range r.All {
		for _, part := range []string{o.ID, o.OpenedAt.Format("2006-01-02 15:04:05")} {
			if !strings.Contains(rows[i], part) {
				t.Errorf("row %d lacks %s: %s", i, part, rows[i])
			}
		}
		if o.Justified == strings.Contains(rows[i], "NOT JUSTIFIED") {
			t.Errorf("row %d says that it is justified, or that it is not: %s", i, rows[i])
		}
	}
	for _, injected := range []string{"<script", "<img", "<svg onload"} {
		if strings.Contains(dom, injected) {
			t.Errorf("the document has %s", injected)
		}
	}
	// That the console is heard at all, and that the policy forbids scripts.
	dom, console = render(t, chromium, strings.Replace(out.String(), "</body>", `<script>document.title="owned"</script></body>`, 1))
	if console == "" || strings.Contains(dom, "<title>owned") {
		t.Error("a script in the page ran, or its refusal was not told")
	}
}
