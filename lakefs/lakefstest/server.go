// Package lakefstest is a lakeFS in the process: a real HTTP server on a
// loopback port that answers as lakeFS does, whose imports follow scripts or
// recordings, on a clock of the caller's choice. Tests use it, and the
// exporter's demo.
//
// It serves importStatus, importStart, importCancel, the metadata of
// repositories and the health check; every other path under /api/v1 is an
// invalid API endpoint, and any other path a page, where lakeFS has its web
// interface. Every branch of a repository exists.
package lakefstest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log" //nolint:depguard // net/http takes no other logger
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/xid"

	"lakefs_import_exporter/lakefs"
)

// The default credentials: those of lakeFS's own examples.
const (
	AccessKeyID     = "AKIAIOSFOLQUICKSTART"                     //nolint:gosec // G101: everybody knows it
	SecretAccessKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" //nolint:gosec // G101: everybody knows it
)

const (
	apiPath            = "/api/v1"
	importPath         = apiPath + "/repositories/{repository}/branches/{branch}/import"
	statusPattern      = "GET " + importPath
	healthcheckPattern = "GET " + apiPath + "/healthcheck"

	// maxCounted bounds the memory of counting requests by import.
	maxCounted = 1 << 16
)

// Options are the options of a Server. The zero value will do.
type Options struct {
	// Clock is lakeFS's clock. The default is time.Now.
	Clock func() time.Time
	// AccessKeyID and SecretAccessKey are the credentials that are asked for.
	// The defaults are the constants of these names.
	AccessKeyID, SecretAccessKey string
	// Token, if set, is good too, as a bearer token.
	Token string
	// Script is followed by the imports that are started over HTTP. The default
	// is an import of 60,000 objects in 2.4 seconds.
	Script Script
	// TLS, if set, is how the server speaks HTTPS. It needs a certificate.
	TLS *tls.Config
}

// Server is a lakeFS. It is safe for concurrent use.
//
// As in lakeFS, an import is known by its repository and ID alone; the branch
// of a Ref is never looked at.
type Server struct {
	// URL is where the server is: scheme, host and port, without a slash at
	// the end.
	URL string

	opts Options
	http *http.Server
	stop context.CancelFunc // ends what keeps a request waiting
	done chan struct{}      // closed when no more connections are accepted

	handlers sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	repos   map[string]time.Time // to the newest commit of imports that are gone
	imports map[key]imported
	lastID  uint32
	faults  []*injected
	stats   Stats
	polls   map[key]int
}

// key is what lakeFS knows an import by.
type key struct{ repository, id string }

// imported is an import that follows a script, or if there is one, a recording.
type imported struct {
	run       run
	recording Recording
}

// New starts a server. Close it when it is no longer needed.
func New(opts Options) (*Server, error) {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.AccessKeyID == "" {
		opts.AccessKeyID = AccessKeyID
	}
	if opts.SecretAccessKey == "" {
		opts.SecretAccessKey = SecretAccessKey
	}
	if opts.Script == (Script{}) {
		opts.Script = Script{Objects: 60_000, Rate: 25_000}
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("simulated lakeFS: %w", err)
	}
	scheme := "http"
	if opts.TLS != nil {
		scheme = "https"
		listener = tls.NewListener(listener, opts.TLS)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		URL:     scheme + "://" + listener.Addr().String(),
		opts:    opts,
		stop:    stop,
		done:    make(chan struct{}),
		repos:   make(map[string]time.Time),
		imports: make(map[key]imported),
		polls:   make(map[key]int),
	}
	s.http = &http.Server{
		Handler:           s.mux(),
		ReadHeaderTimeout: time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         s.countConnection,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(listener) // ends with Close, and with nothing else to do about it
	}()
	return s, nil
}

// Close closes the listener and all connections, and waits for the requests
// under way, which it breaks off.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	_ = s.http.Close()
	<-s.done
	s.handlers.Wait()
}

// AddRepository adds an empty repository. Starting an import does it too.
func (s *Server) AddRepository(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addRepository(name)
}

func (s *Server) addRepository(name string) {
	if _, ok := s.repos[name]; !ok {
		s.repos[name] = time.Time{}
	}
}

// Start starts an import now, and returns its name. The ID is an xid of the
// server's clock; the same calls on two servers give the same IDs.
func (s *Server) Start(repository, branch string, script Script) lakefs.Ref {
	return s.StartAt(lakefs.Ref{Repository: repository, Branch: branch}, script, s.opts.Clock())
}

// StartAt starts an import as if it had been done at another time. If ref has
// no ID, it gets an xid of that time; if it has the ID of an import of the same
// repository, it takes its place.
func (s *Server) StartAt(ref lakefs.Ref, script Script, at time.Time) lakefs.Ref {
	return s.add(ref, at, imported{run: run{script: script}})
}

