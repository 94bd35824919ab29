package page

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"lakefs_import_exporter/collector"
)

const (
	// pageURL is the URL of the page relative to itself, so that it works behind
	// a proxy that adds a prefix to the path.
	pageURL = "imports"
	// maxQueryBytes and maxTextBytes bound the work of one request: every link
	// repeats the query, and every word is searched for in every import.
	maxQueryBytes = 4096
	maxTextBytes  = 256
)

// query is what the URL of the page asks for: its parameters that are neither
// empty nor the default.
//
//	q           words that must all occur somewhere in an import
//	state       the states to show; all if there is none
//	server
//	repository
//	label       NAME=VALUE; an import must have all of them
//	sort        the Name of a column
//	order       asc or desc
//	page        counts from 1
type query struct{ url.Values }

// defaults are the parameters of a query, and their default values.
var defaults = map[string]string{
	"q": "", "state": "", "server": "", "repository": "", "label": "",
	"sort": defaultColumn, "order": "asc", "page": "1",
}

// parseQuery drops the parameters that the page does not know, and those that
// say nothing: a form sends its empty fields, too.
func parseQuery(values url.Values) query {
	q := query{url.Values{}}
	for name, given := range values {
		byDefault, known := defaults[name]
		for _, value := range given {
			if known && value != "" && value != byDefault {
				q.Add(name, value)
			}
		}
	}
	return q
}

// url returns the relative URL of the page that shows q.
func (q query) url() string {
	if len(q.Values) == 0 {
		return pageURL
	}
	return pageURL + "?" + q.Encode()
}

// with returns the URL of q after a change, at its first page. The change must
// replace values, not add to them.
func (q query) with(change func(url.Values)) string {
	changed := maps.Clone(q.Values)
	changed.Del("page")
	change(changed)
	for name, value := range defaults {
		if changed.Get(name) == value {
			changed.Del(name)
		}
	}
	return query{changed}.url()
}

// toggle returns the URL of q with a value of a parameter added, or removed.
func (q query) toggle(name, value string) string {
	return q.with(func(values url.Values) {
		others := slices.DeleteFunc(slices.Clone(values[name]), func(v string) bool { return v == value })
		if len(others) == len(values[name]) {
			others = append(others, value)
		}
		values[name] = others
	})
}

// has reports whether a parameter has a value.
func (q query) has(name, value string) bool { return slices.Contains(q.Values[name], value) }

// unfiltered returns the URL of all imports in the order of q.
func (q query) unfiltered() string {
	return parseQuery(url.Values{"sort": q.Values["sort"], "order": q.Values["order"]}).url()
}

// page returns the number of the page, from 1.
func (q query) page() int {
	n, _ := strconv.Atoi(q.Get("page"))
	return max(1, n)
}

// onPage returns the URL of another page of q.
func (q query) onPage(n int) string {
	return q.with(func(values url.Values) { values.Set("page", strconv.Itoa(n)) })
}

// Desc reports whether q sorts in descending order.
func (q query) Desc() bool { return q.Get("order") == "desc" }

// column returns what q sorts by.
func (q query) column() *column {
	name := q.Get("sort")
	i := slices.IndexFunc(columns, func(c column) bool { return name != "" && c.Name == name })
	return &columns[max(0, i)]
}

// sortBy returns the URL of q sorted by c, in reverse if it already is.
func (q query) sortBy(c *column) string {
	desc := c.desc
	if q.column() == c {
		desc = !q.Desc()
	}
	return q.with(func(values url.Values) {
		values.Set("sort", c.Name)
		values.Del("order")
		if desc {
			values.Set("order", "desc")
		}
	})
}

// matcher returns a function that reports whether an import matches everything
// in q but its states.
func (q query) matcher() func(*collector.ImportView) bool {
	server, repository, text := q.Get("server"), q.Get("repository"), q.Get("q")
	words := strings.Fields(strings.ToLower(text[:min(len(text), maxTextBytes)]))
	return func(v *collector.ImportView) bool {
		if server != "" && server != v.Server || repository != "" && repository != v.Repository {
			return false
		}
		for _, label := range q.Values["label"] {
			name, want, _ := strings.Cut(label, "=")
			if value, ok := v.Labels[name]; !ok || value != want {
				return false
			}
		}
		if len(words) == 0 {
			return true
		}
		text := searchText(v)
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	}
}

// searchText returns the text that is searched, in lower case.
func searchText(v *collector.ImportView) string {
	parts := []string{
		v.Ref().String(), v.Server, string(v.Origin), string(v.State),
		v.ErrorMessage, string(v.ErrorReason), v.CommitID,
	}
	if !v.PollSuccess() {
		parts = append(parts, string(v.Poll.Result), v.Poll.Message)
	}
	for name, value := range v.Labels {
		parts = append(parts, name+"="+value)
	}
	return strings.ToLower(strings.Join(parts, "\n"))
}
