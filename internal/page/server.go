package page

import (
	"maps"
	"slices"
	"strings"
	"time"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

// serverView is how a lakeFS server stands.
type serverView struct {
	*collector.ServerView
	Now time.Time // by the exporter's clock
	// Word says how it is, Kind is the class for color and shape: up, partly,
	// paused or down. Since is when that began; zero if it is not known.
	Word, Kind string
	Since      time.Time
	// Imports are the imports of the server, Unfinished those that have not
	// finished, and Unknown those of which polls fail.
	Imports, Unfinished, Unknown int
}

// fillServers fills in how the servers stand.
func (v *view) fillServers() {
	for i := range v.Snapshot.Servers {
		s := &serverView{ServerView: &v.Snapshot.Servers[i], Now: v.Snapshot.At}
		s.classify()
		v.Servers[s.Name] = s
		if s.Kind == "down" {
			v.Down = append(v.Down, s)
		}
	}
}

func (v *serverView) classify() {
	switch {
	case v.PausedUntil.After(v.Now):
		v.Word, v.Kind = "paused", "paused"
	case !v.Up && v.DownSince.IsZero():
		v.Word, v.Kind = "not asked yet", "paused"
	case !v.Up:
		v.Word, v.Kind, v.Since = "down", "down", v.DownSince
	case !v.Authorized:
		v.Word, v.Kind, v.Since = "keys refused", "down", v.UnauthorizedSince
	case v.Failed() != "":
		v.Word, v.Kind = "polls failing", "partly"
	case v.MissesImports():
		v.Word, v.Kind = "up", "partly"
	default:
		v.Word, v.Kind = "up", "up"
	}
}

// MissesImports reports whether the server's discovery fails or leaves imports out.
func (v *serverView) MissesImports() bool {
	return v.Discovery != nil && (v.Discovery.Error != "" || v.Discovery.Dropped > 0)
}

// Failed says how many polls failed, as in "2 of 5 polls failed (server error: 1,
// timeout: 1)"; "" if none did. An import that lakeFS does not know is no fault
// of the server.
func (v *serverView) Failed() string {
	var n int
	var causes []string
	for _, result := range slices.Sorted(maps.Keys(v.Failures)) {
		if result != lakefs.NotFound {
			n += v.Failures[result]
			causes = append(causes, words(result)+": "+formatCount(v.Failures[result]))
		}
	}
	if n == 0 {
		return ""
	}
	return formatCount(n) + " of " + pluralize(v.Polls, "poll") + " failed (" + strings.Join(causes, ", ") + ")"
}
