package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// These tests run the program as its users do: built, started with arguments
// and environment, configured by files, asked over TCP, stopped by signals.

// patience is how long a test waits for what is bound to happen.
const patience = 30 * time.Second

var tempDir string

func TestMain(m *testing.M) {
	var err error
	if tempDir, err = os.MkdirTemp("", program); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return // m.Run was not called: that is a failure
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(tempDir)
		os.Exit(code)
	}))
}

// built builds the program, once, with the race detector if the test has it.
var built = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(tempDir, program)
	args := []string{"build", "-o", path, "-ldflags", "-X github.com/prometheus/common/version.Version=1.2.3-test"}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	out, err := exec.CommandContext(context.Background(), "go", append(args, ".")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// command returns the program as it will run in dir. It sees nothing of the
// environment but env.
func command(t *testing.T, dir string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	// Programs with the race detector sleep for a second before they exit,
	// unless they are told not to.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}, env...)
	return cmd
}

// output is what a process writes while others read it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// eventually waits until condition is true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("gave up waiting: %s", what)
		}
	}
}

// exporter is the running program.
type exporter struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr output
	exited         chan struct{}
	stopping       bool // it was told to
	killed         bool
	url            string
	client         *http.Client
}

// start starts the program in dir, on a port that is free, and waits until it
// listens. At the end of the test it must stop in an orderly way.
func start(t *testing.T, dir string, env []string, args ...string) *exporter {
	t.Helper()
	e := launch(t, dir, env, append(args, "--web.listen-address=127.0.0.1:0")...)
	e.waitToListen()
	return e
}

// launch is start with no word about where to listen.
func launch(t *testing.T, dir string, env []string, args ...string) *exporter {
	t.Helper()
	e := &exporter{t: t, cmd: command(t, dir, env, args...), exited: make(chan struct{})}
	e.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	e.cmd.Stdout, e.cmd.Stderr = &e.stdout, &e.stderr
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(e.exited)
		_ = e.cmd.Wait() // the tests look at ProcessState
	}()
	t.Cleanup(func() {
		e.client.CloseIdleConnections()
		e.stop()
		if strings.Contains(e.stderr.String(), "DATA RACE") {
			t.Error("the race detector has something to say")
		}
		if t.Failed() {
			stdout, stderr := e.stdout.String(), e.stderr.String()
			t.Logf("%s\nstdout:\n%s\nend of stderr:\n%s", e.cmd, stdout, stderr[max(0, len(stderr)-10_000):])
		}
	})
	return e
}

var addressPattern = regexp.MustCompile(`address"?[=:]"?(127\.0\.0\.1:\d+)`)

func (e *exporter) waitToListen() {
	e.t.Helper()
	eventually(e.t, "the exporter listens", func() bool {
		for line := range strings.Lines(e.stderr.String()) {
			if m := addressPattern.FindStringSubmatch(line); m != nil && strings.Contains(line, "Listening on") {
				e.url = "http://" + m[1]
			}
		}
		if e.hasExited() {
			e.t.Fatal("the exporter has exited")
		}
		return e.url != ""
	})
}

func (e *exporter) hasExited() bool {
	select {
	case <-e.exited:
		return true
	default:
		return false
	}
}

func (e *exporter) signal(sig syscall.Signal) {
	e.t.Helper()
	if err := e.cmd.Process.Signal(sig); err != nil {
		e.t.Errorf("%v: %v", sig, err)
	}
	e.stopping = e.stopping || sig != syscall.SIGHUP
}

// kill ends the program with SIGKILL.
func (e *exporter) kill() {
	e.t.Helper()
	e.killed = true
	_ = e.cmd.Process.Kill()
	<-e.exited
	e.client.CloseIdleConnections()
}

// stop tells the program to stop, if it was not told before, and waits for it
// to exit with status 0.
func (e *exporter) stop() {
	e.t.Helper()
	if e.killed {
		return
	}
	if !e.stopping && !e.hasExited() {
		e.signal(syscall.SIGTERM)
	}
	select {
	case <-e.exited:
	case <-time.After(patience):
		e.t.Error("told to stop, and did not")
		_ = e.cmd.Process.Kill()
		<-e.exited
	}
	if !e.cmd.ProcessState.Success() {
		e.t.Error(e.cmd.ProcessState)
	}
}

