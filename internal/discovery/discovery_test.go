package discovery_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/xid"

	"lakefs_import_exporter/internal/discovery"
)

// sourceFunc is a Source whose List calls it.
type sourceFunc func(ctx context.Context, found func(discovery.Import)) error

func (s sourceFunc) List(ctx context.Context, found func(discovery.Import)) error {
	return s(ctx, found)
}

// refresh returns what the first refresh of Run reports.
func refresh(t testing.TB, source discovery.Source, opts discovery.Options) (set discovery.Set, err error) {
	t.Helper()
	if opts.Interval == 0 {
		opts.Interval = time.Hour
	}
	if opts.MaxImports == 0 {
		opts.MaxImports = 100_000
	}
	ctx, cancel := context.WithCancel(t.Context())
	discovery.Run(ctx, source, opts, func(s discovery.Set, e error) {
		set, err = s, e
		cancel()
	})
	return set, err
}

func newID(start time.Time, count byte) string {
	var id xid.ID
	binary.BigEndian.PutUint32(id[:], uint32(start.Unix()))
	id[11] = count
	return id.String()
}

func TestSet(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	var (
		uuid   = discovery.Import{Repository: "my-repo", ID: "ffffffff-1b4a-4bb1-a6b5-3bbe5c6e5a4c"}
		oldest = discovery.Import{Repository: "my-repo", ID: newID(now.Add(-time.Hour), 9)}
		older  = discovery.Import{Repository: "other-repo", ID: newID(now, 1)}
		newer  = discovery.Import{Repository: "my-repo", ID: newID(now, 2)}
	)
	for name, test := range map[string]struct {
		found []discovery.Import
		max   int
		want  discovery.Set
	}{
		"none":               {nil, 2, discovery.Set{}},
		"newest first":       {[]discovery.Import{older, oldest, newer}, 3, discovery.Set{Imports: []discovery.Import{newer, older, oldest}}},
		"UUIDs are oldest":   {[]discovery.Import{uuid, oldest}, 2, discovery.Set{Imports: []discovery.Import{oldest, uuid}}},
		"as many as allowed": {[]discovery.Import{uuid, oldest, older, newer}, 2, discovery.Set{Imports: []discovery.Import{newer, older}, Dropped: 2}},
		"duplicates":         {[]discovery.Import{newer, older, newer, older, newer}, 2, discovery.Set{Imports: []discovery.Import{newer, older}}},
		"ignored repository": {
			[]discovery.Import{{Repository: "sandbox-1", ID: newer.ID}, older, {Repository: "sandbox-2", ID: newer.ID}},
			1, discovery.Set{Imports: []discovery.Import{older}},
		},
		"invalid rows": {
			[]discovery.Import{
				{Repository: "My Repo", ID: newer.ID}, {Repository: "my-repo", ID: "a/b"}, {Repository: "my-repo"},
				{ID: newer.ID}, {Repository: "my-repo", ID: strings.Repeat("x", 129)}, {Repository: "my-repo", ID: "\xff\x00"}, newer,
			},
			9, discovery.Set{Imports: []discovery.Import{newer}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			source := sourceFunc(func(_ context.Context, found func(discovery.Import)) error {
				for _, i := range test.found {
					found(i)
				}
				return nil
			})
			ignore := func(repository string) bool { return strings.HasPrefix(repository, "sandbox-") }
			got, err := refresh(t, source, discovery.Options{MaxImports: test.max, Ignore: ignore})
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("error %v, set (-want +got):\n%s", err, diff)
			}
		})
	}
}

// A query that returns something else than imports, or a database whose format has
// changed, must not look like a lakeFS without imports.
func TestOnlyInvalidRows(t *testing.T) {
	source := sourceFunc(func(_ context.Context, found func(discovery.Import)) error {
		found(discovery.Import{Repository: "My Repo", ID: "1"})
		found(discovery.Import{})
		return nil
	})
	got, err := refresh(t, source, discovery.Options{MaxImports: 1})
	if want := "none of 2 rows names an import of lakeFS"; err == nil || err.Error() != want {
		t.Errorf("got %+v, error %v, want %s", got, err, want)
	}
}

// TestManyMoreThanMaxImports finds 10,000 imports, oldest first, so that each
// is newer than all before it.
func TestManyMoreThanMaxImports(t *testing.T) {
	const rows, maxImports = 10_000, 10
	start := time.Unix(1_700_000_000, 0)
	source := sourceFunc(func(_ context.Context, found func(discovery.Import)) error {
		for n := range rows {
			found(discovery.Import{Repository: "my-repo", ID: newID(start.Add(time.Duration(n)*time.Second), 0)})
		}
		return nil
	})
	set, err := refresh(t, source, discovery.Options{MaxImports: maxImports})
	if err != nil || len(set.Imports) != maxImports || set.Dropped != rows-maxImports || cap(set.Imports) > 10*maxImports {
		t.Fatalf("got %d imports (room for %d), %d dropped, error %v", len(set.Imports), cap(set.Imports), set.Dropped, err)
	}
	if want := newID(start.Add((rows-1)*time.Second), 0); set.Imports[0].ID != want {
		t.Errorf("newest is %s, want %s", set.Imports[0].ID, want)
	}
}

func TestRunReportsOnceInAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("failure")
		listed := 0
		source := sourceFunc(func(_ context.Context, found func(discovery.Import)) error {
			if listed++; listed == 2 {
				return failure
			}
			found(discovery.Import{Repository: "my-repo", ID: fmt.Sprint(listed)})
			return nil
		})
		var got []string
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Second)
		defer cancel()
		discovery.Run(ctx, source, discovery.Options{Interval: 30 * time.Second, MaxImports: 1}, func(set discovery.Set, err error) {
			got = append(got, fmt.Sprint(time.Since(start), set.Imports, err))
		})
		want := []string{"0s [{my-repo 1}] <nil>", "30s [] failure", "1m0s [{my-repo 3}] <nil>"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	})
}

// TestRunWithASourceThatHangs has a Source that heeds no context, as a file on a
// network file system whose server is gone, until it is released.
func TestRunWithASourceThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, running := make(chan struct{}), 0
		source := sourceFunc(func(context.Context, func(discovery.Import)) error {
			if running++; running > 1 {
				t.Error("List runs twice at once")
			}
			<-release
			running--
			return nil
		})
		var got []string
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 130*time.Second)
		defer cancel()
		discovery.Run(ctx, source, discovery.Options{Interval: time.Minute, MaxImports: 1}, func(_ discovery.Set, err error) {
			got = append(got, fmt.Sprint(time.Since(start), " ", err))
			switch len(got) {
			case 1:
				time.AfterFunc(45*time.Second, func() { close(release) })
			case 2:
				release = make(chan struct{}) // hangs once more
			}
		})
		got = append(got, fmt.Sprint("ended after ", time.Since(start)))
		close(release)
		want := []string{"30s no answer within 30s", "1m15s <nil>", "ended after 2m10s"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	})
}
