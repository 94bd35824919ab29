package lakefs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A file is read again when it changes, and only then.
func TestSecretFilesAreReadWhenTheyChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write := func(path, content string, modified time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	s := &secretFiles{files: map[string]secretFile{}}
	later := func() { // enough for the next look at the file
		if f, ok := s.files[path]; ok && !f.lookedAt.IsZero() {
			f.lookedAt = f.lookedAt.Add(-lookInterval)
			s.files[path] = f
		}
	}
	want := func(secret string) {
		t.Helper()
		if got, err := s.Fetch(t.Context(), path); got != secret || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, secret)
		}
	}
	long := time.Now().Add(-time.Hour)

	write(path, "one\n", long)
	want("one")
	write(path, "two\n", long)
	want("one") // nothing shows that it has changed, which is how one sees that it is not read
	later()
	want("one")
	write(path, "six", long.Add(time.Second))
	later()
	want("six")

	// What replaces a file need not be newer.
	other := path + ".new"
	write(other, "ten", long.Add(time.Second))
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	later()
	want("ten")

	// What has just been written may be written again, and not show it.
	now := time.Now().Add(time.Second)
	write(path, "abc", now)
	later()
	want("abc")
	write(path, "def", now)
	want("def")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Fetch(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %q, %v", got, err)
	}
	write(path, "back", long)
	want("back")
}
