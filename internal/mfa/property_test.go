package mfa

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The properties are checked on random states, which need not be reachable, and
// on random histories of a model user, which are.

func drawFactors(t *rapid.T, label string) []Factor {
	return Both(Factors, rapid.SliceOfDistinct(rapid.SampledFrom(Factors), rapid.ID).Draw(t, label))
}

func drawRoles(t *rapid.T, label string) []Role {
	return rapid.SliceOfDistinct(rapid.SampledFrom([]Role{"itsm_manager", "viewer", "super_admin"}), rapid.ID).Draw(t, label)
}

// drawTime is a moment in the days around t0, often one at which something is due.
func drawTime(t *rapid.T, label string) time.Time {
	return t0.Add(rapid.OneOf(
		rapid.SampledFrom([]time.Duration{0, NotedFor, 20 * time.Hour, 23 * time.Hour, day, day + OverdueAfter, 2 * day, -day}),
		rapid.Map(rapid.IntRange(-2*86400, 3*86400), func(s int) time.Duration { return time.Duration(s) * time.Second }),
	).Draw(t, label))
}

func drawPolicy(t *rapid.T) Policy {
	p, err := ParsePolicy(fmt.Appendf(nil, `{"mfa_enforcement":{"required_roles":["itsm_manager","super_admin"],"grace_period_days":%d},
		"override":{"max_hours":%d,"sign_out":%t,"budget":{"overrides":%d},"justification":{"require_approver":%t}}}`,
		rapid.IntRange(0, 30).Draw(t, "grace"), rapid.IntRange(1, 24).Draw(t, "hours"), rapid.Bool().Draw(t, "sign out"),
		rapid.IntRange(0, 3).Draw(t, "budget"), rapid.Bool().Draw(t, "approver")))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func drawActor(t *rapid.T) Actor {
	return rapid.SampledFrom([]Actor{{}, admin, own(), {ARN: lead, Type: Admin}, {Type: Self}, {Type: Service, ARN: "cognito-idp.amazonaws.com"}}).Draw(t, "actor")
}

func drawJustifications(t *rapid.T) []Justification {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Justification {
		j := reasonable()
		j.ID = rapid.SampledFrom([]string{"J-1", "J-2", "J-3"}).Draw(t, "id")
		j.At = drawTime(t, "justified at")
		j.Cause = rapid.SampledFrom([]Cause{LostDevice, BrokenApp, OtherCause}).Draw(t, "cause")
		j.Approver = rapid.SampledFrom([]string{"", lead, j.Author}).Draw(t, "approver")
		return j
	}), 0, 3).Draw(t, "justifications")
}

func drawChange(t *rapid.T) Change {
	kinds := []Kind{
		"", "unheard_of", NotRelevant, FactorsChanged, FactorsChanged, FactorsChanged, TokenDeleted, TokenVerified, PoolChanged, RoleChanged,
		UserChanged, GuardChanged, Justified, Due, Swept, Swept, Asked,
	}
	c := Change{
		Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), At: drawTime(t, "eventTime"), Actor: drawActor(t),
		Pool:   rapid.SampledFrom([]PoolID{thePool, thePool, thePool, "", "us-east-1_OTHER"}).Draw(t, "pool"),
		Sub:    rapid.SampledFrom([]Sub{theSub, theSub, theSub, ""}).Draw(t, "sub"),
		Failed: rapid.SampledFrom([]string{"", "", "", "AccessDenied"}).Draw(t, "errorCode"),
		Off:    drawFactors(t, "off"), On: drawFactors(t, "on"), Masked: rapid.Bool().Draw(t, "masked"), Timer: rapid.Bool().Draw(t, "timer"),
		EventName: rapid.SampledFrom([]string{"AdminSetUserMFAPreference", "DeleteGroup"}).Draw(t, "name"),
	}
	if c.Kind == GuardChanged {
		c.Service, c.Resources = "events", []string{"relatch-mfa"}
	}
	return c
}

func drawMoment(t *rapid.T, label string) time.Time {
	if rapid.Bool().Draw(t, label+" is set") {
		return drawTime(t, label)
	}
	return time.Time{}
}

