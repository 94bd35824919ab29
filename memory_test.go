//go:build linux && e2e

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// What the container of the chart may take, and what its GOMEMLIMIT is.
const (
	memoryLimit   = 256 << 20
	goMemoryLimit = "205MiB"
)

// victim is the exporter of 10,000 running imports, and its lakeFS.
type victim struct {
	*exporter
	lakeFS *lakefstest.Server
	wg     sync.WaitGroup
}

// Whatever clients do, the exporter of 10,000 imports stays below the limit of its
// container, and Prometheus is answered afterwards. SECURITY.md has the figures.
func TestMemoryUnderAttack(t *testing.T) {
	v := newVictim(t)
	for _, tc := range []struct {
		name string
		run  func(*victim)
	}{
		{"scrapes only", func(*victim) {}},
		{"6,000 connections with a header of 60 KB", (*victim).tinyHeaders},
		{"250 streams with window 0 over HTTP/2", (*victim).closedWindows},
		{"100 readers of JSON that stop", func(v *victim) { v.stoppedReaders("/api/v1/imports", 100) }},
		{"100 readers of a filtered list that stop", func(v *victim) { v.stoppedReaders("/api/v1/imports?state=running", 100) }},
		{"100 readers of metrics that stop", func(v *victim) { v.stoppedReaders("/metrics", 100) }},
		{"100 readers of the page that stop", func(v *victim) { v.stoppedReaders("/imports", 100) }},
		{"400 readers of the page hang up, lakeFS hangs", (*victim).pagesNobodyReads},
		{"4,111 probes with long branches", (*victim).longProbes},
		{"10,000 PUTs with 4 KiB of labels", (*victim).manyLabels},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v.t = t
			v.resetPeak()
			tc.run(v)
			v.scrape()
			status, err := v.proc().NewStatus()
			must(t, err)
			t.Logf("%d MiB at most", status.VmHWM>>20)
			if status.VmHWM > memoryLimit {
				t.Error("more than the container may take")
			}
		})
	}
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	const imports = 10_000
	v := &victim{lakeFS: newLakeFS(t, lakefstest.Options{})}
	dir := t.TempDir()
	var refs []lakefs.Ref
	for i := range imports {
		refs = append(refs, v.lakeFS.Start(fmt.Sprintf("repository-%03d", i%100), "main", import1k))
	}
	write(t, dir, "config.yml", watchYAML(t, dir, v.lakeFS, refs...))
	certificates(t, dir)
	write(t, dir, "web.yml", "tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
	t.Cleanup(v.wg.Wait)
	v.exporter = start(t, dir, []string{"GOMEMLIMIT=" + goMemoryLimit}, importAPI, "--storage.path=data/", "--web.config.file=web.yml")
	v.url = strings.Replace(v.url, "http:", "https:", 1)
	v.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true, MaxIdleConnsPerHost: 32}
	v.scrape()
	return v
}

func (v *victim) proc() procfs.Proc {
	v.t.Helper()
	proc, err := procfs.NewProc(v.cmd.Process.Pid)
	must(v.t, err)
	return proc
}

// resetPeak has VmHWM begin anew.
func (v *victim) resetPeak() {
	v.t.Helper()
	must(v.t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", v.cmd.Process.Pid), []byte("5"), 0))
}

// ask sends a request and reads the answer, if there is one.
func (v *victim) ask(ctx context.Context, method, path, body string) {
	req, err := http.NewRequestWithContext(ctx, method, v.url+path, strings.NewReader(body))
	if err != nil {
		v.t.Error(err)
		return
	}
	if resp, err := v.client.Do(req); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// scrape scrapes as Prometheus does.
func (v *victim) scrape() {
	v.t.Helper()
	resp, _ := v.send(http.MethodGet, "/metrics", func(r *http.Request) {
		r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
		r.Header.Set("Accept-Encoding", "gzip")
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "10")
	})
	if resp.StatusCode != http.StatusOK {
		v.t.Errorf("scrape: status %d", resp.StatusCode)
	}
}

// dial connects to the exporter for the rest of the test.
func (v *victim) dial(protocol string) net.Conn {
	conn, err := tls.Dial("tcp", strings.TrimPrefix(v.url, "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
	if err != nil {
		return nil // refused, which is one way of defense
	}
	v.t.Cleanup(func() { conn.Close() })
	return conn
}

// inParallel calls f n times, a few at once.
func inParallel(n, atOnce int, f func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			f(i)
			<-slots
		})
	}
	wg.Wait()
}

func (v *victim) tinyHeaders() {
	var header bytes.Buffer
	header.WriteString("GET /metrics HTTP/1.1\r\nHost: x\r\n")
	for i := 0; header.Len() < 60_000; i++ {
		fmt.Fprintf(&header, "%x:\r\n", i)
	}
	inParallel(6000, 64, func(int) {
		if conn := v.dial("http/1.1"); conn != nil {
			_, _ = conn.Write(header.Bytes()[:16<<10])
		}
	})
}

func (v *victim) closedWindows() {
	conn := v.dial("h2")
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	v.wg.Go(func() { _, _ = io.Copy(io.Discard, conn) })
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := range 250 {
		block.Reset()
		for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "x"}, {":path", "/api/v1/imports"}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
		<-time.After(20 * time.Millisecond) // so that each has an answer of its own
	}
}

func (v *victim) stoppedReaders(path string, n int) {
	for range n {
		if conn := v.dial("http/1.1"); conn != nil {
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func (v *victim) pagesNobodyReads() {
	defer v.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Break: lakefstest.BlackHole})()
	for range 400 {
		ctx, cancel := context.WithTimeout(v.t.Context(), 500*time.Millisecond)
		v.wg.Go(func() {
			defer cancel()
			v.ask(ctx, http.MethodGet, "/imports", "")
		})
		<-time.After(25 * time.Millisecond)
	}
}

func (v *victim) longProbes() {
	inParallel(4111, 32, func(i int) {
		target := fmt.Sprintf("my-repo/%s/probe-%d", strings.Repeat("x", 60_000), i)
		if i%2 == 0 {
			target = fmt.Sprintf("my-repo/%s/probe-%d", strings.Repeat("x", 1000), i)
		}
		v.ask(v.t.Context(), http.MethodGet, "/probe?target="+url.QueryEscape(target), "")
	})
}

func (v *victim) manyLabels() {
	label := strings.Repeat("x", 4000)
	inParallel(10_000, 32, func(i int) {
		v.ask(v.t.Context(), http.MethodPut, fmt.Sprintf("/api/v1/imports/my-repo/main/put-%d", i), fmt.Sprintf(`{"labels": {"a": "%s%d"}}`, label, i))
	})
}
