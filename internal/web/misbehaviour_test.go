package web

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// Whatever a lakeFS, or a proxy in front of it, does on the wire: a scrape is
// answered in time with status 200, the imports of other servers are right, what
// was last seen of its own is kept, and its texts are no more than texts.
func TestMisbehaviour(t *testing.T) {
	const (
		own  = `{branch="main",import_id="x",repository="my-repo",server="bad"`
		kept = "lakefs_import_ingested_objects" + own + "} 15000\n"
	)
	status := func(rest string) lakefstest.Fault {
		return lakefstest.Fault{Body: `{"update_time":"2026-11-22T10:51:27.374205733Z","ingested_objects":30000,` + rest + `}`}
	}
	failed := func(message string) string {
		return "lakefs_import_error_info" + own + `,message=` + message + `,reason="other"} 1` + "\n"
	}
	for _, tc := range []struct {
		name    string
		fault   lakefstest.Fault
		success int
		want    string // a series
	}{
		{"black hole", lakefstest.Fault{Break: lakefstest.BlackHole}, 0, kept},
		{"reset in the body", lakefstest.Fault{Break: lakefstest.Reset}, 0, kept},
		{"HTML", lakefstest.Fault{Body: "<!doctype html><title>Sign in</title>"}, 0, kept},
		{"409", lakefstest.Fault{Status: 409, Body: lakefstest.Message("conflict found")}, 0, kept},
		{"1 GiB of white space", lakefstest.Fault{Padding: 1 << 30}, 0, kept},
		{"update_time in year 1", lakefstest.Fault{Body: `{"completed":false,"ingested_objects":7,"update_time":"0001-01-01T00:00:00Z"}`}, 1, "lakefs_import_update_timestamp_seconds" + own + "} -62135596800\n"},
		{
			"lines and quotes in the message", status(`"completed":false,"error":{"message":"first\nsecond\r\n\"quoted\" \\ {x=\"y\"} 1\u0000\u2028"}`), 1,
			failed(`"first second \"quoted\" \\ {x=\"y\"} 1"`),
		},
		{"invalid UTF-8 and HTML in the message", status("\"completed\":false,\"error\":{\"message\":\"\xff\xfe<script>\"}"), 1, failed("\"\uFFFD\uFFFD<script>\"")},
		{
			"hostile IDs", status(`"completed":true,"commit":{"id":"a\n\"\tb<i>\\"},"metarange_id":"z"`), 1,
			"lakefs_import_commit_info" + own + `,commit_id="a \" b<i>\\",metarange_id="z"} 1` + "\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// An answer at the deadline has a second to arrive.
			w := newWorld(t, func(s settings) { s.TimeoutOffset = time.Second })
			good, bad := w.addLakeFS("good"), w.addLakeFS("bad")
			ref := lakefs.Ref{Repository: repo, Branch: branch, ID: "x"}
			w.watch("good", good.StartAt(ref, import50k, w.clock.Now()))
			w.watch("bad", bad.StartAt(ref, import50k, w.clock.Now()))
			w.clock.Advance(30 * time.Second)
			w.get("/metrics")
			bad.Inject(lakefstest.Everything, tc.fault)
			w.clock.Advance(30 * time.Second)
			// How fast this machine is matters to the black hole only.
			seconds := 60
			if tc.fault.Break == lakefstest.BlackHole {
				seconds = 2
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(seconds)*time.Second)
			defer cancel()
			resp, body := w.send(ctx, http.MethodGet, "/metrics", "", scrapeTimeoutHeader, strconv.Itoa(seconds))
			if resp.StatusCode != http.StatusOK || !strings.Contains(body, "\n"+tc.want) {
				t.Errorf("status %d, no %s in %s", resp.StatusCode, tc.want, body)
			}
			all := series(t, body)
			if got := all["lakefs_import_poll_success"+own+"}"]; got != float64(tc.success) {
				t.Errorf("poll_success is %g", got)
			}
			if got := all[strings.Replace("lakefs_import_ingested_objects"+own+"}", "bad", "good", 1)]; got != 30_000 {
				t.Errorf("the other server's import has %g objects", got)
			}
			// Scripts are told the same, as valid JSON.
			getJSON[list](w, "/api/v1/imports")
		})
	}
}
