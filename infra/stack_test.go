package infra_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/wiretest"
)

func TestMain(m *testing.M) { lambdatest.Main(m) }

// tool is the path of a program that checks or deploys the template. Without it
// the test is skipped, or fails where RELATCH_SERVERS is "required".
func tool(t testing.TB, name, remedy string) string {
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

// TestLintersFindNothing, not even a warning.
func TestLintersFindNothing(t *testing.T) {
	t.Parallel() // waits for programs
	lint := tool(t, "cfn-lint", "python3 -m pip install 'cfn-lint>=1.51,<2'")
	node := tool(t, "node", "npm needs it")
	installed(t)
	for _, args := range [][]string{{lint, "template.yaml"}, {node, "../.ci/validate.mjs", "template.yaml"}} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", filepath.Base(args[0]), err, out)
		}
	}
}

// cli runs the AWS CLI on the account.
func cli(t testing.TB, a *wiretest.Account, args ...string) string {
	t.Helper()
	aws := tool(t, "aws", "python3 -m pip install 'awscli>=1.44,<2'")
	cmd := exec.CommandContext(t.Context(), aws, args...)
	cmd.Env = append(cmd.Environ(), "AWS_ENDPOINT_URL="+*a.Moto.BaseEndpoint, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
		"AWS_DEFAULT_REGION="+mototest.Region, "AWS_PAGER=", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, problems.String())
	}
	return strings.TrimSpace(string(out))
}

