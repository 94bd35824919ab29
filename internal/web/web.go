// Package web is everything of the exporter that is served over HTTP.
package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"lakefs_import_exporter/collector"
)

// Options are what the handler serves and how. All are required, but for those
// whose zero value has a meaning of its own.
type Options struct {
	Collector *collector.Collector
	// Registry has the metrics that are not of a Snapshot; those of the handler
	// are added to it.
	Registry *prometheus.Registry
	Logger   log.Logger
	// Reload loads the configuration anew. Its error goes to whoever asked.
	Reload func(context.Context) error
	// EnableLifecycle permits a reload over HTTP.
	EnableLifecycle bool
	// EnableImportAPI permits to register and unregister imports over HTTP.
	EnableImportAPI bool
	// TelemetryPath is where the metrics are, usually /metrics.
	TelemetryPath string
	// TimeoutOffset is taken off Prometheus' scrape timeout.
	TimeoutOffset time.Duration
	// Version is shown on the landing page and on the status page.
	Version string

	// pageRefresh and pagePatience stand in for the constants in tests.
	pageRefresh, pagePatience time.Duration
}

// handler answers requests.
type handler struct {
	Options
}

// paths that the telemetry path must leave free.
var reservedPaths = []string{"/-/", "/api/", "/imports", "/probe"}

var telemetryPathPattern = regexp.MustCompile(`^/[A-Za-z0-9._~/-]*$`)

// ValidateTelemetryPath reports why path cannot be where the metrics are.
func ValidateTelemetryPath(path string) error {
	if !telemetryPathPattern.MatchString(path) {
		return fmt.Errorf("%q: must match %s", path, telemetryPathPattern)
	}
	for _, part := range strings.Split(strings.TrimSuffix(path[1:], "/"), "/") {
		if part == "" && path != "/" || part == "." || part == ".." {
			return fmt.Errorf("%q: must have no empty, . or .. parts", path)
		}
	}
	for _, reserved := range reservedPaths {
		if path == reserved || strings.HasPrefix(path, strings.TrimSuffix(reserved, "/")+"/") {
			return fmt.Errorf("%q: %s is taken", path, reserved)
		}
	}
	return nil
}

// New returns the handler of all requests.
func New(opts Options) (http.Handler, error) {
	if err := ValidateTelemetryPath(opts.TelemetryPath); err != nil {
		return nil, fmt.Errorf("telemetry path %w", err)
	}
	h := &handler{opts}
	mux := http.NewServeMux()
	mux.Handle("GET "+exactly(opts.TelemetryPath), h.metricsHandler())
	mux.HandleFunc("GET /api/v1/imports", h.listImports)
	mux.HandleFunc("GET /api/v1/imports/{repository}/{branch}/{id}", h.getImport)
	mux.HandleFunc("PUT /api/v1/imports/{repository}/{branch}/{id}", h.importAPI(h.putImport))
	mux.HandleFunc("DELETE /api/v1/imports/{repository}/{branch}/{id}", h.importAPI(h.deleteImport))
	mux.HandleFunc("GET /probe", h.probe)
	page, err := newStatusPage(opts)
	if err != nil {
		return nil, fmt.Errorf("status page: %w", err)
	}
	page.register(mux)
	mux.HandleFunc("GET /-/healthy", ok)
	// Config and storage are loaded before the server listens.
	mux.HandleFunc("GET /-/ready", ok)
	mux.HandleFunc("POST /-/reload", h.reload)
	if opts.TelemetryPath != "/" {
		landing, err := h.landingPage()
		if err != nil {
			return nil, fmt.Errorf("landing page: %w", err)
		}
		mux.Handle("GET /{$}", landing)
	}
	// A page of another origin must not make a browser change anything here.
	return secure(http.NewCrossOriginProtection().Handler(mux)), nil
}

// exactly returns the pattern of path alone, and of nothing below it.
func exactly(path string) string {
	if strings.HasSuffix(path, "/") {
		return path + "{$}"
	}
	return path
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
		http.Error(w, "The configuration was not reloaded, the old one stays in force: "+err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, "The configuration was reloaded.\n")
}

func (h *handler) landingPage() (http.Handler, error) {
	return toolkit.NewLandingPage(toolkit.LandingConfig{
		Name:        "lakeFS import exporter",
		Description: "How the data imports of lakeFS are getting on",
		Version:     h.Version,
		Profiling:   "false",
		HeaderColor: "#00546e",
		Links: []toolkit.LandingLinks{
			{Address: "imports", Text: "Imports", Description: "how each is getting on, at a glance"},
			{Address: h.TelemetryPath, Text: "Metrics", Description: "of all watched imports, for Prometheus"},
			{Address: "api/v1/imports", Text: "Imports as JSON", Description: "for scripts"},
			{Address: "-/healthy", Text: "Health", Description: "200 when the exporter is alive"},
			{Address: "-/ready", Text: "Readiness", Description: "200 when configuration and storage are loaded"},
		},
	})
}
