package storage

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

var seeds = flag.Uint64("seeds", 2, "how often TestDamaged does each damage to each page")

// patience is for how long these tests wait for who holds a file: not at all.
const patience = time.Nanosecond

var now = time.Date(2026, 11, 22, 10, 50, 27, 374205733, time.UTC)

// content is what a Storage holds.
type content struct {
	imports      map[collector.Key]collector.Registration
	observations map[collector.Key]collector.Observation
}

func key(n int) collector.Key {
	return collector.Key{Server: "prod", Ref: lakefs.Ref{Repository: fmt.Sprintf("repo-%d", n%7), Branch: "main", ID: fmt.Sprintf("id-%d", n)}}
}

func registration(k collector.Key) collector.Registration {
	return collector.Registration{Import: collector.Import{Key: k, NoProgressAfter: time.Hour}, At: now}
}

func observation(n int) collector.Observation {
	return collector.Observation{StatusAt: now, ProgressAt: now, UpdateTime: now, IngestedObjects: int64(n)}
}

func mustOpen(t testing.TB, path string) *Storage {
	t.Helper()
	s, err := openWithin(path, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, s *Storage) content {
	t.Helper()
	imports, observations, err := s.Load()
	must(t, err)
	c := content{map[collector.Key]collector.Registration{}, observations}
	for _, r := range imports {
		c.imports[r.Key] = r
	}
	if len(c.imports) != len(imports) {
		t.Errorf("%d imports of %d are there twice", len(imports)-len(c.imports), len(imports))
	}
	return c
}

// wantContent checks what is there now, and what is there after a restart. It
// returns the Storage as it is then.
func wantContent(t testing.TB, s *Storage, want content) *Storage {
	t.Helper()
	for _, when := range []string{"at once", "after a restart"} {
		if diff := cmp.Diff(want, load(t, s), cmp.AllowUnexported(content{})); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", when, diff)
		}
		path := s.db.Path()
		must(t, s.Close())
		s = mustOpen(t, path)
	}
	return s
}

func TestRoundTrip(t *testing.T) {
	zone := time.FixedZone("", -3*3600-30*60)
	longest := key(0)
	longest.Server, longest.Repository = strings.Repeat("s", 128), strings.Repeat("r", 63)
	longest.Branch, longest.ID = strings.Repeat("b", 4096), strings.Repeat("i", 128)
	odd := key(1)
	odd.Server = "prod / ✓ \"quoted\" \u2028 [::1]:8000"
	otherBranch, otherServer := key(1), key(1)
	otherBranch.Branch, otherServer.Server = "dev", "dev"

	want := content{
		imports: map[collector.Key]collector.Registration{
			key(1): registration(key(1)),
			key(2): {
				Import: collector.Import{
					Key: key(2), ExpectedObjects: math.MaxInt64, NoProgressAfter: math.MaxInt64,
					Labels: map[string]string{"team": "a\x00\n\t\"\\<>&\u2028é✓\U0010FFFF", "empty": "", "_": strings.Repeat("x", 1<<16)},
				},
				At: now.In(zone),
			},
			longest:     {Import: collector.Import{Key: longest, ExpectedObjects: 1, NoProgressAfter: 1}, At: time.Time{}},
			odd:         registration(odd),
			otherBranch: registration(otherBranch),
			otherServer: registration(otherServer),
		},
		observations: map[collector.Key]collector.Observation{
			key(1): {},
			key(2): {
				StatusAt: now, ProgressAt: now.Add(-time.Hour), UpdateTime: now.Add(-time.Minute), IngestedObjects: math.MaxInt64,
				Outcome: lakefs.Succeeded, CommitID: strings.Repeat("c", 256), MetarangeID: "\" {}[]\\u0000 ✓",
			},
			key(3): {StatusAt: now, ProgressAt: now, Outcome: lakefs.Failed, ErrorMessage: `a "b" <c> \ ` + "\u2028 ✓…"},
			// A year 1 is what lakeFS has where it never set a time.
			key(4):  {StatusAt: now, ProgressAt: now, UpdateTime: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), Outcome: lakefs.Canceled, ErrorMessage: "Canceled"},
			key(5):  {StatusAt: now, ProgressAt: now, UpdateTime: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), NotFoundSince: now},
			key(6):  {StatusAt: now.In(zone), UpdateTime: time.Date(0, 1, 1, 0, 0, 0, 1, time.UTC)},
			key(7):  {NotFoundSince: now},
			longest: {StatusAt: now},
			odd:     {StatusAt: now, IngestedObjects: 5},
		},
	}
	s := wantContent(t, mustOpen(t, t.TempDir()), content{map[collector.Key]collector.Registration{}, map[collector.Key]collector.Observation{}})
	for _, r := range want.imports {
		must(t, s.PutImport(r))
	}
	must(t, s.PutObservations(want.observations))
	must(t, s.PutObservations(nil))
	must(t, s.DeleteImports())
	must(t, s.DeleteObservations())
	s = wantContent(t, s, want)

	// What is put again takes the place of what was there, all of it.
	r := registration(key(2))
	must(t, s.PutImport(r))
	want.imports[key(2)] = r
	o := map[collector.Key]collector.Observation{key(2): {NotFoundSince: now}, key(8): observation(8)}
	must(t, s.PutObservations(o))
	maps.Copy(want.observations, o)
	s = wantContent(t, s, want)

	// An import and what was seen of it go each for itself, as do imports that
	// differ in but one part of their names; what is not there need not go.
	must(t, s.DeleteImports(key(1), key(100), key(2), key(2)))
	must(t, s.DeleteObservations(key(2), key(3), key(100)))
	for _, k := range []collector.Key{key(1), key(2)} {
		delete(want.imports, k)
	}
	for _, k := range []collector.Key{key(2), key(3)} {
		delete(want.observations, k)
	}
	wantContent(t, s, want)
}

