package deploy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

const (
	dashboardFile = "grafana/dashboards/lakefs-imports.json"
	// firstScreen is what a laptop's 768 pixels show of a dashboard below Grafana's
	// own bars and two lines of variables, in units of gridPos.
	firstScreen = (768 - 185) / 38
	// maxRows is how many series a query may be answered with.
	maxRows = 50
)

// dashboard is what is looked at of a dashboard of Grafana.
type dashboard struct {
	UID         string
	Panels      []panel
	Templating  struct{ List []variable }
	Annotations struct {
		List []struct {
			Name, Expr string
			Datasource any
		}
	}
}

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Datasource  any
	Targets     []target
	Panels      []panel // of a row
}

type target struct {
	RefID, Expr string
	Instant     bool
	Datasource  any
}

type variable struct {
	Name, Type string
	Definition string
	AllValue   string
	Datasource any
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// all returns the panels, those in rows included, without the rows.
func (d dashboard) all() []panel {
	var all []panel
	for _, p := range d.Panels {
		if p.Type != "row" {
			all = append(all, p)
		}
		all = append(all, p.Panels...)
	}
	return all
}

func (d dashboard) panel(t *testing.T, title string) panel {
	t.Helper()
	i := slices.IndexFunc(d.all(), func(p panel) bool { return p.Title == title })
	if i < 0 {
		t.Fatalf("no panel is called %q", title)
	}
	return d.all()[i]
}

// query returns a query with the variables of Grafana replaced: those of the
// dashboard by what "All" is.
func (d dashboard) query(t *testing.T, expr string) string {
	t.Helper()
	values := map[string]string{"__rate_interval": "15s"}
	for _, v := range d.Templating.List {
		values[v.Name] = v.AllValue
	}
	return regexp.MustCompile(`\$\{?([a-zA-Z_]\w*)\}?`).ReplaceAllStringFunc(expr, func(s string) string {
		value := values[strings.Trim(s, "${}")]
		if value == "" {
			t.Errorf("%s is not defined in\n%s", s, expr)
		}
		return value
	})
}

func TestDashboardLayout(t *testing.T) {
	d := readDashboard(t)
	if d.UID != "lakefs-imports" {
		t.Errorf("uid %q: people have bookmarks of lakefs-imports", d.UID)
	}
	prometheus := map[string]any{"type": "prometheus", "uid": "${datasource}"}
	uses := func(what string, datasource any) {
		t.Helper()
		if diff := cmp.Diff(any(prometheus), datasource); diff != "" {
			t.Errorf("data source of %s (-want +got):\n%s", what, diff)
		}
	}
	seen := map[int]string{}
	for _, p := range append(d.all(), d.Panels...) {
		if other, ok := seen[p.ID]; ok && other != p.Title || p.ID == 0 {
			t.Errorf("%q and %q have the id %d", p.Title, other, p.ID)
		}
		seen[p.ID] = p.Title
	}
	for i, p := range d.all() {
		for _, other := range d.all()[:i] {
			a, b := p.GridPos, other.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%q is over %q", p.Title, other.Title)
			}
		}
		uses(p.Title, p.Datasource)
		for _, target := range p.Targets {
			uses(p.Title+" "+target.RefID, target.Datasource)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			uses("variable "+v.Name, v.Datasource)
		}
	}
	for _, a := range d.Annotations.List {
		uses("annotation "+a.Name, a.Datasource)
	}
	var first []string
	for _, p := range d.Panels {
		if p.GridPos.Y+p.GridPos.H <= firstScreen {
			first = append(first, p.Title)
		}
	}
	if diff := cmp.Diff([]string{"Imports by state", "Needs a person", "lakeFS servers", "Failures by reason"}, first); diff != "" {
		t.Errorf("first screen (-want +got):\n%s", diff)
	}
}

// Every metric in the queries and rules is documented: a name that is misspelt
// in one branch of an expression leaves the others with data.
func TestMetricNames(t *testing.T) {
	names := lakefsMetrics(read(t, "../docs/metrics.md"), "`(lakefs_[a-z_]+)`")
	alerts, records := rules(t)
	exprs := map[string]string{dashboardFile: read(t, dashboardFile)}
	for _, rules := range []map[string]rule{alerts, records} {
		for name, r := range rules {
			exprs[name] = r.Expr
		}
	}
	for where, expr := range exprs {
		for _, name := range regexp.MustCompile(`(?:^|[^:\w])(lakefs_[a-z_]+)`).FindAllStringSubmatch(expr, -1) {
			if base := strings.TrimSuffix(name[1], "_bucket"); !names[base] && base != "lakefs_import_exporter" {
				t.Errorf("%s: %s is not in docs/metrics.md", where, name[1])
			}
		}
	}
}

