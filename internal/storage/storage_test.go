package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	bolt "go.etcd.io/bbolt"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

var now = time.Date(2026, 11, 22, 10, 50, 27, 374205733, time.UTC)

// key returns keys in the order of n.
func key(n int) collector.Key {
	return collector.Key{Server: "prod", Repository: "my-repo", ID: fmt.Sprintf("id-%06d", n)}
}

func registration(n int) collector.Registration {
	return collector.Registration{Import: collector.Import{Key: key(n), Branch: "main", NoProgressAfter: time.Hour}, At: now}
}

func observed(n int) collector.Observed {
	return collector.Observed{Key: key(n), Observation: collector.Observation{StatusAt: now, UpdateTime: now, IngestedObjects: int64(n)}}
}

// each returns what f makes of the numbers from and below to.
func each[T any](from, to int, f func(int) T) (all []T) {
	for n := from; n < to; n++ {
		all = append(all, f(n))
	}
	return all
}

func open(path string) (*Storage, error) { return openWithin(path, time.Millisecond) }

func mustOpen(t testing.TB, path string) *Storage {
	t.Helper()
	s, err := open(path)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, s *Storage) collector.Stored {
	t.Helper()
	stored, err := s.Load()
	must(t, err)
	return stored
}

func diff(want, got collector.Stored) string {
	if reflect.DeepEqual(want, got) {
		return "" // cmp is slow
	}
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateErrors())
}

// wantStored restarts s, and checks what is stored.
func wantStored(t testing.TB, s *Storage, want collector.Stored) *Storage {
	t.Helper()
	must(t, s.Close())
	s = mustOpen(t, s.path)
	if diff := diff(want, load(t, s)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	return s
}

// wantError checks that err is that of the storage at path, and contains want.
func wantError(t testing.TB, err error, path, want string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), "storage "+path+": ") || !strings.Contains(err.Error(), want) {
		t.Errorf("got  %v\nwant storage %s: %s", err, path, want)
	}
}

// What is in the file must not change without a new format.
func TestFormat(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	must(t, s.Update(collector.Changes{
		PutRegistrations: each(1, 2, registration),
		PutObservations: []collector.Observed{{Key: key(2), Observation: collector.Observation{
			UpdateTime: now, Outcome: lakefs.Succeeded, ErrorReason: lakefs.Hook, Counted: true,
		}}},
	}))
	for _, want := range []struct{ bucket, key, value string }{
		{"meta", "format", "2"},
		{"imports", "prod\x00my-repo\x00id-000001", `{"branch":"main","no_progress_after_nanoseconds":3600000000000,"registered_at":"2026-11-22T10:50:27.374205733Z"}`},
		{"observations", "prod\x00my-repo\x00id-000002", `{"update_time":"2026-11-22T10:50:27.374205733Z","error_reason":"hook","outcome":1,"counted":true}`},
	} {
		must(t, s.db.View(func(tx *bolt.Tx) error {
			if got := tx.Bucket([]byte(want.bucket)).Get([]byte(want.key)); string(got) != want.value {
				t.Errorf("%s: got %s", want, got)
			}
			return nil
		}))
	}
}

func TestUpdate(t *testing.T) {
	full := collector.Stored{
		Registrations: []collector.Registration{{
			Import: collector.Import{
				Key:    collector.Key{Server: "prod / ✓ \"quoted\" [::1]:8000", Repository: "my-repo", ID: strings.Repeat("i", 128)},
				Branch: "main", ExpectedObjects: math.MaxInt64, NoProgressAfter: math.MaxInt64, MaxDuration: math.MaxInt64,
				Labels: map[string]string{"team": "a\x00\n\t\"\\<>&\u2028é✓\U0010FFFF", "empty": "", "_": strings.Repeat("x", 1<<16)},
			},
			At: now.In(time.FixedZone("", -3*3600-30*60)),
		}},
		Observations: []collector.Observed{{Key: key(2), Observation: collector.Observation{
			StatusAt: now, Date: now.Add(1), UpdateTime: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
			MovedAt: now.Add(2), ProgressAt: now.Add(3), IngestedObjects: math.MaxInt64, Outcome: lakefs.Canceled,
			CommitID: "c", MetarangeID: "\" {}[]\\u0000 ✓", ErrorMessage: `a "b" <c> \ ` + "\u2028 ✓…",
			ErrorReason: lakefs.CanceledByUser, NotFoundSince: now.Add(4), SeenUnfinished: true, Confirmed: true, Counted: true,
		}}},
	}
	s := wantStored(t, mustOpen(t, t.TempDir()), collector.Stored{})
	must(t, s.Update(collector.Changes{PutRegistrations: full.Registrations, PutObservations: full.Observations}))
	s = wantStored(t, s, full)
	// Deletions come first.
	must(t, s.Update(collector.Changes{
		Delete:           []collector.Key{full.Registrations[0].Key, key(9), key(3), key(2), key(2)},
		PutRegistrations: each(1, 3, registration), PutObservations: each(2, 4, observed),
	}))
	s = wantStored(t, s, collector.Stored{Registrations: each(1, 3, registration), Observations: each(2, 4, observed)})
	must(t, s.Update(collector.Changes{PutObservations: []collector.Observed{{Key: key(2)}}}))
	s = wantStored(t, s, collector.Stored{Registrations: each(1, 3, registration), Observations: []collector.Observed{{Key: key(2)}, observed(3)}})
	// One entry that cannot be stored leaves nothing half done.
	bad := observed(3)
	bad.StatusAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	err := s.Update(collector.Changes{PutRegistrations: each(0, 9, registration), PutObservations: []collector.Observed{bad}})
	wantError(t, err, s.path, "observations: entry prod/my-repo/id-000003: ")
	s = wantStored(t, s, collector.Stored{Registrations: each(1, 3, registration), Observations: []collector.Observed{{Key: key(2)}, observed(3)}})
	must(t, s.Close())
	wantError(t, s.Update(collector.Changes{}), s.path, "database not open")
}

