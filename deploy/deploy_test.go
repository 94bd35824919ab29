// Package deploy_test runs what this folder ships in the programs it is made
// for: promtool and amtool over rules and configs, and a real Prometheus and
// Alertmanager with the real exporter.
package deploy_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// packageOf is the package of Debian that brings a program.
var packageOf = map[string]string{
	"etcd":         "etcd-server",
	"initdb":       "postgresql",
	"podman":       "podman, with runc, netavark and aardvark-dns",
	"psql":         "postgresql-client",
	"prometheus":   "prometheus",
	"promtool":     "prometheus",
	"alertmanager": "prometheus-alertmanager",
	"amtool":       "prometheus-alertmanager",
}

// need returns the path of a program. If it is not there, the test is skipped;
// in CI it fails.
func need(t *testing.T, program string) string {
	t.Helper()
	for _, name := range []string{program, "prometheus-" + program} { // Debian's alertmanager has the longer name
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not there, and CI must not do without it", program)
	}
	t.Skipf("SKIPPED: %s is not there: install Debian's package %s", program, packageOf[program])
	return ""
}

// run returns what a program prints; it fails the test if the program fails.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	return runPath(t, need(t, program), args...)
}

func runPath(t *testing.T, path string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", path, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// golden compares got with a file in testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		write(t, path, got)
	}
	if diff := cmp.Diff(read(t, path), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// glob returns the files that match, of which there must be some.
func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: found no files (%v)", pattern, err)
	}
	return files
}

const (
	alertsFile = "prometheus/rules/alerts.yml"
	rulesFiles = "prometheus/rules/*.yml"
	runbook    = "prometheus/runbook.md"
)

type rule struct {
	Alert         string            `yaml:"alert"`
	Record        string            `yaml:"record"`
	Expr          string            `yaml:"expr"`
	For           model.Duration    `yaml:"for"`
	KeepFiringFor model.Duration    `yaml:"keep_firing_for"`
	Labels        map[string]string `yaml:"labels"`
	Annotations   map[string]string `yaml:"annotations"`
}

// rules returns the alerts and the recording rules that are shipped, by name.
func rules(t *testing.T) (alerts, records map[string]rule) {
	t.Helper()
	alerts, records = map[string]rule{}, map[string]rule{}
	for _, file := range glob(t, rulesFiles) {
		var f struct {
			Groups []struct {
				Name  string
				Rules []rule
			}
		}
		if err := yaml.Unmarshal([]byte(read(t, file)), &f); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, g := range f.Groups {
			for _, r := range g.Rules {
				if r.Alert != "" {
					alerts[r.Alert] = r
				} else {
					records[r.Record] = r
				}
			}
		}
	}
	return alerts, records
}

func TestPrometheusConfig(t *testing.T) {
	out := run(t, "promtool", "check", "config", "--lint-fatal", "prometheus/prometheus.yml")
	alerts, records := rules(t)
	if len(alerts)+len(records) < 15 || strings.Count(out, "rules found") != len(glob(t, rulesFiles)) {
		t.Errorf("prometheus.yml does not load every file of rules:\n%s", out)
	}
}

