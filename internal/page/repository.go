package page

import (
	"slices"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

// notFound is the result of a poll of what lakeFS does not know.
const notFound = lakefs.NotFound

// repositoryView is how a watched repository stands.
type repositoryView struct {
	*collector.RepositoryView
	// Word says how it is, Kind is the class for color and shape.
	Word, Kind string
	Attention  bool
	// Newest is when the newest import was committed, by lakeFS's clock.
	Newest timeView
	Polled timeView
	Labels []labelView
}

// fillRepositories fills in how the repositories stand.
func (b *builder) fillRepositories() {
	importing := map[collector.Key]bool{}
	for i := range b.snapshot.Imports {
		if imp := &b.snapshot.Imports[i]; isWorking(imp) {
			importing[collector.Key{Server: imp.Server, Repository: imp.Repository}] = true
		}
	}
	var others []repositoryView
	for i := range b.snapshot.Repositories {
		r := &b.snapshot.Repositories[i]
		v := b.repository(r, importing[collector.Key{Server: r.Server, Repository: r.Name}])
		if v.Attention {
			b.Repositories = append(b.Repositories, v)
		} else {
			others = append(others, v)
		}
	}
	b.Overdue = len(b.Repositories)
	b.Repositories = slices.Concat(b.Repositories, others)
}

func (b *builder) repository(r *collector.RepositoryView, importing bool) repositoryView {
	serverTime := b.serverTime(r.Server)
	v := repositoryView{
		RepositoryView: r, Word: "fresh", Kind: "succeeded",
		Newest: formatTime(r.LastImport, serverTime), Polled: formatTime(r.Poll.At, b.snapshot.At), Labels: b.labels(r.Labels),
	}
	limited := r.MaxImportAge > 0
	late := limited && serverTime.Sub(r.LastImport) > r.MaxImportAge
	switch {
	case r.Poll.At.IsZero():
		v.Word, v.Kind = "not polled yet", "unknown"
	case r.Poll.Result == notFound:
		v.Word, v.Kind, v.Attention = "not found", "not_found", true
	case !r.PollSuccess():
		v.Word, v.Kind = "unknown", "unknown"
	case late && importing:
		v.Word, v.Kind = "importing", "running"
	case r.LastImport.IsZero():
		v.Word, v.Kind, v.Attention = "no import yet", "unknown", limited
	case late:
		v.Word, v.Kind, v.Attention = "overdue", "stalled", true
	case !limited:
		v.Word = "found"
	}
	return v
}
