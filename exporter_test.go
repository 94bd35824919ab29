package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// The tests of this package run the program as its users do: built, started with
// arguments and environment, configured by files, asked over TCP, stopped by
// signals.

// patience is how long a test waits for what is bound to happen.
const patience = 60 * time.Second

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
	must(t, err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	// Programs with the race detector sleep for a second before they exit,
	// unless they are told not to.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}, env...)
	return cmd
}

// skip skips a test for lack of something, and fails it in CI.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf("SKIPPED: "+format, args...)
}

// output is the file that a process writes to while others read it.
type output string

func (o output) String() string {
	text, _ := os.ReadFile(string(o))
	return string(text)
}

// eventually waits until condition is true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
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

// launch is start without a flag that says where to listen.
func launch(t *testing.T, dir string, env []string, args ...string) *exporter {
	t.Helper()
	logs := t.TempDir()
	e := &exporter{
		t: t, cmd: command(t, dir, env, args...), exited: make(chan struct{}),
		stdout: output(filepath.Join(logs, "stdout")), stderr: output(filepath.Join(logs, "stderr")),
	}
	e.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	stdout, stdoutErr := os.Create(string(e.stdout))
	stderr, stderrErr := os.Create(string(e.stderr))
	e.cmd.Stdout, e.cmd.Stderr = stdout, stderr
	must(t, errors.Join(stdoutErr, stderrErr, e.cmd.Start(), stdout.Close(), stderr.Close()))
	go func() {
		defer close(e.exited)
		_ = e.cmd.Wait() // the tests look at ProcessState
	}()
	t.Cleanup(func() {
		e.client.CloseIdleConnections()
		e.stop()
		if strings.Contains(e.stderr.String(), "DATA RACE") {
			t.Error("the race detector found a data race")
		}
		if t.Failed() {
			stderr := e.stderr.String()
			t.Logf("%s\nstdout:\n%s\nend of stderr:\n%s", e.cmd, e.stdout, stderr[max(0, len(stderr)-10_000):])
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
	must(e.t, err)
	for _, f := range change {
		f(req)
	}
	resp, err := e.client.Do(req)
	must(e.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(e.t, err)
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

// reload reloads the config by POST, which must have the status want, and returns
// the answer's body.
func (e *exporter) reload(want int) string {
	e.t.Helper()
	resp, body := e.send(http.MethodPost, "/-/reload")
	if resp.StatusCode != want {
		e.t.Errorf("reload: got %d %s, want %d", resp.StatusCode, body, want)
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

// stateOf returns the series that says that an import of server is in state.
func stateOf(server string, ref lakefs.Ref, state collector.State) string {
	return strings.TrimSuffix(of("state", server, ref), "}") + fmt.Sprintf(",state=%q}", state)
}

// newLakeFS starts a lakeFS.
func newLakeFS(t *testing.T, opts lakefstest.Options) *lakefstest.Server {
	t.Helper()
	server, err := lakefstest.New(opts)
	must(t, err)
	t.Cleanup(server.Close)
	return server
}

// import1k runs for a hundred days.
var import1k = lakefstest.Script{Objects: 1000, Rate: 1000. / (100 * 24 * 3600)}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	// Written beside it and renamed, so that nobody reads half of it.
	must(t, os.WriteFile(path+".new", []byte(content), 0o600))
	must(t, os.Rename(path+".new", path))
}

// serverYAML returns an entry of servers with the keys in files, which it writes.
func serverYAML(t *testing.T, dir, name string, server *lakefstest.Server) string {
	t.Helper()
	write(t, dir, "access_key_id", lakefstest.AccessKeyID+"\n")
	write(t, dir, "secret_access_key", lakefstest.SecretAccessKey+"\n")
	return fmt.Sprintf("- name: %s\n  endpoint_url: %s\n  basic_auth: {username_file: access_key_id, password_file: secret_access_key}\n  timeout: 1m\n", name, server.URL)
}

func importYAML(server string, ref lakefs.Ref) string {
	return fmt.Sprintf("- {server: %s, repository: %s, branch: %s, id: %s}\n", server, ref.Repository, ref.Branch, ref.ID)
}

// watching starts the exporter with one lakeFS, named prod, and refs to watch on it.
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

func loadCertificate(t *testing.T, dir, name string) tls.Certificate {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	must(t, err)
	return cert
}

// certificates writes what TLS takes to dir: ca.crt, which has signed
// server.crt, expired.crt and client.crt, and other.crt, which it has not.
func certificates(t *testing.T, dir string) {
	t.Helper()
	sign := func(name string, template, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		template.SerialNumber, template.Subject.CommonName = big.NewInt(1), name
		template.NotBefore = time.Now().Add(-time.Hour)
		if template.NotAfter.IsZero() {
			template.NotAfter = time.Now().Add(time.Hour)
		}
		if issuer == nil {
			issuer, issuerKey = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), issuerKey)
		must(t, err)
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		must(t, err)
		write(t, dir, name+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		write(t, dir, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
		cert, err := x509.ParseCertificate(der)
		must(t, err)
		return cert, key
	}
	ca, caKey := sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	sign("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, ca, caKey)
	sign("expired", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(-time.Minute)}, ca, caKey)
	sign("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca, caKey)
	sign("other", &x509.Certificate{}, nil, nil)
}