// Which alerts ship is a promise to users, and each says what to do.
func TestAlerts(t *testing.T) {
	severities := map[string]string{
		"LakeFSImportStalled":                    "critical",
		"LakeFSImportLost":                       "critical",
		"LakeFSImportOverdue":                    "critical",
		"LakeFSImportFailed":                     "warning",
		"LakeFSImportNotProgressing":             "warning",
		"LakeFSImportOverrunning":                "warning",
		"LakeFSImportNotFound":                   "warning",
		"LakeFSImportPollFailing":                "warning",
		"LakeFSImportCanceled":                   "info",
		"LakeFSImportsUnwatched":                 "info",
		"LakeFSDown":                             "critical",
		"LakeFSUnauthorized":                     "critical",
		"LakeFSImportDiscoveryFailing":           "warning",
		"LakeFSImportExporterDown":               "critical",
		"LakeFSImportExporterRestarting":         "warning",
		"LakeFSImportExporterConfigReloadFailed": "warning",
		"LakeFSImportExporterImportFileFailed":   "warning",
		"LakeFSImportExporterStorageFailing":     "warning",
	}
	alerts, _ := rules(t)
	got := map[string]string{}
	for name, a := range alerts {
		got[name] = a.Labels["severity"]
		if want := []string{"description", "runbook_url", "summary"}; !slices.Equal(slices.Sorted(maps.Keys(a.Annotations)), want) {
			t.Errorf("%s: annotations %q, want %q", name, slices.Sorted(maps.Keys(a.Annotations)), want)
		}
		// The anchor is that which GitHub, GitLab and others give to the title.
		if got, want := a.Annotations["runbook_url"], "#"+strings.ToLower(name); !strings.HasPrefix(got, "https://") || !strings.HasSuffix(got, want) {
			t.Errorf("%s: runbook_url %q, want an absolute one that ends with %q", name, got, want)
		}
		if !strings.Contains(read(t, runbook), "\n## "+name+"\n\n**Meaning.** ") {
			t.Errorf("%s: has no section in the runbook", name)
		}
	}
	if diff := cmp.Diff(severities, got); diff != "" {
		t.Errorf("severities (-want +got):\n%s", diff)
	}
	if got := strings.Count(read(t, runbook), "\n## "); got != len(severities) {
		t.Errorf("the runbook has %d sections", got)
	}
}

// The one word that the exporter has for the state of an import and the alerts about it
// are two ways to say the same. The demo has imports in every state.
func TestAlertsAgreeWithStates(t *testing.T) {
	need(t, "prometheus")
	demo := start(t, buildExporter(t), "--demo", "--web.listen-address=127.0.0.1:0")
	prometheus := startPrometheus(t, demo.addr, "127.0.0.1:9")
	answers(t, prometheus, "count(group by (state) (lakefs_import_state))", "9")
	answersAs(t, prometheus, `group by (alertname, state) (ALERTS{alertstate="firing",state!=""})`,
		func(s sample) string { return s.Metric["state"] + " " + s.Metric["alertname"] },
		"canceled LakeFSImportCanceled", "failed LakeFSImportFailed", "hung LakeFSImportNotProgressing",
		"lost LakeFSImportLost", "not_found LakeFSImportNotFound", "stalled LakeFSImportStalled")
}

// series is an input of promtool's tests.
type series struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

func seriesOf(name string, labels map[string]string, values string) series {
	var pairs []string
	for _, l := range slices.Sorted(maps.Keys(labels)) {
		// In ASCII, since PromQL does not take U+FFFD as it is.
		pairs = append(pairs, l+"="+strconv.QuoteToASCII(labels[l]))
	}
	return series{name + "{" + strings.Join(pairs, ",") + "}", values}
}

const alertmanagerFile = "alertmanager/alertmanager.yml"

func TestAlertmanagerConfig(t *testing.T) {
	run(t, "amtool", "check-config", alertmanagerFile)
}

func TestRoutes(t *testing.T) {
	for _, tc := range []struct{ labels, receiver string }{
		{"alertname=LakeFSImportCanceled severity=info", "log"},
		{"alertname=LakeFSImportCanceled severity=info team=ingest", "log"},
		{"alertname=LakeFSImportStalled severity=critical team=ingest", "ingest-pager"},
		{"alertname=LakeFSImportStalled severity=critical team=other", "pager"},
		{"alertname=LakeFSImportStalled severity=critical", "pager"},
		{"alertname=LakeFSImportNotFound severity=warning team=ingest", "ingest-chat"},
		{"alertname=LakeFSImportNotFound severity=warning team=other", "chat"},
		{"alertname=LakeFSImportNotFound severity=warning", "chat"},
		{"alertname=LakeFSDown severity=critical server=prod", "pager"},
		{"alertname=LakeFSImportExporterDown severity=critical", "pager"},
		{"alertname=Other", "chat"},
	} {
		t.Run(tc.labels, func(t *testing.T) {
			run(t, "amtool", slices.Concat(
				[]string{"config", "routes", "test", "--config.file=" + alertmanagerFile, "--verify.receivers=" + tc.receiver},
				strings.Fields(tc.labels))...)
		})
	}
}

