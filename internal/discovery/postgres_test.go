//go:build e2e

package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"google.golang.org/protobuf/encoding/protowire"

	"lakefs_import_exporter/internal/discovery"
	"lakefs_import_exporter/lakefs/lakefstest"
)

func newPostgres(t testing.TB, dsn string) discovery.Source {
	t.Helper()
	source, err := discovery.NewPostgres(discovery.PostgresConfig{DSN: dsn})
	must(t, err)
	return source
}

// wantSet refreshes, and compares the imports found with those in rows.
func wantSet(t testing.TB, source discovery.Source, rows []row) {
	t.Helper()
	set, err := refresh(t, source, discovery.Options{})
	must(t, err)
	got := map[string]bool{}
	for _, i := range set.Imports {
		got[i.Repository+"/"+i.ID] = true
	}
	if diff := cmp.Diff(importsOf(rows), got); diff != "" || len(got) == 0 || len(got) != len(set.Imports) {
		t.Errorf("%d imports (-want +got):\n%s", len(set.Imports), diff)
	}
}

// wantError refreshes, and compares the error.
func wantError(t testing.TB, source discovery.Source, timeout time.Duration, want string) {
	t.Helper()
	if _, err := refresh(t, source, discovery.Options{Interval: timeout}); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

// A repositoryRow is what a repository's row is made of.
type repositoryRow struct {
	name, namespace, branch, uid string
	state                        uint64
	more                         []byte // fields of a newer lakeFS
}

func (r repositoryRow) rows(ids ...string) []row {
	var value []byte
	for n, field := range []string{r.name, r.namespace, r.branch} {
		value = protowire.AppendTag(value, protowire.Number(n+1), protowire.BytesType)
		value = protowire.AppendString(value, field)
	}
	value = append(value, 0x22, 11, 0x08, 0xb4, 0xd3, 0xa6, 0xd8, 0x06, 0x10, 0xa0, 0x97, 0xa8, 0x32) // a date
	if r.state != 0 {
		value = protowire.AppendTag(value, 5, protowire.VarintType)
		value = protowire.AppendVarint(value, r.state)
	}
	value = protowire.AppendTag(value, 6, protowire.BytesType)
	value = append(protowire.AppendString(value, r.uid), r.more...)
	rows := []row{{[]byte("graveler"), []byte("repos/" + r.name), value}}
	for _, id := range ids {
		rows = append(rows, row{[]byte(r.name + "-" + r.uid), []byte("imports/" + id), []byte("\x0a\x14" + id)})
	}
	return rows
}

// Repositories that lakeFS, or a newer one, could have: all with the import id.
const (
	uid = "dc4qjd1ksdua1or4cfig"
	id  = "dc4qjd1ksdua1or4cfk0"
)

var oddRepositories = []repositoryRow{
	{name: "minimal", uid: uid},
	{name: "uid-in-namespace", namespace: "s3://b/2\x14", branch: "main", uid: uid},
	{name: "uid-in-branch", namespace: "s3://b", branch: "2\x14dc4qjd1ksdua1or4cfi", uid: uid},
	{name: "not-utf8", namespace: "s3://b/\xff\x00\\", uid: uid},
	{name: "newer", namespace: "s3://b", uid: uid, more: []byte("\x38\x01\x42\x032\x14x\xfa\x01\x042\x142\x14")},
	{name: "newer-state", uid: uid, state: 2},
}

var oddRows = []row{
	{[]byte("graveler"), []byte("repos/no-value"), []byte{}},
	{[]byte("graveler"), []byte("repos/no-protobuf"), []byte("2\x14\xff\xff\xff")},
	{[]byte("graveler"), []byte("repos/\xff\xfe\x00"), repositoryRow{uid: uid}.rows()[0].value},
	{[]byte("graveler"), []byte("reposx"), repositoryRow{uid: uid}.rows()[0].value},
	{[]byte("graveler"), []byte("repos/" + strings.Repeat("long", 500)), repositoryRow{uid: uid}.rows()[0].value},
	{[]byte("graveler"), []byte("repos/long-uid"), repositoryRow{uid: strings.Repeat(uid, 100)}.rows()[0].value},
}

// recordedAndOdd returns recorded and odd rows, and which of them name imports
// that are to be found.
func recordedAndOdd(t testing.TB) (all, wanted []row) {
	t.Helper()
	wanted = recordedRows(t)
	for _, r := range oddRepositories {
		wanted = append(wanted, r.rows(id)...)
	}
	all = slices.Concat(oddRows, wanted)
	all = append(all, repositoryRow{name: "in-deletion", uid: uid, state: 1}.rows(id)...)
	all = append(all, row{[]byte("minimal-" + uid), []byte("imports/\xff\x00"), []byte{}}, row{[]byte("minimal-" + uid), []byte("importsx"), []byte{}})
	return all, wanted
}

func TestPostgresFindsAllImports(t *testing.T) {
	c := postgresCluster(t)
	all, wanted := recordedAndOdd(t)
	c.set(t, all)
	wantSet(t, newPostgres(t, c.exporterDSN()), wanted)
}

func TestPostgresScriptIsIdempotent(t *testing.T) {
	c := postgresCluster(t)
	c.set(t, recordedRows(t))
	c.exec(t, "lakefs", c.script(t), c.script(t))
	wantSet(t, newPostgres(t, c.exporterDSN()), recordedRows(t))
	c.exec(t, "lakefs", "DROP SCHEMA lakefs_import_exporter CASCADE")
	defer c.exec(t, "lakefs", c.script(t))
	wantError(t, newPostgres(t, c.exporterDSN()), time.Hour, "postgres: query: no such view, see deploy/lakefs/postgres.sql")
}

func TestPostgresRights(t *testing.T) {
	c := postgresCluster(t)
	rows := append(recordedRows(t), repositoryRow{name: "without-imports", uid: uid}.rows()...)
	c.set(t, rows)
	c.exec(t, "lakefs", "ANALYZE kv")
	conn := c.connect(t, "lakefs_import_exporter")
	for name, statement := range map[string]string{
		"table":         "SELECT * FROM kv",
		"count":         "SELECT count(*) FROM kv",
		"partition":     "SELECT * FROM kv_1",
		"lakeFS's view": "SELECT * FROM kv_v",
		"delete":        "DELETE FROM kv",
		"insert":        "INSERT INTO kv VALUES ('a', 'b', 'c')",
		"view":          "DELETE FROM lakefs_import_exporter.imports",
		"replace":       "CREATE OR REPLACE VIEW lakefs_import_exporter.imports AS SELECT * FROM kv",
		"create":        "CREATE TABLE lakefs_import_exporter.t (a int)",
		"become":        "SET ROLE lakefs",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := conn.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol)
			var pgErr *pgconn.PgError
			if !errors.As(err, &pgErr) || pgErr.Code != "42501" && pgErr.Code != "55000" {
				t.Errorf("got error %v, want permission denied", err)
			}
		})
	}
	t.Run("statistics", func(t *testing.T) {
		var n int
		must(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stats WHERE tablename LIKE 'kv%'").Scan(&n))
		if n > 0 {
			t.Errorf("statistics of %d columns are seen", n)
		}
	})
	t.Run("condition that tells what it sees", func(t *testing.T) {
		config, err := pgx.ParseConfig(c.exporterDSN())
		must(t, err)
		var seen []string
		config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { seen = append(seen, n.Message) }
		conn, err := pgx.ConnectConfig(t.Context(), config)
		must(t, err)
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), `CREATE FUNCTION pg_temp.tell(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001
			AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$;
			SELECT * FROM lakefs_import_exporter.imports WHERE pg_temp.tell(repository)`, pgx.QueryExecModeSimpleProtocol)
		must(t, err)
		if len(seen) != len(importsOf(rows)) || strings.Contains(fmt.Sprint(seen), "without-imports") {
			t.Errorf("it has seen %q", seen)
		}
	})
}

