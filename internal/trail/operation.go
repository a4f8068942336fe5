package trail

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stackflow/relatch/internal/mfa"
)

// operation is what is known of one Cognito operation. To add one, add a row
// here and a scenario in events/.
type operation struct {
	kind mfa.Kind
	// self: the user's own access token authorises the call, no AWS identity.
	self bool
	// read takes what is particular to the operation from its request parameters.
	read func(fields, *mfa.Change)
}

// operations lists the operations of aws-facts.md section 2 that a decision
// depends on. Every other one is not relevant.
var operations = map[string]operation{
	"AdminSetUserMFAPreference": {kind: mfa.FactorsChanged, read: preference},
	"SetUserMFAPreference":      {kind: mfa.FactorsChanged, self: true, read: preference},
	"AdminSetUserSettings":      {kind: mfa.FactorsChanged, read: settings},
	"SetUserSettings":           {kind: mfa.FactorsChanged, self: true, read: settings},

	"AdminDeleteSoftwareToken":     {kind: mfa.TokenDeleted, read: switchesOff(mfa.TOTP)},
	"DeleteWebAuthnCredential":     {kind: mfa.TokenDeleted, self: true, read: switchesOff(mfa.WebAuthn)},
	"VerifySoftwareToken":          {kind: mfa.TokenVerified, self: true, read: verifies(mfa.TOTP)},
	"CompleteWebAuthnRegistration": {kind: mfa.TokenVerified, self: true, read: verifies(mfa.WebAuthn)},

	"SetUserPoolMfaConfig": {kind: mfa.PoolChanged, read: poolConfig},
	"UpdateUserPool":       {kind: mfa.PoolChanged, read: poolUpdate},

	"AdminAddUserToGroup":      {kind: mfa.RoleChanged, read: group},
	"AdminRemoveUserFromGroup": {kind: mfa.RoleChanged, read: group},
	"DeleteGroup":              {kind: mfa.RoleChanged, read: group},
	"CreateGroup":              {kind: mfa.NotRelevant, read: group},

	"AdminCreateUser":           {kind: mfa.UserChanged},
	"AdminDeleteUser":           {kind: mfa.UserChanged},
	"DeleteUser":                {kind: mfa.UserChanged, self: true},
	"AdminDisableUser":          {kind: mfa.UserChanged},
	"AdminEnableUser":           {kind: mfa.UserChanged},
	"AdminUpdateUserAttributes": {kind: mfa.UserChanged},
	"UpdateUserAttributes":      {kind: mfa.UserChanged, self: true},
	"AdminDeleteUserAttributes": {kind: mfa.UserChanged, read: attributesGone},
	"DeleteUserAttributes":      {kind: mfa.UserChanged, self: true, read: attributesGone},
}

// Names are the operations of Cognito that Parse reads, and GuardSources the
// eventSources of the calls in which it sees a change of the guard: what an archive
// may be reduced to. Both are sorted.
func Names() []string { return slices.Sorted(maps.Keys(operations)) }

// GuardSources is told of beside Names.
func GuardSources() []string {
	var all []string
	for _, service := range slices.Sorted(maps.Keys(guards)) {
		all = append(all, service+".amazonaws.com")
	}
	return all
}

// guarded is what is known of the calls on one service that Relatch is made of.
// To add one, add a row to guards, the clause to the guard's rules in
// infra/template.yaml, and a row to the test of these.
type guarded struct {
	as string // the service in ARNs, where that is another word
	// named are the request parameters and response elements that name a
	// resource, or a list of them. A name that only means one in some calls
	// stands with the beginnings of theirs.
	named map[string][]string
}

