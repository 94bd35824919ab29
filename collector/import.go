package collector

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-kit/log"

	"lakefs_import_exporter/lakefs"
)

// DefaultNoProgressAfter is the NoProgressAfter of an import that has none of
// its own.
const DefaultNoProgressAfter = 30 * time.Minute

// Key identifies an import as lakeFS does: by repository and ID. What is
// remembered of an import belongs to its Key.
type Key struct{ Server, Repository, ID string }

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.ID, b.ID))
}

// logger returns l with the name of the import.
func (k Key) logger(l log.Logger) log.Logger {
	return log.With(l, "server", k.Server, "repository", k.Repository, "import_id", k.ID)
}

// Import is an import to watch. Callers validate it before they hand it to this
// package, which does not change it.
type Import struct {
	Key
	// Branch is lakefs.UnknownBranch where it is not known.
	Branch string
	// ExpectedObjects is how many objects the import will ingest; 0 if unknown.
	ExpectedObjects int64
	// NoProgressAfter is how long the count of objects may stay the same before
	// the import is hung.
	NoProgressAfter time.Duration
	// MaxDuration is how long the import may run at all; 0 if unlimited.
	MaxDuration time.Duration
	// Labels are added to every series of the import.
	Labels map[string]string
}

func (k Key) key() Key { return k }

// Ref returns the name of the import within its server.
func (i *Import) Ref() lakefs.Ref {
	return lakefs.Ref{Repository: i.Repository, Branch: i.Branch, ID: i.ID}
}

// Validate reports the first thing about i that would make a bad request to
// lakeFS or a bad series. It does not know which servers exist.
func (i *Import) Validate() error {
	if i.Server == "" {
		return errors.New("server is missing")
	}
	if err := i.Ref().Validate(); err != nil {
		return err
	}
	switch {
	case i.ExpectedObjects < 0:
		return fmt.Errorf("expected_objects %d: must be positive", i.ExpectedObjects)
	case i.NoProgressAfter <= 0:
		return fmt.Errorf("no_progress_after %s: must be positive", i.NoProgressAfter)
	case i.MaxDuration < 0:
		return fmt.Errorf("max_duration %s: must be positive", i.MaxDuration)
	}
	return ValidateLabels(i.Labels)
}

// equal reports whether i and other are the same in everything.
func (i *Import) equal(other *Import) bool {
	return i.Key == other.Key && i.Branch == other.Branch && i.ExpectedObjects == other.ExpectedObjects &&
		i.NoProgressAfter == other.NoProgressAfter && i.MaxDuration == other.MaxDuration &&
		maps.Equal(i.Labels, other.Labels)
}

// labelBytes returns how long the labels are.
func (i *Import) labelBytes() (n int) {
	for name, value := range i.Labels {
		n += len(name) + len(value)
	}
	return n
}

// reservedLabels have a meaning in our series, in Prometheus or in Alertmanager.
var reservedLabels = []string{
	"alertname", "branch", "cluster", "commit_id", "file", "import_id", "instance", "job", "le", "message",
	"metarange_id", "namespace", "outcome", "quantile", "reason", "repository", "result", "server", "severity",
	"source", "state",
}

var labelNamePattern = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// ValidateLabels reports the first, by name, of a user's labels that could not
// be added to a series.
func ValidateLabels(labels map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		switch {
		case !labelNamePattern.MatchString(name):
			return fmt.Errorf("label %q: must match %s", name, labelNamePattern)
		case strings.HasPrefix(name, "__"):
			return fmt.Errorf("label %q: names that begin with __ are reserved", name)
		case slices.Contains(reservedLabels, name):
			return fmt.Errorf("label %q: the name is reserved", name)
		case !utf8.ValidString(labels[name]):
			return fmt.Errorf("label %q: value %q is not valid UTF-8", name, labels[name])
		}
	}
	return nil
}

// Origin is where an import to watch comes from: a value of the label "source".
type Origin string

// The origins.
const (
	FromConfig    Origin = "config"
	FromFile      Origin = "file"
	FromAPI       Origin = "api"
	FromDiscovery Origin = "discovery"
)

// origins are in order of precedence: where several name the same import, the
// first wins.
var origins = [...]Origin{wantedByConfig: FromConfig, wantedByFile: FromFile, wantedByAPI: FromAPI, wantedByDiscovery: FromDiscovery}

const (
	wantedByConfig = iota
	wantedByFile
	wantedByAPI
	wantedByDiscovery
)
