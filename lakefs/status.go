package lakefs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ImportStatus is what lakeFS last recorded of an import: the schema
// ImportStatus of its API. While an import runs, lakeFS writes UpdateTime and
// IngestedObjects together, once a second.
type ImportStatus struct {
	// Completed is true after success. The API describes it as true after a
	// failure too, but real servers leave it false then: use Outcome.
	Completed bool
	// UpdateTime is the import's last heartbeat, by lakeFS's clock.
	UpdateTime time.Time
	// IngestedObjects counts the objects listed so far. It never falls. It is
	// nil when the server left it out, as the API permits.
	IngestedObjects *int64
	// MetarangeID and Commit are set only after success.
	MetarangeID string
	Commit      *Commit
	// Error is set only after a failure or a cancel.
	Error *ImportError
}

// Commit is the commit that a successful import left on its branch: the
// schema Commit of lakeFS's API.
type Commit struct {
	ID          string `json:"id"`
	Message     string `json:"message"`
	Committer   string `json:"committer"`
	MetarangeID string `json:"meta_range_id"`
	// CreationDate is in Unix seconds.
	CreationDate int64             `json:"creation_date"`
	Parents      []string          `json:"parents"`
	Metadata     map[string]string `json:"metadata"`
	Generation   int64             `json:"generation"`
	Version      int               `json:"version"`
}

// ImportError is why an import ended without success.
type ImportError struct {
	Message string `json:"message"`
}

// Canceled tells a cancel from a failure. lakeFS marks a cancel by its message
// alone, "import error: Canceled"; a message that merely contains "context
// canceled" is a failure.
func (e *ImportError) Canceled() bool {
	return e.Message == "Canceled" || strings.HasSuffix(e.Message, ": Canceled")
}

// Outcome is how an import stands, as far as one status tells.
type Outcome uint8

// The outcomes. All but Running are final: lakeFS changes nothing after them.
const (
	Running Outcome = iota
	Succeeded
	Failed
	Canceled
)

// Finished reports whether o is final.
func (o Outcome) Finished() bool { return o != Running }

// Outcome tells running, succeeded, failed and canceled apart, by what real
// servers do (an error with completed false) and by what the API describes (an
// error with completed true).
func (s *ImportStatus) Outcome() Outcome {
	switch {
	case s.Error != nil && s.Error.Canceled():
		return Canceled
	case s.Error != nil:
		return Failed
	case s.Completed:
		return Succeeded
	default:
		return Running
	}
}

// importStatusJSON is an ImportStatus as it comes: the pointers tell what is
// missing.
type importStatusJSON struct {
	Completed       *bool        `json:"completed"`
	UpdateTime      *time.Time   `json:"update_time"`
	IngestedObjects *int64       `json:"ingested_objects"`
	MetarangeID     string       `json:"metarange_id"`
	Commit          *Commit      `json:"commit"`
	Error           *ImportError `json:"error"`
}

// UnmarshalJSON decodes the body of an answer of importStatus. It refuses a
// body that lacks a required field or holds a value that lakeFS cannot mean, so
// that a half-understood answer is never taken for a status.
func (s *ImportStatus) UnmarshalJSON(data []byte) error {
	var wire importStatusJSON
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	status, err := wire.status()
	if err == nil {
		*s = status
	}
	return err
}

// status returns what j says, or what is wrong with it.
func (j *importStatusJSON) status() (s ImportStatus, err error) {
	switch {
	case j.UpdateTime == nil:
		return s, errors.New("update_time is missing")
	case j.Completed == nil:
		return s, errors.New("completed is missing")
	case j.IngestedObjects != nil && *j.IngestedObjects < 0:
		return s, fmt.Errorf("ingested_objects is negative: %d", *j.IngestedObjects)
	}
	// A zone offset can carry the edges of RFC 3339 out of its four-digit
	// years, and such a time could not be written as JSON again.
	updated := j.UpdateTime.UTC()
	if y := updated.Year(); y < 0 || y > 9999 {
		return s, fmt.Errorf("update_time is out of range: year %d", y)
	}
	return ImportStatus{
		Completed:       *j.Completed,
		UpdateTime:      updated,
		IngestedObjects: j.IngestedObjects,
		MetarangeID:     j.MetarangeID,
		Commit:          j.Commit,
		Error:           j.Error,
	}, nil
}
