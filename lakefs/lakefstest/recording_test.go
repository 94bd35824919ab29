package lakefstest_test

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// recorded is a timeline with all that may happen in one: a restart of the
// server, an answer of a proxy, an expiry.
const recorded = `{"t": 0.002, "status": 200, "date": "Sun, 22 Nov 2026 10:50:49 GMT", "body": "{\"completed\":false}\n"}

{"t": 1.013, "status": 0, "date": "", "body": ""}
{"t": 2, "status": 502, "date": "Sun, 22 Nov 2026 10:50:51 GMT", "body": "<html>\u00fc</html>"}
{"t": 2, "status": 503, "body": ""}
{"t": 90000.5, "status": 404, "date": "Mon, 23 Nov 2026 11:50:49 GMT", "body": "{\"message\":\"not found\"}\n", "more": 1}
`

func TestReadRecording(t *testing.T) {
	got, err := lakefstest.ReadRecording(strings.NewReader(recorded))
	if err != nil {
		t.Fatal(err)
	}
	date := time.Date(2026, 11, 22, 10, 50, 49, 0, time.UTC)
	want := lakefstest.Recording{
		{After: 2 * time.Millisecond, Status: 200, Date: date, Body: "{\"completed\":false}\n"},
		{After: 1013 * time.Millisecond},
		{After: 2 * time.Second, Status: 502, Date: date.Add(2 * time.Second), Body: "<html>ü</html>"},
		{After: 2 * time.Second, Status: 503},
		{After: 25*time.Hour + 500*time.Millisecond, Status: 404, Date: date.Add(25 * time.Hour), Body: "{\"message\":\"not found\"}\n"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, want := got.Start(), date.Add(-2*time.Millisecond); !got.Equal(want) {
		t.Errorf("Start is %s, want %s", got, want)
	}
	if got := (lakefstest.Recording{{Status: 200}}).Start(); !got.IsZero() {
		t.Errorf("Start without a Date is %s", got)
	}
}

func TestReadRecordingErrors(t *testing.T) {
	for in, want := range map[string]string{
		"\n\n":                             "recording: no lines",
		`{"t": 5}` + "\nx":                 "recording: line 2: invalid character 'x' looking for beginning of value",
		`{"t": 5}` + "\n\n" + `{"t": 4.9}`: "recording: line 3: t is less than on the line before",
	} {
		if rec, err := lakefstest.ReadRecording(strings.NewReader(in)); err == nil || err.Error() != want || rec != nil {
			t.Errorf("got %v, %v, want %s", rec, err, want)
		}
	}
}

func TestPlay(t *testing.T) {
	rec, err := lakefstest.ReadRecording(strings.NewReader(recorded))
	if err != nil {
		t.Fatal(err)
	}
	server, clock := newServer(t, lakefstest.Options{})
	ref := server.Play(lakefs.Ref{Repository: "my-repo", Branch: "main"}, rec)
	if at, ok := lakefs.StartTime(ref.ID); !ok || !at.Equal(start.Truncate(time.Second)) {
		t.Errorf("start time of %s: %s, %t", ref, at, ok)
	}
	for _, step := range []struct {
		after  time.Duration
		status int
		body   string
	}{
		{0, 200, "{\"completed\":false}\n"},
		{1013 * time.Millisecond, 0, ""},
		{2 * time.Second, 503, ""},
		{25*time.Hour + 500*time.Millisecond, 404, notFound},
		{500 * time.Millisecond, 200, "{\"completed\":false}\n"},
	} {
		clock.Set(start.Add(step.after))
		if step.status == 0 {
			resp, err := newTransport(t).RoundTrip(newRequest(t, server, "GET "+importPath(ref), ""))
			if err == nil {
				resp.Body.Close()
			}
			if !errors.Is(err, io.EOF) {
				t.Errorf("after %s: got %v, want a cut connection", step.after, err)
			}
			continue
		}
		if status, body := do(t, server, "GET "+importPath(ref), ""); status != step.status || body != step.body {
			t.Errorf("after %s: got %d %q, want %d %q", step.after, status, body, step.status, step.body)
		}
	}
}
