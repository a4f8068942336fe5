package trail

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	scenarios = "../../events"
	shared    = "../../../shared"
	goldens   = "testdata/golden"
)

// goldenUnits is how many deliveries of a scenario its golden shows.
const goldenUnits = 12

func TestEveryRecordedDeliveryParsesAsItsGoldenSays(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, dir := range folders(t) {
		name := filepath.Base(dir)
		known[name+".txt"] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := goldenOf(t, dir)
			path := filepath.Join(goldens, name+".txt")
			if *update {
				write(t, path, got)
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v; write it with go test ./internal/trail -update", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
		})
	}
	files, err := os.ReadDir(goldens)
	if err != nil && !*update {
		t.Fatal(err)
	}
	for _, f := range files {
		if !known[f.Name()] {
			t.Errorf("%s belongs to no scenario in events/", filepath.Join(goldens, f.Name()))
		}
	}
}

func goldenOf(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	n := 0
	for _, f := range deliveryFiles(t, dir) {
		for i, u := range unitsOf(t, f) {
			if n++; n > goldenUnits {
				continue
			}
			fmt.Fprintf(&out, "%s %d\n", filepath.Base(f), i+1)
			c, err := printed{}, u.Err
			if err == nil {
				c, err = parsed(u.Raw)
			}
			if err != nil {
				fmt.Fprintf(&out, "  error %v\n", err)
			}
			out.WriteString(c.String())
		}
	}
	if n > goldenUnits {
		fmt.Fprintf(&out, "and %d more\n", n-goldenUnits)
	}
	return out.String()
}

// printed prints what is not zero, a field per line.
type printed mfa.Change

func (c printed) String() string {
	var out strings.Builder
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			continue
		}
		text, err := json.Marshal(v.Field(i).Interface())
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&out, "  %s %s\n", v.Type().Field(i).Name, text)
	}
	return out.String()
}

func parsed(raw []byte) (printed, error) {
	c, err := Parse(raw)
	return printed(c), err
}

// call is a bare CloudTrail record of an AdminSetUserMFAPreference that
// switches TOTP off, with the fields of the overlay in place of its own;
// "(absent)" takes one away.
func call(overlay string) []byte {
	fields := decoded(`{
		"eventVersion": "1.11",
		"userIdentity": {"type": "AssumedRole", "principalId": "AROAEXAMPLE:ops-7",
			"arn": "arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7", "accountId": "111122223333",
			"sessionContext": {"sessionIssuer": {"type": "Role", "arn": "arn:aws:iam::111122223333:role/SupportAdmin"}}},
		"eventTime": "2026-11-23T08:00:00Z",
		"eventSource": "cognito-idp.amazonaws.com",
		"eventName": "AdminSetUserMFAPreference",
		"awsRegion": "us-east-1",
		"sourceIPAddress": "192.0.2.10",
		"userAgent": "aws-cli/2.32.10 m/E,b",
		"requestParameters": {"userPoolId": "us-east-1_EXAMPLE12", "username": "HIDDEN_DUE_TO_SECURITY_REASONS",
			"softwareTokenMfaSettings": {"enabled": false, "preferredMfa": false}},
		"responseElements": null,
		"additionalEventData": {"sub": "87a42a58-6051-7076-79e2-fe9208b6ae3c"},
		"requestID": "5a5f1c43-9d0f-4c8e-8a53-3d0a3f1d9a11",
		"eventID": "c75eb7a5-eb8c-43d1-8331-f4412e756e69",
		"readOnly": false,
		"eventType": "AwsApiCall",
		"recipientAccountId": "111122223333"}`)
	for name, value := range decoded(overlay) {
		if text(value) == "(absent)" {
			delete(fields, name)
			continue
		}
		fields[name] = value
	}
	out, err := json.Marshal(fields, json.Deterministic(true))
	if err != nil {
		panic(err)
	}
	return out
}

func decoded(object string) map[string]jsontext.Value {
	fields := map[string]jsontext.Value{}
	if err := json.Unmarshal([]byte(object), &fields); err != nil {
		panic(fmt.Sprintf("%v in %s", err, object))
	}
	return fields
}

// recorded is what call("{}") is read as.
func recorded() mfa.Change {
	return mfa.Change{
		Key: "c75eb7a5-eb8c-43d1-8331-f4412e756e69", Kind: mfa.FactorsChanged, EventName: "AdminSetUserMFAPreference",
		EventID: "c75eb7a5-eb8c-43d1-8331-f4412e756e69", At: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC),
		Actor: mfa.Actor{
			ARN:    "arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7",
			Issuer: "arn:aws:iam::111122223333:role/SupportAdmin", Type: mfa.Admin,
		},
		Source: "192.0.2.10", Account: "111122223333", Region: "us-east-1",
		Pool: "us-east-1_EXAMPLE12", Sub: "87a42a58-6051-7076-79e2-fe9208b6ae3c", Off: []mfa.Factor{mfa.TOTP},
	}
}

