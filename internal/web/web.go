// Package web is everything of the exporter that is served over HTTP.
package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/page"
)

// Options are what the handler serves and how. All are required, but for those
// whose zero value has a meaning of its own.
type Options struct {
	Collector *collector.Collector
	// Registry has the metrics that are not of a Snapshot; those of the handler
	// are added to it.
	Registry *prometheus.Registry
	Logger   log.Logger
	// Reload loads the configuration again. Its error is the answer.
	Reload func(context.Context) error
	// EnableLifecycle permits a reload over HTTP.
	EnableLifecycle bool
	// EnableImportAPI permits registering and unregistering imports over HTTP.
	EnableImportAPI bool
	// TelemetryPath is where the metrics are, usually /metrics: see
	// ValidateTelemetryPath.
	TelemetryPath string
	// RoutePrefix is what all paths begin with: empty, or with a slash at its
	// beginning and none at its end.
	RoutePrefix string
	// TimeoutOffset is taken off Prometheus' scrape timeout.
	TimeoutOffset time.Duration
	// Version is shown on the status page.
	Version string
}

// handler answers requests.
type handler struct {
	Options
	answers *answers
	imports atomic.Int64        // of the newest scrape
	waiting *semaphore.Weighted // held by the requests that wait for an end
}

// telemetryPathPattern permits no part that is empty or begins with a dot.
var telemetryPathPattern = regexp.MustCompile(`^(/|(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?)$`)

// ValidateTelemetryPath reports why path cannot be where the metrics are.
func ValidateTelemetryPath(path string) error {
	if !telemetryPathPattern.MatchString(path) {
		return fmt.Errorf("%q: must be a path such as /metrics", path)
	}
	for _, reserved := range []string{"/-/", "/api/", "/imports/", "/probe/"} {
		if strings.HasPrefix(path+"/", reserved) {
			return fmt.Errorf("%q: %s is taken", path, reserved)
		}
	}
	return nil
}

// New returns the handler of all requests.
func New(opts Options) http.Handler {
	h := &handler{Options: opts, answers: newAnswers(), waiting: semaphore.NewWeighted(maxWaiting)}
	h.imports.Store(int64(len(opts.Collector.Snapshot().Imports)))
	mux := http.NewServeMux()
	metrics := "GET " + opts.TelemetryPath
	if strings.HasSuffix(metrics, "/") {
		metrics += "{$}" // and nothing below it
	}
	mux.Handle(metrics, h.metricsHandler())
	mux.HandleFunc("GET /api/v1/imports", h.listImports)
	mux.HandleFunc("GET /api/v1/imports/{repository}/{branch}/{id}", h.answers.own(h.targeting(h.getImport)))
	mux.HandleFunc("PUT /api/v1/imports/{repository}/{branch}/{id}", h.importAPI(h.targeting(h.putImport)))
	mux.HandleFunc("DELETE /api/v1/imports/{repository}/{branch}/{id}", h.importAPI(h.targeting(h.deleteImport)))
	mux.HandleFunc("GET /probe", h.answers.own(h.probe))
	page.New(page.Options{
		Collector:     h.Collector,
		Share:         h.answers.share,
		Logger:        h.Logger,
		TelemetryPath: h.TelemetryPath,
		Version:       h.Version,
	}).Register(mux)
	if h.TelemetryPath != "/" {
		mux.HandleFunc("GET /{$}", redirectTo("imports"))
	}
	mux.HandleFunc("GET /-/healthy", ok)
	// Config and storage are loaded before the server listens.
	mux.HandleFunc("GET /-/ready", ok)
	mux.HandleFunc("POST /-/reload", h.reload)
	// A page of another origin must not make a browser change anything here.
	return secure(http.NewCrossOriginProtection().Handler(prefixed(opts.RoutePrefix, mux)))
}

// prefixed has next answer what is below prefix.
func prefixed(prefix string, next http.Handler) http.Handler {
	if prefix == "" {
		return next
	}
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", http.StripPrefix(prefix, next))
	mux.HandleFunc("GET /{$}", redirectTo(strings.TrimPrefix(prefix, "/")+"/"))
	return mux
}

// redirectTo redirects to a relative URL, so that a proxy may add to the path
// what it likes.
func redirectTo(relative string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", relative)
		w.WriteHeader(http.StatusFound)
	}
}

// secure tells browsers to take answers for what they say they are.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

func ok(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "OK\n")
}

func (h *handler) reload(w http.ResponseWriter, r *http.Request) {
	if !h.EnableLifecycle {
		http.Error(w, "The reload API is off: start the exporter with --web.enable-lifecycle.", http.StatusForbidden)
		return
	}
	if err := h.Reload(r.Context()); err != nil {
		http.Error(w, "Failed to reload configuration; keeping the previous one: "+err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, "Configuration reloaded.\n")
}
