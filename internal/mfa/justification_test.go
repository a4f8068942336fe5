package mfa

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// claim is one disable at t0 with what was written about it.
type claim struct {
	actor  Actor
	user   User
	past   []Past
	policy Policy
	all    []Justification
}

func claimed(change ...func(*claim)) claim {
	c := claim{actor: admin, user: theUser(), policy: DefaultPolicy(), all: []Justification{reasonable()}}
	for _, f := range change {
		f(&c)
	}
	return c
}

func (c claim) match() Match { return match(c.all, c.actor, t0, c.user, c.past, c.policy) }

func wrote(change func(*Justification)) func(*claim) {
	return func(c *claim) { change(&c.all[0]) }
}

func spent(ago ...time.Duration) func(*claim) {
	return func(c *claim) {
		for _, d := range ago {
			c.past = append(c.past, Past{ID: "O-" + d.String(), OpenedAt: t0.Add(-d), ClosedAt: t0.Add(-d)})
		}
	}
}

func approvedBy(arn string) func(*claim) {
	return wrote(func(j *Justification) { j.Approver = arn })
}

func approvedAt(after time.Duration) func(*claim) {
	return wrote(func(j *Justification) { j.Approver, j.ApprovedAt = lead, t0.Add(after) })
}

func approvalRequired(c *claim) { c.policy.RequireApprover = true }

const (
	lead = "arn:aws:sts::111122223333:assumed-role/TeamLead/eva"
	day  = 24 * time.Hour
)

type ruleFailed struct {
	name   string
	claim  claim
	failed []Rule
}

