package collector

import (
	"cmp"
	"context"
	"errors"
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
	// minPollInterval is how often lakeFS writes the status of an import: a poll
	// sooner after another can see nothing new.
	minPollInterval = time.Second
	// defaultPause and maxPause bound how long no request is sent to a server
	// that answered 429.
	defaultPause = 30 * time.Second
	maxPause     = 5 * time.Minute
)

// missedDeadline is the message of missedPoll.
const missedDeadline = "no answer before the scrape's deadline"

// missedPoll is a poll that could not be waited for, at the time at.
func missedPoll(at time.Time) Poll { return Poll{lakefs.Timeout, at, missedDeadline} }

// Server is a lakeFS server to poll.
type Server struct {
	// Name is the value of the label "server".
	Name   string
	Client *lakefs.Client
	// Timeout bounds one request.
	Timeout time.Duration
	// MaxConcurrentRequests bounds the requests in flight.
	MaxConcurrentRequests int
	// Discovery finds the server's imports; nil for none.
	Discovery Discovery
}

// answer is how a request ended.
type answer struct {
	Poll
	sent       bool                 // false if no request was sent, because of a pause
	fromLakeFS bool                 // whether lakeFS itself gave it
	status     *lakefs.ImportStatus // of an import
	lastImport time.Time            // of a repository; zero if there was none
	date       time.Time            // lakeFS's clock; zero if it is not known
	retryAfter time.Duration        // which lakeFS asks for; 0 if it does not
	err        error
}

// interrupted reports whether the request ended because the server was removed:
// nothing was learned.
func (a *answer) interrupted() bool { return errors.Is(a.err, context.Canceled) }

// call is one request, shared by all who need its answer. It is guarded by its
// poller's lock until it is done, and does not change afterwards.
type call struct {
	target
	waiters []*wait // while it is not done
	lane    lane    // that it was taken from
	started bool
	done    bool
	answer  answer
}

// keysID is the ID of what asks whether a server accepts the keys.
const keysID = "keys"

func (c *call) isKeys() bool { return c.Repository == "" && c.ID == keysID }

// isHealth reports whether c asks for the server's health, which takes no keys.
func (c *call) isHealth() bool { return c.Repository == "" && c.ID == "" }

// outdated reports whether c is done, and too old to be shared at the time now. A
// clock that was set back must not make answers last.
func (c *call) outdated(now time.Time) bool {
	return c.done && (now.Before(c.answer.At) || now.Sub(c.answer.At) >= minPollInterval)
}

// lane is a queue of calls. Those that somebody waits for alone and those of
// scrapes take turns, so that neither delays the other.
type lane uint8

const (
	single lane = iota
	batch
	lanes
)

// wait is the wait of one scrape, probe or GET for the calls that it needs.
type wait struct {
	calls   []*call
	pending int           // calls that are not done
	done    chan struct{} // closed when pending is 0
}

// poller sends the requests to one lakeFS server: never two for the same Key at
// once, nor within a second of the last one, and no more at once than the
// server's limit. A request that was sent goes on when nobody waits for it any
// more, until its own timeout.
type poller struct {
	now    func() time.Time
	logger log.Logger
	// polled is told of every request but health checks, and how long it took.
	polled func(time.Duration, Result)
	// record is told how every request ended, again when that is shared later.
	record func(*target, *answer)

	mu          sync.Mutex
	settings    Server
	ctx         context.Context // of all requests; done when the server is removed
	cancel      context.CancelFunc
	calls       map[Key]*call // in flight or queued, or done of late
	sweeping    bool          // whether sweep will be called
	queues      [lanes][]*call
	next        lane
	busy        [lanes]int // calls in flight, by lane
	workers     int
	pausedUntil time.Time // zero if the server never answered 429

	// timeout is a context that requests share which begin at about the same
	// time.
	timeout     context.Context
	timeoutFrom time.Time
}