// fieldCases: one record each, and how it differs from the recorded one.
var fieldCases = map[string]struct {
	overlay string
	differs func(*mfa.Change)
}{
	"a disable switches a factor off": {`{}`, func(*mfa.Change) {}},

	// The user.
	"a sub in a list, as service events have it": {
		`{"additionalEventData": {"requestParameters": {"sub": ["704b1e47-34fe-40e9-8c41-504997494531"]}}}`,
		func(c *mfa.Change) { c.Sub = "704b1e47-34fe-40e9-8c41-504997494531" },
	},
	"the same sub twice in a list is one user": {
		`{"additionalEventData": {"requestParameters": {"sub": ["u1", "u1", "HIDDEN_DUE_TO_SECURITY_REASONS"]}}}`,
		func(c *mfa.Change) { c.Sub = "u1" },
	},
	"a pool id in additionalEventData, as service events have it": {
		`{"requestParameters": null, "additionalEventData": {"userPoolId": "us-west-2_a", "requestParameters": {"sub": "u1"}}}`,
		func(c *mfa.Change) { c.Pool, c.Sub, c.Off, c.Masked = "us-west-2_a", "u1", nil, true },
	},
	"a sub that is no UUID": {
		`{"additionalEventData": {"sub": "user/42:é"}}`, func(c *mfa.Change) { c.Sub = "user/42:é" },
	},
	"a username is never the user": {
		`{"requestParameters": {"userPoolId": "us-east-1_EXAMPLE12", "username": "jane", "softwareTokenMfaSettings": {}},
		  "additionalEventData": null}`, func(c *mfa.Change) { c.Sub = "" },
	},
	"a masked sub is no sub":                 {`{"additionalEventData": {"sub": "HIDDEN_DUE_TO_SECURITY_REASONS"}}`, func(c *mfa.Change) { c.Sub = "" }},
	"a sub masked in the older spelling":     {`{"additionalEventData": {"sub": "HIDDEN_FOR_SECURITY_REASONS"}}`, func(c *mfa.Change) { c.Sub = "" }},
	"a masked additionalEventData":           {`{"additionalEventData": "HIDDEN_DUE_TO_SECURITY_REASONS"}`, func(c *mfa.Change) { c.Sub = "" }},
	"masked parameters of a service event":   {`{"additionalEventData": {"requestParameters": "HIDDEN_DUE_TO_SECURITY_REASONS"}}`, func(c *mfa.Change) { c.Sub = "" }},
	"no additionalEventData":                 {`{"additionalEventData": "(absent)"}`, func(c *mfa.Change) { c.Sub = "" }},
	"a record without recipientAccountId":    {`{"recipientAccountId": "(absent)"}`, func(c *mfa.Change) { c.Account = "" }},
	"the account is the recipient's":         {`{"recipientAccountId": "444455556666"}`, func(c *mfa.Change) { c.Account = "444455556666" }},
	"names without regard to case, the user": {`{"additionalEventData": {"Sub": "u1"}}`, func(c *mfa.Change) { c.Sub = "u1" }},

	// Settings.
	"a factor without enabled is off, as the Go SDK sends it": {settingsOf(`"softwareTokenMfaSettings": {}`), func(*mfa.Change) {}},
	"a factor whose enabled is null is off":                   {settingsOf(`"softwareTokenMfaSettings": {"enabled": null}`), func(*mfa.Change) {}},
	"enabled as a string":                                     {settingsOf(`"softwareTokenMfaSettings": {"enabled": "False"}`), func(*mfa.Change) {}},
	"a factor that is null is not named":                      {settingsOf(`"softwareTokenMfaSettings": null`), func(c *mfa.Change) { c.Off = nil }},
	"no factor is named":                                      {settingsOf(`"other": 1`), func(c *mfa.Change) { c.Off = nil }},
	"sMSMfaSettings, by CloudTrail's rule":                    {settingsOf(`"sMSMfaSettings": {}`), func(c *mfa.Change) { c.Off = []mfa.Factor{mfa.SMS} }},
	"SMSMfaSettings, as the API has it":                       {settingsOf(`"SMSMfaSettings": {"Enabled": false}`), func(c *mfa.Change) { c.Off = []mfa.Factor{mfa.SMS} }},
	"smsMfaSettings, as one would write it":                   {settingsOf(`"smsMfaSettings": {"ENABLED": false}`), func(c *mfa.Change) { c.Off = []mfa.Factor{mfa.SMS} }},
	"an escape in a name":                                     {settingsOf(`"sms\u004dfaSettings": {}`), func(c *mfa.Change) { c.Off = []mfa.Factor{mfa.SMS} }},
	"every factor, on and off, one preferred": {
		settingsOf(`"softwareTokenMfaSettings": {"enabled": true, "preferredMfa": true}, "sMSMfaSettings": {"enabled": false},
			"emailMfaSettings": {"enabled": "true", "preferredMfa": false}, "webAuthnMfaSettings": {}`),
		func(c *mfa.Change) {
			c.On, c.Off, c.Preferred = []mfa.Factor{mfa.TOTP, mfa.Email}, []mfa.Factor{mfa.SMS, mfa.WebAuthn}, mfa.TOTP
		},
	},
	"a masked string where a setting belongs": {
		settingsOf(`"softwareTokenMfaSettings": "HIDDEN_DUE_TO_SECURITY_REASONS"`), func(c *mfa.Change) { c.Off, c.Masked = nil, true },
	},
	"the older mask where a setting belongs, a readable one beside it": {
		settingsOf(`"softwareTokenMfaSettings": {}, "sMSMfaSettings": "HIDDEN_FOR_SECURITY_REASONS"`), func(c *mfa.Change) { c.Masked = true },
	},
	"a masked enabled": {
		settingsOf(`"softwareTokenMfaSettings": {"enabled": "HIDDEN_DUE_TO_SECURITY_REASONS"}`), func(c *mfa.Change) { c.Off, c.Masked = nil, true },
	},
	"an enabled that is neither true nor false": {
		settingsOf(`"softwareTokenMfaSettings": {"enabled": 1}`), func(c *mfa.Change) { c.Off, c.Masked = nil, true },
	},
	"a list where a setting belongs": {settingsOf(`"softwareTokenMfaSettings": [1]`), func(c *mfa.Change) { c.Off, c.Masked = nil, true }},
	"one factor in two spellings": {
		settingsOf(`"sMSMfaSettings": {"enabled": true}, "SMSMfaSettings": {}`),
		func(c *mfa.Change) { c.On, c.Off, c.Masked = []mfa.Factor{mfa.SMS}, nil, true },
	},
	"a factor that does not exist yet": {settingsOf(`"softwareTokenMfaSettings": {}, "pushMfaSettings": {"enabled": false}`), func(c *mfa.Change) { c.Masked = true }},
	"masked request parameters": {
		`{"requestParameters": "HIDDEN_DUE_TO_SECURITY_REASONS"}`, func(c *mfa.Change) { c.Pool, c.Off, c.Masked = "", nil, true },
	},
	"request parameters left out because of their size": {
		`{"requestParameters": "(absent)"}`, func(c *mfa.Change) { c.Pool, c.Off, c.Masked = "", nil, true },
	},
	"a masked pool id": {
		`{"requestParameters": {"userPoolId": "HIDDEN_DUE_TO_SECURITY_REASONS", "softwareTokenMfaSettings": {}}}`, func(c *mfa.Change) { c.Pool = "" },
	},

	// Whether it happened, and when.
	"an empty errorCode means that it happened":  {`{"errorCode": "", "errorMessage": ""}`, func(*mfa.Change) {}},
	"an errorCode of null means the same":        {`{"errorCode": null}`, func(*mfa.Change) {}},
	"an errorCode means that nothing happened":   {`{"errorCode": "AccessDenied"}`, func(c *mfa.Change) { c.Failed = "AccessDenied" }},
	"eventTime with a fraction":                  {`{"eventTime": "2026-11-23T08:00:00.987Z"}`, func(*mfa.Change) {}},
	"eventTime with an offset":                   {`{"eventTime": "2026-11-23T13:30:00+05:30"}`, func(*mfa.Change) {}},
	"a later minor version":                      {`{"eventVersion": "1.15", "tlsDetails": {"x": [1]}, "new": null}`, func(*mfa.Change) {}},
	"no eventVersion":                            {`{"eventVersion": "(absent)"}`, func(*mfa.Change) {}},
	"a re-issued record has the original's key":  {`{"addendum": {"reason": "UPDATED_DATA", "originalEventID": "o1"}}`, func(c *mfa.Change) { c.Key = "o1" }},
	"an addendum without the original's id":      {`{"addendum": {"reason": "DELIVERY_DELAY"}}`, func(*mfa.Change) {}},
	"a masked addendum":                          {`{"addendum": "HIDDEN_DUE_TO_SECURITY_REASONS"}`, func(*mfa.Change) {}},
	"without an event id the key is the request": {`{"eventID": "(absent)"}`, func(c *mfa.Change) { c.Key, c.EventID = "5a5f1c43-9d0f-4c8e-8a53-3d0a3f1d9a11", "" }},

	// Who.
	"a masked userIdentity": {`{"userIdentity": "HIDDEN_DUE_TO_SECURITY_REASONS"}`, func(c *mfa.Change) { c.Actor = mfa.Actor{Type: mfa.Admin} }},
	"no userIdentity":       {`{"userIdentity": null}`, func(c *mfa.Change) { c.Actor = mfa.Actor{Type: mfa.Admin} }},
	"a masked ARN is no actor": {
		`{"userIdentity": {"type": "AssumedRole", "arn": "HIDDEN_DUE_TO_SECURITY_REASONS"}}`, func(c *mfa.Change) { c.Actor = mfa.Actor{Type: mfa.Admin} },
	},
	"a masked session issuer hides nothing else": {
		`{"userIdentity": {"arn": "arn:aws:sts::111122223333:assumed-role/A/b", "sessionContext":
			{"sessionIssuer": "HIDDEN_DUE_TO_SECURITY_REASONS", "sourceIdentity": "jane"}}}`,
		func(c *mfa.Change) {
			c.Actor = mfa.Actor{ARN: "arn:aws:sts::111122223333:assumed-role/A/b", SourceIdentity: "jane", Type: mfa.Admin}
		},
	},
	"an IAM user": {
		`{"userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/CHG0000001"}}`,
		func(c *mfa.Change) {
			c.Actor = mfa.Actor{ARN: "arn:aws:iam::111122223333:user/CHG0000001", Type: mfa.Admin}
		},
	},
	"an AWS service": {
		`{"userIdentity": {"type": "AWSService", "invokedBy": "scheduler.amazonaws.com"}}`,
		func(c *mfa.Change) { c.Actor = mfa.Actor{ARN: "scheduler.amazonaws.com", Type: mfa.Service} },
	},
	"a service event": {`{"eventType": "AwsServiceEvent"}`, func(c *mfa.Change) { c.Actor.Type = mfa.Service }},

	// What is claimed.
	"a ticket in the application id": {
		`{"userAgent": "aws-sdk-go-v2/1.47.7 ua/2.1 app/mfa-off.CHG0012345~24h m/E,e INC7654321"}`, func(c *mfa.Change) { c.Claims = []string{"CHG0012345"} },
	},
	"tickets in the session name and the source identity, each once": {
		`{"userAgent": "x app/OPS-12345", "userIdentity": {"arn": "arn:aws:sts::111122223333:assumed-role/A/CHG0012345",
			"sessionContext": {"sourceIdentity": "CHG0012345+INC7654321"}}}`,
		func(c *mfa.Change) {
			c.Actor = mfa.Actor{ARN: "arn:aws:sts::111122223333:assumed-role/A/CHG0012345", SourceIdentity: "CHG0012345+INC7654321", Type: mfa.Admin}
			c.Claims = []string{"OPS-12345", "CHG0012345", "INC7654321"}
		},
	},
	"a browser claims nothing": {`{"userAgent": "Mozilla/5.0 (X11; Linux) CHG0012345"}`, func(*mfa.Change) {}},
	"no user agent":            {`{"userAgent": null}`, func(*mfa.Change) {}},
}

