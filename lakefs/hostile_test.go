package lakefs_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/config"

	"lakefs_import_exporter/lakefs"
)

// secret is what hostile servers send back, having been sent it.
const secret = "hunter2"

// TestNothingForeignIsQuoted has servers send a secret in every part of an answer.
func TestNothingForeignIsQuoted(t *testing.T) {
	long := strings.Repeat(secret, 20_000)
	for _, tc := range []struct {
		name, answer string
		kind         lakefs.Kind
		text         string
	}{
		{"reason phrase", "HTTP/1.1 400 " + secret + "\r\nContent-Length: 0\r\n\r\n", lakefs.BadRequest, "HTTP status 400"},
		{"chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + secret + "\r\n", lakefs.Connection, "no valid HTTP response"},
		{"content type", "HTTP/1.1 200 OK\r\nContent-Type: text/" + secret + "\r\nContent-Length: 0\r\n\r\n", lakefs.BadResponse,
			"HTTP status 200: not the JSON of lakeFS: not an object: unusual content type, 0 bytes (is endpoint_url right?)"},
		{"body", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 7\r\n\r\n" + secret, lakefs.BadResponse,
			"HTTP status 200: not the JSON of lakeFS: not an object: text/html, 7 bytes (is endpoint_url right?)"},
		{"time", "HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n" + `{"completed":false,"update_time":"` + secret, lakefs.BadResponse, ""},
		{"message", "HTTP/1.1 400 Bad\r\nContent-Length: 21\r\n\r\n" + `{"message":"` + secret + `"}`, lakefs.BadRequest, "HTTP status 400: unrecognized message (7 bytes)"},
		{"message of a 404", "HTTP/1.1 404 Bad\r\nContent-Length: 31\r\n\r\n" + `{"message":"` + secret + ` not found"}`, lakefs.BadResponse, ""},
		{"permissions", "HTTP/1.1 401 Bad\r\nContent-Length: 47\r\n\r\n" + `{"message":"insufficient permissions: ` + secret + `"}`, lakefs.Unauthorized,
			"HTTP status 401: insufficient permissions"},
		{"location that is not a URL", "HTTP/1.1 302 Found\r\nLocation: http://%zz" + secret + "\r\nContent-Length: 0\r\n\r\n", lakefs.BadResponse,
			"HTTP status 302: redirect was not followed: no content type, 0 bytes (is endpoint_url right?)"},
		{"long header", "HTTP/1.1 200 OK\r\nX: " + long + "\r\n\r\n", lakefs.BadResponse, "header of the answer is over 64 KiB"},
		{"long body", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat(long, 8), lakefs.BadResponse, "HTTP status 200: body is over 1 MiB: no content type, 1048577 bytes (is endpoint_url right?)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			endpoint, _ := rawServer(t, tc.answer)
			_, err := newClient(t, endpoint).ImportStatus(t.Context(), someRef)
			e := wantError(t, err, tc.kind)
			if tc.text != "" && e.Error() != tc.text {
				t.Errorf("got %q, want %q", e, tc.text)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", e, *e), secret) {
				t.Errorf("shows a secret: %+v", *e)
			}
		})
	}
}

// TestProxyIsNotQuoted has a proxy send back the password that it was sent.
func TestProxyIsNotQuoted(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 407 " + secret + "\r\nX: " + secret + "\r\nContent-Length: 7\r\n\r\n" + secret: "proxy_url answered with HTTP status 407",
		secret + "\r\n\r\n": "no valid HTTP response",
	} {
		address, _ := rawServer(t, answer)
		proxy, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		proxy.User = url.UserPassword("me", secret)
		client := newClient(t, "https://lakefs.example.com", func(c *config.HTTPClientConfig) { c.ProxyURL.URL = proxy })
		_, err = client.ImportStatus(t.Context(), someRef)
		if e := wantError(t, err, lakefs.Connection); e.Error() != want {
			t.Errorf("got %q, want %q", e, want)
		}
	}
}

// One import that lakeFS answers badly for keeps no other from being polled over
// the same client, and is polled again as soon as it is well.
func TestOneBadAnswer(t *testing.T) {
	for _, tc := range []struct {
		name string
		// answer writes to a connection until that is closed.
		answer func(w io.Writer) error
		kind   lakefs.Kind
	}{
		{"101", func(w io.Writer) error {
			_, err := io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			return err
		}, lakefs.BadResponse},
		{"flood of 103", func(w io.Writer) (err error) {
			for err == nil {
				_, err = io.WriteString(w, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
			}
			return nil
		}, lakefs.BadResponse},
		{"nothing", func(io.Writer) error { return nil }, lakefs.Timeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var bad atomic.Bool
			bad.Store(true)
			closed := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.FormValue("id") != "bad" || !bad.Load() {
					_, _ = io.WriteString(w, running)
					return
				}
				conn, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					err = tc.answer(conn)
				}
				if err != nil {
					t.Error(err)
				}
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
				close(closed)
			}))
			defer server.Close()
			client, ref := newClient(t, server.URL), someRef
			ref.ID = "bad"
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			refused := make(chan error, 1)
			go func() {
				_, err := client.ImportStatus(ctx, ref)
				refused <- err
			}()
			for range 20 {
				wantStatus(t, client, someRef)
			}
			wantError(t, <-refused, tc.kind)
			<-closed
			bad.Store(false)
			wantStatus(t, client, ref)
		})
	}
}

// What a server sends over HTTP/2 is bounded even before it is read, and not
// decompressed.
func TestHTTP2(t *testing.T) {
	sent := make(chan int, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		total := 0
		for {
			n, err := w.Write(make([]byte, 16<<10))
			if total += n; err != nil {
				sent <- total
				return
			}
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	_, err := newClient(t, server.URL, func(c *config.HTTPClientConfig) { c.TLSConfig.InsecureSkipVerify = true }).ImportStatus(t.Context(), someRef)
	wantError(t, err, lakefs.BadResponse)
	if n := <-sent; n > 1<<20+128<<10 {
		t.Errorf("could send %d KiB", n>>10)
	}
}

func TestRedirects(t *testing.T) {
	for _, tc := range []struct {
		name, location string
		follow         bool
		want           string // what a proxy is asked for then
	}{
		{"same host", "/x", true, "GET http://example.com/x"},
		{"same host, off", "/x", false, ""},
		{"to HTTPS", "https://example.com/x", true, "CONNECT example.com:443"},
		{"to another host", "http://example.com.evil.org/x", true, ""},
		{"to another protocol", "ftp://example.com/x", true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var asked []string
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Method+" "+r.RequestURI)
				switch {
				case r.Method == http.MethodConnect:
					w.WriteHeader(http.StatusBadGateway)
				case len(asked) == 1:
					w.Header().Set("Location", tc.location)
					w.WriteHeader(http.StatusMovedPermanently)
				case r.Header.Get("Authorization") == "":
					t.Error("credentials were not sent")
				default:
					_, _ = w.Write([]byte(running))
				}
			}))
			defer proxy.Close()
			client := newClient(t, "http://example.com", func(c *config.HTTPClientConfig) {
				c.FollowRedirects, c.ProxyURL = tc.follow, config.URL{URL: &url.URL{Scheme: "http", Host: proxy.Listener.Addr().String()}}
			})
			_, err := client.ImportStatus(t.Context(), someRef)
			if tc.want == "" {
				wantError(t, err, lakefs.BadResponse)
			}
			if got := strings.Join(asked[1:], ", "); got != tc.want {
				t.Errorf("asked for %s, want %s", got, tc.want)
			}
		})
	}
}
