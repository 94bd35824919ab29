// Package storage is the exporter's durable memory: one bbolt file that holds
// the imports registered over the API, and what was last seen of every watched
// import.
package storage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

const (
	// fileName is the file's name where only a directory is given.
	fileName = "lakefs_import_exporter.db"
	// format is what stands in the file as the version of its format. It is
	// raised when an older exporter could no longer read the file.
	format = "1"
	// lockTimeout is how long another process may hold the file, such as the
	// exporter that this one replaces.
	lockTimeout = 5 * time.Second
)

// The buckets of the file. Keys are those of encodeKey, values are JSON.
var (
	metaBucket         = []byte("meta")
	importsBucket      = []byte("imports")
	observationsBucket = []byte("observations")

	formatKey = []byte("format")
	digestKey = []byte("digest")
)

// Storage implements collector.Store. It is safe for concurrent use.
type Storage struct {
	db *bolt.DB
}

// Open opens the storage at path: a file, or a directory to keep one in. What
// is not there is made. A file that is damaged, of another program or of
// another format is refused and left as it is, and so is one that another
// process holds for five seconds.
func Open(path string) (*Storage, error) { return openWithin(path, lockTimeout) }

// openWithin is Open with another patience for who else holds the file.
func openWithin(path string, timeout time.Duration) (*Storage, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() || strings.HasSuffix(path, string(filepath.Separator)) {
		path = filepath.Join(path, fileName)
	}
	db, err := open(path, timeout)
	if err != nil {
		return nil, fmt.Errorf("storage %s: %w", path, explain(path, err))
	}
	return &Storage{db: db}, nil
}

func open(path string, timeout time.Duration) (*bolt.DB, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Size() > 0:
		// Nothing is written to a file before all of it was found to be good.
		if err := verify(path, timeout); err != nil {
			return nil, err
		}
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: timeout, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	err = initialize(db)
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// initialize makes what a new file has. To one that has it, which was verified,
// it writes nothing: it may be on a disk that is full.
func initialize(db *bolt.DB) error {
	if err := db.View(verifyFormat); !errors.Is(err, errNew) {
		return err
	}
	return db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{metaBucket, importsBucket, observationsBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		if err := tx.Bucket(metaBucket).Put(formatKey, []byte(format)); err != nil {
			return err
		}
		return digest(0).write(tx)
	})
}

// syncDir makes a new file's entry in its directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// verify reads the whole file at path without writing to it, and reports
// why it is not one of ours, or is damaged.
func verify(path string, timeout time.Duration) (err error) {
	// This takes the lock, but follows nothing in the file beyond its two meta
	// pages, and these have checksums.
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: timeout, ReadOnly: true})
	var errno syscall.Errno
	switch {
	case errors.Is(err, bolterrors.ErrTimeout), errors.As(err, &errno):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errNoBolt, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.View(func(tx *bolt.Tx) error {
		// bbolt itself trusts every page: it would read beyond the end of the
		// file, or in circles.
		if err := verifyPages(path, tx); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		if err := verifyFormat(tx); errors.Is(err, errNew) {
			return nil
		} else if err != nil {
			return err
		}
		if _, _, err := read(tx); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		return nil
	})
}

func verifyFormat(tx *bolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		if name, _ := tx.Cursor().First(); name == nil {
			return errNew
		}
		return errForeign
	}
	found := meta.Get(formatKey)
	switch {
	case found == nil, tx.Bucket(importsBucket) == nil, tx.Bucket(observationsBucket) == nil:
		return errForeign
	case !bytes.Equal(found, []byte(format)):
		return fmt.Errorf("has format %q, this exporter knows only %q", found, format)
	}
	return nil
}

var (
	errNew     = errors.New("is new, and not yet initialized")
	errNoBolt  = errors.New("is not a bbolt file, or is damaged")
	errDamaged = errors.New("is damaged")
	errForeign = errors.New("is the bbolt file of another program")
)

// explain puts what went wrong with the file at path in a user's words.
func explain(path string, err error) error {
	var perr *fs.PathError
	switch {
	case errors.As(err, &perr) && perr.Path == path:
		return perr.Err
	case errors.Is(err, bolterrors.ErrTimeout):
		return errors.New("is held by another process, is another exporter running?")
	}
	return err
}

