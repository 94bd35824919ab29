package web

import (
	"context"
	"encoding/json"
	"net/http"
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
	server, err := h.Collector.ServerName(r.URL.Query().Get("server"))
	if err != nil {
		h.writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	key := collector.Key{Server: server, Ref: lakefs.Ref{
		Repository: r.PathValue("repository"),
		Branch:     r.PathValue("branch"),
		ID:         r.PathValue("id"),
	}}
	ctx, cancel := context.WithTimeout(r.Context(), defaultTimeout)
	defer cancel()
	view, ok := h.Collector.Import(ctx, key)
	if !ok {
		h.writeError(w, http.StatusNotFound, "import "+key.String()+" of server "+server+" is not watched")
		return
	}
	h.writeJSON(w, http.StatusOK, view)
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
