package collector

import (
	"context"
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

const (
	// defaultPause and maxPause bound how long a server that answered 429 is
	// left alone.
	defaultPause = 30 * time.Second
	maxPause     = 5 * time.Minute
	// windDown is how long a scrape at its deadline waits for the requests
	// that its leaving cancels, so that it can count them.
	windDown = 100 * time.Millisecond
)

// server polls the imports of one lakeFS server, in rounds. It outlives
// reloads: apply gives it the new settings.
type server struct {
	name    string
	now     func() time.Time
	logger  log.Logger
	metrics *metrics
	watch   *watchlist

	mu          sync.Mutex
	settings    Server
	removed     bool      // by a reload; what comes now counts no more
	round       *round    // nil between rounds
	pausedUntil time.Time // zero if the server never answered 429
	checkedAt   time.Time // of the newest health check
	up          bool
	complaint   string // what was last logged about failing polls
}

// round is a set of polls under way. Scrapes that overlap share it: each joins
// it, adds the imports it does not cover yet, and waits for its end. It is
// guarded by its server's lock.
type round struct {
	// ctx is cancelled when the last waiter has left: with the cause
	// context.DeadlineExceeded if its time was up, and with context.Canceled if
	// it hung up.
	ctx     context.Context
	cancel  context.CancelCauseFunc
	waiters int

	queue   []Key
	check   bool         // a health check is wanted
	covers  map[Key]bool // whether the poll has ended, for every import of the round
	workers int
	done    chan struct{} // closed when the last worker has left

	attempted bool           // a request was attempted
	answered  bool           // lakeFS itself has answered
	failures  map[Result]int // by reason
	lastError error
}

// apply sets the settings for requests from now on. Those under way end as
// they would have.
func (s *server) apply(settings Server) {
	s.mu.Lock()
	old := s.settings.Client
	s.settings = settings
	s.mu.Unlock()
	if old != nil && old != settings.Client {
		old.CloseIdleConnections()
	}
}

// remove ends what is under way: nobody watches the server any more.
func (s *server) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = true
	if s.round != nil {
		s.round.cancel(context.Canceled)
	}
	s.settings.Client.CloseIdleConnections()
	s.metrics.removeServer(s.name)
}

// view returns how the server stands, and the client in use.
func (s *server) view() (ServerView, *lakefs.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := ServerView{Name: s.name, URL: s.settings.Client.EndpointURL(), Up: s.up}
	if s.pausedUntil.After(s.now()) {
		v.PausedUntil = s.pausedUntil.UTC()
	}
	return v, s.settings.Client
}

// refresh polls all imports of the server that are due, or asks for its health
// if there are none to poll. It returns when that is done, or else when ctx
// is: what was not reached by then is remembered as such.
func (s *server) refresh(ctx context.Context) {
	keys, unfinished := s.watch.due(s.name, s.now())
	s.wait(ctx, keys, unfinished == 0)
}

// refreshOne polls one import if it is due, even where that takes a round of
// its own after one that polled it too early.
func (s *server) refreshOne(ctx context.Context, key Key) {
	for range 2 {
		if ctx.Err() == nil && s.watch.isDue(key, s.now()) {
			s.wait(ctx, []Key{key}, false)
		}
	}
}

// wait joins a round that covers keys and waits for its end.
func (s *server) wait(ctx context.Context, keys []Key, check bool) {
	r := s.join(ctx, keys, check)
	if r == nil {
		return
	}
	select {
	case <-r.done:
	case <-ctx.Done():
	}
	s.leave(ctx, r, keys)
}

// join returns the running round, or a new one, that polls keys and, if check
// is set, asks for the server's health. It returns nil if that leaves nothing
// to do, or if ctx was done before there was a round to join.
func (s *server) join(ctx context.Context, keys []Key, check bool) *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.round != nil && s.round.ctx.Err() != nil {
		// It is winding down: its requests still count against the bound.
		done := s.round.done
		s.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return nil
		}
	}
	age := s.now().Sub(s.checkedAt)
	check = check && (age < 0 || age >= minPollInterval)
	r := s.round
	if r == nil {
		if len(keys) == 0 && !check {
			return nil
		}
		r = &round{covers: map[Key]bool{}, failures: map[Result]int{}, done: make(chan struct{})}
		r.ctx, r.cancel = context.WithCancelCause(context.Background())
		s.round = r
	}
	r.waiters++
	for _, key := range keys {
		if _, ok := r.covers[key]; !ok {
			r.covers[key] = false
			r.queue = append(r.queue, key)
		}
	}
	if check {
		s.checkedAt = s.now()
		r.check = true
	}
	todo := len(r.queue)
	if r.check {
		todo++
	}
	for ; todo > 0 && r.workers < s.settings.MaxConcurrentRequests; todo-- {
		r.workers++
		go s.work(r)
	}
	return r
}

