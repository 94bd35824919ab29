package storage

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lakefs_import_exporter/collector"
)

// filled makes a file with every kind of page, and some that are free. before is
// its content without the last transaction.
func filled(t testing.TB) (path string, content, before collector.Stored) {
	t.Helper()
	s := mustOpen(t, filepath.Join(t.TempDir(), "memory.db"))
	s.db.NoSync = true
	long := registration(1000)
	long.Labels = map[string]string{"long": strings.Repeat("x", 10_000)} // over several pages
	must(t, s.Update(collector.Changes{PutRegistrations: append(each(0, 60, registration), long), PutObservations: each(0, 120, observed)}))
	for n := range 20 {
		must(t, s.Update(collector.Changes{Delete: []collector.Key{key(n)}}))
	}
	must(t, s.Close())
	content = collector.Stored{Registrations: append(each(20, 60, registration), long), Observations: each(20, 120, observed)}
	before = collector.Stored{Registrations: append(each(19, 60, registration), long), Observations: each(19, 120, observed)}
	return s.path, content, before
}

var refusal = regexp.MustCompile(`^storage \S+: (is damaged: |is not a bbolt file, or is damaged$|is the bbolt file of another program$|has format ".*", but this exporter reads format "2" only$)`)

// wantGoodOrRefused opens a damaged file. It must have the content, or the one
// before together with a report of that, and be of use; or be refused and not
// changed.
func wantGoodOrRefused(t testing.TB, path string, content, before collector.Stored) (refused bool) {
	t.Helper()
	file := snapshot(t, path)
	s, err := open(path)
	if err != nil {
		if !refusal.MatchString(err.Error()) {
			t.Errorf("refused with: %v", err)
		}
		if snapshot(t, path) != file {
			t.Error("the file has changed")
		}
		return true
	}
	got := load(t, s)
	want := content
	for _, err := range got.Skipped {
		if !strings.Contains(err.Error(), "one of the two meta pages is damaged") {
			t.Error(err)
		}
		if len(got.Registrations) == len(before.Registrations) {
			want = before
		}
	}
	got.Skipped = nil
	if diff := diff(want, got); diff != "" {
		t.Errorf("loads with another content (-want +got):\n%s", diff)
		return false
	}
	s.db.NoSync = true
	extra := registration(5000)
	must(t, s.Update(collector.Changes{PutRegistrations: []collector.Registration{extra}, PutObservations: each(20, 120, observed)}))
	must(t, s.Update(collector.Changes{Delete: []collector.Key{extra.Key}, PutObservations: want.Observations}))
	must(t, wantStored(t, s, want).Close())
	return false
}

// damages are ways to damage a page.
var damages = map[string]func(r *rand.Rand, page, file []byte){
	"a bit":                  func(r *rand.Rand, page, _ []byte) { page[r.IntN(len(page))] ^= 1 << r.IntN(8) },
	"a bit of the head":      func(r *rand.Rand, page, _ []byte) { page[r.IntN(96)] ^= 1 << r.IntN(8) },
	"the number of elements": func(r *rand.Rand, page, _ []byte) { order.PutUint16(page[10:], uint16(r.Uint32()>>r.IntN(32))) },
	"the kind of page":       func(r *rand.Rand, page, _ []byte) { order.PutUint16(page[8:], []uint16{1, 2, 4, 16, 0}[r.IntN(5)]) },
	"the overflow":           func(r *rand.Rand, page, _ []byte) { order.PutUint32(page[12:], r.Uint32()>>r.IntN(32)) },
	"the size of a value": func(r *rand.Rand, page, _ []byte) {
		size := page[headerSize+elementSize*r.IntN(4)+12:]
		order.PutUint32(size, order.Uint32(size)-1)
	},
	"a page ID": func(r *rand.Rand, page, file []byte) {
		order.PutUint64(page[8*r.IntN(12):], r.Uint64N(uint64(len(file)/len(page)+1)))
	},
	"a huge freelist": func(r *rand.Rand, page, _ []byte) {
		order.PutUint16(page[10:], 0xffff)
		order.PutUint64(page[16:], r.Uint64()>>r.IntN(64))
	},
	"all lost": func(_ *rand.Rand, page, _ []byte) { clear(page) },
	"another page with the right ID": func(r *rand.Rand, page, file []byte) {
		id := order.Uint64(page)
		copy(page, file[len(page)*r.IntN(len(file)/len(page)):])
		order.PutUint64(page, id)
	},
}