// Every field of what is stored has a place in the file.
func TestRecordsAreComplete(t *testing.T) {
	for _, tt := range []struct{ value, record reflect.Type }{
		{reflect.TypeFor[collector.Registration](), reflect.TypeFor[importRecord]()},
		{reflect.TypeFor[collector.Import](), reflect.TypeFor[importRecord]()},
		{reflect.TypeFor[collector.Observation](), reflect.TypeFor[observationRecord]()},
	} {
		for i := range tt.value.NumField() {
			name := tt.value.Field(i).Name
			if name == "At" {
				name = "RegisteredAt"
			}
			if _, ok := tt.record.FieldByName(name); !ok && !tt.value.Field(i).Anonymous {
				t.Errorf("%s of %s is not stored", name, tt.value)
			}
		}
	}
}

// An observation that cannot be stored takes no other with it, and leaves
// nothing half done.
func TestAllOrNothing(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	want := content{map[collector.Key]collector.Registration{}, map[collector.Key]collector.Observation{key(1): observation(1)}}
	must(t, s.PutObservations(want.observations))
	bad := map[collector.Key]collector.Observation{}
	for n := range 100 {
		bad[key(n)] = observation(n + 1)
	}
	bad[key(50)] = collector.Observation{StatusAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}
	if err := s.PutObservations(bad); err == nil {
		t.Fatal("a year of five digits was stored")
	}
	wantContent(t, s, want)
}

func TestPaths(t *testing.T) {
	for name, tt := range map[string]struct{ path, file string }{
		"a file":                          {"memory.db", "memory.db"},
		"a directory":                     {"existing", "existing/lakefs_import_exporter.db"},
		"a directory, with a slash":       {"existing/", "existing/lakefs_import_exporter.db"},
		"a directory that is not there":   {"new/", "new/lakefs_import_exporter.db"},
		"a file in directories to come":   {"new/a/b/memory.db", "new/a/b/memory.db"},
		"directories to come":             {"new/a/b/", "new/a/b/lakefs_import_exporter.db"},
		"an empty file":                   {"empty", "empty"},
		"a symlink to a file to come":     {"link", "elsewhere.db"},
		"a name with spaces and the like": {"a b ✓?#%.db", "a b ✓?#%.db"},
		"the working directory":           {".", "lakefs_import_exporter.db"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			must(t, os.Mkdir("existing", 0o755))
			must(t, os.WriteFile("empty", nil, 0o600))
			must(t, os.Symlink("elsewhere.db", "link"))
			for _, path := range []string{tt.path, filepath.Join(dir, tt.path) + strings.Repeat("/", strings.Count(tt.path, "/")-strings.Count(filepath.Clean(tt.path), "/"))} {
				s, err := openWithin(path, patience)
				must(t, err)
				must(t, s.PutImport(registration(key(1))))
				must(t, s.Close())
			}
			info, err := os.Stat(tt.file)
			must(t, err)
			if info.Mode() != 0o600 || info.Size() == 0 {
				t.Errorf("%s: mode %s, %d bytes", tt.file, info.Mode(), info.Size())
			}
			if c := load(t, mustOpen(t, tt.file)); len(c.imports) != 1 {
				t.Errorf("got %d imports", len(c.imports))
			}
			if info, err := os.Stat("new"); err == nil && info.Mode().Perm() != 0o750 {
				t.Errorf("new directory: mode %s", info.Mode())
			}
		})
	}
}

func TestHeldByAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.db")
	first := mustOpen(t, path)
	must(t, first.PutImport(registration(key(1))))
	before := snapshot(t, path)
	_, err := openWithin(path, patience)
	wantError(t, err, "storage "+path+": is held by another process, is another exporter running?")
	if after := snapshot(t, path); after != before {
		t.Error("the file has changed")
	}
	// The first goes on, and has the file to itself for as long as it wants.
	must(t, first.PutImport(registration(key(2))))

	// The second waits for the first to close, and finds all it wrote.
	waiting := make(chan *Storage)
	go func() {
		s, err := openWithin(path, time.Minute)
		if err != nil {
			t.Error(err)
		}
		waiting <- s
	}()
	must(t, first.PutImport(registration(key(3))))
	must(t, first.Close())
	second := <-waiting
	defer second.Close()
	if c := load(t, second); len(c.imports) != 3 {
		t.Errorf("got %d imports", len(c.imports))
	}
}

func wantError(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// snapshot returns everything there is to see of a file.
func snapshot(t testing.TB, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	data := []byte(nil)
	if info.Mode().IsRegular() {
		data, err = os.ReadFile(path)
		must(t, err)
	}
	return fmt.Sprintln(info.Mode(), info.Size(), info.ModTime(), string(data))
}

// write makes a bbolt file with what do puts into it.
func write(t testing.TB, path string, do func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(do))
	must(t, db.Close())
}

