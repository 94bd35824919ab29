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

// Observation is what is known of an import from lakeFS's answers. It is a
// value: a poll makes a new one out of the old. Its zero value is that of an
// import never seen. Times are by the exporter's clock unless said otherwise.
type Observation struct {
	// StatusAt is when the newest status was received; zero if there never was
	// one, and then all but NotFoundSince is zero.
	StatusAt time.Time
	// Date is lakeFS's clock at StatusAt, to the second; zero if the answer did
	// not tell.
	Date time.Time
	// UpdateTime is the newest heartbeat, by lakeFS's clock.
	UpdateTime time.Time
	// MovedAt is when UpdateTime was last seen to have changed; zero if never.
	MovedAt time.Time
	// ProgressAt is when IngestedObjects was last seen to grow; at first, when
	// it was first seen.
	ProgressAt      time.Time
	IngestedObjects int64
	// CommitID and MetarangeID are those of a success.
	CommitID    string
	MetarangeID string
	// ErrorMessage is that of a failure or cancel: one line, valid UTF-8, at
	// most 256 bytes. ErrorReason is its reason.
	ErrorMessage string
	ErrorReason  lakefs.Reason
	// NotFoundSince is when lakeFS began to answer that it does not know the
	// import; zero if its newest definite answer was a status, or if there was
	// none.
	NotFoundSince time.Time
	Outcome       lakefs.Outcome
	// SeenUnfinished is set if any status was that of an unfinished import.
	SeenUnfinished bool
	// Confirmed is set if the import has finished and a second answer agreed:
	// it need not be polled any more.
	Confirmed bool
	// Counted is set if the counters of finished imports count it.
	Counted bool
}

// unseen is the observation of an import that was never seen.
var unseen = &Observation{}

// Observed is what is known of an import.
type Observed struct {
	Key
	Observation
}

// Seen reports whether a status was ever received.
func (o *Observation) Seen() bool { return !o.StatusAt.IsZero() }

// Finished reports whether the import ended, either way.
func (o *Observation) Finished() bool { return o.Outcome.Finished() }

// FailedOrCanceled reports whether the import finished with an error.
func (o *Observation) FailedOrCanceled() bool {
	return o.Outcome == lakefs.Failed || o.Outcome == lakefs.Canceled
}

// serverTime returns lakeFS's clock at StatusAt, as far as it is known.
func (o *Observation) serverTime() time.Time {
	if o.Date.IsZero() {
		return o.StatusAt
	}
	return o.Date
}

// HeartbeatAge returns the age of the heartbeat when lakeFS last answered, by
// lakeFS's clock, never negative. It does not change while lakeFS cannot be
// asked.
func (o *Observation) HeartbeatAge() time.Duration {
	return max(0, o.serverTime().Sub(o.UpdateTime))
}

// secondsSinceUpdate returns the age of the heartbeat at the time now, in seconds.
func (o *Observation) secondsSinceUpdate(now time.Time) float64 {
	// Not by a time.Duration, which ends at 292 years.
	server, updated := o.serverTime(), o.UpdateTime
	age := float64(server.Unix()-updated.Unix()) + float64(server.Nanosecond()-updated.Nanosecond())/1e9
	return max(0, age+now.Sub(o.StatusAt).Seconds())
}

// heartbeatTimeout is the age from which a heartbeat is missing. lakeFS writes
// one every second; two minutes allow for a slow key-value store.
const heartbeatTimeout = 2 * time.Minute

// heartbeatLost reports whether the heartbeat had stopped at the newest status.
// One that was seen to move of late has not, whatever the clocks say.
func (o *Observation) heartbeatLost() bool {
	return o.HeartbeatAge() > heartbeatTimeout &&
		(o.MovedAt.IsZero() || o.StatusAt.Sub(o.MovedAt) > heartbeatTimeout)
}

// duration returns how long a finished import took, by lakeFS's clock, and false
// if its ID does not tell when it started.
func (o *Observation) duration(id string) (time.Duration, bool) {
	startedAt, ok := lakefs.StartTime(id)
	return max(0, o.UpdateTime.Sub(startedAt)), ok
}

