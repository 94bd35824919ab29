package config

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"
	"go.uber.org/goleak"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/discovery"
)

func TestMain(m *testing.M) {
	for _, name := range []string{envEndpoint, envKeyID, envSecret} {
		os.Unsetenv(name)
	}
	goleak.VerifyTestMain(m)
}

// newLoader returns a Loader that logs nothing.
func newLoader(path string) *Loader { return NewLoader(path, "test-agent", log.NewNopLogger()) }

func mustLoad(t testing.TB, l *Loader) collector.Config {
	t.Helper()
	cfg, err := l.Load()
	must(t, err)
	return cfg
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write writes files, given as pairs of path in dir and content.
func write(t testing.TB, dir string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(files[i+1]), 0o600))
	}
}

// badFile is a section of a file in testdata: "-- NAME: ERROR | ERROR --" and content.
type badFile struct{ name, want, content string }

func badFiles(t testing.TB, path string) (files []badFile) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	for _, section := range strings.Split("\n"+string(data), "\n-- ")[1:] {
		header, content, _ := strings.Cut(section, " --\n")
		name, want, ok := strings.Cut(header, ": ")
		if !ok {
			t.Fatalf("%s: bad section: %s", path, section)
		}
		files = append(files, badFile{name, want, content + "\n"})
	}
	return files
}

// internals matches what of Go and of yaml.v3 no user should see. Every secret
// in testdata is hunter2.
var internals = regexp.MustCompile(`hunter|yaml:|!!|\b(yaml|url)\.|\binto\b|interface|map\[`)

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", want)
	}
	if err.Error() != want {
		t.Errorf("\ngot  %s\nwant %s", err, want)
	}
	if found := internals.FindString(err.Error()); found != "" {
		t.Errorf("%q in the error: %v", found, err)
	}
}

func TestBadConfigs(t *testing.T) {
	for _, bad := range badFiles(t, "testdata/bad_configs.txtar") {
		t.Run(bad.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			write(t, ".", "config.yml", bad.content, "secrets/token", "hunter2\n")
			cfg, err := newLoader("config.yml").Load()
			checkError(t, err, "config.yml: "+strings.ReplaceAll(bad.want, " | ", "\nconfig.yml: "))
			if !reflect.DeepEqual(cfg, collector.Config{}) {
				t.Errorf("got a config with the error: %+v", cfg)
			}
			if _, checked := newLoader("config.yml").Check(); checked == nil || checked.Error() != err.Error() {
				t.Errorf("Check says %v, Load %v", checked, err)
			}
		})
	}
}

func newImport(server, id string) collector.Import {
	return collector.Import{
		Key:             collector.Key{Server: server, Repository: "my-repo", ID: id},
		Branch:          "main",
		NoProgressAfter: collector.DefaultNoProgressAfter,
	}
}

