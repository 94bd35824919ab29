package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/config"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// badWorld has two servers with an import each: "good" stays well, and "bad"
// goes bad after its import had one good poll. That import's ID does not tell
// when it was started.
type badWorld struct {
	*world
	good, bad *lakefstest.Server
	badClient *lakefs.Client
	badRef    lakefs.Ref
}

// newBadWorld returns a world after the good poll of both imports. If tlsConfig
// is not nil, bad speaks HTTPS, with a certificate that ca has signed.
func newBadWorld(t *testing.T, tlsConfig *tls.Config, ca string) *badWorld {
	// One second off the timeout, so that an answer at the deadline has a
	// second to arrive.
	w := &badWorld{world: newWorld(t, func(o *Options) { o.TimeoutOffset = time.Second })}
	w.good = w.addLakeFS("good")
	w.watch("good", w.good.Start(repo, branch, import50k))
	var err error
	w.bad, err = lakefstest.New(lakefstest.Options{Clock: w.clock.Now, TLS: tlsConfig})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.bad.Close)
	w.badClient = w.addServer("bad", w.bad.URL, config.TLSConfig{CA: ca})
	w.badRef = w.bad.StartAt(lakefs.Ref{Repository: repo, Branch: branch, ID: "bad-import"}, import50k, w.clock.Now())
	w.watch("bad", w.badRef)

	w.clock.Advance(30 * time.Second)
	resp, body := w.get("/metrics")
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d before anything was bad", resp.StatusCode)
	}
	if diff := cmp.Diff(seenBefore(1), importSeries(t, body, "bad")); diff != "" {
		t.Fatalf("bad import while it was good (-want +got):\n%s", diff)
	}
	return w
}

// importSeries returns the series of the imports of a server, without the
// labels that all of them have and without what begins all their names.
func importSeries(t *testing.T, body, server string) map[string]float64 {
	t.Helper()
	found := map[string]float64{}
	for key, value := range series(t, body) {
		if strings.HasPrefix(key, "lakefs_import_") && strings.Contains(key, `import_id=`) && strings.Contains(key, `server="`+server+`"`) {
			key = strings.TrimPrefix(key, "lakefs_import_")
			for _, label := range []string{`branch="main",`, `import_id="bad-import",`, `import_id="` + importID + `",`, `repository="my-repo",`, `server="` + server + `"`} {
				key = strings.Replace(key, label, "", 1)
			}
			found[strings.TrimSuffix(strings.Replace(key, ",}", "}", 1), "{}")] = value
		}
	}
	return found
}

// seenBefore are the series of the bad import after its good poll, half a
// minute after the start.
func seenBefore(success float64) map[string]float64 {
	return map[string]float64{
		"canceled":                      0,
		"completed":                     0,
		"error":                         0,
		"found":                         1,
		"ingested_objects":              15_000,
		"last_status_timestamp_seconds": 1795344657.374205733,
		"no_progress_after_seconds":     1800,
		"poll_success":                  success,
		"progress_timestamp_seconds":    1795344657.374205733,
		"seconds_since_update":          0,
		"update_timestamp_seconds":      1795344657.374205733,
	}
}

// kept is what must be left of it another half a minute later, when lakeFS
// could not be asked.
func kept() map[string]float64 {
	want := seenBefore(0)
	want["seconds_since_update"] = 30
	return want
}

// seenNow is what a second good poll sees then, but for what changed says.
func seenNow(changed map[string]float64) map[string]float64 {
	want := seenBefore(1)
	want["ingested_objects"] = 30_000
	for _, name := range []string{"last_status", "progress", "update"} {
		want[name+"_timestamp_seconds"] = 1795344687.374205733
	}
	maps.Copy(want, changed)
	return want
}

// goodNow is what the import of the good server must look like at that time.
func goodNow() map[string]float64 {
	return seenNow(map[string]float64{"start_timestamp_seconds": 1795344627})
}

