//go:build linux

package main

import (
	"crypto/tls"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// fault is something that goes wrong between the exporter and the lakeFS that
// is called bad, or with the exporter itself.
type fault struct {
	name string
	// prepare, if set, changes how the exporter is about to be started.
	prepare func(*faultWorld)
	// begin starts it. What it returns, if anything, ends it.
	begin func(*faultWorld) (end func())
	// lasts is how long the fault is felt after its end.
	lasts time.Duration
	// result is how polls of bad are counted meanwhile. With another one than
	// success, what was seen before is kept.
	result string
	// status, if set, is what bad answers meanwhile of all its imports.
	status *importStatus
}

// importStatus is what a status says of a running import.
type importStatus struct{ objects, updated float64 }

const success = "success"

// TestFaults exposes the running program to every fault: nothing fails before, only
// what is affected fails while it lasts, and nothing fails afterwards.
func TestFaults(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other host was sent a %s with the header %v", r.Method, r.Header)
	}))
	defer elsewhere.Close()
	const status = `{"completed":false,"ingested_objects":4242,"update_time":"2026-11-22T10:51:27Z"}`
	redirect := func(to string) lakefstest.Fault {
		return lakefstest.Fault{Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {to}}}
	}
	body := func(body string) func(*faultWorld) func() { return answer(lakefstest.Fault{Body: body}) }
	retryAfter := func(value string) func(*faultWorld) func() {
		header := http.Header{"Date": {"Sun, 22 Nov 2026 10:51:27 GMT"}, "Retry-After": {value}}
		return answer(lakefstest.Fault{Status: http.StatusTooManyRequests, Header: header})
	}
	code := func(code int) func(*faultWorld) func() {
		return answer(lakefstest.Fault{Status: code, Body: lakefstest.Message("no")})
	}
	faults := []fault{
		{name: "429 without Retry-After", begin: code(429), lasts: 30 * time.Second, result: "rate_limited"},
		{name: "10,000 imports removed at one reload", begin: removeMany, result: success},
		{name: "refused", begin: proxied(lakefstest.Refuse), result: "connection"},
		{name: "reset mid-body", begin: answer(lakefstest.Fault{Body: status[:40], Break: lakefstest.Reset}), result: "connection"},
		{name: "black hole", begin: hurried(answer(lakefstest.Fault{Break: lakefstest.BlackHole})), result: "timeout"},
		{name: "1 byte/s", begin: hurried(proxied(lakefstest.Trickle)), result: "timeout"},
		{name: "garbage", begin: proxied(lakefstest.Garbage), result: "connection"},
		{name: "HTML", begin: body("<!doctype html><title>Sign in</title>"), result: "bad_response"},
		{name: "1 GiB body", begin: answer(lakefstest.Fault{Body: "{", Padding: 1 << 30}), result: "bad_response"},
		{name: "endless headers", begin: proxied(lakefstest.EndlessHeader), result: "bad_response"},
		{name: "redirect loop", begin: answer(redirect("/again")), result: "bad_response"},
		{name: "redirect to another host", begin: answer(redirect(elsewhere.URL)), result: "bad_response"},
		{name: "wrong certificate", prepare: speakTLS, begin: showCertificate("other"), result: "connection"},
		{name: "expired certificate", prepare: speakTLS, begin: showCertificate("expired"), result: "connection"},
		{name: "401 after good", begin: code(401), result: "unauthorized"},
		{name: "403", begin: code(403), result: "unauthorized"},
		{name: "429 with Retry-After in seconds", begin: retryAfter("2"), lasts: 2 * time.Second, result: "rate_limited"},
		{name: "429 with Retry-After as a date", begin: retryAfter("Sun, 22 Nov 2026 10:51:29 GMT"), lasts: 2 * time.Second, result: "rate_limited"},
		{name: "500", begin: code(500), result: "server_error"},
		{name: "502", begin: answer(lakefstest.Fault{Status: 502, Body: "<h1>502 Bad Gateway</h1>"}), result: "server_error"},
		{name: "503", begin: code(503), result: "server_error"},
		{name: "clock an hour ahead", begin: setClock(time.Hour), result: success},
		{name: "clock an hour behind", begin: setClock(-time.Hour), result: success},
		{
			name: "update_time in year 0001", result: success, status: &importStatus{4242, -62135596800},
			begin: body(strings.Replace(status, "2026-11-22T10:51:27", "0001-01-01T00:00:00", 1)),
		},
		{
			name: "update_time in year 9999", result: success, status: &importStatus{4242, 253402300799},
			begin: body(strings.Replace(status, "2026-11-22T10:51:27", "9999-12-31T23:59:59", 1)),
		},
		{name: "counts negative", begin: body(strings.Replace(status, "4242", "-1", 1)), result: "bad_response"},
		{name: "counts falling", begin: body(strings.Replace(status, "4242", "3", 1)), result: success, status: &importStatus{3, 1795344687}},
		{name: "counts beyond int64", begin: body(strings.Replace(status, "4242", "9223372036854775808", 1)), result: "bad_response"},
		{name: "counts as strings", begin: body(strings.Replace(status, "4242", `"4242"`, 1)), result: "bad_response"},
		{
			name: "duplicate JSON keys", result: "bad_response",
			begin: body(`{"completed":true,"ingested_objects":1,"update_time":"2001-01-01T00:00:00Z",` + status[1:]),
		},
		{name: "NUL in every string", begin: spoil(`\u0000`, " "), result: "bad_response"},
		{name: "invalid UTF-8 in every string", begin: spoil("\xff\xc3", "\uFFFD\uFFFD"), result: "bad_response"},
		{name: "one server of three dead", begin: hurried(proxied(lakefstest.Swallow)), result: "timeout"},
		{name: "DNS gone", prepare: resolveByName, begin: forgetName, result: "connection"},
		{name: "the exporter out of file descriptors", begin: takeFiles, result: "connection"},
		{
			name: "the disk full", begin: fillDisk, result: success,
			prepare: func(w *faultWorld) { w.args = append(w.args, importAPI, "--storage.path=imports.db") },
		},
		{name: "config deleted at reload", begin: deleteConfig, result: success},
	}
	// They wait more than they work, so -parallel is not what bounds them.
	var all sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, f := range faults {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			t.Run(f.name, f.test)
		})
	}
	all.Wait()
}

