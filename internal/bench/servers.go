package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/xid"
)

const (
	accessKeyID     = "AKIAIOSFOLQUICKSTART"
	secretAccessKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// serve answers requests until standard input ends, as it does with the parent
// process. It says on w where it listens.
func serve(w io.Writer, handler http.Handler) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it takes no time
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "http://%s\n", listener.Addr())
	failed := make(chan error, 2)
	go func() { failed <- (&http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}).Serve(listener) }()
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		failed <- err
	}()
	return <-failed
}

// importID returns the ID of the i-th import: an xid, as those of lakeFS.
func importID(i int) string {
	var id xid.ID
	binary.BigEndian.PutUint32(id[:], 1795344627)
	binary.BigEndian.PutUint32(id[8:], uint32(i))
	return id.String()
}

// objects returns how many objects the import of an ID has ingested.
func objects(id string) int64 {
	parsed, err := xid.FromString(id)
	if err != nil {
		return 0
	}
	return int64(parsed.Counter()) + 1
}

func repository(i int) string { return fmt.Sprintf("repo-%03d", i%100) }

// statusPath returns where lakeFS has the status of the i-th import.
func statusPath(i int) string {
	return "/api/v1/repositories/" + repository(i) + "/branches/main/import?id=" + importID(i)
}

// standIn is as much of a lakeFS as a scrape needs. At /requests it tells how
// often it was asked for a status.
func standIn(finished bool, delay time.Duration) http.Handler {
	const commit = `,"commit":{"id":"6ff0e3b9b9dd3e2bd9ad2fd0d2a4a7d6b8d9c8a7e6f5d4c3b2a1908070605040","message":"import","committer":"bench",` +
		`"creation_date":1795344655,"parents":[],"meta_range_id":"ec17"},"metarange_id":"ec17"`
	end := "}"
	if finished {
		end = commit + end
	}
	begin := time.Now().UTC()
	var requests atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/repositories/{repository}/branches/{branch}/import", func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if id, secret, _ := r.BasicAuth(); id != accessKeyID || secret != secretAccessKey {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if delay > 0 {
			<-time.After(delay)
		}
		body := make([]byte, 0, 512)
		body = append(body, `{"completed":`...)
		body = strconv.AppendBool(body, finished)
		body = append(body, `,"ingested_objects":`...)
		body = strconv.AppendInt(body, objects(strings.TrimPrefix(r.URL.RawQuery, "id=")), 10)
		body = append(body, `,"update_time":"`...)
		updated := time.Now().UTC()
		if finished {
			updated = begin
		}
		body = updated.AppendFormat(body, time.RFC3339Nano)
		body = append(append(body, '"'), end...)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
	mux.HandleFunc("GET /api/v1/healthcheck", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, requests.Load())
	})
	return mux
}

// The series of a watched import, and of one that has finished with success.
var (
	runningSeries = []string{
		"lakefs_import_completed", "lakefs_import_error", "lakefs_import_ingested_objects",
		"lakefs_import_last_status_timestamp_seconds", "lakefs_import_poll_success", "lakefs_import_progress_timestamp_seconds",
		"lakefs_import_seconds_since_update", "lakefs_import_start_timestamp_seconds", "lakefs_import_state",
		"lakefs_import_update_timestamp_seconds",
	}
	finishedSeries = append([]string{"lakefs_import_commit_info"}, runningSeries...)
)

// constMetrics serves the series of n finished imports the plain way: a
// prometheus.Collector that makes a const metric of each, in a registry.
func constMetrics(n int) http.Handler {
	c := make(constCollector, n)
	for i := range c {
		c[i] = constImport{repository(i), importID(i)}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(c, collectors.NewGoCollector())
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	return mux
}

type constImport struct{ repository, id string }

type constCollector []constImport

var constDescs = func() []*prometheus.Desc {
	labels := []string{"branch", "import_id", "repository", "server", "team"}
	var descs []*prometheus.Desc
	for _, name := range finishedSeries {
		with := labels
		switch name {
		case "lakefs_import_commit_info":
			with = slices.Concat(labels, []string{"commit_id", "metarange_id"})
		case "lakefs_import_state":
			with = slices.Concat(labels, []string{"state"})
		}
		descs = append(descs, prometheus.NewDesc(name, "Help as long as that of the exporter's own metrics is on average.", with, nil))
	}
	return descs
}()

func (c constCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range constDescs {
		ch <- d
	}
}

func (c constCollector) Collect(ch chan<- prometheus.Metric) {
	now := float64(time.Now().UnixMicro()) / 1e6
	for i, imp := range c {
		labels := []string{"main", imp.id, imp.repository, "prod", "ingest"}
		for d, desc := range constDescs {
			value, with := float64(i+1), labels
			switch name := finishedSeries[d]; {
			case name == "lakefs_import_commit_info":
				value, with = 1, slices.Concat(labels, []string{"6ff0e3b9b9dd3e2bd9ad2fd0d2a4a7d6b8d9c8a7e6f5d4c3b2a1908070605040", "ec17"})
			case name == "lakefs_import_state":
				value, with = 1, slices.Concat(labels, []string{"succeeded"})
			case strings.Contains(name, "_seconds"):
				value = now
			case name != "lakefs_import_ingested_objects":
				value = 1
			}
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, with...)
		}
	}
}
