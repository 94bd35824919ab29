//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// fault is something that goes wrong between the exporter and the lakeFS that
// is called bad, or with the exporter itself.
type fault struct {
	name string
	// prepare, if set, changes how the exporter is about to be started.
	prepare func(*faultWorld)
	// begin lets it happen. What it returns, if anything, ends it.
	begin func(*faultWorld) (end func())
	// lasts is how long the fault is felt after its end.
	lasts time.Duration
	// result is how polls of bad are counted meanwhile.
	result string
	// wrong is what bad says meanwhile of all its imports. Without it, and with
	// the result "success", it says the truth; with another result, what was
	// seen before is kept.
	wrong *importState
}

// importState is what a status says of a running import.
type importState struct{ objects, updated float64 }

const success = "success"

// TestFaults lets every fault happen to the running program under continuous
// scraping: it is good, then there is the fault, then it is good again.
func TestFaults(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other host was sent a %s with the header %v", r.Method, r.Header)
	}))
	defer elsewhere.Close()
	const status = `{"completed":false,"ingested_objects":4242,"update_time":"2026-11-22T10:51:27Z"}`
	said := &importState{4242, 1795344687}
	redirect := func(to string) lakefstest.Fault {
		return lakefstest.Fault{Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {to}}}
	}
	body := func(body string) func(*faultWorld) func() { return answer(lakefstest.Fault{Body: body}) }
	code := func(code int) func(*faultWorld) func() {
		return answer(lakefstest.Fault{Status: code, Body: lakefstest.Message("no")})
	}
	faults := []fault{
		{name: "429 without Retry-After", begin: code(429), lasts: 30 * time.Second, result: "rate_limited"},
		{name: "10,000 imports removed at one reload", begin: removeMany, result: success},
		{name: "refused", begin: proxied(lakefstest.Refuse), result: "connection"},
		{name: "reset mid-body", begin: answer(lakefstest.Fault{Body: status[:40], Break: lakefstest.Reset}), result: "connection"},
		{name: "black hole", prepare: hurry, begin: answer(lakefstest.Fault{Break: lakefstest.BlackHole}), result: "timeout"},
		{name: "1 byte/s", prepare: hurry, begin: proxied(lakefstest.Trickle), result: "timeout"},
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
		{
			name: "429 with Retry-After in seconds", result: "rate_limited", lasts: 2 * time.Second,
			begin: answer(lakefstest.Fault{Status: 429, Header: http.Header{"Retry-After": {"2"}}}),
		},
		{
			name: "429 with Retry-After as a date", result: "rate_limited", lasts: 2 * time.Second,
			begin: answer(lakefstest.Fault{Status: 429, Header: http.Header{
				"Date": {"Sun, 22 Nov 2026 10:51:27 GMT"}, "Retry-After": {"Sun, 22 Nov 2026 10:51:29 GMT"},
			}}),
		},
		{name: "500", begin: code(500), result: "server_error"},
		{name: "502", begin: answer(lakefstest.Fault{Status: 502, Body: "<h1>502 Bad Gateway</h1>"}), result: "server_error"},
		{name: "503", begin: code(503), result: "server_error"},
		{name: "clock an hour ahead", begin: setClock(time.Hour), result: success},
		{name: "clock an hour behind", begin: setClock(-time.Hour), result: success},
		{
			name: "update_time in year 0001", result: success, wrong: &importState{4242, -62135596800},
			begin: body(strings.Replace(status, "2026-11-22T10:51:27", "0001-01-01T00:00:00", 1)),
		},
		{
			name: "update_time in year 9999", result: success, wrong: &importState{4242, 253402300799},
			begin: body(strings.Replace(status, "2026-11-22T10:51:27", "9999-12-31T23:59:59", 1)),
		},
		{name: "counts negative", begin: body(strings.Replace(status, "4242", "-1", 1)), result: "bad_response"},
		{name: "counts falling", begin: body(strings.Replace(status, "4242", "3", 1)), result: success, wrong: &importState{3, 1795344687}},
		{name: "counts beyond int64", begin: body(strings.Replace(status, "4242", "9223372036854775808", 1)), result: "bad_response"},
		{name: "counts as strings", begin: body(strings.Replace(status, "4242", `"4242"`, 1)), result: "bad_response"},
		{
			name: "duplicate JSON keys", result: success, wrong: said, // the last one holds
			begin: body(`{"completed":true,"ingested_objects":1,"update_time":"2001-01-01T00:00:00Z",` + status[1:]),
		},
		{name: "NUL in every string", begin: spoil(`\u0000`, " "), result: "bad_response"},
		{name: "invalid UTF-8 in every string", begin: spoil("\xff\xc3", "\uFFFD\uFFFD"), result: "bad_response"},
		{name: "one server of three dead", prepare: hurry, begin: proxied(lakefstest.Swallow), result: "timeout"},
		{name: "DNS gone", prepare: resolveByName, begin: stopDNS, result: "connection"},
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
	// step is how far lakeFS goes on at a time.
	step = 10 * time.Second
	// scrapeTimeout is long, for a machine that has much else to do.
	scrapeTimeout = 30 * time.Second
)

