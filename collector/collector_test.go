package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/expfmt"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// world is a lakeFS and a collector that watches it, on one clock.
type world struct {
	t         *testing.T
	lakeFS    *lakefstest.Server
	client    *lakefs.Client
	collector *Collector
	registry  *prometheus.Registry
	log       *safeBuffer
	cfg       Config

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{
		t:        t,
		now:      time.Date(2026, 11, 22, 10, 50, 27, 374205733, time.UTC),
		registry: prometheus.NewRegistry(),
		log:      &safeBuffer{},
	}
	var err error
	w.lakeFS, err = lakefstest.New(lakefstest.Options{Clock: w.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.lakeFS.Close)
	w.client = w.newClient(lakefstest.SecretAccessKey)
	w.collector, err = New(Options{Now: w.Now, Logger: log.NewLogfmtLogger(w.log), Registerer: w.registry})
	if err != nil {
		t.Fatal(err)
	}
	w.cfg.Servers = []Server{{Name: "prod", Client: w.client, Timeout: time.Minute, MaxConcurrentRequests: 32}}
	return w
}

func (w *world) newClient(secret string) *lakefs.Client {
	httpConfig := config.DefaultHTTPClientConfig
	httpConfig.BasicAuth = &config.BasicAuth{Username: lakefstest.AccessKeyID, Password: config.Secret(secret)}
	client, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: w.lakeFS.URL, HTTP: httpConfig, UserAgent: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.CloseIdleConnections)
	return client
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// watch adds an import to the config, and returns it.
func (w *world) watch(ref lakefs.Ref, change ...func(*Import)) Import {
	imp := Import{Key: Key{"prod", ref}, NoProgressAfter: DefaultNoProgressAfter}
	for _, f := range change {
		f(&imp)
	}
	if err := imp.Validate(); err != nil {
		w.t.Fatal(err)
	}
	w.cfg.Imports = append(w.cfg.Imports, imp)
	w.collector.Apply(w.cfg)
	return imp
}

func (w *world) scrape() *Snapshot {
	return w.collector.Scrape(context.Background())
}

// text returns what Prometheus would be given.
func text(t *testing.T, g prometheus.Gatherer) string {
	t.Helper()
	// Gatherers refuse what a registry would: duplicates, bad names, bad UTF-8.
	families, err := prometheus.Gatherers{g}.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// golden compares got with a file in testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// polls returns how many polls ended with each result, without those that
// none did.
func (w *world) polls() map[string]float64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "lakefs_import_exporter_polls_total" {
			continue
		}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if l.GetName() == "result" && m.Counter.GetValue() > 0 {
					counts[l.GetValue()] += m.Counter.GetValue()
				}
			}
		}
	}
	return counts
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

const (
	repo   = "my-repo"
	branch = "main"
)

// import50k runs for 100 seconds.
var import50k = lakefstest.Script{Objects: 50_000, Rate: 500}

func ending(end lakefstest.End, after time.Duration) lakefstest.Script {
	s := import50k
	s.End, s.EndAfter = end, after
	return s
}

// status returns a body of importStatus at the clock's now.
func (w *world) status(rest string) string {
	return `{"update_time":"` + w.Now().Format(time.RFC3339Nano) + `",` + rest + `}`
}

