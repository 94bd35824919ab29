package lakefstest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/config"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

func Example() {
	clock := lakefstest.NewClock(time.Date(2026, 11, 22, 10, 50, 0, 0, time.UTC))
	server, err := lakefstest.New(lakefstest.Options{Clock: clock.Now})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	settings := config.DefaultHTTPClientConfig
	settings.BasicAuth = &config.BasicAuth{
		Username: lakefstest.AccessKeyID,
		Password: lakefstest.SecretAccessKey,
	}
	client, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: server.URL, HTTP: settings})
	if err != nil {
		fmt.Println(err)
		return
	}

	ref := server.Start("my-repo", "main", lakefstest.Script{
		Objects:      120_000,
		Rate:         1_000,
		Queued:       30 * time.Second,
		End:          lakefstest.Crash,
		EndAtObjects: 42_500,
	})
	ask := func() {
		status, err := client.ImportStatus(context.Background(), ref)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(*status.IngestedObjects, "objects, heartbeat", clock.Now().Sub(status.UpdateTime), "ago")
	}
	ask()
	clock.Advance(time.Minute)
	ask()
	clock.Advance(time.Hour)
	ask()

	remove := server.Inject(lakefstest.StatusOf(ref), lakefstest.Fault{
		Status: 503,
		Body:   lakefstest.Message("Throughput exceeded. Slow down and retry"),
	})
	ask()
	remove()

	server.Forget(ref)
	ask()

	fmt.Println("asked", server.StatusRequests(ref), "times")
	// Output:
	// 0 objects, heartbeat 0s ago
	// 30000 objects, heartbeat 0s ago
	// 42000 objects, heartbeat 59m48s ago
	// HTTP status 503: Throughput exceeded. Slow down and retry
	// HTTP status 404: not found
	// asked 5 times
}
