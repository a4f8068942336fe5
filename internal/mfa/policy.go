package mfa

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sync"
	"time"
)

// MaxHours is the longest that an override may last, whatever a policy says.
const MaxHours = 24

// MaxGraceDays caps the grace of users with a required role.
const MaxGraceDays = 7

// Policy is the record mfa.required_roles. The zero Policy is invalid: it never
// means that nothing is required. Make one with ParsePolicy or DefaultPolicy.
type Policy struct {
	RequiredRoles []Role
	OptionalRoles []Role
	// Grace is how long a new user may go without ever having had a factor.
	Grace time.Duration

	// MaxDuration is how long an override may last, at most MaxHours.
	MaxDuration time.Duration
	// SignOut says whether sessions are ended when an override ends.
	SignOut bool
	// Notices are how long before a deadline a notice is given, the longest first.
	Notices []time.Duration
	// Budget is how many overrides a user may have in BudgetSpan without an approver.
	Budget     int
	BudgetSpan time.Duration

	MinLength       int
	TicketPattern   *regexp.Regexp
	Before          time.Duration // a justification may be made this long before the disable
	Late            time.Duration // and this long after it
	RequireApprover bool

	// Revision identifies the content: the same document has the same revision.
	Revision string
}

type policyDocument struct {
	Enforcement struct {
		RequiredRoles []Role `json:"required_roles"`
		OptionalRoles []Role `json:"optional_roles"`
		GraceDays     int    `json:"grace_period_days"`
	} `json:"mfa_enforcement"`
	Override struct {
		MaxHours int   `json:"max_hours"`
		SignOut  bool  `json:"sign_out"`
		Notices  []int `json:"notice_hours"`
		Budget   struct {
			Overrides int `json:"overrides"`
			Days      int `json:"days"`
		} `json:"budget"`
		Justification struct {
			MinLength       int    `json:"min_length"`
			TicketPattern   string `json:"ticket_pattern"`
			BeforeHours     int    `json:"before_hours"`
			LateMinutes     int    `json:"late_minutes"`
			RequireApprover bool   `json:"require_approver"`
		} `json:"justification"`
	} `json:"override"`
}

const defaultDocument = `{"mfa_enforcement": {"required_roles": ["super_admin","itsm_manager","cloud_admin","security_admin"],
 "optional_roles": ["itsm_agent","viewer","developer"], "grace_period_days": 7, "enforcement_action": "redirect_to_setup"},
 "override": {"max_hours": 24, "sign_out": true, "notice_hours": [4, 1], "budget": {"overrides": 2, "days": 7},
 "justification": {"min_length": 15, "ticket_pattern": "^(INC|CHG)[0-9]{7}$", "before_hours": 24,
 "late_minutes": 15, "require_approver": false}}}`

var defaultPolicy = sync.OnceValue(func() Policy {
	p, err := ParsePolicy([]byte(defaultDocument))
	if err != nil {
		panic(err) // cannot happen: a test parses the constant
	}
	return p
})

// DefaultPolicy is what holds until a policy has been read: the values of the
// product's documentation.
func DefaultPolicy() Policy { return defaultPolicy() }

// DefaultDocument is the record that DefaultPolicy stands for.
func DefaultDocument() []byte { return []byte(defaultDocument) }

// ErrNoPolicy says that the record is missing, empty or null.
var ErrNoPolicy = errors.New("the policy record is missing")

// ParsePolicy reads the JSON list of required roles or the whole document. What
// the document leaves out has its default, but for optional_roles, which only
// say what is not required. An error joins every problem found, each with the
// path of its field, and comes with the zero Policy; a missing record is
// ErrNoPolicy.
func ParsePolicy(raw []byte) (Policy, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return Policy{}, ErrNoPolicy
	}
	var doc policyDocument
	doc.setDefaults()
	d := decoder{}
	if raw[0] == '[' {
		d.read(raw, "required_roles", &doc.Enforcement.RequiredRoles)
	} else {
		d.document(raw, &doc)
	}
	p := doc.policy(&d)
	if len(d.problems) > 0 {
		return Policy{}, errors.Join(d.problems...)
	}
	p.Revision = revision(doc)
	return p, nil
}

