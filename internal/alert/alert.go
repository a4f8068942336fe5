// Package alert puts a decision's alerts into words: relatch.alert/1, the
// detail of the EventBridge event "MFA Alert". It is read at 3 a.m., so the
// first hundred characters of a title say who can do what because of whom.
//
// It decides nothing: kind, severity, state and incident are mfa's.
//
// Usernames, groups, sessions, tickets and the policy are written by people, some
// of them attackers. In every line made for people (title, what_happened, who,
// what_happens_next, what_to_do, text) such a value is one piece of one line:
// control, format and line-breaking characters are gone, and what mail readers,
// chats and templates take for markup, links or the end of a string is replaced
// ("<" by "‹", a quote or backquote by an apostrophe, "\" by "/", "://" by ": //").
// "&" stays: an entity is never more than text. The other fields are the values
// themselves: whoever shows them must quote them.
package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/mfa"
)

// Schema names the format of Alert.
const Schema = "relatch.alert/1"

// Alert is one message to on-call. Usernames stand here and nowhere else;
// secrets, tokens and other attributes stand nowhere.
type Alert struct {
	Schema string `json:"schema"`
	mfa.Alert
	// Audience is whom the alert is for: rules match it to find the topic.
	Audience        []Audience          `json:"audience"`
	Title           string              `json:"title"` // at most maxTitle bytes
	WhatHappened    string              `json:"what_happened"`
	Who             string              `json:"who,omitempty"` // did it, from where, with which claims
	WhatHappensNext string              `json:"what_happens_next,omitempty"`
	WhatToDo        []string            `json:"what_to_do,omitempty"`
	User            *User               `json:"user,omitempty"`
	Users           []mfa.Sub           `json:"users,omitempty"`
	Actor           *Actor              `json:"actor,omitempty"`
	SourceIP        string              `json:"source_ip,omitempty"`
	Claims          []string            `json:"claims,omitempty"`
	Override        *mfa.RecordOverride `json:"override,omitempty"`
	Justification   *Justification      `json:"justification,omitempty"`
	EventID         string              `json:"event_id,omitempty"`
	EventTime       time.Time           `json:"event_time,omitzero"`
	Account         string              `json:"account,omitempty"`
	Region          string              `json:"region,omitempty"`
	Runbook         string              `json:"runbook"` // a path in the repository
	// Text is all of it for people, as Plain lays it out.
	Text string `json:"text"`
}

// Audience is who an alert is for. The set is closed: add, never rename.
type Audience string

// The audiences.
const (
	OnCall         Audience = "on_call"
	ToActor        Audience = "actor" // who opened the override
	Administrators Audience = "administrators"
)

// Justification is how the alert's override is justified.
type Justification struct {
	Status string `json:"status"` // "justified" or "unjustified"
	// ID and Ticket are those of the justification that counts, or that failed
	// the fewest rules; empty if there is none.
	ID     string    `json:"id,omitempty"`
	Ticket string    `json:"ticket,omitempty"`
	Failed []Failure `json:"failed,omitempty"`
}

// Failure is a rule that is not met, and why in words.
type Failure struct {
	Rule mfa.Rule `json:"rule"`
	Text string   `json:"text"`
}

// User is whom the alert is about.
type User struct {
	Pool     mfa.PoolID `json:"pool_id"`
	Sub      mfa.Sub    `json:"sub"`
	Username string     `json:"username,omitempty"`
	Roles    []mfa.Role `json:"roles,omitempty"`
}

// Actor is who did it.
type Actor struct {
	ARN            string        `json:"arn,omitempty"`
	Name           string        `json:"name"`
	Type           mfa.ActorType `json:"type,omitempty"`
	SourceIdentity string        `json:"source_identity,omitempty"`
}

// runbook is the page that says what to do about alerts of the kind.
func runbook(kind mfa.AlertKind) string { return "infra/runbook/" + string(kind) + ".md" }

// userListed is how many users an alert names; the count is always whole.
const userListed = 50