func drawOverride(t *rapid.T) *Override {
	o := Override{
		ID: "O-7", OpenedAt: drawTime(t, "opened"), SeenAt: drawTime(t, "seen"), Disables: rapid.IntRange(0, 3).Draw(t, "disables"),
		Actor: drawActor(t), Roles: drawRoles(t, "roles then"), Taken: drawFactors(t, "taken"), Rank: rapid.IntRange(0, MassUsers+1).Draw(t, "rank then"),
		Repeated: rapid.Bool().Draw(t, "repeated"), Overdue: rapid.Bool().Draw(t, "overdue"), Verified: rapid.Bool().Draw(t, "verified"),
		Unrestorable: rapid.Bool().Draw(t, "unrestorable"), Tried: rapid.Bool().Draw(t, "tried"), AskedAt: drawMoment(t, "asked"),
		Match: rapid.SampledFrom([]Match{{}, {ID: "J-1"}, {ID: "J-1", Failed: []Rule{RuleTicket}}, {ID: "J-2", Cause: LostDevice}}).Draw(t, "match"),
	}
	o.Deadline = o.OpenedAt.Add(time.Duration(rapid.IntRange(1, MaxHours).Draw(t, "lasts")) * time.Hour)
	if rapid.Bool().Draw(t, "has a baseline then") {
		o.Before = &Baseline{Factors: drawFactors(t, "baseline then"), Preferred: TOTP, SeenAt: t0}
	}
	return &o
}

func drawStanding(t *rapid.T) Standing {
	s := Standing{
		Journal: UserJournal(thePool, theSub), EverHeld: rapid.Bool().Draw(t, "ever held"), NotedAt: drawMoment(t, "noted"),
		Lost: drawFactors(t, "lost"), Posture: rapid.Bool().Draw(t, "posture"), Number: 7, SignOut: rapid.Bool().Draw(t, "owes a sign-out"),
	}
	if rapid.Bool().Draw(t, "has a baseline") {
		s.Baseline = &Baseline{Factors: drawFactors(t, "baseline"), Preferred: TOTP, SeenAt: t0}
	}
	if rapid.Bool().Draw(t, "is open") {
		s.Override = drawOverride(t)
	}
	if rapid.Bool().Draw(t, "has a past") {
		from := drawTime(t, "past from")
		s.Past = []Past{{ID: "O-6", OpenedAt: from, ClosedAt: from.Add(time.Hour), Justification: "J-3"}}
	}
	for _, key := range []string{s.Journal, overrideIncident("O-7")} {
		if rapid.Bool().Draw(t, "incident "+key) {
			s.Incidents = append(s.Incidents, Incident{
				Key: key, Kind: RequiredRoleWithoutMFA, Since: drawTime(t, "since"),
				Severity: rapid.SampledFrom([]Severity{Info, Warning, Critical}).Draw(t, "severity"),
			})
		}
	}
	if s.Override != nil && rapid.Bool().Draw(t, "is being restored") {
		s.Intention = &Intention{Record: Record{Verdict: Restores}}
	}
	return s
}

func drawCounted(t *rapid.T) []Sub {
	return []Sub{"a", "b", theSub, "d", "e", "f"}[:rapid.IntRange(0, MassUsers).Draw(t, "counted")]
}

func drawState(t *rapid.T) State {
	s := State{
		House: now().House, Pool: Pool{Mode: rapid.SampledFrom([]Mode{ModeOptional, ModeOptional, ModeOn, ModeOff}).Draw(t, "mode")},
		Standing: drawStanding(t), Justifications: drawJustifications(t), Known: rapid.IntRange(0, 9).Draw(t, "known") == 0,
		Counted: drawCounted(t), TimerMissing: rapid.Bool().Draw(t, "timer missing"),
	}
	s.House.Observe = rapid.Bool().Draw(t, "observe")
	if rapid.Bool().Draw(t, "roles were swept") {
		s.Swept = []Role{"itsm_manager", "super_admin"}
	}
	s.User = User{Sub: theSub}
	if rapid.IntRange(0, 9).Draw(t, "gone") > 0 {
		s.User = User{
			Sub: theSub, Found: true, Enabled: rapid.IntRange(0, 4).Draw(t, "disabled") > 0, Federated: rapid.IntRange(0, 9).Draw(t, "federated") == 0,
			CreatedAt: t0.AddDate(0, 0, -rapid.IntRange(0, 40).Draw(t, "age")), Roles: drawRoles(t, "roles"), Factors: drawFactors(t, "factors"),
		}
	}
	return s
}

