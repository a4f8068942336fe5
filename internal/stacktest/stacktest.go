// Package stacktest is an AWS account on loopback that has the stack of
// infra/template.yaml: put into an account of wiretest as task deploy does, with the
// AWS CLI, from the packaged template.
//
// It refuses to know the functions: their zip files have no program in them,
// since moto starts none.
package stacktest

import (
	"archive/zip"
	"bytes"
	"crypto/md5" //nolint:gosec // G501: as the AWS CLI does
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"

	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/wiretest"
)

// Name is the stack's, Bucket that of the code.
const (
	Name   = "relatch"
	Bucket = "relatch-code-" + mototest.Region
)

// functions are those that the stack has the code of.
var functions = []string{"audit", "override", "reenable", "sweep"}

// Account is an account with the stack, which guards the account's pools.
type Account struct {
	*wiretest.Account
	told   map[string][]string        // the functions' environments
	ledger *dynamodb.CreateTableInput // as the stack has it
}

// Open makes an account of the test's own that has the stack, on which stories can be
// played. Without the servers or the AWS CLI the test is skipped, or fails where
// RELATCH_SERVERS is "required".
func Open(t testing.TB) *Account {
	t.Helper()
	a := Deploy(t)
	a.byHand(t)
	return a
}

// Deploy is Open, but nothing is changed that moto has made of the stack. There are
// the schedule groups, which it does not make, and the ledger on DynamoDB Local.
func Deploy(t testing.TB) *Account {
	t.Helper()
	Tool(t, "aws", "python3 -m pip install 'awscli>=1.44,<2'")
	a := &Account{Account: wiretest.Start(t), told: map[string][]string{}}
	at := "arn:aws:cognito-idp:" + mototest.Region + ":" + mototest.Account + ":userpool/"
	pools := at + string(a.Pool) + "," + at + string(a.EmailPool)
	a.Bucket(t, Bucket)
	_, err := cloudformation.NewFromConfig(a.Moto).CreateStack(t.Context(), &cloudformation.CreateStackInput{
		StackName: new(Name), TemplateBody: new(a.packaged(t)), Capabilities: []cfntypes.Capability{cfntypes.CapabilityCapabilityNamedIam},
		Parameters: []cfntypes.Parameter{
			{ParameterKey: new("UserPoolArns"), ParameterValue: &pools},
			{ParameterKey: new("AlertEmail"), ParameterValue: new("security@example.com")},
			{ParameterKey: new("AuthFactors"), ParameterValue: new("off")}, // moto does not know AdminGetUserAuthFactors
			{ParameterKey: new("TrailArn"), ParameterValue: new("arn:aws:cloudtrail:" + mototest.Region + ":" + mototest.Account + ":trail/management")},
		},
	})
	if err != nil && !mototest.Lost(err) {
		t.Fatal(err)
	}
	a.FindQueues(t, wiretest.AuditQueue, wiretest.ReenableQueue, wiretest.DeadLetters, wiretest.ReenableDeadLetters, wiretest.TimerDeadLetter)
	a.MakeScheduleGroup(t, wiretest.ScheduleGroup)
	a.MakeScheduleGroup(t, wiretest.ScheduleGroup+"-sweep")
	for _, function := range functions {
		a.told[function] = a.environment(t, function)
	}
	a.ledger = a.table(t)
	a.MakeLedger(t, wiretest.Table)
	return a
}

// The template, once an account of this process has packaged it.
var (
	mu       sync.Mutex
	template string
)