// Close closes the file.
func (s *Storage) Close() error { return s.db.Close() }

// encodeKey joins the parts of a key: none of them can hold a NUL byte.
func encodeKey(k collector.Key) []byte {
	return []byte(strings.Join([]string{k.Server, k.Repository, k.Branch, k.ID}, "\x00"))
}

func decodeKey(b []byte) (k collector.Key, err error) {
	parts := strings.Split(string(b), "\x00")
	if len(parts) != 4 {
		return k, fmt.Errorf("key %q: must have four parts", b)
	}
	return collector.Key{Server: parts[0], Ref: lakefs.Ref{Repository: parts[1], Branch: parts[2], ID: parts[3]}}, nil
}

// importRecord is a registered import as it is stored.
type importRecord struct {
	RegisteredAt    time.Time         `json:"registered_at"`
	ExpectedObjects int64             `json:"expected_objects,omitempty"`
	NoProgressAfter time.Duration     `json:"no_progress_after_nanoseconds"`
	Labels          map[string]string `json:"labels,omitempty"`
}

// observationRecord is an observation as it is stored.
type observationRecord struct {
	StatusAt        time.Time `json:"status_at,omitzero"`
	ProgressAt      time.Time `json:"progress_at,omitzero"`
	UpdateTime      time.Time `json:"update_time"`
	IngestedObjects int64     `json:"ingested_objects"`
	Outcome         string    `json:"outcome"`
	CommitID        string    `json:"commit_id,omitempty"`
	MetarangeID     string    `json:"metarange_id,omitempty"`
	ErrorMessage    string    `json:"error_message,omitempty"`
	NotFoundSince   time.Time `json:"not_found_since,omitzero"`
}

// outcomes are the names that outcomes are stored by.
var outcomes = map[lakefs.Outcome]string{
	lakefs.Running:   "running",
	lakefs.Succeeded: "succeeded",
	lakefs.Failed:    "failed",
	lakefs.Canceled:  "canceled",
}

func parseOutcome(name string) (lakefs.Outcome, error) {
	for outcome, n := range outcomes {
		if n == name {
			return outcome, nil
		}
	}
	return 0, fmt.Errorf("unknown outcome %q", name)
}

// Load implements collector.Store.
func (s *Storage) Load() (imports []collector.Registration, observations map[collector.Key]collector.Observation, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		imports, observations, err = read(tx)
		return err
	})
	return imports, observations, err
}

