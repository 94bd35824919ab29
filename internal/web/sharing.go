package web

import (
	"fmt"
	"net/http"

	"golang.org/x/sync/singleflight"
)

// maxUnshared is how many answers that are not shared are in memory at once.
const maxUnshared = 8

// sharing has requests that come together share one answer in memory. Answers
// are rendered one at a time, which is as fast as many and takes the memory of one.
type sharing struct {
	next http.Handler
	// key returns what of a request makes a difference to the answer, besides
	// the compression, and false if the answer is not to be shared. There must
	// be few keys, since each may have an answer in memory.
	key func(*http.Request) (key string, shared bool)

	flights  singleflight.Group
	slot     chan struct{} // taken while an answer is rendered
	unshared chan struct{} // taken until an answer that is not shared is sent
}

func newSharing(next http.Handler, key func(*http.Request) (string, bool)) *sharing {
	return &sharing{next: next, key: key, slot: make(chan struct{}, 1), unshared: make(chan struct{}, maxUnshared)}
}

// ServeHTTP implements http.Handler.
func (s *sharing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	suspendWriteTimeout(w)
	s.serve(w, r, func() {})
}

// serve is ServeHTTP for a request whose write timeout is suspended. It calls
// rendered when the answer is in memory.
func (s *sharing) serve(w http.ResponseWriter, r *http.Request, rendered func()) {
	key, shared := s.key(r)
	if !shared {
		select {
		case s.unshared <- struct{}{}:
			defer func() { <-s.unshared }()
		case <-r.Context().Done():
			return // the client hung up
		}
		key = fmt.Sprintf("%p", r) // nobody else's
	}
	answer := s.render(r, fmt.Sprint(acceptsGzip(r.Header), key))
	rendered()
	answer.send(w, r)
}

// render returns the next answer for key. It is not one that is being rendered
// already: that may lack what was polled for r.
func (s *sharing) render(r *http.Request, key string) *rendering {
	v, _, _ := s.flights.Do(key, func() (any, error) { // there is no error
		s.slot <- struct{}{}
		defer func() { <-s.slot }()
		s.flights.Forget(key)
		return render(s.next, r), nil
	})
	answer, _ := v.(*rendering)
	return answer
}
