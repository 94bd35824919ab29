package config

import (
	"errors"
	"io/fs"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	common "github.com/prometheus/common/config"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

// newLoader returns a Loader that logs nothing and sees an empty environment.
func newLoader(path string) *Loader {
	l := NewLoader(path, "test-agent", log.NewNopLogger())
	l.getenv = func(string) string { return "" }
	return l
}

func mustLoad(t *testing.T, l *Loader) collector.Config {
	t.Helper()
	cfg, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// write writes files, given as pairs of path in dir and content.
func write(t *testing.T, dir string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// internals matches what of Go and of yaml.v3 no user should see. Every secret
// in testdata is hunter2.
var internals = regexp.MustCompile(`hunter|yaml:|!!|\b(config|yaml|url)\.[A-Za-z]|interface|map\[|\n`)

func TestBadConfigs(t *testing.T) {
	want := map[string]string{
		"freshness_bad_name.yml":                  `repositories: entry 1: repository "My Repo": must match ^[a-z0-9][a-z0-9-]{2,62}$`,
		"freshness_no_name.yml":                   `repositories: entry 1: repository "": must match ^[a-z0-9][a-z0-9-]{2,62}$`,
		"freshness_unknown_server.yml":            `repositories: entry 1: server "dev": the config has none of that name`,
		"freshness_unknown_key.yml":               `repositories: entry 1: line 6: unknown key "max_age"`,
		"freshness_twice.yml":                     `repositories: entry 3: repository my-repo on server "prod": is in entry 1 already`,
		"freshness_zero_age.yml":                  `repositories: entry 1: max_import_age 0s: must be positive`,
		"freshness_bad_age.yml":                   `repositories: entry 1: max_import_age: not a valid duration string: "a day"`,
		"freshness_label.yml":                     `repositories: entry 1: label "job": the name is reserved`,
		"freshness_mapping.yml":                   "line 5: must be a list, not a mapping",
		"alias_bomb.yml":                          "servers: entry 1: not valid YAML: document contains excessive aliasing",
		"anchor_holds_itself.yml":                 "imports: entry 1: not valid YAML: an anchor holds itself",
		"anchor_unknown.yml":                      "line 5: not valid YAML: no such anchor (a value that begins with * needs quotes)",
		"basic_auth_list.yml":                     "servers: entry 1: line 5: a list does not belong here",
		"basic_auth_text.yml":                     "servers: entry 1: line 4: must be a mapping, not a single value",
		"bearer_token_file_missing.yml":           "servers: entry 1: bearer_token_file: testdata/bad/secrets/nobody: no such file or directory",
		"ca_file_missing.yml":                     "servers: entry 1: tls_config.ca_file: testdata/bad/secrets/nobody: no such file or directory",
		"ca_file_no_certificate.yml":              "servers: entry 1: unable to use specified CA cert file testdata/bad/secrets/token",
		"ca_ref.yml":                              "servers: entry 1: tls_config.ca_ref: there is no secret manager to ask: use tls_config.ca_file",
		"client_certificate_key_file_missing.yml": "servers: entry 1: oauth2.client_certificate_key_file: testdata/bad/secrets/nobody: no such file or directory",
		"client_key_no_key.yml":                   "servers: entry 1: unable to use specified client cert (inline) & key (inline): tls: failed to find any PEM data in certificate input",
		"control_character.yml":                   "line 2: not valid YAML: control characters are not allowed",
		"duplicate_key.yml":                       "line 4: the same key is in line 1 already",
		"duplicate_key_label.yml":                 "imports: entry 1: line 5: the same key is in line 5 already",
		"duplicate_key_secret.yml":                "servers: entry 1: line 5: the same key is in line 5 already",
		"duplicate_key_server.yml":                "servers: entry 1: line 5: the same key is in line 4 already",
		"empty_key.yml":                           "servers: entry 1: line 4: a key must be text",
		"empty_list_entry.yml":                    "line 6: entry 2 of the list is empty",
		"endpoint_credentials.yml":                "servers: entry 1: endpoint_url: must not hold credentials: use basic_auth",
		"endpoint_credentials_slash.yml":          "servers: entry 1: endpoint_url: not a URL",
		"endpoint_missing.yml":                    "servers: entry 1: endpoint_url is missing",
		"endpoint_query.yml":                      "servers: entry 2: endpoint_url: must not have a query or a fragment",
		"endpoint_scheme.yml":                     "servers: entry 1: endpoint_url: must begin with http:// or https://",
		"expected_objects_fraction.yml":           "imports: entry 1: expected_objects: must be a whole number",
		"expected_objects_huge.yml":               "imports: entry 1: expected_objects: must be a whole number",
		"expected_objects_negative.yml":           "imports: entry 1: expected_objects -5: must be positive",
		"expected_objects_text.yml":               "imports: entry 1: expected_objects: must be a whole number",
		"expected_objects_zero.yml":               "imports: entry 1: expected_objects 0: must be positive",
		"follow_redirects_text.yml":               "servers: entry 1: line 4: must be true or false",
		"header_file_missing.yml":                 "servers: entry 1: http_headers.X-Token.files: testdata/bad/secrets/nobody: no such file or directory",
		"header_secret_mapping.yml":               "servers: entry 1: line 6: a mapping does not belong here",
		"import_branch.yml":                       `imports: entry 1: branch "feature/x": must match ^\w[-\w]*$`,
		"import_duplicate.yml":                    `imports: entry 3: my-repo/main/dc1chj1ksduerdki88b0 on server "prod": is in entry 1 already`,
		"import_empty.yml":                        `imports: entry 1: repository "": must match ^[a-z0-9][a-z0-9-]{2,62}$`,
		"import_files_of_mappings.yml":            "line 5: must be text, not a mapping",
		"import_files_text.yml":                   "line 4: must be a list, not a single value",
		"import_id.yml":                           `imports: entry 1: id "../x": must match ^[A-Za-z0-9_-]{1,128}$`,
		"import_repository.yml":                   `imports: entry 2: repository "My Repo": must match ^[a-z0-9][a-z0-9-]{2,62}$`,
		"import_server_missing.yml":               "imports: entry 1: server is missing: the config has more than one",
		"import_server_of_environment.yml":        "no servers, and the environment does not name one: LAKECTL_SERVER_ENDPOINT_URL, LAKECTL_CREDENTIALS_ACCESS_KEY_ID, LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY not set",
		"import_server_unknown.yml":               `imports: entry 1: server "staging": the config has none of that name`,
		"imports_of_lists.yml":                    "imports: entry 1: line 5: must be a mapping, not a list",
		"imports_text.yml":                        "line 4: must be a list, not a single value",
		"label_name.yml":                          `imports: entry 1: label "my-team": must match ^[a-zA-Z_][a-zA-Z0-9_]*$`,
		"label_reserved.yml":                      `imports: entry 1: label "job": the name is reserved`,
		"label_value_list.yml":                    "imports: entry 1: line 8: must be text, not a list",
		"labels_list.yml":                         "imports: entry 1: line 8: must be a mapping, not a list",
		"list_as_key.yml":                         "servers: entry 1: line 4: a key must be text",
		"max_concurrent_requests_fraction.yml":    "servers: entry 1: max_concurrent_requests: must be a whole number",
		"max_concurrent_requests_text.yml":        "servers: entry 1: max_concurrent_requests: must be a whole number",
		"max_concurrent_requests_zero.yml":        "servers: entry 1: max_concurrent_requests 0: must be positive",
		"merge_text.yml":                          "servers: entry 1: line 4: << must be a mapping",
		"merge_unknown_key.yml":                   `servers: entry 1: line 4: unknown key "user"`,
		"name_control_character.yml":              `servers: entry 1: name "a\nb": has a control character`,
		"name_default_duplicate.yml":              `servers: entry 2: name "lakefs.example.com:8000": is that of entry 1 too`,
		"name_duplicate.yml":                      `servers: entry 3: name "prod": is that of entry 1 too`,
		"name_empty.yml":                          `servers: entry 1: name "": must not be empty`,
		"name_long.yml":                           `servers: entry 1: name "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": is over 128 bytes long`,
		"name_not_utf8.yml":                       `servers: entry 1: name "lakefs\xff.example.com": is not valid UTF-8`,
		"no_progress_after_unit.yml":              `imports: entry 1: no_progress_after: unknown unit " hours" in duration "2 hours"`,
		"no_progress_after_zero.yml":              "imports: entry 1: no_progress_after 0s: must be positive",
		"no_space.yml":                            "servers: entry 1: line 4: a key has no value (is there no space after its colon?)",
		"no_value.yml":                            "servers: entry 1: line 4: a key has no value (is there no space after its colon?)",
		"not_utf8.yml":                            "line 2: not valid YAML: invalid leading UTF-8 octet",
		"oauth2_ca_file_missing.yml":              "servers: entry 1: oauth2.tls_config.ca_file: testdata/bad/secrets/nobody: no such file or directory",
		"oauth2_ca_no_certificate.yml":            "servers: entry 1: oauth2.tls_config: unable to use specified CA cert inline",
		"oauth2_proxy.yml":                        "servers: entry 1: if no_proxy is configured, proxy_url must also be configured",
		"password_file_directory.yml":             "servers: entry 1: basic_auth.password_file: testdata/bad/secrets: is a directory",
		"password_file_missing.yml":               "servers: entry 1: basic_auth.password_file: testdata/bad/secrets/nobody: no such file or directory",
		"password_list.yml":                       "servers: entry 1: line 5: a list does not belong here",
		"password_mapping.yml":                    "servers: entry 1: line 5: a mapping does not belong here",
		"password_ref.yml":                        "servers: entry 1: basic_auth.password_ref: there is no secret manager to ask: use basic_auth.password_file",
		"password_twice.yml":                      "servers: entry 1: at most one of basic_auth password, password_file & password_ref must be configured",
		"pattern_bad.yml":                         `import_files: entry 1: "imports/[.yml": not a pattern of file names`,
		"pattern_extension.yml":                   `import_files: entry 2: "imports/*": must end in .yml, .yaml or .json`,
		"proxy_url_port.yml":                      "servers: entry 1: proxy_url: not a URL",
		"proxy_url_space.yml":                     "servers: entry 1: proxy_url: not a URL",
		"repository_list.yml":                     "imports: entry 1: line 5: must be text, not a list",
		"reserved_header.yml":                     `servers: entry 1: setting header "Authorization" is not allowed`,
		"second_document.yml":                     "line 4: another YAML document begins, where one is all there can be",
		"second_document_broken.yml":              "line 6: not valid YAML here or below: did not find expected node content",
		"servers_mapping.yml":                     "line 2: must be a list, not a mapping",
		"servers_of_text.yml":                     "servers: entry 1: line 2: must be a mapping, not a single value",
		"syntax_colon.yml":                        "line 3: not valid YAML: mapping values are not allowed in this context",
		"syntax_first_line.yml":                   "line 1: not valid YAML: found unknown escape character",
		"syntax_indent.yml":                       "line 2: not valid YAML here or below: did not find expected key",
		"syntax_quote.yml":                        "line 4: not valid YAML: found unexpected end of stream",
		"syntax_tab.yml":                          "line 2: not valid YAML: found character that cannot start any token",
		"tag.yml":                                 "servers: entry 1: line 5: YAML tags are not supported (a value that begins with ! needs quotes)",
		"timeout_empty.yml":                       "servers: entry 1: timeout: empty duration string",
		"timeout_negative.yml":                    `servers: entry 1: timeout: not a valid duration string: "-5s"`,
		"timeout_number.yml":                      `servers: entry 1: timeout: not a valid duration string: "5"`,
		"timeout_zero.yml":                        "servers: entry 1: timeout 0s: must be positive",
		"tls_key_without_certificate.yml":         "servers: entry 1: exactly one of cert or cert_file must be configured when a client key is configured",
		"tls_version.yml":                         "servers: entry 1: unknown TLS version: TLS9",
		"top_level_list.yml":                      "line 1: must be a mapping, not a list",
		"top_level_text.yml":                      "line 1: must be a mapping, not a single value",
		"two_kinds_of_auth.yml":                   "servers: entry 1: at most one of basic_auth, oauth2 & authorization must be configured",
		"unknown_key.yml":                         `line 1: unknown key "server"`,
		"unknown_key_basic_auth.yml":              `servers: entry 1: line 5: unknown key "user"`,
		"unknown_key_http_headers.yml":            `servers: entry 1: line 6: unknown key "secret"`,
		"unknown_key_import.yml":                  `imports: entry 1: line 8: unknown key "lables"`,
		"unknown_key_oauth2_tls_config.yml":       `servers: entry 1: line 6: unknown key "insecure"`,
		"unknown_key_odd.yml":                     `servers: entry 1: line 4: unknown key "password…"`,
		"unknown_key_tls_config.yml":              `servers: entry 1: line 5: unknown key "ca_path"`,
		"unknown_keys.yml":                        `servers: entry 1: line 3: unknown key "url" (and 2 more like it)`,
		"username_file_missing.yml":               "servers: entry 1: basic_auth.username_file: testdata/bad/secrets/nobody: no such file or directory",
	}
	files, err := filepath.Glob("testdata/bad/*.yml")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d files in testdata/bad, %d expected errors (%v)", len(files), len(want), err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			cfg, err := newLoader(path).Load()
			if err == nil {
				t.Fatal("loads")
			}
			if got, want := err.Error(), path+": "+want[filepath.Base(path)]; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if found := internals.FindString(err.Error()); found != "" {
				t.Errorf("%q in the error: %v", found, err)
			}
			if !reflect.DeepEqual(cfg, collector.Config{}) {
				t.Errorf("got a config with the error: %+v", cfg)
			}
			if checked := newLoader(path).Check(); checked == nil || checked.Error() != err.Error() {
				t.Errorf("Check says %v, Load %v", checked, err)
			}
		})
	}
}

