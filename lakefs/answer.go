package lakefs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxBodyBytes is far above any status of lakeFS (a commit's metadata is
	// its only unbounded part) and far below what would hurt.
	maxBodyBytes = 1 << 20
	// maxPooledBytes is above any usual status.
	maxPooledBytes = 64 << 10
)

// answer is a response whose body has been read.
type answer struct {
	status int
	header http.Header
	date   time.Time
	body   *body // to be released
}

// body holds the body of a response, and the reader that limits its size.
type body struct {
	bytes.Buffer
	limited io.LimitedReader
}

var bodies = sync.Pool{New: func() any { return new(body) }}

// readAnswer reads the body to its end, so that the connection can be used again.
func readAnswer(resp *http.Response) (answer, error) {
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header, body: bodies.Get().(*body)} //nolint:forcetypeassert // nothing else is in it
	if date := resp.Header.Get("Date"); date != "" {
		a.date, _ = http.ParseTime(date)
	}
	var err error
	if resp.StatusCode != http.StatusSwitchingProtocols { // what follows that does not end
		a.body.limited = io.LimitedReader{R: resp.Body, N: maxBodyBytes + 1}
		_, err = a.body.ReadFrom(&a.body.limited)
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = a.bad("body is cut short")
	case err == nil && a.body.Len() > maxBodyBytes:
		err = a.bad("body is over 1 MiB")
	}
	if err != nil {
		a.release()
		return answer{}, err
	}
	return a, nil
}

func (a *answer) release() {
	if a.body.Cap() <= maxPooledBytes {
		a.body.Reset()
		a.body.limited.R = nil
		bodies.Put(a.body)
	}
	a.body = nil
}

// failure types an answer with another status than that of success.
func (a *answer) failure() error {
	e := &Error{StatusCode: a.status, Message: a.message(), Date: a.date}
	switch code := a.status; {
	case code == http.StatusNotFound && e.Message != "" && e.Message != invalidEndpoint, code == http.StatusGone:
		e.Kind = NotFound
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		e.Kind = Unauthorized
	case code == http.StatusTooManyRequests:
		e.Kind = RateLimited
		e.RetryAfter = a.retryAfter()
	case code >= 500:
		e.Kind = ServerError
	case code >= 400 && code != http.StatusNotFound:
		e.Kind = BadRequest
	case code >= 300 && code < 400:
		return a.bad("redirect was not followed")
	default:
		return a.bad("not an answer of lakeFS")
	}
	return e
}

// bad returns an error for an answer that is not lakeFS's. It describes the body
// and does not quote it.
func (a *answer) bad(problem string) error {
	return &Error{
		Kind:       BadResponse,
		StatusCode: a.status,
		Message:    a.message(),
		Date:       a.date,
		Err:        fmt.Errorf("%s: %s, %d bytes (is endpoint_url right?)", problem, a.contentType(), a.body.Len()),
	}
}

func (a *answer) contentType() string {
	switch t, _, _ := mime.ParseMediaType(a.header.Get("Content-Type")); t {
	case "application/json", "application/xml", "text/html", "text/plain", "text/xml":
		return t
	case "":
		return "no content type"
	default:
		return "unusual content type"
	}
}

const (
	invalidEndpoint         = "invalid API endpoint"     // a path that is none of lakeFS's API
	insufficientPermissions = "insufficient permissions" // goes on with the user's name and policies
)

// messages are lakeFS's own that the requests of this package can get (pkg/api:
// controller.go, auth_middleware.go; errors.go of pkg/auth and pkg/graveler).
var messages = []string{
	"not found", "repository not found", "branch not found", "ref not found", invalidEndpoint,
	"error authenticating request", "invalid token format", "session expired",
	"repository in deletion",
	"Too many attempts, try again later", "Throughput exceeded. Slow down and retry",
	"internal server error",
}

// message returns the message of lakeFS's JSON body, {"message": "..."} and
// nothing else. One that is not known is not shown, and is not lakeFS's if the
// status is 404: gateways have JSON messages too.
func (a *answer) message() string {
	var body map[string]string
	if json.Unmarshal(a.body.Bytes(), &body) != nil || len(body) != 1 || body["message"] == "" {
		return ""
	}
	text := body["message"]
	switch {
	case slices.Contains(messages, text):
		return text
	case a.status == http.StatusNotFound:
		return ""
	case strings.HasPrefix(text, insufficientPermissions):
		return insufficientPermissions
	default:
		return fmt.Sprintf("unrecognized message (%d bytes)", len(text))
	}
}

// retryAfter reads the header Retry-After: a number of seconds, or a date, which
// is compared with the answer's own. A server that names the present or the past
// gets a second. It returns 0 if there is none, or none that can be read.
func (a *answer) retryAfter() time.Duration {
	value := a.header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(time.Duration(seconds)*time.Second, time.Second)
	}
	until, err := http.ParseTime(value)
	if err != nil || a.date.IsZero() {
		return 0
	}
	return max(until.Sub(a.date), time.Second)
}
