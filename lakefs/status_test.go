package lakefs_test

import (
	"encoding/json"
	"strings"
	"testing"

	"lakefs_import_exporter/lakefs"
)

// TestOutcome is about what real servers do at the end of an import, and what
// the description of the API says.
func TestOutcome(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		want       lakefs.Outcome
	}{
		{"running", `"completed":false`, lakefs.Running},
		{"succeeded", `"completed":true,"commit":{"id":"1"},"metarange_id":"2"`, lakefs.Succeeded},
		{"failed", `"completed":false,"error":{"message":"import error: x"}`, lakefs.Failed},
		{"canceled", `"completed":false,"error":{"message":"import error: Canceled"}`, lakefs.Canceled},
		{"failed with a context", `"completed":false,"error":{"message":"import error: error on ingest: context canceled"}`, lakefs.Failed},
		{"error without a message", `"completed":false,"error":{}`, lakefs.Failed},
		{"fields of other versions", `"completed":false,"import_branch":"x","phase":{"name":[1,"}"]}`, lakefs.Running},
		{"keys in another case", `"completed":false,"Completed":true,"ERROR":{"message":"x"},"Commit":{"id":"1"}`, lakefs.Running},
		{"keys of inner objects", `"phase":{"completed":true},"completed":false`, lakefs.Running},
		{"escaped key", `"\u0063ompleted":true`, lakefs.Succeeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var status lakefs.ImportStatus
			if err := json.Unmarshal([]byte(`{ "update_time" : "2026-11-22T10:50:49Z" , `+tc.body+"\n}"), &status); err != nil {
				t.Fatal(err)
			}
			if got := status.Outcome(); got != tc.want || got.Finished() != (tc.want != lakefs.Running) {
				t.Errorf("got outcome %d, finished %t, want %d", got, got.Finished(), tc.want)
			}
		})
	}
}

func TestUnmarshalStatus(t *testing.T) {
	count := func(v string) string { return strings.Replace(running, ":5", ":"+v, 1) }
	with := func(more string) string { return strings.Replace(running, "{", "{"+more+",", 1) }
	for _, tc := range []struct{ name, body, want string }{
		{"null", "null", "completed is missing"},
		{"array", "[]", "not an object"},
		{"message", `{"message":"ok"}`, "completed is missing"},
		{"completed twice", with(`"completed":true`), "an object with the same key twice"},
		{"completed a string", `{"completed":"false"}`, "/completed has a value of another type"},
		{"update_time not a time", `{"completed":false,"update_time":"yesterday"}`, "/update_time has a value of another type"},
		{"update_time after year 9999", `{"completed":false,"update_time":"9999-12-31T23:59:59-01:00"}`, "update_time is out of range"},
		{"no completed", `{"update_time":"2026-11-22T10:50:49Z"}`, "completed is missing"},
		{"count a string", count(`"5"`), "/ingested_objects has a value of another type"},
		{"count below zero", count("-5"), "ingested_objects is negative"},
		{"error a string", with(`"error":"x"`), "/error has a value of another type"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var status lakefs.ImportStatus
			if err := status.UnmarshalJSON([]byte(tc.body)); errorText(err) != tc.want || status != (lakefs.ImportStatus{}) {
				t.Errorf("got %+v, %v, want %s", status, err, tc.want)
			}
		})
	}
}

// Whatever a server sends, a status that is accepted makes sense, and says what
// somebody else reads in it.
func FuzzImportStatus(f *testing.F) {
	for _, body := range []string{
		running,
		`{"completed":true,"commit":{"id":"1","parents":["2"],"metadata":{"a":"b"}},"metarange_id":"3","ingested_objects":1,"update_time":"2026-11-22T10:50:49+01:00"}`,
		`{"completed":false,"error":{"message":"import error: \"Canceled"},"update_time":"0000-01-01T00:00:00+23:59"}`,
		`{"completed":false,"Completed":true,"update_time":"9999-12-31T23:59:59-23:59"}`,
		`{"completed":null,"update_time":""}`, `[]`, `null`, ``, `{}`, `{"a":{"}":"\\"}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var status lakefs.ImportStatus
		if status.UnmarshalJSON(body) != nil {
			return
		}
		var fields map[string]any
		err := json.Unmarshal(body, &fields)
		if err != nil || fields["completed"] != status.Completed || (fields["error"] != nil) != (status.Error != nil) {
			t.Errorf("got %+v of %s: %v", status, body, err)
		}
		if _, err := json.Marshal(status.UpdateTime); err != nil || status.IngestedObjects != nil && *status.IngestedObjects < 0 {
			t.Errorf("got %+v of %s: %v", status, body, err)
		}
	})
}

// FuzzLastImport is as FuzzImportStatus, with the metadata of a repository.
func FuzzLastImport(f *testing.F) {
	for _, body := range []string{
		`{".lakefs.last.import.timestamp":"1795344655"}`, `{".lakefs.last.import.timestamp":"-1","a":"b"}`,
		`{".lakefs.last.import.timestamp":"99999999999999"}`, `{".Lakefs.last.import.timestamp":"1"}`, `{}`, `null`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var last lakefs.LastImport
		if last.UnmarshalJSON(body) != nil {
			return
		}
		var fields map[string]string
		err := json.Unmarshal(body, &fields)
		if _, merr := json.Marshal(last.At); err != nil || merr != nil || (fields[".lakefs.last.import.timestamp"] == "") != last.At.IsZero() {
			t.Errorf("got %+v of %s: %v, %v", last, body, err, merr)
		}
	})
}
