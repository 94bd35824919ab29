package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
)

// A release is the same bytes wherever it is made, and by whomever, and can be verified.
func TestReleaseIsReproducible(t *testing.T) {
	need(t, "git")
	need(t, "make")
	release := func(platforms string, env ...string) (dist string) {
		dir := filepath.Join(t.TempDir(), "clone")
		for _, args := range [][]string{
			{"git", "clone", "--quiet", "..", dir},
			{"make", "--silent", "-C", dir, "release", "VERSION=1.2.3", "PLATFORMS=" + platforms},
		} {
			cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
			cmd.Env = append(os.Environ(), env...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", cmd, err, out)
			}
		}
		return filepath.Join(dir, "dist")
	}
	here, there := release("linux-amd64 darwin-arm64"), release("linux-amd64", "GOAMD64=v3", "GOFLAGS=-tags=other", "REVISION=other", "BRANCH=other")
	const archive = "lakefs_import_exporter-1.2.3.linux-amd64.tar.gz"
	if read(t, filepath.Join(here, archive)) != read(t, filepath.Join(there, archive)) {
		t.Error("two releases of the same commit differ")
	}
	verify := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "SHA256SUMS")
	verify.Dir = here
	if out, err := verify.CombinedOutput(); err != nil || strings.Count(string(out), ": OK\n") != 2 {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "tar", "-xOzf", filepath.Join(there, archive), strings.TrimSuffix(archive, ".tar.gz")+"/config.example.yml").Output()
	if err != nil || string(out) != read(t, "../config.example.yml") {
		t.Errorf("config.example.yml is not in the archive: %v", err)
	}
}

// What is released says what it is.
func TestVersion(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), buildExporter(t), "--version").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	revision, err := exec.CommandContext(t.Context(), "git", "rev-parse", "HEAD").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "revision: " + strings.TrimSpace(string(revision)); !strings.Contains(string(out), want) {
		t.Errorf("--version does not say %q:\n%s", want, out)
	}
	exporter := start(t, buildExporter(t), "--demo", "--web.listen-address=127.0.0.1:0")
	if err := exporter.hasSample(`lakefs_import_exporter_build_info{.*revision="` + strings.TrimSpace(string(revision)) + `".*} 1`); err != nil {
		t.Error(err)
	}
}

func TestWorkflows(t *testing.T) {
	var out strings.Builder
	linter, err := actionlint.NewLinter(&out, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := linter.LintFiles(glob(t, "../.github/workflows/*.yml"), nil); err != nil {
		t.Fatal(err)
	}
	if out.String() != "" {
		t.Error(out.String())
	}
}
