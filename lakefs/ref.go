package lakefs

import (
	"fmt"
	"regexp"
	"time"

	"github.com/rs/xid"
)

// lakeFS's own patterns, from pkg/graveler of its source. The pattern of an
// ID is ours: lakeFS hands out xids, older documentation shows UUIDs.
var (
	repositoryPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{2,62}$`)
	branchPattern     = regexp.MustCompile(`^\w[-\w]*$`)
	importIDPattern   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
)

// Ref names one import within a lakeFS server.
type Ref struct {
	Repository string
	// Branch is part of the name although lakeFS looks an import up by
	// repository and ID alone.
	Branch string
	ID     string
}

// String returns REPOSITORY/BRANCH/ID, which is unambiguous because none of
// the three can hold a slash.
func (r Ref) String() string {
	return r.Repository + "/" + r.Branch + "/" + r.ID
}

// Validate reports the first part of r that lakeFS could not have given.
func (r Ref) Validate() error {
	if err := ValidateRepository(r.Repository); err != nil {
		return err
	}
	if !branchPattern.MatchString(r.Branch) {
		return fmt.Errorf("branch %q: must match %s", r.Branch, branchPattern)
	}
	if !importIDPattern.MatchString(r.ID) {
		return fmt.Errorf("id %q: must match %s", r.ID, importIDPattern)
	}
	return nil
}

// ValidateRepository reports whether lakeFS would accept name for a repository.
func ValidateRepository(name string) error {
	if !repositoryPattern.MatchString(name) {
		return fmt.Errorf("repository %q: must match %s", name, repositoryPattern)
	}
	return nil
}

// StartTime returns when the import was started, to the second, and true if
// its ID is an xid, whose first four bytes are that time by lakeFS's clock.
// It returns false for any other ID.
func (r Ref) StartTime() (time.Time, bool) {
	id, err := xid.FromString(r.ID)
	if err != nil {
		return time.Time{}, false
	}
	return id.Time().UTC(), true
}