func (f fault) test(t *testing.T) {
	w := newFaultWorld(t, f.prepare)
	before := w.settled("before", time.Now())
	w.check("before", before, "bad", 1, w.truth("bad"))
	usual := w.largest()
	want, polled := w.truth("bad"), 0.

	if f.wrong != nil {
		w.said("bad", *f.wrong)
	}
	end := f.begin(w)
	w.settled("when it begins", time.Now())
	w.step()
	during := w.settled("while it lasts", time.Now())
	if f.result == success {
		want, polled = w.truth("bad"), 1
	}
	if f.wrong != nil {
		want = []importState{*f.wrong, *f.wrong}
	}
	w.check("while it lasts", during, "bad", polled, want)
	w.checkPolls(before, during, f.result)

	if end != nil {
		end()
	}
	w.step()
	after := w.settled("afterwards", time.Now().Add(f.lasts))
	w.check("afterwards", after, "bad", 1, w.truth("bad"))
	w.await(fmt.Sprintf("the exporter is as small as before, %+v", usual), time.Now(), func(s sample) bool { return s.size().within(usual) })
}

// faultWorld is the exporter between three lakeFS, of which two, good and other,
// have nothing to do with the fault. Each has two imports: one that moves, and
// one whose count rests.
type faultWorld struct {
	*exporter
	t        *testing.T
	dir      string
	args     []string
	offset   time.Duration // that scrapes end sooner than Prometheus would wait
	env      []string
	settings map[string]string // more of the config of servers, by name
	host     string            // that bad has in the config
	tls      *tls.Config       // of bad
	shown    atomic.Pointer[tls.Certificate]
	dns      string // address of a DNS server
	stopDNS  func()

	lakeFS map[string]*lakefstest.Server
	clock  map[string]*lakefstest.Clock // they stand still but for step
	refs   map[string][]lakefs.Ref
	proxy  *lakefstest.Proxy // in front of bad

	scraping sync.Mutex // held while a scrape is under way
	mu       sync.Mutex
	samples  []sample
	known    map[string][]importState // what the servers have said, by name
}

// sample is what a scrape was answered.
type sample struct {
	begin  time.Time
	values map[string]float64
	many   int // series of imports that removeMany removes
}

// began is when the imports began.
var began = time.Now().Add(-2 * time.Hour).Truncate(time.Second)

const objectsPerSecond, objectsAtRest = 123, 12345