func TestBadImportFiles(t *testing.T) {
	want := map[string]string{
		"cut_short.json":        "line 1: not valid YAML: found unexpected end of stream",
		"duplicate.yml":         `entry 3: my-repo/main/abc on server "prod": is in entry 1 already`,
		"duplicate_key.yml":     "entry 1: line 1: the same key is in line 1 already",
		"empty_entry.yml":       "line 2: entry 2 of the list is empty",
		"entries_of_text.json":  "entry 1: line 1: must be a mapping, not a single value",
		"expected_objects.json": "entry 1: expected_objects: must be a whole number",
		"label.yml":             `entry 1: label "__team": names that begin with __ are reserved`,
		"label_value.yml":       "entry 1: line 1: must be text, not a mapping",
		"mapping.yml":           "line 1: must be a list, not a mapping",
		"repository.yml":        `entry 3: repository "My Repo": must match ^[a-z0-9][a-z0-9-]{2,62}$`,
		"second_document.yaml":  "line 2: another YAML document begins, where one is all there can be",
		"server_missing.yml":    "entry 1: server is missing: the config has more than one",
		"server_unknown.yml":    `entry 1: server "dev": the config has none of that name`,
		"syntax.yml":            "line 3: not valid YAML here or below: did not find expected '-' indicator",
		"text.yml":              "line 1: must be a list, not a single value",
		"unknown_key.yml":       `entry 1: line 1: unknown key "import_id"`,
	}
	err := newLoader("testdata/bad_imports.yml").Check()
	if err == nil {
		t.Fatal("all load")
	}
	lines := strings.Split(err.Error(), "\n")
	if !slices.IsSorted(lines) {
		t.Error("not sorted by file")
	}
	for _, line := range lines {
		name, got, _ := strings.Cut(strings.TrimPrefix(line, "import file testdata/bad_imports/"), ": ")
		if got != want[name] {
			t.Errorf("%s: got  %s\nwant %s", name, got, want[name])
		}
		if found := internals.FindString(got); found != "" {
			t.Errorf("%s: %q in the error: %s", name, found, got)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s loads", name)
	}
	// Load itself puts up with them: one bad file must not break another.
	cfg := mustLoad(t, newLoader("testdata/bad_imports.yml"))
	set := cfg.Files.Load()
	if len(set.Imports) != 0 || len(set.Failed) != len(lines) {
		t.Errorf("got %+v", set)
	}
}

func newImport(server, id string) collector.Import {
	return collector.Import{
		Key:             collector.Key{Server: server, Ref: lakefs.Ref{Repository: "my-repo", Branch: "main", ID: id}},
		NoProgressAfter: collector.DefaultNoProgressAfter,
	}
}

func TestFullConfig(t *testing.T) {
	l := newLoader("testdata/good/full.yml")
	cfg := mustLoad(t, l)
	type server struct {
		name, endpoint string
		timeout        time.Duration
		requests       int
	}
	var servers []server
	for _, s := range cfg.Servers {
		servers = append(servers, server{s.Name, s.Client.EndpointURL(), s.Timeout, s.MaxConcurrentRequests})
	}
	if want := []server{
		{"prod", "https://lakefs.example.com", 90 * time.Second, 4},
		{"[::1]:8000", "http://[::1]:8000", 5 * time.Second, 32},
		{"same endpoint, another name ✓", "http://[::1]:8000", 5 * time.Second, 32},
		{"aliases", "http://lakefs.example.com", 5 * time.Second, 32},
	}; !slices.Equal(servers, want) {
		t.Errorf("servers:\ngot  %+v\nwant %+v", servers, want)
	}

	first := newImport("prod", "dc1chj1ksduerdki88b0")
	first.ExpectedObjects = 128000
	first.NoProgressAfter = 26 * time.Hour
	first.Labels = map[string]string{"team": "ingest", "version": "1.10", "on_call": "yes"}
	if want := []collector.Import{first, newImport("aliases", "dc1chj1ksduerdki88b0")}; !reflect.DeepEqual(cfg.Imports, want) {
		t.Errorf("imports:\ngot  %+v\nwant %+v", cfg.Imports, want)
	}

	if want := []collector.Repository{
		{Server: "prod", Name: "my-repo", MaxImportAge: 26 * time.Hour, Labels: map[string]string{"team": "ingest"}},
		{Server: "aliases", Name: "my-repo"},
	}; !reflect.DeepEqual(cfg.Repositories, want) {
		t.Errorf("repositories:\ngot  %+v\nwant %+v", cfg.Repositories, want)
	}

	a2, b1 := newImport("prod", "a2"), newImport("prod", "b1")
	a2.NoProgressAfter = 45 * time.Minute
	b1.ExpectedObjects = 5
	b1.Labels = map[string]string{"team": "café"}
	set := cfg.Files.Load()
	if want := []collector.Import{newImport("prod", "a1"), a2, b1}; !reflect.DeepEqual(set.Imports, want) {
		t.Errorf("imports of files:\ngot  %+v\nwant %+v", set.Imports, want)
	}
	dir := filepath.FromSlash("testdata/good/imports/")
	if want := map[string]bool{dir + "a.yml": false, dir + "b.json": false, dir + "empty.yml": false}; !reflect.DeepEqual(set.Failed, want) {
		t.Errorf("files:\ngot  %v\nwant %v", set.Failed, want)
	}
	if err := l.Check(); err != nil {
		t.Error(err)
	}
}

func TestDefaults(t *testing.T) {
	cfg := mustLoad(t, newLoader("testdata/good/one_server.yml"))
	if s := cfg.Servers[0]; s.Name != "lakefs.example.com:8000" || s.Client.EndpointURL() != "https://lakefs.example.com:8000/prefix" ||
		s.Timeout != 5*time.Second || s.MaxConcurrentRequests != 32 {
		t.Errorf("got server %+v", s)
	}
	if want := []collector.Import{newImport("lakefs.example.com:8000", "8d2f4b7e-0001")}; !reflect.DeepEqual(cfg.Imports, want) {
		t.Errorf("got %+v, want %+v", cfg.Imports, want)
	}
	if set := cfg.Files.Load(); len(set.Imports) != 0 || len(set.Failed) != 0 {
		t.Errorf("got files without import_files: %+v", set)
	}
}

func TestHugeMaxConcurrentRequests(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "config.yml", "servers: [{endpoint_url: http://lakefs, max_concurrent_requests: 9223372036854775807}]")
	cfg := mustLoad(t, newLoader(filepath.Join(dir, "config.yml")))
	if got := cfg.Servers[0].MaxConcurrentRequests; got != math.MaxInt32 {
		t.Errorf("got %d", got)
	}
}

