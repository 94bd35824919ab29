package lakefs_test

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/common/config"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// Headers whose values stand in the config are no secret: blotted out, they
// would take ordinary words out of messages.
func TestPublicHeadersAreNotRedacted(t *testing.T) {
	srv, err := lakefstest.New(lakefstest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	srv.Inject(lakefstest.Statuses, lakefstest.Fault{Status: 400, Body: lakefstest.Message("/data/nosuch with hunter2")})
	httpConfig := config.DefaultHTTPClientConfig
	httpConfig.HTTPHeaders = &config.Headers{Headers: map[string]config.Header{
		"x-tenant": {Values: []string{"data"}},
		"x-key":    {Secrets: []config.Secret{"hunter2"}},
	}}
	client, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: srv.URL, HTTP: httpConfig, UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	_, err = client.ImportStatus(context.Background(), lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "x"})
	if err == nil || !strings.HasSuffix(err.Error(), "/data/nosuch with <secret>") {
		t.Errorf("got %v", err)
	}
}
