package collector_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/testworld"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

var unknownRef = lakefs.Ref{Repository: repo, Branch: branch, ID: "dc1chj1ksduerdki88b0"}

func expect50k(i *collector.Import) { i.ExpectedObjects = 50_000 }

// What Prometheus is told of an import in every state that it can get into, and
// with everything that can come between it and lakeFS.
func TestStates(t *testing.T) {
	type polls = map[string]float64
	committing := lakefstest.Script{Objects: 50_000, Rate: 500, Committing: 5 * time.Hour}
	for _, tc := range []struct {
		name  string
		state collector.State
		polls polls
		play  func(w *world)
	}{
		{"running", collector.Running, polls{"success": 2}, func(w *world) {
			w.watchNew(import50k, expect50k, func(i *collector.Import) {
				i.MaxDuration = 6 * time.Hour
				i.Labels = map[string]string{"team": "ingest", "Zone": `a "quoted" \ zone`}
			})
			w.after(30 * time.Second)
			w.after(30 * time.Second)
		}},
		{"running_uuid", collector.Running, polls{"success": 1}, func(w *world) {
			ref := lakefs.Ref{Repository: repo, Branch: lakefs.UnknownBranch, ID: "b6e2f7a0-51c9-4d7e-9f0a-2c1d8e4b7a35"}
			w.watch(w.lakeFS.StartAt(ref, import50k, w.Now()))
			w.after(30 * time.Second)
		}},
		{"hung", collector.Hung, polls{"success": 2}, func(w *world) {
			w.watchNew(lakefstest.Script{Objects: 50_000, Rate: 500, End: lakefstest.Hang, EndAtObjects: 30_000}, expect50k)
			w.after(2 * time.Minute)
			w.after(30*time.Minute + time.Second)
		}},
		{"committing", collector.Running, polls{"success": 2}, func(w *world) {
			w.watchNew(committing, expect50k)
			w.after(2 * time.Minute)
			w.after(3 * time.Hour)
		}},
		{"hung_while_committing", collector.Hung, polls{"success": 2}, func(w *world) {
			w.watchNew(committing, expect50k)
			w.after(2 * time.Minute)
			w.after(3*time.Hour + time.Second)
		}},
		{"succeeded", collector.Succeeded, polls{"success": 2}, func(w *world) {
			w.watchNew(import50k, expect50k)
			w.after(5 * time.Minute)
			w.after(time.Second)
			w.after(time.Hour)
		}},
		{"failed", collector.Failed, polls{"success": 1}, func(w *world) {
			w.watchNew(ending(lakefstest.Failure, 10*time.Second))
			w.after(time.Minute)
		}},
		{"canceled", collector.Canceled, polls{"success": 1}, func(w *world) {
			w.watchNew(ending(lakefstest.Cancel, 10*time.Second))
			w.after(time.Minute)
		}},
		{"orphaned", collector.Stalled, polls{"success": 2}, func(w *world) {
			w.watchNew(import50k)
			w.after(30 * time.Second)
			w.lakeFS.Restart()
			w.after(3 * time.Minute)
		}},
		{"never_found", collector.NotFound, polls{"not_found": 1}, func(w *world) {
			w.lakeFS.AddRepository(repo)
			w.watch(unknownRef)
			w.scrape()
		}},
		{"vanished_while_running", collector.Lost, polls{"success": 1, "not_found": 1}, func(w *world) {
			ref := w.watchNew(import50k)
			w.after(30 * time.Second)
			w.lakeFS.Forget(ref)
			w.after(30 * time.Second)
		}},
		{"down_from_the_start", collector.Unknown, polls{"connection": 1}, func(w *world) {
			w.watch(unknownRef)
			w.lakeFS.Close()
			w.scrape()
		}},
		{"down_after_a_good_poll", collector.Running, polls{"success": 1, "connection": 1}, func(w *world) {
			w.watchNew(import50k)
			w.after(30 * time.Second)
			w.lakeFS.Close()
			w.after(time.Hour)
		}},
		{"clock_an_hour_ahead", collector.Running, polls{"success": 1}, func(w *world) {
			w.theirs.Advance(time.Hour)
			w.watchNew(import50k)
			w.after(30 * time.Second)
			w.advance(5 * time.Second)
		}},
		{"year_one", collector.Stalled, polls{"success": 1}, func(w *world) {
			w.watchNew(import50k)
			w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{Body: `{"completed":false,"update_time":"0001-01-01T00:00:00Z"}`})
			w.scrape()
		}},
		{"hostile", collector.Failed, polls{"success": 1}, func(w *world) {
			w.watchNew(import50k)
			w.answer(`"completed":false,"error":{"message":"` + "\xff\xfe" + `first\nsecond\u0000\u2028<script>alert(1)</script>\\\"` + strings.Repeat("ä", 4000) + `"}`)
			w.scrape()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			tc.play(w)
			// Nothing is polled anew for what is served now.
			w.collector.Refresh(context.Background(), time.Hour)
			snapshot := w.collector.Snapshot()
			if got := snapshot.Imports[0].State; got != tc.state {
				t.Errorf("state: got %s, want %s", got, tc.state)
			}
			equal(t, "polls", tc.polls, w.polls())
			testworld.Golden(t, "states/"+tc.name+".prom", text(t, snapshot))
		})
	}
	if got := len(slices.Compact(slices.Sorted(slices.Values(collector.States())))); got != 9 {
		t.Errorf("%d states, want 9", got)
	}
}