// message is what Alertmanager makes messages of.
type message struct {
	Receiver          string            `json:"receiver"`
	Status            string            `json:"status"`
	Alerts            []notice          `json:"alerts"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
}

type notice struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

func TestMessages(t *testing.T) {
	amtool := need(t, "amtool")
	at := time.Date(2026, 11, 22, 10, 50, 27, 0, time.UTC)
	alert := func(status, name, severity, id string) notice {
		return notice{
			Status: status,
			Labels: map[string]string{"alertname": name, "severity": severity},
			Annotations: map[string]string{
				"summary": "Import " + id, "description": "lakeFS gave it up: no <such> file & so on.", "runbook_url": "https://example.com/runbook#x",
			},
			StartsAt: at,
		}
	}
	text := func(id, severity string) string {
		return "• Import " + id + " (" + severity + ", since Nov 22 10:50 UTC)\n"
	}
	const why = "lakeFS gave it up: no &lt;such&gt; file &amp; so on.\nRunbook: https://example.com/runbook#x\n"
	stalled, failed := alert("firing", "LakeFSImportStalled", "critical", "a"), alert("firing", "LakeFSImportFailed", "warning", "<b>")
	linked := alert("firing", "LakeFSImportStalled", "critical", "a")
	linked.Annotations["page_url"], linked.Annotations["dashboard_url"] = "https://example.com/imports?server=prod&repository=lake", "https://example.com/d/x"
	ended := alert("resolved", "LakeFSImportStalled", "critical", "c")
	one := map[string]string{"alertname": "LakeFSImportStalled", "severity": "critical", "server": "prod"}
	for _, tc := range []struct {
		name               string
		message            message
		title, text, color string
	}{
		{
			"one", message{Status: "firing", Alerts: []notice{stalled}, CommonLabels: one},
			"FIRING: LakeFSImportStalled: prod", text("a", "critical") + why, "danger",
		},
		{
			"several for one reason", message{
				Status: "firing", Alerts: []notice{failed, failed, ended},
				CommonLabels: map[string]string{
					"alertname": "LakeFSImportFailed", "severity": "warning", "server": "prod", "reason": "dirty_branch", "cluster": "eu", "namespace": "data",
				},
			},
			"FIRING: LakeFSImportFailed (3): dirty_branch on prod in cluster eu, namespace data",
			text("&lt;b&gt;", "warning") + text("&lt;b&gt;", "warning") + why + "\n*Resolved:*\n" + text("c", "critical"), "warning",
		},
		{
			"links", message{Status: "firing", Alerts: []notice{linked}, CommonLabels: one},
			"FIRING: LakeFSImportStalled: prod",
			text("a", "critical") + why + "Imports: https://example.com/imports?server=prod&amp;repository=lake\nDashboard: https://example.com/d/x\n", "danger",
		},
		{
			"resolved", message{Status: "resolved", Alerts: []notice{ended}, CommonLabels: one},
			"RESOLVED: LakeFSImportStalled: prod", "*Resolved:*\n" + text("c", "critical"), "good",
		},
		{
			"an exporter", message{
				Status: "firing", Alerts: []notice{stalled},
				CommonLabels: map[string]string{"alertname": "LakeFSImportExporterDown", "severity": "info"},
			},
			"FIRING: LakeFSImportExporterDown: lakefs_import_exporter", text("a", "critical") + why, "#808080",
		},
		{
			"alerts of other rules", message{Status: "firing", Alerts: []notice{stalled, failed}},
			"FIRING: 2 alerts: lakefs_import_exporter", text("a", "critical") + text("&lt;b&gt;", "warning") + why, "danger",
		},
		{
			"very many", message{Status: "firing", Alerts: slices.Repeat([]notice{stalled}, 1000), CommonLabels: one},
			"FIRING: LakeFSImportStalled (1000): prod", strings.Repeat(text("a", "critical"), 20) + "• and 980 more\n" + why, "danger",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, err := json.Marshal(tc.message)
			if err != nil {
				t.Fatal(err)
			}
			data := filepath.Join(t.TempDir(), "data.json")
			write(t, data, string(b))
			for name, want := range map[string]string{"title": tc.title, "text": tc.text, "color": tc.color} {
				cmd := exec.CommandContext(t.Context(), amtool, "template", "render", "--template.glob=alertmanager/templates/*.tmpl",
					"--template.data="+data, `--template.text={{ template "lakefs.`+name+`" . }}`)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				got, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v: %s", err, stderr.String())
				}
				if got := string(got); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
		})
	}
}
