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
	need(t, "make")
	release := func(platforms string, env ...string) (dist string) {
		dir := clone(t)
		cmd := exec.CommandContext(t.Context(), "make", "--silent", "-C", dir, "release", "VERSION=1.2.3", "PLATFORMS="+platforms)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
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
		if err != nil || string(out) != read(t, filepath.Join(there, "..", file)) {
			t.Errorf("%s is not in the archive: %v", file, err)
		}
	}
}

// clone returns a clone of the repository. Where there is none, as in what was
// unpacked from an archive, one is made of the files that are there.
func clone(t *testing.T) string {
	t.Helper()
	need(t, "git")
	dir := filepath.Join(t.TempDir(), "clone")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", args...)
		// So that a commit of the same files is the same commit.
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE=2026-11-27T00:00:00Z", "GIT_COMMITTER_DATE=2026-11-27T00:00:00Z")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if _, err := os.Stat("../.git"); err == nil {
		git("-c", "safe.directory=*", "clone", "--quiet", "..", dir)
		return dir
	}
	git("init", "--quiet", dir)
	git("--git-dir="+dir+"/.git", "--work-tree=..", "add", "--all", "..")
	git("-C", dir, "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--quiet", "--message=unpacked")
	git("-C", dir, "reset", "--quiet", "--hard")
	return dir
}

// What is not committed is not released.
func TestReleaseOfChanges(t *testing.T) {
	need(t, "make")
	dir := clone(t)
	write(t, filepath.Join(dir, "README.md"), "changed")
	out, err := exec.CommandContext(t.Context(), "make", "-C", dir, "release", "VERSION=1.2.3", "PLATFORMS=").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not committed") {
		t.Errorf("%v\n%s", err, out)
	}
}

// What is released says what it is.
func TestVersion(t *testing.T) {
	need(t, "make")
	dir := clone(t)
	output := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	output("make", "-C", dir, "build")
	built, revision := filepath.Join(dir, program), output("git", "-C", dir, "rev-parse", "HEAD")
	if out, want := output(built, "--version"), "revision: "+revision; !strings.Contains(out, want) {
		t.Errorf("--version does not say %q:\n%s", want, out)
	}
	exporter := start(t, built, "--demo", "--web.listen-address=127.0.0.1:0")
	if err := exporter.hasSample(`lakefs_import_exporter_build_info{.*revision="` + revision + `".*} 1`); err != nil {
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
