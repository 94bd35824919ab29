package deploy_test

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
	"go.yaml.in/yaml/v3"
)

// makeRelease makes one of a clone, and returns its dist/.
func makeRelease(t *testing.T, version, platforms string, env ...string) (dist string) {
	t.Helper()
	dir := clone(t)
	tools, err := filepath.Abs("../.tools")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), need(t, "make"), "--silent", "-C", dir, "release", "VERSION="+version, "PLATFORMS="+platforms, "TOOLS="+tools)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return filepath.Join(dir, "dist")
}

// A release is the same bytes wherever it is made, and by whomever, and can be verified.
func TestReleaseIsReproducible(t *testing.T) {
	need(t, "zip")
	here, there := makeRelease(t, "1.2.3", "linux-amd64 windows-amd64"), makeRelease(t, "1.2.3", "linux-amd64", "GOAMD64=v3", "GOFLAGS=-tags=other", "REVISION=other", "BRANCH=other", "TZ=Asia/Tokyo")
	const archive = "lakefs_import_exporter-1.2.3.linux-amd64.tar.gz"
	var files []string
	for _, file := range glob(t, here+"/*") {
		files = append(files, filepath.Base(file))
	}
	if want := []string{
		"SHA256SUMS", "lakefs-import-exporter-1.2.3-1.x86_64.rpm", "lakefs-import-exporter_1.2.3_amd64.deb",
		"lakefs_import_exporter-1.2.3.cdx.json", archive, "lakefs_import_exporter-1.2.3.windows-amd64.zip",
	}; !slices.Equal(files, want) {
		t.Errorf("a release has %q, want %q", files, want)
	}
	for _, file := range glob(t, there+"/*") {
		if name := filepath.Base(file); name != "SHA256SUMS" && read(t, file) != read(t, filepath.Join(here, name)) {
			t.Errorf("%s differs between two releases of the same commit", name)
		}
	}
	if out := run(t, "env", "--chdir="+here, "sha256sum", "--check", "--strict", "SHA256SUMS"); strings.Count(out, ": OK\n") != len(files)-1 {
		t.Errorf("sha256sum:\n%s", out)
	}
	for _, file := range []string{"config.example.yml", "SECURITY.md", "deploy/systemd/lakefs_import_exporter.service", "deploy/prometheus/rules/alerts.yml"} {
		if run(t, "tar", "-xOzf", filepath.Join(there, archive), strings.TrimSuffix(archive, ".tar.gz")+"/"+file) != read(t, filepath.Join(there, "..", file)) {
			t.Errorf("%s in the archive is another", file)
		}
	}
	var bill struct {
		BOMFormat  string `json:"bomFormat"`
		Components []struct {
			Name string `json:"name"`
		} `json:"components"`
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(here, "lakefs_import_exporter-1.2.3.cdx.json"))), &bill); err != nil || bill.BOMFormat != "CycloneDX" {
		t.Fatalf("%s: %v", bill.BOMFormat, err)
	}
	built, err := buildinfo.ReadFile(buildExporter(t))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, c := range bill.Components {
		listed[c.Name] = true
	}
	for _, module := range built.Deps {
		if !listed[module.Path] {
			t.Errorf("the bill of materials lacks %s", module.Path)
		}
	}
}

// The chart of a release is whole, and knows where its image is.
func TestReleaseOfChart(t *testing.T) {
	need(t, "helm")
	dir := clone(t)
	run(t, "make", "--silent", "-C", dir, "chart", "VERSION=1.2.3", "IMAGE=ghcr.io/owner/name", "SOURCE_URL=https://github.com/owner/name", "HELM="+need(t, "helm"))
	packed := filepath.Join(dir, "dist", "lakefs-import-exporter-1.2.3.tgz")
	if out, errs, err := helm(t, "lint", "--strict", packed); err != nil || errs != "" {
		t.Errorf("helm lint: %v\n%s%s", err, out, errs)
	}
	out, errs, err := helm(t, "template", "test", packed, "--set=prometheusRule.enabled=true,serviceMonitor.enabled=true")
	if err != nil || errs != "" {
		t.Fatalf("%v\n%s", err, errs)
	}
	r := parseRelease(t, out)
	pod, _ := r.pod(t)
	if image := pod.Spec.Containers[0].Image; image != "ghcr.io/owner/name:1.2.3" {
		t.Errorf("the chart runs %s", image)
	}
	if len(r.rules[0].Spec.Groups) == 0 || len(r.serviceMonitors) != 1 || r.configMaps["test-lakefs-import-exporter-dashboard"] == nil {
		t.Error("the chart has no rules, no ServiceMonitor or no dashboard, where somebody insists on them")
	}
	shown, _, err := helm(t, "show", "chart", packed)
	for _, want := range []string{`image: "ghcr.io/owner/name:1.2.3"`, "home: https://github.com/owner/name", "artifacthub.io/changes", "artifacthub.io/links", "kubeVersion", "icon: data:image/svg+xml;base64,"} {
		if err != nil || !strings.Contains(shown, want) {
			t.Errorf("helm show chart: no %s (%v)", want, err)
		}
	}
}

// The module can be given a path by which "go install" finds it.
func TestModulePath(t *testing.T) {
	dir := clone(t)
	run(t, "make", "--silent", "-C", dir, "module", "MODULE=example.com/owner/lakefs_import_exporter")
	if out := run(t, "go", "-C", dir, "list", "-m"); out != "example.com/owner/lakefs_import_exporter\n" {
		t.Errorf("the module is %s", out)
	}
	run(t, "go", "-C", dir, "vet", ".")
	run(t, "go", "-C", filepath.Join(dir, "deploy"), "vet", "./...")
}

