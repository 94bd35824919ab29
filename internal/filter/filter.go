// Package filter selects servers, repositories and imports by the parameters of
// a URL. The API and the status page share it.
package filter

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"lakefs_import_exporter/collector"
)

// Parameters are those of a list of imports. They can be repeated.
func Parameters() []string {
	return []string{"branch", "label", "repository", "server", "source", "state"}
}

// Filter selects what a list of imports has: of the values of one parameter any
// must match, and of the parameters all. Each label name counts as a parameter.
type Filter map[string][]string

// Parse returns the filter of a query. A parameter without a value selects
// everything, as an empty field of an HTML form does.
func Parse(query url.Values) (Filter, error) {
	f := Filter{}
	var states []string
	for _, state := range collector.States() {
		states = append(states, string(state))
	}
	for name, values := range query {
		if !slices.Contains(Parameters(), name) {
			return nil, fmt.Errorf("unknown parameter %q: must be one of %s", name, strings.Join(Parameters(), ", "))
		}
		for _, value := range values {
			switch {
			case value == "":
			case name == "state" && !slices.Contains(states, value):
				return nil, fmt.Errorf("state %q: must be one of %s", value, strings.Join(states, ", "))
			case name == "label" && !strings.Contains(value, "="):
				return nil, fmt.Errorf("label %q: must be NAME=VALUE", value)
			default:
				f[name] = append(f[name], value)
			}
		}
	}
	return f, nil
}

// matches reports whether value is one that the parameter name asks for.
func (f Filter) matches(name, value string) bool {
	return len(f[name]) == 0 || slices.Contains(f[name], value)
}

func (f Filter) matchesLabels(labels map[string]string) bool {
	for _, wanted := range f["label"] {
		name, _, _ := strings.Cut(wanted, "=")
		if value, has := labels[name]; !has || !slices.Contains(f["label"], name+"="+value) {
			return false
		}
	}
	return true
}

// Server reports whether the filter selects a server.
func (f Filter) Server(v *collector.ServerView) bool { return f.matches("server", v.Name) }

// Repository reports whether the filter selects a repository.
func (f Filter) Repository(v *collector.RepositoryView) bool {
	return f.matches("server", v.Server) && f.matches("repository", v.Name) && f.matchesLabels(v.Labels)
}

// Import reports whether the filter selects an import.
func (f Filter) Import(v *collector.ImportView) bool {
	return f.matches("state", string(v.State)) && f.ImportInAnyState(v)
}

// ImportInAnyState reports whether everything in the filter but its states
// selects an import.
func (f Filter) ImportInAnyState(v *collector.ImportView) bool {
	return f.matches("server", v.Server) && f.matches("repository", v.Repository) && f.matches("branch", v.Branch) &&
		f.matches("source", v.Origin.String()) && f.matchesLabels(v.Labels)
}