// guards are the services that Relatch's own resources belong to, by the first
// label of their eventSource.
//
// A call on an event source mapping names it by an id that nobody knows before it
// is made: its queue is in the answer (Lambda Developer Guide, "Logging
// Lambda API calls", CreateEventSourceMapping20150331; that those of Update and
// Delete say the same is the API Reference's word, no record of one was found).
//
// A policy that is attached to a role changes that role, not the policy. Of the
// log groups and the key only those calls count that lose or hide something: the
// functions themselves make streams, and AWS uses the key for each message.
var guards = map[string]guarded{
	"cloudformation": {named: map[string][]string{"stackName": nil}},
	"cloudtrail":     {named: map[string][]string{"name": nil, "trailName": nil}},
	"dynamodb":       {named: map[string][]string{"tableName": nil, "resourceArn": nil}},
	"events":         {named: map[string][]string{"name": nil, "rule": nil, "eventBusName": nil, "archiveName": nil}},
	"iam": {named: map[string][]string{
		"roleName":  {"CreateRole", "DeleteRole", "UpdateRole", "UpdateAssumeRolePolicy", "PutRole", "AttachRolePolicy", "DetachRolePolicy"},
		"policyArn": {"CreatePolicyVersion", "SetDefaultPolicyVersion", "DeletePolicy"},
	}},
	"kms":        {named: map[string][]string{"keyId": {"DisableKey", "ScheduleKeyDeletion", "PutKeyPolicy", "RevokeGrant"}}},
	"lambda":     {named: map[string][]string{"functionName": nil, "eventSourceArn": nil}},
	"logs":       {named: map[string][]string{"logGroupName": {"Delete", "PutRetentionPolicy", "AssociateKmsKey"}}},
	"monitoring": {as: "cloudwatch", named: map[string][]string{"alarmName": nil, "alarmNames": nil}},
	"scheduler":  {named: map[string][]string{"name": nil, "groupName": nil}},
	"sns":        {named: map[string][]string{"topicArn": nil, "subscriptionArn": nil}},
	"sqs":        {named: map[string][]string{"queueUrl": nil}},
}

// concerns reports whether such a call can name a resource and change it. Whoever
// confirms a subscription has the address that somebody else gave.
func (g guarded) concerns(call string) bool {
	if begins(call, reading) {
		return false
	}
	for _, calls := range g.named {
		if begins(call, calls) {
			return true
		}
	}
	return false
}

// names reports whether the member of such a call names a resource.
func (g guarded) names(member, call string) bool {
	for name, calls := range g.named {
		if strings.EqualFold(name, member) && begins(call, calls) {
			return true
		}
	}
	return false
}

var reading = []string{"Get", "List", "Describe", "Lookup", "BatchGet", "Query", "Scan", "Test", "ConfirmSubscription"}

// begins reports whether the call's name begins in one of the ways; nil are all.
func begins(call string, ways []string) bool {
	return ways == nil || slices.ContainsFunc(ways, func(way string) bool { return strings.HasPrefix(call, way) })
}

// Sieve says what Parse can make of a record.
type Sieve int

// What Sift answers.
const (
	Matters        Sieve = iota // anything
	MattersToGuard              // mfa.GuardChanged or mfa.NotRelevant
	Irrelevant                  // mfa.NotRelevant, without a role
)

// Sift tells from the eventSource and eventName of a record what Parse makes of
// it, if it is no error.
func Sift(source, name []byte) Sieve {
	source = bytes.TrimSuffix(source, []byte(".amazonaws.com"))
	switch string(source) {
	case cognito:
		if _, listed := operations[string(name)]; listed {
			return Matters
		}
	case "cloudformation", "cloudtrail", "dynamodb", "events", "iam", "kms", "lambda", "logs", "monitoring", "scheduler", "sns", "sqs":
		// Of all other records guards need not be asked, which takes longer.
		if guards[string(source)].concerns(string(name)) {
			return MattersToGuard
		}
	}
	return Irrelevant
}

// settingNames are the request parameters that switch factors on and off, in
// lower case: CloudTrail's spelling of them (sMSMfaSettings) is not documented.
var settingNames = map[string]mfa.Factor{
	"softwaretokenmfasettings": mfa.TOTP,
	"smsmfasettings":           mfa.SMS,
	"emailmfasettings":         mfa.Email,
	"webauthnmfasettings":      mfa.WebAuthn,
}

