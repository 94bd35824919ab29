package lakefs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/common/config"
)

const (
	// renewInterval is how long a session is used before its files are read again.
	renewInterval = 100 * time.Millisecond
	// dialTimeout is for connections that nobody waits for any more: net/http goes on.
	dialTimeout    = 10 * time.Second
	maxHeaderBytes = 64 << 10 // of an answer; lakeFS's have a few hundred
	maxRedirects   = 10
)

// session is what requests are sent with, as files of secrets and certificates
// are at the time. It does not change.
type session struct {
	contents  []string          // of the files
	header    http.Header       // credentials included
	tokens    http.RoundTripper // nil without oauth2, see newTokens
	transport *http.Transport
	renewAt   time.Time
}

// newSession reads the files. A session whose files are as those of old, if there
// is one, uses its connections and tokens on.
func newSession(cfg ClientConfig, old *session) (*session, error) {
	files := new(fileReader)
	s := &session{header: newHeader(cfg, files)}
	tlsConfig := files.tls(cfg.HTTP.TLSConfig)
	tokens := newTokens(cfg.HTTP.OAuth2, files)
	if files.err != nil {
		return nil, files.err
	}
	s.contents = files.contents
	if old != nil && slices.Equal(old.contents, s.contents) {
		s.transport, s.tokens = old.transport, old.tokens
		return s, nil
	}
	rt, err := config.NewRoundTripperFromConfig(config.HTTPClientConfig{
		ProxyConfig: cfg.HTTP.ProxyConfig,
		TLSConfig:   tlsConfig,
		EnableHTTP2: cfg.HTTP.EnableHTTP2,
	}, "lakefs")
	if err != nil {
		return nil, &Error{Kind: Credentials, Err: fmt.Errorf("tls_config: %w", err)}
	}
	s.tokens, s.transport = tokens, rt.(*http.Transport) //nolint:forcetypeassert // another one only if there are files to reload
	s.transport.DialContext = dial
	s.transport.OnProxyConnectResponse = refuseConnect
	s.transport.MaxResponseHeaderBytes = maxHeaderBytes
	// By default a server may send 4 MiB before anything of it is read.
	s.transport.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerConnection: maxBodyBytes, MaxReceiveBufferPerStream: 64 << 10}
	return s, nil
}

// refuseConnect tells a refusal of a proxy by its status. Net/http would quote the
// reason phrase.
func refuseConnect(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &Error{Kind: Connection, Err: fmt.Errorf("proxy_url answered with HTTP status %d", resp.StatusCode)}
}

// newHeader returns the header of every request. prometheus/common would copy a
// request for each part of it.
func newHeader(cfg ClientConfig, files *fileReader) http.Header {
	h := http.Header{"Accept": {"application/json"}, "User-Agent": {cfg.UserAgent}}
	if auth := cfg.HTTP.BasicAuth; auth != nil {
		(&http.Request{Header: h}).SetBasicAuth(
			files.value(auth.Username, auth.UsernameFile), files.value(string(auth.Password), auth.PasswordFile))
	}
	if auth := cfg.HTTP.Authorization; auth != nil {
		h.Set("Authorization", auth.Type+" "+files.value(string(auth.Credentials), auth.CredentialsFile))
	}
	if cfg.HTTP.HTTPHeaders == nil {
		return h
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.HTTP.HTTPHeaders.Headers)) {
		configured := cfg.HTTP.HTTPHeaders.Headers[name]
		for _, v := range configured.Values {
			h.Add(name, v)
		}
		for _, v := range configured.Secrets {
			h.Add(name, string(v))
		}
		for _, path := range configured.Files {
			h.Add(name, files.value("", path))
		}
	}
	return h
}

// session returns what to send a request with now. It does not outlast ctx, even
// if reading a file does.
func (c *Client) session(ctx context.Context) (*session, error) {
	if s := c.current.Load(); time.Now().Before(s.renewAt) {
		return s, nil
	}
	select {
	case renewed := <-c.renewal.DoChan("", c.renew):
		return renewed.Val.(*session), renewed.Err //nolint:forcetypeassert // renew returns sessions
	case <-ctx.Done():
		return nil, &Error{Kind: Timeout, Err: errors.New("no credentials before the deadline, from a file or token_url")}
	}
}

// renew replaces the session. Out of file descriptors, the present one is used on.
func (c *Client) renew() (any, error) {
	old := c.current.Load()
	next, err := newSession(c.cfg, old)
	switch {
	case errors.Is(err, syscall.EMFILE):
		return old, nil
	case err != nil:
		return old, err
	case next.tokens != nil:
		if err := setToken(next.header, next.tokens); err != nil {
			return old, err
		}
	}
	next.renewAt = time.Now().Add(renewInterval)
	c.current.Store(next)
	if next.transport != old.transport {
		old.transport.CloseIdleConnections()
	}
	return next, nil
}

// follow follows redirects to where the credentials may go.
func (s *session) follow(req *http.Request, resp *http.Response) (*http.Response, error) {
	from := req.URL
	for range maxRedirects {
		to, err := resp.Location()
		if err != nil || resp.StatusCode < 300 || resp.StatusCode >= 400 || !mayFollow(from, to) {
			return resp, nil //nolint:nilerr // there is an answer
		}
		resp.Body.Close()
		req = req.WithContext(req.Context())
		req.URL = to
		if resp, err = s.transport.RoundTrip(req); err != nil {
			return nil, err
		}
	}
	return resp, nil
}