func newPoller(settings Server, now func() time.Time, logger log.Logger, polled func(time.Duration, Result), record func(*target, *answer)) *poller {
	p := &poller{settings: settings, now: now, logger: logger, polled: polled, record: record}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// apply makes settings those of requests from now on. Those in flight end as
// they would have.
func (p *poller) apply(settings Server) {
	p.mu.Lock()
	old := p.settings.Client
	p.settings, p.timeout = settings, nil
	p.mu.Unlock()
	if old != settings.Client {
		old.CloseIdleConnections()
	}
}

// close ends all requests. Those who wait get an answer at once.
func (p *poller) close() {
	p.cancel()
	p.client().CloseIdleConnections()
}

func (p *poller) client() *lakefs.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings.Client
}

// pause returns until when no request is sent, or the zero time.
func (p *poller) pause() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused()
}

// paused is pause with the lock held.
func (p *poller) paused() time.Time {
	if p.pausedUntil.IsZero() || !p.pausedUntil.After(p.now()) {
		return time.Time{}
	}
	return p.pausedUntil.UTC()
}

// poll asks for the statuses of imports, and waits until all are answered, or
// else until ctx is done. It returns the calls with an answer, and what misses
// one.
func (p *poller) poll(ctx context.Context, l lane, targets ...target) (answered []*call, missed []Key) {
	w := p.join(l, targets)
	select {
	case <-w.done:
	case <-ctx.Done():
	}
	return p.leave(w)
}

// join makes or shares the calls for targets.
func (p *poller) join(l lane, targets []target) *wait {
	n := len(targets)
	w := &wait{calls: make([]*call, n), done: make(chan struct{})}
	fresh, waiters := make([]call, n), make([]*wait, n) // one allocation each for all calls
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == nil {
		p.calls = make(map[Key]*call, n)
	}
	if !p.sweeping {
		p.sweeping = true
		time.AfterFunc(minPollInterval, p.sweep)
	}
	now := p.now()
	for i := range targets {
		key := targets[i].Key
		c := p.calls[key]
		switch {
		case c == nil || c.outdated(now):
			c = &fresh[i]
			c.target, c.waiters = targets[i], waiters[i:i:i+1]
			p.calls[key] = c
			p.queues[l] = append(p.queues[l], c)
		case c.done:
			p.record(&c.target, &c.answer)
		case l == single && !c.started:
			// Before the scrape that queued it; there it is passed over.
			p.queues[l] = append(p.queues[l], c)
		}
		w.calls[i] = c
		if !c.done {
			c.waiters = append(c.waiters, w)
			w.pending++
		}
	}
	if w.pending == 0 {
		close(w.done)
	}
	for range min(len(p.queues[single])+len(p.queues[batch]), p.settings.MaxConcurrentRequests-p.workers) {
		p.workers++
		go p.work()
	}
	return w
}

// leave ends the wait w.
func (p *poller) leave(w *wait) (answered []*call, missed []Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answered = make([]*call, 0, len(w.calls))
	for _, c := range w.calls {
		if c.done {
			answered = append(answered, c)
			continue
		}
		missed = append(missed, c.Key)
		c.waiters = slices.DeleteFunc(c.waiters, func(other *wait) bool { return other == w })
	}
	return answered, missed
}

// work sends the requests in the queues until they are empty.
func (p *poller) work() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.workers <= p.settings.MaxConcurrentRequests { // which a reload may have lowered
		c := p.dequeue()
		if c == nil {
			break
		}
		c.started = true
		if until := p.paused(); !until.IsZero() {
			p.mu.Unlock()
			c.answer.Poll = Poll{lakefs.RateLimited, p.now(), "not polled: lakeFS answered with HTTP status 429; paused until " + until.Format(time.RFC3339)}
		} else {
			begin, client := time.Now(), p.settings.Client // the real clock, which is monotonic, and which timers go by
			ctx := p.context(begin)
			p.mu.Unlock()
			p.ask(ctx, client, c)
			if c.Repository != "" && !c.answer.interrupted() {
				p.polled(time.Since(begin), c.answer.Result)
			}
		}
		if !c.answer.interrupted() {
			p.record(&c.target, &c.answer)
		}
		p.mu.Lock()
		p.end(c)
	}
	p.workers--
}