// What Prometheus, scripts and people are told of an import in every state it
// can get into, and by everything that can come between it and lakeFS.
func TestStates(t *testing.T) {
	for _, tc := range []struct {
		name  string
		state State
		polls map[string]float64
		play  func(w *world)
	}{
		{
			name: "running", state: Running, polls: map[string]float64{"success": 2},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, import50k), func(i *Import) {
					i.ExpectedObjects = 50_000
					i.NoProgressAfter = 2 * time.Hour
					i.Labels = map[string]string{"team": "ingest", "Zone": `a "quoted" \ zone`}
				})
				w.advance(30 * time.Second)
				w.scrape()
				w.advance(30 * time.Second)
				w.scrape()
			},
		},
		{
			name: "running_uuid", state: Running, polls: map[string]float64{"success": 1},
			play: func(w *world) {
				ref := lakefs.Ref{Repository: repo, Branch: branch, ID: "b6e2f7a0-51c9-4d7e-9f0a-2c1d8e4b7a35"}
				w.watch(w.lakeFS.StartAt(ref, import50k, w.Now()))
				w.advance(30 * time.Second)
				w.scrape()
			},
		},
		{
			name: "hung", state: Hung, polls: map[string]float64{"success": 2},
			play: func(w *world) {
				s := ending(lakefstest.Hang, 0)
				s.EndAtObjects = 30_000
				w.watch(w.lakeFS.Start(repo, branch, s), func(i *Import) { i.ExpectedObjects = 50_000 })
				w.advance(2 * time.Minute)
				w.scrape()
				w.advance(31 * time.Minute)
				w.scrape()
			},
		},
		{
			name: "committing", state: Running, polls: map[string]float64{"success": 2},
			play: func(w *world) {
				s := import50k
				s.Committing = 3 * time.Hour
				w.watch(w.lakeFS.Start(repo, branch, s), func(i *Import) { i.ExpectedObjects = 50_000 })
				w.advance(2 * time.Minute)
				w.scrape()
				w.advance(time.Hour)
				w.scrape()
			},
		},
		{
			name: "succeeded", state: Succeeded, polls: map[string]float64{"success": 1},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, import50k), func(i *Import) { i.ExpectedObjects = 50_000 })
				w.advance(5 * time.Minute)
				w.scrape()
				w.advance(time.Hour)
				w.scrape()
			},
		},
		{
			name: "failed", state: Failed, polls: map[string]float64{"success": 1},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, ending(lakefstest.Failure, 10*time.Second)))
				w.advance(time.Minute)
				w.scrape()
			},
		},
		{
			name: "failed_documented", state: Failed, polls: map[string]float64{"success": 1},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, import50k))
				w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{
					Body: w.status(`"completed":true,"error":{"message":"write range: read-only repository"}`),
				})
				w.scrape()
			},
		},
		{
			name: "canceled", state: Canceled, polls: map[string]float64{"success": 1},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, ending(lakefstest.Cancel, 10*time.Second)))
				w.advance(time.Minute)
				w.scrape()
			},
		},
		{
			name: "context_canceled", state: Failed, polls: map[string]float64{"success": 1},
			play: func(w *world) {
				s := ending(lakefstest.Failure, 10*time.Second)
				s.Message = "import error: error on ingest: context canceled"
				w.watch(w.lakeFS.Start(repo, branch, s))
				w.advance(time.Minute)
				w.scrape()
			},
		},
		{
			name: "orphaned", state: Stalled, polls: map[string]float64{"success": 2},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, import50k))
				w.advance(30 * time.Second)
				w.scrape()
				w.lakeFS.Restart()
				w.advance(3 * time.Minute)
				w.scrape()
			},
		},
		{
			name: "orphaned_and_expired", state: Stalled, polls: map[string]float64{"success": 1, "not_found": 1},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, import50k))
				w.lakeFS.Restart()
				w.advance(3 * time.Minute)
				w.scrape()
				w.advance(25 * time.Hour)
				w.lakeFS.Restart()
				w.scrape()
			},
		},
		{
			name: "never_found", state: NotFound, polls: map[string]float64{"not_found": 1},
			play: func(w *world) {
				w.lakeFS.AddRepository(repo)
				w.watch(lakefs.Ref{Repository: repo, Branch: branch, ID: "dc1chj1ksduerdki88b0"})
				w.scrape()
			},
		},
		{
			name: "vanished_while_running", state: Lost, polls: map[string]float64{"success": 1, "not_found": 1},
			play: func(w *world) {
				ref := w.lakeFS.Start(repo, branch, import50k)
				w.watch(ref)
				w.advance(30 * time.Second)
				w.scrape()
				w.lakeFS.Forget(ref)
				w.advance(30 * time.Second)
				w.scrape()
			},
		},
		{
			name: "vanished_after_success", state: Succeeded, polls: map[string]float64{"success": 1},
			play: func(w *world) {
				ref := w.lakeFS.Start(repo, branch, import50k)
				w.watch(ref)
				w.advance(5 * time.Minute)
				w.scrape()
				w.lakeFS.Forget(ref)
				w.advance(time.Minute)
				w.scrape()
			},
		},
		{
			name: "repository_deleted", state: Lost, polls: map[string]float64{"success": 1, "not_found": 1},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, import50k))
				w.advance(30 * time.Second)
				w.scrape()
				w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{Status: http.StatusGone})
				w.advance(30 * time.Second)
				w.scrape()
			},
		},
		{
			name: "ingress_404", state: Running, polls: map[string]float64{"success": 1, "bad_response": 1},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, import50k))
				w.advance(30 * time.Second)
				w.scrape()
				w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Status: 404, Body: "default backend - 404"})
				w.advance(30 * time.Second)
				w.scrape()
			},
		},
		{
			name: "down_from_the_start", state: Unknown, polls: map[string]float64{"connection": 1},
			play: func(w *world) {
				w.watch(lakefs.Ref{Repository: repo, Branch: branch, ID: "dc1chj1ksduerdki88b0"})
				w.lakeFS.Close()
				w.scrape()
			},
		},
		{
			name: "down_after_a_good_poll", state: Running, polls: map[string]float64{"success": 1, "connection": 1},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, import50k))
				w.advance(30 * time.Second)
				w.scrape()
				w.lakeFS.Close()
				w.advance(time.Hour)
				w.scrape()
			},
		},
		{
			name: "unauthorized", state: Unknown, polls: map[string]float64{"unauthorized": 1},
			play: func(w *world) {
				w.cfg.Servers[0].Client = w.newClient("wrong")
				w.watch(w.lakeFS.Start(repo, branch, import50k))
				w.scrape()
			},
		},
		{
			name: "rate_limited", state: Running, polls: map[string]float64{"success": 1, "rate_limited": 1},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, import50k))
				w.advance(30 * time.Second)
				w.scrape()
				w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Status: 429, Body: "slow down"})
				w.advance(15 * time.Second)
				w.scrape()
				w.advance(15 * time.Second)
				w.scrape()
			},
		},
		{
			name: "html", state: Unknown, polls: map[string]float64{"bad_response": 1},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, import50k))
				w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Body: "<!doctype html><title>Sign in</title>"})
				w.scrape()
			},
		},
		{
			name: "clock_ahead", state: Running, polls: map[string]float64{"success": 1},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, import50k))
				w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{
					Body: `{"completed":false,"ingested_objects":7,"update_time":"2026-11-22T11:50:27Z"}`,
				})
				w.scrape()
			},
		},
		{
			name: "year_one", state: Stalled, polls: map[string]float64{"success": 1},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, import50k))
				w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{
					Body: `{"completed":false,"update_time":"0001-01-01T00:00:00Z"}`,
				})
				w.scrape()
			},
		},
		{
			name: "hostile", state: Failed, polls: map[string]float64{"success": 1},
			play: func(w *world) {
				w.watch(w.lakeFS.Start(repo, branch, import50k))
				w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{
					Body: w.status(`"completed":false,"error":{"message":"` + "\xff\xfe" + `first\nsecond\u0000\u2028<script>alert(1)</script>\\\"` + strings.Repeat("ä", 4000) + `"}`),
				})
				w.scrape()
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			tc.play(w)
			// Nothing is polled anew for what is served now.
			snapshot := w.collector.Recent(context.Background(), time.Hour)
			if got := snapshot.Imports[0].State; got != tc.state {
				t.Errorf("state: got %s, want %s", got, tc.state)
			}
			if diff := cmp.Diff(tc.polls, w.polls()); diff != "" {
				t.Errorf("polls by result (-want +got):\n%s", diff)
			}
			if problems, err := testutil.GatherAndLint(snapshot); err != nil || len(problems) > 0 && tc.name != "running" {
				t.Errorf("lint: %v, %v", problems, err)
			}
			port := strings.TrimPrefix(w.lakeFS.URL, "http://127.0.0.1:")
			golden(t, filepath.Join("states", tc.name+".prom"), text(t, snapshot))
			golden(t, filepath.Join("states", tc.name+".json"), strings.ReplaceAll(indented(t, snapshot.Imports[0]), port, "PORT"))
		})
	}
}

func indented(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