func TestFullConfig(t *testing.T) {
	cfg := mustLoad(t, newLoader("testdata/good/full.yml"))
	var servers []string
	for _, s := range cfg.Servers {
		servers = append(servers, fmt.Sprint(s.Name, " ", s.Client.EndpointURL(), " ", s.Timeout, " ", s.MaxConcurrentRequests))
	}
	if want := []string{
		"prod https://lakefs.example.com 1m30s 4",
		"[::1]:8000 http://[::1]:8000 5s 32",
		"same endpoint, another name ✓ http://[::1]:8000 5s 32",
		"aliases http://lakefs.example.com 5s 2147483647",
	}; !slices.Equal(servers, want) {
		t.Errorf("servers:\ngot  %q\nwant %q", servers, want)
	}

	first, second := newImport("prod", "dc1chj1ksduerdki88b0"), newImport("aliases", "dc1chj1ksduerdki88b0")
	first.ExpectedObjects = 128000
	first.NoProgressAfter = 26 * time.Hour
	first.MaxDuration = 90 * time.Minute
	first.Labels = map[string]string{"team": "ingest", "version": "1.10", "on_call": "yes"}
	second.Branch = "-"
	if want := []*collector.Import{&first, &second}; !reflect.DeepEqual(cfg.Imports, want) {
		t.Errorf("imports:\ngot  %+v\nwant %+v", cfg.Imports, want)
	}

	if want := []collector.Repository{
		{Server: "prod", Name: "my-repo", MaxImportAge: 26 * time.Hour, Labels: map[string]string{"team": "ingest"}},
		{Server: "aliases", Name: "my-repo"},
	}; !reflect.DeepEqual(cfg.Repositories, want) {
		t.Errorf("repositories:\ngot  %+v\nwant %+v", cfg.Repositories, want)
	}

	a1, a2, b1 := newImport("prod", "a1"), newImport("prod", "a2"), newImport("prod", "b1")
	a2.NoProgressAfter = 45 * time.Minute
	b1.ExpectedObjects = 5
	b1.Labels = map[string]string{"team": "café"}
	if got, want := firstSet(t, cfg), (collector.FileSet{
		Imports: []*collector.Import{&a1, &a2, &b1},
		Errors:  map[string]string{"testdata/good/imports/a.yml": "", "testdata/good/imports/b.json": "", "testdata/good/imports/empty.yml": ""},
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("files:\ngot  %+v\nwant %+v", got, want)
	}
}

// sent returns what the client of the first server sends, by a config that contains
// ENDPOINT.
func sent(t *testing.T, dir, config string) *http.Request {
	t.Helper()
	var got *http.Request
	lakeFS := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(lakeFS.Close)
	write(t, dir, "config.yml", strings.ReplaceAll(config, "ENDPOINT", lakeFS.URL))
	client := mustLoad(t, newLoader(filepath.Join(dir, "config.yml"))).Servers[0].Client
	defer client.CloseIdleConnections()
	if _, err := client.Healthcheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestClientIsAsConfigured(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "secrets/id", "me\n", "secrets/key", "hunter2\n")
	for name, tt := range map[string]struct{ settings, header, want string }{
		"basic auth inline":   {"basic_auth: {username: me, password: hunter2}", "Authorization", "Basic bWU6aHVudGVyMg=="},
		"basic auth of files": {"basic_auth: {username_file: secrets/id, password_file: secrets/key}", "Authorization", "Basic bWU6aHVudGVyMg=="},
		"bearer token file":   {"bearer_token_file: secrets/key", "Authorization", "Bearer hunter2"},
		"absolute path":       {"authorization: {credentials_file: " + filepath.Join(dir, "secrets/key") + "}", "Authorization", "Bearer hunter2"},
		"header of a file":    {"http_headers: {X-Token: {files: [secrets/key]}}", "X-Token", "hunter2"},
		"user agent":          {"timeout: 5s", "User-Agent", "test-agent"},
	} {
		t.Run(name, func(t *testing.T) {
			r := sent(t, dir, "servers: [{endpoint_url: ENDPOINT, "+tt.settings+"}]")
			if got := r.Header.Get(tt.header); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// What cannot be read must not make a reload hang.
func TestConfigsThatCannotBeRead(t *testing.T) {
	t.Chdir(t.TempDir())
	must(t, syscall.Mkfifo("fifo", 0o600))
	write(t, ".", "config.yml", "servers: [{endpoint_url: http://lakefs, bearer_token_file: fifo}]", "large.yml", "")
	must(t, os.Truncate("large.yml", 16<<20+1))
	for path, want := range map[string]string{
		"nothing.yml": "no such file or directory: copy config.example.yml there, or try --demo, which needs no config and no lakeFS",
		".":           "not a regular file",
		"fifo":        "not a regular file",
		"large.yml":   "larger than 16384 KiB",
		"config.yml":  "line 1: servers: entry 1: bearer_token_file: read fifo: not a regular file",
	} {
		t.Run(path, func(t *testing.T) {
			_, err := newLoader(path).Load()
			checkError(t, err, path+": "+want)
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("LAKECTL_SERVER_ENDPOINT_URL", "https://lakefs.example.com")
	t.Setenv("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", "me")
	t.Setenv("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", "hunter2")
	for path, want := range map[string]string{
		"testdata/good/environment.yml": "lakefs.example.com",
		// Configured servers take precedence.
		"testdata/good/one_server.yml": "lakefs.example.com:8000",
	} {
		cfg := mustLoad(t, newLoader(path))
		if len(cfg.Servers) != 1 || cfg.Servers[0].Name != want || cfg.Imports[0].Server != want {
			t.Errorf("%s: got %+v", path, cfg)
		}
	}
}

func TestBadEnvironment(t *testing.T) {
	for _, name := range []string{envEndpoint, envKeyID, envSecret} {
		t.Setenv(name, "https://me:hunter2")
	}
	_, err := newLoader("testdata/good/empty.yml").Load()
	checkError(t, err, "testdata/good/empty.yml: LAKECTL_SERVER_ENDPOINT_URL: not a URL")
}

// The example loads, and shows every key of ours.
func TestExample(t *testing.T) {
	const path = "../../config.example.yml"
	if _, err := newLoader(path).Check(); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(path)
	must(t, err)
	for _, typ := range []reflect.Type{
		reflect.TypeFor[file](), reflect.TypeFor[server](), reflect.TypeFor[entry](), reflect.TypeFor[settings](), reflect.TypeFor[repository](),
		reflect.TypeFor[discoveryConfig](), reflect.TypeFor[discovery.PostgresConfig](), reflect.TypeFor[discovery.DynamoDBConfig](), reflect.TypeFor[discoveryRule](),
	} {
		for field := range typ.Fields() {
			key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if key != "" && !regexp.MustCompile(`(?m)^[# -]*[{\w:" .,*-]*\b`+key+`:`).Match(data) {
				t.Errorf("%s is not in %s", key, path)
			}
		}
	}
}