func preference(params fields, c *mfa.Change) {
	for _, m := range params {
		name := strings.ToLower(m.name)
		factor, known := settingNames[name]
		switch {
		case m.value.Kind() == 'n', !known && !strings.HasSuffix(name, "mfasettings"):
		case !known || m.value.Kind() != '{':
			c.Masked = true
		default:
			setting(factor, members(m.value), c)
		}
	}
}

// setting reads {enabled, preferredMfa}. The Go SDK leaves out what is false, so
// a factor that is named without enabled is off.
func setting(factor mfa.Factor, values fields, c *mfa.Change) {
	enabled, shown := boolean(values.get("enabled"))
	switch {
	case !shown, slices.Contains(c.On, factor), slices.Contains(c.Off, factor): // or set twice, in two spellings
		c.Masked = true
	case enabled:
		c.On = append(c.On, factor)
	default:
		c.Off = append(c.Off, factor)
	}
	if preferred, _ := boolean(values.get("preferredMfa")); preferred {
		c.Preferred = factor
	}
}

// boolean is the value of a boolean, which is false when left out, and whether it
// is shown.
func boolean(v jsontext.Value) (value, shown bool) {
	switch v.Kind() {
	case 't':
		return true, true
	case 'f', 'n', jsontext.KindInvalid: // nothing is there
		return false, true
	default:
		s := text(v)
		return strings.EqualFold(s, "true"), strings.EqualFold(s, "true") || strings.EqualFold(s, "false")
	}
}

// settings reads the legacy MFAOptions: a list without an SMS entry switches SMS off.
func settings(params fields, c *mfa.Change) {
	options := params.get("mFAOptions")
	if options.Kind() != '[' {
		c.Masked = true
		return
	}
	for _, option := range elements(options) {
		medium := text(members(option).get("deliveryMedium"))
		switch {
		case strings.EqualFold(medium, "SMS"):
			c.On, c.Masked = []mfa.Factor{mfa.SMS}, false
			return
		case option.Kind() != '{', masked(medium):
			c.Masked = true
		}
	}
	if !c.Masked {
		c.Off = []mfa.Factor{mfa.SMS}
	}
}

func switchesOff(f mfa.Factor) func(fields, *mfa.Change) {
	return func(_ fields, c *mfa.Change) { c.Off = []mfa.Factor{f} }
}

func verifies(f mfa.Factor) func(fields, *mfa.Change) {
	return func(_ fields, c *mfa.Change) { c.Verified = f }
}

func group(params fields, c *mfa.Change) {
	c.Role = mfa.Role(shownString(params.get("groupName")))
}

// attributesGone: without a phone number or an address there is no destination
// for the factor.
func attributesGone(params fields, c *mfa.Change) {
	names := params.get("userAttributeNames")
	c.Masked = names.Kind() != '['
	for _, name := range elements(names) {
		switch shown := shownString(name); {
		case shown == "":
			c.Masked = true
		case shown == "phone_number" && !slices.Contains(c.Off, mfa.SMS):
			c.Off = append(c.Off, mfa.SMS)
		case shown == "email" && !slices.Contains(c.Off, mfa.Email):
			c.Off = append(c.Off, mfa.Email)
		}
	}
}

