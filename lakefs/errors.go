package lakefs

import (
	"fmt"
	"net/http"
	"time"
)

// Kind is the reason a request got no usable answer.
type Kind uint8

// The kinds of Error.
const (
	// NotFound: lakeFS itself says it does not know what was asked for (404
	// with its JSON message, or 410).
	NotFound Kind = iota + 1
	// Unauthorized: 401 or 403.
	Unauthorized
	// BadRequest: any other 4xx.
	BadRequest
	// RateLimited: 429.
	RateLimited
	// ServerError: 5xx.
	ServerError
	// BadResponse: an answer that is not lakeFS's: HTML, a redirect, JSON of
	// another shape, cut short or over 1 MiB, a 404 of something in front of
	// lakeFS.
	BadResponse
	// Timeout: no whole answer before the deadline.
	Timeout
	// Connection: no answer for any other reason: refused, reset, no such
	// host, certificate not trusted.
	Connection
	// Credentials: a file with a secret or certificate cannot be read, so
	// nothing was sent.
	Credentials
)

var kindNames = [...]string{
	NotFound:     "not_found",
	Unauthorized: "unauthorized",
	BadRequest:   "bad_request",
	RateLimited:  "rate_limited",
	ServerError:  "server_error",
	BadResponse:  "bad_response",
	Timeout:      "timeout",
	Connection:   "connection",
	Credentials:  "credentials",
}

// Kinds returns every kind, in the order of their declaration.
func Kinds() []Kind {
	kinds := make([]Kind, 0, len(kindNames)-1)
	for k := NotFound; int(k) < len(kindNames); k++ {
		kinds = append(kinds, k)
	}
	return kinds
}

// String returns the kind as a snake_case word, such as "not_found".
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// Error is why a Client's method has no result. Get at it with errors.As.
type Error struct {
	Kind Kind
	// StatusCode is the HTTP status, 0 if no response was received.
	StatusCode int
	// Message is the message of lakeFS's JSON body, empty if there was none.
	Message string
	// RetryAfter is how long a server that answered 429 asks to be left alone,
	// from its Retry-After header: at least a second, or 0 if it did not say.
	RetryAfter time.Duration
	// Err says more; nil where StatusCode and Message say it all.
	Err error
}

// FromLakeFS reports whether lakeFS itself gave the answer, as opposed to
// something in front of it, or nothing at all.
func (e *Error) FromLakeFS() bool {
	return e.Message != "" && e.StatusCode < http.StatusInternalServerError
}

// Error implements error.
func (e *Error) Error() string {
	switch {
	case e.StatusCode == 0 && e.Err != nil:
		return e.Err.Error()
	case e.StatusCode == 0:
		return e.Kind.String()
	case e.Err != nil:
		return fmt.Sprintf("HTTP status %d: %v", e.StatusCode, e.Err)
	case e.Message != "":
		return fmt.Sprintf("HTTP status %d: %s", e.StatusCode, e.Message)
	default:
		return fmt.Sprintf("HTTP status %d", e.StatusCode)
	}
}

// Unwrap implements the interface of errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }
