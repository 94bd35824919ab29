package collector

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/config"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

func TestOneLine(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"plain", "import error: Canceled", "import error: Canceled"},
		{"other scripts", "größe 大きさ 🪣", "größe 大きさ 🪣"},
		{"markup and quotes stay", `<b>"a" \ 'b'</b>`, `<b>"a" \ 'b'</b>`},
		{"lines", "first\nsecond\r\n\r\nthird\vfourth\ffifth", "first second third fourth fifth"},
		{"lines of Unicode", "first\u0085second\u2028third\u2029fourth", "first second third fourth"},
		{"control characters", "a\x00\x01\x1b[31mb\x7fc\u0080d\u009fe", "a [31mb c d e"},
		{"spaces", " \t a \t\u00a0 b  ", "a b"},
		{"nothing but space", " \n\t\x00", ""},
		{"invalid UTF-8", "a\xffb\xc3\xa4\xc3c\xed\xa0\x80", "a\uFFFDbä\uFFFDc\uFFFD"},
		{"as long as may be", strings.Repeat("x", 256), strings.Repeat("x", 256)},
		{"one byte too long", strings.Repeat("x", 257), strings.Repeat("x", 253) + "…"},
		{"too long before it is made one line", strings.Repeat("x \n", 128), strings.TrimSpace(strings.Repeat("x ", 128))},
		{"not cut inside of a character", strings.Repeat("x", 252) + "äää", strings.Repeat("x", 252) + "…"},
		{"cut between characters", strings.Repeat("x", 251) + "äää", strings.Repeat("x", 251) + "ä…"},
		{"bytes that grow", strings.Repeat("\xffx", 100), strings.Repeat("\uFFFDx", 63) + "…"},
		{"a megabyte", strings.Repeat("🪣", 1<<18), strings.Repeat("🪣", 63) + "…"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := oneLine(tc.in); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func FuzzOneLine(f *testing.F) {
	for _, s := range []string{"", "a\nb", "\xff", strings.Repeat(" ", 4095) + "ä", strings.Repeat("\xf0\x9f", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := oneLine(s)
		if len(got) > 256 || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q became %q", s, got)
		}
		if again := oneLine(got); again != got {
			t.Errorf("%q became %q, and that %q", s, got, again)
		}
	})
}

var start = time.Date(2026, 11, 22, 10, 50, 27, 0, time.UTC)

