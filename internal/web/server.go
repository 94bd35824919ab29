package web

import (
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
		// From the header on. Answers that wait for polls have it anew: see
		// inMemory.
		WriteTimeout: time.Minute,
		// Longer than Prometheus keeps idle connections, which is five minutes:
		// otherwise a scrape may meet a connection that is just being closed.
		IdleTimeout:    6 * time.Minute,
		MaxHeaderBytes: 16 << 10,
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
