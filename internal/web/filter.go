package web

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"lakefs_import_exporter/collector"
)

// filterParameters are those of a list of imports. They can be repeated.
var filterParameters = []string{"branch", "label", "repository", "server", "source", "state"}

// filter selects what a list of imports has: of the values of one parameter any
// must match, and of the parameters all.
type filter url.Values

// parseFilter returns the filter of a query. A parameter without a value selects
// everything, as an empty field of an HTML form does.
func parseFilter(query url.Values) (filter, error) {
	f := filter{}
	for name, values := range query {
		if !slices.Contains(filterParameters, name) {
			return nil, fmt.Errorf("parameter %q: must be one of %q", name, filterParameters)
		}
		for _, value := range values {
			switch {
			case value == "":
				continue
			case name == "state" && !slices.Contains(collector.States(), collector.State(value)):
				return nil, fmt.Errorf("state %q: must be one of %q", value, collector.States())
			case name == "label" && !strings.Contains(value, "="):
				return nil, fmt.Errorf("label %q: must be NAME=VALUE", value)
			}
			f[name] = append(f[name], value)
		}
	}
	return f, nil
}

// matches reports whether value is one that the parameter name asks for.
func (f filter) matches(name, value string) bool {
	return len(f[name]) == 0 || slices.Contains(f[name], value)
}

func (f filter) matchesLabels(labels map[string]string) bool {
	return len(f["label"]) == 0 || slices.ContainsFunc(f["label"], func(wanted string) bool {
		name, value, _ := strings.Cut(wanted, "=")
		has, ok := labels[name]
		return ok && has == value
	})
}

func (f filter) matchesServer(v *collector.ServerView) bool { return f.matches("server", v.Name) }

func (f filter) matchesRepository(v *collector.RepositoryView) bool {
	return f.matches("server", v.Server) && f.matches("repository", v.Name) && f.matchesLabels(v.Labels)
}

func (f filter) matchesImport(v *collector.ImportView) bool {
	return f.matches("server", v.Server) && f.matches("repository", v.Repository) && f.matches("branch", v.Branch) &&
		f.matches("source", string(v.Origin)) && f.matches("state", string(v.State)) && f.matchesLabels(v.Labels)
}
