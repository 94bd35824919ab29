package main

import (
	"log" //nolint:depguard // net/http logs by it
	"strings"
	"sync/atomic"

	kitlog "github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"golang.org/x/time/rate"
)

// standardLog writes to the program's log what net/http logs of broken clients and
// servers, who decide how much that is.
type standardLog struct {
	logger  kitlog.Logger
	limit   *rate.Limiter
	dropped atomic.Int64 // lines since the last one that was written
}

// redirectStandardLog has the standard logger write to logger, at a bounded rate.
func redirectStandardLog(logger kitlog.Logger) {
	const burst = 10
	log.SetFlags(0)
	log.SetOutput(&standardLog{logger: logger, limit: rate.NewLimiter(1, burst)})
}

// Write implements io.Writer: it takes one line of the log.
func (s *standardLog) Write(line []byte) (int, error) {
	if !s.limit.Allow() {
		s.dropped.Add(1)
		return len(line), nil
	}
	// What follows is what a server sent, which may repeat a secret.
	msg, _, _ := strings.Cut(strings.TrimSpace(string(line)), " starting with ")
	logger := level.Warn(s.logger)
	// Who only looks whether the port is open, as kubelet and load balancers do,
	// connects to it and leaves.
	if strings.HasPrefix(msg, "http: TLS handshake error") && strings.HasSuffix(msg, ": EOF") {
		logger = level.Debug(s.logger)
	}
	if n := s.dropped.Swap(0); n > 0 {
		logger = kitlog.With(logger, "dropped_lines", n)
	}
	logger.Log("msg", msg)
	return len(line), nil
}
