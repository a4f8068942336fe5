package report_test

import (
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/report"
)

// replayed is the page of these replays.
func replayed(t testing.TB, all []ran, facts report.Facts) *report.Replay {
	t.Helper()
	var p report.Replay
	for _, s := range all {
		var r report.Replayed
		for _, record := range s.Records {
			r.Add(record)
		}
		var users []mfa.RecordUser
		for _, u := range s.Users {
			users = append(users, mfa.RecordUser{Pool: u.Pool, Sub: u.Sub})
		}
		if err := p.Add(t.Context(), s.Scenario.Name, s.Summary.String(), &r, users, time.Time{}, facts); err != nil {
			t.Fatal(err)
		}
	}
	return &p
}

func written(t testing.TB, p *report.Replay) string {
	t.Helper()
	var out strings.Builder
	if err := p.HTML(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// shown are scenarios of which most of what the page can show comes.
var shown = []string{
	"01-justified-disable-ends-after-24h", "another-pool", "disabled-again-at-hour-23", "guard-own-and-deployment-and-lookalikes",
	"justification-used-before", "pool-switched-off-and-put-back", "promoted-without-mfa-24h", "token-deleted-cannot-be-restored",
}

func TestThePageOfReplaysReadsAsTheGoldenFileSays(t *testing.T) {
	all := run(t, shown...)
	got := written(t, replayed(t, all, facts(all)))
	const path = "testdata/replay.html"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-golden +got; -update writes it anew):\n%s", path, diff)
	}
}

