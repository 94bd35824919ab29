package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"lakefs_import_exporter/lakefs/lakefstest"
)

// counting is a Gatherer of the number of times it was asked. It answers when
// it is let.
type counting struct {
	times  float64
	answer chan struct{}
}

func (c *counting) Gather() ([]*dto.MetricFamily, error) {
	c.times++
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "gathered", Help: "How often."})
	g.Set(c.times)
	<-c.answer
	r := prometheus.NewRegistry()
	r.MustRegister(g)
	return r.Gather()
}

// Those who ask while an answer is written get the next, which is of then, and
// all the same if they want the same form.
func TestAnswersAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const readers = 10
		gatherer := &counting{answer: make(chan struct{})}
		e := newExposition(gatherer.Gather, promhttp.HandlerOpts{EnableOpenMetrics: true})
		var all sync.WaitGroup
		get := func(accept, query, want string) {
			all.Go(func() {
				answer := httptest.NewRecorder()
				r := httptest.NewRequest(http.MethodGet, "/metrics"+query, nil)
				r.Header.Set("Accept", accept)
				e.ServeHTTP(answer, r)
				if got := answer.Body.String(); answer.Code != http.StatusOK || !strings.HasSuffix(got, want) {
					t.Errorf("%q, %q: got %d %q", accept, query, answer.Code, got)
				}
			})
		}
		get("text/plain", "", "gathered 1\n")
		synctest.Wait()
		for range readers {
			get("text/plain", "", "gathered 2\n")
		}
		synctest.Wait()
		get("application/openmetrics-text", "", "gathered 3.0\n# EOF\n")
		synctest.Wait()
		get("text/plain", "?name[]=others", "")
		synctest.Wait()
		close(gatherer.answer)
		all.Wait()
		if gatherer.times != 4 {
			t.Errorf("gathered %g times", gatherer.times)
		}
	})
}

// Ten scrapers at once are the load of one on lakeFS, and each gets everything.
func TestManyScrapers(t *testing.T) {
	const imports, scrapers = 50, 10
	w := newWorld(t)
	lakeFS := w.addLakeFS("prod")
	for range imports {
		w.watch("prod", lakeFS.Start("my-repo", "main", lakefstest.Script{Objects: 1000, Rate: 1}))
	}
	w.collector.Apply(w.cfg)
	scrapeAll(t, w, scrapers, imports)
	if got := lakeFS.Stats().StatusRequests; got != imports {
		t.Errorf("%d requests for %d imports", got, imports)
	}
}

// scrapeAll scrapes with so many at once, each of which has to see all imports.
func scrapeAll(t *testing.T, w *world, scrapers, imports int) {
	t.Helper()
	var all sync.WaitGroup
	for range scrapers {
		all.Go(func() {
			answer := httptest.NewRecorder()
			w.handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			if got := strings.Count(answer.Body.String(), "\nlakefs_import_poll_success{"); got != imports {
				t.Errorf("%d imports, want %d", got, imports)
			}
		})
	}
	all.Wait()
}

// stuck is a reader that has stopped: a write to it ends when it is let.
type stuck struct {
	*httptest.ResponseRecorder
	begun, end chan struct{}
	once       sync.Once
}

func (s *stuck) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.begun) })
	<-s.end
	return len(p), nil
}

// A reader that stops reading holds up nobody else.
func TestStoppedReader(t *testing.T) {
	for name, header := range map[string]http.Header{
		"text":       {},
		"compressed": {"Accept-Encoding": {"gzip"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			lakeFS := w.addLakeFS("prod")
			w.watch("prod", lakeFS.Start("my-repo", "main", lakefstest.Script{Objects: 1000, Rate: 1}))
			w.collector.Apply(w.cfg)
			reader := &stuck{ResponseRecorder: httptest.NewRecorder(), begun: make(chan struct{}), end: make(chan struct{})}
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header = header
			var reading sync.WaitGroup
			reading.Go(func() { w.handler.ServeHTTP(reader, r) })
			<-reader.begun
			scrapeAll(t, w, 10, 1)
			close(reader.end)
			reading.Wait()
		})
	}
}

// What nobody waits for any more is not written, and who hangs up does not take
// the answer away from others.
func TestReadersThatHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gatherer := &counting{answer: make(chan struct{})}
		e := newExposition(gatherer.Gather, promhttp.HandlerOpts{})
		var all sync.WaitGroup
		get := func(ctx context.Context, names string) *httptest.ResponseRecorder {
			answer := httptest.NewRecorder()
			all.Go(func() {
				e.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics?"+names, nil))
			})
			synctest.Wait()
			return answer
		}
		get(t.Context(), "") // takes its time
		impatient, hangUp := context.WithCancel(t.Context())
		for range 3 {
			get(impatient, "name[]=others")
			get(impatient, "name[]=gathered")
		}
		patient := get(t.Context(), "name[]=gathered&whatever")
		hangUp()
		synctest.Wait()
		close(gatherer.answer)
		all.Wait()
		if got := patient.Body.String(); gatherer.times != 2 || !strings.HasSuffix(got, "gathered 2\n") {
			t.Errorf("gathered %g times: %s", gatherer.times, got)
		}
		if len(e.next) > 0 {
			t.Errorf("%d answers are kept", len(e.next))
		}
	})
}

// An answer that could not be written is no answer without series: to
// Prometheus, all would have ended.
func TestPanicIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := make(chan struct{})
		var gathered atomic.Int32
		e := newExposition(func() ([]*dto.MetricFamily, error) {
			if gathered.Add(1) == 1 {
				<-begin
				return nil, nil
			}
			panic("a bug") //nolint:forbidigo // nothing else does
		}, promhttp.HandlerOpts{})
		var all sync.WaitGroup
		var panics, errors atomic.Int32
		for range 4 {
			all.Go(func() {
				defer func() {
					if recover() != nil {
						panics.Add(1)
					}
				}()
				answer := httptest.NewRecorder()
				e.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				if answer.Code == http.StatusInternalServerError {
					errors.Add(1)
				}
			})
			synctest.Wait()
		}
		close(begin)
		all.Wait()
		if panics.Load() != 1 || errors.Load() != 2 {
			t.Errorf("%d panics, %d errors", panics.Load(), errors.Load())
		}
	})
}
