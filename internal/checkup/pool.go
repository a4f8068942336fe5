package checkup

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"github.com/stackflow/relatch/internal/mfa"
)

// mode judges a pool's MFA configuration.
func mode(pool string, c *cognitoidentityprovider.GetUserPoolMfaConfigOutput) []Finding {
	mended := func(f Finding) Finding { // what the pool has besides stays
		return f.mend(`aws cognito-idp set-user-pool-mfa-config --cli-input-json "$(aws cognito-idp get-user-pool-mfa-config --user-pool-id %[1]s --output json |
  jq '.UserPoolId = "%[1]s" | .MfaConfiguration = "OPTIONAL" | .SoftwareTokenMfaConfiguration.Enabled = true')"`, pool)
	}
	out := []Finding{mended(bad("%s: authenticator apps (TOTP) are not enabled", pool))}
	if c.SoftwareTokenMfaConfiguration != nil && c.SoftwareTokenMfaConfiguration.Enabled {
		out[0] = good("%s: authenticator apps (TOTP) are enabled", pool)
	}
	switch c.MfaConfiguration {
	case types.UserPoolMfaTypeOptional:
		return append(out, good("%s: MFA is OPTIONAL: the user's own settings count", pool))
	case types.UserPoolMfaTypeOn:
		return append(out, warn("%s: MFA is ON for everybody, so switching a user's factor off has no effect and Relatch opens nothing", pool).
			advise("nothing has to be done, if that is meant"))
	case types.UserPoolMfaTypeOff:
		return append(out, mended(bad("%s: MFA is OFF: nobody is asked for a second factor", pool)))
	default:
		return append(out, warn("%s: the MFA mode %q is not known", pool, c.MfaConfiguration))
	}
}

// sms reports whether the pool allows codes by SMS.
func sms(c *cognitoidentityprovider.GetUserPoolMfaConfigOutput) bool {
	return c.SmsMfaConfiguration != nil && c.SmsMfaConfiguration.SmsConfiguration != nil
}

// sandbox judges the account's SMS sandbox.
func sandbox(in bool) Finding {
	if in {
		return bad("the account is in the SMS sandbox: codes reach verified numbers only").
			advise("AWS has no command for it: in the SNS console, Text messaging (SMS), Exit SMS sandbox")
	}
	return good("the account is out of the SMS sandbox")
}

// trigger judges a pool's pre token generation trigger.
func trigger(pool string, p *types.UserPoolType) Finding {
	c := p.LambdaConfig
	if c != nil && c.PreTokenGenerationConfig != nil && value(c.PreTokenGenerationConfig.LambdaArn) != "" {
		return good("%s: pre token generation trigger %s", pool, *c.PreTokenGenerationConfig.LambdaArn)
	}
	if c != nil && value(c.PreTokenGeneration) != "" {
		return good("%s: pre token generation trigger %s", pool, *c.PreTokenGeneration)
	}
	arn := strings.Replace(value(p.Arn), ":cognito-idp:", ":lambda:", 1)
	arn, _, _ = strings.Cut(arn, ":userpool/")
	return bad("%s: there is no pre token generation trigger: who is without MFA is not kept out at sign-in", pool).
		mend(`aws cognito-idp update-user-pool --cli-input-json "$(aws cognito-idp describe-user-pool --user-pool-id %s --output json |
  jq '.UserPool | {UserPoolId: .Id, `+kept+`} | .LambdaConfig.PreTokenGeneration = "'%s'" |
  del(.AdminCreateUserConfig.UnusedAccountValidityDays?) | with_entries(select(.value != null))')"`, pool, arn+":function:"+product).
		advise("%s is the product's own; the pool must be allowed to invoke it (aws lambda add-permission)", product)
}

// product is the name of the product's trigger; kept are the settings of a pool
// that UpdateUserPool sets back if it is not told them.
const product = "StackFlowCognitoPreToken"

const kept = "AccountRecoverySetting, AdminCreateUserConfig, AutoVerifiedAttributes, DeletionProtection, DeviceConfiguration, EmailConfiguration, " +
	"EmailVerificationMessage, EmailVerificationSubject, IssuerConfiguration, KeyConfiguration, LambdaConfig, MfaConfiguration, Policies, SmsAuthenticationMessage, " +
	"SmsConfiguration, SmsVerificationMessage, UserAttributeUpdateSettings, UserPoolAddOns, UserPoolTags, UserPoolTier, VerificationMessageTemplate"

