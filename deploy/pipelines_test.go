package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// credentials are those of the exporter's import API, as they are in nginx.conf.
const credentials = "pipeline:secret"

// startWithImportAPI starts the exporter in dir with the import API.
func startWithImportAPI(t *testing.T, dir, address string, lakeFS string) *process {
	t.Helper()
	return startForPipelines(t, dir, address, lakeFS, "--web.enable-import-api")
}

// startForPipelines starts the exporter in dir with a storage and with credentials.
func startForPipelines(t *testing.T, dir, address, lakeFS string, flags ...string) *process {
	t.Helper()
	write(t, filepath.Join(dir, "config.yml"), fmt.Sprintf("servers: [{name: prod, endpoint_url: %s, basic_auth: {username: %s, password: %s}}]\n",
		lakeFS, lakefstest.AccessKeyID, lakefstest.SecretAccessKey))
	write(t, filepath.Join(dir, "web.yml"), "basic_auth_users: {pipeline: $2a$04$uWOXW7Rto7Wkd1N/UaxCq.nqY/mv5OZQykEfulrusbtPRQxmHESMq}\n")
	p := start(t, buildExporter(t), append(flags, "--config.file="+filepath.Join(dir, "config.yml"), "--web.config.file="+filepath.Join(dir, "web.yml"),
		"--storage.path="+filepath.Join(dir, "storage"), "--web.listen-address="+address)...)
	p.URL = "http://" + credentials + "@" + p.addr
	return p
}

// watched returns the imports that the exporter watches and where they come from.
func watched(t *testing.T, exporter *process) []string {
	t.Helper()
	var list struct {
		Imports []struct {
			Repository, Branch, Source string
			ID                         string `json:"import_id"`
		}
	}
	if err := get(exporter.URL+"/api/v1/imports", &list); err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, i := range list.Imports {
		found = append(found, i.Repository+"/"+i.Branch+"/"+i.ID+" "+i.Source)
	}
	slices.Sort(found)
	return found
}

// eventuallyWatched waits until the exporter watches exactly these imports.
func eventuallyWatched(t *testing.T, exporter *process, want ...string) {
	t.Helper()
	slices.Sort(want)
	eventually(t, "imports to be watched", func() error {
		if got := watched(t, exporter); !slices.Equal(got, want) {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
}

// lakeFSProgram behaves as lakefs does: kv scan prints the records of a partition, of
// which there is a file each; it logs, and prints errors to standard output.
const lakeFSProgram = `#!/bin/sh
echo 'level=info msg="Configuration file"' >&2
[ "$LAKEFS_LOGGING_OUTPUT" = = ] || echo '{"level":"info","msg":"Config loaded"}'
case "$1 $2 $4 $5 $6" in
"kv scan repos/ --until repos0" | "kv scan imports/ --until imports0") ;;
*) echo "Error: $*"; exit 1 ;;
esac
[ -e "$RECORDS/$3" ] || { echo "failed to open KV store"; exit 1; }
cat "$RECORDS/$3"
`

// scannedImport is a record of an import as lakefs kv scan prints it.
func scannedImport(partition, id string) string {
	return fmt.Sprintf(`{"partition":%q,"key":"imports/%s","value":{"key":"ZGM0dTNl","data":"CLvDp9gGEMq8hS0="}}`+"\n", partition, id)
}

// kvScan is a kv-scan.sh that runs on testdata/kv-scan: the rows of a real
// database, as a real lakefs kv scan prints them.
type kvScan struct {
	t                  *testing.T
	records, file, log string
}

func startKVScan(t *testing.T) *kvScan {
	t.Helper()
	need(t, "bash")
	need(t, "jq")
	dir := t.TempDir()
	s := &kvScan{t: t, records: filepath.Join(dir, "records"), file: filepath.Join(dir, "imports", "lakefs.json")}
	if err := os.CopyFS(s.records, os.DirFS("testdata/kv-scan")); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"bin", "imports"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "lakefs"), []byte(lakeFSProgram), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "pipelines/kv-scan.sh", s.file)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "TMPDIR="+dir, "RECORDS="+s.records, "INTERVAL=0.05", "SERVER=prod")
	s.log = background(t, cmd).log
	return s
}