func revision(doc policyDocument) string {
	canonical, err := json.Marshal(doc)
	if err != nil {
		panic(err) // cannot happen: the document holds only strings, numbers and lists
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:6])
}

// decoder reads a document field by field, because a single json.Unmarshal
// stops at its first problem and people should hear of all of them at once.
type decoder struct{ problems []error }

func (d *decoder) problem(format string, args ...any) {
	d.problems = append(d.problems, fmt.Errorf(format, args...))
}

func (d *decoder) read(raw json.RawMessage, path string, into any) {
	reflect.ValueOf(into).Elem().SetZero() // or the elements of a default list would show through nulls
	if err := json.Unmarshal(raw, into); err != nil {
		var mistyped *json.UnmarshalTypeError
		if errors.As(err, &mistyped) {
			d.problem("%s: want %s, have a %s", path, wanted(mistyped.Type), mistyped.Value)
			return
		}
		d.problem("%s: %w", path, err)
	}
}

// wanted names a type of the document as its authors know it.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "a list"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	default:
		return "a string"
	}
}

// object reads an object's fields. Unknown ones are problems, unless one of
// those that name what the object is for is there: then somebody else's fields
// may stand beside it.
func (d *decoder) object(raw json.RawMessage, path string, fields map[string]func(json.RawMessage, string), purpose ...string) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		d.problem("%s: want an object: %w", path, err)
		return
	}
	strict := !slices.ContainsFunc(purpose, func(name string) bool { return members[name] != nil })
	seen := map[string]bool{}
	for _, name := range memberNames(raw) {
		at := name
		if path != "the record" {
			at = path + "." + name
		}
		read, known := fields[name]
		switch {
		case seen[name]:
			d.problem("%s: is there twice", at)
		case !known && strict:
			d.problem("%s: unknown field", at)
		case !known:
		case bytes.Equal(members[name], []byte("null")):
			d.problem("%s: is null; leave it out for the default", at)
		default:
			read(members[name], at)
		}
		seen[name] = true
	}
}

// memberNames lists the names of an object's members as they stand there. Of one that
// stands there twice json.Unmarshal would quietly take the last.
func memberNames(object json.RawMessage) []string {
	var out []string
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		return nil
	}
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			break
		}
		out = append(out, fmt.Sprint(name))
	}
	return out
}

func (d *decoder) field(into any) func(json.RawMessage, string) {
	return func(raw json.RawMessage, path string) { d.read(raw, path, into) }
}

type fields = map[string]func(json.RawMessage, string)

// document reads the whole document over the defaults. Relatch's own block is
// strict; the product may add fields to its block.
func (d *decoder) document(raw json.RawMessage, doc *policyDocument) {
	e, o := &doc.Enforcement, &doc.Override
	d.object(raw, "the record", fields{
		"mfa_enforcement": func(raw json.RawMessage, path string) {
			d.object(raw, path, fields{
				"required_roles": d.field(&e.RequiredRoles), "optional_roles": d.field(&e.OptionalRoles),
				"grace_period_days": d.field(&e.GraceDays), "enforcement_action": func(json.RawMessage, string) {}, // the product's own
			}, "required_roles")
		},
		"override": func(raw json.RawMessage, path string) {
			d.object(raw, path, fields{
				"max_hours": d.field(&o.MaxHours), "sign_out": d.field(&o.SignOut), "notice_hours": d.field(&o.Notices),
				"budget": func(raw json.RawMessage, path string) {
					d.object(raw, path, fields{"overrides": d.field(&o.Budget.Overrides), "days": d.field(&o.Budget.Days)})
				},
				"justification": func(raw json.RawMessage, path string) {
					j := &o.Justification
					d.object(raw, path, fields{
						"min_length": d.field(&j.MinLength), "ticket_pattern": d.field(&j.TicketPattern),
						"before_hours": d.field(&j.BeforeHours), "late_minutes": d.field(&j.LateMinutes),
						"require_approver": d.field(&j.RequireApprover),
					})
				},
			})
		},
	}, "mfa_enforcement", "override")
}

