package lakefstest_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// TestScripts looks at what a script shows over time. A status is written as
// "count@age-of-update", with the error's message after it, or "done".
func TestScripts(t *testing.T) {
	const ms = time.Millisecond
	type steps map[time.Duration]string // by time since the start
	for _, tc := range []struct {
		name   string
		script lakefstest.Script
		steps  steps
	}{
		{
			"empty", lakefstest.Script{},
			steps{0: "0@0s", 999 * ms: "0@999ms", 1000 * ms: "0@0s done", 1500 * ms: "0@500ms done", time.Hour: "0@59m59s done"},
		},
		{
			"count and heartbeat move together, once a second",
			lakefstest.Script{Objects: 25, Rate: 10},
			steps{0: "0@0s", 999 * ms: "0@999ms", 1000 * ms: "10@0s", 1999 * ms: "10@999ms", 2000 * ms: "20@0s", 2999 * ms: "20@999ms", 3000 * ms: "25@0s done", 4000 * ms: "25@1s done"},
		},
		{
			"queued and committing are rests with a heartbeat",
			lakefstest.Script{Objects: 20, Rate: 10, Queued: 91 * time.Second, Committing: 30 * time.Minute},
			steps{90 * time.Second: "0@0s", 91500 * ms: "0@500ms", 92 * time.Second: "10@0s", 93 * time.Second: "20@0s", 1800 * time.Second: "20@0s", 1893 * time.Second: "20@0s done", 1894 * time.Second: "20@1s done"},
		},
		{
			"failure after a time",
			lakefstest.Script{Objects: 100, Rate: 10, End: lakefstest.Failure, EndAfter: 2500 * ms, Message: lakefstest.MessageDirtyBranch},
			steps{2500 * ms: "20@500ms", 3000 * ms: "25@0s " + lakefstest.MessageDirtyBranch, 4000 * ms: "25@1s " + lakefstest.MessageDirtyBranch},
		},
		{
			"cancel shows at once, with the count of the last heartbeat",
			lakefstest.Script{Objects: 100, Rate: 10, End: lakefstest.Cancel, EndAfter: 2500 * ms},
			steps{2499 * ms: "20@499ms", 2500 * ms: "20@0s " + lakefstest.MessageCanceled, 3000 * ms: "20@500ms " + lakefstest.MessageCanceled},
		},
		{
			"crash freezes the heartbeat",
			lakefstest.Script{Objects: 100, Rate: 10, End: lakefstest.Crash, EndAfter: 2500 * ms},
			steps{2000 * ms: "20@0s", 2500 * ms: "20@500ms", 3000 * ms: "20@1s", time.Hour: "20@59m58s"},
		},
		{
			"hang at a count, with a heartbeat",
			lakefstest.Script{Objects: 100, Rate: 10, End: lakefstest.Hang, EndAtObjects: 17},
			steps{1000 * ms: "10@0s", 2000 * ms: "17@0s", time.Hour + 300*ms: "17@300ms"},
		},
		{
			"hang in the commit", lakefstest.Script{Objects: 10, Rate: 10, End: lakefstest.Hang},
			steps{time.Hour: "10@0s"},
		},
		{
			"longer than time itself", lakefstest.Script{Objects: math.MaxInt64, Rate: 1e-9, Queued: time.Second, Committing: math.MaxInt64},
			steps{time.Hour: "0@0s"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, clock := newServer(t, lakefstest.Options{})
			ref := server.Start("my-repo", "main", tc.script)
			for at, want := range tc.steps { // in any order: the clock may jump
				clock.Set(start.Add(at))
				if got := summary(t, statusOf(t, server, ref), clock.Now()); got != want {
					t.Errorf("after %s: got %q, want %q", at, got, want)
				}
			}
		})
	}
}

// summary writes a status as TestScripts does.
func summary(t *testing.T, body string, now time.Time) string {
	t.Helper()
	var status lakefs.ImportStatus
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	s := fmt.Sprintf("%d@%s", *status.IngestedObjects, now.Sub(status.UpdateTime))
	if status.Completed {
		s += " done"
	}
	if status.Error != nil {
		s += " " + status.Error.Message
	}
	return s
}
