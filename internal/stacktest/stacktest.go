// Package stacktest puts the stack of infra/template.yaml into an account of
// wiretest, as task deploy does: with the AWS CLI, from the packaged template.
//
// It refuses to know the functions: their zip files have no program in them,
// since moto starts none.
package stacktest

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

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

// Open makes an account of the test's own that has the stack, which guards the
// account's pools. Without the servers or the AWS CLI the test is skipped, or fails
// where RELATCH_SERVERS is "required".
//
// moto knows no schedule groups in stacks and no function URLs, and fails where a
// rule sends to a topic: the group is made beside the stack, the output OverrideUrl
// is made up, and the topic's targets are removed.
func Open(t testing.TB) *wiretest.Account {
	t.Helper()
	Tool(t, "aws", "python3 -m pip install 'awscli>=1.44,<2'")
	a := wiretest.OpenStack(t, func(a *wiretest.Account) {
		at := "arn:aws:cognito-idp:" + mototest.Region + ":" + mototest.Account + ":userpool/"
		pools := at + string(a.Pool) + "," + at + string(a.EmailPool)
		CLI(t, a, "s3", "mb", "s3://"+Bucket)
		packaged := filepath.Join(Folder(t), "packaged.yaml")
		Package(t, a, packaged)
		CLI(t, a, "cloudformation", "create-stack", "--stack-name", Name, "--capabilities", "CAPABILITY_NAMED_IAM", "--template-body", "file://"+packaged,
			"--parameters", "ParameterKey=UserPoolArns,ParameterValue='"+pools+"'", "ParameterKey=AlertEmail,ParameterValue=security@example.com",
			"ParameterKey=TrailArn,ParameterValue=arn:aws:cloudtrail:"+mototest.Region+":"+mototest.Account+":trail/management")
	})
	if status := CLI(t, a, "cloudformation", "describe-stacks", "--stack-name", Name, "--query", "Stacks[0].StackStatus", "--output", "text"); status != "CREATE_COMPLETE" {
		t.Fatalf("the stack is %s", status)
	}
	for _, rule := range []string{"loud", "quiet"} {
		CLI(t, a, "events", "remove-targets", "--event-bus-name", Name+"-alerts", "--rule", Name+"-"+rule, "--ids", "topic")
	}
	return a
}

// Folder is a new one with what is packaged, as in the repository: the template
// in infra, the functions' zip files in dist.
func Folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	template, err := os.ReadFile(filepath.Join(infra(t), "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const url = "!GetAtt OverrideUrl.FunctionUrl"
	if n := bytes.Count(template, []byte(url)); n != 1 {
		t.Fatalf("the template has %s %d times", url, n)
	}
	files := map[string][]byte{"infra/template.yaml": bytes.Replace(template, []byte(url), []byte("https://override.example/"), 1)}
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

// Environment is what the stack tells the function, as Lambda on moto has it.
func Environment(t testing.TB, a *wiretest.Account, function string) []string {
	t.Helper()
	var config struct {
		Environment struct{ Variables map[string]any }
	}
	if err := json.Unmarshal([]byte(CLI(t, a, "lambda", "get-function-configuration", "--function-name", Name+"-"+function)), &config); err != nil {
		t.Fatal(err)
	}
	var out []string
	for key, v := range config.Environment.Variables {
		out = append(out, fmt.Sprintf("%s=%v", key, v))
	}
	if len(out) < 8 {
		t.Fatalf("%s is told %v", function, out)
	}
	return out
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
