package deploy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"debug/buildinfo"
	"encoding/pem"
	"fmt"
	"go/version"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"

	"lakefs_import_exporter/lakefs/lakefstest"
)

const dockerfile = "docker/Dockerfile"

// nobody is the user of the image. It owns nothing, and is in no other group.
const nobody = 65534

// port is the exporter's, wherever it runs.
const port = 10470

// image is what the Dockerfile makes: how a container of it starts, as far as that
// can be told without building it.
type image struct {
	copies     []instructions.CopyCommand
	user       string
	env        []string
	entrypoint []string
	ports      []string
}

// stages returns the stages of the Dockerfile.
func stages(t *testing.T) []instructions.Stage {
	t.Helper()
	ast, err := parser.Parse(strings.NewReader(read(t, dockerfile)))
	if err != nil {
		t.Fatal(err)
	}
	stages, _, err := instructions.Parse(ast.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	return stages
}

// readImage reads the last stage of the Dockerfile, which must begin with nothing.
func readImage(t *testing.T) image {
	t.Helper()
	all := stages(t)
	last := all[len(all)-1]
	if last.BaseName != "scratch" {
		t.Fatalf("the image is made from %s", last.BaseName)
	}
	var i image
	for _, command := range last.Commands {
		switch c := command.(type) {
		case *instructions.CopyCommand:
			i.copies = append(i.copies, *c)
		case *instructions.UserCommand:
			i.user = c.User
		case *instructions.EnvCommand:
			for _, e := range c.Env {
				i.env = append(i.env, e.String())
			}
		case *instructions.EntrypointCommand:
			i.entrypoint = c.CmdLine
		case *instructions.ExposeCommand:
			i.ports = append(i.ports, c.Ports...)
		default:
			t.Fatalf("this test does not know what %s does to an image", command.Name())
		}
	}
	return i
}

// container is a root directory that has in it what the image has, and what is
// mounted into it. There is no other isolation.
type container struct {
	t     *testing.T
	image image
	root  string
}

// newContainer returns a container in which nothing runs yet. That takes root's
// rights: without, the test is skipped, and in CI it fails.
func newContainer(t *testing.T) *container {
	t.Helper()
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("not root, and CI must not do without it")
		}
		t.Skip("SKIPPED: only root can change the root directory")
	}
	c := &container{t, readImage(t), t.TempDir()}
	// The path to it is root's alone.
	for dir := c.root; dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, copied := range c.image.copies {
		from, to := copied.SourcePaths[0], c.path(copied.DestPath)
		switch {
		case copied.From != "build" || len(copied.SourcePaths) != 1:
			t.Fatalf("this test does not know where %s copies from", &copied)
		case from == "/src/"+program:
			// A link, since what was just written cannot be run while other tests fork.
			if err := os.Link(buildExporter(t), to); err != nil {
				t.Fatal(err)
			}
		case from == "/etc/ssl/certs/ca-certificates.crt":
			c.copy(from, to, 0o644)
		case from == "/data":
			c.mkdir(to)
		default:
			t.Fatalf("this test does not know what is in %s", from)
		}
		if copied.Chown != "" {
			user, group := c.ids(copied.Chown)
			if err := os.Chown(to, user, group); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

// path returns where a path in the container is.
func (c *container) path(inside string) string { return filepath.Join(c.root, inside) }

func (c *container) mkdir(path string) {
	c.t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		c.t.Fatal(err)
	}
}

func (c *container) copy(from, to string, mode os.FileMode) {
	c.t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mkdir(filepath.Dir(to))
	if err := os.WriteFile(to, b, mode); err != nil {
		c.t.Fatal(err)
	}
}

// mount puts a file or a directory where a container would have it mounted.
func (c *container) mount(from, inside string) {
	c.t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		c.t.Fatal(err)
	}
	if !info.IsDir() {
		c.copy(from, c.path(inside), 0o644)
		return
	}
	c.mkdir(c.path(inside))
	for _, entry := range glob(c.t, filepath.Join(from, "*")) {
		c.mount(entry, filepath.Join(inside, filepath.Base(entry)))
	}
}

// ids returns USER:GROUP as numbers. An image without /etc/passwd has no names.
func (c *container) ids(chown string) (user, group int) {
	c.t.Helper()
	names := strings.Split(chown, ":")
	if len(names) != 2 {
		c.t.Fatalf("%q is not USER:GROUP", chown)
	}
	var err error
	if user, err = strconv.Atoi(names[0]); err != nil {
		c.t.Fatal(err)
	}
	if group, err = strconv.Atoi(names[1]); err != nil {
		c.t.Fatal(err)
	}
	return user, group
}

