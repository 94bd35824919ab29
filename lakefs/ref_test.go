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
		{"vvvvvvvvvvvvvvvvvvvg", "2106-02-07T06:28:15Z"},
		{"", ""},
		{"dc1chj1ksduerdki88b", ""},                  // too short
		{"DC1CHJ1KSDUERDKI88B0", ""},                 // not lower case
		{"9c9a4a2c-7d4b-4d2a-8f0e-0c4a4f6c2d1e", ""}, // a UUID
	} {
		got, ok := lakefs.StartTime(tc.id)
		if ok != (tc.want != "") || ok && got.Format(time.RFC3339) != tc.want || !ok && !got.IsZero() {
			t.Errorf("%q: got %s, %t, want %s", tc.id, got, ok, tc.want)
		}
	}
}

func TestValidate(t *testing.T) {
	const (
		repository = "must match ^[a-z0-9][a-z0-9-]{2,62}$"
		branch     = `must match ^\w[-\w]*$`
		id         = "must match ^[A-Za-z0-9_-]{1,128}$"
	)
	long := func(n int) string { return strings.Repeat("a", n) }
	for _, tc := range []struct{ repository, branch, id, want string }{ // empty: valid
		{"my-repo", "main", "dc1chj1ksduerdki88b0", ""},
		{"0-0", "_Feature-1", "9c9a4a2c-7d4b-4d2a-8f0e-0c4a4f6c2d1e", ""},
		{long(63), long(1024), long(128), ""},
		{"my-repo", lakefs.UnknownBranch, "1", ""},
		{"", "main", "1", "repository is missing"},
		{long(64), "main", "1", `repository "` + long(64) + `": ` + repository},
		{"My-repo", "main", "1", `repository "My-repo": ` + repository},
		{"my-repo\n", "main", "1", `repository "my-repo\n": ` + repository},
		{"my-repo", "", "1", "branch is missing"},
		{"my-repo", long(1025), "1", "branch is longer than 1024 bytes"},
		{"my-repo", "a/b", "1", `branch "a/b": ` + branch},
		{"my-repo", "bränch", "1", `branch "bränch": ` + branch},
		{"my-repo", "main", "", "id is missing"},
		{"my-repo", "main", "a b", `id "a b": ` + id},
		{"my-repo", "main", long(129), `id "` + long(129) + `": ` + id},
	} {
		ref := lakefs.Ref{Repository: tc.repository, Branch: tc.branch, ID: tc.id}
		if got := errorText(ref.Validate()); got != tc.want {
			t.Errorf("%q: got %q, want %q", ref, got, tc.want)
		}
		if err := lakefs.ValidateRepository(tc.repository); (err != nil) != strings.HasPrefix(tc.want, "repository") {
			t.Errorf("%q: ValidateRepository: %v", tc.repository, err)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
