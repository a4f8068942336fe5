package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced block of the README.
type block struct{ kind, text string }

func readme(t *testing.T) []block {
	t.Helper()
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	for _, m := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(string(raw), -1) {
		blocks = append(blocks, block{m[1], m[2]})
	}
	return blocks
}

// TestEveryCommandOfTheREADMERuns runs each line of its sh blocks, and holds a
// text block that follows one command against what that command prints; […]
// stands for anything.
func TestEveryCommandOfTheREADMERuns(t *testing.T) {
	t.Chdir("../..")
	t.Setenv("LANG", "C.UTF-8")
	blocks := readme(t)
	ran := 0
	for i, b := range blocks {
		if b.kind != "sh" {
			continue
		}
		for line := range strings.Lines(b.text) {
			line = strings.TrimSpace(line)
			args, isRelatch := strings.CutPrefix(line, "go run ./functions/relatch ")
			switch {
			case isRelatch:
				code, out, errs := relatch(t, map[string]string{"LANG": "C.UTF-8"}, strings.Fields(args)...)
				if code != 0 {
					t.Errorf("%s: exit status %d: %s", line, code, errs)
				}
				if i+1 < len(blocks) && blocks[i+1].kind == "text" && strings.Count(b.text, "\n") == 1 {
					expectText(t, line, blocks[i+1].text, out)
				}
			case strings.HasPrefix(line, "go test "):
				// This test is part of what go test runs; that the very command
				// is what CI or a task runs is left to see.
				ci, err := os.ReadFile(".ci/run")
				if err != nil {
					t.Fatal(err)
				}
				tasks, err := os.ReadFile("Taskfile.yml")
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(string(ci), line) && !strings.Contains(string(tasks), line) {
					t.Errorf("%s: neither .ci/run nor a task runs it", line)
				}
			default:
				t.Errorf("%s: the test does not know how to run this", line)
			}
			ran++
		}
	}
	if ran < 4 {
		t.Errorf("found %d commands in the README", ran)
	}
}

func expectText(t *testing.T, command, want, got string) {
	t.Helper()
	gap := regexp.QuoteMeta("[…]")
	pattern := regexp.QuoteMeta(strings.TrimSpace(want))
	pattern = strings.ReplaceAll(pattern, "\n"+gap+"\n", "\n(?s:.*?)") // lines, or none
	pattern = strings.ReplaceAll(pattern, gap, "(?s:.*?)")
	if !regexp.MustCompile("^" + pattern + "$").MatchString(strings.TrimSpace(got)) {
		t.Errorf("%s: the README shows\n%s\nbut it prints\n%s", command, want, got)
	}
}
