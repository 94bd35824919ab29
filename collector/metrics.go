package collector

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	dto "github.com/prometheus/client_model/go"

	"lakefs_import_exporter/lakefs"
)

// gauge is a metric of whatever View is a view of: its one description.
type gauge[View any] struct {
	name, help string
	// value returns the value for v, and false if it has none.
	value func(v *View) (float64, bool)
	// labels returns labels besides those of every series; nil if there are none.
	labels func(v *View) []*dto.LabelPair
}

// repositoryGauges are all metrics of repositories.
var repositoryGauges = []gauge[RepositoryView]{
	{
		name:  "lakefs_repository_last_import_timestamp_seconds",
		help:  "Unix time at which the newest successful import into the repository was committed, by lakeFS's clock.",
		value: func(v *RepositoryView) (float64, bool) { return unixSeconds(v.LastImport), !v.LastImport.IsZero() },
	},
	{
		name:  "lakefs_repository_max_import_age_seconds",
		help:  "How old the newest import into the repository may get, from the exporter's configuration.",
		value: func(v *RepositoryView) (float64, bool) { return v.MaxImportAge.Seconds(), v.MaxImportAge > 0 },
	},
}

// importGauges are all metrics of imports.
var importGauges = []gauge[ImportView]{
	{
		name:  "lakefs_import_canceled",
		help:  "Whether the import was canceled: 1 if it finished with the error of a cancel, else 0.",
		value: func(v *ImportView) (float64, bool) { return truth(v.Outcome == lakefs.Canceled), v.Seen() },
	},
	{
		name:  "lakefs_import_commit_info",
		help:  "The commit that a successful import left on its branch. The value is always 1.",
		value: func(v *ImportView) (float64, bool) { return 1, v.Outcome == lakefs.Succeeded },
		labels: func(v *ImportView) []*dto.LabelPair {
			return []*dto.LabelPair{labelPair("commit_id", v.CommitID), labelPair("metarange_id", v.MetarangeID)}
		},
	},
	{
		name:  "lakefs_import_completed",
		help:  "Whether the import has finished, with success or with an error: 1 if so, else 0.",
		value: func(v *ImportView) (float64, bool) { return truth(v.Finished()), v.Seen() },
	},
	{
		name:  "lakefs_import_error",
		help:  "Whether the import has finished with an error, a cancel included: 1 if so, else 0.",
		value: func(v *ImportView) (float64, bool) { return truth(v.withError()), v.Seen() },
	},
	{
		name:  "lakefs_import_error_info",
		help:  "The error that the import has finished with. The value is always 1.",
		value: func(v *ImportView) (float64, bool) { return 1, v.withError() },
		labels: func(v *ImportView) []*dto.LabelPair {
			return []*dto.LabelPair{labelPair("message", v.ErrorMessage)}
		},
	},
	{
		name:  "lakefs_import_expected_objects",
		help:  "How many objects the import is expected to ingest, from the exporter's configuration.",
		value: func(v *ImportView) (float64, bool) { return float64(v.ExpectedObjects), v.ExpectedObjects > 0 },
	},
	{
		name: "lakefs_import_found",
		help: "Whether lakeFS knows the import: 1 if its newest definite answer was a status, 0 if it was that there is no such import.",
		value: func(v *ImportView) (float64, bool) {
			return truth(v.NotFoundSince.IsZero()), v.Seen() || !v.NotFoundSince.IsZero()
		},
	},
	{
		name:  "lakefs_import_ingested_objects",
		help:  "Objects that the import has ingested so far.",
		value: func(v *ImportView) (float64, bool) { return float64(v.IngestedObjects), v.Seen() },
	},
	{
		name:  "lakefs_import_last_status_timestamp_seconds",
		help:  "Unix time at which the newest status of the import was received, by the exporter's clock.",
		value: func(v *ImportView) (float64, bool) { return unixSeconds(v.StatusAt), v.Seen() },
	},
	{
		name:  "lakefs_import_no_progress_after_seconds",
		help:  "For how long the count of ingested objects may rest before that is worth a look, from the exporter's configuration.",
		value: func(v *ImportView) (float64, bool) { return v.NoProgressAfter.Seconds(), v.Seen() },
	},
	{
		name:  "lakefs_import_poll_success",
		help:  "Whether the newest poll of the import got a status, or none is needed any more: 1 if so, else 0.",
		value: func(v *ImportView) (float64, bool) { return truth(v.PollSuccess()), true },
	},
	{
		name:  "lakefs_import_progress_timestamp_seconds",
		help:  "Unix time at which the count of ingested objects was last seen to grow, or was first seen, by the exporter's clock.",
		value: func(v *ImportView) (float64, bool) { return unixSeconds(v.ProgressAt), v.Seen() },
	},
	{
		name:  "lakefs_import_seconds_since_update",
		help:  "Seconds since lakeFS last updated the import, never negative. It grows for ever once the import has finished.",
		value: func(v *ImportView) (float64, bool) { return v.SecondsSinceUpdate(), v.Seen() },
	},
	{
		name:  "lakefs_import_start_timestamp_seconds",
		help:  "Unix time at which the import was started, read from its ID.",
		value: func(v *ImportView) (float64, bool) { return unixSeconds(v.StartedAt), !v.StartedAt.IsZero() },
	},
	{
		name:  "lakefs_import_update_timestamp_seconds",
		help:  "Unix time at which lakeFS last updated the import, by lakeFS's clock.",
		value: func(v *ImportView) (float64, bool) { return unixSeconds(v.UpdateTime), v.Seen() },
	},
}

