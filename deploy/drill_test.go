package deploy_test

import (
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// gate is a way to an exporter that can be shut.
type gate struct {
	addr string
	shut atomic.Bool
}

func newGate(t *testing.T, exporter *process) *gate {
	t.Helper()
	target, err := url.Parse(exporter.URL)
	if err != nil {
		t.Fatal(err)
	}
	g, proxy := &gate{}, httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // of an exporter that was killed
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.shut.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g.addr = strings.TrimPrefix(server.URL, "http://")
	return g
}

// drill is a fleet: two exporters that watch the same imports, two Prometheus servers,
// and a third that never reaches an exporter.
type drill struct {
	*inbox
	t            *testing.T
	lakeFS       *lakefstest.Server
	importFile   string
	configFile   string
	exporters    [2]*process
	gates        [2]*gate // of the second Prometheus
	alertmanager *process
	prometheus   *process // the first
}

func newDrill(t *testing.T) *drill {
	t.Helper()
	need(t, "prometheus")
	need(t, "alertmanager")
	dir := t.TempDir()
	d := &drill{
		t: t, inbox: newInbox(t), lakeFS: startLakeFS(t),
		importFile: filepath.Join(dir, "imports.yml"), configFile: filepath.Join(dir, "config.yml"),
	}
	write(t, d.configFile, fmt.Sprintf(`
servers:
  - {name: prod, endpoint_url: %[1]s, basic_auth: {username: %[2]s, password: %[3]s}}
  - {name: keys, endpoint_url: %[1]s, basic_auth: {username: %[2]s, password: wrong}}
  - name: discovery
    endpoint_url: %[1]s
    basic_auth: {username: %[2]s, password: %[3]s}
    discovery: {postgres: {dsn: "postgres://nobody@127.0.0.1:1/gone"}}
import_files: [imports.yml]
`, d.lakeFS.URL, lakefstest.AccessKeyID, lakefstest.SecretAccessKey))
	d.watch()
	d.alertmanager = startAlertmanager(t, d.inbox)
	for i := range d.exporters {
		d.startExporter(i, "127.0.0.1:0")
		d.gates[i] = newGate(t, d.exporters[i])
	}
	d.prometheus = startPrometheus(t, d.exporters[0].addr+", "+d.exporters[1].addr, d.alertmanager.addr)
	startPrometheus(t, d.gates[0].addr+", "+d.gates[1].addr, d.alertmanager.addr)
	startPrometheus(t, "127.0.0.1:1", d.alertmanager.addr) // never reaches any
	return d
}

func (d *drill) startExporter(i int, address string) {
	d.t.Helper()
	d.exporters[i] = start(d.t, buildExporter(d.t), "--config.file="+d.configFile, "--web.listen-address="+address)
}

// watch puts what is to be watched into the import file.
func (d *drill) watch(refs ...lakefs.Ref) {
	d.t.Helper()
	entries := "- {server: keys, repository: lake, branch: main, id: dc1chj1ksduerdki88b0}\n"
	for _, ref := range refs {
		entries += fmt.Sprintf("- {server: prod, repository: %s, branch: %s, id: %s, labels: {team: ingest}}\n", ref.Repository, ref.Branch, ref.ID)
	}
	write(d.t, d.importFile, entries)
}

// orphan is an import whose heartbeat has ended long ago.
func (d *drill) orphan() lakefs.Ref {
	crash := lakefstest.Script{Objects: 1 << 40, Rate: 1000, End: lakefstest.Crash, EndAfter: 3 * time.Second}
	return d.lakeFS.StartAt(lakefs.Ref{Repository: "lake", Branch: "main"}, crash, time.Now().Add(-10*time.Minute))
}

func (d *drill) fires(path, alert, id string) {
	d.t.Helper()
	eventually(d.t, alert, func() error {
		_, err := d.paged(path, alert, id, "firing")
		return err
	})
}

// down waits until so many exporters are down, by Alertmanager.
func (d *drill) down(want int) {
	d.t.Helper()
	eventually(d.t, fmt.Sprintf("%d exporters down", want), func() error {
		var alerts []gettable
		if err := get(d.alertmanager.URL+"/api/v2/alerts?filter=alertname%3DLakeFSImportExporterDown", &alerts); err != nil {
			return err
		}
		if len(alerts) != want {
			return fmt.Errorf("%d are down", len(alerts))
		}
		return nil
	})
}

// People hear of each cause once, whatever happens to exporters and Prometheus servers.
func TestDrill(t *testing.T) {
	d := newDrill(t)
	running := d.lakeFS.Start("lake", "main", lakefstest.Script{Objects: 1 << 40, Rate: 1000})
	first := d.orphan()
	watched := []lakefs.Ref{running, first}
	dirty := lakefstest.Script{End: lakefstest.Failure, Message: "import error: merge import: uncommitted changes (dirty branch)"}
	for i := range 200 {
		watched = append(watched, d.lakeFS.StartAt(lakefs.Ref{Repository: fmt.Sprintf("lake-%d", i%20), Branch: "main"}, dirty, time.Now().Add(-time.Minute)))
	}
	d.watch(watched...)

	// An orphan, wrong keys, a discovery that is gone, and 200 failures for one reason.
	d.fires("/ingest", "LakeFSImportStalled", first.ID)
	d.fires("/pager", "LakeFSUnauthorized", "")
	told := func(channel string, titles ...string) {
		t.Helper()
		for _, title := range titles {
			eventually(t, title, func() error {
				if got := d.titles(channel); got[title] == 0 {
					return fmt.Errorf("%s has only %v", channel, got)
				}
				return nil
			})
		}
	}
	told("#ingest", "FIRING: LakeFSImportFailed (200): dirty_branch on prod", "FIRING: LakeFSImportStalled: prod")
	told("#lakefs", "FIRING: LakeFSImportDiscoveryFailing: refresh_failed on discovery", "FIRING: LakeFSUnauthorized: keys")

	// The second Prometheus cannot reach the exporters any more. It says so, and mutes
	// nothing of what the first one sees.
	for _, g := range d.gates {
		g.shut.Store(true)
	}
	d.fires("/pager", "LakeFSImportExporterDown", "")
	second := d.orphan()
	d.watch(append(watched, second)...)
	d.fires("/ingest", "LakeFSImportStalled", second.ID)
	for _, g := range d.gates {
		g.shut.Store(false)
	}
	d.down(0)

	// Both exporters die. What was told of imports and servers is not taken back.
	for _, e := range d.exporters {
		e.kill()
	}
	d.down(4) // to both Prometheus
	eventually(t, "the end of the lookback", func() error { return hasData(d.prometheus, `absent(last_over_time(lakefs_up[17s]))`) })
	want := map[string]int{"/ingest LakeFSImportStalled prod": 2, "/pager LakeFSUnauthorized keys": 1}
	got := maps.Clone(d.counts())
	delete(got, "/pager LakeFSImportExporterDown") // for each exporter and Prometheus, as they fail
	if !maps.Equal(got, want) {
		t.Errorf("pages: got %v, want %v", got, want)
	}
	for _, path := range []string{"/ingest", "/pager"} {
		if got := d.history(path, "LakeFSImportStalled", first.ID) + d.history(path, "LakeFSUnauthorized", ""); got != "firing" {
			t.Errorf("%s: got notices: %q", path, got)
		}
	}

	// They come back, and somebody cancels the orphans.
	for i, e := range d.exporters {
		d.startExporter(i, e.addr)
	}
	for _, ref := range []lakefs.Ref{first, second} {
		if !d.lakeFS.Cancel(ref) {
			t.Error("an orphan cannot be canceled")
		}
	}
	told("#lakefs-log", "FIRING: LakeFSImportCanceled (2): prod")
	for _, ref := range []lakefs.Ref{first, second} {
		eventually(t, "the end of an orphan", func() error {
			_, err := d.paged("/ingest", "LakeFSImportStalled", ref.ID, "resolved")
			return err
		})
		if got := d.history("/ingest", "LakeFSImportStalled", ref.ID); got != "firing resolved" {
			t.Errorf("got notices: %s", got)
		}
	}
	for channel, title := range map[string]string{
		"#ingest": "FIRING: LakeFSImportFailed (200): dirty_branch on prod",
		"#lakefs": "FIRING: LakeFSImportDiscoveryFailing: refresh_failed on discovery",
	} {
		if got := d.titles(channel)[title]; got != 1 {
			t.Errorf("%s: told %d times", title, got)
		}
	}
}
