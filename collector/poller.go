package collector

import (
	"context"
	"errors"
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

// missedDeadline is the message of a poll that a scrape could not wait for.
const missedDeadline = "no answer before the scrape's deadline"

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

// target is something to ask a server for.
type target struct {
	kind           targetKind
	repository, id string
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
		return t.repository
	default:
		return t.repository + "/" + t.id
	}
}

// pollRequest is a target, and how to ask for it.
type pollRequest struct {
	target
	branch string // any branch will do for lakeFS; its access rights may differ
}

func importRequest(ref lakefs.Ref) pollRequest {
	return pollRequest{target{targetImport, ref.Repository, ref.ID}, ref.Branch}
}

// pollAnswer is how a request ended.
type pollAnswer struct {
	kind   targetKind
	at     time.Time
	result Result
	// message says why there is no status.
	message string
	// sent is false if no request was sent, because of a pause.
	sent   bool
	status *lakefs.ImportStatus
	// lastImport is that of a repository; zero if there was none.
	lastImport time.Time
	date       time.Time // lakeFS's clock; zero if it is not known
	err        error
}

// fromLakeFS reports whether lakeFS itself gave the answer.
func (a *pollAnswer) fromLakeFS() bool {
	var lerr *lakefs.Error
	return a.sent && (a.err == nil || errors.As(a.err, &lerr) && lerr.FromLakeFS())
}

// poll returns a as the newest poll of its target.
func (a *pollAnswer) poll() Poll {
	return Poll{Result: a.result, At: a.at, Message: a.message}
}

// interrupted reports whether the request ended because the server was removed:
// nothing was learned.
func (a *pollAnswer) interrupted() bool { return errors.Is(a.err, context.Canceled) }