func newFaultWorld(t *testing.T, prepare func(*faultWorld)) *faultWorld {
	t.Helper()
	w := &faultWorld{
		t: t, dir: t.TempDir(), host: "127.0.0.1",
		args: []string{"--web.enable-lifecycle"}, offset: 5 * time.Second,
		settings: map[string]string{}, lakeFS: map[string]*lakefstest.Server{}, clock: map[string]*lakefstest.Clock{},
		refs: map[string][]lakefs.Ref{}, known: map[string][]importState{},
	}
	if prepare != nil {
		prepare(w)
	}
	for name, config := range map[string]*tls.Config{"good": nil, "other": nil, "bad": w.tls} {
		clock := lakefstest.NewClock(began.Add(2 * time.Hour))
		lakeFS := newLakeFS(t, lakefstest.Options{Clock: clock.Now, TLS: config})
		w.lakeFS[name], w.clock[name] = lakeFS, clock
		for _, script := range []lakefstest.Script{
			{Objects: 1e9, Rate: objectsPerSecond},
			{Objects: objectsAtRest, Committing: 10_000 * time.Hour},
		} {
			w.refs[name] = append(w.refs[name], lakeFS.StartAt(lakefs.Ref{Repository: name, Branch: "main"}, script, began))
		}
		w.said(name, w.truth(name)...)
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
		if err := os.Chtimes(filepath.Join(w.dir, file), began, began); err != nil {
			t.Fatal(err)
		}
	}
	write(t, w.dir, "config.yml", w.config("", ""))
	w.exporter = start(t, w.dir, w.env, append(w.args, fmt.Sprintf("--timeout-offset=%g", w.offset.Seconds()))...)
	stopped := make(chan struct{})
	var scraper sync.WaitGroup
	scraper.Go(func() { w.scrapeUntil(stopped) })
	t.Cleanup(func() {
		close(stopped)
		scraper.Wait()
	})
	return w
}