// settingsOf is an overlay with these settings in the request.
func settingsOf(settings string) string {
	return `{"requestParameters": {"userPoolId": "us-east-1_EXAMPLE12", "username": "HIDDEN_DUE_TO_SECURITY_REASONS", ` + settings + `}}`
}

func TestEachFieldOfARecordIsReadAsCloudTrailMeansIt(t *testing.T) {
	t.Parallel()
	for name, test := range fieldCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := recorded()
			test.differs(&want)
			expect(t, call(test.overlay), want)
		})
	}
}

// operationCases: what is particular to each operation. Only these fields of
// the Change, its kind and the actor's type are compared.
var operationCases = []struct {
	name    string
	event   string // eventName
	params  string // requestParameters
	overlay string // in place of params
	want    mfa.Change
}{
	{
		name: "a self-service disable has neither a pool nor an IAM identity", event: "SetUserMFAPreference",
		overlay: `{"eventName": "SetUserMFAPreference", "userIdentity": {"type": "Unknown", "principalId": "Anonymous"},
			"requestParameters": {"accessToken": "HIDDEN_DUE_TO_SECURITY_REASONS", "softwareTokenMfaSettings": {"enabled": false}}}`,
		want: mfa.Change{Kind: mfa.FactorsChanged, Off: []mfa.Factor{mfa.TOTP}},
	},
	{
		name: "an empty list of MFA options switches SMS off", event: "AdminSetUserSettings",
		params: `{"mFAOptions": []}`, want: mfa.Change{Kind: mfa.FactorsChanged, Off: []mfa.Factor{mfa.SMS}},
	},
	{
		name: "an MFA option in any spelling switches SMS on", event: "SetUserSettings",
		params: `{"MFAOptions": [{"AttributeName": "phone_number", "DeliveryMedium": "SMS"}]}`,
		want:   mfa.Change{Kind: mfa.FactorsChanged, On: []mfa.Factor{mfa.SMS}},
	},
	{
		name: "masked MFA options", event: "SetUserSettings", params: `{"mFAOptions": "HIDDEN_DUE_TO_SECURITY_REASONS"}`,
		want: mfa.Change{Kind: mfa.FactorsChanged, Masked: true},
	},
	{
		name: "a masked element of the MFA options", event: "AdminSetUserSettings", params: `{"mFAOptions": ["HIDDEN_DUE_TO_SECURITY_REASONS"]}`,
		want: mfa.Change{Kind: mfa.FactorsChanged, Masked: true},
	},
	{
		name: "a masked medium of an MFA option", event: "AdminSetUserSettings",
		params: `{"mFAOptions": [{"attributeName": "phone_number", "deliveryMedium": "HIDDEN_FOR_SECURITY_REASONS"}]}`,
		want:   mfa.Change{Kind: mfa.FactorsChanged, Masked: true},
	},
	{
		name: "no MFA options are shown", event: "AdminSetUserSettings", params: `{"username": "HIDDEN_DUE_TO_SECURITY_REASONS"}`,
		want: mfa.Change{Kind: mfa.FactorsChanged, Masked: true},
	},
	{name: "a deleted secret", event: "AdminDeleteSoftwareToken", want: mfa.Change{Kind: mfa.TokenDeleted, Off: []mfa.Factor{mfa.TOTP}}},
	{name: "a deleted passkey", event: "DeleteWebAuthnCredential", want: mfa.Change{Kind: mfa.TokenDeleted, Off: []mfa.Factor{mfa.WebAuthn}}},
	{name: "a verified token", event: "VerifySoftwareToken", want: mfa.Change{Kind: mfa.TokenVerified, Verified: mfa.TOTP}},
	{name: "a registered passkey", event: "CompleteWebAuthnRegistration", want: mfa.Change{Kind: mfa.TokenVerified, Verified: mfa.WebAuthn}},
	{
		name: "a pool's factors", event: "SetUserPoolMfaConfig",
		params: `{"mfaConfiguration": "OPTIONAL", "softwareTokenMfaConfiguration": {}, "smsMfaConfiguration": {"smsConfiguration": {}},
			"emailMfaConfiguration": {"message": "HIDDEN_DUE_TO_SECURITY_REASONS"}}`,
		want: mfa.Change{Kind: mfa.PoolChanged, Sets: &mfa.PoolSettings{Mode: mfa.ModeOptional, On: []mfa.Factor{mfa.SMS, mfa.Email}, Off: []mfa.Factor{mfa.TOTP}}},
	},
	{
		name: "a pool's masked factors stay as they are", event: "SetUserPoolMfaConfig",
		params: `{"mfaConfiguration": "HIDDEN_DUE_TO_SECURITY_REASONS", "softwareTokenMfaConfiguration": "HIDDEN_DUE_TO_SECURITY_REASONS"}`,
		want:   mfa.Change{Kind: mfa.PoolChanged, Sets: &mfa.PoolSettings{}},
	},
	{
		name: "an update that names nothing sets everything to its default", event: "UpdateUserPool", params: `{"userPoolId": "p"}`,
		want: mfa.Change{Kind: mfa.PoolChanged, Sets: &mfa.PoolSettings{Mode: mfa.ModeOff, PreToken: new(false)}},
	},
	{
		name: "an update that keeps the trigger", event: "UpdateUserPool",
		params: `{"mfaConfiguration": "ON", "lambdaConfig": {"preTokenGenerationConfig": {"lambdaVersion": "V2_0", "lambdaArn": "a"}}}`,
		want:   mfa.Change{Kind: mfa.PoolChanged, Sets: &mfa.PoolSettings{Mode: mfa.ModeOn, PreToken: new(true)}},
	},
	{
		name: "an update that keeps the trigger, the older member", event: "UpdateUserPool",
		params: `{"mfaConfiguration": "OFF", "lambdaConfig": {"preTokenGeneration": "HIDDEN_DUE_TO_SECURITY_REASONS"}}`,
		want:   mfa.Change{Kind: mfa.PoolChanged, Sets: &mfa.PoolSettings{Mode: mfa.ModeOff, PreToken: new(true)}},
	},
	{
		name: "an update with other triggers only", event: "UpdateUserPool",
		params: `{"mfaConfiguration": "OPTIONAL", "lambdaConfig": {"preAuthentication": "arn", "preTokenGeneration": null}}`,
		want:   mfa.Change{Kind: mfa.PoolChanged, Sets: &mfa.PoolSettings{Mode: mfa.ModeOptional, PreToken: new(false)}},
	},
	{
		name: "a masked update says nothing", event: "UpdateUserPool",
		params: `{"mfaConfiguration": "HIDDEN_DUE_TO_SECURITY_REASONS", "lambdaConfig": "HIDDEN_DUE_TO_SECURITY_REASONS"}`,
		want:   mfa.Change{Kind: mfa.PoolChanged, Sets: &mfa.PoolSettings{}},
	},
	{
		name: "an update whose parameters are masked as a whole says nothing", event: "UpdateUserPool", params: `"HIDDEN_DUE_TO_SECURITY_REASONS"`,
		want: mfa.Change{Kind: mfa.PoolChanged, Sets: &mfa.PoolSettings{}},
	},
	{name: "a role gained", event: "AdminAddUserToGroup", params: `{"GroupName": "itsm_manager"}`, want: mfa.Change{Kind: mfa.RoleChanged, Role: "itsm_manager"}},
	{name: "a role lost", event: "AdminRemoveUserFromGroup", params: `{"groupName": "itsm_manager"}`, want: mfa.Change{Kind: mfa.RoleChanged, Role: "itsm_manager"}},
	{name: "a role deleted", event: "DeleteGroup", params: `{"groupName": "itsm_manager"}`, want: mfa.Change{Kind: mfa.RoleChanged, Role: "itsm_manager"}},
	{name: "a masked role", event: "AdminAddUserToGroup", params: `{"groupName": "HIDDEN_DUE_TO_SECURITY_REASONS"}`, want: mfa.Change{Kind: mfa.RoleChanged}},
	{name: "a group made", event: "CreateGroup", params: `{"groupName": "g"}`, want: mfa.Change{Kind: mfa.NotRelevant, Role: "g"}},
	{name: "a user made", event: "AdminCreateUser", want: mfa.Change{Kind: mfa.UserChanged}},
	{name: "a user deleted", event: "AdminDeleteUser", want: mfa.Change{Kind: mfa.UserChanged}},
	{name: "a user who deletes herself", event: "DeleteUser", want: mfa.Change{Kind: mfa.UserChanged}},
	{name: "a user disabled", event: "AdminDisableUser", want: mfa.Change{Kind: mfa.UserChanged}},
	{name: "a user enabled", event: "AdminEnableUser", want: mfa.Change{Kind: mfa.UserChanged}},
	{name: "attributes changed", event: "AdminUpdateUserAttributes", params: `{"userAttributes": "HIDDEN_DUE_TO_SECURITY_REASONS"}`, want: mfa.Change{Kind: mfa.UserChanged}},
	{name: "own attributes changed", event: "UpdateUserAttributes", want: mfa.Change{Kind: mfa.UserChanged}},
	{
		name: "destinations deleted", event: "AdminDeleteUserAttributes", params: `{"userAttributeNames": ["email", "custom:x", "phone_number", "email"]}`,
		want: mfa.Change{Kind: mfa.UserChanged, Off: []mfa.Factor{mfa.Email, mfa.SMS}},
	},
	{name: "another attribute deleted", event: "DeleteUserAttributes", params: `{"UserAttributeNames": ["custom:x"]}`, want: mfa.Change{Kind: mfa.UserChanged}},
	{
		name: "masked attribute names", event: "DeleteUserAttributes", params: `{"userAttributeNames": "HIDDEN_DUE_TO_SECURITY_REASONS"}`,
		want: mfa.Change{Kind: mfa.UserChanged, Masked: true},
	},
	{
		name: "a masked attribute name among others", event: "AdminDeleteUserAttributes", params: `{"userAttributeNames": ["HIDDEN_DUE_TO_SECURITY_REASONS", "phone_number"]}`,
		want: mfa.Change{Kind: mfa.UserChanged, Masked: true, Off: []mfa.Factor{mfa.SMS}},
	},
}