func TestRefused(t *testing.T) {
	bucket := func(path ...string) func(t *testing.T, file string) {
		return func(t *testing.T, file string) {
			write(t, file, func(tx *bolt.Tx) error {
				b, err := tx.CreateBucket([]byte(path[0]))
				for _, name := range path[1:] {
					if err == nil {
						b, err = b.CreateBucket([]byte(name))
					}
				}
				if err == nil {
					err = b.Put([]byte("key"), []byte("value"))
				}
				return err
			})
		}
	}
	text := func(s string) func(*testing.T, string) {
		return func(t *testing.T, file string) { must(t, os.WriteFile(file, []byte(s), 0o600)) }
	}
	put := func(bucket []byte, key, value string) func(t *testing.T, file string) {
		return func(t *testing.T, file string) {
			must(t, mustOpen(t, file).Close())
			write(t, file, func(tx *bolt.Tx) error { return tx.Bucket(bucket).Put([]byte(key), []byte(value)) })
		}
	}
	const (
		noBolt    = "is not a bbolt file, or is damaged: invalid database"
		noPermit  = "is not a regular file"
		goodKey   = "prod\x00repo\x00main\x00id"
		goodValue = `{"registered_at":"2026-11-22T10:50:27Z","no_progress_after_nanoseconds":1}`
	)
	for name, tt := range map[string]struct {
		make func(t *testing.T, file string)
		want string
	}{
		"text":                          {text("servers: []\n"), noBolt},
		"one byte":                      {text("x"), noBolt},
		"a megabyte of zeros":           {text(strings.Repeat("\x00", 1<<20)), noBolt},
		"a database of SQLite":          {text("SQLite format 3\x00" + strings.Repeat("\x01", 1<<16)), noBolt},
		"a FIFO":                        {func(t *testing.T, file string) { must(t, syscall.Mkfifo(file, 0o600)) }, noPermit},
		"a device":                      {func(t *testing.T, file string) { must(t, os.Symlink("/dev/null", file)) }, noPermit},
		"a symlink to itself":           {func(t *testing.T, file string) { must(t, os.Symlink(file, file)) }, "too many levels of symbolic links"},
		"another program's buckets":     {bucket("logs"), "is the bbolt file of another program"},
		"another program's nested ones": {bucket("v1", "meta", "labels"), "is the bbolt file of another program"},
		"another program's meta":        {bucket("meta"), "is the bbolt file of another program"},
		"a program of our names": {func(t *testing.T, file string) {
			write(t, file, func(tx *bolt.Tx) error {
				for _, name := range []string{"meta", "imports", "observations"} {
					if _, err := tx.CreateBucket([]byte(name)); err != nil {
						return err
					}
				}
				return nil
			})
		}, "is the bbolt file of another program"},
		"a bucket is missing": {func(t *testing.T, file string) {
			must(t, mustOpen(t, file).Close())
			write(t, file, func(tx *bolt.Tx) error { return tx.DeleteBucket(importsBucket) })
		}, "is the bbolt file of another program"},
		"a later format":        {put(metaBucket, "format", "2"), `has format "2", this exporter knows only "1"`},
		"an empty format":       {put(metaBucket, "format", ""), `has format "", this exporter knows only "1"`},
		"no digest":             {put(metaBucket, "digest", "x"), "is damaged: has no digest"},
		"another digest":        {put(metaBucket, "digest", "12345678"), "is damaged: the digest of what it holds is 0, but should be 3132333435363738"},
		"a key of three parts":  {put(importsBucket, "prod\x00repo\x00main", goodValue), `is damaged: bucket imports: entry "prod\x00repo\x00main": key "prod\x00repo\x00main": must have four parts`},
		"a value of no JSON":    {put(importsBucket, goodKey, "x"), `is damaged: bucket imports: entry "prod\x00repo\x00main\x00id": invalid character 'x' looking for beginning of value`},
		"an import of bad name": {put(importsBucket, "prod\x00Repo\x00main\x00id", goodValue), `is damaged: bucket imports: entry "prod\x00Repo\x00main\x00id": repository "Repo": must match ^[a-z0-9][a-z0-9-]{2,62}$`},
		"an unknown outcome":    {put(observationsBucket, goodKey, `{"outcome":"won"}`), `is damaged: bucket observations: entry "prod\x00repo\x00main\x00id": unknown outcome "won"`},
		"a nested bucket": {func(t *testing.T, file string) {
			must(t, mustOpen(t, file).Close())
			write(t, file, func(tx *bolt.Tx) error {
				_, err := tx.Bucket(observationsBucket).CreateBucket([]byte(goodKey))
				return err
			})
		}, `is damaged: bucket observations: entry "prod\x00repo\x00main\x00id": unexpected end of JSON input`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "memory.db")
			tt.make(t, path)
			before := snapshot(t, path)
			s, err := openWithin(path, patience)
			if err == nil {
				s.Close()
			}
			wantError(t, err, "storage "+path+": "+tt.want)
			if after := snapshot(t, path); after != before {
				t.Error("the file has changed")
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("%d files in the directory (%v)", len(entries), err)
			}
		})
	}
}

func TestUnusablePlaces(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, []byte("x"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "taken"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "taken", fileName), 0o755))
	for name, tt := range map[string]struct{ path, want string }{
		"below a file":         {file + "/memory.db", "storage " + file + "/memory.db: not a directory"},
		"below a file, deeper": {file + "/a/memory.db", "storage " + file + "/a/memory.db: not a directory"},
		"a file with a slash":  {file + "/", "storage " + file + "/" + fileName + ": not a directory"},
		"a directory where the file should be": {
			filepath.Join(dir, "taken"), "storage " + filepath.Join(dir, "taken", fileName) + ": is not a regular file",
		},
		"a name that is too long":   {filepath.Join(dir, strings.Repeat("x", 300)), "storage " + filepath.Join(dir, strings.Repeat("x", 300)) + ": file name too long"},
		"where nothing can be made": {"/proc/memory/x.db", "storage /proc/memory/x.db: mkdir /proc/memory: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := openWithin(tt.path, patience)
			if err == nil {
				s.Close()
			}
			wantError(t, err, tt.want)
		})
	}
}

