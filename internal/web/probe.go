package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

// probe answers with the metrics of the import that the request names, polled
// for this request.
func (h *handler) probe(w http.ResponseWriter, r *http.Request) {
	key, err := h.probeKey(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	timeout, err := scrapeTimeout(r.Header, h.TimeoutOffset)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var snapshot *collector.Snapshot
	if !poll(w, r, timeout, func(ctx context.Context) { snapshot = h.Collector.Probe(ctx, key) }) {
		return
	}
	promhttp.HandlerFor(snapshot, promhttp.HandlerOpts{
		ErrorLog:          errorLogger{h.Logger},
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true,
	}).ServeHTTP(w, r)
}

// probeKey returns the import that the parameters target and server name.
func (h *handler) probeKey(query url.Values) (key collector.Key, err error) {
	for _, name := range []string{"target", "server"} {
		if len(query[name]) > 1 {
			return key, fmt.Errorf("%s: must be given once", name)
		}
	}
	if key.Ref, err = parseTarget(query.Get("target")); err != nil {
		return key, err
	}
	key.Server, err = h.Collector.ServerName(query.Get("server"))
	return key, err
}

// parseTarget parses [lakefs://]REPOSITORY/BRANCH/IMPORT_ID.
func parseTarget(target string) (ref lakefs.Ref, err error) {
	if target == "" {
		return ref, errors.New("target is missing: must be [lakefs://]REPOSITORY/BRANCH/IMPORT_ID")
	}
	parts := strings.Split(strings.TrimPrefix(target, "lakefs://"), "/")
	if len(parts) != 3 {
		return ref, fmt.Errorf("target %q: must be [lakefs://]REPOSITORY/BRANCH/IMPORT_ID", target)
	}
	ref = lakefs.Ref{Repository: parts[0], Branch: parts[1], ID: parts[2]}
	if err := ref.Validate(); err != nil {
		return ref, fmt.Errorf("target: %w", err)
	}
	return ref, nil
}