// rulesFailed has a row for every rule.
func rulesFailed() []ruleFailed {
	return []ruleFailed{
		{"everything is met", claimed(), nil},
		{"nothing was written", claimed(func(c *claim) { c.all = nil }), []Rule{RuleMissing}},
		{"the user's own disable", claimed(func(c *claim) { c.actor.Type = Self }), []Rule{RuleSelfService}},
		{"somebody else wrote it", claimed(wrote(func(j *Justification) { j.Author = lead })), []Rule{RuleAuthor}},
		{"an unknown actor", claimed(func(c *claim) { c.actor = Actor{} }), []Rule{RuleAuthor}},
		{"fourteen characters", claimed(wrote(func(j *Justification) { j.Reason = "Broken display" })), []Rule{RuleTooShort}},
		{"spaces do not make a text longer", claimed(wrote(func(j *Justification) { j.Reason = "Broken      \n   display" })), []Rule{RuleTooShort}},
		{"fifteen characters", claimed(wrote(func(j *Justification) { j.Reason = "Broken displays" })), nil},
		{"a text that says nothing", claimed(wrote(func(j *Justification) { j.Reason = "please disable mfa for user" })), []Rule{RuleBoilerplate}},
		{"no ticket", claimed(wrote(func(j *Justification) { j.Ticket = "" })), []Rule{RuleTicket}},
		{"a ticket of another form", claimed(wrote(func(j *Justification) { j.Ticket = "CHG0012345 or so" })), []Rule{RuleTicket}},
		{"24 hours before", claimed(wrote(func(j *Justification) { j.At = t0.Add(-day) })), nil},
		{"more than 24 hours before", claimed(wrote(func(j *Justification) { j.At = t0.Add(-day - time.Second) })), []Rule{RuleTooEarly}},
		{"15 minutes after", claimed(wrote(func(j *Justification) { j.At = t0.Add(15 * time.Minute) })), nil},
		{"more than 15 minutes after", claimed(wrote(func(j *Justification) { j.At = t0.Add(15*time.Minute + time.Second) })), []Rule{RuleTooLate}},
		{"used by another override", claimed(func(c *claim) { c.past = []Past{{ID: "O-1", OpenedAt: t0.Add(-time.Hour), Justification: "J-1"}} }), []Rule{RuleUsed}},
		{"with a ticket that was another user's", claimed(wrote(func(j *Justification) { j.TicketOf = &TicketUse{Pool: thePool, Sub: "ben", At: t0.AddDate(0, 0, -21)} })), []Rule{RuleUsed}},
		{"another one was used", claimed(func(c *claim) { c.past = []Past{{ID: "O-1", OpenedAt: t0.Add(-time.Hour), Justification: "J-0"}} }), nil},
		{"within the budget", claimed(spent(time.Hour)), nil},
		{"over the budget", claimed(spent(time.Hour, 2*time.Hour)), []Rule{RuleApprover}},
		{"over the budget until the week is over", claimed(spent(time.Hour, 7*day-time.Second)), []Rule{RuleApprover}},
		{"the week is over", claimed(spent(time.Hour, 7*day)), nil},
		{"overrides after this one cost it nothing", claimed(spent(-time.Hour, -2*time.Hour)), nil},
		{"over the budget and approved", claimed(spent(time.Hour, 2*time.Hour), approvedBy(lead)), nil},
		{"an approver is required", claimed(approvalRequired), []Rule{RuleApprover}},
		{"required and approved", claimed(approvalRequired, approvedBy(lead)), nil},
		{"approved by the author", claimed(approvalRequired, approvedBy(admin.ARN)), []Rule{RuleApprover}},
		{"approved by the author in another role", claimed(approvalRequired, approvedBy("arn:aws:sts::111122223333:assumed-role/TeamLead/ops-7")), []Rule{RuleApprover}},
		{"approved by the user", claimed(approvalRequired, approvedBy("arn:aws:iam::111122223333:user/maria@example.com")), []Rule{RuleApprover}},
		{"approved by the user under the address", claimed(approvalRequired, approvedBy("arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/Maria.Lopez@example.com"), func(c *claim) {
			c.user.Username, c.user.Names = string(c.user.Sub), []string{"maria.lopez@example.com"} // as in pools where the address is the username
		}), []Rule{RuleApprover}},
		{"approved by the user under the sub", claimed(approvalRequired, approvedBy("arn:aws:iam::111122223333:user/"+string(theSub))), []Rule{RuleApprover}},
		{"approved by nobody who has a name", claimed(approvalRequired, approvedBy("  ")), []Rule{RuleApprover}},
		{"approved by the role that the actor has", claimed(approvalRequired, approvedBy("arn:aws:iam::111122223333:role/it/SupportAdmin")), []Rule{RuleApprover}},
		{"approved by another session of the author's role", claimed(approvalRequired, approvedBy(strings.Replace(admin.ARN, "ops-7", "ops-8", 1))), nil},
		{"approved by the actor in another account", claimed(approvalRequired, approvedBy(strings.Replace(admin.ARN, "111122223333", "999988887777", 1))), []Rule{RuleApprover}},
		{"approved by the actor, of somebody else's text", claimed(approvalRequired, approvedBy("arn:aws:sts::111122223333:assumed-role/TeamLead/ops-7"), wrote(func(j *Justification) { j.Author = lead })), []Rule{RuleAuthor, RuleApprover}},
		{"approved 15 minutes after", claimed(approvalRequired, approvedAt(15*time.Minute)), nil},
		{"approved more than 15 minutes after", claimed(approvalRequired, approvedAt(15*time.Minute+time.Second)), []Rule{RuleApprover}},
		{"an approval that is late and that nobody needs", claimed(approvedAt(time.Hour)), nil},
		{"over a budget of nothing", claimed(func(c *claim) { c.policy.Budget = 0 }), []Rule{RuleApprover}},
		{"an override of the same second is of the budget", claimed(spent(0, time.Hour)), []Rule{RuleApprover}},
		{"approved by the user in capitals", claimed(approvalRequired, approvedBy("arn:aws:iam::111122223333:user/Maria@Example.com")), []Rule{RuleApprover}},
		{"approved by the actor behind the author's identity", claimed(approvalRequired, approvedBy(admin.ARN), func(c *claim) {
			c.actor.SourceIdentity = "tom"
			c.all[0].Author = "arn:aws:iam::111122223333:user/tom"
		}), []Rule{RuleApprover}},
		{"approved by the author in another role, in capitals", claimed(approvalRequired, approvedBy("arn:aws:sts::111122223333:assumed-role/TeamLead/OPS-7")), []Rule{RuleApprover}},
		{"written in a session that has the actor's identity for its name", claimed(func(c *claim) {
			c.actor.SourceIdentity = "tom"
			c.all[0].Author = "arn:aws:sts::111122223333:assumed-role/Intern/tom"
		}), []Rule{RuleAuthor}},
		{"approved in a session that has the actor's identity for its name", claimed(approvalRequired, approvedBy("arn:aws:sts::111122223333:assumed-role/Intern/tom"), func(c *claim) {
			c.actor.SourceIdentity = "tom"
		}), []Rule{RuleApprover}},
		{"every failed rule is named", claimed(approvalRequired, wrote(func(j *Justification) {
			*j = Justification{ID: "J-1", Reason: "test", Ticket: "?", Author: lead, At: t0.Add(time.Hour)}
		})), []Rule{RuleAuthor, RuleTooShort, RuleBoilerplate, RuleTicket, RuleTooLate, RuleApprover}},
	}
}

