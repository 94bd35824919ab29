package storage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

// format is the version of the file's format. It is raised when an older
// exporter could no longer read the file.
const format = "2"

// The buckets of the file. Keys are those of encodeKey, values are JSON.
var (
	metaBucket         = []byte("meta")
	importsBucket      = []byte("imports")
	observationsBucket = []byte("observations")

	formatKey = []byte("format")
	digestKey = []byte("digest")
)

// encodeKey joins the parts of a key, none of which can contain a NUL byte.
func encodeKey(k collector.Key) []byte {
	return []byte(k.Server + "\x00" + k.Repository + "\x00" + k.ID)
}

// The records are the values of collector as they are stored, below their keys.
type importRecord struct {
	collector.Key   `json:"-"`
	Branch          string            `json:"branch"`
	ExpectedObjects int64             `json:"expected_objects,omitempty"`
	NoProgressAfter time.Duration     `json:"no_progress_after_nanoseconds"`
	MaxDuration     time.Duration     `json:"max_duration_nanoseconds,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
}

type registrationRecord struct {
	importRecord
	At time.Time `json:"registered_at"`
}

type observationRecord struct {
	StatusAt        time.Time      `json:"status_at,omitzero"`
	Date            time.Time      `json:"date,omitzero"`
	UpdateTime      time.Time      `json:"update_time,omitzero"`
	MovedAt         time.Time      `json:"moved_at,omitzero"`
	ProgressAt      time.Time      `json:"progress_at,omitzero"`
	IngestedObjects int64          `json:"ingested_objects,omitempty"`
	CommitID        string         `json:"commit_id,omitempty"`
	MetarangeID     string         `json:"metarange_id,omitempty"`
	ErrorMessage    string         `json:"error_message,omitempty"`
	ErrorReason     lakefs.Reason  `json:"error_reason,omitempty"`
	NotFoundSince   time.Time      `json:"not_found_since,omitzero"`
	Outcome         lakefs.Outcome `json:"outcome,omitempty"` // a number
	SeenUnfinished  bool           `json:"seen_unfinished,omitempty"`
	Confirmed       bool           `json:"confirmed,omitempty"`
	Counted         bool           `json:"counted,omitempty"`
}

// createBuckets makes an empty database a storage without entries.
func createBuckets(tx *bolt.Tx) error {
	for _, name := range [][]byte{metaBucket, importsBucket, observationsBucket} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	if err := tx.Bucket(metaBucket).Put(formatKey, []byte(format)); err != nil {
		return err
	}
	return digest(0).store(tx)
}

// read reads all entries. It reports a database of another program or format,
// and one whose entries are not those that were written.
func (s *Storage) read(tx *bolt.Tx) error {
	if tx.ID() <= 1 { // what bbolt makes of a new file
		return errEmpty
	}
	meta := tx.Bucket(metaBucket)
	if meta == nil || tx.Bucket(importsBucket) == nil || tx.Bucket(observationsBucket) == nil {
		return errForeign
	}
	if found := meta.Get(formatKey); string(found) != format {
		return fmt.Errorf("has format %q, but this exporter reads format %q only", found, format)
	}
	s.readBucket(tx, importsBucket, s.addRegistration)
	s.readBucket(tx, observationsBucket, s.addObservation)
	if !s.digest.isStored(tx) {
		return fmt.Errorf("%w: its entries are not those that were written", errDamaged)
	}
	return nil
}

// readBucket calls add with each entry, and skips those that it refuses.
func (s *Storage) readBucket(tx *bolt.Tx, bucket []byte, add func(collector.Key, []byte) error) {
	c := tx.Bucket(bucket).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		s.digest += digestOf(bucket, k, v)
		err := errors.New("key must have three parts")
		if parts := strings.Split(string(k), "\x00"); len(parts) == 3 {
			err = add(collector.Key{Server: parts[0], Repository: parts[1], ID: parts[2]}, v)
		}
		if err != nil {
			s.loaded.Skipped = append(s.loaded.Skipped, fmt.Errorf("%s: entry %q: %w", bucket, bytes.ReplaceAll(k, []byte{0}, []byte("/")), err))
		}
	}
}

func (s *Storage) addRegistration(key collector.Key, value []byte) error {
	record := registrationRecord{importRecord: importRecord{Key: key}}
	if err := json.Unmarshal(value, &record); err != nil {
		return err
	}
	r := collector.Registration{Import: collector.Import(record.importRecord), At: record.At}
	if err := r.Validate(); err != nil {
		return err
	}
	s.loaded.Registrations = append(s.loaded.Registrations, r)
	return nil
}

func (s *Storage) addObservation(key collector.Key, value []byte) error {
	var record observationRecord
	if err := json.Unmarshal(value, &record); err != nil {
		return err
	}
	if record.Outcome > lakefs.Canceled {
		return fmt.Errorf("unknown outcome %d", record.Outcome)
	}
	s.loaded.Observations = append(s.loaded.Observations, collector.Observed{Key: key, Observation: collector.Observation(record)})
	return nil
}

// digest is the sum of the hashes of all entries. bbolt has checksums of its
// meta pages only; this is how damage within an entry is noticed.
type digest uint64

func digestOf(bucket, key, value []byte) digest {
	h := fnv.New64a()
	for _, part := range [][]byte{bucket, key, value} {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		_, _ = h.Write(part)
	}
	return digest(h.Sum64())
}

func (d digest) encode() []byte { return binary.BigEndian.AppendUint64(nil, uint64(d)) }

func (d digest) store(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(digestKey, d.encode()) }

func (d digest) isStored(tx *bolt.Tx) bool {
	return bytes.Equal(tx.Bucket(metaBucket).Get(digestKey), d.encode())
}

// writer changes entries, until an error.
type writer struct {
	tx     *bolt.Tx
	digest digest
	err    error
}

func (w *writer) write(c *collector.Changes) {
	if !w.digest.isStored(w.tx) {
		w.err = errChanged
	}
	for _, key := range c.Delete {
		w.set(importsBucket, key, nil)
		w.set(observationsBucket, key, nil)
	}
	for _, r := range c.PutRegistrations {
		w.set(importsBucket, r.Key, registrationRecord{importRecord(r.Import), r.At})
	}
	for i := range c.PutObservations {
		o := &c.PutObservations[i]
		w.set(observationsBucket, o.Key, observationRecord(o.Observation))
	}
	if w.err == nil {
		w.err = w.digest.store(w.tx)
	}
}

// set stores a record or, if that is nil, deletes the one that is there.
func (w *writer) set(name []byte, key collector.Key, record any) {
	if w.err != nil {
		return
	}
	bucket, k := w.tx.Bucket(name), encodeKey(key)
	bucket.FillPercent = 0.9 // entries come sorted: a page is hardly added to later
	if old := bucket.Get(k); old != nil {
		w.digest -= digestOf(name, k, old)
	}
	if record == nil {
		w.err = bucket.Delete(k)
		return
	}
	value, err := json.Marshal(record)
	if err == nil {
		w.digest += digestOf(name, k, value)
		err = bucket.Put(k, value)
	}
	if err != nil {
		w.err = fmt.Errorf("%s: entry %s/%s/%s: %w", name, key.Server, key.Repository, key.ID, err)
	}
}
