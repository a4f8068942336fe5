package config_test

import (
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/config"
	"github.com/stackflow/relatch/internal/mfa"
)

const account = "arn:aws:iam::111122223333:"

// least is the smallest environment that can be used.
func least() map[string]string {
	return map[string]string{
		"RELATCH_POOLS":                 "us-east-1_EXAMPLE12",
		"RELATCH_OWN_ROLES":             account + "role/relatch-reenable",
		"RELATCH_TABLE":                 "relatch",
		"RELATCH_ALERT_BUS":             "security",
		"RELATCH_REENABLE_QUEUE_URL":    "https://sqs.us-east-1.amazonaws.com/111122223333/relatch-reenable",
		"RELATCH_REENABLE_QUEUE_ARN":    "arn:aws:sqs:us-east-1:111122223333:relatch-reenable",
		"RELATCH_DEAD_LETTERS_URL":      "https://sqs.us-east-1.amazonaws.com/111122223333/relatch-unreadable",
		"RELATCH_SCHEDULE_GROUP":        "relatch",
		"RELATCH_SCHEDULE_ROLE":         account + "role/relatch-scheduler",
		"RELATCH_SCHEDULE_DEAD_LETTERS": "arn:aws:sqs:us-east-1:111122223333:relatch-unsent",
		"RELATCH_POLICY_TABLE":          "StackFlow_SystemProperty",
	}
}

// environ lists variables as os.Environ does, after others that are nobody's business here.
func environ(vars map[string]string) []string {
	out := []string{"AWS_REGION=us-east-1", "_HANDLER=bootstrap", "EMPTY=", "=odd"}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		out = append(out, name+"="+vars[name])
	}
	return out
}

