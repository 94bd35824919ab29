package deploy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// world is a lakeFS and all that watches it.
type world struct {
	*inbox
	t                                  *testing.T
	lakeFS                             *lakefstest.Server
	configFile, importFile             string
	exporter, prometheus, alertmanager *process
}

func newWorld(t *testing.T) *world {
	t.Helper()
	need(t, "prometheus")
	need(t, "alertmanager")
	w := &world{t: t, inbox: newInbox(t), lakeFS: startLakeFS(t)}
	dir := t.TempDir()
	w.configFile, w.importFile = filepath.Join(dir, "config.yml"), filepath.Join(dir, "imports", "ingest.json")
	w.importFiles()
	write(t, w.configFile, fmt.Sprintf(`
servers:
  - name: prod
    endpoint_url: %s
    basic_auth: {username: %s, password: %s}
    timeout: 500ms
import_files: [imports/*.json]
`, w.lakeFS.URL, lakefstest.AccessKeyID, lakefstest.SecretAccessKey))
	w.startExporter("127.0.0.1:0")
	w.alertmanager = startAlertmanager(t, w.inbox)
	w.prometheus = startPrometheus(t, w.exporter.addr, w.alertmanager.addr)
	return w
}

func (w *world) startExporter(address string) {
	w.t.Helper()
	w.exporter = start(w.t, buildExporter(w.t), "--config.file="+w.configFile, "--web.listen-address="+address)
}

// importFiles puts what is to be watched into the import file, as a pipeline
// would: at once, under another name first.
func (w *world) importFiles(refs ...lakefs.Ref) {
	w.t.Helper()
	entries := []map[string]any{}
	for _, ref := range refs {
		entries = append(entries, map[string]any{
			"repository": ref.Repository, "branch": ref.Branch, "id": ref.ID,
			"labels": map[string]string{"team": "ingest"},
		})
	}
	b, err := json.Marshal(entries)
	if err != nil {
		w.t.Fatal(err)
	}
	write(w.t, w.importFile+".new", string(b))
	if err := os.Rename(w.importFile+".new", w.importFile); err != nil {
		w.t.Fatal(err)
	}
}

// fires waits for a notice that an alert fires.
func (w *world) fires(path, alert string, ref lakefs.Ref) {
	w.t.Helper()
	var n notice
	eventually(w.t, alert, func() (err error) {
		n, err = w.paged(path, alert, ref.ID, "firing")
		return err
	})
	want := map[string]string{"alertname": alert, "severity": "critical"}
	switch alert {
	case "LakeFSDown":
		maps.Copy(want, map[string]string{"server": "prod", "job": "lakefs-imports"})
	default:
		maps.Copy(want, map[string]string{
			"server": "prod", "repository": ref.Repository, "branch": ref.Branch, "import_id": ref.ID, "team": "ingest",
			"state": strings.ToLower(strings.TrimPrefix(alert, "LakeFSImport")),
		})
	}
	if !maps.Equal(n.Labels, want) {
		w.t.Errorf("%s: labels %q, want %q", alert, n.Labels, want)
	}
}

// resolves waits for a notice that an alert is over.
func (w *world) resolves(path, alert string, ref lakefs.Ref) {
	w.t.Helper()
	eventually(w.t, alert+" is over", func() error {
		_, err := w.paged(path, alert, ref.ID, "resolved")
		return err
	})
}

// gettable is an alert as Alertmanager's API has it.
type gettable struct {
	Labels map[string]string
	Status struct{ State string }
}

