package trail

import (
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
	switch enabled := values.get("enabled"); {
	case enabled.Kind() == 't' || strings.EqualFold(text(enabled), "true"):
		c.On = append(c.On, factor)
	case enabled.Kind() == '"' && !strings.EqualFold(text(enabled), "false"):
		c.Masked = true
	default:
		c.Off = append(c.Off, factor)
	}
	if values.get("preferredMfa").Kind() == 't' {
		c.Preferred = factor
	}
}

// settings reads the legacy MFAOptions: a list without an SMS entry switches SMS off.
func settings(params fields, c *mfa.Change) {
	options := params.get("mFAOptions")
	if options.Kind() != '[' {
		c.Masked = true
		return
	}
	var list []jsontext.Value
	if err := json.Unmarshal(options, &list); err != nil {
		c.Masked = true
		return
	}
	for _, option := range list {
		if strings.EqualFold(text(members(option).get("deliveryMedium")), "SMS") {
			c.On = []mfa.Factor{mfa.SMS}
			return
		}
		if option.Kind() != '{' {
			c.Masked = true
			return
		}
	}
	c.Off = []mfa.Factor{mfa.SMS}
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
	var names []jsontext.Value
	list := params.get("userAttributeNames")
	if list.Kind() != '[' || json.Unmarshal(list, &names) != nil {
		c.Masked = true
		return
	}
	for _, name := range names {
		switch text(name) {
		case "phone_number":
			c.Off = append(c.Off, mfa.SMS)
		case "email":
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
	c.Sets = s
}

// poolUpdate reads UpdateUserPool, which sets what it does not name to its default.
func poolUpdate(params fields, c *mfa.Change) {
	triggers := members(params.get("lambdaConfig"))
	preToken := text(triggers.get("preTokenGeneration")) != "" || triggers.get("preTokenGenerationConfig").Kind() == '{'
	c.Sets = &mfa.PoolSettings{Mode: mode(params.get("mfaConfiguration")), PreToken: &preToken}
	if c.Sets.Mode == "" {
		c.Sets.Mode = mfa.ModeOff
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
	if s == "HIDDEN_DUE_TO_SECURITY_REASONS" || s == "HIDDEN_FOR_SECURITY_REASONS" {
		return ""
	}
	return s
}