// send sends a request and returns the answer with its body.
func (e *exporter) send(method, path string, change ...func(*http.Request)) (*http.Response, string) {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, f := range change {
		f(req)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return resp, string(body)
}

// get returns the body of an answer that must have status 200.
func (e *exporter) get(path string) string {
	e.t.Helper()
	resp, body := e.send(http.MethodGet, path)
	if resp.StatusCode != http.StatusOK {
		e.t.Fatalf("%s: status %d: %s", path, resp.StatusCode, body)
	}
	return body
}

// scrape returns the value of every series but those of histograms.
func (e *exporter) scrape() map[string]float64 {
	e.t.Helper()
	return series(e.t, e.get("/metrics"))
}

func series(t *testing.T, body string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("%v in\n%s", err, body)
	}
	values := map[string]float64{}
	for name, f := range families {
		for _, m := range f.Metric {
			if m.Histogram != nil {
				continue
			}
			labels := make([]string, len(m.Label))
			for i, l := range m.Label {
				labels[i] = fmt.Sprintf("%s=%q", l.GetName(), l.GetValue())
			}
			slices.Sort(labels)
			values[name+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return values
}

// of returns a series of an import of server.
func of(metric, server string, ref lakefs.Ref) string {
	return fmt.Sprintf("lakefs_import_%s{branch=%q,import_id=%q,repository=%q,server=%q}", metric, ref.Branch, ref.ID, ref.Repository, server)
}

// newLakeFS starts a lakeFS.
func newLakeFS(t *testing.T, opts lakefstest.Options) *lakefstest.Server {
	t.Helper()
	server, err := lakefstest.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// import1k runs for a hundred days.
var import1k = lakefstest.Script{Objects: 1000, Rate: 1000. / (100 * 24 * 3600)}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	// Written beside and renamed, so that nobody reads the half of it.
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// serverYAML is an entry of servers with the keys in files, which it writes.
func serverYAML(t *testing.T, dir, name string, server *lakefstest.Server) string {
	t.Helper()
	write(t, dir, "access_key_id", lakefstest.AccessKeyID+"\n")
	write(t, dir, "secret_access_key", lakefstest.SecretAccessKey+"\n")
	return fmt.Sprintf("- name: %s\n  endpoint_url: %s\n  basic_auth: {username_file: access_key_id, password_file: secret_access_key}\n  timeout: 1m\n", name, server.URL)
}

func importYAML(server string, ref lakefs.Ref) string {
	return fmt.Sprintf("- {server: %s, repository: %s, branch: %s, id: %s}\n", server, ref.Repository, ref.Branch, ref.ID)
}

// watching starts the exporter with one lakeFS, named prod, that is asked for refs.
func watching(t *testing.T, server *lakefstest.Server, refs []lakefs.Ref, args ...string) (e *exporter, dir string) {
	t.Helper()
	dir = t.TempDir()
	write(t, dir, "config.yml", watchYAML(t, dir, server, refs...))
	return start(t, dir, nil, args...), dir
}

func watchYAML(t *testing.T, dir string, server *lakefstest.Server, refs ...lakefs.Ref) string {
	t.Helper()
	yaml := "servers:\n" + serverYAML(t, dir, "prod", server) + "import_files: [imports/*.yml]\nimports:\n"
	for _, ref := range refs {
		yaml += importYAML("prod", ref)
	}
	return yaml
}

// What the program does with a command line that is not one to run for long.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	const (
		good = "servers: [{endpoint_url: http://127.0.0.1:1}]\nimports:\n- {repository: my-repo, branch: main, id: x}\n"
		bad  = "servers: [{endpoint_url: http://127.0.0.1:1}]\nimports:\n- {repository: My Repo, branch: main, id: x}\n"
	)
	example, err := os.ReadFile("config.example.yml")
	if err != nil {
		t.Fatal(err)
	}
	const tryHelp = ", try --help\n"
	for _, tc := range []struct {
		name   string
		args   string
		env    []string
		files  map[string]string
		code   int
		stdout string // an expression that matches it
		stderr string // likewise
	}{
		{name: "version", args: "--version", stdout: `lakefs_import_exporter, version 1\.2\.3-test \(branch: .*\n(.*\n)*  go version: .*\n(.*\n)*`},
		{name: "help", args: "--help", stdout: `usage: lakefs_import_exporter \[<flags>\]\n(.*\n)*`},
		{name: "short help", args: "-h", stdout: `usage: lakefs_import_exporter \[<flags>\]\n(.*\n)*`},
		{name: "unknown flag", args: "--nosuch", code: 1, stderr: `lakefs_import_exporter: error: unknown long flag '--nosuch'` + tryHelp},
		{name: "unknown short flag", args: "-x", code: 1, stderr: `lakefs_import_exporter: error: unknown short flag '-x'` + tryHelp},
		{name: "argument", args: "config.yml", code: 1, stderr: `lakefs_import_exporter: error: unexpected config.yml` + tryHelp},
		{name: "log level", args: "--log.level=loud", code: 1, stderr: `lakefs_import_exporter: error: .*debug,info,warn,error, got 'loud'` + tryHelp},
		{name: "log format", args: "--log.format=xml", code: 1, stderr: `lakefs_import_exporter: error: .*logfmt,json, got 'xml'` + tryHelp},
		{name: "offset of the wrong type", args: "--timeout-offset=x", code: 1, stderr: `lakefs_import_exporter: error: .*"x".*` + tryHelp},
		{name: "negative offset", args: "--timeout-offset=-1", code: 1, stderr: `lakefs_import_exporter: error: --timeout-offset: must be from 0 to 3600, not -1\n`},
		{name: "offset not a number", args: "--timeout-offset=NaN", code: 1, stderr: `lakefs_import_exporter: error: --timeout-offset: must be from 0 to 3600, not NaN\n`},
		{name: "huge offset", args: "--timeout-offset=1e99", code: 1, stderr: `lakefs_import_exporter: error: --timeout-offset: must be from 0 to 3600, not 1e\+99\n`},
		{name: "bad telemetry path", args: "--web.telemetry-path=metrics", code: 1, stderr: `lakefs_import_exporter: error: --web\.telemetry-path: "metrics": must match .*\n`},
		{name: "taken telemetry path", args: "--web.telemetry-path=/api/v1/imports", code: 1, stderr: `lakefs_import_exporter: error: --web\.telemetry-path: "/api/v1/imports": /api/ is taken\n`},
		{name: "shard", args: "--shard=3 --total-shards=3", code: 1, stderr: `lakefs_import_exporter: error: --shard: shard 3: must be below the 3 shards in all\n`},
		{name: "no shards", args: "--total-shards=0", code: 1, stderr: `lakefs_import_exporter: error: --total-shards: must be at least 1\n`},
		{name: "retention", args: "--storage.retention=0s", code: 1, stderr: `lakefs_import_exporter: error: --storage\.retention: must be positive, not 0s\n`},
		{name: "no imports", args: "--web.max-imports=0", code: 1, stderr: `lakefs_import_exporter: error: --web\.max-imports: must be at least 1, not 0\n`},
		{
			name: "import API without storage", args: "--web.enable-import-api", code: 1,
			stderr: `lakefs_import_exporter: error: --web\.enable-import-api: needs --storage\.path, or what is registered would be lost with a restart\n`,
		},
		{
			name: "import API with shards", args: "--web.enable-import-api --storage.path=x --total-shards=2", code: 1,
			stderr: `lakefs_import_exporter: error: --web\.enable-import-api: not with --total-shards, what is registered belongs to one exporter\n`,
		},
		{name: "bad value in the environment", env: []string{"LAKEFS_IMPORT_EXPORTER_LOG_LEVEL=loud"}, code: 1, stderr: `lakefs_import_exporter: error: .*got 'loud'` + tryHelp},

		{name: "check", args: "--config.check", files: map[string]string{"config.yml": good}, stdout: `ok\n`},
		{name: "check another file", args: "--config.check --config.file=sub/other.yml", files: map[string]string{"sub/other.yml": good}, stdout: `ok\n`},
		{name: "check by environment", env: []string{"LAKEFS_IMPORT_EXPORTER_CONFIG_CHECK=true", "LAKEFS_IMPORT_EXPORTER_CONFIG_FILE=other.yml"}, files: map[string]string{"other.yml": good}, stdout: `ok\n`},
		{name: "a flag beats the environment", args: "--config.check --config.file=good.yml", env: []string{"LAKEFS_IMPORT_EXPORTER_CONFIG_FILE=bad.yml"}, files: map[string]string{"good.yml": good, "bad.yml": bad}, stdout: `ok\n`},
		{
			name: "check the example", args: "--config.check --config.file=config.example.yml", files: map[string]string{"config.example.yml": string(example), "imports/a.yml": "[]"},
			stdout: `ok\n`,
		},
		{
			name: "check a bad config", args: "--config.check", files: map[string]string{"config.yml": bad}, code: 1,
			stderr: `config\.yml: imports: entry 1: repository "My Repo": must match \^\[a-z0-9\]\[a-z0-9-\]\{2,62\}\$\n`,
		},
		{
			name: "check a bad import file", args: "--config.check", files: map[string]string{"config.yml": good + "import_files: [imports/*.yml]\n", "imports/a.yml": "[{}]"}, code: 1,
			stderr: `import file imports/a\.yml: entry 1: .*\n`,
		},
		{name: "check an unknown key", args: "--config.check", files: map[string]string{"config.yml": "server: []\n"}, code: 1, stderr: `config\.yml: line 1: unknown key "server"\n`},
		{name: "check nothing", args: "--config.check", code: 1, stderr: `config\.yml: no such file or directory: .*--demo.*\n`},
		{
			name: "no server anywhere", args: "--config.check", files: map[string]string{"config.yml": "imports: []\n"}, code: 1,
			stderr: `config\.yml: no servers, and the environment does not name one: LAKECTL_SERVER_ENDPOINT_URL, LAKECTL_CREDENTIALS_ACCESS_KEY_ID, LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY not set\n`,
		},

		{name: "no config", code: 1, stderr: `(level=info .*\n)*level=error .*err="config\.yml: no such file or directory: .*--demo.*"\n`},
		{name: "bad config", files: map[string]string{"config.yml": bad}, code: 1, stderr: `(level=info .*\n)*level=error .*err="config\.yml: imports: entry 1: repository \\"My Repo\\": must match .*"\n`},
		{
			name: "port taken", args: "--web.listen-address=" + taken.Addr().String(), files: map[string]string{"config.yml": good}, code: 1,
			stderr: `(level=info .*\n)*level=error .*err="listen tcp ` + taken.Addr().String() + `: bind: address already in use"\n`,
		},
		{name: "no web config", args: "--web.config.file=web.yml", files: map[string]string{"config.yml": good}, code: 1, stderr: `(level=info .*\n)*level=error .*err="--web\.config\.file: open web\.yml: no such file or directory"\n`},
		{name: "bad web config", args: "--web.config.file=web.yml", files: map[string]string{"config.yml": good, "web.yml": "tls: {}\n"}, code: 1, stderr: `(level=info .*\n)*level=error .*err="--web\.config\.file: .*field tls not found.*"\n`},
		{name: "web config without its certificate", args: "--web.config.file=web.yml", files: map[string]string{"config.yml": good, "web.yml": "tls_server_config: {cert_file: a, key_file: b}\n"}, code: 1, stderr: `(level=info .*\n)*level=error .*err="--web\.config\.file: .*open a: no such file or directory"\n`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, content := range tc.files {
				write(t, dir, name, content)
			}
			cmd := command(t, dir, tc.env, strings.Fields(tc.args)...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != tc.code {
				t.Errorf("exit status: got %v, want %d", err, tc.code)
			}
			if !regexp.MustCompile(`\A` + tc.stdout + `\z`).MatchString(stdout.String()) {
				t.Errorf("stdout: got %s", stdout.String())
			}
			if !regexp.MustCompile(`\A` + tc.stderr + `\z`).MatchString(stderr.String()) {
				t.Errorf("stderr: got %s", stderr.String())
			}
		})
	}
}

// Every flag that users were promised, with its twin in the environment.
func TestHelp(t *testing.T) {
	t.Parallel()
	out, err := command(t, t.TempDir(), nil, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	// As wide as the terminal is, so lines may break anywhere.
	help := strings.Join(strings.Fields(string(out)), " ")
	for flag, twin := range map[string]string{
		`--config.file="config.yml"`:      "CONFIG_FILE",
		"--[no-]config.check":             "CONFIG_CHECK",
		"--[no-]demo":                     "DEMO",
		"--web.listen-address=:10470":     "WEB_LISTEN_ADDRESS",
		`--web.config.file=""`:            "WEB_CONFIG_FILE",
		"--[no-]web.systemd-socket":       "WEB_SYSTEMD_SOCKET",
		`--web.telemetry-path="/metrics"`: "WEB_TELEMETRY_PATH",
		"--[no-]web.enable-lifecycle":     "WEB_ENABLE_LIFECYCLE",
		"--[no-]web.enable-import-api":    "WEB_ENABLE_IMPORT_API",
		"--web.max-imports=10000":         "WEB_MAX_IMPORTS",
		`--storage.path=""`:               "STORAGE_PATH",
		"--storage.retention=24h":         "STORAGE_RETENTION",
		"--shard=0":                       "SHARD",
		"--total-shards=1":                "TOTAL_SHARDS",
		"--timeout-offset=0.5":            "TIMEOUT_OFFSET",
		"--log.level=info":                "LOG_LEVEL",
		"--log.format=logfmt":             "LOG_FORMAT",
		"--[no-]version":                  "VERSION",
		"-h, --[no-]help":                 "HELP",
	} {
		for _, want := range []string{flag, "($LAKEFS_IMPORT_EXPORTER_" + twin + ")"} {
			if !strings.Contains(help, want) {
				t.Errorf("not in --help: %s", want)
			}
		}
	}
}

// All that flags say can stand in the environment.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	server := newLakeFS(t, lakefstest.Options{})
	ref := server.Start("my-repo", "main", import1k)
	dir := t.TempDir()
	write(t, dir, "conf/lakefs.yml", watchYAML(t, filepath.Join(dir, "conf"), server, ref))
	e := launch(t, dir, []string{
		"LAKEFS_IMPORT_EXPORTER_CONFIG_FILE=conf/lakefs.yml",
		"LAKEFS_IMPORT_EXPORTER_WEB_LISTEN_ADDRESS=127.0.0.1:0",
		"LAKEFS_IMPORT_EXPORTER_WEB_TELEMETRY_PATH=/m",
		"LAKEFS_IMPORT_EXPORTER_WEB_ENABLE_LIFECYCLE=true",
		"LAKEFS_IMPORT_EXPORTER_TIMEOUT_OFFSET=1",
		"LAKEFS_IMPORT_EXPORTER_LOG_LEVEL=debug",
		"LAKEFS_IMPORT_EXPORTER_LOG_FORMAT=json",
	})
	e.waitToListen()
	if got := series(t, e.get("/m"))[of("poll_success", "prod", ref)]; got != 1 {
		t.Errorf("poll_success is %v", got)
	}
	if resp, body := e.send(http.MethodPost, "/-/reload"); resp.StatusCode != http.StatusOK {
		t.Errorf("reload: got %d %s", resp.StatusCode, body)
	}
	if got := e.stderr.String(); !strings.HasPrefix(got, "{") {
		t.Errorf("log: got %s", got)
	}
}

// The servers of a config do not get into each other's way.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	prod, dev := newLakeFS(t, lakefstest.Options{}), newLakeFS(t, lakefstest.Options{AccessKeyID: "other", SecretAccessKey: "another-secret"})
	prodRef, devRef := prod.Start("my-repo", "main", import1k), dev.Start("my-repo", "main", import1k)
	dir := t.TempDir()
	write(t, dir, "config.yml", "servers:\n"+serverYAML(t, dir, "prod", prod)+
		"- endpoint_url: "+dev.URL+"/api/v1/\n  basic_auth: {username: other, password: another-secret}\n"+
		"imports:\n"+importYAML("prod", prodRef)+importYAML(strings.TrimPrefix(dev.URL, "http://"), devRef))
	e := start(t, dir, nil)
	got := e.scrape()
	devName := strings.TrimPrefix(dev.URL, "http://")
	for name, want := range map[string]float64{
		of("poll_success", "prod", prodRef):               1,
		of("completed", "prod", prodRef):                  0,
		of("poll_success", devName, devRef):               1,
		`lakefs_up{server="prod"}`:                        1,
		`lakefs_up{server="` + devName + `"}`:             1,
		`lakefs_import_exporter_imports{source="config"}`: 2,
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s: got %v, %t, want %v", name, value, ok, want)
		}
	}
	path := "/api/v1/imports/my-repo/main/" + prodRef.ID
	if resp, body := e.send(http.MethodGet, path); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("without a server: got %d %s", resp.StatusCode, body)
	}
	if body := e.get(path + "?server=prod"); !strings.Contains(body, `"state":"running"`) {
		t.Errorf("got %s", body)
	}
}

