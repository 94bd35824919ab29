package lakefs

import (
	"context"
	"net"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// conn counts what it receives, for surplus.
type conn struct {
	net.Conn
	received atomic.Uint64 // how often
}

func (c *conn) Read(p []byte) (n int, err error) {
	n, err = c.Conn.Read(p)
	c.received.Add(1)
	return n, err
}

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// surplus notices an answer that was received before its request was sent. Net/http
// closes an idle connection where a server sends more than was asked for, but takes
// that for the answer to the next request, if there is one at once.
type surplus struct {
	trace  httptrace.ClientTrace
	conn   atomic.Pointer[conn] // in use; nil if it is none of ours
	before atomic.Uint64        // what was received when it came into use
	found  atomic.Bool
}

// surpluses are those of answered requests only: net/http may still call the hooks of
// a request that failed or was canceled.
var surpluses = sync.Pool{New: func() any {
	s := new(surplus)
	s.trace = httptrace.ClientTrace{GotConn: s.gotConn, GotFirstResponseByte: s.gotAnswer}
	return s
}}

func (s *surplus) gotConn(info httptrace.GotConnInfo) {
	if t, ok := info.Conn.(interface{ NetConn() net.Conn }); ok {
		info.Conn = t.NetConn() // of a tls.Conn
	}
	if c, ok := info.Conn.(*conn); ok {
		s.before.Store(c.received.Load())
		s.conn.Store(c)
	}
}

func (s *surplus) gotAnswer() {
	if c := s.conn.Load(); c != nil && c.received.Load() == s.before.Load() {
		s.found.Store(true)
		_ = c.Close()
	}
}