func TestEachOperationIsReadForWhatItDoes(t *testing.T) {
	t.Parallel()
	for _, test := range operationCases {
		t.Run(test.event+": "+test.name, func(t *testing.T) {
			t.Parallel()
			overlay := test.overlay
			if overlay == "" {
				overlay = fmt.Sprintf(`{"eventName": %q, "requestParameters": %s}`, test.event, params(test.params))
			}
			got, err := Parse(call(overlay))
			if err != nil {
				t.Fatal(err)
			}
			if self := operations[test.event].self; self != (got.Actor.Type == mfa.Self) {
				t.Errorf("the actor is of type %q, and self-service is %v", got.Actor.Type, self)
			}
			got = mfa.Change{
				Kind: got.Kind, Off: got.Off, On: got.On, Preferred: got.Preferred, Masked: got.Masked, Verified: got.Verified, Sets: got.Sets, Role: got.Role,
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryOperationHasADelivery(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, test := range operationCases {
		seen[test.event] = true
	}
	for _, dir := range folders(t) {
		for _, f := range deliveryFiles(t, dir) {
			for _, u := range unitsOf(t, f) {
				if c, err := Parse(u.Raw); err == nil {
					seen[c.EventName] = true
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(operations)) {
		if !seen[name] {
			t.Errorf("%s has neither a delivery in events/ nor a row in operationCases", name)
		}
	}
}

func TestWhateverIsAroundARecordItIsReadTheSame(t *testing.T) {
	t.Parallel()
	bare := call(`{}`)
	quoted, err := json.Marshal(string(bare))
	if err != nil {
		t.Fatal(err)
	}
	envelope := func(kind, more string) []byte {
		return fmt.Appendf(nil, `{"version": "0", "id": "x", "detail-type": %q, "source": "aws.cognito-idp", "account": "999999999999",
			"time": "2020-01-01T00:00:00Z", "region": "eu-west-1", "resources": [], %s "detail": %s}`, kind, more, bare)
	}
	for name, test := range map[string]struct {
		raw     []byte
		differs func(*mfa.Change)
	}{
		"a bare record":                      {bare, nil},
		"white space around it":              {[]byte("\r\n\t " + string(bare) + " \n"), nil},
		"an envelope around an API call":     {envelope("AWS API Call via CloudTrail", ""), nil},
		"around a service event":             {envelope("AWS Service Event via CloudTrail", ""), nil},
		"an envelope with fields unheard of": {envelope("AWS API Call via CloudTrail", `"trace-header": "Root=1", "new": {"a": [1]},`), nil},
		"an envelope without detail-type":    {fmt.Appendf(nil, `{"detail": %s}`, bare), nil},
		"a replayed envelope":                {envelope("AWS API Call via CloudTrail", `"replay-name": "friday",`), func(c *mfa.Change) { c.Replayed = "friday" }},
		"a row of lookup-events": {
			fmt.Appendf(nil, `{"EventId": "row", "EventName": "AdminSetUserMFAPreference", "ReadOnly": "false", "EventTime": 1763884800.0, "Resources": [], "CloudTrailEvent": %s}`, quoted), nil,
		},
		"the source of the envelope where the record has none": {
			fmt.Appendf(nil, `{"detail-type": "AWS API Call via CloudTrail", "source": "aws.cognito-idp", "detail": %s}`, call(`{"eventSource": "(absent)"}`)), nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := recorded()
			if test.differs != nil {
				test.differs(&want)
			}
			expect(t, test.raw, want)
		})
	}
}

func TestWhatIsOfNoInterestIsNotRelevantAndNoError(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string][]byte{
		"IAM's own DeleteUser":                          call(`{"eventSource": "iam.amazonaws.com", "eventName": "DeleteUser"}`),
		"another operation of Cognito":                  call(`{"eventName": "AdminGetUser"}`),
		"an operation in another case":                  call(`{"eventName": "adminSetUserMFAPreference"}`),
		"identity pools":                                call(`{"eventSource": "cognito-identity.amazonaws.com"}`),
		"a later major version of another":              call(`{"eventSource": "ec2.amazonaws.com", "eventVersion": "2.0"}`),
		"a bad time of another":                         call(`{"eventSource": "ec2.amazonaws.com", "eventTime": "soon"}`),
		"an envelope around something else":             []byte(`{"detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2", "detail": {"state": "stopped"}}`),
		"an envelope around no object":                  []byte(`{"detail-type": "Something", "source": "mine", "detail": [1]}`),
		"another event that is named like an operation": []byte(`{"detail-type": "DeleteUser", "source": "cognito-idp.amazonaws.com", "detail": {}}`),
		"a read of the guard":                           call(`{"eventSource": "events.amazonaws.com", "eventName": "PutRule", "readOnly": true}`),
		"a read of the guard, by its name":              call(`{"eventSource": "cloudtrail.amazonaws.com", "eventName": "DescribeTrails", "readOnly": "(absent)"}`),
		"who confirms a subscription":                   call(`{"eventSource": "sns.amazonaws.com", "eventName": "ConfirmSubscription"}`),
		"a stream for a log":                            call(`{"eventSource": "logs.amazonaws.com", "eventName": "CreateLogStream"}`),
		"a write of data in the guard":                  call(`{"eventSource": "dynamodb.amazonaws.com", "eventName": "PutItem", "eventCategory": "Data"}`),
		"an Insights event, which names no call": []byte(`{"eventVersion": "1.08", "eventTime": "2026-11-23T08:00:00Z", "awsRegion": "us-east-1", "eventID": "i1",
			"eventType": "AwsCloudTrailInsight", "recipientAccountId": "111122223333", "sharedEventID": "s1",
			"insightDetails": {"state": "Start", "eventSource": "cognito-idp.amazonaws.com", "eventName": "AdminDisableUser", "insightType": "ApiCallRateInsight"},
			"eventCategory": "Insight"}`),
		"a notification of S3": []byte(`{"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2026-11-23T08:00:00.000Z", "s3": {}}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Parse(raw)
			if err != nil || c.Kind != mfa.NotRelevant {
				t.Errorf("kind %q, error %v; want not_relevant and none", c.Kind, err)
			}
		})
	}
}

func TestCallsOnTheGuardsServicesNameTheirResources(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		source, overlay string
		want            []string
	}{
		"names and ARNs in the request": {
			"scheduler", `"eventName": "DeleteSchedule", "requestParameters": {"name": "n", "groupName": "g", "clientToken": 7, "target": {"arn": "a"}}`, []string{"n", "g"},
		},
		"ARNs in resources": {
			"dynamodb", `"eventName": "DeleteTable", "requestParameters": {"tableName": "t"}, "resources": [{"ARN": "arn:t"}, "x", {"arn": null}]`, []string{"t", "arn:t"},
		},
		"a failed call":     {"lambda", `"eventName": "DeleteFunction20150331", "errorCode": "AccessDenied", "requestParameters": {"functionName": "f"}`, []string{"f"}},
		"masked parameters": {"sqs", `"eventName": "PurgeQueue", "requestParameters": "HIDDEN_DUE_TO_SECURITY_REASONS"`, nil},
		"a mapping's queue in the answer": {
			"lambda", `"eventName": "UpdateEventSourceMapping20150331", "requestParameters": {"uUID": "u", "enabled": false}, "responseElements": {"uUID": "u", "eventSourceArn": "arn:q", "functionArn": "arn:f"}`, []string{"arn:q"},
		},
		"a list of names":             {"monitoring", `"eventName": "DisableAlarmActions", "requestParameters": {"alarmNames": ["a", 1, "b"]}`, []string{"a", "b"}},
		"a policy that is changed":    {"iam", `"eventName": "CreatePolicyVersion", "requestParameters": {"policyArn": "arn:p", "setAsDefault": true}`, []string{"arn:p"}},
		"a policy that is handed out": {"iam", `"eventName": "AttachRolePolicy", "requestParameters": {"roleName": "r", "policyArn": "arn:p"}`, []string{"r"}},
		"a masked parameter":          {"sns", `"eventName": "DeleteTopic", "requestParameters": {"topicArn": "HIDDEN_DUE_TO_SECURITY_REASONS"}`, nil},
		"a text of no name":           {"events", `"eventName": "PutRule", "requestParameters": {"name": "r", "eventPattern": "` + strings.Repeat("x", 4000) + `"}`, []string{"r"}},
		"the trail":                   {"cloudtrail", `"eventName": "StopLogging", "requestParameters": {"name": "arn:trail"}`, []string{"arn:trail"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Parse(call(`{"eventSource": "` + test.source + `.amazonaws.com", ` + test.overlay + `}`))
			if err != nil {
				t.Fatal(err)
			}
			service := test.source
			if as := guards[service].as; as != "" {
				service = as
			}
			if c.Kind != mfa.GuardChanged || c.Service != service || c.Actor != recorded().Actor {
				t.Errorf("kind %q, service %q, actor %v", c.Kind, c.Service, c.Actor)
			}
			if diff := cmp.Diff(test.want, c.Resources); diff != "" {
				t.Errorf("resources (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSiftTellsOfACallWhatParseMakesOfIt(t *testing.T) {
	t.Parallel()
	names := []string{"DeleteThing", "GetThing", "DescribeThings", "TestThing", "ConfirmSubscription", "AdminSetUserMFAPreference"}
	for _, service := range guards {
		for _, calls := range service.named {
			names = append(names, calls...)
		}
	}
	want := map[mfa.Kind]Sieve{mfa.GuardChanged: MattersToGuard, mfa.NotRelevant: Irrelevant, mfa.FactorsChanged: Matters}
	for _, service := range append(slices.Collect(maps.Keys(guards)), cognito, "s3", "sts") {
		for _, name := range names {
			source := service + ".amazonaws.com"
			c, err := Parse(fmt.Appendf(nil, `{"eventVersion":"1.08","eventID":"e-1","eventTime":"2026-11-23T08:00:00Z","eventSource":%q,"eventName":%q,"additionalEventData":{"sub":"u-1"}}`, source, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := Sift([]byte(source), []byte(name)); got != want[c.Kind] || Sift([]byte(service), []byte(name)) != got {
				t.Errorf("%s, %s: %d, where Parse makes a %s of it", source, name, got, c.Kind)
			}
		}
	}
}

func TestWhatCannotBeReadIsAnErrorThatNamesTheEventAndTheProblem(t *testing.T) {
	t.Parallel()
	const id = "c75eb7a5-eb8c-43d1-8331-f4412e756e69"
	for name, test := range map[string]struct {
		raw  []byte
		id   string
		want string // what the message says besides the id
	}{
		"another major version":  {call(`{"eventVersion": "2.0"}`), id, `eventVersion "2.0" has another major version than 1`},
		"no ids at all":          {call(`{"eventID": "(absent)", "requestID": "(absent)"}`), "", "eventID is missing"},
		"no time":                {call(`{"eventTime": "(absent)"}`), id, `eventTime "" is no time such as 2026-11-23T08:00:00Z`},
		"a time in words":        {call(`{"eventTime": "yesterday"}`), id, `eventTime "yesterday" is no time`},
		"a time without a zone":  {call(`{"eventTime": "2026-11-23T08:00:00"}`), id, "is no time"},
		"the zero time":          {call(`{"eventTime": "0001-01-01T00:00:00Z"}`), id, "is no time"},
		"a time after all times": {call(`{"eventTime": "9999-12-31T23:59:59-20:00"}`), id, "is no time"},
		"a time of a megabyte":   {call(`{"eventTime": "` + strings.Repeat("9", 1<<19) + `"}`), id, "9…"},
		"two users":              {call(`{"additionalEventData": {"requestParameters": {"sub": ["a", "b"]}}}`), id, "additionalEventData.requestParameters.sub names 2 users"},
		"no event name":          {call(`{"eventName": null}`), id, "eventName is missing"},
		"no event source":        {call(`{"eventSource": ""}`), id, "eventSource is missing"},
		"a number for a name":    {call(`{"eventName": 5}`), id, "not a CloudTrail record: eventName: want a string, have a number"},
		"a field twice":          {[]byte(`{"eventID": "e1", "eventName": "x", "eventName": "y"}`), "e1", "eventName: is there twice"},
		"a field twice, deeper":  {[]byte(`{"eventID": "e1", "requestParameters": {"a": [{"b": 1, "b": 2}]}}`), "e1", "requestParameters: a name is there twice"},
		"invalid UTF-8":          {[]byte("{\"eventID\": \"e1\", \"userAgent\": \"\xff\"}"), "e1", "userAgent: invalid UTF-8 (at byte 32)"},
		"an id in invalid UTF-8": {[]byte("{\"eventID\": \"\xff\"}"), "", "eventID: invalid UTF-8"},
		"half a surrogate":       {[]byte(`{"eventID": "e1", "userAgent": "\ud800"}`), "e1", "userAgent: invalid"},
		"text cut off":           {[]byte(`{"eventID": "e1", "userAgent": "aws`), "e1", "userAgent: the text ends too early"},
		"no JSON":                {[]byte(`{"eventID": "e1", oops}`), "e1", "invalid character 'o'"},
		"nothing":                {nil, "", "want a JSON object, have no JSON"},
		"null":                   {[]byte(`null`), "", "want a JSON object, have null"},
		"true":                   {[]byte(`true`), "", "want a JSON object, have a boolean"},
		"a number":               {[]byte(`17`), "", "want a JSON object, have a number"},
		"a string":               {[]byte(`"x"`), "", "want a JSON object, have a string"},
		"a list":                 {[]byte(`[{"eventID": "e1"}]`), "e1", "want a JSON object, have a list"},
		"an empty object":        {[]byte(`{}`), "", "eventName is missing"},
		"Records is no list":     {[]byte(`{"Records": null}`), "", "Records is null, want a list of records"},
		"detail is null":         {[]byte(`{"detail-type": "AWS API Call via CloudTrail", "source": "aws.cognito-idp", "detail": null}`), "", "detail is no CloudTrail record: want a JSON object, have null"},
		"detail is masked":       {[]byte(`{"detail": "HIDDEN_DUE_TO_SECURITY_REASONS"}`), "", "detail is no CloudTrail record: want a JSON object, have a string"},
		"detail is unsound":      {[]byte(`{"detail": {"eventID": "e1", "errorCode": {}}}`), "e1", "detail is no CloudTrail record: errorCode: want a string, have an object"},
		"a row's summary only":   {[]byte(`{"EventId": "r1", "EventName": "AdminDeleteUser"}`), "r1", "a row of lookup-events without CloudTrailEvent"},
		"a row without a text":   {[]byte(`{"EventId": "r1", "CloudTrailEvent": null}`), "r1", "CloudTrailEvent: want the record as a string, have null"},
		"a row with an object":   {[]byte(`{"EventId": "r1", "CloudTrailEvent": {}}`), "r1", "CloudTrailEvent: want the record as a string, have an object"},
		"a row with half a text": {[]byte(`{"EventId": "r1", "CloudTrailEvent": "{\"eventVersion\": \"1.1"}`), "r1", "CloudTrailEvent is no CloudTrail record: eventVersion: the text ends too early"},
		"a row with bare text":   {[]byte(`{"EventId": "r1", "CloudTrailEvent": ""}`), "r1", "CloudTrailEvent is no CloudTrail record: want a JSON object, have no JSON"},
		"a row's empty record":   {[]byte(`{"EventId": "r1", "CloudTrailEvent": "{}"}`), "r1", "eventName is missing"},
		"five megabytes":         {call(`{"userAgent": "` + strings.Repeat("x", 5<<20) + `"}`), id, "bytes; CloudTrail writes none over 1048576"},
		"nested too deeply":      {[]byte(strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)), "", "nested too deeply"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Parse(test.raw)
			if diff := cmp.Diff(mfa.Change{}, c); diff != "" {
				t.Errorf("an error comes with a change:\n%s", diff)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("the error is %T (%v), want *Error", err, err)
			}
			if e.EventID != test.id {
				t.Errorf("event id %q, want %q", e.EventID, test.id)
			}
			text := err.Error()
			if !utf8.ValidString(text) {
				t.Errorf("%q cannot be written into a record", text)
			}
			if !strings.Contains(text, test.want) || test.id != "" && !strings.HasPrefix(text, "event "+test.id+": ") || len(text) > 300 {
				t.Errorf("the error says\n%s\nwant in it\n%s", text, test.want)
			}
		})
	}
}

func TestAWSExamplesOfServiceEventsAreNotRelevant(t *testing.T) {
	t.Parallel()
	files := glob(t, "samples", "awsdocs-0*.json")
	if len(files) != 9 {
		t.Errorf("%d examples, want 9", len(files))
	}
	for _, f := range files {
		c, err := Parse(read(t, f))
		if err != nil || c.Kind != mfa.NotRelevant || c.EventID == "" || c.At.IsZero() {
			t.Errorf("%s: kind %q, error %v", filepath.Base(f), c.Kind, err)
		}
	}
}

func TestTheSamplesParseAsFarAsTheyAreWhole(t *testing.T) {
	t.Parallel()
	glob(t, "samples", "*.json")
	for name, want := range map[string]any{
		"CONSTRUCTED-AdminSetUserMFAPreference-disable.json":            mfa.FactorsChanged,
		"real-InitiateAuth-failed-2025-10.json":                         mfa.NotRelevant,
		"real-shape-InitiateAuth-eventbridge-2026-06.json":              mfa.NotRelevant,
		"synthetic-thirdparty-AdminDisableUser-eventbridge.json":        mfa.UserChanged,
		"real-AdminUpdateUserAttributes-lookup-summary-2026-05.json":    "event ed240aa1-2404-4a40-ac48-0abd944ebd94: a row of lookup-events without CloudTrailEvent; ask for the whole output",
		"doubtful-thirdparty-AdminUpdateUserAttributes-unredacted.json": "eventID is missing",
		"real-fragment-SignUp-hackingthecloud-2024.json":                "eventName is missing, so this is no CloudTrail record, nor an envelope around one",
	} {
		c, err := Parse(read(t, filepath.Join(shared, "samples", name)))
		if err != nil && err.Error() != want || err == nil && c.Kind != want {
			t.Errorf("%s: kind %q, error %v; want %v", name, c.Kind, err, want)
		}
	}
}

func TestTheConstructedSampleParsesAsItsReadmeSays(t *testing.T) {
	t.Parallel()
	files := glob(t, "samples", "CONSTRUCTED-*.json")
	want := recorded()
	want.Actor = mfa.Actor{
		ARN: "arn:aws:sts::111122223333:assumed-role/SupportAdmin/CHG0012345", Issuer: want.Actor.Issuer,
		Type: mfa.Admin, SourceIdentity: "jane.doe@example.com",
	}
	want.Claims = []string{"CHG0012345"}
	expect(t, read(t, files[0]), want)
}

func TestAnAttackOnOtherServicesIsNotRelevant(t *testing.T) {
	t.Parallel()
	records := 0
	for _, f := range glob(t, "cloudtrail/invictus-ir", "*.json.gz") {
		for u := range Split(read(t, f)) {
			records++
			c, err := Parse(u.Raw)
			if u.Err != nil || err != nil || c.Kind != mfa.NotRelevant && c.Kind != mfa.GuardChanged {
				t.Errorf("%s %s: %s %q, errors %v, %v", filepath.Base(f), u.Place, c.EventName, c.Kind, u.Err, err)
			}
		}
	}
	if records != 2900 {
		t.Errorf("%d records, want 2900", records)
	}
}

func expect(t *testing.T, raw []byte, want mfa.Change) {
	t.Helper()
	got, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// folders are those of the scenarios.
func folders(t testing.TB) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(scenarios, "*", "expect.json"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no scenarios in %s: %v", scenarios, err)
	}
	for i, d := range dirs {
		dirs[i] = filepath.Dir(d)
	}
	return dirs
}

func deliveryFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "[0-9]*.json*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no deliveries in %s: %v", dir, err)
	}
	return files
}

// unitsOf are the deliveries of a file, without what says when they arrive.
func unitsOf(t testing.TB, file string) []Unit {
	t.Helper()
	var out []Unit
	for u := range Split(read(t, file)) {
		var wrapped struct {
			Arrives jsontext.Value `json:"arrives"`
			Event   jsontext.Value `json:"event"`
		}
		if u.Err == nil && json.Unmarshal(u.Raw, &wrapped) == nil && wrapped.Arrives != nil {
			out = slices.AppendSeq(out, Split(wrapped.Event))
			continue
		}
		out = append(out, u)
	}
	return out
}

// glob skips the test where ../shared is not at hand.
func glob(t testing.TB, folder, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(shared, folder, pattern))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skipf("no %s in %s: it is not part of the repository", pattern, filepath.Join(shared, folder))
	}
	return files
}

// read returns what is in a file, plain or gzip.
func read(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return raw
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return raw
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// params defaults to none.
func params(given string) string {
	if given == "" {
		return "{}"
	}
	return given
}

// TestAnErrorRepeatsNothingOfTheDelivery: it goes into logs and records, the
// delivery does not.
func TestAnErrorRepeatsNothingOfTheDelivery(t *testing.T) {
	const mark = "q7z"
	for _, raw := range []string{
		mark, `"` + mark + `"`, `{"` + mark, `{"` + mark + `":`, `{"` + mark + `":1,"` + mark + `":2}`, `{"eventName":["` + mark + `"]}`,
		`{"requestParameters":{"clientMetadata":{"` + mark + `":1,"` + mark + `":2}}}`, `{"requestParameters":{"clientMetadata":{"` + mark + `":`,
		`{"requestParameters":{"accessToken":"\ud800` + mark + `"}}`, `{"requestParameters":{"accessToken":"\u` + mark + `"}}`,
		`{"requestParameters":{"accessToken":"\q` + mark + `"}}`, "{\"requestParameters\":{\"accessToken\":\"\xff" + mark + "\"}}", `{"requestParameters":` + mark + `}`,
		`{"requestParameters":tru` + mark + `}`, `{"detail":{"` + mark + `":[`, `{"detail":"` + mark + `"}`, `{"CloudTrailEvent":{"` + mark + `":1}}`,
	} {
		_, err := Parse([]byte(raw))
		if err == nil || strings.Contains(err.Error(), mark) {
			t.Errorf("%s\n\t%v", raw, err)
		}
		for ; err != nil; err = errors.Unwrap(err) {
			if strings.Contains(err.Error(), mark) {
				t.Errorf("%s\n\tbelow: %v", raw, err)
			}
		}
	}
}