// after is the time some seconds after the start.
func after(seconds float64) time.Time {
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

func TestThroughput(t *testing.T) {
	running := func(objects int64, seconds float64) Observation {
		return Observation{StatusAt: after(seconds), UpdateTime: after(seconds), IngestedObjects: objects}
	}
	finished := func(outcome lakefs.Outcome, objects int64, seconds float64) Observation {
		o := running(objects, 1000)
		o.Outcome, o.UpdateTime = outcome, after(seconds)
		return o
	}
	for _, tc := range []struct {
		name      string
		o         Observation
		startedAt time.Time
		samples   []sample
		now       time.Time
		want      float64
		known     bool
	}{
		{name: "never seen", startedAt: start, now: after(10)},
		{name: "not found", o: Observation{NotFoundSince: after(1)}, startedAt: start, now: after(10)},
		{name: "seen once, start unknown", o: running(100, 10), samples: []sample{{after(10), 100}}, now: after(10)},
		{name: "seen once", o: running(100, 10), startedAt: start, samples: []sample{{after(10), 100}}, now: after(10), want: 10, known: true},
		{name: "seen once, some time ago", o: running(100, 10), startedAt: start, samples: []sample{{after(10), 100}}, now: after(100), want: 10, known: true},
		{name: "seen twice", o: running(400, 20), startedAt: start, samples: []sample{{after(10), 100}, {after(20), 400}}, now: after(20), want: 30, known: true},
		{name: "seen twice, start unknown", o: running(400, 20), samples: []sample{{after(10), 100}, {after(20), 400}}, now: after(20), want: 30, known: true},
		{name: "at rest", o: running(400, 20), startedAt: start, samples: []sample{{after(10), 400}, {after(20), 400}}, now: after(20), want: 0, known: true},
		{name: "fell, which never happens", o: running(400, 20), startedAt: start, samples: []sample{{after(10), 500}, {after(20), 400}}, now: after(20), want: 0, known: true},
		{
			name: "from the oldest to the newest", o: running(1000, 30), startedAt: start, now: after(30),
			samples: []sample{{after(10), 0}, {after(20), 900}, {after(30), 1000}}, want: 50, known: true,
		},
		{
			name: "five minutes are in the window", o: running(600, 300), now: after(300), want: 2, known: true,
			samples: []sample{{after(0), 0}, {after(300), 600}},
		},
		{
			name: "what is older is not", o: running(600, 300), now: after(301), want: 1, known: true,
			samples: []sample{{after(0), 0}, {after(100), 400}, {after(300), 600}},
		},
		{
			name: "one left in the window", o: running(600, 300), startedAt: after(-300), now: after(401), want: 1, known: true,
			samples: []sample{{after(0), 0}, {after(100), 400}, {after(300), 600}},
		},
		{
			name: "none left in the window", o: running(600, 300), startedAt: start, now: after(3600), want: 2, known: true,
			samples: []sample{{after(0), 0}, {after(300), 600}},
		},
		{name: "twice at the same time", o: running(200, 10), startedAt: start, samples: []sample{{after(10), 100}, {after(10), 200}}, now: after(10), want: 20, known: true},
		{name: "clock set back", o: running(200, 5), startedAt: start, samples: []sample{{after(10), 100}, {after(5), 200}}, now: after(5), want: 40, known: true},
		{name: "started in the future", o: running(100, 10), startedAt: after(11), now: after(10)},
		{name: "started now", o: running(100, 10), startedAt: after(10), now: after(10)},
		{
			name: "succeeded", o: finished(lakefs.Succeeded, 1000, 100), startedAt: start, now: after(1000), want: 10, known: true,
			samples: []sample{{after(10), 100}, {after(20), 900}},
		},
		{name: "failed", o: finished(lakefs.Failed, 50, 100), startedAt: start, now: after(1000), want: 0.5, known: true},
		{name: "canceled", o: finished(lakefs.Canceled, 50, 100), startedAt: start, now: after(1000), want: 0.5, known: true},
		{
			name: "finished, start unknown", o: finished(lakefs.Succeeded, 1000, 100), now: after(1000),
			samples: []sample{{after(10), 100}, {after(20), 900}},
		},
		{name: "finished in year one", o: Observation{StatusAt: start, Outcome: lakefs.Succeeded, IngestedObjects: 5}, startedAt: start, now: start},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, known := throughput(tc.o, tc.startedAt, tc.samples, tc.now)
			if got != tc.want || known != tc.known {
				t.Errorf("got %v, %v, want %v, %v", got, known, tc.want, tc.known)
			}
		})
	}
}

func TestAppendSample(t *testing.T) {
	for _, tc := range []struct {
		name     string
		at, want []float64 // in seconds
	}{
		{"one", []float64{0}, []float64{0}},
		{"two close together", []float64{0, 1}, []float64{0, 1}},
		{"the newest but one too close", []float64{0, 1, 2, 3}, []float64{0, 3}},
		{"far enough apart", []float64{0, 15, 30}, []float64{0, 15, 30}},
		{"the newest may be close", []float64{0, 15, 30, 31}, []float64{0, 15, 30, 31}},
		{"five minutes are kept", []float64{0, 150, 300}, []float64{0, 150, 300}},
		{"more are not", []float64{0, 150, 300, 301}, []float64{150, 300, 301}},
		{"after a long break", []float64{0, 15, 30, 1000}, []float64{1000}},
		{"at the same time", []float64{0, 20, 20, 20}, []float64{0, 20, 20}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var samples []sample
			for i, at := range tc.at {
				samples = appendSample(samples, sample{at: after(at), objects: int64(i)})
			}
			var got []float64
			for _, s := range samples {
				got = append(got, s.at.Sub(start).Seconds())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := samples[len(samples)-1].objects; got != int64(len(tc.at)-1) {
				t.Errorf("the last is number %d of %d", got, len(tc.at))
			}
		})
	}
}