// Compose puts the alerts of a decision into words. s, c and p are what was
// decided on, now is when.
func Compose(s mfa.State, c mfa.Change, p mfa.Policy, now time.Time, d mfa.Decision) []Alert {
	out := make([]Alert, 0, len(d.Alerts))
	for _, a := range d.Alerts {
		w := words{s: s, c: c, p: p, d: d, a: a, now: now}
		out = append(out, w.alert())
	}
	return out
}

type words struct {
	s   mfa.State
	c   mfa.Change
	p   mfa.Policy
	d   mfa.Decision
	a   mfa.Alert
	now time.Time
}

func (w words) alert() Alert {
	out := Alert{
		Schema: Schema, Alert: w.a, Audience: []Audience{OnCall}, Title: clip(plain(w.title()), maxTitle),
		WhatHappened: plain(w.happened()), Who: plain(w.who()), WhatHappensNext: plain(w.next()),
		SourceIP: w.c.Source, Claims: w.c.Claims, Override: w.d.Override,
		EventID: w.c.EventID, EventTime: w.c.At, Account: w.c.Account, Region: w.c.Region,
		Runbook: runbook(w.a.Kind),
	}
	switch w.a.Kind {
	case mfa.MassDisable: // about the actor, not about the sixth user
		out.Override = nil
	case mfa.DeadlineNear:
		out.Audience = []Audience{ToActor, Administrators}
	case mfa.PostureGap:
		out.Users = w.s.Listed[:min(len(w.s.Listed), userListed)]
	default:
	}
	if w.a.Kind != mfa.MassDisable && w.c.Sub != "" {
		out.User = &User{Pool: w.c.Pool, Sub: w.c.Sub, Username: w.s.User.Username, Roles: w.s.User.Roles}
	}
	if actor := w.actor(); actor.Type != "" {
		out.Actor = &Actor{ARN: actor.ARN, Name: Who(actor), Type: actor.Type, SourceIdentity: actor.SourceIdentity}
	}
	for _, step := range w.todo() {
		out.WhatToDo = append(out.WhatToDo, plain(step))
	}
	out.Justification = w.justification(out.Override)
	out.Text = out.Plain()
	return out
}

// justification is that of the override in the alert.
func (w words) justification(shown *mfa.RecordOverride) *Justification {
	if shown == nil {
		return nil
	}
	out := Justification{Status: shown.Justification}
	if o := w.override(); o != nil && o.ID == shown.ID {
		out.ID, out.Ticket = o.Match.ID, o.Match.Ticket
	}
	for i, rule := range shown.Failed {
		f := Failure{Rule: rule, Text: rule.Says(mfa.Facts{})}
		if i < len(shown.Why) {
			f.Text = shown.Why[i]
		}
		out.Failed = append(out.Failed, f)
	}
	return &out
}

// actor is who opened the override, or else who made the call.
func (w words) actor() mfa.Actor {
	if o := w.override(); o != nil && !w.c.Kind.Delivered() {
		return o.Actor
	}
	return w.c.Actor
}

func (w words) override() *mfa.Override {
	if w.d.Standing.Override != nil {
		return w.d.Standing.Override
	}
	return w.s.Standing.Override
}

// The most characters of a name that a title has room for: a user of a required
// role "can sign in without MFA" within its first hundred.
const (
	userShown  = 40
	rolesShown = 24
	actorShown = 64
)

// user names the user with the roles, those first that require MFA.
func (w words) user() string {
	name := middle(plain(w.username()), userShown)
	roles := mfa.Union(w.p.Requires(w.s.User.Roles), w.s.User.Roles)
	if len(roles) == 0 {
		return name
	}
	all := make([]string, len(roles))
	for i, r := range roles {
		all[i] = plain(string(r))
	}
	shown := strings.Join(all, ", ")
	if length(shown) > rolesShown && len(all) > 1 {
		more := fmt.Sprintf(" +%d", len(all)-1)
		shown = middle(all[0], rolesShown-len(more)) + more
	}
	return name + " (" + middle(shown, rolesShown) + ")"
}