// read reads everything, and fails if that is not just what was written.
func read(tx *bolt.Tx) ([]collector.Registration, map[collector.Key]collector.Observation, error) {
	var imports []collector.Registration
	observations := map[collector.Key]collector.Observation{}
	ofImports, err := forEach(tx, importsBucket, func(key collector.Key, r importRecord) error {
		imp := collector.Import{Key: key, ExpectedObjects: r.ExpectedObjects, NoProgressAfter: r.NoProgressAfter, Labels: r.Labels}
		imports = append(imports, collector.Registration{Import: imp, At: r.RegisteredAt})
		return imp.Validate()
	})
	if err != nil {
		return nil, nil, err
	}
	ofObservations, err := forEach(tx, observationsBucket, func(key collector.Key, r observationRecord) error {
		outcome, err := parseOutcome(r.Outcome)
		observations[key] = collector.Observation{
			StatusAt:        r.StatusAt,
			ProgressAt:      r.ProgressAt,
			UpdateTime:      r.UpdateTime,
			IngestedObjects: r.IngestedObjects,
			Outcome:         outcome,
			CommitID:        r.CommitID,
			MetarangeID:     r.MetarangeID,
			ErrorMessage:    r.ErrorMessage,
			NotFoundSince:   r.NotFoundSince,
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	written, err := readDigest(tx)
	if err != nil {
		return nil, nil, err
	}
	if found := ofImports + ofObservations; found != written {
		return nil, nil, fmt.Errorf("the digest of what it holds is %x, but should be %x", uint64(found), uint64(written))
	}
	return imports, observations, nil
}

// forEach decodes every entry of a bucket, and returns their digest.
func forEach[Record any](tx *bolt.Tx, bucket []byte, do func(collector.Key, Record) error) (found digest, err error) {
	err = tx.Bucket(bucket).ForEach(func(k, v []byte) error {
		var record Record
		key, err := decodeKey(k)
		if err == nil {
			err = json.Unmarshal(v, &record)
		}
		if err == nil {
			err = do(key, record)
		}
		if err != nil {
			return fmt.Errorf("bucket %s: entry %q: %w", bucket, k, err)
		}
		found += digestOf(bucket, k, v)
		return nil
	})
	return found, err
}

// digest is the sum of the hashes of all entries. bbolt has checksums of its
// meta pages only; this is how damage in the middle of an entry is noticed.
type digest uint64

func digestOf(bucket, key, value []byte) digest {
	h := fnv.New64a()
	for _, part := range [][]byte{bucket, key, value} {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		_, _ = h.Write(part)
	}
	return digest(h.Sum64())
}

// readDigest returns what stands in the file.
func readDigest(tx *bolt.Tx) (digest, error) {
	value := tx.Bucket(metaBucket).Get(digestKey)
	if len(value) != 8 {
		return 0, errors.New("has no digest")
	}
	return digest(binary.BigEndian.Uint64(value)), nil
}

func (d digest) write(tx *bolt.Tx) error {
	return tx.Bucket(metaBucket).Put(digestKey, binary.BigEndian.AppendUint64(nil, uint64(d)))
}

// changes are the changes of one transaction.
type changes struct {
	tx     *bolt.Tx
	digest digest
}

// update makes the changes of do, all or none. They are durable when it returns
// without an error.
func (s *Storage) update(do func(*changes) error) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		d, err := readDigest(tx)
		if err != nil {
			return err
		}
		c := &changes{tx, d}
		if err := do(c); err != nil {
			return err
		}
		return c.digest.write(tx)
	})
}

// put stores a record in the place of what the bucket has under key.
func (c *changes) put(bucket []byte, key collector.Key, record any) error {
	value, err := json.Marshal(record)
	if err != nil {
		return err
	}
	if err := c.delete(bucket, key); err != nil {
		return err
	}
	k := encodeKey(key)
	c.digest += digestOf(bucket, k, value)
	return c.tx.Bucket(bucket).Put(k, value)
}

// delete takes out what the bucket has under key, if anything.
func (c *changes) delete(bucket []byte, key collector.Key) error {
	b, k := c.tx.Bucket(bucket), encodeKey(key)
	value := b.Get(k)
	if value == nil {
		return nil
	}
	c.digest -= digestOf(bucket, k, value)
	return b.Delete(k)
}

// PutImport implements collector.Store.
func (s *Storage) PutImport(r collector.Registration) error {
	return s.update(func(c *changes) error {
		return c.put(importsBucket, r.Key, importRecord{
			RegisteredAt:    r.At,
			ExpectedObjects: r.ExpectedObjects,
			NoProgressAfter: r.NoProgressAfter,
			Labels:          r.Labels,
		})
	})
}

// DeleteImports implements collector.Store.
func (s *Storage) DeleteImports(keys ...collector.Key) error {
	return s.deleteFrom(importsBucket, keys)
}

// DeleteObservations implements collector.Store.
func (s *Storage) DeleteObservations(keys ...collector.Key) error {
	return s.deleteFrom(observationsBucket, keys)
}

func (s *Storage) deleteFrom(bucket []byte, keys []collector.Key) error {
	return s.update(func(c *changes) error {
		for _, key := range keys {
			if err := c.delete(bucket, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// PutObservations implements collector.Store.
func (s *Storage) PutObservations(observations map[collector.Key]collector.Observation) error {
	return s.update(func(c *changes) error {
		for key, o := range observations {
			err := c.put(observationsBucket, key, observationRecord{
				StatusAt:        o.StatusAt,
				ProgressAt:      o.ProgressAt,
				UpdateTime:      o.UpdateTime,
				IngestedObjects: o.IngestedObjects,
				Outcome:         outcomes[o.Outcome],
				CommitID:        o.CommitID,
				MetarangeID:     o.MetarangeID,
				ErrorMessage:    o.ErrorMessage,
				NotFoundSince:   o.NotFoundSince,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
