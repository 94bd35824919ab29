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

	mu         sync.Mutex
	up         bool
	authorized bool
	dateAt     time.Time // when the newest Date was received; zero if never
	skew       time.Duration
	causes     []Result // of the failures that were last logged
}

func newStatus(logger log.Logger) *serverStatus {
	return &serverStatus{logger: logger, authorized: true}
}

// update takes note of the answers to a scrape, and of how many were missing at
// its deadline.
func (s *serverStatus) update(answers []*pollAnswer, missed int) {
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
	if !t.newest.IsZero() && t.newest.After(s.dateAt) {
		s.dateAt, s.skew = t.newest, t.skew
	}
	if t.sent == 0 {
		return // because of a pause
	}
	s.up = t.answered > 0
	if t.accepted+t.refused > 0 {
		s.authorized = t.accepted > 0
	}
	s.logFailures(&t)
}

// logFailures logs why polls fail, once for as long as the causes stay the
// same, with the lock held. Which import failed is logged at debug level.
func (s *serverStatus) logFailures(t *tally) {
	results := slices.Sorted(maps.Keys(t.failures))
	if slices.Equal(results, s.causes) {
		return
	}
	s.causes = results
	counts := make([]string, len(results))
	for i, result := range results {
		counts[i] = fmt.Sprintf("%s=%d", result, t.failures[result])
	}
	if len(results) == 0 {
		level.Info(s.logger).Log("msg", "Polls succeed again")
		return
	}
	level.Warn(s.logger).Log("msg", "Polls fail", "polls", t.sent, "failed", strings.Join(counts, " "), "example", t.example)
}

// now returns how the server stands. The skew of its clock is not known before
// the first answer with a date.
func (s *serverStatus) now() (up, authorized bool, skew time.Duration, skewKnown bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up, s.authorized, s.skew, !s.dateAt.IsZero()
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
		t.example = a.message
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