// TestPostgresPlan wants no sequential scan, with statistics and with old ones, no
// compilation, and that what is read grows with repositories and imports only.
func TestPostgresPlan(t *testing.T) {
	const repositories, imports, others = 200, 2000, 50_000
	c := postgresCluster(t)
	for name, statements := range map[string][]string{
		"new statistics":         {"TRUNCATE kv", filler(repositories, imports, others), "ANALYZE kv"},
		"statistics of few rows": {"TRUNCATE kv", filler(repositories, 1, 0), "ANALYZE kv", "TRUNCATE kv", filler(repositories, imports, others)},
		"statistics of no rows":  {"TRUNCATE kv", "ANALYZE kv", filler(repositories, imports, others)},
	} {
		c.exec(t, "lakefs", statements...)
		plan, pages := c.plan(t)
		if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "JIT:") || !strings.Contains(plan, "Index Cond") {
			t.Errorf("%s: plan:\n%.1000s", name, plan)
		}
		// Down an index and to its rows: as a rule 3 pages and one an import.
		if limit := 10*repositories + 2*imports; pages == 0 || pages > limit {
			t.Errorf("%s: %d pages read, want at most %d", name, pages, limit)
		}
	}
}

// plan refreshes, and returns the plan that PostgreSQL made for that, and how
// many pages it read.
func (c *cluster) plan(t testing.TB) (plan string, pages int) {
	t.Helper()
	const alter = "ALTER ROLE lakefs_import_exporter "
	c.exec(t, "postgres", alter+"SET session_preload_libraries = auto_explain", alter+"SET auto_explain.log_min_duration = 0",
		alter+"SET auto_explain.log_analyze = on", alter+"SET auto_explain.log_buffers = on", alter+"SET auto_explain.log_timing = off")
	defer c.exec(t, "postgres", alter+"RESET ALL")
	before, err := os.ReadFile(filepath.Join(c.dir, "log"))
	must(t, err)
	_, err = refresh(t, newPostgres(t, c.exporterDSN()), discovery.Options{})
	must(t, err)
	after, err := os.ReadFile(filepath.Join(c.dir, "log"))
	must(t, err)
	_, plan, _ = strings.Cut(string(after[len(before):]), discovery.DefaultQuery)
	_, buffers, _ := strings.Cut(plan, "Buffers: shared") // of all nodes
	buffers, _, _ = strings.Cut(buffers, "\n")
	for field := range strings.FieldsSeq(buffers) {
		var n int
		if _, err := fmt.Sscanf(field, "hit=%d", &n); err != nil {
			_, _ = fmt.Sscanf(field, "read=%d", &n)
		}
		pages += n
	}
	return plan, pages
}

