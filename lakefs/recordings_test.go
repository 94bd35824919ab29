package lakefs_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
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
	for n, recorded := range recording {
		if n+1 < len(recording) && recording[n+1].After == recorded.After {
			continue // the next line is the newest at this time
		}
		clock.Set(recording.Start().Add(recorded.After))
		status, err := client.ImportStatus(t.Context(), ref)
		var e *lakefs.Error
		switch {
		case recorded.Status == 200 && err == nil:
			wantRecordedStatus(t, status, recorded)
		case recorded.Status == 200, !errors.As(err, &e), e.StatusCode != recorded.Status, recorded.Status == 404 && e.Kind != lakefs.NotFound:
			t.Errorf("at %s: got %v, want %+v", recorded.After, err, recorded)
		}
	}
}

// wantRecordedStatus compares a status with what the body says to somebody who
// reads it without the client.
func wantRecordedStatus(t *testing.T, got *lakefs.ImportStatus, recorded lakefstest.RecordedAnswer) {
	t.Helper()
	var body struct {
		Completed       bool
		UpdateTime      time.Time `json:"update_time"`
		IngestedObjects int64     `json:"ingested_objects"`
		MetarangeID     string    `json:"metarange_id"`
		Commit          struct{ ID string }
		Error           struct{ Message string }
	}
	if err := json.Unmarshal([]byte(recorded.Body), &body); err != nil {
		t.Fatal(err)
	}
	want, message := lakefs.Running, ""
	switch {
	case body.Error.Message == lakefstest.MessageCanceled:
		want = lakefs.Canceled
	case body.Error.Message != "":
		want = lakefs.Failed
	case body.Completed:
		want = lakefs.Succeeded
	}
	if got.Error != nil {
		message = got.Error.Message
	}
	if got.Outcome() != want || message != body.Error.Message || got.CommitID != body.Commit.ID || got.MetarangeID != body.MetarangeID ||
		*got.IngestedObjects != body.IngestedObjects || !got.UpdateTime.Equal(body.UpdateTime) {
		t.Errorf("at %s: got %+v of %s", recorded.After, got, recorded.Body)
	}
}
