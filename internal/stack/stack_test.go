package stack

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
)

// stacks are the outputs of each stack of an account.
type stacks map[string]Settings

func (s stacks) DescribeStacks(_ context.Context, in *cloudformation.DescribeStacksInput, _ ...func(*cloudformation.Options)) (*cloudformation.DescribeStacksOutput, error) {
	if s == nil {
		return nil, errors.New("not allowed")
	}
	found, ok := s[*in.StackName]
	if !ok {
		return nil, &smithy.GenericAPIError{Code: "ValidationError", Message: "Stack with id " + *in.StackName + " does not exist"}
	}
	stack := types.Stack{}
	for key, value := range found {
		stack.Outputs = append(stack.Outputs, types.Output{OutputKey: new(string(key)), OutputValue: &value})
	}
	stack.Parameters = []types.Parameter{{ParameterKey: new("TrailArn"), ParameterValue: new("arn:trail")}, {ParameterKey: new("PolicyTable"), ParameterValue: new("t")}}
	return &cloudformation.DescribeStacksOutput{Stacks: []types.Stack{stack}}, nil
}

func TestASettingIsTakenFromTheNearestThatHasIt(t *testing.T) {
	account := stacks{Default: {LedgerTable: "default's"}, "prod": {LedgerTable: "prod's", PoolIDs: "a, arn:aws:cognito-idp:us-east-1:111122223333:userpool/b"}}
	env := map[string]string{"RELATCH_TABLE": "variable's"}
	flags := Settings{LedgerTable: "flag's"}
	for _, c := range []struct {
		name  string
		stack string
		flags Settings
		env   map[string]string
		want  string
	}{
		{"a flag", "prod", flags, env, "flag's"},
		{"a stack that is named, before a variable", "prod", nil, env, "prod's"},
		{"a variable, before a stack that is not named", "", nil, env, "variable's"},
		{"the stack of a variable", "", nil, map[string]string{"RELATCH_STACK": "prod"}, "prod's"},
		{"the default stack", "", nil, nil, "default's"},
	} {
		got, err := Find(t.Context(), account, Given{Stack: c.stack, Flags: c.flags, Getenv: func(n string) string { return c.env[n] }}, LedgerTable)
		if err != nil || got[LedgerTable] != c.want {
			t.Errorf("%s: %q, %v, want %q", c.name, got[LedgerTable], err, c.want)
		}
	}
	got, err := Find(t.Context(), account, Given{Stack: "prod", Getenv: func(string) string { return "" }}, LedgerTable)
	if got[TrailARN] != "arn:trail" || got[PolicyTable] != "" || got[Parameters] != "TrailArn,PolicyTable" {
		t.Errorf("of the parameters there are: %v", got)
	}
	if diff := cmp.Diff([]mfa.PoolID{"a", "b"}, got.Pools()); err != nil || diff != "" {
		t.Errorf("pools (-want +got), %v:\n%s", err, diff)
	}
}

func TestNobodyNeedsCloudFormationWhoGivesWhatIsNeeded(t *testing.T) {
	env := map[string]string{"RELATCH_TABLE": "t"}
	got, err := Find(t.Context(), stacks(nil), Given{Getenv: func(n string) string { return env[n] }}, LedgerTable)
	if err != nil || got[LedgerTable] != "t" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWhatIsMissingIsSaidWithItsRemedy(t *testing.T) {
	for _, c := range []struct {
		name    string
		account stacks
		want    string
	}{
		{"no such stack", stacks{}, "there is no stack x in this account and Region; name Relatch's stack with --stack or RELATCH_STACK, or give LedgerTable (--table or RELATCH_TABLE), TopicArn (RELATCH_TOPIC_ARN)"},
		{"an older stack", stacks{"x": {LedgerTable: "t"}}, "the stack x does not say; name Relatch's stack with --stack or RELATCH_STACK, or give TopicArn (RELATCH_TOPIC_ARN)"},
		{"not allowed", nil, "describe the stack x: not allowed; "},
	} {
		_, err := Find(t.Context(), c.account, Given{Getenv: named}, LedgerTable, TopicARN)
		if _, ok := errors.AsType[*Missing](err); !ok || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
}

// named is an environment that names the stack x and nothing else.
func named(variable string) string {
	return map[string]string{"RELATCH_STACK": "x"}[variable]
}

func TestAStackThatIsNamedHasToBeThere(t *testing.T) {
	env := func(string) string { return "variable's" }
	if s, err := Find(t.Context(), stacks{}, Given{Stack: "prdo", Getenv: env}, LedgerTable); err == nil || err.Error() != "there is no stack prdo in this account and Region" {
		t.Errorf("%v, %v", s, err)
	}
}

func TestEveryOutputHasAVariable(t *testing.T) {
	seen := map[string]bool{}
	for o, variable := range Variables {
		if seen[variable] || !strings.HasPrefix(variable, "RELATCH_") {
			t.Errorf("%s has %q", o, variable)
		}
		seen[variable] = true
	}
	for o := range Flags {
		if Variables[o] == "" {
			t.Errorf("%s has no variable", o)
		}
	}
	if len(seen) != 17 {
		t.Errorf("%d variables", len(seen))
	}
}
