package report_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/report"
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
func render(t *testing.T, chromium, text string) (dom, console string) {
	t.Helper()
	dir := t.TempDir()
	page := filepath.Join(dir, "page.html")
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=" + filepath.Join(dir, "profile"),
		"--enable-logging=stderr", "--hide-scrollbars", "--window-size=1440,1780", "--dump-dom",
	}
	var out, errs bytes.Buffer
	for attempt := 1; ; attempt++ {
		out.Reset()
		errs.Reset()
		cmd := exec.CommandContext(t.Context(), chromium, append(args, "file://"+page)...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		if err == nil {
			break
		}
		if attempt == 3 { // on a busy machine Chromium itself crashes now and then
			t.Fatalf("%v: %s", err, errs.String())
		}
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
	if outside := regexp.MustCompile(`<[a-zA-Z][^>]*\s(src=|href="[^#])[^>]*>|@import|https?:|url\([^#]`).FindAllString(dom, -1); outside != nil {
		t.Errorf("the page needs more than itself: %q", outside)
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

// overlaps names each two texts of a timeline, and each text and bar, that lie on one
// another, and each text that leaves the drawing.
const overlaps = `<script>
const found = [];
for (const svg of document.querySelectorAll("figure svg")) {
  const box = e => ({e, r: e.getBoundingClientRect()}), whole = box(svg).r;
  const texts = [...svg.querySelectorAll("text")].map(box), bars = [...svg.querySelectorAll("rect")].map(box);
  const name = x => x.e.textContent.trim() || x.e.getAttribute("class");
  const lie = (a, b) => a.r.left < b.r.right - .5 && b.r.left < a.r.right - .5 && a.r.top < b.r.bottom - .5 && b.r.top < a.r.bottom - .5;
  texts.forEach((a, i) => {
    for (const b of [...texts.slice(i + 1), ...bars]) if (lie(a, b)) found.push(name(a) + " on " + name(b));
    if (a.r.left < whole.left - .5 || a.r.right > whole.right + .5) found.push(name(a) + " outside");
  });
}
document.title = found.length + " overlaps " + found.slice(0, 5).join("; ");
</script>`

func TestNothingOfATimelineLiesOnAnother(t *testing.T) {
	chromium := browser(t)
	page := ""
	for _, c := range []struct {
		n     int
		every time.Duration // between two of them
		name  string
	}{
		{1, 0, "maria"},
		{50, time.Second, "maria.lopez@example.com"},
		{50, 13 * time.Hour, strings.Repeat("W", 60)},
		{50, 80 * 24 * time.Hour, strings.Repeat("携帯", 30)},
		{500, time.Minute, "9e25127d-a6ec-4894-a6a0-d9f4ee95d51b"},
		{500, 90 * time.Minute, "maria.lopez@example.com"},
		{500, 3 * 24 * time.Hour, "maria"},
	} {
		var b report.Builder
		for i := range c.n {
			opened := start.AddDate(0, 0, 24).Add(time.Duration(i) * c.every) // Wed 25 Nov
			o := mfa.RecordOverride{
				ID: fmt.Sprint("O-", i), OpenedAt: opened, Deadline: opened.Add(24 * time.Hour), Factors: []mfa.Factor{mfa.TOTP},
				Justification: []string{"justified", "unjustified"}[i%2], Closed: []mfa.End{mfa.Restored, mfa.Reenrolled, mfa.Gone, mfa.Reenabled, ""}[i%5],
			}
			b.Add("", mfa.Record{At: opened.Add(time.Duration(i%30) * time.Hour), User: &mfa.RecordUser{Pool: "p", Sub: mfa.Sub(c.name)}, Override: &o})
		}
		r, err := b.Report(t.Context(), report.Period{}, time.Time{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := r.HTML(&out); err != nil {
			t.Fatal(err)
		}
		if page == "" {
			page = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAllString(out.String(), "")
			continue
		}
		_, timeline, _ := strings.Cut(out.String(), "<main>")
		timeline, _, _ = strings.Cut(timeline, "</section>")
		page = strings.Replace(page, "</body>", timeline+"</section></body>", 1)
	}
	dom, _ := render(t, chromium, strings.Replace(page, "</body>", overlaps+"</body>", 1))
	if n := strings.Count(dom, "<figure>"); n < 100 {
		t.Errorf("%d timelines were drawn", n)
	}
	if !strings.Contains(dom, "<title>0 overlaps </title>") {
		t.Error(regexp.MustCompile("<title>.*</title>").FindString(dom))
	}
}
