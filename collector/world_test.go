package collector_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// No test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// world is a lakeFS and a collector that watches it.
type world struct {
	t             *testing.T
	clock, theirs *lakefstest.Clock // the exporter's and lakeFS's
	lakeFS        *lakefstest.Server
	collector     *collector.Collector
	close         func() error // closes the collector, once
	store         *fakeStore   // nil for none
	registry      *prometheus.Registry
	log           logLines
	cfg           collector.Config
	// onNow, if set, is called once by what next asks the exporter's clock.
	onNow atomic.Pointer[func()]
}

func newWorld(t *testing.T, change ...func(*collector.Options)) *world {
	t.Helper()
	return newWorldWith(t, nil, change...)
}

// newWorldWith is newWorld with a store, or nil for none.
func newWorldWith(t *testing.T, store *fakeStore, change ...func(*collector.Options)) *world {
	t.Helper()
	now := time.Date(2026, 11, 22, 10, 50, 27, 374205733, time.UTC)
	w := &world{t: t, store: store, clock: lakefstest.NewClock(now), theirs: lakefstest.NewClock(now)}
	var err error
	if w.lakeFS, err = lakefstest.New(lakefstest.Options{Clock: w.theirs.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.lakeFS.Close)
	w.cfg.Servers = []collector.Server{w.server("prod", lakefstest.SecretAccessKey)}
	w.start(change...)
	return w
}

// start starts the exporter, anew if it was started before.
func (w *world) start(change ...func(*collector.Options)) {
	w.t.Helper()
	w.registry = prometheus.NewRegistry()
	opts := collector.Options{
		Now: w.Now, Logger: level.NewFilter(log.NewLogfmtLogger(&w.log), level.AllowInfo()), Registerer: w.registry,
		FinishedFor: 24 * time.Hour, Retention: 24 * time.Hour, MaxRegistered: 1000,
	}
	if w.store != nil {
		opts.Store = w.store
	}
	for _, f := range change {
		f(&opts)
	}
	c, err := collector.New(opts)
	if err != nil {
		w.t.Fatal(err)
	}
	closeOnce := sync.OnceValue(c.Close)
	w.t.Cleanup(func() { _ = closeOnce() })
	w.collector, w.close = c, closeOnce
	c.Apply(w.cfg)
}

// newCollector returns a collector that goes by the real clock, or that of a
// synctest bubble.
func newCollector(t *testing.T, change ...func(*collector.Options)) *collector.Collector {
	t.Helper()
	opts := collector.Options{Now: time.Now, Logger: log.NewNopLogger(), Registerer: prometheus.NewRegistry()}
	for _, f := range change {
		f(&opts)
	}
	c, err := collector.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// server returns the settings of a server that is this lakeFS.
func (w *world) server(name, secret string) collector.Server {
	w.t.Helper()
	httpConfig := config.DefaultHTTPClientConfig
	httpConfig.BasicAuth = &config.BasicAuth{Username: lakefstest.AccessKeyID, Password: config.Secret(secret)}
	client, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: w.lakeFS.URL, HTTP: httpConfig})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.CloseIdleConnections)
	return collector.Server{Name: name, Client: client, Timeout: time.Minute, MaxConcurrentRequests: 32}
}

func (w *world) Now() time.Time {
	if f := w.onNow.Swap(nil); f != nil {
		(*f)()
	}
	return w.clock.Now()
}

func (w *world) advance(d time.Duration) {
	w.theirs.Advance(d)
	w.clock.Advance(d)
}

func newImport(ref lakefs.Ref, change ...func(*collector.Import)) collector.Import {
	imp := collector.Import{Key: keyOf(ref), Branch: ref.Branch, NoProgressAfter: collector.DefaultNoProgressAfter}
	for _, f := range change {
		f(&imp)
	}
	return imp
}

func keyOf(ref lakefs.Ref) collector.Key {
	return collector.Key{Server: "prod", Repository: ref.Repository, ID: ref.ID}
}

// watch adds an import to the config.
func (w *world) watch(ref lakefs.Ref, change ...func(*collector.Import)) collector.Key {
	imp := newImport(ref, change...)
	w.cfg.Imports = append(slices.Clip(w.cfg.Imports), &imp)
	w.collector.Apply(w.cfg)
	return imp.Key
}

// watchNew starts an import and watches it.
func (w *world) watchNew(script lakefstest.Script, change ...func(*collector.Import)) lakefs.Ref {
	ref := w.lakeFS.Start(repo, branch, script)
	w.watch(ref, change...)
	return ref
}

// watchMany starts n imports, each in a repository of its own, and watches them.
func (w *world) watchMany(n int, script lakefstest.Script) []collector.Key {
	keys := make([]collector.Key, n)
	for i := range keys {
		keys[i] = w.watch(w.lakeFS.Start(fmt.Sprintf("repo-%02d", i), branch, script))
	}
	return keys
}

// ask is a scrape, a GET or a probe.
type ask func(context.Context) *collector.Snapshot

func (w *world) scraping(ctx context.Context) *collector.Snapshot {
	w.collector.Poll(ctx)
	return w.collector.Snapshot()
}

func (w *world) getting(key collector.Key) ask {
	return func(ctx context.Context) *collector.Snapshot {
		v, _ := w.collector.Import(ctx, key)
		return &collector.Snapshot{Imports: []collector.ImportView{v}}
	}
}

func (w *world) probing(key collector.Key) ask {
	return func(ctx context.Context) *collector.Snapshot { return w.collector.Probe(ctx, key, branch) }
}

func (w *world) scrape() *collector.Snapshot { return w.scraping(context.Background()) }