func snapshot(t *rapid.T, v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// drawOutcomes are results that the actions can have. Reenable is who decides
// unless the action is handed on.
func drawOutcomes(t *rapid.T, s State, d Decision) []Outcome {
	var out []Outcome
	for _, a := range d.Actions {
		result := Done
		switch {
		case a.Do == Schedule || a.Do == Cancel:
		case d.Verdict == Opens:
			result = Handed
		case s.House.Observe:
			result = Would
		case a.Do == Restore:
			result = rapid.SampledFrom([]Result{Done, Refused, Handed, Failed}).Draw(t, "restore")
		}
		out = append(out, Outcome{a, result})
	}
	return out
}

// restored is the user once the decision's restore has that result.
func restored(s State, d Decision, outcomes []Outcome) User {
	u := s.User
	if u.Found && slices.ContainsFunc(outcomes, func(o Outcome) bool { return o.Do == Restore && o.Result == Done }) {
		u.Factors = Both(Factors, Union(u.Factors, d.Restore))
	}
	return u
}

func TestDecideIsTotalAndLeavesItsArgumentsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, c, p, at := drawState(t), drawChange(t), drawPolicy(t), drawTime(t, "now")
		before := snapshot(t, s)
		d := Decide(s, c, p, at)
		decided := snapshot(t, d)
		outcomes := drawOutcomes(t, s, d)
		settled := Settle(s, c, p, at, d, outcomes, restored(s, d, outcomes))
		if snapshot(t, s) != before {
			t.Errorf("the state was changed to\n%s\nfrom\n%s", snapshot(t, s), before)
		}
		if snapshot(t, d) != decided {
			t.Errorf("Settle changed the decision to\n%s\nfrom\n%s", snapshot(t, d), decided)
		}
		for _, d := range []Decision{d, settled} {
			if d.Verdict == "" || d.Reason == "" {
				t.Errorf("verdict %q, reason %q", d.Verdict, d.Reason)
			}
		}
		if again := snapshot(t, Decide(s, c, p, at)); again != decided {
			t.Errorf("the same arguments gave\n%s\nand\n%s", decided, again)
		}
	})
}

func TestDecideIsTotalForThePolicyThatIsNone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if d := Decide(drawState(t), drawChange(t), Policy{}, drawTime(t, "now")); d.Verdict == "" || d.Reason == "" {
			t.Errorf("verdict %q, reason %q", d.Verdict, d.Reason)
		}
	})
}

func TestDecideNeverWeakens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, c, p, at := drawState(t), drawChange(t), drawPolicy(t), drawTime(t, "now")
		d := Decide(s, c, p, at)
		if extra := Without(d.Restore, s.User.Factors); len(extra) < len(d.Restore) {
			t.Errorf("restores %v of a user who has %v", d.Restore, s.User.Factors)
		}
		if o := s.Standing.Override; o != nil {
			had := Union(Union(o.Taken, c.Off), s.Standing.Lost)
			if o.Before != nil {
				had = Union(had, o.Before.Factors)
			}
			if s.Standing.Baseline != nil {
				had = Union(had, s.Standing.Baseline.Factors)
			}
			if extra := Without(d.Restore, had); len(extra) > 0 {
				t.Errorf("restores %v, which nobody took", extra)
			}
		}
		outcomes := drawOutcomes(t, s, d)
		after := restored(s, d, outcomes)
		if d = Settle(s, c, p, at, d, outcomes, after); d.Override == nil || d.Override.Closed == "" || d.Override.Closed == Gone {
			return
		}
		required := len(p.Requires(s.User.Roles)) > 0 || s.Standing.Override != nil && len(p.Requires(s.Standing.Override.Roles)) > 0
		if len(Adequate(after.Factors, required)) == 0 {
			t.Errorf("closed %s, and the user has only %v (required role: %t)", d.Override.Closed, after.Factors, required)
		}
	})
}

func TestObserveModeNeitherPagesNorEndsAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, c, p, at := drawState(t), drawChange(t), drawPolicy(t), drawTime(t, "now")
		s.House.Observe = true
		d := Decide(s, c, p, at)
		d = Settle(s, c, p, at, d, drawOutcomes(t, s, d), s.User)
		for _, a := range d.Alerts {
			if a.Severity == Critical && a.State != StateResolved {
				t.Errorf("%s pages", a.Kind)
			}
		}
		if d.Verdict == Restores && d.Override.Closed == Restored && len(Adequate(s.User.Factors, true)) == 0 {
			t.Error("an override is closed as restored")
		}
	})
}

func TestADisabledUsersOverrideIsToldAtInfo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, c, p, at := drawState(t), drawChange(t), drawPolicy(t), drawTime(t, "now")
		s.User = User{Sub: theSub, Found: true, Roles: drawRoles(t, "the disabled user's roles"), Factors: drawFactors(t, "and factors")}
		s.Counted = nil
		if !c.NamesUser() || c.Sub == "" {
			t.Skip("not about the user")
		}
		d := Decide(s, c, p, at)
		if d.Verdict == Rejects {
			t.Skip("not about the user either")
		}
		outcomes := drawOutcomes(t, s, d)
		d = Settle(s, c, p, at, d, outcomes, restored(s, d, outcomes))
		for _, a := range d.Alerts {
			if a.State != StateResolved && a.Severity != Info {
				t.Errorf("%s %s %s", a.Kind, a.Severity, a.State)
			}
		}
	})
}

func TestDecideConvergesFromWhateverState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := world{State: drawState(t), policy: drawPolicy(t), now: drawTime(t, "now"), refuses: rapid.Bool().Draw(t, "refuses"), unchecked: true}
		w.Known, w.Standing.Intention, w.timer = false, nil, w.now.Add(time.Hour)
		c := drawChange(t)
		if !c.NamesUser() || c.Sub == "" || c.Pool != thePool {
			t.Skip("not about the user")
		}
		w.look(t, c)
		w.look(t, level(Due)) // reenable does what was asked of it before
		w.look(t, level(Swept))
		if r := w.look(t, level(Swept)); r.Kept() {
			t.Errorf("a second sweep at the same moment still does\n%s", snapshot(t, r))
		}
	})
}

// world is a model of one user, whom Relatch looks at.
type world struct {
	State
	policy  Policy
	now     time.Time
	refuses bool // Cognito refuses every restore
	timer   time.Time

	pending   []Change
	delivered []Change
	deadlines map[string]time.Time
	loud      map[string]Severity // open incidents
	pages     map[string]int      // since the incident was last below critical
	unchecked bool                // the standing at the start is not of a history
}

// look is one pass of the worker: decide, act, settle, and do what was asked.
func (w *world) look(t *rapid.T, c Change) Record {
	before := snapshot(t, w.Standing)
	w.Known = c.Key != "" && slices.ContainsFunc(w.delivered, func(d Change) bool { return d.Key == c.Key })
	w.TimerMissing = c.Kind == Swept && w.timer.IsZero()
	if c.Key != "" {
		w.delivered = append(w.delivered, c)
	}
	d := Decide(w.State, c, w.policy, w.now)
	if snapshot(t, w.Standing) != before {
		t.Fatalf("Decide changed the standing it was given")
	}
	outcomes, asked := w.act(d)
	d = Settle(w.State, c, w.policy, w.now, d, outcomes, w.User)
	if _, screened := Screen(w.House, c); !screened { // else there is no journal to write to
		w.Standing = d.Standing
	}
	if !w.unchecked {
		w.check(t, d)
	}
	if asked {
		w.look(t, level(Due))
	}
	return NewRecord(c, d, w.policy, w.now, outcomes)
}

