package infra_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/wiretest"
)

func TestMain(m *testing.M) { lambdatest.Main(m) }

// TestLintersFindNothing, not even a warning.
func TestLintersFindNothing(t *testing.T) {
	t.Parallel() // waits for programs
	lint := stacktest.Tool(t, "cfn-lint", "python3 -m pip install 'cfn-lint>=1.51,<2'")
	node := stacktest.Tool(t, "node", "npm needs it")
	installed(t)
	for _, args := range [][]string{{lint, "template.yaml"}, {node, "../.ci/validate.mjs", "template.yaml"}} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", filepath.Base(args[0]), err, out)
		}
	}
}

// TestTheStack is what happens on the stack that the packaged template makes.
func TestTheStack(t *testing.T) {
	t.Parallel() // waits for programs
	a := stacktest.Open(t)
	t.Run("a disable ends as an alert on the topic's queue", func(t *testing.T) { endsAsAnAlert(t, a) })
	t.Run("the drill proves it", func(t *testing.T) { drills(t, a) })
}

// endsAsAnAlert: default bus, rule, queue, audit, alert bus, rule, topic, queue.
// Two steps are the test's: it hands audit what is in its queue, as a poller of
// Lambda does, and takes what the rule on the alert bus has sent through the
// rule's input transformer to the topic, which moto cannot (stacktest).
func endsAsAnAlert(t *testing.T, a *stacktest.Account) {
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

	audit := lambdatest.Start(t, lambdatest.Build(t, "./functions/audit"), a.Environment("audit")...)
	answer, err := audit.Invoke(t.Context(), wiretest.Batch(t, wiretest.AuditQueue, delivered...))
	if err != nil || string(answer) != `{"batchItemFailures":[]}` {
		t.Fatalf("%s, %v\n%s", answer, err, audit.Output())
	}

	timers := a.Schedules(t)
	if len(timers) != 1 || *timers[0].Target.Arn != wiretest.ReenableQueue.ARN() || !strings.HasSuffix(*timers[0].Target.RoleArn, ":role/relatch-us-east-1-timer") {
		t.Errorf("timers: %+v", timers)
	}
	topic := stacktest.CLI(t, a.Account, "cloudformation", "describe-stacks", "--stack-name", stacktest.Name, "--query", "Stacks[0].Outputs[?OutputKey=='TopicArn'].OutputValue", "--output", "text")
	s := deployAs(t, name, mototest.Account, mototest.Region, parameters())
	alerts := a.Take(t, wiretest.AlertQueue)
	const told wiretest.Queue = "told"
	a.MakeQueues(t, told)
	stacktest.CLI(t, a.Account, "sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs", "--attributes", "RawMessageDelivery=true", "--notification-endpoint", told.ARN())
	for _, m := range alerts {
		var event map[string]any
		if err := json.Unmarshal([]byte(*m.Body), &event); err != nil {
			t.Fatal(err)
		}
		for _, h := range s.sent(t, true, event)["topic"] {
			stacktest.CLI(t, a.Account, "sns", "publish", "--topic-arn", topic, "--message", h.body)
		}
	}
	found := a.Take(t, told)
	if len(found) == 0 {
		t.Fatalf("no alert came to the topic; the rule on the alert bus sent %d", len(alerts))
	}
	var said struct {
		Title string
		Todo  []string `json:"what_to_do"`
	}
	if err := json.Unmarshal([]byte(*found[0].Body), &said); err != nil || !strings.HasPrefix(said.Title, "CRITICAL maria (itsm_manager) can sign in without MFA") || len(said.Todo) < 2 {
		t.Errorf("%v: %s", err, *found[0].Body)
	}
}

