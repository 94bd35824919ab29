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
func (v *view) fillRepositories() {
	importing := map[collector.Key]bool{}
	for i := range v.snapshot.Imports {
		if imp := &v.snapshot.Imports[i]; isWorking(imp) {
			importing[collector.Key{Server: imp.Server, Repository: imp.Repository}] = true
		}
	}
	var others []repositoryView
	for i := range v.snapshot.Repositories {
		r := &v.snapshot.Repositories[i]
		shown := v.repository(r, importing[collector.Key{Server: r.Server, Repository: r.Name}])
		if shown.Attention {
			v.Repositories = append(v.Repositories, shown)
		} else {
			others = append(others, shown)
		}
	}
	v.Overdue = len(v.Repositories)
	v.Repositories = slices.Concat(v.Repositories, others)
}

func (v *view) repository(r *collector.RepositoryView, importing bool) repositoryView {
	serverTime := v.serverTime(r.Server)
	shown := repositoryView{
		RepositoryView: r, Word: "fresh", Kind: "succeeded",
		Newest: formatTime(r.LastImport, serverTime), Polled: v.Time(r.Poll.At), Labels: v.labels(r.Labels),
	}
	limited := r.MaxImportAge > 0
	late := limited && serverTime.Sub(r.LastImport) > r.MaxImportAge
	switch {
	case r.Poll.At.IsZero():
		shown.Word, shown.Kind = "not polled yet", "unknown"
	case r.Poll.Result == notFound:
		shown.Word, shown.Kind, shown.Attention = "not found", "not_found", true
	case !r.PollSuccess():
		shown.Word, shown.Kind = "unknown", "unknown"
	case late && importing:
		shown.Word, shown.Kind = "importing", "running"
	case r.LastImport.IsZero():
		shown.Word, shown.Kind, shown.Attention = "no import yet", "unknown", limited
	case late:
		shown.Word, shown.Kind, shown.Attention = "overdue", "stalled", true
	case !limited:
		shown.Word = "found"
	}
	return shown
}