// leave ends the wait for r. The last to leave a round that is not done
// cancels what is left of it.
func (s *server) leave(ctx context.Context, r *round, keys []Key) {
	s.mu.Lock()
	r.waiters--
	if r.waiters == 0 {
		r.cancel(ctx.Err())
	}
	s.mu.Unlock()
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return
	}
	if r.ctx.Err() != nil {
		select {
		case <-r.done:
		case <-time.After(windDown):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judge(r)
	at := s.now()
	for _, key := range keys {
		if !r.covers[key] {
			s.watch.recordSkipped(key, Poll{Result: resultTimeout, At: at, Message: "not reached before the scrape's deadline"})
		}
	}
}

// work polls what is in the queue of r, until it is empty or r is cancelled.
func (s *server) work(r *round) {
	for {
		s.mu.Lock()
		if r.ctx.Err() != nil || (len(r.queue) == 0 && !r.check) {
			r.workers--
			if r.workers == 0 {
				s.end(r)
			}
			s.mu.Unlock()
			return
		}
		var key Key
		check := r.check
		if check {
			r.check = false
		} else {
			key, r.queue = r.queue[0], r.queue[1:]
		}
		settings, pause := s.settings, s.pausedUntil
		s.mu.Unlock()

		switch paused := pause.After(s.now()); {
		case paused && check:
		case paused:
			s.watch.recordSkipped(key, Poll{
				Result: resultRateLimited, At: s.now(),
				Message: "not polled: lakeFS asks to be left alone until " + pause.UTC().Format(time.RFC3339),
			})
			s.ended(r, key)
		case check:
			ctx, cancel := context.WithTimeout(r.ctx, settings.Timeout)
			err := settings.Client.Healthcheck(ctx)
			cancel()
			s.attempted(r, err)
		default:
			s.poll(r, key, settings)
			s.ended(r, key)
		}
	}
}

// poll asks for the status of one import and records the answer at once.
func (s *server) poll(r *round, key Key, settings Server) {
	ctx, cancel := context.WithTimeout(r.ctx, settings.Timeout)
	defer cancel()
	begin := time.Now() // a duration: the real clock, which is monotonic
	status, err := settings.Client.ImportStatus(ctx, key.Ref)
	if err != nil && errors.Is(context.Cause(r.ctx), context.Canceled) {
		// Nobody waits for it any more. That says nothing about lakeFS.
		return
	}
	s.polled(time.Since(begin), err)
	s.attempted(r, err)
	if err != nil {
		level.Debug(s.logger).Log("msg", "Poll failed", "import", key.Ref, "err", err)
	}
	if err != nil && r.ctx.Err() != nil {
		s.watch.recordCut(key, s.now())
		return
	}
	s.watch.record(key, s.now(), status, err)
}

// polled counts a request for a status.
func (s *server) polled(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.removed {
		s.metrics.polled(s.name, took, err)
	}
}

// ended notes that the poll of key is over, for those who wait for it.
func (s *server) ended(r *round, key Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.covers[key] = true
}

// attempted takes note of the outcome of a request.
func (s *server) attempted(r *round, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.attempted = true
	if err == nil {
		r.answered = true
		return
	}
	r.failures[resultOf(err)]++
	r.lastError = err
	var lerr *lakefs.Error
	if !errors.As(err, &lerr) {
		return
	}
	r.answered = r.answered || lerr.FromLakeFS()
	if lerr.Kind == lakefs.RateLimited {
		pause := lerr.RetryAfter
		if pause == 0 {
			pause = defaultPause
		}
		s.pausedUntil = s.now().Add(min(pause, maxPause))
	}
}

// end closes r, with its server's lock held.
func (s *server) end(r *round) {
	s.round = nil
	if !errors.Is(context.Cause(r.ctx), context.Canceled) || r.answered {
		s.judge(r)
	}
	s.complain(r)
	r.cancel(nil)
	close(r.done)
}

// judge decides by r whether the server is up, with its lock held.
func (s *server) judge(r *round) {
	if r.attempted {
		s.up = r.answered
	}
}

// complain logs why polls of r failed, once for as long as the reasons stay
// the same, with the server's lock held. Which import failed with what is
// logged at debug level.
func (s *server) complain(r *round) {
	if !r.attempted {
		return
	}
	reasons := slices.Sorted(maps.Keys(r.failures))
	words := make([]string, len(reasons))
	for i, reason := range reasons {
		words[i] = string(reason)
	}
	complaint := strings.Join(words, ",")
	if complaint == s.complaint {
		return
	}
	s.complaint = complaint
	if complaint == "" {
		level.Info(s.logger).Log("msg", "Polls succeed again")
		return
	}
	for i, reason := range reasons {
		words[i] = fmt.Sprintf("%s=%d", reason, r.failures[reason])
	}
	level.Warn(s.logger).Log("msg", "Polls fail", "results", strings.Join(words, " "), "err", r.lastError)
}