// unprivileged runs do as a user who may do nothing. That takes a thread of its
// own, which ends with the test.
func unprivileged(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		do()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: it is the thread that changes
		if err := syscall.Setfsuid(65534); err != nil {
			t.Error(err)
			return
		}
		do()
	}()
	<-done
}

func TestWithoutPermission(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		must(t, os.Chmod(d, 0o755))
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"closed", "unreadable", "readonly"} {
		must(t, os.Mkdir(path(name), 0o755))
		must(t, mustOpen(t, path(name)).Close())
	}
	must(t, os.Mkdir(path("empty"), 0o555))
	must(t, os.Chmod(path("closed"), 0))
	must(t, os.Chmod(path("unreadable/"+fileName), 0))
	must(t, os.Chmod(path("readonly/"+fileName), 0o444))
	defer os.Chmod(path("closed"), 0o755)
	before := snapshot(t, path("readonly/"+fileName))
	unprivileged(t, func() {
		for name, want := range map[string]string{
			"empty":         ": permission denied",
			"empty/a/b.db":  ": mkdir " + path("empty/a") + ": permission denied",
			"closed/":       ": permission denied",
			"unreadable":    ": permission denied",
			"readonly":      ": permission denied",
			"closed/a/b.db": ": permission denied",
		} {
			file := path(name)
			if !strings.HasSuffix(name, ".db") {
				file = path(name + "/" + fileName)
			}
			if strings.HasSuffix(name, "/") {
				name = path(name) + "/"
			} else {
				name = path(name)
			}
			s, err := openWithin(name, patience)
			if err == nil {
				s.Close()
			}
			wantError(t, err, "storage "+file+want)
		}
	})
	if after := snapshot(t, path("readonly/"+fileName)); after != before {
		t.Error("a file that may not be written to has changed")
	}
}

func TestOpeningChangesNothing(t *testing.T) {
	path, want := filled(t)
	before := snapshot(t, path)
	for range 3 {
		s := mustOpen(t, path)
		if diff := cmp.Diff(want, load(t, s), cmp.AllowUnexported(content{})); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		must(t, s.Close())
	}
	if after := snapshot(t, path); after != before {
		t.Error("the file has changed")
	}
}

// An exporter that was killed before it had made anything but an empty bbolt
// file finds that when it starts again.
func TestKilledWhileNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.db")
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Close())
	s := mustOpen(t, path)
	must(t, s.PutImport(registration(key(1))))
	wantContent(t, s, content{
		map[collector.Key]collector.Registration{key(1): registration(key(1))}, map[collector.Key]collector.Observation{},
	})
}

// filled makes a file with every kind of page, and some that are free.
func filled(t testing.TB) (path string, c content) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "memory.db")
	s := mustOpen(t, path)
	s.db.NoSync = true // for speed alone
	c = content{map[collector.Key]collector.Registration{}, map[collector.Key]collector.Observation{}}
	for n := range 60 {
		c.imports[key(n)] = registration(key(n))
		must(t, s.PutImport(c.imports[key(n)]))
	}
	for n := range 120 {
		c.observations[key(n)] = observation(n)
	}
	// A value that goes on over several pages.
	long := registration(key(1000))
	long.Labels = map[string]string{"long": strings.Repeat("x", 10_000)}
	c.imports[long.Key] = long
	must(t, s.PutImport(long))
	must(t, s.PutObservations(c.observations))
	for n := range 20 {
		must(t, s.DeleteImports(key(n)))
		must(t, s.DeleteObservations(key(2*n)))
		delete(c.imports, key(n))
		delete(c.observations, key(2*n))
	}
	must(t, s.db.Sync())
	must(t, s.Close())
	return path, c
}

