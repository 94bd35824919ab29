package lakefs_test

import (
	"strings"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs"
)

func TestStartTime(t *testing.T) {
	for _, tc := range []struct {
		id   string
		want string // RFC 3339; empty: unknown
	}{
		{"dc1chj1ksduerdki88b0", "2026-11-22T10:49:48Z"},
		{"00000000000000000000", "1970-01-01T00:00:00Z"},
		{"vvvvvvvvvvvvvvvvvvvg", "2106-02-07T06:28:15Z"},
		{"", ""},
		{"dc1chj1ksduerdki88b", ""},                  // too short
		{"dc1chj1ksduerdki88b00", ""},                // too long
		{"DC1CHJ1KSDUERDKI88B0", ""},                 // not lower case
		{"dc1chj1ksduerdki88bz", ""},                 // not base32hex
		{"vvvvvvvvvvvvvvvvvvvv", ""},                 // not 96 bits
		{"9c9a4a2c-7d4b-4d2a-8f0e-0c4a4f6c2d1e", ""}, // a UUID
	} {
		got, ok := lakefs.Ref{Repository: "my-repo", Branch: "main", ID: tc.id}.StartTime()
		if tc.want == "" {
			if ok || !got.IsZero() {
				t.Errorf("%q: got %s, %t, want none", tc.id, got, ok)
			}
			continue
		}
		if !ok || got.Format(time.RFC3339) != tc.want || got.Location() != time.UTC {
			t.Errorf("%q: got %s, %t, want %s", tc.id, got, ok, tc.want)
		}
	}
}

func TestRefString(t *testing.T) {
	if got := (lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "1"}).String(); got != "my-repo/main/1" {
		t.Errorf("got %s", got)
	}
}

func TestValidate(t *testing.T) {
	const (
		repository = "must match ^[a-z0-9][a-z0-9-]{2,62}$"
		branch     = `must match ^\w[-\w]*$`
		id         = "must match ^[A-Za-z0-9_-]{1,128}$"
	)
	for _, tc := range []struct {
		ref  lakefs.Ref
		want string // empty: valid
	}{
		{lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "dc1chj1ksduerdki88b0"}, ""},
		{lakefs.Ref{Repository: "0-0", Branch: "_Feature-1", ID: "9c9a4a2c-7d4b-4d2a-8f0e-0c4a4f6c2d1e"}, ""},
		{lakefs.Ref{Repository: strings.Repeat("a", 63), Branch: "m", ID: strings.Repeat("A", 128)}, ""},
		{lakefs.Ref{Repository: "", Branch: "main", ID: "1"}, `repository "": ` + repository},
		{lakefs.Ref{Repository: "ab", Branch: "main", ID: "1"}, `repository "ab": ` + repository},
		{lakefs.Ref{Repository: strings.Repeat("a", 64), Branch: "main", ID: "1"}, `repository "` + strings.Repeat("a", 64) + `": ` + repository},
		{lakefs.Ref{Repository: "My-repo", Branch: "main", ID: "1"}, `repository "My-repo": ` + repository},
		{lakefs.Ref{Repository: "-repo", Branch: "main", ID: "1"}, `repository "-repo": ` + repository},
		{lakefs.Ref{Repository: "my-repo\n", Branch: "main", ID: "1"}, `repository "my-repo\n": ` + repository},
		{lakefs.Ref{Repository: "my-repo", Branch: "", ID: "1"}, `branch "": ` + branch},
		{lakefs.Ref{Repository: "my-repo", Branch: "-main", ID: "1"}, `branch "-main": ` + branch},
		{lakefs.Ref{Repository: "my-repo", Branch: "a/b", ID: "1"}, `branch "a/b": ` + branch},
		{lakefs.Ref{Repository: "my-repo", Branch: "..", ID: "1"}, `branch "..": ` + branch},
		{lakefs.Ref{Repository: "my-repo", Branch: "bränch", ID: "1"}, `branch "bränch": ` + branch},
		{lakefs.Ref{Repository: "my-repo", Branch: "main", ID: ""}, `id "": ` + id},
		{lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "a b"}, `id "a b": ` + id},
		{lakefs.Ref{Repository: "my-repo", Branch: "main", ID: strings.Repeat("A", 129)}, `id "` + strings.Repeat("A", 129) + `": ` + id},
	} {
		err := tc.ref.Validate()
		if got := errorText(err); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.ref, got, tc.want)
		}
		if rerr := lakefs.ValidateRepository(tc.ref.Repository); (rerr != nil) != strings.HasPrefix(tc.want, "repository") {
			t.Errorf("%q: ValidateRepository: %v", tc.ref, rerr)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