func TestWhatIsLeftOutHasItsDefault(t *testing.T) {
	got, err := config.Read(environ(least()))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Pools:               []mfa.PoolID{"us-east-1_EXAMPLE12"},
		OwnRoles:            []string{account + "role/relatch-reenable"},
		Table:               "relatch",
		AlertBus:            "security",
		ReenableQueueURL:    "https://sqs.us-east-1.amazonaws.com/111122223333/relatch-reenable",
		ReenableQueueARN:    "arn:aws:sqs:us-east-1:111122223333:relatch-reenable",
		DeadLettersURL:      "https://sqs.us-east-1.amazonaws.com/111122223333/relatch-unreadable",
		ScheduleGroup:       "relatch",
		ScheduleRole:        account + "role/relatch-scheduler",
		ScheduleDeadLetters: "arn:aws:sqs:us-east-1:111122223333:relatch-unsent",
		PolicyTable:         "StackFlow_SystemProperty",
		PolicyKey:           "name",
		PolicyValue:         "value",
		PolicyFor:           time.Minute,
		PoolFor:             30 * time.Second,
		QuotaShare:          0.25,
		Concurrency:         1,
		AuthFactors:         true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEverythingCanBeSaid(t *testing.T) {
	vars := least()
	maps.Copy(vars, map[string]string{
		"RELATCH_POOLS":           "us-east-1_EXAMPLE12, us-gov-west-1_b ,arn:aws:cognito-idp:ap-southeast-2:111122223333:userpool/ap-southeast-2_3",
		"RELATCH_MODE":            "observe",
		"RELATCH_OWN_ROLES":       account + "role/relatch/audit," + account + "role/relatch/reenable",
		"RELATCH_DEPLOYMENT_ROLE": account + "role/deploy",
		"RELATCH_GUARD":           "arn:aws:s3:::trail, scheduler:schedule-group/relatch, logs:log-group:/aws/lambda/relatch-*, iam:role/relatch-*",
		"RELATCH_ALERT_BUS":       "arn:aws:events:us-east-1:111122223333:event-bus/security",
		"RELATCH_POLICY_KEY":      "id",
		"RELATCH_POLICY_VALUE":    "json",
		"RELATCH_POLICY_FOR":      "0s",
		"RELATCH_POOL_FOR":        "5m",
		"RELATCH_QUOTA_SHARE":     "1",
		"RELATCH_CONCURRENCY":     "4",
		"RELATCH_AUTH_FACTORS":    "off",
	})
	got, err := config.Read(environ(vars))
	if err != nil {
		t.Fatal(err)
	}
	want, err := config.Read(environ(least()))
	if err != nil {
		t.Fatal(err)
	}
	want.Pools = []mfa.PoolID{"us-east-1_EXAMPLE12", "us-gov-west-1_b", "ap-southeast-2_3"}
	want.Observe, want.AuthFactors = true, false
	want.OwnRoles = []string{account + "role/relatch/audit", account + "role/relatch/reenable"}
	want.DeploymentRole = account + "role/deploy"
	want.Guard = []string{
		"arn:aws:s3:::trail", "arn:aws:scheduler:us-east-1:111122223333:schedule-group/relatch",
		"arn:aws:logs:us-east-1:111122223333:log-group:/aws/lambda/relatch-*", account + "role/relatch-*",
	}
	want.AlertBus = "arn:aws:events:us-east-1:111122223333:event-bus/security"
	want.PolicyKey, want.PolicyValue = "id", "json"
	want.PolicyFor, want.PoolFor = 0, 5*time.Minute
	want.QuotaShare, want.Concurrency = 1, 4
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	house := mfa.House{
		Pools: want.Pools, Guard: want.Guard, OwnRoles: want.OwnRoles, DeploymentRole: want.DeploymentRole, Observe: true,
	}
	if diff := cmp.Diff(house, got.House()); diff != "" {
		t.Errorf("House (-want +got):\n%s", diff)
	}
}

func TestAParameterMayHaveThePolicy(t *testing.T) {
	vars := least()
	delete(vars, "RELATCH_POLICY_TABLE")
	vars["RELATCH_POLICY_PARAMETER"] = "/relatch/policy"
	got, err := config.Read(environ(vars))
	if err != nil {
		t.Fatal(err)
	}
	if got.PolicyParameter != "/relatch/policy" || got.PolicyTable+got.PolicyKey+got.PolicyValue != "" {
		t.Errorf("got %+v", got)
	}
}

func TestOverrideNeedsLess(t *testing.T) {
	const queue = "https://sqs.us-east-1.amazonaws.com/111122223333/relatch-audit"
	vars := map[string]string{
		"RELATCH_POOLS": "us-east-1_EXAMPLE12", "RELATCH_TABLE": "relatch", "RELATCH_AUDIT_QUEUE_URL": queue, "RELATCH_POLICY_PARAMETER": "/relatch/policy",
	}
	got, err := config.ReadOverride(environ(vars))
	if err != nil || got.AuditQueueURL != queue || got.Table != "relatch" || got.ReenableQueueURL != "" {
		t.Errorf("%v, %+v", err, got)
	}
	for name := range vars {
		less := maps.Clone(vars)
		delete(less, name)
		if _, err := config.ReadOverride(environ(less)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	vars["RELATCH_SCHEDULE_ROLE"] = marked
	if _, err := config.ReadOverride(environ(vars)); err == nil || !strings.HasPrefix(err.Error(), "RELATCH_SCHEDULE_ROLE: is not of the right form") {
		t.Errorf("what is not needed and wrong: %v", err)
	}
	all := least()
	all["RELATCH_AUDIT_QUEUE_URL"] = queue
	if got, err := config.Read(environ(all)); err != nil || got.AuditQueueURL != queue {
		t.Errorf("the others with what they do not need: %v", err)
	}
}

// TestAVariableThatIsEmptyIsNotSet: templates pass "" for what is not given.
func TestAVariableThatIsEmptyIsNotSet(t *testing.T) {
	want, err := config.Read(environ(least()))
	if err != nil {
		t.Fatal(err)
	}
	vars := least()
	for _, name := range []string{
		"MODE", "DEPLOYMENT_ROLE", "GUARD", "POLICY_KEY", "POLICY_VALUE", "POLICY_PARAMETER",
		"POLICY_FOR", "POOL_FOR", "QUOTA_SHARE", "CONCURRENCY", "AUTH_FACTORS",
	} {
		vars["RELATCH_"+name] = " "
	}
	got, err := config.Read(environ(vars))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// marked stands in every bad value, so that one which is printed is found.
const marked = "Marked7"

func TestEveryProblemIsNamed(t *testing.T) {
	const (
		roleForm  = "set it to the ARN of an IAM role, such as arn:aws:iam::111122223333:role/name"
		queueForm = "set it to the ARN of a queue, such as arn:aws:sqs:us-east-1:111122223333:name"
		urlForm   = "set it to the URL of a queue, such as https://sqs.us-east-1.amazonaws.com/111122223333/name"
		poolForm  = "set it to a list, separated by commas, each item the id of a user pool, such as us-east-1_EXAMPLE12, or its ARN"
		rolesForm = "set it to a list, separated by commas, each item the ARN of an IAM role, such as arn:aws:iam::111122223333:role/name"
	)
	for _, c := range []struct{ name, value, want string }{
		{"RELATCH_POOLS", "", "is not set; " + poolForm},
		{"RELATCH_POOLS", marked, "item 1 is not of the right form; " + poolForm},
		{"RELATCH_POOLS", "us-east-1_" + marked + ",", "item 2 is not of the right form; " + poolForm},
		{"RELATCH_POOLS", "us-east-1_" + marked + ",us-east-1_b,us-east-1_" + marked, "item 3 repeats item 1; remove it"},
		{"RELATCH_MODE", marked, "is neither enforce nor observe; set it to one of them, or remove it for enforce"},
		{"RELATCH_MODE", "Observe", "is neither enforce nor observe; set it to one of them, or remove it for enforce"},
		{"RELATCH_OWN_ROLES", "", "is not set; " + rolesForm},
		{"RELATCH_OWN_ROLES", account + "role/a," + account + "user/" + marked, "item 2 is not of the right form; " + rolesForm},
		{"RELATCH_DEPLOYMENT_ROLE", account + "role/", "is not of the right form; " + roleForm},
		{"RELATCH_DEPLOYMENT_ROLE", account + "role/a, b", "is not of the right form; " + roleForm},
		{"RELATCH_GUARD", marked, "item 1 is not of the right form; set it to a list, separated by commas, each item the ARN of one of Relatch's own resources"},
		{"RELATCH_GUARD", "arn:aws:" + marked, "item 1 is not of the right form; set it to a list, separated by commas, each item the ARN of one of Relatch's own resources"},
		{"RELATCH_TABLE", "", "is not set; set it to the name of the ledger's table"},
		{"RELATCH_TABLE", marked + " b", "is not of the right form; set it to the name of the ledger's table"},
		{"RELATCH_ALERT_BUS", "", "is not set; set it to the name of the event bus for alerts, or its ARN"},
		{"RELATCH_REENABLE_QUEUE_URL", "", "is not set; " + urlForm},
		{"RELATCH_REENABLE_QUEUE_URL", "ftp://" + marked + "/a", "is not of the right form; " + urlForm},
		{"RELATCH_REENABLE_QUEUE_URL", "https://" + marked + "/1/a", "is of another queue than RELATCH_REENABLE_QUEUE_ARN; set both to those of reenable's queue"},
		{"RELATCH_REENABLE_QUEUE_ARN", "", "is not set; " + queueForm},
		{"RELATCH_REENABLE_QUEUE_ARN", "arn:aws:sns:us-east-1:111122223333:" + marked, "is not of the right form; " + queueForm},
		{"RELATCH_AUDIT_QUEUE_URL", marked, "is not of the right form; " + urlForm},
		{"RELATCH_DEAD_LETTERS_URL", "", "is not set; " + urlForm},
		{"RELATCH_DEAD_LETTERS_URL", "https://" + marked, "is not of the right form; " + urlForm},
		{"RELATCH_SCHEDULE_GROUP", "", "is not set; set it to the name of Relatch's schedule group"},
		{"RELATCH_SCHEDULE_ROLE", "", "is not set; " + roleForm},
		{"RELATCH_SCHEDULE_ROLE", marked, "is not of the right form; " + roleForm},
		{"RELATCH_SCHEDULE_DEAD_LETTERS", "", "is not set; " + queueForm},
		{"RELATCH_SCHEDULE_DEAD_LETTERS", marked, "is not of the right form; " + queueForm},
		{"RELATCH_POLICY_TABLE", "", "is not set, and neither is RELATCH_POLICY_PARAMETER; set one of them to where the policy record is"},
		{"RELATCH_POLICY_FOR", marked, "is not a time from 0s to 15m; set it to one, such as 45s, or remove it for 1m"},
		{"RELATCH_POLICY_FOR", "15m1s", "is not a time from 0s to 15m; set it to one, such as 45s, or remove it for 1m"},
		{"RELATCH_POOL_FOR", "-1s", "is not a time from 0s to 5m; set it to one, such as 45s, or remove it for 30s"},
		{"RELATCH_POOL_FOR", "30", "is not a time from 0s to 5m; set it to one, such as 45s, or remove it for 30s"},
		{"RELATCH_QUOTA_SHARE", "0", "is not a number above 0 and at most 1; set it to one, or remove it for 0.25"},
		{"RELATCH_QUOTA_SHARE", "NaN", "is not a number above 0 and at most 1; set it to one, or remove it for 0.25"},
		{"RELATCH_QUOTA_SHARE", "25%", "is not a number above 0 and at most 1; set it to one, or remove it for 0.25"},
		{"RELATCH_CONCURRENCY", "0", "is not a whole number of 1 or more; set it to the function's reserved concurrency, or remove it for 1"},
		{"RELATCH_CONCURRENCY", marked, "is not a whole number of 1 or more; set it to the function's reserved concurrency, or remove it for 1"},
		{"RELATCH_AUTH_FACTORS", "true", "is neither on nor off; set it to one of them, or remove it for on"},
		{"RELATCH_TABEL", marked, "is no variable of Relatch; correct the name or remove it"},
		{"RELATCH_SERVERS", "", "is no variable of Relatch; correct the name or remove it"},
	} {
		vars := least()
		vars[c.name] = c.value
		got, err := config.Read(environ(vars))
		if err == nil || err.Error() != c.name+": "+c.want {
			t.Errorf("%s=%s\n\thave %v\n\twant %s: %s", c.name, c.value, err, c.name, c.want)
		}
		if diff := cmp.Diff(config.Config{}, got); diff != "" {
			t.Errorf("%s=%s: a configuration comes with an error: %+v", c.name, c.value, got)
		}
	}
}

func TestThePolicyHasOnePlace(t *testing.T) {
	for _, c := range []struct {
		vars map[string]string
		want string
	}{
		{map[string]string{"RELATCH_POLICY_PARAMETER": marked}, "RELATCH_POLICY_TABLE: is set, and so is RELATCH_POLICY_PARAMETER; remove one of them"},
		{
			map[string]string{"RELATCH_POLICY_TABLE": "", "RELATCH_POLICY_PARAMETER": "p", "RELATCH_POLICY_KEY": marked},
			"RELATCH_POLICY_TABLE: is not set, but RELATCH_POLICY_KEY or RELATCH_POLICY_VALUE is; remove them, a parameter has neither",
		},
	} {
		vars := least()
		maps.Copy(vars, c.vars)
		if _, err := config.Read(environ(vars)); err == nil || err.Error() != c.want {
			t.Errorf("%v\n\thave %v\n\twant %s", c.vars, err, c.want)
		}
	}
}

func TestAllProblemsAreReportedAtOnceAndNoValueIsPrinted(t *testing.T) {
	vars := least()
	for name := range vars {
		vars[name] = marked + " " + marked
	}
	for _, name := range []string{
		"MODE", "DEPLOYMENT_ROLE", "GUARD", "POLICY_KEY", "POLICY_VALUE", "POLICY_PARAMETER", "POLICY_FOR", "POOL_FOR",
		"QUOTA_SHARE", "CONCURRENCY", "AUTH_FACTORS", "NO_SUCH", "TABEL",
	} {
		vars["RELATCH_"+name] = marked + " " + marked
	}
	_, err := config.Read(environ(vars))
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		t.Fatalf("have %v, want joined problems", err)
	}
	named := map[string]bool{}
	for _, problem := range joined.Unwrap() {
		name, _, _ := strings.Cut(problem.Error(), ":")
		named[name] = true
	}
	for name := range vars {
		if !named[name] {
			t.Errorf("nothing is said of %s", name)
		}
	}
	if strings.Contains(err.Error(), marked) {
		t.Errorf("a value is printed:\n%v", err)
	}
	if _, err := config.Read(nil); err == nil || len(strings.Split(err.Error(), "\n")) != len(least()) {
		t.Errorf("an empty environment: have %v\nwant a problem for each of %d variables", err, len(least()))
	}
}

func TestTheREADMEHasEveryVariable(t *testing.T) {
	variables := func(file string) []string {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all := regexp.MustCompile(`RELATCH_[A-Z_]*[A-Z]`).FindAllString(string(raw), -1)
		slices.Sort(all)
		return slices.Compact(all)
	}
	described := slices.DeleteFunc(variables("../../README.md"), func(name string) bool { return name == "RELATCH_STACK" }) // the command's
	if diff := cmp.Diff(variables("read.go"), described); diff != "" {
		t.Errorf("-read +described:\n%s", diff)
	}
}
