package main

import (
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
	if err := json.Unmarshal([]byte(e.get("/api/v1/imports")), &answer); err != nil {
		e.t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, i := range answer.Imports {
		ids[i.ID] = i.Source == "api"
	}
	return ids
}

// Killed at any moment under a stream of PUTs and DELETEs, the exporter starts
// again, and knows of every PUT and DELETE that it had answered.
func TestCrash(t *testing.T) {
	const (
		kills   = 200
		writers = 4
		each    = 10 // imports that a writer has
	)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	lakeFS := newLakeFS(t, lakefstest.Options{})
	lakeFS.AddRepository("my-repo")
	dir := t.TempDir()
	write(t, dir, "config.yml", watchYAML(t, dir, lakeFS))

	type fate uint8
	const (
		absent fate = iota
		present
		either
	)
	fates := map[string]fate{}
	for w := range writers {
		for i := range each {
			fates[fmt.Sprintf("import-%d-%d", w, i)] = absent
		}
	}
	answered, unanswered := 0, 0
	for kill := range kills + 1 {
		e := start(t, dir, nil, importAPI, "--storage.path=imports.db")
		got := e.registered()
		for id, fate := range fates {
			if fate == present && !got[id] {
				t.Errorf("kill %d: %s was registered, and is not there", kill, id)
			}
			if fate == absent && got[id] {
				t.Errorf("kill %d: %s was unregistered, and is there", kill, id)
			}
			fates[id] = absent
			if got[id] {
				fates[id] = present
			}
		}
		if t.Failed() || kill == kills {
			break
		}
		random := rand.New(rand.NewPCG(seed, uint64(kill)))
		var mu sync.Mutex
		var wg sync.WaitGroup
		for w := range writers {
			own := rand.New(rand.NewPCG(seed, uint64(kill*writers+w)))
			wg.Go(func() {
				for {
					id := fmt.Sprintf("import-%d-%d", w, own.IntN(each))
					method, then := http.MethodPut, present
					if own.IntN(2) == 0 {
						method, then = http.MethodDelete, absent
					}
					status := e.do(method, "/api/v1/imports/my-repo/main/"+id)
					mu.Lock()
					if status == 0 {
						fates[id] = either
						unanswered++
						mu.Unlock()
						return
					}
					fates[id] = then
					answered++
					mu.Unlock()
					if status >= 300 {
						t.Errorf("%s %s: status %d", method, id, status)
						return
					}
				}
			})
		}
		<-time.After(time.Duration(random.IntN(60_000)) * time.Microsecond)
		e.kill()
		wg.Wait()
	}
	t.Logf("%d kills: %d requests were answered, %d were not", kills, answered, unanswered)
	if answered < kills || unanswered < kills {
		t.Error("the kills did not come in the midst of the stream")
	}
}

// What a scrape has told of a finished import is durable with it, and outlives
// a SIGKILL and lakeFS's own memory.
func TestFinishedImportOutlivesKillAndExpiry(t *testing.T) {
	lakeFS := newLakeFS(t, lakefstest.Options{})
	inConfig := lakeFS.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Script{Objects: 7}, time.Now().Add(-time.Minute))
	registered := lakeFS.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Script{Objects: 8}, time.Now().Add(-time.Minute))
	e, dir := watching(t, lakeFS, []lakefs.Ref{inConfig}, importAPI, "--storage.path=data/")
	if status := e.do(http.MethodPut, "/api/v1/imports/my-repo/main/"+registered.ID); status != http.StatusCreated {
		t.Fatal(status)
	}
	lines := func(e *exporter) (commits []string) {
		for line := range strings.Lines(e.get("/metrics")) {
			if strings.HasPrefix(line, "lakefs_import_commit_info{") || strings.HasPrefix(line, "lakefs_import_poll_success{") {
				commits = append(commits, line)
			}
		}
		return commits
	}
	before := lines(e)
	if len(before) != 4 {
		t.Fatalf("got %q", before)
	}
	e.kill()
	lakeFS.Forget(inConfig)
	lakeFS.Forget(registered)
	lakeFS.ResetStats()
	e = start(t, dir, nil, importAPI, "--storage.path=data/")
	if diff := cmp.Diff(before, lines(e)); diff != "" {
		t.Errorf("after SIGKILL and expiry (-want +got):\n%s", diff)
	}
	if got := lakeFS.Stats().StatusRequests; got != 0 {
		t.Errorf("%d polls of finished imports", got)
	}
}

// Storage that cannot be used ends the program with one clear line, and is left
// as it was.
func TestUnusableStorage(t *testing.T) {
	lakeFS := newLakeFS(t, lakefstest.Options{})
	e, dir := watching(t, lakeFS, nil, "--storage.path=good.db")
	foreign := "CREATE TABLE imports;\n"
	write(t, dir, "foreign.db", foreign)
	for storage, want := range map[string]string{
		"good.db":    "storage good.db: is held by another process, is another exporter running?",
		"foreign.db": "storage foreign.db: is not a bbolt file, or is damaged",
	} {
		out, err := command(t, dir, nil, "--storage.path="+storage, "--web.listen-address=127.0.0.1:0").CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) || strings.Count(string(out), "level=error") != 1 {
			t.Errorf("%s: %v\n%s", storage, err, out)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "foreign.db")); err != nil || string(b) != foreign {
		t.Errorf("the foreign file is %q now, %v", b, err)
	}
	e.get("/metrics") // the one that has it goes on
}