func (w *world) act(d Decision) (outcomes []Outcome, asked bool) {
	for _, a := range d.Actions {
		result := Done
		switch {
		case a.Do == Schedule:
			w.timer = a.At
		case a.Do == Cancel:
			w.timer = time.Time{}
		case d.Verdict == Opens:
			result, asked = Handed, true
		case w.House.Observe:
			result = Would
		case a.Do == Restore && w.refuses:
			result = Refused
		case a.Do == Restore:
			w.User.Factors = Both(Factors, Union(w.User.Factors, d.Restore))
		}
		outcomes = append(outcomes, Outcome{a, result})
	}
	return outcomes, asked
}

func (w *world) check(t *rapid.T, d Decision) {
	if o := d.Override; o != nil {
		if was, ok := w.deadlines[o.ID]; ok && o.Deadline.After(was) {
			t.Errorf("the deadline moved from %s to %s", was, o.Deadline)
		}
		if o.Deadline.Sub(o.OpenedAt) > MaxHours*time.Hour {
			t.Errorf("an override lasts from %s to %s", o.OpenedAt, o.Deadline)
		}
		w.deadlines[o.ID] = o.Deadline
	}
	for _, a := range d.Alerts {
		if a.State == StateNoted {
			continue
		}
		was, open := w.loud[a.Incident]
		switch {
		case open == (a.State == StateTriggered):
			t.Errorf("%s is %s, and open: %t", a.Incident, a.State, open)
		case a.State == StateResolved:
			delete(w.loud, a.Incident)
			continue
		case a.State == StateTriggered && a.Kind == FactorSwapped: // another page: the factor is not the one of before
			w.pages[a.Incident] = 1
		case a.Severity == Critical && was != Critical:
			w.pages[a.Incident]++
		case a.Severity != Critical:
			w.pages[a.Incident] = 0
		}
		w.loud[a.Incident] = a.Severity
		if w.pages[a.Incident] > 1 {
			t.Errorf("%s pages %d times", a.Incident, w.pages[a.Incident])
		}
		if w.House.Observe && a.Severity == Critical {
			t.Errorf("%s pages in observe mode", a.Incident)
		}
	}
	for key, severity := range w.loud {
		if in := w.Standing.incident(key); !strings.HasPrefix(key, "actor/") && (in == nil || in.Severity != severity) {
			t.Errorf("on-call knows %s as %s, the standing has %+v", key, severity, in)
		}
	}
}

// call happens now; its delivery comes whenever it comes.
func (w *world) call(t *rapid.T, c Change) {
	c.At, c.Pool, c.Sub, c.Actor = w.now, thePool, theSub, drawActor(t)
	c.Key = fmt.Sprint("call ", len(w.pending)+len(w.delivered))
	if rapid.Bool().Draw(t, "seen live") {
		w.look(t, c)
		return
	}
	w.pending = append(w.pending, c)
}

func (w *world) disable(t *rapid.T) {
	factors := drawFactors(t, "off")
	w.User.Factors = Without(w.User.Factors, factors)
	w.call(t, Change{Kind: FactorsChanged, EventName: "AdminSetUserMFAPreference", Off: factors})
}

func (w *world) enable(t *rapid.T) {
	factors := drawFactors(t, "on")
	if !w.User.Found {
		return
	}
	w.User.Factors = Both(Factors, Union(w.User.Factors, factors))
	w.call(t, Change{Kind: FactorsChanged, EventName: "AdminSetUserMFAPreference", On: factors})
}

func (w *world) deliver(t *rapid.T) {
	if len(w.pending) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.pending)-1).Draw(t, "which")
	c := w.pending[i]
	w.pending = slices.Delete(w.pending, i, i+1)
	w.look(t, c)
}

func (w *world) deliverAgain(t *rapid.T) {
	if len(w.delivered) == 0 {
		return
	}
	if r := w.look(t, rapid.SampledFrom(w.delivered).Draw(t, "which")); r.Reason != Duplicate && r.Verdict != Rejects {
		t.Errorf("a delivery that came before is %s", r.Reason)
	}
}

// wait lets time pass; a timer that is due on the way is sent.
func (w *world) wait(t *rapid.T) {
	until := w.now.Add(rapid.OneOf(
		rapid.SampledFrom([]time.Duration{time.Second, time.Minute, NotedFor, time.Hour, 4 * time.Hour, day, day + OverdueAfter, 8 * day}),
		rapid.Map(rapid.IntRange(1, 100000), func(s int) time.Duration { return time.Duration(s) * time.Second }),
	).Draw(t, "wait"))
	if !w.timer.IsZero() && !w.timer.After(until) && rapid.IntRange(0, 4).Draw(t, "the timer is lost") > 0 {
		w.now, w.timer = w.timer, time.Time{}
		w.look(t, timer())
	}
	w.now = until
}

