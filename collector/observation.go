package collector

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"lakefs_import_exporter/lakefs"
)

// maxTextBytes bounds what lakeFS can put into a label.
const maxTextBytes = 256

// Observation is what was last seen of an import. It is a value: a poll makes
// a new one out of the old. Its zero value is that of an import never seen.
type Observation struct {
	// StatusAt is when the newest status was received, by the exporter's clock;
	// zero if there never was one, and then all but NotFoundSince is zero.
	StatusAt time.Time
	// ProgressAt is when IngestedObjects was last seen to grow, by the
	// exporter's clock; at first, when it was first seen.
	ProgressAt time.Time
	// UpdateTime is the last heartbeat, by lakeFS's clock.
	UpdateTime      time.Time
	IngestedObjects int64
	Outcome         lakefs.Outcome
	// CommitID and MetarangeID are those of a success.
	CommitID    string
	MetarangeID string
	// ErrorMessage is that of a failure or cancel: one line, valid UTF-8, at
	// most 256 bytes.
	ErrorMessage string
	// NotFoundSince is when lakeFS began to answer that it does not know the
	// import, by the exporter's clock; zero if its newest definite answer was
	// a status, or if there was none.
	NotFoundSince time.Time
}

// Seen reports whether a status was ever received.
func (o Observation) Seen() bool { return !o.StatusAt.IsZero() }

// Finished reports whether the import ended, either way.
func (o Observation) Finished() bool { return o.Outcome.Finished() }

// HeartbeatAge returns how old the heartbeat was when lakeFS last answered,
// not corrected for skew between the clocks, but never negative. It neither
// grows nor shrinks while lakeFS cannot be asked.
func (o Observation) HeartbeatAge() time.Duration {
	return max(0, o.StatusAt.Sub(o.UpdateTime))
}

// withStatus returns o after a status received at the time at.
func (o Observation) withStatus(status *lakefs.ImportStatus, at time.Time) Observation {
	next := Observation{
		StatusAt:        at,
		ProgressAt:      o.ProgressAt,
		UpdateTime:      status.UpdateTime,
		IngestedObjects: o.IngestedObjects,
		Outcome:         status.Outcome(),
		MetarangeID:     oneLine(status.MetarangeID),
	}
	if status.IngestedObjects != nil {
		next.IngestedObjects = *status.IngestedObjects
	}
	if !o.Seen() || next.IngestedObjects > o.IngestedObjects {
		next.ProgressAt = at
	}
	if status.Commit != nil {
		next.CommitID = oneLine(status.Commit.ID)
	}
	if status.Error != nil {
		next.ErrorMessage = oneLine(status.Error.Message)
	}
	return next
}

// withNotFound returns o after lakeFS answered, at the time at, that it does
// not know the import.
func (o Observation) withNotFound(at time.Time) Observation {
	if o.NotFoundSince.IsZero() {
		o.NotFoundSince = at
	}
	return o
}

// oneLine makes text of a server fit for a label: runs of white space and
// control characters become one space, invalid UTF-8 is replaced, and what is
// over 256 bytes is cut off, with an ellipsis to show it.
func oneLine(s string) string {
	const ellipsis = "…"
	// More than this cannot survive, and a body may be a megabyte.
	if limit := 16 * maxTextBytes; len(s) > limit {
		s = s[:limit]
	}
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f && r <= 0xa0 || r == '\u2028' || r == '\u2029'
	}), " ")
	if len(s) <= maxTextBytes {
		return s
	}
	cut := maxTextBytes - len(ellipsis)
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + ellipsis
}

// Result is how a poll of an import ended: a value of the label "result".
type Result string

// The results other than the kinds of lakefs.Error.
const resultSuccess Result = "success"

// results returns every Result.
func results() []Result {
	all := []Result{resultSuccess}
	for _, kind := range lakefs.Kinds() {
		all = append(all, Result(kind.String()))
	}
	return all
}

// Poll is how the newest attempt to poll an import ended. Its zero value is
// that of an import never polled.
type Poll struct {
	Result Result
	At     time.Time
	// Message says why there is no status; empty if there is one.
	Message string
}

// sample is the count of an import at one time, for its throughput.
type sample struct {
	at      time.Time
	objects int64
}

const (
	// throughputWindow is the time over which throughput is measured.
	throughputWindow = 5 * time.Minute
	// sampleSpacing keeps a fast scraper from filling the memory: all but the
	// newest sample are at least that far apart.
	sampleSpacing = 15 * time.Second
)

// appendSample returns samples with s at its end, less those that left the
// window. It does not write to samples' array, which readers may hold.
func appendSample(samples []sample, s sample) []sample {
	first := 0
	for first < len(samples) && s.at.Sub(samples[first].at) > throughputWindow {
		first++
	}
	samples = samples[first:]
	if n := len(samples); n >= 2 && samples[n-1].at.Sub(samples[n-2].at) < sampleSpacing {
		samples = samples[:n-1]
	}
	return slices.Concat(samples, []sample{s})
}

// throughput returns the objects ingested in a second: over the statuses of
// the last five minutes, or where there are none, and for a finished import,
// on average since the start. It returns false where that cannot be told.
func throughput(o Observation, startedAt time.Time, samples []sample, now time.Time) (float64, bool) {
	if !o.Seen() {
		return 0, false
	}
	end := o.UpdateTime
	if !o.Finished() {
		end = o.StatusAt
		for len(samples) > 0 && now.Sub(samples[0].at) > throughputWindow {
			samples = samples[1:]
		}
		if n := len(samples); n >= 2 && samples[n-1].at.After(samples[0].at) {
			grown := samples[n-1].objects - samples[0].objects
			return float64(max(0, grown)) / samples[n-1].at.Sub(samples[0].at).Seconds(), true
		}
	}
	if startedAt.IsZero() || !end.After(startedAt) {
		return 0, false
	}
	return float64(o.IngestedObjects) / end.Sub(startedAt).Seconds(), true
}