// An entry that is refused today, such as one with a label that was reserved by
// a later release, is skipped, reported and kept.
func TestSkipped(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	bad, future := registration(1), observed(2)
	bad.Labels = map[string]string{"cluster": "a"}
	future.Outcome = lakefs.Canceled + 1
	must(t, s.Update(collector.Changes{
		PutRegistrations: []collector.Registration{bad, registration(2)},
		PutObservations:  []collector.Observed{observed(1), future, {Key: collector.Key{Server: "a\x00b"}}},
	}))
	must(t, s.Close())
	s = mustOpen(t, s.path)
	got := load(t, s)
	for i, want := range []string{
		`imports: entry "prod/my-repo/id-000001": label "cluster": the name is reserved`,
		`observations: entry "a/b//": key must have three parts`,
		`observations: entry "prod/my-repo/id-000002": unknown outcome 4`,
	} {
		if len(got.Skipped) != 3 || !strings.HasPrefix(got.Skipped[i].Error(), want) {
			t.Fatalf("skipped %q", got.Skipped)
		}
	}
	got.Skipped = nil
	if diff := diff(collector.Stored{Registrations: each(2, 3, registration), Observations: each(1, 2, observed)}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	must(t, s.Update(collector.Changes{Delete: []collector.Key{bad.Key}}))
	must(t, s.Close())
	if got := load(t, mustOpen(t, s.path)); len(got.Skipped) != 2 {
		t.Errorf("skipped %q", got.Skipped)
	}
}

// snapshot returns everything that there is to see of a file.
func snapshot(t testing.TB, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	data := []byte("not a file")
	if info.Mode().IsRegular() {
		data, err = os.ReadFile(path)
		must(t, err)
	}
	return fmt.Sprintln(info.Mode(), info.ModTime(), string(data))
}

func TestPaths(t *testing.T) {
	for path, want := range map[string]string{
		"memory ✓?#%.db":    "memory ✓?#%.db",
		"existing":          "existing/lakefs_import_exporter.db",
		"new/a/":            "new/a/lakefs_import_exporter.db",
		"new/a/b/memory.db": "new/a/b/memory.db",
		"empty":             "empty",
		"link":              "empty",
	} {
		t.Run(path, func(t *testing.T) {
			t.Chdir(t.TempDir())
			must(t, os.Mkdir("existing", 0o755))
			must(t, os.WriteFile("empty", nil, 0o600))
			must(t, os.Symlink("empty", "link"))
			for n := range 2 {
				s := mustOpen(t, path)
				must(t, s.Update(collector.Changes{PutRegistrations: each(n, n+1, registration)}))
				must(t, s.Close())
			}
			info, err := os.Stat(want)
			must(t, err)
			if info.Mode() != 0o600 {
				t.Errorf("mode %s", info.Mode())
			}
			wantStored(t, mustOpen(t, want), collector.Stored{Registrations: each(0, 2, registration)})
		})
	}
}

// What stands in the way is said in one line.
func TestFileThatCannotBeCreated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.db")
	must(t, os.Symlink("missing/memory.db", path))
	_, err := open(path)
	if want := fmt.Sprintf("storage %s: open %[1]s: no such file or directory", path); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A second exporter waits for the first, and finds all that it wrote.
func TestHeldByAnother(t *testing.T) {
	first := mustOpen(t, t.TempDir())
	_, err := open(first.path)
	wantError(t, err, first.path, errLocked.Error())
	must(t, first.Update(collector.Changes{PutRegistrations: each(0, 3, registration)}))
	closed := make(chan error)
	go func() { closed <- first.Close() }()
	second, err := openWithin(first.path, time.Minute)
	must(t, errors.Join(err, <-closed))
	wantStored(t, second, collector.Stored{Registrations: each(0, 3, registration)})
}

func TestRefused(t *testing.T) {
	text := func(s string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(s), 0o600) }
	}
	// edit changes a bbolt file behind the storage's back, or makes one.
	edit := func(path string, options *bolt.Options, do func(tx *bolt.Tx) error) error {
		db, err := bolt.Open(path, 0o600, options)
		if err != nil {
			return err
		}
		return errors.Join(db.Update(do), db.Close())
	}
	foreign := func(options *bolt.Options) func(string) error {
		return func(path string) error {
			return edit(path, options, func(tx *bolt.Tx) error { _, err := tx.CreateBucket(metaBucket); return err })
		}
	}
	put := func(key []byte, value string) func(string) error {
		return func(path string) error {
			must(t, mustOpen(t, path).Close())
			return edit(path, nil, func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(key, []byte(value)) })
		}
	}
	for name, tt := range map[string]struct {
		create func(path string) error
		want   string
	}{
		"text":                                  {text("servers: []\n"), errNoBolt.Error()},
		"a megabyte of zeros":                   {text(strings.Repeat("\x00", 1<<20)), errNoBolt.Error()},
		"a FIFO":                                {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "is not a regular file"},
		"a device":                              {func(path string) error { return os.Symlink("/dev/null", path) }, "is not a regular file"},
		"a symlink to itself":                   {func(path string) error { return os.Symlink(path, path) }, "too many levels of symbolic links"},
		"another program's":                     {foreign(nil), errForeign.Error()},
		"another program's, without a freelist": {foreign(&bolt.Options{NoFreelistSync: true}), errForeign.Error()},
		"the first format":                      {put(formatKey, "1"), `has format "1", but this exporter reads format "2" only`},
		"another digest":                        {put(digestKey, "12345678"), "is damaged: its entries are not those that were written"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "memory.db")
			must(t, tt.create(path))
			before := snapshot(t, path)
			_, err := open(path)
			wantError(t, err, path, tt.want)
			if snapshot(t, path) != before {
				t.Error("the file has changed")
			}
		})
	}
}

