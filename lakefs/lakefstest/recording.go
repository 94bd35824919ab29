package lakefstest

import (
	"bufio"
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

// ReadRecording reads a recording: one JSON object a line, with t (seconds
// since the start of the import), status, date and body.
func ReadRecording(r io.Reader) (Recording, error) {
	const maxLineBytes = 16 << 20
	var rec Recording
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLineBytes)
	for n := 1; lines.Scan(); n++ {
		if len(lines.Bytes()) == 0 {
			continue
		}
		answer, err := readAnswer(lines.Bytes())
		if err == nil && len(rec) > 0 && answer.After < rec[len(rec)-1].After {
			err = errors.New("t is less than on the line before")
		}
		if err != nil {
			return nil, fmt.Errorf("recording: line %d: %w", n, err)
		}
		rec = append(rec, answer)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	if len(rec) == 0 {
		return nil, errors.New("recording: no lines")
	}
	return rec, nil
}

func readAnswer(line []byte) (RecordedAnswer, error) {
	var wire struct {
		T      float64 `json:"t"`
		Status int     `json:"status"`
		Date   string  `json:"date"`
		Body   string  `json:"body"`
	}
	if err := json.Unmarshal(line, &wire); err != nil {
		return RecordedAnswer{}, err
	}
	a := RecordedAnswer{
		After:  time.Duration(math.Round(wire.T * float64(time.Second))),
		Status: wire.Status,
		Body:   wire.Body,
	}
	if wire.Date != "" {
		date, err := http.ParseTime(wire.Date)
		if err != nil {
			return RecordedAnswer{}, fmt.Errorf("date: %w", err)
		}
		a.Date = date
	}
	return a, nil
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
