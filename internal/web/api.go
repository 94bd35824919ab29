package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/go-kit/log/level"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

// maxSnapshotAge is how old the newest round may be for a person or script
// that looks: any number of them cost lakeFS one round in that time.
const maxSnapshotAge = 5 * time.Second

// listImports answers with all servers and imports.
func (h *handler) listImports(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), defaultTimeout)
	defer cancel()
	snapshot := h.Collector.Recent(ctx, maxSnapshotAge)
	h.writeJSON(w, http.StatusOK, struct {
		Servers []collector.ServerView `json:"servers"`
		Imports []collector.ImportView `json:"imports"`
	}{snapshot.Servers, snapshot.Imports})
}

// getImport answers with one import, polled for this request.
func (h *handler) getImport(w http.ResponseWriter, r *http.Request) {
	key, ok := h.importKey(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), defaultTimeout)
	defer cancel()
	view, ok := h.Collector.Import(ctx, key)
	if !ok {
		h.writeError(w, http.StatusNotFound, fmt.Sprintf("import %s of server %q is not watched", key.Ref, key.Server))
		return
	}
	h.writeJSON(w, http.StatusOK, view)
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
func (h *handler) putImport(w http.ResponseWriter, r *http.Request) {
	key, ok := h.importKey(w, r)
	if !ok {
		return
	}
	settings, err := readSettings(http.MaxBytesReader(w, r.Body, maxSettingsBytes))
	if err != nil {
		status, message := http.StatusBadRequest, err.Error()
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			status = http.StatusRequestEntityTooLarge
		case errors.Is(err, os.ErrDeadlineExceeded):
			status, message = http.StatusRequestTimeout, "took too long to arrive"
		}
		h.writeError(w, status, "body: "+message)
		return
	}
	imp, err := settings.of(key)
	if err != nil {
		h.writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	created, err := h.Collector.Register(imp)
	if err != nil {
		h.writeRefusal(w, err)
		return
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	if view, ok := h.Collector.Watched(key); ok {
		h.writeJSON(w, status, view)
	}
}

// deleteImport ends what putImport began.
func (h *handler) deleteImport(w http.ResponseWriter, r *http.Request) {
	key, ok := h.importKey(w, r)
	if !ok {
		return
	}
	if err := h.Collector.Unregister(key); err != nil {
		h.writeRefusal(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// importKey returns the import that a request's path and query name. If they
// name none, it answers the request and returns false.
func (h *handler) importKey(w http.ResponseWriter, r *http.Request) (collector.Key, bool) {
	ref := lakefs.Ref{Repository: r.PathValue("repository"), Branch: r.PathValue("branch"), ID: r.PathValue("id")}
	server, err := h.Collector.ServerName(r.URL.Query().Get("server"))
	if err == nil {
		err = ref.Validate()
	}
	if err != nil {
		h.writeError(w, http.StatusBadRequest, err.Error())
		return collector.Key{}, false
	}
	return collector.Key{Server: server, Ref: ref}, true
}

// writeRefusal answers with the error of a change to what is registered.
func (h *handler) writeRefusal(w http.ResponseWriter, err error) {
	var refused *collector.RefusedError
	switch {
	case !errors.As(err, &refused):
		level.Error(h.Logger).Log("msg", "A change of the registered imports failed", "err", err)
		h.writeError(w, http.StatusInternalServerError, err.Error())
	case refused.Refusal == collector.Conflict:
		h.writeError(w, http.StatusConflict, err.Error())
	default:
		h.writeError(w, http.StatusBadRequest, err.Error())
	}
}

// writeError answers with a message in the form that lakeFS's own API has.
func (h *handler) writeError(w http.ResponseWriter, status int, message string) {
	h.writeJSON(w, status, struct {
		Message string `json:"message"`
	}{message})
}

func (h *handler) writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		level.Error(h.Logger).Log("msg", "Encoding an answer failed", "err", err)
		http.Error(w, "The answer could not be encoded.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