// Every query, against a real Prometheus that scrapes the demo with 60 times its
// imports, is answered with data, but not with a row for every import.
func TestDashboardQueries(t *testing.T) {
	need(t, "prometheus")
	d := readDashboard(t)
	exporter := start(t, buildExporter(t), "--demo", "--web.listen-address=127.0.0.1:0")
	prometheus := startPrometheus(t, startMany(t, exporter, 60), "127.0.0.1:9")
	deadline := time.Now().Add(patience)
	check := func(what, expr string, instant bool) {
		t.Run(what, func(t *testing.T) {
			expr := d.query(t, expr)
			eventuallyBy(t, deadline, "data for\n"+expr, func() error {
				n, err := rows(prometheus, expr, instant)
				if n > maxRows {
					t.Fatalf("%d series for\n%s", n, expr)
				}
				return err
			})
		})
	}
	for _, p := range d.all() {
		for _, target := range p.Targets {
			check(p.Title+" "+target.RefID, target.Expr, target.Instant)
		}
	}
	for _, a := range d.Annotations.List {
		check("annotation "+a.Name, a.Expr, false)
	}
	labelValues := regexp.MustCompile(`^label_values\((.*), ([a-z_]+)\)$`)
	for _, v := range d.Templating.List {
		if v.Type != "query" || v.Name == "cluster" {
			continue // targets need not have the label
		}
		m := labelValues.FindStringSubmatch(v.Definition)
		if m == nil {
			t.Errorf("variable %s: the test does not know %s", v.Name, v.Definition)
			continue
		}
		// What has no such label gives no value. The choices are not bounded.
		check("variable "+v.Name, fmt.Sprintf(`count(group by (%[2]s) (%[1]s) unless on (%[2]s) vector(1))`, m[1], m[2]), true)
	}
}

