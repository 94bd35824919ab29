package page

import (
	"archive/tar"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"sync"
)

var (
	//go:embed page.html
	templateText string
	//go:embed assets
	assetFiles embed.FS
)

// assetVersion returns a text that changes with the content of the assets. It
// is part of their URLs, so that browsers can cache them without asking again.
var assetVersion = sync.OnceValue(func() string {
	hash := sha256.New()
	_ = tar.NewWriter(hash).AddFS(assetFiles) // from memory
	return hex.EncodeToString(hash.Sum(nil)[:8])
})

// serveAsset answers /imports/{asset}.
func serveAsset(w http.ResponseWriter, r *http.Request) {
	// A URL of another version gets this version's file: not to be cached.
	cache := "no-cache"
	if r.URL.Query().Get("v") == assetVersion() {
		cache = "max-age=31536000, immutable"
	}
	w.Header().Set("Cache-Control", cache)
	http.ServeFileFS(w, r, assetFiles, "assets/"+r.PathValue("asset"))
}
