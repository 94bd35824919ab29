// Package demo watches the imports of a simulated lakeFS, so that everything
// the exporter serves can be looked at without a lakeFS.
package demo

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/config"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

const (
	serverName = "demo"
	// rehearsal is how much of the imports' past is played before the demo
	// opens: some states only show to who has watched for a while.
	rehearsal = 50 * time.Minute
	// rehearsalStep is the scrape interval of that time.
	rehearsalStep = 30 * time.Second
)

// Demo is a simulated lakeFS and the imports to watch on it. Until Rehearse has
// run, it lives in the past. It implements collector.Files with the imports that
// a simulated pipeline starts, and collector.Discovery.
type Demo struct {
	lakeFS  *lakefstest.Server
	client  *lakefs.Client
	opening time.Time    // when the demo opens
	behind  atomic.Int64 // nanoseconds that the demo's clock is behind
	imports []*collector.Import

	mu       sync.Mutex // guards the pipeline
	pipeline collector.FileSet
	started  int                     // imports of the pipeline so far
	changed  func(collector.FileSet) // nil while nobody watches
}

// Start starts the simulated lakeFS. Close it when it is no longer needed.
func Start(userAgent string) (*Demo, error) {
	d := &Demo{opening: time.Now()}
	d.behind.Store(int64(rehearsal))
	var err error
	if d.lakeFS, err = lakefstest.New(lakefstest.Options{Clock: d.Now}); err != nil {
		return nil, err
	}
	httpConfig := config.DefaultHTTPClientConfig
	httpConfig.BasicAuth = &config.BasicAuth{
		Username: lakefstest.AccessKeyID,
		Password: lakefstest.SecretAccessKey,
	}
	d.client, err = lakefs.NewClient(lakefs.ClientConfig{EndpointURL: d.lakeFS.URL, HTTP: httpConfig, UserAgent: userAgent})
	if err != nil {
		d.lakeFS.Close()
		return nil, err
	}
	d.stage()
	return d, nil
}

// Close stops the simulated lakeFS.
func (d *Demo) Close() { d.lakeFS.Close() }

// Now is the demo's clock, of lakeFS and exporter alike.
func (d *Demo) Now() time.Time { return time.Now().Add(-time.Duration(d.behind.Load())) }

// Config returns the configuration that watches the demo.
func (d *Demo) Config() (collector.Config, error) {
	return collector.Config{
		Servers: []collector.Server{{
			Name:                  serverName,
			Client:                d.client,
			Timeout:               5 * time.Second,
			MaxConcurrentRequests: 32,
			Discovery:             d,
		}},
		Imports: d.imports,
		Repositories: []collector.Repository{
			{Server: serverName, Name: "orders", MaxImportAge: 15 * time.Minute, Labels: map[string]string{"team": "ingest"}},
			{Server: serverName, Name: "billing", MaxImportAge: 26 * time.Hour, Labels: map[string]string{"team": "finance"}},
			{Server: serverName, Name: "satellite-images", MaxImportAge: 7 * 24 * time.Hour, Labels: map[string]string{"team": "research"}}, // none has landed yet
		},
		Files: d,
	}, nil
}

// Rehearse plays the imports' past to poll, and brings the clock to the present.
func (d *Demo) Rehearse(poll func(context.Context)) {
	for behind := rehearsal; behind > 0; behind -= rehearsalStep {
		d.behind.Store(int64(behind))
		if behind == lostAgo {
			d.lakeFS.Forget(d.imports[lost].Ref())
		}
		d.update()
		poll(context.Background())
	}
	d.behind.Store(0)
}

// lost is the index in Demo.imports of the import that lakeFS loses, lostAgo
// before the demo opens.
const (
	lost    = 0
	lostAgo = 4 * time.Minute
)

