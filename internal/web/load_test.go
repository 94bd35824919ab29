package web

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// start starts n imports in a lakeFS and has them watched.
func (w *world) start(server string, lakeFS *lakefstest.Server, n int) []lakefs.Ref {
	refs := make([]lakefs.Ref, n)
	for i := range refs {
		refs[i] = lakeFS.StartAt(lakefs.Ref{Repository: repo, Branch: branch, ID: fmt.Sprintf("import-%06d", i)}, import50k, w.Clock.Now())
	}
	w.watchMany(server, n)
	return refs
}

// A hundred pipelines that ask for their own import every five seconds, all at
// once, while lakeFS does not answer for another one: each is answered, and costs
// lakeFS one request.
func TestHundredPipelines(t *testing.T) {
	const pipelines, rounds = 100, 3
	w := newWorld(t)
	lakeFS := w.AddLakeFS("prod", 0)
	refs := w.start("prod", lakeFS, pipelines+1)
	hanging, refs := refs[0], refs[1:]
	hold := make(chan struct{})
	lakeFS.Inject(lakefstest.StatusOf(hanging), lakefstest.Fault{Hold: hold})
	var hung sync.WaitGroup
	for _, path := range []string{"/metrics", pathOf(hanging), "/api/v1/imports"} {
		hung.Go(func() { w.handler.ServeHTTP(httptest.NewRecorder(), newRequest(t.Context(), path)) })
	}
	eventually(t, func() bool {
		return !slices.ContainsFunc(w.Collector.Snapshot().Imports, func(v collector.ImportView) bool { return v.ID != hanging.ID && !v.Seen() })
	})
	lakeFS.ResetStats()
	for range rounds {
		w.Clock.Advance(5 * time.Second)
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

// Only so many requests wait for the end of their import that others have
// connections left; more are answered at once.
func TestWaitingIsBounded(t *testing.T) {
	const more = 20
	w := newWorld(t)
	ref := w.start("prod", w.AddLakeFS("prod", 0), 1)[0]
	ctx, hangUp := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var answered atomic.Int64
	for range maxWaiting + more {
		all.Go(func() {
			answer := httptest.NewRecorder()
			w.handler.ServeHTTP(answer, newRequest(ctx, pathOf(ref)+"?wait=1m"))
			if !strings.Contains(answer.Body.String(), "running") {
				t.Error(answer.Body)
			}
			answered.Add(1)
		})
	}
	eventually(t, func() bool { return answered.Load() == more })
	hangUp()
	all.Wait()
}
