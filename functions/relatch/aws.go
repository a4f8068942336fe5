package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/smithy-go/logging"
	"github.com/spf13/cobra"

	"github.com/stackflow/relatch/internal/cloud"
	"github.com/stackflow/relatch/internal/config"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/operator"
	"github.com/stackflow/relatch/internal/stack"
)

// awsHelp is the part of the help that all live commands have in common.
const awsHelp = `AWS is asked as the AWS CLI asks: with the profile, SSO session, role or keys,
and in the Region, of your environment and ~/.aws, or of --profile and --region.
Where Relatch is, its CloudFormation stack says (--stack or RELATCH_STACK;
"relatch" by default). What the stack does not say, or you may not read, you can
give: --table (RELATCH_TABLE) the ledger, --pools (RELATCH_POOLS) the user pools,
--url (RELATCH_OVERRIDE_URL) the function URL of override; the policy's place by
RELATCH_POLICY_TABLE, RELATCH_POLICY_KEY and RELATCH_POLICY_VALUE, or
RELATCH_POLICY_PARAMETER.`

// refusalHelp is about what the commands have in common that change something.
const refusalHelp = `A refusal is one relatch.refusal/1: why and failed_rules.`

// live are the flags of the commands that ask AWS.
type live struct {
	profile, region, endpoint, output string
	stack                             string
	given                             map[stack.Output]*string
}

// add gives the command the flags.
func (l *live) add(c *cobra.Command) {
	l.reach(c)
	l.writes(c, "text", "json")
}

// writes gives the command the flag --output.
func (l *live) writes(c *cobra.Command, formats ...string) {
	c.Flags().StringVar(&l.output, "output", "text", "the `FORMAT`: "+strings.Join(formats[:len(formats)-1], ", ")+" or "+formats[len(formats)-1])
	completes(c, "output", formats...)
}

// completes has a shell complete the values of a flag.
func completes(c *cobra.Command, flag string, values ...string) {
	if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // cannot happen: the command has the flag
	}
}

// waits gives the command the flag --wait.
func waits(c *cobra.Command, d *time.Duration, usage string) {
	c.Flags().DurationVar(d, "wait", 3*time.Minute, usage)
	c.Flags().Lookup("wait").DefValue = short(3 * time.Minute)
}

// short is a duration without the seconds that it does not have.
func short(d time.Duration) string { return strings.Replace(d.String(), "m0s", "m", 1) }

// places are the flags that say where AWS and Relatch are.
var places = []string{"profile", "region", "endpoint-url", "stack", "table", "pools", "url"}

// same are the flags of these names as they were given, for the next command; of no
// names: all places.
func (l *live) same(names ...string) string {
	values := map[string]string{"profile": l.profile, "region": l.region, "endpoint-url": l.endpoint, "stack": l.stack}
	for output, value := range l.given {
		values[stack.Flags[output]] = *value
	}
	if len(names) == 0 {
		names = places
	}
	var text strings.Builder
	for _, name := range names {
		if values[name] != "" {
			text.WriteString(" --" + name + " " + operator.Quoted(values[name]))
		}
	}
	return text.String()
}

// reach gives the command those flags that say where Relatch is.
func (l *live) reach(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&l.profile, "profile", "", "the `PROFILE` of ~/.aws to use")
	flags.StringVar(&l.region, "region", "", "the `REGION` that Relatch is in")
	flags.StringVar(&l.endpoint, "endpoint-url", "", "ask every AWS service at this `URL`")
	flags.StringVar(&l.stack, "stack", "", "the `NAME` of Relatch's CloudFormation stack")
	l.given = map[stack.Output]*string{}
	for _, f := range []struct {
		of    stack.Output
		usage string
	}{
		{stack.LedgerTable, "the `TABLE` of the ledger, instead of the stack's"},
		{stack.PoolIDs, "the guarded user pools' `IDS`, separated by commas, instead of the stack's"},
		{stack.OverrideURL, "the function `URL` of override, instead of the stack's"},
	} {
		l.given[f.of] = flags.String(stack.Flags[f.of], "", f.usage)
	}
}

// either finds bad usage of a command that reads FILEs or else asks AWS.
func (l *live) either(c *cobra.Command, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	for _, flag := range places {
		if c.Flags().Changed(flag) {
			return fmt.Errorf("--%s: AWS is not asked when FILEs are given", flag)
		}
	}
	return nil
}

