package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"lakefs_import_exporter/lakefs/lakefstest"
)

// trouble is when a server was last in trouble.
type trouble struct {
	now  bool
	last time.Time // its end, if it is not now
}

// httpFaults are none that a lakeFS would be believed.
var httpFaults = []lakefstest.Fault{
	{Status: 401, Body: lakefstest.Message("error authenticating request")},
	{Status: 403, Body: "<h1>Forbidden</h1>"},
	{Status: 404, Body: "default backend - 404"},
	{Status: 429, Header: http.Header{"Retry-After": {"1"}}},
	{Status: 500, Body: lakefstest.Message("no")},
	{Status: 502, Body: "<h1>502 Bad Gateway</h1>"},
	{Status: 503, Body: "{", Padding: 1 << 30},
	{Status: 307, Header: http.Header{"Location": {"/again"}}},
	{Status: 307, Header: http.Header{"Location": {"http://127.0.0.1:1/"}}},
	{Body: "<!doctype html><title>Sign in</title>"},
	{Body: `{"completed":true,"ingested_objects":-1,"update_time":"2026-11-22T10:51:27Z"}`},
	{Body: `{"completed":true,"ingested_objects":"1","update_time":"2026-11-22T10:51:27Z"}`},
	{Body: "{", Padding: 1 << 30},
	{Body: "{", Break: lakefstest.Reset},
	{Body: "{", Break: lakefstest.Truncate},
	{Break: lakefstest.Reset},
	{Break: lakefstest.Cut},
	{Break: lakefstest.BlackHole},
	{Delay: pollTimeout / 2},
	{Delay: 2 * pollTimeout},
}

var proxyTroubles = []lakefstest.Trouble{
	lakefstest.Refuse, lakefstest.Swallow, lakefstest.Trickle, lakefstest.Garbage, lakefstest.EndlessHeader,
}

// pause waits for a while, at most for longest, and reports whether to go on.
func pause(ctx context.Context, random *rand.Rand, longest time.Duration) bool {
	select {
	case <-time.After(time.Duration(random.Int64N(int64(longest)))):
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// trouble lets what goes by name be in trouble, by begin, for a while.
func (s *soak) trouble(ctx context.Context, random *rand.Rand, name string, longest time.Duration, begin func() (end func())) {
	s.mu.Lock()
	s.troubles[name] = trouble{now: true}
	s.counts.faults++
	s.mu.Unlock()
	end := begin()
	pause(ctx, random, longest)
	end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubles[name] = trouble{last: time.Now()}
}

// aftermath is how long trouble may show: a poll runs into its timeout, the next
// is a second later, or two if lakeFS asked to be left alone.
const aftermath = 2*pollTimeout + 2*time.Second

// excused reports whether what goes by name was in trouble while a scrape was
// under way that has ended now, or so short a time before that it may show.
func (s *soak) excused(name string, begin time.Time) bool {
	t := s.troubles[name]
	return t.now || t.last.After(begin.Add(-aftermath))
}

// misbehave lets one fault after the other happen to a stand-in.
func (s *soak) misbehave(ctx context.Context, random *rand.Rand, at *standIn) {
	for pause(ctx, random, 20*time.Second) {
		n := random.IntN(len(httpFaults) + len(proxyTroubles) + 1)
		s.trouble(ctx, random, at.name, 6*time.Second, func() func() {
			switch {
			case n < len(httpFaults):
				return at.server.Inject(lakefstest.Everything, httpFaults[n])
			case n < len(httpFaults)+len(proxyTroubles):
				s.set(at.proxy, proxyTroubles[n-len(httpFaults)])
				return func() { s.set(at.proxy, lakefstest.Forward) }
			}
			at.proxy.Reset()
			return func() {}
		})
	}
}

func (s *soak) set(proxy *lakefstest.Proxy, t lakefstest.Trouble) {
	if err := proxy.Set(t); err != nil {
		s.complain("the soak itself: %v", err)
	}
}

// registration is when an import was registered and unregistered over the API.
type registration struct {
	put     time.Time // answered
	deleted time.Time // asked for; zero if it was not
	gone    time.Time // answered
}

// register registers imports, one at a time, and unregisters them again.
func (s *soak) register(ctx context.Context, random *rand.Rand) {
	for pause(ctx, random, 3*time.Second) {
		at := s.lakeFS[random.IntN(len(s.lakeFS))]
		l := s.newLife(random, at, "", 20)
		k, path := key{at.name, l.ref.ID}, "/api/v1/imports/my-repo/main/"+l.ref.ID+"?server="+at.name
		s.want(http.MethodPut, path, http.StatusCreated)
		s.note(k, func(r *registration) { r.put = time.Now() })
		for range random.IntN(4) {
			pause(ctx, random, 10*time.Second)
			s.want(http.MethodGet, path, http.StatusOK)
		}
		s.note(k, func(r *registration) { r.deleted = time.Now() })
		s.want(http.MethodDelete, path, http.StatusNoContent)
		s.note(k, func(r *registration) { r.gone = time.Now() })
		s.want(http.MethodGet, path, http.StatusNotFound)
		at.server.Forget(l.ref)
	}
}

func (s *soak) note(k key, change func(*registration)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.registered[k]
	change(&r)
	s.registered[k] = r
}

// reload reloads, with configs and import files that load, and such that do not.
func (s *soak) reload(ctx context.Context, random *rand.Rand) {
	for pause(ctx, random, 5*time.Second) {
		switch random.IntN(4) {
		case 0:
			if err := s.exporter.Signal(syscall.SIGHUP); err != nil {
				s.complain("SIGHUP: %v", err)
			}
		case 1:
			s.put("config.yml", "nonsense")
			s.want(http.MethodPost, "/-/reload", http.StatusInternalServerError)
			s.put("config.yml", s.files["config.yml"])
			s.want(http.MethodPost, "/-/reload", http.StatusOK)
		case 2:
			// What was last good of a file that does not load stays.
			s.put(always, "nonsense")
			pause(ctx, random, 3*time.Second)
			s.put(always, s.files[always])
		case 3:
			s.trouble(ctx, random, sometimes, 3*time.Second, func() func() {
				if err := os.Remove(filepath.Join(s.dir, sometimes)); err != nil {
					s.complain("the soak itself: %v", err)
				}
				return func() { s.put(sometimes, s.files[sometimes]) }
			})
		}
	}
}

// put writes a file beside and renames it, so that nobody reads the half of it.
func (s *soak) put(name, content string) {
	path := filepath.Join(s.dir, name)
	err := os.WriteFile(path+".new", []byte(content), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		s.complain("the soak itself: %v", err)
	}
}

// look looks at pages, and probes.
func (s *soak) look(ctx context.Context, random *rand.Rand) {
	for pause(ctx, random, time.Second) {
		switch random.IntN(4) {
		case 0:
			s.want(http.MethodGet, "/imports", http.StatusOK)
		case 1:
			s.want(http.MethodGet, "/api/v1/imports", http.StatusOK)
		default:
			k, l := s.anyImport(random)
			begin := time.Now()
			body := s.want(http.MethodGet, "/probe?server="+k.server+"&target="+l.ref.String(), http.StatusOK)
			s.checkSeries(body, begin)
		}
	}
}

// anyImport returns one that was never registered, and so is never forgotten.
func (s *soak) anyImport(random *rand.Rand) (key, life) {
	k := s.permanent[random.IntN(len(s.permanent))]
	s.mu.Lock()
	defer s.mu.Unlock()
	return k, s.imports[k]
}

// want sends a request and complains if its answer has another status.
func (s *soak) want(method, path string, status int) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*scrapeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.exporter.URL+path, http.NoBody)
	if err != nil {
		s.complain("the soak itself: %v", err)
		return ""
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.complain("%s %s: %v", method, path, err)
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		s.complain("%s %s: status %d, %v: %s", method, path, resp.StatusCode, err, body[:min(len(body), 200)])
	}
	s.count(func(c *counts) { c.requests++ })
	return string(body)
}
