package lakefstest_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs/lakefstest"
)

// behindProxy returns a proxy in front of a server, and a client that sends
// every request over a connection of its own.
func behindProxy(t *testing.T) (*lakefstest.Server, *lakefstest.Proxy, *http.Client) {
	t.Helper()
	server, err := lakefstest.New(lakefstest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	proxy, err := lakefstest.NewProxy(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	return server, proxy, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

func set(t *testing.T, p *lakefstest.Proxy, trouble lakefstest.Trouble) {
	t.Helper()
	if err := p.Set(trouble); err != nil {
		t.Fatal(err)
	}
}

func TestProxy(t *testing.T) {
	server, proxy, client := behindProxy(t)
	health := "http://" + proxy.Addr + "/api/v1/healthcheck"
	healthy := func(when string) {
		t.Helper()
		resp, err := client.Get(health)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			t.Errorf("%s: status %d", when, resp.StatusCode)
		}
	}
	// raw sends a request, and returns the connection to read the answer from.
	raw := func() *net.TCPConn {
		t.Helper()
		conn, err := net.Dial("tcp", proxy.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := io.WriteString(conn, "GET /api/v1/healthcheck HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return conn.(*net.TCPConn)
	}
	healthy("at first")

	open := raw()
	if _, err := open.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	set(t, proxy, lakefstest.Refuse)
	if _, err := io.Copy(io.Discard, open); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("refused, an open connection: %v", err)
	}
	if _, err := client.Get(health); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused: %v", err)
	}
	set(t, proxy, lakefstest.Forward)
	healthy("after refused")

	set(t, proxy, lakefstest.Swallow)
	before := server.Stats().Requests
	silent := raw()
	if err := silent.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := silent.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("swallowed: got %d bytes, %v", n, err)
	}
	if got := server.Stats().Requests - before; got != 0 {
		t.Errorf("swallowed: %d requests have come through", got)
	}
	set(t, proxy, lakefstest.Forward)
	healthy("after swallowed")

	set(t, proxy, lakefstest.Trickle)
	if n, err := raw().Read(make([]byte, 100)); n != 1 || err != nil {
		t.Errorf("trickle: got %d bytes at once, %v", n, err)
	}
	set(t, proxy, lakefstest.Forward)
	healthy("after trickle")

	set(t, proxy, lakefstest.Garbage)
	if _, err := client.Get(health); err == nil || !strings.Contains(err.Error(), "malformed HTTP") {
		t.Errorf("garbage: %v", err)
	}
	set(t, proxy, lakefstest.EndlessHeader)
	endless := bufio.NewReader(io.LimitReader(raw(), 20<<20))
	if line, err := endless.ReadString('\n'); line != "HTTP/1.1 200 OK\r\n" || err != nil {
		t.Errorf("endless header: got %q, %v", line, err)
	}
	if n, err := io.Copy(io.Discard, endless); n < 19<<20 || err != nil {
		t.Errorf("endless header: it ended after %d bytes, %v", n, err)
	}
	set(t, proxy, lakefstest.Forward)
	healthy("after all")

	server.Inject(lakefstest.Everything, lakefstest.Fault{Body: "half of it", Break: lakefstest.Reset})
	if _, err := io.Copy(io.Discard, raw()); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset by the server: %v", err)
	}
	server.Close()
	if _, err := client.Get(health); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("nobody behind it: %v", err)
	}
}

func TestProxyReset(t *testing.T) {
	_, proxy, _ := behindProxy(t)
	conn, err := net.Dial("tcp", proxy.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	proxy.Reset()
	if _, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
}