func (w words) username() string {
	if w.s.User.Username != "" {
		return w.s.User.Username
	}
	return string(w.c.Sub)
}

// title says who can do what because of whom. Its first 100 characters decide.
func (w words) title() string {
	var prefix string
	if w.s.House.Observe {
		prefix = "[observe] "
	}
	loud := strings.ToUpper(string(w.a.Severity))
	if w.a.State == mfa.StateResolved {
		loud = "RESOLVED"
	}
	return prefix + loud + " " + w.headline()
}

func (w words) headline() string {
	user, pool, problem := w.user(), w.c.Pool, w.d.Problem
	if w.a.State == mfa.StateResolved {
		return w.resolved()
	}
	switch w.a.Kind {
	case mfa.RequiredRoleWithoutMFA, mfa.UnjustifiedOverride:
		if o := w.override(); o == nil && len(w.s.User.Factors) > 0 {
			return fmt.Sprintf("%s can sign in with %s alone, which the role does not allow", user, Names(w.s.User.Factors))
		}
		if w.s.User.Found && !w.s.User.Enabled {
			return user + " is disabled and has no MFA; " + w.because()
		}
		return user + " can sign in without MFA; " + w.because()
	case mfa.OverrideRepeated:
		return fmt.Sprintf("%s: MFA switched off again while an override is open, by %s", user, by(w.c.Actor))
	case mfa.OverrideOverdue:
		return fmt.Sprintf("%s still has no MFA, %s after the deadline", user, Span(w.now.Sub(w.override().Deadline)))
	case mfa.CannotRestoreUser:
		return user + " stays without MFA: Cognito refuses to switch it on again; the user must enrol"
	case mfa.FactorSwapped:
		return user + " has MFA again, but not the factor of before: is it the user's own?"
	case mfa.PostureGap:
		return fmt.Sprintf("%d users with a required role have no MFA in pool %s", len(w.s.Listed), pool)
	case mfa.PoolWeakened:
		return fmt.Sprintf("pool %s weakened by %s: %s", pool, w.changer(), problem)
	case mfa.MassDisable:
		return fmt.Sprintf("%s is switching MFA off for many users: %d within ten minutes", by(w.c.Actor), mfa.MassUsers)
	case mfa.GuardTampered:
		return fmt.Sprintf("Relatch itself was touched by %s: %s", by(w.c.Actor), problem)
	case mfa.PolicyInvalid:
		return "the MFA policy cannot be used, the last good one holds: " + problem
	case mfa.PolicyWeakened:
		return "the MFA policy was weakened: " + problem
	case mfa.UnreadableEvent:
		return "an event could not be read and is kept: " + problem
	case mfa.BriefOverride:
		return fmt.Sprintf("%s had no MFA for a while; %s switched it off, and it was on again when Relatch looked", user, by(w.c.Actor))
	case mfa.DeadlineNear:
		return user + ": " + w.outlook(w.override())
	case mfa.LockedOutLikely:
		return user + " has MFA again with a device declared lost; cannot sign in until a new one is enrolled"
	}
	return user
}

// changer names who changed a pool; a sweep finds only that somebody did.
func (w words) changer() string {
	if !w.c.Kind.Delivered() {
		return "somebody"
	}
	return by(w.c.Actor)
}

// because says who left the user without MFA, and whether that was justified.
func (w words) because() string {
	o := w.override()
	switch {
	case o == nil && w.s.Standing.EverHeld:
		return "a required role, and no authenticator app is on"
	case o == nil:
		return "a required role, and no authenticator app was ever enrolled"
	}
	if o.Disables == 0 {
		return "nobody knows who switched " + Names(o.Taken) + " off"
	}
	text := fmt.Sprintf("%s switched %s off, %s", by(o.Actor), Names(o.Taken), o.Match)
	if o.Rank >= mfa.MassUsers {
		text += ", as for many users: see " + mfa.ActorKey(o.Actor.ARN, o.OpenedAt)
	}
	return text
}

