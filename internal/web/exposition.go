package web

import (
	"bufio"
	"net/http"
	"slices"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"lakefs_import_exporter/collector"
)

const (
	causeGathering = "gathering"
	causeEncoding  = "encoding"
)

// newErrorCounter returns the counter that promhttp's own handler has, which
// cannot write a collector.Family.
func newErrorCounter() *prometheus.CounterVec {
	errs := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "promhttp_metric_handler_errors_total",
		Help: "Total number of internal errors encountered by the promhttp metric handler.",
	}, []string{"cause"})
	errs.WithLabelValues(causeGathering)
	errs.WithLabelValues(causeEncoding)
	return errs
}

// check counts and logs err if it is not nil: some metrics are missing then.
func (h *handler) check(cause string, err error) {
	if err != nil {
		h.errors.WithLabelValues(cause).Inc()
		level.Error(h.Logger).Log("msg", "Failed to expose metrics", "cause", cause, "err", err)
	}
}

// negotiate returns the format that r asks for.
func negotiate(r *http.Request) expfmt.Format {
	return expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
}

// expose answers r with families and then gathered, in the format that r asks for.
func (h *handler) expose(w http.ResponseWriter, r *http.Request, families []collector.Family, gathered []*dto.MetricFamily) {
	format := negotiate(r)
	w.Header().Set("Content-Type", string(format))
	buf := bufio.NewWriterSize(w, blockBytes)
	encoder := expfmt.NewEncoder(buf, format)
	text := format.FormatType() == expfmt.TypeTextPlain || format.FormatType() == expfmt.TypeOpenMetrics
	names := r.URL.Query()["name[]"]
	wanted := func(name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	for _, family := range families {
		if !wanted(family.Name) {
			continue
		}
		if text {
			h.check(causeEncoding, family.WriteText(buf))
		} else if f := family.Gather(); len(f.GetMetric()) > 0 {
			h.check(causeEncoding, encoder.Encode(f))
		}
	}
	for _, family := range gathered {
		if wanted(family.GetName()) {
			h.check(causeEncoding, encoder.Encode(family))
		}
	}
	if closer, ok := encoder.(expfmt.Closer); ok {
		h.check(causeEncoding, closer.Close())
	}
	_ = buf.Flush() // into memory
}
