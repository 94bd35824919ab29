package page

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/filter"
)

const (
	// maxQueryBytes and maxTextBytes bound the work of one request: every link
	// repeats the query, and every word is searched for in every import.
	maxQueryBytes = 4096
	maxTextBytes  = 256
)

// query is what the URL of the page asks for: its parameters that are neither
// empty nor the default. They are those of a filter.Filter and
//
//	q      words that must all occur somewhere in an import
//	sort   the Name of a column
//	order  asc or desc
//	page   counts from 1
type query struct{ url.Values }

// defaults are the default values of the parameters that are not of a filter.
var defaults = map[string]string{"q": "", "sort": defaultColumn, "order": "asc", "page": "1"}

// parseQuery drops the parameters that the page does not know, and those that
// say nothing: a form sends its empty fields, too.
func parseQuery(values url.Values) query {
	q := query{url.Values{}}
	for _, name := range slices.AppendSeq(filter.Parameters(), maps.Keys(defaults)) {
		for _, value := range values[name] {
			if value != "" && value != defaults[name] {
				q.Add(name, value)
			}
		}
	}
	return q
}

// URL returns the URL of the page that shows q. It is relative, for proxies that
// add a prefix to the path.
func (q query) URL() string { return strings.TrimSuffix("imports?"+q.Encode(), "?") }

// filterValues returns the parameters of q that the API has, too.
func (q query) filterValues() url.Values {
	values := maps.Clone(q.Values)
	for name := range defaults {
		values.Del(name)
	}
	return values
}

// JSON returns the URL of the API with the same filters.
func (q query) JSON() string {
	return strings.TrimSuffix("api/v1/imports?"+q.filterValues().Encode(), "?")
}

// With returns the URL of q with the only values of a parameter, at its first page.
func (q query) With(name string, values ...string) string {
	changed := maps.Clone(q.Values)
	changed.Del("page")
	changed[name] = values
	return parseQuery(changed).URL()
}

// Toggle returns the URL of q with a value of a parameter added, or removed.
func (q query) Toggle(name, value string) string {
	others := slices.DeleteFunc(slices.Clone(q.Values[name]), func(v string) bool { return v == value })
	if len(others) == len(q.Values[name]) {
		others = append(others, value)
	}
	return q.With(name, others...)
}

// Includes reports whether a parameter has a value.
func (q query) Includes(name, value string) bool { return slices.Contains(q.Values[name], value) }

// Unfiltered returns the URL of all imports in the order of q.
func (q query) Unfiltered() string {
	return parseQuery(url.Values{"sort": q.Values["sort"], "order": q.Values["order"]}).URL()
}

// Filtered reports whether q does not show all imports.
func (q query) Filtered() bool { return q.Unfiltered() != q.With("page") }

// Desc reports whether q sorts in descending order.
func (q query) Desc() bool { return q.Get("order") == "desc" }

// column returns what q sorts by.
func (q query) column() *column {
	name := cmp.Or(q.Get("sort"), defaultColumn)
	i := slices.IndexFunc(columns, func(c column) bool { return c.Name == name })
	return &columns[max(0, i)]
}

// Sorted returns the value of aria-sort of a column; "" if q does not sort by it.
func (q query) Sorted(c column) string {
	switch {
	case c.Name != q.column().Name:
		return ""
	case q.Desc():
		return "descending"
	default:
		return "ascending"
	}
}

// SortBy returns the URL of q sorted by c, in reverse if it already is.
func (q query) SortBy(c column) string {
	changed := query{maps.Clone(q.Values)}
	changed.Del("order")
	if sorted := q.Sorted(c); sorted == "ascending" || sorted == "" && c.desc {
		changed.Set("order", "desc")
	}
	return changed.With("sort", c.Name)
}

// searched returns the words that are searched for, in lower case.
func (q query) searched() []string {
	text := q.Get("q")
	return strings.Fields(strings.ToLower(text[:min(len(text), maxTextBytes)]))
}

// contains reports whether every word occurs in v.
func contains(v *collector.ImportView, searched []string) bool {
	if len(searched) == 0 {
		return true
	}
	parts := []string{
		v.Ref().String(), v.Server, v.Origin.String(), string(v.State), words(v.State),
		v.ErrorMessage, string(v.ErrorReason), v.CommitID,
	}
	if !v.PollSuccess() {
		parts = append(parts, string(v.Poll.Result), v.Poll.Message)
	}
	for name, value := range v.Labels {
		parts = append(parts, name+"="+value)
	}
	text := strings.ToLower(strings.Join(parts, "\n"))
	return !slices.ContainsFunc(searched, func(word string) bool { return !strings.Contains(text, word) })
}
