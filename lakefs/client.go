// Package lakefs is a client of the part of the lakeFS API that tells how
// imports are getting on. It knows nothing of metrics or configuration files.
package lakefs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/config"
	"golang.org/x/oauth2"
)

const (
	apiPath = "/api/v1"
	// maxBodyBytes is far above any status of lakeFS (a commit's metadata is
	// its only unbounded part) and far below what would hurt.
	maxBodyBytes = 1 << 20
	// excerptBytes is how much of an unusable body an error shows.
	excerptBytes = 120
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
	base   *url.URL // without /api/v1
	http   *http.Client
	public map[string]bool // headers that hold no secret, by canonical name
}

// NewClient returns a client for cfg. It sends nothing yet. The error tells
// what is wrong with the endpoint or with the HTTP settings, TLS files included.
func NewClient(cfg ClientConfig) (*Client, error) {
	base, err := ParseEndpoint(cfg.EndpointURL)
	if err != nil {
		return nil, err
	}
	secrets := &secretFiles{files: map[string]secretFile{}}
	dial := (&net.Dialer{Timeout: dialTimeout}).DialContext
	if base.Scheme == "http" || !cfg.HTTP.EnableHTTP2 {
		dial = bounded(dial)
	}
	if cfg.HTTP.OAuth2 != nil {
		dial = impatient(dial, maxSilence)
	}
	hc, err := config.NewClientFromConfig(secrets.adopt(cfg.HTTP), "lakefs",
		config.WithUserAgent(cfg.UserAgent), config.WithSecretManager(secrets), config.WithDialContextFunc(dial))
	if err != nil {
		return nil, err
	}
	if cfg.HTTP.OAuth2 != nil {
		hc.Transport = newFirstAlone(hc.Transport)
	}
	if cfg.HTTP.FollowRedirects {
		hc.CheckRedirect = checkRedirect
	}
	return &Client{base: base, http: hc, public: publicHeaders(cfg.HTTP.HTTPHeaders)}, nil
}

// ParseEndpoint parses a lakeFS endpoint URL as lakectl takes it, and returns
// it without a trailing slash and without /api/v1.
func ParseEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		// The error would quote from the URL, which may hold a password.
		return nil, errors.New("not a URL")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("must begin with http:// or https://")
	case u.Hostname() == "":
		return nil, errors.New("has no host")
	case u.User != nil:
		return nil, errors.New("must not hold credentials: use basic_auth")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("must not have a query or a fragment")
	}
	path := strings.TrimSuffix(strings.TrimRight(u.EscapedPath(), "/"), apiPath)
	return (&url.URL{Scheme: u.Scheme, Host: u.Host}).JoinPath(strings.TrimRight(path, "/")), nil
}

// checkRedirect follows a redirect only to where the credentials may go: the
// same host, or the same host name from http to https on their usual ports.
func checkRedirect(req *http.Request, via []*http.Request) error {
	const maxRedirects = 10
	from := via[0].URL
	sameHost := req.URL.Scheme == from.Scheme && req.URL.Host == from.Host
	upgraded := from.Scheme == "http" && req.URL.Scheme == "https" &&
		from.Hostname() == req.URL.Hostname() &&
		(from.Port() == "" || from.Port() == "80") && (req.URL.Port() == "" || req.URL.Port() == "443")
	if (!sameHost && !upgraded) || len(via) >= maxRedirects {
		return http.ErrUseLastResponse
	}
	return nil
}

// CloseIdleConnections closes connections that no request is using. Requests
// under way end as they would have.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// EndpointURL returns the endpoint without /api/v1: where the web UI is.
func (c *Client) EndpointURL() string { return c.base.String() }

// CommitURL returns where lakeFS's web UI shows a commit.
func (c *Client) CommitURL(repository, commitID string) string {
	return c.base.JoinPath("repositories", url.PathEscape(repository), "commits", url.PathEscape(commitID)).String()
}

// ImportStatus asks lakeFS how the import ref is getting on.
//
// An error is an *Error, but for one case: if ctx is cancelled for another
// reason than a deadline, nothing was learned, and the error wraps
// context.Canceled.
func (c *Client) ImportStatus(ctx context.Context, ref Ref) (*ImportStatus, error) {
	u := c.url("repositories", ref.Repository, "branches", ref.Branch, "import") + "?id=" + url.QueryEscape(ref.ID)
	status := new(ImportStatus)
	a, err := c.getJSON(ctx, u, status.UnmarshalJSON)
	if err != nil {
		return nil, err
	}
	status.redact(a.sent.redact)
	return status, nil
}