// check finds bad usage of the flags.
func (l *live) check() error {
	if l.output != "text" && l.output != "json" {
		return fmt.Errorf("--output: %q is neither text nor json", l.output)
	}
	return nil
}

// undone is err as why something is not done; where the output is for machines,
// a refusal is there too.
func (l *live) undone(t terminal, err error) error {
	r, refused := errors.AsType[*operator.Refusal](err)
	if !refused || l.output != "json" {
		return undone{err}
	}
	return errors.Join(undone{err}, t.json(refusal{"relatch.refusal/1", r.Why, r.Failed}))
}

// refusal is the output as JSON.
type refusal struct {
	Schema string     `json:"schema"`
	Why    string     `json:"why"`
	Failed []mfa.Rule `json:"failed_rules,omitempty"`
}

// oneUser is the Args of a command that is about one user.
func oneUser(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 1:
		return nil
	case 0:
		return errors.New("no USER given")
	default:
		return fmt.Errorf("one USER is expected, and here are %d; quote what has spaces", len(args))
	}
}

// place is what a live command works with.
type place struct {
	*cloud.Cloud

	aws      aws.Config
	settings stack.Settings
}

// open reads the AWS configuration and finds the settings, of which those
// needed must be there. It asks AWS for nothing else.
func (l *live) open(ctx context.Context, t terminal, needed ...stack.Output) (*place, error) {
	a, err := l.aws(ctx)
	if err != nil {
		return nil, err
	}
	if a.Region == "" {
		return nil, errors.New("no Region is given: use --region, AWS_REGION or a profile that has one")
	}
	if err := usable(ctx, a); err != nil {
		return nil, err
	}
	given := stack.Given{Stack: l.stack, Flags: stack.Settings{}, Getenv: t.getenv}
	for output, value := range l.given {
		given.Flags[output] = *value
	}
	s, err := stack.Find(ctx, cloudformation.NewFromConfig(a), given, needed...)
	if err != nil {
		return nil, err
	}
	return &place{aws: a, settings: s, Cloud: cloud.Open(a, configured(s), t.now)}, nil
}

// aws reads the AWS configuration.
func (l *live) aws(ctx context.Context) (aws.Config, error) {
	// What the SDK warns of is no news to whoever reads the error.
	options := []func(*awsconfig.LoadOptions) error{awsconfig.WithLogger(logging.Nop{})}
	if l.profile != "" {
		options = append(options, awsconfig.WithSharedConfigProfile(l.profile))
	}
	if l.region != "" {
		options = append(options, awsconfig.WithRegion(l.region))
	}
	if l.endpoint != "" {
		options = append(options, awsconfig.WithBaseEndpoint(l.endpoint))
	}
	// The configuration has no client of its own, unless AWS_CA_BUNDLE is set; the desk needs one.
	options = append(options, awsconfig.WithHTTPClient(awshttp.NewBuildableClient()))
	a, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return a, fmt.Errorf("read the AWS configuration: %w", err)
	}
	return a, nil
}

// usable finds out whether there are credentials.
func usable(ctx context.Context, a aws.Config) error {
	if _, err := a.Credentials.Retrieve(ctx); err != nil {
		return fmt.Errorf("there are no AWS credentials that can be used (aws sso login, --profile, or AWS_PROFILE): %w", err)
	}
	return nil
}

// configured are the settings as the functions have them. What the stack does
// not say has the functions' defaults.
func configured(s stack.Settings) config.Config {
	c := config.Config{
		Pools: s.Pools(), Table: s[stack.LedgerTable], AlertBus: s[stack.AlertBusName], Observe: s[stack.Mode] == "observe",
		AuditQueueURL: s[stack.AuditQueueURL], ReenableQueueURL: s[stack.ReenableQueueURL], ScheduleGroup: s[stack.ScheduleGroup],
		PolicyTable: s[stack.PolicyTable], PolicyKey: s[stack.PolicyKey], PolicyValue: s[stack.PolicyValue], PolicyParameter: s[stack.PolicyParameter],
		QuotaShare: 0.25, Concurrency: 1, AuthFactors: true,
	}
	if c.PolicyTable != "" {
		c.PolicyKey, c.PolicyValue = cmp.Or(c.PolicyKey, "name"), cmp.Or(c.PolicyValue, "value")
	}
	return c
}
