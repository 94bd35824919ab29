package page

import (
	"maps"
	"slices"
	"strings"

	"lakefs_import_exporter/collector"
)

// serverView is how a lakeFS server stands.
type serverView struct {
	*collector.ServerView
	// Word says how it is, Kind is the class for color and shape: up, partly,
	// paused or down. Since is when that began; zero if it is not known.
	Word, Kind string
	Since      timeView
	Until      timeView // of a pause
	// Failed says how many polls failed; empty if none did.
	Failed     string
	Discovered timeView // the newest success
	// Imports are the imports of the server, Unfinished those that have not
	// finished, and Unknown those of which polls fail.
	Imports, Unfinished, Unknown int
}

// fillServers fills in how the servers stand.
func (v *view) fillServers() {
	v.Servers = make([]serverView, len(v.snapshot.Servers))
	for i := range v.Servers {
		s := &v.Servers[i]
		s.ServerView = &v.snapshot.Servers[i]
		s.judge(v.snapshot)
		v.servers[s.Name] = s
		if s.Kind == "down" {
			v.Down = append(v.Down, s)
		}
	}
}

func (v *serverView) judge(snapshot *collector.Snapshot) {
	v.Failed = failedPolls(v.ServerView)
	switch {
	case v.PausedUntil.After(snapshot.At):
		v.Word, v.Kind, v.Until = "paused", "paused", formatTime(v.PausedUntil, snapshot.At)
	case !v.Up && v.DownSince.IsZero():
		v.Word, v.Kind = "not asked yet", "paused"
	case !v.Up:
		v.Word, v.Kind, v.Since = "down", "down", formatTime(v.DownSince, snapshot.At)
	case !v.Authorized:
		v.Word, v.Kind, v.Since = "keys refused", "down", formatTime(v.UnauthorizedSince, snapshot.At)
	case v.Failed != "":
		v.Word, v.Kind = "polls failing", "partly"
	case v.MissesImports():
		v.Word, v.Kind = "up", "partly"
	default:
		v.Word, v.Kind = "up", "up"
	}
	if v.Discovery != nil {
		v.Discovered = formatTime(v.Discovery.LastSuccess, snapshot.At)
	}
}

// MissesImports reports whether the server's discovery fails or leaves imports out.
func (v *serverView) MissesImports() bool {
	return v.Discovery != nil && (v.Discovery.Error != "" || v.Discovery.Dropped > 0)
}

// count counts an import of the server. It can be called on nil.
func (v *serverView) count(imp *collector.ImportView, unknown bool) {
	if v == nil {
		return
	}
	v.Imports++
	if !imp.Finished() {
		v.Unfinished++
	}
	if unknown {
		v.Unknown++
	}
}

// failedPolls says how many polls of a server failed, as in "2 of 5 polls failed
// (server error: 1, timeout: 1)"; "" if none did. An import that lakeFS does not
// know is no fault of the server.
func failedPolls(s *collector.ServerView) string {
	var n int
	var causes []string
	for _, result := range slices.Sorted(maps.Keys(s.Failures)) {
		if result != notFound {
			n += s.Failures[result]
			causes = append(causes, words(result)+": "+formatCount(s.Failures[result]))
		}
	}
	if n == 0 {
		return ""
	}
	return formatCount(n) + " of " + pluralize(s.Polls, "poll") + " failed (" + strings.Join(causes, ", ") + ")"
}
