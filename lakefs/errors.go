package lakefs

import (
	"fmt"
	"net/http"
	"time"
)

// Kind is the reason why a request has no usable answer, as metrics name it.
type Kind string

// The kinds of Error.
const (
	NotFound     Kind = "not_found"    // 404 with one of lakeFS's own messages, or 410
	Unauthorized Kind = "unauthorized" // 401 or 403
	BadRequest   Kind = "bad_request"  // any other 4xx
	RateLimited  Kind = "rate_limited" // 429
	ServerError  Kind = "server_error" // 5xx
	// BadResponse is an answer that is not lakeFS's: HTML, a redirect, JSON of
	// another shape, cut short or too long, a 404 of something in front of lakeFS.
	BadResponse Kind = "bad_response"
	Timeout     Kind = "timeout"     // no complete answer before the deadline
	Connection  Kind = "connection"  // no answer for any other reason
	Credentials Kind = "credentials" // nothing was sent: a file with a secret or certificate cannot be used
)

// Kinds returns every kind.
func Kinds() []Kind {
	return []Kind{
		NotFound, Unauthorized, BadRequest, RateLimited, ServerError,
		BadResponse, Timeout, Connection, Credentials,
	}
}

func (k Kind) String() string { return string(k) }

// Error is why a method of Client has no result. It never quotes what a server
// sent, which may repeat a secret, except for lakeFS's own messages.
type Error struct {
	Kind Kind
	// StatusCode is the HTTP status, 0 if no response was received.
	StatusCode int
	// Message is the message of lakeFS's JSON body: one of lakeFS's own texts, or
	// the length of one that is not known. It is empty for any other body.
	Message string
	// RetryAfter is how long a server that answered 429 asks clients to wait,
	// from its Retry-After header: at least a second, or 0 if it did not say.
	RetryAfter time.Duration
	// Date is the Date header of the response, zero if there was none.
	Date time.Time
	// Err says more. It may be nil if there is a StatusCode.
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
	case e.StatusCode == 0:
		return e.Err.Error()
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
