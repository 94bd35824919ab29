package collector_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// Messages of lakeFS become labels of one line, valid and short.
func TestErrorMessage(t *testing.T) {
	w := newWorld(t)
	key := w.watchMany(1, import50k)[0]
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "import error: Canceled", "import error: Canceled"},
		{"markup and quotes stay", `<b>"a" \ 'b'</b> größe 大きさ 🪣`, `<b>"a" \ 'b'</b> größe 大きさ 🪣`},
		{"lines", "first\nsecond\r\n\r\nthird\vfourth\ffifth", "first second third fourth fifth"},
		{"lines of Unicode", "first\u0085second\u2028third\u2029fourth", "first second third fourth"},
		{"control characters", "a\x00\x01\x1b[31mb\x7fc\u0080d\u009fe", "a [31mb c d e"},
		{"spaces", " \t a \t\u00a0 b  ", "a b"},
		{"nothing but space", " \n\t\x00", ""},
		{"invalid UTF-8", "a\xffb", "a\uFFFDb"},
		{"as long as may be", strings.Repeat("x", 256), strings.Repeat("x", 256)},
		{"one byte too long", strings.Repeat("x", 257), strings.Repeat("x", 253) + "…"},
		{"too long before it is made one line", strings.Repeat("x \n", 128), strings.TrimSpace(strings.Repeat("x ", 128))},
		{"not cut inside of a character", strings.Repeat("x", 252) + "äää", strings.Repeat("x", 252) + "…"},
		{"cut between characters", strings.Repeat("x", 251) + "äää", strings.Repeat("x", 251) + "ä…"},
		{"half a megabyte", strings.Repeat("🪣", 1<<17), strings.Repeat("🪣", 63) + "…"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			quoted := `"` + tc.in + `"`
			if utf8.ValidString(tc.in) {
				b, err := json.Marshal(tc.in)
				if err != nil {
					t.Fatal(err)
				}
				quoted = string(b)
			}
			w.advance(time.Second)
			// Each is another answer, so that none settles the import.
			defer w.answer(`"completed":false,"error":{"message":` + quoted + `}`)()
			if v := w.get(key); v.ErrorMessage != tc.want || !v.FailedOrCanceled() {
				t.Errorf("got  %q\nwant %q", v.ErrorMessage, tc.want)
			}
		})
	}
}

// What answers say, one after the other.
func TestObservation(t *testing.T) {
	w := newWorld(t)
	key := w.watchMany(1, import50k)[0]
	start := w.clock.Now()
	notFound := func() func() {
		return w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{Status: 404, Body: lakefstest.Message("not found")})
	}
	status := func(rest string) func() func() {
		return func() func() { return w.answer(rest) }
	}
	// Seconds after the start; -1 for never.
	for i, tc := range []struct {
		name                      string
		answer                    func() (remove func())
		status, progress, unknown int
		objects                   int64
		state                     collector.State
	}{
		{"not found", notFound, -1, -1, 1, 0, collector.NotFound},
		{"not found again", notFound, -1, -1, 1, 0, collector.NotFound},
		{"first status", status(`"completed":false,"ingested_objects":0`), 3, 3, -1, 0, collector.Running},
		{"the same count", status(`"completed":false,"ingested_objects":0`), 4, 3, -1, 0, collector.Running},
		{"grown", status(`"completed":false,"ingested_objects":7`), 5, 5, -1, 7, collector.Running},
		{"without a count", status(`"completed":false`), 6, 5, -1, 7, collector.Running},
		{"vanished", notFound, 6, 5, 7, 7, collector.Lost},
		{"back", status(`"completed":false,"ingested_objects":7`), 8, 5, -1, 7, collector.Running},
		{"finished", status(`"completed":true,"ingested_objects":9`), 9, 9, -1, 9, collector.Succeeded},
		{"forgotten", notFound, 9, 9, -1, 9, collector.Succeeded},
	} {
		w.advance(time.Second)
		remove := tc.answer()
		v := w.get(key)
		remove()
		got := []int{-1, -1, -1}
		for n, at := range []time.Time{v.StatusAt, v.ProgressAt, v.NotFoundSince} {
			if !at.IsZero() {
				got[n] = int(at.Sub(start) / time.Second)
			}
		}
		equal(t, fmt.Sprintf("%d: %s: times of status, progress, not found", i+1, tc.name), []int{tc.status, tc.progress, tc.unknown}, got)
		if v.IngestedObjects != tc.objects || v.State != tc.state {
			t.Errorf("%s: %d objects, %s, want %d, %s", tc.name, v.IngestedObjects, v.State, tc.objects, tc.state)
		}
	}
}

