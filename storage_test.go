package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

const importAPI = "--web.enable-import-api"

// do sends a request and returns the status, or 0 if there was no answer.
func (e *exporter) do(method, path string) int {
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, http.NoBody)
	if err != nil {
		e.t.Error(err)
		return 0
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	// An answer that is cut short is none: the program died in its midst.
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}

// registered returns the IDs of the imports that came over the API.
func (e *exporter) registered() map[string]bool {
	e.t.Helper()
	var answer struct {
		Imports []struct {
			ID     string `json:"import_id"`
			Source string `json:"source"`
		} `json:"imports"`
	}
	must(e.t, json.Unmarshal([]byte(e.get("/api/v1/imports")), &answer))
	ids := map[string]bool{}
	for _, i := range answer.Imports {
		ids[i.ID] = i.Source == "api"
	}
	return ids
}

// Killed at any moment under a stream of PUTs and DELETEs, the exporter starts
// again and knows of every PUT and DELETE that it had answered.
func TestCrash(t *testing.T) {
	const kills, writers, each = 100, 4, 10
	lakeFS := newLakeFS(t, lakefstest.Options{})
	lakeFS.AddRepository("my-repo")
	dir := t.TempDir()
	write(t, dir, "config.yml", watchYAML(t, dir, lakeFS))

	// known has the imports of each writer of which it is certain whether they are
	// registered.
	var known [writers]map[string]bool
	for w := range known {
		known[w] = map[string]bool{}
	}
	for kill := range kills + 1 {
		e := start(t, dir, nil, importAPI, "--storage.path=imports.db")
		got := e.registered()
		for _, known := range known {
			for id, want := range known {
				if got[id] != want {
					t.Errorf("kill %d: %s: registered is %t, but should be %t", kill, id, got[id], want)
				}
			}
		}
		if t.Failed() || kill == kills {
			break
		}
		var wg sync.WaitGroup
		for w, known := range known {
			wg.Go(func() {
				for status := 1; status != 0; {
					id, method := fmt.Sprintf("import-%d-%d", w, rand.IntN(each)), http.MethodPut
					if rand.IntN(2) == 0 {
						method = http.MethodDelete
					}
					known[id] = method == http.MethodPut
					status = e.do(method, "/api/v1/imports/my-repo/main/"+id)
					if status == 0 {
						delete(known, id)
					}
					if status >= 300 {
						t.Errorf("%s %s: status %d", method, id, status)
					}
				}
			})
		}
		<-time.After(rand.N(50 * time.Millisecond))
		e.kill()
		wg.Wait()
	}
}

// What is known of a finished import outlives a SIGKILL and lakeFS's own memory.
func TestFinishedImportOutlivesKillAndExpiry(t *testing.T) {
	lakeFS := newLakeFS(t, lakefstest.Options{})
	ref := lakeFS.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Script{Objects: 7}, time.Now().Add(-time.Minute))
	e, dir := watching(t, lakeFS, []lakefs.Ref{ref}, importAPI, "--storage.path=data/")
	lines := func(e *exporter) (commits []string) {
		for line := range strings.Lines(e.get("/metrics")) {
			if strings.HasPrefix(line, "lakefs_import_commit_info{") || strings.HasPrefix(line, "lakefs_import_poll_success{") {
				commits = append(commits, line)
			}
		}
		return commits
	}
	before := lines(e)
	if len(before) != 2 {
		t.Fatalf("got %q", before)
	}
	// It is stored beside the scrapes, once a second answer has agreed.
	eventually(t, "the import is stored", func() bool {
		e.get("/metrics")
		file, err := os.ReadFile(filepath.Join(dir, "data", program+".db"))
		return err == nil && bytes.Contains(file, []byte(`"confirmed":true`))
	})
	// Writes are one after another: this one waits for the one just seen.
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		if status := e.do(method, "/api/v1/imports/my-repo/main/other"); status >= 300 {
			t.Fatal(status)
		}
	}
	e.kill()
	lakeFS.Forget(ref)
	lakeFS.ResetStats()
	e = start(t, dir, nil, importAPI, "--storage.path=data/")
	if diff := cmp.Diff(before, lines(e)); diff != "" {
		t.Errorf("after SIGKILL and expiry (-want +got):\n%s", diff)
	}
	if got := lakeFS.Stats().StatusRequests; got != 0 {
		t.Errorf("%d polls of finished imports", got)
	}
}