// finishedAt returns when a finished import finished, translated to the
// exporter's clock.
func (o *Observation) finishedAt() time.Time { return o.StatusAt.Add(-o.HeartbeatAge()) }

// countable reports whether the counters of finished imports have to count the
// import: it finished after the exporter was started, or was known as unfinished
// before. An import that was found finished belongs to an earlier exporter, or
// if that is longer ago than the retention, may be forgotten since it was counted.
func (o *Observation) countable(started time.Time, retention time.Duration) bool {
	switch {
	case !o.Finished() || o.Counted:
		return false
	case o.SeenUnfinished:
		return true
	default:
		// Date is rounded down: an import that finished within a second of the
		// start may have been counted before it.
		return o.HeartbeatAge() < retention && o.finishedAt().Add(-time.Second).After(started)
	}
}

// after returns o after a poll, with the status if it succeeded. A finished import
// that lakeFS does not know stays what it was: lakeFS forgets imports after a day, and
// has nothing more to say of it.
func (o *Observation) after(p Poll, status *lakefs.ImportStatus) *Observation {
	if p.Result == resultSuccess {
		return o.withStatus(status, p.At)
	}
	if p.Result != lakefs.NotFound || !o.NotFoundSince.IsZero() {
		return o // nothing was learned about the import
	}
	next := *o
	if o.Finished() {
		next.Confirmed = true
	} else {
		next.NotFoundSince = p.At
	}
	return &next
}

// withStatus returns o after a status received at the time at.
func (o *Observation) withStatus(status *lakefs.ImportStatus, at time.Time) *Observation {
	next := &Observation{
		StatusAt:        at,
		Date:            status.Date,
		UpdateTime:      status.UpdateTime,
		MovedAt:         o.MovedAt,
		ProgressAt:      o.ProgressAt,
		IngestedObjects: o.IngestedObjects,
		Outcome:         status.Outcome(),
		CommitID:        oneLine(status.CommitID),
		MetarangeID:     oneLine(status.MetarangeID),
		Counted:         o.Counted,
	}
	if status.IngestedObjects != nil {
		next.IngestedObjects = *status.IngestedObjects
	}
	if !o.Seen() || next.IngestedObjects > o.IngestedObjects {
		next.ProgressAt = at
	}
	if o.Seen() && !next.UpdateTime.Equal(o.UpdateTime) {
		next.MovedAt = at
	}
	if status.Error != nil {
		next.ErrorMessage = oneLine(status.Error.Message)
		next.ErrorReason = status.Error.Reason()
	}
	next.SeenUnfinished = o.SeenUnfinished || !next.Finished()
	next.Confirmed = next.confirms(o)
	return next
}

// confirms reports whether o says the same as before, that the import has
// finished. It does not if it is the same answer, used again.
func (o *Observation) confirms(before *Observation) bool {
	return before.Finished() && !o.StatusAt.Equal(before.StatusAt) && o.Outcome == before.Outcome && o.UpdateTime.Equal(before.UpdateTime) &&
		o.IngestedObjects == before.IngestedObjects && o.CommitID == before.CommitID &&
		o.MetarangeID == before.MetarangeID && o.ErrorMessage == before.ErrorMessage
}

// State is the state of an import in one word, for people and scripts.
type State string

// The states.
const (
	// Unknown: no status was ever received.
	Unknown State = "unknown"
	// Running: lakeFS is working on it.
	Running State = "running"
	// Stalled: the heartbeat had stopped when lakeFS last answered.
	Stalled State = "stalled"
	// Hung: the heartbeat is alive, but the count of objects has not grown for
	// longer than NoProgressAfter; six times that once ExpectedObjects are
	// reached, since that is the commit.
	Hung State = "hung"
	// Succeeded, Failed and Canceled: finished; the labels "outcome" too.
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Canceled  State = "canceled"
	// Lost: was running with a live heartbeat, and lakeFS no longer knows it.
	Lost State = "lost"
	// NotFound: never seen, and lakeFS does not know it.
	NotFound State = "not_found"
)

// States returns every state: those that need a person first, those that need
// nobody last.
func States() []State {
	return []State{Stalled, Lost, Failed, Hung, NotFound, Unknown, Running, Canceled, Succeeded}
}