// end hands the answer of c to those who wait for it, with the lock held.
func (p *poller) end(c *call) {
	c.done = true
	p.busy[c.lane]--
	for _, w := range c.waiters {
		w.pending--
		if w.pending == 0 {
			close(w.done)
		}
	}
	c.waiters = nil
	if a := &c.answer; a.sent && a.Result == lakefs.RateLimited {
		p.pausedUntil = a.At.Add(min(cmp.Or(a.retryAfter, defaultPause), maxPause))
	}
}

// dequeue takes the next call off the queues, with the lock held; nil if they
// are empty. Calls that nobody waits for any more are dropped.
func (p *poller) dequeue() *call {
	for {
		if !p.ready(p.next) {
			p.next = (p.next + 1) % lanes
		}
		if !p.ready(p.next) {
			return nil
		}
		l := p.next
		c := p.queues[l][0]
		if p.queues[l] = p.queues[l][1:]; len(p.queues[l]) == 0 {
			p.queues[l] = nil // and so its array
		}
		switch {
		case c.started:
		case len(c.waiters) == 0:
			c.started = true // for the other lane
			delete(p.calls, c.Key)
		default:
			c.lane = l
			p.busy[l]++
			p.next = (l + 1) % lanes
			return c
		}
	}
}

// ready reports whether a call can be taken from a lane, with the lock held. The
// other lane can always have one, however long these take.
func (p *poller) ready(l lane) bool {
	return len(p.queues[l]) > 0 && p.busy[l] < max(1, p.settings.MaxConcurrentRequests-1)
}

// sweep drops the answers that are too old to be shared, again and again until
// there are none.
func (p *poller) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	maps.DeleteFunc(p.calls, func(_ Key, c *call) bool { return c.outdated(now) })
	if p.sweeping = len(p.calls) > 0 && p.ctx.Err() == nil; p.sweeping {
		time.AfterFunc(minPollInterval, p.sweep)
	} else {
		p.calls = nil // a map does not shrink
	}
}

// context returns a context for a request that begins at the time now, with the
// lock held. It ends after the server's timeout, or up to a twentieth later:
// thousands of requests can share one timer.
func (p *poller) context(now time.Time) context.Context {
	const share = 20
	slack := p.settings.Timeout / share
	if p.timeout == nil || now.Sub(p.timeoutFrom) > slack {
		timeout, cancel := context.WithTimeout(p.ctx, p.settings.Timeout+slack)
		context.AfterFunc(timeout, cancel) // not before the last of its requests
		p.timeout, p.timeoutFrom = timeout, now
	}
	return p.timeout
}

// ask sends the request of c and sets its answer.
func (p *poller) ask(ctx context.Context, client *lakefs.Client, c *call) {
	a := &c.answer
	a.sent = true
	switch {
	case c.isKeys():
		a.err = client.CheckKeys(ctx)
	case c.isHealth():
		a.date, a.err = client.Healthcheck(ctx)
	case c.ID == "":
		var last lakefs.LastImport
		last, a.err = client.LastImport(ctx, c.Repository)
		a.lastImport, a.date = last.At, last.Date
	default:
		a.status, a.err = client.ImportStatus(ctx, lakefs.Ref{Repository: c.Repository, Branch: c.branch, ID: c.ID})
		if a.err == nil {
			a.date = a.status.Date
		}
	}
	a.At, a.Result, a.fromLakeFS = p.now(), resultSuccess, a.err == nil
	if a.err != nil {
		a.Result = lakefs.Connection
		var lerr *lakefs.Error
		if errors.As(a.err, &lerr) {
			a.Result, a.date, a.fromLakeFS, a.retryAfter = lerr.Kind, lerr.Date, lerr.FromLakeFS(), lerr.RetryAfter
		}
		a.Message = a.err.Error()
		level.Debug(p.logger).Log("msg", "Poll failed", "target", strings.Trim(c.Repository+"/"+c.ID, "/"), "err", a.err)
	}
}
