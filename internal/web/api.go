package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/common/model"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/config"
	"lakefs_import_exporter/internal/filter"
	"lakefs_import_exporter/lakefs"
)

const (
	// maxSnapshotAge is how old the newest scrape may be for a list: any number
	// of readers cost lakeFS one scrape in that time.
	maxSnapshotAge = 5 * time.Second
	// maxWait bounds the parameter wait.
	maxWait = time.Minute
	// maxWaiting is how many requests can wait at once: they keep their connections,
	// and Prometheus needs one, too.
	maxWaiting = maxConnections / 2
	// waitInterval is how often a waiting request polls: lakeFS writes the
	// status of an import once a second.
	waitInterval = time.Second
)

// listImports answers with all servers, repositories and imports that the
// parameters select.
func (h *handler) listImports(w http.ResponseWriter, r *http.Request) {
	selected, err := filter.Parse(r.URL.Query())
	if err != nil {
		h.writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	suspendWriteTimeout(w)
	h.Collector.Refresh(r.Context(), maxSnapshotAge)
	if r.Context().Err() != nil {
		return // the client hung up
	}
	h.answers.share(w, r, func(w http.ResponseWriter, _ *http.Request) {
		h.writeJSON(w, http.StatusOK, newListJSON(h.Collector.Snapshot(), selected))
	})
}

// targeting has next answer for the import that a request's path and query name.
func (h *handler) targeting(next func(http.ResponseWriter, *http.Request, collector.Import)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ref := lakefs.Ref{Repository: r.PathValue("repository"), Branch: r.PathValue("branch"), ID: r.PathValue("id")}
		server, err := h.Collector.ServerName(r.URL.Query().Get("server"))
		if err := cmp.Or(err, ref.Validate()); err != nil {
			h.writeError(w, http.StatusBadRequest, err.Error())
			return
		}
		next(w, r, collector.Import{Key: collector.Key{Server: server, Repository: ref.Repository, ID: ref.ID}, Branch: ref.Branch})
	}
}

// sameBranch reports whether a and b are the same, as far as both are known.
func sameBranch(a, b string) bool {
	return a == b || a == lakefs.UnknownBranch || b == lakefs.UnknownBranch
}

// getImport answers with one import, polled for this request.
func (h *handler) getImport(w http.ResponseWriter, r *http.Request, target collector.Import) {
	wait, err := parseWait(r.URL.Query().Get("wait"))
	if err != nil {
		h.writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	if wait > 0 && h.waiting.TryAcquire(1) {
		defer h.waiting.Release(1)
	} else {
		wait = 0
	}
	view, ok := h.poll(r.Context(), target, wait)
	if !ok {
		h.writeError(w, http.StatusNotFound, fmt.Sprintf("import %s of server %q is not watched", target.Ref(), target.Server))
		return
	}
	h.writeJSON(w, http.StatusOK, newImportJSON(&view))
}

// parseWait returns how long a request waits for the end of its import; 0 if it
// does not.
func parseWait(value string) (time.Duration, error) {
	wait, err := model.ParseDuration(cmp.Or(value, "0"))
	if err != nil || time.Duration(wait) > maxWait {
		return 0, fmt.Errorf("wait %q: must be a duration of at most %s, such as 30s", value, model.Duration(maxWait))
	}
	return time.Duration(wait), nil
}

// poll polls an import, and if wait is not 0, until the import has finished or
// wait is over. It returns false if the import is not watched.
func (h *handler) poll(ctx context.Context, target collector.Import, wait time.Duration) (collector.ImportView, bool) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(wait, defaultTimeout))
	defer cancel()
	// Before anything is polled for a branch that is not the import's.
	if view, ok := h.Collector.Watched(target.Key); !ok || !sameBranch(view.Branch, target.Branch) {
		return view, false
	}
	ticker := time.NewTicker(waitInterval)
	defer ticker.Stop()
	for {
		view, ok := h.Collector.Import(ctx, target.Key)
		if !ok || wait == 0 || view.Finished() {
			return view, ok
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return view, true
		}
	}
}

// importAPI is next where the import API is enabled.
func (h *handler) importAPI(next http.HandlerFunc) http.HandlerFunc {
	if h.EnableImportAPI {
		return next
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		h.writeError(w, http.StatusForbidden, "the import API is off: start the exporter with --web.enable-import-api")
	}
}

// putImport watches an import from now on.
func (h *handler) putImport(w http.ResponseWriter, r *http.Request, target collector.Import) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, config.MaxSettingsBytes))
	if err != nil {
		h.writeError(w, bodyStatus(err), "body: "+err.Error())
		return
	}
	imp, err := config.DecodeSettings(body, target.Key, target.Branch)
	if err != nil {
		h.writeError(w, http.StatusBadRequest, "body: "+err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), defaultTimeout)
	defer cancel()
	created, err := h.Collector.Register(ctx, imp)
	if err != nil {
		h.writeRefusal(w, err)
		return
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	view, ok := h.Collector.Watched(target.Key)
	if !ok { // deleted at the same time
		w.WriteHeader(status)
		return
	}
	h.writeJSON(w, status, newImportJSON(&view))
}

// bodyStatus returns the status for a body that could not be read.
func bodyStatus(err error) int {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return http.StatusRequestEntityTooLarge
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return http.StatusRequestTimeout
	}
	return http.StatusBadRequest
}

// deleteImport ends what putImport began.
func (h *handler) deleteImport(w http.ResponseWriter, r *http.Request, target collector.Import) {
	if view, ok := h.Collector.Watched(target.Key); !ok || sameBranch(view.Branch, target.Branch) {
		ctx, cancel := context.WithTimeout(r.Context(), defaultTimeout)
		defer cancel()
		if err := h.Collector.Unregister(ctx, target.Key); err != nil {
			h.writeRefusal(w, err)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// writeRefusal answers with the error of a change to what is registered.
func (h *handler) writeRefusal(w http.ResponseWriter, err error) {
	var conflict collector.ConflictError
	status := http.StatusConflict
	switch {
	case errors.Is(err, collector.ErrStorageTimeout):
		status = http.StatusServiceUnavailable
	case !errors.As(err, &conflict):
		level.Error(h.Logger).Log("msg", "Failed to change the registered imports", "err", err)
		status = http.StatusInternalServerError
	}
	h.writeError(w, status, err.Error())
}
