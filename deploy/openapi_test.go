package deploy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/errors"
	"go.yaml.in/yaml/v3"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

const openAPIFile = "../docs/openapi.yaml"

// described checks that answers of an exporter are as openapi.yaml describes them, and
// remembers which operations and properties it has seen.
type described struct {
	t    *testing.T
	api  validator.Validator
	seen map[string]bool
}

func newDescribed(t *testing.T) *described {
	t.Helper()
	document, err := libopenapi.NewDocument([]byte(read(t, openAPIFile)))
	if err != nil {
		t.Fatal(err)
	}
	api, errs := validator.NewValidator(document, config.WithFormatAssertions())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, errs := api.ValidateDocument(); !ok {
		t.Fatal(explain(errs))
	}
	return &described{t, api, map[string]bool{}}
}

func explain(errs []*errors.ValidationError) string {
	var text strings.Builder
	for _, e := range errs {
		fmt.Fprintf(&text, "%s: %s", e.Message, e.Reason)
		for _, s := range e.SchemaValidationErrors {
			fmt.Fprintf(&text, "; %s: %s", s.FieldPath, s.Reason)
		}
		text.WriteString("\n")
	}
	return text.String()
}

// ask sends a request that has to be answered with a status.
func (d *described) ask(exporter *process, method, path, body string, status int) {
	d.t.Helper()
	var payload io.Reader // no body is not an empty one
	if body != "" {
		payload = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(d.t.Context(), method, exporter.URL+path, payload)
	if err != nil {
		d.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	if resp.StatusCode != status {
		d.t.Errorf("%s %s: got status %d, want %d: %s", method, path, resp.StatusCode, status, answer)
	}
	if payload != nil {
		req.Body = io.NopCloser(strings.NewReader(body))
	}
	if ok, errs := d.api.ValidateHttpRequest(req); !ok && status < 300 {
		d.t.Errorf("%s %s: %s", method, path, explain(errs))
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	if ok, errs := d.api.ValidateHttpResponse(req, resp); !ok {
		d.t.Errorf("%s %s: %s\n%.1000s", method, path, explain(errs), answer)
	}
	var value any
	if json.Unmarshal(answer, &value) == nil {
		d.note(value)
	}
	route, _, _ := strings.Cut(path, "?")
	if strings.Count(route, "/") == 6 {
		route = "/api/v1/imports/{repository}/{branch}/{id}"
	}
	d.seen[fmt.Sprint(method, " ", route, " ", status)] = true
}

// note remembers the properties of a value.
func (d *described) note(value any) {
	switch v := value.(type) {
	case map[string]any:
		for name, value := range v {
			d.seen[name] = true
			d.note(value)
		}
	case []any:
		for _, value := range v {
			d.note(value)
		}
	}
}

// documented returns the operations with their statuses, and the properties of answers.
func documented(t *testing.T) []string {
	t.Helper()
	var document struct {
		Paths      map[string]map[string]any
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, openAPIFile)), &document); err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for path, operations := range document.Paths {
		for method, operation := range operations {
			if o, ok := operation.(map[string]any); ok {
				for status := range o["responses"].(map[string]any) {
					all[strings.ToUpper(method)+" "+path+" "+status] = true
				}
			}
		}
	}
	for name, schema := range document.Components.Schemas {
		if name != "Settings" {
			for property := range schema.Properties {
				all[property] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// What the running exporter answers is what openapi.yaml describes: no property more,
// and each of those that are described.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	d, dir := newDescribed(t), t.TempDir()
	demo := start(t, buildExporter(t), "--demo", "--web.listen-address=127.0.0.1:0")
	eventually(t, "discovery", func() error {
		return get(demo.URL+"/api/v1/imports?source=discovery", nil)
	})
	lakeFS := startLakeFS(t)
	watched := lakeFS.Start("my-repo", "main", slow)
	registered := lakeFS.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Script{Objects: 100, Rate: 100}, time.Now().Add(-time.Minute))
	configFile := filepath.Join(dir, "config.yml")
	config := "servers:\n" + serverYAML("prod", lakeFS) +
		"  - {name: down, endpoint_url: http://127.0.0.1:1, discovery: {postgres: {dsn: 'postgres://x@127.0.0.1:1/x'}}}\n" +
		"  - {name: refuses, endpoint_url: " + lakeFS.URL + "}\n" +
		"imports: [{repository: my-repo, branch: main, id: " + watched.ID + ", server: prod}, {repository: my-repo, branch: main, id: x, server: refuses}]\n" +
		"import_files: [imports/*.yml]\n"
	write(t, configFile, config)
	write(t, filepath.Join(dir, "imports", "bad.yml"), "nonsense")
	exporter := start(t, buildExporter(t), "--config.file="+configFile, "--storage.path="+filepath.Join(dir, "storage"), "--web.listen-address=127.0.0.1:0",
		"--web.enable-import-api", "--web.enable-lifecycle", "--web.max-imports=1")
	// lakeFS pauses for a while after the first poll.
	lakeFS.Inject(lakefstest.StatusOf(watched), lakefstest.Fault{Status: http.StatusTooManyRequests})

	const imports = "/api/v1/imports"
	path, other := imports+"/"+registered.String()+"?server=prod", imports+"/my-repo/main/other?server=prod"
	inConfig := imports + "/" + watched.String() + "?server=prod"
	const settings = `{"expected_objects": 100, "no_progress_after": "2h", "max_duration": "6h", "labels": {"team": "ingest"}}`
	d.ask(demo, http.MethodGet, imports, "", http.StatusOK)
	d.ask(demo, http.MethodGet, imports+"?state=stalled&state=hung&source=config&label=team=finance&server=demo&repository=billing&branch=main", "", http.StatusOK)
	d.ask(demo, http.MethodPost, "/-/reload", "", http.StatusForbidden)
	d.ask(demo, http.MethodPut, other, settings, http.StatusForbidden)
	d.ask(demo, http.MethodDelete, other, "", http.StatusForbidden)
	d.ask(demo, http.MethodGet, "/metrics", "", http.StatusOK)

	d.ask(exporter, http.MethodPut, path, settings, http.StatusCreated)
	d.ask(exporter, http.MethodPut, path, "", http.StatusOK)
	d.ask(exporter, http.MethodPut, path, `{"labels": {"job": "x"}, "branch": "y"}`, http.StatusBadRequest)
	d.ask(exporter, http.MethodPut, path, strings.Repeat(" ", 1<<17), http.StatusRequestEntityTooLarge)
	d.ask(exporter, http.MethodPut, other, settings, http.StatusConflict)
	d.ask(exporter, http.MethodGet, path+"&wait=1s", "", http.StatusOK)
	d.ask(exporter, http.MethodGet, other, "", http.StatusNotFound)
	d.ask(exporter, http.MethodGet, imports+"/My%20Repo/main/x?server=prod", "", http.StatusBadRequest)
	d.ask(exporter, http.MethodDelete, imports+"/My%20Repo/main/x?server=prod", "", http.StatusBadRequest)
	d.ask(exporter, http.MethodDelete, path, "", http.StatusNoContent)
	d.ask(exporter, http.MethodDelete, inConfig, "", http.StatusConflict)
	d.ask(exporter, http.MethodGet, "/probe?target=lakefs://"+registered.String()+"&server=prod", "", http.StatusOK)
	d.ask(exporter, http.MethodGet, "/probe", "", http.StatusBadRequest)
	d.ask(exporter, http.MethodGet, "/-/healthy", "", http.StatusOK)
	d.ask(exporter, http.MethodGet, "/-/ready", "", http.StatusOK)
	d.ask(exporter, http.MethodPost, "/-/reload", "", http.StatusOK)
	d.ask(exporter, http.MethodGet, "/metrics", "", http.StatusOK)
	d.ask(exporter, http.MethodGet, imports, "", http.StatusOK)
	d.ask(exporter, http.MethodGet, imports+"?state=nonsense", "", http.StatusBadRequest)
	write(t, configFile, "nonsense")
	d.ask(exporter, http.MethodPost, "/-/reload", "", http.StatusInternalServerError)

	for _, what := range documented(t) {
		unseen := strings.HasSuffix(what, " 503") || what == "storage" // a disk that hangs or is full
		if !d.seen[what] && !unseen {
			t.Errorf("%s is described, and was not seen", what)
		}
	}
}
