package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"lakefs_import_exporter/lakefs"
)

// server is a lakeFS server: its polls, what is discovered, and how it stands by
// the answers to scrapes. Probes and requests for one import do not change that.
type server struct {
	*poller
	name     string
	counters *counters
	watch    *watchlist

	mu            sync.Mutex
	stopDiscovery context.CancelFunc
	stands        ServerView // as far as scrapes and the discovery tell
	dateAt        time.Time  // when the newest Date was received; zero if never
}

// discover runs d, which may be nil, instead of the discovery before. What that
// found stays watched until the first refresh of d.
func (s *server) discover(d Discovery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopDiscovery()
	if d == nil {
		s.stands.Discovery = nil
		s.watch.setDiscovered(s.name, nil, nil)
		return
	}
	if s.stands.Discovery == nil {
		s.stands.Discovery = &DiscoveryView{}
		s.watch.setDiscovered(s.name, d, nil) // what was watched before a restart, until the database answers
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.stopDiscovery = cancel
	refreshes := s.counters.refreshes
	succeeded, failed := refreshes.WithLabelValues(s.name, "success"), refreshes.WithLabelValues(s.name, "error")
	go d.Run(ctx, func(found []Import, dropped int, err error) {
		if err != nil {
			failed.Inc()
		} else {
			succeeded.Inc()
		}
		s.refreshed(ctx, d, found, dropped, err)
	})
}

// refreshed takes over the result of a refresh. A failed one drops nothing.
func (s *server) refreshed(ctx context.Context, d Discovery, found []Import, dropped int, err error) {
	s.mu.Lock()
	if ctx.Err() != nil {
		s.mu.Unlock()
		return // another one runs
	}
	before, added := *s.stands.Discovery, 0
	now := before
	if err != nil {
		now.Error = err.Error()
	} else {
		now = DiscoveryView{LastSuccess: s.now(), Found: len(found), Dropped: dropped}
		added = s.watch.setDiscovered(s.name, d, found)
	}
	s.stands.Discovery = &now
	s.mu.Unlock()
	if now.Error != "" && now.Error != before.Error {
		level.Warn(s.logger).Log("msg", "Discovery failed; keeping the imports found before", "err", err)
	}
	if added > 0 || now.Error == "" && (before.Error != "" || before.LastSuccess.IsZero()) {
		level.Info(s.logger).Log("msg", "Discovered imports", "new", added, "all", len(found))
	}
	if now.Dropped > 0 && before.Dropped == 0 {
		level.Warn(s.logger).Log("msg", "Discovery left out the oldest imports: see max_imports", "imports", len(found), "dropped", dropped)
	}
}

// scrape polls what is due. It returns when all is answered, or else when ctx is done.
func (s *server) scrape(ctx context.Context) {
	begin := s.now()
	targets := s.watch.due(s.name)
	if len(targets) == 0 {
		targets = []target{{Key: Key{Server: s.name}}, {Key: Key{Server: s.name, ID: keysID}}} // its health comes first
	}
	answered, missed := s.poll(ctx, batch, targets...)
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the client hung up: that says nothing about lakeFS
	}
	end := s.now()
	s.watch.skip(missed, begin, missedPoll(end))
	s.logFailures(s.update(answered, len(missed), end))
}

// update takes note of the answers to a scrape that ended at the time at, and of
// how many were missing at its deadline. It returns how the server stood and stands.
func (s *server) update(answered []*call, missed int, at time.Time) (before, now ServerView) {
	var (
		sent              int // requests
		up                bool
		accepted, refused bool // keys
		failures          = map[Result]int{}
		example           string // of a failure
	)
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &s.stands
	before = *v
	for _, c := range answered {
		a := &c.answer
		if !a.sent || a.interrupted() {
			continue
		}
		sent++
		if a.err != nil {
			failures[a.Result]++
			if example == "" || a.Result != lakefs.NotFound { // a wrong name says nothing about the server
				example = a.Message
			}
		}
		if !a.fromLakeFS {
			continue
		}
		if !a.date.IsZero() && a.At.After(s.dateAt) {
			s.dateAt, v.ClockSkewKnown = a.At, true
			v.ClockSkew = time.Duration(a.date.Unix()-a.At.Unix()) * time.Second
		}
		up = up || !c.isKeys() // else it is the health that counts
		aboutKeys := !c.isHealth()
		accepted = accepted || aboutKeys && (a.err == nil || a.Result == lakefs.NotFound)
		refused = refused || aboutKeys && a.Result == lakefs.Unauthorized
	}
	if missed > 0 {
		sent += missed
		failures[lakefs.Timeout] += missed
		example = cmp.Or(example, missedDeadline)
	}
	if sent == 0 {
		return before, *v // because of a pause
	}
	v.Up = up
	v.DownSince = since(v.DownSince, at, !up)
	if accepted || refused {
		v.Authorized = accepted
		v.UnauthorizedSince = since(v.UnauthorizedSince, at, !accepted)
	}
	v.Polls, v.Failures, v.FailureExample = sent, failures, example
	return before, *v
}

// since returns since when something is so: if it is so at the time at, before,
// or else at. It returns the zero time if it is not so.
func since(before, at time.Time, is bool) time.Time {
	if !is {
		return time.Time{}
	}
	return cmp.Or(before, at)
}

// logFailures logs why polls fail now, unless they failed for the same causes
// before. Which import failed is logged at debug level.
func (s *server) logFailures(before, now ServerView) {
	causes := slices.Sorted(maps.Keys(now.Failures))
	if slices.Equal(causes, slices.Sorted(maps.Keys(before.Failures))) {
		return
	}
	if len(causes) == 0 {
		level.Info(s.logger).Log("msg", "Polls succeed again")
		return
	}
	counts := make([]string, len(causes))
	for i, cause := range causes {
		counts[i] = fmt.Sprintf("%s=%d", cause, now.Failures[cause])
	}
	level.Warn(s.logger).Log("msg", "Polls fail", "polls", now.Polls, "failed", strings.Join(counts, " "), "example", now.FailureExample)
}

// view returns how the server stands.
func (s *server) view() ServerView {
	s.mu.Lock()
	v := s.stands
	s.mu.Unlock()
	v.Name, v.URL, v.PausedUntil = s.name, s.client().EndpointURL(), s.pause()
	return v
}