// filler returns statements that insert so many repositories, imports in them and
// other rows: commits and uncommitted objects.
func filler(repositories, imports, others int) string {
	return fmt.Sprintf(`
CREATE OR REPLACE FUNCTION pg_temp.uid(n int) RETURNS text LANGUAGE sql AS $$ SELECT 'dc4q' || lpad(n::text, 16, '0') $$;
INSERT INTO kv SELECT 'graveler', convert_to('repos/repo-' || n, 'UTF8'),
	'\x0a003214'::bytea || convert_to(pg_temp.uid(n), 'UTF8') FROM generate_series(1, %[1]d) n;
INSERT INTO kv SELECT convert_to(format('repo-%%s-%%s', n %% %[1]d + 1, pg_temp.uid(n %% %[1]d + 1)), 'UTF8'),
	convert_to('imports/dc4r' || lpad(n::text, 16, '0'), 'UTF8'), repeat('x', 374)::bytea FROM generate_series(1, %[2]d) n;
INSERT INTO kv SELECT convert_to(format('repo-%%s-%%s', n %% %[1]d + 1, CASE n %% 3 WHEN 0 THEN pg_temp.uid(n %% %[1]d + 1) ELSE 'main:' || n %% 7 END), 'UTF8'),
	convert_to('commits/' || md5(n::text), 'UTF8'), repeat('x', 250)::bytea FROM generate_series(1, %[3]d) n`,
		repositories, imports, others)
}

func TestPostgresSurvivesARestart(t *testing.T) {
	c := postgresCluster(t)
	c.set(t, recordedRows(t))
	source := newPostgres(t, c.exporterDSN())
	done := make(chan error)
	go func() { done <- slowQuery(t, c.exporterDSN()).List(t.Context(), func(discovery.Import) {}) }()
	c.waitForSlowQuery(t, true)
	c.stop("keep")
	if err := <-done; err == nil || err.Error() != "postgres: query: the server is shutting down" {
		t.Errorf("got error %v of a query during the restart", err)
	}
	wantError(t, source, time.Hour, "postgres: connect: connection refused")
	c.start(t)
	wantSet(t, source, recordedRows(t))
}

