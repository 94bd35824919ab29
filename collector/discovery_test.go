package collector_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// database is a Discovery whose refreshes are made by the test.
type database struct {
	refreshed chan func(found []collector.Import, dropped int, err error)
	ignore    string // a repository
	team      string
}

func (d *database) Run(ctx context.Context, refreshed func([]collector.Import, int, error)) {
	select {
	case d.refreshed <- refreshed:
	case <-ctx.Done():
	}
	<-ctx.Done()
}

func (d *database) Describe(repository, id string) (collector.Import, bool) {
	imp := newImport(lakefs.Ref{Repository: repository, Branch: lakefs.UnknownBranch, ID: id})
	imp.Labels = map[string]string{"team": d.team}
	return imp, repository != d.ignore
}

// discover applies a config with d, and returns what refreshes it: with rows, or
// with an error.
func (w *world) discover(d *database) (refresh func(rows ...lakefs.Ref), fail func(error)) {
	d.refreshed = make(chan func([]collector.Import, int, error), 1)
	w.cfg.Servers = slices.Clone(w.cfg.Servers)
	w.cfg.Servers[0].Discovery = d
	w.collector.Apply(w.cfg)
	refreshed := <-d.refreshed
	return func(rows ...lakefs.Ref) {
		var found []collector.Import
		for _, ref := range rows {
			if imp, ok := d.Describe(ref.Repository, ref.ID); ok {
				found = append(found, imp)
			}
		}
		refreshed(found, 0, nil)
	}, func(err error) { refreshed(nil, 0, err) }
}

// states returns the states of the watched imports, by repository.
func states(s *collector.Snapshot) map[string]collector.State {
	all := map[string]collector.State{}
	for _, v := range s.Imports {
		all[v.Repository] = v.State
	}
	return all
}

// A discovered import is watched from the refresh that finds it until its row
// has gone and it has finished.
func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	refresh, _ := w.discover(&database{team: "ingest"})
	ends := w.lakeFS.Start("ends", branch, import50k)
	dies := w.lakeFS.Start("dies", branch, ending(lakefstest.Crash, 30*time.Second))
	runs := w.lakeFS.Start("runs", branch, lakefstest.Script{Objects: 1 << 40, Rate: 1})
	refresh(ends, dies, runs)
	v := w.after(15 * time.Second).Imports[1]
	if v.Origin != collector.FromDiscovery || v.Branch != lakefs.UnknownBranch || v.Labels["team"] != "ingest" || v.State != collector.Running {
		t.Errorf("discovered import: %+v, state %s", v.Import, v.State)
	}
	w.after(5 * time.Minute)
	w.after(5 * time.Minute)

	// lakeFS deletes the rows, and forgets the imports.
	for _, ref := range []lakefs.Ref{ends, dies, runs} {
		w.lakeFS.Forget(ref)
	}
	refresh()
	equal(t, "after the rows have gone", map[string]collector.State{"dies": collector.Stalled, "runs": collector.Lost}, states(w.after(15*time.Second)))
	w.advance(24 * time.Hour)
	refresh()
	equal(t, "after the retention", map[string]collector.State{}, states(w.scrape()))
	if d := w.collector.Snapshot().Servers[0].Discovery; d == nil || d.Found != 0 || !d.LastSuccess.Equal(w.Now()) {
		t.Errorf("discovery: %+v", d)
	}
}

// A refresh that fails drops nothing, and is told once.
func TestDiscoveryFails(t *testing.T) {
	w := newWorld(t)
	refresh, fail := w.discover(&database{})
	refresh(w.lakeFS.Start("one", branch, import50k))
	before := w.after(15 * time.Second)
	w.advance(15 * time.Second)
	for range 3 {
		fail(errors.New("postgres: connect: connection refused"))
	}
	equal(t, "states", states(before), states(w.scrape()))
	d := w.collector.Snapshot().Servers[0].Discovery
	if d.Error == "" || d.Found != 1 || !d.LastSuccess.Equal(before.At.Add(-15*time.Second)) {
		t.Errorf("discovery: %+v", d)
	}
	equal(t, "refreshes", map[string]float64{"success": 1, "error": 3}, w.counts("lakefs_import_exporter_discovery_refreshes_total", "result"))
	refresh()
	equal(t, "log", []string{"warn"}, w.logged("connection refused"))
}

