package web

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"lakefs_import_exporter/collector"
)

// pageURL is where the status page is, relative to itself, so that it works
// behind a proxy that adds a prefix to the path.
const pageURL = "imports"

// The parameters of the status page's URL.
const (
	textParam       = "q"
	stateParam      = "state"
	serverParam     = "server"
	repositoryParam = "repository"
	labelParam      = "label"
	sortParam       = "sort"
	orderParam      = "order"
	pageParam       = "page"
)

const (
	// maxSearchBytes bounds the work of a search.
	maxSearchBytes = 256
	// maxLabelFilters does too.
	maxLabelFilters = 20
)

// pageQuery is what the URL of the status page asks for. Its zero value, but
// for the page, is all imports in the order in which they need a person.
type pageQuery struct {
	// Text has words that must all stand somewhere in an import.
	Text string
	// States are those to show, in the order of collector.States; all if empty.
	States             []collector.State
	Server, Repository string
	// Labels are NAME=VALUE, sorted. An import must have all of them.
	Labels []string
	// Column is what is sorted by; empty for the state.
	Column string
	Desc   bool
	// Page counts from 1.
	Page int
}

// parsePageQuery reads a query. What it does not understand, it leaves out: the
// page says which filters are in force.
func parsePageQuery(values url.Values) pageQuery {
	q := pageQuery{
		Text:       strings.Join(strings.Fields(validPrefix(values.Get(textParam), maxSearchBytes)), " "),
		Server:     validPrefix(values.Get(serverParam), maxSearchBytes),
		Repository: validPrefix(values.Get(repositoryParam), maxSearchBytes),
		Desc:       values.Get(orderParam) == "desc",
		Page:       1,
	}
	for _, state := range collector.States() {
		if slices.Contains(values[stateParam], string(state)) {
			q.States = append(q.States, state)
		}
	}
	for _, label := range values[labelParam] {
		// The value of a label may be empty, its name may not.
		if label = strings.ToValidUTF8(label, "\uFFFD"); strings.Index(label, "=") > 0 {
			q.Labels = append(q.Labels, label)
		}
	}
	slices.Sort(q.Labels)
	q.Labels = slices.Compact(q.Labels)
	q.Labels = q.Labels[:min(len(q.Labels), maxLabelFilters)]
	if name := values.Get(sortParam); name != defaultColumn && columnNamed(name) != nil {
		q.Column = name
	}
	if n, err := strconv.Atoi(values.Get(pageParam)); err == nil && n > 1 {
		q.Page = n
	}
	return q
}

// validPrefix returns the valid part of the first limit bytes of s.
func validPrefix(s string, limit int) string {
	return strings.ToValidUTF8(s[:min(len(s), limit)], "")
}

// values returns q in its one canonical form, without what goes without saying.
func (q pageQuery) values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set(textParam, q.Text)
	for _, state := range q.States {
		v.Add(stateParam, string(state))
	}
	set(serverParam, q.Server)
	set(repositoryParam, q.Repository)
	for _, label := range q.Labels {
		v.Add(labelParam, label)
	}
	set(sortParam, q.Column)
	if q.Desc {
		v.Set(orderParam, "desc")
	}
	if q.Page > 1 {
		v.Set(pageParam, strconv.Itoa(q.Page))
	}
	return v
}

// url returns the relative URL of the page that shows q.
func (q pageQuery) url() string {
	if v := q.values(); len(v) > 0 {
		return pageURL + "?" + v.Encode()
	}
	return pageURL
}

// canonical reports whether values are those of q, for all parameters that the
// page knows. Others may come from a proxy, which would add them again.
func (q pageQuery) canonical(values url.Values) bool {
	own := q.values()
	for _, name := range []string{
		textParam, stateParam, serverParam, repositoryParam, labelParam, sortParam, orderParam, pageParam,
	} {
		if !slices.Equal(own[name], values[name]) {
			return false
		}
	}
	return true
}

// but returns the URL of q with a change, at its first page.
func (q pageQuery) but(change func(*pageQuery)) string {
	q.Page = 1
	change(&q)
	return q.url()
}

// onPage returns the URL of another page of q.
func (q pageQuery) onPage(n int) string {
	q.Page = n
	return q.url()
}

// toggleState returns the URL of q with state added to the filter, or taken out.
func (q pageQuery) toggleState(state collector.State) string {
	return q.but(func(q *pageQuery) {
		var states []collector.State
		for _, s := range collector.States() {
			if slices.Contains(q.States, s) != (s == state) {
				states = append(states, s)
			}
		}
		q.States = states
	})
}

// toggleLabel returns the URL of q with label added to the filter, or taken out.
func (q pageQuery) toggleLabel(label string) string {
	return q.but(func(q *pageQuery) {
		if i := slices.Index(q.Labels, label); i >= 0 {
			q.Labels = slices.Delete(slices.Clone(q.Labels), i, i+1)
			return
		}
		q.Labels = append(slices.Clone(q.Labels), label)
		slices.Sort(q.Labels)
	})
}

// sortBy returns the URL of q sorted by c: the other way round if it is already.
func (q pageQuery) sortBy(c *pageColumn) string {
	return q.but(func(q *pageQuery) {
		if q.column() == c {
			q.Desc = !q.Desc
			return
		}
		q.Column, q.Desc = c.name, c.desc
		if c.name == defaultColumn {
			q.Column = ""
		}
	})
}

// column returns what q sorts by.
func (q pageQuery) column() *pageColumn {
	if c := columnNamed(q.Column); c != nil {
		return c
	}
	return columnNamed(defaultColumn)
}

// filtered reports whether q leaves any import out.
func (q pageQuery) filtered() bool {
	return q.Text != "" || len(q.States) > 0 || q.Server != "" || q.Repository != "" || len(q.Labels) > 0
}