func slowQuery(t *testing.T, dsn string) discovery.Source {
	t.Helper()
	source, err := discovery.NewPostgres(discovery.PostgresConfig{DSN: dsn, Query: "SELECT pg_sleep(600)::text, 'id'"})
	must(t, err)
	return source
}

func (c *cluster) waitForSlowQuery(t *testing.T, running bool) {
	t.Helper()
	conn := c.connect(t, "postgres")
	eventually(t, fmt.Sprintf("the slow query runs: %t", running), func() bool {
		var n int
		must(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%' AND application_name = 'lakefs_import_exporter'`).Scan(&n))
		return (n > 0) == running
	})
}

// TestPostgresEndsAQueryItself cuts the network while a query runs. PostgreSQL
// hears of it neither by a cancel request nor by the end of the connection.
func TestPostgresEndsAQueryItself(t *testing.T) {
	c := postgresCluster(t)
	proxy, err := lakefstest.NewProxy("127.0.0.1:" + c.port)
	must(t, err)
	defer proxy.Close()
	_, port, _ := net.SplitHostPort(proxy.Addr)
	source := slowQuery(t, strings.Replace(c.exporterDSN(), c.port, port, 1))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	done := make(chan error)
	go func() { done <- source.List(ctx, func(discovery.Import) {}) }()
	c.waitForSlowQuery(t, true)
	must(t, proxy.Set(lakefstest.Swallow))
	if err := <-done; err == nil || err.Error() != "postgres: query: timeout" {
		t.Errorf("got error %v, want a timeout", err)
	}
	c.waitForSlowQuery(t, false)
}

// TestPostgresFailover has two hosts in its DSN, the first of which hangs.
func TestPostgresFailover(t *testing.T) {
	c := postgresCluster(t)
	c.set(t, recordedRows(t))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	dsn := strings.NewReplacer("host=127.0.0.1", "host=127.0.0.1,127.0.0.1", "port=", "connect_timeout=1 port="+port+",").Replace(c.exporterDSN())
	wantSet(t, newPostgres(t, dsn), recordedRows(t))
}

func TestPostgresDSNFile(t *testing.T) {
	c := postgresCluster(t)
	c.set(t, recordedRows(t))
	file := filepath.Join(t.TempDir(), "dsn")
	must(t, os.WriteFile(file, []byte(c.exporterDSN()+"\n"), 0o600))
	source, err := discovery.NewPostgres(discovery.PostgresConfig{DSNFile: file})
	must(t, err)
	wantSet(t, source, recordedRows(t))

	const changed = "chang3d"
	c.exec(t, "postgres", "ALTER ROLE lakefs_import_exporter PASSWORD '"+changed+"'")
	defer c.exec(t, "postgres", "ALTER ROLE lakefs_import_exporter PASSWORD '"+password+"'")
	wantError(t, source, time.Hour, "postgres: connect: wrong user or password")
	must(t, os.Remove(file))
	wantError(t, source, time.Hour, "postgres: dsn_file "+file+": no such file or directory")
	must(t, os.WriteFile(file, []byte(strings.Replace(c.exporterDSN(), password, changed, 1)), 0o600))
	wantSet(t, source, recordedRows(t))
}

func TestBadPostgresConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
		return filepath.Join(dir, name)
	}
	pipe := filepath.Join(dir, "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	for name, test := range map[string]struct {
		config discovery.PostgresConfig
		want   string
	}{
		"nothing":         {discovery.PostgresConfig{}, "postgres: must have one of dsn and dsn_file"},
		"both":            {discovery.PostgresConfig{DSN: "host=h", DSNFile: "f"}, "postgres: must have one of dsn and dsn_file"},
		"no DSN":          {discovery.PostgresConfig{DSN: "postgres://u:hunter2@[h"}, "postgres: dsn: is not a valid connection string"},
		"no key=value":    {discovery.PostgresConfig{DSN: "password=hunter2 hunter3"}, "postgres: dsn: is not a valid connection string"},
		"no DSN in file":  {discovery.PostgresConfig{DSNFile: write("bad", "hunter2")}, "postgres: dsn_file FILE: is not a valid connection string"},
		"no file":         {discovery.PostgresConfig{DSNFile: filepath.Join(dir, "none")}, "postgres: dsn_file FILE: no such file or directory"},
		"folder":          {discovery.PostgresConfig{DSNFile: dir}, "postgres: dsn_file FILE: not a regular file"},
		"pipe":            {discovery.PostgresConfig{DSNFile: pipe}, "postgres: dsn_file FILE: not a regular file"},
		"empty file":      {discovery.PostgresConfig{DSNFile: write("empty", " \n")}, "postgres: dsn_file FILE: empty"},
		"file of 64K + 1": {discovery.PostgresConfig{DSNFile: write("big", strings.Repeat("x", 64<<10+1))}, "postgres: dsn_file FILE: larger than 64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := discovery.NewPostgres(test.config)
			want := strings.Replace(test.want, "FILE", test.config.DSNFile, 1)
			if err == nil || err.Error() != want {
				t.Errorf("got error %v, want %s", err, want)
			}
		})
	}
}

