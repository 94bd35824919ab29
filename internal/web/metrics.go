package web

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"

	"lakefs_import_exporter/collector"
)

const (
	// scrapeTimeoutHeader is what Prometheus sends its scrape timeout in.
	scrapeTimeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
	// defaultTimeout is the deadline of a request that does not bring its own.
	defaultTimeout = 10 * time.Second
	// maxTimeout keeps an absurd header from overflowing a time.Duration.
	maxTimeout = time.Hour
	// minPollTime is the time in which no lakeFS can answer. A scrape that has
	// no more of it does not poll: it would learn nothing.
	minPollTime = time.Millisecond
)

// metricsHandler polls what is due and answers with all metrics. Answers to
// requests for some metrics only are not shared.
func (h *handler) metricsHandler() http.Handler {
	metrics := newSharing(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gathered, err := h.Registry.Gather()
		h.check(causeGathering, err)
		h.expose(w, r, h.Collector.Snapshot().Families(), gathered)
	}), func(r *http.Request) (string, bool) {
		return string(expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)), !r.URL.Query().Has("name[]")
	})
	var rendering renderingTime
	return promhttp.InstrumentMetricHandler(h.Registry, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer h.Collector.Save()
		suspendWriteTimeout(w)
		timeout, err := scrapeTimeout(r.Header, h.TimeoutOffset)
		if err != nil {
			timeout = defaultTimeout
		}
		begin := time.Now()
		timeout -= min(rendering.expected(h.Collector), timeout/2)
		if timeout >= minPollTime {
			ctx, cancel := context.WithTimeout(r.Context(), timeout)
			defer cancel()
			h.Collector.Poll(ctx)
		}
		// What Poll takes beyond its deadline is missing for the rendering.
		polled := min(time.Since(begin), timeout)
		if r.Context().Err() != nil {
			return // the client hung up
		}
		metrics.serve(w, r, func() { rendering.took(time.Since(begin) - polled) })
	}))
}

// scrapeTimeout returns how long a scrape may take: what Prometheus' header
// grants, less offset, or half of it where the offset would eat it all.
func scrapeTimeout(header http.Header, offset time.Duration) (time.Duration, error) {
	value := header.Get(scrapeTimeoutHeader)
	if value == "" {
		return defaultTimeout, nil
	}
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 {
		return 0, fmt.Errorf("header %s: must be a positive number of seconds, not %q", scrapeTimeoutHeader, value)
	}
	granted := time.Duration(min(seconds, maxTimeout.Seconds()) * float64(time.Second))
	if timeout := granted - offset; timeout > 0 {
		return timeout, nil
	}
	return granted / 2, nil
}

// renderingTime predicts how long it takes to render the metrics.
type renderingTime struct {
	recent atomic.Int64 // nanoseconds; 0 before the first rendering
}

// expected returns how long to keep for the rendering: twice as long as recent
// ones took, and before there was any, a guess by the number of imports.
func (t *renderingTime) expected(c *collector.Collector) time.Duration {
	const perImport = 30 * time.Microsecond
	if recent := t.recent.Load(); recent > 0 {
		return 2 * time.Duration(recent)
	}
	return time.Duration(len(c.Snapshot().Imports)) * perImport
}

// took takes note of a rendering. A slow one is forgotten by and by.
func (t *renderingTime) took(d time.Duration) {
	t.recent.Store(max(int64(d), t.recent.Load()*3/4))
}