func (doc *policyDocument) setDefaults() {
	doc.Enforcement.RequiredRoles = []Role{"super_admin", "itsm_manager", "cloud_admin", "security_admin"}
	doc.Enforcement.GraceDays = MaxGraceDays
	o := &doc.Override
	o.MaxHours, o.SignOut, o.Notices = MaxHours, true, []int{4, 1}
	o.Budget.Overrides, o.Budget.Days = 2, 7
	j := &o.Justification
	j.MinLength, j.TicketPattern, j.BeforeHours, j.LateMinutes = 15, `^(INC|CHG)[0-9]{7}$`, 24, 15
}

// policy checks the document and turns it into a Policy.
func (doc *policyDocument) policy(d *decoder) Policy {
	e, o, j := doc.Enforcement, doc.Override, doc.Override.Justification
	within := func(path string, value, low, high int) {
		if value < low || value > high {
			d.problem("%s: %d is not between %d and %d", path, value, low, high)
		}
	}
	if len(e.RequiredRoles) == 0 {
		d.problem("mfa_enforcement.required_roles: names no role; at least one must require MFA")
	}
	for _, list := range [][]Role{e.RequiredRoles, e.OptionalRoles} {
		if slices.Contains(list, "") {
			d.problem("mfa_enforcement: a role has an empty name")
		}
	}
	for _, role := range Both(e.RequiredRoles, e.OptionalRoles) {
		d.problem("mfa_enforcement: %q is both required and optional", role)
	}
	within("mfa_enforcement.grace_period_days", e.GraceDays, 0, 365)
	within("override.max_hours", o.MaxHours, 1, MaxHours)
	for i, hours := range o.Notices {
		within(fmt.Sprintf("override.notice_hours[%d]", i), hours, 1, MaxHours)
	}
	within("override.budget.overrides", o.Budget.Overrides, 0, 1000)
	within("override.budget.days", o.Budget.Days, 1, 365)
	within("override.justification.min_length", j.MinLength, 1, 1000)
	within("override.justification.before_hours", j.BeforeHours, 0, 24*30)
	within("override.justification.late_minutes", j.LateMinutes, 0, 24*60)
	pattern, err := regexp.Compile(j.TicketPattern)
	if err != nil {
		d.problem("override.justification.ticket_pattern: %w", err)
	}
	p := Policy{
		RequiredRoles: e.RequiredRoles, OptionalRoles: e.OptionalRoles, Grace: time.Duration(e.GraceDays) * 24 * time.Hour,
		MaxDuration: time.Duration(o.MaxHours) * time.Hour, SignOut: o.SignOut,
		Budget: o.Budget.Overrides, BudgetSpan: time.Duration(o.Budget.Days) * 24 * time.Hour,
		MinLength: j.MinLength, TicketPattern: pattern, Before: time.Duration(j.BeforeHours) * time.Hour,
		Late: time.Duration(j.LateMinutes) * time.Minute, RequireApprover: j.RequireApprover,
	}
	for _, hours := range o.Notices {
		p.Notices = append(p.Notices, time.Duration(hours)*time.Hour)
	}
	slices.SortFunc(p.Notices, func(a, b time.Duration) int { return int(b - a) })
	return p
}

// Valid reports whether the policy came from ParsePolicy or DefaultPolicy.
func (p Policy) Valid() bool { return p.Revision != "" }

// Requires returns those of the roles that require MFA.
func (p Policy) Requires(roles []Role) []Role { return Both(roles, p.RequiredRoles) }

// Weaker names what the policy p demands less of than old did.
func (p Policy) Weaker(old Policy) []string {
	var out []string
	for _, role := range Without(old.RequiredRoles, p.RequiredRoles) {
		out = append(out, fmt.Sprintf("%s no longer requires MFA", role))
	}
	if p.MaxDuration > old.MaxDuration {
		out = append(out, fmt.Sprintf("overrides last up to %d hours, not %d", int(p.MaxDuration.Hours()), int(old.MaxDuration.Hours())))
	}
	if p.Grace > old.Grace {
		out = append(out, fmt.Sprintf("new users have %d days, not %d", int(p.Grace.Hours()/24), int(old.Grace.Hours()/24)))
	}
	return out
}
