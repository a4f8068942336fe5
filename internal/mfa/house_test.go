package mfa

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheGuardIsKnownByEveryNameThatItsServicesUse(t *testing.T) {
	const (
		account  = "111122223333"
		schedule = "arn:aws:scheduler:us-east-1:" + account + ":schedule/relatch/*"
		group    = "arn:aws:scheduler:us-east-1:" + account + ":schedule-group/relatch"
		one      = "arn:aws:scheduler:us-east-1:" + account + ":schedule/relatch/relatch-O-AAAA"
		rule     = "arn:aws:events:us-east-1:" + account + ":rule/relatch-mfa"
		busRule  = "arn:aws:events:us-east-1:" + account + ":rule/security/relatch-mfa"
		function = "arn:aws:lambda:us-east-1:" + account + ":function:relatch-audit"
		queue    = "arn:aws:sqs:us-east-1:" + account + ":relatch-reenable"
		topic    = "arn:aws:sns:us-east-1:" + account + ":relatch-alerts"
		table    = "arn:aws:dynamodb:us-east-1:" + account + ":table/relatch-ledger"
		trail    = "arn:aws:cloudtrail:us-east-1:" + account + ":trail/relatch"
		roles    = "arn:aws:iam::" + account + ":role/relatch-*"
		groups   = "arn:aws:logs:us-east-1:" + account + ":log-group:/aws/lambda/relatch-*"
	)
	for _, c := range []struct {
		service, arn string
		touch, other []string
	}{
		{
			"scheduler", schedule,
			[]string{"relatch", "arn:aws:scheduler:us-east-1:111122223333:schedule/relatch/relatch-O-AAAA", group, schedule},
			[]string{"default", "relatch-2", "my-relatch", "arn:aws:scheduler:us-east-1:111122223333:schedule/relatch-2/x", "relatch-O-AAAA"},
		},
		{
			"scheduler", group,
			[]string{"relatch", group, "arn:aws:scheduler:us-east-1:111122223333:schedule/relatch/relatch-O-AAAA"},
			[]string{"default", "relatch2", "arn:aws:scheduler:us-east-1:111122223333:schedule/default/relatch"},
		},
		{
			"scheduler", one,
			[]string{"relatch-O-AAAA", "relatch", one},
			[]string{"O-AAAA", "relatch-O-AAAAB", "relatch-O"},
		},
		{
			"events", rule,
			[]string{"relatch-mfa", rule},
			[]string{"relatch-mfa-2", "my-relatch-mfa", "mfa", "relatch", rule + "-2", "arn:aws:events:eu-west-1:111122223333:rule/relatch-mfa"},
		},
		{
			"events", busRule,
			[]string{"relatch-mfa", busRule},
			[]string{"security", "relatch-mfa-2", "arn:aws:events:us-east-1:111122223333:rule/other/relatch-mfa"},
		},
		{
			"lambda", function,
			[]string{
				"relatch-audit", function, "111122223333:function:relatch-audit", "relatch-audit:7", function + ":live",
				"111122223333:function:relatch-audit:live",
			},
			[]string{
				"relatch-audit-2", "my-relatch-audit", "audit", "function", "live:7", "arn:aws:lambda:us-east-1:999988887777:function:relatch-audit",
				"999988887777:function:relatch-audit", function + "-2", "relatch-audit-2:7",
			},
		},
		{
			"sqs", queue,
			[]string{"https://sqs.us-east-1.amazonaws.com/111122223333/relatch-reenable", "relatch-reenable", queue},
			[]string{
				"https://sqs.us-east-1.amazonaws.com/111122223333/relatch-reenable-dlq", "https://sqs.us-east-1.amazonaws.com/111122223333/my-relatch-reenable",
				"https://sqs.us-east-1.amazonaws.com/999988887777/relatch-reenable", "reenable",
			},
		},
		{
			"sns", topic,
			[]string{topic, "relatch-alerts", topic + ":8f3a2f4e-subscription"},
			[]string{topic + "-2", "arn:aws:sns:us-east-1:111122223333:alerts", "alerts"},
		},
		{
			"dynamodb", table,
			[]string{"relatch-ledger", table, table + "/index/open"},
			[]string{"relatch-ledger-copy", "copy-of-relatch-ledger", "ledger", table + "-copy"},
		},
		{
			"cloudtrail", trail,
			[]string{"relatch", trail},
			[]string{"relatch-2", "trail", "arn:aws:cloudtrail:eu-west-1:111122223333:trail/relatch", ""},
		},
		{
			"iam", roles,
			[]string{"relatch-us-east-1-audit", roles, "arn:aws:iam::111122223333:role/relatch-us-east-1-timer"},
			[]string{"relatch", "my-relatch-audit", "arn:aws:iam::111122223333:policy/relatch-us-east-1-audit", "arn:aws:iam::999988887777:role/relatch-us-east-1-audit", ""},
		},
		{
			"logs", groups,
			[]string{"/aws/lambda/relatch-audit", "arn:aws:logs:us-east-1:111122223333:log-group:/aws/lambda/relatch-audit:*"},
			[]string{"relatch-audit", "/aws/lambda/other", "/aws/lambda/relatch"},
		},
	} {
		t.Run(c.service, func(t *testing.T) {
			h := House{Guard: []string{"no ARN", c.arn}}
			for _, named := range c.touch {
				if h.guarded(&Change{Service: c.service, Resources: []string{"something else", named}}) != c.arn {
					t.Errorf("%q does not mean %s", named, c.arn)
				}
				if !strings.HasPrefix(named, "arn:") && h.guarded(&Change{Service: "s3", Resources: []string{named}}) != "" {
					t.Errorf("%q of another service means %s", named, c.arn)
				}
			}
			for _, named := range c.other {
				if h.guarded(&Change{Service: c.service, Resources: []string{named}}) != "" {
					t.Errorf("%q means %s", named, c.arn)
				}
			}
		})
	}
}

