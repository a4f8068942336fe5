package operator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/request"
	"github.com/stackflow/relatch/internal/worker"
)

// Exception is what is asked for, and why.
type Exception struct {
	By             string // the ARN of whoever asks
	Reason, Ticket string
	Cause          mfa.Cause
	// DeleteToken: the token is deleted, not only switched off.
	DeleteToken bool
}

func (e Exception) request(p Person) request.Request {
	cause := e.Cause
	if cause == "" {
		cause = mfa.OtherCause
	}
	return request.Request{Do: request.Justify, Pool: p.Pool, Sub: p.Sub, Reason: e.Reason, Ticket: e.Ticket, Cause: cause}
}

// Forecast is what will be when the user's factors are switched off now.
type Forecast struct {
	Person
	Exception
	Policy mfa.Policy
	// Doubt is what Rules says of the policy.
	Doubt         string
	Justification mfa.Justification
	// Factors are switched on, and will be taken. Token: TOTP is among them and
	// will be deleted.
	Factors []mfa.Factor
	Token   bool
	// Spent are the overrides used of the budget.
	Spent int
	// Approval: somebody else has to approve first, and nobody has.
	Approval bool
	// Override is as Relatch will have it; it has no ID yet.
	Override mfa.Override
	// Alerts are what on-call will see.
	Alerts []alert.Alert
}

// Forecast says what will be. The error is a *Refusal where it must not be, or
// would not be an override.
func (o *Operator) Forecast(ctx context.Context, p Person, e Exception) (Forecast, error) {
	policy, doubt, err := o.Rules(ctx)
	if err != nil {
		return Forecast{}, err
	}
	standing, err := o.Standing(ctx, p)
	if err != nil {
		return Forecast{}, err
	}
	if err := e.request(p).Check(); err != nil {
		return Forecast{}, refused(err)
	}
	if p.NamedIn(e.Reason) || p.NamedIn(e.Ticket) {
		return Forecast{}, refused(request.Named())
	}
	pool, err := o.Users.Pool(ctx, p.Pool, nil, time.Time{})
	if err != nil {
		return Forecast{}, err
	}
	if err := o.possible(p, pool, standing); err != nil {
		return Forecast{}, err
	}
	now := o.Now().UTC().Truncate(time.Second)
	j, err := o.recorded(ctx, p, e, now)
	if err != nil {
		return Forecast{}, err
	}
	f := Forecast{
		Person: p, Exception: e, Policy: policy, Doubt: doubt, Justification: j, Factors: p.Factors,
		Token: e.DeleteToken && slices.Contains(p.Factors, mfa.TOTP), Spent: standing.Spent(now, policy),
	}
	counted, err := o.counted(ctx, f.calls(now)[0])
	if err != nil {
		return Forecast{}, err
	}
	state := mfa.State{House: o.House, Pool: pool, User: p.User, Standing: standing, Justifications: []mfa.Justification{j}, Counted: counted}
	if err := f.decide(state, now); err != nil {
		return Forecast{}, err
	}
	return f, f.refusal()
}