// Play starts an import now whose answers are those of a recording, byte for
// byte, as long after now as they came after the start of the recorded one. If
// ref has no ID, it gets an xid. Neither Restart nor a cancel reaches it.
func (s *Server) Play(ref lakefs.Ref, recording Recording) lakefs.Ref {
	return s.add(ref, s.opts.Clock(), imported{recording: recording})
}

func (s *Server) add(ref lakefs.Ref, at time.Time, i imported) lakefs.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ref.ID == "" {
		ref.ID = s.newID(at)
	}
	i.run.id, i.run.start = ref.ID, at
	k := key{ref.Repository, ref.ID}
	s.addRepository(ref.Repository)
	s.forget(k)
	s.imports[k] = i
	return ref
}

// newID returns an xid: four bytes of time, five of machine and process, three
// that count.
func (s *Server) newID(at time.Time) string {
	s.lastID++
	var id xid.ID
	binary.BigEndian.PutUint32(id[8:], s.lastID)
	copy(id[4:], "lkefs")
	binary.BigEndian.PutUint32(id[:], uint32(at.Unix())) //nolint:gosec // G115: an xid has four bytes of time
	return id.String()
}

// Cancel cancels an import now, as the web interface and lakectl do. It reports
// whether there was one to cancel: one that has not succeeded.
func (s *Server) Cancel(ref lakefs.Ref) bool {
	return s.cancel(key{ref.Repository, ref.ID}) == http.StatusNoContent
}

// cancel returns the HTTP status that tells how it went.
func (s *Server) cancel(k key) int {
	now := s.opts.Clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.imports[k]
	switch {
	case !ok:
		return http.StatusNotFound
	case i.recording != nil || i.run.at(now).completed:
		return http.StatusConflict
	}
	i.run.canceled = now
	s.imports[k] = i
	return http.StatusNoContent
}

// Forget makes lakeFS forget an import, as it does a day after the last update. By
// itself, this one forgets none.
func (s *Server) Forget(ref lakefs.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(key{ref.Repository, ref.ID})
}

// forget drops an import, but not that it was committed.
func (s *Server) forget(k key) {
	i, ok := s.imports[k]
	if !ok {
		return
	}
	if at, ok := i.run.committed(s.opts.Clock()); ok && i.recording == nil && at.After(s.repos[k.repository]) {
		s.repos[k.repository] = at
	}
	delete(s.imports, k)
}

// Restart restarts lakeFS: imports that were running are orphans from now on,
// with the heartbeat that they last had. Connections stay.
func (s *Server) Restart() {
	now := s.opts.Clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, i := range s.imports {
		if i.recording == nil && i.run.died.IsZero() && !i.run.at(now).final() {
			i.run.died = now
			s.imports[k] = i
		}
	}
}

// Stats is what was asked of a Server, answered or not.
type Stats struct {
	// Requests counts all requests, of these StatusRequests those for the
	// status of an import, and Healthchecks those for the health check.
	Requests, StatusRequests, Healthchecks int
	// InFlight is how many requests for a status are under way, and MaxInFlight
	// how many were at once, at the most.
	InFlight, MaxInFlight int
	// Connections counts the TCP connections that were accepted.
	Connections int
	// LastHeader is the header of the last request.
	LastHeader http.Header
}

// Stats returns what was asked since the start, or since ResetStats.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.LastHeader = stats.LastHeader.Clone()
	return stats
}

// StatusRequests returns how often the status of an import was asked for, known
// or not, since the start or since ResetStats. It counts for the first 65,536
// imports that are asked for.
func (s *Server) StatusRequests(ref lakefs.Ref) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polls[key{ref.Repository, ref.ID}]
}

// ResetStats begins to count anew.
func (s *Server) ResetStats() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats = Stats{InFlight: s.stats.InFlight, MaxInFlight: s.stats.InFlight}
	clear(s.polls)
}

func (s *Server) countConnection(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stats.Connections++
	}
}

// begin counts a request. It reports false if the server is closed; else end
// must be called.
func (s *Server) begin(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.handlers.Add(1)
	s.stats.Requests++
	s.stats.LastHeader = r.Header.Clone()
	switch {
	case Healthchecks(r):
		s.stats.Healthchecks++
	case Statuses(r):
		s.stats.StatusRequests++
		s.stats.InFlight++
		s.stats.MaxInFlight = max(s.stats.MaxInFlight, s.stats.InFlight)
		k := keyOf(r)
		if _, ok := s.polls[k]; ok || len(s.polls) < maxCounted {
			s.polls[k]++
		}
	}
	return true
}

func (s *Server) end(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if Statuses(r) {
		s.stats.InFlight--
	}
	s.handlers.Done()
}

