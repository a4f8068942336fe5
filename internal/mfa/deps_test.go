package mfa

import (
	"go/ast"
	"go/build"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestNothingButTheStandardLibraryIsImported(t *testing.T) {
	p, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for queue := slices.Clone(p.Imports); len(queue) > 0; queue = queue[1:] {
		path := queue[0]
		if seen[path] || path == "unsafe" || strings.HasPrefix(path, "internal/") || strings.HasPrefix(path, "vendor/") {
			continue
		}
		seen[path] = true
		q, err := build.Import(path, ".", 0)
		if err != nil || !q.Goroot {
			t.Errorf("%s is imported and not of the standard library: %v", path, err)
			continue
		}
		queue = append(queue, q.Imports...)
	}
	if !seen["time"] {
		t.Error("the package's imports were not found at all")
	}
}

func TestNothingIsImportedThatReadsTheWorld(t *testing.T) {
	for name, file := range sources(t) {
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			root, _, _ := strings.Cut(path, "/")
			if slices.Contains([]string{"context", "net", "os", "syscall", "log", "testing"}, root) || path == "math/rand" || path == "math/rand/v2" || path == "crypto/rand" {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}

func TestThereIsNoClock(t *testing.T) {
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Local"}
	uses := 0
	for name, file := range sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := selector.X.(*ast.Ident); ok && pkg.Name == "time" {
				uses++
				if slices.Contains(clock, selector.Sel.Name) {
					t.Errorf("%s uses time.%s; time is an argument", name, selector.Sel.Name)
				}
			}
			return true
		})
		for _, spec := range file.Imports {
			if spec.Path.Value == `"time"` && spec.Name != nil {
				t.Errorf("%s imports time under another name", name)
			}
		}
	}
	if uses == 0 {
		t.Error("no use of the package time was found at all")
	}
}