func TestBadPostgresQuery(t *testing.T) {
	c := postgresCluster(t)
	for query, want := range map[string]string{
		"SELECT 1":                      "postgres: query returns 1 columns, must return repository and import ID",
		"SELECT 'a', NULL":              "none of 1 rows names an import of lakeFS",
		"SELECT nothing":                "postgres: query: SQLSTATE 42703",
		"SELECT 'a', key::text FROM kv": "postgres: query: permission denied",
		"SELECT 'a', 'b'; ROLLBACK":     "postgres: query: SQLSTATE 42601",
		"CREATE TABLE public.a (b int)": "postgres: query: SQLSTATE 25006",
	} {
		t.Run(query, func(t *testing.T) {
			source, err := discovery.NewPostgres(discovery.PostgresConfig{DSN: c.exporterDSN(), Query: query})
			must(t, err)
			if _, err := refresh(t, source, discovery.Options{}); fmt.Sprint(err) != want {
				t.Errorf("got error %v, want %s", err, want)
			}
		})
	}
}

// TestPostgresErrorsQuoteNoSecret has a server that asks for the password in
// clear text, and then puts all it was sent into its message.
func TestPostgresErrorsQuoteNoSecret(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	echoed := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		backend := pgproto3.NewBackend(conn, conn)
		startup, _ := backend.ReceiveStartupMessage()
		backend.Send(&pgproto3.AuthenticationCleartextPassword{})
		_ = backend.Flush()
		_ = backend.SetAuthType(pgproto3.AuthTypeCleartextPassword)
		answer, _ := backend.Receive()
		text := fmt.Sprintf("%+v %+v", startup, answer)
		backend.Send(&pgproto3.ErrorResponse{Severity: text, Code: text, Message: text, Detail: text, Hint: text})
		_ = backend.Flush()
		echoed <- text
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	err = newPostgres(t, "host=127.0.0.1 port="+port+" user=us3r dbname=datab4se password=hunter2 sslmode=disable").List(t.Context(), func(discovery.Import) {})
	if text := <-echoed; !strings.Contains(text, "hunter2") {
		t.Fatalf("the server was not sent the password: %s", text)
	}
	for _, secret := range []string{"hunter2", "us3r", "datab4se", "127.0.0.1", port} {
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("error has %q in it, or there is none: %v", secret, err)
		}
	}
}

// TestDatabaseThatNeverAnswers has a server that the kernel connects to, and that
// reads nothing.
func TestDatabaseThatNeverAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	addr := listener.Addr().String()
	for want, source := range map[string]discovery.Source{
		"postgres: connect: timeout":             newPostgres(t, "postgres://u:p@"+addr+"/d"),
		"dynamodb: query table kvstore: timeout": newDynamoDB(t, "http://"+addr),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := source.List(ctx, func(discovery.Import) {}); err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}