const (
	// step is how far lakeFS's clocks are advanced at a time.
	step = 10 * time.Second
	// scrapeTimeout is long, for a machine that has much else to do.
	scrapeTimeout = 30 * time.Second
)

func (f fault) test(t *testing.T) {
	w := newFaultWorld(t, f.prepare)
	before := w.settled("before")
	w.check("before", before, "bad", 1, w.present("bad"))
	want, polled := w.present("bad"), 0.

	end := f.begin(w)
	w.settled("at the beginning")
	w.clock.Advance(step)
	during := w.settled("while it lasts")
	if f.result == success {
		want, polled = w.present("bad"), 1
	}
	if f.status != nil {
		want = []importStatus{*f.status, *f.status}
	}
	w.check("while it lasts", during, "bad", polled, want)
	w.checkPolls(before, during, f.result)

	if end != nil {
		end()
	}
	w.clock.Advance(step)
	<-time.After(f.lasts)
	w.check("afterwards", w.settled("afterwards"), "bad", 1, w.present("bad"))
	w.await("the exporter is as small as before", func(s map[string]float64) bool {
		for metric, more := range growth {
			if s[metric] > before[metric]+more {
				return false
			}
		}
		return true
	})
}

// growth is how much larger the exporter may be after a fault than before: for
// connections of the test's own, and for buffers that are kept.
var growth = map[string]float64{"go_goroutines{}": 4, "process_open_fds{}": 3, "go_memstats_heap_alloc_bytes{}": 4 << 20}

// faultWorld is the exporter between three lakeFS, of which two, good and other,
// have nothing to do with the fault. Each has two imports: one that progresses,
// and one that commits.
type faultWorld struct {
	*exporter
	t        *testing.T
	dir      string
	args     []string
	timeout  string // of requests to bad
	env      []string
	settings string      // more of the config of bad
	host     string      // that bad has in the config
	tls      *tls.Config // of bad
	shown    atomic.Pointer[tls.Certificate]

	lakeFS map[string]*lakefstest.Server
	clock  *lakefstest.Clock // of all of them
	skew   atomic.Int64      // nanoseconds that bad is ahead of it
	refs   map[string][]lakefs.Ref
	proxy  *lakefstest.Proxy // in front of bad
}

// began is when the imports were started.
var began = time.Now().Add(-2 * time.Hour).Truncate(time.Second)

