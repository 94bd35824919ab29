package web

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"lakefs_import_exporter/lakefs/lakefstest"
)

// A client that keeps the server waiting is disconnected, wherever it stops.
func TestSlowClients(t *testing.T) {
	const brief = 50 * time.Millisecond
	w, _ := newAPIWorld(t, memoryStore{})
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
		{name: "between requests", lower: func(s *http.Server) { s.IdleTimeout = brief }, send: "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n", answer: "HTTP/1.1 200 OK\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := (*httptest.Server).Start
			if tc.tls {
				start = (*httptest.Server).StartTLS
			}
			conn := dial(t, serve(t, w.handler, start, tc.lower))
			if _, err := io.WriteString(conn, tc.send); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the server never disconnects")
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

// pipe is a listener for one connection without buffers: a write waits until the
// client reads.
type pipe chan net.Conn

func (p pipe) Accept() (net.Conn, error) {
	if conn := <-p; conn != nil {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipe) Close() error {
	close(p)
	return nil
}

func (pipe) Addr() net.Addr { return &net.TCPAddr{} }

// A client that stops reading is disconnected, also after an answer that it had
// to wait for.
func TestClientThatStopsReading(t *testing.T) {
	w := newWorld(t)
	w.AddLakeFS("prod", 0)
	for _, path := range []string{"/metrics", "/probe?target=my-repo/main/x", "/imports", "/api/v1/imports", "/nosuch"} {
		t.Run(path, func(t *testing.T) {
			closed := make(chan struct{})
			server := NewServer(w.handler)
			server.WriteTimeout = 50 * time.Millisecond
			server.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateClosed {
					close(closed)
				}
			}
			client, conn := net.Pipe()
			defer client.Close()
			listener := make(pipe, 1)
			listener <- conn
			var serving sync.WaitGroup
			serving.Go(func() { _ = server.Serve(listener) })
			if _, err := io.WriteString(client, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			select {
			case <-closed:
			case <-time.After(testPatience):
				t.Error("the server never disconnects")
			}
			server.Close()
			serving.Wait()
		})
	}
}

// What waits for polls may take longer than any of the limits.
func TestLimitsSpareLongScrapes(t *testing.T) {
	const limit = time.Second
	for _, path := range []string{"/metrics", "/probe?target=%s", "/api/v1/imports", "/api/v1/imports/%s?wait=30s"} {
		for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
			t.Run(protocol+" "+path, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				lakeFS := w.AddLakeFS("prod", 0)
				ref := lakeFS.Start(repo, branch, lakefstest.Script{})
				w.Watch("prod", ref)
				w.Clock.Advance(time.Second)
				lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Delay: limit * 3 / 2})
				server := serve(t, w.handler, startTLS(protocol), func(s *http.Server) {
					s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = limit, limit, limit, limit
				})
				url := server.URL + path
				if strings.Contains(path, "%s") {
					url = server.URL + fmt.Sprintf(path, ref)
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
				if err != nil || resp.Proto != protocol || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "succeeded") {
					t.Errorf("%s, status %d, %v: %s", resp.Proto, resp.StatusCode, err, body)
				}
			})
		}
	}
}

// The server announces how many requests it takes at once over one connection.
func TestHTTP2Streams(t *testing.T) {
	server := serve(t, http.NotFoundHandler(), startTLS("HTTP/2.0"))
	config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos, config.ServerName = []string{"h2"}, "example.com"
	conn := tls.Client(dial(t, server), config)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	frame, err := framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, _ := frame.(*http2.SettingsFrame)
	if n, _ := settings.Value(http2.SettingMaxConcurrentStreams); n != 32 {
		t.Errorf("%d streams: %v", n, frame)
	}
}

// A request whose header is larger than 16 KiB, its first line included, is
// refused. net/http allows for 4 KiB more.
func TestHeaderTooLarge(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			server := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				t.Errorf("reached over %s", r.Proto)
			}), startTLS(protocol))
			resp, err := server.Client().Get(server.URL + "/?target=" + strings.Repeat("x", 20<<10))
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

// OPTIONS * reaches the handler, so that it cannot go past the authentication in
// front of it.
func TestOptionsOfEverything(t *testing.T) {
	reached := false
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached = true
		w.WriteHeader(http.StatusUnauthorized)
	}), (*httptest.Server).Start)
	conn := dial(t, server)
	_, _ = io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if answer, err := io.ReadAll(conn); err != nil || !reached || !strings.HasPrefix(string(answer), "HTTP/1.1 401 ") {
		t.Errorf("got %q, %v", answer, err)
	}
}

// Of too many connections, the one is closed that has waited longest for a
// request. A client that sends one is answered.
func TestConnectionsAreBounded(t *testing.T) {
	const tooMany = 50
	w := newWorld(t)
	server := serve(t, w.handler, (*httptest.Server).Start, func(s *http.Server) { s.ReadHeaderTimeout = time.Hour })
	ask := func(conn net.Conn) {
		t.Helper()
		_, _ = io.WriteString(conn, "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%+v, %v", resp, err)
		}
	}
	var conns []*net.TCPConn
	for range maxConnections + tooMany {
		conns = append(conns, dial(t, server))
	}
	ask(dial(t, server))
	for i, conn := range conns[:tooMany+1] {
		if n, err := conn.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d is open: %v", i, err)
		}
	}
	ask(conns[len(conns)-1])
}
