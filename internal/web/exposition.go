package web

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
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
type form struct{ accept, query string }

// rendered is an answer in memory.
type rendered struct {
	done       chan struct{} // closed when all the rest is there
	header     http.Header
	status     int
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

// answer returns an answer to r, none that was begun before.
func (e *exposition) answer(r *http.Request) *rendered {
	wanted := form{strings.Join(r.Header.Values("Accept"), ","), r.URL.RawQuery}
	e.mu.Lock()
	answer, ok := e.next[wanted]
	if !ok {
		answer = &rendered{done: make(chan struct{}), header: http.Header{}, status: http.StatusOK}
		e.next[wanted] = answer
	}
	e.mu.Unlock()
	if ok {
		<-answer.done
		return answer
	}
	e.slot <- struct{}{}
	defer func() { <-e.slot }()
	e.mu.Lock()
	delete(e.next, wanted)
	e.mu.Unlock()
	defer close(answer.done)
	answer.render(e.metrics, r)
	return answer
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
	writer := renderer{bufio.NewWriterSize(w, blockBytes), a}
	metrics.ServeHTTP(writer, r)
	_ = writer.Flush()
	_ = w.Close()
	compression.Wait()
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
	answer *rendered
}

// Header implements http.ResponseWriter.
func (r renderer) Header() http.Header { return r.answer.header }

// WriteHeader implements http.ResponseWriter.
func (r renderer) WriteHeader(status int) { r.answer.status = status }
