// Command standin is the lakeFS of compose.yml in tests: it answers on port 8000, and
// makes repositories as asked. It takes imports from folders of compose.yml alone.
package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"

	"lakefs_import_exporter/lakefs/lakefstest"
)

func main() {
	server, err := lakefstest.New(lakefstest.Options{AccessKeyID: os.Args[1], SecretAccessKey: os.Args[2], Script: lakefstest.Script{Objects: 50_000, Rate: 50_000}})
	if err != nil {
		log.Fatal(err)
	}
	endpoint, err := url.Parse(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(endpoint)
	http.Handle("/", proxy)
	http.HandleFunc("POST /api/v1/repositories", func(http.ResponseWriter, *http.Request) { server.AddRepository("my-repo") })
	http.HandleFunc("POST /api/v1/repositories/my-repo/branches/main/import", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		from := regexp.MustCompile(`"path": "local:///source/(\w+)/", "destination": "(\w+)/"`).FindSubmatch(body)
		if err != nil || from == nil || !bytes.Equal(from[1], from[2]) {
			http.Error(w, "imports from elsewhere", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	})
	log.Fatal(http.ListenAndServe(":8000", nil))
}
