package lakefs_test

import (
	"encoding/json"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// TestOutcome is about what real servers do at the end of an import, and what
// the description of the API says.
func TestOutcome(t *testing.T) {
	failure := func(message string) lakefstest.Script {
		return lakefstest.Script{End: lakefstest.Failure, Message: message}
	}
	for _, tc := range []struct {
		name   string
		script lakefstest.Script
		body   string // in the place of the script
		want   lakefs.Outcome
	}{
		{name: "running", script: lakefstest.Script{Objects: 10, End: lakefstest.Hang}, want: lakefs.Running},
		{name: "orphan", script: lakefstest.Script{Objects: 10, End: lakefstest.Crash}, want: lakefs.Running},
		{name: "succeeded", script: lakefstest.Script{Objects: 10}, want: lakefs.Succeeded},
		{name: "failed", script: lakefstest.Script{End: lakefstest.Failure}, want: lakefs.Failed},
		{name: "canceled", script: lakefstest.Script{End: lakefstest.Cancel}, want: lakefs.Canceled},
		{name: "failed with a context", script: failure("import error: error on ingest: context canceled"), want: lakefs.Failed},
		{name: "failed with a context and more", script: failure("import error: Canceled: retry"), want: lakefs.Failed},
		{name: "failed with a similar word", script: failure("import error: NotCanceled"), want: lakefs.Failed},
		{name: "failed in other case", script: failure("import error: canceled"), want: lakefs.Failed},
		{name: "canceled without a prefix", script: failure("Canceled"), want: lakefs.Canceled},
		{name: "canceled with more before", script: failure("import error: merge import: Canceled"), want: lakefs.Canceled},

		{name: "documented failure", body: `"completed":true,"error":{"message":"import error: x"}`, want: lakefs.Failed},
		{name: "documented cancel", body: `"completed":true,"error":{"message":"import error: Canceled"}`, want: lakefs.Canceled},
		{name: "commit and cancel", body: `"completed":true,"commit":{"id":"1"},"error":{"message":"import error: Canceled"}`, want: lakefs.Canceled},
		{name: "error without a message", body: `"completed":false,"error":{}`, want: lakefs.Failed},
		{name: "error null", body: `"completed":false,"error":null`, want: lakefs.Running},
		{name: "success without a commit", body: `"completed":true`, want: lakefs.Succeeded},
		{name: "fields of other versions", body: `"completed":false,"import_branch":"x","phase":{"name":1}`, want: lakefs.Running},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, clock := newServer(t, lakefstest.Options{})
			ref := server.Start("my-repo", "main", tc.script)
			clock.Advance(time.Hour)
			if tc.body != "" {
				server.Inject(lakefstest.Everything, lakefstest.Fault{Body: `{"update_time":"2026-11-22T10:50:49Z",` + tc.body + `}`})
			}
			status := wantStatus(t, newClient(t, server.URL), ref)
			if got := status.Outcome(); got != tc.want || got.Finished() != (tc.want != lakefs.Running) {
				t.Errorf("got outcome %d, finished %t, want %d", got, got.Finished(), tc.want)
			}
			if (status.Error != nil) != (tc.want == lakefs.Failed || tc.want == lakefs.Canceled) {
				t.Errorf("got error %v with outcome %d", status.Error, tc.want)
			}
		})
	}
}

// Whatever a server sends, a status that is accepted makes sense.
func FuzzImportStatus(f *testing.F) {
	for _, body := range []string{
		`{"completed":false,"ingested_objects":0,"update_time":"2026-11-22T10:50:49.297120488Z"}`,
		`{"completed":true,"commit":{"id":"1","parents":["2"],"metadata":{"a":"b"}},"metarange_id":"3","ingested_objects":1,"update_time":"2026-11-22T10:50:49+01:00"}`,
		`{"completed":false,"error":{"message":"import error: Canceled"},"update_time":"0000-01-01T00:00:00+23:59"}`,
		`{"completed":false,"update_time":"9999-12-31T23:59:59-23:59"}`,
		`{"completed":null,"update_time":""}`, `[]`, `null`, ``,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var status lakefs.ImportStatus
		if err := json.Unmarshal(body, &status); err != nil {
			return
		}
		if _, err := json.Marshal(status.UpdateTime); err != nil {
			t.Errorf("update time: %v", err)
		}
		if status.IngestedObjects != nil && *status.IngestedObjects < 0 {
			t.Errorf("%d objects", *status.IngestedObjects)
		}
		if o := status.Outcome(); o > lakefs.Canceled || (o == lakefs.Succeeded) != (status.Completed && status.Error == nil) {
			t.Errorf("outcome %d of %s", o, body)
		}
	})
}