// Healthcheck asks lakeFS whether it is alive. That takes no credentials, so
// wrong ones look healthy. Errors are as those of ImportStatus.
func (c *Client) Healthcheck(ctx context.Context) error {
	a, err := c.get(ctx, c.url("healthcheck"))
	if err != nil {
		return err
	}
	if a.StatusCode != http.StatusNoContent {
		return a.failure()
	}
	return nil
}

// lastImportKey is where lakeFS notes the newest import of a repository: in
// Unix seconds, among the repository's metadata.
const lastImportKey = ".lakefs.last.import.timestamp"

// LastImport asks lakeFS when the newest successful import into a repository
// was committed, to the second, by lakeFS's clock. It returns the zero time if
// there never was one. Errors are as those of ImportStatus.
func (c *Client) LastImport(ctx context.Context, repository string) (time.Time, error) {
	var metadata map[string]string
	a, err := c.getJSON(ctx, c.url("repositories", repository, "metadata"), func(body []byte) error {
		return json.Unmarshal(body, &metadata)
	})
	if err != nil {
		return time.Time{}, err
	}
	value, ok := metadata[lastImportKey]
	if !ok {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || seconds <= 0 {
		return time.Time{}, a.bad(fmt.Sprintf("%s is not Unix seconds: %q", lastImportKey, value))
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// url returns the URL of an API endpoint; segments are escaped.
func (c *Client) url(segments ...string) string {
	var u strings.Builder
	u.WriteString(c.base.String())
	u.WriteString(apiPath)
	for _, s := range segments {
		u.WriteByte('/')
		u.WriteString(url.PathEscape(s))
	}
	return u.String()
}

// getJSON has the body of a 200 answer decoded.
func (c *Client) getJSON(ctx context.Context, u string, decode func([]byte) error) (*answer, error) {
	a, err := c.get(ctx, u)
	if err != nil {
		return nil, err
	}
	if a.StatusCode != http.StatusOK {
		return nil, a.failure()
	}
	if err := decode(a.body); err != nil {
		return nil, a.notOfLakeFS(err)
	}
	return a, nil
}

// invalidEndpoint is what lakeFS says of a path that is none of its API's.
const invalidEndpoint = "invalid API endpoint"

// answer is a response whose body has been read.
type answer struct {
	*http.Response
	body []byte
	sent *secrets
}

// get sends a GET and reads the whole answer, whatever its status.
func (c *Client) get(ctx context.Context, u string) (*answer, error) {
	sent := &secrets{public: c.public}
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: sent.add})
	req, err := http.NewRequestWithContext(traced, http.MethodGet, u, nil)
	if err != nil {
		return nil, &Error{Kind: Connection, Err: err}
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, transportError(ctx, err, sent)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBodyBytes+1))
	a := &answer{resp, body, sent}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && ctx.Err() == nil:
		return nil, a.bad("body is cut short")
	case err != nil:
		return nil, transportError(ctx, err, sent)
	case len(body) > maxBodyBytes:
		return nil, a.bad("body is over 1 MiB")
	}
	return a, nil
}

// transportError types an error of sending a request or of receiving its answer.
func transportError(ctx context.Context, err error, sent *secrets) error {
	// A url.Error says no more than the caller knows: method and URL.
	var uerr *url.Error
	if errors.As(err, &uerr) {
		err = uerr.Err
	}
	var (
		nerr net.Error
		perr *fs.PathError
		oerr *oauth2.RetrieveError
	)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return &Error{Kind: Timeout, Err: errors.New("no answer before the deadline")}
	case ctx.Err() != nil && context.Cause(ctx) == ctx.Err(): //nolint:errorlint // the very same, or it says more
		return ctx.Err()
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ctx.Err(), context.Cause(ctx))
	case strings.HasPrefix(err.Error(), "failed to parse Location header"):
		// It has no type, and quotes the header.
		return &Error{Kind: BadResponse, Err: errors.New("redirect to what is not a URL was not followed")}
	case errors.Is(err, errTooLong):
		return &Error{Kind: BadResponse, Err: errTooLong}
	case errors.As(err, &perr):
		return &Error{Kind: Credentials, Err: err}
	case errors.As(err, &oerr):
		return tokenError(oerr)
	}
	// net/http quotes what it cannot understand of an answer.
	if text := err.Error(); sent.redact(text) != text {
		err = errors.New(sent.redact(text))
	}
	if errors.As(err, &nerr) && nerr.Timeout() {
		return &Error{Kind: Timeout, Err: err}
	}
	return &Error{Kind: Connection, Err: err}
}

