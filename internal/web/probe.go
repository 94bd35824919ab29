package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

// probe answers with the metrics of the import that the request names, polled
// for this request.
func (h *handler) probe(w http.ResponseWriter, r *http.Request) {
	target, err := h.probeTarget(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	timeout, err := scrapeTimeout(r.Header, h.TimeoutOffset)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	snapshot := h.Collector.Probe(ctx, target.Key, target.branch)
	switch {
	case r.Context().Err() != nil:
		return // the client hung up
	case snapshot == nil:
		http.Error(w, fmt.Sprintf("server %q is not configured", target.Server), http.StatusBadRequest)
		return
	}
	expose(w, r, snapshot.Families(), gathered(prometheus.Gatherers{}, nil, h.Logger))
}

// probeTarget returns the import that the parameters target and server name.
func (h *handler) probeTarget(query url.Values) (target, error) {
	ref, err := parseTarget(query["target"])
	if err != nil {
		return target{}, err
	}
	server, err := h.Collector.ServerName(query.Get("server"))
	return target{collector.Key{Server: server, Repository: ref.Repository, ID: ref.ID}, ref.Branch}, err
}

// parseTarget parses [lakefs://]REPOSITORY/BRANCH/IMPORT_ID, given once.
func parseTarget(targets []string) (ref lakefs.Ref, err error) {
	const form = "[lakefs://]REPOSITORY/BRANCH/IMPORT_ID"
	if len(targets) == 0 || targets[0] == "" {
		return ref, errors.New("target is missing: must be " + form)
	}
	if len(targets) > 1 {
		return ref, fmt.Errorf("target is given %d times: must be one %s", len(targets), form)
	}
	parts := strings.Split(strings.TrimPrefix(targets[0], "lakefs://"), "/")
	if len(parts) != 3 {
		return ref, fmt.Errorf("target %q: must be %s", targets[0], form)
	}
	ref = lakefs.Ref{Repository: parts[0], Branch: parts[1], ID: parts[2]}
	if err := ref.Validate(); err != nil {
		return ref, errors.New("target: " + oneLine(err.Error()))
	}
	return ref, nil
}
