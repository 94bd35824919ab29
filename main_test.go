package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/testworld"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// What the program does with a command line that does not make it run for long.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { taken.Close() })
	const (
		good = "servers: [{endpoint_url: http://127.0.0.1:1}]\nimports:\n- {repository: my-repo, branch: main, id: x}\n"
		bad  = "servers: [{endpoint_url: http://127.0.0.1:1}]\nimports:\n- {repository: My Repo, branch: main, id: x}\n"
	)
	example, err := os.ReadFile("config.example.yml")
	must(t, err)
	type files map[string]string
	for _, tc := range []struct {
		name  string
		args  string
		env   []string
		files files
		// Expressions for all that is written there; stderr is for the one line of
		// an error, which may follow lines of level info.
		stdout, stderr string
	}{
		{name: "version", args: "--version", stdout: `lakefs_import_exporter, version 1\.2\.3-test( \(.*revision: [0-9a-f]+.*\))?\n  go version: .*\n  platform: .*\n`},
		{name: "short help", args: "-h", stdout: `usage: lakefs_import_exporter \[<flags>\]\n(.*\n)*`},
		{name: "no version or help by environment", args: "--config.check", env: []string{"LAKEFS_IMPORT_EXPORTER_VERSION=1.2.3", "LAKEFS_IMPORT_EXPORTER_HELP=x", "LAKEFS_IMPORT_EXPORTER_HELP_LONG=x"}, files: files{"config.yml": good}, stdout: `ok .*\n`},
		{name: "unknown flag", args: "--nosuch", stderr: `error: unknown long flag '--nosuch', try --help`},
		{name: "offset", args: "--timeout-offset=x", stderr: `error: --timeout-offset: .*"x", try --help`},
		{name: "negative offset", args: "--timeout-offset=-1", stderr: `error: --timeout-offset: .*"-1", try --help`},
		{name: "huge offset", args: "--timeout-offset=1e99", stderr: `error: --timeout-offset: .*"1e99", try --help`},
		{name: "taken telemetry path", args: "--web.telemetry-path=/api/v1/imports", stderr: `error: --web\.telemetry-path: "/api/v1/imports": /api/ is taken`},
		{name: "bare number of seconds", args: "--config.check --timeout-offset=0.25", files: files{"config.yml": good}, stdout: `ok .*\n`},
		{name: "external URL without a scheme", args: "--web.external-url=example.com/imports", stderr: `error: --web\.external-url: must be a URL such as .*, not "example.com/imports", try --help`},
		{name: "empty shard", args: "--shard=", stderr: `error: --shard: invalid value "", try --help`},
		{name: "shard", args: "--shard=3 --total-shards=3", stderr: `error: --shard: .* 3 .*`},
		{name: "retention", args: "--storage.retention=0s", stderr: `error: --storage\.retention: must be positive, not 0s`},
		{name: "finished for", args: "--metrics.finished-for=0s", stderr: `error: --metrics\.finished-for: must be positive, not 0s`},
		{name: "import API without storage", args: importAPI, stderr: `error: --web\.enable-import-api: needs --storage\.path, .*`},
		{name: "bad value in the environment", env: []string{"LAKEFS_IMPORT_EXPORTER_LOG_LEVEL=loud"}, stderr: `error: .*got 'loud', try --help`},

		{name: "check", args: "--config.check", files: files{"config.yml": good + "import_files: [imports/*.yml]\nrepositories: [{repository: my-repo}]\n", "imports/a.yml": "[{repository: my-repo, branch: main, id: y}]"}, stdout: `ok \(servers: 1, imports: 2, import files: 1, repositories: 1\)\n`},
		{name: "check the example", args: "--config.check", files: files{"config.yml": string(example), "imports/a.yml": "[]"}, stdout: `ok .*\n`},
		{name: "check nothing", args: "--config.check", stderr: `config\.yml: no such file or directory: .*--demo.*`},

		{name: "no config", stderr: `level=error .*err="config\.yml: no such file or directory: .*--demo.*"`},
		{name: "bad config", files: files{"config.yml": bad}, stderr: `level=error .*err="config\.yml: line \d+: imports: entry 1: repository \\"My Repo\\": must match .*"`},
		{name: "port taken", args: "--web.listen-address=" + taken.Addr().String(), files: files{"config.yml": good}, stderr: `level=error .*err="listen tcp ` + taken.Addr().String() + `: bind: address already in use"`},
		{name: "demo on a port that is taken", args: "--demo --web.listen-address=" + taken.Addr().String(), stderr: `level=error .*: bind: address already in use"`},
		{name: "foreign storage", args: "--storage.path=my.db", files: files{"config.yml": good, "my.db": "CREATE TABLE imports;\n"}, stderr: `level=error .*err="storage my\.db: is not a bbolt file, or is damaged"`},
		{name: "bad web config", args: "--web.config.file=web.yml", files: files{"config.yml": good, "web.yml": "tls: {}\n"}, stderr: `level=error .*err="--web\.config\.file: .*field tls not found.*"`},
		{name: "plain password in the web config", args: "--web.config.file=web.yml", files: files{"config.yml": good, "web.yml": "basic_auth_users: {prometheus: secret}\n"}, stderr: `level=error .*err="--web\.config\.file: basic_auth_users: a password must be hashed by bcrypt, .*"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, content := range tc.files {
				write(t, dir, name, content)
			}
			testCommand(t, command(t, dir, tc.env, strings.Fields(tc.args)...), tc.stdout, tc.stderr)
		})
	}
}

func testCommand(t *testing.T, cmd *exec.Cmd, wantStdout, wantStderr string) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	wantCode := 0
	if wantStderr != "" {
		wantCode, wantStderr = 1, `(level=(info|warn) .*\n)*(lakefs_import_exporter: )?`+wantStderr+`\n`
	}
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != wantCode {
		t.Errorf("exit status: got %v, want %d", err, wantCode)
	}
	if !regexp.MustCompile(`\A` + wantStdout + `\z`).MatchString(stdout.String()) {
		t.Errorf("stdout: got %s", stdout.String())
	}
	if !regexp.MustCompile(`\A` + wantStderr + `\z`).MatchString(stderr.String()) {
		t.Errorf("stderr: got %s", stderr.String())
	}
}

// Help lists every flag, with its default and its environment variable.
func TestHelp(t *testing.T) {
	t.Parallel()
	out, err := command(t, t.TempDir(), nil, "--help").Output()
	must(t, err)
	testworld.Golden(t, "help.txt", string(out))
}

// Every flag can be set in the environment, and without servers in the config, the
// one of lakectl's environment is polled.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	server := newLakeFS(t, lakefstest.Options{})
	ref := server.Start("my-repo", "main", import1k)
	dir := t.TempDir()
	write(t, dir, "conf/lakefs.yml", fmt.Sprintf("imports:\n- {repository: my-repo, branch: main, id: %s}\n", ref.ID))
	e := launch(t, dir, []string{
		"LAKEFS_IMPORT_EXPORTER_CONFIG_FILE=conf/lakefs.yml",
		"LAKEFS_IMPORT_EXPORTER_WEB_LISTEN_ADDRESS=127.0.0.1:0",
		"LAKEFS_IMPORT_EXPORTER_WEB_TELEMETRY_PATH=/m",
		"LAKEFS_IMPORT_EXPORTER_WEB_ENABLE_LIFECYCLE=true",
		"LAKEFS_IMPORT_EXPORTER_METRICS_FINISHED_FOR=1h",
		"LAKEFS_IMPORT_EXPORTER_TIMEOUT_OFFSET=500ms",
		"LAKEFS_IMPORT_EXPORTER_LOG_FORMAT=json",
		"LAKECTL_SERVER_ENDPOINT_URL=" + server.URL + "/api/v1",
		"LAKECTL_CREDENTIALS_ACCESS_KEY_ID=" + lakefstest.AccessKeyID,
		"LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY=" + lakefstest.SecretAccessKey,
	})
	e.waitToListen()
	if got := series(t, e.get("/m"))[of("poll_success", strings.TrimPrefix(server.URL, "http://"), ref)]; got != 1 {
		t.Errorf("poll_success is %v", got)
	}
	if agent := server.Stats().LastHeader.Get("User-Agent"); agent != "lakefs_import_exporter/1.2.3-test" {
		t.Errorf("the User-Agent is %q", agent)
	}
	e.reload(http.StatusOK)
	if got := e.stderr.String(); !strings.HasPrefix(got, "{") {
		t.Errorf("log: got %s", got)
	}
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
	eventually(t, "SIGHUP adds the second import", func() bool { return watched() == 2 })

	write(t, dir, "config.yml", watchYAML(t, dir, server, refs[:2]...)+"import: []\n")
	e.signal(syscall.SIGHUP)
	eventually(t, "SIGHUP with a broken config fails", func() bool { return e.scrape()[reloadOK] == 0 })
	if body := e.reload(http.StatusInternalServerError); !strings.Contains(body, `config.yml: line 10: unknown key "import"`) {
		t.Errorf("POST with a broken config: got %s", body)
	}
	broken := e.scrape()
	if broken[reloadOK] != 0 || broken[reloadTime] <= first[reloadTime] || watched() != 2 {
		t.Errorf("with a broken config: %v, %v after %v, %d imports", broken[reloadOK], broken[reloadTime], first[reloadTime], watched())
	}
	if got := strings.Count(e.stderr.String(), "level=error"); got != 2 {
		t.Errorf("%d errors were logged for two reloads that failed", got)
	}

	write(t, dir, "config.yml", watchYAML(t, dir, server, refs...))
	e.reload(http.StatusOK)
	if got := e.scrape(); got[reloadOK] != 1 || got[reloadTime] <= broken[reloadTime] || watched() != 3 {
		t.Errorf("after POST: %v, %v, %d imports", got[reloadOK], got[reloadTime], watched())
	}
}

// On a signal the program exits with status 0 within five seconds, although a
// scrape hangs on a lakeFS that does not answer.
func TestStopWhileAScrapeHangs(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			server := newLakeFS(t, lakefstest.Options{})
			server.Inject(lakefstest.Statuses, lakefstest.Fault{Break: lakefstest.BlackHole})
			e, _ := watching(t, server, []lakefs.Ref{server.Start("my-repo", "main", import1k)})
			var scrape sync.WaitGroup
			defer scrape.Wait()
			scrape.Go(func() {
				if resp, err := e.client.Get(e.url + "/metrics"); err == nil {
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

// Requests in flight at a signal get their answers if that does not take long.
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
	eventually(t, "the scrape is in flight", func() bool { return server.Stats().InFlight == 1 })
	e.signal(syscall.SIGTERM)
	eventually(t, "the exporter has received the signal", func() bool { return strings.Contains(e.stderr.String(), "Received a signal to stop") })
	close(hold)
	scrape.Wait()
	e.stop()
}

// The web config protects everything that is served: by TLS with certificates
// of clients, and by a password.
func TestWebConfig(t *testing.T) {
	t.Parallel()
	const password = "correct horse"
	server := newLakeFS(t, lakefstest.Options{})
	ref := server.Start("my-repo", "main", import1k)
	dir := t.TempDir()
	certificates(t, filepath.Join(dir, "web"))
	write(t, dir, "web/web.yml", "basic_auth_users:\n  prometheus: $2a$04$Ob3QmnVY5/5Xe1R5KzNQ6eHDybxv37QaoRJxPL5SItZxHRJYKaLAO\n"+
		"tls_server_config: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt, client_auth_type: RequireAndVerifyClientCert}\n")
	write(t, dir, "config.yml", watchYAML(t, dir, server, ref))
	e := start(t, dir, nil, "--web.config.file=web/web.yml", "--web.enable-lifecycle", importAPI, "--storage.path=data/")
	if resp, _ := e.send(http.MethodGet, "/metrics"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS: status %d", resp.StatusCode)
	}
	address := strings.TrimPrefix(e.url, "http://")
	const newImport = "/api/v1/imports/my-repo/main/new"
	for _, client := range []struct {
		certificate, password string
		answered, authorized  bool
	}{
		{certificate: "", password: password},
		{certificate: "other", password: password},
		{certificate: "client", answered: true},
		{certificate: "client", password: "wrong", answered: true},
		{certificate: "client", password: password, answered: true, authorized: true},
	} {
		e.url = (&url.URL{Scheme: "https", User: url.UserPassword("prometheus", client.password), Host: address}).String()
		e.client = clientWithCertificate(t, filepath.Join(dir, "web"), client.certificate)
		for _, r := range []struct {
			method, path string
			status       int
		}{
			{"GET", "/", 200},
			{"GET", "/metrics", 200},
			{"OPTIONS", "/metrics", 405},
			{"GET", "/probe?target=" + ref.String(), 200},
			{"GET", "/imports", 200},
			{"GET", "/imports/page.css", 200},
			{"GET", "/api/v1/imports", 200},
			{"GET", "/api/v1/imports/" + ref.String(), 200},
			{"PUT", newImport, 201},
			{"DELETE", newImport, 204},
			{"GET", "/-/healthy", 200},
			{"GET", "/-/ready", 200},
			{"POST", "/-/reload", 200},
			{"GET", "/debug/pprof/", 404},
			{"GET", "/nosuch", 404},
		} {
			want := r.status
			if !client.answered {
				want = 0
			} else if !client.authorized {
				want = http.StatusUnauthorized
			}
			if status := e.do(r.method, r.path); status != want {
				t.Errorf("%s %s as %+v: status %d, want %d", r.method, r.path, client, status, want)
			}
		}
	}
}

// clientWithCertificate returns a client that trusts the authority in dir, and
// shows the certificate name in dir, if that is not empty.
func clientWithCertificate(t *testing.T, dir, name string) *http.Client {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	must(t, err)
	conf := &tls.Config{RootCAs: x509.NewCertPool()}
	conf.RootCAs.AppendCertsFromPEM(ca)
	if name != "" {
		cert := loadCertificate(t, dir, name)
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	transport := &http.Transport{TLSClientConfig: conf}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Keys that lakeFS refuses, a server that answers with an error, and one that does
// not answer, or is not asked for want of a token, are told apart at the start.
func TestServersAreChecked(t *testing.T) {
	t.Parallel()
	refused := newLakeFS(t, lakefstest.Options{SecretAccessKey: "another"})
	good, limited := newLakeFS(t, lakefstest.Options{}), newLakeFS(t, lakefstest.Options{})
	busy, gone := newLakeFS(t, lakefstest.Options{}), newLakeFS(t, lakefstest.Options{})
	limited.Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusUnauthorized, Body: lakefstest.Message("insufficient permissions: x")})
	busy.Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusTooManyRequests})
	gone.Close()
	dir := t.TempDir()
	write(t, dir, "config.yml", "servers:\n"+serverYAML(t, dir, "good", good)+serverYAML(t, dir, "refused", refused)+
		serverYAML(t, dir, "limited", limited)+serverYAML(t, dir, "busy", busy)+serverYAML(t, dir, "gone", gone)+
		"- {name: tokens, endpoint_url: "+busy.URL+", oauth2: {client_id: a, client_secret: b, token_url: "+busy.URL+"/token}}\n")
	e := start(t, dir, nil)
	for _, want := range []string{
		`msg="lakeFS refuses the access keys" server=refused `,
		`msg="Unexpected answer from lakeFS" server=busy err="HTTP status 429"`,
		`msg="No answer from lakeFS" server=gone `,
		`msg="No answer from lakeFS" server=tokens err="token_url answered with HTTP status 429"`,
	} {
		eventually(t, want, func() bool { return strings.Contains(e.stderr.String(), want) })
	}
	eventually(t, "all are asked", func() bool { return good.Stats().Requests == 1 && limited.Stats().Requests == 1 })
	e.stop()
	if got := strings.Count(e.stderr.String(), "level=warn"); got != 4 {
		t.Errorf("%d warnings", got)
	}
}

// An import API without authentication is worth a warning.
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
		if got := strings.Count(e.stderr.String(), "level=warn"); got != want {
			t.Errorf("%s: %d warnings, want %d", yaml, got, want)
		}
	}
}

// A client that connects and disconnects, as TCP probes do, is logged at debug
// level; one that does not speak TLS is worth a warning. Many of them cannot fill
// the disk with the log.
func TestTCPProbes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "config.yml", watchYAML(t, dir, newLakeFS(t, lakefstest.Options{})))
	certificates(t, dir)
	write(t, dir, "web.yml", "tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
	e := start(t, dir, nil, "--web.config.file=web.yml", "--log.level=debug")
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	must(t, err)
	conn.Close()
	e.send(http.MethodGet, "/metrics")
	for problem, level := range map[string]string{": EOF": "debug", "client sent an HTTP request to an HTTPS server": "warn"} {
		eventually(t, problem, func() bool {
			for line := range strings.Lines(e.stderr.String()) {
				if strings.Contains(line, "TLS handshake error") && strings.Contains(line, problem) {
					if !strings.Contains(line, "level="+level) {
						t.Errorf("want level %s: %s", level, line)
					}
					return true
				}
			}
			return false
		})
	}
	begin := time.Now()
	for range 500 {
		e.send(http.MethodGet, "/metrics")
	}
	atMost := 11 + int(time.Since(begin).Seconds())
	if got := strings.Count(e.stderr.String(), "TLS handshake error"); got > atMost {
		t.Errorf("%d lines, want at most %d", got, atMost)
	}
	eventually(t, "what was left out is told", func() bool {
		e.send(http.MethodGet, "/metrics")
		return strings.Contains(e.stderr.String(), "dropped_lines=")
	})
}

// With --log.format=json, every line of the log is JSON.
func TestJSONLog(t *testing.T) {
	t.Parallel()
	server := newLakeFS(t, lakefstest.Options{})
	server.Inject(lakefstest.Statuses, lakefstest.Fault{Status: 500, Body: "<html>\n\"quoted\"\x00\xff</html>"})
	e, dir := watching(t, server, []lakefs.Ref{server.Start("my-repo", "main", import1k)}, "--log.format=json", "--log.level=debug", "--web.enable-lifecycle")
	e.get("/metrics")
	write(t, dir, "config.yml", "imports:\n- \"a\nb\n")
	e.reload(http.StatusInternalServerError)
	write(t, dir, "imports/a.yml", "nonsense")
	eventually(t, "the broken import file is logged", func() bool { return strings.Contains(e.stderr.String(), "imports/a.yml") })
	e.stop()

	levels := map[string]int{}
	for line := range strings.Lines(e.stderr.String()) {
		var entry struct{ Time, Caller, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		if _, err := time.Parse(time.RFC3339Nano, entry.Time); err != nil || entry.Caller == "" || entry.Msg == "" {
			t.Errorf("time, caller or msg is missing: %s", line)
		}
		levels[entry.Level]++
	}
	// A poll that failed, the server whose polls fail, the config and the import file.
	if levels["debug"] == 0 || levels["warn"] != 1 || levels["error"] != 2 || levels["info"] == 0 {
		t.Errorf("lines by level: %v", levels)
	}
}

// The demo needs nothing and shows every state.
func TestDemo(t *testing.T) {
	t.Parallel()
	e := start(t, t.TempDir(), nil, "--demo")
	eventually(t, "the demo says where it is", func() bool { return strings.Contains(e.stdout.String(), "/api/v1/imports\n") })
	var urls []string
	for _, word := range strings.Fields(e.stdout.String()) {
		if path, ok := strings.CutPrefix(word, e.url); ok {
			urls = append(urls, path)
			if status := e.do(http.MethodGet, path); status >= http.StatusBadRequest {
				t.Errorf("%s: status %d", path, status)
			}
		}
	}
	if diff := cmp.Diff([]string{"/", "/metrics", "/api/v1/imports"}, urls); diff != "" {
		t.Errorf("URLs to open (-want +got):\n%s", diff)
	}
	body := e.get("/metrics")
	for _, state := range collector.States() {
		if !regexp.MustCompile(`\nlakefs_imports{.*state="` + string(state) + `"} [1-9]`).MatchString(body) {
			t.Errorf("no import is %s", state)
		}
	}
	for _, name := range []string{
		"lakefs_import_exporter_config_last_reload_successful", "lakefs_import_exporter_build_info", "go_goroutines", "process_start_time_seconds",
		"promhttp_metric_handler_requests_total",
	} {
		if !strings.Contains(body, "\n"+name+"{") && !strings.Contains(body, "\n"+name+" ") {
			t.Errorf("no series of %s", name)
		}
	}
	if problems, err := promlint.New(strings.NewReader(body)).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	must(t, err)
	return port
}
