package collector

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"lakefs_import_exporter/lakefs"
)

// server is a lakeFS server: its polls, what is discovered, and how it stands by
// the answers to scrapes. Probes and requests for one import do not change that.
type server struct {
	*poller
	*discoverer
	name   string
	logger log.Logger

	mu     sync.Mutex
	stands ServerView // as far as scrapes tell
	dateAt time.Time  // when the newest Date was received; zero if never
}

// update takes note of the answers to a scrape that ended at the time at, and of
// how many were missing at its deadline.
func (s *server) update(answered []*call, missed int, at time.Time) {
	t := tally{failures: map[Result]int{}}
	for _, c := range answered {
		t.add(c)
	}
	if missed > 0 {
		t.sent += missed
		t.failures[lakefs.Timeout] += missed
		t.example = cmp.Or(t.example, missedDeadline)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &s.stands
	if t.newest.After(s.dateAt) {
		s.dateAt, v.ClockSkew, v.ClockSkewKnown = t.newest, t.skew, true
	}
	if t.sent == 0 {
		return // because of a pause
	}
	v.Up = t.answered > 0
	v.DownSince = since(v.DownSince, at, !v.Up)
	if t.accepted+t.refused > 0 {
		v.Authorized = t.accepted > 0
		v.UnauthorizedSince = since(v.UnauthorizedSince, at, !v.Authorized)
	}
	before := v.Failures
	v.Polls, v.Failures, v.FailureExample = t.sent, t.failures, t.example
	s.logFailures(before)
}

// since returns since when something is so: if it is so at the time at, before,
// or else at. It returns the zero time if it is not so.
func since(before, at time.Time, is bool) time.Time {
	if !is {
		return time.Time{}
	}
	return cmp.Or(before, at)
}

// logFailures logs why polls fail, unless they failed for the same causes
// before, with the lock held. Which import failed is logged at debug level.
func (s *server) logFailures(before map[Result]int) {
	causes := slices.Sorted(maps.Keys(s.stands.Failures))
	if slices.Equal(causes, slices.Sorted(maps.Keys(before))) {
		return
	}
	if len(causes) == 0 {
		level.Info(s.logger).Log("msg", "Polls succeed again")
		return
	}
	counts := make([]string, len(causes))
	for i, cause := range causes {
		counts[i] = fmt.Sprintf("%s=%d", cause, s.stands.Failures[cause])
	}
	level.Warn(s.logger).Log("msg", "Polls fail", "polls", s.stands.Polls, "failed", strings.Join(counts, " "), "example", s.stands.FailureExample)
}

// view returns how the server stands.
func (s *server) view() ServerView {
	s.mu.Lock()
	v := s.stands
	s.mu.Unlock()
	v.Name, v.URL, v.PausedUntil, v.Discovery = s.name, s.client().EndpointURL(), s.pause(), s.discoverer.view()
	return v
}

// tally counts answers.
type tally struct {
	sent              int // requests
	answered          int // by lakeFS itself
	accepted, refused int // keys
	failures          map[Result]int
	example           string // of a failure
	newest            time.Time
	skew              time.Duration // of the newest answer with a date
}

func (t *tally) add(c *call) {
	a := &c.answer
	if !a.sent || a.interrupted() {
		return
	}
	t.sent++
	if a.err != nil {
		t.failures[a.Result]++
		if t.example == "" || a.Result != lakefs.NotFound { // a wrong name says nothing about the server
			t.example = a.Message
		}
	}
	if !a.fromLakeFS() {
		return
	}
	if !a.date.IsZero() && a.At.After(t.newest) {
		t.newest = a.At
		t.skew = time.Duration(a.date.Unix()-a.At.Unix()) * time.Second
	}
	if !c.isKeys() { // else it is the health that counts
		t.answered++
	}
	switch {
	case c.isHealth():
	case a.err == nil, a.Result == lakefs.NotFound:
		t.accepted++
	case a.Result == lakefs.Unauthorized:
		t.refused++
	}
}
