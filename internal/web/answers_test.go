package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
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
		a := newAnswers()
		var all sync.WaitGroup
		for _, group := range []struct {
			query   string
			readers int
			want    string
		}{{"a", 1, "a 1"}, {"a", 10, "a 2"}, {"b", 3, "b 3"}} {
			for range group.readers {
				all.Go(func() {
					answer := httptest.NewRecorder()
					a.share(answer, newRequest(t.Context(), "/?"+group.query), next.ServeHTTP)
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

// Prometheus waits for one answer at most, however many clients ask for something
// else each. What is only written differently is one format.
func TestScrapesComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &counting{answer: make(chan struct{})}
		a := newAnswers()
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				a.share(httptest.NewRecorder(), newRequest(t.Context(), fmt.Sprint("/imports?q=", i)), next.ServeHTTP)
			})
			all.Go(func() {
				a.shareScrape(httptest.NewRecorder(), newRequest(t.Context(), fmt.Sprint("/metrics?name[]=", i)), next.ServeHTTP)
			})
		}
		synctest.Wait()
		for i := range 20 {
			all.Go(func() {
				r := newRequest(t.Context(), "/metrics")
				r.Header.Set("Accept", fmt.Sprintf("text/plain;version=0.0.4;q=0.%d1", i))
				r.Header.Set("Accept-Encoding", fmt.Sprintf("gzip;q=0.%d1", i))
				answer := httptest.NewRecorder()
				a.shareScrape(answer, r, next.ServeHTTP)
				if got := gunzip(t, answer.Body.String()); got != " 2" {
					t.Errorf("got answer %q, want the second", got)
				}
			})
		}
		synctest.Wait()
		close(next.answer)
		all.Wait()
	})
}

// Nobody who shares it gets an answer that could not be rendered: to Prometheus,
// an empty one would mean that all series had ended.
func TestPanicIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &counting{answer: make(chan struct{})}
		a := newAnswers()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				answer := httptest.NewRecorder()
				defer func() {
					if recover() == nil || answer.Body.Len() > 0 {
						t.Errorf("no panic, which net/http makes a failure, but %d %s", answer.Code, answer.Body)
					}
				}()
				a.share(answer, newRequest(t.Context(), "/?panic"), next.ServeHTTP)
			})
		}
		synctest.Wait()
		close(next.answer)
		all.Wait()
	})
}

// Readers that stop are cut off when their answers take too much memory, the one
// first that began first.
func TestStoppedReadersAreCutOff(t *testing.T) {
	const readers, size = 40, 8 << 20 // more than the kernel takes
	answers := newAnswers()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answers.share(w, r, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) })
	})
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			server := serve(t, handler, startTLS(protocol))
			transport := server.Client().Transport.(*http.Transport)
			transport.DisableCompression = true
			transport.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 16 << 10, MaxReceiveBufferPerConnection: 64 << 10}
			before := heap()
			answers := make([]*http.Response, readers)
			for i := range answers {
				resp, err := server.Client().Get(fmt.Sprint(server.URL, "/?", i))
				if err != nil || resp.Proto != protocol {
					t.Fatalf("%v, %+v", err, resp)
				}
				defer resp.Body.Close()
				answers[i] = resp
			}
			if grown := heap() - before; grown > 2*maxHeldBytes {
				t.Errorf("%d MiB", grown>>20)
			}
			if n, err := io.Copy(io.Discard, answers[0].Body); err == nil {
				t.Errorf("the first reader can read %d bytes", n)
			}
			for _, resp := range answers[:readers-1] { // they share a window
				resp.Body.Close()
			}
			if n, err := io.Copy(io.Discard, answers[readers-1].Body); n != size {
				t.Errorf("the last reader can read %d bytes, %v", n, err)
			}
		})
	}
}

// stuck is a reader that has stopped: its writes end when end is closed.
type stuck struct {
	*httptest.ResponseRecorder
	begun, end chan struct{}
	once       sync.Once
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
				w.AddLakeFS("prod", 0)
				reader := &stuck{ResponseRecorder: httptest.NewRecorder(), begun: make(chan struct{}), end: make(chan struct{})}
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

// Nobody waits for a reader that was cut off: net/http takes five seconds to close
// a connection with TLS.
func TestCutOffReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, end := newAnswers(), make(chan struct{})
		var reading sync.WaitGroup
		for i := range minHeld + 1 {
			reader := &stuck{ResponseRecorder: httptest.NewRecorder(), begun: make(chan struct{}), end: end}
			reading.Go(func() {
				a.share(reader, newRequest(t.Context(), fmt.Sprint("/?", i)), func(w http.ResponseWriter, _ *http.Request) {
					_, _ = w.Write(make([]byte, maxHeldBytes))
				})
			})
			<-reader.begun
		}
		close(end)
		reading.Wait()
	})
}

// heap returns the bytes in use.
func heap() int {
	runtime.GC()
	runtime.GC() // pools keep for one more
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
