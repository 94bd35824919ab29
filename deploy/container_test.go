package deploy_test

import (
	"context"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const dockerfile = "docker/Dockerfile"

// nobody is the user of the image. It owns nothing, and is in no other group.
const nobody = 65534

// port is the exporter's, wherever it runs.
const port = 10470

// container is a root directory with the exporter as the image has it, and with what is
// mounted into it. There is no other isolation. The image itself is the matter of
// TestImageInEngine.
type container struct {
	t    *testing.T
	root string
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
	c := &container{t, t.TempDir()}
	// The path to it is root's alone.
	for dir := c.root; dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// A link, since what was just written cannot be run while other tests fork.
	if err := os.Link(buildExporter(t), c.path(program)); err != nil {
		t.Fatal(err)
	}
	c.mkdir("/data")
	if err := os.Chown(c.path("/data"), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	return c
}

// path returns where a path in the container is.
func (c *container) path(inside string) string { return filepath.Join(c.root, inside) }

func (c *container) mkdir(inside string) {
	c.t.Helper()
	if err := os.MkdirAll(c.path(inside), 0o755); err != nil {
		c.t.Fatal(err)
	}
}

// mount copies a file or a directory to where a container would have it mounted.
func (c *container) mount(from, inside string) {
	c.t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		c.t.Fatal(err)
	}
	if !info.IsDir() {
		write(c.t, c.path(inside), read(c.t, from))
		return
	}
	if err := os.CopyFS(c.path(inside), os.DirFS(from)); err != nil {
		c.t.Fatal(err)
	}
}

// command returns the exporter in the container, with these arguments.
func (c *container) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.WithoutCancel(c.t.Context()), "/"+program, args...)
	cmd.Dir, cmd.Env = "/", []string{"LAKEFS_IMPORT_EXPORTER_CONFIG_FILE=/etc/lakefs_import_exporter/config.yml"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: c.root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// start starts the exporter in the container, at an address of its own.
func (c *container) start(args ...string) *process {
	c.t.Helper()
	return startCommand(c.t, c.command(append(slices.Clone(args), "--web.listen-address=127.0.0.1:0")...))
}

// check has the exporter look over its config, with these arguments.
func (c *container) check(args ...string) {
	c.t.Helper()
	cmd := c.command(append(slices.Clone(args), "--config.check")...)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "ok (") {
		c.t.Errorf("%s: %v\n%s", cmd, err, out)
	}
}

// builderImage returns the image that the Dockerfile builds in.
func builderImage(t *testing.T) string {
	t.Helper()
	from := regexp.MustCompile(`(?m)^FROM --platform=\$BUILDPLATFORM (\S+) AS build$`).FindStringSubmatch(read(t, dockerfile))
	if from == nil {
		t.Fatal("the Dockerfile does not build on the platform of whoever builds")
	}
	return from[1]
}

// What TestImageInEngine cannot see, as its builder is this machine's Go: golang's images
// fetch no other toolchain.
func TestBuilderImage(t *testing.T) {
	toolchain := regexp.MustCompile(`(?m)^toolchain (.*)$`).FindStringSubmatch(read(t, "../go.mod"))[1]
	builder := regexp.MustCompile(`^golang:([0-9.]+)-`).FindStringSubmatch(builderImage(t))
	if builder == nil || version.Compare("go"+builder[1], toolchain) < 0 {
		t.Errorf("the image is built in %s, and go.mod wants %s", builderImage(t), toolchain)
	}
}
