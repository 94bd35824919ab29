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
	before := time.Now()
	d, c := opened(t)
	if now := d.Now(); now.Before(before) || now.After(time.Now()) {
		t.Errorf("its clock shows %s after the rehearsal, and it is %s", now, time.Now())
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
	if !slices.ContainsFunc(second.Imports, func(v collector.ImportView) bool {
		return !keys(first)[v.Key]
	}) {
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

func keys(s *collector.Snapshot) map[collector.Key]bool {
	keys := map[collector.Key]bool{}
	for _, v := range s.Imports {
		keys[v.Key] = true
	}
	return keys
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
	for ahead := 5 * time.Minute; ahead <= 48*time.Hour; ahead += 5 * time.Minute {
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

// After a week without a scrape, the newest imports of the pipeline are watched.
func TestLongBreak(t *testing.T) {
	d, c := opened(t)
	before := keys(poll(d, c, 0))
	snapshot := poll(d, c, 7*24*time.Hour)
	for _, v := range snapshot.Imports {
		if v.Origin == collector.FromFile && (!v.Seen() || before[v.Key]) {
			t.Errorf("%s of the pipeline: %+v, watched a week before: %t", v.Key, v.Poll, before[v.Key])
		}
	}
	if got := states(snapshot)[collector.Running]; got == 0 {
		t.Errorf("nothing is running: %v", states(snapshot))
	}
}
