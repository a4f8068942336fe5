package infra_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write anew what doctor holds a stack against")

// TestDoctorKnowsWhatTheTemplateShips: internal/checkup has, with names for what a
// stack is told, what the template makes of those resources by which Relatch
// sees, works and is heard.
func TestDoctorKnowsWhatTheTemplateShips(t *testing.T) {
	s := deployAs(t, "{name}", "{account}", "{region}", everything(
		"Name={name}", "TrailArn=arn:aws:cloudtrail:{region}:{account}:trail/{trail}", "RunbookUrl={runbook}"))
	var want bytes.Buffer // a line for each
	for _, kind := range []string{"AWS::Events::Rule", "AWS::Lambda::EventSourceMapping", "AWS::Scheduler::Schedule"} {
		for _, id := range s.of(kind) {
			p := s.Resources[id].Properties
			delete(p, "Description")
			delete(p, "ScalingConfig") // as its function's concurrency, which a parameter says
			if s.Resources[id].Whole["Condition"] != nil {
				p["Conditional"] = true
				delete(p, "Targets") // nobody knows their ARNs before they exist
			}
			e := json.NewEncoder(&want)
			e.SetEscapeHTML(false)
			if err := e.Encode(map[string]any{"Type": kind, "Properties": p}); err != nil {
				t.Fatal(err)
			}
		}
	}
	const file = "../internal/checkup/shipped.jsonl"
	if *update {
		if err := os.WriteFile(file, want.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want.String(), contents(t, file)); diff != "" {
		t.Errorf("%s (-template +file; -update writes it anew):\n%s", file, diff)
	}
}
