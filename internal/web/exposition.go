package web

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// exposition answers with metrics. It writes them into memory first, compressed,
// where they are a twentieth of what they are made of: so no reader holds on
// to that, however slow. Readers that come together share one answer.
type exposition struct {
	metrics http.Handler // writes them as they are asked for, not compressed

	// slot is held by whoever writes into memory: one at a time is as fast as
	// many, and takes the memory of one.
	slot chan struct{}

	mu   sync.Mutex
	next map[form]*rendered // not begun yet, so that they will show what is now
}

// form is all of a request that makes a difference to the answer.
type form struct{ accept, names string }

// rendered is an answer in memory.
type rendered struct {
	readers int           // who wait for it; guarded by the exposition's lock
	done    chan struct{} // closed when all the rest is there

	header     http.Header
	status     int // 0 if it could not be written to its end
	compressed bytes.Buffer
}

// newExposition returns the exposition of what gather returns at the time of an
// answer. What it tells of its own work is in opts.Registry.
func newExposition(gather prometheus.GathererFunc, opts promhttp.HandlerOpts) *exposition {
	opts.DisableCompression = true
	return &exposition{metrics: promhttp.HandlerFor(gather, opts), slot: make(chan struct{}, 1), next: map[form]*rendered{}}
}

// ServeHTTP implements http.Handler.
func (e *exposition) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := e.answer(r)
	switch {
	case answer == nil:
		return // the client hung up
	case answer.status == 0:
		http.Error(w, "The metrics could not be written: see the log.", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	for name, values := range answer.header {
		header[name] = append(header[name], values...)
	}
	header.Add("Vary", "Accept-Encoding")
	if !acceptsGzip(r.Header) {
		w.WriteHeader(answer.status)
		answer.writePlain(w)
		return
	}
	header.Set("Content-Encoding", "gzip")
	header.Set("Content-Length", strconv.Itoa(answer.compressed.Len()))
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.compressed.Bytes()) // the client may have hung up
}

// answer returns an answer to r, none that was begun before; nil if r's client
// has hung up. Of those who wait for the same, one writes it.
func (e *exposition) answer(r *http.Request) *rendered {
	wanted := form{
		accept: strings.Join(r.Header.Values("Accept"), ","),
		names:  url.Values{"": r.URL.Query()["name[]"]}.Encode(), // as promhttp has it
	}
	answer := e.join(wanted)
	defer e.leave(wanted, answer)
	select {
	case <-answer.done:
		return answer
	case <-r.Context().Done():
		return nil
	case e.slot <- struct{}{}:
	}
	defer func() { <-e.slot }()
	select {
	case <-answer.done: // by the one before
		return answer
	default:
	}
	e.begin(wanted)
	defer close(answer.done)
	answer.render(e.metrics, r)
	return answer
}

// join returns the next answer of a form, for one more reader.
func (e *exposition) join(wanted form) *rendered {
	e.mu.Lock()
	defer e.mu.Unlock()
	answer, ok := e.next[wanted]
	if !ok {
		answer = &rendered{done: make(chan struct{}), header: http.Header{}}
		e.next[wanted] = answer
	}
	answer.readers++
	return answer
}

// leave ends the wait of a reader. What nobody waits for is not written.
func (e *exposition) leave(wanted form, answer *rendered) {
	e.mu.Lock()
	defer e.mu.Unlock()
	answer.readers--
	if answer.readers == 0 && e.next[wanted] == answer {
		delete(e.next, wanted)
	}
}

// begin takes the next answer of a form: who comes from now on gets another.
func (e *exposition) begin(wanted form) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.next, wanted)
}

// render has metrics write the answer to r, and compresses it meanwhile.
func (a *rendered) render(metrics http.Handler, r *http.Request) {
	const blockBytes = 64 << 10
	plain, w := io.Pipe()
	var compression sync.WaitGroup
	compression.Go(func() {
		// The fastest level: higher ones take longer than all the rest.
		z, _ := gzip.NewWriterLevel(&a.compressed, gzip.BestSpeed) // its only error is a bad level
		_, _ = io.CopyBuffer(z, plain, make([]byte, blockBytes))   // neither side fails
		_ = z.Close()
	})
	defer compression.Wait()
	defer w.Close()
	status := http.StatusOK
	writer := renderer{bufio.NewWriterSize(w, blockBytes), a.header, &status}
	metrics.ServeHTTP(writer, r)
	_ = writer.Flush()
	a.status = status
}

// writePlain writes the body as it was before it was compressed.
func (a *rendered) writePlain(w io.Writer) {
	z, err := gzip.NewReader(bytes.NewReader(a.compressed.Bytes()))
	if err == nil {
		_, _ = io.Copy(w, z) //nolint:gosec // G110: it was compressed here. The client may have hung up.
	}
}

// renderer is the http.ResponseWriter of a rendered. Its buffer has the methods
// that expfmt else adds one more buffer for.
type renderer struct {
	*bufio.Writer
	header http.Header
	status *int
}

// Header implements http.ResponseWriter.
func (r renderer) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r renderer) WriteHeader(status int) { *r.status = status }
