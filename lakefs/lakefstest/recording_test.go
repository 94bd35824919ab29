package lakefstest_test

import (
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
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
	const good = `{"t": 5, "status": 200, "body": ""}` + "\n"
	for _, tc := range []struct{ name, in, want string }{
		{"empty", "", "recording: no lines"},
		{"blank", "\n\n", "recording: no lines"},
		{"not JSON", good + "x\n", "recording: line 2: invalid character 'x' looking for beginning of value"},
		{"wrong type", `{"t": "1"}`, "recording: line 1: json: cannot unmarshal string into Go struct field .t of type float64"},
		{"time runs back", good + "\n" + `{"t": 4.9, "status": 200}`, "recording: line 3: t is less than on the line before"},
		{"no HTTP status", `{"t": 1, "status": 1000}`, "recording: line 1: status is 1000, want 0 or 200 to 599"},
		{"interim status", `{"t": 1, "status": 100}`, "recording: line 1: status is 100, want 0 or 200 to 599"},
		{"bad date", `{"t": 1, "status": 200, "date": "today"}`, `recording: line 1: date: parsing time "today"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec, err := lakefstest.ReadRecording(strings.NewReader(tc.in))
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) || rec != nil {
				t.Errorf("got %v, %v, want %s", rec, err, tc.want)
			}
		})
	}
	broken := errors.New("broken")
	if _, err := lakefstest.ReadRecording(io.MultiReader(strings.NewReader(good), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
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
	other := lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "1"}
	if got := server.Play(other, rec); got != other {
		t.Errorf("got ref %s, want %s", got, other)
	}
	for _, step := range []struct {
		after  time.Duration
		status int
		body   string
	}{
		{0, 200, "{\"completed\":false}\n"},
		{1012 * time.Millisecond, 200, "{\"completed\":false}\n"},
		{1013 * time.Millisecond, 0, ""},
		{1999 * time.Millisecond, 0, ""},
		{2 * time.Second, 503, ""},
		{25 * time.Hour, 503, ""},
		{25*time.Hour + 500*time.Millisecond, 404, notFound},
		{1000 * time.Hour, 404, notFound},
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

// The recordings of a real lakeFS come back byte for byte.
func TestPlayRecordings(t *testing.T) {
	for _, file := range recordingFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			rec := readRecording(t, file)
			server, clock := newServer(t, lakefstest.Options{})
			clock.Set(rec.Start())
			ref := server.Play(lakefs.Ref{Repository: "my-repo", Branch: "main"}, rec)
			transport := newTransport(t)
			for n, want := range rec {
				if n+1 < len(rec) && rec[n+1].After == want.After {
					continue
				}
				clock.Set(rec.Start().Add(want.After))
				resp, err := transport.RoundTrip(newRequest(t, server, "GET "+importPath(ref), ""))
				if err != nil {
					if want.Status != 0 {
						t.Fatalf("at %s: %v", want.After, err)
					}
					continue
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != want.Status || string(body) != want.Body {
					t.Fatalf("at %s: got %d %q, %v; want %d %q", want.After, resp.StatusCode, body, err, want.Status, want.Body)
				}
				if date, err := http.ParseTime(resp.Header.Get("Date")); err != nil || !date.Equal(clock.Now().Truncate(time.Second)) {
					t.Errorf("at %s: Date is %s", want.After, resp.Header.Get("Date"))
				}
			}
		})
	}
}
