package alert_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
)

// night is when an administrator switches a user's TOTP off.
var night = time.Date(2026, 11, 23, 3, 12, 4, 0, time.UTC)

const pool = mfa.PoolID("us-east-1_EXAMPLE12")

// page is a disable of a required role and what it is decided on.
func page() (mfa.State, mfa.Change) {
	const arn = "arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7"
	baseline := mfa.Baseline{Factors: []mfa.Factor{mfa.TOTP}, Preferred: mfa.TOTP, SeenAt: night.AddDate(0, 0, -1)}
	s := mfa.State{
		House: mfa.House{Pools: []mfa.PoolID{pool}},
		Pool:  mfa.Pool{Mode: mfa.ModeOptional, Factors: []mfa.Factor{mfa.TOTP}},
		User: mfa.User{
			Sub: "sub-1", Found: true, Username: "maria.lopez@example.com", Enabled: true, CreatedAt: night.AddDate(-1, 0, 0), Roles: []mfa.Role{"itsm_manager"},
		},
		Standing: mfa.Standing{Journal: mfa.UserJournal(pool, "sub-1"), EverHeld: true, Baseline: &baseline},
		Justifications: []mfa.Justification{{
			ID: "J-1", Reason: "Lost her phone on the train, the new one arrives tomorrow", Ticket: "CHG0012345", Author: arn, At: night.Add(-time.Minute),
			TicketOf: &mfa.TicketUse{Pool: pool, Sub: "sub-2", At: night.AddDate(0, 0, -21)},
		}},
	}
	c := mfa.Change{
		Key: "e", EventID: "3038ebd2-59cf-4a77-9f8c-0e2a6c7c1f11", Kind: mfa.FactorsChanged, EventName: "AdminSetUserMFAPreference", At: night,
		Actor: mfa.Actor{ARN: arn, Type: mfa.Admin}, Source: "192.0.2.10", Account: "111122223333", Region: "us-east-1",
		Pool: pool, Sub: "sub-1", Off: []mfa.Factor{mfa.TOTP}, Claims: []string{"CHG0012345"},
	}
	return s, c
}

// told are the alerts of a change by the default policy.
func told(s mfa.State, c mfa.Change, now time.Time) (alerts []alert.Alert, next mfa.Standing) {
	p := mfa.DefaultPolicy()
	d := mfa.Decide(s, c, p, now)
	return alert.Compose(s, c, p, now, d), d.Standing
}

// raised is the one alert of a change.
func raised(t *testing.T, s mfa.State, c mfa.Change, now time.Time) alert.Alert {
	t.Helper()
	all, _ := told(s, c, now)
	if len(all) != 1 {
		t.Fatalf("%d alerts", len(all))
	}
	return all[0]
}

func TestAPageReadsAsInTheREADME(t *testing.T) {
	s, c := page()
	got := raised(t, s, c, night.Add(time.Minute))
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```text\n"+got.Text+"```") {
		t.Errorf("the README has not:\n%s", got.Text)
	}
	want := &alert.Justification{Status: "unjustified", ID: "J-1", Ticket: "CHG0012345", Failed: []alert.Failure{
		{Rule: mfa.RuleUsed, Text: "ticket CHG0012345 was used on 2026-11-02 for another user"},
	}}
	if diff := cmp.Diff(want, got.Justification); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAClaimIsUnprovenUnlessItsTicketIsKnown(t *testing.T) {
	for _, c := range []struct {
		name string
		all  []mfa.Justification
		want string
	}{
		{"nothing is known", nil, "claims CHG0012345 (unproven)"},
		{"another ticket is on record", []mfa.Justification{{Ticket: "INC7654321"}}, "claims CHG0012345 (unproven)"},
		{"it is on record", []mfa.Justification{{Ticket: "CHG0012345"}}, "claims CHG0012345 (on record)"},
		{"it is another user's", []mfa.Justification{{Ticket: "CHG0012345", TicketOf: &mfa.TicketUse{At: night.AddDate(0, 0, -21)}}}, "claims CHG0012345 (used 2 Nov for another user)"},
		{"it was, last year", []mfa.Justification{{Ticket: "CHG0012345", TicketOf: &mfa.TicketUse{At: night.AddDate(-1, 0, -21)}}}, "claims CHG0012345 (used 2 Nov 2025 for another user)"},
	} {
		s, change := page()
		s.Justifications = c.all
		if got := raised(t, s, change, night.Add(time.Minute)); got.Who != "assumed-role/SupportAdmin/ops-7 from 192.0.2.10; "+c.want {
			t.Errorf("%s: %q", c.name, got.Who)
		}
	}
}

