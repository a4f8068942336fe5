// Package alert puts a decision's alerts into words: relatch.alert/1, the
// detail of the EventBridge event "MFA Alert". It is read at 3 a.m., so the
// first hundred characters of a title say who can do what because of whom.
//
// It decides nothing: kind, severity, state and incident are mfa's.
package alert

import (
	"fmt"
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
	Title           string              `json:"title"`
	WhatHappened    string              `json:"what_happened"`
	WhatHappensNext string              `json:"what_happens_next,omitempty"`
	WhatToDo        []string            `json:"what_to_do,omitempty"`
	User            *User               `json:"user,omitempty"`
	Users           []mfa.Sub           `json:"users,omitempty"`
	Actor           *Actor              `json:"actor,omitempty"`
	SourceIP        string              `json:"source_ip,omitempty"`
	Claims          []string            `json:"claims,omitempty"`
	Override        *mfa.RecordOverride `json:"override,omitempty"`
	EventID         string              `json:"event_id,omitempty"`
	EventTime       time.Time           `json:"event_time,omitzero"`
	Account         string              `json:"account,omitempty"`
	Region          string              `json:"region,omitempty"`
	Runbook         string              `json:"runbook"`
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

// userListed is how many users an alert names; the count is always whole.
const userListed = 50

// Compose puts the alerts of a decision into words. s and c are what was
// decided on, now is when.
func Compose(s mfa.State, c mfa.Change, d mfa.Decision, now time.Time) []Alert {
	out := make([]Alert, 0, len(d.Alerts))
	for _, a := range d.Alerts {
		w := words{s: s, c: c, d: d, a: a, now: now}
		out = append(out, w.alert())
	}
	return out
}

type words struct {
	s   mfa.State
	c   mfa.Change
	d   mfa.Decision
	a   mfa.Alert
	now time.Time
}

func (w words) alert() Alert {
	out := Alert{
		Schema: Schema, Alert: w.a, Title: w.title(), WhatHappened: w.happened(), WhatHappensNext: w.next(), WhatToDo: w.todo(),
		SourceIP: w.c.Source, Claims: w.c.Claims, Override: w.d.Override,
		EventID: w.c.EventID, EventTime: w.c.At, Account: w.c.Account, Region: w.c.Region,
		Runbook: "README.md#" + strings.ReplaceAll(string(w.a.Kind), "_", "-"),
	}
	if w.a.Kind == mfa.MassDisable { // about the actor, not about the sixth user
		out.Override = nil
	} else if w.c.Sub != "" {
		out.User = &User{Pool: w.c.Pool, Sub: w.c.Sub, Username: w.s.User.Username, Roles: w.s.User.Roles}
	}
	if actor := w.actor(); actor.Type != "" {
		out.Actor = &Actor{ARN: actor.ARN, Name: Who(actor), Type: actor.Type, SourceIdentity: actor.SourceIdentity}
	}
	if w.a.Kind == mfa.PostureGap {
		out.Users = w.s.Listed[:min(len(w.s.Listed), userListed)]
	}
	return out
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

// Who names an actor as people do.
func Who(a mfa.Actor) string {
	name := a.Name()
	if sso, ok := strings.CutPrefix(name, "AWSReservedSSO_"); ok {
		// IAM Identity Center's role for a permission set: AWSReservedSSO_<set>_<16 hex digits>/<user>
		role, session, _ := strings.Cut(sso, "/")
		name = role[:max(0, strings.LastIndexByte(role, '_'))] + "/" + session
	}
	switch {
	case name != "":
		return name
	case a.Type == mfa.Self:
		return "the user"
	case a.Type == mfa.Service:
		return "an AWS service"
	default:
		return "an unknown actor"
	}
}

func (w words) user() string {
	name := w.s.User.Username
	if name == "" {
		name = string(w.c.Sub)
	}
	if len(w.s.User.Roles) == 0 {
		return name
	}
	roles := make([]string, len(w.s.User.Roles))
	for i, r := range w.s.User.Roles {
		roles[i] = string(r)
	}
	return name + " (" + strings.Join(roles, ", ") + ")"
}

// Names lists factors as people write them.
func Names(factors []mfa.Factor) string {
	names := make([]string, len(factors))
	for i, f := range factors {
		names[i] = map[mfa.Factor]string{mfa.TOTP: "TOTP", mfa.SMS: "SMS", mfa.Email: "e-mail codes", mfa.WebAuthn: "passkeys"}[f]
		if names[i] == "" {
			names[i] = string(f)
		}
	}
	if len(names) == 0 {
		return "MFA"
	}
	return strings.Join(names, " and ")
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
	user := w.user()
	if w.a.State == mfa.StateResolved {
		return w.resolved()
	}
	switch w.a.Kind {
	case mfa.RequiredRoleWithoutMFA, mfa.UnjustifiedOverride:
		if o := w.override(); o == nil && len(w.s.User.Factors) > 0 {
			return fmt.Sprintf("%s can sign in with %s alone, which the role does not allow", user, Names(w.s.User.Factors))
		}
		return user + " can sign in without MFA; " + w.because()
	case mfa.OverrideRepeated:
		return fmt.Sprintf("%s: MFA switched off again while an override is open, by %s", user, Who(w.c.Actor))
	case mfa.OverrideOverdue:
		return fmt.Sprintf("%s still has no MFA, %s after the deadline", user, Span(w.now.Sub(w.override().Deadline)))
	case mfa.CannotRestoreUser:
		return user + " stays without MFA: Cognito refuses to switch it on again; the user must enrol"
	case mfa.FactorSwapped:
		return user + " has MFA again, but not the factor of before: is it the user's own?"
	case mfa.PostureGap:
		return fmt.Sprintf("%d users with a required role have no MFA in pool %s", len(w.s.Listed), w.c.Pool)
	case mfa.PoolWeakened:
		return fmt.Sprintf("pool %s weakened by %s: %s", w.c.Pool, Who(w.c.Actor), w.d.Problem)
	case mfa.MassDisable:
		return fmt.Sprintf("%s is switching MFA off for many users: %d within ten minutes", Who(w.c.Actor), mfa.MassUsers)
	case mfa.GuardTampered:
		return fmt.Sprintf("Relatch itself was touched by %s: %s", Who(w.c.Actor), w.d.Problem)
	case mfa.PolicyInvalid:
		return "the MFA policy cannot be used, the last good one holds: " + w.d.Problem
	case mfa.PolicyWeakened:
		return "the MFA policy was weakened: " + w.d.Problem
	case mfa.UnreadableEvent:
		return "an event could not be read and is kept: " + w.d.Problem
	case mfa.BriefOverride:
		return fmt.Sprintf("%s had no MFA for a while; %s switched it off, and it was on again when Relatch looked", user, Who(w.c.Actor))
	case mfa.DeadlineNear:
		return fmt.Sprintf("%s: MFA comes on again in %s", user, Span(w.override().Deadline.Sub(w.now)))
	case mfa.LockedOutLikely:
		return user + " has MFA again with a device declared lost; cannot sign in until a new one is enrolled"
	}
	return user
}

// because says who left the user without MFA, and whether that was justified.
func (w words) because() string {
	o := w.override()
	if o == nil {
		return "a required role, and no authenticator app was ever enrolled"
	}
	by := Who(o.Actor)
	if o.Disables == 0 {
		return "nobody knows who switched " + Names(o.Taken) + " off"
	}
	text := fmt.Sprintf("%s switched %s off, %s", by, Names(o.Taken), o.Match)
	if o.Rank >= mfa.MassUsers {
		text += ", as for many users: see " + mfa.ActorKey(o.Actor.ARN, o.OpenedAt)
	}
	return text
}

func (w words) resolved() string {
	switch w.a.Kind {
	case mfa.PostureGap:
		return fmt.Sprintf("every user with a required role has MFA in pool %s", w.c.Pool)
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
	return w.user() + " no longer holds a role that requires MFA, or has MFA again"
}

func (w words) happened() string {
	o := w.override()
	var text string
	switch {
	case w.c.EventName != "":
		text = fmt.Sprintf("%s %s", clock(w.c.At), w.c.EventName)
		if w.c.Pool != "" {
			text += ", pool " + string(w.c.Pool)
		}
		text += ", by " + Who(w.c.Actor)
		if w.c.Source != "" {
			text += " from " + w.c.Source
		}
		if len(w.c.Claims) > 0 {
			text += "; claims " + strings.Join(w.c.Claims, ", ") + " (unproven)"
		}
	case o != nil:
		text = fmt.Sprintf("%s %s off, by %s, pool %s; %s Relatch looked", clock(o.OpenedAt), Names(o.Taken), Who(o.Actor), w.c.Pool, clock(w.now))
	default:
		text = clock(w.now) + " Relatch looked"
	}
	if w.d.Problem != "" {
		text += ": " + w.d.Problem
	}
	return text
}

// closed reports whether the alert is about an override that has ended.
func (w words) closed() bool { return w.d.Override != nil && w.d.Override.Closed != "" }

func (w words) next() string {
	o := w.override()
	switch {
	case w.a.Kind == mfa.MassDisable:
		return "Each user's MFA comes on again at the user's own deadline."
	case o == nil || w.a.State == mfa.StateResolved || w.closed():
		return ""
	case o.Unrestorable:
		return "Nothing by itself: open until the user enrols. Relatch looks at every sweep."
	case w.s.House.Observe:
		return fmt.Sprintf("Nothing: Relatch only observes. It would end this at %s.", clock(o.Deadline))
	case !o.Deadline.After(w.now):
		return "Relatch tries at every sweep."
	default:
		return fmt.Sprintf("%s on at %s, then this resolves.", Names(o.Taken), clock(o.Deadline))
	}
}

// todo is what on-call does, in this order.
func (w words) todo() []string {
	if w.a.Severity == mfa.Info || w.a.State == mfa.StateResolved {
		return nil
	}
	who := Who(w.actor())
	switch w.a.Kind {
	case mfa.MassDisable:
		return []string{"revoke the sessions of " + who, "ask " + who, "not meant: relatch status lists the overrides to end"}
	case mfa.CannotRestoreUser, mfa.LockedOutLikely:
		return []string{"have the user enrol a device", "until then: disable the user if the account is in danger"}
	case mfa.FactorSwapped:
		return []string{"ask the user whether the new factor is theirs", "not theirs: delete it, sign the user out, and revoke the session of " + who}
	case mfa.PoolWeakened, mfa.GuardTampered:
		return []string{"ask " + who, "not meant: put it back, then revoke that session"}
	case mfa.PolicyInvalid, mfa.PolicyWeakened:
		return []string{"look at the record mfa.required_roles and who changed it"}
	case mfa.UnreadableEvent:
		return []string{"read the event: it is kept"}
	case mfa.PostureGap:
		return []string{"have these users enrol"}
	default:
	}
	o := w.override()
	switch {
	case o == nil && !w.closed():
		return []string{"have the user enrol"}
	case w.closed():
		return []string{"ask " + who}
	}
	steps := []string{"ask " + who}
	if !o.Match.Justified() {
		steps = append(steps, fmt.Sprintf("meant: relatch justify %s --reason … --ticket …", o.ID))
	}
	return append(steps, fmt.Sprintf("not meant: relatch end %s, then revoke that session", o.ID))
}

func clock(t time.Time) string { return t.UTC().Format("Mon 2 Jan 15:04:05Z") }

// Span is a duration as people say it, to the minute.
func Span(d time.Duration) string {
	d = d.Round(time.Minute)
	h, m := int(d.Hours()), int(d.Minutes())%60
	switch {
	case h == 0:
		return fmt.Sprintf("%d min", m)
	case m == 0:
		return fmt.Sprintf("%d h", h)
	default:
		return fmt.Sprintf("%d h %02d min", h, m)
	}
}
