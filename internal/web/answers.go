package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"

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

	mu       sync.Mutex
	held     []*rendering // those that are being sent, the oldest first
	released sync.Cond    // told of every client that has read its answer
}

func newAnswers() *answers {
	a := &answers{slot: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
	a.released.L = &a.mu
	return a
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
// there is memory for one more answer.
func (a *answers) makeRoom() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.held) >= minHeld {
		total := 0
		for _, h := range a.held {
			total += h.body.size()
		}
		if total <= maxHeldBytes {
			return
		}
		a.held[0].cut()
		a.released.Wait()
	}
}

// send sends answer to the client of r.
func (a *answers) send(w http.ResponseWriter, r *http.Request, answer *rendering) {
	a.mu.Lock()
	if answer.readers++; answer.readers == 1 {
		answer.ctx, answer.cut = context.WithCancel(context.Background())
		a.held = append(a.held, answer)
	}
	ctx := answer.ctx
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if answer.readers--; answer.readers == 0 {
			answer.cut()
			a.held = slices.DeleteFunc(a.held, func(h *rendering) bool { return h == answer })
		}
		a.released.Signal()
	}()
	answer.send(ctx, w, r)
}
