package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

// probe answers with the metrics of the import that the request names, polled
// for this request.
func (h *handler) probe(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	ref, targetErr := parseTarget(query["target"])
	server, serverErr := h.Collector.ServerName(query.Get("server"))
	timeout, timeoutErr := scrapeTimeout(r.Header, h.TimeoutOffset)
	if err := cmp.Or(targetErr, serverErr, timeoutErr); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	snapshot := h.Collector.Probe(ctx, collector.Key{Server: server, Repository: ref.Repository, ID: ref.ID}, ref.Branch)
	switch {
	case r.Context().Err() != nil:
		return // the client hung up
	case snapshot == nil:
		http.Error(w, fmt.Sprintf("server %q is not configured", server), http.StatusBadRequest)
		return
	}
	expose(w, r, snapshot.Families(), gathered(prometheus.Gatherers{}, nil, h.Logger))
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
