package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
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
// again and knows of every PUT and DELETE that it had answered.
func TestCrash(t *testing.T) {
	const kills, writers, each = 100, 4, 10
	lakeFS := newLakeFS(t, lakefstest.Options{})
	lakeFS.AddRepository("my-repo")
	dir := t.TempDir()
	write(t, dir, "config.yml", watchYAML(t, dir, lakeFS))

	// known has the imports of which it is certain whether they are registered.
	known := map[string]bool{}
	answered, unanswered := 0, 0
	for kill := range kills + 1 {
		e := start(t, dir, nil, importAPI, "--storage.path=imports.db")
		got := e.registered()
		for id, want := range known {
			if got[id] != want {
				t.Errorf("kill %d: %s: registered is %t, but should be %t", kill, id, got[id], want)
			}
		}
		if t.Failed() || kill == kills {
			break
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		replies, stopped := make(chan struct{}, 20), make(chan struct{})
		for w := range writers {
			wg.Go(func() {
				for {
					id := fmt.Sprintf("import-%d-%d", w, rand.IntN(each))
					method, registered := http.MethodPut, true
					if rand.IntN(2) == 0 {
						method, registered = http.MethodDelete, false
					}
					status := e.do(method, "/api/v1/imports/my-repo/main/"+id)
					mu.Lock()
					if status == 0 {
						delete(known, id)
						unanswered++
						mu.Unlock()
						return
					}
					known[id] = registered
					answered++
					mu.Unlock()
					if status >= 300 {
						t.Errorf("%s %s: status %d", method, id, status)
						return
					}
					select {
					case replies <- struct{}{}:
					default:
					}
				}
			})
		}
		go func() {
			wg.Wait()
			close(stopped)
		}()
		for range 1 + rand.IntN(cap(replies)) {
			select {
			case <-replies:
			case <-stopped:
			}
		}
		<-time.After(rand.N(5 * time.Millisecond)) // not only right after an answer
		e.kill()
		<-stopped
	}
	t.Logf("%d kills: %d requests were answered, %d were not", kills, answered, unanswered)
}

// A storage that is truncated while in use is an error, counted, and neither a
// crash nor a hang.
func TestStorageTruncatedWhileInUse(t *testing.T) {
	e, dir := watching(t, newLakeFS(t, lakefstest.Options{}), nil, importAPI, "--storage.path=imports.db")
	const path = "/api/v1/imports/my-repo/main/"
	if status := e.do(http.MethodPut, path+"first"); status != http.StatusCreated {
		t.Fatal(status)
	}
	if err := os.Truncate(filepath.Join(dir, "imports.db"), 0); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		if status := e.do(method, path+"second"); status != http.StatusInternalServerError {
			t.Errorf("%s: status %d", method, status)
		}
	}
	if got := e.registered(); !got["first"] || got["second"] {
		t.Errorf("registered: %v", got)
	}
	if got := e.scrape()["lakefs_import_exporter_storage_errors_total{}"]; got < 2 {
		t.Errorf("%g errors", got)
	}
	e.signal(syscall.SIGTERM)
	eventually(t, "the exporter exits", e.hasExited)
	e.killed = true // its exit status is that of the last write
}

// A start without the last change, because its meta page is damaged, says so.
func TestDamagedMetaPage(t *testing.T) {
	e, dir := watching(t, newLakeFS(t, lakefstest.Options{}), nil, importAPI, "--storage.path=imports.db")
	for _, id := range []string{"first", "second"} {
		if status := e.do(http.MethodPut, "/api/v1/imports/my-repo/main/"+id); status != http.StatusCreated {
			t.Fatal(status)
		}
	}
	e.kill()
	path := filepath.Join(dir, "imports.db")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The pages are of 4096 bytes; the transaction's number is at 64.
	newest := 0
	if binary.NativeEndian.Uint64(file[4096+64:]) > binary.NativeEndian.Uint64(file[64:]) {
		newest = 4096
	}
	file[newest+72] ^= 1
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	e = start(t, dir, nil, importAPI, "--storage.path=imports.db")
	if got := e.registered(); !got["first"] {
		t.Errorf("registered: %v", got)
	}
	if log := e.stderr.String(); !strings.Contains(log, "level=warn") || !strings.Contains(log, "meta pages is damaged") {
		t.Errorf("the log says nothing of it:\n%s", log)
	}
}

// What is known of a finished import outlives a SIGKILL and lakeFS's own memory.
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
	// It is stored beside the scrapes, once a second answer has agreed.
	eventually(t, "the imports are stored", func() bool {
		e.get("/metrics")
		file, err := os.ReadFile(filepath.Join(dir, "data", program+".db"))
		return err == nil && bytes.Count(file, []byte(`"confirmed":true`)) >= 2
	})
	// Writes are one after another: this one waits for the one just seen.
	if status := e.do(http.MethodPut, "/api/v1/imports/my-repo/main/"+registered.ID); status != http.StatusOK {
		t.Fatal(status)
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