// set writes the records of a partition.
func (s *kvScan) set(partition, records string) {
	s.t.Helper()
	path := filepath.Join(s.records, partition)
	write(s.t, path+".new", records)
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
}

// eventuallyHas waits until the file has exactly these imports: REPOSITORY/ID.
func (s *kvScan) eventuallyHas(want []string) {
	s.t.Helper()
	slices.Sort(want)
	eventually(s.t, "the import file", func() error {
		data, err := os.ReadFile(s.file)
		if err != nil {
			return err
		}
		var entries []struct{ Repository, Branch, ID, Server string }
		if err := json.Unmarshal(data, &entries); err != nil {
			s.t.Fatalf("incomplete import file: %v", err)
		}
		var got []string
		for _, e := range entries {
			if e.Branch != lakefs.UnknownBranch || e.Server != "prod" {
				s.t.Fatalf("got entry %+v", e)
			}
			got = append(got, e.Repository+"/"+e.ID)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
}

// recordedImports are the imports in testdata/kv-scan.
func recordedImports(t *testing.T) []string {
	t.Helper()
	var imports []string
	record := regexp.MustCompile(`"partition":"([a-z0-9-]+)-[a-v0-9]{20}","key":"imports/(\w+)"`)
	for _, file := range glob(t, "testdata/kv-scan/*-*") {
		for _, m := range record.FindAllStringSubmatch(read(t, file), -1) {
			imports = append(imports, m[1]+"/"+m[2])
		}
	}
	if len(imports) != 21 {
		t.Fatalf("testdata/kv-scan has %d imports", len(imports))
	}
	return imports
}

const scannedPartition = "my-repo-dc4qbs9ksdua1or4bveg"

func TestKVScan(t *testing.T) {
	t.Parallel()
	s := startKVScan(t)
	want := recordedImports(t)
	s.eventuallyHas(want)

	// The exporter takes the file.
	lakeFS := startLakeFS(t)
	config := filepath.Join(filepath.Dir(filepath.Dir(s.file)), "config.yml")
	write(t, config, "servers:\n"+serverYAML("prod", lakeFS)+"import_files: [imports/*.json]\n")
	exporter := start(t, buildExporter(t), "--config.file="+config, "--web.listen-address=127.0.0.1:0")
	var all []string
	for _, i := range want {
		all = append(all, strings.Replace(i, "/", "/-/", 1)+" file")
	}
	eventuallyWatched(t, exporter, all...)

	// Imports come and go, and so do repositories.
	rows := read(t, filepath.Join(s.records, scannedPartition))
	s.set(scannedPartition, rows+scannedImport(scannedPartition, "dd0000000000000000g0")+scannedImport(scannedPartition, "not/an/id"))
	s.eventuallyHas(append([]string{"my-repo/dd0000000000000000g0"}, want...))
	s.set(scannedPartition, "")
	deleted := strings.Replace(read(t, filepath.Join(s.records, "graveler")), `"instance_uid":"dc4qjd1ksdua1or4cfig"`, `"state":1,"instance_uid":"dc4qjd1ksdua1or4cfig"`, 1)
	s.set("graveler", deleted)
	s.eventuallyHas(slices.DeleteFunc(want, func(i string) bool {
		return strings.HasPrefix(i, "my-repo/") || strings.HasPrefix(i, "hook-repo/")
	}))
}

func TestKVScanKeepsFile(t *testing.T) {
	t.Parallel()
	s := startKVScan(t)
	s.eventuallyHas(recordedImports(t))
	before := read(t, s.file)
	repositories := read(t, filepath.Join(s.records, "graveler"))
	for _, test := range []struct{ name, repositories string }{
		{"one repository cannot be scanned", repositories + strings.Replace(repositories, "dc4qbs9ksdua1or4bveg", "nosuch", 1)},
		{"no repositories", ""},
		{"no JSON", "panic: runtime error\n"},
		{"half a record", repositories[:100]},
	} {
		t.Run(test.name, func(t *testing.T) {
			failures := strings.Count(read(t, s.log), "keeping")
			s.set("graveler", test.repositories)
			eventually(t, "two scans to fail", func() error {
				if n := strings.Count(read(t, s.log), "keeping"); n < failures+2 {
					return fmt.Errorf("%d failures", n-failures)
				}
				return nil
			})
			if after := read(t, s.file); after != before {
				t.Errorf("got file %s", after)
			}
		})
	}
	for _, want := range []string{"lakefs kv scan my-repo-nosuch failed: ", "failed to open KV store", "found no repositories"} {
		if !strings.Contains(read(t, s.log), want) {
			t.Errorf("log does not tell: %s", want)
		}
	}
	s.set("graveler", repositories)
	s.set(scannedPartition, "")
	s.eventuallyHas(slices.DeleteFunc(recordedImports(t), func(i string) bool { return strings.HasPrefix(i, "my-repo/") }))
}

// The file is one that the exporter loads however many imports there are.
func TestKVScanOfManyImports(t *testing.T) {
	t.Parallel()
	const name = "a-repository-with-a-name-as-long-as-lakefs-allows-it-to-be-00000"
	s := startKVScan(t)
	var records strings.Builder
	var want []string
	for i := range 5100 {
		id := fmt.Sprintf("dd%018d", i)
		records.WriteString(scannedImport(name[:63]+"-dc4qbs9ksdua1or4bveg", id))
		if i >= 100 {
			want = append(want, name[:63]+"/"+id)
		}
	}
	s.set(name[:63]+"-dc4qbs9ksdua1or4bveg", records.String())
	s.set("graveler", read(t, filepath.Join(s.records, "graveler"))+
		fmt.Sprintf(`{"partition":"graveler","key":"repos/x","value":{"id":%q,"instance_uid":"dc4qbs9ksdua1or4bveg"}}`+"\n", name[:63]))
	s.eventuallyHas(want)
	config := filepath.Join(t.TempDir(), "config.yml")
	write(t, config, "servers: [{name: prod, endpoint_url: http://127.0.0.1:1}]\nimport_files: ["+s.file+"]\n")
	if out, err := exec.Command(buildExporter(t), "--config.file="+config, "--config.check").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

const njsModule = "/usr/lib/nginx/modules/ngx_http_js_module.so"

// nginx is a real nginx in front of a lakeFS.
type nginx struct {
	t      *testing.T
	client *http.Client
	log    string
}

// startNginx starts nginx with the shipped files, in which the addresses are others. Its
// own are unix sockets.
func startNginx(t *testing.T, lakeFS *lakefstest.Server, exporter, delays string) *nginx {
	t.Helper()
	program := need(t, "nginx")
	if _, err := os.Stat(njsModule); err != nil {
		need(t, njsModule)
	}
	dir := t.TempDir()
	front, forward := filepath.Join(dir, "front"), "unix:"+filepath.Join(dir, "forward")
	rewrite(t, "pipelines/nginx/imports.js").replace("[0, 1, 5, 10, 20, 30]", delays).write(filepath.Join(dir, "imports.js"))
	rewrite(t, "pipelines/nginx/nginx.conf").
		replace("/etc/nginx/imports.js", filepath.Join(dir, "imports.js")).
		replace("listen 80;", "listen unix:"+front+";").
		replace("listen 127.0.0.1:10471;", "listen "+forward+";").
		replace("http://127.0.0.1:10471/", "http://"+forward+":/").
		replace("server 127.0.0.1:8000;", "server "+strings.TrimPrefix(lakeFS.URL, "http://")+";").
		replace("server 127.0.0.1:10470;", "server "+exporter+";").
		write(filepath.Join(dir, "lakefs.conf"))
	main := "load_module " + njsModule + ";\ndaemon off;\nmaster_process off;\npid " + dir + "/pid;\nerror_log stderr info;\n" +
		"events { worker_connections 400; }\nhttp {\naccess_log off;\ninclude lakefs.conf;\n"
	for _, path := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		main += path + "_temp_path " + dir + "/temp;\n"
	}
	write(t, filepath.Join(dir, "nginx.conf"), main+"}\n")
	n := &nginx{t: t, log: background(t, exec.Command(program, "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))).log}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", front)
	}
	// One connection, so that whatever keeps it busy delays the next request.
	n.client = &http.Client{Timeout: 8 * time.Second, Transport: &http.Transport{DialContext: dial, MaxConnsPerHost: 1}}
	eventually(t, "nginx", func() error {
		conn, err := dial(t.Context(), "", "")
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	return n
}

const importStart = `{"paths": [{"type": "common_prefix", "path": "s3://bucket/data/", "destination": "data/"}], "commit": {"message": "nightly"}}`

// do sends a request with the keys of lakeFS and returns the answer and its body.
func (n *nginx) do(method, path, body string) (*http.Response, string) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), method, "http://lakefs"+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	req.SetBasicAuth(lakefstest.AccessKeyID, lakefstest.SecretAccessKey)
	req.Header.Set("Cookie", "internal_auth_session=secret")
	resp, err := n.client.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return resp, string(answer)
}

// start starts an import through nginx and returns its ID.
func (n *nginx) start() string {
	n.t.Helper()
	resp, body := n.do(http.MethodPost, "/api/v1/repositories/my-repo/branches/main/import", importStart)
	m := regexp.MustCompile(`^{"id":"(\w{20})"}\n$`).FindStringSubmatch(body)
	if resp.StatusCode != http.StatusAccepted || resp.ContentLength != int64(len(body)) || m == nil ||
		resp.Header.Get("Content-Type") != "application/json" {
		n.t.Fatalf("got status %d, header %v, body %q", resp.StatusCode, resp.Header, body)
	}
	return m[1]
}

func TestNginxRegistersImports(t *testing.T) {
	t.Parallel()
	lakeFS, dir := startLakeFS(t), t.TempDir()
	lakeFS.AddRepository("my-repo")
	exporter := startWithImportAPI(t, dir, "127.0.0.1:0", lakeFS.URL)
	n := startNginx(t, lakeFS, exporter.addr, "[0].concat(Array(40).fill(0.5))")
	first := n.start()
	eventuallyWatched(t, exporter, "my-repo/main/"+first+" api")

	// A restart of the exporter loses none.
	exporter.kill()
	second := n.start()
	exporter = startWithImportAPI(t, dir, exporter.addr, lakeFS.URL)
	eventuallyWatched(t, exporter, "my-repo/main/"+first+" api", "my-repo/main/"+second+" api")
}

// registrations is an exporter that records what it is asked for.
type registrations struct {
	*httptest.Server
	mu  sync.Mutex
	got []string
}

// newRegistrations answers with these statuses, one after the other, of which the last
// is repeated; 0 breaks the connection.
func newRegistrations(t *testing.T, statuses ...int) *registrations {
	r := new(registrations)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		user, password, _ := req.BasicAuth()
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, strings.TrimSpace(fmt.Sprint(req.Method, " ", req.RequestURI, " ", user, ":", password, " ", req.Header.Get("Cookie"), string(body))))
		status := statuses[min(len(r.got), len(statuses))-1]
		if status == 0 {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.Close()
			}
			return
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *registrations) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func TestNginxRegistersNothingElse(t *testing.T) {
	t.Parallel()
	lakeFS := startLakeFS(t)
	running := lakeFS.Start("my-repo", "main", slow)
	exporter := newRegistrations(t, http.StatusCreated)
	n := startNginx(t, lakeFS, exporter.Listener.Addr().String(), "[0]")
	const path = "/api/v1/repositories/my-repo/branches/main/import"
	for _, test := range []struct {
		method, path, body string
		want               int
	}{
		{http.MethodGet, path + "?id=" + running.ID, "", http.StatusOK},
		{http.MethodPost, path, "{}", http.StatusBadRequest},
		{http.MethodPost, strings.Replace(path, "my-repo", "nosuch", 1), importStart, http.StatusNotFound},
		{http.MethodDelete, path + "?id=" + running.ID, "", http.StatusNoContent},
		{http.MethodPut, "/.lakefs_import_exporter", "", http.StatusNotFound},
		{http.MethodGet, "/", "", http.StatusOK},
	} {
		if resp, body := n.do(test.method, test.path, test.body); resp.StatusCode != test.want {
			t.Errorf("%s %s: got status %d: %s", test.method, test.path, resp.StatusCode, body)
		}
	}
	want := []string{"PUT /api/v1/imports/my-repo/main/" + n.start() + " " + credentials}
	eventually(t, "the registration", func() error {
		if got := exporter.list(); !slices.Equal(got, want) {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
}

// Whatever the exporter does, lakeFS's clients get their answers, at once and on the
// same connection.
func TestNginxIsNeverInTheWay(t *testing.T) {
	t.Parallel()
	hangs, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hangs.Close() })
	for name, exporter := range map[string]string{
		"down":    "127.0.0.1:1",
		"hangs":   hangs.Addr().String(), // accepted by the kernel, never answered
		"refuses": newRegistrations(t, http.StatusForbidden).Listener.Addr().String(),
		"breaks":  newRegistrations(t, 0).Listener.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lakeFS := startLakeFS(t)
			lakeFS.AddRepository("my-repo")
			n := startNginx(t, lakeFS, exporter, "[0, 1, 5, 10, 20, 30]")
			for range 300 {
				id := n.start()
				if resp, body := n.do(http.MethodGet, "/api/v1/repositories/my-repo/branches/main/import?id="+id, ""); resp.StatusCode != http.StatusOK {
					t.Fatalf("got status %d: %s", resp.StatusCode, body)
				}
			}
			if log := read(t, n.log); strings.Contains(log, "worker_connections are not enough") {
				t.Error("nginx ran out of connections")
			}
		})
	}
}

// Lines of lakeFS's log, as lakeFS 1.84 writes them: with ID, or SOURCE_IP and ID.
const (
	ingestJSON = `{"file":"pkg/catalog/catalog.go:2526","func":"pkg/catalog.(*Catalog).importAsync.func1","host":"lakefs.example.com","import_id":"%s","itr":{},"level":"debug","method":"POST","msg":"Ingest source","operation_id":"ImportStart","path":"/api/v1/repositories/my-repo/branches/main/import","service_name":"entry_catalog","source":"s3://bucket/data/","time":"2026-11-27T20:08:59Z","user":"admin"}`
	pollJSON   = `{"file":"net/http/server.go:2286","func":"net/http.HandlerFunc.ServeHTTP","host":"lakefs.example.com","level":"info","method":"GET","msg":"HTTP call ended","operation_id":"ImportStatus","path":"/api/v1/repositories/my-repo/branches/main/import?id=%[2]s","source_ip":"%[1]s:36890","status_code":200,"time":"2026-11-27T20:09:04Z","took":506753,"took_str":"506.753µs","user":"admin"}`
	startJSON  = `{"file":"net/http/server.go:2286","func":"net/http.HandlerFunc.ServeHTTP","host":"lakefs.example.com","level":"info","method":"POST","msg":"HTTP call ended","operation_id":"ImportStart","path":"/api/v1/repositories/my-repo/branches/main/import","source_ip":"10.0.0.9:36890","status_code":202,"time":"2026-11-27T20:08:59Z","took":3794888,"took_str":"3.794888ms","user":"admin"}`
	ingestText = `time="2026-11-27T20:09:06Z" level=debug msg="Ingest source" func="pkg/catalog.(*Catalog).importAsync.func1" file="pkg/catalog/catalog.go:2526" host="lakefs.example.com" import_id=%s itr="&{0x12495bd4a230 0x12495bd4c060 {{ <nil>} {{  false} }}}" method=POST operation_id=ImportStart path=/api/v1/repositories/my-repo/branches/main/import service_name=entry_catalog source="s3://bucket/\" path=/api/v1/repositories/x/" user=admin`
	pollText   = `time="2026-11-27T20:09:11Z" level=info msg="HTTP call ended" func=net/http.HandlerFunc.ServeHTTP file="net/http/server.go:2286" host="lakefs.example.com" method=GET operation_id=ImportStatus path="/api/v1/repositories/my-repo/branches/main/import?id=%[2]s" source_ip="%[1]s:45206" status_code=200 took=324217 took_str="324.217µs" user=admin`
)

// withClient returns a line of JSON as a lakeFS with RBAC writes it.
func withClient(line, client string) string {
	return strings.Replace(line, "{", `{"client":"`+client+`",`, 1)
}

const logShipper = "pipelines/log-shipper/register_imports.py"

// shipLog runs the log shipper over a log, to its end.
func shipLog(t *testing.T, exporter, log string, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, need(t, "python3"), logShipper)
	cmd.Env = append(append(os.Environ(), "EXPORTER="+exporter, "EXPORTER_USER="+credentials, "RETRY_SECONDS=0.1"), env...)
	cmd.Stdin = strings.NewReader(log)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestLogShipperReadsLog(t *testing.T) {
	t.Parallel()
	const id, exporter, other = "dc4u6mpksducj5k8ovt0", "10.0.0.7", "10.0.0.9"
	byOther, byExporter := fmt.Sprintf(pollJSON, other, id), fmt.Sprintf(pollJSON, exporter, id)
	for name, test := range map[string]struct {
		line, addresses string
		want            bool
	}{
		"ingest":                         {fmt.Sprintf(ingestJSON, id), "", true},
		"ingest, text":                   {fmt.Sprintf(ingestText, id), "", true},
		"ingest without ID":              {fmt.Sprintf(ingestJSON, ""), "", false},
		"many times":                     {fmt.Sprintf(ingestJSON+"\n"+ingestText+"\n"+ingestJSON, id, id, id), "", true},
		"start":                          {startJSON, exporter, false},
		"poll by somebody":               {byOther, "", false},
		"poll by another":                {byOther, exporter, true},
		"poll by another, text":          {fmt.Sprintf(pollText, other, id), exporter, true},
		"poll by another, IPv6":          {fmt.Sprintf(pollJSON, "[2001:db8::9]", id), "2001:db8::7", true},
		"poll by exporter":               {byExporter, other + ", " + exporter, false},
		"poll by exporter, text":         {fmt.Sprintf(pollText, exporter, id), exporter, false},
		"poll by exporter, IPv6":         {fmt.Sprintf(pollJSON, "[2001:db8::7]", id), "2001:db8::7", false},
		"poll by a known client":         {withClient(byOther, "lakectl/1.84.0"), "", true},
		"poll by a known exporter":       {withClient(byOther, "lakefs_import_exporter/1.0.0"), exporter, false},
		"poll of a branch unknown to it": {strings.Replace(byOther, "branches/main", "branches/-", 1), exporter, false},
		"poll of no import":              {strings.Replace(byOther, ":200", ":404", 1), exporter, false},
		"cancel":                         {strings.Replace(byOther, `"GET"`, `"DELETE"`, 1), exporter, false},
		"others":                         {"\n{\nnull\n{\"path\":3}\n\xff\xfe\npath=/import\n" + fmt.Sprintf(ingestJSON, id)[:300], exporter, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newRegistrations(t, http.StatusCreated)
			var want []string
			if test.want {
				want = []string{"PUT /api/v1/imports/my-repo/main/" + id + "?server=prod " + credentials}
			}
			shipLog(t, server.URL, test.line+"\n", "EXPORTER_ADDRESSES="+test.addresses, "SERVER=prod")
			if got := server.list(); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// It waits for an exporter that cannot take an import yet, and skips one that is refused.
func TestLogShipperRetries(t *testing.T) {
	t.Parallel()
	server := newRegistrations(t, 0, http.StatusServiceUnavailable, http.StatusUnauthorized, http.StatusCreated, http.StatusConflict)
	shipLog(t, server.URL, fmt.Sprintf(ingestJSON+"\n"+ingestJSON+"\n"+ingestJSON+"\n", "first", "second", "third"))
	var ids []string
	for _, r := range server.list() {
		ids = append(ids, regexp.MustCompile(`\w+ pipeline`).FindString(r))
	}
	if want := []string{"first pipeline", "first pipeline", "first pipeline", "first pipeline", "second pipeline", "third pipeline"}; !slices.Equal(ids, want) {
		t.Errorf("got %q, want %q", ids, want)
	}
}

// The exporter's own polls are in the log. An import that is not watched any more must
// not come back through them.
func TestLogShipperDoesNotFeedBack(t *testing.T) {
	t.Parallel()
	lakeFS := startLakeFS(t)
	var mu sync.Mutex
	var log strings.Builder
	logged := front(t, lakeFS.URL, func(_ int64, _ http.ResponseWriter, r *http.Request) bool {
		id, ip := r.URL.Query().Get("id"), strings.Split(r.RemoteAddr, ":")[0]
		line := fmt.Sprintf(pollJSON, ip, id)
		mu.Lock()
		defer mu.Unlock()
		for _, line := range []string{line, fmt.Sprintf(pollText, ip, id), withClient(strings.Replace(line, ip, "10.0.0.9", 1), r.UserAgent())} {
			fmt.Fprintln(&log, line)
		}
		return false
	})
	exporter := startWithImportAPI(t, t.TempDir(), "127.0.0.1:0", logged)
	polled, started := lakeFS.Start("my-repo", "main", slow), lakeFS.Start("my-repo", "main", slow)

	path := exporter.URL + "/api/v1/imports/" + polled.String()
	for _, method := range []string{http.MethodPut, http.MethodGet, http.MethodDelete} {
		if _, err := send(method, path, nil); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	text := log.String()
	mu.Unlock()
	if n := strings.Count(text, `import?id=`+polled.ID); n < 3 {
		t.Fatalf("log has %d lines of the exporter's polls", n)
	}
	text += fmt.Sprintf(ingestJSON+"\n", started.ID)
	for _, addresses := range []string{"", "127.0.0.1"} {
		shipLog(t, "http://"+exporter.addr, text, "EXPORTER_ADDRESSES="+addresses)
		if got, want := watched(t, exporter), []string{"my-repo/main/" + started.ID + " api"}; !slices.Equal(got, want) {
			t.Errorf("EXPORTER_ADDRESSES=%s: got %q, want %q", addresses, got, want)
		}
	}
}

// It registers an import when its line comes, not when the log ends.
func TestLogShipperFollowsLog(t *testing.T) {
	t.Parallel()
	server := newRegistrations(t, http.StatusCreated)
	cmd := exec.Command(need(t, "python3"), logShipper)
	cmd.Env = append(os.Environ(), "EXPORTER="+server.URL)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	background(t, cmd)
	if _, err := fmt.Fprintf(stdin, ingestText+"\n", "dc4u6mpksducj5k8ovt0"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a registration", func() error {
		if len(server.list()) == 0 {
			return errors.New("none")
		}
		return nil
	})
}
