package lakefstest

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"time"
)

// Messages of lakeFS that say how an import ended, as seen on real servers.
const (
	// MessageCanceled is the error of an import that was canceled.
	MessageCanceled = "import error: Canceled"
	// MessageNoSuchFile is the error of an import whose source is not there.
	MessageNoSuchFile = "import error: error on ingest: lstat /data/nosuch: no such file or directory"
	// MessageDirtyBranch is the error of an import whose branch had
	// uncommitted changes when it was to be merged.
	MessageDirtyBranch = "import error: merge import: uncommitted changes (dirty branch)"
)

// heartbeat is how often a running import writes its status.
const heartbeat = time.Second

// End is how an import ends.
type End uint8

// The ends. After Success, Failure and Cancel the status is final; after Crash
// and Hang it never stops saying that the import is running.
const (
	// Success: the import is committed to its branch.
	Success End = iota
	// Failure: the status holds Script.Message as its error.
	Failure
	// Cancel: somebody cancels the import. Unlike the other ends this shows at
	// once, not at the next heartbeat.
	Cancel
	// Crash: the server dies with the import. Its heartbeat stops, and nobody
	// marks it as failed.
	Crash
	// Hang: the count never grows again, but the heartbeat goes on.
	Hang
)

// Script is the life of an import: Queued, then listing Objects at Rate, then
// Committing, and somewhere on that way its End. The zero Script finds nothing
// to import and succeeds at its first heartbeat.
//
// What a script says happens inside lakeFS. Its status shows it at the next
// heartbeat, which comes once a second after the start.
type Script struct {
	// Objects is how many objects there are to import.
	Objects int64
	// Rate is how many objects are listed in a second. 0 lists all at once.
	Rate float64
	// Queued is how long the count rests at 0 because other imports have the
	// workers.
	Queued time.Duration
	// Committing is how long the count rests at Objects while ranges are
	// written and the commit is made.
	Committing time.Duration

	// End is how it ends; the zero value is Success.
	End End
	// EndAfter is when an End other than Success comes, in time since the
	// start. The count rests at Objects where they are listed before.
	EndAfter time.Duration
	// EndAtObjects is when an End other than Success comes if EndAfter is 0:
	// as soon as so many objects are listed. If both are 0, it comes in the
	// place of the success, after Committing. A Hang holds the count here.
	EndAtObjects int64
	// Message is the error of a Failure, whole, as the status shows it. The
	// default is MessageNoSuchFile.
	Message string
}

// listed returns how long after the start n objects are listed.
func (s Script) listed(n int64) time.Duration {
	if s.Rate <= 0 || n <= 0 {
		return s.Queued
	}
	nanos := math.Ceil(float64(n) / s.Rate * float64(time.Second))
	if nanos >= float64(math.MaxInt64-s.Queued) {
		return math.MaxInt64
	}
	return s.Queued + time.Duration(nanos)
}

// ends returns how long after the start the End comes.
func (s Script) ends() time.Duration {
	switch {
	case s.End != Success && s.EndAfter > 0:
		return s.EndAfter
	case s.End != Success && s.EndAtObjects > 0:
		return s.listed(min(s.EndAtObjects, s.Objects))
	}
	listed := s.listed(s.Objects)
	if listed > math.MaxInt64-s.Committing {
		return math.MaxInt64
	}
	return listed + s.Committing
}

// count returns how many objects are listed a while after the start.
func (s Script) count(elapsed time.Duration) int64 {
	if ends := s.ends(); elapsed >= ends {
		if s.End != Success && s.EndAfter <= 0 && s.EndAtObjects > 0 {
			return min(s.EndAtObjects, s.Objects)
		}
		elapsed = ends
	}
	switch {
	case elapsed >= s.listed(s.Objects):
		return s.Objects
	case elapsed <= s.Queued:
		return 0
	}
	// The nudge keeps 3 objects from becoming 2.9999999 of them.
	return int64((elapsed-s.Queued).Seconds()*s.Rate + 1e-6)
}

// run is a script with the time it started at and what came over it. It is
// immutable; its state is a function of the time alone.
type run struct {
	id     string
	script Script
	start  time.Time
	// died is when the server restarted, and canceled when the API was asked
	// to cancel; zero if that did not happen.
	died, canceled time.Time
}

// state is what lakeFS has written of an import.
type state struct {
	completed bool
	message   string // of the error
	ingested  int64
	updated   time.Time
}

func (s state) final() bool { return s.completed || s.message != "" }

