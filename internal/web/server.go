package web

import (
	"context"
	"net/http"
	"time"
)

// NewServer returns a server that answers with handler. It bounds how long a
// client can make it wait, and how much of a request it keeps.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler,
		// That of a TLS handshake too.
		ReadHeaderTimeout: 10 * time.Second,
		// With the body. A request that was read can take longer.
		ReadTimeout: 30 * time.Second,
		// From the header on. Those who wait for polls have it anew: see poll.
		WriteTimeout: time.Minute,
		// Prometheus closes idle connections after five minutes: it had better
		// be the first to.
		IdleTimeout:    6 * time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
}

// poll calls polls, which may take until timeout, whatever the server's
// WriteTimeout is: that is for reading the answer, and begins anew when polls
// has returned. It returns false if the client has hung up.
func poll(w http.ResponseWriter, r *http.Request, timeout time.Duration, polls func(context.Context)) bool {
	// Not all that is served to in tests has deadlines.
	answer := http.NewResponseController(w)
	_ = answer.SetWriteDeadline(time.Time{})
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	polls(ctx)
	if server, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && server.WriteTimeout > 0 {
		_ = answer.SetWriteDeadline(time.Now().Add(server.WriteTimeout))
	}
	return r.Context().Err() == nil
}
