package lakefs

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
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
	Message string `json:"message"`
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
// body that lacks a required field, has one twice, or has a value that lakeFS cannot
// mean, so that a half-understood answer is never taken for a status. Keys are
// taken as they are spelled. Its errors do not quote from the body.
func (s *ImportStatus) UnmarshalJSON(data []byte) error {
	var body struct {
		Completed       *bool      `json:"completed"`
		UpdateTime      *time.Time `json:"update_time"`
		IngestedObjects *int64     `json:"ingested_objects"`
		MetarangeID     string     `json:"metarange_id"`
		Commit          struct {
			ID string `json:"id"`
		} `json:"commit"`
		Error *ImportError `json:"error"`
	}
	// Invalid UTF-8 becomes U+FFFD.
	err := json.Unmarshal(data, &body, jsontext.AllowInvalidUTF8(true))
	var mismatch *json.SemanticError
	switch {
	case errors.As(err, &mismatch) && mismatch.JSONPointer != "":
		return fmt.Errorf("%s has a value of another type", mismatch.JSONPointer)
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errors.New("an object with the same key twice")
	case err != nil:
		return errors.New("not an object")
	case body.Completed == nil:
		return errors.New("completed is missing")
	case body.UpdateTime == nil:
		return errors.New("update_time is missing")
	case body.IngestedObjects != nil && *body.IngestedObjects < 0:
		return errors.New("ingested_objects is negative")
	}
	// A zone offset can carry the edges of RFC 3339 out of its four-digit
	// years, and such a time could not be written as JSON again.
	updated := body.UpdateTime.UTC()
	if y := updated.Year(); y < 0 || y > 9999 {
		return errors.New("update_time is out of range")
	}
	*s = ImportStatus{
		Completed: *body.Completed, UpdateTime: updated, IngestedObjects: body.IngestedObjects,
		MetarangeID: body.MetarangeID, CommitID: body.Commit.ID, Error: body.Error,
	}
	return nil
}