// wantGoodOrRefused opens a damaged file. What loads must be what was there, and
// the file must still be of use; what does not must be refused with one of the
// errors that there are, and be left as it is.
func wantGoodOrRefused(t testing.TB, path string, want ...content) (refused bool) {
	t.Helper()
	before := snapshot(t, path)
	s, err := openWithin(path, patience)
	if err != nil {
		if !refusal.MatchString(err.Error()) {
			t.Errorf("refused with: %v", err)
		}
		if snapshot(t, path) != before {
			t.Errorf("changed, but refused with: %v", err)
		}
		return true
	}
	defer s.Close()
	got := load(t, s)
	if !slices.ContainsFunc(want, func(c content) bool { return reflect.DeepEqual(c, got) }) {
		t.Errorf("loads with another content (-want +got):\n%s", cmp.Diff(want[0], got, cmp.AllowUnexported(content{})))
		return false
	}
	s.db.NoSync = true
	must(t, s.PutImport(registration(key(5000))))
	must(t, s.DeleteImports(key(5000)))
	must(t, s.Close())
	s, err = openWithin(path, patience)
	if err != nil {
		t.Errorf("does not load a second time: %v", err)
		return false
	}
	if !reflect.DeepEqual(load(t, s), got) {
		t.Error("loads with another content the second time")
	}
	must(t, s.Close())
	return false
}

var refusal = regexp.MustCompile(`^storage \S+: (is damaged: |is not a bbolt file, or is damaged: |is the bbolt file of another program$|has format ".*", this exporter knows only "1"$)`)

func TestTruncated(t *testing.T) {
	path, want := filled(t)
	whole, err := os.ReadFile(path)
	must(t, err)
	lengths := []int{1, 15, 16, 79, 80, 1023}
	for at := 0; at <= len(whole); at += os.Getpagesize() / 2 {
		lengths = append(lengths, at-1, at, at+1, at+80)
	}
	refused := 0
	for _, length := range lengths {
		if length <= 0 || length >= len(whole) {
			continue
		}
		must(t, os.WriteFile(path, whole[:length], 0o600))
		if wantGoodOrRefused(t, path, want) {
			refused++
		} else if length < len(whole)/2 {
			t.Errorf("%d bytes of %d load", length, len(whole))
		}
		if t.Failed() {
			t.Fatalf("cut off at %d of %d", length, len(whole))
		}
	}
	t.Logf("%d of %d lengths were refused", refused, len(lengths))
}

// damages are ways that a page can be damaged.
var damages = []struct {
	name string
	do   func(r *rand.Rand, page, file []byte)
}{
	{"a bit", func(r *rand.Rand, page, _ []byte) { page[r.IntN(len(page))] ^= 1 << r.IntN(8) }},
	{"a bit of the head", func(r *rand.Rand, page, _ []byte) { page[r.IntN(96)] ^= 1 << r.IntN(8) }},
	{"a byte of the head", func(r *rand.Rand, page, _ []byte) { page[r.IntN(96)] = byte(r.Uint32()) }},
	{"a byte of the head at its limits", func(r *rand.Rand, page, _ []byte) { page[r.IntN(96)] = byte(0xff * r.IntN(2)) }},
	{"the number of elements", func(r *rand.Rand, page, _ []byte) { order.PutUint16(page[10:], uint16(r.Uint32()>>r.IntN(32))) }},
	{"the kind of page", func(r *rand.Rand, page, _ []byte) { order.PutUint16(page[8:], []uint16{1, 2, 4, 16, 0}[r.IntN(5)]) }},
	{"the overflow", func(r *rand.Rand, page, _ []byte) { order.PutUint32(page[12:], r.Uint32()>>r.IntN(32)) }},
	{"a page ID", func(r *rand.Rand, page, file []byte) {
		order.PutUint64(page[8*r.IntN(12):], r.Uint64N(uint64(len(file)/len(page)+1)))
	}},
	{"a huge free list", func(r *rand.Rand, page, _ []byte) {
		order.PutUint16(page[10:], 0xffff)
		order.PutUint64(page[16:], r.Uint64()>>r.IntN(64))
	}},
	{"a sector", func(r *rand.Rand, page, _ []byte) { noise(r, page[512*r.IntN(len(page)/512):][:512]) }},
	{"a sector lost", func(r *rand.Rand, page, _ []byte) { clear(page[512*r.IntN(len(page)/512):][:512]) }},
	{"all", func(r *rand.Rand, page, _ []byte) { noise(r, page) }},
	{"all lost", func(_ *rand.Rand, page, _ []byte) { clear(page) }},
	{"another page in its place", func(r *rand.Rand, page, file []byte) {
		copy(page, file[len(page)*r.IntN(len(file)/len(page)):])
	}},
	{"another page in its place, with the right number", func(r *rand.Rand, page, file []byte) {
		id := order.Uint64(page)
		copy(page, file[len(page)*r.IntN(len(file)/len(page)):])
		order.PutUint64(page, id)
	}},
}