// request loads a config and returns what its first server's client sends.
func request(t *testing.T, dir, settings string, getenv func(string) string) *http.Request {
	t.Helper()
	var got *http.Request
	lakeFS := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(lakeFS.Close)
	l := newLoader(filepath.Join(dir, "config.yml"))
	if getenv != nil {
		write(t, dir, "config.yml", "")
		l.getenv = func(name string) string {
			return strings.ReplaceAll(getenv(name), "ENDPOINT", lakeFS.URL)
		}
	} else {
		write(t, dir, "config.yml", "servers:\n- endpoint_url: "+lakeFS.URL+"\n"+settings)
	}
	client := mustLoad(t, l).Servers[0].Client
	defer client.CloseIdleConnections()
	if err := client.Healthcheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestClientIsAsConfigured(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "secrets/id", "me\n", "secrets/key", "hunter2\n")
	for name, tt := range map[string]struct{ settings, header, want string }{
		"basic auth inline":   {"  basic_auth: {username: me, password: hunter2}", "Authorization", "Basic bWU6aHVudGVyMg=="},
		"basic auth of files": {"  basic_auth: {username_file: secrets/id, password_file: secrets/key}", "Authorization", "Basic bWU6aHVudGVyMg=="},
		"bearer token file":   {"  bearer_token_file: secrets/key", "Authorization", "Bearer hunter2"},
		"absolute path":       {"  authorization: {credentials_file: " + filepath.Join(dir, "secrets/key") + "}", "Authorization", "Bearer hunter2"},
		"header of a file":    {"  http_headers: {X-Token: {files: [secrets/key]}}", "X-Token", "hunter2"},
		"user agent":          {"", "User-Agent", "test-agent"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, dir, tt.settings, nil)
			if got := r.Header.Get(tt.header); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if r.URL.Path != "/api/v1/healthcheck" {
				t.Errorf("got path %s", r.URL.Path)
			}
		})
	}
}