func TestAJustificationIsCheckedByEveryRule(t *testing.T) {
	for _, row := range rulesFailed() {
		t.Run(row.name, func(t *testing.T) {
			got := row.claim.match()
			if diff := cmp.Diff(row.failed, got.Failed); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if got.Justified() != (len(row.failed) == 0) {
				t.Errorf("it is %s", got)
			}
		})
	}
}

func TestWhatATextFailsIsCheckedInOnePlace(t *testing.T) {
	byText := []Rule{RuleTooShort, RuleBoilerplate, RuleTicket}
	for _, row := range rulesFailed() {
		for _, j := range row.claim.all {
			if got, want := Check(j, row.claim.policy), Both(row.failed, byText); !slices.Equal(got, want) {
				t.Errorf("%s: the text fails %v, matched %v", row.name, got, want)
			}
		}
	}
}

func TestAJustificationCanBeTriedBeforeTheNextLook(t *testing.T) {
	for _, row := range rulesFailed() {
		s := Standing{Past: row.claim.past, Override: &Override{Actor: row.claim.actor, OpenedAt: t0}}
		for _, j := range row.claim.all {
			if diff := cmp.Diff(row.claim.match(), s.Try(j, row.claim.user, row.claim.policy)); diff != "" {
				t.Errorf("%s (-matched +tried):\n%s", row.name, diff)
			}
			s.Override = nil
			if m := s.Try(j, row.claim.user, row.claim.policy); m.Justified() || len(m.Failed) > 0 {
				t.Errorf("%s, without an override: %+v", row.name, m)
			}
		}
	}
}

func TestTheJustificationThatFailsFewestRulesCounts(t *testing.T) {
	bad, good := reasonable(), reasonable()
	bad.ID, bad.Ticket = "J-0", "none"
	for _, all := range [][]Justification{{bad, good}, {good, bad}} {
		if m := claimed(func(c *claim) { c.all = all }).match(); m.ID != good.ID || !m.Justified() {
			t.Errorf("%+v, want %s", m, good.ID)
		}
	}
	if m := claimed(func(c *claim) { c.all = []Justification{bad} }).match(); m.ID != bad.ID || m.Justified() {
		t.Errorf("%+v, want %s and what it failed", m, bad.ID)
	}
}

func TestWhatIsJustifiedStaysJustified(t *testing.T) {
	s := opened(justified)
	tighter := DefaultPolicy()
	tighter.RequireApprover = true
	other := reasonable()
	other.ID, other.At = "J-2", t0.Add(time.Minute)
	s.Justifications = append(s.Justifications, other)
	d := Decide(s, level(Justified), tighter, t0.Add(2*time.Minute))
	if m := d.Standing.Override.Match; !m.Justified() || m.ID != "J-1" || len(d.Alerts) > 0 {
		t.Errorf("%+v, alerts %v", m, d.Alerts)
	}
}

func TestALateApprovalLeavesTheOverrideUnjustified(t *testing.T) {
	policy := DefaultPolicy()
	policy.RequireApprover = true
	for after, want := range map[time.Duration]string{15 * time.Minute: "justified", 16 * time.Minute: "unjustified"} {
		s := now()
		s.Justifications = []Justification{reasonable()}
		s.Standing = Decide(s, off(t0, TOTP), policy, t0.Add(time.Minute)).Standing
		s.Justifications[0].Approver, s.Justifications[0].ApprovedAt = lead, t0.Add(after)
		d := Decide(s, level(Justified), policy, t0.Add(after))
		if d.Override.Justification != want || (len(d.Alerts) == 1) != (want == "justified") {
			t.Errorf("after %s it is %s, alerts %v", after, d.Override.Justification, d.Alerts)
		}
	}
}

func TestARecordCarriesTheDigestOfTheJustificationAsMatched(t *testing.T) {
	s := now()
	j := reasonable()
	j.Digest = j.Sum()
	s.Justifications = []Justification{j}
	d := Decide(s, off(t0, TOTP), DefaultPolicy(), t0.Add(time.Minute))
	if d.Override.JustificationDigest != j.Sum() || d.Override.JustificationID != j.ID {
		t.Errorf("opened: %+v", d.Override)
	}
	s.Standing, s.Justifications = d.Standing, nil
	if d = Decide(s, level(Due), DefaultPolicy(), t0.Add(day)); d.Override.JustificationDigest != j.Sum() {
		t.Errorf("restored: %+v", d.Override)
	}
}

