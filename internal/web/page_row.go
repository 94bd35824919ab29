package web

import (
	"maps"
	"slices"
	"time"

	"lakefs_import_exporter/collector"
)

const (
	// rowLabels is how many labels a row shows before it folds the rest away.
	rowLabels = 4
	// restShown is how long the count rests before the page mentions it.
	restShown = time.Minute
)

// rowView is an import as a row of the table.
type rowView struct {
	// Key tells the rows apart, Name is for people.
	Key, Name string
	State     stateView
	Attention bool

	Repository, Branch string
	BranchURL          string
	ID                 shortID
	WholeID            string
	Server             string

	Progress *progressView // nil if it cannot be told
	Objects  string
	Rate     string
	Left     string // how long it will take
	Rest     string // how long the count has been at rest

	Note      string // what the state means for this import
	Error     string
	CommitURL string
	Commit    string // its ID, short
	CommitID  string
	PollError string
	Labels    []labelView
	MoreText  string
	More      []labelView

	Heartbeat     string
	HeartbeatNote string
	HeartbeatLate bool
	Updated       pageTime
	Started       pageTime
	Ended         pageTime
	Duration      string
	DurationNote  string
	Polled        pageTime
	PollFailed    bool
}

// progressView is how much of the expected objects is there.
type progressView struct {
	Max, Value int64
	Percent    string
}

// labelView is a label of the user's, and the link that toggles the filter by it.
type labelView struct {
	Name, Value, URL string
	Active           bool
}

// row returns the row of an import.
func (b *pageBuilder) row(imp *collector.ImportView) rowView {
	r := rowView{
		Key:        imp.Server + "/" + imp.String(),
		Name:       imp.String(),
		State:      viewState(imp.State),
		Attention:  needsPerson(imp.State),
		Repository: imp.Repository,
		Branch:     imp.Branch,
		BranchURL:  b.logURL(imp.Server, imp.Repository, imp.Branch),
		ID:         shorten(imp.ID),
		WholeID:    imp.ID,
		Server:     imp.Server,
		Error:      imp.ErrorMessage,
		CommitURL:  imp.CommitURL(),
		Commit:     abbreviateHash(imp.CommitID),
		CommitID:   imp.CommitID,
	}
	b.progress(&r, imp)
	b.times(&r, imp)
	r.Note = note(imp, b.snapshot.At)
	for i, name := range slices.Sorted(maps.Keys(imp.Labels)) {
		label := name + "=" + imp.Labels[name]
		view := labelView{name, imp.Labels[name], b.query.toggleLabel(label), b.labels[label]}
		if i < rowLabels || len(imp.Labels) == rowLabels+1 {
			r.Labels = append(r.Labels, view)
		} else {
			r.More = append(r.More, view)
		}
	}
	if len(r.More) > 0 {
		r.MoreText = counted(len(r.More), "more label", "more labels")
	}
	return r
}

// progress fills in how far the import is.
func (b *pageBuilder) progress(r *rowView, imp *collector.ImportView) {
	if !imp.Seen() {
		if imp.ExpectedObjects > 0 {
			r.Objects = thousands(imp.ExpectedObjects) + " objects expected"
		}
		return
	}
	r.Objects = thousands(imp.IngestedObjects) + " objects"
	if ratio, ok := imp.Progress(); ok {
		r.Progress = &progressView{
			Max:     imp.ExpectedObjects,
			Value:   min(imp.IngestedObjects, imp.ExpectedObjects),
			Percent: percent(ratio),
		}
		r.Objects = thousands(imp.IngestedObjects) + " of " + thousands(imp.ExpectedObjects) + " objects"
	}
	if perSec, ok := shownThroughput(imp); ok {
		r.Rate = perSecond(perSec)
		if imp.Finished() {
			r.Rate += " on average"
		}
	}
	if left, ok := imp.ETA(); ok && left > 0 {
		r.Left = spanSeconds(left) + " left"
	}
	if rest := imp.StatusAt.Sub(imp.ProgressAt); imp.State == collector.Running && rest >= restShown {
		r.Rest = "count at rest for " + span(rest)
	}
}

// times fills in when what happened.
func (b *pageBuilder) times(r *rowView, imp *collector.ImportView) {
	now := b.snapshot.At
	r.Started = pageTimeOf(imp.StartedAt, now)
	r.Polled = pageTimeOf(imp.Poll.At, now)
	r.PollFailed = !imp.PollSuccess() && !imp.Poll.At.IsZero()
	if r.PollFailed {
		r.PollError = pollText(imp.Poll)
	}
	if end, ok := imp.FinishedAt(); ok {
		r.Ended = pageTimeOf(end, now)
	} else if imp.Seen() {
		r.Updated = pageTimeOf(imp.UpdateTime, now)
		r.Heartbeat = span(now.Sub(imp.UpdateTime))
		switch {
		case imp.State == collector.Stalled:
			r.HeartbeatLate = true
			r.HeartbeatNote = "limit: 2 min"
		case !imp.PollSuccess():
			r.HeartbeatNote = span(imp.HeartbeatAge()) + " when last seen"
		}
	}
	if took, ok := importDuration(imp, now); ok {
		r.Duration = span(took)
		switch imp.State {
		case collector.Running, collector.Hung:
			r.DurationNote = "so far"
		case collector.Stalled, collector.Lost:
			r.DurationNote = "to its last heartbeat"
		default: // it says when it ended
		}
	}
}

// note says what the state of an import means for whoever has to act on it.
func note(imp *collector.ImportView, now time.Time) string {
	switch imp.State {
	case collector.Stalled:
		return "No heartbeat for " + span(now.Sub(imp.UpdateTime)) +
			": the lakeFS process that ran it has most likely died. See the log of the branch for a commit."
	case collector.Lost:
		return "Gone from lakeFS " + agoFrom(now, imp.NotFoundSince) +
			", though it was alive when last seen. See the log of the branch for a commit."
	case collector.Hung:
		return "The heartbeat is alive, but no object was added for " + span(imp.StatusAt.Sub(imp.ProgressAt)) +
			" (limit: " + span(imp.NoProgressAfter) + ")."
	case collector.NotFound:
		if !imp.StartedAt.IsZero() && now.Sub(imp.StartedAt) > 24*time.Hour {
			return "lakeFS does not know it. It was started over a day ago, and lakeFS forgets imports after a day."
		}
		return "lakeFS does not know it. Are ID, repository and server right?"
	case collector.Unknown:
		return "No status received yet."
	case collector.Running:
		switch {
		case imp.IngestedObjects == 0:
			return "No object yet: it may be waiting for a worker of lakeFS."
		case imp.ExpectedObjects > 0 && imp.IngestedObjects >= imp.ExpectedObjects:
			return "All expected objects are in. lakeFS is writing the commit."
		}
	default: // there is nothing to do
	}
	return ""
}

// abbreviateHash returns as much of a commit's ID as lakeFS's own pages show.
func abbreviateHash(id string) string {
	const length = 12
	return id[:min(len(id), length)]
}