// possible refuses what would be no override, or a second one.
func (o *Operator) possible(p Person, pool mfa.Pool, s mfa.Standing) error {
	switch open := s.Override; {
	case p.Federated:
		return refuse("%s signs in with an identity provider, which has the user's MFA: switch it off there", p.Name)
	case open != nil:
		return refuse("override %s of %s is open already, since %s, by %s; it ends by %s. To justify it: relatch justify %s --reason … --ticket …%s; to end it: relatch end %s%s",
			open.ID, p.Name, clock(open.OpenedAt), alert.Who(open.Actor), clock(open.Deadline), open.ID, o.Flags, open.ID, o.Flags)
	case pool.Mode == mfa.ModeOff:
		return refuse("pool %s asks nobody for MFA: there is nothing to switch off", p.Pool)
	case pool.Mode == mfa.ModeOn:
		return refuse("pool %s requires MFA of everybody: Cognito would ask %s all the same", p.Pool, p.Name)
	case len(p.Factors) == 0:
		return refuse("%s has no factor that is switched on: there is nothing to switch off", p.Name)
	}
	return nil
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// recorded is the justification as it will be on record, or is already.
func (o *Operator) recorded(ctx context.Context, p Person, e Exception, now time.Time) (mfa.Justification, error) {
	j := e.request(p).Record(e.By, now)
	before, err := o.Justification(ctx, p, j.ID)
	if err != nil {
		return j, err
	}
	if before != nil {
		return *before, nil
	}
	use, err := o.Ledger.TicketUse(ctx, j.Ticket)
	if err != nil {
		return j, fmt.Errorf("read the ledger: %w", err)
	}
	if use != nil && !use.Of(p.Pool, p.Sub) {
		j.TicketOf = use
	}
	return j, nil
}

// counted are the users whom the person disabled in these ten minutes.
func (o *Operator) counted(ctx context.Context, c mfa.Change) ([]mfa.Sub, error) {
	loaded, err := o.Ledger.Load(ctx, worker.Query{Journal: mfa.UserJournal(c.Pool, c.Sub), Count: c.CountKey()})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return loaded.Counted, nil
}

// decide has Relatch decide as if CloudTrail had delivered each of the calls, and
// all had been made before the first one is looked at.
func (f *Forecast) decide(state mfa.State, now time.Time) error {
	state.User.Factors, state.User.Preferred = nil, ""
	state.Standing.Baseline = &mfa.Baseline{Factors: f.Factors, Preferred: f.Preferred, SeenAt: now}
	for _, c := range f.calls(now) {
		d := mfa.Decide(state, c, f.Policy, now)
		f.Alerts = append(f.Alerts, alert.Compose(state, c, f.Policy, now, d)...)
		if state.Standing = d.Standing; d.Count > 0 {
			state.Counted = append(state.Counted, f.Sub)
		}
	}
	if state.Standing.Override == nil {
		return refuse("%s has only %s, which is not the MFA that the role asks for: Relatch would not switch it on again", f.Whole(), alert.Names(f.Factors))
	}
	f.Override = *state.Standing.Override
	return nil
}

// calls are those that SwitchOff makes, as CloudTrail will have them.
func (f *Forecast) calls(now time.Time) []mfa.Change {
	off := mfa.Change{
		Kind: mfa.FactorsChanged, EventName: "AdminSetUserMFAPreference", At: now, Actor: mfa.Actor{ARN: f.By, Type: mfa.Admin},
		Pool: f.Pool, Sub: f.Sub, Off: f.Factors, Claims: []string{f.Ticket},
	}
	if !f.Token {
		return []mfa.Change{off}
	}
	deleted := off
	deleted.Kind, deleted.EventName, deleted.Off = mfa.TokenDeleted, "AdminDeleteSoftwareToken", []mfa.Factor{mfa.TOTP}
	if off.Off = mfa.Without(f.Factors, deleted.Off); len(off.Off) == 0 {
		return []mfa.Change{deleted}
	}
	return []mfa.Change{off, deleted}
}

// refusal names every rule that is not met, in words. That an approver is
// missing is for later: there has to be something that can be approved of.
func (f *Forecast) refusal() error {
	m := f.Override.Match
	r := Refusal{}
	var why []string
	for i, rule := range m.Failed {
		if rule == mfa.RuleApprover {
			f.Approval = true
			continue
		}
		if r.Failed, why = append(r.Failed, rule), append(why, m.Why[i]); rule == mfa.RuleUsed && f.Justification.TicketOf == nil {
			why[len(why)-1] += "; say what is different now"
		}
	}
	if len(r.Failed) == 0 {
		return nil
	}
	r.Why = strings.Join(why, "; ")
	return &r
}

// Taken is what SwitchOff did.
type Taken struct {
	At time.Time
	// Deleted: the token is deleted. Lacking: it should be, and the service cannot.
	Deleted, Lacking bool
	// Unread is why the user could not be read back; nil: no factor is on.
	Unread error
}

// readBack is how long the user may take to be read back.
const readBack = 30 * time.Second

// SwitchOff takes the user's factors and reads the user back. No error means that
// they are off: Cognito took every call, or shows none that is on. The error says
// which are off and which are not, or that nobody knows.
func (o *Operator) SwitchOff(ctx context.Context, f Forecast) (Taken, error) {
	t := Taken{At: o.Now().UTC().Truncate(time.Second)}
	failed := o.take(ctx, f, &t)
	// Whoever stops it halfway has to be told all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBack)
	defer cancel()
	now, err := o.Users.User(ctx, f.Pool, f.Sub)
	switch off := mfa.Without(f.Factors, now.Factors); {
	case err != nil && failed == nil:
		t.Unread = err
	case err != nil:
		return t, fmt.Errorf("%w; what is off is not known, as the user cannot be read back: %w", failed, err)
	case len(now.Factors) == 0: // also if the answer to a call was lost
		t.Deleted = f.Token && !t.Lacking
	case failed == nil:
		return t, fmt.Errorf("Cognito took the call, but still switched on: %s", alert.Names(now.Factors)) //nolint:staticcheck // a name
	case len(off) == 0:
		return t, fmt.Errorf("%w; nothing was switched off", failed)
	default:
		return t, fmt.Errorf("%w; only half is done: switched off: %s; still on: %s", failed, alert.Names(off), alert.Names(now.Factors))
	}
	return t, nil
}

// take makes the calls. A token is deleted last: as long as it is there, the other
// factors are no override of their own.
func (o *Operator) take(ctx context.Context, f Forecast, t *Taken) error {
	off := f.Factors
	if f.Token {
		off = mfa.Without(off, []mfa.Factor{mfa.TOTP})
	}
	if len(off) > 0 {
		if err := o.Hand.Disable(ctx, f.Pool, f.Username, off, f.Ticket); err != nil {
			return err
		}
	}
	if !f.Token {
		return nil
	}
	var err error
	if t.Deleted, err = o.Hand.DeleteToken(ctx, f.Pool, f.Username, f.Ticket); err != nil || t.Deleted {
		return err
	}
	t.Lacking = true
	return o.Hand.Disable(ctx, f.Pool, f.Username, []mfa.Factor{mfa.TOTP}, f.Ticket)
}

// CLI is the AWS CLI's command that switches the user's factors on or off without
// Relatch. The flags are the AWS CLI's own.
func (p Person) CLI(factors []mfa.Factor, on bool, flags string) string {
	command := "aws cognito-idp admin-set-user-mfa-preference" + flags + " --user-pool-id " + Quoted(string(p.Pool)) + " --username " + Quoted(p.Username)
	for _, factor := range factors {
		command += fmt.Sprintf(" --%s-mfa-settings Enabled=%t", options[factor], on)
		if !on && factor != mfa.WebAuthn { // which has no preference
			command += ",PreferredMfa=false"
		}
	}
	return command
}

// options are the AWS CLI's names of the factors.
var options = map[mfa.Factor]string{mfa.TOTP: "software-token", mfa.SMS: "sms", mfa.Email: "email", mfa.WebAuthn: "web-authn"}

// Quoted is a word for a shell.
func Quoted(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("@%+=:,./_-", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