func TestASumIsOfEverythingThatIsKept(t *testing.T) {
	first := reasonable()
	first.Approver, first.ApprovedAt = lead, t0
	seen := map[string]string{first.Sum(): "as it is", first.Unapproved().Sum(): "unapproved"}
	for name, change := range map[string]func(*Justification){
		"ID": func(j *Justification) { j.ID += "0" }, "reason": func(j *Justification) { j.Reason += "." }, "ticket": func(j *Justification) { j.Ticket += "0" },
		"cause": func(j *Justification) { j.Cause = LostDevice }, "author": func(j *Justification) { j.Author = lead }, "time": func(j *Justification) { j.At = j.At.Add(time.Second) },
		"approver": func(j *Justification) { j.Approver = admin.ARN }, "approved": func(j *Justification) { j.ApprovedAt = t0.Add(time.Second) },
		"ticket of": func(j *Justification) { j.TicketOf = &TicketUse{Pool: thePool, Sub: "ben", At: t0} },
	} {
		j := first
		change(&j)
		if other, there := seen[j.Sum()]; there {
			t.Errorf("with another %s it has the sum of %s", name, other)
		}
		seen[j.Sum()] = name
	}
	here := first
	here.At, here.ApprovedAt = here.At.In(time.FixedZone("CET", 3600)), here.ApprovedAt.In(time.FixedZone("CET", 3600))
	if here.Digest = "what it was"; here.Sum() != first.Sum() {
		t.Error("the sum depends on the time zone, or on itself")
	}
}