// outlook says what the deadline brings.
func (w words) outlook(o *mfa.Override) string {
	on, in := o.Restorable(), Span(o.Deadline.Sub(w.now))
	goes := Names(on) + " " + Verb(on, "goes", "go")
	totp := slices.Contains(on, mfa.TOTP)
	switch {
	case len(on) == 0 && !w.s.Pool.PreToken:
		return fmt.Sprintf("in %s %s cannot be switched on, no factor: sign-in stays open", in, Names(o.Taken))
	case len(on) == 0: // whose trigger that is, and whether it blocks, is not known
		return fmt.Sprintf("in %s %s cannot be switched on, no factor: sign-in stays blocked or open", in, Names(o.Taken))
	case w.s.House.Observe:
		return fmt.Sprintf("%s would go on in %s; Relatch only observes", Names(on), in)
	case totp && o.Verified:
		return fmt.Sprintf("%s on in %s with the phone enrolled meanwhile", goes, in)
	case o.Match.Cause == mfa.LostDevice:
		return fmt.Sprintf("%s on in %s with the old phone, declared lost: no sign-in without it", goes, in)
	case totp:
		return fmt.Sprintf("%s on in %s with the old phone", goes, in)
	default:
		return fmt.Sprintf("%s on in %s as before", goes, in)
	}
}

func (w words) resolved() string {
	switch w.a.Kind {
	case mfa.PostureGap:
		return "every user with a required role has MFA in pool " + string(w.c.Pool)
	case mfa.PoolWeakened:
		return fmt.Sprintf("pool %s is as it was", w.c.Pool)
	case mfa.PolicyInvalid:
		return "the MFA policy can be used again"
	default:
	}
	if !w.s.User.Found {
		return w.user() + " was deleted"
	}
	if w.d.Override != nil && w.d.Override.Closed == mfa.Restored {
		return w.user() + " has MFA again, switched on by Relatch"
	}
	if w.d.Override != nil {
		return w.user() + " has MFA again"
	}
	if len(w.p.Requires(w.s.User.Roles)) == 0 {
		return w.user() + " no longer holds a role that requires MFA"
	}
	return w.user() + " has MFA now"
}

func (w words) happened() string {
	o, problem := w.override(), w.d.Problem
	var text string
	switch {
	case w.a.Kind == mfa.GuardTampered: // whose problem names the call
		return clock(w.c.At) + " " + problem
	case w.a.Kind == mfa.PolicyInvalid, w.a.Kind == mfa.PolicyWeakened:
		text = clock(w.now) + " Relatch read mfa.required_roles"
	case w.a.Kind == mfa.UnreadableEvent:
		text = clock(w.now) + " a delivery came"
	case w.c.EventName != "":
		text = clock(w.c.At) + " " + w.c.EventName
		if w.c.Pool != "" {
			text += ", pool " + string(w.c.Pool)
		}
	case o != nil:
		text = fmt.Sprintf("%s %s off, pool %s; %s ", clock(o.OpenedAt), Names(o.Taken), w.c.Pool, clock(w.now))
		if w.closed() && w.s.User.Found {
			text += "on again"
		} else {
			text += "Relatch looked"
		}
	default:
		text = clock(w.now) + " Relatch looked"
	}
	if name := plain(w.username()); length(name) > userShown && w.a.Kind != mfa.MassDisable {
		text += ", user " + name
	}
	if problem != "" {
		text += ": " + problem
	}
	return text
}

// who says by whom, from where and with which claims.
func (w words) who() string {
	a := w.actor()
	text := a.ARN[strings.LastIndexByte(a.ARN, ':')+1:]
	switch {
	case a.Type == "" && w.override() == nil:
		return ""
	case text == "":
		text = by(a)
	}
	if a.SourceIdentity != "" {
		text += ", source identity " + a.SourceIdentity
	}
	if w.c.Kind.Delivered() && w.c.Source != "" {
		text += " from " + w.c.Source
	}
	claims := make([]string, len(w.c.Claims))
	for i, ticket := range w.c.Claims {
		claims[i] = ticket + " (" + w.claim(ticket) + ")"
	}
	if len(claims) > 0 {
		text += "; claims " + strings.Join(claims, ", ")
	}
	return text
}