// TestATaskSaysWhatItMustBeGiven, before it does anything: what its commands name
// has a default, or is required.
func TestATaskSaysWhatItMustBeGiven(t *testing.T) {
	var file struct{ Tasks map[string]yaml.Node }
	if err := yaml.Unmarshal([]byte(contents(t, "../Taskfile.yml")), &file); err != nil || len(file.Tasks) < 10 {
		t.Fatal(file, err)
	}
	for name, node := range file.Tasks {
		var task struct {
			Vars     map[string]any
			Requires struct{ Vars []string }
		}
		if err := node.Decode(&task); err != nil {
			t.Fatal(name, err)
		}
		text, err := yaml.Marshal(&node)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`{{\.([A-Z_]+)}}`).FindAllStringSubmatch(string(text), -1) {
			_, set := task.Vars[m[1]]
			optional := strings.Contains(string(text), "{{if ."+m[1]+"}}")
			if known := []string{"LINT", "ITEM", "CLI_ARGS"}; !set && !optional && !slices.Contains(known, m[1]) && !slices.Contains(task.Requires.Vars, m[1]) {
				t.Errorf("task %s uses %s, which it does not require", name, m[1])
			}
		}
	}
}

// TestTheSameSourceGivesTheSameZip, wherever and whenever task build builds it.
func TestTheSameSourceGivesTheSameZip(t *testing.T) {
	t.Parallel() // waits for programs
	if testing.Short() {
		t.Skip("compiles a function twice")
	}
	var tasks struct {
		Tasks struct {
			Build struct{ Cmds []struct{ Cmd string } }
		}
	}
	if err := yaml.Unmarshal([]byte(contents(t, "../Taskfile.yml")), &tasks); err != nil || len(tasks.Tasks.Build.Cmds) != 2 {
		t.Fatalf("task build: %+v, %v", tasks, err)
	}
	var zips [2]string
	for i := range zips {
		dir := t.TempDir()
		for _, part := range []string{"functions", "internal"} {
			if err := os.CopyFS(filepath.Join(dir, part), os.DirFS("../"+part)); err != nil {
				t.Fatal(err)
			}
		}
		for _, file := range []string{"go.mod", "go.sum"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(contents(t, "../"+file)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range tasks.Tasks.Build.Cmds {
			build := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(c.Cmd, "{{.ITEM}}", "sweep"))
			build.Dir = dir
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", c.Cmd, err, out)
			}
		}
		zips[i] = contents(t, filepath.Join(dir, "dist/sweep.zip"))
	}
	if zips[0] != zips[1] {
		t.Error("the zip files differ")
	}
}

// TestTheSameSourceGivesTheSameTemplate, packaged twice, and one for many Regions.
func TestTheSameSourceGivesTheSameTemplate(t *testing.T) {
	t.Parallel() // waits for programs
	stacktest.Tool(t, "aws", "python3 -m pip install 'awscli>=1.44,<2'")
	a := wiretest.Start(t)
	dir := stacktest.Folder(t)
	regions := []string{mototest.Region, "eu-west-1"}
	for _, region := range regions {
		stacktest.CLI(t, a, "s3", "mb", "s3://relatch-code-"+region, "--region", region)
	}
	var packaged [2]string
	for i := range packaged {
		file := filepath.Join(dir, "packaged.yaml")
		stacktest.Package(t, a, file)
		packaged[i] = contents(t, file)
	}
	if diff := cmp.Diff(packaged[0], packaged[1]); diff != "" {
		t.Errorf("packaged twice, the template differs:\n%s", diff)
	}

	script := filepath.Join(dir, "infra/stackset.sh")
	if err := os.WriteFile(script, []byte(contents(t, "stackset.sh")), 0o700); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), script, append([]string{"relatch-code"}, regions...)...)
	run.Env = append(run.Environ(), stacktest.Shell(a)...)
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, region := range regions {
		s := deployTemplate(t, contents(t, filepath.Join(dir, "dist/stackset.yaml")), region)
		for id := range functions {
			code := object(s.Resources[id].Properties["Code"])
			if code["S3Bucket"] != "relatch-code-"+region {
				t.Errorf("%s in %s has its code from %v", id, region, code["S3Bucket"])
			}
			stacktest.CLI(t, a, "s3api", "head-object", "--bucket", text(code["S3Bucket"]), "--key", text(code["S3Key"]), "--region", region)
		}
	}
}

func contents(t testing.TB, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
