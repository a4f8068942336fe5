// Package internal has only a test, of what holds for every package.
package internal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	documented := map[string]bool{}
	for _, root := range []string{".", "../functions"} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				return err
			}
			dir := filepath.Dir(path)
			documented[dir] = documented[dir] || says(file)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(documented) < 5 {
		t.Fatalf("found only the packages %v", documented)
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: no file has a package comment", dir)
		}
	}
}

// imports are the packages of internal that those in the folder import, with what
// these import.
func imports(t *testing.T, folder string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	var follow func(folder string)
	follow = func(folder string) {
		files, err := filepath.Glob(folder + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%d files in %s, %v", len(files), folder, err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range file.Imports {
				name, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), "github.com/stackflow/relatch/internal/")
				if ours && !all[name] {
					all[name] = true
					follow(name)
				}
			}
		}
	}
	follow(folder)
	return all
}

// TestALaterStepIsNotKnownToAnEarlierOne: what each may know, at most. A function
// has nothing of the command and of replays in it.
func TestALaterStepIsNotKnownToAnEarlierOne(t *testing.T) {
	const (
		ports = "alert bus cloud cognito config dynamo mfa property queue scheduler trail worker"
		frame = " invoke request telemetry"
	)
	for folder, may := range map[string]string{
		"mfa": "", "trail": "mfa", "alert": "mfa", "worker": "alert mfa trail",
		"cognito": "alert mfa trail worker", "dynamo": "alert mfa trail worker", "property": "", "queue": "mfa", "scheduler": "mfa queue", "bus": "alert mfa",
		"cloud": ports, "../functions/audit": ports + frame, "../functions/reenable": ports + frame, "../functions/sweep": ports + frame, "../functions/override": ports + frame,
		"archive": "mfa trail", "bucket": "", "chain": "mfa", "incident": "mfa", "request": "mfa trail", "desk": "mfa request trail", "stack": "mfa", "whole": "",
	} {
		known := slices.Sorted(maps.Keys(imports(t, folder)))
		if more := slices.DeleteFunc(known, func(name string) bool { return slices.Contains(strings.Fields(may), name) }); len(more) > 0 {
			t.Errorf("%s knows of %v", folder, more)
		}
	}
}

// TestTheREADMENamesEveryPackage in its table of them.
func TestTheREADMENamesEveryPackage(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n| packages | what they are |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var named, there []string
	for row := range strings.Lines(table) {
		for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(strings.Split(row, " | ")[0], -1) {
			named = append(named, m[1])
		}
	}
	folders, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if folder.IsDir() {
			there = append(there, folder.Name())
		}
	}
	slices.Sort(named)
	if diff := cmp.Diff(there, named); diff != "" {
		t.Errorf("-there +named:\n%s", diff)
	}
}

// says reports whether the file has a package comment that begins as godoc wants it.
func says(file *ast.File) bool {
	text := file.Doc.Text()
	if file.Name.Name == "main" {
		return text != ""
	}
	return strings.HasPrefix(text, "Package "+file.Name.Name+" ")
}
