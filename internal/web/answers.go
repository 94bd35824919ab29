package web

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"
)

const (
	// maxHeldBytes is how much memory answers may take that are being sent.
	maxHeldBytes = 64 << 20
	// minHeld answers may be sent at once, however large they are.
	minHeld = 2
)

// answers renders answers in memory, so that a client that reads slowly keeps
// nothing but its answer, and bounds how much memory they take.
type answers struct {
	flights singleflight.Group
	slot    chan struct{} // taken while a shared answer is rendered

	mu   sync.Mutex
	held []*rendering // those that are being sent, the oldest first
}

func newAnswers() *answers { return &answers{slot: make(chan struct{}, 1)} }

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
	key := strings.Join([]string{r.URL.Path, r.URL.RawQuery, r.Header.Get("Accept"), r.Header.Get("Accept-Encoding")}, "\n")
	v, _, _ := a.flights.Do(key, func() (any, error) { // there is no error
		a.slot <- struct{}{}
		defer func() { <-a.slot }()
		a.flights.Forget(key)
		return render(next, r), nil
	})
	answer, _ := v.(*rendering)
	a.send(w, r, answer)
}

// send sends answer to the client of r, unless newer ones take the memory that
// it has: then the client is cut off.
func (a *answers) send(w http.ResponseWriter, r *http.Request, answer *rendering) {
	ctx := a.hold(answer)
	defer a.release(answer)
	answer.send(ctx, w, r)
}

// hold takes note that one more client reads answer. The context is done when
// it has to stop.
func (a *answers) hold(answer *rendering) context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	if answer.readers++; answer.readers == 1 {
		answer.ctx, answer.cut = context.WithCancel(context.Background())
		a.held = append(a.held, answer)
	}
	total := 0
	for _, h := range a.held {
		total += h.body.size()
	}
	for total > maxHeldBytes && len(a.held) > minHeld {
		total -= a.held[0].body.size()
		a.held[0].cut()
		a.held = a.held[1:]
	}
	return answer.ctx
}

func (a *answers) release(answer *rendering) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if answer.readers--; answer.readers == 0 {
		answer.cut()
		a.held = slices.DeleteFunc(a.held, func(h *rendering) bool { return h == answer })
	}
}
