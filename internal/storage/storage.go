// Package storage is the exporter's durable memory: one bbolt file with the
// imports registered with the API and what was last seen of every watched
// import.
package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

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
	if err := os.MkdirAll(filepath.Dir(s.path), 0o750); err != nil {
		return err
	}
	info, err := os.Stat(s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	isNew := err != nil || info.Size() == 0
	err = protect(func() error {
		if !isNew {
			if err := s.verifyFile(timeout); err != nil {
				return err
			}
		}
		return s.load(timeout)
	})
	if err != nil {
		s.abandon(err)
		if isNew && s.file != nil && !errors.Is(err, errLocked) {
			// What a full disk leaves unfinished would be refused as damaged later.
			err = errors.Join(err, os.Truncate(s.path, 0))
		}
	}
	return err
}

// verifyFile verifies the file while bbolt has read its meta pages only, as it does
// where it must not write.
func (s *Storage) verifyFile(timeout time.Duration) error {
	if err := s.openDB(bolt.Options{ReadOnly: true, Timeout: timeout}); err != nil {
		return err
	}
	return errors.Join(s.db.View(s.verify), s.db.Close())
}

// load reads the entries. It writes to an empty file only: the disk may be full.
func (s *Storage) load(timeout time.Duration) error {
	err := s.openDB(bolt.Options{PageSize: pageSize, FreelistType: bolt.FreelistMapType, Timeout: timeout})
	if err == nil {
		err = s.db.View(s.read)
	}
	if errors.Is(err, errEmpty) {
		if err = s.db.Update(createBuckets); err == nil {
			err = syncDir(filepath.Dir(s.path))
		}
	}
	return err
}

func (s *Storage) openDB(options bolt.Options) (err error) {
	options.OpenFile = func(name string, flag int, mode os.FileMode) (file *os.File, err error) {
		s.file, err = os.OpenFile(name, flag, mode)
		return s.file, err
	}
	s.db, err = bolt.Open(s.path, 0o600, &options)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return errLocked
	case err != nil && !errors.As(err, new(syscall.Errno)):
		return errNoBolt
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

// abandon closes the file. After a panic that is without bbolt, whose mutexes may
// have been left locked; the mapping, and with it the lock, then stay.
func (s *Storage) abandon(err error) {
	s.unusable = err
	switch {
	case errors.Is(err, errDamaged):
		_ = s.file.Close()
	case s.db != nil:
		_ = s.db.Close()
	}
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