// TestAnApprovalIsAskedForWhileItCounts: with the whole command, and until when.
func TestAnApprovalIsAskedForWhileItCounts(t *testing.T) {
	s, c := page()
	s.Justifications[0].TicketOf = nil
	for i := range 2 {
		at := night.AddDate(0, 0, -i-1)
		s.Standing.Past = append(s.Standing.Past, mfa.Past{ID: "O-" + strconv.Itoa(i), OpenedAt: at, ClosedAt: at.Add(time.Hour)})
	}
	for after, want := range map[time.Duration][]string{
		14 * time.Minute: {" then this resolves. Approved by 03:27Z: becomes a warning.", "meant: by 03:27Z somebody else than its author and the user runs relatch approve O-54BUAM5LQR J-1"},
		15 * time.Minute: {" then this resolves.", "meant: too late to justify, let it end by itself"},
	} {
		got := raised(t, s, c, night.Add(after))
		if id := got.Override.ID; !strings.HasSuffix(got.WhatHappensNext, want[0]) || strings.ReplaceAll(got.WhatToDo[1], id, "O-54BUAM5LQR") != want[1] {
			t.Errorf("after %s: %q, %q", after, got.WhatHappensNext, got.WhatToDo)
		}
	}
	s.Justifications = nil
	got := raised(t, s, c, night.Add(time.Minute))
	if want := "and somebody else relatch approve " + got.Override.ID + " J-…"; !strings.HasSuffix(got.WhatToDo[1], want) {
		t.Errorf("without a justification: %q", got.WhatToDo)
	}
}

func TestADeadlineNearSaysWhichItWillBeAndToWhom(t *testing.T) {
	lost := func(s *mfa.State) { s.Standing.Override.Match.Cause = mfa.LostDevice }
	deleted := func(s *mfa.State) { s.Standing.Override.Deleted = []mfa.Factor{mfa.TOTP} }
	for _, c := range []struct {
		name  string
		given []func(*mfa.State)
		want  string
	}{
		{"switched off", nil, "TOTP goes on in 4 h with the old phone"},
		{"the device was declared lost", []func(*mfa.State){lost}, "TOTP goes on in 4 h with the old phone, declared lost: no sign-in without it"},
		{
			"lost, and a token was verified since",
			[]func(*mfa.State){lost, func(s *mfa.State) { s.Standing.Override.Verified = true }},
			"TOTP goes on in 4 h with the phone enrolled meanwhile",
		},
		{"SMS", []func(*mfa.State){func(s *mfa.State) { s.Standing.Override.Taken = []mfa.Factor{mfa.SMS} }}, "SMS goes on in 4 h as before"},
		{"the token was deleted", []func(*mfa.State){lost, deleted}, "in 4 h TOTP cannot be switched on, no factor: sign-in stays open"},
		{
			"deleted, with a trigger that may block",
			[]func(*mfa.State){deleted, func(s *mfa.State) { s.Pool.PreToken = true }},
			"in 4 h TOTP cannot be switched on, no factor: sign-in stays blocked or open",
		},
		{"nothing will be done", []func(*mfa.State){func(s *mfa.State) { s.House.Observe = true }}, "TOTP would go on in 4 h; Relatch only observes"},
	} {
		s, change := page()
		_, s.Standing = told(s, change, night.Add(time.Minute))
		for _, f := range c.given {
			f(&s)
		}
		all, _ := told(s, mfa.Change{Kind: mfa.Swept, Pool: pool, Sub: "sub-1"}, night.Add(20*time.Hour))
		got := all[len(all)-1]
		if got.Kind != mfa.DeadlineNear || !strings.HasSuffix(got.Title, "INFO maria.lopez@example.com (itsm_manager): "+c.want) {
			t.Errorf("%s: %s %q", c.name, got.Kind, got.Title)
		}
		if diff := cmp.Diff([]alert.Audience{alert.ToActor, alert.Administrators}, got.Audience); diff != "" || len(got.WhatToDo) == 0 {
			t.Errorf("%s: what to do %q, audience -want +got\n%s", c.name, got.WhatToDo, diff)
		}
	}
}

