package deploy_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// alertCase is a story that Prometheus scrapes, whatever its scrape interval, and
// which alerts it hears of.
type alertCase struct {
	name string
	// targets: what they expose, by their labels ("instance=a job=lakefs"). Each line is
	// one of
	//
	//	import ID KEY=VALUE ... : TIME STATE, TIME STATE, ...
	//	METRIC KEY=VALUE ... : TIME VALUE, TIME VALUE+SLOPE, ...
	//	away FROM TO: scrapes fail
	//	from TIME, until TIME: when it is in service discovery
	//
	// STATE! is a state with polls that fail. An import's keys are branch, repository,
	// server, reason, message; start, updated and max (durations); and labels of its own.
	targets map[string]string
	// firing: at a time, exactly these alerts, by what "by" adds to alertname and
	// import_id. What is there at two times in a row has fired without a break.
	firing map[string]string
	by     string
	// only: the alerts that are looked at, with | between them; empty for all.
	only string
}

// scrape is a way to scrape.
type scrape struct {
	interval time.Duration
	// fails and skips: every so many-th scrape; 0 for none. One that fails leaves stale
	// markers and up 0, one that is skipped nothing.
	fails, skips int
}

func (s scrape) String() string {
	name := s.interval.String()
	if s.fails > 0 {
		name += ", fails"
	}
	if s.skips > 0 {
		name += ", skips"
	}
	return name
}

// point is a value from a time on.
type point struct {
	at           time.Duration
	value, slope float64 // a second
}

// timeline is a series as the exporter exposes it.
type timeline struct {
	labels map[string]string // with __name__
	points []point           // NaN: not exposed
}

func (l *timeline) value(at time.Duration) float64 {
	value := math.NaN()
	for _, p := range l.points {
		if p.at <= at {
			value = p.value + p.slope*(at-p.at).Seconds()
		}
	}
	return value
}

// exposition is what an exporter, or anything else, exposes.
type exposition struct {
	labels      map[string]string
	away        [][2]time.Duration
	from, until time.Duration
	series      []*timeline
}

func parseTarget(t *testing.T, labels, text string) *exposition {
	t.Helper()
	x := &exposition{labels: parseLabels(labels), until: math.MaxInt64}
	for line := range strings.Lines(text) {
		head, tail, _ := strings.Cut(strings.TrimSpace(line), " : ")
		words := strings.Fields(head)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "away":
			x.away = append(x.away, [2]time.Duration{duration(t, words[1]), duration(t, words[2])})
		case "from":
			x.from = duration(t, words[1])
		case "until":
			x.until = duration(t, words[1])
		case "import":
			x.addImport(t, words[1], parseLabels(strings.Join(words[2:], " ")), strings.Split(tail, ", "))
		default:
			x.add(words[0], parseLabels(strings.Join(words[1:], " ")), parsePoints(t, tail))
		}
	}
	if x.labels["job"] != "other" && !strings.HasPrefix(x.labels["instance"], "lakefs://") {
		x.add("lakefs_import_exporter_build_info", map[string]string{"version": "1"}, []point{{value: 1}})
	}
	return x
}

func (x *exposition) add(name string, labels map[string]string, points []point) {
	all := map[string]string{"__name__": name}
	maps.Copy(all, x.labels)
	maps.Copy(all, labels)
	x.series = append(x.series, &timeline{all, points})
}

