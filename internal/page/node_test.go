package page

import (
	"regexp"
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
	return strings.Join(strings.Fields(strings.ReplaceAll(n.lines(), "| ", "")), " ")
}

// lines returns the text in n: a line for each row, paragraph and item, with the
// names of shapes in brackets, and where links lead out of the page.
func (n node) lines() string {
	if n.Node == nil {
		return ""
	}
	var b strings.Builder
	n.write(&b)
	lines := strings.Split(volatile.ReplaceAllString(b.String(), "$1…$2"), "\n")
	for i := range lines {
		lines[i] = strings.Join(strings.Fields(lines[i]), " ")
	}
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return line == "" }), "\n") + "\n"
}

// volatile are ports, and which of several writes to a broken storage was last.
var volatile = regexp.MustCompile(`(http://127\.0\.0\.1:)\d+|storing [a-z0-9 /]+(: disk full)`)

func (n node) write(b *strings.Builder) {
	switch {
	case n.Type == html.TextNode:
		b.WriteString(strings.ReplaceAll(n.Data, "\n", " "))
	case n.Data == "use":
		b.WriteString("[" + strings.TrimPrefix(n.attr("href"), "#i-") + "] ")
	case n.Data == "progress" || n.Data == "symbol" || n.Data == "option":
		return
	case slices.Contains([]string{"h1", "h2", "p", "li", "tr", "section", "form", "label", "dt", "pre", "footer"}, n.Data):
		b.WriteString("\n")
	case n.Data == "td" || n.Data == "th":
		b.WriteString(" | ")
	case n.Data == "span" && (n.attr("class") == "sub" || n.attr("class") == "ids"):
		b.WriteString(" ")
	}
	for child := range n.ChildNodes() {
		node{child}.write(b)
	}
	if href := n.attr("href"); strings.HasPrefix(href, "http") {
		b.WriteString(" <" + href + ">")
	}
}

// rows returns the rows of imports.
func (n node) rows() []node {
	return slices.DeleteFunc(n.all("tr"), func(row node) bool { return row.attr("data-state") == "" })
}

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
