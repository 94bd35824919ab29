package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"lakefs_import_exporter/internal/process"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

const (
	servers       = 4
	importsOfEach = 20 // in the config, and in each file
	pollTimeout   = 3 * time.Second
	scrapeTimeout = 10 * time.Second
)

// The import files: what stands in the one is always watched.
const (
	always    = "imports/always.yml"
	sometimes = "imports/sometimes.yml"
)

// soak is one run.
type soak struct {
	seed      uint64
	dir       string
	exporter  *process.Process
	lakeFS    []*standIn
	files     map[string]string // what stands in the exporter's files
	permanent []key             // imports of config and files

	mu         sync.Mutex
	imports    map[key]life
	troubles   map[string]trouble // of servers, and of the file sometimes
	registered map[key]registration
	wrong      []string
	counts     counts
	goroutines float64 // by the newest scrape
	sizes      []size
}

// counts is what was done.
type counts struct{ scrapes, samples, faults, requests int }

func (s *soak) count(add func(*counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.counts)
}

// standIn is a lakeFS behind a proxy.
type standIn struct {
	name   string
	server *lakefstest.Server
	proxy  *lakefstest.Proxy
}

// key names an import as the metrics do.
type key struct{ server, id string }

// life is all that can ever be said of an import: it began at a full second, and
// goes on at a rate.
type life struct {
	ref    lakefs.Ref
	source string
	began  time.Time
	script lakefstest.Script
	ends   time.Duration // whole seconds after it began
}

// status is what is said of an import.
type status struct {
	objects, updated           float64
	completed, failed, cancels float64
}

// at returns what is said of the import when it was updated last at a time, in
// Unix seconds, and false if it never was.
func (l life) at(updated float64) (status, bool) {
	elapsed := updated - float64(l.began.Unix())
	if elapsed != math.Trunc(elapsed) || elapsed < 0 || elapsed > l.ends.Seconds() {
		return status{}, false
	}
	s := status{objects: min(float64(l.script.Objects), l.script.Rate*elapsed), updated: updated}
	if elapsed == l.ends.Seconds() && l.script.End != lakefstest.Crash {
		s.completed = 1
		if l.script.End != lakefstest.Success {
			s.failed = 1
		}
		if l.script.End == lakefstest.Cancel {
			s.cancels = 1
		}
	}
	return s, true
}

// oldest returns what the import was updated at, at the least, when lakeFS told
// of it in an answer that came at a time.
func (l life) oldest(answered float64) float64 {
	const heartbeat = 1
	return min(answered-heartbeat-pollTimeout.Seconds(), float64(l.began.Unix())+l.ends.Seconds())
}

// newLife starts an import that ends within so many seconds, one way or another.
func (s *soak) newLife(random *rand.Rand, at *standIn, source string, within int) life {
	rate := 1 + random.IntN(1000)
	listing := 1 + random.IntN(within)
	committing := random.IntN(within)
	l := life{
		source: source,
		began:  time.Now().Truncate(time.Second),
		ends:   time.Duration(listing+committing) * time.Second,
		script: lakefstest.Script{Objects: int64(rate * listing), Rate: float64(rate), Committing: time.Duration(committing) * time.Second},
	}
	l.script.End = []lakefstest.End{lakefstest.Success, lakefstest.Success, lakefstest.Failure, lakefstest.Cancel, lakefstest.Crash}[random.IntN(5)]
	if l.script.End != lakefstest.Success {
		l.script.EndAfter = l.ends
	}
	l.ref = at.server.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main"}, l.script, l.began)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.imports[key{at.name, l.ref.ID}] = l
	return l
}

// start starts the stand-ins, and the exporter.
func (s *soak) start(race bool, length time.Duration) (err error) {
	random := rand.New(rand.NewPCG(s.seed, 0))
	imports := map[string]string{"config.yml": "imports:\n"}
	var config strings.Builder
	config.WriteString("import_files: [imports/*.yml]\nservers:\n")
	for i := range servers {
		at := &standIn{name: fmt.Sprintf("lakefs-%d", i)}
		if at.server, err = lakefstest.New(lakefstest.Options{}); err != nil {
			return err
		}
		s.lakeFS = append(s.lakeFS, at)
		if at.proxy, err = lakefstest.NewProxy(strings.TrimPrefix(at.server.URL, "http://")); err != nil {
			return err
		}
		fmt.Fprintf(&config, "- name: %s\n  endpoint_url: http://%s\n  timeout: %s\n"+
			"  basic_auth: {username_file: access_key_id, password_file: secret_access_key}\n", at.name, at.proxy.Addr, pollTimeout)
		for _, source := range []string{"config.yml", always, sometimes} {
			for range importsOfEach {
				l := s.newLife(random, at, source, int(length.Seconds()))
				s.permanent = append(s.permanent, key{at.name, l.ref.ID})
				imports[source] += fmt.Sprintf("- {server: %s, repository: %s, branch: %s, id: %s}\n", at.name, l.ref.Repository, l.ref.Branch, l.ref.ID)
			}
		}
	}
	s.files = map[string]string{
		"access_key_id": lakefstest.AccessKeyID, "secret_access_key": lakefstest.SecretAccessKey,
		"config.yml": config.String() + imports["config.yml"], always: imports[always], sometimes: imports[sometimes],
	}
	if err := os.Mkdir(filepath.Join(s.dir, "imports"), 0o755); err != nil {
		return err
	}
	for name, content := range s.files {
		s.put(name, content)
	}
	binary, err := process.BuildExporter(s.dir, race)
	if err != nil {
		return err
	}
	s.exporter, err = process.StartExporter(binary, s.dir, "--web.enable-lifecycle", "--web.enable-import-api", "--storage.path=imports.db")
	return err
}

// stop ends what start has started.
func (s *soak) stop() (err error) {
	if s.exporter != nil {
		err = s.exporter.Stop()
	}
	for _, at := range s.lakeFS {
		if at.proxy != nil {
			at.proxy.Close()
		}
		at.server.Close()
	}
	return err
}

// complain notes that something is wrong.
func (s *soak) complain(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complainLocked(format, args...)
}

func (s *soak) complainLocked(format string, args ...any) {
	s.wrong = append(s.wrong, time.Now().UTC().Format(time.TimeOnly)+" "+fmt.Sprintf(format, args...))
}
