package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The generated files in the tree are what the mixin makes.
func TestGeneratedFiles(t *testing.T) {
	files, err := render("../..")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		got, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what make generate writes (-want +got):\n%s", path, diff)
		}
	}
}
