package lakefstest_test

import (
	"errors"
	"io"
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

func TestPlay(t *testing.T) {
	if rec, err := lakefstest.ReadRecording(strings.NewReader(recorded + "x")); err == nil {
		t.Errorf("read %v of what is no recording", rec)
	}
	rec, err := lakefstest.ReadRecording(strings.NewReader(recorded))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rec.Start(), time.Date(2026, 11, 22, 10, 50, 48, 998_000_000, time.UTC); !got.Equal(want) {
		t.Errorf("Start is %s, want %s", got, want)
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