func (w *world) sweep(t *rapid.T) {
	if !w.User.Found && !w.Standing.Open() {
		return
	}
	w.look(t, level(Swept))
	if r := w.look(t, level(Swept)); r.Kept() {
		t.Errorf("a second sweep at the same moment still does\n%s", snapshot(t, r))
	}
}

func (w *world) user(t *rapid.T) {
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0:
		w.User = User{Sub: theSub}
	case 1, 2, 3:
		w.User.Enabled = w.User.Found && !w.User.Enabled
	default:
		return
	}
	w.call(t, Change{Kind: UserChanged, EventName: "AdminDisableUser"})
}

func (w *world) roles(t *rapid.T) {
	if roles := drawRoles(t, "roles"); w.User.Found {
		w.User.Roles = roles
		w.call(t, Change{Kind: RoleChanged, EventName: "AdminAddUserToGroup"})
	}
}

func (w *world) justify(t *rapid.T) {
	j := reasonable()
	j.ID = fmt.Sprint("J-", len(w.Justifications))
	j.At, j.Author = w.now, rapid.SampledFrom([]string{admin.ARN, lead}).Draw(t, "author")
	w.Justifications = append(w.Justifications, j)
	w.look(t, level(Justified))
}

func newWorld(t *rapid.T) *world {
	w := &world{
		State: now(), policy: drawPolicy(t), now: t0, refuses: rapid.IntRange(0, 3).Draw(t, "refuses") == 0,
		deadlines: map[string]time.Time{}, loud: map[string]Severity{}, pages: map[string]int{},
	}
	w.House.Observe = rapid.IntRange(0, 3).Draw(t, "observe") == 0
	w.User.CreatedAt = t0.AddDate(0, 0, -rapid.IntRange(0, 10).Draw(t, "age"))
	w.User.Roles = drawRoles(t, "roles at first")
	w.User.Factors = drawFactors(t, "factors at first")
	w.Standing = Standing{Journal: UserJournal(thePool, theSub)}
	if rapid.Bool().Draw(t, "was seen before") {
		w.look(t, level(Swept))
	}
	w.Swept = []Role{"itsm_manager", "super_admin"}
	return w
}

func TestHistoriesConvergeNeverExtendAndPageOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(map[string]func(*rapid.T){
			"disable": w.disable, "enable": w.enable, "deliver": w.deliver, "deliver again": w.deliverAgain, "wait": w.wait, "sweep": w.sweep,
			"user": w.user, "roles": w.roles, "justify": w.justify,
			"verify": func(t *rapid.T) { w.call(t, verified(w.now)) },
			"ask":    func(t *rapid.T) { w.look(t, level(Asked)) },
			"policy": func(t *rapid.T) { w.policy = drawPolicy(t) },
		})
	})
}

func TestEveryHistoryEndsProtectedOrKnown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.House.Observe, w.refuses = false, false
		w.User.Factors = []Factor{TOTP}
		w.look(t, level(Swept))
		t.Repeat(map[string]func(*rapid.T){
			"disable": w.disable, "enable": w.enable, "deliver": w.deliver, "wait": w.wait, "sweep": w.sweep, "roles": w.roles, "justify": w.justify,
		})
		for range 3 { // noted, opened, ended
			w.now = w.now.Add(day)
			w.sweep(t)
		}
		required := len(w.policy.Requires(w.User.Roles)) > 0
		if len(Adequate(w.User.Factors, required)) > 0 || w.Standing.Posture || len(w.Standing.Incidents) > 0 {
			return
		}
		if b := w.Standing.Baseline; w.Standing.Override != nil || b != nil && len(Adequate(b.Factors, required)) > 0 {
			t.Errorf("three days later the user has %v, and nobody knows:\n%s", w.User.Factors, snapshot(t, w.Standing))
		}
	})
}
