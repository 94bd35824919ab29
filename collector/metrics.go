package collector

import (
	"bufio"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	dto "github.com/prometheus/client_model/go"

	"lakefs_import_exporter/lakefs"
)

// Family is one metric of a Snapshot: a gauge with all its series.
type Family struct {
	Name string
	// WriteText writes the family as the text format and OpenMetrics have it.
	WriteText func(*bufio.Writer) error
	// Gather returns the family for other formats.
	Gather func() *dto.MetricFamily
}

// gauge is a metric of every View: its one description.
type gauge[View any] struct {
	name, help string
	// value returns the value for v, and false if it has none.
	value func(v *View) (float64, bool)
	// labels returns labels besides those of every series; nil if there are none.
	labels func(v *View) []seriesLabel
}

// importGauges are all metrics of imports.
var importGauges = []gauge[ImportView]{
	{"lakefs_import_commit_info", "The commit that a successful import left on its branch. The value is always 1.",
		func(v *ImportView) (float64, bool) { return 1, v.Outcome == lakefs.Succeeded },
		func(v *ImportView) []seriesLabel {
			return []seriesLabel{{"commit_id", v.CommitID}, {"metarange_id", v.MetarangeID}}
		}},
	{"lakefs_import_completed", "Whether the import has finished, with success or with an error: 1 if so, else 0.",
		func(v *ImportView) (float64, bool) { return boolToFloat(v.Finished()), v.Seen() }, nil},
	{"lakefs_import_error", "Whether the import has finished with an error, a cancel included: 1 if so, else 0.",
		func(v *ImportView) (float64, bool) { return boolToFloat(v.FailedOrCanceled()), v.Seen() }, nil},
	{"lakefs_import_error_info", "The error that the import has finished with. The value is always 1.",
		func(v *ImportView) (float64, bool) { return 1, v.FailedOrCanceled() },
		func(v *ImportView) []seriesLabel {
			return []seriesLabel{{"message", v.ErrorMessage}, {"reason", string(v.ErrorReason)}}
		}},
	{"lakefs_import_expected_objects", "Objects that the import is expected to ingest, from the exporter's configuration.",
		func(v *ImportView) (float64, bool) { return float64(v.ExpectedObjects), v.ExpectedObjects > 0 }, nil},
	{"lakefs_import_ingested_objects", "Objects that the import has ingested so far.",
		func(v *ImportView) (float64, bool) { return float64(v.IngestedObjects), v.Seen() }, nil},
	{"lakefs_import_last_status_timestamp_seconds", "Unix time at which the newest status of the import was received, by the exporter's clock.",
		func(v *ImportView) (float64, bool) { return unixSeconds(v.StatusAt), v.Seen() }, nil},
	{"lakefs_import_max_duration_seconds", "How long the import may run, from the exporter's configuration.",
		func(v *ImportView) (float64, bool) { return v.MaxDuration.Seconds(), v.MaxDuration > 0 }, nil},
	{"lakefs_import_poll_success", "Whether the newest poll of the import got a status, or none is needed any more: 1 if so, else 0.",
		func(v *ImportView) (float64, bool) { return boolToFloat(v.PollSuccess()), true }, nil},
	{"lakefs_import_progress_timestamp_seconds", "Unix time at which the number of ingested objects was last seen to grow, or was first seen, by the exporter's clock.",
		func(v *ImportView) (float64, bool) { return unixSeconds(v.ProgressAt), v.Seen() }, nil},
	{"lakefs_import_seconds_since_update", "Seconds since lakeFS last updated the import, by lakeFS's clock, never negative. Keeps growing after the import has finished.",
		func(v *ImportView) (float64, bool) { return v.SecondsSinceUpdate(), v.Seen() }, nil},
	{"lakefs_import_start_timestamp_seconds", "Unix time at which the import was started, read from its ID.",
		func(v *ImportView) (float64, bool) { return unixSeconds(v.StartedAt), !v.StartedAt.IsZero() }, nil},
	{"lakefs_import_state", "The present state of the import, as a label. The value is always 1.",
		func(*ImportView) (float64, bool) { return 1, true },
		func(v *ImportView) []seriesLabel { return []seriesLabel{{"state", string(v.State)}} }},
	{"lakefs_import_update_timestamp_seconds", "Unix time at which lakeFS last updated the import, by lakeFS's clock.",
		func(v *ImportView) (float64, bool) { return unixSeconds(v.UpdateTime), v.Seen() }, nil},
}

