package collector

import (
	"cmp"
	"errors"
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

// serverStatus is how a lakeFS server stands, by the answers to scrapes. Probes and
// requests for one import do not change it.
type serverStatus struct {
	logger log.Logger

	mu     sync.Mutex
	now    ServerView // what of it scrapes tell
	dateAt time.Time  // when the newest Date was received; zero if never
}

func newStatus(logger log.Logger) *serverStatus {
	return &serverStatus{logger: logger, now: ServerView{Authorized: true}}
}

// update takes note of the answers to a scrape that ended at the time at, and of
// how many were missing at its deadline.
func (s *serverStatus) update(answers []*pollAnswer, missed int, at time.Time) {
	t := tally{failures: map[Result]int{}}
	for _, a := range answers {
		t.add(a)
	}
	if missed > 0 {
		t.sent += missed
		t.failures[resultTimeout] += missed
		t.example = cmp.Or(t.example, missedDeadline)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &s.now
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

// since returns since when something is so that is so at the time at if is is
// set: before, unless that is zero. It returns the zero time if it is not so.
func since(before, at time.Time, is bool) time.Time {
	if !is {
		return time.Time{}
	}
	return cmp.Or(before, at)
}

// logFailures logs why polls fail, unless they failed for the same causes
// before, with the lock held. Which import failed is logged at debug level.
func (s *serverStatus) logFailures(before map[Result]int) {
	results := slices.Sorted(maps.Keys(s.now.Failures))
	if slices.Equal(results, slices.Sorted(maps.Keys(before))) {
		return
	}
	if len(results) == 0 {
		level.Info(s.logger).Log("msg", "Polls succeed again")
		return
	}
	counts := make([]string, len(results))
	for i, result := range results {
		counts[i] = fmt.Sprintf("%s=%d", result, s.now.Failures[result])
	}
	level.Warn(s.logger).Log("msg", "Polls fail", "polls", s.now.Polls, "failed", strings.Join(counts, " "), "example", s.now.FailureExample)
}

// view returns what scrapes tell of the server.
func (s *serverStatus) view() ServerView {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
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

func (t *tally) add(a *pollAnswer) {
	if !a.sent || a.interrupted() {
		return
	}
	t.sent++
	if a.err != nil {
		t.failures[a.result]++
		if t.example == "" || a.result != resultNotFound { // a wrong ID says nothing about the server
			t.example = a.message
		}
	}
	if !a.fromLakeFS() {
		return
	}
	if !a.date.IsZero() && a.at.After(t.newest) {
		t.newest = a.at
		t.skew = time.Duration(a.date.Unix()-a.at.Unix()) * time.Second
	}
	t.answered++
	var lerr *lakefs.Error
	switch {
	case a.kind == targetHealth: // takes no keys
	case a.err == nil, a.result == resultNotFound:
		t.accepted++
	case errors.As(a.err, &lerr) && lerr.Kind == lakefs.Unauthorized:
		t.refused++
	}
}
