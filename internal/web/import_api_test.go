package web

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/storage"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// newAPIWorld returns a world with the import API, a storage, and room for
// three imports. It has the servers prod and dev, and one import in the config.
func newAPIWorld(t *testing.T, store collector.Store, change ...func(*Options)) (w *world, prod *lakefstest.Server) {
	t.Helper()
	if store == nil {
		opened, err := storage.Open(filepath.Join(t.TempDir(), "imports.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := opened.Close(); err != nil {
				t.Error(err)
			}
		})
		store = opened
	}
	w = newWorldWith(t, collector.Options{Store: store, Retention: 24 * time.Hour, MaxRegistered: 3},
		append(change, func(o *Options) { o.EnableImportAPI = true })...)
	prod = w.addLakeFS("prod")
	w.addLakeFS("dev")
	w.watch("prod", lakefs.Ref{Repository: repo, Branch: branch, ID: "in-config"})
	return w, prod
}

// ask sends a request and returns status and body.
func (w *world) ask(method, path, body string, header ...string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

const apiPath = "/api/v1/imports/my-repo/main/"

func TestImportAPI(t *testing.T) {
	w, prod := newAPIWorld(t, nil)
	ref := prod.Start(repo, branch, import50k)
	path := apiPath + ref.ID + "?server=prod"
	w.clock.Advance(30 * time.Second)

	view := func(rest string) string {
		return `{"server":"prod","repository":"my-repo","branch":"main","import_id":"` + ref.ID + `","source":"api",` + rest + "}\n"
	}
	const started = `"started_at":"2026-11-22T10:50:27Z"`
	for _, step := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{
			name: "new", method: http.MethodPut, path: path, body: `{"expected_objects": 50000, "no_progress_after": "2h", "labels": {"team": "ingest"}}`,
			status: 201, want: view(`"labels":{"team":"ingest"},"state":"unknown","expected_objects":50000,` + started + `,"poll":{"success":false}`),
		},
		{
			name: "polled", method: http.MethodGet, path: path,
			status: 200, want: view(`"labels":{"team":"ingest"},"state":"running","ingested_objects":15000,"expected_objects":50000,"progress":0.3,` +
				`"objects_per_second":493.8401,"eta_seconds":70.8731,` + started + `,"updated_at":"2026-11-22T10:50:57.374205733Z",` +
				`"last_status_at":"2026-11-22T10:50:57.374205733Z","progress_at":"2026-11-22T10:50:57.374205733Z",` +
				`"poll":{"success":true,"result":"success","at":"2026-11-22T10:50:57.374205733Z"}`),
		},
		{
			name: "again, which replaces what was there", method: http.MethodPut, path: path,
			status: 200, want: view(`"state":"running","ingested_objects":15000,"objects_per_second":493.8401,` + started +
				`,"updated_at":"2026-11-22T10:50:57.374205733Z","last_status_at":"2026-11-22T10:50:57.374205733Z",` +
				`"progress_at":"2026-11-22T10:50:57.374205733Z","poll":{"success":true,"result":"success","at":"2026-11-22T10:50:57.374205733Z"}`),
		},
		{
			name: "lakeFS does not know it yet", method: http.MethodPut, path: apiPath + "b6e2f7a0-51c9-4d7e-9f0a-2c1d8e4b7a35?server=prod", body: "{}",
			status: 201, want: `{"server":"prod","repository":"my-repo","branch":"main","import_id":"b6e2f7a0-51c9-4d7e-9f0a-2c1d8e4b7a35","source":"api","state":"unknown","poll":{"success":false}}` + "\n",
		},
		{name: "deleted", method: http.MethodDelete, path: path, status: 204},
		{name: "deleted again", method: http.MethodDelete, path: path, status: 204},
		{
			name: "gone", method: http.MethodGet, path: path, status: 404,
			want: `{"message":"import my-repo/main/` + ref.ID + ` of server \"prod\" is not watched"}` + "\n",
		},
	} {
		t.Run(step.name, func(t *testing.T) {
			status, body := w.ask(step.method, step.path, step.body)
			if status != step.status {
				t.Errorf("status %d, want %d", status, step.status)
			}
			if diff := cmp.Diff(step.want, body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

func TestImportAPIErrors(t *testing.T) {
	w, _ := newAPIWorld(t, nil)
	for _, path := range []string{"a?server=prod", "b?server=prod", "c?server=dev"} {
		if status, body := w.ask(http.MethodPut, apiPath+path, ""); status != 201 {
			t.Fatal(status, body)
		}
	}
	_, before := w.ask(http.MethodGet, "/api/v1/imports", "")
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		message                  string
	}{
		{name: "no server", path: apiPath + "x", status: 400, message: `server is missing: must be one of [\"dev\" \"prod\"]`},
		{name: "unknown server", path: apiPath + "x?server=http://evil", status: 400, message: `server \"http://evil\" is not configured: must be one of [\"dev\" \"prod\"]`},
		{name: "bad repository", path: "/api/v1/imports/My-Repo/main/x?server=prod", status: 400, message: `repository \"My-Repo\": must match ^[a-z0-9][a-z0-9-]{2,62}$`},
		{name: "bad branch", path: "/api/v1/imports/my-repo/-x/x?server=prod", status: 400, message: `branch \"-x\": must match ^\\w[-\\w]*$`},
		{name: "slash in a branch", path: "/api/v1/imports/my-repo/a%2Fb/x?server=prod", status: 400, message: `branch \"a/b\": must match ^\\w[-\\w]*$`},
		{name: "bad ID", path: apiPath + "x%20y?server=prod", status: 400, message: `id \"x y\": must match ^[A-Za-z0-9_-]{1,128}$`},
		{name: "not JSON", path: apiPath + "x?server=prod", body: "expected_objects=7", status: 400, message: `body: invalid character 'e' looking for beginning of value`},
		{name: "cut short", path: apiPath + "x?server=prod", body: `{"expected_objects": 7`, status: 400, message: `body: is cut short`},
		{name: "a list", path: apiPath + "x?server=prod", body: `[]`, status: 400, message: `body: must be a JSON object, not array`},
		{name: "two objects", path: apiPath + "x?server=prod", body: `{}{}`, status: 400, message: `body: must be one JSON object`},
		{name: "unknown key", path: apiPath + "x?server=prod", body: `{"expected": 7}`, status: 400, message: `body: unknown key \"expected\"`},
		{name: "text for a number", path: apiPath + "x?server=prod", body: `{"expected_objects": "7"}`, status: 400, message: `body: expected_objects: must be a whole number, not string`},
		{name: "half an object", path: apiPath + "x?server=prod", body: `{"expected_objects": 1.5}`, status: 400, message: `body: expected_objects: must be a whole number, not number 1.5`},
		{name: "no objects", path: apiPath + "x?server=prod", body: `{"expected_objects": 0}`, status: 400, message: `expected_objects 0: must be positive`},
		{name: "number for a duration", path: apiPath + "x?server=prod", body: `{"no_progress_after": 60}`, status: 400, message: `body: no_progress_after: must be a string, not number`},
		{name: "no duration", path: apiPath + "x?server=prod", body: `{"no_progress_after": "soon"}`, status: 400, message: `no_progress_after: not a valid duration string: \"soon\"`},
		{name: "duration of nothing", path: apiPath + "x?server=prod", body: `{"no_progress_after": "0s"}`, status: 400, message: `no_progress_after 0s: must be positive`},
		{name: "labels in a list", path: apiPath + "x?server=prod", body: `{"labels": ["team"]}`, status: 400, message: `body: labels: must be an object of strings, not array`},
		{name: "a number for a label", path: apiPath + "x?server=prod", body: `{"labels": {"team": 7}}`, status: 400, message: `body: labels: must be a string, not number`},
		{name: "forbidden label", path: apiPath + "x?server=prod", body: `{"labels": {"job": "x"}}`, status: 400, message: `label \"job\": the name is reserved`},
		{name: "bad label", path: apiPath + "x?server=prod", body: `{"labels": {"a-b": "x"}}`, status: 400, message: `label \"a-b\": must match ^[a-zA-Z_][a-zA-Z0-9_]*$`},
		{name: "too many labels", path: apiPath + "x?server=prod", body: manyLabels(33, 1), status: 400, message: `labels: there are 33, 32 are permitted`},
		{name: "too long labels", path: apiPath + "x?server=prod", body: `{"labels": {"team": "` + strings.Repeat("x", 4093) + `"}}`, status: 400, message: `labels: names and values have 4097 bytes in all, 4096 are permitted`},
		{name: "too long a branch", path: "/api/v1/imports/my-repo/" + strings.Repeat("x", 1025) + "/x?server=prod", status: 400, message: `branch: is 1025 bytes long, 1024 are permitted`},
		{name: "too large", path: apiPath + "x?server=prod", body: `{"labels": {"a": "` + strings.Repeat("x", 1<<16) + `"}}`, status: 413, message: `body: http: request body too large`},
		{
			name: "another branch", path: "/api/v1/imports/my-repo/dev/a?server=prod", status: 409,
			message: `import a of repository my-repo is watched on branch main already: lakeFS knows imports by repository and ID alone`,
		},
		{name: "one too many", path: apiPath + "d?server=prod", status: 409, message: `3 imports are registered already, and more are not permitted`},
		{name: "delete what the config wants", method: http.MethodDelete, path: apiPath + "in-config?server=prod", status: 409, message: `import my-repo/main/in-config stands in a config file: it can be taken out there only`},
		{name: "delete on an unknown server", method: http.MethodDelete, path: apiPath + "a?server=x", status: 400, message: `server \"x\" is not configured: must be one of [\"dev\" \"prod\"]`},
		{name: "delete nothing", method: http.MethodDelete, path: apiPath + "z?server=prod", status: 204},
	} {
		t.Run(tc.name, func(t *testing.T) {
			method := tc.method
			if method == "" {
				method = http.MethodPut
			}
			status, body := w.ask(method, tc.path, tc.body, tc.header...)
			if status != tc.status {
				t.Errorf("status %d, want %d", status, tc.status)
			}
			if want := `{"message":"` + tc.message + `"}` + "\n"; tc.message != "" && body != want {
				t.Errorf("got  %swant %s", body, want)
			}
		})
	}
	if _, after := w.ask(http.MethodGet, "/api/v1/imports", ""); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

// manyLabels is a body with n labels that have size bytes each.
func manyLabels(n, size int) string {
	labels := make([]string, n)
	for i := range labels {
		name := fmt.Sprintf("l%02d", i)
		labels[i] = fmt.Sprintf("%q: %q", name, strings.Repeat("x", max(size-len(name), 0)))
	}
	return `{"labels": {` + strings.Join(labels, ", ") + `}}`
}

// What is just small enough is taken.
func TestImportAPIBounds(t *testing.T) {
	w, _ := newAPIWorld(t, nil)
	path := "/api/v1/imports/my-repo/" + strings.Repeat("x", maxBranchBytes) + "/x?server=prod"
	if status, body := w.ask(http.MethodPut, path, manyLabels(maxLabels, maxLabelBytes/maxLabels)); status != http.StatusCreated {
		t.Error(status, body)
	}
	if status, body := w.ask(http.MethodGet, "/metrics", ""); status != http.StatusOK || !strings.Contains(body, `,l31="`) {
		t.Errorf("status %d, and no such series", status)
	}
}

func TestImportAPIDisabled(t *testing.T) {
	w := newWorld(t)
	w.addLakeFS("prod")
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		status, body := w.ask(method, apiPath+"x", "")
		if status != 403 || body != `{"message":"the import API is off: start the exporter with --web.enable-import-api"}`+"\n" {
			t.Errorf("%s: %d %s", method, status, body)
		}
	}
}

// brokenStore is a Store on a full disk.
type brokenStore struct{}

var errDiskFull = errors.New("no space left on device")

func (brokenStore) Load() ([]collector.Registration, map[collector.Key]collector.Observation, error) {
	return nil, nil, nil
}
func (brokenStore) PutImport(collector.Registration) error                        { return errDiskFull }
func (brokenStore) DeleteImports(...collector.Key) error                          { return errDiskFull }
func (brokenStore) PutObservations(map[collector.Key]collector.Observation) error { return errDiskFull }
func (brokenStore) DeleteObservations(...collector.Key) error                     { return errDiskFull }

func TestImportAPIOnAFullDisk(t *testing.T) {
	w, _ := newAPIWorld(t, brokenStore{})
	for method, want := range map[string]string{
		http.MethodPut:    `{"message":"storing import my-repo/main/x: no space left on device"}` + "\n",
		http.MethodDelete: `{"message":"removing import my-repo/main/x from the storage: no space left on device"}` + "\n",
	} {
		status, body := w.ask(method, apiPath+"x?server=prod", "")
		if status != 500 || body != want {
			t.Errorf("%s: %d %s", method, status, body)
		}
	}
	if status, _ := w.ask(http.MethodGet, apiPath+"x?server=prod", ""); status != 404 {
		t.Errorf("it is watched all the same: status %d", status)
	}
	if status, body := w.ask(http.MethodGet, "/metrics", ""); status != 200 || !strings.Contains(body, "lakefs_import_exporter_storage_errors_total 2\n") {
		t.Errorf("status %d, and not two storage errors", status)
	}
}

func TestProbeEndpoint(t *testing.T) {
	w := newWorld(t)
	prod := w.addLakeFS("prod")
	ref := prod.Start(repo, branch, import50k)
	w.watch("prod", ref, func(i *collector.Import) { i.Labels = map[string]string{"team": "ingest"} })
	w.clock.Advance(30 * time.Second)
	var bodies []string
	for _, target := range []string{"lakefs://" + ref.String(), ref.String()} {
		status, body := w.ask(http.MethodGet, "/probe?server=prod&target="+target, "")
		if status != 200 {
			t.Errorf("status %d", status)
		}
		bodies = append(bodies, body)
		w.clock.Advance(time.Millisecond)
	}
	golden(t, "probe.prom", bodies[0])
	if got := prod.StatusRequests(ref); got != 1 {
		t.Errorf("%d requests for two probes within a second", got)
	}
	if status, body := w.ask(http.MethodGet, "/probe?target="+ref.String(), "", "Accept", "application/openmetrics-text"); status != 200 || !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("OpenMetrics, without a server where there is one: %d %s", status, body)
	}

	// A target that fails is an answer too, without last values.
	prod.Inject(lakefstest.Everything, lakefstest.Fault{Status: 500})
	w.clock.Advance(time.Second)
	status, body := w.ask(http.MethodGet, "/probe?target="+ref.String(), "")
	if status != 200 || !strings.Contains(body, "\nlakefs_import_poll_success{") || strings.Contains(body, "ingested") || !strings.Contains(body, "lakefs_up{server=\"prod\"} 0\n") {
		t.Errorf("a failed poll: %d %s", status, body)
	}

	w.addLakeFS("dev")
	for _, tc := range []struct{ query, header, want string }{
		{query: "", want: "target is missing: must be [lakefs://]REPOSITORY/BRANCH/IMPORT_ID"},
		{query: "server=prod&target=my-repo/main", want: `target "my-repo/main": must be [lakefs://]REPOSITORY/BRANCH/IMPORT_ID`},
		{query: "server=prod&target=my-repo/a/b/x", want: `target "my-repo/a/b/x": must be [lakefs://]REPOSITORY/BRANCH/IMPORT_ID`},
		{query: "server=prod&target=http://evil/x", want: `target "http://evil/x": must be [lakefs://]REPOSITORY/BRANCH/IMPORT_ID`},
		{query: "server=prod&target=My/main/x", want: `target: repository "My": must match ^[a-z0-9][a-z0-9-]{2,62}$`},
		{query: "server=prod&target=my-repo/main/", want: `target: id "": must match ^[A-Za-z0-9_-]{1,128}$`},
		{query: "target=my-repo/main/x", want: `server is missing: must be one of ["dev" "prod"]`},
		{query: "server=https://evil&target=my-repo/main/x", want: `server "https://evil" is not configured: must be one of ["dev" "prod"]`},
		{query: "server=prod&target=my-repo/main/x&target=my-repo/main/y", want: "target: must be given once"},
		{query: "server=prod&server=dev&target=my-repo/main/x", want: "server: must be given once"},
		{query: "server=prod&target=my-repo/main/x", header: "soon", want: `header X-Prometheus-Scrape-Timeout-Seconds: must be a positive number of seconds, not "soon"`},
	} {
		var header []string
		if tc.header != "" {
			header = []string{scrapeTimeoutHeader, tc.header}
		}
		status, body := w.ask(http.MethodGet, "/probe?"+tc.query, "", header...)
		if status != 400 || body != tc.want+"\n" {
			t.Errorf("%s: got %d %s, want %s", tc.query, status, body, tc.want)
		}
	}
	if status, _ := w.ask(http.MethodPost, "/probe", ""); status != 405 {
		t.Errorf("POST: status %d", status)
	}
}

// Whatever parses is valid, and is the same when it is written and parsed again.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"", "my-repo/main/x", "lakefs://my-repo/main/x", "lakefs://lakefs://a/b/c", "a/b", "my-repo/main/x/", "my-repo/\x00/x", "my-repo/main/ä"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		ref, err := parseTarget(target)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%q: the error has several lines: %v", target, err)
			}
			return
		}
		if err := ref.Validate(); err != nil {
			t.Errorf("%q: %v", target, err)
		}
		if again, err := parseTarget("lakefs://" + ref.String()); err != nil || again != ref {
			t.Errorf("%q: got %v, %v", target, again, err)
		}
	})
}