// However long and however often an import is polled, its samples cover the
// window and stay few.
func TestAppendSampleForHours(t *testing.T) {
	for _, interval := range []float64{0.1, 1, 7, 15, 60, 200} {
		var samples []sample
		for at := 0.0; at < 7200; at += interval {
			samples = appendSample(samples, sample{at: after(at)})
			first, last := samples[0].at, samples[len(samples)-1].at
			if len(samples) > 42 || !last.Equal(after(at)) || last.Sub(first) > throughputWindow {
				t.Fatalf("every %v s, after %v s: %d samples from %v to %v", interval, at, len(samples), first, last)
			}
			if at > 400 && last.Sub(first) < throughputWindow-max(2*sampleSpacing, time.Duration(interval)*time.Second) {
				t.Fatalf("every %v s, after %v s: the samples cover %s only", interval, at, last.Sub(first))
			}
		}
	}
}

// Snapshots hold on to older samples while new ones come.
func TestAppendSampleLeavesReadersAlone(t *testing.T) {
	held := make([]sample, 0, 10)
	held = append(held, sample{after(0), 1}, sample{after(1), 2})
	before := slices.Clone(held)
	appendSample(held, sample{after(2), 3})
	appendSample(held, sample{after(20), 4})
	if diff := cmp.Diff(before, held, cmp.AllowUnexported(sample{})); diff != "" {
		t.Errorf("held samples (-want +got):\n%s", diff)
	}
	if next := held[:3][2]; next != (sample{}) {
		t.Errorf("written behind them: %+v", next)
	}
}

func TestStateOf(t *testing.T) {
	// seen is what was last seen of an import when its heartbeat and its count
	// were so old.
	seen := func(heartbeat, progress time.Duration) Observation {
		return Observation{StatusAt: start, UpdateTime: start.Add(-heartbeat), ProgressAt: start.Add(-progress), IngestedObjects: 100}
	}
	with := func(o Observation, change func(*Observation)) Observation {
		change(&o)
		return o
	}
	notFound := func(o *Observation) { o.NotFoundSince = start.Add(time.Minute) }
	outcome := func(is lakefs.Outcome) func(*Observation) {
		return func(o *Observation) { o.Outcome = is }
	}
	const ns = time.Nanosecond
	for _, tc := range []struct {
		name     string
		o        Observation
		expected int64
		want     State
	}{
		{"never polled", Observation{}, 0, Unknown},
		{"never seen", Observation{NotFoundSince: start}, 0, NotFound},
		{"just seen", seen(0, 0), 0, Running},
		{"heartbeat of two minutes ago", seen(2*time.Minute, 0), 0, Running},
		{"heartbeat of over two minutes ago", seen(2*time.Minute+ns, 0), 0, Stalled},
		{"heartbeat of the future", seen(-24*time.Hour, 0), 0, Running},
		{"heartbeat of year one", with(seen(0, 0), func(o *Observation) { o.UpdateTime = time.Time{} }), 0, Stalled},
		{"at rest for half an hour", seen(0, 30*time.Minute), 0, Running},
		{"at rest for over half an hour", seen(0, 30*time.Minute+ns), 0, Hung},
		{"at rest below what is expected", seen(0, time.Hour), 101, Hung},
		{"at rest with all that is expected", seen(0, time.Hour), 100, Running},
		{"at rest with more than is expected", seen(0, time.Hour), 99, Running},
		{"at rest without a heartbeat", seen(3*time.Minute, time.Hour), 0, Stalled},
		{"at rest with all, without a heartbeat", seen(3*time.Minute, time.Hour), 100, Stalled},
		{"vanished while running", with(seen(0, 0), notFound), 0, Lost},
		{"vanished while hung", with(seen(0, time.Hour), notFound), 0, Lost},
		{"vanished after it stalled", with(seen(3*time.Minute, 0), notFound), 0, Stalled},
		{"succeeded", with(seen(0, 0), outcome(lakefs.Succeeded)), 0, Succeeded},
		{"succeeded long ago", with(seen(24*time.Hour, 24*time.Hour), outcome(lakefs.Succeeded)), 0, Succeeded},
		{"failed long ago", with(seen(24*time.Hour, 24*time.Hour), outcome(lakefs.Failed)), 200, Failed},
		{"canceled long ago", with(seen(24*time.Hour, 24*time.Hour), outcome(lakefs.Canceled)), 200, Canceled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			imp := Import{ExpectedObjects: tc.expected, NoProgressAfter: DefaultNoProgressAfter}
			if got := stateOf(imp, tc.o); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if !slices.Contains(States(), tc.want) {
				t.Errorf("%s is not among the States", tc.want)
			}
		})
	}
	if got := stateOf(Import{NoProgressAfter: 2 * time.Hour}, seen(0, time.Hour)); got != Running {
		t.Errorf("at rest for less than its own threshold: got %s", got)
	}
	if sorted := slices.Sorted(slices.Values(States())); len(slices.Compact(sorted)) != 9 {
		t.Errorf("States are %v", States())
	}
}