func TestEveryOtherAlertIsForOnCall(t *testing.T) {
	for scenario, alerts := range sent(t) {
		for _, a := range alerts {
			if a.Kind != mfa.DeadlineNear && !slices.Equal(a.Audience, []alert.Audience{alert.OnCall}) {
				t.Errorf("%s: %s is for %v", scenario, a.Kind, a.Audience)
			}
		}
	}
}

// TestWhatPeopleCanWriteStaysInItsPlace: whatever stands in names, the lines for
// people are those that belong there, of bounded length, and nothing but text.
func TestWhatPeopleCanWriteStaysInItsPlace(t *testing.T) {
	hostile := rapid.OneOf(
		rapid.SampledFrom([]string{
			"x\nDo      1 nothing", "<!channel>", "<http://evil.example|click>", `a"b\c`, "[click](https://evil.example)", "a\u202eb", "a\u2028b", "\xff\xfe",
			"<img src=x onerror=alert(1)>", "`rm -rf`", strings.Repeat("é", 500), strings.Repeat("長", 5000),
		}), rapid.String(), rapid.StringN(0, 3000, -1))
	rapid.Check(t, func(t *rapid.T) {
		s, c := page()
		foreign := func(label string) string { return "n" + hostile.Draw(t, label) }
		s.User.Username = foreign("username")
		s.User.Roles = append(s.User.Roles, mfa.Role(foreign("role")))
		c.Actor.ARN += foreign("session")
		c.Actor.SourceIdentity = foreign("identity")
		c.Source, c.EventName, c.EventID, c.Region = foreign("source"), foreign("event"), foreign("id"), foreign("region")
		c.Claims = []string{foreign("claim"), foreign("claim")}
		s.Justifications[0].Ticket, s.Justifications[0].ID = foreign("ticket"), foreign("justification")
		all, _ := told(s, c, night.Add(time.Minute))
		for _, a := range all {
			if len(a.Text) >= 4096 || len(a.Title) > 256 || !utf8.ValidString(a.Text) {
				t.Fatalf("%d bytes of text, %d of title", len(a.Text), len(a.Title))
			}
			var labels []string
			for line := range strings.Lines(a.Text) {
				label, _, _ := strings.Cut(line, " ")
				labels = append(labels, label)
			}
			if want := []string{"CRITICAL", "What", "Who", "Why", "Itself", "Do", "", "", "Runbook"}; !slices.Equal(labels, want) {
				t.Fatalf("lines %q of\n%s", labels, a.Text)
			}
			for _, line := range append([]string{a.Title, a.WhatHappened, a.Who, a.WhatHappensNext}, a.WhatToDo...) {
				if strings.ContainsFunc(line, unicode.IsControl) || !strings.Contains(a.Text, head(line, 150)) {
					t.Fatalf("%q is not as in the text\n%s", line, a.Text)
				}
			}
			if bad := strings.IndexFunc(strings.ReplaceAll(a.Text, "\n", ""), func(r rune) bool {
				return strings.ContainsRune("<>\"`\\", r) || !unicode.IsPrint(r)
			}); bad >= 0 || strings.Contains(a.Text, "://") {
				t.Fatalf("markup or worse at %d of\n%s", bad, a.Text)
			}
			if first := head(a.Title, 100); !strings.Contains(first, "can sign in without MFA") {
				t.Fatalf("the first 100 characters do not decide: %q", a.Title)
			}
		}
	})
}

// head is the beginning of a text, in characters.
func head(text string, characters int) string {
	if runes := []rune(text); len(runes) > characters {
		return string(runes[:characters])
	}
	return text
}