// addImport adds the series of an import that rules ask for, as the exporter has
// them.
func (x *exposition) addImport(t *testing.T, id string, options map[string]string, states []string) {
	t.Helper()
	labels := map[string]string{"server": "prod", "repository": "lake", "branch": "main", "import_id": id}
	reason := map[string]string{"reason": "source_not_found", "message": "no such file"}
	for name, value := range options {
		switch name {
		case "start", "updated", "max":
		case "reason", "message":
			reason[name] = value
		default:
			labels[name] = value
		}
	}
	byState, watched, polls, updates, failed := map[string][]point{}, []point{}, []point{}, []point{}, []point{}
	for i, word := range states {
		at, state, _ := strings.Cut(word, " ")
		state, unreached := strings.CutSuffix(state, "!")
		p := point{at: duration(t, at), value: 1}
		gone := point{at: p.at, value: math.NaN()}
		for other := range byState {
			byState[other] = append(byState[other], gone)
		}
		if state == "-" { // not watched
			watched, polls, updates, failed = append(watched, gone), append(polls, gone), append(updates, gone), append(failed, gone)
			continue
		}
		watched = append(watched, p)
		byState[state] = append(byState[state], p)
		success := 1.0
		if unreached || state == "lost" || state == "not_found" {
			success = 0
		}
		polls = append(polls, point{at: p.at, value: success})
		if i == 0 || state == "succeeded" || state == "failed" || state == "canceled" {
			updated := duration(t, cmp.Or(options["updated"], at))
			updates = append(updates, point{at: p.at, value: updated.Seconds()})
		}
		if state == "failed" {
			failed = append(failed, p)
		} else {
			failed = append(failed, gone)
		}
	}
	with := func(more map[string]string) map[string]string {
		all := maps.Clone(labels)
		maps.Copy(all, more)
		return all
	}
	for option, metric := range map[string]string{"start": "lakefs_import_start_timestamp_seconds", "max": "lakefs_import_max_duration_seconds"} {
		if options[option] != "" {
			x.add(metric, labels, times(watched, duration(t, options[option]).Seconds()))
		}
	}
	for state, points := range byState {
		x.add("lakefs_import_state", with(map[string]string{"state": state}), points)
	}
	x.add("lakefs_import_poll_success", labels, polls)
	x.add("lakefs_import_update_timestamp_seconds", labels, updates)
	x.add("lakefs_import_error_info", with(reason), failed)
}

// times returns the points with their values multiplied.
func times(points []point, factor float64) []point {
	points = slices.Clone(points)
	for i := range points {
		points[i].value *= factor
	}
	return points
}

func parseLabels(text string) map[string]string {
	labels := map[string]string{}
	for pair := range strings.FieldsSeq(text) {
		if name, value, ok := strings.Cut(pair, "="); ok {
			labels[name] = value
		}
	}
	return labels
}