// call is one request, shared by all who need its answer. It is guarded by its
// poller's lock until it is done, and does not change afterwards.
type call struct {
	pollRequest
	waiters []*wait // while it is not done
	lane    lane    // that it was taken from
	started bool
	done    bool
	answer  pollAnswer
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

// poller sends the requests to one lakeFS server: never two for the same target
// at once, nor within a second of the last one, and no more at once than the
// server's limit. A request that was sent goes on when nobody waits for it any
// more, until its own timeout.
type poller struct {
	now    func() time.Time
	logger log.Logger
	// polled is told of every request but health checks, and how long it took.
	polled func(time.Duration, Result)
	// record is told how every request ended, and with again set of an answer
	// that is shared after the end.
	record func(t target, a *pollAnswer, again bool)

	mu          sync.Mutex
	settings    Server
	ctx         context.Context // of all requests; done when the server is removed
	cancel      context.CancelFunc
	calls       map[target]*call // in flight or queued, or done less than a second ago
	finished    []*call          // in the order in which they ended
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

func newPoller(settings Server) *poller {
	p := &poller{settings: settings, calls: map[target]*call{}}
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
	if !p.pausedUntil.After(p.now()) {
		return time.Time{}
	}
	return p.pausedUntil
}

// poll asks for requests and waits until all are answered, or else until ctx is
// done. It returns the answers, and the targets that there is none for.
func (p *poller) poll(ctx context.Context, l lane, requests ...pollRequest) (answers []*pollAnswer, missed []target) {
	w := p.join(l, requests)
	select {
	case <-w.done:
	default:
		select {
		case <-w.done:
		case <-ctx.Done():
		}
	}
	return p.leave(w)
}

// join makes or shares the calls that requests need.
func (p *poller) join(l lane, requests []pollRequest) *wait {
	w := &wait{calls: make([]*call, len(requests)), done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.expire(now)
	for i, r := range requests {
		c := p.calls[r.target]
		switch {
		case c == nil:
			c = &call{pollRequest: r}
			p.calls[r.target] = c
			p.queues[l] = append(p.queues[l], c)
		case c.done:
			p.record(c.target, &c.answer, true)
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
func (p *poller) leave(w *wait) (answers []*pollAnswer, missed []target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answers = make([]*pollAnswer, 0, len(w.calls))
	for _, c := range w.calls {
		if c.done {
			answers = append(answers, &c.answer)
			continue
		}
		missed = append(missed, c.target)
		c.leave(w)
	}
	return answers, missed
}

func (c *call) leave(w *wait) {
	for i, other := range c.waiters {
		if other == w {
			last := len(c.waiters) - 1
			c.waiters[i] = c.waiters[last]
			c.waiters = c.waiters[:last]
			return
		}
	}
}

// work sends the requests in the queues until they are empty.
func (p *poller) work() {
	var c *call
	for {
		ctx, settings, pause := p.take(&c)
		if c == nil {
			return
		}
		if pause.IsZero() {
			c.answer = p.ask(ctx, settings, c.pollRequest)
		} else {
			c.answer = pollAnswer{at: p.now(), result: resultRateLimited, message: "not polled: lakeFS answered with HTTP status 429; paused until " + pause.UTC().Format(time.RFC3339)}
		}
		if !c.answer.interrupted() {
			p.record(c.target, &c.answer, false)
		}
	}
}

// take ends *c, if there is one, and replaces it by the next call, if any.
func (p *poller) take(c **call) (ctx context.Context, settings Server, pause time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *c != nil {
		p.end(*c)
	}
	*c = nil
	if p.workers <= p.settings.MaxConcurrentRequests { // which a reload may have lowered
		*c = p.dequeue()
	}
	if *c == nil {
		p.workers--
		return nil, Server{}, time.Time{}
	}
	(*c).started = true
	if now := p.now(); p.pausedUntil.After(now) {
		pause = p.pausedUntil
	}
	return p.context(), p.settings, pause
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
	p.finished = append(p.finished, c)
	p.expire(p.now()) // not the time of the answer: others that ended later may be first
	var lerr *lakefs.Error
	if errors.As(c.answer.err, &lerr) && lerr.Kind == lakefs.RateLimited {
		pause := lerr.RetryAfter
		if pause == 0 {
			pause = defaultPause
		}
		p.pausedUntil = c.answer.at.Add(min(pause, maxPause))
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
		queue := p.queues[p.next]
		c := queue[0]
		queue[0] = nil
		if p.queues[p.next] = queue[1:]; len(queue) == 1 {
			p.queues[p.next] = nil // and so its array
		}
		switch {
		case c.started:
		case len(c.waiters) == 0:
			if p.calls[c.target] == c {
				delete(p.calls, c.target)
			}
		default:
			c.lane = p.next
			p.busy[c.lane]++
			p.next = (p.next + 1) % lanes
			return c
		}
	}
}

// ready reports whether a call can be taken from a lane, with the lock held. The
// other lane can always have one, however long these take.
func (p *poller) ready(l lane) bool {
	return len(p.queues[l]) > 0 && p.busy[l] < max(1, p.settings.MaxConcurrentRequests-1)
}

// expire drops the answers that are too old to be shared, with the lock held.
func (p *poller) expire(now time.Time) {
	for len(p.finished) > 0 {
		c := p.finished[0]
		// A clock that was set back must not make answers last.
		if age := now.Sub(c.answer.at); age >= 0 && age < minPollInterval {
			return
		}
		if p.calls[c.target] == c {
			delete(p.calls, c.target)
		}
		p.finished[0] = nil
		if p.finished = p.finished[1:]; len(p.finished) == 0 {
			p.finished = nil // and so its array
		}
	}
}

// context returns a context for a request that begins now, with the lock held.
// It ends after the server's timeout, or up to a twentieth later: thousands of
// requests can share one timer.
func (p *poller) context() context.Context {
	const share = 20
	slack := p.settings.Timeout / share
	if now := time.Now(); p.timeout == nil || now.Sub(p.timeoutFrom) > slack { // the real clock, which timers go by
		timeout, cancel := context.WithTimeout(p.ctx, p.settings.Timeout+slack)
		context.AfterFunc(timeout, cancel) // not before the last of its requests
		p.timeout, p.timeoutFrom = timeout, now
	}
	return p.timeout
}

// ask sends a request and returns the answer.
func (p *poller) ask(ctx context.Context, settings Server, r pollRequest) pollAnswer {
	a := pollAnswer{kind: r.kind, sent: true}
	begin := time.Now() // for a duration: the real clock, which is monotonic
	switch r.kind {
	case targetHealth:
		a.date, a.err = settings.Client.Healthcheck(ctx)
	case targetRepository:
		var last lakefs.LastImport
		last, a.err = settings.Client.LastImport(ctx, r.repository)
		a.lastImport, a.date = last.At, last.Date
	case targetImport:
		a.status, a.err = settings.Client.ImportStatus(ctx, lakefs.Ref{Repository: r.repository, Branch: r.branch, ID: r.id})
		if a.err == nil {
			a.date = a.status.Date
		}
	}
	took := time.Since(begin)
	a.at, a.result = p.now(), resultSuccess
	if a.err != nil {
		var lerr *lakefs.Error
		a.result = Result(lakefs.Connection.String())
		if errors.As(a.err, &lerr) {
			a.result, a.date = Result(lerr.Kind.String()), lerr.Date
		}
		a.message = a.err.Error()
		level.Debug(p.logger).Log("msg", "Poll failed", "target", r.target, "err", a.err)
	}
	if r.kind != targetHealth && !a.interrupted() {
		p.polled(took, a.result)
	}
	return a
}