// stage sets the imports up that show every state.
func (d *Demo) stage() {
	for _, act := range []struct {
		repository, branch, team string
		id                       string // an xid of the start if empty
		ago                      time.Duration
		expected                 int64
		script                   lakefstest.Script
	}{
		lost: {
			repository: "clickstream", branch: "main", team: "web", ago: 31 * time.Minute, expected: 6_000_000,
			script: lakefstest.Script{Objects: 6_000_000, Rate: 1500},
		},
		{ // running for hours
			repository: "satellite-images", branch: "main", team: "research", ago: 47 * time.Minute, expected: 18_000_000,
			script: lakefstest.Script{Objects: 18_000_000, Rate: 2100, Queued: 90 * time.Second},
		},
		{ // running, and nobody said how much to expect; the ID does not tell the start
			repository: "sensor-data", branch: "staging", team: "research", id: "b6e2f7a0-51c9-4d7e-9f0a-2c1d8e4b7a35", ago: 22 * time.Minute,
			script: lakefstest.Script{Objects: 9_000_000, Rate: 340},
		},
		{ // stalled: its lakeFS process died
			repository: "billing", branch: "main", team: "finance", ago: 38 * time.Minute, expected: 250_000,
			script: lakefstest.Script{Objects: 250_000, Rate: 130, End: lakefstest.Crash, EndAfter: 14 * time.Minute},
		},
		{ // hung
			repository: "clickstream", branch: "backfill", team: "web", ago: 49 * time.Minute, expected: 900_000,
			script: lakefstest.Script{Objects: 900_000, Rate: 700, End: lakefstest.Hang, EndAtObjects: 182_400},
		},
		{ // succeeded
			repository: "billing", branch: "main", team: "finance", ago: 44 * time.Minute, expected: 128_000,
			script: lakefstest.Script{Objects: 128_000, Rate: 420, Committing: 20 * time.Second},
		},
		{ // failed
			repository: "sensor-data", branch: "main", team: "research", ago: 26 * time.Minute,
			script: lakefstest.Script{Objects: 40_000, Rate: 200, End: lakefstest.Failure, EndAfter: 70 * time.Second, Message: lakefstest.MessageNoSuchFile},
		},
		{ // canceled
			repository: "clickstream", branch: "main", team: "web", ago: 35 * time.Minute, expected: 500_000,
			script: lakefstest.Script{Objects: 500_000, Rate: 250, End: lakefstest.Cancel, EndAfter: 8 * time.Minute},
		},
	} {
		ref := lakefs.Ref{Repository: act.repository, Branch: act.branch, ID: act.id}
		ref = d.lakeFS.StartAt(ref, act.script, d.opening.Add(-act.ago))
		d.imports = append(d.imports, demoImport(ref, act.team, act.expected))
	}
	// not_found: a mistyped ID.
	d.imports = append(d.imports, demoImport(
		lakefs.Ref{Repository: "billing", Branch: "main", ID: "0f3c9d1e-7b2a-4c55-8e61-d94ab7c02f18"}, "finance", 0))
	// unknown: lakeFS has not been able to answer for this one.
	unknown := d.lakeFS.Start("sensor-data", "main", lakefstest.Script{Objects: 75_000, Rate: 50})
	d.lakeFS.Inject(lakefstest.StatusOf(unknown), lakefstest.Fault{
		Status: http.StatusServiceUnavailable,
		Body:   lakefstest.Message("Throughput exceeded. Slow down and retry"),
	})
	d.imports = append(d.imports, demoImport(unknown, "research", 75_000))
}

func demoImport(ref lakefs.Ref, team string, expected int64) *collector.Import {
	return &collector.Import{
		Key:             collector.Key{Server: serverName, Repository: ref.Repository, ID: ref.ID},
		Branch:          ref.Branch,
		ExpectedObjects: expected,
		NoProgressAfter: collector.DefaultNoProgressAfter,
		Labels:          map[string]string{"team": team},
	}
}

const (
	// pipelineInterval is how often the pipeline starts an import.
	pipelineInterval = time.Minute
	// pipelineKept is how many of its imports it keeps on watching.
	pipelineKept = 8
)

// Watch implements collector.Files.
func (d *Demo) Watch(ctx context.Context, changed func(collector.FileSet)) {
	d.mu.Lock()
	d.changed = changed
	changed(d.pipeline)
	d.mu.Unlock()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		d.update()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Run implements collector.Discovery: the simulated lakeFS's database has what is
// in the config, too.
func (d *Demo) Run(ctx context.Context, refreshed func(found []collector.Import, dropped int, err error)) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		found := make([]collector.Import, len(d.imports))
		for i := range d.imports {
			found[i], _ = d.Describe(d.imports[i].Repository, d.imports[i].ID)
		}
		refreshed(found, 0, nil)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Describe implements collector.Discovery. It does not describe the imports of an
// earlier demo, which storage may remember: their lakeFS is gone.
func (d *Demo) Describe(repository, id string) (collector.Import, bool) {
	imp := demoImport(lakefs.Ref{Repository: repository, Branch: lakefs.UnknownBranch, ID: id}, "", 0)
	imp.Labels = nil
	return *imp, slices.ContainsFunc(d.imports, func(i *collector.Import) bool { return i.Key == imp.Key })
}

// update starts the imports of the pipeline whose time has come.
func (d *Demo) update() {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.started
	for {
		at := d.opening.Add(-rehearsal + time.Duration(d.started)*pipelineInterval)
		if at.After(d.Now()) {
			break
		}
		kept := d.pipeline.Imports[max(0, len(d.pipeline.Imports)-pipelineKept+1):]
		next := d.startNext(at)
		d.pipeline.Imports = append(slices.Clone(kept), next)
		d.started++
	}
	if d.started > before && d.changed != nil {
		d.changed(d.pipeline)
	}
}

// startNext starts the next import of the pipeline. Most succeed after some
// minutes, every seventh fails.
func (d *Demo) startNext(at time.Time) *collector.Import {
	n := d.started
	objects := int64(60_000 + 17_000*(n*5%7))
	script := lakefstest.Script{
		Objects:    objects,
		Rate:       float64(350 + 90*(n*3%5)),
		Queued:     time.Duration(n%4) * 5 * time.Second,
		Committing: time.Duration(n%3) * 4 * time.Second,
	}
	if n%7 == 4 {
		script.End, script.Message, script.EndAtObjects = lakefstest.Failure, lakefstest.MessageDirtyBranch, objects
	}
	ref := d.lakeFS.StartAt(lakefs.Ref{Repository: "orders", Branch: fmt.Sprintf("ingest-%d", n%3+1)}, script, at)
	return demoImport(ref, "ingest", objects)
}