func TestEveryChangeHasItsJournal(t *testing.T) {
	h := now().House
	for _, c := range []struct {
		change Change
		want   string
	}{
		{off(t0, TOTP), "user/" + string(thePool) + "/" + string(theSub)},
		{timer(), "user/" + string(thePool) + "/" + string(theSub)},
		{poolChange(), "pool/" + string(thePool)},
		{change(RoleChanged, "DeleteGroup", t0), "pool/" + string(thePool)},
		{Change{Kind: Swept, Pool: thePool}, "pool/" + string(thePool)},
		{Change{Kind: Swept}, "policy"},
		{onRule(admin, "relatch-mfa"), "guard/" + ruleARN},
	} {
		if got := h.Journal(c.change); got != c.want {
			t.Errorf("%s: %s, want %s", c.change.Kind, got, c.want)
		}
	}
}

func TestAPoolLacksWhatItHad(t *testing.T) {
	was := Pool{Mode: ModeOn, Factors: []Factor{TOTP, SMS}, PreToken: true, Groups: []Role{"cloud_admin", "super_admin"}}
	for _, c := range []struct {
		name string
		now  Pool
		want []string
	}{
		{"nothing", was, nil},
		{"more is not weaker", Pool{Mode: ModeOn, Factors: []Factor{SMS, TOTP, Email}, PreToken: true, Groups: []Role{"super_admin", "cloud_admin", "x"}}, nil},
		{"optional", Pool{ModeOptional, was.Factors, true, was.Groups}, []string{"MFA is optional, it was on"}},
		{"everything", Pool{Mode: ModeOff}, []string{
			"MFA is off, it was on", "totp is no longer allowed", "sms is no longer allowed",
			"the pre token generation trigger is gone", "the group cloud_admin is gone", "the group super_admin is gone",
		}},
	} {
		if diff := cmp.Diff(c.want, was.lacks(c.now)); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
	}
}

// told is how the pool's journal stands after the change, and what was said.
func told(s State, c Change, at time.Time) (State, []string) {
	d := Decide(s, c, DefaultPolicy(), at)
	s.Standing = d.Standing
	return s, said(d).Alerts
}

func sweptPool() Change { return Change{Kind: Swept, Pool: thePool} }

func TestAPoolFirstSeenWeakStaysWeakUntilItIsPutRight(t *testing.T) {
	s := poolNow(Pool{Mode: ModeOff, Factors: []Factor{TOTP}})
	s.Standing.Pool = nil
	s, alerts := told(s, poolChange(), t0)
	if !slices.Equal(alerts, []string{"pool_weakened critical triggered"}) {
		t.Errorf("the delivery says %v", alerts)
	}
	s, alerts = told(s, sweptPool(), t0.Add(time.Hour))
	if len(alerts) > 0 {
		t.Errorf("nothing was put right, and the sweep says %v", alerts)
	}
	s.Pool.Mode = ModeOptional
	if _, alerts = told(s, sweptPool(), t0.Add(2*time.Hour)); !slices.Equal(alerts, []string{"pool_weakened critical resolved"}) {
		t.Errorf("it was put right, and the sweep says %v", alerts)
	}
}

func TestASweepTellsOfAWeakPoolWhenNoDeliveryCame(t *testing.T) {
	s, alerts := told(poolNow(Pool{Mode: ModeOff}), sweptPool(), t0)
	if len(alerts) > 0 {
		t.Errorf("at once: %v", alerts)
	}
	s, alerts = told(s, sweptPool(), t0.Add(NotedFor-time.Second))
	if len(alerts) > 0 {
		t.Errorf("too early: %v", alerts)
	}
	s, alerts = told(s, sweptPool(), t0.Add(NotedFor))
	if !slices.Equal(alerts, []string{"pool_weakened critical triggered"}) {
		t.Errorf("after %s: %v", NotedFor, alerts)
	}
	if _, alerts = told(s, sweptPool(), t0.Add(2*NotedFor)); len(alerts) > 0 {
		t.Errorf("again: %v", alerts)
	}
}

