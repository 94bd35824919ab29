package deploy_test

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that is to happen on its own.
const patience = 60 * time.Second

// eventually waits until f returns nil, and fails the test if that takes too long.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	eventuallyBy(t, time.Now().Add(patience), what, f)
}

// eventuallyBy is eventually with an end to the patience. f is tried once even
// after that.
func eventuallyBy(t *testing.T, end time.Time, what string, f func() error) {
	t.Helper()
	deadline := time.NewTimer(time.Until(end))
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("waited too long for %s: %v", what, err)
		case <-tick.C:
		}
	}
}

// process is a program under test.
type process struct {
	URL, addr string // if it listens
	cmd       *exec.Cmd
	log       string        // the file of its standard error
	ended     chan struct{} // closed when it has
}

// background starts a program, which is killed at the end of the test, with all that it
// has started. If the test has failed, the end of its log is printed.
func background(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	cmd.SysProcAttr = cmp.Or(cmd.SysProcAttr, &syscall.SysProcAttr{})
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, log: log.Name(), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // says that it was killed
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			lines := strings.Split(read(t, p.log), "\n")
			t.Logf("log of %s, its end:\n%s", filepath.Base(cmd.Path), strings.Join(lines[max(0, len(lines)-100):], "\n"))
		}
	})
	return p
}

// listening is how Prometheus, Alertmanager and the exporter say that they are
// ready, and where, in logfmt or JSON.
var listening = regexp.MustCompile(`(?:Listening on.* address=|"address":")(127\.0\.0\.1:\d+)`)

// start starts a program in the background, and waits until it listens.
func start(t *testing.T, path string, args ...string) *process {
	t.Helper()
	return startCommand(t, exec.Command(path, args...))
}

// startCommand is start for a program with a world of its own.
func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := background(t, cmd)
	eventually(t, cmd.String()+" to listen", func() error {
		if m := listening.FindStringSubmatch(read(t, p.log)); m != nil {
			p.addr = m[1]
			return nil
		}
		select {
		case <-p.ended:
			t.Fatalf("%s ended at once", cmd)
		default:
		}
		return errors.New("it does not say so")
	})
	p.URL = "http://" + p.addr
	return p
}

// kill ends the program, and what it has started, if they still run.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // fails if they have ended
	<-p.ended
}

// get decodes the JSON that a GET is answered with.
func get(url string, into any) error {
	return request(http.MethodGet, url, nil, into)
}

// request decodes the JSON that a request is answered with.
func request(method, url string, body io.Reader, into any) error {
	b, err := send(method, url, body)
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// send returns what a request is answered with, if it succeeds.
func send(method, url string, body io.Reader) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience/2)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, fmt.Errorf("%s: HTTP status %d: %s", url, resp.StatusCode, b)
	}
	return b, nil
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

// newCertificate returns a certificate for 127.0.0.1 and its key.
func newCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	lender := httptest.NewTLSServer(nil)
	defer lender.Close()
	pair := lender.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

const program = "lakefs_import_exporter"

// exporterBinary is where buildExporter puts the program.
var exporterBinary struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if exporterBinary.dir != "" {
		_ = os.RemoveAll(exporterBinary.dir) // a temporary directory
	}
	os.Exit(code)
}

// buildExporter returns the path of the exporter, built once for all tests, and as
// it is released: by make build.
func buildExporter(t *testing.T) string {
	t.Helper()
	b := &exporterBinary
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "deploy_test"); b.err != nil { //nolint:usetesting // it outlives the test
			return
		}
		cmd := exec.Command("make", "-C", "..", "build", "BINARY="+filepath.Join(b.dir, program))
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("make build: %w\n%s", err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return filepath.Join(b.dir, program)
}

// rewriter changes a copy of what is shipped, and insists that every change
// hits what it was made for.
type rewriter struct {
	t    *testing.T
	file string
	text string
}

func rewrite(t *testing.T, file string) *rewriter {
	t.Helper()
	return &rewriter{t, file, read(t, file)}
}

func (r *rewriter) replace(old, with string) *rewriter {
	r.t.Helper()
	return r.replaceAll(regexp.QuoteMeta(old), strings.ReplaceAll(with, "$", "$$"))
}

func (r *rewriter) replaceAll(pattern, with string) *rewriter {
	r.t.Helper()
	re := regexp.MustCompile(pattern)
	if !re.MatchString(r.text) {
		r.t.Fatalf("%s: nothing matches %s any more", r.file, pattern)
	}
	r.text = re.ReplaceAllString(r.text, with)
	return r
}

func (r *rewriter) write(path string) {
	r.t.Helper()
	write(r.t, path, r.text)
}

// startPrometheus starts Prometheus with the shipped configuration and rules, but
// with seconds in the place of minutes.
func startPrometheus(t *testing.T, exporter, alertmanager string) *process {
	t.Helper()
	return startPrometheusIn(t, t.TempDir(), exporter, alertmanager)
}

