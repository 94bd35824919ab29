package lakefs_test

import (
	"testing"

	"lakefs_import_exporter/lakefs"
)

func TestParseEndpoint(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"https://lakefs.example.com", "https://lakefs.example.com"},
		{"https://lakefs.example.com/api/v1", "https://lakefs.example.com"},
		{"http://localhost:8000/api/v1", "http://localhost:8000"},
		{"http://[::1]:8000/api/v1", "http://[::1]:8000"},
		{"https://example.com/lakefs/api/v1", "https://example.com/lakefs"},
		{"https://example.com/a%2Fb", "https://example.com/a%2Fb"},
		{"https://example.com/xapi/v1", "https://example.com/xapi/v1"},
	} {
		if got := newClient(t, tc.in).EndpointURL(); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.in, got, tc.want)
		}
	}

	const scheme, userinfo = "must begin with http:// or https://", "must not contain credentials: use basic_auth"
	for _, tc := range []struct{ in, want string }{
		{"", scheme},
		{"lakefs.example.com", scheme},
		{"http://key:hidden@example.com", userinfo},
		{"http://example.com?hidden=x", "must not have a query or a fragment"},
		{"http://key:hid/den@example.com", "not a URL"}, // secrets of AWS and lakeFS hold slashes
		{" http://example.com", scheme},
		{"127.0.0.1:8000", scheme},
		{"http:127.0.0.1", scheme},
		{"http://127.0.0.1:x", "not a URL"},
	} {
		_, err := lakefs.ParseEndpoint(tc.in)
		if errorText(err) != tc.want {
			t.Errorf("%q: got %v, want %q", tc.in, err, tc.want)
		}
		if _, cerr := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: tc.in}); errorText(cerr) != tc.want {
			t.Errorf("%q: NewClient: got %v, want %v", tc.in, cerr, err)
		}
	}
}

func TestCommitURL(t *testing.T) {
	for _, tc := range []struct{ endpoint, repository, commit, want string }{
		{"https://example.com", "my-repo", "6ff0", "https://example.com/repositories/my-repo/commits/6ff0"},
		{"https://example.com/lakefs/api/v1/", "my-repo", "6ff0", "https://example.com/lakefs/repositories/my-repo/commits/6ff0"},
		{"https://example.com", "a/b", "c?d#e%f g", "https://example.com/repositories/a%2Fb/commits/c%3Fd%23e%25f%20g"},
	} {
		if got := newClient(t, tc.endpoint).CommitURL(tc.repository, tc.commit); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
}