// repositoryGauges are all metrics of repositories.
var repositoryGauges = []gauge[RepositoryView]{
	{"lakefs_repository_last_import_timestamp_seconds", "Unix time at which the newest successful import into the repository was committed, by lakeFS's clock.",
		func(v *RepositoryView) (float64, bool) { return unixSeconds(v.LastImport), !v.LastImport.IsZero() }, nil},
	{"lakefs_repository_max_import_age_seconds", "How old the newest import into the repository may get, from the exporter's configuration.",
		func(v *RepositoryView) (float64, bool) { return v.MaxImportAge.Seconds(), v.MaxImportAge > 0 }, nil},
	{"lakefs_repository_poll_success", "Whether the newest poll of the repository succeeded: 1 if so, else 0, also if lakeFS does not know the repository.",
		func(v *RepositoryView) (float64, bool) { return boolToFloat(v.PollSuccess()), true }, nil},
}

// serverGauges are all metrics of servers. Probes have the first only.
var serverGauges = []gauge[ServerView]{
	{"lakefs_up", "Whether lakeFS itself answered any request of the newest scrape: 1 if so, else 0.",
		func(v *ServerView) (float64, bool) { return boolToFloat(v.Up), true }, nil},
	{"lakefs_authorized", "Whether lakeFS accepts the exporter's keys: 0 if its newest answer about them was a refusal of all requests, else 1.",
		func(v *ServerView) (float64, bool) { return boolToFloat(v.Authorized), true }, nil},
	{"lakefs_clock_skew_seconds", "How far lakeFS's clock is ahead of the exporter's, in whole seconds.",
		func(v *ServerView) (float64, bool) { return v.ClockSkew.Seconds(), v.ClockSkewKnown }, nil},
	discoveryGauge("imports", "Imports found by the newest successful refresh of the discovery.",
		func(d *DiscoveryView) float64 { return float64(d.Found) }),
	discoveryGauge("dropped_imports", "Imports that the newest successful refresh of the discovery left out because of max_imports.",
		func(d *DiscoveryView) float64 { return float64(d.Dropped) }),
	discoveryGauge("last_success_timestamp_seconds", "Unix time of the newest successful refresh of the discovery; 0 if there was none.",
		func(d *DiscoveryView) float64 { return max(0, unixSeconds(d.LastSuccess)) }),
}

func discoveryGauge(name, help string, value func(*DiscoveryView) float64) gauge[ServerView] {
	return gauge[ServerView]{"lakefs_import_exporter_discovery_" + name, help, func(v *ServerView) (float64, bool) {
		if v.Discovery == nil {
			return 0, false
		}
		return value(v.Discovery), true
	}, nil}
}

// countView is a number with labels.
type countView struct {
	count  int
	labels []seriesLabel
}

func countFamilies(name, help string, views []countView) []Family {
	return smallFamilies([]gauge[countView]{{name, help,
		func(v *countView) (float64, bool) { return float64(v.count), true }, nil}},
		views, func(v *countView) []seriesLabel { return v.labels })
}

