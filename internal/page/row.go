package page

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

const (
	// unchangedShown is how long the count must be the same to be mentioned.
	unchangedShown = time.Minute
	// expiry is when lakeFS deletes the status of an import.
	expiry = 24 * time.Hour
)

// rowView is an import as a row of the table.
type rowView struct {
	// Key identifies the row, Name is for people.
	Key, Name  string
	Server     string
	Repository string
	Branch     string
	BranchURL  string // of the branch's log; empty if it is not known
	ID         string
	Origin     collector.Origin

	State     collector.State
	Attention bool
	Note      string // what the state means for this import
	Error     string
	CommitID  string
	CommitURL string
	PollError string
	Labels    []labelView

	Percent string // of the expected objects; empty if it is not known
	Ratio   float64
	Objects string
	Speed   string

	Heartbeat     string // empty if none is expected
	HeartbeatNote string
	Updated       timeView
	Started       timeView
	Ended         timeView
	Duration      string
	DurationNote  string
	Polled        timeView
}

// labelView is a label of the user's, and the link that toggles the filter by it.
type labelView struct {
	Text, URL string
	Active    bool
}

// row returns the row of an import.
func (b *builder) row(imp *collector.ImportView) rowView {
	r := rowView{
		Key:        imp.Server + "/" + imp.Repository + "/" + imp.ID,
		Name:       imp.Ref().String(),
		Server:     imp.Server,
		Repository: imp.Repository,
		Branch:     imp.Branch,
		BranchURL:  b.logURL(imp),
		ID:         imp.ID,
		Origin:     imp.Origin,
		State:      imp.State,
		Attention:  needsAttention(imp.State),
		Note:       note(imp, b.snapshot.At, b.serverTime(imp.Server)),
		Error:      imp.ErrorMessage,
		CommitID:   imp.CommitID,
		CommitURL:  imp.CommitURL(),
	}
	for _, name := range slices.Sorted(maps.Keys(imp.Labels)) {
		r.Labels = append(r.Labels, b.label(name+"="+imp.Labels[name]))
	}
	r.fillProgress(imp)
	b.fillTimes(&r, imp)
	return r
}

func (b *builder) label(text string) labelView {
	return labelView{text, b.query.toggle("label", text), b.query.has("label", text)}
}

func (r *rowView) fillProgress(imp *collector.ImportView) {
	if !imp.Seen() {
		if imp.ExpectedObjects > 0 {
			r.Objects = formatCount(imp.ExpectedObjects) + " objects expected"
		}
		return
	}
	r.Objects = formatCount(imp.IngestedObjects) + " objects"
	if ratio, ok := imp.Progress(); ok {
		r.Ratio, r.Percent = ratio, formatRatio(ratio)
		r.Objects = formatCount(imp.IngestedObjects) + " of " + formatCount(imp.ExpectedObjects) + " objects"
	}
	var speed []string
	if rate, ok := throughput(imp); ok && imp.Finished() {
		speed = append(speed, formatRate(rate)+" on average")
	} else if ok {
		speed = append(speed, formatRate(rate))
	}
	if left, ok := imp.ETA(); ok && left > 0 {
		speed = append(speed, formatSeconds(left)+" left")
	}
	if unchanged := imp.StatusAt.Sub(imp.ProgressAt); imp.State == collector.Running && unchanged >= unchangedShown {
		speed = append(speed, "count unchanged for "+formatSpan(unchanged))
	}
	r.Speed = strings.Join(speed, " · ")
}

// fillTimes fills in when what happened: by lakeFS's clock for all but the poll.
func (b *builder) fillTimes(r *rowView, imp *collector.ImportView) {
	serverTime := b.serverTime(imp.Server)
	r.Started = formatTime(imp.StartedAt, serverTime)
	r.Polled = formatTime(imp.Poll.At, b.snapshot.At)
	if !imp.PollSuccess() && !imp.Poll.At.IsZero() {
		r.PollError = pollText(imp.Poll)
	}
	if end, ok := imp.FinishedAt(); ok {
		r.Ended = formatTime(end, serverTime)
	} else if imp.Seen() {
		r.Updated = formatTime(imp.UpdateTime, serverTime)
		r.Heartbeat = formatSeconds(imp.SecondsSinceUpdate()) + " old"
		if !imp.PollSuccess() {
			r.HeartbeatNote = formatSpan(imp.HeartbeatAge()) + " when last seen"
		}
	}
	seconds, ok := duration(imp)
	if !ok {
		return
	}
	r.Duration = formatSeconds(seconds)
	switch {
	case imp.Finished(): // the row says when it ended
	case !inProgress(imp.State):
		r.DurationNote = "to its last heartbeat"
	case imp.MaxDuration > 0:
		r.DurationNote = "so far, limit: " + formatSpan(imp.MaxDuration)
	default:
		r.DurationNote = "so far"
	}
}

// serverTime returns lakeFS's clock at the time of the snapshot, as far as it
// is known.
func (b *builder) serverTime(server string) time.Time {
	if s := b.servers[server]; s != nil {
		return b.snapshot.At.Add(s.ClockSkew)
	}
	return b.snapshot.At
}

// logURL returns where lakeFS's web UI shows the commits of an import's branch,
// or "" if that is not known.
func (b *builder) logURL(imp *collector.ImportView) string {
	server := b.servers[imp.Server]
	if server == nil || imp.Branch == lakefs.UnknownBranch {
		return ""
	}
	return server.URL + "/repositories/" + url.PathEscape(imp.Repository) + "/commits?ref=" + url.QueryEscape(imp.Branch)
}
