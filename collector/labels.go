package collector

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// reservedLabels have a meaning in our series, in Prometheus or in Alertmanager.
var reservedLabels = []string{
	"alertname", "branch", "cluster", "commit_id", "file", "import_id", "instance", "job", "le", "message",
	"metarange_id", "namespace", "outcome", "quantile", "reason", "repository", "result", "server", "severity",
	"source", "state",
}

var labelNamePattern = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// ValidateLabels reports the user's labels that could not be added to a series, by
// name, each on a line.
func ValidateLabels(labels map[string]string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		switch {
		case !labelNamePattern.MatchString(name):
			errs = append(errs, fmt.Errorf("label %q: must match %s", name, labelNamePattern))
		case strings.HasPrefix(name, "__"):
			errs = append(errs, fmt.Errorf("label %q: names that begin with __ are reserved", name))
		case slices.Contains(reservedLabels, name):
			errs = append(errs, fmt.Errorf("label %q: the name is reserved", name))
		case !utf8.ValidString(labels[name]):
			errs = append(errs, fmt.Errorf("label %q: value %q is not valid UTF-8", name, labels[name]))
		}
	}
	return errors.Join(errs...)
}

// seriesLabel is a label of a series.
type seriesLabel struct{ name, value string }

func sortLabels(labels []seriesLabel) {
	slices.SortFunc(labels, func(a, b seriesLabel) int { return strings.Compare(a.name, b.name) })
}

// userLabels returns fixed labels and a user's, by name.
func userLabels(user map[string]string, fixed ...seriesLabel) []seriesLabel {
	for name, value := range user {
		fixed = append(fixed, seriesLabel{name, value})
	}
	sortLabels(fixed)
	return fixed
}

// labelBlock returns labels as the text formats have them, without the closing
// brace.
func labelBlock(labels []seriesLabel) string {
	return string(appendLabels([]byte{'{'}, labels))
}

var valueEscaper = strings.NewReplacer("\\", `\\`, "\n", `\n`, `"`, `\"`)

// appendLabels appends labels to those at the end of b.
func appendLabels(b []byte, labels []seriesLabel) []byte {
	for _, l := range labels {
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(append(b, l.name...), '=', '"')
		value := l.value
		if strings.ContainsAny(value, "\\\n\"") {
			value = valueEscaper.Replace(value)
		}
		b = append(append(b, value...), '"')
	}
	return b
}