func TestHeartbeatAge(t *testing.T) {
	for _, tc := range []struct {
		name    string
		updated time.Time
		want    time.Duration
	}{
		{"behind", start.Add(-90 * time.Second), 90 * time.Second},
		{"ahead", start.Add(time.Hour), 0},
		{"year one", time.Time{}, math.MaxInt64},
	} {
		if got := (Observation{StatusAt: start, UpdateTime: tc.updated}).HeartbeatAge(); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestObservation(t *testing.T) {
	objects := func(n int64) *lakefs.ImportStatus {
		return &lakefs.ImportStatus{UpdateTime: after(100), IngestedObjects: &n}
	}
	var o Observation
	o = o.withNotFound(after(1))
	o = o.withNotFound(after(2))
	if o.Seen() || !o.NotFoundSince.Equal(after(1)) {
		t.Errorf("not found twice: %+v", o)
	}
	o = o.withStatus(objects(0), after(3))
	if !o.Seen() || !o.NotFoundSince.IsZero() || !o.ProgressAt.Equal(after(3)) || !o.UpdateTime.Equal(after(100)) {
		t.Errorf("first status: %+v", o)
	}
	o = o.withStatus(objects(0), after(4))
	if !o.StatusAt.Equal(after(4)) || !o.ProgressAt.Equal(after(3)) {
		t.Errorf("at rest: %+v", o)
	}
	o = o.withStatus(objects(7), after(5))
	if o.IngestedObjects != 7 || !o.ProgressAt.Equal(after(5)) {
		t.Errorf("grown: %+v", o)
	}
	// The API permits a status without the count: then the last one stands.
	o = o.withStatus(&lakefs.ImportStatus{UpdateTime: after(100)}, after(6))
	if o.IngestedObjects != 7 || !o.ProgressAt.Equal(after(5)) || !o.StatusAt.Equal(after(6)) {
		t.Errorf("status without a count: %+v", o)
	}
	o = o.withNotFound(after(7))
	if o.IngestedObjects != 7 || !o.StatusAt.Equal(after(6)) || !o.NotFoundSince.Equal(after(7)) {
		t.Errorf("vanished: %+v", o)
	}
	o = o.withStatus(&lakefs.ImportStatus{UpdateTime: after(100), Error: &lakefs.ImportError{Message: "a\nb"}}, after(8))
	if !o.Finished() || o.Outcome != lakefs.Failed || o.ErrorMessage != "a b" || !o.NotFoundSince.IsZero() {
		t.Errorf("failed: %+v", o)
	}
}

func TestValidateImport(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Import)
		want   string
	}{
		{"good", func(*Import) {}, ""},
		{"no server", func(i *Import) { i.Server = "" }, "server is missing"},
		{"no repository", func(i *Import) { i.Repository = "" }, `repository "": must match ^[a-z0-9][a-z0-9-]{2,62}$`},
		{"bad repository", func(i *Import) { i.Repository = "My Repo" }, `repository "My Repo": must match ^[a-z0-9][a-z0-9-]{2,62}$`},
		{"bad branch", func(i *Import) { i.Branch = "feature/x" }, `branch "feature/x": must match ^\w[-\w]*$`},
		{"bad ID", func(i *Import) { i.ID = "../x" }, `id "../x": must match ^[A-Za-z0-9_-]{1,128}$`},
		{"ID with a line break", func(i *Import) { i.ID = "x\n" }, `id "x\n": must match ^[A-Za-z0-9_-]{1,128}$`},
		{"ID that is too long", func(i *Import) { i.ID = strings.Repeat("x", 129) }, `id "` + strings.Repeat("x", 129) + `": must match ^[A-Za-z0-9_-]{1,128}$`},
		{"longest ID", func(i *Import) { i.ID = strings.Repeat("x", 128) }, ""},
		{"negative expectation", func(i *Import) { i.ExpectedObjects = -1 }, "expected_objects -1: must be positive"},
		{"no threshold", func(i *Import) { i.NoProgressAfter = 0 }, "no_progress_after 0s: must be positive"},
		{"negative threshold", func(i *Import) { i.NoProgressAfter = -time.Minute }, "no_progress_after -1m0s: must be positive"},
		{"bad label", func(i *Import) { i.Labels = map[string]string{"job": "x"} }, `label "job": the name is reserved`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			imp := Import{
				Key:             Key{"prod", lakefs.Ref{Repository: repo, Branch: branch, ID: "dc1chj1ksduerdki88b0"}},
				ExpectedObjects: 1, NoProgressAfter: time.Minute, Labels: map[string]string{"team": "ingest"},
			}
			tc.change(&imp)
			if got := message(imp.Validate()); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestValidateLabels(t *testing.T) {
	for _, name := range []string{
		"server", "repository", "branch", "import_id", "commit_id", "metarange_id", "message", "source",
		"result", "file", "job", "instance", "le", "quantile", "alertname", "severity",
	} {
		if got, want := message(ValidateLabels(map[string]string{name: "x"})), `label "`+name+`": the name is reserved`; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	const pattern = ": must match ^[a-zA-Z_][a-zA-Z0-9_]*$"
	for _, tc := range []struct {
		name   string
		labels map[string]string
		want   string
	}{
		{"none", nil, ""},
		{"good", map[string]string{"team": "ingest", "_x": "", "Zone9": "größe 🪣\n\"\\"}, ""},
		{"like a reserved one", map[string]string{"Job": "x", "jobs": "x", "le_": "x"}, ""},
		{"empty name", map[string]string{"": "x"}, `label ""` + pattern},
		{"digit first", map[string]string{"9a": "x"}, `label "9a"` + pattern},
		{"dash", map[string]string{"a-b": "x"}, `label "a-b"` + pattern},
		{"dot", map[string]string{"a.b": "x"}, `label "a.b"` + pattern},
		{"line break", map[string]string{"a\n": "x"}, `label "a\n"` + pattern},
		{"not ASCII", map[string]string{"größe": "x"}, `label "größe"` + pattern},
		{"of Prometheus", map[string]string{"__name__": "x"}, `label "__name__": names that begin with __ are reserved`},
		{"two underscores", map[string]string{"__": "x"}, `label "__": names that begin with __ are reserved`},
		{"value that is no text", map[string]string{"a": "\xff"}, `label "a": value "\xff" is not valid UTF-8`},
		{"the first by name", map[string]string{"z z": "x", "b b": "x", "a": "x"}, `label "b b"` + pattern},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := message(ValidateLabels(tc.labels)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestResultOf(t *testing.T) {
	for _, kind := range lakefs.Kinds() {
		if got := resultOf(errors.Join(&lakefs.Error{Kind: kind})); string(got) != kind.String() {
			t.Errorf("%s: got %s", kind, got)
		}
	}
	if got := resultOf(errors.New("anything else")); got != "connection" {
		t.Errorf("got %s", got)
	}
	want := []Result{
		"bad_request", "bad_response", "connection", "credentials", "not_found",
		"rate_limited", "server_error", "success", "timeout", "unauthorized",
	}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(results()))); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

func TestProgressAndETA(t *testing.T) {
	for _, tc := range []struct {
		name          string
		v             ImportView
		progress, eta float64
		known, etaToo bool
	}{
		{
			name:     "half way",
			v:        ImportView{Import: Import{ExpectedObjects: 200}, Observation: Observation{StatusAt: start, IngestedObjects: 100}, State: Running, throughput: 4, throughputKnown: true},
			progress: 0.5, known: true, eta: 25, etaToo: true,
		},
		{
			name:     "more than was expected",
			v:        ImportView{Import: Import{ExpectedObjects: 200}, Observation: Observation{StatusAt: start, IngestedObjects: 300}, State: Running, throughput: 4, throughputKnown: true},
			progress: 1, known: true, eta: 0, etaToo: true,
		},
		{
			name: "nothing expected",
			v:    ImportView{Observation: Observation{StatusAt: start, IngestedObjects: 100}, State: Running, throughput: 4, throughputKnown: true},
		},
		{name: "never seen", v: ImportView{Import: Import{ExpectedObjects: 200}, State: Unknown}},
		{
			name:     "at rest",
			v:        ImportView{Import: Import{ExpectedObjects: 200}, Observation: Observation{StatusAt: start, IngestedObjects: 100}, State: Running, throughputKnown: true},
			progress: 0.5, known: true,
		},
		{
			name:     "throughput unknown",
			v:        ImportView{Import: Import{ExpectedObjects: 200}, Observation: Observation{StatusAt: start, IngestedObjects: 100}, State: Running},
			progress: 0.5, known: true,
		},
		{
			name:     "stalled",
			v:        ImportView{Import: Import{ExpectedObjects: 200}, Observation: Observation{StatusAt: start, IngestedObjects: 100}, State: Stalled, throughput: 4, throughputKnown: true},
			progress: 0.5, known: true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, ok := tc.v.Progress(); got != tc.progress || ok != tc.known {
				t.Errorf("progress: got %v, %v", got, ok)
			}
			if got, ok := tc.v.ETA(); got != tc.eta || ok != tc.etaToo {
				t.Errorf("ETA: got %v, %v", got, ok)
			}
		})
	}
}

// What is not on any server that is configured now has no link.
func TestCommitURL(t *testing.T) {
	v := ImportView{Import: Import{Key: Key{"prod", lakefs.Ref{Repository: repo}}}, Observation: Observation{CommitID: "6ff0"}}
	if got := v.CommitURL(); got != "" {
		t.Errorf("without a server: %s", got)
	}
	client, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: "https://lakefs.example.com/base/api/v1/", HTTP: config.DefaultHTTPClientConfig})
	if err != nil {
		t.Fatal(err)
	}
	v.client = client
	if got := v.CommitURL(); got != "https://lakefs.example.com/base/repositories/my-repo/commits/6ff0" {
		t.Errorf("with a server: %s", got)
	}
	v.CommitID = "../../x?y#z"
	if got := v.CommitURL(); got != "https://lakefs.example.com/base/repositories/my-repo/commits/..%2F..%2Fx%3Fy%23z" {
		t.Errorf("with a hostile ID: %s", got)
	}
	v.CommitID = ""
	if got := v.CommitURL(); got != "" {
		t.Errorf("without a commit: %s", got)
	}
}

// A secret file that cannot be read is a result of its own, and no request.
// Once it is back, so is lakeFS.
func TestCredentialsFile(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "secret_access_key")
	write := func() {
		if err := os.WriteFile(path, []byte(lakefstest.SecretAccessKey+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	httpConfig := config.DefaultHTTPClientConfig
	httpConfig.BasicAuth = &config.BasicAuth{Username: lakefstest.AccessKeyID, PasswordFile: path}
	client, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: w.lakeFS.URL, HTTP: httpConfig})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	w.cfg.Servers[0].Client = client
	w.watch(w.lakeFS.Start(repo, branch, import50k))

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	snapshot := w.scrape()
	v := snapshot.Imports[0]
	if v.PollSuccess() || v.Poll.Result != "credentials" || !strings.Contains(v.Poll.Message, path) || snapshot.Servers[0].Up {
		t.Errorf("got %+v, up %v", v.Poll, snapshot.Servers[0].Up)
	}
	if got := w.lakeFS.Stats().Requests; got != 0 {
		t.Errorf("%d requests without credentials", got)
	}
	if got := w.pollDurations(); got != 0 {
		t.Errorf("%d requests were timed, and none was sent", got)
	}
	write()
	w.advance(15 * time.Second)
	if v := w.scrape().Imports[0]; !v.PollSuccess() {
		t.Errorf("with the file back: %+v", v.Poll)
	}
	if diff := cmp.Diff(map[string]float64{"credentials": 1, "success": 1}, w.polls()); diff != "" {
		t.Errorf("polls (-want +got):\n%s", diff)
	}
	if got := w.pollDurations(); got != 1 {
		t.Errorf("%d requests were timed", got)
	}
}

// pollDurations returns how many requests were timed.
func (w *world) pollDurations() uint64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	var n uint64
	for _, f := range families {
		if f.GetName() == "lakefs_import_exporter_poll_duration_seconds" {
			for _, m := range f.Metric {
				n += m.Histogram.GetSampleCount()
			}
		}
	}
	return n
}

// What comes in late, for imports that have finished or are not watched any
// more, changes nothing.
func TestLateAnswers(t *testing.T) {
	list := newWatchlist()
	done, gone := Key{"prod", lakefs.Ref{ID: "done"}}, Key{"prod", lakefs.Ref{ID: "gone"}}
	list.set(map[Origin][]Import{FromConfig: {{Key: done}}})
	list.record(done, after(1), &lakefs.ImportStatus{UpdateTime: after(1), Completed: true}, nil)
	before, _ := list.view(done, after(9), nil)

	notFound := &lakefs.Error{Kind: lakefs.NotFound, StatusCode: 404, Message: "not found"}
	for _, key := range []Key{done, gone} {
		list.record(key, after(2), &lakefs.ImportStatus{UpdateTime: after(2)}, nil)
		list.record(key, after(3), nil, notFound)
		list.recordCut(key, after(4))
		list.recordSkipped(key, Poll{Result: resultTimeout, At: after(5)})
	}
	now, _ := list.view(done, after(9), nil)
	if diff := cmp.Diff(indented(t, before), indented(t, now)); diff != "" {
		t.Errorf("finished import (-before +now):\n%s", diff)
	}
	if _, ok := list.view(gone, after(9), nil); ok || list.isDue(gone, after(9)) || list.isDue(done, after(9)) {
		t.Error("an import that is not watched, or has finished, is due")
	}
}