// A stall is judged by lakeFS's clock alone, and so is the age of the heartbeat.
func TestStall(t *testing.T) {
	const over = 2*time.Minute + time.Second
	at := func(at ...time.Duration) []time.Duration { return at }
	for _, tc := range []struct {
		name           string
		skew           time.Duration
		noDate, orphan bool
		polled         []time.Duration // after the start
		stalled        bool
		age            float64 // with the last answer; Date has no fraction
	}{
		{name: "orphan of two minutes", orphan: true, polled: at(2 * time.Minute), age: 119.6},
		{name: "orphan of over two minutes", orphan: true, polled: at(over), stalled: true, age: 120.6},
		{name: "orphan, clock ahead by minutes", skew: 5 * time.Minute, orphan: true, polled: at(over), stalled: true, age: 120.6},
		{name: "orphan, clock behind by minutes", skew: -5 * time.Minute, orphan: true, polled: at(over), stalled: true, age: 120.6},
		{name: "orphan, clock behind by hours", skew: -5 * time.Hour, orphan: true, polled: at(over), stalled: true, age: 120.6},
		{name: "running, clock behind by minutes", skew: -5 * time.Minute, polled: at(over)},
		{name: "running, clock behind by hours", skew: -5 * time.Hour, polled: at(over)},
		{name: "running, clock ahead by hours", skew: 5 * time.Hour, polled: at(over)},
		{name: "no date, orphan", noDate: true, orphan: true, polled: at(over), stalled: true, age: 121},
		{name: "no date, running", noDate: true, polled: at(over)},
		{name: "no date, running, clock behind, moves", noDate: true, skew: -5 * time.Minute, polled: at(over, over+time.Minute), age: 300},
		{name: "no date, orphan, clock behind", noDate: true, skew: -5 * time.Minute, orphan: true, polled: at(over, over+time.Minute), stalled: true, age: 481},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.theirs.Advance(tc.skew)
			key := keyOf(w.watchNew(lakefstest.Script{Objects: 1e9, Rate: 100}))
			if tc.orphan {
				w.lakeFS.Restart()
			}
			if tc.noDate {
				w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{Header: http.Header{"Date": nil}})
			}
			start := w.clock.Now()
			for _, at := range tc.polled {
				w.after(start.Add(at).Sub(w.clock.Now()))
			}
			// Only the age changes while lakeFS cannot be asked.
			w.lakeFS.Close()
			for hours := range 2 {
				v := w.watched(key)
				if got := v.State == collector.Stalled; got != tc.stalled {
					t.Errorf("got %s, want stalled: %v", v.State, tc.stalled)
				}
				if got, want := v.SecondsSinceUpdate, tc.age+float64(hours)*3600; got < want-0.5 || got > want+0.5 {
					t.Errorf("heartbeat is %v s old, want %v", got, want)
				}
				w.after(time.Hour)
			}
		})
	}
}

// A heartbeat that was seen to move is alive for two minutes, however old it is.
func TestStallEndsWhenTheHeartbeatMoves(t *testing.T) {
	w := newWorld(t)
	key := keyOf(w.watchNew(import50k))
	for _, tc := range []struct {
		after     time.Duration
		heartbeat string
		want      collector.State
	}{
		{0, "09:00:00", collector.Stalled},
		{time.Minute, "09:00:01", collector.Running},
		{2 * time.Minute, "09:00:01", collector.Running},
		{time.Second, "09:00:01", collector.Stalled},
	} {
		w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{Body: `{"completed":false,"update_time":"2026-11-22T` + tc.heartbeat + `Z"}`})
		w.after(tc.after)
		if got := w.watched(key).State; got != tc.want {
			t.Errorf("%s later: got %s, want %s", tc.after, got, tc.want)
		}
	}
}