// Without servers in the config, those of lakectl's environment are asked.
func TestLakectlEnvironment(t *testing.T) {
	t.Parallel()
	server := newLakeFS(t, lakefstest.Options{})
	ref := server.Start("my-repo", "main", import1k)
	dir := t.TempDir()
	write(t, dir, "config.yml", fmt.Sprintf("imports:\n- {repository: my-repo, branch: main, id: %s}\n", ref.ID))
	e := start(t, dir, []string{
		"LAKECTL_SERVER_ENDPOINT_URL=" + server.URL + "/api/v1",
		"LAKECTL_CREDENTIALS_ACCESS_KEY_ID=" + lakefstest.AccessKeyID,
		"LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY=" + lakefstest.SecretAccessKey,
	})
	if got := e.scrape()[of("poll_success", strings.TrimPrefix(server.URL, "http://"), ref)]; got != 1 {
		t.Errorf("poll_success is %v", got)
	}
	if agent := server.Stats().LastHeader.Get("User-Agent"); agent != "lakefs_import_exporter/1.2.3-test" {
		t.Errorf("the User-Agent is %q", agent)
	}
}

// recordingFiles returns the recordings of real lakeFS servers.
func recordingFiles(t *testing.T) []string {
	t.Helper()
	dir := os.Getenv("LAKEFS_RECORDINGS")
	if dir == "" {
		dir = filepath.Join("..", "shared", "recordings")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		missing := "no recordings of a real lakeFS (*.jsonl) in " + dir + ": set LAKEFS_RECORDINGS to their folder"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip("SKIPPED: " + missing)
	}
	return files
}