// The Debian package in a Debian with systemd: it is installed, runs, is upgraded, and
// leaves nothing behind but what was seen.
func TestPackage(t *testing.T) {
	tree, err := filepath.Abs("../.tools/debian-bookworm.tar")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tree); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED: make e2e makes .tools/debian-bookworm.tar")
	}
	e := newEngine(t)
	const image = "localhost/lakefs_import_exporter_test_debian"
	e.podman("import", "--quiet", tree, image)
	dir := t.TempDir()
	for _, version := range []string{"1.2.3", "1.2.4"} {
		dist := makeRelease(t, version, "linux-amd64")
		write(t, dir+"/"+version+".deb", read(t, glob(t, dist+"/*.deb")[0]))
	}
	// systemd shows its services credentials by mounts.
	id := e.start("--systemd=always", "--privileged", "--network=none", "--volume="+dir+":/packages:ro", image, "sh", "-c", "mount --make-rshared / && exec /lib/systemd/systemd")
	inside := func(script string) string {
		t.Helper()
		return e.podman("exec", id, "sh", "-e", "-c", script)
	}
	eventually(t, "systemd", func() error { return e.command("podman", "exec", id, "systemctl", "is-system-running").Run() })
	before := inside("find / -xdev -path /proc -prune -o -path /packages -prune -o -print | grep -i lakefs || true")
	inside("dpkg --install /packages/1.2.3.deb")
	if state := inside("systemctl is-enabled lakefs_import_exporter || true; systemctl is-active lakefs_import_exporter || true"); state != "disabled\ninactive" {
		t.Errorf("without its keys it is %s", state)
	}
	inside("umask 077; cd /etc/lakefs_import_exporter; echo key >access_key_id; echo key >secret_access_key; sed -i s/lakefs.example.com/lakefs.internal/ config.yml; systemctl enable --now lakefs_import_exporter")
	listens := func(what string, lines int) {
		t.Helper()
		eventually(t, what, func() error {
			if log := inside("journalctl --unit=lakefs_import_exporter --output=cat"); strings.Count(log, "Listening on") != lines {
				return errors.New(log)
			}
			return nil
		})
	}
	listens("its start", 1)
	inside("systemd-analyze security --threshold=11 lakefs_import_exporter") // as the README says
	inside("systemctl reload lakefs_import_exporter")
	eventually(t, "the reload", func() error {
		if log := inside("journalctl --unit=lakefs_import_exporter --output=cat"); strings.Count(log, "Loaded configuration") != 2 {
			return errors.New(log)
		}
		return nil
	})
	inside("systemctl kill --signal=KILL lakefs_import_exporter")
	listens("its restart after a crash", 2)
	inside("dpkg --install /packages/1.2.4.deb")
	listens("its restart by the upgrade", 3)
	if out := inside("grep lakefs.internal /etc/lakefs_import_exporter/config.yml; lakefs_import_exporter --version; systemctl is-active lakefs_import_exporter"); !strings.Contains(out, "version 1.2.4") {
		t.Errorf("after the upgrade:\n%s", out)
	}
	inside("rm /etc/lakefs_import_exporter/access_key_id /etc/lakefs_import_exporter/secret_access_key; dpkg --purge lakefs-import-exporter")
	after := inside("find / -xdev -path /proc -prune -o -path /packages -prune -o -path /var/lib -prune -o -print | grep -i lakefs || true; systemctl list-units --all --plain --no-legend 'lakefs*'")
	if after != before {
		t.Errorf("it leaves\n%s", after)
	}
	if kept := inside("ls /var/lib/private/lakefs_import_exporter"); kept == "" {
		t.Error("what was seen is gone")
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
	dir := clone(t)
	write(t, filepath.Join(dir, "README.md"), "changed")
	cmd := exec.CommandContext(t.Context(), "deploy/package/release.sh")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "not committed") {
		t.Errorf("%v\n%s", err, out)
	}
}

// What is released says what it is.
func TestVersion(t *testing.T) {
	dir := clone(t)
	run(t, "make", "-C", dir, "build")
	built, revision := filepath.Join(dir, program), strings.TrimSpace(run(t, "git", "-C", dir, "rev-parse", "HEAD"))
	if out, want := run(t, built, "--version"), "revision: "+revision; !strings.Contains(out, want) {
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

// Actions of others are pinned by their commits, and every job has the rights that it
// names, and no more.
func TestWorkflowsArePinned(t *testing.T) {
	for _, file := range glob(t, "../.github/workflows/*.yml") {
		var workflow struct {
			Permissions map[string]string
			Jobs        map[string]struct {
				Permissions map[string]string
				Steps       []struct{ Uses string }
			}
		}
		if err := yaml.Unmarshal([]byte(read(t, file)), &workflow); err != nil {
			t.Fatal(err)
		}
		if workflow.Permissions == nil || len(workflow.Permissions) > 0 {
			t.Errorf("%s: rights for all jobs: %v", file, workflow.Permissions)
		}
		for name, job := range workflow.Jobs {
			if len(job.Permissions) == 0 {
				t.Errorf("%s: %s names no rights", file, name)
			}
			for _, step := range job.Steps {
				if step.Uses != "" && !regexp.MustCompile(`^[\w./-]+@[0-9a-f]{40}$`).MatchString(step.Uses) {
					t.Errorf("%s: %s is not pinned", file, step.Uses)
				}
			}
		}
	}
}
