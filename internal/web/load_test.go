package web

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// start starts n imports in lakeFS and has them watched if watched is set.
func (w *world) start(server string, lakeFS *lakefstest.Server, n int, watched bool) []lakefs.Ref {
	refs := make([]lakefs.Ref, n)
	for i := range refs {
		refs[i] = lakeFS.StartAt(lakefs.Ref{Repository: repo, Branch: branch, ID: fmt.Sprintf("import-%06d", i)}, import50k, w.clock.Now())
	}
	if watched {
		w.watchMany(server, n)
	}
	return refs
}

// A hundred pipelines that ask for their own import every five seconds, all at
// once, while lakeFS does not answer for another one: each is answered, and costs
// lakeFS one request.
func TestHundredPipelines(t *testing.T) {
	const pipelines, rounds = 100, 3
	w := newWorld(t)
	lakeFS := w.addLakeFS("prod")
	refs := w.start("prod", lakeFS, pipelines+1, true)
	hanging, refs := refs[0], refs[1:]
	hold := make(chan struct{})
	lakeFS.Inject(lakefstest.StatusOf(hanging), lakefstest.Fault{Hold: hold})
	var hung sync.WaitGroup
	for _, path := range []string{"/metrics", pathOf(hanging), "/api/v1/imports"} {
		hung.Go(func() { w.handler.ServeHTTP(httptest.NewRecorder(), newRequest(t.Context(), path)) })
	}
	eventually(t, func() bool {
		return !slices.ContainsFunc(w.collector.Snapshot().Imports, func(v collector.ImportView) bool { return v.ID != hanging.ID && !v.Seen() })
	})
	lakeFS.ResetStats()
	for range rounds {
		w.clock.Advance(5 * time.Second)
		var all sync.WaitGroup
		for _, ref := range refs {
			all.Go(func() {
				if got := getJSON[listed](w, pathOf(ref)); got.State != "running" || !got.Poll.Success {
					t.Errorf("%+v", got)
				}
			})
		}
		all.Wait()
	}
	if got := lakeFS.Stats().StatusRequests; got != pipelines*rounds {
		t.Errorf("%d requests for %d GETs", got, pipelines*rounds)
	}
	close(hold)
	hung.Wait()
}