// withError reports whether the import finished without success.
func (o Observation) withError() bool {
	return o.Outcome == lakefs.Failed || o.Outcome == lakefs.Canceled
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unixSeconds returns t as Unix time with its fraction, in any year.
func unixSeconds(t time.Time) float64 {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9
}

func labelPair(name, value string) *dto.LabelPair {
	return &dto.LabelPair{Name: &name, Value: &value}
}

// labelPairs are shared by all series that have them.
type labelPairs map[struct{ name, value string }]*dto.LabelPair

// get returns the only pair of name and value.
func (p labelPairs) get(name, value string) *dto.LabelPair {
	key := struct{ name, value string }{name, value}
	if _, ok := p[key]; !ok {
		p[key] = labelPair(name, value)
	}
	return p[key]
}

// sorted returns fixed labels and a user's, by name.
func (p labelPairs) sorted(user map[string]string, fixed ...*dto.LabelPair) []*dto.LabelPair {
	all := make([]*dto.LabelPair, 0, len(fixed)+len(user))
	all = append(all, fixed...)
	for name, value := range user {
		all = append(all, p.get(name, value))
	}
	sortLabels(all)
	return all
}

func sortLabels(pairs []*dto.LabelPair) {
	slices.SortFunc(pairs, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
}

// Gather implements prometheus.Gatherer. The families are by name, as those of
// a registry are; the error is always nil.
//
// It does not go through a registry, which would check every series at every
// scrape: names and labels were checked before the import was watched.
func (s *Snapshot) Gather() ([]*dto.MetricFamily, error) {
	families := slices.Concat(
		familiesOf(importGauges, s.Imports, (*ImportView).seriesLabels),
		familiesOf(repositoryGauges, s.Repositories, (*RepositoryView).seriesLabels),
	)
	if len(s.failedFiles) > 0 {
		f := newFamily("lakefs_import_exporter_import_file_error", "Whether an import file does not load: 1 if so, else 0.")
		for _, file := range slices.Sorted(maps.Keys(s.failedFiles)) {
			addGauge(f, truth(s.failedFiles[file]), labelPair("file", file))
		}
		families = append(families, f)
	}
	if s.exporter {
		f := newFamily("lakefs_import_exporter_imports", "Imports watched, by where they were named.")
		count := map[Origin]int{}
		for i := range s.Imports {
			count[s.Imports[i].Origin]++
		}
		for _, origin := range slices.Sorted(slices.Values(origins)) {
			addGauge(f, float64(count[origin]), labelPair("source", string(origin)))
		}
		families = append(families, f)
	}
	if len(s.Servers) > 0 {
		up := newFamily("lakefs_up", "Whether lakeFS itself gave an answer in the newest round of polls: 1 if so, else 0.")
		for _, server := range s.Servers {
			addGauge(up, truth(server.Up), labelPair("server", server.Name))
		}
		families = append(families, up)
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return families, nil
}

func newFamily(name, help string) *dto.MetricFamily {
	return &dto.MetricFamily{Name: &name, Help: &help, Type: dto.MetricType_GAUGE.Enum()}
}

func addGauge(f *dto.MetricFamily, value float64, labels ...*dto.LabelPair) {
	f.Metric = append(f.Metric, &dto.Metric{Label: labels, Gauge: &dto.Gauge{Value: &value}})
}

func (v *ImportView) seriesLabels() []*dto.LabelPair { return v.labels }

func (v *RepositoryView) seriesLabels() []*dto.LabelPair { return v.labels }

// familiesOf returns the series of all views. Each carries the labels that
// series returns, sorted by name. Families without series are left out.
//
// At 10,000 imports this is most of the memory of a scrape. So a view's series
// of the same value are one dto.Metric, which has no name, and neighbours of
// the same value one dto.Gauge: about half of all values are 0 or 1.
func familiesOf[View any](gauges []gauge[View], views []View, series func(*View) []*dto.LabelPair) []*dto.MetricFamily {
	var (
		families = make([]*dto.MetricFamily, len(gauges))
		newest   = make([]*dto.Gauge, len(gauges)) // of every family
		metrics  slab[dto.Metric]
		values   slab[gaugeValue]
		own      []*dto.Metric // of one view, without further labels
	)
	for i := range gauges {
		families[i] = newFamily(gauges[i].name, gauges[i].help)
	}
	for i := range views {
		v := &views[i]
		own = own[:0]
		for j := range gauges {
			g, f := &gauges[j], families[j]
			value, ok := g.value(v)
			if !ok {
				continue
			}
			if f.Metric == nil {
				f.Metric = make([]*dto.Metric, 0, len(views)-i)
			}
			same := slices.IndexFunc(own, func(m *dto.Metric) bool { return *m.Gauge.Value == value })
			if same >= 0 && g.labels == nil {
				f.Metric = append(f.Metric, own[same])
				continue
			}
			m := metrics.next()
			if newest[j] == nil || *newest[j].Value != value {
				newest[j] = values.next().set(value)
			}
			m.Gauge = newest[j]
			m.Label = series(v)
			if g.labels == nil {
				own = append(own, m)
			} else {
				m.Label = slices.Concat(m.Label, g.labels(v))
				sortLabels(m.Label)
			}
			f.Metric = append(f.Metric, m)
		}
	}
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return len(f.Metric) == 0 })
}

// gaugeValue is a dto.Gauge with the value that it points to.
type gaugeValue struct {
	gauge dto.Gauge
	value float64
}

func (g *gaugeValue) set(value float64) *dto.Gauge {
	g.value = value
	g.gauge.Value = &g.value
	return &g.gauge
}

// slab hands out zero values, many from one allocation.
type slab[T any] struct{ free []T }

func (s *slab[T]) next() *T {
	const size = 256
	if len(s.free) == 0 {
		s.free = make([]T, size)
	}
	next := &s.free[0]
	s.free = s.free[1:]
	return next
}

// metrics are those of the exporter's own work.
type metrics struct {
	pollDuration  *prometheus.HistogramVec
	polls         *prometheus.CounterVec
	storageErrors prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	factory := promauto.With(reg)
	return &metrics{
		pollDuration: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "lakefs_import_exporter_poll_duration_seconds",
			Help:                            "How long it took lakeFS to answer a poll, or not to.",
			Buckets:                         prometheus.DefBuckets,
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"server"}),
		polls: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "lakefs_import_exporter_polls_total",
			Help: "Requests for the status of an import or the newest import of a repository, by how they ended.",
		}, []string{"server", "result"}),
		storageErrors: factory.NewCounter(prometheus.CounterOpts{
			Name: "lakefs_import_exporter_storage_errors_total",
			Help: "Failed attempts to write to the storage.",
		}),
	}
}

// addServer makes every series of a server be there from the start.
func (m *metrics) addServer(name string) {
	m.pollDuration.WithLabelValues(name)
	for _, result := range results() {
		m.polls.WithLabelValues(name, string(result))
	}
}

func (m *metrics) removeServer(name string) {
	m.pollDuration.DeleteLabelValues(name)
	m.polls.DeletePartialMatch(prometheus.Labels{"server": name})
}

// polled counts a poll that took d and ended with err.
func (m *metrics) polled(server string, d time.Duration, err error) {
	result := resultSuccess
	if err != nil {
		result = resultOf(err)
	}
	m.polls.WithLabelValues(server, string(result)).Inc()
	var lerr *lakefs.Error
	if errors.As(err, &lerr) && lerr.Kind == lakefs.Credentials {
		return // nothing was sent
	}
	m.pollDuration.WithLabelValues(server).Observe(d.Seconds())
}
