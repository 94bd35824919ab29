package web

import (
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxConnections is how many connections there are at once. Each may have a
// header in memory.
const maxConnections = 512

// NewServer returns a server that answers with handler. It bounds how long a
// client can make it wait, and how much of its memory clients take.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler,
		// That of a TLS handshake too.
		ReadHeaderTimeout: 10 * time.Second,
		// With the body. A request that was read can take longer.
		ReadTimeout: 30 * time.Second,
		// From the header on. Answers that wait for polls have it anew: see
		// answers.
		WriteTimeout: time.Minute,
		// Longer than Prometheus keeps idle connections, which is five minutes:
		// otherwise a scrape may meet a connection that is just being closed.
		IdleTimeout:    6 * time.Minute,
		MaxHeaderBytes: 16 << 10,
		ConnState:      (&connections{}).changed,
		// Otherwise OPTIONS * is answered before authentication.
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          32,
			MaxReceiveBufferPerStream:     64 << 10,
			MaxReceiveBufferPerConnection: 256 << 10,
			MaxDecoderHeaderTableSize:     4 << 10,
		},
	}
}

// connections bounds how many connections there are. One too many closes the one
// that has waited longest for its client to send a request: a client that sends one at
// once, as Prometheus does, is answered although others hold all the rest.
type connections struct {
	mu      sync.Mutex
	open    int
	waiting []net.Conn // for a request, the longest first
}

// changed is a http.Server's ConnState.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = slices.DeleteFunc(c.waiting, func(w net.Conn) bool { return w == conn })
	switch state {
	case http.StateNew, http.StateIdle:
		c.waiting = append(c.waiting, conn)
	case http.StateClosed, http.StateHijacked:
		c.open--
	case http.StateActive:
	}
	if state != http.StateNew {
		return
	}
	if c.open++; c.open > maxConnections {
		go c.waiting[0].Close() // that of TLS may wait for the client
		c.waiting = c.waiting[1:]
	}
}
