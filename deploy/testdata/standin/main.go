// Command standin is the lakeFS of compose.yml in tests: it answers on port 8000, and
// makes repositories as asked.
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"

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
	http.Handle("/", httputil.NewSingleHostReverseProxy(endpoint))
	http.HandleFunc("POST /api/v1/repositories", func(http.ResponseWriter, *http.Request) { server.AddRepository("my-repo") })
	log.Fatal(http.ListenAndServe(":8000", nil))
}
