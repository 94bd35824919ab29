package lakefs

import "strings"

// Reason is a bounded word for why an import ended with an error.
type Reason string

// The reasons.
const (
	SourceNotFound   Reason = "source_not_found"
	PermissionDenied Reason = "permission_denied"
	DirtyBranch      Reason = "dirty_branch"
	ReadOnly         Reason = "read_only"
	Hook             Reason = "hook"
	CanceledByUser   Reason = "canceled"
	Shutdown         Reason = "shutdown"
	OtherReason      Reason = "other"
)

// What lakeFS puts before the texts of others (catalog.importAsync).
const (
	importPrefix = "import error: "
	ingestPrefix = "error on ingest: "
)

// reasonTexts has, in the order in which they are looked for, what the texts of
// lakeFS, Go and the object stores contain. Those of hooks are first: the
// output of a hook may contain anything.
var reasonTexts = []struct {
	reason Reason
	texts  []string
}{
	{Hook, []string{" hook aborted, run id '"}},
	{DirtyBranch, []string{"uncommitted changes (dirty branch)"}},
	{ReadOnly, []string{"read-only repository"}},
	{Shutdown, []string{"context canceled", "import closed", "pebble: closed"}},
	{PermissionDenied, []string{
		"permission denied", "operation not permitted", // Go
		": forbidden", "bad path traversal blocked", // lakeFS, local block store
		"AccessDenied", "StatusCode: 403", // S3
		"googleapi: Error 403", // Google Cloud Storage
		"RESPONSE 403",         // Azure
	}},
	{SourceNotFound, []string{
		"no such file or directory",                    // Go
		"NoSuchBucket", "NoSuchKey", "StatusCode: 404", // S3
		"googleapi: Error 404", "storage: bucket doesn't exist", "storage: object doesn't exist", // Google Cloud Storage
		"RESPONSE 404", // Azure
	}},
}

// Canceled tells a cancel from a failure. lakeFS marks a cancel by its message
// alone, "import error: Canceled"; a message that merely contains "context
// canceled" is a failure.
func (e *ImportError) Canceled() bool {
	return e.Message == "Canceled" || strings.HasSuffix(e.Message, ": Canceled")
}

// Reason returns why the import ended with this error.
func (e *ImportError) Reason() Reason {
	if e.Canceled() {
		return CanceledByUser
	}
	text := strings.TrimPrefix(e.Message, importPrefix)
	ingest := strings.HasPrefix(text, ingestPrefix)
	for _, r := range reasonTexts {
		// Later steps read and write the repository's own storage.
		if r.reason == SourceNotFound && !ingest {
			continue
		}
		for _, t := range r.texts {
			if strings.Contains(text, t) {
				return r.reason
			}
		}
	}
	return OtherReason
}
