package web

import (
	"bufio"
	"fmt"
	"net/http"
	"slices"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"

	"lakefs_import_exporter/collector"
)

// gathered returns promhttp's own handler of what from gathers. It counts errors
// in a metric of registry, unless that is nil.
func gathered(from prometheus.Gatherer, registry prometheus.Registerer, logger log.Logger) http.Handler {
	return promhttp.HandlerFor(from, promhttp.HandlerOpts{
		ErrorLog:           errorLog{logger},
		ErrorHandling:      promhttp.ContinueOnError,
		Registry:           registry,
		DisableCompression: true, // answers does it
		EnableOpenMetrics:  true,
	})
}

// errorLog is the logger that promhttp wants.
type errorLog struct{ log.Logger }

// Println implements promhttp.Logger.
func (l errorLog) Println(v ...any) {
	level.Error(l).Log("msg", "Failed to expose metrics", "err", fmt.Sprint(v...))
}

// negotiate returns the format that r asks for.
func negotiate(r *http.Request) expfmt.Format {
	return expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
}

// expose answers r with families, in the format and of the names that r asks for,
// and has next, which is one of promhttp's, add others.
func expose(w http.ResponseWriter, r *http.Request, families []collector.Family, next http.Handler) {
	format := negotiate(r)
	w.Header().Set("Content-Type", string(format))
	buf := bufio.NewWriterSize(w, blockBytes) // into memory, which does not fail
	encoder := expfmt.NewEncoder(buf, format)
	text := format.FormatType() == expfmt.TypeTextPlain || format.FormatType() == expfmt.TypeOpenMetrics
	names := r.URL.Query()["name[]"]
	for _, family := range families {
		if len(names) > 0 && !slices.Contains(names, family.Name) {
			continue
		}
		if text {
			_ = family.WriteText(buf)
		} else if f := family.Gather(); len(f.GetMetric()) > 0 {
			_ = encoder.Encode(f)
		}
	}
	_ = buf.Flush()
	next.ServeHTTP(w, r)
}