// assertStates waits until Alertmanager has just these alerts, by the name of
// the alert and the ID of the import, in these states.
func (w *world) assertStates(want map[string]string) {
	w.t.Helper()
	eventually(w.t, "states in Alertmanager", func() error {
		var alerts []gettable
		if err := get(w.alertmanager.URL+"/api/v2/alerts", &alerts); err != nil {
			return err
		}
		got := map[string]string{}
		for _, a := range alerts {
			got[a.Labels["alertname"]+"/"+a.Labels["import_id"]] = a.Status.State
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	})
}

// activeSince returns since when an alert is active in Prometheus.
func (w *world) activeSince(alert string) time.Time {
	w.t.Helper()
	var answer struct {
		Data struct {
			Alerts []struct {
				Labels   map[string]string
				State    string
				ActiveAt time.Time
			}
		}
	}
	if err := get(w.prometheus.URL+"/api/v1/alerts", &answer); err != nil {
		w.t.Fatal(err)
	}
	for _, a := range answer.Data.Alerts {
		if a.Labels["alertname"] == alert && a.State == "firing" {
			return a.ActiveAt
		}
	}
	w.t.Errorf("%s does not fire", alert)
	return time.Time{}
}

// seen waits until Prometheus has got a series of an import.
func (w *world) seen(metric string, ref lakefs.Ref) {
	w.t.Helper()
	eventually(w.t, metric+" in Prometheus", func() error {
		return hasData(w.prometheus, fmt.Sprintf("%s{import_id=%q}", metric, ref.ID))
	})
}

var errNoData = errors.New("no data")

// sample is one of those that an instant query is answered with.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

func (s sample) value() string { return fmt.Sprint(s.Value[1]) }

// query returns the samples that an instant query is answered with, which must be some.
func query(prometheus *process, expr string) ([]sample, error) {
	var answer struct{ Data struct{ Result []sample } }
	err := get(prometheus.URL+"/api/v1/query?query="+url.QueryEscape(expr), &answer)
	if err == nil && len(answer.Data.Result) == 0 {
		err = errNoData
	}
	return answer.Data.Result, err
}

// hasData returns nil if an instant query is answered with data.
func hasData(prometheus *process, expr string) error {
	_, err := query(prometheus, expr)
	return err
}

// An outage of lakeFS and a restart of the exporter take back nothing that people were
// told of imports, and tell nothing else. What else there is to tell is in TestDrill.
func TestOutage(t *testing.T) {
	w := newWorld(t)
	long := lakefstest.Script{Objects: 1 << 40, Rate: 1000}
	crash := long
	crash.End, crash.EndAfter = lakefstest.Crash, 3*time.Second
	running := w.lakeFS.Start("lake", "main", long)
	// The exporter takes a heartbeat of two minutes for a stall: this one is older.
	stalls := w.lakeFS.StartAt(lakefs.Ref{Repository: "lake", Branch: "main"}, crash, time.Now().Add(-10*time.Minute))
	vanishes := w.lakeFS.Start("pond", "main", long)
	w.importFiles(running, stalls, vanishes)
	w.fires("/ingest", "LakeFSImportStalled", stalls)
	stalledSince := w.activeSince("LakeFSImportStalled")
	w.seen("lakefs_import_ingested_objects", vanishes)
	w.lakeFS.Forget(vanishes)
	w.fires("/ingest", "LakeFSImportLost", vanishes)

	const stalled, lost, down = "LakeFSImportStalled/", "LakeFSImportLost/", "LakeFSDown/"
	before := map[string]string{stalled + stalls.ID: "active", lost + vanishes.ID: "active"}
	w.assertStates(before)
	back := w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Break: lakefstest.Cut})
	w.fires("/pager", "LakeFSDown", lakefs.Ref{})
	// As long as it takes for polls to have failed for 15s (here) for 5s.
	eventually(t, "a long outage", func() error {
		return hasData(w.prometheus, `max_over_time(lakefs_up[25s]) == 0`)
	})
	w.assertStates(map[string]string{stalled + stalls.ID: "suppressed", lost + vanishes.ID: "active", down: "active"})
	back()
	w.resolves("/pager", "LakeFSDown", lakefs.Ref{})
	w.assertStates(before)

	// The exporter does not remember the lost import, and takes it for one that never was.
	w.exporter.kill()
	eventually(t, "a scrape that fails", func() error { return hasData(w.prometheus, `up{job="lakefs-imports"} == 0`) })
	w.startExporter(w.exporter.addr)
	w.seen("lakefs_import_ingested_objects", stalls)
	if since := w.activeSince("LakeFSImportStalled"); !since.Equal(stalledSince) {
		t.Errorf("LakeFSImportStalled: active since %s, and then since %s", stalledSince, since)
	}

	// Nobody watches them any more.
	w.importFiles(running)
	for alert, ref := range map[string]lakefs.Ref{"LakeFSImportStalled": stalls, "LakeFSImportLost": vanishes} {
		w.resolves("/ingest", alert, ref)
		if got := w.history("/ingest", alert, ref.ID); got != "firing resolved" {
			t.Errorf("%s: got notices: %s", alert, got)
		}
	}
	w.assertRulesHealthy()
}

