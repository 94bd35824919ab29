package demo

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

// opened returns a demo that has been rehearsed, and the collector that watches
// it until the test ends.
func opened(t *testing.T) (*Demo, *collector.Collector) {
	t.Helper()
	d, err := Start("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	t.Cleanup(d.client.CloseIdleConnections)
	c, err := collector.New(collector.Options{
		Now: d.Now, Logger: log.NewNopLogger(), Registerer: prometheus.NewRegistry(), FinishedFor: 24 * time.Hour, Retention: 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	cfg, err := d.Config()
	if err != nil {
		t.Fatal(err)
	}
	c.Apply(cfg)
	d.Rehearse(c.Poll)
	return d, c
}

// poll returns how everything stands a while after the demo opened.
func poll(d *Demo, c *collector.Collector, ahead time.Duration) *collector.Snapshot {
	d.behind.Store(-int64(ahead))
	d.update() // which a ticker of the real clock does else
	c.Poll(context.Background())
	return c.Snapshot()
}

// states returns how many imports are in each state.
func states(s *collector.Snapshot) map[collector.State]int {
	count := map[collector.State]int{}
	for _, v := range s.Imports {
		count[v.State]++
	}
	return count
}

func missing(s *collector.Snapshot) []collector.State {
	count := states(s)
	return slices.DeleteFunc(collector.States(), func(state collector.State) bool { return count[state] > 0 })
}

// When the demo opens, every state and every metric of imports can be seen.
func TestOpening(t *testing.T) {
	d, c := opened(t)
	if behind := time.Since(d.Now()); behind > rehearsalStep {
		t.Errorf("its clock is %s behind after the rehearsal", behind)
	}
	snapshot := poll(d, c, 0)
	if got := missing(snapshot); len(got) > 0 {
		t.Errorf("no import is %v; there are %v", got, states(snapshot))
	}
	if s := snapshot.Servers[0]; !s.Up || !s.Authorized {
		t.Errorf("its lakeFS: %+v", s)
	}
	for _, v := range snapshot.Imports {
		if err := v.Validate(); err != nil {
			t.Errorf("%s: %v", v.Key, err)
		}
	}
	unused := []string{"lakefs_import_exporter_import_file_error", "lakefs_import_max_duration_seconds"}
	for _, f := range snapshot.Families() {
		if !slices.Contains(unused, f.Name) && len(f.Gather().GetMetric()) == 0 {
			t.Errorf("no series of %s", f.Name)
		}
	}
}

// Charts move: within two minutes counts grow and an import is started, and one
// finishes within ten.
func TestMovement(t *testing.T) {
	d, c := opened(t)
	first := poll(d, c, 0)
	second := poll(d, c, 2*time.Minute)
	if objects(second) <= objects(first) {
		t.Errorf("%d objects, and two minutes later %d", objects(first), objects(second))
	}
	if newest(second) == newest(first) {
		t.Error("no import was started within two minutes")
	}
	finished := false
	for ahead, last := 2*time.Minute, second; ahead <= 10*time.Minute; ahead += 15 * time.Second {
		next := poll(d, c, ahead)
		finished = finished || states(next)[collector.Succeeded] > states(last)[collector.Succeeded]
		last = next
	}
	if !finished {
		t.Error("none succeeded within ten minutes")
	}
}

// newest returns the ID of the import that the pipeline started last.
func newest(s *collector.Snapshot) (id string) {
	for _, v := range s.Imports {
		if v.Origin == collector.FromFile {
			id = max(id, v.ID)
		}
	}
	return id
}

func objects(s *collector.Snapshot) (n int64) {
	for _, v := range s.Imports {
		n += v.IngestedObjects
	}
	return n
}

// Two days later every state can still be seen, and there are no more imports.
func TestTwoDays(t *testing.T) {
	d, c := opened(t)
	first := poll(d, c, 0)
	pipeline := map[collector.State]int{}
	for ahead := 20 * time.Minute; ahead <= 48*time.Hour; ahead += 20 * time.Minute {
		snapshot := poll(d, c, ahead)
		if got := missing(snapshot); len(got) > 0 {
			t.Fatalf("after %s: no import is %v; there are %v", ahead, got, states(snapshot))
		}
		if len(snapshot.Imports) != len(first.Imports) {
			t.Fatalf("after %s: %d imports, at first %d", ahead, len(snapshot.Imports), len(first.Imports))
		}
		for _, v := range snapshot.Imports {
			if v.Origin == collector.FromFile {
				pipeline[v.State]++
			}
		}
	}
	got := slices.Sorted(maps.Keys(pipeline))
	if diff := cmp.Diff([]collector.State{collector.Failed, collector.Running, collector.Succeeded}, got); diff != "" {
		t.Errorf("states of the pipeline's imports (-want +got):\n%s", diff)
	}
}

// What storage remembers of an earlier demo is not watched: its lakeFS is gone.
func TestEarlierDemo(t *testing.T) {
	d, _ := opened(t)
	for _, known := range d.imports {
		if _, ok := d.Describe(known.Repository, known.ID); !ok {
			t.Errorf("%s: not described", known.Ref())
		}
	}
	earlier := lakefs.Ref{Repository: d.imports[lost].Repository, ID: "dc1chj1ksduerdki88b0"}
	if _, ok := d.Describe(earlier.Repository, earlier.ID); ok {
		t.Errorf("%s: described", earlier)
	}
}
