package lakefs_test

import (
	"testing"

	"lakefs_import_exporter/lakefs"
)

// TestReason has texts as lakeFS, Go and the object stores' libraries write them.
func TestReason(t *testing.T) {
	const (
		ingest = "import error: error on ingest: "
		merge  = "import error: merge import: "
		s3     = "operation error S3: ListObjectsV2, https response error "
	)
	for _, tc := range []struct {
		name, message string
		want          lakefs.Reason
	}{
		// catalog.ImportCanceled
		{"cancel", "import error: Canceled", "canceled"},
		// pkg/block/local: filepath.Walk, and VerifyAbsPath
		{"local, missing", ingest + "lstat /data/nosuch: no such file or directory", "source_not_found"},
		{"local, unreadable", ingest + "open /data/private: permission denied", "permission_denied"},
		{"local, not allowed", ingest + "forbidden", "permission_denied"},
		// aws-sdk-go-v2 under pkg/block/s3
		{"S3, no bucket", ingest + s3 + "StatusCode: 404, RequestID: 1, HostID: 2, NoSuchBucket: ", "source_not_found"},
		{"S3, denied", ingest + s3 + "StatusCode: 403, RequestID: 1, HostID: 2, api error AccessDenied: Access Denied", "permission_denied"},
		{"S3, canceled", ingest + "operation error S3: ListObjectsV2, canceled, context canceled", "shutdown"},
		// google.golang.org/api and cloud.google.com/go/storage under pkg/block/gs
		{"GCS, no bucket", ingest + "error listing objects at storage uri gs://b/x: storage: bucket doesn't exist", "source_not_found"},
		{"GCS, denied", ingest + "error listing objects at storage uri gs://b/x: googleapi: Error 403: x does not have storage.objects.list access", "permission_denied"},
		// azcore.ResponseError under pkg/block/azure
		{"Azure, no container", ingest + "GET https://a.blob.core.windows.net/c\n---\nRESPONSE 404: 404 The specified container does not exist.\nERROR CODE: ContainerNotFound", "source_not_found"},
		{"Azure, denied", ingest + "GET https://a.blob.core.windows.net/c\n---\nRESPONSE 403: 403 This request is not authorized.\nERROR CODE: AuthorizationFailure", "permission_denied"},
		// graveler.Import: ErrDirtyBranch, HookAbortError; WriteRange: ErrReadOnlyRepository
		{"dirty branch", merge + "update branch main: main: uncommitted changes (dirty branch)", "dirty_branch"},
		{"read only", "import error: write range: read-only repository", "read_only"},
		{"hook that says more", merge + "update branch main: pre-commit hook aborted, run id 'abc': open x: permission denied", "hook"},
		// context, catalog.ErrImportClosed
		{"context", ingest + "context canceled", "shutdown"},
		// The repository's own storage is no source.
		{"own storage, missing", "import error: write range: " + s3 + "StatusCode: 404, NoSuchBucket: ", "other"},
		{"similar word", "import error: NotCanceled", "other"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := (&lakefs.ImportError{Message: tc.message}).Reason(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
