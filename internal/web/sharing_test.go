package web

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// newRequest returns a GET request.
func newRequest(ctx context.Context, path string) *http.Request {
	return httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
}

// counting answers with how often it was asked, once answer is closed.
type counting struct {
	times  int
	answer chan struct{}
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.times++
	times := c.times
	<-c.answer
	if r.URL.RawQuery == "panic" {
		panic("a bug") //nolint:forbidigo // nothing else does
	}
	_, _ = fmt.Fprintf(w, "%s %d", r.URL.RawQuery, times)
}

// Readers that come while an answer is rendered get the next one, which is the
// same for all who want the same.
func TestAnswersAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &counting{answer: make(chan struct{})}
		s := newSharing(next, func(r *http.Request) (string, bool) { return r.URL.RawQuery, true })
		var all sync.WaitGroup
		for _, group := range []struct {
			query   string
			readers int
			want    string
		}{{"a", 1, "a 1"}, {"a", 10, "a 2"}, {"b", 3, "b 3"}} {
			for range group.readers {
				all.Go(func() {
					answer := httptest.NewRecorder()
					s.ServeHTTP(answer, newRequest(t.Context(), "/?"+group.query))
					if got := answer.Body.String(); got != group.want {
						t.Errorf("got %q, want %q", got, group.want)
					}
				})
			}
			synctest.Wait()
		}
		close(next.answer)
		all.Wait()
	})
}

// Nobody who shares it gets an answer that could not be rendered: to Prometheus,
// an empty one would mean that all series had ended.
func TestPanicIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &counting{answer: make(chan struct{})}
		s := newSharing(next, func(r *http.Request) (string, bool) { return r.URL.RawQuery, true })
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				answer := httptest.NewRecorder()
				defer func() {
					if recover() == nil || answer.Body.Len() > 0 {
						t.Errorf("no panic, which net/http makes a failure, but %d %s", answer.Code, answer.Body)
					}
				}()
				s.ServeHTTP(answer, newRequest(t.Context(), "/?panic"))
			})
		}
		synctest.Wait()
		close(next.answer)
		all.Wait()
	})
}

// Answers that are not shared wait for room in memory, which readers take that
// have stopped. They delay no others.
func TestUnsharedAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &counting{answer: make(chan struct{})}
		close(next.answer)
		s := newSharing(next, func(r *http.Request) (string, bool) { return "", r.URL.RawQuery == "" })
		end := make(chan struct{})
		ctx, hangUp := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 3 * maxUnshared {
			all.Go(func() {
				reader := newStuck()
				reader.end = end
				s.ServeHTTP(reader, newRequest(ctx, "/?filter"))
			})
		}
		synctest.Wait()
		if next.times != maxUnshared {
			t.Errorf("%d answers in memory", next.times)
		}
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, newRequest(t.Context(), "/"))
		if answer.Body.Len() == 0 {
			t.Error("no shared answer")
		}
		hangUp()
		close(end)
		all.Wait()
	})
}

// stuck is a reader that has stopped: its writes end when end is closed.
type stuck struct {
	discarded
	begun, end chan struct{}
	once       sync.Once
}

func newStuck() *stuck {
	return &stuck{discarded: discarded{io.Discard, http.Header{}}, begun: make(chan struct{}), end: make(chan struct{})}
}

func (s *stuck) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.begun) })
	<-s.end
	return len(p), nil
}

// A reader that stops reading holds up nobody else.
func TestStoppedReader(t *testing.T) {
	for _, path := range []string{"/metrics", "/api/v1/imports", "/imports", "/probe?target=my-repo/main/x"} {
		for _, encoding := range []string{"identity", "gzip"} {
			t.Run(encoding+path, func(t *testing.T) {
				w := newWorld(t)
				w.addLakeFS("prod")
				reader := newStuck()
				r := newRequest(t.Context(), path)
				r.Header.Set("Accept-Encoding", encoding)
				var reading sync.WaitGroup
				reading.Go(func() { w.handler.ServeHTTP(reader, r) })
				<-reader.begun
				for _, other := range []string{path, "/metrics"} {
					w.handler.ServeHTTP(httptest.NewRecorder(), newRequest(t.Context(), other))
				}
				close(reader.end)
				reading.Wait()
			})
		}
	}
}

// Readers that stop share one answer in memory, over HTTP/2 and over HTTP/1. An
// HTTP/2 connection has few streams.
func TestStoppedReadersShareMemory(t *testing.T) {
	const readers, maxStreams, few = 100, 32, 8
	handler := newFinished(t, 4_000)
	rendered := httptest.NewRecorder()
	handler.ServeHTTP(rendered, newRequest(t.Context(), "/api/v1/imports"))
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			var connections atomic.Int32
			server := serve(t, handler, func(s *httptest.Server) { s.EnableHTTP2 = protocol == "HTTP/2.0"; s.StartTLS() }, func(s *http.Server) {
				s.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateNew {
						connections.Add(1)
					}
				}
			})
			transport := server.Client().Transport.(*http.Transport)
			transport.DisableCompression = true
			transport.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 16 << 10, MaxReceiveBufferPerConnection: 64 << 10}
			before := heap()
			var all sync.WaitGroup
			for range readers {
				all.Go(func() {
					resp, err := server.Client().Get(server.URL + "/api/v1/imports")
					if err != nil || resp.Proto != protocol {
						t.Errorf("%v, %+v", err, resp)
						return
					}
					t.Cleanup(func() { resp.Body.Close() })
				})
			}
			all.Wait()
			if grown, size := heap()-before, rendered.Body.Len(); grown > few*size {
				t.Errorf("%d KiB for answers of %d KiB", grown>>10, size>>10)
			}
			if got := connections.Load(); got < readers/maxStreams {
				t.Errorf("%d streams over %d connections", readers, got)
			}
		})
	}
}

// heap returns the bytes in use.
func heap() int {
	runtime.GC()
	runtime.GC() // pools keep for one more
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
