// Package testworld is a collector and the lakeFS servers that it polls, on one
// clock, for the tests of what shows them.
package testworld

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/config"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// World is a collector and its lakeFS servers.
type World struct {
	T         testing.TB
	Clock     *lakefstest.Clock
	Registry  *prometheus.Registry
	Collector *collector.Collector
	// Config is what the collector watches, once Apply is called.
	Config collector.Config
}

// New returns a world that watches nothing yet. The functions change the options
// of its collector.
func New(t testing.TB, change ...func(*collector.Options)) *World {
	t.Helper()
	w := &World{
		T: t, Registry: prometheus.NewRegistry(),
		Clock: lakefstest.NewClock(time.Date(2026, 11, 22, 10, 50, 27, 374205733, time.UTC)),
	}
	opts := collector.Options{
		Now: w.Clock.Now, Logger: log.NewNopLogger(), Registerer: w.Registry,
		Retention: 24 * time.Hour, FinishedFor: 24 * time.Hour, MaxRegistered: 3,
	}
	for _, f := range change {
		f(&opts)
	}
	var err error
	if w.Collector, err = collector.New(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Collector.Close() }) // fails where the test's Store does
	return w
}

// Apply has the collector watch what is in Config.
func (w *World) Apply() { w.Collector.Apply(w.Config) }

// AddLakeFS starts a lakeFS whose clock is skew ahead, and adds it to Config.
func (w *World) AddLakeFS(name string, skew time.Duration) *lakefstest.Server {
	w.T.Helper()
	server, err := lakefstest.New(lakefstest.Options{Clock: func() time.Time { return w.Clock.Now().Add(skew) }})
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(server.Close)
	httpConfig := config.DefaultHTTPClientConfig
	httpConfig.BasicAuth = &config.BasicAuth{Username: lakefstest.AccessKeyID, Password: lakefstest.SecretAccessKey}
	client, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: server.URL, HTTP: httpConfig, UserAgent: "test"})
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(client.CloseIdleConnections)
	w.Config.Servers = append(w.Config.Servers, collector.Server{Name: name, Client: client, Timeout: time.Minute, MaxConcurrentRequests: 32})
	w.Apply()
	return server
}

// Watch adds an import to Config, changed by the functions.
func (w *World) Watch(server string, ref lakefs.Ref, change ...func(*collector.Import)) {
	imp := collector.Import{
		Key:             collector.Key{Server: server, Repository: ref.Repository, ID: ref.ID},
		Branch:          ref.Branch,
		NoProgressAfter: collector.DefaultNoProgressAfter,
	}
	for _, f := range change {
		f(&imp)
	}
	w.Config.Imports = append(w.Config.Imports, &imp)
	w.Apply()
}

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// Golden compares got with a file in testdata, or writes it with -update.
func Golden(t testing.TB, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
