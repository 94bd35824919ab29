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
	"github.com/prometheus/client_golang/prometheus/testutil"

	"lakefs_import_exporter/collector"
)

// opened returns a demo that has been rehearsed, and the collector that
// watches it.
func opened(t *testing.T) (*Demo, *collector.Collector, *prometheus.Registry) {
	t.Helper()
	d, err := Start("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	t.Cleanup(d.client.CloseIdleConnections)
	registry := prometheus.NewRegistry()
	c, err := collector.New(collector.Options{Now: d.Now, Logger: log.NewNopLogger(), Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := d.Config()
	if err != nil {
		t.Fatal(err)
	}
	c.Apply(cfg)
	d.Rehearse(c.Scrape)
	return d, c, registry
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

// When the demo opens there is something to see: every state, and every metric
// of imports.
func TestOpening(t *testing.T) {
	before := time.Now()
	d, c, registry := opened(t)
	if now := d.Now(); now.Before(before) || now.After(time.Now()) {
		t.Errorf("its clock shows %s after the rehearsal, and it is %s", now, time.Now())
	}
	snapshot := c.Scrape(context.Background())
	if got := missing(snapshot); len(got) > 0 {
		t.Errorf("no import is %v; there are %v", got, states(snapshot))
	}
	if !snapshot.Servers[0].Up {
		t.Error("its lakeFS is not up")
	}
	for _, v := range snapshot.Imports {
		if err := v.Validate(); err != nil {
			t.Errorf("%s: %v", v.Key, err)
		}
		if v.Server != serverName {
			t.Errorf("%s: on server %q", v.Key, v.Server)
		}
	}

	all := prometheus.Gatherers{snapshot, registry}
	families, err := all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = len(f.Metric) > 0
	}
	for _, name := range []string{
		"ingested_objects", "completed", "error", "canceled", "seconds_since_update", "update_timestamp_seconds",
		"last_status_timestamp_seconds", "progress_timestamp_seconds", "no_progress_after_seconds", "start_timestamp_seconds",
		"expected_objects", "commit_info", "error_info", "poll_success", "found",
	} {
		if !names["lakefs_import_"+name] {
			t.Errorf("no series of lakefs_import_%s", name)
		}
	}
	if problems, err := testutil.GatherAndLint(all); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// Charts look alive: within two minutes counts grow, an import is started, and
// one finishes within ten.
func TestMovement(t *testing.T) {
	d, c, _ := opened(t)
	first := c.Scrape(context.Background())
	at := func(ahead time.Duration) *collector.Snapshot {
		d.behind.Store(-int64(ahead))
		return c.Scrape(context.Background())
	}
	second := at(2 * time.Minute)
	if objects(second) <= objects(first) {
		t.Errorf("%d objects, and two minutes later %d", objects(first), objects(second))
	}
	if got := added(first, second); len(got) == 0 {
		t.Error("no import was started within two minutes")
	}
	last := first
	finished := false
	for ahead := 2*time.Minute + 15*time.Second; ahead <= 10*time.Minute; ahead += 15 * time.Second {
		next := at(ahead)
		finished = finished || states(next)[collector.Succeeded] > states(last)[collector.Succeeded]
		last = next
	}
	if !finished {
		t.Error("none succeeded within ten minutes")
	}
}

func objects(s *collector.Snapshot) (n int64) {
	for _, v := range s.Imports {
		n += v.IngestedObjects
	}
	return n
}

// added returns the imports of b that are not in a.
func added(a, b *collector.Snapshot) []collector.Key {
	known := map[collector.Key]bool{}
	for _, v := range a.Imports {
		known[v.Key] = true
	}
	var keys []collector.Key
	for _, v := range b.Imports {
		if !known[v.Key] {
			keys = append(keys, v.Key)
		}
	}
	return keys
}

// It goes on for ever: two days later every state is still to be seen, and it
// has not grown.
func TestTwoDays(t *testing.T) {
	d, c, _ := opened(t)
	first := c.Scrape(context.Background())
	pipeline := map[collector.State]int{}
	for ahead := 5 * time.Minute; ahead <= 48*time.Hour; ahead += 5 * time.Minute {
		d.behind.Store(-int64(ahead))
		snapshot := c.Scrape(context.Background())
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

// Nobody scrapes for a week, and then somebody does.
func TestLongBreak(t *testing.T) {
	d, c, _ := opened(t)
	d.behind.Store(-int64(7 * 24 * time.Hour))
	before := d.started
	snapshot := c.Scrape(context.Background())
	if got := d.started - before; got < 7*24*60 {
		t.Errorf("%d imports were started in a week", got)
	}
	for _, v := range snapshot.Imports {
		if v.Origin == collector.FromFile && !v.Seen() {
			t.Errorf("%s of the pipeline was not seen: %+v", v.Key, v.Poll)
		}
	}
	if got := states(snapshot)[collector.Running]; got == 0 {
		t.Errorf("nothing is running: %v", states(snapshot))
	}
}

// The same files are not handed out as new ones.
func TestVersion(t *testing.T) {
	d, _, _ := opened(t)
	first := d.Load()
	if second := d.Load(); second.Version != first.Version {
		t.Errorf("version %d, and then %d", first.Version, second.Version)
	}
	d.behind.Store(-int64(pipelineInterval))
	if third := d.Load(); third.Version == first.Version || third.Imports[len(third.Imports)-1].Key == first.Imports[len(first.Imports)-1].Key {
		t.Errorf("a minute later: version %d, at first %d", third.Version, first.Version)
	}
}
