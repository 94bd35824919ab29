package web

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// rendering is an answer in memory. It is a http.ResponseWriter while it is
// rendered, and does not change after that.
type rendering struct {
	header http.Header
	status int
	body   blocks

	compress bool          // what is written from now on
	chunks   chan *[]byte  // to be compressed; nil if nothing is
	done     chan struct{} // closed when everything is compressed

	// Of answers, with its lock held.
	readers int
	ctx     context.Context //nolint:containedctx // of all readers together
	cut     context.CancelFunc
}

// render has next answer r in memory, compressed if the client accepts gzip.
func render(next http.Handler, r *http.Request) *rendering {
	a := &rendering{header: http.Header{}, compress: acceptsGzip(r.Header)}
	defer a.close()
	next.ServeHTTP(a, r)
	return a
}

// Header implements http.ResponseWriter.
func (a *rendering) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *rendering) WriteHeader(status int) { a.status = cmp.Or(a.status, status) }

// Write implements http.ResponseWriter.
func (a *rendering) Write(p []byte) (int, error) {
	if a.compress && a.header.Get("Content-Range") == "" {
		a.compress = false
		a.startGzip()
	}
	if a.chunks == nil {
		return a.body.Write(p)
	}
	chunk, _ := chunks.Get().(*[]byte)
	*chunk = append((*chunk)[:0], p...)
	a.chunks <- chunk
	return len(p), nil
}

var gzipWriters = sync.Pool{New: func() any {
	// Higher levels take longer than all the rest of a scrape, and so does
	// compress/gzip.
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the only error is a bad level
	return w
}}

// maxChunks is how far the handler may be ahead of what compresses its answer.
const maxChunks = 8

var chunks = sync.Pool{New: func() any { return new([]byte) }}

// startGzip has the rest of the body compressed, beside the handler that writes it.
func (a *rendering) startGzip() {
	a.header.Set("Content-Encoding", "gzip")
	a.chunks, a.done = make(chan *[]byte, maxChunks), make(chan struct{})
	go func() {
		defer close(a.done)
		w, _ := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(w)
		w.Reset(&a.body)
		for chunk := range a.chunks {
			_, _ = w.Write(*chunk) // into memory
			chunks.Put(chunk)
		}
		_ = w.Close()
		w.Reset(io.Discard) // a pool is not to keep the body
	}()
}

func (a *rendering) close() {
	if a.chunks != nil {
		close(a.chunks)
		<-a.done
	}
}

// send sends the answer to the client of r, until ctx is done. The server's
// WriteTimeout is that of reading it, however long it took to render.
func (a *rendering) send(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	controller := http.NewResponseController(w)
	if server, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && server.WriteTimeout > 0 {
		_ = controller.SetWriteDeadline(time.Now().Add(server.WriteTimeout))
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = controller.SetWriteDeadline(time.Unix(1, 0)) // ends a write that waits for the client
	})
	defer func() {
		if !stop() {
			<-done // w is not to be used any more after that
		}
	}()
	header := w.Header()
	for name, values := range a.header {
		header[name] = slices.Concat(header[name], values)
	}
	header.Add("Vary", "Accept-Encoding")
	if size := a.body.size(); size > 0 { // not for HEAD and 304
		header.Set("Content-Length", strconv.Itoa(size))
	}
	w.WriteHeader(cmp.Or(a.status, http.StatusOK))
	for _, block := range a.body {
		if _, err := w.Write(block); err != nil { //nolint:gosec // G705: the handler has escaped it
			return // the client hung up
		}
	}
}

// suspendWriteTimeout lets a request take as long as it needs.
func suspendWriteTimeout(w http.ResponseWriter) {
	// Not every writer in tests has deadlines.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
}

// acceptsGzip reports whether the client says it can read gzip.
func acceptsGzip(header http.Header) bool {
	return slices.ContainsFunc(strings.Split(header.Get("Accept-Encoding"), ","), func(coding string) bool {
		name, weight, _ := strings.Cut(strings.ReplaceAll(coding, " ", ""), ";")
		return name == "gzip" && weight != "q=0"
	})
}

// blocks are bytes in memory. They grow without being copied.
type blocks [][]byte

const blockBytes = 64 << 10

// Write implements io.Writer.
func (b *blocks) Write(p []byte) (int, error) {
	last := len(*b) - 1
	switch {
	case last >= 0 && len(p) <= cap((*b)[last])-len((*b)[last]):
		(*b)[last] = append((*b)[last], p...)
	case len(p) < blockBytes:
		*b = append(*b, append(make([]byte, 0, blockBytes), p...))
	default:
		*b = append(*b, bytes.Clone(p)) // which does not zero it first
	}
	return len(p), nil
}

func (b blocks) size() (size int) {
	for _, block := range b {
		size += len(block)
	}
	return size
}