// commitFactor is how many times longer than NoProgressAfter the count may stay
// the same when all expected objects are there.
const commitFactor = 6

// ended are the states of finished imports, by Outcome.
var ended = [...]State{lakefs.Succeeded: Succeeded, lakefs.Failed: Failed, lakefs.Canceled: Canceled}

// state depends on what was seen, not on what time it is: nothing changes while
// lakeFS cannot be asked.
func (o *Observation) state(imp *Import) State {
	switch {
	case o.Finished():
		return ended[o.Outcome]
	case !o.Seen() && o.NotFoundSince.IsZero():
		return Unknown
	case !o.Seen():
		return NotFound
	case o.heartbeatLost(): // also when lakeFS has forgotten it since: it had died long before
		return Stalled
	case !o.NotFoundSince.IsZero():
		return Lost
	}
	unchanged := o.StatusAt.Sub(o.ProgressAt)
	if imp.ExpectedObjects > 0 && o.IngestedObjects >= imp.ExpectedObjects {
		unchanged /= commitFactor
	}
	if unchanged > imp.NoProgressAfter {
		return Hung
	}
	return Running
}

// oneLine makes text of a server fit for a label: runs of white space and
// control characters become one space, invalid UTF-8 is replaced, and text over
// 256 bytes is truncated, with an ellipsis to show it.
func oneLine(s string) string {
	const ellipsis = "…"
	if s == "" {
		return s
	}
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
	end := maxTextBytes - len(ellipsis)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// Result is how a poll ended: with success, or an error. It is a value of the
// label "result".
type Result = lakefs.Kind

const resultSuccess Result = "success"

// Poll is how the newest attempt to poll an import ended. Its zero value is
// that of an import never polled.
type Poll struct {
	Result Result
	At     time.Time
	// Message says why there is no status; empty if there is one.
	Message string
}

// polled is how the polls of something that is watched ended.
type polled struct {
	poll Poll
	// at is when the newest request ended: the longest ago is polled first.
	at time.Time
}

// record remembers how a poll ended, and returns false if it did so before: an
// answer that is shared is of use to what was not watched when it came.
func (p *polled) record(poll Poll) bool {
	if poll.At.Equal(p.at) {
		return false
	}
	p.poll = poll
	if poll.Result != lakefs.RateLimited { // which says nothing about what was polled
		p.at = poll.At
	}
	return true
}

// skip remembers that a scrape which began at the time begin could not wait for
// the poll, unless there was one since.
func (p *polled) skip(begin time.Time, poll Poll) {
	if p.poll.At.Before(begin) {
		p.poll = poll
	}
}

// sample is the count of an import at one time, for its throughput.
type sample struct {
	at      time.Time
	objects int64
}

const (
	// throughputWindow is the time over which throughput is measured.
	throughputWindow = 5 * time.Minute
	// sampleSpacing bounds the memory where the exporter is scraped often: all
	// but the newest sample are at least that far apart.
	sampleSpacing = 15 * time.Second
)

// appendSample returns samples with s at its end, without those that left the
// window. It reuses the array of samples.
func appendSample(samples []sample, s sample) []sample {
	samples = slices.DeleteFunc(samples, func(old sample) bool { return s.at.Sub(old.at) > throughputWindow })
	if n := len(samples); n >= 2 && samples[n-1].at.Sub(samples[n-2].at) < sampleSpacing {
		samples = samples[:n-1]
	}
	return append(samples, s)
}

// recentThroughput returns the objects ingested in a second over the statuses of
// the last five minutes, and false where that cannot be told.
func recentThroughput(samples []sample, now time.Time) (float64, bool) {
	for len(samples) > 0 && now.Sub(samples[0].at) > throughputWindow {
		samples = samples[1:]
	}
	n := len(samples)
	if n < 2 || !samples[n-1].at.After(samples[0].at) {
		return 0, false
	}
	grown := samples[n-1].objects - samples[0].objects
	return float64(max(0, grown)) / samples[n-1].at.Sub(samples[0].at).Seconds(), true
}
