package page

import "lakefs_import_exporter/collector"

// serverView is how a lakeFS server stands.
type serverView struct {
	*collector.ServerView
	// Word says how it is, Kind is the class for color and shape: up, partly,
	// paused or down.
	Word, Kind string
	// Text says how many imports are polled.
	Text   string
	Reason string // why it is not up
}

// pollStats are the polls of a server's imports.
type pollStats struct {
	imports, unfinished, failing int
	failed                       collector.Poll // the newest
}

func (s *pollStats) add(imp *collector.ImportView) {
	s.imports++
	if imp.Finished() {
		return
	}
	s.unfinished++
	// An import that lakeFS does not know is no fault of the server.
	if imp.PollSuccess() || !imp.NotFoundSince.IsZero() || imp.Poll.At.IsZero() {
		return
	}
	s.failing++
	if imp.Poll.At.After(s.failed.At) {
		s.failed = imp.Poll
	}
}

// serverViews returns how the servers stand.
func (b *builder) serverViews() []serverView {
	stats := map[string]*pollStats{}
	for name := range b.servers {
		stats[name] = &pollStats{}
	}
	for i := range b.snapshot.Imports {
		if s := stats[b.snapshot.Imports[i].Server]; s != nil {
			s.add(&b.snapshot.Imports[i])
		}
	}
	views := make([]serverView, len(b.snapshot.Servers))
	for i := range views {
		s := &b.snapshot.Servers[i]
		views[i] = b.server(s, stats[s.Name])
	}
	return views
}

func (b *builder) server(s *collector.ServerView, polls *pollStats) serverView {
	v := serverView{
		ServerView: s,
		Word:       "up",
		Kind:       "up",
		Text:       formatCount(polls.unfinished) + " of " + pluralize(polls.imports, "import") + " in progress",
	}
	switch {
	case s.PausedUntil.After(b.snapshot.At):
		v.Word, v.Kind = "paused", "paused"
		v.Reason = "lakeFS limits the rate of requests (HTTP status 429): next poll at " +
			formatTime(s.PausedUntil, b.snapshot.At).Text + " UTC"
	case !s.Up && polls.failing == 0:
		v.Word, v.Kind = "no answer", "down"
	case !s.Up:
		v.Word, v.Kind = "down", "down"
		v.Reason = pollText(polls.failed)
	case !s.Authorized:
		v.Word, v.Kind = "keys refused", "down"
		v.Reason = pollText(polls.failed)
	case polls.failing > 0:
		v.Kind = "partly"
		v.Reason = pluralize(polls.failing, "failed poll") + ", most recently with " + pollText(polls.failed)
	}
	if d := s.Discovery; d != nil && d.Error != "" {
		if v.Kind == "up" {
			v.Kind = "partly"
		}
		if v.Reason != "" {
			v.Reason += "; "
		}
		v.Reason += "new imports are not discovered: " + d.Error
	}
	return v
}

// pollText says why a poll failed.
func pollText(p collector.Poll) string { return string(p.Result) + ": " + p.Message }