const objectsPerSecond, objectsListed = 123, 12345

func newFaultWorld(t *testing.T, prepare func(*faultWorld)) *faultWorld {
	t.Helper()
	w := &faultWorld{
		t: t, dir: t.TempDir(), host: "127.0.0.1",
		args: []string{"--web.enable-lifecycle", "--timeout-offset=5"}, timeout: "1m",
		lakeFS: map[string]*lakefstest.Server{}, clock: lakefstest.NewClock(began.Add(2 * time.Hour)),
		refs: map[string][]lakefs.Ref{},
	}
	if prepare != nil {
		prepare(w)
	}
	for name, config := range map[string]*tls.Config{"good": nil, "other": nil, "bad": w.tls} {
		lakeFS := newLakeFS(t, lakefstest.Options{Clock: func() time.Time { return w.now(name) }, TLS: config})
		w.lakeFS[name] = lakeFS
		for _, script := range []lakefstest.Script{
			{Objects: 1e9, Rate: objectsPerSecond},
			{Objects: objectsListed, Committing: 10_000 * time.Hour},
		} {
			w.refs[name] = append(w.refs[name], lakeFS.StartAt(lakefs.Ref{Repository: name, Branch: "main"}, script, began))
		}
	}
	_, upstream, _ := strings.Cut(w.lakeFS["bad"].URL, "://")
	var err error
	if w.proxy, err = lakefstest.NewProxy(upstream); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.proxy.Close)

	write(t, w.dir, "access_key_id", lakefstest.AccessKeyID)
	write(t, w.dir, "secret_access_key", lakefstest.SecretAccessKey)
	write(t, w.dir, "imports/good.yml", importYAML("good", w.refs["good"][1]))
	for _, file := range []string{"access_key_id", "secret_access_key", "imports/good.yml"} {
		// What is not new is not read again.
		must(t, os.Chtimes(filepath.Join(w.dir, file), began, began))
	}
	write(t, w.dir, "config.yml", w.config("", ""))
	w.exporter = start(t, w.dir, w.env, w.args...)
	return w
}

// config returns the config, with more servers and imports in it.
func (w *faultWorld) config(servers, imports string) string {
	var b strings.Builder
	b.WriteString("servers:\n")
	for _, name := range []string{"good", "other", "bad"} {
		url, timeout, settings := w.lakeFS[name].URL, "1m", ""
		if name == "bad" {
			timeout, settings = w.timeout, w.settings
			scheme, _, _ := strings.Cut(url, ":")
			_, port, _ := strings.Cut(w.proxy.Addr, ":")
			url = scheme + "://" + w.host + ":" + port
		}
		// One request at a time takes one connection.
		b.WriteString(w.serverYAML(name, url) + "  timeout: " + timeout + "\n  max_concurrent_requests: 1\n" + settings)
	}
	b.WriteString(servers + "import_files: [imports/*.yml]\nimports:\n" + importYAML("good", w.refs["good"][0]))
	for _, name := range []string{"other", "bad"} {
		for _, ref := range w.refs[name] {
			b.WriteString(importYAML(name, ref))
		}
	}
	return b.String() + imports
}

func (*faultWorld) serverYAML(name, url string) string {
	return fmt.Sprintf("- name: %s\n  endpoint_url: %s\n  basic_auth: {username_file: access_key_id, password_file: secret_access_key}\n", name, url)
}

// now returns the time of a lakeFS.
func (w *faultWorld) now(server string) time.Time {
	now := w.clock.Now()
	if server == "bad" {
		now = now.Add(time.Duration(w.skew.Load()))
	}
	return now
}

// present returns the status of the imports of a lakeFS.
func (w *faultWorld) present(server string) []importStatus {
	seconds := math.Trunc(w.now(server).Sub(began).Seconds())
	updated := float64(began.Unix()) + seconds
	return []importStatus{{objectsPerSecond * seconds, updated}, {objectsListed, updated}}
}

// scrape scrapes as Prometheus does. It must be answered in time.
func (w *faultWorld) scrape() map[string]float64 {
	w.t.Helper()
	begin := time.Now()
	resp, body := w.send(http.MethodGet, "/metrics", func(r *http.Request) {
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(scrapeTimeout.Seconds(), 'f', -1, 64))
	})
	if took := time.Since(begin); resp.StatusCode != http.StatusOK || took > scrapeTimeout {
		w.t.Fatalf("scrape: status %d after %s", resp.StatusCode, took)
	}
	return series(w.t, body)
}

