package web

import (
	"cmp"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// rendering is an answer in memory. It is a http.ResponseWriter while it is
// rendered.
type rendering struct {
	header http.Header
	status int
	body   blocks // nil if it has been dropped
	size   int    // of body, in bytes

	compress bool      // what is written from now on
	out      io.Writer // body, or what compresses it
	finish   func()    // completes the compressed body

	// Of answers, with its lock held, as body is once there are readers.
	readers []*http.ResponseController
}

// render has next answer r in memory, compressed if the client accepts gzip.
func render(next http.Handler, r *http.Request) *rendering {
	a := &rendering{header: http.Header{}, compress: acceptsGzip(r.Header), finish: func() {}}
	a.out = &a.body
	defer func() {
		a.finish()
		for _, block := range a.body {
			a.size += len(block)
		}
	}()
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
	return a.out.Write(p)
}

var gzipWriters = sync.Pool{New: func() any {
	// Higher levels take longer than all the rest of a scrape, and so does
	// compress/gzip.
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the only error is a bad level
	return w
}}

// startGzip has the rest of the body compressed.
func (a *rendering) startGzip() {
	a.header.Set("Content-Encoding", "gzip")
	w, _ := gzipWriters.Get().(*gzip.Writer)
	w.Reset(&a.body)
	a.out, a.finish = w, func() {
		_ = w.Close()       // into memory
		w.Reset(io.Discard) // a pool is not to keep the body
		gzipWriters.Put(w)
	}
}

// sendHeader sends the header of the answer to a client.
func (a *rendering) sendHeader(w http.ResponseWriter) {
	header := w.Header()
	for name, values := range a.header {
		header[name] = slices.Concat(header[name], values)
	}
	header.Add("Vary", "Accept-Encoding")
	if a.size > 0 { // not for HEAD and 304
		header.Set("Content-Length", strconv.Itoa(a.size))
	}
	w.WriteHeader(cmp.Or(a.status, http.StatusOK))
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
	for rest := p; len(rest) > 0; {
		last := len(*b) - 1
		if last < 0 || len((*b)[last]) == blockBytes {
			*b = append(*b, make([]byte, 0, blockBytes))
			last++
		}
		n := min(len(rest), blockBytes-len((*b)[last]))
		(*b)[last] = append((*b)[last], rest[:n]...)
		rest = rest[n:]
	}
	return len(p), nil
}
