package cognito

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	cognito "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/stackflow/relatch/internal/mfa"
)

// Taker is what Hand needs of Cognito's client.
type Taker interface {
	AdminSetUserMFAPreference(context.Context, *cognito.AdminSetUserMFAPreferenceInput, ...func(*cognito.Options)) (*cognito.AdminSetUserMFAPreferenceOutput, error)
	AdminDeleteSoftwareToken(context.Context, *cognito.AdminDeleteSoftwareTokenInput, ...func(*cognito.Options)) (*cognito.AdminDeleteSoftwareTokenOutput, error)
}

// Hand takes factors from users, as an administrator does and with the
// administrator's own credentials, so that CloudTrail names the person. No
// function has one.
type Hand struct{ client Taker }

// NewHand makes a Hand of a client of the pools' Region.
func NewHand(client Taker) *Hand { return &Hand{client} }

// switches are the request's members that switch factors on and off.
var switches = map[mfa.Factor]string{
	mfa.TOTP: "SoftwareTokenMfaSettings", mfa.SMS: "SMSMfaSettings", mfa.Email: "EmailMfaSettings", mfa.WebAuthn: "WebAuthnMfaSettings",
}

// Disable switches the factors off in one call. The ticket travels in the
// application id, where CloudTrail's userAgent has it.
//
// The body is written here: the SDK leaves out what is false, and nobody has seen
// what Cognito makes of a setting without Enabled (aws-facts.md section 10).
func (h *Hand) Disable(ctx context.Context, pool mfa.PoolID, username string, factors []mfa.Factor, ticket string) error {
	body := map[string]any{"UserPoolId": pool, "Username": username}
	for _, f := range factors {
		off := map[string]bool{"Enabled": false, "PreferredMfa": false}
		if f == mfa.WebAuthn { // it has no preference
			delete(off, "PreferredMfa")
		}
		body[switches[f]] = off
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("set MFA preference: %w", err)
	}
	in := cognito.AdminSetUserMFAPreferenceInput{UserPoolId: new(string(pool)), Username: &username}
	_, err = h.client.AdminSetUserMFAPreference(ctx, &in, claim(ticket), func(o *cognito.Options) {
		o.APIOptions = append(slices.Clone(o.APIOptions), func(s *middleware.Stack) error { return s.Serialize.Add(written(raw), middleware.After) })
	})
	if err != nil {
		return fmt.Errorf("set MFA preference: %w", err)
	}
	return nil
}

// written replaces the body of a request before it is signed.
func written(body []byte) middleware.SerializeMiddleware {
	return middleware.SerializeMiddlewareFunc("RelatchBody", func(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
		request, ok := in.Request.(*smithyhttp.Request)
		if !ok {
			return middleware.SerializeOutput{}, middleware.Metadata{}, fmt.Errorf("unexpected request %T", in.Request)
		}
		request, err := request.SetStream(bytes.NewReader(body))
		if err != nil {
			return middleware.SerializeOutput{}, middleware.Metadata{}, err
		}
		in.Request = request
		return next.HandleSerialize(ctx, in)
	})
}

// DeleteToken deletes the user's TOTP secret, so that a stolen phone is worth
// nothing at once. False without an error: the service has no such operation there.
func (h *Hand) DeleteToken(ctx context.Context, pool mfa.PoolID, username, ticket string) (bool, error) {
	_, err := h.client.AdminDeleteSoftwareToken(ctx, &cognito.AdminDeleteSoftwareTokenInput{UserPoolId: new(string(pool)), Username: &username}, claim(ticket))
	switch {
	case err == nil:
		return true, nil
	case unanswered(err) && code(err) != "AccessDeniedException":
		return false, nil
	default:
		return false, fmt.Errorf("delete software token: %w", err)
	}
}

// claim puts the ticket into the application id, which AWS takes in 50
// characters of letters, digits and a few others (SDK reference guide, "Application ID").
func claim(ticket string) func(*cognito.Options) {
	id := strings.Map(func(r rune) rune {
		if r < 0x21 || r > 0x7e || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) {
			return '-'
		}
		return r
	}, "relatch."+ticket)
	return func(o *cognito.Options) { o.AppID = id[:min(len(id), 50)] }
}