// command returns what runs in the container, with these arguments.
func (c *container) command(args ...string) *exec.Cmd {
	c.t.Helper()
	user, group := c.ids(c.image.user)
	cmd := exec.CommandContext(context.WithoutCancel(c.t.Context()), c.image.entrypoint[0], slices.Concat(c.image.entrypoint[1:], args)...)
	cmd.Dir, cmd.Env = "/", slices.Clone(c.image.env)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     c.root,
		Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(group)},
	}
	return cmd
}

// check has the exporter look over its config, with these arguments.
func (c *container) check(args ...string) {
	c.t.Helper()
	cmd := c.command(append(slices.Clone(args), "--config.check")...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if out, err := cmd.Output(); err != nil || !strings.HasPrefix(string(out), "ok (") {
		c.t.Errorf("%s: %v\n%s%s", cmd, err, out, stderr.String())
	}
}

// runs starts the exporter with these arguments, and has it write into the folder
// for its storage alone, if there is one.
func (c *container) runs(args []string, storage string) {
	c.t.Helper()
	before := c.files()
	startCommand(c.t, c.command(append(args, "--web.listen-address=127.0.0.1:0")...)).kill()
	stored := false
	for _, file := range c.files() {
		switch {
		case storage != "" && strings.HasPrefix("/"+file, storage):
			stored = stored || strings.HasPrefix("/"+file, storage+"/")
		case !slices.Contains(before, file):
			c.t.Errorf("written: %s", file)
		}
	}
	if stored != (storage != "") {
		c.t.Errorf("nothing is stored in %s", storage)
	}
}

// files returns what is in the container, with owner, rights, and size.
func (c *container) files() []string {
	c.t.Helper()
	out, err := exec.CommandContext(c.t.Context(), "find", c.root, "-printf", "%P %U:%G %M %s\n").Output()
	if err != nil {
		c.t.Fatal(err)
	}
	lines := strings.Split(string(out), "\n")
	slices.Sort(lines)
	return lines
}

// imageConfig replaces a registry: it knows only the config of each image.
type imageConfig struct{}

func (imageConfig) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, "", []byte(`{"os": "linux", "architecture": "amd64"}`), nil
}

