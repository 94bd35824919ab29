package lakefs

import (
	"context"
	"net"
	"time"

	"github.com/prometheus/common/config"
)

// maxSilence bounds how long a connection waits for the other side. Requests end
// sooner, by their contexts. But what fetches OAuth 2 tokens has none, and one
// that was never answered would keep all requests waiting for ever.
const maxSilence = time.Minute

// dialTimeout bounds how long a connection takes to be made. net/http goes on
// with that when the request has ended: where packets vanish, for two minutes.
const dialTimeout = 10 * time.Second

// impatient dials as dial does. The connections fail when nothing was sent or
// received for the time of silence.
func impatient(dial config.DialContextFunc, silence time.Duration) config.DialContextFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &impatientConn{conn, silence}, nil
	}
}

type impatientConn struct {
	net.Conn
	silence time.Duration
}

func (c *impatientConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(c.silence))
	}
	return n, err
}

func (c *impatientConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
