package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// SECURITY.md claims nothing without a test, and names none that is not there.
func TestSecurityPage(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t)
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]*)`")
	for _, match := range named.FindAllStringSubmatch(string(page), -1) {
		if !tests[match[1]] {
			t.Errorf("there is no %s", match[1])
		}
	}
	claims, proof := 0, false // proof: in a table whose last column names tests
	for line := range strings.Lines(string(page)) {
		switch {
		case !strings.HasPrefix(line, "|"):
			proof = false
		case strings.HasSuffix(line, "| proven by |\n"):
			proof = true
		case proof && !strings.HasPrefix(line, "|---"):
			claims++
			cells := strings.Split(strings.TrimSuffix(line, "|\n"), "|")
			if !named.MatchString(cells[len(cells)-1]) {
				t.Errorf("no test proves: %s", line)
			}
		}
	}
	if claims < 20 {
		t.Errorf("found %d claims only", claims)
	}
}

// testNames returns the names of all tests of the repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				names[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