// The Dockerfile's first stage does what it says: here, for another platform and with
// what a clone of the repository has, in a folder in place of the root directory.
func TestDockerfileBuilds(t *testing.T) {
	clone, root := clone(t), t.TempDir()
	command := func(dir string, env []string, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		return string(out)
	}
	ignored, err := ignorefile.ReadAll(strings.NewReader(read(t, dockerfile+".dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	for file := range strings.Lines(".git\n" + command(clone, nil, "git", "ls-files")) {
		if not, err := patternmatcher.MatchesOrParentMatches(strings.TrimSpace(file), ignored); err != nil || not {
			t.Errorf("the build does not get %s (%v)", file, err)
		}
	}

	for _, file := range []string{".tools/helm", "dist/SHA256SUMS", program, "config.yml", "data/imports.db", "imports/a.yml"} {
		if not, err := patternmatcher.MatchesOrParentMatches(file, ignored); err != nil || !not {
			t.Errorf("the build gets %s of whoever builds (%v)", file, err)
		}
	}

	build := stages(t)[0]
	toolchain := regexp.MustCompile(`(?m)^toolchain (.*)$`).FindStringSubmatch(read(t, "../go.mod"))[1]
	from := regexp.MustCompile(`^golang:([0-9.]+)-`).FindStringSubmatch(build.BaseName)
	if from == nil || version.Compare("go"+from[1], toolchain) < 0 || build.Platform != "$BUILDPLATFORM" {
		t.Errorf("built from %s for %s, and go.mod wants %s", build.BaseName, build.Platform, toolchain)
	}
	dir, env := root, []string(nil)
	for _, c := range build.Commands {
		switch c := c.(type) {
		case *instructions.WorkdirCommand:
			dir = filepath.Join(root, c.Path)
			command(root, nil, "mkdir", "-p", dir)
		case *instructions.ArgCommand:
			for _, arg := range c.Args {
				env = append(env, arg.Key+"="+map[string]string{"TARGETOS": "darwin", "TARGETARCH": "arm64"}[arg.Key])
			}
		case *instructions.CopyCommand:
			command(clone, nil, "cp", slices.Concat([]string{"-a"}, c.SourcePaths, []string{filepath.Join(dir, c.DestPath)})...)
		case *instructions.RunCommand:
			command(dir, env, "sh", "-c", strings.ReplaceAll(c.CmdLine[0], " /data", " "+root+"/data"))
		default:
			t.Fatalf("this test does not know what %s does", c.Name())
		}
	}
	for _, copied := range readImage(t).copies {
		if source := copied.SourcePaths[0]; !strings.HasPrefix(source, "/etc/ssl/") { // of golang's image
			if _, err := os.Stat(filepath.Join(root, source)); err != nil {
				t.Error(err)
			}
		}
	}
	info, err := buildinfo.ReadFile(filepath.Join(dir, program))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []debug.BuildSetting{{Key: "GOOS", Value: "darwin"}, {Key: "GOARCH", Value: "arm64"}} {
		if !slices.Contains(info.Settings, want) {
			t.Errorf("not built for %s=%s", want.Key, want.Value)
		}
	}
	if dirty := command(dir, nil, "git", "status", "--porcelain"); dirty != "" {
		t.Errorf("its version would say that it is dirty:\n%s", dirty)
	}
}

// What `docker build --check` would say.
func TestDockerfileLint(t *testing.T) {
	source := []byte(read(t, dockerfile))
	results, err := dockerfile2llb.DockerfileLint(t.Context(), source, dockerfile2llb.ConvertOpt{
		MetaResolver: imageConfig{},
		SourceMap:    &llb.SourceMap{Definition: &llb.Definition{}, Filename: dockerfile, Data: source},
	})
	if err != nil {
		t.Fatal(err)
	}
	if results.Error != nil {
		t.Errorf("does not build: %v", results.Error)
	}
	for _, w := range results.Warnings {
		t.Errorf("line %d: %s: %s", w.Location.GetRanges()[0].GetStart().GetLine(), w.RuleName, w.Detail)
	}
}

// The image has what the exporter needs, and nothing else: in a root directory
// with that alone it runs, as a user without rights, trusts the certificates of the
// image, and writes to /data only.
func TestImage(t *testing.T) {
	lakeFS, certificate := startTLSLakeFS(t)
	ref := lakeFS.Start("my-repo", "main", slow)
	c := newContainer(t)
	if user, group := c.ids(c.image.user); user != nobody || group != nobody {
		t.Errorf("the image's user is %s", c.image.user)
	}
	if !slices.Contains(c.image.env, "LAKEFS_IMPORT_EXPORTER_CONFIG_FILE=/etc/lakefs_import_exporter/config.yml") {
		t.Errorf("the image's environment is %q", c.image.env)
	}
	if want := strconv.Itoa(port); !slices.Equal(c.image.ports, []string{want}) {
		t.Errorf("the image says that it listens on %s", c.image.ports)
	}
	if help, err := c.command("--help").CombinedOutput(); err != nil || !bytes.Contains(help, []byte("--web.listen-address=:"+strconv.Itoa(port)+" ")) {
		t.Errorf("the exporter listens elsewhere: %v\n%s", err, help)
	}
	certificates := c.path("/etc/ssl/certs/ca-certificates.crt")
	write(t, certificates, read(t, certificates)+certificate)
	write(t, c.path("/etc/lakefs_import_exporter/config.yml"),
		"servers:\n"+serverYAML("prod", lakeFS)+fmt.Sprintf("imports: [{repository: %s, branch: %s, id: %s}]\n", ref.Repository, ref.Branch, ref.ID))
	c.check()
	before := c.files()

	p := startCommand(t, c.command("--storage.path=/data", "--web.listen-address=127.0.0.1:0"))
	eventually(t, "a poll over TLS", func() error { return p.hasSample(`lakefs_import_poll_success{.*import_id="` + ref.ID + `".*} 1`) })
	status := read(t, filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	for _, line := range []string{"Uid:\t65534\t65534\t65534\t65534\n", "Gid:\t65534\t65534\t65534\t65534\n", "CapEff:\t0000000000000000\n"} {
		if !strings.Contains(status, line) {
			t.Errorf("the process is not %q:\n%s", line, status)
		}
	}
	p.kill()
	for _, file := range c.files() {
		if !slices.Contains(before, file) && !strings.HasPrefix(file, "data") {
			t.Errorf("written: %s", file)
		}
	}
	if len(glob(t, c.path("/data/*"))) == 0 {
		t.Error("nothing is stored in /data")
	}
}

// Whatever it runs in, the binary needs no shared library.
func TestStatic(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "ldd", buildExporter(t)).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("not a dynamic executable")) {
		t.Errorf("ldd: %v\n%s", err, out)
	}
}

// startTLSLakeFS starts a lakeFS that speaks HTTPS, and returns the certificate to
// trust, too.
func startTLSLakeFS(t *testing.T) (server *lakefstest.Server, certificate string) {
	t.Helper()
	lender := httptest.NewTLSServer(nil)
	defer lender.Close()
	server, err := lakefstest.New(lakefstest.Options{TLS: &tls.Config{Certificates: lender.TLS.Certificates}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: lender.Certificate().Raw}))
}

// hasSample returns an error unless a line of /metrics matches.
func (p *process) hasSample(pattern string) error {
	metrics, err := send(http.MethodGet, p.URL+"/metrics", nil)
	if err != nil {
		return err
	}
	if !regexp.MustCompile("(?m)^" + pattern + "$").Match(metrics) {
		return fmt.Errorf("no sample %s", pattern)
	}
	return nil
}
