package lakefs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"golang.org/x/oauth2"
)

// requestError types an error of sending a request or of receiving its answer.
func requestError(ctx context.Context, err error) error {
	var (
		known *Error
		file  *fs.PathError
	)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.As(err, &known):
		return known
	case ctx.Err() != nil:
		return &Error{Kind: Timeout, Err: errors.New("no answer before the deadline")}
	case errors.As(err, &file):
		return &Error{Kind: Credentials, Err: file}
	}
	return transportError(err)
}

// transportTexts are errors of net/http, crypto/tls and prometheus/common that
// have no type. What follows these words in them may quote the server.
var transportTexts = []struct {
	contains string
	kind     Kind
	text     string
}{
	{"response headers exceeded", BadResponse, "header of the answer is over 64 KiB"},
	{"response header list larger than", BadResponse, "header of the answer is over 64 KiB"}, // HTTP/2
	{"invalid header field", Credentials, "a configured header cannot be sent (does a secret have several lines?)"},
	{"does not look like a TLS handshake", Connection, "server does not speak TLS (is endpoint_url right?)"},
	{"tls: ", Connection, "TLS handshake failed"},
	{"EOF", Connection, "connection was closed before the answer"},
}

// transportError types an error of net/http. It has a text of our own unless the
// error is of a type whose text is known to be the system's or Go's.
func transportError(err error) *Error {
	var (
		op           *net.OpError
		dns          *net.DNSError
		errno        syscall.Errno
		nerr         net.Error
		host         x509.HostnameError
		verification *tls.CertificateVerificationError
	)
	kind, text := Connection, "no valid HTTP response"
	if errors.As(err, &nerr) && nerr.Timeout() {
		kind = Timeout
	}
	switch {
	case errors.As(err, &op) && (errors.As(op, &errno) || errors.As(op, &dns) || op.Timeout() || op.Op == "remote error"):
		return &Error{Kind: kind, Err: op}
	case kind == Timeout:
		text = "no answer in time"
	case errors.As(err, &host):
		text = "certificate is not valid for " + host.Host
	case errors.As(err, &verification):
		text = "certificate is not trusted (unknown authority, or expired)"
	default:
		for _, t := range transportTexts {
			if strings.Contains(err.Error(), t.contains) {
				kind, text = t.kind, t.text
				break
			}
		}
	}
	return &Error{Kind: kind, Err: errors.New(text)}
}

// tokenError types an error of fetching an OAuth 2 token. What that server says
// may repeat the client's secret.
func tokenError(err error) *Error {
	var refusal *oauth2.RetrieveError
	if !errors.As(err, &refusal) || refusal.Response == nil {
		e := transportError(err)
		e.Err = fmt.Errorf("token_url: %w", e.Err)
		return e
	}
	e := &Error{Kind: Connection, Err: fmt.Errorf("token_url answered with HTTP status %d", refusal.Response.StatusCode)}
	if code := refusal.Response.StatusCode; code >= 400 && code < 500 {
		e.Kind = Unauthorized
	}
	return e
}