// mux returns the endpoints. lakeFS checks the parameters of a request first,
// then the credentials, then whether there is what it names.
func (s *Server) mux() http.Handler {
	mux := http.NewServeMux()
	for pattern, endpoint := range map[string]func(*http.Request) answer{
		statusPattern:          s.withID(s.importStatus),
		"POST " + importPath:   s.withAuth(s.importStart),
		"DELETE " + importPath: s.withID(s.importCancel),
		"GET " + apiPath + "/repositories/{repository}/metadata": s.withAuth(s.metadata),
		healthcheckPattern: func(*http.Request) answer { return answer{status: http.StatusNoContent} },
		apiPath + "/":      func(*http.Request) answer { return refuse(http.StatusNotFound, "invalid API endpoint") },
		"/":                func(*http.Request) answer { return answer{status: http.StatusOK, body: []byte(page)} },
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if !s.begin(r) {
				closeConn(w, false)
				return
			}
			defer s.end(r)
			a := s.fault(r).to(r, endpoint)
			a.write(w, s.opts.Clock())
		})
	}
	return mux
}

// page stands where lakeFS has its web interface.
const page = `<!doctype html>
<html lang="en">
<title>Simulated lakeFS</title>
<p>This is a simulated lakeFS, which has an API but no web interface.
</html>
`

// withID refuses requests without an import ID, then those without credentials.
func (s *Server) withID(endpoint func(*http.Request) answer) func(*http.Request) answer {
	authorized := s.withAuth(endpoint)
	return func(r *http.Request) answer {
		if r.URL.Query().Get("id") == "" {
			return refuse(http.StatusBadRequest, `parameter "id" in query has an error: empty value is not allowed`)
		}
		return authorized(r)
	}
}

// withAuth refuses requests without credentials, then those for a repository
// that does not exist.
func (s *Server) withAuth(endpoint func(*http.Request) answer) func(*http.Request) answer {
	return func(r *http.Request) answer {
		user, password, _ := r.BasicAuth()
		token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case user == s.opts.AccessKeyID && password == s.opts.SecretAccessKey:
		case bearer && s.opts.Token != "" && token == s.opts.Token:
		default:
			return refuse(http.StatusUnauthorized, "error authenticating request")
		}
		if !s.hasRepository(r.PathValue("repository")) {
			return refuse(http.StatusNotFound, "repository not found")
		}
		return endpoint(r)
	}
}

func (s *Server) hasRepository(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.repos[name]
	return ok
}

func (s *Server) importStatus(r *http.Request) answer {
	now := s.opts.Clock()
	s.mu.Lock()
	i, ok := s.imports[keyOf(r)]
	s.mu.Unlock()
	switch {
	case !ok:
		return refuse(http.StatusNotFound, "not found")
	case i.recording != nil:
		return i.recording.At(now.Sub(i.run.start)).answer()
	}
	return reply(http.StatusOK, i.run.body(now))
}

func (s *Server) importCancel(r *http.Request) answer {
	switch status := s.cancel(keyOf(r)); status {
	case http.StatusNotFound:
		return refuse(status, "not found")
	case http.StatusConflict:
		return refuse(status, "conflict found")
	default:
		return answer{status: status}
	}
}

// importStart looks at no more of the body than whether it is one.
func (s *Server) importStart(r *http.Request) answer {
	var creation struct {
		Paths  []struct{}
		Commit struct{ Message *string }
	}
	err := json.NewDecoder(r.Body).Decode(&creation)
	if err != nil || creation.Paths == nil || creation.Commit.Message == nil {
		return refuse(http.StatusBadRequest, "request body has an error: doesn't match schema #/components/schemas/ImportCreation")
	}
	ref := s.Start(r.PathValue("repository"), r.PathValue("branch"), s.opts.Script)
	return reply(http.StatusAccepted, map[string]string{"id": ref.ID})
}

func (s *Server) metadata(r *http.Request) answer {
	repository, now := r.PathValue("repository"), s.opts.Clock()
	s.mu.Lock()
	newest := s.repos[repository]
	for k, i := range s.imports {
		if k.repository != repository || i.recording != nil {
			continue
		}
		if at, ok := i.run.committed(now); ok && at.After(newest) {
			newest = at
		}
	}
	s.mu.Unlock()
	metadata := map[string]string{}
	if !newest.IsZero() {
		metadata[".lakefs.last.import.timestamp"] = strconv.FormatInt(newest.Unix(), 10)
	}
	return reply(http.StatusOK, metadata)
}

// keyOf returns which import a request for or about one names.
func keyOf(r *http.Request) key {
	return key{r.PathValue("repository"), r.URL.Query().Get("id")}
}

// refuse returns the answer of lakeFS to a request that it does not grant.
func refuse(status int, message string) answer {
	return reply(status, messageBody{message})
}

func reply(status int, v any) answer {
	return answer{status: status, body: marshal(v)}
}

// marshal returns v as lakeFS writes JSON: on one line that ends. v is one of
// this package's own types, so it can be marshalled.
func marshal(v any) []byte {
	var b bytes.Buffer
	_ = json.NewEncoder(&b).Encode(v)
	return b.Bytes()
}