// claim says what is known of a ticket that the actor claimed: nothing, as a
// rule, because that it was claimed proves nothing.
func (w words) claim(ticket string) string {
	for _, j := range w.s.Justifications {
		switch {
		case j.Ticket != ticket:
		case j.TicketOf == nil:
			return "on record"
		case j.TicketOf.At.UTC().Year() == w.now.UTC().Year():
			return "used " + j.TicketOf.At.UTC().Format("2 Jan") + " for another user"
		default:
			return "used " + j.TicketOf.At.UTC().Format("2 Jan 2006") + " for another user"
		}
	}
	return "unproven"
}

// closed reports whether the alert is about an override that has ended.
func (w words) closed() bool { return w.d.Override != nil && w.d.Override.Closed != "" }

// next says what happens by itself.
func (w words) next() string {
	o := w.override()
	switch {
	case w.a.State == mfa.StateResolved:
		return ""
	case w.a.Kind == mfa.MassDisable && w.s.House.Observe:
		return "Nothing: Relatch only observes."
	case w.a.Kind == mfa.MassDisable:
		return "Each user's MFA comes on again at the user's own deadline."
	case w.a.Kind == mfa.FactorSwapped && w.a.Severity != mfa.Info:
		return "Nothing: a person must look."
	case w.a.Kind == mfa.RequiredRoleWithoutMFA && o == nil && w.a.Severity == mfa.Warning && !w.s.House.Observe:
		return fmt.Sprintf("Resolves when the user has enrolled. Critical after %s.", Span(mfa.CriticalAfter))
	case w.a.Kind == mfa.RequiredRoleWithoutMFA && o == nil && !w.closed():
		return "Resolves when the user has enrolled."
	case w.a.Kind == mfa.PoolWeakened:
		return "Resolves when it is put back."
	case w.a.Kind == mfa.GuardTampered && w.a.Severity != mfa.Info:
		return "Nothing: a person must look."
	case w.a.Kind == mfa.PolicyInvalid:
		return "Resolves when the record can be read and used."
	case w.a.Kind == mfa.PolicyWeakened:
		return "It holds now."
	case o == nil, w.closed():
		return ""
	case o.Unrestorable:
		return "Nothing: open until the user enrols. Relatch looks at every sweep."
	case w.s.House.Observe:
		would := "would end"
		if !o.Deadline.After(w.now) {
			would = "would have ended"
		}
		return fmt.Sprintf("Nothing: Relatch only observes. It %s this %s.", would, w.when(o.Deadline))
	case w.a.Kind == mfa.OverrideOverdue:
		return "Relatch tries again at every sweep."
	case !o.Deadline.After(w.now):
		return "Its time is over: Relatch ends it now, or else at the next sweep."
	case len(o.Restorable()) == 0:
		return fmt.Sprintf("%s Relatch tries, but what %s %s was deleted: open until the user enrols.", w.when(o.Deadline), Names(o.Taken), Verb(o.Taken, "needs", "need"))
	}
	text := fmt.Sprintf("%s on %s", Names(o.Restorable()), w.when(o.Deadline))
	if w.p.SignOut || w.s.Standing.SignOut {
		text += ", signed out"
	}
	switch {
	case o.Verified && o.Required && !o.Match.Justified():
		text += ", then a person must look: a token was verified meanwhile"
	case w.a.State != mfa.StateNoted:
		text += ", then this resolves"
	}
	text += "."
	switch until, quieter := w.justifiable(); {
	case quieter == "", !until.After(w.now):
	case w.unapproved():
		text += fmt.Sprintf(" Approved by %s: becomes %s.", w.when(until), quieter)
	default:
		text += fmt.Sprintf(" Justified by %s: becomes %s.", w.when(until), quieter)
	}
	return text
}