// pack packages the template, with zip files that have no program in them: moto
// starts none. It returns the path of what is deployed.
func pack(t testing.TB, a *wiretest.Account) string {
	t.Helper()
	dir := t.TempDir()
	template, err := os.ReadFile("template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"infra/template.yaml": template}
	for _, function := range functions {
		var archive bytes.Buffer
		z := zip.NewWriter(&archive)
		w, err := z.Create("bootstrap")
		if err == nil {
			_, err = w.Write([]byte(function))
		}
		if err != nil || z.Close() != nil {
			t.Fatal(err)
		}
		files["dist/"+function+".zip"] = archive.Bytes()
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
	cli(t, a, "s3", "mb", "s3://relatch-code")
	var packaged [2][]byte
	path := filepath.Join(dir, "packaged.yaml")
	for i := range packaged {
		cli(t, a, "cloudformation", "package", "--template-file", filepath.Join(dir, "infra/template.yaml"), "--s3-bucket", "relatch-code", "--s3-prefix", "relatch", "--output-template-file", path)
		if packaged[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(packaged[0]), string(packaged[1])); diff != "" {
		t.Errorf("packaged twice, the template differs:\n%s", diff)
	}
	return path
}

// environment is what the stack tells the function, as Lambda on moto has it.
func environment(t testing.TB, a *wiretest.Account, function string) []string {
	t.Helper()
	var config struct {
		Environment struct{ Variables map[string]any }
	}
	if err := json.Unmarshal([]byte(cli(t, a, "lambda", "get-function-configuration", "--function-name", function)), &config); err != nil {
		t.Fatal(err)
	}
	var out []string
	for key, v := range config.Environment.Variables {
		out = append(out, key+"="+texts(v)[0])
	}
	if len(out) < 15 {
		t.Fatalf("%s is told %v", function, out)
	}
	return out
}

// TestADisableEndsAsAnAlertOnTheTopicsQueue, on the stack that the packaged
// template makes. moto makes no schedule group, and fails where a rule sends to a
// topic: the test makes the group, removes these targets, and takes what they
// would send from the alert bus to the topic itself.
func TestADisableEndsAsAnAlertOnTheTopicsQueue(t *testing.T) {
	t.Parallel() // waits for programs
	tool(t, "aws", "python3 -m pip install 'awscli>=1.44,<2'")
	var pools string
	a := wiretest.OpenStack(t, func(a *wiretest.Account) {
		at := "arn:aws:cognito-idp:" + mototest.Region + ":" + mototest.Account + ":userpool/"
		pools = at + string(a.Pool) + "," + at + string(a.EmailPool)
		cli(t, a, "cloudformation", "create-stack", "--stack-name", name, "--capabilities", "CAPABILITY_NAMED_IAM", "--template-body", "file://"+pack(t, a),
			"--parameters", "ParameterKey=UserPoolArns,ParameterValue='"+pools+"'", "ParameterKey=AlertEmail,ParameterValue=security@example.com",
			"ParameterKey=TrailArn,ParameterValue=arn:aws:cloudtrail:us-east-1:"+mototest.Account+":trail/management")
	})
	for _, rule := range []string{"relatch-loud", "relatch-quiet"} {
		cli(t, a, "events", "remove-targets", "--event-bus-name", "relatch-alerts", "--rule", rule, "--ids", "topic")
	}
	if status := cli(t, a, "cloudformation", "describe-stacks", "--stack-name", name, "--query", "Stacks[0].StackStatus", "--output", "text"); status != "CREATE_COMPLETE" {
		t.Fatalf("the stack is %s", status)
	}

	maria := a.Add(t, wiretest.Person{Pool: a.Pool, Name: "maria", Roles: []mfa.Role{"itsm_manager"}, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP}})
	a.Switch(t, a.Pool, maria, false, mfa.TOTP)
	event := record("cognito-idp", "AdminSetUserMFAPreference", map[string]any{"userPoolId": a.Pool, "softwareTokenMfaSettings": map[string]any{}})
	detail := object(event["detail"])
	detail["eventTime"], detail["additionalEventData"] = time.Now().UTC().Format(time.RFC3339), map[string]any{"sub": maria}
	a.Put(t, string(encode(t, detail)))
	delivered := a.Take(t, wiretest.AuditQueue)
	if len(delivered) == 0 {
		t.Fatal("the stack's rule does not send the disable to audit's queue")
	}

	audit := lambdatest.Start(t, lambdatest.Build(t, "./functions/audit"), a.Here(environment(t, a, "relatch-audit")...)...)
	answer, err := audit.Invoke(t.Context(), wiretest.Batch(t, wiretest.AuditQueue, delivered...))
	if err != nil || string(answer) != `{"batchItemFailures":[]}` {
		t.Fatalf("%s, %v\n%s", answer, err, audit.Output())
	}

	timers := a.Schedules(t)
	if len(timers) != 1 || *timers[0].Target.Arn != wiretest.ReenableQueue.ARN() || !strings.HasSuffix(*timers[0].Target.RoleArn, ":role/relatch-us-east-1-timer") {
		t.Errorf("timers: %+v", timers)
	}
	topic := "arn:aws:sns:us-east-1:" + mototest.Account + ":relatch-oncall"
	s := deployAs(t, name, mototest.Account, mototest.Region, parameters())
	alerts := a.Take(t, wiretest.AlertQueue)
	cli(t, a, "sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs", "--attributes", "RawMessageDelivery=true", "--notification-endpoint", wiretest.AlertQueue.ARN())
	for _, m := range alerts {
		var event map[string]any
		if err := json.Unmarshal([]byte(*m.Body), &event); err != nil {
			t.Fatal(err)
		}
		for _, h := range s.sent(t, true, event)["topic"] {
			cli(t, a, "sns", "publish", "--topic-arn", topic, "--message", h.body)
		}
	}
	found := a.Take(t, wiretest.AlertQueue)
	if len(found) == 0 {
		t.Fatalf("no alert came to the topic; on the bus there were %d", len(alerts))
	}
	var said struct {
		Title string
		Todo  []string `json:"what_to_do"`
	}
	if err := json.Unmarshal([]byte(*found[0].Body), &said); err != nil || !strings.HasPrefix(said.Title, "CRITICAL maria (itsm_manager) can sign in without MFA") || len(said.Todo) < 2 {
		t.Errorf("%v: %s", err, *found[0].Body)
	}
}

// TestTheSameSourceGivesTheSameZip, wherever and whenever it is built.
func TestTheSameSourceGivesTheSameZip(t *testing.T) {
	t.Parallel() // waits for programs
	if testing.Short() {
		t.Skip("compiles a function twice")
	}
	var zips [2][]byte
	for i := range zips {
		dir := t.TempDir()
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", filepath.Join(dir, "bootstrap"), "../functions/sweep")
		build.Env = append(build.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		file := filepath.Join(dir, "sweep.zip")
		if out, err := exec.CommandContext(t.Context(), "go", "run", "github.com/aws/aws-lambda-go/cmd/build-lambda-zip", "-o", file, filepath.Join(dir, "bootstrap")).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var err error
		if zips[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(zips[0], zips[1]) {
		t.Error("the zip files differ")
	}
}
