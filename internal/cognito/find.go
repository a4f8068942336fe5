package cognito

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	cognito "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"

	"github.com/stackflow/relatch/internal/mfa"
)

// Find returns the users of the pool who are meant by the name, each once and in
// the order of their subs: those who have it as username, as an alias that Cognito
// takes for the username, as e-mail address or as sub. None is no error.
func (u *Users) Find(ctx context.Context, pool mfa.PoolID, name string) ([]mfa.Sub, error) {
	if name == "" {
		return nil, nil
	}
	var (
		quoted  = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
		filters = []string{"username = " + quoted, "email = " + quoted, "sub = " + quoted}
		found   = make([][]mfa.Sub, len(filters)+1)
		errs    = make([]error, len(filters)+1)
		poolID  = string(pool)
		all     sync.WaitGroup
	)
	for i, filter := range filters {
		all.Go(func() {
			out, err := call(ctx, u.limits, userList, u.client.ListUsers, &cognito.ListUsersInput{UserPoolId: &poolID, Filter: &filter})
			if err != nil {
				errs[i] = fmt.Errorf("list users: %w", err)
				return
			}
			for _, user := range out.Users {
				found[i] = append(found[i], mfa.Sub(attribute(user.Attributes, "sub")))
			}
		})
	}
	all.Go(func() {
		last := len(filters)
		user, err := call(ctx, u.limits, userRead, u.client.AdminGetUser, &cognito.AdminGetUserInput{UserPoolId: &poolID, Username: &name})
		switch {
		case noUser(err), code(err) == invalidParameter: // a name that cannot be a username
		case err != nil:
			errs[last] = fmt.Errorf("get user: %w", err)
		default:
			found[last] = []mfa.Sub{mfa.Sub(attribute(user.UserAttributes, "sub"))}
		}
	})
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	subs := slices.Concat(found...)
	slices.Sort(subs)
	return slices.DeleteFunc(slices.Compact(subs), func(s mfa.Sub) bool { return s == "" }), nil
}