// poolConfig reads SetUserPoolMfaConfig, which leaves alone what it does not name.
func poolConfig(params fields, c *mfa.Change) {
	s := &mfa.PoolSettings{Mode: mode(params.get("mfaConfiguration"))}
	for _, m := range []struct {
		name   string
		factor mfa.Factor
		flag   string // the member that must be true; "" if the object's presence is enough
	}{
		{"softwareTokenMfaConfiguration", mfa.TOTP, "enabled"},
		{"smsMfaConfiguration", mfa.SMS, ""},
		{"emailMfaConfiguration", mfa.Email, ""},
	} {
		value := params.get(m.name)
		switch {
		case value.Kind() != '{':
		case m.flag == "" || members(value).get(m.flag).Kind() == 't':
			s.On = append(s.On, m.factor)
		default:
			s.Off = append(s.Off, m.factor)
		}
	}
	switch text(members(params.get("webAuthnConfiguration")).get("factorConfiguration")) {
	case "MULTI_FACTOR_WITH_USER_VERIFICATION":
		s.On = append(s.On, mfa.WebAuthn)
	case "SINGLE_FACTOR": // a passkey signs in, but is no second factor
		s.Off = append(s.Off, mfa.WebAuthn)
	}
	c.Sets = s
}

// poolUpdate reads UpdateUserPool, which sets what it does not name to its
// default. What is masked is not known.
func poolUpdate(params fields, c *mfa.Change) {
	c.Sets = &mfa.PoolSettings{}
	if params == nil {
		return
	}
	config := params.get("mfaConfiguration")
	if c.Sets.Mode = mode(config); config == nil || config.Kind() == 'n' {
		c.Sets.Mode = mfa.ModeOff
	}
	switch lambda := params.get("lambdaConfig"); lambda.Kind() {
	case '{':
		triggers := members(lambda)
		own, versioned := triggers.get("preTokenGeneration"), triggers.get("preTokenGenerationConfig")
		c.Sets.PreToken = new(text(own) != "" || versioned.Kind() == '{' || text(versioned) != "")
	case 'n', jsontext.KindInvalid: // nothing is there
		c.Sets.PreToken = new(false)
	default: // masked
	}
}

func mode(v jsontext.Value) mfa.Mode {
	switch m := mfa.Mode(strings.ToLower(text(v))); m {
	case mfa.ModeOff, mfa.ModeOptional, mfa.ModeOn:
		return m
	default:
		return ""
	}
}

// fields are the members of an object in their order. CloudTrail's spelling is
// not documented everywhere, so names are compared without regard to case.
type fields []field

type field struct {
	name  string
	value jsontext.Value
}

func (f fields) get(name string) jsontext.Value {
	for _, m := range f {
		if strings.EqualFold(m.name, name) {
			return m.value
		}
	}
	return nil
}

// members takes an object apart that is known to be sound. Whatever is no
// object, such as a masking string in its place, has none.
func members(v jsontext.Value) fields {
	if v.Kind() != '{' {
		return nil
	}
	s := splitter{data: v}
	s.space()
	out := make(fields, 0, 8)
	for s.at++; ; s.at++ { // over the opening brace, then over each comma
		s.space()
		start := s.at
		if s.data[s.at] != '"' {
			return out
		}
		s.value()
		name := string(s.data[start+1 : s.at-1])
		if strings.IndexByte(name, '\\') >= 0 {
			name = text(v[start:s.at])
		}
		s.space()
		s.at++ // the colon
		s.space()
		start = s.at
		s.value()
		out = append(out, field{name, v[start:s.at]})
		if s.space(); s.data[s.at] != ',' {
			return out
		}
	}
}

// elements are those of a list; whatever is no list has none.
func elements(v jsontext.Value) []jsontext.Value {
	var out []jsontext.Value
	if v.Kind() != '[' || json.Unmarshal(v, &out) != nil {
		return nil
	}
	return out
}

// text is the value of a string, or "".
func text(v jsontext.Value) string {
	if v.Kind() != '"' {
		return ""
	}
	s, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return ""
	}
	return string(s)
}

// shownString is the value of a string that is not masked, or "".
func shownString(v jsontext.Value) string {
	s := text(v)
	if masked(s) {
		return ""
	}
	return s
}

// masked reports whether CloudTrail put this in the place of a value.
func masked(s string) bool {
	return s == "HIDDEN_DUE_TO_SECURITY_REASONS" || s == "HIDDEN_FOR_SECURITY_REASONS"
}
