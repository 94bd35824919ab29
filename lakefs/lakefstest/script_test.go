package lakefstest_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
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
			"all at once", lakefstest.Script{Objects: 25, Committing: 3 * time.Second},
			steps{0: "0@0s", 1000 * ms: "25@0s", 2500 * ms: "25@500ms", 3000 * ms: "25@0s done"},
		},
		{
			"queued and committing are rests with a heartbeat",
			lakefstest.Script{Objects: 20, Rate: 10, Queued: 91 * time.Second, Committing: 30 * time.Minute},
			steps{90 * time.Second: "0@0s", 91500 * ms: "0@500ms", 92 * time.Second: "10@0s", 93 * time.Second: "20@0s", 1800 * time.Second: "20@0s", 1893 * time.Second: "20@0s done", 1894 * time.Second: "20@1s done"},
		},
		{
			"a rate below one", lakefstest.Script{Objects: 2, Rate: 0.1},
			steps{9 * time.Second: "0@0s", 10 * time.Second: "1@0s", 19 * time.Second: "1@0s", 20 * time.Second: "2@0s done"},
		},
		{
			"a rate that is no binary fraction", lakefstest.Script{Objects: 100, Rate: 0.3},
			steps{10 * time.Second: "3@0s", 20 * time.Second: "6@0s", 30 * time.Second: "9@0s"},
		},
		{
			"failure at once", lakefstest.Script{End: lakefstest.Failure},
			steps{500 * ms: "0@500ms", 1000 * ms: "0@0s " + lakefstest.MessageNoSuchFile, time.Hour: "0@59m59s " + lakefstest.MessageNoSuchFile},
		},
		{
			"failure after a time",
			lakefstest.Script{Objects: 100, Rate: 10, End: lakefstest.Failure, EndAfter: 2500 * ms, Message: lakefstest.MessageDirtyBranch},
			steps{2500 * ms: "20@500ms", 3000 * ms: "25@0s " + lakefstest.MessageDirtyBranch, 4000 * ms: "25@1s " + lakefstest.MessageDirtyBranch},
		},
		{
			"failure at a count",
			lakefstest.Script{Objects: 100, Rate: 10, End: lakefstest.Failure, EndAtObjects: 17, Message: "import error: x"},
			steps{1000 * ms: "10@0s", 2000 * ms: "17@0s import error: x", 3000 * ms: "17@1s import error: x"},
		},
		{
			"failure in the place of the success",
			lakefstest.Script{Objects: 10, Rate: 10, Committing: 5 * time.Second, End: lakefstest.Failure, Message: "import error: x"},
			steps{1000 * ms: "10@0s", 5000 * ms: "10@0s", 6000 * ms: "10@0s import error: x"},
		},
		{
			"failure long after the last object",
			lakefstest.Script{Objects: 10, Rate: 10, End: lakefstest.Failure, EndAfter: time.Minute, Message: "import error: x"},
			steps{1000 * ms: "10@0s", 59 * time.Second: "10@0s", 60 * time.Second: "10@0s import error: x"},
		},
		{
			"cancel shows at once, with the count of the last heartbeat",
			lakefstest.Script{Objects: 100, Rate: 10, End: lakefstest.Cancel, EndAfter: 2500 * ms},
			steps{2499 * ms: "20@499ms", 2500 * ms: "20@0s " + lakefstest.MessageCanceled, 3000 * ms: "20@500ms " + lakefstest.MessageCanceled},
		},
		{
			"cancel at a count",
			lakefstest.Script{Objects: 100, Rate: 10, End: lakefstest.Cancel, EndAtObjects: 30},
			steps{2999 * ms: "20@999ms", 3000 * ms: "30@0s " + lakefstest.MessageCanceled},
		},
		{
			"crash freezes the heartbeat",
			lakefstest.Script{Objects: 100, Rate: 10, End: lakefstest.Crash, EndAfter: 2500 * ms},
			steps{2000 * ms: "20@0s", 2500 * ms: "20@500ms", 3000 * ms: "20@1s", time.Hour: "20@59m58s"},
		},
		{
			"crash at a count",
			lakefstest.Script{Objects: 100, Rate: 10, End: lakefstest.Crash, EndAtObjects: 35},
			steps{3500 * ms: "30@500ms", time.Hour: "30@59m57s"},
		},
		{
			"crash before the first heartbeat",
			lakefstest.Script{Objects: 100, Rate: 10, End: lakefstest.Crash, EndAfter: 1},
			steps{0: "0@0s", time.Hour: "0@1h0m0s"},
		},
		{
			"hang at a count, with a heartbeat",
			lakefstest.Script{Objects: 100, Rate: 10, End: lakefstest.Hang, EndAtObjects: 17},
			steps{1000 * ms: "10@0s", 2000 * ms: "17@0s", time.Hour + 300*ms: "17@300ms"},
		},
		{
			"hang after a time",
			lakefstest.Script{Objects: 100, Rate: 10, End: lakefstest.Hang, EndAfter: 1500 * ms},
			steps{1000 * ms: "10@0s", 2000 * ms: "15@0s", time.Hour: "15@0s"},
		},
		{
			"hang before the first object",
			lakefstest.Script{Objects: 100, Rate: 10, Queued: time.Minute, End: lakefstest.Hang, EndAfter: 1},
			steps{time.Hour: "0@0s"},
		},
		{
			"hang in the commit", lakefstest.Script{Objects: 10, Rate: 10, End: lakefstest.Hang},
			steps{time.Hour: "10@0s"},
		},
		{
			"no count beyond the objects", lakefstest.Script{Objects: 10, Rate: 10, End: lakefstest.Hang, EndAtObjects: 20},
			steps{time.Hour: "10@0s"},
		},
		{
			"longer than time itself", lakefstest.Script{Objects: math.MaxInt64, Rate: 1e-9, Queued: time.Second, Committing: math.MaxInt64},
			steps{time.Hour: "0@0s"},
		},
		{
			"a commit longer than time itself", lakefstest.Script{Objects: 10, Rate: 10, Committing: math.MaxInt64},
			steps{time.Hour: "10@0s"},
		},
		{
			"before the start", lakefstest.Script{Objects: 10, Rate: 10},
			steps{-time.Minute: "0@-1m0s"},
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

// Whatever the script: the count and the heartbeat never fall, the count never
// exceeds the objects, and a final status never changes.
func TestScriptsKeepThePromisesOfLakeFS(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	server, clock := newServer(t, lakefstest.Options{})
	for range 100 {
		clock.Set(start)
		script := lakefstest.Script{
			Objects:    random.Int64N(1000),
			Rate:       100 * random.Float64(),
			Queued:     time.Duration(random.Int64N(int64(5 * time.Second))),
			Committing: time.Duration(random.Int64N(int64(5 * time.Second))),
			End:        lakefstest.End(random.IntN(5)),
		}
		switch random.IntN(3) {
		case 0:
			script.EndAfter = time.Duration(random.Int64N(int64(20 * time.Second)))
		case 1:
			script.EndAtObjects = random.Int64N(1000)
		}
		ref := server.Start("my-repo", "main", script)
		var last lakefs.ImportStatus
		for range 10 {
			body := statusOf(t, server, ref)
			var status lakefs.ImportStatus
			if err := json.Unmarshal([]byte(body), &status); err != nil {
				t.Fatal(err)
			}
			if last.IngestedObjects != nil {
				switch {
				case *status.IngestedObjects < *last.IngestedObjects, status.UpdateTime.Before(last.UpdateTime):
					t.Fatalf("%+v fell from %+v to %s", script, last, body)
				case last.Outcome().Finished() && !status.UpdateTime.Equal(last.UpdateTime):
					t.Fatalf("%+v changed after its end to %s", script, body)
				}
			}
			if *status.IngestedObjects > script.Objects {
				t.Fatalf("%+v: too many objects: %s", script, body)
			}
			last = status
			clock.Advance(time.Duration(random.Int64N(int64(5 * time.Second))))
		}
	}
}

// The bytes of statuses are those of recordings, so they are compared whole.
func TestStatusBodies(t *testing.T) {
	server, clock := newServer(t, lakefstest.Options{})
	id := func(name string) lakefs.Ref { return lakefs.Ref{Repository: "my-repo", Branch: "main", ID: name} }
	server.StartAt(id("a"), lakefstest.Script{Objects: 20, Rate: 10, CommitMessage: "Import <small>/"}, start)
	server.StartAt(id("b"), lakefstest.Script{End: lakefstest.Failure}, start)
	server.StartAt(id("c"), lakefstest.Script{}, start.Add(-start.Sub(start.Truncate(time.Second))))

	check := func(name, want string) {
		t.Helper()
		if got := statusOf(t, server, id(name)); got != want+"\n" {
			t.Errorf("got  %swant %s", got, want)
		}
	}
	check("a", `{"completed":false,"ingested_objects":0,"update_time":"2026-11-22T10:50:49.297120488Z"}`)
	clock.Advance(time.Second)
	check("a", `{"completed":false,"ingested_objects":10,"update_time":"2026-11-22T10:50:50.297120488Z"}`)
	check("b", `{"completed":false,"error":{"message":"import error: error on ingest: lstat /data/nosuch: no such file or directory"},"ingested_objects":0,"update_time":"2026-11-22T10:50:50.297120488Z"}`)
	clock.Advance(time.Second)
	check("a", `{"commit":{"committer":"admin","creation_date":1795344651,"generation":2,`+
		`"id":"6a428f7db79583d6a1271691be00a61dd80ff8840f1e12037109a1aa1cb70449","message":"Import \u003csmall\u003e/",`+
		`"meta_range_id":"34d94e5f667401287b7e6ab12d01776bf019bcaf995178b2645a12ef04b70053","metadata":{".lakefs.merge.strategy":"source-wins"},"parents":["b72b1e85458a7f054664b5d2cb36de2555035cffa59dd5e4f0a36e58b41ce262"],"version":1},`+
		`"completed":true,"ingested_objects":20,"metarange_id":"34d94e5f667401287b7e6ab12d01776bf019bcaf995178b2645a12ef04b70053","update_time":"2026-11-22T10:50:51.297120488Z"}`)
	if got := statusOf(t, server, id("c")); !strings.Contains(got, `"message":"Import objects",`) || !strings.HasSuffix(got, `"update_time":"2026-11-22T10:50:50Z"}`+"\n") {
		t.Errorf("got %s", got)
	}
}
