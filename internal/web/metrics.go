package web

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

const (
	// scrapeTimeoutHeader is what Prometheus sends its scrape timeout in.
	scrapeTimeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
	// defaultTimeout is the deadline of a request that does not bring its own.
	defaultTimeout = 10 * time.Second
	// maxTimeout keeps an absurd header from overflowing a time.Duration.
	maxTimeout = time.Hour
)

// metricsHandler polls what is due and answers with all metrics.
func (h *handler) metricsHandler() http.Handler {
	metrics := newExposition(func() ([]*dto.MetricFamily, error) {
		return union{h.Collector.Snapshot(), h.Registry}.Gather()
	}, promhttp.HandlerOpts{
		ErrorLog:          errorLogger{h.Logger},
		ErrorHandling:     promhttp.ContinueOnError,
		Registry:          h.Registry,
		EnableOpenMetrics: true,
	})
	return promhttp.InstrumentMetricHandler(h.Registry, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timeout, err := scrapeTimeout(r.Header, h.TimeoutOffset)
		if err != nil {
			timeout = defaultTimeout
		}
		if poll(w, r, timeout, h.Collector.Poll) {
			metrics.ServeHTTP(w, r)
		}
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
		return 0, &badTimeoutError{value}
	}
	granted := time.Duration(min(seconds, maxTimeout.Seconds()) * float64(time.Second))
	if timeout := granted - offset; timeout > 0 {
		return timeout, nil
	}
	return granted / 2, nil
}

type badTimeoutError struct{ value string }

func (e *badTimeoutError) Error() string {
	return "header " + scrapeTimeoutHeader + ": must be a positive number of seconds, not " + strconv.Quote(e.value)
}

// union gathers from several gatherers whose families have distinct names. It
// does not look into them again, as prometheus.Gatherers does at great cost.
type union []prometheus.Gatherer

// Gather implements prometheus.Gatherer.
func (u union) Gather() ([]*dto.MetricFamily, error) {
	var all []*dto.MetricFamily
	var errs prometheus.MultiError
	for _, g := range u {
		families, err := g.Gather()
		errs.Append(err)
		all = append(all, families...)
	}
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return all, errs.MaybeUnwrap()
}

// errorLogger is how promhttp logs.
type errorLogger struct{ logger log.Logger }

// Println implements promhttp.Logger.
func (l errorLogger) Println(v ...any) {
	level.Error(l.logger).Log("msg", "Serving metrics failed", "err", v[len(v)-1])
}