func noise(r *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

// Whatever happens to a page, the exporter starts with what was there, or
// refuses to start and leaves the file as it is.
func TestDamaged(t *testing.T) {
	path, want := filled(t)
	whole, err := os.ReadFile(path)
	must(t, err)
	size, used := os.Getpagesize(), pagesInUse(t, path)
	var refused, tried int
	for _, damage := range damages {
		for at := 0; at < used*size; at += size {
			for seed := range *seeds {
				file := bytes.Clone(whole)
				damage.do(rand.New(rand.NewPCG(seed, uint64(at))), file[at:at+size], whole)
				must(t, os.WriteFile(path, file, 0o600))
				states := []content{want}
				if at < 2*size {
					// Without the newest meta page the transaction before it holds, as
					// it does after a crash in the middle of the last one. That one
					// was the deletion of key(38).
					states = append(states, before(want))
				}
				tried++
				if wantGoodOrRefused(t, path, states...) {
					refused++
				}
				if t.Failed() {
					t.Fatalf("page %d, damaged is %s, seed %d", at/size, damage.name, seed)
				}
			}
		}
	}
	t.Logf("%d pages in use, %d damaged files, of these refused %d", used, tried, refused)
}

// pagesInUse returns how many pages the file has but those that were never used.
func pagesInUse(t testing.TB, path string) (n int) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	must(t, err)
	must(t, db.View(func(tx *bolt.Tx) error {
		n = int(tx.Size()) / os.Getpagesize()
		return nil
	}))
	must(t, db.Close())
	return n
}

// Everything that is ever written is good: what verifyPages asks for is what
// bbolt does.
func TestWhatIsWrittenIsGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.db")
	r := rand.New(rand.NewPCG(1, 2))
	want := content{map[collector.Key]collector.Registration{}, map[collector.Key]collector.Observation{}}
	for step := range 300 {
		s := mustOpen(t, path)
		if got := load(t, s); !reflect.DeepEqual(got, want) {
			t.Fatalf("step %d (-want +got):\n%s", step, cmp.Diff(want, got, cmp.AllowUnexported(content{})))
		}
		s.db.NoSync = true
		for range r.IntN(10) {
			// A few keys at a time, one after another: so that pages empty.
			from, n := r.IntN(500), r.IntN(30)
			if r.IntN(5) == 0 {
				n *= 10
			}
			var keys []collector.Key
			observations := map[collector.Key]collector.Observation{}
			for i := range n {
				keys = append(keys, key(from+i))
				observations[key(from+i)] = observation(r.IntN(1 << 40))
			}
			switch r.IntN(4) {
			case 0:
				must(t, s.DeleteObservations(keys...))
				maps.DeleteFunc(want.observations, func(k collector.Key, _ collector.Observation) bool { return slices.Contains(keys, k) })
			case 1:
				must(t, s.PutObservations(observations))
				maps.Copy(want.observations, observations)
			case 2:
				must(t, s.DeleteImports(keys...))
				maps.DeleteFunc(want.imports, func(k collector.Key, _ collector.Registration) bool { return slices.Contains(keys, k) })
			default:
				imp := registration(key(from))
				imp.Labels = map[string]string{"long": strings.Repeat("x", 1+r.IntN(9000)>>r.IntN(13))}
				must(t, s.PutImport(imp))
				want.imports[imp.Key] = imp
			}
		}
		must(t, s.Close())
	}
}

// before returns the content of filled without its last transaction.
func before(c content) content {
	observations := maps.Clone(c.observations)
	observations[key(38)] = observation(38)
	return content{c.imports, observations}
}

