package deploy_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// answers waits until a query is answered with these values, in any order.
func answers(t *testing.T, prometheus *process, expr string, want ...string) {
	t.Helper()
	answersAs(t, prometheus, expr, sample.value, want...)
}

// answersAs is answers with more of each sample than its value.
func answersAs(t *testing.T, prometheus *process, expr string, row func(sample) string, want ...string) {
	t.Helper()
	eventually(t, expr, func() error {
		samples, err := query(prometheus, expr)
		var got []string
		for _, s := range samples {
			got = append(got, row(s))
		}
		slices.Sort(got)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return err
	})
}

func startLakeFS(t *testing.T) *lakefstest.Server {
	t.Helper()
	server, err := lakefstest.New(lakefstest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

func serverYAML(name string, server *lakefstest.Server) string {
	return fmt.Sprintf("  - {name: %s, endpoint_url: %s, basic_auth: {username: %s, password: %s}}\n",
		name, server.URL, lakefstest.AccessKeyID, lakefstest.SecretAccessKey)
}

// slow is an import that runs for days.
var slow = lakefstest.Script{Objects: 1_000_000, Rate: 1}

// Prometheus discovers imports by itself and probes them by the shipped job.
func TestProbes(t *testing.T) {
	need(t, "prometheus")
	prod, dev := startLakeFS(t), startLakeFS(t)
	running := prod.Start("my-repo", "main", slow)
	failed := dev.StartAt(lakefs.Ref{Repository: "other-repo", Branch: "main"}, lakefstest.Script{End: lakefstest.Failure}, time.Now().Add(-time.Minute))
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	write(t, config, "servers:\n"+serverYAML("prod", prod)+serverYAML("dev", dev))
	exporter := start(t, buildExporter(t), "--config.file="+config, "--web.listen-address=127.0.0.1:0")
	target := func(server string, ref lakefs.Ref) string {
		return fmt.Sprintf("- targets: ['lakefs://%s']\n  labels: {lakefs_server: %s, team: ingest}\n", ref, server)
	}
	write(t, filepath.Join(dir, "probes", "a.yml"), target("prod", running))
	prometheus := startPrometheusIn(t, dir, exporter.addr, "127.0.0.1:1")

	labels := func(ref lakefs.Ref, server string) string {
		return fmt.Sprintf(`{job="lakefs-import-probes",instance="lakefs://%s",server=%q,repository=%q,branch=%q,import_id=%q,team="ingest",lakefs_server=""}`,
			ref, server, ref.Repository, ref.Branch, ref.ID)
	}
	answers(t, prometheus, "lakefs_import_poll_success"+labels(running, "prod"), "1")
	answers(t, prometheus, "lakefs_import_completed"+labels(running, "prod"), "0")

	// Another import, of another server, and one that is not there.
	missing := lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "nosuch"}
	write(t, filepath.Join(dir, "probes", "b.yml"), target("dev", failed)+target("prod", missing))
	answers(t, prometheus, "lakefs_import_error"+labels(failed, "dev"), "1")
	answers(t, prometheus, `lakefs_import_state{state="not_found"} and ignoring (state) lakefs_import_poll_success`+labels(missing, "prod"), "1")
	answers(t, prometheus, "lakefs_import_poll_success"+labels(missing, "prod"), "0")
	answers(t, prometheus, `up{job="lakefs-import-probes"}`, "1", "1", "1")
	// An alert of a probed import carries the labels that the target was given.
	answers(t, prometheus, fmt.Sprintf(`count(ALERTS{alertname="LakeFSImportFailed",alertstate="firing",severity="warning",server="dev",import_id=%q,team="ingest",instance=""})`, failed.ID), "1")

	// A poll that fails is no failed scrape.
	prod.Inject(lakefstest.StatusOf(running), lakefstest.Fault{Status: 500})
	answers(t, prometheus, "lakefs_import_poll_success"+labels(running, "prod")+" and on (instance) up == 1", "0")
	answers(t, prometheus, "lakefs_import_poll_success"+labels(failed, "dev"), "1")
}

// Three exporters share out the imports of one config, and one Prometheus sees
// each of them once.
func TestShards(t *testing.T) {
	need(t, "prometheus")
	const imports, shards = 1000, 3
	lakeFS := startLakeFS(t)
	dir := t.TempDir()
	var entries strings.Builder
	var refs []lakefs.Ref
	for i := range imports {
		// It has listed its i+1 objects, and writes ranges for a day.
		ref := lakeFS.StartAt(lakefs.Ref{Repository: fmt.Sprintf("repo-%d", i%10), Branch: "main"},
			lakefstest.Script{Objects: int64(i + 1), Committing: 24 * time.Hour}, time.Now().Add(-time.Minute))
		refs = append(refs, ref)
		fmt.Fprintf(&entries, "- {repository: %s, branch: main, id: %s}\n", ref.Repository, ref.ID)
	}
	write(t, filepath.Join(dir, "imports.yml"), entries.String())
	config := filepath.Join(dir, "config.yml")
	write(t, config, "servers:\n"+serverYAML("prod", lakeFS)+"import_files: [imports.yml]\n")
	var addresses []string
	for shard := range shards {
		exporter := start(t, buildExporter(t), "--config.file="+config, "--web.listen-address=127.0.0.1:0",
			fmt.Sprintf("--shard=%d", shard), fmt.Sprintf("--total-shards=%d", shards))
		addresses = append(addresses, exporter.addr)
		if err := get(exporter.URL+"/api/v1/imports", nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, ref := range refs {
		if got := lakeFS.StatusRequests(ref); got != 1 {
			t.Errorf("%s was polled by %d of the exporters", ref, got)
		}
	}
	prometheus := startPrometheusIn(t, dir, strings.Join(addresses, ", "), "127.0.0.1:1")
	answers(t, prometheus, "count(lakefs_import_poll_success == 1)", fmt.Sprint(imports))
	answers(t, prometheus, "count(count by (repository, branch, import_id) (lakefs_import_ingested_objects))", fmt.Sprint(imports))
	answers(t, prometheus, "sum(lakefs_import_ingested_objects)", fmt.Sprint(imports*(imports+1)/2))
	answers(t, prometheus, "sum(lakefs_import_exporter_imports)", fmt.Sprint(imports))
	answers(t, prometheus, "count(lakefs_import_exporter_imports{source='file'} > 250)", fmt.Sprint(shards))
}
