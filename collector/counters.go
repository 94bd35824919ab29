package collector

import (
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"lakefs_import_exporter/lakefs"
)

// counters are the metrics of the exporter's own work, and the counters of imports.
type counters struct {
	pollDuration  *prometheus.HistogramVec
	polls         *prometheus.CounterVec
	storageErrors prometheus.Counter
	refreshes     *prometheus.CounterVec

	finishedImports *prometheus.CounterVec
	ingestedObjects *prometheus.CounterVec
	duration        *prometheus.HistogramVec

	mu           sync.Mutex
	repositories map[[2]string]bool // server and repository with series
}

// native are the options of a histogram that is a native one too.
func native(opts prometheus.HistogramOpts) prometheus.HistogramOpts {
	opts.NativeHistogramBucketFactor = 1.1
	opts.NativeHistogramMaxBucketNumber = 100
	opts.NativeHistogramMinResetDuration = time.Hour
	return opts
}

func newCounters(reg prometheus.Registerer) *counters {
	factory := promauto.With(reg)
	repository := []string{"server", "repository"}
	return &counters{
		pollDuration: factory.NewHistogramVec(native(prometheus.HistogramOpts{
			Name:    "lakefs_import_exporter_poll_duration_seconds",
			Help:    "Duration of a status request to lakeFS, answered or not.",
			Buckets: prometheus.DefBuckets,
		}), []string{"server"}),
		polls: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "lakefs_import_exporter_polls_total",
			Help: "Requests for the status of an import or the newest import of a repository, by how they ended.",
		}, []string{"server", "result"}),
		storageErrors: factory.NewCounter(prometheus.CounterOpts{
			Name: "lakefs_import_exporter_storage_errors_total",
			Help: "Attempts to write to the storage that failed.",
		}),
		refreshes: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "lakefs_import_exporter_discovery_refreshes_total",
			Help: "Refreshes of the imports discovered in lakeFS's database, by how they ended.",
		}, []string{"server", "result"}),
		finishedImports: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "lakefs_imports_finished_total",
			Help: "Imports that finished while they were watched, by outcome.",
		}, append(repository, "outcome")),
		ingestedObjects: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "lakefs_imports_ingested_objects_total",
			Help: "Objects of the imports that succeeded while they were watched.",
		}, repository),
		duration: factory.NewHistogramVec(native(prometheus.HistogramOpts{
			Name:    "lakefs_imports_duration_seconds",
			Help:    "Time from start to finish of the imports that succeeded while they were watched.",
			Buckets: []float64{60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 43200, 86400},
		}), repository),
		repositories: map[[2]string]bool{},
	}
}

var outcomes = map[lakefs.Outcome]string{
	lakefs.Succeeded: "succeeded",
	lakefs.Failed:    "failed",
	lakefs.Canceled:  "canceled",
}

// watched implements importCounters: every counter of a repository exists from
// the start, so that its first increase is seen.
func (m *counters) watched(server, repository string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := [2]string{server, repository}
	if m.repositories[name] {
		return
	}
	m.repositories[name] = true
	for _, outcome := range outcomes {
		m.finishedImports.WithLabelValues(server, repository, outcome)
	}
	m.ingestedObjects.WithLabelValues(server, repository)
	m.duration.WithLabelValues(server, repository)
}

// finished implements importCounters.
func (m *counters) finished(server, repository string, outcome lakefs.Outcome, objects int64, took time.Duration) {
	m.finishedImports.WithLabelValues(server, repository, outcomes[outcome]).Inc()
	if outcome != lakefs.Succeeded {
		return
	}
	m.ingestedObjects.WithLabelValues(server, repository).Add(float64(objects))
	if took >= 0 {
		m.duration.WithLabelValues(server, repository).Observe(took.Seconds())
	}
}

// addServer makes every series of a server exist from the start. It returns a
// function that counts a request which took d.
func (m *counters) addServer(name string) (polled func(d time.Duration, result Result)) {
	duration, polls := m.pollDuration.WithLabelValues(name), map[Result]prometheus.Counter{}
	for _, result := range results() {
		polls[result] = m.polls.WithLabelValues(name, string(result))
	}
	return func(d time.Duration, result Result) {
		polls[result].Inc()
		if result != Result(lakefs.Credentials.String()) { // nothing was sent
			duration.Observe(d.Seconds())
		}
	}
}

// addDiscovery makes the series of a server's discovery exist from the start. It
// returns a function that counts a refresh.
func (m *counters) addDiscovery(server string) (refreshed func(err error)) {
	failed, succeeded := m.refreshes.WithLabelValues(server, "error"), m.refreshes.WithLabelValues(server, "success")
	return func(err error) {
		if err != nil {
			failed.Inc()
		} else {
			succeeded.Inc()
		}
	}
}

func (m *counters) removeServer(name string) {
	server := prometheus.Labels{"server": name}
	for _, vec := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.pollDuration, m.polls, m.refreshes, m.finishedImports, m.ingestedObjects, m.duration} {
		vec.DeletePartialMatch(server)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.repositories, func(r [2]string, _ bool) bool { return r[0] == name })
}
