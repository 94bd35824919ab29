package collector

import (
	"context"
	"maps"
	"time"
)

// probeLifetime is how often imports are dropped that nobody probes any more.
const probeLifetime = time.Minute

// Probe polls an import that need not be watched, if its newest probe is over
// a second old, and returns what that poll alone tells of it. The server of key
// must be configured.
func (c *Collector) Probe(ctx context.Context, key Key) *Snapshot {
	now := c.now()
	s := c.server(key.Server)
	if s == nil {
		return &Snapshot{At: now}
	}
	c.probes.hold(key, now)
	defer c.probes.release(key)
	s.refreshOne(ctx, c.probes, key)
	server, client := s.view()
	now = c.now()
	v, _ := c.probes.view(key, now, client)
	if v.Poll.Result != resultSuccess {
		v.forgetStatus()
	}
	return &Snapshot{At: now, Servers: []ServerView{server}, Imports: []ImportView{v}}
}

// forgetStatus leaves what v tells without a status.
func (v *ImportView) forgetStatus() {
	v.Observation = Observation{NotFoundSince: v.NotFoundSince}
	v.State = stateOf(v.Import, v.Observation)
	v.throughputKnown = false
}

// hold makes an import be watched until it is released, with no memory of what
// earlier probes saw more than a second ago.
func (w *watchlist) hold(key Key, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.swept) > probeLifetime {
		w.swept = now
		maps.DeleteFunc(w.entries, func(_ Key, e *entry) bool { return e.holders == 0 && isDue(e.polledAt, now) })
	}
	e := w.entries[key]
	if e == nil || e.holders == 0 && isDue(e.polledAt, now) {
		e = &entry{}
		e.describe(Import{Key: key, NoProgressAfter: DefaultNoProgressAfter}, "", labelPairs{})
		w.entries[key] = e
	}
	e.holders++
}

// release ends a hold.
func (w *watchlist) release(key Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries[key].holders--
}