// What real lakeFS servers answered, played back, ends with what happened.
func TestPlayback(t *testing.T) {
	t.Parallel()
	known := map[string]map[string]float64{
		"success-20.jsonl": {
			"completed": 1, "error": 0, "canceled": 0, "ingested_objects": 20, "poll_success": 1, "found": 1, "update_timestamp_seconds": 1795344656.374205733,
			`commit_info commit_id="1e64582515ab96f922a36795d80061c41fa5670eb38fb8ce35f6159480f2a933" metarange_id="b0738a9d8cbe87a5d876e9d98c5752e91435c5ac3dbb3fb4d911cd76b3b47f4c"`: 1,
		},
		"failed.jsonl": {
			"completed": 1, "error": 1, "canceled": 0, "ingested_objects": 0, "poll_success": 1, "found": 1, "update_timestamp_seconds": 1795344650.304195211,
			`error_info message="import error: error on ingest: lstat /data/nosuch: no such file or directory"`: 1,
		},
	}
	for _, file := range recordingFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			recording, err := lakefstest.ReadRecording(f)
			if err != nil {
				t.Fatal(err)
			}
			began := recording.Start()
			clock := lakefstest.NewClock(began)
			server := newLakeFS(t, lakefstest.Options{Clock: clock.Now})
			ref := server.Play(lakefs.Ref{Repository: "my-repo", Branch: "main"}, recording)
			e, _ := watching(t, server, []lakefs.Ref{ref})

			var told teller
			for _, after := range turningPoints(recording) {
				clock.Set(began.Add(after))
				asked, finished := server.StatusRequests(ref), told.finished
				var body string
				eventually(t, "the import is polled", func() bool {
					body = e.get("/metrics") // at most one poll a second
					return finished || server.StatusRequests(ref) > asked
				})
				told.hear(recording.At(after))
				if diff := cmp.Diff(told.want(), importSeries(t, body, ref)); diff != "" {
					t.Errorf("after %s (-want +got):\n%s", after, diff)
				}
				if finished && server.StatusRequests(ref) != asked {
					t.Errorf("after %s: polled, although it had finished", after)
				}
			}
			if want, ok := known[filepath.Base(file)]; ok {
				if diff := cmp.Diff(want, importSeries(t, e.get("/metrics"), ref)); diff != "" {
					t.Errorf("at the end (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// turningPoints are the times to poll at: at the first answer, the last one
// that is a status, and the last one.
func turningPoints(r lakefstest.Recording) []time.Duration {
	points := []time.Duration{r[0].After}
	for _, a := range slices.Backward(r) {
		if a.Status == http.StatusOK {
			points = append(points, a.After)
			break
		}
	}
	return slices.Compact(append(points, r[len(r)-1].After))
}

// teller tells what the exporter must say, by the answers that it was given.
type teller struct {
	values   map[string]float64 // nil: never seen
	found    float64
	definite bool // there was a definite answer
	success  bool
	finished bool
}

func (o *teller) hear(a lakefstest.RecordedAnswer) {
	if o.finished {
		return
	}
	var body struct {
		Message    string
		Completed  *bool
		UpdateTime *time.Time `json:"update_time"`
		Objects    float64    `json:"ingested_objects"`
		Metarange  string     `json:"metarange_id"`
		Commit     struct{ ID string }
		Error      *struct{ Message string }
	}
	err := json.Unmarshal([]byte(a.Body), &body)
	switch {
	case a.Status == http.StatusOK && err == nil && body.Completed != nil && body.UpdateTime != nil:
		o.found, o.definite, o.success = 1, true, true
		o.values = map[string]float64{
			"completed": 0, "error": 0, "canceled": 0, "ingested_objects": body.Objects,
			"update_timestamp_seconds": float64(body.UpdateTime.Unix()) + float64(body.UpdateTime.Nanosecond())/1e9,
		}
		switch {
		case body.Error != nil:
			o.finished = true
			o.values["completed"], o.values["error"] = 1, 1
			if m := body.Error.Message; m == "Canceled" || strings.HasSuffix(m, ": Canceled") {
				o.values["canceled"] = 1
			}
			o.values["error_info message="+strconv.Quote(label(body.Error.Message))] = 1
		case *body.Completed:
			o.finished = true
			o.values["completed"] = 1
			o.values[fmt.Sprintf("commit_info commit_id=%q metarange_id=%q", body.Commit.ID, body.Metarange)] = 1
		}
	case a.Status == http.StatusNotFound && err == nil && strings.HasSuffix(body.Message, "not found"), a.Status == http.StatusGone:
		o.found, o.definite, o.success = 0, true, false
	default:
		o.success = false
	}
}

// label is a message as the label has it: one line of at most 256 bytes.
func label(message string) string {
	message = strings.Join(strings.FieldsFunc(message, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(message) <= 256 {
		return message
	}
	return strings.ToValidUTF8(message[:253], "") + "…"
}

func (o *teller) want() map[string]float64 {
	want := map[string]float64{"poll_success": 0}
	for name, value := range o.values {
		want[name] = value
	}
	if o.success {
		want["poll_success"] = 1
	}
	if o.definite {
		want["found"] = o.found
	}
	return want
}

// importSeries returns what body says of an import, less what depends on the
// time of the scrape or stands in the config, with short names.
func importSeries(t *testing.T, body string, ref lakefs.Ref) map[string]float64 {
	t.Helper()
	found := map[string]float64{}
	for key, value := range series(t, body) {
		name, labels, _ := strings.Cut(strings.TrimPrefix(key, "lakefs_import_"), "{")
		if !strings.Contains(labels, fmt.Sprintf("import_id=%q", ref.ID)) {
			continue
		}
		switch name {
		case "seconds_since_update", "last_status_timestamp_seconds", "progress_timestamp_seconds", "start_timestamp_seconds", "no_progress_after_seconds":
			continue
		case "commit_info", "error_info":
			for _, m := range regexp.MustCompile(`(?:commit_id|metarange_id|message)="(?:[^"\\]|\\.)*"`).FindAllString(labels, -1) {
				name += " " + m
			}
		}
		found[name] = value
	}
	return found
}

const (
	reloadOK   = "lakefs_import_exporter_config_last_reload_successful{}"
	reloadTime = "lakefs_import_exporter_config_last_reload_success_timestamp_seconds{}"
)

// A config is reloaded by SIGHUP and by POST, and one that is broken changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	server := newLakeFS(t, lakefstest.Options{})
	refs := []lakefs.Ref{server.Start("repo-1", "main", import1k), server.Start("repo-2", "main", import1k), server.Start("repo-3", "main", import1k)}
	e, dir := watching(t, server, refs[:1], "--web.enable-lifecycle")
	watched := func() (n int) {
		got := e.scrape()
		for _, ref := range refs {
			n += int(got[of("poll_success", "prod", ref)])
		}
		return n
	}
	first := e.scrape()
	if first[reloadOK] != 1 || first[reloadTime] < 1e9 || watched() != 1 {
		t.Errorf("at the start: %v, %v, %d imports", first[reloadOK], first[reloadTime], watched())
	}

	write(t, dir, "config.yml", watchYAML(t, dir, server, refs[:2]...))
	e.signal(syscall.SIGHUP)
	eventually(t, "SIGHUP brings the second import", func() bool { return watched() == 2 })

	write(t, dir, "config.yml", watchYAML(t, dir, server, refs[:2]...)+"import: []\n")
	e.signal(syscall.SIGHUP)
	eventually(t, "SIGHUP with a broken config shows", func() bool { return e.scrape()[reloadOK] == 0 })
	broken := e.scrape()
	if broken[reloadTime] <= first[reloadTime] || watched() != 2 {
		t.Errorf("with a broken config: %v after %v, %d imports", broken[reloadTime], first[reloadTime], watched())
	}
	resp, body := e.send(http.MethodPost, "/-/reload")
	const want = "The configuration was not reloaded, the old one stays in force: config.yml: line 10: unknown key \"import\"\n"
	if resp.StatusCode != http.StatusInternalServerError || body != want {
		t.Errorf("POST with a broken config: got %d %s, want %s", resp.StatusCode, body, want)
	}
	if got := e.scrape(); got[reloadOK] != 0 || got[reloadTime] != broken[reloadTime] || watched() != 2 {
		t.Errorf("after POST with a broken config: %v, %v, %d imports", got[reloadOK], got[reloadTime], watched())
	}

	write(t, dir, "config.yml", watchYAML(t, dir, server, refs...))
	if resp, body := e.send(http.MethodPost, "/-/reload"); resp.StatusCode != http.StatusOK {
		t.Errorf("POST: got %d %s", resp.StatusCode, body)
	}
	if got := e.scrape(); got[reloadOK] != 1 || got[reloadTime] <= broken[reloadTime] || watched() != 3 {
		t.Errorf("after POST: %v, %v, %d imports", got[reloadOK], got[reloadTime], watched())
	}
	if got := strings.Count(e.stderr.String(), "level=error"); got != 2 {
		t.Errorf("%d errors were logged for two reloads that failed", got)
	}
}

// The garbage collector is told to keep the memory of large scrapes small, but
// not over the user's head.
func TestGarbageCollector(t *testing.T) {
	t.Parallel()
	server := newLakeFS(t, lakefstest.Options{})
	for setting, want := range map[string]float64{"": 70, "150": 150} {
		dir := t.TempDir()
		write(t, dir, "config.yml", watchYAML(t, dir, server))
		e := start(t, dir, []string{"GOGC=" + setting})
		if got := e.scrape()["go_gc_gogc_percent{}"]; got != want {
			t.Errorf("GOGC=%s: %g percent, want %g", setting, got, want)
		}
	}
}

func TestReloadNotEnabled(t *testing.T) {
	t.Parallel()
	server := newLakeFS(t, lakefstest.Options{})
	e, _ := watching(t, server, nil)
	if resp, body := e.send(http.MethodPost, "/-/reload"); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "--web.enable-lifecycle") {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

// Import files come, break and go without a reload.
func TestImportFiles(t *testing.T) {
	t.Parallel()
	server := newLakeFS(t, lakefstest.Options{})
	ref := server.Start("my-repo", "main", import1k)
	e, dir := watching(t, server, nil)
	state := func(when string, watched int, failed any) {
		t.Helper()
		got := e.scrape()
		if _, ok := got[of("poll_success", "prod", ref)]; ok != (watched == 1) || got[`lakefs_import_exporter_imports{source="file"}`] != float64(watched) {
			t.Errorf("%s: watched is %t", when, ok)
		}
		value, ok := got[`lakefs_import_exporter_import_file_error{file="imports/a.yml"}`]
		if failed == nil && ok || failed != nil && value != failed {
			t.Errorf("%s: import_file_error is %v, %t, want %v", when, value, ok, failed)
		}
	}
	state("before there is a file", 0, nil)
	write(t, dir, "imports/a.yml", importYAML("prod", ref))
	state("with a file", 1, 0.)
	write(t, dir, "imports/a.yml", importYAML("nosuch", ref))
	state("with a broken file", 1, 1.)
	state("with a broken file, again", 1, 1.)
	if got := strings.Count(e.stderr.String(), "level=error"); got != 1 || !strings.Contains(e.stderr.String(), "imports/a.yml") {
		t.Errorf("the broken file was logged %d times", got)
	}
	write(t, dir, "imports/a.yml", "[]\n")
	state("with an empty list", 0, 0.)
	if err := os.Remove(filepath.Join(dir, "imports/a.yml")); err != nil {
		t.Fatal(err)
	}
	state("without the file", 0, nil)
}

// On a signal the program exits with status 0 within five seconds, although a
// scrape hangs on a lakeFS that does not answer.
func TestStopWhileAScrapeHangs(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			server := newLakeFS(t, lakefstest.Options{})
			server.Inject(lakefstest.Everything, lakefstest.Fault{Break: lakefstest.BlackHole})
			e, _ := watching(t, server, []lakefs.Ref{server.Start("my-repo", "main", import1k)})
			ctx, cancel := context.WithCancel(t.Context())
			var scrape sync.WaitGroup
			defer scrape.Wait()
			defer cancel()
			scrape.Go(func() {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+"/metrics", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "60")
				if resp, err := e.client.Do(req); err == nil {
					resp.Body.Close()
				}
			})
			eventually(t, "the scrape hangs", func() bool { return server.Stats().InFlight == 1 })
			begin := time.Now()
			e.signal(sig)
			e.stop()
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// Requests under way at a signal get their answers if that takes no longer
// than a moment.
func TestStopLetsAScrapeEnd(t *testing.T) {
	t.Parallel()
	server := newLakeFS(t, lakefstest.Options{})
	hold := make(chan struct{})
	server.Inject(lakefstest.Statuses, lakefstest.Fault{Hold: hold})
	ref := server.Start("my-repo", "main", import1k)
	e, _ := watching(t, server, []lakefs.Ref{ref})
	var scrape sync.WaitGroup
	scrape.Go(func() {
		resp, err := e.client.Get(e.url + "/metrics")
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || series(t, string(body))[of("poll_success", "prod", ref)] != 1 {
			t.Errorf("got %d %s, %v", resp.StatusCode, body, err)
		}
	})
	eventually(t, "the scrape is under way", func() bool { return server.Stats().InFlight == 1 })
	e.signal(syscall.SIGTERM)
	eventually(t, "the exporter was told to stop", func() bool { return strings.Contains(e.stderr.String(), "Told to stop") })
	close(hold)
	scrape.Wait()
	e.stop()
}

// certificates writes what TLS takes to dir: ca.crt, which has signed
// server.crt, expired.crt and client.crt, and other.crt, which it has not.
func certificates(t *testing.T, dir string) {
	t.Helper()
	sign := func(name string, template, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template.SerialNumber, template.Subject.CommonName = big.NewInt(1), name
		template.NotBefore = time.Now().Add(-time.Hour)
		if template.NotAfter.IsZero() {
			template.NotAfter = time.Now().Add(time.Hour)
		}
		if issuer == nil {
			issuer, issuerKey = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), issuerKey)
		if err != nil {
			t.Fatal(err)
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, name+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		write(t, dir, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	ca, caKey := sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	sign("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, ca, caKey)
	sign("expired", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(-time.Minute)}, ca, caKey)
	sign("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca, caKey)
	sign("other", &x509.Certificate{}, nil, nil)
}

// The web config guards everything that is served: by TLS with certificates
// of clients, and by a password.
func TestWebConfig(t *testing.T) {
	t.Parallel()
	const password = "correct horse"
	const users = "basic_auth_users:\n  prometheus: $2a$04$Ob3QmnVY5/5Xe1R5KzNQ6eHDybxv37QaoRJxPL5SItZxHRJYKaLAO\n"
	const tlsConfig = "tls_server_config: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt, client_auth_type: RequireAndVerifyClientCert}\n"
	for _, tc := range []struct {
		name, yaml string
		auth, tls  bool
	}{
		{name: "basic auth", yaml: users, auth: true},
		{name: "TLS", yaml: tlsConfig, tls: true},
		{name: "both", yaml: users + tlsConfig, auth: true, tls: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := newLakeFS(t, lakefstest.Options{})
			ref := server.Start("my-repo", "main", import1k)
			dir := t.TempDir()
			certificates(t, filepath.Join(dir, "web"))
			write(t, dir, "web/web.yml", tc.yaml)
			write(t, dir, "config.yml", watchYAML(t, dir, server, ref))
			e := start(t, dir, nil, "--web.config.file=web/web.yml", "--web.enable-lifecycle", importAPI, "--storage.path=data/")
			// as returns a client that shows a certificate, if it has a name.
			as := func(name string) *http.Client {
				ca, err := os.ReadFile(filepath.Join(dir, "web", "ca.crt"))
				if err != nil {
					t.Fatal(err)
				}
				conf := &tls.Config{RootCAs: x509.NewCertPool()}
				conf.RootCAs.AppendCertsFromPEM(ca)
				if name != "" {
					cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "web", name+".crt"), filepath.Join(dir, "web", name+".key"))
					if err != nil {
						t.Fatal(err)
					}
					conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
				}
				transport := &http.Transport{TLSClientConfig: conf}
				t.Cleanup(transport.CloseIdleConnections)
				return &http.Client{Transport: transport}
			}
			const newImport = "/api/v1/imports/my-repo/main/new"
			requests := []struct {
				line   string
				status int
			}{
				{"GET /", 200},
				{"GET /metrics", 200},
				{"OPTIONS /metrics", 405},
				{"GET /probe?target=" + ref.String(), 200},
				{"GET /imports", 200},
				{"GET /imports/page.css", 200},
				{"GET /imports/nosuch", 404},
				{"GET /api/v1/imports", 200},
				{"GET /api/v1/imports/" + ref.String(), 200},
				{"PUT " + newImport, 201},
				{"POST " + newImport, 405},
				{"DELETE " + newImport, 204},
				{"GET /-/healthy", 200},
				{"GET /-/ready", 200},
				{"POST /-/reload", 200},
				{"GET /-/reload", 405},
				{"GET /debug/pprof/", 404},
				{"GET /nosuch", 404},
			}
			if tc.tls {
				if resp, _ := e.send(http.MethodGet, "/metrics"); resp.StatusCode != http.StatusBadRequest {
					t.Errorf("without TLS: status %d", resp.StatusCode)
				}
				e.url = strings.Replace(e.url, "http:", "https:", 1)
				for _, name := range []string{"", "other"} {
					stranger := as(name)
					for _, request := range requests {
						method, path, _ := strings.Cut(request.line, " ")
						req, err := http.NewRequestWithContext(t.Context(), method, e.url+path, nil)
						if err != nil {
							t.Fatal(err)
						}
						if resp, err := stranger.Do(req); err == nil {
							resp.Body.Close()
							t.Errorf("%s with the certificate %q of a client: status %d", request.line, name, resp.StatusCode)
						}
					}
				}
				e.client = as("client")
			}
			for _, login := range []struct {
				user, password string
				good           bool
			}{
				{"", "", false}, {"prometheus", "", false}, {"prometheus", "wrong", false}, {"other", password, false}, {"prometheus", password, true},
			} {
				for _, request := range requests {
					method, path, _ := strings.Cut(request.line, " ")
					resp, body := e.send(method, path, func(r *http.Request) {
						if login.user != "" {
							r.SetBasicAuth(login.user, login.password)
						}
					})
					want := request.status
					if tc.auth && !login.good {
						want = http.StatusUnauthorized
					}
					if resp.StatusCode != want || want == http.StatusUnauthorized && body != "Unauthorized\n" {
						t.Errorf("%s as %q with %q: got %d %s, want %d", request.line, login.user, login.password, resp.StatusCode, body, want)
					}
				}
			}
		})
	}
}

// An import API that anybody may use is worth a warning, one with a password is not.
func TestOpenImportAPI(t *testing.T) {
	t.Parallel()
	lakeFS := newLakeFS(t, lakefstest.Options{})
	for yaml, want := range map[string]int{
		"{}\n": 1,
		"basic_auth_users: {prometheus: $2a$04$Ob3QmnVY5/5Xe1R5KzNQ6eHDybxv37QaoRJxPL5SItZxHRJYKaLAO}\n": 0,
	} {
		dir := t.TempDir()
		write(t, dir, "config.yml", watchYAML(t, dir, lakeFS))
		write(t, dir, "web.yml", yaml)
		e := start(t, dir, nil, importAPI, "--storage.path=data/", "--web.config.file=web.yml")
		if got := strings.Count(e.stderr.String(), "Whoever reaches the exporter can register and unregister imports"); got != want {
			t.Errorf("%s: %d warnings, want %d", yaml, got, want)
		}
	}
}

// The program bounds what it takes of a request, and not net/http alone.
func TestHeaderTooLarge(t *testing.T) {
	t.Parallel()
	e, _ := watching(t, newLakeFS(t, lakefstest.Options{}), nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url+"/-/healthy", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Large", strings.Repeat("x", http.DefaultMaxHeaderBytes/2))
	resp, err := e.client.Do(req)
	if err != nil {
		return // It hung up before it had read it all.
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// Whoever connects and leaves, as TCP probes do, is no news; whoever speaks
// something else than TLS is.
func TestTCPProbesAreNoNews(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := newLakeFS(t, lakefstest.Options{})
	write(t, dir, "config.yml", watchYAML(t, dir, server))
	certificates(t, dir)
	write(t, dir, "web.yml", "tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
	e := start(t, dir, nil, "--web.config.file=web.yml", "--log.level=debug")
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	e.send(http.MethodGet, "/metrics")
	for complaint, level := range map[string]string{": EOF": "debug", "client sent an HTTP request to an HTTPS server": "warn"} {
		eventually(t, complaint, func() bool {
			for line := range strings.Lines(e.stderr.String()) {
				if strings.Contains(line, "TLS handshake error") && strings.Contains(line, complaint) {
					if !strings.Contains(line, "level="+level) {
						t.Errorf("want level %s: %s", level, line)
					}
					return true
				}
			}
			return false
		})
	}
}

// In JSON, whatever is logged is JSON.
func TestJSONLog(t *testing.T) {
	t.Parallel()
	server := newLakeFS(t, lakefstest.Options{})
	server.Inject(lakefstest.Everything, lakefstest.Fault{Status: 500, Body: "<html>\n\"quoted\"\x00\xff</html>"})
	e, dir := watching(t, server, []lakefs.Ref{server.Start("my-repo", "main", import1k)}, "--log.format=json", "--log.level=debug", "--web.enable-lifecycle")
	e.get("/metrics")
	write(t, dir, "config.yml", "imports:\n- \"a\nb\n")
	if resp, _ := e.send(http.MethodPost, "/-/reload"); resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("reload: status %d", resp.StatusCode)
	}
	write(t, dir, "imports/a.yml", "nonsense")
	e.get("/metrics")
	e.stop()

	messages := map[string]bool{}
	for line := range strings.Lines(e.stderr.String()) {
		var entry struct{ Time, Caller, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		if _, err := time.Parse(time.RFC3339Nano, entry.Time); err != nil || entry.Caller == "" || entry.Level == "" || entry.Msg == "" {
			t.Errorf("time, caller, level or msg is missing: %s", line)
		}
		messages[entry.Level+": "+entry.Msg] = true
	}
	for _, want := range []string{
		"info: Starting lakefs_import_exporter", "info: Listening on", "debug: Poll failed", "warn: Polls fail",
		"error: The configuration does not load, the old one stays in force", "info: The exporter has stopped",
	} {
		if !messages[want] {
			t.Errorf("not logged: %s; but %v", want, messages)
		}
	}
}

// Scrapers that hang up leave nothing behind.
func TestHangUpsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	server := newLakeFS(t, lakefstest.Options{})
	var refs []lakefs.Ref
	for range 20 {
		refs = append(refs, server.Start("my-repo", "main", import1k))
	}
	e, _ := watching(t, server, refs)
	usage := func() (goroutines, files float64) {
		got := e.scrape()
		return got["go_goroutines{}"], got["process_open_fds{}"]
	}
	goroutines, files := usage()
	remove := server.Inject(lakefstest.Everything, lakefstest.Fault{Break: lakefstest.BlackHole})
	for range 40 {
		ctx, cancel := context.WithCancel(t.Context())
		var scrapes sync.WaitGroup
		scrapes.Go(func() {
			// Less than a second after the last answers there is nothing to
			// ask, and a scrape does not hang.
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+"/metrics", nil)
				if err != nil {
					t.Error(err)
					return
				}
				if resp, err := e.client.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
		})
		eventually(t, "the scrape hangs", func() bool { return server.Stats().InFlight > 0 })
		cancel()
		scrapes.Wait()
		eventually(t, "the requests to lakeFS end", func() bool { return server.Stats().InFlight == 0 })
	}
	remove()
	eventually(t, "the exporter is as small as before", func() bool {
		g, f := usage()
		return g <= goroutines+10 && f <= files+10
	})
}

// The demo needs nothing, shows everything, and moves.
func TestDemo(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	e := launch(t, t.TempDir(), nil, "--demo", "--web.listen-address=127.0.0.1:"+port)
	e.waitToListen()
	var urls []string
	for _, word := range strings.Fields(e.stdout.String()) {
		if path, ok := strings.CutPrefix(word, e.url); ok {
			urls = append(urls, path)
			e.get(path)
		}
	}
	if diff := cmp.Diff([]string{"/", "/metrics", "/api/v1/imports"}, urls); diff != "" {
		t.Errorf("URLs to open (-want +got):\n%s", diff)
	}

	var imports struct {
		Imports []struct{ State collector.State }
	}
	if err := json.Unmarshal([]byte(e.get("/api/v1/imports")), &imports); err != nil {
		t.Fatal(err)
	}
	states := map[collector.State]int{}
	for _, i := range imports.Imports {
		states[i.State]++
	}
	for _, state := range collector.States() {
		if states[state] == 0 {
			t.Errorf("no import is %s; there are %v", state, states)
		}
	}

	body := e.get("/metrics")
	for _, name := range []string{
		"ingested_objects", "completed", "error", "canceled", "seconds_since_update", "update_timestamp_seconds",
		"last_status_timestamp_seconds", "progress_timestamp_seconds", "no_progress_after_seconds", "start_timestamp_seconds",
		"expected_objects", "commit_info", "error_info", "poll_success", "found",
		"exporter_polls_total", "exporter_imports", "exporter_config_last_reload_successful",
		"exporter_config_last_reload_success_timestamp_seconds", "exporter_build_info", "exporter_poll_duration_seconds_count",
	} {
		if !strings.Contains(body, "\nlakefs_import_"+name+"{") && !strings.Contains(body, "\nlakefs_import_"+name+" ") {
			t.Errorf("no series of lakefs_import_%s", name)
		}
	}
	for _, name := range []string{"lakefs_up{", "go_goroutines ", "process_start_time_seconds ", "promhttp_metric_handler_requests_total{"} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("no series of %s", name)
		}
	}

	objects := func() (n float64) {
		for key, value := range e.scrape() {
			if strings.HasPrefix(key, "lakefs_import_ingested_objects{") {
				n += value
			}
		}
		return n
	}
	before := objects()
	eventually(t, "the imports move", func() bool { return objects() > before })
	checkMetrics(t, body)
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// checkMetrics lints body with the linter of client_golang and with promtool.
func checkMetrics(t *testing.T, body string) {
	t.Helper()
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is not there, and CI must not do without it")
		}
		t.Skip("SKIPPED: promtool is not there: install Debian's package prometheus")
	}
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