// config returns the config, with more servers and imports in it.
func (w *faultWorld) config(servers, imports string) string {
	var b strings.Builder
	b.WriteString("servers:\n")
	for _, name := range []string{"good", "other", "bad"} {
		url := w.lakeFS[name].URL
		if name == "bad" {
			scheme, _, _ := strings.Cut(url, ":")
			_, port, _ := strings.Cut(w.proxy.Addr, ":")
			url = scheme + "://" + w.host + ":" + port
		}
		// One request at a time takes one connection.
		b.WriteString(w.serverYAML(name, url) + "  timeout: 1m\n  max_concurrent_requests: 1\n" + w.settings[name])
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

// truth returns what a lakeFS knows of its imports.
func (w *faultWorld) truth(server string) []importState {
	seconds := math.Trunc(w.clock[server].Now().Sub(began).Seconds())
	updated := float64(began.Unix()) + seconds
	return []importState{{objectsPerSecond * seconds, updated}, {objectsAtRest, updated}}
}

// said notes what a lakeFS says of imports.
func (w *faultWorld) said(server string, states ...importState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known[server] = append(w.known[server], states...)
}

// setClocks moves the clocks of some lakeFS between two scrapes.
func (w *faultWorld) setClocks(by time.Duration, servers ...string) {
	w.scraping.Lock()
	defer w.scraping.Unlock()
	for _, server := range servers {
		w.clock[server].Advance(by)
		w.said(server, w.truth(server)...)
	}
}

func (w *faultWorld) step() { w.setClocks(step, "good", "other", "bad") }

// scrapeUntil scrapes as Prometheus does, but more often. Every answer must be
// in time, tell of good and other as if nothing were the matter, and of bad
// nothing that it has not said.
func (w *faultWorld) scrapeUntil(stopped <-chan struct{}) {
	for {
		w.scrapeOnce()
		select {
		case <-stopped:
			return
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func (w *faultWorld) scrapeOnce() {
	w.scraping.Lock()
	defer w.scraping.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/metrics", http.NoBody)
	if err != nil {
		w.t.Error(err)
		return
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(scrapeTimeout.Seconds(), 'f', -1, 64))
	s := sample{begin: time.Now()}
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Errorf("a scrape was not answered: %v", err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Errorf("a scrape was answered with status %d, %v", resp.StatusCode, err)
		return
	}
	rest, many := withoutMany(string(body))
	s.values, s.many = series(w.t, rest), many
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples = append(w.samples, s)
	for server, refs := range w.refs {
		for _, ref := range refs {
			state := importState{s.values[of("ingested_objects", server, ref)], s.values[of("update_timestamp_seconds", server, ref)]}
			if !slices.Contains(w.known[server], state) {
				w.t.Errorf("%s of %s is said to be at %v, which its lakeFS never said", ref, server, state)
			}
			if server != "bad" && s.values[of("poll_success", server, ref)] != 1 {
				w.t.Errorf("%s of %s was not polled", ref, server)
			}
		}
	}
}

// await returns the first sample of a scrape that begins no sooner than after
// and fulfils condition, if there is one.
func (w *faultWorld) await(what string, after time.Time, condition func(sample) bool) sample {
	w.t.Helper()
	var last size
	for deadline := time.Now().Add(patience + time.Until(after)); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		w.mu.Lock()
		samples := slices.Clone(w.samples)
		w.mu.Unlock()
		if i := slices.IndexFunc(samples, func(s sample) bool { return !s.begin.Before(after) && condition(s) }); i >= 0 {
			return samples[i]
		} else if len(samples) > 0 {
			last = samples[len(samples)-1].size()
		}
	}
	w.t.Fatalf("gave up waiting: %s; it is %+v", what, last)
	return sample{}
}

// settled returns the first sample that must tell how things are since a time:
// one more than a second, for which imports are not polled again, after another.
// In it, good and other must be right.
func (w *faultWorld) settled(when string, since time.Time) sample {
	w.t.Helper()
	anyOne := func(sample) bool { return true }
	first := w.await("a scrape "+when, since, anyOne)
	s := w.await("another scrape "+when, first.begin.Add(time.Second), anyOne)
	for _, server := range []string{"good", "other"} {
		w.check(when, s, server, 1, w.truth(server))
	}
	return s
}

// check holds what s tells of a server's imports against what it must.
func (w *faultWorld) check(when string, s sample, server string, polled float64, states []importState) {
	w.t.Helper()
	got, want := map[string]float64{}, map[string]float64{}
	for i, ref := range w.refs[server] {
		for metric, value := range map[string]float64{
			"ingested_objects": states[i].objects, "update_timestamp_seconds": states[i].updated,
			"completed": 0, "error": 0, "canceled": 0, "found": 1, "poll_success": polled,
		} {
			key := of(metric, server, ref)
			want[key] = value
			if value, ok := s.values[key]; ok {
				got[key] = value
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s, %s (-want +got):\n%s", when, server, diff)
	}
}

// checkPolls reports polls between a and b that did not end with success, but
// those of bad that ended with result, of which there must be some.
func (w *faultWorld) checkPolls(a, b sample, result string) {
	w.t.Helper()
	expected := fmt.Sprintf("lakefs_import_exporter_polls_total{result=%q,server=%q}", result, "bad")
	for key, value := range b.values {
		if !strings.HasPrefix(key, "lakefs_import_exporter_polls_total{") {
			continue
		}
		grown := value > a.values[key]
		if key == expected && !grown {
			w.t.Errorf("%s does not grow", key)
		}
		if key != expected && grown && !strings.Contains(key, `result="success"`) {
			w.t.Errorf("%s grows", key)
		}
	}
}

// size is how much the exporter takes.
type size struct{ goroutines, files, heap float64 }

func (s sample) size() size {
	return size{s.values["go_goroutines{}"], s.values["process_open_fds{}"], s.values["go_memstats_heap_alloc_bytes{}"]}
}

// largest returns the most of everything that there was in any sample.
func (w *faultWorld) largest() (most size) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.samples {
		is := s.size()
		most = size{max(most.goroutines, is.goroutines), max(most.files, is.files), max(most.heap, is.heap)}
	}
	return most
}

// within reports whether s is no larger than most, but for a connection of the
// test's own, and for buffers that are kept.
func (s size) within(most size) bool {
	return s.goroutines <= most.goroutines+1 && s.files <= most.files+1 && s.heap <= most.heap+3<<20
}

// hurry has scrapes end after five seconds, where every one waits that long.
func hurry(w *faultWorld) { w.offset = scrapeTimeout - 5*time.Second }

// proxied lets the proxy in front of bad misbehave.
func proxied(trouble lakefstest.Trouble) func(*faultWorld) func() {
	return func(w *faultWorld) func() {
		set := func(trouble lakefstest.Trouble) {
			if err := w.proxy.Set(trouble); err != nil {
				w.t.Fatal(err)
			}
		}
		set(trouble)
		return func() { set(lakefstest.Forward) }
	}
}

// answer lets bad answer with f.
func answer(f lakefstest.Fault) func(*faultWorld) func() {
	return func(w *faultWorld) func() {
		return w.lakeFS["bad"].Inject(lakefstest.Everything, f)
	}
}

// setClock sets bad's clock for good.
func setClock(by time.Duration) func(*faultWorld) func() {
	return func(w *faultWorld) func() {
		w.setClocks(by, "bad")
		return func() { w.setClocks(-by, "bad") }
	}
}

// speakTLS has bad speak HTTPS.
func speakTLS(w *faultWorld) {
	certificates(w.t, w.dir)
	w.tls = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return w.shown.Load(), nil }}
	w.settings["bad"] += "  tls_config: {ca_file: ca.crt}\n"
	showCertificateNow(w, "server")
}

func showCertificateNow(w *faultWorld, name string) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(w.dir, name+".crt"), filepath.Join(w.dir, name+".key"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.shown.Store(&cert)
}

// showCertificate has bad show another certificate, over new connections.
func showCertificate(name string) func(*faultWorld) func() {
	return func(w *faultWorld) func() {
		showCertificateNow(w, name)
		w.proxy.Reset()
		return func() { showCertificateNow(w, "server") }
	}
}

// spoil puts bytes into every string that bad says: of its own imports, and of
// two that have ended. These are probed, so that nothing is remembered of them.
func spoil(bytes, shown string) func(*faultWorld) func() {
	const common = `"ingested_objects":7,"metarange_id":"aXb","commit":{"id":"aXb","message":"aXb","committer":"aXb","meta_range_id":"aXb",` +
		`"creation_date":1795344655,"parents":["aXb"],"metadata":{"aXb":"aXb"}},"error":{"message":"aXb"}}`
	return func(w *faultWorld) func() {
		lakeFS := w.lakeFS["bad"]
		remove := lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{
			Body: strings.ReplaceAll(`{"completed":false,"update_time":"2026-11-22T10:51:27ZX",`+common, "X", bytes),
		})
		for id, body := range map[string]string{
			"failed":    `{"completed":false,"update_time":"2026-11-22T10:51:27Z",` + common,
			"succeeded": strings.Replace(`{"completed":true,"update_time":"2026-11-22T10:51:27Z",`+common, `,"error":{"message":"aXb"}`, "", 1),
		} {
			ref := lakefs.Ref{Repository: "spoiled", Branch: "main", ID: id}
			defer lakeFS.Inject(lakefstest.StatusOf(ref), lakefstest.Fault{Body: strings.ReplaceAll(body, "X", bytes)})()
			got := w.get("/probe?server=bad&target=" + ref.String())
			want := `lakefs_import_error_info{branch="main",import_id="failed",message="aXb",repository="spoiled",server="bad"} 1`
			if id == "succeeded" {
				want = `lakefs_import_commit_info{branch="main",commit_id="aXb",import_id="succeeded",metarange_id="aXb",repository="spoiled",server="bad"} 1`
			}
			if want = strings.ReplaceAll(want, "X", shown); !strings.Contains(got, want) {
				w.t.Errorf("no %s in\n%s", want, got)
			}
		}
		return remove
	}
}

// resolveByName gives bad a name in the config, and the exporter a DNS server of
// its own.
func resolveByName(w *faultWorld) {
	w.host, w.dns = "lakefs.test", fmt.Sprintf("127.53.%d.%d", rand.IntN(256), 1+rand.IntN(254))
	w.env = append(w.env, "GODEBUG=netdns=go")
	write(w.t, w.dir, "resolv.conf", "nameserver "+w.dns+"\n")
	// What this thread starts has the other file. Nobody else gets the thread.
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err == nil {
		err = unix.Mount(filepath.Join(w.dir, "resolv.conf"), "/etc/resolv.conf", "", unix.MS_BIND, "")
	}
	switch {
	case err != nil && os.Getenv("CI") == "true":
		w.t.Fatalf("another resolv.conf cannot be mounted, and CI must not do without it: %v", err)
	case err != nil:
		w.t.Skipf("SKIPPED: another resolv.conf cannot be mounted, which takes root: %v", err)
	}
	w.stopDNS = serveDNS(w.t, w.dns)
}

// serveDNS has 127.0.0.1 as the address of everything.
func serveDNS(t *testing.T, address string) (stop func()) {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", address+":53")
	if err != nil {
		t.Fatal(err)
	}
	var server sync.WaitGroup
	server.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, client, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if err := m.Unpack(buf[:n]); err != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
					Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
				}}
			}
			if packed, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, client)
			}
		}
	})
	stop = sync.OnceFunc(func() {
		conn.Close()
		server.Wait()
	})
	t.Cleanup(stop)
	return stop
}

