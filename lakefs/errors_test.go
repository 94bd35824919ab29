package lakefs_test

import (
	"errors"
	"io"
	"reflect"
	"testing"

	"lakefs_import_exporter/lakefs"
)

func TestKinds(t *testing.T) {
	want := []string{
		"not_found", "unauthorized", "bad_request", "rate_limited", "server_error",
		"bad_response", "timeout", "connection", "credentials",
	}
	got := []string{}
	for _, k := range lakefs.Kinds() {
		got = append(got, k.String())
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for k, want := range map[lakefs.Kind]string{0: "kind(0)", 10: "kind(10)", 255: "kind(255)"} {
		if got := k.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestError(t *testing.T) {
	for _, tc := range []struct {
		err        lakefs.Error
		want       string
		fromLakeFS bool
	}{
		{lakefs.Error{Kind: lakefs.Connection, Err: io.EOF}, "EOF", false},
		{lakefs.Error{Kind: lakefs.Timeout}, "timeout", false},
		{lakefs.Error{Kind: lakefs.ServerError, StatusCode: 502}, "HTTP status 502", false},
		{lakefs.Error{Kind: lakefs.ServerError, StatusCode: 500, Message: "oops"}, "HTTP status 500: oops", false},
		{lakefs.Error{Kind: lakefs.NotFound, StatusCode: 404, Message: "not found"}, "HTTP status 404: not found", true},
		{lakefs.Error{Kind: lakefs.BadResponse, StatusCode: 404, Message: "x", Err: io.EOF}, "HTTP status 404: EOF", true},
	} {
		if got := tc.err.Error(); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
		if got := tc.err.FromLakeFS(); got != tc.fromLakeFS {
			t.Errorf("%s: from lakeFS %t, want %t", tc.want, got, tc.fromLakeFS)
		}
		if got := errors.Is(&tc.err, io.EOF); got != (tc.err.Err != nil) {
			t.Errorf("%s: wraps EOF: %t", tc.want, got)
		}
	}
}
