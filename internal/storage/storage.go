// Package storage is the exporter's durable memory: one bbolt file with the
// imports registered with the API and what was last seen of every watched
// import.
package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"lakefs_import_exporter/collector"
)

var (
	errDamaged = errors.New("is damaged")
	errEmpty   = errors.New("is empty")
	errForeign = errors.New("is the bbolt file of another program")
	errLocked  = errors.New("is held by another process, is another exporter running?")
	errNoBolt  = errors.New("is not a bbolt file, or is damaged")
	errChanged = errors.New("was changed, removed or replaced by another program while in use")
)

// Storage implements collector.Store. It is safe for concurrent use.
type Storage struct {
	path string
	// commit is (*bolt.Tx).Commit; a test replaces it with one that fails.
	commit func(*bolt.Tx) error

	mu     sync.Mutex
	loaded collector.Stored // until Load is called
	file   *os.File         // that of db, locked
	db     *bolt.DB
	digest digest // of the entries in the file
	// unusable is why the file was closed before Close.
	unusable error
}

// Open opens the storage at path, a file or a directory to keep it in, and
// creates what does not exist. A file that is damaged, of another program or of
// another format is refused and not changed, and so is one that another process
// keeps open for five seconds, such as the exporter that this one replaces.
func Open(path string) (*Storage, error) { return openWithin(path, 5*time.Second) }

func openWithin(path string, timeout time.Duration) (*Storage, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() || strings.HasSuffix(path, string(filepath.Separator)) {
		path = filepath.Join(path, "lakefs_import_exporter.db")
	}
	s := &Storage{path: path, commit: (*bolt.Tx).Commit}
	if err := s.open(timeout); err != nil {
		return nil, s.explain(err)
	}
	return s, nil
}

func (s *Storage) explain(err error) error {
	if err != nil {
		err = fmt.Errorf("storage %s: %w", s.path, err)
	}
	return err
}

func (s *Storage) open(timeout time.Duration) error {
	err := os.MkdirAll(filepath.Dir(s.path), 0o750)
	if err != nil {
		return err
	}
	if s.file, err = os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err = lock(s.file, timeout); err == nil {
		err = protect(s.load)
	}
	if err != nil {
		s.abandon(err)
	}
	return err
}

// lock locks a file as bbolt does, so that it can be verified before bbolt reads
// it.
func lock(file *os.File, timeout time.Duration) error {
	for deadline := time.Now().Add(timeout); ; <-time.After(50 * time.Millisecond) {
		locked, err := tryLock(file)
		if locked || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errLocked
		}
	}
}

// load verifies s.file and opens it as a database. It writes to an empty one
// only: the disk may be full.
func (s *Storage) load() error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	if info.Size() > 0 {
		if err = s.verify(info); err != nil {
			return err
		}
	}
	s.db, err = bolt.Open(s.path, 0, &bolt.Options{
		PageSize:     pageSize,
		FreelistType: bolt.FreelistMapType,
		OpenFile:     func(string, int, os.FileMode) (*os.File, error) { return s.file, nil },
	})
	if err == nil {
		err = s.db.View(s.read)
	}
	if errors.Is(err, errEmpty) {
		if err = s.db.Update(createBuckets); err == nil {
			err = syncDir(filepath.Dir(s.path))
		}
	}
	if err != nil && info.Size() == 0 {
		// What a full disk leaves unfinished would be refused as damaged later.
		err = errors.Join(err, os.Truncate(s.path, 0))
	}
	return err
}

// syncDir makes a new file's entry in its directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// protect returns an error where f panics. bbolt reads a file through a mapping
// and trusts what it reads: a damaged page makes it panic, and a file that was
// truncated makes it fault.
func protect(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return f()
}

// abandon closes the file without bbolt, whose locks a panic may have left
// locked. The mapping stays.
func (s *Storage) abandon(err error) {
	s.unusable = err
	_ = unlock(s.file)
	_ = s.file.Close()
}

// Close closes the file. Later calls of Update fail.
func (s *Storage) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unusable != nil {
		return nil
	}
	return s.explain(s.db.Close())
}

// Load implements collector.Store.
func (s *Storage) Load() (collector.Stored, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	loaded := s.loaded
	s.loaded = collector.Stored{}
	return loaded, nil
}

// Update implements collector.Store. It fails from then on where the file was
// truncated or damaged, or a commit failed when its last page was written.
func (s *Storage) Update(c collector.Changes) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unusable != nil {
		return s.explain(s.unusable)
	}
	err := protect(func() error { return s.update(&c) })
	if errors.Is(err, errDamaged) {
		err = fmt.Errorf("cannot be used until a restart: %w", err)
		s.abandon(err)
	}
	return s.explain(err)
}

func (s *Storage) update(c *collector.Changes) error {
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	// Transactions write the two meta pages in turn.
	before, at := make([]byte, pageSize), int64(tx.ID()%2)*pageSize
	w := writer{tx: tx, digest: s.digest}
	if err = s.verifyUnchanged(tx); err == nil {
		_, err = s.file.ReadAt(before, at)
	}
	if err == nil {
		w.write(c)
		err = w.err
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := s.commit(tx); err != nil {
		return errors.Join(err, s.undo(before, at))
	}
	s.digest = w.digest
	return nil
}

// verifyUnchanged reports whether another program has replaced or truncated the
// file. That it has written entries shows in the digest.
func (s *Storage) verifyUnchanged(tx *bolt.Tx) error {
	named, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	own, err := s.file.Stat()
	if err == nil && (!os.SameFile(named, own) || own.Size() < tx.Size()) {
		err = errChanged
	}
	return err
}

// undo takes back what a failed commit has left in the file. bbolt may have
// written the meta page before it failed, and would then go on with a
// transaction that was reported as failed. before is that page as it was.
func (s *Storage) undo(before []byte, at int64) error {
	after := make([]byte, len(before))
	if _, err := s.file.ReadAt(after, at); err == nil && bytes.Equal(after, before) {
		return nil
	}
	_, err := s.file.WriteAt(before, at)
	err = errors.Join(errors.New("cannot be used until a restart"), err, s.file.Sync())
	s.abandon(err)
	return err
}
