package lakefs

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/rs/xid"
)

// UnknownBranch is the branch of an import whose branch is not known: no
// branch of lakeFS can be called that.
const UnknownBranch = "-"

// maxBranchBytes is our own bound: lakeFS has none.
const maxBranchBytes = 1024

// lakeFS's own patterns, from pkg/graveler of its source. The pattern of an
// ID is ours: lakeFS hands out xids, older documentation shows UUIDs.
var (
	repositoryPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{2,62}$`)
	branchPattern     = regexp.MustCompile(`^\w[-\w]*$`)
	idPattern         = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
)

// Ref names one import within a lakeFS server.
type Ref struct {
	Repository string
	// Branch may be UnknownBranch: lakeFS looks an import up by repository and
	// ID alone.
	Branch string
	ID     string
}

// String returns REPOSITORY/BRANCH/ID, which is unambiguous because none of
// the three can contain a slash.
func (r Ref) String() string {
	return r.Repository + "/" + r.Branch + "/" + r.ID
}

// Validate reports the parts of r that lakeFS could not have given, each on a line.
func (r Ref) Validate() error {
	var branch error
	switch {
	case len(r.Branch) > maxBranchBytes:
		branch = fmt.Errorf("branch is longer than %d bytes", maxBranchBytes)
	case r.Branch != UnknownBranch:
		branch = validate("branch", r.Branch, branchPattern)
	}
	return errors.Join(ValidateRepository(r.Repository), branch, validate("id", r.ID, idPattern))
}

// ValidateRepository returns an error unless lakeFS accepts name for a repository.
func ValidateRepository(name string) error {
	return validate("repository", name, repositoryPattern)
}

func validate(what, value string, pattern *regexp.Regexp) error {
	switch {
	case value == "":
		return fmt.Errorf("%s is missing", what)
	case !pattern.MatchString(value):
		return fmt.Errorf("%s %q: must match %s", what, value, pattern)
	}
	return nil
}

// StartTime returns when the import with this ID was started, to the second, by
// lakeFS's clock, and true if the ID is an xid: its first four bytes are that
// time. It returns false for any other ID.
func StartTime(id string) (time.Time, bool) {
	x, err := xid.FromString(id)
	if err != nil {
		return time.Time{}, false
	}
	return x.Time().UTC(), true
}
