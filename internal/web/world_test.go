package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	kitlog "github.com/go-kit/log"
	"go.uber.org/goleak"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/testworld"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// No test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	repo   = "my-repo"
	branch = "main"
	// testPatience is how long a test waits for what is bound to happen.
	testPatience = 30 * time.Second
)

// import50k runs for 100 seconds.
var import50k = lakefstest.Script{Objects: 50_000, Rate: 500}

// world is the exporter behind a real HTTP server, and the lakeFS servers that
// it polls over TCP, all on one clock.
type world struct {
	*testworld.World
	handler http.Handler
	url     string // of the exporter
	reloads int    // of its configuration
}

// settings are what the options of a world can be changed in.
type settings struct {
	*Options
	collector *collector.Options
}

// newWorld returns a world that watches nothing yet.
func newWorld(t testing.TB, change ...func(settings)) *world {
	t.Helper()
	w := &world{}
	opts := Options{
		Logger:        kitlog.NewNopLogger(),
		Reload:        func(context.Context) error { w.reloads++; return nil },
		TelemetryPath: "/metrics",
		TimeoutOffset: 500 * time.Millisecond,
		Version:       "1.2.3",
	}
	w.World = testworld.New(t, func(collectorOpts *collector.Options) {
		for _, f := range change {
			f(settings{&opts, collectorOpts})
		}
	})
	opts.Collector, opts.Registry = w.Collector, w.Registry
	w.handler = New(opts)
	w.url = serve(t, w.handler, (*httptest.Server).Start).URL
	return w
}

// serve starts a server with the limits that ship, except for what change changes.
func serve(t testing.TB, handler http.Handler, start func(*httptest.Server), change ...func(*http.Server)) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.Config = NewServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	for _, f := range change {
		f(server.Config)
	}
	start(server)
	t.Cleanup(server.Close)
	return server
}

// startTLS starts a server of an HTTP protocol, with TLS.
func startTLS(protocol string) func(*httptest.Server) {
	return func(s *httptest.Server) {
		s.EnableHTTP2 = protocol == "HTTP/2.0"
		s.StartTLS()
	}
}

// watchMany has n imports of a server watched that are not in lakeFS.
func (w *world) watchMany(server string, n int) {
	for i := range n {
		w.Config.Imports = append(w.Config.Imports, &collector.Import{
			Key:    collector.Key{Server: server, Repository: repo, ID: fmt.Sprintf("import-%06d", i)},
			Branch: branch, NoProgressAfter: time.Hour,
		})
	}
	w.Apply()
}

// importID is that of the import on each of two servers: both count from one.
const (
	importID   = "dc1chsrcddimcso0000g"
	importPath = "/api/v1/imports/my-repo/main/" + importID
)

// twoServers watches an import on each of prod and dev: prod's is running, with
// everything that a user can say about it, and dev's has failed. It also watches
// two repositories.
func (w *world) twoServers() (prod, dev *lakefstest.Server) {
	w.T.Helper()
	prod, dev = w.AddLakeFS("prod", 0), w.AddLakeFS("dev", 0)
	w.Config.Repositories = []collector.Repository{
		{Server: "prod", Name: "fresh", MaxImportAge: 26 * time.Hour, Labels: map[string]string{"team": "ingest"}},
		{Server: "prod", Name: "missing"},
	}
	prod.StartAt(lakefs.Ref{Repository: "fresh", Branch: branch, ID: "fresh"}, lakefstest.Script{}, w.Clock.Now().Add(-time.Hour))
	w.Watch("prod", prod.Start(repo, branch, import50k), func(i *collector.Import) {
		i.ExpectedObjects = 50_000
		i.NoProgressAfter = 2 * time.Hour
		i.MaxDuration = 6 * time.Hour
		i.Labels = map[string]string{"team": "ingest & <friends>"}
	})
	w.Watch("dev", dev.Start(repo, branch, lakefstest.Script{Objects: 9, End: lakefstest.Failure}))
	w.Clock.Advance(30 * time.Second)
	return prod, dev
}

// send sends a request, to which nothing is added, and reads the answer, from
// which nothing is taken. The header is in pairs. It can be called by several
// goroutines.
func (w *world) send(ctx context.Context, method, path, body string, header ...string) (*http.Response, string) {
	w.T.Helper()
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.T.Error(err)
		return &http.Response{}, ""
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		w.T.Error(err)
		return &http.Response{}, ""
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		w.T.Error(err)
	}
	return resp, string(answer)
}

// ask is send that returns the status.
func (w *world) ask(method, path, body string, header ...string) (int, string) {
	w.T.Helper()
	resp, answer := w.send(w.T.Context(), method, path, body, header...)
	return resp.StatusCode, answer
}

func (w *world) get(path string, header ...string) (int, string) {
	w.T.Helper()
	return w.ask(http.MethodGet, path, "", header...)
}

// getJSON decodes the answer to a GET, which must have status 200.
func getJSON[T any](w *world, path string) (v T) {
	w.T.Helper()
	status, body := w.get(path)
	if err := json.Unmarshal([]byte(body), &v); err != nil || status != http.StatusOK {
		w.T.Errorf("%s: %d %.300s, %v", path, status, body, err)
	}
	return v
}

// volatile is what depends on this machine or is only for people to read, and
// what it becomes in golden files.
var volatile = map[string]*regexp.Regexp{
	"# HELP ${1} TEXT":      regexp.MustCompile(`(?m)^# HELP (\S+) .*$`),
	"${1} SECONDS":          regexp.MustCompile(`(?m)^(lakefs_import_exporter_poll_duration_seconds_(?:bucket|sum)\{.*\}) \S+$`),
	"http://127.0.0.1:PORT": regexp.MustCompile(`http://127\.0\.0\.1:\d+`),
}

// golden compares what in got is not volatile with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	for with, pattern := range volatile {
		got = pattern.ReplaceAllString(got, with)
	}
	testworld.Golden(t, name, got)
}

// indented returns one line of JSON as several.
func indented(t *testing.T, line string) string {
	t.Helper()
	if strings.Index(line, "\n") != len(line)-1 {
		t.Errorf("not one line: %q", line)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(line), "", "  "); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return b.String()
}

func gunzip(t *testing.T, s string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	r.Multistream(false)
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// memoryStore is a Store that is lost with the process.
type memoryStore struct {
	err  error           // of every Update
	hang <-chan struct{} // what every Update waits for, if not nil
}

func (memoryStore) Load() (collector.Stored, error) { return collector.Stored{}, nil }

func (s memoryStore) Update(collector.Changes) error {
	if s.hang != nil {
		<-s.hang
	}
	return s.err
}

// newAPIWorld returns a world with all that can be enabled, and room for three
// imports. It has the servers prod and dev, and one import in the config.
func newAPIWorld(t testing.TB, store memoryStore) (w *world, prod *lakefstest.Server) {
	t.Helper()
	w = newWorld(t, func(s settings) {
		s.collector.Store = store
		s.EnableImportAPI, s.EnableLifecycle = true, true
	})
	prod = w.AddLakeFS("prod", 0)
	w.AddLakeFS("dev", 0)
	w.Watch("prod", lakefs.Ref{Repository: repo, Branch: branch, ID: "in-config"})
	return w, prod
}

const apiPath = "/api/v1/imports/my-repo/main/"

// pathOf returns the path of an import in the API.
func pathOf(ref lakefs.Ref) string { return "/api/v1/imports/" + ref.String() }
