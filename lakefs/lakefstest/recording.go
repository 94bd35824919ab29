package lakefstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"
)

// Recording is what a real lakeFS answered to polls of one import, in the
// order of time.
type Recording []RecordedAnswer

// RecordedAnswer is the answer to one poll.
type RecordedAnswer struct {
	// After is how long after the start of the import the answer came.
	After time.Duration
	// Status is the HTTP status, 0 if there was no connection.
	Status int
	// Date is the answer's header of that name, to the second; zero without it.
	Date time.Time
	// Body is the answer's body, byte for byte.
	Body string
}

// ReadRecording reads a recording: JSON objects in the order of time, with t (seconds
// since the start of the import), status, date and body.
func ReadRecording(r io.Reader) (Recording, error) {
	var rec Recording
	for decoder := json.NewDecoder(r); ; {
		var wire struct {
			T      float64 `json:"t"`
			Status int     `json:"status"`
			Date   string  `json:"date"`
			Body   string  `json:"body"`
		}
		if err := decoder.Decode(&wire); errors.Is(err, io.EOF) && len(rec) > 0 {
			return rec, nil
		} else if err != nil {
			return nil, fmt.Errorf("recording: answer %d: %w", len(rec)+1, err)
		}
		date, err := http.ParseTime(wire.Date)
		if err != nil && wire.Date != "" {
			return nil, fmt.Errorf("recording: answer %d: date: %w", len(rec)+1, err)
		}
		after := time.Duration(math.Round(wire.T * float64(time.Second)))
		rec = append(rec, RecordedAnswer{After: after, Status: wire.Status, Date: date, Body: wire.Body})
	}
}

// Start returns when the recorded import was started, by the first Date in the
// recording, so to about a second. It is zero if there is no Date.
func (r Recording) Start() time.Time {
	for _, a := range r {
		if !a.Date.IsZero() {
			return a.Date.Add(-a.After)
		}
	}
	return time.Time{}
}

// At returns the newest answer that had come by elapsed after the start of the
// import; before there was one, the first. r must not be empty.
func (r Recording) At(elapsed time.Duration) RecordedAnswer {
	at := r[0]
	for _, a := range r {
		if a.After > elapsed {
			break
		}
		at = a
	}
	return at
}

// answer turns what was recorded into an answer to give.
func (a RecordedAnswer) answer() answer {
	if a.Status == 0 {
		return answer{broken: Cut}
	}
	return answer{status: a.Status, body: []byte(a.Body)}
}