// privilege are parts of the names of attributes by which an application may
// decide what somebody may do.
var privilege = []string{"role", "group", "admin", "permission", "privilege", "scope", "mfa"}

func privileged(attribute string) bool {
	name := strings.ToLower(strings.TrimPrefix(attribute, "custom:"))
	return slices.ContainsFunc(privilege, func(part string) bool { return strings.Contains(name, part) })
}

// roles judges whether users could give themselves a role: whether an app client
// may write an attribute that reads like one. A client without a list of its own
// may write the standard attributes, none of which does (API Reference,
// CreateUserPoolClient, WriteAttributes). Attributes of the schema that cannot be
// changed do not count; groups are no attributes.
func roles(pool string, p *types.UserPoolType, clients []types.UserPoolClientType) []Finding {
	fixed := map[string]bool{}
	names := []string{}
	for _, a := range p.SchemaAttributes {
		if name := value(a.Name); privileged(name) && strings.HasPrefix(name, "custom:") {
			names = append(names, name)
			fixed[name] = !value(a.Mutable)
		}
	}
	var out []Finding
	for _, c := range clients {
		for _, name := range c.WriteAttributes {
			if !privileged(name) || fixed[name] {
				continue
			}
			out = append(out, bad("%s: users can write %s of their own by app client %s, and so give themselves a role", pool, name, value(c.ClientId)).
				mend(`aws cognito-idp update-user-pool-client --cli-input-json "$(aws cognito-idp describe-user-pool-client --user-pool-id %s --client-id %s --output json |
  jq '.UserPoolClient | del(.ClientSecret, .CreationDate, .LastModifiedDate) | .WriteAttributes -= ["'%s'"]')"`, pool, value(c.ClientId), name))
		}
	}
	if len(out) > 0 {
		return out
	}
	looked := "no attribute is named like a role"
	if len(names) > 0 {
		looked = strings.Join(names, ", ") + " cannot be written by any"
	}
	return []Finding{good("%s: no user can write a role: %d app clients looked at, %s", pool, len(clients), looked)}
}

// factors judges what AdminGetUserAuthFactors says of a user whose TOTP is on.
func factors(u mfa.User, configured []types.AuthFactorType) Finding {
	switch {
	case len(configured) == 0:
		return warn("AdminGetUserAuthFactors lists nothing for %s, whose TOTP is on: Relatch takes the TOTP for registered", u.Username)
	case !slices.Contains(configured, types.AuthFactorTypeSoftwareToken):
		return bad("AdminGetUserAuthFactors does not list SOFTWARE_TOKEN for %s, whose TOTP is on: Relatch takes such users for unprotected", u.Username).
			advise("if the user can sign in with the app: deploy with AuthFactors=off; else have the user enrol")
	default:
		return good("AdminGetUserAuthFactors lists SOFTWARE_TOKEN for %s, whose TOTP is on", u.Username)
	}
}

// record judges the property record. Write is the command that writes it, but
// for the value.
func record(raw []byte, place, write string) Finding {
	p, err := mfa.ParsePolicy(raw)
	roles, _ := json.Marshal(mfa.DefaultPolicy().RequiredRoles) // cannot fail: a list of strings
	switch {
	case errors.Is(err, mfa.ErrNoPolicy):
		return bad("there is no record mfa.required_roles in %s: the last good one holds, else the product's defaults", place).
			mend(write, string(roles)).advise("this writes the product's default roles")
	case err != nil:
		return bad("the record in %s cannot be used: %s", place, strings.ReplaceAll(err.Error(), "\n", "; ")).
			mend(write, string(roles)).advise("correct it; until then the last good one holds, else the defaults, whose roles the command writes")
	case len(p.Weaker(mfa.DefaultPolicy())) > 0:
		return warn("the record in %s is weaker than the product's defaults: %s", place, strings.Join(p.Weaker(mfa.DefaultPolicy()), "; ")).
			mend(write, string(roles)).advise("nothing has to be done, if that is meant; the command writes the product's default roles")
	default:
		return good("the record in %s is valid, revision %s", place, p.Revision)
	}
}
