package infra_test

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// source is what the checks look at: the template and the guardrail, parsed. It
// stays as it is.
type source struct {
	template  map[string]any
	guardrail map[string]any
	stacks    *sync.Map // those that were worked out
}

// committed is the source in this folder.
func committed(t testing.TB) source {
	t.Helper()
	in, err := files()
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// check reports what is wrong with a source by t's Errorf and Fatalf, and asks t
// for nothing else. Its name is a sentence.
type check func(t testing.TB, in source)

// checks are all of them: TestTheSourceIsSound has none of them find anything in
// what is committed, TestSeededMistakesAreFound has them find every mistake.
var checks = []check{
	aFunctionMayDoWhatItsCodeCallsAndNoMore, aServicesRoleMayDoWhatItIsForAndNoMore, peopleMayDoWhatTheCommandCallsAndNoMore,
	statementsSayNothingElse, nothingIsOpenToOthers, rolesAreOfOneServiceEach, overrideIsAskedByItsURLOnly, onlyTheRulesAndOverrideSendToAudit,
	whoMustSendMaySend, theLedgerIsWrittenByTheFunctionsOnly, whatIsWrittenFitsTheConditions, nobodyMaySwitchTheGuardOff, everyActionExists,
	whatTheFunctionsAreToldFitsAndIsUnderstood, policiesAreNotTooLong,

	onlyWhatCloudTrailSendsIsMatched, whatTheWorkerActsOnIsMatched, everyOperationIsMatchedAsTrailReadsIt, aSwitchedOffFactorIsMatchedHoweverItIsWritten,
	whoeverTouchesTheGuardIsMatched, aGuardRuleThatIsSwitchedOffIsSeenByTheOther, aTimerOfRelatchsOwnIsNotSent, auditIsToldOfEverythingThatRelatchIsMadeOf, patternsAreNotTooLong,

	theTemplateIsPlain, everythingElseIsAlwaysThere, parametersAreExplainedAndHeldToAForm, somebodyIsToldOfAlarms, aStackSetsNamesFit,
	theLedgersTableIsTheOneThatDynamoDescribes, aFunctionIsWholeAndWatched, aQueueFitsItsFunction, theSweepNeverOverlaps,
	everyQueueIsWatched, whatCannotBeDeliveredIsKept, alarmsAreOnWhatIsMeasured, theDashboardShowsWhatIsMeasured, theOutputsSayWhereRelatchIs,
	theTopicsAreEncryptedWithAKeyThatAlarmsMayUse, alertsAreKeptAndMailed,

	everyAlertReachesWhomItIsFor, variablesInsideStringsAreNobodysWords, anAlarmPages, destinationsAreWhereTheServicesListen, secretsAreNotShown,

	theGuardrailProtectsTheGuard, theGuardrailLeavesTheFunctionsTheirWork, theGuardrailFitsAndDeniesOnly,
}

func (c check) name() string {
	full := runtime.FuncForPC(reflect.ValueOf(c).Pointer()).Name()
	return full[strings.LastIndexByte(full, '.')+1:]
}

// TestTheSourceIsSound: no check finds anything.
func TestTheSourceIsSound(t *testing.T) {
	in := committed(t)
	for _, c := range checks {
		t.Run(c.name(), func(t *testing.T) { c(t, in) })
	}
}

// TestTheTemplateFits into what CloudFormation takes from S3 (CloudFormation
// quotas). As the body of a request it would not: task deploy names a bucket.
func TestTheTemplateFits(t *testing.T) {
	template := contents(t, "template.yaml")
	if len(template) > 1_000_000 || len(template) > 51_200 && !strings.Contains(contents(t, "../Taskfile.yml"), "aws cloudformation deploy --stack-name {{.STACK}} --template-file dist/packaged.yaml --s3-bucket") {
		t.Errorf("the template has %d bytes", len(template))
	}
	parts := committed(t).template
	for part, most := range map[string]int{"Parameters": 200, "Resources": 500, "Outputs": 200} {
		if n := len(object(parts[part])); n == 0 || n > most {
			t.Errorf("there are %d %s, at most %d fit", n, part, most)
		}
	}
}

// problems are what the check finds, each with the check's name in front.
func (c check) problems(t testing.TB, in source) []string {
	t.Helper()
	f := &finder{TB: t}
	func() {
		defer func() {
			switch r := recover().(type) {
			case nil, stopped:
			default: // what a mistake has made of it cannot even be looked at
				f.found = append(f.found, fmt.Sprint(r))
			}
		}()
		c(f, in)
	}()
	for i, problem := range f.found {
		f.found[i] = c.name() + ": " + problem
	}
	return f.found
}

// finder is a test that keeps what is reported.
type finder struct {
	testing.TB
	found []string
}

// stopped ends a check that has called Fatal.
type stopped struct{}

func (f *finder) Helper()             {}
func (f *finder) Logf(string, ...any) {}
func (f *finder) Error(args ...any)   { f.found = append(f.found, fmt.Sprint(args...)) }
func (f *finder) Errorf(format string, args ...any) {
	f.found = append(f.found, fmt.Sprintf(format, args...))
}

func (f *finder) Fatal(args ...any) {
	f.Error(args...)
	panic(stopped{})
}

func (f *finder) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic(stopped{})
}