func TestAStrongerPoolIsTheMeasureFromThenOn(t *testing.T) {
	s, _ := told(poolNow(Pool{Mode: ModeOn, Factors: []Factor{TOTP, SMS}, PreToken: true}), poolChange(), t0)
	s.Pool = wholePool()
	if _, alerts := told(s, poolChange(), t0); !slices.Equal(alerts, []string{"pool_weakened critical triggered"}) {
		t.Errorf("from on to optional: %v", alerts)
	}
}

func TestThePostureIsToldDailyAndNeverPages(t *testing.T) {
	s := poolNow(wholePool())
	for _, step := range []struct {
		name  string
		after time.Duration
		subs  []Sub
		want  []string
	}{
		{"nobody", 0, nil, nil},
		{"the first", 0, []Sub{"a", "b"}, []string{"posture_gap warning triggered"}},
		{"the same", 2 * day, []Sub{"a", "b"}, nil},
		{"fewer", 2 * day, []Sub{"a"}, []string{"posture_gap warning changed"}},
		{"others, on the same day", 2*day + time.Hour, []Sub{"b"}, nil},
		{"others, a day later", 3 * day, []Sub{"b"}, []string{"posture_gap warning changed"}},
		{"nobody any more", 3*day + time.Hour, nil, []string{"posture_gap warning resolved"}},
		{"still nobody", 4 * day, nil, nil},
	} {
		s.Listed = step.subs
		var alerts []string
		if s, alerts = told(s, sweptPool(), t0.Add(step.after)); !slices.Equal(alerts, step.want) {
			t.Errorf("%s: %v, want %v", step.name, alerts, step.want)
		}
	}
}

func TestOnlyTheFirstCompleteSweepFindsAPosture(t *testing.T) {
	s := but(now(), neverHeld)
	first := Decide(s, level(Swept), DefaultPolicy(), t0)
	if !first.Standing.Posture || len(first.Alerts) > 0 {
		t.Errorf("the first sweep: posture %t, %v", first.Standing.Posture, said(first).Alerts)
	}
	s.Standing = first.Standing
	if later := Decide(but(s, swept), level(Swept), DefaultPolicy(), t0.Add(time.Hour)); len(later.Alerts) > 0 {
		t.Errorf("a later sweep tells of one who is in the posture: %v", said(later).Alerts)
	}
	if event := Decide(but(s, swept), promoted(t0), DefaultPolicy(), t0.Add(time.Hour)); len(event.Alerts) != 1 {
		t.Errorf("an event about him follows the other rules: %v", said(event).Alerts)
	}
	if d := Decide(but(s, has(TOTP)), level(Swept), DefaultPolicy(), t0); d.Standing.Posture {
		t.Error("he enrolled and is still in the posture")
	}
	if d := Decide(but(s, optional), level(Swept), DefaultPolicy(), t0); d.Standing.Posture {
		t.Error("he left the role and is still in the posture")
	}
}

func TestASweepOfAPoolRemembersTheRolesThatItLookedAt(t *testing.T) {
	s, _ := told(poolNow(wholePool()), sweptPool(), t0)
	if diff := cmp.Diff(DefaultPolicy().RequiredRoles, s.Standing.Swept); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestTheLastGoodPolicyIsKept(t *testing.T) {
	good := Decide(policyRead(`["a"]`, ""), Change{Kind: Swept}, DefaultPolicy(), t0)
	if string(good.Standing.Policy) != `["a"]` || len(good.Alerts) > 0 {
		t.Errorf("the first policy: kept %s, %v", good.Standing.Policy, said(good).Alerts)
	}
	s := policyRead(`{"mfa_enforcement":`, defaultDocument)
	s.Standing.Policy = good.Standing.Policy
	if bad := Decide(s, Change{Kind: Swept}, DefaultPolicy(), t0); string(bad.Standing.Policy) != `["a"]` || bad.Problem == "" {
		t.Errorf("after a bad one: kept %s, problem %q", bad.Standing.Policy, bad.Problem)
	}
}

// A deployment after an attack changes the open incident, and does not quiet it.
func TestADeploymentDoesNotQuietAnOpenGuardIncident(t *testing.T) {
	s := guardState()
	s.Standing.Journal = GuardJournal(ruleARN)
	s.Standing = Decide(s, onRule(admin, "relatch-mfa"), DefaultPolicy(), t0).Standing
	d := Decide(s, onRule(Actor{ARN: deploys, Type: Admin}, "relatch-mfa"), DefaultPolicy(), t0.Add(time.Hour))
	want := []Alert{{Kind: GuardTampered, Severity: Critical, State: StateChanged, Incident: GuardJournal(ruleARN)}}
	if diff := cmp.Diff(want, d.Alerts); diff != "" {
		t.Errorf("alerts (-want +got):\n%s", diff)
	}
}
