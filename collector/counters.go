package collector

import (
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
}

// native are the options of a histogram that is a native one too.
func native(opts prometheus.HistogramOpts) prometheus.HistogramOpts {
	opts.NativeHistogramBucketFactor = 1.1
	opts.NativeHistogramMaxBucketNumber = 100
	opts.NativeHistogramMinResetDuration = time.Hour
	return opts
}

func newCounters(reg prometheus.Registerer, shard Shard) *counters {
	factory := promauto.With(reg)
	factory.NewGauge(prometheus.GaugeOpts{
		Name: "lakefs_import_exporter_total_shards",
		Help: "Exporters that share the imports.",
	}).Set(float64(max(shard.Total, 1)))
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
	}
}

// addRepository makes every series of a repository exist from the start, so that
// its first increase is seen.
func (c *counters) addRepository(server, repository string) {
	for _, state := range ended[lakefs.Succeeded:] {
		c.finishedImports.WithLabelValues(server, repository, string(state))
	}
	c.ingestedObjects.WithLabelValues(server, repository)
	c.duration.WithLabelValues(server, repository)
}

// finished counts an import that has finished.
func (c *counters) finished(key Key, o *Observation) {
	c.finishedImports.WithLabelValues(key.Server, key.Repository, string(ended[o.Outcome])).Inc()
	if o.Outcome != lakefs.Succeeded {
		return
	}
	c.ingestedObjects.WithLabelValues(key.Server, key.Repository).Add(float64(o.IngestedObjects))
	if took, ok := o.duration(key.ID); ok {
		c.duration.WithLabelValues(key.Server, key.Repository).Observe(took.Seconds())
	}
}

// addServer makes every series of a server exist from the start. It returns a
// function that counts a request which took d.
func (c *counters) addServer(name string) (polled func(d time.Duration, result Result)) {
	duration, polls := c.pollDuration.WithLabelValues(name), map[Result]prometheus.Counter{}
	for _, result := range append(lakefs.Kinds(), resultSuccess) {
		polls[result] = c.polls.WithLabelValues(name, string(result))
	}
	return func(d time.Duration, result Result) {
		polls[result].Inc()
		if result != lakefs.Credentials { // nothing was sent
			duration.Observe(d.Seconds())
		}
	}
}

// remove ends the series of the server that key names or, if it names a repository,
// of that alone.
func (c *counters) remove(key Key) {
	labels := prometheus.Labels{"server": key.Server}
	if key.Repository != "" {
		labels["repository"] = key.Repository
	}
	for _, series := range []interface {
		DeletePartialMatch(labels prometheus.Labels) int
	}{c.pollDuration, c.polls, c.refreshes, c.finishedImports, c.ingestedObjects, c.duration} {
		series.DeletePartialMatch(labels)
	}
}