// startMany starts a server that shows what an exporter exports with n times its
// repositories, and returns its address.
func startMany(t *testing.T, exporter *process, n int) string {
	t.Helper()
	repository := regexp.MustCompile(`repository="([^"]*)"`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		resp, err := http.Get(exporter.URL + "/metrics")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		for line := range strings.Lines(string(text)) {
			copies := 1
			if repository.MatchString(line) {
				copies = n
			}
			for i := range copies {
				_, _ = io.WriteString(w, repository.ReplaceAllString(line, `repository="$1-`+strconv.Itoa(i)+`"`))
			}
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// rows returns how many series a query is answered with, now or over the last
// half minute.
func rows(prometheus *process, expr string, instant bool) (int, error) {
	var answer struct{ Data struct{ Result []any } }
	request := prometheus.URL + "/api/v1/query?query=" + url.QueryEscape(expr)
	if !instant {
		now := time.Now()
		request = fmt.Sprintf("%s/api/v1/query_range?start=%d&end=%d&step=1&query=%s", prometheus.URL, now.Unix()-30, now.Unix(), url.QueryEscape(expr))
	}
	err := get(request, &answer)
	if err == nil && len(answer.Data.Result) == 0 {
		err = errNoData
	}
	return len(answer.Data.Result), err
}

// What needs a person is on the first screen, the worst first; 200 failures for
// one reason are one row and push nothing away.
func TestDashboardNeedsAPerson(t *testing.T) {
	need(t, "prometheus")
	d := readDashboard(t)
	prod, locked := startLakeFS(t), startLakeFS(t)
	hourAgo := time.Now().Add(-time.Hour)
	stalled := prod.StartAt(lakefs.Ref{Repository: "stalled-repo", Branch: "main"}, lakefstest.Script{Objects: 9, Rate: 1, End: lakefstest.Crash, EndAfter: time.Second}, hourAgo)
	hung := prod.StartAt(lakefs.Ref{Repository: "hung-repo", Branch: "main"}, lakefstest.Script{Objects: 9, Rate: 1, End: lakefstest.Hang, EndAtObjects: 5}, hourAgo)
	long := prod.StartAt(lakefs.Ref{Repository: "long-repo", Branch: "main"}, slow, hourAgo)
	mended := prod.StartAt(lakefs.Ref{Repository: "mended-repo", Branch: "main"}, lakefstest.Script{End: lakefstest.Failure}, hourAgo)
	success := prod.StartAt(lakefs.Ref{Repository: "mended-repo", Branch: "main"}, lakefstest.Script{}, hourAgo.Add(time.Minute))
	unpolled := prod.Start("unpolled-repo", "main", slow)
	prod.Inject(lakefstest.StatusOf(unpolled), lakefstest.Fault{Status: http.StatusForbidden, Body: lakefstest.Message("no")})
	prod.StartAt(lakefs.Ref{Repository: "overdue-repo", Branch: "main"}, lakefstest.Script{}, hourAgo)
	prod.AddRepository("never-repo")

	var entries strings.Builder
	entry := func(ref lakefs.Ref, more string) {
		fmt.Fprintf(&entries, "  - {repository: %s, branch: %s, id: %s, server: prod%s}\n", ref.Repository, ref.Branch, ref.ID, more)
	}
	entry(stalled, "")
	entry(hung, ", no_progress_after: 1ms")
	entry(long, ", max_duration: 30m")
	entry(mended, "")
	entry(success, "")
	entry(unpolled, "")
	entry(lakefs.Ref{Repository: "stalled-repo", Branch: "main", ID: "nosuch"}, "")
	for i := range 200 {
		entry(prod.StartAt(lakefs.Ref{Repository: "failed-repo", Branch: fmt.Sprintf("b%d", i)}, lakefstest.Script{End: lakefstest.Failure}, hourAgo.Add(time.Duration(i)*time.Second)), "")
	}
	config := filepath.Join(t.TempDir(), "config.yml")
	write(t, config, "servers:\n"+serverYAML("prod", prod)+
		strings.ReplaceAll(serverYAML("locked", locked), lakefstest.SecretAccessKey, "wrong")+
		"  - {name: dead, endpoint_url: 'http://127.0.0.1:1'}\n"+
		"imports:\n"+entries.String()+
		"  - {repository: some-repo, branch: main, id: dc1chj1ksduerdki88b0, server: locked}\n"+
		"repositories:\n"+
		"  - {repository: overdue-repo, server: prod, max_import_age: 30m}\n"+
		"  - {repository: never-repo, server: prod, max_import_age: 30m}\n"+
		"  - {repository: misspelt-repo, server: prod, max_import_age: 30m}\n")
	// Two exporters watch the same imports, which count once.
	one := start(t, buildExporter(t), "--config.file="+config, "--web.listen-address=127.0.0.1:0")
	other := start(t, buildExporter(t), "--config.file="+config, "--web.listen-address=127.0.0.1:0")
	prometheus := startPrometheus(t, one.addr+", "+other.addr, "127.0.0.1:9")
	shows := func(panel string, target int, row func(sample) string, want ...string) {
		t.Helper()
		answersAs(t, prometheus, d.query(t, d.panel(t, panel).Targets[target].Expr), row, want...)
	}
	shows("Needs a person", 0, func(s sample) string {
		return strings.Join([]string{s.Metric["rank"], s.Metric["state"], s.Metric["place"], s.Metric["alert"]}, " ")
	},
		"01 stalled stalled-repo/main lakefsimportstalled",
		"03 overdue overdue-repo lakefsimportoverdue",
		"04 overdue never-repo lakefsimportoverdue",
		"05 failed failed-repo/b199 lakefsimportfailed",
		"06 hung hung-repo/main lakefsimportnotprogressing",
		"07 overrunning long-repo/main lakefsimportoverrunning",
		"08 not polled unpolled-repo/main lakefsimportpollfailing",
		"09 not polled misspelt-repo lakefsimportpollfailing",
		"10 not_found stalled-repo/main lakefsimportnotfound",
	)
	shows("Failures by reason", 0, func(s sample) string { return s.Metric["reason"] + " " + s.value() }, "source_not_found 200")
	state := func(s sample) string { return s.Metric["state"] + " " + s.value() }
	shows("Imports by state", 2, state, "failed 201")
	shows("Imports by state over time", 0, state, "canceled 0", "failed 201", "hung 1", "lost 0", "not_found 1", "running 1", "stalled 1", "succeeded 1", "unknown 2")
	shows("lakeFS servers", 0, func(s sample) string { return s.value() + " " + s.Metric["server"] }, "0 dead", "1 locked", "2 prod")
}

// An empty list means that all is well, so it is not empty without an exporter.
func TestDashboardWithoutExporter(t *testing.T) {
	need(t, "prometheus")
	d := readDashboard(t)
	prometheus := startPrometheus(t, "127.0.0.1:9", "127.0.0.1:9")
	answersAs(t, prometheus, d.query(t, d.panel(t, "Needs a person").Targets[0].Expr),
		func(s sample) string { return s.Metric["state"] + " " + s.Metric["alert"] }, "no exporter lakefsimportexporterdown")
}

// What to do is said for every alert in the list.
func TestDashboardRunbookLinks(t *testing.T) {
	listed := regexp.MustCompile(`"(lakefsimport[a-z]+)", "", ""`).FindAllStringSubmatch(readDashboard(t).panel(t, "Needs a person").Targets[0].Expr, -1)
	if len(listed) == 0 {
		t.Fatal("no alerts are listed")
	}
	sections := anchors(read(t, runbook))
	for _, m := range listed {
		if !slices.Contains(sections, m[1]) || !strings.Contains(read(t, dashboardFile), fmt.Sprintf("%q: {", m[1])) {
			t.Errorf("the dashboard or the runbook does not say what to do about %s", m[1])
		}
	}
}