// await scrapes until an answer fulfils condition.
func (w *faultWorld) await(what string, condition func(map[string]float64) bool) {
	w.t.Helper()
	eventually(w.t, what, func() bool { return condition(w.scrape()) })
}

// settled returns the answer to a scrape that shows how things are now: one more
// than a second after another, so that imports are polled again. Good and other
// must be right.
func (w *faultWorld) settled(when string) map[string]float64 {
	w.t.Helper()
	w.scrape()
	<-time.After(1100 * time.Millisecond)
	s := w.scrape()
	for _, server := range []string{"good", "other"} {
		w.check(when, s, server, 1, w.present(server))
	}
	return s
}

// check compares what s has of a server's imports with what it must have.
func (w *faultWorld) check(when string, s map[string]float64, server string, polled float64, statuses []importStatus) {
	w.t.Helper()
	got, want := map[string]float64{}, map[string]float64{}
	for i, ref := range w.refs[server] {
		want[of("ingested_objects", server, ref)] = statuses[i].objects
		want[of("update_timestamp_seconds", server, ref)] = statuses[i].updated
		want[of("completed", server, ref)] = 0
		want[of("error", server, ref)] = 0
		want[of("poll_success", server, ref)] = polled
		want[stateOf(server, ref, collector.Running)] = 1
	}
	for key := range want {
		if value, ok := s[key]; ok {
			got[key] = value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s, %s (-want +got):\n%s", when, server, diff)
	}
}

// checkPolls reports polls between a and b that did not end with success, but
// those of bad that ended with result, of which there must be some.
func (w *faultWorld) checkPolls(a, b map[string]float64, result string) {
	w.t.Helper()
	expected := fmt.Sprintf("lakefs_import_exporter_polls_total{result=%q,server=%q}", result, "bad")
	for key, value := range b {
		if !strings.HasPrefix(key, "lakefs_import_exporter_polls_total{") {
			continue
		}
		grown := value > a[key]
		if key == expected && !grown {
			w.t.Errorf("%s does not grow", key)
		}
		if key != expected && grown && !strings.Contains(key, `result="success"`) {
			w.t.Errorf("%s grows", key)
		}
	}
}

// hurried makes requests to bad time out soon while begin's fault lasts.
func hurried(begin func(*faultWorld) func()) func(*faultWorld) func() {
	return func(w *faultWorld) func() {
		setTimeout := func(timeout string) {
			w.timeout = timeout
			write(w.t, w.dir, "config.yml", w.config("", ""))
			w.reload(http.StatusOK)
		}
		setTimeout("2s")
		end := begin(w)
		return func() {
			end()
			setTimeout("1m")
		}
	}
}

// proxied makes the proxy in front of bad misbehave.
func proxied(trouble lakefstest.Trouble) func(*faultWorld) func() {
	return func(w *faultWorld) func() {
		set := func(trouble lakefstest.Trouble) {
			must(w.t, w.proxy.Set(trouble))
		}
		set(trouble)
		return func() { set(lakefstest.Forward) }
	}
}

// answer makes bad answer with f.
func answer(f lakefstest.Fault) func(*faultWorld) func() {
	return func(w *faultWorld) func() {
		return w.lakeFS["bad"].Inject(lakefstest.Everything, f)
	}
}

// setClock sets bad's clock for good.
func setClock(by time.Duration) func(*faultWorld) func() {
	return func(w *faultWorld) func() {
		w.skew.Store(int64(by))
		return func() { w.skew.Store(0) }
	}
}

// speakTLS has bad speak HTTPS.
func speakTLS(w *faultWorld) {
	certificates(w.t, w.dir)
	w.tls = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return w.shown.Load(), nil }}
	w.settings = "  tls_config: {ca_file: ca.crt}\n"
	setCertificate(w, "server")
}

func setCertificate(w *faultWorld, name string) {
	cert := loadCertificate(w.t, w.dir, name)
	w.shown.Store(&cert)
}

// showCertificate makes bad show another certificate, over new connections.
func showCertificate(name string) func(*faultWorld) func() {
	return func(w *faultWorld) func() {
		setCertificate(w, name)
		w.proxy.Reset()
		return func() { setCertificate(w, "server") }
	}
}

