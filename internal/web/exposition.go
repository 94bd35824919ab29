package web

import (
	"bufio"
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

// exposition answers with metrics. It writes them into memory first, compressed
// for whoever can read that, as Prometheus does: that is a twentieth of what they
// are made of. So no reader holds on to the rest, however slow, and readers that
// come together share one answer.
type exposition struct {
	metrics http.Handler // writes them as they are asked for, not compressed

	// slot is held by whoever writes into memory: one at a time is as fast as
	// many, and takes the memory of one.
	slot chan struct{}

	mu   sync.Mutex
	next map[form]*rendered // not begun yet, so that they will show what is now
}

// form is all of a request that makes a difference to the answer.
type form struct {
	accept, names string
	compressed    bool
}

// rendered is an answer in memory.
type rendered struct {
	readers int           // who wait for it; guarded by the exposition's lock
	done    chan struct{} // closed when all the rest is there

	header http.Header
	status int // 0 if it could not be written to its end
	body   blocks
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
	header.Set("Content-Length", strconv.Itoa(answer.body.length()))
	w.WriteHeader(answer.status)
	for _, block := range answer.body {
		if _, err := w.Write(block); err != nil {
			return // the client hung up
		}
	}
}

// answer returns an answer to r, none that was begun before; nil if r's client
// has hung up. Of those who wait for the same, one writes it.
func (e *exposition) answer(r *http.Request) *rendered {
	wanted := form{
		accept: strings.Join(r.Header.Values("Accept"), ","),
		names:  url.Values{"": r.URL.Query()["name[]"]}.Encode(), // as promhttp has it

		compressed: acceptsGzip(r.Header),
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
	answer.render(e.metrics, r, wanted.compressed)
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

// render has metrics write the answer to r.
func (a *rendered) render(metrics http.Handler, r *http.Request, compressed bool) {
	out := io.Writer(&a.body)
	if compressed {
		a.header.Set("Content-Encoding", "gzip")
		z := compress(&a.body)
		defer z.Close()
		out = z
	}
	status := http.StatusOK
	writer := renderer{bufio.NewWriterSize(out, blockBytes), a.header, &status}
	metrics.ServeHTTP(writer, r)
	_ = writer.Flush()
	a.status = status
}

// compress returns what compresses into w whatever is written to it, beside the
// writer. Close it to have all in w.
func compress(w io.Writer) io.WriteCloser {
	plain, in := io.Pipe()
	c := &compressor{PipeWriter: in}
	c.running.Go(func() {
		// The fastest level: higher ones take longer than all the rest.
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)           // its only error is a bad level
		_, _ = io.CopyBuffer(z, plain, make([]byte, blockBytes)) // neither side fails
		_ = z.Close()
	})
	return c
}

type compressor struct {
	*io.PipeWriter
	running sync.WaitGroup
}

func (c *compressor) Close() error {
	err := c.PipeWriter.Close()
	c.running.Wait()
	return err
}

// blocks are bytes in memory. They grow without being copied.
type blocks [][]byte

const blockBytes = 64 << 10

// Write implements io.Writer.
func (b *blocks) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		if n := len(*b); n == 0 || len((*b)[n-1]) == blockBytes {
			*b = append(*b, make([]byte, 0, blockBytes))
		}
		last := &(*b)[len(*b)-1]
		n := min(len(p), blockBytes-len(*last))
		*last = append(*last, p[:n]...)
		p = p[n:]
	}
	return written, nil
}

func (b blocks) length() int {
	if len(b) == 0 {
		return 0
	}
	return (len(b)-1)*blockBytes + len(b[len(b)-1])
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