// at returns what lakeFS has written by now.
func (r run) at(now time.Time) state {
	if r.canceled.IsZero() || now.Before(r.canceled) {
		return r.scripted(now)
	}
	// lakeFS lays the cancel over whatever it finds.
	s := r.scripted(r.canceled)
	s.message, s.updated = MessageCanceled, r.canceled
	return s
}

// scripted is at without a cancel from outside of the script.
func (r run) scripted(now time.Time) state {
	elapsed, ends := max(now.Sub(r.start), 0), r.script.ends()
	if r.script.End == Cancel && elapsed >= ends {
		s := r.beat(ends)
		s.message, s.updated = MessageCanceled, r.start.Add(ends)
		return s
	}
	return r.beat(elapsed)
}

// beat returns what was written by the last heartbeat, a while after the start.
func (r run) beat(elapsed time.Duration) state {
	ends := r.script.ends()
	if r.script.End == Crash {
		elapsed = min(elapsed, ends)
	}
	if !r.died.IsZero() {
		elapsed = min(elapsed, r.died.Sub(r.start))
	}
	last := elapsed.Truncate(heartbeat)
	if last <= 0 { // what importStart wrote
		return state{updated: r.start}
	}
	s := state{ingested: r.script.count(last), updated: r.start.Add(last)}
	if last < ends {
		return s
	}
	// The first heartbeat after the end tells of it, and is the last one.
	switch r.script.End {
	case Success:
		s.completed = true
	case Failure:
		s.message = r.script.Message
		if s.message == "" {
			s.message = MessageNoSuchFile
		}
	default:
		return s
	}
	s.updated = r.start.Add(max(ceil(ends, heartbeat), heartbeat))
	return s
}

// committed returns when the import was committed, and false if it was not by
// now. lakeFS tells of it at the next heartbeat; if the server dies or the
// import is canceled before that, the commit is on its branch nevertheless.
func (r run) committed(now time.Time) (time.Time, bool) {
	if !r.died.IsZero() && now.After(r.died) {
		now = r.died
	}
	if !r.canceled.IsZero() && now.After(r.canceled) {
		now = r.canceled
	}
	at := r.start.Add(r.script.ends())
	return at, r.script.End == Success && !now.Before(at)
}

// body returns the JSON of the status.
func (r run) body(now time.Time) statusBody {
	s := r.at(now)
	b := statusBody{Completed: s.completed, IngestedObjects: s.ingested, UpdateTime: s.updated.UTC()}
	if s.message != "" {
		b.Error = &messageBody{s.message}
	}
	if s.completed {
		at, _ := r.committed(now)
		b.MetarangeID = r.hash("metarange")
		b.Commit = &commitBody{
			Committer:    "admin",
			CreationDate: at.Unix(),
			Generation:   2,
			ID:           r.hash("commit"),
			Message:      "Import objects",
			MetarangeID:  b.MetarangeID,
			Metadata:     map[string]string{".lakefs.merge.strategy": "source-wins"},
			Parents:      []string{r.hash("parent")},
			Version:      1,
		}
	}
	return b
}

// hash returns an ID as lakeFS gives to what it stores, always the same for
// the same import.
func (r run) hash(of string) string {
	sum := sha256.Sum256([]byte(of + " " + r.id))
	return hex.EncodeToString(sum[:])
}

// ceil rounds d up to a multiple of unit.
func ceil(d, unit time.Duration) time.Duration {
	if rest := d % unit; rest != 0 {
		return d - rest + unit
	}
	return d
}

// The JSON of lakeFS has its keys in alphabetical order.
type (
	statusBody struct {
		Commit          *commitBody  `json:"commit,omitempty"`
		Completed       bool         `json:"completed"`
		Error           *messageBody `json:"error,omitempty"`
		IngestedObjects int64        `json:"ingested_objects"`
		MetarangeID     string       `json:"metarange_id,omitempty"`
		UpdateTime      time.Time    `json:"update_time"`
	}
	commitBody struct {
		Committer    string            `json:"committer"`
		CreationDate int64             `json:"creation_date"`
		Generation   int64             `json:"generation"`
		ID           string            `json:"id"`
		Message      string            `json:"message"`
		MetarangeID  string            `json:"meta_range_id"`
		Metadata     map[string]string `json:"metadata"`
		Parents      []string          `json:"parents"`
		Version      int               `json:"version"`
	}
	messageBody struct {
		Message string `json:"message"`
	}
)