// packaged is the template as it is packaged. What an account before has found out
// is done again without the AWS CLI: the code goes where the template looks for it.
func (a *Account) packaged(t testing.TB) string {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if template != "" {
		for _, function := range functions {
			code := archive(t, function)
			path := fmt.Sprintf("/%s/relatch/%x", Bucket, md5.Sum(code)) //nolint:gosec // G401: the name that the CLI gives it
			if _, err := a.Ask(t.Context(), "s3", "PUT", path, string(code)); err != nil {
				t.Fatal(err)
			}
		}
		return template
	}
	file := filepath.Join(Folder(t), "packaged.yaml")
	Package(t, a.Account, file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	template = string(text)
	return template
}

// byHand does what moto does not. Nothing else that is Relatch's is made by hand:
//   - CloudFormation on moto knows neither schedules and their groups nor function
//     URLs: the groups are made in Deploy, the output OverrideUrl is made up in
//     Folder, and nothing invokes the sweep but the test.
//   - Its rules can neither send to a topic nor write a text into a template. What
//     they send to the topic goes, whole, to the queue AlertQueue.
//   - The archive takes it 100 ms for each alert: it is deleted.
//   - What comes to a queue it would hand to the function in Docker. The test hands
//     it on: the event source mappings are disabled.
//   - It does not share the ledger with DynamoDB Local, where MakeLedger makes it.
func (a *Account) byHand(t testing.TB) {
	t.Helper()
	ctx := t.Context()
	a.MakeQueues(t, wiretest.AlertQueue)
	for _, bus := range []string{"default", wiretest.AlertBus} {
		rules, err := a.Events.ListRules(ctx, &eventbridge.ListRulesInput{EventBusName: &bus, NamePrefix: new(Name + "-")})
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range rules.Rules {
			found, err := a.Events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{EventBusName: &bus, Rule: rule.Name})
			if err != nil {
				t.Fatal(err)
			}
			for i, target := range found.Targets {
				if strings.Contains(*target.Arn, ":sns:") {
					found.Targets[i].Arn = new(wiretest.AlertQueue.ARN())
				}
				found.Targets[i].InputTransformer = wiretest.WholeEvent
			}
			if _, err := a.Events.PutTargets(ctx, &eventbridge.PutTargetsInput{EventBusName: &bus, Rule: rule.Name, Targets: found.Targets}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := a.Events.DeleteArchive(ctx, &eventbridge.DeleteArchiveInput{ArchiveName: new(wiretest.AlertBus)}); err != nil && !mototest.Gone(err) {
		t.Fatal(err)
	}
	var mappings struct{ EventSourceMappings []struct{ UUID string } }
	a.lambda(t, "GET", "/2015-03-31/event-source-mappings/", "", &mappings)
	for _, m := range mappings.EventSourceMappings {
		a.lambda(t, "PUT", "/2015-03-31/event-source-mappings/"+m.UUID, `{"Enabled":false}`, nil)
	}
}

// lambda asks moto's Lambda.
func (a *Account) lambda(t testing.TB, method, path, body string, answer any) {
	t.Helper()
	raw, err := a.Ask(t.Context(), "lambda", method, path, body, "Content-Type", "application/json")
	if err == nil && answer != nil {
		err = json.Unmarshal(raw, answer)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// environment is what the stack tells the function, as moto's Lambda has it.
func (a *Account) environment(t testing.TB, function string) []string {
	t.Helper()
	var config struct {
		Environment struct{ Variables map[string]any }
	}
	a.lambda(t, "GET", "/2015-03-31/functions/"+Name+"-"+function+"/configuration", "", &config)
	var out []string
	for key, v := range config.Environment.Variables {
		out = append(out, fmt.Sprintf("%s=%v", key, v))
	}
	if len(out) < 8 {
		t.Fatalf("%s is told %v", function, out)
	}
	return out
}

// Environment is what the stack tells the function, except that the quotas are its
// alone, and then what is given.
func (a *Account) Environment(function string, more ...string) []string {
	return a.Here(slices.Concat(a.told[function], []string{"RELATCH_QUOTA_SHARE=1", "RELATCH_CONCURRENCY=1"}, more)...)
}

// table is the ledger's, as the stack has made it on moto.
func (a *Account) table(t testing.TB) *dynamodb.CreateTableInput {
	t.Helper()
	on := dynamodb.NewFromConfig(a.Moto)
	out, err := on.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: new(wiretest.Table)})
	if err != nil {
		t.Fatal(err)
	}
	table := &dynamodb.CreateTableInput{
		AttributeDefinitions: out.Table.AttributeDefinitions, KeySchema: out.Table.KeySchema, BillingMode: out.Table.BillingModeSummary.BillingMode,
	}
	for _, index := range out.Table.GlobalSecondaryIndexes {
		table.GlobalSecondaryIndexes = append(table.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: index.IndexName, KeySchema: index.KeySchema, Projection: index.Projection,
		})
	}
	return table
}

// MakeLedger makes an empty table of the name, as the stack has the ledger's.
func (a *Account) MakeLedger(t testing.TB, name string) {
	t.Helper()
	table := *a.ledger
	table.TableName = &name
	if _, err := a.DynamoDB.CreateTable(t.Context(), &table); err != nil && !mototest.Lost(err) {
		t.Fatal(err)
	}
}

// Folder is a new one with what is packaged, as in the repository: the template
// in infra, the functions' zip files in dist.
func Folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	source, err := os.ReadFile(filepath.Join(infra(t), "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const url = "!GetAtt OverrideUrl.FunctionUrl"
	if n := bytes.Count(source, []byte(url)); n != 1 {
		t.Fatalf("the template has %s %d times", url, n)
	}
	files := map[string][]byte{"infra/template.yaml": bytes.Replace(source, []byte(url), []byte("https://override.example/"), 1)}
	for _, function := range functions {
		files["dist/"+function+".zip"] = archive(t, function)
	}
	for path, content := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// infra is the repository's folder, wherever the test runs.
func infra(t testing.TB) string {
	t.Helper()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("nobody knows where this file is")
	}
	return filepath.Join(filepath.Dir(here), "../../infra")
}

func archive(t testing.TB, function string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	w, err := z.Create("bootstrap")
	if err == nil {
		_, err = w.Write([]byte(function))
	}
	if err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Package packages the template of the file's Folder into the file.
func Package(t testing.TB, a *wiretest.Account, file string) {
	t.Helper()
	CLI(t, a, "cloudformation", "package", "--template-file", filepath.Join(filepath.Dir(file), "infra/template.yaml"),
		"--s3-bucket", Bucket, "--s3-prefix", "relatch", "--output-template-file", file)
}

// CLI runs the AWS CLI on the account and returns what it printed.
func CLI(t testing.TB, a *wiretest.Account, args ...string) string {
	t.Helper()
	aws := Tool(t, "aws", "python3 -m pip install 'awscli>=1.44,<2'")
	cmd := exec.CommandContext(t.Context(), aws, args...) //nolint:gosec // G204: the program that the test needs
	cmd.Env = append(cmd.Environ(), Shell(a)...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, problems.String())
	}
	return strings.TrimSpace(string(out))
}

// Shell is the environment in which the AWS CLI asks the account, and nobody else.
func Shell(a *wiretest.Account) []string {
	return append(a.Here(), "AWS_DEFAULT_REGION="+mototest.Region, "AWS_PAGER=", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull)
}

// Tool is the path of a program. Without it the test is skipped, or fails where
// RELATCH_SERVERS is "required".
func Tool(t testing.TB, name, remedy string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("RELATCH_SERVERS") == "required":
		t.Fatalf("%s is not on PATH: %s", name, remedy)
	default:
		t.Skipf("%s is not on PATH: %s", name, remedy)
	}
	return ""
}
