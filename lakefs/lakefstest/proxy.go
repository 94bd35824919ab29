package lakefstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

// Trouble is what a Proxy does to the connections through it.
type Trouble uint8

// The troubles. They come over connections that are open, too.
const (
	// Forward is none: bytes pass through as they come.
	Forward Trouble = iota
	// Refuse: nobody listens, and open connections are reset.
	Refuse
	// Swallow: connections are accepted, and bytes vanish, in both directions.
	Swallow
	// Trickle: answers come with one byte a second.
	Trickle
	// Garbage: requests are answered with what is not HTTP.
	Garbage
	// EndlessHeader: requests are answered with a header that does not end.
	EndlessHeader
)

// Proxy is a TCP proxy that can be told to misbehave. What a Fault does, it
// leaves to the Server behind it: all bytes pass, and a reset on one side is a
// reset on the other. It is safe for concurrent use.
type Proxy struct {
	// Addr is where it listens: host and port. It never changes.
	Addr string

	upstream string
	running  sync.WaitGroup
	done     chan struct{} // closed by Close

	mu       sync.Mutex
	trouble  Trouble
	listener net.Listener // nil while it refuses
	conns    map[*net.TCPConn]bool
}

// NewProxy starts a proxy in front of an upstream, host and port. Close it when
// it is no longer needed.
func NewProxy(upstream string) (*Proxy, error) {
	p := &Proxy{upstream: upstream, done: make(chan struct{}), conns: map[*net.TCPConn]bool{}}
	// No port that the system hands out: while it is refused, another would
	// get it.
	const lowest, highest, attempts = 10_000, 32_000, 100
	var err error
	for range attempts {
		p.Addr = fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(highest-lowest)) //nolint:gosec // G404: any port will do
		if err = p.Set(Forward); err == nil {
			return p, nil
		}
	}
	return nil, err
}

// Set ends the trouble there was and begins another. It fails only where it
// ends Refuse and somebody else has taken the port.
func (p *Proxy) Set(t Trouble) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t == Refuse {
		p.stopListening()
	} else if p.listener == nil {
		listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", p.Addr)
		if err != nil {
			return fmt.Errorf("misbehaving proxy: %w", err)
		}
		p.listener = listener
		p.running.Go(func() { p.accept(listener) })
	}
	p.trouble = t
	return nil
}

// Reset resets all open connections.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		reset(conn)
	}
}

// Close closes the port and all connections, and waits for what is under way.
func (p *Proxy) Close() {
	close(p.done)
	p.mu.Lock()
	p.stopListening()
	p.trouble = Refuse
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) stopListening() {
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	for conn := range p.conns {
		reset(conn)
	}
}

func (p *Proxy) is(t Trouble) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trouble == t
}

func (p *Proxy) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(client.(*net.TCPConn)) })
	}
}

// serve passes bytes between client and upstream until one of them ends.
func (p *Proxy) serve(client *net.TCPConn) {
	upstream, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.upstream)
	if err != nil {
		reset(client)
		return
	}
	server := upstream.(*net.TCPConn)
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	refused := p.trouble == Refuse
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, client)
		delete(p.conns, server)
	}()
	if refused {
		reset(client)
		reset(server)
		return
	}
	end := func(err error) {
		if !errors.Is(err, io.EOF) {
			reset(client)
			reset(server)
			return
		}
		_ = client.Close()
		_ = server.Close()
	}
	var both sync.WaitGroup
	both.Go(func() { end(pump(client, func(b []byte) error { return p.request(client, server, b) })) })
	both.Go(func() { end(pump(server, func(b []byte) error { return p.answer(client, b) })) })
	both.Wait()
}

// pump hands on what it reads, until reading or handing on fails: with io.EOF
// where that is an orderly end.
func pump(from net.Conn, handOn func([]byte) error) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if err := handOn(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// request hands on part of a request, or answers it.
func (p *Proxy) request(client, server net.Conn, b []byte) error {
	switch {
	case p.is(Swallow):
		return nil
	case p.is(Garbage):
		_, _ = client.Write([]byte("\x00\xff\x16\x03 this is not HTTP\r\n\r\n"))
		return io.EOF
	case p.is(EndlessHeader):
		return p.endlessHeader(client)
	}
	_, err := server.Write(b)
	return err
}

func (p *Proxy) endlessHeader(client net.Conn) error {
	filler := []byte(strings.Repeat("X-Filler: "+strings.Repeat("x", 1000)+"\r\n", 32))
	_, err := client.Write([]byte("HTTP/1.1 200 OK\r\n"))
	for err == nil && p.is(EndlessHeader) {
		_, err = client.Write(filler)
	}
	return io.EOF
}

// answer hands on part of an answer.
func (p *Proxy) answer(client net.Conn, b []byte) error {
	if p.is(Swallow) {
		return nil
	}
	for len(b) > 0 && p.is(Trickle) {
		if _, err := client.Write(b[:1]); err != nil {
			return err
		}
		b = b[1:]
		select {
		case <-time.After(time.Second):
		case <-p.done:
			return net.ErrClosed
		}
	}
	_, err := client.Write(b)
	return err
}

// reset closes a connection with a TCP RST.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}