// inChild reports whether this is the child process that it runs a test in, so that
// no limit of the test is one for what package testing writes.
func inChild(t *testing.T) bool {
	t.Helper()
	const variable = "STORAGE_TEST_CHILD"
	if os.Getenv(variable) != "" {
		return true
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), variable+"=1")
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// limitFileSize makes writes beyond a size fail, as on a full disk.
func limitFileSize(t testing.TB, size uint64) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	limit.Cur = min(size, limit.Max)
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	t.Cleanup(func() {
		limit.Cur = limit.Max
		must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	})
}

// A full disk at the first start leaves nothing that is refused later.
func TestFullDiskAtFirstStart(t *testing.T) {
	if !inChild(t) {
		return
	}
	for _, size := range []uint64{0, 100, pageSize, 3 * pageSize, 4 * pageSize, 5 * pageSize} {
		path := filepath.Join(t.TempDir(), "memory.db")
		limitFileSize(t, size)
		_, err := open(path)
		limitFileSize(t, math.MaxUint64)
		wantError(t, err, path, syscall.EFBIG.Error())
		if info, err := os.Stat(path); err != nil || info.Size() != 0 {
			t.Errorf("%d bytes: left %v", size, info)
		}
		wantStored(t, mustOpen(t, path), collector.Stored{})
	}
}

// A crash amid the first start leaves a database without buckets.
func TestCrashAtFirstStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.db")
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Close())
	wantStored(t, mustOpen(t, path), collector.Stored{})
}

// After a commit that failed, however far it came, the file is what it was.
func TestFailedCommit(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	must(t, s.Update(collector.Changes{PutRegistrations: each(0, 10, registration)}))
	errIO := errors.New("input/output error")
	s.commit = func(tx *bolt.Tx) error { return errors.Join(tx.Commit(), errIO) }
	err := s.Update(collector.Changes{Delete: []collector.Key{key(0)}, PutRegistrations: each(10, 100, registration)})
	wantError(t, err, s.path, errIO.Error())
	s.commit = (*bolt.Tx).Commit
	wantError(t, s.Update(collector.Changes{}), s.path, "cannot be used until a restart")
	wantStored(t, s, collector.Stored{Registrations: each(0, 10, registration)})
}

// What others do to the file while it is in use is an error, not a crash, and
// Close does not hang.
func TestChangedWhileOpen(t *testing.T) {
	other := mustOpen(t, t.TempDir())
	must(t, other.Update(collector.Changes{PutObservations: each(0, 100, observed)}))
	whole, err := os.ReadFile(other.path)
	must(t, err)
	for name, do := range map[string]func(path string) error{
		"emptied":            func(path string) error { return os.Truncate(path, 0) },
		"truncated":          func(path string) error { return os.Truncate(path, 3*pageSize) },
		"overwritten":        func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("text\n"), 1<<14), 0o600) },
		"another one copied": func(path string) error { return os.WriteFile(path, whole, 0o600) },
		"removed":            os.Remove,
		"replaced":           func(path string) error { return os.Rename(other.path, path) },
	} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, t.TempDir())
			must(t, s.Update(collector.Changes{PutObservations: each(0, 2000, observed)}))
			must(t, s.Close())
			s = mustOpen(t, s.path)
			must(t, do(s.path))
			for range 2 {
				if err := s.Update(collector.Changes{PutObservations: each(0, 1000, observed)}); err == nil {
					t.Error("no error")
				}
			}
			must(t, s.Close())
		})
	}
}