// Every setting that names a file or a secret must be among fileSettings, also
// those that Prometheus adds in time.
func TestFileSettingsAreComplete(t *testing.T) {
	c := common.HTTPClientConfig{
		BasicAuth: &common.BasicAuth{}, Authorization: &common.Authorization{}, OAuth2: &common.OAuth2{},
		HTTPHeaders: &common.Headers{Headers: map[string]common.Header{"X-Token": {Files: []string{""}}}},
	}
	want := []string{"http_headers.X-Token.files"}
	var walk func(v reflect.Value, prefix string)
	walk = func(v reflect.Value, prefix string) {
		for i := range v.NumField() {
			key, options, ok := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
			field := reflect.Indirect(v.Field(i))
			switch {
			case !ok:
			case strings.HasSuffix(key, "_file"), strings.HasSuffix(key, "_ref"):
				field.SetString(prefix + key)
				if strings.HasSuffix(key, "_file") {
					want = append(want, prefix+key)
				}
			case field.Kind() != reflect.Struct:
			case options == "inline":
				walk(field, prefix)
			default:
				walk(field, prefix+key+".")
			}
		}
	}
	walk(reflect.ValueOf(&c).Elem(), "")
	var got []string
	for _, s := range fileSettings(&c) {
		got = append(got, s.key)
		if !strings.HasSuffix(s.key, ".files") && *s.path != s.key {
			t.Errorf("%s is that of %s", s.key, *s.path)
		}
		if ref := strings.TrimSuffix(s.key, "file") + "ref"; s.ref != "" && s.ref != ref {
			t.Errorf("%s has the ref of %s", s.key, s.ref)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestEnvironment(t *testing.T) {
	env := map[string]string{
		"LAKECTL_SERVER_ENDPOINT_URL":               "ENDPOINT/api/v1",
		"LAKECTL_CREDENTIALS_ACCESS_KEY_ID":         "me",
		"LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY":     "hunter2",
		"LAKECTL_SERVER_ENDPOINT_URL_OF_NO_MEANING": "x",
	}
	r := request(t, t.TempDir(), "", func(name string) string { return env[name] })
	if user, password, ok := r.BasicAuth(); user != "me" || password != "hunter2" || !ok {
		t.Errorf("sent %q, %q", user, password)
	}

	l := NewLoader("testdata/good/environment.yml", "", log.NewNopLogger())
	t.Setenv("LAKECTL_SERVER_ENDPOINT_URL", "https://lakefs.example.com")
	t.Setenv("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", "me")
	t.Setenv("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", "hunter2")
	cfg := mustLoad(t, l)
	if want := []collector.Import{newImport("lakefs.example.com", "abc")}; !reflect.DeepEqual(cfg.Imports, want) {
		t.Errorf("got %+v, want %+v", cfg.Imports, want)
	}
	if err := l.Check(); err != nil {
		t.Error(err)
	}
	// Servers that are written leave no place for that of the environment.
	cfg = mustLoad(t, NewLoader("testdata/good/one_server.yml", "", log.NewNopLogger()))
	if len(cfg.Servers) != 1 || cfg.Servers[0].Name != "lakefs.example.com:8000" {
		t.Errorf("got %+v", cfg.Servers)
	}
}

func TestBadEnvironment(t *testing.T) {
	const missing = "testdata/good/empty.yml: no servers, and the environment does not name one: "
	for name, tt := range map[string]struct{ endpoint, keyID, secret, want string }{
		"no endpoint": {"", "me", "hunter2", missing + "LAKECTL_SERVER_ENDPOINT_URL not set"},
		"no key ID":   {"https://lakefs", "", "hunter2", missing + "LAKECTL_CREDENTIALS_ACCESS_KEY_ID not set"},
		"no keys":     {"https://lakefs", "", "", missing + "LAKECTL_CREDENTIALS_ACCESS_KEY_ID, LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY not set"},
		"bad endpoint": {
			"lakefs:8000", "me", "hunter2",
			"testdata/good/empty.yml: server of LAKECTL_SERVER_ENDPOINT_URL: endpoint_url: must begin with http:// or https://",
		},
		"secret in the endpoint": {
			"https://me:hunter2", "me", "hunter2",
			"testdata/good/empty.yml: server of LAKECTL_SERVER_ENDPOINT_URL: endpoint_url: not a URL",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoader("testdata/good/empty.yml")
			l.getenv = func(name string) string {
				return map[string]string{envEndpoint: tt.endpoint, envKeyID: tt.keyID, envSecret: tt.secret}[name]
			}
			if _, err := l.Load(); err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestNoConfigFile(t *testing.T) {
	_, err := newLoader("testdata/nothing.yml").Load()
	const want = "testdata/nothing.yml: no such file or directory: copy config.example.yml there, " +
		"or try --demo, which needs no config and no lakeFS"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("not fs.ErrNotExist")
	}
	if _, err := newLoader("testdata").Load(); err == nil || err.Error() != "testdata: is a directory" {
		t.Errorf("got %v", err)
	}
}

// What is wrong in a reload changes nothing for the config before.
func TestFailedReload(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "config.yml", "servers: [{name: prod, endpoint_url: http://lakefs}]\nimport_files: ['*.json']\n",
		"a.json", `[{"repository": "my-repo", "branch": "main", "id": "a", "server": "prod"}]`)
	l := newLoader(filepath.Join(dir, "config.yml"))
	cfg := mustLoad(t, l)
	before := cfg.Files.Load()
	write(t, dir, "config.yml", "servers: [{name: staging, endpoint_url: http://lakefs}]\nimport_files: ['*.txt']\n")
	if _, err := l.Load(); err == nil {
		t.Fatal("loads")
	}
	if after := cfg.Files.Load(); !reflect.DeepEqual(before, after) || len(after.Imports) != 1 {
		t.Errorf("got %+v, before %+v", after, before)
	}
}

const examplePath = "../../config.example.yml"

func TestExample(t *testing.T) {
	l := newLoader(examplePath)
	cfg := mustLoad(t, l)
	if len(cfg.Servers) != 1 || len(cfg.Imports) != 1 {
		t.Errorf("got %+v", cfg)
	}
	if err := l.Check(); err != nil {
		t.Error(err)
	}
}

// The example shows every key of ours.
func TestExampleIsComplete(t *testing.T) {
	data, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[file](), reflect.TypeFor[server](), reflect.TypeFor[entry]()} {
		for i := range typ.NumField() {
			key, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
			if key != "" && !regexp.MustCompile(`(?m)^[ -]*`+key+`:`).Match(data) {
				t.Errorf("%s is not in %s", key, examplePath)
			}
		}
	}
}
