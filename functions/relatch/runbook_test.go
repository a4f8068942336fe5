package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stackflow/relatch/internal/stacktest"
)

// shell has aws and relatch write down what they are given, each argument in a
// line of its own, between two that are empty.
const shell = `aws() { printf '\naws\n'; printf '%s\n' "$@"; }
relatch() { printf '\nrelatch\n'; printf '%s\n' "$@"; }
set -eu
`

// TestEveryCommandOfARunbookIsOne: the shell takes it, the command and the AWS CLI
// know what it asks for and each of its options, and nothing else is run.
func TestEveryCommandOfARunbookIsOne(t *testing.T) {
	t.Parallel() // waits for programs
	if testing.Short() {
		t.Skip("starts the AWS CLI some thirty times")
	}
	bash := stacktest.Tool(t, "bash", "the runbooks are for a shell")
	aws := stacktest.Tool(t, "aws", "python3 -m pip install 'awscli>=1.44,<2'")
	pages, err := filepath.Glob("../../infra/runbook/*.md")
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string][]string{} // one for each operation and options, with a page that has it
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := 0, 0
		for _, m := range regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$").FindAllStringSubmatch(string(text), -1) {
			said, err := exec.CommandContext(t.Context(), bash, "-c", shell+m[1]).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v: %s", page, err, said)
			}
			for call := range strings.SplitSeq(strings.TrimSpace(string(said)), "\n\n") {
				args := strings.Split(call, "\n")
				switch args[0] {
				case "relatch":
					ours++
					code, out, errs := relatch(t, map[string]string{"LANG": "C.UTF-8"}, append(args[1:], "--help")...)
					if code != 0 || !strings.Contains(out, "\n  relatch "+args[1]) {
						t.Errorf("%s: %s: exit status %d: %s", page, strings.Join(args, " "), code, errs)
					}
				case "aws":
					theirs++
					calls[strings.Join(args[1:3], " ")+strings.Join(regexp.MustCompile(`(?m)^--.*`).FindAllString(call, -1), " ")] = append(args[1:], page)
				default:
					t.Errorf("%s: %s", page, call)
				}
			}
		}
		if theirs == 0 || ours == 0 && filepath.Base(page) != "session.md" {
			t.Errorf("%s has %d commands of relatch and %d of the AWS CLI", page, ours, theirs)
		}
	}
	var all sync.WaitGroup
	turns := make(chan struct{}, 2)
	for _, args := range calls {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			last := len(args) - 1
			cmd := exec.CommandContext(t.Context(), aws, append(slices.Clone(args[:last]), "--generate-cli-skeleton", "input")...)
			cmd.Env = append(cmd.Environ(), "AWS_DEFAULT_REGION=us-east-1", "AWS_PAGER=", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: aws %s: %v\n%s", args[last], strings.Join(args[:last], " "), err, out)
			}
		})
	}
	all.Wait()
}
