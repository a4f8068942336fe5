package cognito

import (
	"context"
	"fmt"

	cognito "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// Changer is what Writer needs of Cognito's client.
type Changer interface {
	ListUsers(context.Context, *cognito.ListUsersInput, ...func(*cognito.Options)) (*cognito.ListUsersOutput, error)
	AdminSetUserMFAPreference(context.Context, *cognito.AdminSetUserMFAPreferenceInput, ...func(*cognito.Options)) (*cognito.AdminSetUserMFAPreferenceOutput, error)
	AdminUserGlobalSignOut(context.Context, *cognito.AdminUserGlobalSignOutInput, ...func(*cognito.Options)) (*cognito.AdminUserGlobalSignOutOutput, error)
}

// Writer implements worker.UserWriter. Its methods may be called concurrently.
type Writer struct {
	client Changer
	limits *Limits
}

// NewWriter makes a Writer of a client of the pools' Region. limits may be nil.
func NewWriter(client Changer, limits *Limits) *Writer {
	return &Writer{client: client, limits: limits}
}

// Enable implements worker.UserWriter in one call, which names only the factors
// given: Cognito refuses some that are switched off, too. A preferred factor
// that is not among them, and a preferred passkey, which Cognito does not know,
// leave the preference as it is.
func (w *Writer) Enable(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, factors []mfa.Factor, preferred mfa.Factor) error {
	if len(factors) == 0 {
		return nil
	}
	in := cognito.AdminSetUserMFAPreferenceInput{UserPoolId: new(string(pool))}
	for _, f := range factors {
		switch f {
		case mfa.TOTP:
			in.SoftwareTokenMfaSettings = &types.SoftwareTokenMfaSettingsType{Enabled: true, PreferredMfa: preferred == f}
		case mfa.SMS:
			in.SMSMfaSettings = &types.SMSMfaSettingsType{Enabled: true, PreferredMfa: preferred == f}
		case mfa.Email:
			in.EmailMfaSettings = &types.EmailMfaSettingsType{Enabled: true, PreferredMfa: preferred == f}
		case mfa.WebAuthn:
			in.WebAuthnMfaSettings = &types.WebAuthnMfaSettingsType{Enabled: true}
		default:
			return fmt.Errorf("set MFA preference: unknown factor %q", f)
		}
	}
	err := w.onUser(ctx, pool, sub, func(username string) error {
		in.Username = &username
		_, err := call(ctx, w.limits, userResourceUpdate, w.client.AdminSetUserMFAPreference, &in)
		if refused(err) {
			return fmt.Errorf("%w: %w", worker.ErrRefused, err)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("set MFA preference: %w", err)
	}
	return nil
}

// SignOut implements worker.UserWriter: it revokes the user's refresh tokens. A
// secondary replica refuses to.
func (w *Writer) SignOut(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) error {
	err := w.onUser(ctx, pool, sub, func(username string) error {
		_, err := call(ctx, w.limits, userUpdate, w.client.AdminUserGlobalSignOut, &cognito.AdminUserGlobalSignOutInput{UserPoolId: new(string(pool)), Username: &username})
		return err
	})
	switch {
	case err == nil, noUser(err):
		return nil
	case notHere(err):
		return fmt.Errorf("sign out: %w: %w", worker.ErrRefused, err)
	default:
		return fmt.Errorf("sign out: %w", err)
	}
}

// onUser acts on the user by the sub and, if Cognito does not find one by it, by
// the username. The error is then that of the last call.
func (w *Writer) onUser(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, act func(username string) error) error {
	err := act(string(sub))
	if !noUser(err) {
		return err
	}
	username, findErr := find(ctx, w.client, w.limits, pool, sub)
	switch {
	case findErr != nil:
		return findErr
	case username == "" || username == string(sub):
		return err
	}
	return act(username)
}
