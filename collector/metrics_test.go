package collector_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// Text and protobuf say the same whatever the values of users' labels are.
func TestEscaping(t *testing.T) {
	w := newWorld(t)
	values := []string{"", `"`, `\`, "\n", `\n`, "a\r\nb", `"} 1`, "größe 🪣", "\x00", strings.Repeat("x", 5000)}
	for i, value := range values {
		w.watch(lakefs.Ref{Repository: repo, Branch: branch, ID: strings.Repeat("i", i+1)}, func(i *collector.Import) {
			i.Labels = map[string]string{"A": value, "z_": value}
		})
	}
	w.cfg.Repositories = []collector.Repository{{Server: "prod", Name: repo, Labels: map[string]string{"a": values[1]}}}
	w.collector.Apply(w.cfg)
	text(t, w.scrape()) // compares them
}

func TestFinishedCounters(t *testing.T) {
	w := newWorld(t)
	// What had finished before the exporter started belongs to an earlier one.
	before := w.lakeFS.Start("before", branch, lakefstest.Script{Objects: 7})
	w.advance(time.Hour)
	w.start()
	w.watch(before)
	w.watch(w.lakeFS.Start("one", branch, import50k))
	w.watch(w.lakeFS.StartAt(lakefs.Ref{Repository: "one", Branch: branch, ID: "no-xid"}, lakefstest.Script{Objects: 5}, w.Now()))
	w.watch(w.lakeFS.Start("two", branch, ending(lakefstest.Failure, time.Minute)))
	w.watch(w.lakeFS.Start("two", branch, ending(lakefstest.Cancel, time.Minute)))
	w.after(10 * time.Minute)
	equal(t, "counted by the first answer", map[string]float64{}, w.finished())
	for range 3 {
		w.after(time.Minute)
	}
	equal(t, "finished", map[string]float64{"succeeded": 2, "failed": 1, "canceled": 1}, w.finished())
	equal(t, "objects", map[string]float64{"one": 50_005}, w.counts("lakefs_imports_ingested_objects_total", "repository"))
	equal(t, "durations", map[string]float64{"one": 1}, w.counts("lakefs_imports_duration_seconds", "repository"))
	families, _ := w.registry.Gather()
	durations := families[slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "lakefs_imports_duration_seconds" })]
	equal(t, "seconds", 100.374205733, durations.Metric[1].Histogram.GetSampleSum())

	// Neither leaving and coming back nor lakeFS's forgetting counts again.
	all := w.cfg
	w.collector.Apply(collector.Config{Servers: all.Servers})
	w.collector.Apply(all)
	w.scrape()
	w.after(time.Second)
	equal(t, "finished, once more", map[string]float64{"succeeded": 2, "failed": 1, "canceled": 1}, w.finished())
}

// Series of imports that succeeded or were canceled end; those that failed, and
// all in the aggregates, stay.
func TestFinishedFor(t *testing.T) {
	w := newWorld(t)
	w.watch(w.lakeFS.Start("repo-a", branch, lakefstest.Script{}))
	w.watch(w.lakeFS.Start("repo-b", branch, ending(lakefstest.Cancel, time.Second)))
	w.watch(w.lakeFS.Start("repo-c", branch, ending(lakefstest.Failure, time.Second)))
	w.watch(w.lakeFS.Start("repo-d", branch, lakefstest.Script{Objects: 1e9, Rate: 1}))
	start := w.clock.Now()
	w.after(time.Minute)
	w.after(time.Second)
	shown := func() (repositories string) {
		for line := range strings.Lines(lines(t, w.collector.Snapshot(), "lakefs_import_state{")) {
			_, rest, _ := strings.Cut(line, `repository="repo-`)
			repositories += rest[:1]
		}
		return repositories
	}
	w.advance(start.Add(24*time.Hour - time.Millisecond).Sub(w.clock.Now()))
	equal(t, "shown within a day", "abcd", shown())
	w.advance(2 * time.Second) // Date has no fraction
	equal(t, "shown after a day", "cd", shown())
	s := w.collector.Snapshot()
	if len(s.Imports) != 4 || !strings.Contains(text(t, s), `lakefs_imports{repository="repo-a",server="prod",state="succeeded"} 1`) {
		t.Errorf("%d imports, want 4:\n%s", len(s.Imports), lines(t, s, "lakefs_imports{"))
	}
}

// An import or repository that is added during a scrape was not asked for: it
// has no series before the next one.
func TestImportAddedDuringAScrape(t *testing.T) {
	w := newWorld(t)
	w.watchMany(1, import50k)
	w.lakeFS.AddRepository(repo)
	g := w.hold(lakefstest.Statuses)
	scrape := wait(w.scraping)
	g.await(1)
	added := w.watchNew(import50k)
	w.cfg.Repositories = []collector.Repository{{Server: "prod", Name: repo}}
	w.collector.Apply(w.cfg)
	g.release()
	s := <-scrape
	if got := lines(t, s, "lakefs_"); strings.Contains(got, added.ID) || strings.Contains(got, "repository_poll_success") || !strings.Contains(got, `state="unknown"} 1`) {
		t.Errorf("during the scrape:\n%s", got)
	}
	s = w.after(time.Second)
	allSucceed(t, s)
	if got := lines(t, s, "lakefs_"); !strings.Contains(got, added.ID) || !strings.Contains(got, "repository_poll_success") {
		t.Errorf("in the next scrape:\n%s", got)
	}
}

// An import that leaves right after the first answer that tells of its end is
// counted: there is no second one to wait for.
func TestCountedWhenItLeavesAtOnce(t *testing.T) {
	for name, store := range map[string]*fakeStore{"from the config": nil, "from the API": newFakeStore()} {
		w := newWorldWith(t, store)
		imp := newImport(w.lakeFS.Start(repo, branch, import50k))
		if store == nil {
			w.cfg.Imports = []*collector.Import{&imp}
			w.collector.Apply(w.cfg)
		} else {
			w.register(imp)
		}
		w.after(30 * time.Second)
		w.after(5 * time.Minute)
		if store == nil {
			w.collector.Apply(collector.Config{Servers: w.cfg.Servers})
		} else {
			w.unregister(imp.Key)
		}
		w.stop()
		equal(t, name, map[string]float64{"succeeded": 1}, w.finished())
	}
}

// The counters of a repository end when nothing of it is remembered any more: some
// have a new repository for every run of their tests.
func TestCountersOfRepositoriesThatEnd(t *testing.T) {
	for name, store := range map[string]*fakeStore{"in memory": nil, "with storage": newFakeStore()} {
		t.Run(name, func(t *testing.T) {
			w := newWorldWith(t, store)
			repositories := func() int {
				n, err := testutil.GatherAndCount(w.registry, "lakefs_imports_finished_total", "lakefs_imports_ingested_objects_total", "lakefs_imports_duration_seconds")
				if err != nil {
					t.Fatal(err)
				}
				return n / 5 // series of each
			}
			refresh, _ := w.discover(&database{})
			kept := w.lakeFS.Start("kept", branch, lakefstest.Script{Objects: 1 << 40, Rate: 1})
			refresh(kept, w.lakeFS.Start("one-run", branch, import50k))
			w.after(15 * time.Second)
			w.after(5 * time.Minute)
			w.after(15 * time.Second)
			if store != nil {
				w.save()
			}
			refresh(kept)
			w.after(20 * time.Hour)
			equal(t, "repositories that are remembered", 2, repositories())
			w.after(5 * time.Hour)
			refresh(kept)
			w.stop() // removes from the storage what has expired
			w.collector.Snapshot()
			equal(t, "repositories a day later", 1, repositories())
		})
	}
}
