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
	for _, file := range []string{"config.example.yml", "SECURITY.md", "deploy/systemd/lakefs_import_exporter.service", "deploy/prometheus/rules/alerts.yml"} {
		out, err := exec.CommandContext(t.Context(), "tar", "-xOzf", filepath.Join(there, archive), strings.TrimSuffix(archive, ".tar.gz")+"/"+file).Output()
		if err != nil || string(out) != committed(t, file) {
			t.Errorf("%s is not in the archive: %v", file, err)
		}
	}
}

// committed returns a file of the newest commit.
func committed(t *testing.T, file string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "-C", "..", "show", "HEAD:"+file).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// What is not committed is not released.
func TestReleaseOfChanges(t *testing.T) {
	need(t, "git")
	need(t, "make")
	dir := filepath.Join(t.TempDir(), "clone")
	if out, err := exec.CommandContext(t.Context(), "git", "clone", "--quiet", "..", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	write(t, filepath.Join(dir, "README.md"), "changed")
	out, err := exec.CommandContext(t.Context(), "make", "-C", dir, "release", "VERSION=1.2.3", "PLATFORMS=").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not committed") {
		t.Errorf("%v\n%s", err, out)
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
