package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// client is a bare HTTP client that keeps its connections.
var client = &http.Client{Transport: &http.Transport{
	MaxIdleConnsPerHost: manyConnections,
	DisableCompression:  true,
}}

// form is how a scraper wants the answer.
type form struct {
	name   string
	header http.Header
}

const scrapeTimeout = "60"

var (
	plainText = form{"text", http.Header{
		"X-Prometheus-Scrape-Timeout-Seconds": {scrapeTimeout},
	}}
	asPrometheus = form{"OpenMetrics, gzip", http.Header{
		"Accept": {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5," +
			"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"},
		"Accept-Encoding":                     {"gzip"},
		"X-Prometheus-Scrape-Timeout-Seconds": {scrapeTimeout},
	}}
)

// answer is what a scrape got, and how long that took.
type answer struct {
	body    []byte
	gzipped bool
	took    time.Duration
}

// scrape gets the metrics of a process.
func scrape(p *process, f form) (answer, error) {
	req, err := http.NewRequest(http.MethodGet, p.URL+"/metrics", nil) //nolint:noctx // the exporter has a deadline
	if err != nil {
		return answer{}, err
	}
	req.Header = f.header
	begin := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body := bytes.NewBuffer(make([]byte, 0, bytes.MinRead+largestBody.Load()))
	_, err = body.ReadFrom(resp.Body)
	took := time.Since(begin)
	largestBody.Store(max(largestBody.Load(), int64(body.Len())))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP status %s: %s", resp.Status, body)
	}
	return answer{body.Bytes(), resp.Header.Get("Content-Encoding") == "gzip", took}, err
}

// largestBody is how large a buffer is made for the next answer: one that grows
// would take a good part of what is measured.
var largestBody atomic.Int64

// sum is how many series a metric has, and what their values add up to.
type sum struct {
	series int
	value  float64
}

// sums returns the sum of every metric in the answer.
func (a answer) sums() (map[string]sum, error) {
	text := a.body
	if a.gzipped {
		r, err := gzip.NewReader(bytes.NewReader(a.body))
		if err != nil {
			return nil, err
		}
		if text, err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
	sums := map[string]sum{}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		value, err := strconv.ParseFloat(string(line[bytes.LastIndexByte(line, ' ')+1:]), 64)
		if err != nil {
			return nil, fmt.Errorf("line of the exposition: %q: %w", line, err)
		}
		name := string(line[:bytes.IndexAny(line, "{ ")])
		s := sums[name]
		sums[name] = sum{s.series + 1, s.value + value}
	}
	return sums, nil
}

// check reports the first thing about sums that is not as it must be for n
// imports, all polled with success.
func check(sums map[string]sum, n int, finished bool) error {
	names, ended := runningSeries, 0.0
	if finished {
		names, ended = finishedSeries, float64(n)
	}
	if err := checkSeries(sums, names, n); err != nil {
		return err
	}
	all := float64(n)
	for name, want := range map[string]float64{
		"lakefs_import_ingested_objects": all * (all + 1) / 2,
		"lakefs_import_poll_success":     all,
		"lakefs_import_state":            all,
		"lakefs_import_completed":        ended,
		"lakefs_import_error":            0,
		"lakefs_up":                      1,
	} {
		if got := sums[name].value; got != want {
			return fmt.Errorf("%s add up to %g, not %g", name, got, want)
		}
	}
	return nil
}

// checkSeries reports the first of names that does not have n series.
func checkSeries(sums map[string]sum, names []string, n int) error {
	for _, name := range names {
		if got := sums[name].series; got != n {
			return fmt.Errorf("%s has %d series, not %d", name, got, n)
		}
	}
	return nil
}

// checkedScrape is scrape, but also reports what is wrong with the answer.
func checkedScrape(p *process, f form, n int, finished bool) (answer, error) {
	a, err := scrape(p, f)
	if err != nil {
		return a, err
	}
	sums, err := a.sums()
	if err != nil {
		return a, err
	}
	return a, check(sums, n, finished)
}

// bareGETs asks for the status of n imports as a program would that does
// nothing else, over so many connections. It returns the wall time and the CPU
// time of this process.
func bareGETs(lakeFS string, n, connections int) (wall, cpu time.Duration, err error) {
	var (
		next    atomic.Int64
		workers sync.WaitGroup
		failed  = make(chan error, connections)
		before  = ownCPU()
		begin   = time.Now()
	)
	for range connections {
		workers.Go(func() {
			var body bytes.Buffer
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := get(lakeFS+statusPath(i), &body); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	workers.Wait()
	wall, cpu = time.Since(begin), ownCPU()-before
	select {
	case err = <-failed:
	default:
	}
	return wall, cpu, err
}

func get(url string, body *bytes.Buffer) error {
	req, err := http.NewRequest(http.MethodGet, url, nil) //nolint:noctx // it takes no time
	if err != nil {
		return err
	}
	req.SetBasicAuth(accessKeyID, secretAccessKey)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body.Reset()
	if _, err := body.ReadFrom(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New("the stand-in for lakeFS answers " + resp.Status)
	}
	return nil
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// requests returns how often a stand-in was asked for a status.
func requests(lakeFS *process) (int, error) {
	resp, err := client.Get(lakeFS.URL + "/requests") //nolint:noctx // it takes no time
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(body)))
}

// stoppedReader asks for metrics and does not read the answer. Close it.
func stoppedReader(p *process) (io.Closer, error) {
	u, err := url.Parse(p.URL)
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", u.Host) //nolint:noctx // it takes no time
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(conn, "GET /metrics HTTP/1.1\r\nHost: %s\r\n\r\n", u.Host)
	return conn, err
}