func stopDNS(w *faultWorld) func() {
	w.stopDNS()
	w.proxy.Reset()
	return func() { serveDNS(w.t, w.dns) }
}

// limit sets a soft limit of the exporter, and returns what lifts it.
func (w *faultWorld) limit(resource int, n uint64) func() {
	w.t.Helper()
	pid := w.cmd.Process.Pid
	var before unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &before); err != nil {
		w.t.Fatal(err)
	}
	if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: n, Max: before.Max}, nil); err != nil {
		w.t.Fatal(err)
	}
	return func() {
		if err := unix.Prlimit(pid, resource, &before, nil); err != nil {
			w.t.Fatal(err)
		}
	}
}

// takeFiles leaves the exporter with the files that it has open, and breaks its
// connections to bad, so that it wants new ones.
func takeFiles(w *faultWorld) func() {
	lift := w.limit(unix.RLIMIT_NOFILE, 3)
	w.proxy.Reset()
	return lift
}

// fillDisk lets the exporter write no more, and gives it something to write: an
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
	w.await("a storage error", time.Now(), func(s sample) bool {
		return s.values["lakefs_import_exporter_storage_errors_total{}"] > 0 && s.values[of("completed", "good", ref)] == 1
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

// reload reloads the config, with success or without.
func (w *faultWorld) reload(want int) {
	w.t.Helper()
	if resp, body := w.send(http.MethodPost, "/-/reload"); resp.StatusCode != want {
		w.t.Errorf("reload: got %d %s, want %d", resp.StatusCode, body, want)
	}
}

func deleteConfig(w *faultWorld) func() {
	path := filepath.Join(w.dir, "config.yml")
	if err := os.Rename(path, path+".away"); err != nil {
		w.t.Fatal(err)
	}
	w.reload(http.StatusInternalServerError)
	w.await("the failed reload shows", time.Now(), func(s sample) bool { return s.values[reloadOK] == 0 })
	return func() {
		if err := os.Rename(path+".away", path); err != nil {
			w.t.Fatal(err)
		}
		w.reload(http.StatusOK)
		w.await("the reload shows", time.Now(), func(s sample) bool { return s.values[reloadOK] == 1 })
	}
}

// withoutMany returns body without the series of the imports that removeMany
// removes, and how many lines these take.
func withoutMany(body string) (rest string, removed int) {
	var b strings.Builder
	for line := range strings.Lines(body) {
		if strings.Contains(line, `repository="many"`) {
			removed++
		} else {
			b.WriteString(line)
		}
	}
	return b.String(), removed
}

// removeMany has 10,000 imports of a server watched, and then no more. The server
// asks to be left alone: polls of so many would take the race detector too long.
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
	w.await("all of them show", time.Now(), func(s sample) bool { return s.many == many })
	write(w.t, w.dir, "config.yml", w.config("", ""))
	w.reload(http.StatusOK)
	w.await("none of them shows", time.Now(), func(s sample) bool { return s.many == 0 })
	return nil
}