func parsePoints(t *testing.T, text string) []point {
	t.Helper()
	var points []point
	for _, word := range strings.Split(text, ", ") {
		at, value, _ := strings.Cut(word, " ")
		p := point{at: duration(t, at)}
		number, slope, sloped := strings.Cut(value, "+")
		var err error
		if p.value, err = strconv.ParseFloat(strings.NewReplacer("gone", "NaN").Replace(number), 64); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if sloped {
			if p.slope, err = strconv.ParseFloat(slope, 64); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
		points = append(points, p)
	}
	return points
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// input returns what Prometheus stores of a target until a time.
func (x *exposition) input(s scrape, end time.Duration) []series {
	type row struct {
		labels map[string]string
		values []string
		shown  bool
	}
	up := &row{labels: map[string]string{"__name__": "up"}}
	maps.Copy(up.labels, x.labels)
	rows := []*row{up}
	for _, l := range x.series {
		rows = append(rows, &row{labels: l.labels})
	}
	put := func(r *row, value float64) {
		switch {
		case !math.IsNaN(value):
			r.values = append(r.values, strconv.FormatFloat(value, 'f', -1, 64))
		case r.shown:
			r.values = append(r.values, "stale")
		default:
			r.values = append(r.values, "_")
		}
		r.shown = !math.IsNaN(value)
	}
	for i := 0; time.Duration(i)*s.interval <= end; i++ {
		at := time.Duration(i) * s.interval
		skipped := s.skips > 0 && i%s.skips == s.skips-1
		listed := at >= x.from && at < x.until
		if skipped && listed {
			for _, r := range rows {
				r.values = append(r.values, "_")
			}
			continue
		}
		answers := listed && (s.fails == 0 || i%s.fails != s.fails-1)
		for _, span := range x.away {
			answers = answers && (at < span[0] || at >= span[1])
		}
		switch {
		case !listed:
			put(up, math.NaN())
		case answers:
			put(up, 1)
		default:
			put(up, 0)
		}
		for i, l := range x.series {
			value := math.NaN()
			if answers {
				value = l.value(at)
			}
			put(rows[i+1], value)
		}
	}
	var all []series
	for _, r := range rows {
		name := r.labels["__name__"]
		delete(r.labels, "__name__")
		all = append(all, seriesOf(name, r.labels, compress(r.values)))
		r.labels["__name__"] = name
	}
	return all
}

// compress writes equal values in a row as one.
func compress(values []string) string {
	var words []string
	for i := 0; i < len(values); {
		n := i
		for n < len(values) && values[n] == values[i] {
			n++
		}
		switch count := n - i; {
		case values[i] == "stale" || count == 1:
			words = append(words, slices.Repeat(values[i:i+1], count)...)
		case values[i] == "_":
			words = append(words, fmt.Sprintf("_x%d", count))
		default:
			words = append(words, fmt.Sprintf("%sx%d", values[i], count-1))
		}
		i = n
	}
	return strings.Join(words, " ")
}

// times returns when it is asked what fires, in order.
func (c *alertCase) times(t *testing.T) []string {
	t.Helper()
	return slices.SortedFunc(maps.Keys(c.firing), func(a, b string) int { return cmp.Compare(duration(t, a), duration(t, b)) })
}

func (c *alertCase) end(t *testing.T) time.Duration {
	t.Helper()
	times := c.times(t)
	return duration(t, times[len(times)-1])
}

// test returns the case in promtool's format.
func (c *alertCase) test(t *testing.T, s scrape, evaluation time.Duration) map[string]any {
	t.Helper()
	times, end := c.times(t), c.end(t)
	var input []series
	for _, labels := range slices.Sorted(maps.Keys(c.targets)) {
		input = append(input, parseTarget(t, labels, c.targets[labels]).input(s, end)...)
	}
	type sample struct {
		Labels string `yaml:"labels"`
		Value  int    `yaml:"value"`
	}
	var queries []any
	ask := func(at time.Duration, expr string, want map[string]bool) {
		samples := []sample{}
		for _, labels := range slices.Sorted(maps.Keys(want)) {
			samples = append(samples, sample{labels, 1})
		}
		queries = append(queries, map[string]any{"eval_time": at.String(), "expr": expr, "exp_samples": samples})
	}
	by := strings.TrimSuffix("alertname, import_id, "+c.by, ", ")
	alerts := fmt.Sprintf(`ALERTS{alertstate="firing", alertname=~"%s"}`, cmp.Or(c.only, ".+"))
	ever, before, since := map[string]bool{}, map[string]bool{}, time.Duration(0)
	for _, at := range times {
		now, firing := duration(t, at), c.firingAlerts(c.firing[at])
		maps.Copy(ever, firing)
		ask(now, fmt.Sprintf(`count by (%s) (%s)`, by, alerts), firing)
		still := maps.Clone(firing)
		maps.DeleteFunc(still, func(alert string, _ bool) bool { return !before[alert] })
		if len(still) > 0 {
			ask(now, fmt.Sprintf(`count by (%s) (sum by (%[1]s) (count_over_time(%[2]s[%[3]ds])) >= %[4]d and on (%[1]s) %[2]s offset %[3]ds)`,
				by, alerts, int((now-since).Seconds()), int(now/evaluation)-int(since/evaluation)), still)
		}
		before, since = firing, now
	}
	ask(end, fmt.Sprintf(`group by (%s) (last_over_time(%s[%ds]))`, by, alerts, int(end.Seconds())+1), ever)
	return map[string]any{"name": c.name, "interval": s.interval.String(), "input_series": input, "promql_expr_test": queries}
}

// firingAlerts parses "NAME KEY=VALUE ..., NAME ...". A word that is no pair is the ID
// of an import, of the server prod and the branch main of the repository lake.
func (c *alertCase) firingAlerts(text string) map[string]bool {
	alerts := map[string]bool{}
	for alert := range strings.SplitSeq(text, ",") {
		words := strings.Fields(alert)
		if len(words) == 0 || c.only != "" && !slices.Contains(strings.Split(c.only, "|"), words[0]) {
			continue
		}
		labels := map[string]string{}
		if len(words) > 1 && !strings.Contains(words[1], "=") {
			labels["import_id"] = words[1]
			for name, value := range map[string]string{"server": "prod", "repository": "lake", "branch": "main"} {
				if slices.Contains(strings.Split(c.by, ", "), name) {
					labels[name] = value
				}
			}
		}
		maps.Copy(labels, parseLabels(alert))
		labels["alertname"] = words[0]
		alerts[seriesOf("", labels, "").Series] = true
	}
	return alerts
}

// promtools returns what the rules are tested with, by folder: the promtool of the
// system, and the one that make lint-alerts builds.
func promtools(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, path := range append([]string{need(t, "promtool")}, built(t, "../.tools/promtool-*/promtool")...) {
		found[filepath.Base(filepath.Dir(path))] = path
	}
	return found
}

func built(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for i := range paths {
		if paths[i], err = filepath.Abs(paths[i]); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// writeCases writes a file of tests for promtool.
func writeCases(t *testing.T, rulesFile string, s scrape, evaluation time.Duration, cases []alertCase) string {
	t.Helper()
	path, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var tests []any
	for i := range cases {
		tests = append(tests, cases[i].test(t, s, evaluation))
	}
	b, err := yaml.Marshal(map[string]any{"rule_files": []string{path}, "evaluation_interval": evaluation.String(), "tests": tests})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "test.yml")
	write(t, file, string(b))
	return file
}

var matrix = flag.Bool("matrix", false, "test the alerts at every scrape interval, on every promtool, and break every rule")

// scrapes are the ways to scrape that the rules are good for.
var scrapes = []scrape{
	{interval: 15 * time.Second},
	{interval: 15 * time.Second, fails: 4},
	{interval: time.Minute},
	{interval: time.Minute, fails: 4},
	{interval: 2 * time.Minute},
	{interval: 2 * time.Minute, fails: 4},
	{interval: 2 * time.Minute, skips: 4},
	{interval: 5 * time.Minute},
	{interval: 5 * time.Minute, fails: 4},
	{interval: 5 * time.Minute, skips: 4},
}

// byLength returns the cases of some hours and those of days.
func byLength(t *testing.T) (short, long []alertCase) {
	t.Helper()
	for _, c := range alertCases {
		if c.end(t) <= 6*time.Hour {
			short = append(short, c)
		} else {
			long = append(long, c)
		}
	}
	return short, long
}

// Every case, at every scrape interval, with and without missed scrapes, on every
// Prometheus; without -matrix, at the usual and at the hardest interval. Cases that last
// for days are evaluated less often.
func TestAlertMatrix(t *testing.T) {
	short, long := byLength(t)
	tools, inMinutes := promtools(t), scrapes
	if !*matrix {
		tools, inMinutes = map[string]string{"installed": need(t, "promtool")}, []scrape{{interval: time.Minute}, {interval: 5 * time.Minute, fails: 4}}
	}
	for folder, path := range tools {
		for _, s := range inMinutes {
			t.Run(folder+"/"+s.String(), func(t *testing.T) {
				t.Parallel()
				runPath(t, path, "test", "rules", writeCases(t, alertsFile, s, time.Minute, short))
			})
		}
		for _, s := range []scrape{{interval: time.Minute}, {interval: 5 * time.Minute, fails: 4}} {
			t.Run(folder+"/days, "+s.String(), func(t *testing.T) {
				t.Parallel()
				runPath(t, path, "test", "rules", writeCases(t, alertsFile, s, 4*time.Minute, long))
			})
		}
	}
}

// Which alerts there are is told by the contract; each fires in some case.
func TestEveryAlertIsTested(t *testing.T) {
	var all strings.Builder
	for _, c := range alertCases {
		for _, firing := range c.firing {
			all.WriteString(firing + ", ")
		}
	}
	alerts, _ := rules(t)
	for name := range alerts {
		if !strings.Contains(strings.ReplaceAll(all.String(), ",", " ,"), name+" ") {
			t.Errorf("no case has %s fire", name)
		}
	}
}
