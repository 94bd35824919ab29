package deploy_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// dashboard is what is looked at of a dashboard of Grafana.
type dashboard struct {
	Panels     []panel
	Templating struct{ List []variable }
	// Annotations have their query in expr, or in a target as panels do.
	Annotations struct {
		List []struct {
			Name, Expr string
			Target     target
		}
	}
}

type panel struct {
	Type, Title string
	Targets     []target
	Panels      []panel // of a row
}

type target struct {
	RefID   string
	Expr    string
	Instant bool
}

type variable struct {
	Name, Type string
	Query      json.RawMessage
	AllValue   string
	Current    struct{ Value any }
	Options    []struct{ Value string }
}

// dashboardQuery is a query that must be answered with data.
type dashboardQuery struct {
	what, expr string
	// positive is set if something other than 0 must be among the data. Panels
	// that show one number have a 0 to fall back on, which hides what is wrong.
	positive, overTime bool
}

// Every query of every dashboard, run against a real Prometheus that scrapes
// the demo, which has imports in every state.
func TestDashboards(t *testing.T) {
	need(t, "prometheus")
	var queries []dashboardQuery
	for _, file := range glob(t, "grafana/dashboards/*.json") {
		var d dashboard
		if err := json.Unmarshal([]byte(read(t, file)), &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		found := d.queries(t)
		if len(found) < 10 {
			t.Errorf("%s: found only %d queries", file, len(found))
		}
		for i := range found {
			found[i].what = filepath.Base(file) + ": " + found[i].what
		}
		queries = append(queries, found...)
	}
	exporter := start(t, buildExporter(t), "--demo", "--web.listen-address=127.0.0.1:0")
	prometheus := startPrometheus(t, exporter.addr, "127.0.0.1:9")
	deadline := time.Now().Add(patience)
	for _, q := range queries {
		t.Run(q.what, func(t *testing.T) {
			// All of them together have so much time.
			eventuallyBy(t, deadline, "data for\n"+q.expr, func() error { return q.run(prometheus) })
		})
	}

	// The same goes for the metrics in the rules.
	metric := regexp.MustCompile(`\blakefs_[a-z_]+`)
	alerts, records := rules(t)
	seen := map[string]bool{}
	for _, rules := range []map[string]rule{alerts, records} {
		for _, r := range rules {
			for _, name := range metric.FindAllString(r.Expr, -1) {
				seen[name] = true
			}
		}
	}
	for name := range seen {
		if strings.HasPrefix(name, "lakefs_repository_") {
			continue // the demo has no repositories
		}
		t.Run(name, func(t *testing.T) {
			eventuallyBy(t, deadline, "data", func() error { return hasData(prometheus, name) })
		})
	}
}

func (q dashboardQuery) run(prometheus *process) error {
	if !q.overTime {
		values, err := instant(prometheus, q.expr)
		if err == nil && q.positive && !slices.ContainsFunc(values, positive) {
			err = fmt.Errorf("only %q", values)
		}
		return err
	}
	now := time.Now()
	var answer struct{ Data struct{ Result []any } }
	err := get(fmt.Sprintf("%s/api/v1/query_range?start=%d&end=%d&step=1&query=%s",
		prometheus.URL, now.Unix()-30, now.Unix(), url.QueryEscape(q.expr)), &answer)
	if err == nil && len(answer.Data.Result) == 0 {
		err = errNoData
	}
	return err
}

func positive(value string) bool {
	f, err := strconv.ParseFloat(value, 64)
	return err == nil && f > 0
}

// labelValues is how variables ask for the values of a label.
var labelValues = regexp.MustCompile(`^label_values\((.*),\s*([a-zA-Z_]+)\)$`)

// queries returns every query of a dashboard with its variables replaced: those
// that offer "All" by that, others by what is chosen at first, and once more by
// each other choice.
func (d dashboard) queries(t *testing.T) []dashboardQuery {
	t.Helper()
	values := map[string]string{
		"__rate_interval": "15s",
		"__interval":      "5s",
		"__interval_ms":   "5000",
		"__range":         "60s",
		"__range_s":       "60",
		"__range_ms":      "60000",
		"__from":          strconv.FormatInt(time.Now().Add(-time.Hour).UnixMilli(), 10),
		"__to":            strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10),
	}
	choices := map[string][]string{}
	for _, v := range d.Templating.List {
		switch v.Type {
		case "datasource":
		case "query":
			values[v.Name] = v.AllValue
			if v.AllValue == "" {
				t.Errorf("variable %s: no value for All", v.Name)
			}
		default:
			values[v.Name], _ = v.Current.Value.(string)
			for _, o := range v.Options {
				choices[v.Name] = append(choices[v.Name], o.Value)
			}
		}
	}
	var queries []dashboardQuery
	add := func(q dashboardQuery, expr string) {
		t.Helper()
		q.expr = substitute(t, expr, values)
		queries = append(queries, q)
		for name, others := range choices {
			if !uses(expr, name) {
				continue
			}
			chosen := values[name]
			for _, other := range others {
				if other == chosen {
					continue
				}
				values[name] = other
				again := q
				again.what += ", " + name + " " + other
				again.expr = substitute(t, expr, values)
				queries = append(queries, again)
			}
			values[name] = chosen
		}
	}
	var walk func(panels []panel)
	walk = func(panels []panel) {
		for _, p := range panels {
			for _, target := range p.Targets {
				add(dashboardQuery{what: p.Title + " " + target.RefID, positive: p.Type == "stat", overTime: !target.Instant}, target.Expr)
			}
			walk(p.Panels)
		}
	}
	walk(d.Panels)
	for _, a := range d.Annotations.List {
		if expr := a.Expr + a.Target.Expr; expr != "" {
			add(dashboardQuery{what: "annotation " + a.Name, overTime: true}, expr)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		var query struct{ Query string }
		if json.Unmarshal(v.Query, &query.Query) != nil {
			if err := json.Unmarshal(v.Query, &query); err != nil {
				t.Fatalf("variable %s: %v", v.Name, err)
			}
		}
		m := labelValues.FindStringSubmatch(query.Query)
		if m == nil {
			t.Errorf("variable %s: the test does not know %s", v.Name, query.Query)
			continue
		}
		// What has no such label, as vector(1), gives no value.
		add(dashboardQuery{what: "variable " + v.Name}, fmt.Sprintf(`group by (%s) (%s) unless on (%s) vector(1)`, m[2], m[1], m[2]))
	}
	return queries
}

var reference = regexp.MustCompile(`\$(?:\{([A-Za-z_]\w*)(?::\w+)?\}|([A-Za-z_]\w*))`)

func uses(expr, name string) bool {
	for _, m := range reference.FindAllStringSubmatch(expr, -1) {
		if m[1]+m[2] == name {
			return true
		}
	}
	return false
}

// substitute replaces the variables of Grafana in a query.
func substitute(t *testing.T, expr string, values map[string]string) string {
	t.Helper()
	return reference.ReplaceAllStringFunc(expr, func(s string) string {
		m := reference.FindStringSubmatch(s)
		value, ok := values[m[1]+m[2]]
		if !ok {
			t.Errorf("nobody defines %s in\n%s", s, expr)
		}
		return value
	})
}
