package lakefs_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/common/config"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

func TestLastImport(t *testing.T) {
	clock := lakefstest.NewClock(time.Date(2026, 11, 22, 10, 50, 27, 5e8, time.UTC))
	srv, err := lakefstest.New(lakefstest.Options{Clock: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	httpConfig := config.DefaultHTTPClientConfig
	httpConfig.BasicAuth = &config.BasicAuth{Username: lakefstest.AccessKeyID, Password: lakefstest.SecretAccessKey}
	client, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: srv.URL, HTTP: httpConfig, UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	srv.AddRepository("empty")
	srv.Start("my-repo", "main", lakefstest.Script{})
	srv.Start("failed", "main", lakefstest.Script{End: lakefstest.Failure})
	clock.Advance(time.Minute)

	imported := time.Date(2026, 11, 22, 10, 50, 27, 0, time.UTC)
	for _, tc := range []struct {
		name, repository, body string
		want                   time.Time
		kind                   lakefs.Kind
	}{
		{name: "imported", repository: "my-repo", want: imported},
		{name: "never imported", repository: "empty"},
		{name: "never with success", repository: "failed"},
		{name: "no such repository", repository: "nosuch", kind: lakefs.NotFound},
		{name: "no number", repository: "my-repo", body: `{".lakefs.last.import.timestamp": "yesterday"}`, kind: lakefs.BadResponse},
		{name: "no time", repository: "my-repo", body: `{".lakefs.last.import.timestamp": "0"}`, kind: lakefs.BadResponse},
		{name: "not text", repository: "my-repo", body: `{".lakefs.last.import.timestamp": 1795344655}`, kind: lakefs.BadResponse},
		{name: "not JSON", repository: "my-repo", body: "<html>", kind: lakefs.BadResponse},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.body != "" {
				defer srv.Inject(lakefstest.Everything, lakefstest.Fault{Body: tc.body})()
			}
			got, err := client.LastImport(context.Background(), tc.repository)
			var lerr *lakefs.Error
			if errors.As(err, &lerr) != (tc.kind != 0) || lerr != nil && lerr.Kind != tc.kind {
				t.Errorf("got error %v, want kind %v", err, tc.kind)
			}
			if !got.Equal(tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