// Whatever happens to a page, the exporter starts with what was there, or
// refuses to start and leaves the file as it is.
func TestDamaged(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	path, content, before := filled(t)
	whole, err := os.ReadFile(path)
	must(t, err)
	refused, tried := 0, 0
	for name, damage := range damages {
		for at := 0; at < used(whole); at += pageSize {
			for seed := range uint64(2) {
				file := bytes.Clone(whole)
				damage(rand.New(rand.NewPCG(seed, uint64(at))), file[at:at+pageSize], whole)
				must(t, errors.Join(os.Remove(path), os.WriteFile(path, file, 0o600))) // whoever panicked still has the lock
				tried++
				if wantGoodOrRefused(t, path, content, before) {
					refused++
				}
				if t.Failed() {
					t.Fatalf("page %d, damaged is %s, seed %d", at/pageSize, name, seed)
				}
			}
		}
	}
	t.Logf("%d of %d damaged files were refused", refused, tried)
}

// used returns how many bytes of a file are in use.
func used(file []byte) int {
	newest := file[:pageSize]
	if next := file[pageSize:]; order.Uint64(next[64:]) > order.Uint64(newest[64:]) {
		newest = next
	}
	return int(order.Uint64(newest[56:])) * pageSize
}

func TestTruncated(t *testing.T) {
	path, content, before := filled(t)
	whole, err := os.ReadFile(path)
	must(t, err)
	lengths := []int{1, 15, 16, 79, 80, 1023}
	for at := pageSize; at <= used(whole); at += pageSize {
		lengths = append(lengths, at-1, at, at+80)
	}
	for _, length := range lengths {
		must(t, errors.Join(os.Remove(path), os.WriteFile(path, whole[:length], 0o600)))
		if refused := wantGoodOrRefused(t, path, content, before); refused != (length < used(whole)) || t.Failed() {
			t.Fatalf("%d of %d bytes: refused %t", length, used(whole), refused)
		}
	}
}

// FuzzOpen opens files of any content: they load or are refused.
func FuzzOpen(f *testing.F) {
	s := mustOpen(f, f.TempDir())
	must(f, s.Update(collector.Changes{PutRegistrations: each(0, 2, registration), PutObservations: each(0, 30, observed)}))
	data, err := os.ReadFile(s.path)
	must(f, err)
	f.Add(data[:used(data)])
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "fuzz.db")
		must(t, os.WriteFile(path, data, 0o600))
		before := snapshot(t, path)
		s, err := open(path)
		if err != nil {
			if !refusal.MatchString(err.Error()) || snapshot(t, path) != before {
				t.Errorf("changed, or refused with: %v", err)
			}
			return
		}
		s.db.NoSync = true
		must(t, s.Update(collector.Changes{PutRegistrations: each(0, 1, registration), PutObservations: each(0, 100, observed)}))
		must(t, s.Close())
		if got := load(t, mustOpen(t, path)); len(got.Registrations) < 1 || len(got.Observations) < 100 {
			t.Errorf("got %d registrations and %d observations", len(got.Registrations), len(got.Observations))
		}
	})
}

// The first observations of 100,000 imports.
func BenchmarkUpdate(b *testing.B) {
	first := each(0, 100_000, observed)
	for b.Loop() {
		s := mustOpen(b, b.TempDir())
		must(b, s.Update(collector.Changes{PutObservations: first}))
		must(b, s.Close())
	}
}