// A reload brings new rules at once, and drops a server's imports when it has no
// discovery any more; it does not drop those of another server.
func TestDiscoveryReload(t *testing.T) {
	w := newWorld(t)
	refresh, _ := w.discover(&database{team: "a"})
	gone, kept := w.lakeFS.Start("gone", branch, import50k), w.lakeFS.Start("kept", branch, import50k)
	refresh(gone, kept)
	stale := refresh
	refresh, _ = w.discover(&database{team: "b", ignore: "gone"})
	equal(t, "before the first refresh", 2, len(w.scrape().Imports))
	refresh(kept)
	stale(gone) // of the config before
	s := w.after(15 * time.Second)
	equal(t, "imports", map[string]collector.State{"kept": collector.Running}, states(s))
	equal(t, "labels", map[string]string{"team": "b"}, s.Imports[0].Labels)
	w.cfg.Servers = []collector.Server{w.server("prod", lakefstest.SecretAccessKey)}
	w.collector.Apply(w.cfg)
	equal(t, "without discovery", map[string]collector.State{}, states(w.scrape()))
}

// After a start at a large lakeFS, imports that are known to run are polled at
// every scrape while the backlog of the last day is worked off, newest first.
func TestDiscoveryBacklog(t *testing.T) {
	w := newWorld(t)
	w.cfg.Servers[0].MaxConcurrentRequests = 1
	var rows []lakefs.Ref
	for i := range 20 {
		at := w.Now().Add(-time.Duration(i) * time.Hour)
		rows = append(rows, w.lakeFS.StartAt(lakefs.Ref{Repository: "old-" + string(rune('a'+i)), Branch: branch}, lakefstest.Script{}, at))
	}
	running := w.watchNew(lakefstest.Script{Objects: 1 << 40, Rate: 1})
	refresh, _ := w.discover(&database{})
	refresh(rows...)
	g := w.hold(lakefstest.Statuses)
	g.release()
	w.after(15 * time.Second)
	asked := g.await(len(rows) + 1)
	if at := slices.Index(asked, running.ID); at > 1 {
		t.Errorf("the running import was polled as number %d", at+1)
	}
	newestFirst := make([]string, len(rows))
	for i, ref := range rows {
		newestFirst[i] = ref.ID
	}
	equal(t, "backlog", newestFirst, slices.DeleteFunc(asked, func(id string) bool { return id == running.ID }))
}

// An unfinished import outlives a restart, although the database cannot be asked
// or has no row of it any more.
func TestDiscoveryAfterRestart(t *testing.T) {
	w := newWorldWith(t, newFakeStore())
	refresh, _ := w.discover(&database{})
	ref := w.lakeFS.Start("runs", branch, lakefstest.Script{Objects: 1 << 40, Rate: 1})
	refresh(ref)
	w.after(15 * time.Second)
	w.stop()
	w.lakeFS.Forget(ref)
	w.start()
	equal(t, "before the first refresh", map[string]collector.State{"runs": collector.Running}, states(w.collector.Snapshot()))
	refresh, _ = w.discover(&database{})
	refresh()
	equal(t, "without a row", map[string]collector.State{"runs": collector.Lost}, states(w.after(15*time.Second)))
}

// As many imports as somebody starts, those whose rows have vanished cannot take up
// all of the memory.
func TestManyVanishedImports(t *testing.T) {
	w := newWorld(t)
	refresh, _ := w.discover(&database{})
	var rows []lakefs.Ref
	for range 1010 {
		rows = append(rows, w.lakeFS.Start(repo, branch, lakefstest.Script{Objects: 1 << 40, Rate: 1}))
	}
	refresh(rows...)
	w.scrape()
	refresh()
	watched := w.collector.Snapshot().Imports
	if len(watched) != 1000 || watched[0].ID != rows[10].ID {
		t.Errorf("%d imports are watched, the oldest of them %s, want the newest 1000 from %s on", len(watched), watched[0].ID, rows[10].ID)
	}
}
