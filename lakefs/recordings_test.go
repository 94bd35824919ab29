package lakefs_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// TestRecordings plays what a real lakeFS answered to the client. The
// recordings are kept beside the repository, or where LAKEFS_RECORDINGS says.
func TestRecordings(t *testing.T) {
	dir := os.Getenv("LAKEFS_RECORDINGS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "recordings")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skipf("SKIPPED: no recordings of a real lakeFS (*.jsonl) in %s: set LAKEFS_RECORDINGS to their folder", dir)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			recording, err := lakefstest.ReadRecording(f)
			if err != nil {
				t.Fatal(err)
			}
			playRecording(t, recording)
		})
	}
}

func playRecording(t *testing.T, recording lakefstest.Recording) {
	server, clock := newServer(t, lakefstest.Options{})
	clock.Set(recording.Start())
	ref := server.Play(lakefs.Ref{Repository: "my-repo", Branch: "main"}, recording)
	client := newClient(t, server.URL)
	var last *lakefs.ImportStatus
	for n, recorded := range recording {
		if n+1 < len(recording) && recording[n+1].After == recorded.After {
			continue // the next line is the newest at this time
		}
		clock.Set(recording.Start().Add(recorded.After))
		status, err := client.ImportStatus(t.Context(), ref)
		if recorded.Status != 200 {
			wantRecordedError(t, err, recorded)
			continue
		}
		if err != nil {
			t.Fatalf("at %s: %v", recorded.After, err)
		}
		wantRecordedStatus(t, status, recorded)
		if last != nil {
			switch {
			case *status.IngestedObjects < *last.IngestedObjects:
				t.Errorf("at %s: the count fell from %d to %d", recorded.After, *last.IngestedObjects, *status.IngestedObjects)
			case status.UpdateTime.Before(last.UpdateTime):
				t.Errorf("at %s: the heartbeat went back from %s to %s", recorded.After, last.UpdateTime, status.UpdateTime)
			case last.Outcome() == lakefs.Succeeded && status.Outcome() != lakefs.Succeeded:
				t.Errorf("at %s: a success became outcome %d", recorded.After, status.Outcome())
			}
		}
		last = status
	}
}

// wantRecordedStatus compares a status with what the body says to somebody who
// reads it without the client.
func wantRecordedStatus(t *testing.T, got *lakefs.ImportStatus, recorded lakefstest.RecordedAnswer) {
	t.Helper()
	var body map[string]any
	decoder := json.NewDecoder(strings.NewReader(recorded.Body))
	decoder.UseNumber()
	if err := decoder.Decode(&body); err != nil {
		t.Fatal(err)
	}
	want := lakefs.Running
	if failure, ok := body["error"].(map[string]any); ok {
		want = lakefs.Failed
		if failure["message"] == lakefstest.MessageCanceled {
			want = lakefs.Canceled
		}
		if got.Error == nil || got.Error.Message != failure["message"] {
			t.Errorf("at %s: got error %v, want %v", recorded.After, got.Error, failure)
		}
	} else if body["completed"] == true {
		want = lakefs.Succeeded
		commit := body["commit"].(map[string]any)
		if got.Commit == nil || got.Commit.ID != commit["id"] || got.MetarangeID != body["metarange_id"] || got.Commit.MetarangeID != commit["meta_range_id"] {
			t.Errorf("at %s: got commit %+v, metarange %s, want %v", recorded.After, got.Commit, got.MetarangeID, commit)
		}
	}
	if got.Outcome() != want {
		t.Errorf("at %s: got outcome %d, want %d: %s", recorded.After, got.Outcome(), want, recorded.Body)
	}
	count, err := body["ingested_objects"].(json.Number).Int64()
	if err != nil || *got.IngestedObjects != count {
		t.Errorf("at %s: got %d objects, want %d, %v", recorded.After, *got.IngestedObjects, count, err)
	}
	if updated := got.UpdateTime.Format(time.RFC3339Nano); updated != body["update_time"] {
		t.Errorf("at %s: updated at %s, want %s", recorded.After, updated, body["update_time"])
	}
}

func wantRecordedError(t *testing.T, err error, recorded lakefstest.RecordedAnswer) {
	t.Helper()
	var body struct{ Message string }
	_ = json.Unmarshal([]byte(recorded.Body), &body)
	kind := lakefs.BadResponse
	switch {
	case recorded.Status == 0:
		kind = lakefs.Connection
	case recorded.Status == 404 && strings.HasSuffix(body.Message, "not found"), recorded.Status == 410:
		kind = lakefs.NotFound
	case recorded.Status == 401, recorded.Status == 403:
		kind = lakefs.Unauthorized
	case recorded.Status == 429:
		kind = lakefs.RateLimited
	case recorded.Status >= 500:
		kind = lakefs.ServerError
	case recorded.Status >= 400 && recorded.Status != 404:
		kind = lakefs.BadRequest
	}
	if e := wantError(t, err, kind); e.StatusCode != recorded.Status || e.Message != body.Message {
		t.Errorf("at %s: got %d %q, want %d %q", recorded.After, e.StatusCode, e.Message, recorded.Status, body.Message)
	}
}