// assertRulesHealthy asserts that Prometheus could evaluate every rule, with
// its annotations.
func (w *world) assertRulesHealthy() {
	w.t.Helper()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	if err := get(w.prometheus.URL+"/api/v1/rules", &answer); err != nil {
		w.t.Fatal(err)
	}
	count := 0
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			count++
			if r.Health != "ok" {
				w.t.Errorf("rule %s: %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if alerts, records := rules(w.t); count != len(alerts)+len(records) {
		w.t.Errorf("Prometheus has %d rules", count)
	}
	if log := read(w.t, w.prometheus.log); strings.Contains(log, "Expanding alert template failed") {
		w.t.Errorf("annotations do not expand:\n%s", log)
	}
}

// What mutes what, in a real Alertmanager. Every source and target are alone on
// a server, and a label says in what state the alert should be.
func TestInhibition(t *testing.T) {
	am := startAlertmanager(t, newInbox(t))
	alerts, _ := rules(t)
	const unseen = "LakeFSImport(Stalled|NotProgressing|NotFound|Overrunning|PollFailing|Overdue)"
	mutes := map[string]string{
		"LakeFSDown":                 unseen,
		"LakeFSUnauthorized":         "LakeFSImport(Overrunning|Overdue)",
		"LakeFSImportStalled":        "LakeFSImportOverrunning",
		"LakeFSImportNotProgressing": "LakeFSImportOverrunning",
	}
	type alert struct {
		Labels map[string]string `json:"labels"`
	}
	var post []alert
	add := func(name, want string, labels ...string) {
		all := map[string]string{"alertname": name, "want": want, "cluster": "one", "namespace": "data", "repository": "lake", "import_id": "1"}
		for i := 0; i < len(labels); i += 2 {
			all[labels[i]] = labels[i+1]
		}
		post = append(post, alert{all})
	}
	for source := range alerts {
		for target := range alerts {
			if target == source {
				continue
			}
			server := source + " and " + target
			if muted, _ := regexp.MatchString("^("+mutes[target]+")$", source); !muted {
				add(source, "active", "server", server)
			} else {
				continue // the other way round
			}
			want := "active"
			if muted, _ := regexp.MatchString("^("+mutes[source]+")$", target); muted {
				want = "suppressed"
			}
			add(target, want, "server", server)
			add(target, "active", "server", "not "+server)
			add(target, "active", "server", server, "cluster", "two")
			add(target, "active", "server", server, "namespace", "other")
			if mutes[source] == "LakeFSImportOverrunning" {
				add(target, "active", "server", server, "import_id", "2")
			}
		}
	}
	b, err := json.Marshal(post)
	if err != nil {
		t.Fatal(err)
	}
	if err := request(http.MethodPost, am.URL+"/api/v2/alerts", bytes.NewReader(b), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "sources and targets", func() error {
		var got []gettable
		if err := get(am.URL+"/api/v2/alerts", &got); err != nil {
			return err
		}
		if len(got) != len(post) {
			return fmt.Errorf("%d alerts, want %d", len(got), len(post))
		}
		for _, a := range got {
			if a.Status.State != a.Labels["want"] {
				return fmt.Errorf("%v: %s", a.Labels, a.Status.State)
			}
		}
		return nil
	})
}