// tokenError types a refusal of the server that OAuth 2 tokens come from. What
// that server says may repeat the client's secret.
func tokenError(err *oauth2.RetrieveError) error {
	e := &Error{Kind: Connection, Err: errors.New("oauth2: token_url gave no token")}
	if err.Response == nil {
		return e
	}
	code := err.Response.StatusCode
	e.Err = fmt.Errorf("oauth2: token_url answered with HTTP status %d", code)
	if code >= 400 && code < 500 {
		e.Kind = Unauthorized
	}
	return e
}

// failure types an answer with another status than the one of success.
func (a *answer) failure() error {
	e := &Error{StatusCode: a.StatusCode, Message: a.message()}
	switch code := a.StatusCode; {
	case code == http.StatusNotFound && e.Message == invalidEndpoint:
		e.Kind = BadResponse
		e.Err = errors.New(invalidEndpoint + " (is endpoint_url right?)")
	case code == http.StatusNotFound && e.Message != "", code == http.StatusGone:
		e.Kind = NotFound
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		e.Kind = Unauthorized
	case code == http.StatusTooManyRequests:
		e.Kind = RateLimited
		e.RetryAfter = retryAfter(a.Header)
	case code >= 500:
		e.Kind = ServerError
	case code >= 400 && code != http.StatusNotFound:
		e.Kind = BadRequest
	case code >= 300 && code < 400:
		return a.bad("redirect to " + a.redirectTarget() + " was not followed")
	default:
		return a.bad("not an answer of lakeFS")
	}
	return e
}

// redirectTarget returns where a redirects to, without what could be a secret.
func (a *answer) redirectTarget() string {
	u, err := a.Location()
	if err != nil {
		return "nowhere"
	}
	return u.Scheme + "://" + u.Host
}

// bad returns an error that shows the first bytes of a's body.
func (a *answer) bad(reason string) error {
	excerpt := a.sent.redact(string(a.body))
	if len(excerpt) > excerptBytes {
		excerpt = excerpt[:excerptBytes]
	}
	return &Error{
		Kind:       BadResponse,
		StatusCode: a.StatusCode,
		Message:    a.message(),
		Err:        fmt.Errorf("%s; body begins %q", a.sent.redact(reason), excerpt),
	}
}

// notOfLakeFS returns an error for a body that could not be decoded.
func (a *answer) notOfLakeFS(err error) error {
	return a.bad("not the JSON of lakeFS: " + jsonProblem(err))
}

// message returns the message of lakeFS's JSON body {"message": "..."}, and ""
// if a's body is another.
func (a *answer) message() string {
	var b struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(a.body, &b) != nil {
		return ""
	}
	// Gateways have JSON messages too, such as "no Route matched with those
	// values". Of lakeFS's own 404s all but one end alike.
	if a.StatusCode == http.StatusNotFound && b.Message != invalidEndpoint && !strings.HasSuffix(b.Message, "not found") {
		return ""
	}
	return a.sent.redact(b.Message)
}

// jsonProblem says why a body is not the JSON that was expected, without quoting
// from it.
func jsonProblem(err error) string {
	var (
		terr *json.UnmarshalTypeError
		perr *time.ParseError
	)
	switch {
	case errors.As(err, &terr):
		got, _, _ := strings.Cut(terr.Value, " ") // behind it, a number is quoted
		return fmt.Sprintf("%s is a JSON %s", cmp.Or(terr.Field, "the body"), got)
	case errors.As(err, &perr):
		return "update_time is not a time of RFC 3339"
	}
	return err.Error()
}

// retryAfter reads the header Retry-After: a number of seconds, or a date to
// be held against the answer's own Date. A server that names the present or
// the past gets a second. It returns 0 if there is none, or none that can be read.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(time.Duration(seconds)*time.Second, time.Second)
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(until.Sub(now), time.Second)
}
