package web

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// maxHeldBytes is how much memory answers may take that are being sent.
	maxHeldBytes = 32 << 20
	// minHeld answers may be sent at once, however large they are.
	minHeld = 2
)

// answers renders answers in memory, so that a client that reads slowly keeps
// nothing but its answer, and bounds how much memory they take.
type answers struct {
	flights singleflight.Group
	slot    chan struct{} // taken while a shared answer is rendered
	turn    chan struct{} // taken before slot, but not for scrapes of all metrics

	mu   sync.Mutex
	held []*rendering // those that are being sent, the oldest first
}

func newAnswers() *answers {
	return &answers{slot: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
}

// own has next answer every request by itself.
func (a *answers) own(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		suspendWriteTimeout(w)
		a.send(w, r, render(next, r))
	}
}

// share has next answer all requests that come together and are alike. Answers
// are rendered one at a time, which is as fast as many and takes the memory of
// one. A request does not get an answer that is being rendered already: that may
// lack what was polled for it.
func (a *answers) share(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	a.shared(w, r, next, false)
}

// shareScrape is share for scrapes. Those of all metrics wait for each other, of
// which there are as many as formats, and for one other answer at most: clients
// can ask for any number of these.
func (a *answers) shareScrape(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	a.shared(w, r, next, r.URL.RawQuery == "")
}

func (a *answers) shared(w http.ResponseWriter, r *http.Request, next http.HandlerFunc, first bool) {
	key := fmt.Sprint(r.URL.Path, "?", r.URL.RawQuery, "\n", negotiate(r), acceptsGzip(r.Header))
	v, _, _ := a.flights.Do(key, func() (any, error) { // there is no error
		if !first {
			a.turn <- struct{}{}
			defer func() { <-a.turn }()
		}
		a.slot <- struct{}{}
		defer func() { <-a.slot }()
		a.makeRoom()
		a.flights.Forget(key)
		return render(next, r), nil
	})
	answer, _ := v.(*rendering)
	a.send(w, r, answer)
}

// makeRoom cuts off clients that read slowly, those first that began first, until
// there is memory for one more answer. It does not wait for them: net/http takes
// five seconds to close a connection with TLS.
func (a *answers) makeRoom() {
	a.mu.Lock()
	defer a.mu.Unlock()
	total := 0
	for _, answer := range a.held {
		total += answer.size
	}
	for total > maxHeldBytes && len(a.held) >= minHeld {
		oldest := a.held[0]
		a.held = a.held[1:]
		total -= oldest.size
		oldest.body = nil
		for _, reader := range oldest.readers {
			cutOff(reader)
		}
	}
}

// cutOff ends writes that wait for the client.
func cutOff(reader *http.ResponseController) { _ = reader.SetWriteDeadline(time.Unix(1, 0)) }

// send sends answer to the client of r, until makeRoom cuts it off. The server's
// WriteTimeout is that of reading it, however long it took to render.
func (a *answers) send(w http.ResponseWriter, r *http.Request, answer *rendering) {
	reader := http.NewResponseController(w)
	if server, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && server.WriteTimeout > 0 {
		_ = reader.SetWriteDeadline(time.Now().Add(server.WriteTimeout))
	}
	a.hold(answer, reader)
	defer a.release(answer, reader)
	answer.sendHeader(w)
	for i := 0; ; i++ {
		block, ok := a.block(answer, i)
		if !ok {
			return
		}
		if _, err := w.Write(block); err != nil { //nolint:gosec // G705: the handler has escaped it
			return // the client hung up
		}
	}
}

func (a *answers) hold(answer *rendering, reader *http.ResponseController) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case answer.size > 0 && answer.body == nil: // while others read it
		cutOff(reader)
	case len(answer.readers) == 0:
		a.held = append(a.held, answer)
	}
	answer.readers = append(answer.readers, reader)
}

func (a *answers) release(answer *rendering, reader *http.ResponseController) {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer.readers = slices.DeleteFunc(answer.readers, func(other *http.ResponseController) bool { return other == reader })
	if len(answer.readers) == 0 {
		a.held = slices.DeleteFunc(a.held, func(other *rendering) bool { return other == answer })
	}
}

// block returns a part of the body of answer; false after the last one.
func (a *answers) block(answer *rendering, i int) ([]byte, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i >= len(answer.body) {
		return nil, false
	}
	return answer.body[i], true
}

// suspendWriteTimeout lets a request take as long as it needs.
func suspendWriteTimeout(w http.ResponseWriter) {
	// Not every writer in tests has deadlines.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
}
