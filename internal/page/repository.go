package page

import (
	"time"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

// repositoryView is how a watched repository stands.
type repositoryView struct {
	*collector.RepositoryView
	View *view
	Now  time.Time // by lakeFS's clock
	// Word says how it is, Kind is the class for color and shape.
	Word, Kind string
	Attention  bool
}

// fillRepositories fills in how the repositories stand.
func (v *view) fillRepositories() {
	importing := map[collector.Key]bool{}
	for i := range v.Snapshot.Imports {
		if imp := &v.Snapshot.Imports[i]; isWorking(imp) {
			importing[collector.Key{Server: imp.Server, Repository: imp.Repository}] = true
		}
	}
	var others []repositoryView
	for i := range v.Snapshot.Repositories {
		r := repositoryView{RepositoryView: &v.Snapshot.Repositories[i], View: v}
		r.Now = v.serverTime(r.Server)
		r.classify(importing[collector.Key{Server: r.Server, Repository: r.Name}])
		if r.Attention {
			v.Repositories = append(v.Repositories, r)
		} else {
			others = append(others, r)
		}
	}
	v.Overdue = len(v.Repositories)
	v.Repositories = append(v.Repositories, others...)
}

func (r *repositoryView) classify(importing bool) {
	limited := r.MaxImportAge > 0
	late := limited && r.Now.Sub(r.LastImport) > r.MaxImportAge
	switch {
	case r.Poll.At.IsZero():
		r.Word, r.Kind = "not polled yet", "unknown"
	case r.Poll.Result == lakefs.NotFound:
		r.Word, r.Kind, r.Attention = "not found", "not_found", true
	case !r.PollSuccess():
		r.Word, r.Kind = "unknown", "unknown"
	case late && importing:
		r.Word, r.Kind = "importing", "running"
	case r.LastImport.IsZero():
		r.Word, r.Kind, r.Attention = "no import yet", "unknown", limited
	case late:
		r.Word, r.Kind, r.Attention = "overdue", "stalled", true
	case limited:
		r.Word, r.Kind = "fresh", "succeeded"
	default:
		r.Word, r.Kind = "found", "succeeded"
	}
}