// startPrometheusIn is startPrometheus with the files in dir.
func startPrometheusIn(t *testing.T, dir, exporter, alertmanager string) *process {
	t.Helper()
	program := need(t, "prometheus")
	rewrite(t, "prometheus/prometheus.yml").
		replace("scrape_interval: 15s", "scrape_interval: 1s").
		replace("scrape_timeout: 10s", "scrape_timeout: 1s").
		replace("evaluation_interval: 15s", "evaluation_interval: 1s").
		replace("localhost:10470", exporter).
		replace("localhost:9093", alertmanager).
		write(filepath.Join(dir, "prometheus.yml"))
	for _, file := range glob(t, rulesFiles) {
		r := rewrite(t, file)
		if file == alertsFile {
			r.replaceAll(`for: (\d+)m\n`, "for: ${1}s\n").
				replaceAll(`\[(\d+)m\]`, "[${1}s]").
				replaceAll(`offset (\d+)m`, "offset ${1}s").
				replaceAll(`\b600\b`, "10")
		}
		r.write(filepath.Join(dir, "rules", filepath.Base(file)))
	}
	return start(t, program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0")
}

// startAlertmanager starts Alertmanager with the shipped configuration and
// templates, but it does not wait before it sends, and all goes to the inbox.
func startAlertmanager(t *testing.T, b *inbox) *process {
	t.Helper()
	program := need(t, "alertmanager")
	dir := t.TempDir()
	rewrite(t, alertmanagerFile).
		replace("https://chat.example.com/hooks/replace-me", b.URL+"/chat").
		replaceAll(`http://localhost:5001/`, b.URL+"/").
		replace("group_wait: 30s", "group_wait: 3s").
		replace("group_interval: 5m", "group_interval: 1s").
		write(filepath.Join(dir, "alertmanager.yml"))
	for _, file := range glob(t, "alertmanager/templates/*.tmpl") {
		write(t, filepath.Join(dir, "templates", filepath.Base(file)), read(t, file))
	}
	return start(t, program, "--config.file="+filepath.Join(dir, "alertmanager.yml"), "--storage.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--cluster.listen-address=")
}

// inbox is where Alertmanager's messages go.
type inbox struct {
	URL   string
	mu    sync.Mutex
	pages map[string][]message // by path
	chats []chat
}

// chat is what Alertmanager sends to Slack and its like.
type chat struct {
	Channel     string
	Attachments []struct{ Title, Text, Fallback, Color string }
}

func newInbox(t *testing.T) *inbox {
	t.Helper()
	b := &inbox{pages: map[string][]message{}}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	b.URL = server.URL
	return b
}

func (b *inbox) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.URL.Path == "/chat" {
		var c chat
		if json.NewDecoder(r.Body).Decode(&c) == nil {
			b.chats = append(b.chats, c)
		}
		return
	}
	var m message
	if json.NewDecoder(r.Body).Decode(&m) == nil {
		b.pages[r.URL.Path] = append(b.pages[r.URL.Path], m)
	}
}

// notices returns what came to path about an alert, with the lock held.
func (b *inbox) notices(path, alert, id string) []notice {
	var all []notice
	for _, m := range b.pages[path] {
		for _, n := range m.Alerts {
			if n.Labels["alertname"] == alert && n.Labels["import_id"] == id {
				all = append(all, n)
			}
		}
	}
	return all
}

// paged returns the newest notice that came to path about an alert. Only that
// with the wanted status counts: "firing" or "resolved".
func (b *inbox) paged(path, alert, id, status string) (notice, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.notices(path, alert, id)
	if len(all) == 0 {
		return notice{}, fmt.Errorf("no notice at %s", path)
	}
	newest := all[len(all)-1]
	if newest.Status != status {
		return notice{}, fmt.Errorf("the newest notice at %s says %s", path, newest.Status)
	}
	return newest, nil
}

// history returns the statuses that came to path about an alert, without
// repetitions.
func (b *inbox) history(path, alert, id string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, n := range b.notices(path, alert, id) {
		all = append(all, n.Status)
	}
	return strings.Join(slices.Compact(all), " ")
}

// counts returns how many pages have told that something fires, by the path, the alert
// and the server.
func (b *inbox) counts() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := map[string]int{}
	for path, messages := range b.pages {
		for _, m := range messages {
			if m.Status == "firing" {
				counts[strings.TrimSpace(path+" "+m.GroupLabels["alertname"]+" "+m.GroupLabels["server"])]++
			}
		}
	}
	return counts
}

// titles returns the titles of the chats of a channel, and how often each came.
func (b *inbox) titles(channel string) map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := map[string]int{}
	for _, c := range b.chats {
		if c.Channel == channel && len(c.Attachments) == 1 {
			counts[c.Attachments[0].Title]++
		}
	}
	return counts
}
