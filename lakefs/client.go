// Package lakefs is a client of the part of the lakeFS API that reports on
// imports. It knows nothing of metrics or configuration files.
package lakefs

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/config"
	"golang.org/x/sync/singleflight"
)

// ClientConfig says how to reach one lakeFS server.
type ClientConfig struct {
	// EndpointURL is as in lakectl's server.endpoint_url, with or without
	// /api/v1 at its end.
	EndpointURL string
	// HTTP are the HTTP client settings of Prometheus' scrape configs. Files
	// named in it are read again when they change.
	HTTP config.HTTPClientConfig
	// UserAgent is sent with every request.
	UserAgent string
}

// Client talks to one lakeFS server. It is safe for concurrent use.
type Client struct {
	cfg     ClientConfig
	base    *url.URL // without /api/v1
	current atomic.Pointer[session]
	renewal singleflight.Group
}

// NewClient returns a client for cfg. It sends nothing yet. An error tells what is
// wrong with the endpoint or the HTTP settings, or which file cannot be read.
func NewClient(cfg ClientConfig) (*Client, error) {
	base, err := ParseEndpoint(cfg.EndpointURL)
	if err != nil {
		return nil, err
	}
	first, err := newSession(cfg, nil)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, base: base}
	c.current.Store(first)
	return c, nil
}

// CloseIdleConnections closes connections that no request is using. Requests
// that are being answered are not disturbed.
func (c *Client) CloseIdleConnections() { c.current.Load().transport.CloseIdleConnections() }

// EndpointURL returns the endpoint without /api/v1: where the web UI is.
func (c *Client) EndpointURL() string { return c.base.String() }

// CommitURL returns where lakeFS's web UI shows a commit.
func (c *Client) CommitURL(repository, commitID string) string {
	return c.base.JoinPath("repositories", url.PathEscape(repository), "commits", url.PathEscape(commitID)).String()
}

// ImportStatus asks lakeFS for the status of the import ref. The deadline of
// ctx is that of the request; there is no other. An error is an *Error, or
// context.Canceled if ctx was canceled: nothing was learned then.
func (c *Client) ImportStatus(ctx context.Context, ref Ref) (*ImportStatus, error) {
	path := "/repositories/" + url.PathEscape(ref.Repository) + "/branches/" + url.PathEscape(ref.Branch) + "/import"
	status := new(ImportStatus)
	date, err := c.get(ctx, apiURL(c.base, path, "id="+url.QueryEscape(ref.ID)), http.StatusOK, status.UnmarshalJSON)
	if err != nil {
		return nil, err
	}
	status.Date = date
	return status, nil
}

// Healthcheck asks lakeFS whether it is alive and returns the answer's Date. It
// takes no credentials, so wrong ones look healthy. Errors are as those of
// ImportStatus.
func (c *Client) Healthcheck(ctx context.Context) (date time.Time, err error) {
	return c.get(ctx, apiURL(c.base, "/healthcheck", ""), http.StatusNoContent, func([]byte) error { return nil })
}

// CheckKeys asks lakeFS for something that takes credentials. It returns nil if they
// are accepted, however little they permit. Errors are as those of ImportStatus.
func (c *Client) CheckKeys(ctx context.Context) error {
	const repository = "lakefs-import-exporter" // need not exist
	_, err := c.LastImport(ctx, repository)
	var answer *Error
	if errors.As(err, &answer) && (answer.Kind == NotFound || answer.Message == insufficientPermissions) {
		return nil
	}
	return err
}

// LastImport is the newest successful import into a repository.
type LastImport struct {
	// At is when it was committed, to the second, by lakeFS's clock: what lakeFS
	// notes among the repository's metadata. It is zero if there never was one.
	At time.Time
	// Date is the answer's Date header, zero if there was none.
	Date time.Time
}

// LastImport asks lakeFS for the newest successful import into a repository.
// Errors are as those of ImportStatus.
func (c *Client) LastImport(ctx context.Context, repository string) (LastImport, error) {
	var last LastImport
	u := apiURL(c.base, "/repositories/"+url.PathEscape(repository)+"/metadata", "")
	date, err := c.get(ctx, u, http.StatusOK, last.UnmarshalJSON)
	if err != nil {
		return LastImport{}, err
	}
	last.Date = date
	return last, nil
}

// UnmarshalJSON decodes a repository's metadata, a JSON object of strings. Its
// errors do not quote from it.
func (l *LastImport) UnmarshalJSON(data []byte) error {
	const key = ".lakefs.last.import.timestamp"
	var metadata map[string]string
	if json.Unmarshal(data, &metadata) != nil || metadata == nil {
		return errors.New("not an object of strings")
	}
	*l = LastImport{}
	if metadata[key] == "" {
		return nil
	}
	seconds, err := strconv.ParseInt(metadata[key], 10, 38) // JSON cannot tell a time that takes more bits
	if err != nil || seconds <= 0 {
		return errors.New(key + " is not Unix seconds")
	}
	l.At = time.Unix(seconds, 0).UTC()
	return nil
}

// get sends a GET and has the body of a success decoded, which must not keep it.
// It returns the answer's Date.
func (c *Client) get(ctx context.Context, u *url.URL, success int, decode func(body []byte) error) (time.Time, error) {
	a, err := c.send(ctx, u)
	if err != nil {
		return time.Time{}, requestError(ctx, err)
	}
	defer a.release()
	if a.status != success {
		return time.Time{}, a.failure()
	}
	if err := decode(a.body.Bytes()); err != nil {
		return time.Time{}, a.bad("not the JSON of lakeFS: " + err.Error())
	}
	return a.date, nil
}

func (c *Client) send(ctx context.Context, u *url.URL) (answer, error) {
	s, err := c.session(ctx)
	if err != nil {
		return answer{}, err
	}
	extra := surpluses.Get().(*surplus) //nolint:forcetypeassert // nothing else is in it
	req := (&http.Request{Method: http.MethodGet, URL: u, Header: s.header}).WithContext(httptrace.WithClientTrace(ctx, &extra.trace))
	resp, err := s.transport.RoundTrip(req)
	if err == nil && c.cfg.HTTP.FollowRedirects {
		resp, err = s.follow(req, resp)
	}
	if err != nil {
		return answer{}, err
	}
	if extra.found.Load() {
		_ = resp.Body.Close() // unread, so that the connection is not used again
		return answer{}, &Error{Kind: BadResponse, StatusCode: resp.StatusCode, Err: errors.New("unsolicited response (is a proxy in front of lakeFS broken?)")}
	}
	a, err := readAnswer(resp)
	if err == nil && httptrace.ContextClientTrace(ctx) == nil { // or else extra.trace calls that, too
		extra.conn.Store(nil)
		surpluses.Put(extra)
	}
	return a, err
}
