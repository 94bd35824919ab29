package web

import (
	"bufio"
	"bytes"
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
// rendered, and does not change after that.
type rendering struct {
	header http.Header
	status int
	body   blocks

	compress bool      // what is written from now on
	out      io.Writer // body, or what compresses it
	finish   func()    // waits for that

	readers []*http.ResponseController // of answers, with its lock held
}

// render has next answer r in memory, compressed if the client accepts gzip.
func render(next http.Handler, r *http.Request) *rendering {
	a := &rendering{header: http.Header{}, compress: acceptsGzip(r.Header), finish: func() {}}
	a.out = &a.body
	defer func() { a.finish() }()
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

// startGzip has the rest of the body compressed, beside the handler that writes it.
func (a *rendering) startGzip() {
	a.header.Set("Content-Encoding", "gzip")
	plain, pipe := io.Pipe()
	buf, done := bufio.NewWriter(pipe), make(chan struct{})
	go func() {
		defer close(done)
		w, _ := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(w)
		w.Reset(&a.body)
		_, _ = io.CopyBuffer(w, plain, make([]byte, blockBytes)) // into memory
		_ = w.Close()
		w.Reset(io.Discard) // a pool is not to keep the body
	}()
	a.out, a.finish = buf, func() {
		_ = buf.Flush()
		pipe.Close()
		<-done
	}
}

// send sends the answer to a client.
func (a *rendering) send(w http.ResponseWriter) {
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
