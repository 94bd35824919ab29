package lakefs

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/prometheus/common/config"
)

// maxAnswerBytes bounds an answer with its header, of which net/http alone would
// take 10 MiB, and prometheus/common lets nobody tell it otherwise.
const maxAnswerBytes = 2 * maxBodyBytes

var errTooLong = errors.New("answer is over 2 MiB")

// bounded dials as dial does. The connections fail when more than
// maxAnswerBytes are received after the last that was sent. That is for HTTP/1:
// in HTTP/2, many answers share a connection.
func bounded(dial config.DialContextFunc) config.DialContextFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &boundedConn{Conn: conn}, nil
	}
}

type boundedConn struct {
	net.Conn
	received atomic.Int64 // since the last Write
}

func (c *boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.received.Add(int64(n)) > maxAnswerBytes {
		return 0, errTooLong
	}
	return n, err
}

func (c *boundedConn) Write(p []byte) (int, error) {
	c.received.Store(0)
	return c.Conn.Write(p)
}
