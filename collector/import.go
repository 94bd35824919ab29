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

	"lakefs_import_exporter/lakefs"
)

// DefaultNoProgressAfter is how long the count of an import may rest before
// that is worth a look, where nobody says otherwise.
const DefaultNoProgressAfter = 30 * time.Minute

// Key identifies an import. What is remembered of an import belongs to its Key.
type Key struct {
	Server string
	lakefs.Ref
}

func compareKeys(a, b Key) int {
	return cmp.Or(
		cmp.Compare(a.Server, b.Server),
		cmp.Compare(a.Repository, b.Repository),
		cmp.Compare(a.Branch, b.Branch),
		cmp.Compare(a.ID, b.ID),
	)
}

// Import is an import to watch. Whoever makes one calls Validate before handing
// it on; this package takes validated values only, and does not change them.
type Import struct {
	Key
	// ExpectedObjects is how many objects the import will ingest; 0 if unknown.
	ExpectedObjects int64
	// NoProgressAfter is how long the count may rest before that is worth a look.
	NoProgressAfter time.Duration
	// Labels are added to every series of the import.
	Labels map[string]string
}

// Validate reports the first thing about i that would make a bad request to
// lakeFS or a bad series. It does not know which servers exist.
func (i Import) Validate() error {
	if i.Server == "" {
		return errors.New("server is missing")
	}
	if err := i.Ref.Validate(); err != nil {
		return err
	}
	if i.ExpectedObjects < 0 {
		return fmt.Errorf("expected_objects %d: must be positive", i.ExpectedObjects)
	}
	if i.NoProgressAfter <= 0 {
		return fmt.Errorf("no_progress_after %s: must be positive", i.NoProgressAfter)
	}
	return ValidateLabels(i.Labels)
}

// reservedLabels have a meaning in our series, in Prometheus or in Alertmanager.
var reservedLabels = []string{
	"alertname", "branch", "commit_id", "file", "import_id", "instance", "job", "le", "message",
	"metarange_id", "quantile", "repository", "result", "server", "severity", "source",
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

// Server is a lakeFS server to poll.
type Server struct {
	// Name is the value of the label "server".
	Name   string
	Client *lakefs.Client
	// Timeout bounds one request.
	Timeout time.Duration
	// MaxConcurrentRequests bounds the requests under way at once.
	MaxConcurrentRequests int
}

// Config is what a Collector works by until the next one is applied.
type Config struct {
	// Servers have distinct names.
	Servers []Server
	// Imports are distinct by Key, each of one of Servers.
	Imports []Import
	// Repositories are distinct by server and name, each of one of Servers.
	Repositories []Repository
	// Files may be nil.
	Files Source
}

// Source hands out the imports of files, which come and go between reloads.
type Source interface {
	// Load looks at the files and returns what stands in them now. It is called
	// at every scrape, never twice at once, and must be quick when nothing
	// has changed; it then returns the same Version. The result is not changed
	// afterwards, by either side.
	Load() FileSet
}

// FileSet is what stands in a Source at one time.
type FileSet struct {
	// Version differs from that of any earlier FileSet with other Imports of
	// the same Source.
	Version uint64
	// Imports are distinct by Key, each of a configured server. A file that
	// does not load stands with its last good content.
	Imports []Import
	// Failed tells for every file, by name, whether it does not load now.
	Failed map[string]bool
}