// authority is a certificate authority of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// sign returns a new certificate for 127.0.0.1.
func (a *authority) sign(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// zipped returns n bytes of white space, compressed.
func zipped(t *testing.T, n int) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(bytes.Repeat([]byte(" "), n)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Whatever a lakeFS, or what stands in front of it, does on the wire: a scrape
// is answered in time with status 200, the imports of other servers are right,
// what was last seen of its own is kept, and what went wrong is counted.
func TestMisbehaviour(t *testing.T) {
	status := func(rest string) string {
		return `{"update_time":"2026-11-22T10:51:27.374205733Z","ingested_objects":30000,` + rest + `}`
	}
	failed := func(message string) map[string]float64 {
		return seenNow(map[string]float64{"completed": 1, "error": 1, "error_info{message=" + strconv.Quote(message) + "}": 1})
	}
	inject := func(f lakefstest.Fault) func(*testing.T) *badWorld {
		return func(t *testing.T) *badWorld {
			w := newBadWorld(t, nil, "")
			w.bad.Inject(lakefstest.Everything, f)
			return w
		}
	}
	const mebibyte = 1 << 20
	for _, tc := range []struct {
		name   string
		play   func(t *testing.T) *badWorld
		result string             // how the second poll is counted
		up     float64            // lakefs_up of the bad server
		want   map[string]float64 // of the bad import
	}{
		{
			name: "refused", result: "connection", want: kept(),
			play: func(t *testing.T) *badWorld {
				w := newBadWorld(t, nil, "")
				w.bad.Close()
				return w
			},
		},
		{name: "cut before the answer", result: "connection", want: kept(), play: inject(lakefstest.Fault{Break: lakefstest.Cut})},
		{name: "reset in the body", result: "connection", want: kept(), play: inject(lakefstest.Fault{Break: lakefstest.Reset})},
		{name: "truncated", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Break: lakefstest.Truncate})},
		{name: "truncated JSON", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Body: `{"completed":true,"ingested_objects":40000,"update_time":"2026-1`})},
		{name: "black hole", result: "timeout", want: kept(), play: inject(lakefstest.Fault{Break: lakefstest.BlackHole})},
		{name: "HTML", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Body: "<!doctype html><title>Sign in</title>"})},
		{name: "empty", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Body: "\n"})},
		{name: "no content", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Status: 204})},
		{name: "502", result: "server_error", want: kept(), play: inject(lakefstest.Fault{Status: 502, Body: "<h1>502 Bad Gateway</h1>"})},
		{name: "502 with lakeFS's JSON", result: "server_error", want: kept(), play: inject(lakefstest.Fault{Status: 502, Body: lakefstest.Message("no")})},
		{name: "403 of a proxy", result: "unauthorized", want: kept(), play: inject(lakefstest.Fault{Status: 403, Body: "<h1>Forbidden</h1>"})},
		{name: "404 of a proxy", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Status: 404, Body: "default backend - 404"})},
		{name: "404 of another base URL", result: "bad_response", up: 1, want: kept(), play: inject(lakefstest.Fault{Status: 404, Body: lakefstest.Message("invalid API endpoint")})},
		{name: "409", result: "bad_request", up: 1, want: kept(), play: inject(lakefstest.Fault{Status: 409, Body: lakefstest.Message("conflict found")})},
		{name: "1 GiB of white space", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Padding: 1 << 30})},
		{name: "1 GiB after an error", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Status: 500, Body: "{", Padding: 1 << 30})},
		{name: "a small answer that unpacks to a big one", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Body: zipped(t, 8*mebibyte), Header: http.Header{"Content-Encoding": {"gzip"}}})},
		{name: "a list", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Body: `[]`})},
		{name: "null", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Body: `null`})},
		{name: "completed is text", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Body: status(`"completed":"true"`)})},
		{name: "ingested_objects is a fraction", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Body: `{"update_time":"2026-11-22T10:51:27Z","completed":false,"ingested_objects":1.5}`})},
		{name: "ingested_objects is too big", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Body: `{"update_time":"2026-11-22T10:51:27Z","completed":false,"ingested_objects":9223372036854775808}`})},
		{name: "update_time is a number", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Body: `{"update_time":1795344687,"completed":false}`})},
		{name: "update_time is missing", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Body: `{"completed":false}`})},
		{name: "commit is text", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Body: status(`"completed":true,"commit":"6ff0"`)})},
		{name: "error is text", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Body: status(`"completed":true,"error":"no"`)})},
		{
			name: "redirect to another host", result: "bad_response", want: kept(),
			play: func(t *testing.T) *badWorld {
				var requests atomic.Int32
				other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					t.Errorf("the other host was sent a %s with the header %v", r.Method, r.Header)
				}))
				t.Cleanup(other.Close)
				return inject(lakefstest.Fault{Status: 307, Header: http.Header{"Location": {other.URL + "/api/v1/"}}})(t)
			},
		},
		{name: "redirect in a circle", result: "bad_response", want: kept(), play: inject(lakefstest.Fault{Status: 302, Header: http.Header{"Location": {"/again"}}})},
		{
			name: "wrong certificate", result: "connection", want: kept(),
			play: func(t *testing.T) *badWorld {
				known, unknown := newAuthority(t), newAuthority(t)
				var current atomic.Pointer[tls.Certificate]
				current.Store(known.sign(t))
				w := newBadWorld(t, &tls.Config{
					GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil },
				}, known.pem)
				current.Store(unknown.sign(t))
				w.badClient.CloseIdleConnections()
				return w
			},
		},
		{
			name: "update_time an hour ahead", result: "success", up: 1,
			want: seenNow(map[string]float64{"update_timestamp_seconds": 1795344687 + 3600, "ingested_objects": 7 + 15_000}),
			play: inject(lakefstest.Fault{Body: `{"completed":false,"ingested_objects":15007,"update_time":"2026-11-22T11:51:27Z"}`}),
		},
		{
			name: "update_time in year 1", result: "success", up: 1,
			want: seenNow(map[string]float64{"update_timestamp_seconds": -62135596800, "seconds_since_update": 1795344687.374205733 + 62135596800}),
			play: inject(lakefstest.Fault{Body: `{"completed":false,"ingested_objects":30000,"update_time":"0001-01-01T00:00:00Z"}`}),
		},
		{
			name: "the count falls", result: "success", up: 1,
			want: seenNow(map[string]float64{"ingested_objects": 3, "progress_timestamp_seconds": 1795344657.374205733}),
			play: inject(lakefstest.Fault{Body: `{"completed":false,"ingested_objects":3,"update_time":"2026-11-22T10:51:27.374205733Z"}`}),
		},
		{
			name: "lines and quotes in the message", result: "success", up: 1,
			want: failed(`first second "quoted" \ 'quoted' {x="y"} 1`),
			play: inject(lakefstest.Fault{Body: status(`"completed":false,"error":{"message":"first\nsecond\r\n\"quoted\" \\ 'quoted' {x=\"y\"} 1\u0000\u2028"}`)}),
		},
		{
			name: "invalid UTF-8 in the message", result: "success", up: 1,
			want: failed("a\uFFFD\uFFFDb\uFFFDc"),
			play: inject(lakefstest.Fault{Body: status("\"completed\":false,\"error\":{\"message\":\"a\xff\xfeb\xc3c\"}")}),
		},
		{
			name: "HTML in the message", result: "success", up: 1,
			want: failed(`<script>alert("1")</script>`),
			play: inject(lakefstest.Fault{Body: status(`"completed":false,"error":{"message":"<script>alert(\"1\")</script>"}`)}),
		},
		{
			name: "a message that fills the body", result: "success", up: 1,
			want: failed(strings.Repeat("ä", 126) + "…"),
			play: inject(lakefstest.Fault{Body: status(`"completed":false,"error":{"message":"` + strings.Repeat("ä", mebibyte/2-100) + `"}`)}),
		},
		{
			name: "a message of 1 MiB", result: "bad_response", want: kept(),
			play: inject(lakefstest.Fault{Body: status(`"completed":false,"error":{"message":"` + strings.Repeat("x", mebibyte) + `"}`)}),
		},
		{
			name: "an empty message", result: "success", up: 1, want: failed(""),
			play: inject(lakefstest.Fault{Body: status(`"completed":false,"error":{"message":""}`)}),
		},
		{
			name: "hostile IDs", result: "success", up: 1,
			want: seenNow(map[string]float64{"completed": 1, `commit_info{commit_id="a \" b<i>\\",metarange_id="` + strings.Repeat("z", 253) + `…"}`: 1}),
			play: inject(lakefstest.Fault{Body: status(`"completed":true,"commit":{"id":"a\n\"\tb<i>\\"},"metarange_id":"` + strings.Repeat("z", mebibyte/2) + `"`)}),
		},
		{
			name: "IDs of invalid UTF-8", result: "success", up: 1,
			want: seenNow(map[string]float64{"completed": 1, "commit_info{commit_id=\"\uFFFD\",metarange_id=\"\"}": 1}),
			play: inject(lakefstest.Fault{Body: status("\"completed\":true,\"commit\":{\"id\":\"\xff\"},\"metarange_id\":\"\"")}),
		},
		{
			name: "a success without a commit", result: "success", up: 1,
			want: seenNow(map[string]float64{"completed": 1, `commit_info{commit_id="",metarange_id=""}`: 1}),
			play: inject(lakefstest.Fault{Body: status(`"completed":true`)}),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := tc.play(t)
			w.clock.Advance(30 * time.Second)

			// Prometheus does not wait longer than it says in its header.
			const timeout = 2 * time.Second
			header := http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {"2"}}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			if tc.name != "black hole" { // how fast this machine is does not matter to the others
				cancel()
				header.Set("X-Prometheus-Scrape-Timeout-Seconds", "60")
				ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
			}
			defer cancel()
			resp, body := w.send(ctx, http.MethodGet, "/metrics", header)

			if resp.StatusCode != http.StatusOK {
				t.Errorf("status %d", resp.StatusCode)
			}
			if diff := cmp.Diff(goodNow(), importSeries(t, body, "good")); diff != "" {
				t.Errorf("import of the good server (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.want, importSeries(t, body, "bad")); diff != "" {
				t.Errorf("import of the bad server (-want +got):\n%s", diff)
			}
			polls := map[string]float64{}
			for key, value := range series(t, body) {
				if strings.HasPrefix(key, "lakefs_import_exporter_polls_total{") && value > 0 || strings.HasPrefix(key, "lakefs_up{") {
					polls[strings.TrimPrefix(key, "lakefs_import_exporter_")] = value
				}
			}
			want := map[string]float64{
				`polls_total{result="success",server="good"}`: 2,
				`polls_total{result="success",server="bad"}`:  1,
				`lakefs_up{server="good"}`:                    1,
				`lakefs_up{server="bad"}`:                     tc.up,
			}
			want[`polls_total{result="`+tc.result+`",server="bad"}`]++
			if diff := cmp.Diff(want, polls); diff != "" {
				t.Errorf("polls and servers (-want +got):\n%s", diff)
			}

			// What was said to Prometheus is said to scripts too, as good JSON.
			for _, path := range []string{"/api/v1/imports", "/api/v1/imports/my-repo/main/bad-import?server=bad"} {
				if tc.name == "black hole" {
					continue // It would be asked again, and take its time again.
				}
				resp, body := w.get(path)
				if resp.StatusCode != http.StatusOK {
					t.Errorf("%s: status %d", path, resp.StatusCode)
				}
				indented(t, body)
			}
		})
	}
}