func TestThePageHasEveryOverrideAndEveryPageOfTheSummaries(t *testing.T) {
	all := run(t)
	page := written(t, replayed(t, all, nil))
	overrides, pages := 0, 0
	for _, s := range all {
		overrides += s.Summary.Overrides.Opened
		pages += s.Summary.Alerts.Critical
	}
	if n := len(regexp.MustCompile(`<tr id="`).FindAllString(page, -1)); n != overrides {
		t.Errorf("%d overrides are %d rows", overrides, n)
	}
	if n := len(regexp.MustCompile(`<tr [^>]*data-paged="`).FindAllString(page, -1)); n != pages {
		t.Errorf("%d pages are %d rows", pages, n)
	}
	for _, what := range []string{`<rect class="column" data-day="[-\d]+" data-n="(\d+)"`, `<tr data-day="[-\d]+" data-n="(\d+)"`} {
		sum := 0
		for _, m := range regexp.MustCompile(what).FindAllStringSubmatch(page, -1) {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
		if sum != pages {
			t.Errorf("%d pages are %d in %s", pages, sum, what)
		}
	}
}

// disables are n overrides, one a day or so, of n/2 users, every other one critical.
func disables(t testing.TB, n int, every time.Duration, name func(i int) string) *report.Replay {
	t.Helper()
	var r report.Replayed
	for i := range n {
		opened := start.Add(time.Duration(i) * every)
		severity := mfa.Warning
		if i%2 == 0 {
			severity = mfa.Critical
		}
		o := mfa.RecordOverride{
			ID: fmt.Sprintf("O-%d", i), OpenedAt: opened, Deadline: opened.Add(24 * time.Hour), Factors: []mfa.Factor{mfa.TOTP}, Justification: "unjustified",
			Failed: []mfa.Rule{mfa.RuleMissing}, Why: []string{"nobody gave a reason"},
		}
		record := mfa.Record{
			At: opened, User: &mfa.RecordUser{Pool: "us-east-1_EXAMPLE12", Sub: mfa.Sub(name(i % (n/2 + 1)))}, Verdict: mfa.Opens, Override: &o,
			Cause: mfa.RecordCause{
				Key: fmt.Sprint(i), Kind: mfa.FactorsChanged, EventName: "AdminSetUserMFAPreference", EventTime: opened, ActorType: mfa.Admin,
				Actor: "arn:aws:sts::111122223333:assumed-role/SupportAdmin/" + name(i), SourceIP: "192.0.2.1",
			},
			Alerts: []mfa.Alert{{Kind: mfa.UnjustifiedOverride, Severity: severity, State: mfa.StateTriggered, Incident: "override/" + o.ID}},
		}
		r.Add(record)
		closed := o
		closed.Closed = mfa.Restored
		r.Add(mfa.Record{At: o.Deadline, User: record.User, Verdict: mfa.Restores, Override: &closed, Cause: mfa.RecordCause{Kind: mfa.Due}})
	}
	var p report.Replay
	if err := p.Add(t.Context(), "", fmt.Sprint(n), &r, []mfa.RecordUser{{Pool: "p", Sub: "quiet"}, {Pool: "p", Sub: "silent"}}, time.Time{}, nil); err != nil {
		t.Fatal(err)
	}
	return &p
}

func sub(i int) string { return fmt.Sprintf("%08d-2151-70ed-0402-7d0ba10a1e63", i) }

func TestThePageGrowsWithTheOverridesOnly(t *testing.T) {
	const most = 1300 // bytes for each override
	few, many := written(t, disables(t, 500, time.Hour, sub)), written(t, disables(t, 10_000, time.Hour, sub))
	if each := (len(many) - len(few)) / 9_500; each > most || len(few) > 500*most+30_000 {
		t.Errorf("500 overrides are %d bytes, each further one %d", len(few), each)
	}
	if !strings.Contains(few, "2 more users had no override and are left out") {
		t.Error("who is left out is not told")
	}
}

func TestColumnsAreDaysMonthsOrYears(t *testing.T) {
	for _, tt := range []struct {
		every       time.Duration
		unit, first string
		least, most int
	}{
		{24 * time.Hour, "day", "2026-11-01", 98, 100},
		{12 * 24 * time.Hour, "month", "2026-11", 36, 42},
		{1000 * 24 * time.Hour, "year", "2026", 260, 280},
	} {
		page := written(t, disables(t, 100, tt.every, sub))
		n := strings.Count(page, `<rect class="column"`)
		if !strings.Contains(page, "Pages per "+tt.unit) || !strings.Contains(page, `data-day="`+tt.first+`" data-n="`) || n < tt.least || n > tt.most {
			t.Errorf("every %v: there are %d columns, which are no %ss", tt.every, n, tt.unit)
		}
	}
}

func TestAPageOfNothingSaysSo(t *testing.T) {
	page := written(t, &report.Replay{Cut: true})
	for _, text := range []string{"Nobody would have been paged", "The replay was stopped", "<dt>Overrides</dt><dd>0"} {
		if !strings.Contains(page, text) {
			t.Errorf("it does not say %q", text)
		}
	}
}

// hostile is what an attacker may call himself.
const hostile = `</script><script>document.title="owned"</script><img src=x onerror=alert(1)>"'` + "`${alert(1)}\x1b[2J\u202e"

var policy = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy" content="([^"]+)">`)

func TestThePageOfReplaysAllowsItsOwnScriptOnly(t *testing.T) {
	page := written(t, disables(t, 3, time.Hour, func(int) string { return hostile }))
	m := policy.FindStringSubmatch(page)
	if m == nil {
		t.Fatal("there is no content policy")
	}
	if got := html.UnescapeString(m[1]); !regexp.MustCompile(`^default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[A-Za-z0-9+/]{43}='$`).MatchString(got) {
		t.Errorf("the content policy is %s", got)
	}
	if n := strings.Count(page, "<script"); n != 1 || strings.Contains(page, "<img") || strings.ContainsAny(page, "\x1b\u202e") {
		t.Errorf("%d scripts, and what users are called", n)
	}
	if outside := regexp.MustCompile(`<[a-z]+ ([^>"]|"[^"]*")* src=|@import|url\(http| href="[^#]|<link`).FindString(page); outside != "" {
		t.Errorf("the page has %s", outside)
	}
}

func TestThePageOfReplaysRendersInABrowser(t *testing.T) {
	chromium := browser(t)
	page := written(t, disables(t, 3, time.Hour, func(int) string { return hostile }))
	dom, console := render(t, chromium, page)
	if console != "" {
		t.Errorf("the console says\n%s", console)
	}
	if !strings.Contains(dom, "<title>Replay: MFA overrides</title>") || strings.Contains(dom, "<img") {
		t.Error("what a user is called has become part of the page")
	}
	if strings.Contains(dom, `<form id="filter" hidden`) {
		t.Error("the script did not run")
	}
	_, console = render(t, chromium, strings.Replace(page, "</body>", `<script>document.title="owned"</script></body>`, 1))
	if console == "" {
		t.Error("another script ran, or its refusal was not told")
	}
}

// driven is the page with another script that may do what a person does.
func driven(page, script string) string {
	page = policy.ReplaceAllString(page, "")
	return strings.Replace(page, "</body>", "<script>"+script+"</script></body>", 1)
}

func TestTheFilterShowsWhatWasAskedForOnly(t *testing.T) {
	chromium := browser(t)
	all := run(t, shown...)
	page := written(t, replayed(t, all, facts(all)))
	script := `
		const f = document.getElementById('filter');
		const seen = (s) => [...document.querySelectorAll(s)].filter((e) => e.getClientRects().length > 0);
		const ask = (user, actor, kind) => {
			f.elements.user.value = user; f.elements.actor.value = actor; f.elements.kind.value = kind;
			f.dispatchEvent(new Event('input', {bubbles: true}));
			return [
				seen('tr[id]').length, seen('tr.strip a').length, seen('tr[data-paged]').length, seen('tr[data-day]').length,
				seen('tr[data-day] .n').reduce((n, e) => n + Number(e.textContent), 0),
			].join(' ');
		};
		document.title = [`
	var want []string
	for _, tt := range []struct {
		user, actor, kind       string
		rows, bars, pages, days int
	}{
		{"", "", "", 6, 6, 9, 3},
		{"Tom.Becker", "", "", 1, 1, 1, 1},
		{"", "ops-3", "", 0, 0, 0, 0},
		{"", "OPS-7", "cannot_restore", 1, 1, 1, 1},
		{"nobody at all", "", "", 0, 0, 0, 0},
		{"", "", "", 6, 6, 9, 3}, // and all of it again
	} {
		script += fmt.Sprintf("ask(%q, %q, %q),", tt.user, tt.actor, tt.kind)
		want = append(want, fmt.Sprintf("%d %d %d %d %d", tt.rows, tt.bars, tt.pages, tt.days, tt.pages))
	}
	dom, console := render(t, chromium, driven(page, script+"].join('; ');"))
	got := regexp.MustCompile(`<title>([^<]*)</title>`).FindStringSubmatch(dom)
	if got == nil || console != "" {
		t.Fatalf("there is no title; the console says %q", console)
	}
	if diff := cmp.Diff(want, strings.Split(got[1], "; ")); diff != "" {
		t.Errorf("rows, bars, pages, days, pages of the days (-want +got):\n%s", diff)
	}
}

func TestNothingIsCutOffOnPaper(t *testing.T) {
	chromium := browser(t)
	page := written(t, disables(t, 40, 7*time.Hour, func(i int) string { return strings.Repeat("w", 60) + fmt.Sprint(i) }))
	// As it is laid out for paper: A4 on its side without the margins is 1032 pixels wide.
	paper := strings.ReplaceAll(page, "@media print {", "@media all {")
	dom, _ := render(t, chromium, driven(paper, `
		Object.assign(document.body.style, {width: '1032px', margin: 0});
		const out = [...document.body.querySelectorAll('main *:not(option)')].filter((e) => e.getBoundingClientRect().right > 1033);
		document.title = out.length + ' ' + (out[0]?.outerHTML ?? '').slice(0, 80).replaceAll('<', ' ');`))
	if got := regexp.MustCompile(`<title>([^<]*)</title>`).FindStringSubmatch(dom); got == nil || got[1] != "0 " {
		t.Errorf("beyond the right margin: %q", got)
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "page.html")
	if err := os.WriteFile(name, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	pdf := filepath.Join(dir, "page.pdf")
	cmd := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--no-pdf-header-footer", "--print-to-pdf="+pdf, "file://"+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	raw, err := os.ReadFile(pdf)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(regexp.MustCompile(`/Type ?/Page\b[^s]`).FindAll(raw, -1)); n < 5 || n > 12 { // seven or so on each
		t.Errorf("40 overrides take %d pages of paper", n)
	}
}