func TestThroughputProgressAndETA(t *testing.T) {
	type count struct {
		at, objects int // at so many seconds after the start
	}
	const unknown = -1
	for _, tc := range []struct {
		name                string
		noXID               bool
		seen                []count
		expected            int64
		finished            bool
		later               time.Duration // after the last status
		rate, progress, eta float64
	}{
		{name: "never seen", expected: 200, rate: unknown, progress: unknown, eta: unknown},
		{name: "seen once, start unknown", noXID: true, seen: []count{{10, 100}}, rate: unknown, progress: unknown, eta: unknown},
		{name: "seen once", seen: []count{{10, 100}}, expected: 200, rate: 10, progress: 0.5, eta: 10},
		{name: "seen twice", noXID: true, seen: []count{{10, 100}, {20, 400}}, expected: 1000, rate: 30, progress: 0.4, eta: 20},
		{name: "more than was expected", seen: []count{{10, 300}}, expected: 200, rate: 30, progress: 1, eta: 0},
		{name: "nothing expected", seen: []count{{10, 100}}, rate: 10, progress: unknown, eta: unknown},
		{name: "no growth", seen: []count{{10, 400}, {20, 400}}, expected: 800, rate: 0, progress: 0.5, eta: unknown},
		{name: "from the oldest to the newest", seen: []count{{10, 0}, {20, 900}, {30, 1000}}, rate: 50, progress: unknown, eta: unknown},
		{name: "five minutes back", noXID: true, seen: []count{{0, 0}, {300, 600}}, rate: 2, progress: unknown, eta: unknown},
		{name: "no further", noXID: true, seen: []count{{0, 0}, {100, 400}, {300, 600}}, later: time.Second, rate: 1, progress: unknown, eta: unknown},
		{name: "nothing newer", seen: []count{{1, 0}, {300, 600}}, later: time.Hour, rate: 2, progress: unknown, eta: unknown},
		{name: "scraped every second", noXID: true, seen: []count{{0, 0}, {1, 1}, {2, 2}, {3, 30}}, rate: 10, progress: unknown, eta: unknown},
		{name: "finished", seen: []count{{10, 100}, {20, 900}, {100, 1000}}, expected: 1000, finished: true, later: time.Hour, rate: 10, progress: 1, eta: unknown},
		{name: "finished, start unknown", noXID: true, seen: []count{{10, 100}, {20, 900}}, finished: true, rate: unknown, progress: unknown, eta: unknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			start := w.clock.Now().Truncate(time.Second)
			w.clock.Set(start)
			w.theirs.Set(start)
			ref := w.lakeFS.Start(repo, branch, import50k)
			if tc.noXID {
				ref.ID = "no-xid"
			}
			key := w.watch(ref, func(i *collector.Import) { i.ExpectedObjects = tc.expected })
			for i, c := range tc.seen {
				w.advance(start.Add(time.Duration(c.at) * time.Second).Sub(w.clock.Now()))
				remove := w.answer(fmt.Sprintf(`"completed":%v,"ingested_objects":%d`, tc.finished && i == len(tc.seen)-1, c.objects))
				w.get(key)
				remove()
			}
			w.advance(tc.later)
			v := w.watched(key)
			for what, tc := range map[string]struct {
				get  func() (float64, bool)
				want float64
			}{"throughput": {v.Throughput, tc.rate}, "progress": {v.Progress, tc.progress}, "ETA": {v.ETA, tc.eta}} {
				if got, ok := tc.get(); ok != (tc.want != unknown) || ok && got != tc.want {
					t.Errorf("%s: got %v, %v, want %v", what, got, ok, tc.want)
				}
			}
		})
	}
}
