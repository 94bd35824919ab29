package lakefs

import (
	"errors"
	"net/url"
	"strings"
)

const apiPath = "/api/v1"

// ParseEndpoint parses a lakeFS endpoint URL as lakectl takes it, and returns
// it without a trailing slash and without /api/v1.
func ParseEndpoint(endpoint string) (*url.URL, error) {
	if scheme, _, _ := strings.Cut(strings.ToLower(endpoint), "://"); scheme != "http" && scheme != "https" {
		return nil, errors.New("must begin with http:// or https://")
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		// The error would quote from the URL, which may contain a password.
		return nil, errors.New("not a URL")
	case u.Hostname() == "":
		return nil, errors.New("has no host")
	case u.User != nil:
		return nil, errors.New("must not contain credentials: use basic_auth")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("must not have a query or a fragment")
	}
	base := &url.URL{Scheme: u.Scheme, Host: u.Host}
	path := strings.TrimSuffix(strings.TrimRight(u.EscapedPath(), "/"), apiPath)
	if path = strings.TrimRight(path, "/"); path != "" {
		base.Path = "/"
		base = base.JoinPath(path)
	}
	return base, nil
}

// apiURL returns the URL of an escaped path of the API below base.
func apiURL(base *url.URL, escapedPath, query string) *url.URL {
	escaped := base.EscapedPath() + apiPath + escapedPath
	u := &url.URL{Scheme: base.Scheme, Host: base.Host, Path: escaped, RawQuery: query}
	if plain, err := url.PathUnescape(escaped); err == nil && plain != escaped {
		u.Path, u.RawPath = plain, escaped
	}
	return u
}

// mayFollow reports whether credentials for one URL may go to another.
func mayFollow(from, to *url.URL) bool {
	return to.Host == from.Host && (to.Scheme == from.Scheme || from.Scheme == "http" && to.Scheme == "https")
}
