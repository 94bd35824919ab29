package page

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"lakefs_import_exporter/lakefs"
)

// node is an element of a page.
type node struct{ *html.Node }

// all returns the elements below n that match a selector: TAG, .CLASS or #ID.
func (n node) all(selector string) []node {
	if n.Node == nil {
		return nil
	}
	var found []node
	for d := range n.Descendants() {
		e := node{d}
		class, isClass := strings.CutPrefix(selector, ".")
		if d.Type == html.ElementNode && (d.Data == selector || "#"+e.attr("id") == selector ||
			isClass && slices.Contains(strings.Fields(e.attr("class")), class)) {
			found = append(found, e)
		}
	}
	return found
}

// one returns the first element that matches; the zero node if there is none.
func (n node) one(selector string) node {
	for _, found := range n.all(selector) {
		return found
	}
	return node{}
}

func (n node) attr(name string) string {
	if n.Node != nil {
		for _, a := range n.Attr {
			if a.Key == name {
				return a.Val
			}
		}
	}
	return ""
}

// text returns the text in n, with single spaces.
func (n node) text() string {
	if n.Node == nil {
		return ""
	}
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		} else if slices.Contains([]string{"span", "p", "td", "th", "li", "a"}, d.Data) {
			b.WriteString(" ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func (n node) rows() []node { return n.one("tbody").all("tr") }

// row returns the row of an import.
func (n node) row(ref lakefs.Ref) node {
	for _, row := range n.rows() {
		if strings.HasSuffix(row.attr("data-key"), "/"+ref.Repository+"/"+ref.ID) {
			return row
		}
	}
	return node{}
}

// states returns the states of the page's rows, in order, with the server dev
// marked.
func (n node) states() string {
	var states []string
	for _, row := range n.rows() {
		state := row.attr("data-state")
		if strings.HasPrefix(row.attr("data-key"), "dev/") {
			state = "dev:" + state
		}
		states = append(states, state)
	}
	return strings.Join(states, " ")
}

// follow returns the path of the link in n that has the text.
func (n node) follow(t testing.TB, text string) string {
	t.Helper()
	var have []string
	for _, a := range n.all("a") {
		if a.text() == text {
			return "/" + a.attr("href")
		}
		have = append(have, a.text())
	}
	t.Fatalf("no link %q among %q", text, have)
	return ""
}
