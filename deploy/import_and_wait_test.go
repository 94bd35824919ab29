package deploy_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// front is in front of a server. It answers itself where the hook does, which is told the
// number of the request and returns true then.
func front(t *testing.T, target string, hook func(n int64, w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hook(requests.Add(1), w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// pipeline runs import-and-wait.sh or lakefs_import.py against an exporter and a lakeFS.
type pipeline struct {
	t       *testing.T
	program string
	dir     string
	lakeFS  *lakefstest.Server
	starts  atomic.Int64 // of imports over HTTP
	started func()       // called before lakeFS answers importStart
	broken  bool         // importStart is answered with 502 when it has been done
	restart bool         // the exporter, when the program finds that it is down

	exporter *process
	address  string   // of the exporter, or of what is in front of it
	flags    []string // of the exporter
	secret   string   // for lakeFS
	user     string   // for the exporter
	settings string
	timeout  string
	branch   string
	id       string // to be resumed
}

func newPipeline(t *testing.T, program string, script lakefstest.Script) *pipeline {
	t.Helper()
	p := &pipeline{
		t: t, program: program, dir: t.TempDir(), started: func() {}, flags: []string{"--web.enable-import-api"},
		secret: lakefstest.SecretAccessKey, user: credentials, settings: `{"labels": {"team": "ingest"}}`, timeout: "120",
		branch: "main",
	}
	for _, needed := range []string{"curl", "jq", "python3"} {
		need(t, needed)
	}
	var err error
	if p.lakeFS, err = lakefstest.New(lakefstest.Options{Script: script}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.lakeFS.Close)
	p.lakeFS.AddRepository("my-repo")
	return p
}

// startExporter starts the exporter, unless it was started before.
func (p *pipeline) startExporter() {
	p.t.Helper()
	if p.exporter == nil {
		p.exporter = startForPipelines(p.t, p.dir, "127.0.0.1:0", p.lakeFS.URL, p.flags...)
		p.address = "http://" + p.exporter.addr
	}
}

// command returns the program to run, with slashes at the end of its URLs.
func (p *pipeline) command() *exec.Cmd {
	p.t.Helper()
	p.startExporter()
	lakeFS := front(p.t, p.lakeFS.URL, func(_ int64, w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		p.starts.Add(1)
		p.started()
		if p.broken {
			p.lakeFS.Start("my-repo", "main", lakefstest.Script{})
			http.Error(w, "<html>Bad gateway</html>", http.StatusBadGateway)
		}
		return p.broken
	})
	args := append(strings.Fields(p.program), "my-repo", p.branch, "--settings", p.settings, "--timeout", p.timeout)
	if p.id == "" {
		args = append(args, "s3://bucket/nightly/")
	} else {
		args = append(args, "--id", p.id)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "LAKECTL_SERVER_ENDPOINT_URL="+lakeFS+"//", "LAKECTL_CREDENTIALS_ACCESS_KEY_ID="+lakefstest.AccessKeyID,
		"LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY="+p.secret, "EXPORTER="+p.address+"/", "EXPORTER_USER="+p.user, "SERVER=prod", "PYTHONDONTWRITEBYTECODE=1")
	return cmd
}

// run returns what the program prints, and its exit status.
func (p *pipeline) run() (stdout, stderr string, status int) {
	p.t.Helper()
	cmd := p.command()
	var out strings.Builder
	cmd.Stdout = &out
	script := background(p.t, cmd)
	if p.restart {
		eventually(p.t, "the program to find that the exporter is down", func() error {
			if text := read(p.t, script.log); !strings.Contains(text, "trying again") {
				return errors.New(text)
			}
			return nil
		})
		p.exporter = startForPipelines(p.t, p.t.TempDir(), p.exporter.addr, p.lakeFS.URL, p.flags...)
	}
	<-script.ended
	return out.String(), read(p.t, script.log), cmd.ProcessState.ExitCode()
}

// startedAgo starts an import as if it had been a while ago, and has the program resume it.
func (p *pipeline) startedAgo(ago time.Duration, script lakefstest.Script) lakefs.Ref {
	ref := p.lakeFS.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main"}, script, time.Now().Add(-ago))
	p.id = ref.ID
	return ref
}

var (
	dirty     = lakefstest.Script{Objects: 1000, End: lakefstest.Failure, Message: lakefstest.MessageDirtyBranch}
	quick     = lakefstest.Script{Objects: 1000, Rate: 1000}
	succeeded = regexp.MustCompile(`^[0-9a-v]{20}\n[0-9a-f]{64}\n$`)
	onlyID    = regexp.MustCompile(`^[0-9a-v]{20}\n$`)
	nothing   = regexp.MustCompile(`^$`)
)

func TestImportAndWait(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		script lakefstest.Script
		set    func(p *pipeline)
		starts int64
		stdout *regexp.Regexp
		stderr string
		status int
	}{
		{"succeeds", quick, func(*pipeline) {}, 1, succeeded, "succeeded, 1000 objects", 0},
		{"fails", dirty, func(*pipeline) {},
			1, onlyID, "failed: " + lakefstest.MessageDirtyBranch, 3},
		{"canceled", quick, func(p *pipeline) { p.lakeFS.Cancel(p.startedAgo(0, slow)) }, 0, onlyID, "canceled: import error: Canceled", 4},
		{"lost", quick, func(p *pipeline) {
			ref := p.startedAgo(0, slow)
			p.startExporter()
			path := p.exporter.URL + "/api/v1/imports/" + ref.String()
			for _, method := range []string{http.MethodPut, http.MethodGet} {
				if _, err := send(method, path, nil); err != nil {
					p.t.Fatal(err)
				}
			}
			p.lakeFS.Forget(ref)
		}, 0, onlyID, "lost: see the log of the branch", 5},
		{"stalled", quick, func(p *pipeline) {
			p.startedAgo(time.Hour, lakefstest.Script{Objects: 1000, Rate: 1, End: lakefstest.Crash, EndAfter: time.Minute})
		}, 0, onlyID, "stalled: see the log of the branch", 6},
		{"timeout", slow, func(p *pipeline) { p.timeout = "3" }, 1, onlyID, "timeout: still running after 3", 7},
		{"resumed", quick, func(p *pipeline) { p.startedAgo(time.Minute, quick) }, 0, succeeded, "succeeded, 1000 objects", 0},
		{"resumed, without its branch", quick, func(p *pipeline) {
			p.startedAgo(time.Minute, quick)
			p.branch = "-"
		}, 0, succeeded, "succeeded, 1000 objects", 0},
		{"import API is off", quick, func(p *pipeline) { p.flags = nil }, 0, nothing, "HTTP status 403: the import API is off", 1},
		{"import limit is reached", quick, func(p *pipeline) {
			p.flags = append(p.flags, "--web.max-imports=1")
			p.startExporter()
			_, _ = send(http.MethodPut, p.exporter.URL+"/api/v1/imports/my-repo/main/other", nil)
		}, 0, nothing, "HTTP status 409: ", 1},
		{"wrong password", quick, func(p *pipeline) { p.user = "pipeline:wrong" }, 0, nothing, "HTTP status 401", 1},
		{"forbidden label", quick, func(p *pipeline) { p.settings = `{"labels": {"job": "x"}}` }, 0, nothing, "HTTP status 400: body: ", 1},
		{"lakeFS refuses", quick, func(p *pipeline) { p.secret = `a"b\c` }, 1, nothing, "HTTP status 401: error authenticating request", 1},
		{"start without an answer", quick, func(p *pipeline) { p.broken = true }, 1, nothing, "HTTP status 502; the import may have started", 8},
		{"exporter misbehaves", quick, func(p *pipeline) {
			p.startExporter()
			p.address = front(p.t, p.address, misbehave)
		}, 1, succeeded, "HTTP status 200 without a JSON object", 0},
		{"exporter restarts, and its storage is lost", lakefstest.Script{Objects: 1000, Rate: 150}, func(p *pipeline) {
			p.startExporter()
			p.started, p.restart = p.exporter.kill, true
		}, 1, succeeded, "trying again", 0},
	} {
		for language, program := range map[string]string{"bash": "bash pipelines/import-and-wait.sh", "python": "python3 pipelines/lakefs_import.py"} {
			t.Run(test.name+"/"+language, func(t *testing.T) {
				t.Parallel()
				p := newPipeline(t, program, test.script)
				test.set(p)
				stdout, stderr, status := p.run()
				if status != test.status || !test.stdout.MatchString(stdout) || !strings.Contains(stderr, test.stderr) {
					t.Errorf("exit status %d, want %d with %q\nstdout: %s\nstderr: %s", status, test.status, test.stderr, stdout, stderr)
				}
				if n := p.starts.Load(); n != test.starts {
					t.Errorf("%d imports were started, want %d", n, test.starts)
				}
				var list struct {
					Imports []struct {
						ID     string `json:"import_id"`
						Labels map[string]string
					}
				}
				if err := get(p.exporter.URL+"/api/v1/imports?label=team=ingest", &list); err != nil {
					t.Fatal(err)
				}
				if id, _, ok := strings.Cut(stdout, "\n"); ok != (len(list.Imports) == 1) || ok && list.Imports[0].ID != id {
					t.Errorf("watched: %+v", list.Imports)
				}
			})
		}
	}
}

// misbehave answers a few requests in its own ways.
func misbehave(n int64, w http.ResponseWriter, _ *http.Request) bool {
	const html = "<html>Some proxy's page</html>"
	switch n {
	case 1, 6:
		http.Error(w, html, http.StatusServiceUnavailable)
	case 2, 7:
		_, _ = fmt.Fprint(w, html)
	case 3:
		http.Error(w, html, http.StatusNotFound)
	case 8:
		http.Error(w, "{}", http.StatusTooManyRequests)
	default:
		return false
	}
	return true
}

// Airflow itself is not there: testdata/airflow has base classes as Airflow's are.
func TestAirflowSensor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		script lakefstest.Script
		want   string
	}{
		"succeeds": {quick, `^[0-9a-f]{64}$`},
		"fails":    {dirty, `^AirflowFailException: import \w{20}: failed: ` + regexp.QuoteMeta(lakefstest.MessageDirtyBranch)},
		"stalled":  {lakefstest.Script{Objects: 1000, Rate: 1, End: lakefstest.Crash, EndAfter: time.Minute}, `^AirflowException: import \w{20}: stalled: `},
	} {
		for _, mode := range []string{"poke", "deferrable"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				p := newPipeline(t, "python3 testdata/airflow/run.py", test.script)
				ref := p.startedAgo(time.Hour, test.script)
				cmd := p.command()
				cmd.Args = append(cmd.Args[:2], ref.ID, mode)
				cmd.Env = append(cmd.Env, "PYTHONPATH=pipelines")
				out, err := cmd.CombinedOutput()
				if err != nil || !regexp.MustCompile("(?m)"+test.want).Match(out) {
					t.Errorf("%v, want %s: %s", err, test.want, out)
				}
			})
		}
	}
}