// spoil puts bytes into every string of bad's answers: about its own imports, and
// about one that has succeeded. This is probed, so that nothing is remembered of it.
func spoil(bytes, shown string) func(*faultWorld) func() {
	const status = `{"completed":true,"update_time":"TIME","ingested_objects":7,"metarange_id":"aXb","commit":{"id":"aXb","message":"aXb","committer":"aXb",` +
		`"meta_range_id":"aXb","creation_date":1795344655,"parents":["aXb"],"metadata":{"aXb":"aXb"}}}`
	return func(w *faultWorld) func() {
		spoiled := func(time string) lakefstest.Fault {
			return lakefstest.Fault{Body: strings.NewReplacer("TIME", time, "X", bytes).Replace(status)}
		}
		remove := w.lakeFS["bad"].Inject(lakefstest.Everything, spoiled("2026-11-22T10:51:27Z"+bytes))
		ref := lakefs.Ref{Repository: "spoiled", Branch: "main", ID: "succeeded"}
		defer w.lakeFS["bad"].Inject(lakefstest.StatusOf(ref), spoiled(w.now("bad").UTC().Format(time.RFC3339)))()
		got := series(w.t, w.get("/probe?server=bad&target="+ref.String()))
		want := strings.ReplaceAll(`lakefs_import_commit_info{branch="main",commit_id="aXb",import_id="succeeded",metarange_id="aXb",repository="spoiled",server="bad"}`, "X", shown)
		if got[want] != 1 {
			w.t.Errorf("no %s in %v", want, got)
		}
		return remove
	}
}

// hosts is the file that names bad, while the exporter has no DNS server.
const hosts, nameOfBad = "hosts", "127.0.0.1 lakefs.test\n"

// resolveByName gives bad a name in the config, by a file of hosts.
func resolveByName(w *faultWorld) {
	w.host = "lakefs.test"
	w.env = append(w.env, "GODEBUG=netdns=go")
	write(w.t, w.dir, "resolv.conf", "nameserver 127.53.53.53\n")
	write(w.t, w.dir, hosts, nameOfBad)
	for _, name := range []string{"resolv.conf", hosts} {
		mount(w.t, filepath.Join(w.dir, name), "/etc/"+name, "", unix.MS_BIND, "")
	}
}

// forgetName takes bad's name away. Go looks at the file every five seconds.
func forgetName(w *faultWorld) func() {
	set := func(content string) {
		// In place: it is mounted.
		must(w.t, os.WriteFile(filepath.Join(w.dir, hosts), []byte(content), 0o600))
	}
	set("")
	w.await("the name is not found", func(s map[string]float64) bool {
		w.proxy.Reset()
		return s[of("poll_success", "bad", w.refs["bad"][0])] == 0
	})
	return func() { set(nameOfBad) }
}

// mount mounts something for the rest of the test, visible to nobody but what the
// test starts.
func mount(t *testing.T, source, target, fsType string, flags uintptr, data string) {
	t.Helper()
	// What this thread starts is in its namespace. The thread ends with the test.
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err == nil {
		err = unix.Mount(source, target, fsType, flags, data)
	}
	if err != nil {
		skip(t, "cannot mount %s, which takes root: %v", target, err)
	}
}

// limit sets a soft limit of the exporter, and returns what lifts it.
func (w *faultWorld) limit(resource int, n uint64) func() {
	w.t.Helper()
	pid := w.cmd.Process.Pid
	var before unix.Rlimit
	must(w.t, unix.Prlimit(pid, resource, nil, &before))
	must(w.t, unix.Prlimit(pid, resource, &unix.Rlimit{Cur: n, Max: before.Max}, nil))
	return func() {
		must(w.t, unix.Prlimit(pid, resource, &before, nil))
	}
}

// takeFiles leaves the exporter with the files that it has open, and closes its
// connections to bad, so that it needs new ones.
func takeFiles(w *faultWorld) func() {
	lift := w.limit(unix.RLIMIT_NOFILE, 3)
	w.proxy.Reset()
	return lift
}

