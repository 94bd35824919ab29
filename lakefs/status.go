package lakefs

import (
	"encoding/json"
	"errors"
	"strconv"
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
	// MetarangeID and CommitID are set only after success.
	MetarangeID string
	CommitID    string
	// Error is set only after a failure or a cancel.
	Error *ImportError
	// Date is the answer's Date header: lakeFS's clock, to the second. It is zero
	// if there was none.
	Date time.Time
}

// ImportError is why an import ended without success.
type ImportError struct {
	Message string
}

// Outcome is the result of an import, as far as one status tells.
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

// UnmarshalJSON decodes the body of an answer of importStatus. It refuses a
// body that lacks a required field or has a value that lakeFS cannot mean, so
// that a half-understood answer is never taken for a status. Its errors do not
// quote from the body.
func (s *ImportStatus) UnmarshalJSON(data []byte) error {
	var (
		fields    map[string]json.RawMessage // by keys as they are spelled
		completed []byte
		updated   *time.Time
		commit    struct{ ID string }
		status    ImportStatus
	)
	if json.Unmarshal(data, &fields) != nil || fields == nil {
		return errors.New("not an object")
	}
	for key, value := range fields {
		if string(value) == "null" {
			continue
		}
		var err error
		switch key {
		case "completed":
			completed = value
		case "update_time":
			updated = new(time.Time)
			err = updated.UnmarshalJSON(value)
		case "ingested_objects":
			var count uint64
			count, err = strconv.ParseUint(string(value), 10, 63)
			status.IngestedObjects = new(int64(count))
		case "metarange_id":
			err = json.Unmarshal(value, &status.MetarangeID)
		case "commit":
			err = json.Unmarshal(value, &commit)
		case "error":
			err = json.Unmarshal(value, &status.Error)
		}
		if err != nil {
			return errors.New(key + " has a value of another type")
		}
	}
	switch {
	case string(completed) != "true" && string(completed) != "false":
		return errors.New("completed is not a boolean")
	case updated == nil:
		return errors.New("update_time is missing")
	}
	// A zone offset can carry the edges of RFC 3339 out of its four-digit
	// years, and such a time could not be written as JSON again.
	status.UpdateTime = updated.UTC()
	if y := status.UpdateTime.Year(); y < 0 || y > 9999 {
		return errors.New("update_time is out of range")
	}
	status.Completed, status.CommitID = string(completed) == "true", commit.ID
	*s = status
	return nil
}
