// Package internal has only a test, of what holds for every package.
package internal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
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