// fillDisk makes the exporter's writes fail, and gives it something to write: an
// import that is registered, and one that has finished.
func fillDisk(w *faultWorld) func() {
	lift := w.limit(unix.RLIMIT_FSIZE, 1)
	const path = "/api/v1/imports/my-repo/main/registered?server=good"
	put := func() int {
		resp, _ := w.send(http.MethodPut, path)
		return resp.StatusCode
	}
	if status := put(); status != http.StatusInternalServerError {
		w.t.Errorf("PUT: status %d", status)
	}
	ref := w.lakeFS["good"].StartAt(lakefs.Ref{Repository: "finished", Branch: "main"}, lakefstest.Script{}, began)
	write(w.t, w.dir, "imports/finished.yml", importYAML("good", ref))
	w.await("a storage error", func(s map[string]float64) bool {
		return s["lakefs_import_exporter_storage_errors_total{}"] > 0 && s[of("completed", "good", ref)] == 1
	})
	return func() {
		lift()
		if status := put(); status != http.StatusCreated {
			w.t.Errorf("PUT afterwards: status %d", status)
		}
		if resp, _ := w.send(http.MethodDelete, path); resp.StatusCode != http.StatusNoContent {
			w.t.Errorf("DELETE afterwards: status %d", resp.StatusCode)
		}
	}
}

func deleteConfig(w *faultWorld) func() {
	path := filepath.Join(w.dir, "config.yml")
	must(w.t, os.Rename(path, path+".away"))
	w.reload(http.StatusInternalServerError)
	w.await("the failed reload shows", func(s map[string]float64) bool { return s[reloadOK] == 0 })
	return func() {
		must(w.t, os.Rename(path+".away", path))
		w.reload(http.StatusOK)
		w.await("the reload shows", func(s map[string]float64) bool { return s[reloadOK] == 1 })
	}
}

// removeMany has 10,000 imports of a server watched, and then no longer. The server
// is rate limited: polls of so many would take the race detector too long.
func removeMany(w *faultWorld) func() {
	const many = 10_000
	lakeFS := newLakeFS(w.t, lakefstest.Options{})
	lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Status: 429, Header: http.Header{"Retry-After": {"300"}}})
	var imports strings.Builder
	for i := range many {
		imports.WriteString(importYAML("many", lakefs.Ref{Repository: "many", Branch: "main", ID: strconv.Itoa(i)}))
	}
	write(w.t, w.dir, "config.yml", w.config(w.serverYAML("many", lakeFS.URL), imports.String()))
	w.reload(http.StatusOK)
	const watched = `lakefs_import_exporter_imports{source="config"}`
	w.await("all of them show", func(s map[string]float64) bool { return s[watched] > many })
	write(w.t, w.dir, "config.yml", w.config("", ""))
	w.reload(http.StatusOK)
	w.await("none of them shows", func(s map[string]float64) bool { return s[watched] < many })
	return nil
}

// Import files on a file system that hangs delay neither start, scrape, page,
// API nor reload. They are watched as soon as it answers.
func TestImportFilesOnAFileSystemThatHangs(t *testing.T) {
	t.Parallel()
	server := newLakeFS(t, lakefstest.Options{})
	inConfig, inFile := server.Start("my-repo", "main", import1k), server.Start("my-repo", "main", import1k)
	dir := t.TempDir()
	write(t, dir, "config.yml", watchYAML(t, dir, server, inConfig))
	write(t, dir, "imports/a.yml", importYAML("prod", inFile))
	unmount := mountHanging(t, filepath.Join(dir, "imports"))
	e := start(t, dir, nil, "--web.enable-lifecycle")
	for range 2 {
		got := e.scrape()
		if _, ok := got[of("poll_success", "prod", inFile)]; ok || got[of("poll_success", "prod", inConfig)] != 1 {
			t.Errorf("while it hangs: %v", got)
		}
		e.get("/imports")
		e.get("/api/v1/imports")
		e.reload(http.StatusOK)
	}
	unmount()
	eventually(t, "the import in the file is watched", func() bool { return e.scrape()[of("poll_success", "prod", inFile)] == 1 })
}

// mountHanging mounts a file system on dir that never answers. It returns what
// unmounts it.
func mountHanging(t *testing.T, dir string) (unmount func()) {
	t.Helper()
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		skip(t, "cannot mount a file system that hangs, which takes FUSE and root: %v", err)
	}
	// Requests that wait for it fail when it is closed.
	t.Cleanup(func() { fuse.Close() })
	mount(t, "fuse", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse.Fd()))
	return func() {
		must(t, unix.Unmount(dir, unix.MNT_DETACH))
		fuse.Close()
	}
}
