//go:build e2e

package discovery_test

import (
	"context"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A cluster is a real PostgreSQL, one for all tests of this package, with lakeFS's
// table and the exporter's view in a database kv.
type cluster struct {
	bin, dir, port string
	process        *exec.Cmd
	stdin          io.WriteCloser
}

const password = "s3cr3t+pass/word"

var shared *cluster // started by the first test that needs it

func TestMain(m *testing.M) {
	code := m.Run()
	if shared != nil {
		shared.stop("")
	}
	os.Exit(code)
}

// needs skips the test for want of a program; on CI it fails it.
func needs(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not there", what)
	}
	t.Skipf("SKIPPED: %s is not there", what)
}

func postgresCluster(t testing.TB) *cluster {
	t.Helper()
	if shared != nil {
		return shared
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		needs(t, "PostgreSQL (Debian: postgresql)")
	}
	dir, err := os.MkdirTemp("", "discovery") //nolint:usetesting // for more than one test
	must(t, err)
	c := &cluster{bin: filepath.Dir(found[len(found)-1]), dir: dir, port: freePort(t)}
	if attr := credential(); attr != nil {
		must(t, os.Chown(dir, int(attr.Credential.Uid), int(attr.Credential.Gid)))
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(c.bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, credential()
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	const access = "host all postgres 127.0.0.1/32 trust\nhost all lakefs 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	must(t, os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(access), 0o644))
	create := exec.Command(filepath.Join(c.bin, "postgres"), "--single", "-D", data, "postgres")
	create.Dir, create.SysProcAttr = dir, credential()
	create.Stdin = strings.NewReader("CREATE ROLE lakefs LOGIN CREATEROLE\nCREATE DATABASE kv OWNER lakefs\n")
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("postgres --single: %v\n%s", err, out)
	}
	c.start(t)
	shared = c
	c.exec(t, "lakefs", kvTable, c.script(t), fmt.Sprintf("ALTER ROLE lakefs_import_exporter PASSWORD '%s'", password))
	return c
}

// kvTable makes the table as lakeFS makes it.
const kvTable = `
CREATE TABLE kv (
	partition_key BYTEA NOT NULL, key BYTEA NOT NULL, value BYTEA NOT NULL,
	PRIMARY KEY (partition_key, key)
) PARTITION BY HASH (partition_key);
DO $$ BEGIN FOR i IN 0..99 LOOP
	EXECUTE format('CREATE TABLE kv_%s PARTITION OF kv FOR VALUES WITH (MODULUS 100, REMAINDER %s)', i, i);
END LOOP; END $$;
CREATE VIEW kv_v AS SELECT encode(partition_key, 'escape') AS partition_key, encode(key, 'escape') AS key, value FROM kv`

func (c *cluster) script(t testing.TB) string {
	t.Helper()
	script, err := os.ReadFile(filepath.Join("..", "..", "deploy", "lakefs", "postgres.sql"))
	must(t, err)
	return string(script)
}

// credential is of the user postgres where the test is root's: PostgreSQL
// refuses to be that.
func credential() *syscall.SysProcAttr {
	u, err := user.Lookup("postgres")
	if err != nil || os.Getuid() != 0 {
		return nil
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// start starts PostgreSQL, under a shell that stops it at the end of its input, so
// also when this process dies; a fuzzing worker ends without TestMain's end. If
// the input is empty, the shell removes the folder, too.
func (c *cluster) start(t testing.TB) {
	t.Helper()
	const script = `"$@" >>"$0/log" 2>&1 & read keep; kill -INT $!; wait; test "$keep" || rm -rf "$0"`
	c.process = exec.Command("sh", "-c", script, c.dir,
		filepath.Join(c.bin, "postgres"), "-D", filepath.Join(c.dir, "data"), "-p", c.port, "-k", "",
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB")
	c.process.Dir, c.process.SysProcAttr = c.dir, credential()
	var err error
	c.stdin, err = c.process.StdinPipe()
	must(t, err)
	must(t, c.process.Start())
	eventually(t, "PostgreSQL is up", func() bool {
		conn, err := pgx.Connect(t.Context(), c.dsn("postgres"))
		if err != nil {
			return false
		}
		return conn.Close(t.Context()) == nil
	})
}

// stop ends PostgreSQL and all connections to it. With input, its data is kept.
func (c *cluster) stop(input string) {
	_, _ = io.WriteString(c.stdin, input)
	_ = c.stdin.Close()
	_ = c.process.Wait()
}

func (c *cluster) dsn(user string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%s user=%s password=%s dbname=kv sslmode=disable", c.port, user, password)
}

// exporterDSN is how the exporter connects.
func (c *cluster) exporterDSN() string { return c.dsn("lakefs_import_exporter") }

func (c *cluster) connect(t testing.TB, user string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.dsn(user))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (c *cluster) exec(t testing.TB, user string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.dsn(user))
	must(t, err)
	defer conn.Close(t.Context())
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%.100s: %v", statement, err)
		}
	}
}

// set replaces all rows of lakeFS's table.
func (c *cluster) set(t testing.TB, rows []row) {
	t.Helper()
	c.exec(t, "lakefs", "DELETE FROM kv")
	_, err := c.connect(t, "lakefs").CopyFrom(t.Context(), pgx.Identifier{"kv"}, []string{"partition_key", "key", "value"},
		pgx.CopyFromSlice(len(rows), func(n int) ([]any, error) {
			return []any{rows[n].partition, rows[n].key, rows[n].value}, nil
		}))
	must(t, err)
}

// A row of lakeFS's key-value store.
type row struct{ partition, key, value []byte }

// recordedRows returns rows of a real lakeFS.
func recordedRows(t testing.TB) []row {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "kv.csv"))
	must(t, err)
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	must(t, err)
	var rows []row
	for _, record := range records[1:] {
		var fields [3][]byte
		for n := range fields {
			fields[n], err = hex.DecodeString(record[n])
			must(t, err)
		}
		rows = append(rows, row{fields[0], fields[1], fields[2]})
	}
	return rows
}

// importsOf returns REPOSITORY/ID of every import in rows, read without
// the UIDs: the name is the partition's less 21 characters.
func importsOf(rows []row) map[string]bool {
	imports := map[string]bool{}
	for _, r := range rows {
		if id, ok := strings.CutPrefix(string(r.key), "imports/"); ok {
			imports[string(r.partition[:len(r.partition)-21])+"/"+id] = true
		}
	}
	return imports
}

func freePort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// eventually waits until what is true, for a minute at most.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !is() {
		select {
		case <-deadline:
			t.Fatalf("after a minute, still not: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