// Families returns the metrics of s, by name.
func (s *Snapshot) Families() []Family {
	imports := families(importGauges, s.shownImports(),
		func(v *ImportView) string { return v.block }, func(v *ImportView) []seriesLabel { return v.labels() })
	var all []Family
	if s.ofProbe {
		all = slices.Concat(imports, smallFamilies(serverGauges[:1], s.Servers, serverLabels))
	} else {
		repositories := slices.DeleteFunc(slices.Clone(s.Repositories), func(v RepositoryView) bool { return s.isNew(v.Poll) })
		all = slices.Concat(imports,
			smallFamilies(repositoryGauges, repositories, repositoryLabels),
			smallFamilies(serverGauges, s.Servers, serverLabels),
			countFamilies("lakefs_imports", "Imports watched, by state.", s.countStates()),
			countFamilies("lakefs_import_exporter_imports", "Imports watched, by where they come from.", s.countOrigins()),
			countFamilies("lakefs_import_exporter_import_file_error", "Whether an import file does not load: 1 if so, else 0.", s.countFileErrors()),
			countFamilies("lakefs_import_exporter_total_shards", "Exporters that share the imports.", []countView{{count: s.totalShards}}),
		)
	}
	slices.SortFunc(all, func(a, b Family) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// shownImports returns the imports that have series of their own: those that
// succeeded or were canceled have them only for a while, and one that was added
// during a scrape has them from the next one on.
func (s *Snapshot) shownImports() []ImportView {
	hidden := func(v ImportView) bool {
		switch v.State {
		case Succeeded, Canceled:
			return s.At.Sub(v.finishedAt()) > s.finishedFor
		default:
			return v.State == Unknown && s.isNew(v.Poll)
		}
	}
	if !slices.ContainsFunc(s.Imports, hidden) {
		return s.Imports // without a copy, which may be large
	}
	return slices.DeleteFunc(slices.Clone(s.Imports), hidden)
}

// isNew reports whether the newest scrape began before what has the newest poll
// p was watched.
func (s *Snapshot) isNew(p Poll) bool { return s.scraped && p.At.IsZero() }

// countStates counts the imports of every repository that has any, by state.
func (s *Snapshot) countStates() []countView {
	states := slices.Sorted(slices.Values(States()))
	var views []countView
	counts := map[State]int{}
	for i, first := 0, 0; i < len(s.Imports); first = i {
		clear(counts)
		server, repository := s.Imports[first].Server, s.Imports[first].Repository
		for ; i < len(s.Imports) && s.Imports[i].Server == server && s.Imports[i].Repository == repository; i++ {
			counts[s.Imports[i].State]++
		}
		for _, state := range states {
			views = append(views, countView{counts[state], []seriesLabel{{"repository", repository}, {"server", server}, {"state", string(state)}}})
		}
	}
	return views
}

func (s *Snapshot) countOrigins() []countView {
	counts := map[Origin]int{}
	for i := range s.Imports {
		counts[s.Imports[i].Origin]++
	}
	var views []countView
	for _, origin := range slices.Sorted(slices.Values(origins[:])) {
		views = append(views, countView{counts[origin], []seriesLabel{{"source", string(origin)}}})
	}
	return views
}

// countFileErrors returns 1 for every file that does not load, else 0.
func (s *Snapshot) countFileErrors() []countView {
	var views []countView
	for _, name := range slices.Sorted(maps.Keys(s.FileErrors)) {
		failed := int(boolToFloat(s.FileErrors[name] != ""))
		views = append(views, countView{failed, []seriesLabel{{"file", name}}})
	}
	return views
}

func repositoryLabels(v *RepositoryView) []seriesLabel {
	return userLabels(v.Labels, seriesLabel{"repository", v.Name}, seriesLabel{"server", v.Server})
}

func serverLabels(v *ServerView) []seriesLabel { return []seriesLabel{{"server", v.Name}} }

func boolToFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unixSeconds returns t as Unix time with its fraction, in any year.
func unixSeconds(t time.Time) float64 {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9
}

// families returns the metrics of views. The functions return the labels of a
// view: block as labelBlock does, and pairs by name.
func families[View any](gauges []gauge[View], views []View, block func(*View) string, pairs func(*View) []seriesLabel) []Family {
	all := make([]Family, len(gauges))
	for i := range gauges {
		g := &gauges[i]
		all[i] = Family{
			Name:      g.name,
			WriteText: func(w *bufio.Writer) error { return g.writeText(w, views, block) },
			Gather:    func() *dto.MetricFamily { return g.gather(views, pairs) },
		}
	}
	return all
}

// smallFamilies is families for few views, whose labels are rendered each time.
func smallFamilies[View any](gauges []gauge[View], views []View, pairs func(*View) []seriesLabel) []Family {
	return families(gauges, views, func(v *View) string { return labelBlock(pairs(v)) }, pairs)
}

func (g *gauge[View]) writeText(w *bufio.Writer, views []View, block func(*View) string) error {
	// A line that does not fit costs an allocation, no more.
	const longLine = 1024
	header := false
	for i := range views {
		v := &views[i]
		value, ok := g.value(v)
		if !ok {
			continue
		}
		if w.Available() < longLine {
			_ = w.Flush() // it fails again at the end
		}
		b := w.AvailableBuffer()
		if !header {
			header = true
			b = append(append(append(append(b, "# HELP "...), g.name...), ' '), g.help...)
			b = append(append(append(b, "\n# TYPE "...), g.name...), " gauge\n"...)
		}
		b = append(append(b, g.name...), block(v)...)
		if g.labels != nil {
			b = appendLabels(b, g.labels(v))
		}
		b = closeBlock(b)
		b = append(appendValue(b, value), '\n')
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// closeBlock ends the labels at the end of b, which may be none.
func closeBlock(b []byte) []byte {
	if b[len(b)-1] == '{' {
		b[len(b)-1] = ' '
		return b
	}
	return append(b, '}', ' ')
}

// appendValue appends a value as all text formats have it.
func appendValue(b []byte, value float64) []byte {
	const exact = 1 << 53
	if whole := math.Trunc(value); whole == value && math.Abs(value) < exact {
		return strconv.AppendInt(b, int64(value), 10)
	}
	format := byte('f') // which people can read
	if size := math.Abs(value); size >= 1e21 || size < 1e-4 {
		format = 'g'
	}
	return strconv.AppendFloat(b, value, format, -1, 64)
}

func (g *gauge[View]) gather(views []View, pairs func(*View) []seriesLabel) *dto.MetricFamily {
	f := &dto.MetricFamily{Name: &g.name, Help: &g.help, Type: dto.MetricType_GAUGE.Enum()}
	for i := range views {
		v := &views[i]
		value, ok := g.value(v)
		if !ok {
			continue
		}
		labels := pairs(v)
		if g.labels != nil {
			labels = append(labels, g.labels(v)...)
		}
		sortLabels(labels)
		m := &dto.Metric{Gauge: &dto.Gauge{Value: &value}, Label: make([]*dto.LabelPair, len(labels))}
		for j := range labels {
			m.Label[j] = &dto.LabelPair{Name: &labels[j].name, Value: &labels[j].value}
		}
		f.Metric = append(f.Metric, m)
	}
	return f
}

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
	}
}

// addRepository makes every series of a repository exist from the start, so that
// its first increase is seen.
func (c *counters) addRepository(server, repository string) {
	for _, state := range ended {
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

// addDiscovery makes the series of a server's discovery exist from the start,
// and returns them.
func (c *counters) addDiscovery(server string) (succeeded, failed prometheus.Counter) {
	return c.refreshes.WithLabelValues(server, "success"), c.refreshes.WithLabelValues(server, "error")
}

func (c *counters) removeServer(name string) {
	labels := prometheus.Labels{"server": name}
	c.pollDuration.DeletePartialMatch(labels)
	c.polls.DeletePartialMatch(labels)
	c.refreshes.DeletePartialMatch(labels)
	c.removeImports(labels)
}

func (c *counters) removeRepository(k Key) {
	c.removeImports(prometheus.Labels{"server": k.Server, "repository": k.Repository})
}

func (c *counters) removeImports(labels prometheus.Labels) {
	c.finishedImports.DeletePartialMatch(labels)
	c.ingestedObjects.DeletePartialMatch(labels)
	c.duration.DeletePartialMatch(labels)
}
