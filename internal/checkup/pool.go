package checkup

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"github.com/stackflow/relatch/internal/mfa"
)

// mode judges a pool's MFA configuration.
func mode(pool string, c *cognitoidentityprovider.GetUserPoolMfaConfigOutput) []Finding {
	set := "aws cognito-idp set-user-pool-mfa-config --user-pool-id " + pool +
		" --mfa-configuration OPTIONAL --software-token-mfa-configuration Enabled=true"
	totp := c.SoftwareTokenMfaConfiguration != nil && c.SoftwareTokenMfaConfiguration.Enabled
	out := []Finding{bad(pool+": authenticator apps (TOTP) are not enabled", set)}
	if totp {
		out[0] = good("%s: authenticator apps (TOTP) are enabled", pool)
	}
	switch c.MfaConfiguration {
	case types.UserPoolMfaTypeOptional:
		return append(out, good("%s: MFA is OPTIONAL: the user's own settings count", pool))
	case types.UserPoolMfaTypeOn:
		return append(out, warn(pool+": MFA is ON for everybody, so switching a user's factor off has no effect and Relatch opens nothing", ""))
	case types.UserPoolMfaTypeOff:
		return append(out, bad(pool+": MFA is OFF: nobody is asked for a second factor", set))
	default:
		return append(out, warn(fmt.Sprintf("%s: the MFA mode %q is not known", pool, c.MfaConfiguration), ""))
	}
}

// sms reports whether the pool allows codes by SMS.
func sms(c *cognitoidentityprovider.GetUserPoolMfaConfigOutput) bool {
	return c.SmsMfaConfiguration != nil && c.SmsMfaConfiguration.SmsConfiguration != nil
}

// sandbox judges the account's SMS sandbox.
func sandbox(in bool) Finding {
	if in {
		return bad("the account is in the SMS sandbox: codes reach verified numbers only",
			"leave it in the SNS console: Text messaging (SMS), Exit SMS sandbox")
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
	return bad(pool+": there is no pre token generation trigger: an open override is not kept harmless at sign-in",
		"attach it in the pool's console page (Extensions, Add Lambda trigger); update-user-pool sets back what it is not told")
}

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
			out = append(out, bad(
				fmt.Sprintf("%s: users can write %s of their own by app client %s", pool, name, value(c.ClientId)),
				fmt.Sprintf("leave %s out of: aws cognito-idp update-user-pool-client --user-pool-id %s --client-id %s --write-attributes … (it sets back what it is not told)", name, pool, value(c.ClientId)),
			))
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
		return warn(fmt.Sprintf("AdminGetUserAuthFactors lists nothing for %s, whose TOTP is on: Relatch takes the TOTP for registered", u.Username), "")
	case !slices.Contains(configured, types.AuthFactorTypeSoftwareToken):
		return bad(fmt.Sprintf("AdminGetUserAuthFactors does not list SOFTWARE_TOKEN for %s, whose TOTP is on: Relatch takes such users for unprotected", u.Username),
			"if the user can sign in with the app: RELATCH_AUTH_FACTORS=off for all functions; else have the user enrol")
	default:
		return good("AdminGetUserAuthFactors lists SOFTWARE_TOKEN for %s, whose TOTP is on", u.Username)
	}
}

// record judges the property record.
func record(raw []byte, place string) []Finding {
	p, err := mfa.ParsePolicy(raw)
	switch {
	case err != nil:
		return []Finding{bad(fmt.Sprintf("the record in %s cannot be used: %s", place, strings.ReplaceAll(err.Error(), "\n", "; ")),
			"write it as the README describes; until then the last good one holds, else the defaults")}
	case len(p.Weaker(mfa.DefaultPolicy())) > 0:
		return []Finding{warn("the record is weaker than the product's defaults: "+strings.Join(p.Weaker(mfa.DefaultPolicy()), "; "), "if that is not meant: mend the record in "+place)}
	default:
		return []Finding{good("the record in %s is valid, revision %s", place, p.Revision)}
	}
}