// Whatever a body is accepted makes a valid import, and every refusal is one line.
func FuzzSettings(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", `{"expected_objects": 7, "no_progress_after": "2h", "labels": {"team": "a"}}`,
		`{"labels": {"job": ""}}`, `{"labels": null}`, manyLabels(maxLabels+1, 1), manyLabels(2, maxLabelBytes), `{"expected_objects": 1e9}`, `{"no_progress_after": "292y"}`, "[", `{"a":1}`, "{}x",
	} {
		f.Add(seed)
	}
	key := collector.Key{Server: "prod", Ref: lakefs.Ref{Repository: repo, Branch: branch, ID: "x"}}
	f.Fuzz(func(t *testing.T, body string) {
		s, err := readSettings(strings.NewReader(body))
		var imp collector.Import
		if err == nil {
			imp, err = s.of(key)
		}
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%q: the error has several lines: %q", body, err)
			}
			return
		}
		if err := imp.Validate(); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	})
}

func TestAuthenticates(t *testing.T) {
	for content, want := range map[string]bool{
		"":                                    false,
		"tls_server_config: {cert_file: x}":   false,
		"basic_auth_users: {}":                false,
		"basic_auth_users: {prometheus: $2y}": true,
		"tls_server_config: {client_auth_type: RequireAndVerifyClientCert}": true,
		"tls_server_config: {client_auth_type: VerifyClientCertIfGiven}":    false,
		"[": false,
	} {
		if got := Authenticates(write(t, content)); got != want {
			t.Errorf("%s: got %v", content, got)
		}
	}
	if Authenticates(filepath.Join(t.TempDir(), "missing.yml")) || Authenticates("") {
		t.Error("a file that is not there authenticates")
	}
}

func write(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
