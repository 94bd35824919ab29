package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"time"
)

//go:embed page
var pageFiles embed.FS

// pageAsset is a file that the status page loads.
type pageAsset struct {
	body        []byte
	contentType string
	hash        string
}

// pageAssets are the files that the status page loads, by name.
type pageAssets map[string]pageAsset

func loadPageAssets() (pageAssets, error) {
	assets := pageAssets{}
	for name, contentType := range map[string]string{
		"page.css": "text/css; charset=utf-8",
		"page.js":  "text/javascript; charset=utf-8",
		"icon.svg": "image/svg+xml",
	} {
		body, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			return nil, fmt.Errorf("asset %s: %w", name, err)
		}
		sum := sha256.Sum256(body)
		assets[name] = pageAsset{body, contentType, hex.EncodeToString(sum[:8])}
	}
	return assets, nil
}

func loadPageTemplate() (*template.Template, error) {
	return template.ParseFS(pageFiles, "page/page.html")
}

// url returns the URL of an asset, relative to the status page. It changes with
// the content, so that browsers can keep what they have for ever.
func (a pageAssets) url(name string) string {
	return pageURL + "/" + name + "?v=" + a[name].hash
}

// ServeHTTP implements http.Handler for /imports/{asset}.
func (a pageAssets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asset, ok := a[r.PathValue("asset")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", asset.contentType)
	h.Set("ETag", `"`+asset.hash+`"`)
	// Of another version of the exporter, only the newest will do.
	h.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == asset.hash {
		h.Set("Cache-Control", "max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(asset.body))
}
