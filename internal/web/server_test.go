package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs/lakefstest"
)

// serve starts a server with the limits that ship, but for those that lower
// changes.
func serve(t *testing.T, handler http.Handler, start func(*httptest.Server), lower ...func(*http.Server)) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.Config = NewServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	for _, f := range lower {
		f(server.Config)
	}
	start(server)
	t.Cleanup(server.Close)
	return server
}

// The limits that ship leave time for what is allowed.
func TestServerLimits(t *testing.T) {
	s := NewServer(nil)
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout < s.ReadHeaderTimeout {
		t.Errorf("header: %s, with the body: %s", s.ReadHeaderTimeout, s.ReadTimeout)
	}
	if s.WriteTimeout < 2*defaultTimeout {
		t.Errorf("%s for an answer that may take %s before it begins", s.WriteTimeout, defaultTimeout)
	}
	if s.IdleTimeout <= 5*time.Minute || s.IdleTimeout > 10*time.Minute {
		t.Errorf("idle: %s, and Prometheus closes after five minutes", s.IdleTimeout)
	}
	if s.MaxHeaderBytes <= 0 || s.MaxHeaderBytes >= http.DefaultMaxHeaderBytes {
		t.Errorf("header: %d bytes", s.MaxHeaderBytes)
	}
}

// testPatience is how long a test waits for what is bound to happen.
const testPatience = 30 * time.Second

// A client that keeps the server waiting is left, wherever it stops.
func TestSlowClients(t *testing.T) {
	const brief = 50 * time.Millisecond
	w, _ := newAPIWorld(t, nil)
	header := func(s *http.Server) { s.ReadHeaderTimeout = brief }
	for _, tc := range []struct {
		name   string
		lower  func(*http.Server)
		tls    bool
		send   string
		answer string // what it begins with
	}{
		{name: "before the TLS handshake", lower: header, tls: true},
		{name: "before the request", lower: header},
		{name: "in the header", lower: header, send: "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "},
		{
			name: "in the body", lower: func(s *http.Server) { s.ReadTimeout = brief },
			send:   "PUT " + apiPath + "x?server=prod HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
			answer: "HTTP/1.1 408 Request Timeout\r\n",
		},
		{
			name: "in a body that is not wanted", lower: func(s *http.Server) { s.ReadTimeout = brief },
			send:   "GET /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
			answer: "HTTP/1.1 200 OK\r\n",
		},
		{
			name: "between requests", lower: func(s *http.Server) { s.IdleTimeout = brief },
			send: "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n", answer: "HTTP/1.1 200 OK\r\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := (*httptest.Server).Start
			if tc.tls {
				start = (*httptest.Server).StartTLS
			}
			server := serve(t, w.handler, start, tc.lower)
			conn := dial(t, server)
			if _, err := io.WriteString(conn, tc.send); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the server waits for ever")
			}
			if !strings.HasPrefix(string(answer), tc.answer) || tc.answer == "" && len(answer) > 0 {
				t.Errorf("got %q, %v", answer, err)
			}
		})
	}
}

// dial connects to server.
func dial(t *testing.T, server *httptest.Server) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTCP("tcp", nil, server.Listener.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(testPatience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A client that stops reading is left, also after an answer that it had to wait
// for.
func TestClientThatStopsReading(t *testing.T) {
	w := newWorld(t)
	w.addLakeFS("prod")
	for _, path := range []string{"/metrics", "/probe?target=my-repo/main/x", "/imports", "/nosuch"} {
		t.Run(path, func(t *testing.T) {
			closed := make(chan struct{})
			server := serve(t, w.handler, (*httptest.Server).Start, func(s *http.Server) {
				s.WriteTimeout = 50 * time.Millisecond
				s.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateClosed {
						close(closed)
					}
				}
				// So that few answers fill it.
				s.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
					if err := conn.(*net.TCPConn).SetWriteBuffer(1); err != nil {
						t.Error(err)
					}
					return ctx
				}
			})
			conn := dial(t, server)
			if err := conn.SetReadBuffer(1); err != nil {
				t.Fatal(err)
			}
			go func() {
				for err := error(nil); err == nil; {
					_, err = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
				}
			}()
			select {
			case <-closed:
			case <-time.After(testPatience):
				t.Error("the server waits for ever")
			}
		})
	}
}

// A scrape may take longer than any of the limits.
func TestLimitsSpareLongScrapes(t *testing.T) {
	const limit = time.Second
	for _, path := range []string{"/metrics", "/probe?target="} {
		for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
			t.Run(protocol+" "+path, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				lakeFS := w.addLakeFS("prod")
				ref := lakeFS.Start(repo, branch, import50k)
				w.watch("prod", ref)
				lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Delay: limit * 3 / 2})
				server := serve(t, w.handler, func(s *httptest.Server) {
					s.EnableHTTP2 = protocol == "HTTP/2.0"
					s.StartTLS()
				}, func(s *http.Server) {
					s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = limit, limit, limit, limit
				})
				url := server.URL + path
				if strings.HasSuffix(path, "=") {
					url += ref.String()
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set(scrapeTimeoutHeader, "60")
				resp, err := server.Client().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.Proto != protocol || resp.StatusCode != http.StatusOK {
					t.Errorf("%s, status %d, %v", resp.Proto, resp.StatusCode, err)
				}
				if want := fmt.Sprintf("\nlakefs_import_poll_success{branch=%q,import_id=%q,repository=%q,server=\"prod\"} 1\n", branch, ref.ID, repo); !strings.Contains(string(body), want) {
					t.Errorf("no %s in\n%s", want, body)
				}
			})
		}
	}
}

// A request whose header is too large, its first line included, reaches nobody.
func TestHeaderTooLarge(t *testing.T) {
	large := strings.Repeat("x", 2*NewServer(nil).MaxHeaderBytes)
	for name, change := range map[string]func(*http.Request){
		"header": func(r *http.Request) { r.Header.Set("X-Large", large) },
		"query":  func(r *http.Request) { r.URL.RawQuery = "target=" + large },
	} {
		for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				t.Parallel()
				server := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					t.Errorf("reached over %s", r.Proto)
				}), func(s *httptest.Server) {
					s.EnableHTTP2 = protocol == "HTTP/2.0"
					s.StartTLS()
				})
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
				if err != nil {
					t.Fatal(err)
				}
				change(req)
				resp, err := server.Client().Do(req)
				if err != nil {
					return // The server hung up before it had read it all.
				}
				defer resp.Body.Close()
				if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
					t.Errorf("status %d", resp.StatusCode)
				}
			})
		}
	}
}
