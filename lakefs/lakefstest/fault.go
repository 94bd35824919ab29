package lakefstest

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"lakefs_import_exporter/lakefs"
)

// Fault is what happens to requests in the place of an answer, or on top of
// it. The zero Fault changes nothing: without Status and Body, lakeFS's own
// answer is sent.
type Fault struct {
	// Delay passes, in real time, before anything else happens. It ends early
	// when the client leaves or the server closes.
	Delay time.Duration
	// Hold, if set, then holds the request until it is closed, or until the
	// client leaves or the server closes.
	Hold <-chan struct{}
	// Status is the HTTP status of the answer, 200 to 599. With a Body and
	// without a Status, it is 200.
	Status int
	// Body is the body of the answer, byte for byte; see Message. Its
	// Content-Type is application/json if it is JSON, else guessed, unless
	// Header says.
	Body string
	// Header is set on the answer, over what would be there.
	Header http.Header
	// Padding is how many bytes of white space follow the body. They are made
	// while they are sent, so there may be more than memory holds.
	Padding int64
	// Break is how the connection fails.
	Break Break
}

// Break is how a connection fails.
type Break uint8

// The breaks. net/http sends a request anew if a connection that it had used
// before is Cut, so that a client may be seen to ask twice.
const (
	// Intact: it does not fail.
	Intact Break = iota
	// BlackHole: no byte is sent, and the connection stays open until the
	// client leaves or the server closes. lakeFS does not see the request.
	BlackHole
	// Cut: the connection is closed before a byte is sent. lakeFS does not see
	// the request.
	Cut
	// Truncate: the connection is closed after the body, but Content-Length
	// promised one byte more.
	Truncate
	// Reset: as Truncate, but with a TCP RST.
	Reset
)

// Message returns the body that lakeFS sends along with an error.
func Message(text string) string { return string(marshal(messageBody{text})) }

// Match chooses requests. Everything, Statuses and Healthchecks are some.
type Match func(*http.Request) bool

// Everything matches all requests.
func Everything(*http.Request) bool { return true }

// Statuses matches the requests for the status of any import.
func Statuses(r *http.Request) bool { return r.Pattern == statusPattern }

// Healthchecks matches the requests for the health check.
func Healthchecks(r *http.Request) bool { return r.Pattern == healthcheckPattern }

// StatusOf matches the requests for the status of one import.
func StatusOf(ref lakefs.Ref) Match {
	return func(r *http.Request) bool { return Statuses(r) && keyOf(r) == key{ref.Repository, ref.ID} }
}

// injected is a fault in force.
type injected struct {
	match Match
	fault Fault
}

// Inject lets f happen to all requests from now on that match, until remove is
// called. Where several faults match, the newest happens.
func (s *Server) Inject(match Match, f Fault) (remove func()) {
	f.Header = f.Header.Clone()
	i := &injected{match, f}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, i)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(s.faults, func(other *injected) bool { return other == i })
	}
}

// fault returns the fault that happens to r; if there is none, the zero Fault.
func (s *Server) fault(r *http.Request) Fault {
	s.mu.Lock()
	faults := slices.Clone(s.faults)
	s.mu.Unlock()
	for _, i := range slices.Backward(faults) {
		if i.match(r) {
			return i.fault
		}
	}
	return Fault{}
}

// answer is what is sent back.
type answer struct {
	status  int
	body    []byte
	header  http.Header
	padding int64
	broken  Break
}

// to returns what r is answered, where endpoint gives lakeFS's own answer. It
// returns when the answer is due.
func (f Fault) to(r *http.Request, endpoint func(*http.Request) answer) answer {
	if f.Delay > 0 {
		delay := time.NewTimer(f.Delay)
		defer delay.Stop()
		select {
		case <-delay.C:
		case <-r.Context().Done():
			return answer{broken: Cut}
		}
	}
	if f.Hold != nil {
		select {
		case <-f.Hold:
		case <-r.Context().Done():
			return answer{broken: Cut}
		}
	}
	if f.Break == BlackHole {
		<-r.Context().Done()
	}
	if f.Break == BlackHole || f.Break == Cut {
		return answer{broken: Cut}
	}
	a := answer{status: f.Status, body: []byte(f.Body)}
	switch {
	case f.Status == 0 && f.Body == "":
		a = endpoint(r)
	case f.Status == 0:
		a.status = http.StatusOK
	}
	a.header = f.Header
	a.padding = f.Padding
	if f.Break != Intact {
		a.broken = f.Break
	}
	return a
}

// write sends a; date is lakeFS's clock. That the client does not listen any
// more is no error here.
func (a answer) write(w http.ResponseWriter, date time.Time) {
	if a.broken == Cut {
		closeConn(w, false)
		return
	}
	h := w.Header()
	h.Set("Date", date.UTC().Format(http.TimeFormat))
	if json.Valid(a.body) {
		h.Set("Content-Type", "application/json")
	}
	if a.broken != Intact {
		h.Set("Content-Length", strconv.FormatInt(int64(len(a.body))+a.padding+1, 10))
	}
	for name, values := range a.header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	w.WriteHeader(a.status)
	if len(a.body) > 0 {
		if _, err := w.Write(a.body); err != nil {
			return
		}
	}
	pad(w, a.padding)
	if a.broken != Intact {
		_ = http.NewResponseController(w).Flush()
		closeConn(w, a.broken == Reset)
	}
}

// pad writes n bytes of white space, as long as the client takes them.
func pad(w http.ResponseWriter, n int64) {
	spaces := bytes.Repeat([]byte(" "), int(min(n, 64<<10)))
	for n > 0 {
		written, err := w.Write(spaces[:min(n, int64(len(spaces)))])
		if err != nil {
			return
		}
		n -= int64(written)
	}
}

// closeConn closes the connection under w, with a RST if reset is true.
func closeConn(w http.ResponseWriter, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if reset {
		raw := conn
		if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
			raw = t.NetConn()
		}
		if tcp, ok := raw.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
			conn = tcp
		}
	}
	_ = conn.Close()
}
