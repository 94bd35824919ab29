package web

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
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
	// renderingTime is what a scrape keeps for each import, to render its series.
	renderingTime = 50 * time.Microsecond
)

// metricsHandler polls what is due and answers with all metrics.
func (h *handler) metricsHandler() http.Handler {
	others := gathered(h.Registry, h.Registry, h.Logger)
	return promhttp.InstrumentMetricHandler(h.Registry, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer h.Collector.Save()
		suspendWriteTimeout(w)
		timeout, err := scrapeTimeout(r.Header, h.TimeoutOffset)
		if err != nil {
			timeout = defaultTimeout
		}
		if timeout = pollTime(timeout, h.imports.Load()); timeout >= minPollTime {
			ctx, cancel := context.WithTimeout(r.Context(), timeout)
			defer cancel()
			h.Collector.Poll(ctx)
		}
		if r.Context().Err() != nil {
			return // the client hung up
		}
		h.answers.shareScrape(w, r, func(w http.ResponseWriter, r *http.Request) {
			snapshot := h.Collector.Snapshot()
			h.imports.Store(int64(len(snapshot.Imports)))
			expose(w, r, snapshot.Families(), others)
		})
	}))
}

// pollTime returns how much of timeout a scrape of imports can spend on polls.
func pollTime(timeout time.Duration, imports int64) time.Duration {
	return timeout - min(time.Duration(imports)*renderingTime, timeout/2)
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