func (w *world) get(key collector.Key) *collector.ImportView {
	return &w.getting(key)(context.Background()).Imports[0]
}

func (w *world) probe(key collector.Key) *collector.Snapshot {
	return w.probing(key)(context.Background())
}

// after scrapes some time later.
func (w *world) after(d time.Duration) *collector.Snapshot {
	w.advance(d)
	return w.scrape()
}

// watched returns what is known of an import without a poll.
func (w *world) watched(key collector.Key) *collector.ImportView {
	w.t.Helper()
	v, ok := w.collector.Watched(key)
	if !ok {
		w.t.Fatalf("%v is not watched", key)
	}
	return &v
}

// answer has lakeFS answer requests for a status with a heartbeat of now, and
// the rest of its JSON object.
func (w *world) answer(rest string) (remove func()) {
	body := `{"update_time":"` + w.theirs.Now().Format(time.RFC3339Nano) + `",` + rest + `}`
	return w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{Body: body})
}

// gate keeps requests to lakeFS waiting until it is released.
type gate struct {
	arrived chan string // imports that were asked for, in the order of the requests
	release func()
}

func (w *world) hold(match lakefstest.Match) *gate {
	open := make(chan struct{})
	g := &gate{arrived: make(chan string, 1000), release: sync.OnceFunc(func() { close(open) })}
	w.t.Cleanup(g.release)
	w.lakeFS.Inject(func(r *http.Request) bool {
		ok := match(r)
		if ok {
			g.arrived <- r.URL.Query().Get("id")
		}
		return ok
	}, lakefstest.Fault{Hold: open})
	return g
}

// await waits for n requests and returns which imports they are for.
func (g *gate) await(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = <-g.arrived
	}
	return ids
}

// deadline is a context that ends when the test says so, with the error err.
type deadline struct {
	context.Context
	err     error
	waiting chan struct{} // closed once the context is waited for
	ended   chan struct{}
	once    sync.Once
}

func (d *deadline) Done() <-chan struct{} {
	d.once.Do(func() { close(d.waiting) })
	return d.ended
}

func (d *deadline) Err() error {
	select {
	case <-d.ended:
		return d.err
	default:
		return nil
	}
}

// begin asks, and returns when that waits for lakeFS. It waits until end is
// called, if lakeFS does not answer before, and then with the error err.
func begin(err error, do ask) (end func(), result <-chan *collector.Snapshot) {
	ctx := &deadline{Context: context.Background(), err: err, waiting: make(chan struct{}), ended: make(chan struct{})}
	done := make(chan *collector.Snapshot, 1)
	go func() { done <- do(ctx) }()
	select {
	case <-ctx.waiting:
	case s := <-done: // it did not wait
		done <- s
	}
	return func() { close(ctx.ended) }, done
}

// wait is begin for what need not be ended.
func wait(do ask) (result <-chan *collector.Snapshot) {
	_, result = begin(nil, do)
	return result
}

// everyImport fails the test for imports of s for which ok is false.
func everyImport(t *testing.T, s *collector.Snapshot, want string, ok func(v *collector.ImportView) bool) {
	t.Helper()
	for i := range s.Imports {
		if v := &s.Imports[i]; !ok(v) {
			t.Errorf("%v: want %s: %s, %+v, seen at %v", v.Key, want, v.State, v.Poll, v.StatusAt)
		}
	}
}

func allSucceed(t *testing.T, s *collector.Snapshot) {
	t.Helper()
	everyImport(t, s, "success", (*collector.ImportView).PollSuccess)
}

// counts returns the counters or gauges of one name, or how often a histogram
// observed something, summed by the values of a label; those that are 0 are left out.
func (w *world) counts(name, label string) map[string]float64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			value := ""
			for _, l := range m.Label {
				if l.GetName() == label {
					value = l.GetValue()
				}
			}
			if n := m.Counter.GetValue() + m.Gauge.GetValue() + float64(m.Histogram.GetSampleCount()); n > 0 {
				counts[value] += n
			}
		}
	}
	return counts
}

func (w *world) polls() map[string]float64 {
	w.t.Helper()
	return w.counts("lakefs_import_exporter_polls_total", "result")
}

func (w *world) finished() map[string]float64 {
	w.t.Helper()
	return w.counts("lakefs_imports_finished_total", "outcome")
}

func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// text returns what Prometheus is given in the text format. The other formats
// must say the same.
func text(t *testing.T, s *collector.Snapshot) string {
	t.Helper()
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	var gathered []*dto.MetricFamily
	for _, f := range s.Families() {
		if err := f.WriteText(w); err != nil {
			t.Fatal(err)
		}
		if g := f.Gather(); len(g.Metric) > 0 {
			gathered = append(gathered, g)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	parsed, err := parser.TextToMetricFamilies(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, b.String())
	}
	equal(t, "text and protobuf", canonical(t, gathered), canonical(t, slices.Collect(maps.Values(parsed))))
	return b.String()
}

// canonical writes families in a registry's order, after its checks for
// duplicates, bad names and bad UTF-8.
func canonical(t *testing.T, families []*dto.MetricFamily) string {
	t.Helper()
	gatherer := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })
	checked, err := prometheus.Gatherers{gatherer}.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range checked {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// lines returns the lines of the text format that begin with a prefix.
func lines(t *testing.T, s *collector.Snapshot, prefix string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(text(t, s)) {
		if strings.HasPrefix(line, prefix) {
			b.WriteString(line)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// logLines are the lines of a log.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, strings.TrimSpace(string(line)))
	return len(line), nil
}

// important returns the lines, none of which are for debugging.
func (l *logLines) important() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}