func TestATextThatNamesTheUserIsKnown(t *testing.T) {
	u := User{Username: "maria", Sub: "87a42a58", Names: []string{"Maria.Lopez@example.com", "+12025550100", "ml"}}
	for text, want := range map[string]bool{
		"Maria lost her phone": true, "the phone of maria's": true, "MARIA": true, "mail of maria.lopez@example.com is down": true, "call +12025550100": true,
		"Marianne lost her phone": false, "marianmaria": false, "amaria maria2": false, "ml": false, "sub 87a42a58": false, "": false,
		"mariamaria, then maria": true, "josé_maria": true, "ÉMARIA": false,
	} {
		if got := u.NamedIn(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	if (User{Username: "87a42a58", Sub: "87a42a58"}).NamedIn("sub 87a42a58") || (User{}).NamedIn("anything") {
		t.Error("a sub, or nothing, is a name")
	}
}

func TestAPolicyWithoutATicketPatternJustifiesNothing(t *testing.T) {
	if claimed(func(c *claim) { c.policy = Policy{} }).match().Justified() {
		t.Error("the zero policy justifies an override")
	}
}

func TestBoilerplateIsToldFromReasons(t *testing.T) {
	for _, text := range []string{
		"test test test test", "aaaaaaaaaaaaaaaaaaaa", "please disable mfa for user", "emergency emergency emergency", "business justification",
		"Please temporarily turn off MFA for this user as requested", "1234567890 1234567890", "-----------------", "ああああああああああああああああ", "",
		"Lorem ipsum dolor sit amet", "foo bar baz qux foo bar", "blah blah blah blah", "No reason given at this time", "Not applicable here", "Support purposes, as asked",
		"as discussed with the team", "because I said so", "qwer asdf zxcv uiop", "a b c d e f g h i j k l", "📱📱📱📱📱📱📱📱📱📱📱📱📱📱📱",
		"lost phone lost phone", "Lost phone, LOST PHONE, lost phone", "пожалуйста пожалуйста", "ţešť ţešť ţešť ţešť",
		"ple\u200base dis\u00adable mfa", "te\u2060st p\ufe0flease disab\u3164le", "plеasе disаblе mfа for usеr", "ｐｌｅａｓｅ ｄｉｓａｂｌｅ ｍｆａ", "𝐩𝐥𝐞𝐚𝐬𝐞 𝐝𝐢𝐬𝐚𝐛𝐥𝐞 𝐦𝐟𝐚",
	} {
		if !boilerplate(text) {
			t.Errorf("%q passes", text)
		}
	}
	for _, text := range []string{
		"Lost her phone on the train, the new one arrives tomorrow", "Authenticator app broken after phone update",
		"携帯電話を紛失したため、新しい端末が届くまで無効にします", "Handy im Zug verloren, das neue kommt morgen",
		"Потеряла телефон в поезде, новый придёт завтра", "Téléphone volé hier soir à Lyon",
		"휴대폰을 분실하여 새 기기를 기다립니다", "फ़ोन ट्रेन में खो गया", "โทรศัพท์หายบนรถไฟ", "گوشی را در قطار گم کرده\u200cاست", "Lost\u00a0phone\u2003on\u3000tour 📱",
	} {
		if boilerplate(text) {
			t.Errorf("%q does not pass", text)
		}
	}
}

func TestLengthIsCountedInCharactersNotBytes(t *testing.T) {
	short := claimed(wrote(func(j *Justification) { j.Reason = "携帯電話を紛失した" }))
	if m := short.match(); !slices.Equal(m.Failed, []Rule{RuleTooShort}) {
		t.Errorf("nine characters fail %v, want too_short", m.Failed)
	}
}

func TestOnlyWhatCanBeSeenIsLength(t *testing.T) {
	for text, want := range map[string]bool{
		"Phone lost here": false, "Phone \u2003\n lost": true, "Phone\u200b\u200b\u200b\u200b\u200b lost": true, "Phone lost \u200b \u2060 \u2800 \u3164": true, "": true,
	} {
		if got := shorter(text, 15); got != want {
			t.Errorf("%q is too short: %t", text, got)
		}
	}
}

func TestTheAuthorIsTheActor(t *testing.T) {
	const account = "111122223333"
	session := Actor{ARN: "arn:aws:sts::" + account + ":assumed-role/SupportAdmin/ops-7", Issuer: "arn:aws:iam::" + account + ":role/it/SupportAdmin"}
	person := session
	person.SourceIdentity = "tom"
	for _, c := range []struct {
		name   string
		actor  Actor
		author string
		want   bool
	}{
		{"the same IAM user", Actor{ARN: "arn:aws:iam::" + account + ":user/tom"}, "arn:aws:iam::" + account + ":user/tom", true},
		{"the same role and session", session, session.ARN, true},
		{"the same role, another session", session, strings.Replace(session.ARN, "ops-7", "ops-8", 1), false},
		{"another role, the same session", session, strings.Replace(session.ARN, "SupportAdmin", "Other", 1), false},
		{"the role alone", session, session.Issuer, false},
		{"the source identity", person, "tom", true},
		{"the source identity as a user of the account", person, "arn:aws:iam::" + account + ":user/tom", true},
		{"the source identity as a user of another account", person, "arn:aws:iam::999988887777:user/tom", false},
		{"another source identity", person, "arn:aws:iam::" + account + ":user/tomas", false},
		{"nobody", session, "", false},
		{"an actor without ARN", Actor{SourceIdentity: "tom"}, "tom", false},
	} {
		if got := c.actor.wrote(c.author); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}

func TestAnActorIsKnownAsARoleInWhateverSession(t *testing.T) {
	const role = "arn:aws:iam::111122223333:role/service/relatch-reenable"
	for _, c := range []struct {
		name  string
		actor Actor
		want  bool
	}{
		{"the role itself", Actor{ARN: role}, true},
		{"a session with its issuer", Actor{ARN: "arn:aws:sts::111122223333:assumed-role/relatch-reenable/x", Issuer: role}, true},
		{"a session, whose ARN has no path", Actor{ARN: "arn:aws:sts::111122223333:assumed-role/relatch-reenable/x"}, true},
		{"the same name in another account", Actor{ARN: "arn:aws:sts::999988887777:assumed-role/relatch-reenable/x"}, false},
		{"a longer name", Actor{ARN: "arn:aws:sts::111122223333:assumed-role/relatch-reenable-2/x"}, false},
		{"a session that is called like the role", Actor{ARN: "arn:aws:sts::111122223333:assumed-role/Other/relatch-reenable"}, false},
		{"a user that is called like the role", Actor{ARN: "arn:aws:iam::111122223333:user/relatch-reenable"}, false},
		{"nobody", Actor{}, false},
	} {
		if got := c.actor.Is(role); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
		if c.actor.Is("") {
			t.Errorf("%s is the role without a name", c.name)
		}
	}
}

func TestAnActorsNameIsWhatAPersonRecognises(t *testing.T) {
	for arn, want := range map[string]string{
		admin.ARN: "SupportAdmin/ops-7", "arn:aws:iam::111122223333:user/tom": "tom", "arn:aws:iam::111122223333:root": "root", "": "",
	} {
		if got := (Actor{ARN: arn}).Name(); got != want {
			t.Errorf("%q: %q, want %q", arn, got, want)
		}
	}
}
