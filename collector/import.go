package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
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

// repository returns the Key of the import's repository.
func (k Key) repository() Key { return Key{Server: k.Server, Repository: k.Repository} }

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

// Ref returns the name of the import within its server.
func (i *Import) Ref() lakefs.Ref {
	return lakefs.Ref{Repository: i.Repository, Branch: i.Branch, ID: i.ID}
}

// Validate reports what would make a bad request to lakeFS or a bad series, each on
// a line. It does not know which servers exist.
func (i *Import) Validate() error {
	if i.Server == "" {
		return errors.New("server is missing")
	}
	var limit error
	switch {
	case i.ExpectedObjects < 0:
		limit = fmt.Errorf("expected_objects %d: must be positive", i.ExpectedObjects)
	case i.NoProgressAfter <= 0:
		limit = fmt.Errorf("no_progress_after %s: must be positive", i.NoProgressAfter)
	case i.MaxDuration < 0:
		limit = fmt.Errorf("max_duration %s: must be positive", i.MaxDuration)
	}
	return errors.Join(i.Ref().Validate(), limit, ValidateLabels(i.Labels))
}

// labelBytes returns how long the labels are.
func (i *Import) labelBytes() (n int) {
	for name, value := range i.Labels {
		n += len(name) + len(value)
	}
	return n
}

// Registration is an import that was registered with the API.
type Registration struct {
	Import
	// At is when it was first registered, by the exporter's clock.
	At time.Time
}

// ConflictError is why an import cannot be registered or unregistered: it
// contradicts what is configured or watched now.
type ConflictError string

// Error implements error.
func (e ConflictError) Error() string { return string(e) }

// Repository is a repository whose newest import is to be watched, no matter
// who started it. Callers validate it before they hand it to this package.
type Repository struct {
	Server string
	Name   string
	// MaxImportAge is how old the newest import may get; 0 if unlimited.
	MaxImportAge time.Duration
	// Labels are added to every series of the repository.
	Labels map[string]string
}

// Validate reports what would make a bad request to lakeFS or a bad series, each on
// a line. It does not know which servers exist.
func (r *Repository) Validate() error {
	var limit error
	if r.MaxImportAge < 0 {
		limit = fmt.Errorf("max_import_age %s: must be positive", r.MaxImportAge)
	}
	return errors.Join(lakefs.ValidateRepository(r.Name), limit, ValidateLabels(r.Labels))
}

func (r *Repository) key() Key { return Key{Server: r.Server, Repository: r.Name} }

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

// Origin is where an import to watch comes from. Where several name the same
// import, the first of them wins.
type Origin uint8

// The origins, in order of precedence.
const (
	FromConfig Origin = iota
	FromFile
	FromAPI
	FromDiscovery
)

var origins = [...]string{FromConfig: "config", FromFile: "file", FromAPI: "api", FromDiscovery: "discovery"}

// String returns the value of the label "source".
func (o Origin) String() string { return origins[o] }

// Discovery finds the imports of a server, no matter who started them.
type Discovery interface {
	// Run hands over the result of each refresh until ctx is done: all imports
	// to watch, distinct and of the server, and how many were left out because
	// there are too many; or why the refresh failed.
	Run(ctx context.Context, refreshed func(found []Import, dropped int, err error))
	// Describe returns how an import of the server is to be watched, and false
	// if it is not.
	Describe(repository, id string) (Import, bool)
}

// Shard is one of several exporters that share the same imports and
// repositories by a hash, so that each is polled by exactly one.
type Shard struct {
	// Index is from 0 to Total - 1.
	Index uint64
	// Total is how many exporters there are; 0 means one, as 1 does.
	Total uint64
}

// Validate reports whether there can be such a shard.
func (s Shard) Validate() error {
	if s.Index >= max(s.Total, 1) {
		return fmt.Errorf("shard %d: must be less than the total of %d shards", s.Index, max(s.Total, 1))
	}
	return nil
}

// owns reports whether an import belongs to s, or with an empty ID a repository.
func (s Shard) owns(k Key) bool {
	if s.Total <= 1 {
		return true
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.Join([]string{k.Server, k.Repository, k.ID}, "\x00")))
	return h.Sum64()%s.Total == s.Index
}