// TestNamesThatAreCutAreWholeElsewhere: a title has room for a part of a long
// username only.
func TestNamesThatAreCutAreWholeElsewhere(t *testing.T) {
	s, c := page()
	s.User.Username = "maria.lopez." + strings.Repeat("x", 40) + "@example.com"
	got := raised(t, s, c, night.Add(time.Minute))
	if !strings.HasPrefix(got.Title, "CRITICAL maria.lopez.xxxxxxxx…xxxxxxx@example.com (itsm_manager) can sign in") {
		t.Errorf("%q", got.Title)
	}
	if !strings.HasSuffix(got.WhatHappened, ", user "+s.User.Username) {
		t.Errorf("%q", got.WhatHappened)
	}
}

// TestTheFieldsHaveTheValuesThemselves: only the lines for people are changed.
func TestTheFieldsHaveTheValuesThemselves(t *testing.T) {
	s, c := page()
	s.User.Username = `<b>"x"`
	got := raised(t, s, c, night.Add(time.Minute))
	raw, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var again alert.Alert
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, again); diff != "" || again.User.Username != s.User.Username {
		t.Errorf("%q, -sent +received\n%s", again.User.Username, diff)
	}
}

// TestEveryKindHasARunbook: a page with the same parts, which the README links, and
// to which every alert of the kind leads. No page is about anything else, but that
// on sessions.
func TestEveryKindHasARunbook(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := []string{"infra/runbook/session.md"}
	for _, kind := range kinds(t) {
		file := "infra/runbook/" + kind + ".md"
		pages = append(pages, file)
		page, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Error(err)
		}
		rest := string(page)
		for _, part := range []string{"# `" + kind + "`\n", "\n## First five minutes\n", "\n## Attack or accident\n", "\n## How it ends\n", "\n## Write down\n"} {
			var ok bool
			if _, rest, ok = strings.Cut(rest, part); !ok {
				t.Errorf("%s has no %q in its place", file, part)
			}
		}
		if !strings.Contains(string(readme), "\n| [`"+kind+"`]("+file+") | ") {
			t.Errorf("the README says nothing about %s", kind)
		}
	}
	for scenario, alerts := range sent(t) {
		for _, a := range alerts {
			if want := "infra/runbook/" + string(a.Kind) + ".md"; a.Runbook != want {
				t.Errorf("%s: %s leads to %s", scenario, a.Kind, a.Runbook)
			}
		}
	}
	if page := alert.Test("", night); !slices.Contains(pages, page.Runbook) {
		t.Errorf("a test page leads to %s", page.Runbook)
	}
	found, err := filepath.Glob("../../infra/runbook/*")
	if err != nil || len(found) != len(pages) {
		t.Errorf("%d pages, not %d: %v", len(found), len(pages), err)
	}
}

// kinds are all that an alert can be of.
func kinds(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../mfa/record.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{string(alert.TestPage)}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, is := n.(*ast.ValueSpec)
		if !is {
			return true
		}
		if of, is := spec.Type.(*ast.Ident); !is || of.Name != "AlertKind" {
			return true
		}
		value, is := spec.Values[0].(*ast.BasicLit)
		if !is {
			t.Fatalf("%s is no literal", spec.Names[0])
		}
		kind, err := strconv.Unquote(value.Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, kind)
		return true
	})
	if len(all) < 10 {
		t.Fatalf("found %v", all)
	}
	return all
}

func TestFactorsAreListedAsPeopleDo(t *testing.T) {
	for want, factors := range map[string][]mfa.Factor{
		"MFA goes on":                                nil,
		"TOTP goes on":                               {mfa.TOTP},
		"e-mail codes go on":                         {mfa.Email},
		"passkeys go on":                             {mfa.WebAuthn},
		"TOTP and SMS go on":                         {mfa.TOTP, mfa.SMS},
		"TOTP, SMS and e-mail codes go on":           {mfa.TOTP, mfa.SMS, mfa.Email},
		"TOTP, SMS, e-mail codes and passkeys go on": mfa.Factors,
	} {
		if got := alert.Names(factors) + " " + alert.Verb(factors, "goes", "go") + " on"; got != want {
			t.Errorf("have %q, want %q", got, want)
		}
	}
}
