package deploy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// engine is podman with images of the test's own.
type engine struct {
	t   *testing.T
	env []string
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	need(t, "podman")
	conf := filepath.Join(t.TempDir(), "containers.conf")
	// runc, since crun refuses some hosts' cgroups, and limits that are not above those
	// of any host.
	write(t, conf, `[containers]
default_ulimits = ["nofile=16384:16384", "nproc=1000:1000"]
[engine]
runtime = "runc"
[network]
network_backend = "netavark"
`)
	return &engine{t, append(os.Environ(), "CONTAINERS_CONF="+conf)}
}

func (e *engine) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = e.env
	return cmd
}

// podman returns what podman prints to standard output.
func (e *engine) podman(args ...string) string {
	e.t.Helper()
	cmd := e.command("podman", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		e.t.Fatalf("podman %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// pack makes an image of programs and folders of this machine, with the libraries
// that the programs need.
func (e *engine) pack(name, path string, programs, folders []string) {
	e.t.Helper()
	dir := e.t.TempDir()
	if err := errors.Join(os.Mkdir(dir+"/tmp", 0o777), os.Chmod(dir+"/tmp", 0o777|fs.ModeSticky)); err != nil {
		e.t.Fatal(err)
	}
	files := append([]string{"bin", "lib", "lib64"}, folders...)
	for _, program := range programs {
		program = need(e.t, program)
		libraries, _ := exec.Command("ldd", program).Output() // none if it is static
		for _, file := range append(regexp.MustCompile(`/[^ ]+`).FindAllString(string(libraries), -1), program) {
			file = regexp.MustCompile(`^/(bin|lib|lib64)/`).ReplaceAllString(file, "/usr/$1/")
			target, err := filepath.EvalSymlinks(file)
			if err != nil {
				e.t.Fatal(err)
			}
			for _, f := range []string{file, target} {
				if f = strings.TrimPrefix(f, "/"); !slices.Contains(files, f) {
					files = append(files, f)
				}
			}
		}
	}
	tar := exec.Command("tar", append([]string{"-C", dir, "-c", "tmp", "-C", "/"}, files...)...)
	load := e.command("podman", "import", "--quiet", "--change=ENV PATH="+path, "-", name)
	load.Stdin, _ = tar.StdoutPipe()
	if err := tar.Start(); err != nil {
		e.t.Fatal(err)
	}
	if out, err := load.CombinedOutput(); err != nil || tar.Wait() != nil {
		e.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// build builds the image by its Dockerfile, of a clone. The builder's base is made of this
// machine's Go, since it may be that none can be pulled.
func (e *engine) build(tag, clone string, args ...string) {
	e.t.Helper()
	const base = "localhost/lakefs_import_exporter_test_golang"
	env := func(key string) string { return strings.TrimSpace(run(e.t, "go", "env", key)) }
	root := strings.TrimPrefix(env("GOROOT"), "/")
	folders := []string{"etc/passwd", "etc/ssl/certs/ca-certificates.crt", "usr/share/git-core"}
	for _, part := range []string{"bin", "pkg", "src", "go.env", "VERSION"} {
		folders = append(folders, filepath.Join(root, part))
	}
	e.pack(base, "/"+root+"/bin:/usr/bin", []string{"sh", "make", "git", "sed", "mkdir", "env"}, folders)
	e.podman(append([]string{"build", "--quiet", "--network=host", "--env=GOPROXY=" + env("GOPROXY"), "--build-context=" + builderImage(e.t) + "=container-image://" + base,
		"--file=" + filepath.Join(clone, "deploy", dockerfile), "--tag=" + tag, clone}, args...)...)
}

// start starts a container in the background, and returns its name.
func (e *engine) start(args ...string) string {
	e.t.Helper()
	id := e.podman(append([]string{"run", "--detach"}, args...)...)
	e.t.Cleanup(func() {
		if e.t.Failed() {
			out, _ := e.command("podman", "logs", "--tail=50", id).CombinedOutput()
			e.t.Logf("log of the container:\n%s", out)
		}
		_ = e.command("podman", "rm", "--force", "--time=0", id).Run()
	})
	return id
}

// The image as its Dockerfile builds it, in a real engine, run as README and chart
// run it: read-only, without capabilities, as nobody.
func TestImageInEngine(t *testing.T) {
	e := newEngine(t)
	const image = "localhost/lakefs_import_exporter_test"
	dir := clone(t)
	for _, file := range []string{".tools/helm", "dist/SHA256SUMS", "config.yml", "data/imports.db", "imports/a.yml"} {
		write(t, filepath.Join(dir, file), "of whoever builds")
	}
	e.build(image, dir)
	hardened := []string{"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=256m", "--env=GOMEMLIMIT=205MiB"}

	t.Run("files", func(t *testing.T) {
		e := &engine{t, e.env}
		e.build(image+"_build", dir, "--target=build")
		// Neither is anything missing, which its version would tell, nor is anything too much.
		if status := e.podman("run", "--rm", "--network=none", image+"_build", "git", "status", "--porcelain", "--ignored"); status != "!! "+program {
			t.Errorf("it is not built of what is committed:\n%s", status)
		}
		id := e.podman("create", image)
		t.Cleanup(func() { _ = e.command("podman", "rm", id).Run() })
		tar := exec.Command("tar", "-t")
		tar.Stdin = strings.NewReader(e.podman("export", id))
		files, err := tar.Output()
		if want := "data/\netc/\netc/ssl/\netc/ssl/certs/\netc/ssl/certs/ca-certificates.crt\n" + program + "\n"; err != nil || string(files) != want {
			t.Errorf("%v, the image has\n%s", err, files)
		}
	})
	t.Run("demo", func(t *testing.T) {
		e := &engine{t, e.env}
		id := e.start(append(slices.Clone(hardened), "--publish-all", image, "--demo")...)
		url := "http://" + e.podman("port", id, "10470/tcp")
		eventually(t, "the demo", func() error { _, err := send(http.MethodGet, url+"/-/ready", nil); return err })
		metrics, err := send(http.MethodGet, url+"/metrics", nil)
		if err != nil || !bytes.Contains(metrics, []byte("\ngo_gc_gomemlimit_bytes 2.1495808e+08\n")) || !bytes.Contains(metrics, []byte("lakefs_import_state{")) {
			t.Errorf("not the demo, or not its limit: %v", err)
		}
		status := read(t, "/proc/"+e.podman("inspect", "--format={{.State.Pid}}", id)+"/status")
		for _, line := range []string{"Uid:\t65534\t65534\t65534\t65534\n", "Gid:\t65534\t65534\t65534\t65534\n", "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n"} {
			if !strings.Contains(status, line) {
				t.Errorf("not %q:\n%s", line, status)
			}
		}
		e.podman("stop", "--time=10", id)
		if code := e.podman("inspect", "--format={{.State.ExitCode}}", id); code != "0" {
			t.Errorf("SIGTERM ends it with %s", code)
		}
	})
	t.Run("storage", func(t *testing.T) { testEngineStorage(&engine{t, e.env}, image, hardened) })
	t.Run("compose", func(t *testing.T) { testPodmanCompose(&engine{t, e.env}, image) })
}

// What was seen outlives the container, in a named volume; SIGHUP reloads.
func testEngineStorage(e *engine, image string, hardened []string) {
	t := e.t
	lakeFS := startLakeFS(t)
	ref, later := lakeFS.Start("my-repo", "main", slow), lakeFS.Start("my-repo", "main", slow)
	dir := t.TempDir()
	configure := func(ids ...string) {
		t.Helper()
		config := "servers:\n" + serverYAML("prod", lakeFS) + "imports:\n"
		for _, id := range ids {
			config += fmt.Sprintf("  - {repository: my-repo, branch: main, id: %s}\n", id)
		}
		write(t, dir+"/config.yml", config)
	}
	configure(ref.ID)
	volume := e.podman("volume", "create")
	t.Cleanup(func() { _ = e.command("podman", "volume", "rm", "--force", volume).Run() })
	address := freeAddress(t)
	run := func() (string, *process) {
		return e.start(slices.Concat(hardened, []string{"--network=host", "--volume=" + dir + ":/etc/lakefs_import_exporter:ro", "--volume=" + volume + ":/data",
			image, "--storage.path=/data", "--web.listen-address=" + address})...), &process{URL: "http://" + address}
	}
	id, exporter := run()
	eventually(t, "the import", func() error {
		return exporter.hasSample(`lakefs_import_poll_success{.*import_id="` + ref.ID + `".*} 1`)
	})
	configure(ref.ID, later.ID)
	e.podman("kill", "--signal=HUP", id)
	eventually(t, "the reload", func() error {
		return exporter.hasSample(`lakefs_import_poll_success{.*import_id="` + later.ID + `".*} 1`)
	})
	e.podman("stop", "--time=10", id)
	if code := e.podman("inspect", "--format={{.State.ExitCode}}", id); code != "0" {
		t.Errorf("SIGTERM ends it with %s", code)
	}
	lakeFS.Close()
	_, exporter = run()
	eventually(t, "what was seen", func() error {
		return errors.Join(exporter.hasSample(`lakefs_import_ingested_objects{.*import_id="`+ref.ID+`".*}.*`),
			exporter.hasSample(`lakefs_import_poll_success{.*import_id="`+ref.ID+`".*} 0`))
	})
}

// The compose file in podman-compose, as far as images can be had: the exporter
// watches what the job starts in a stand-in of lakeFS, whoever owns the volumes.
func testPodmanCompose(e *engine, image string) {
	t := e.t
	need(t, "podman-compose")
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+"/standin", "./testdata/standin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const lakeFS, curl = "localhost/lakefs_import_exporter_test_lakefs", "localhost/lakefs_import_exporter_test_curl"
	write(t, dir+"/Dockerfile", "FROM scratch\nCOPY standin /standin\nUSER 1000:1000\nENTRYPOINT []\n")
	e.podman("build", "--quiet", "--tag="+lakeFS, dir)
	e.pack(curl, "/usr/bin", []string{"sh", "curl", "cat", "mkdir", "mv", "rm", "sed", "seq", "touch", "xargs"}, nil)
	secret := func(file string) string { return strings.TrimSpace(read(t, "docker/secrets/"+file)) }

	// Beside the shipped file, since paths are relative to it.
	shipped := rewrite(t, composeFile).replace("image: lakefs_import_exporter\n", "image: "+image+"\n").
		replace("curlimages/curl:8.15.0", curl).
		replaceAll(`treeverse/lakefs:[\d.]+`, lakeFS).
		replaceAll(`127\.0\.0\.1:10470:`, "127.0.0.1::").replaceAll(`127\.0\.0\.1:8000:`, "127.0.0.1::").
		replaceAll(`(?s)entrypoint: \[sh, -c\]\n    command:.*?\n    environment:`, fmt.Sprintf("entrypoint: [/standin, %s, %s]\n    environment:", secret("access_key_id"), secret("secret_access_key")))
	file, err := filepath.Abs("docker/compose.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	shipped.write(file)
	t.Cleanup(func() { _ = os.Remove(file) })
	compose := func(args ...string) string {
		t.Helper()
		cmd := e.command("podman-compose", append([]string{"--project-name=lakefs-imports-test", "--file", file}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("podman-compose %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, container := range []string{"lakefs-imports-test_exporter_1", "lakefs.localhost"} {
				out, _ := e.command("podman", "logs", "--tail=30", container).CombinedOutput()
				t.Logf("log of %s:\n%s", container, out)
			}
		}
		compose("down", "--volumes")
	})
	compose("up", "--detach", "--no-build", "exporter", "lakefs")
	exporter := &process{URL: "http://" + e.podman("port", "lakefs-imports-test_exporter_1", "10470/tcp")}
	eventually(t, "the exporter", func() error { return exporter.hasSample(`lakefs_up{server="local"} 1`) })
	said := regexp.MustCompile(`import ([0-9a-v]{20}) of .* is watched`).FindStringSubmatch(compose("run", "--rm", "-T", "import", "nightly"))
	if said == nil {
		t.Fatal("the job starts nothing")
	}
	eventually(t, "the import's end", func() error {
		return errors.Join(exporter.hasSample(`lakefs_import_completed{.*import_id="`+said[1]+`".*} 1`),
			exporter.hasSample(`lakefs_import_ingested_objects{.*import_id="`+said[1]+`".*team="ingest"} 50000`),
			exporter.hasSample(`lakefs_import_expected_objects{.*import_id="`+said[1]+`".*} 50000`))
	})
	if said := compose("run", "--rm", "-T", "import", "nowhere"); !strings.Contains(said, " of /source/nowhere is watched") {
		t.Errorf("an import of what is not there: %s", said)
	}
}