// A disk that is full loses nothing that is there, and gets better.
func TestFullDisk(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	want := content{map[collector.Key]collector.Registration{}, map[collector.Key]collector.Observation{}}
	add := func(n int) error {
		r := registration(key(n))
		r.Labels = map[string]string{"long": strings.Repeat("x", 1000)}
		err := s.PutImport(r)
		if err == nil {
			want.imports[r.Key] = r
		}
		return err
	}
	must(t, add(0))
	info, err := os.Stat(s.db.Path())
	must(t, err)
	s.db.AllocSize = os.Getpagesize()
	s.db.MaxSize = int(info.Size())
	n := 1
	for ; err == nil; n++ {
		err = add(n)
	}
	if !errors.Is(err, bolterrors.ErrMaxSizeReached) {
		t.Fatal(err)
	}
	for range 10 {
		if err := add(n); err == nil {
			t.Fatal("the disk is not full")
		}
		if err := s.PutObservations(manyObservations()); err == nil {
			t.Fatal("the disk is not full")
		}
	}
	if diff := cmp.Diff(want, load(t, s), cmp.AllowUnexported(content{})); diff != "" {
		t.Fatalf("while full (-want +got):\n%s", diff)
	}
	s.db.MaxSize = 0
	must(t, add(n))
	wantContent(t, s, want)
}

func manyObservations() map[collector.Key]collector.Observation {
	many := map[collector.Key]collector.Observation{}
	for n := range 1000 {
		many[key(n)] = observation(n)
	}
	return many
}

func TestConcurrentUse(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	s.db.NoSync = true
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 25 {
				n := worker*100 + i
				errs := []error{
					s.PutImport(registration(key(n))),
					s.PutObservations(map[collector.Key]collector.Observation{key(n): observation(n)}),
				}
				if i%2 == 0 {
					errs = append(errs, s.DeleteImports(key(n)), s.DeleteObservations(key(n)))
				}
				_, _, err := s.Load()
				if err := errors.Join(append(errs, err)...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	want := content{map[collector.Key]collector.Registration{}, map[collector.Key]collector.Observation{}}
	for worker := range 4 {
		for i := 1; i < 25; i += 2 {
			n := worker*100 + i
			want.imports[key(n)], want.observations[key(n)] = registration(key(n)), observation(n)
		}
	}
	wantContent(t, s, want)
}

func TestClosed(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	must(t, s.Close())
	must(t, s.Close())
	_, _, err := s.Load()
	for _, err := range []error{
		err, s.PutImport(registration(key(1))), s.PutObservations(manyObservations()), s.DeleteImports(key(1)), s.DeleteObservations(key(1)),
	} {
		if !errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
			t.Errorf("got %v", err)
		}
	}
}

// FuzzOpen opens files of any content: they load or are refused.
func FuzzOpen(f *testing.F) {
	path, _ := filled(f)
	for _, name := range []string{path, filepath.Join(f.TempDir(), "new.db")} {
		must(f, mustOpen(f, name).Close())
		data, err := os.ReadFile(name)
		must(f, err)
		f.Add(data)
		for _, damage := range damages {
			r := rand.New(rand.NewPCG(0, 0))
			damaged := bytes.Clone(data)
			page := os.Getpagesize() * r.IntN(len(data)/os.Getpagesize())
			damage.do(r, damaged[page:page+os.Getpagesize()], data)
			f.Add(damaged)
		}
	}
	f.Add([]byte("servers: []\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "fuzz.db")
		must(t, os.WriteFile(path, data, 0o600))
		s, err := openWithin(path, patience)
		if err != nil {
			if after, rerr := os.ReadFile(path); rerr != nil || !bytes.Equal(after, data) {
				t.Errorf("changed, but refused with: %v", err)
			}
			if errors.Is(err, fs.ErrNotExist) || !refusal.MatchString(err.Error()) {
				t.Errorf("refused with: %v", err)
			}
			return
		}
		s.db.NoSync = true
		c := load(t, s)
		for _, r := range c.imports {
			must(t, r.Validate())
		}
		must(t, s.PutImport(registration(key(1))))
		must(t, s.PutObservations(manyObservations()))
		must(t, s.Close())
		if got := load(t, mustOpen(t, path)); len(got.imports) < len(c.imports) || len(got.observations) < 1000 {
			t.Errorf("got %d imports and %d observations", len(got.imports), len(got.observations))
		}
	})
}
