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

	queue   []target
	covers  map[target]bool // whether it has ended, for every target of the round
	workers int
	done    chan struct{} // closed when the last worker has left

	attempted bool           // a request was attempted
	answered  bool           // lakeFS itself has answered
	failures  map[Result]int // by reason
	lastError error
}

// target is something to ask the server for.
type target struct {
	kind targetKind
	key  Key        // of the import, or of the repository
	list *watchlist // that the import is in
}

type targetKind uint8

const (
	targetHealth targetKind = iota
	targetRepository
	targetImport
)

// String names t in the log.
func (t target) String() string {
	switch t.kind {
	case targetHealth:
		return "health check"
	case targetRepository:
		return t.key.Repository
	default:
		return t.key.String()
	}
}

// importTargets returns keys, of list, as targets.
func importTargets(list *watchlist, keys ...Key) []target {
	targets := make([]target, len(keys))
	for i, key := range keys {
		targets[i] = target{targetImport, key, list}
	}
	return targets
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

// refresh polls all imports and repositories of the server that are due, or
// asks for its health if it has none to poll. It returns when that is done, or
// else when ctx is: what was not reached by then is remembered as such.
func (s *server) refresh(ctx context.Context) {
	now := s.now()
	keys, unfinished := s.watch.due(s.name, now)
	repositories, all := s.watch.dueRepositories(s.name, now)
	var targets []target
	if unfinished == 0 && all == 0 && s.checkIsDue(now) {
		targets = append(targets, target{kind: targetHealth})
	}
	for _, key := range repositories {
		targets = append(targets, target{kind: targetRepository, key: key})
	}
	s.wait(ctx, append(targets, importTargets(s.watch, keys...)...))
}

// refreshOne polls one import of list if it is due, even where that takes a
// round of its own after one that polled it too early.
func (s *server) refreshOne(ctx context.Context, list *watchlist, key Key) {
	for range 2 {
		if ctx.Err() == nil && list.isDue(key, s.now()) {
			s.wait(ctx, importTargets(list, key))
		}
	}
}

func (s *server) checkIsDue(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return isDue(s.checkedAt, now)
}

// wait joins a round that covers targets and waits for its end.
func (s *server) wait(ctx context.Context, targets []target) {
	r := s.join(ctx, targets)
	if r == nil {
		s.skip(ctx, targets)
		return
	}
	select {
	case <-r.done:
	case <-ctx.Done():
	}
	s.leave(ctx, r, targets)
}

// skip notes of the imports among targets that the deadline of ctx came before
// they were reached. If ctx has another end, or none, there is nothing to note.
func (s *server) skip(ctx context.Context, targets []target) {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return
	}
	at := s.now()
	for _, t := range targets {
		if t.kind == targetImport {
			t.list.recordSkipped(t.key, Poll{Result: resultTimeout, At: at, Message: "not reached before the scrape's deadline"})
		}
	}
}

// join returns the running round, or a new one, that asks for targets. It
// returns nil if there is no round and no target, or if ctx was done before
// there was a round to join.
func (s *server) join(ctx context.Context, targets []target) *round {
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
	r := s.round
	if r == nil {
		if len(targets) == 0 {
			return nil
		}
		r = &round{covers: make(map[target]bool, len(targets)), failures: map[Result]int{}, done: make(chan struct{})}
		r.ctx, r.cancel = context.WithCancelCause(context.Background())
		s.round = r
	}
	r.waiters++
	r.queue = slices.Grow(r.queue, len(targets))
	for _, t := range targets {
		if _, ok := r.covers[t]; !ok {
			r.covers[t] = false
			r.queue = append(r.queue, t)
		}
	}
	for range min(len(r.queue), s.settings.MaxConcurrentRequests-r.workers) {
		r.workers++
		go s.work(r)
	}
	return r
}

// leave ends the wait for r. The last to leave a round that is not done
// cancels what is left of it.
func (s *server) leave(ctx context.Context, r *round, targets []target) {
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
	s.judge(r)
	missed := slices.DeleteFunc(slices.Clone(targets), func(t target) bool { return r.covers[t] })
	s.mu.Unlock()
	s.skip(ctx, missed)
}

// work asks for what is in the queue of r, until it is empty or r is cancelled.
func (s *server) work(r *round) {
	for {
		t, settings, pausedUntil, ok := s.next(r)
		if !ok {
			return
		}
		if pausedUntil.After(s.now()) {
			if t.kind == targetImport {
				t.list.recordSkipped(t.key, Poll{
					Result: resultRateLimited, At: s.now(),
					Message: "not polled: lakeFS asks to be left alone until " + pausedUntil.UTC().Format(time.RFC3339),
				})
			}
		} else {
			s.ask(r, t, settings)
		}
		s.ended(r, t)
	}
}

// next takes the next target off the queue of r. It returns false if there is
// nothing left to do, and ends r with its last worker.
func (s *server) next(r *round) (t target, settings Server, pausedUntil time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.ctx.Err() != nil || len(r.queue) == 0 {
		r.workers--
		if r.workers == 0 {
			s.end(r)
		}
		return t, settings, pausedUntil, false
	}
	t, r.queue = r.queue[0], r.queue[1:]
	return t, s.settings, s.pausedUntil, true
}

// ask sends the request for t and records the answer at once.
func (s *server) ask(r *round, t target, settings Server) {
	ctx, cancel := context.WithTimeout(r.ctx, settings.Timeout)
	defer cancel()
	var (
		status     *lakefs.ImportStatus
		lastImport time.Time
		err        error
	)
	begin := time.Now() // for a duration: the real clock, which is monotonic
	switch t.kind {
	case targetHealth:
		err = settings.Client.Healthcheck(ctx)
	case targetRepository:
		lastImport, err = settings.Client.LastImport(ctx, t.key.Repository)
	case targetImport:
		status, err = settings.Client.ImportStatus(ctx, t.key.Ref)
	}
	took := time.Since(begin)
	if err != nil && errors.Is(context.Cause(r.ctx), context.Canceled) {
		// Nobody waits for it any more. That says nothing about lakeFS.
		return
	}
	s.attempted(r, err)
	if err != nil {
		level.Debug(s.logger).Log("msg", "Poll failed", "target", t, "err", err)
	}
	now := s.now()
	switch {
	case t.kind == targetHealth:
		s.checked(now)
		return
	case t.kind == targetRepository:
		s.watch.recordLastImport(t.key, now, lastImport)
	case err != nil && r.ctx.Err() != nil:
		t.list.recordCut(t.key, now)
	default:
		t.list.record(t.key, now, status, err)
	}
	s.polled(took, err)
}

// checked notes when the health was last asked for.
func (s *server) checked(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkedAt = at
}

// polled counts a poll.
func (s *server) polled(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.removed {
		s.metrics.polled(s.name, took, err)
	}
}

// ended notes that t is done with, for those who wait for it.
func (s *server) ended(r *round, t target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.covers[t] = true
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
