package discovery

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"lakefs_import_exporter/internal/disk"
)

// DefaultQuery reads the view that deploy/lakefs/postgres.sql makes.
const DefaultQuery = "SELECT repository, import_id FROM lakefs_import_exporter.imports"

const (
	maxDSNBytes = 64 << 10
	// connectTimeout is for each host of the DSN, where the DSN has none, so
	// that one that does not answer leaves time for the next.
	connectTimeout = 5 * time.Second
)

// PostgresConfig tells how to read the database of a lakeFS whose database.type
// is postgres.
type PostgresConfig struct {
	// DSN is a connection string: a URL, or libpq's key=value form. It is a
	// secret, and so is all of it.
	DSN string `yaml:"dsn"`
	// DSNFile has the DSN, if DSN is empty. It is read at every refresh.
	DSNFile string `yaml:"dsn_file"`
	// Query returns repository and import ID as text; empty: DefaultQuery.
	Query string `yaml:"query"`
}

type postgres struct{ PostgresConfig }

// NewPostgres returns a Source that makes a connection for each refresh, and
// holds none in between: a restart, a failover or a new password is nothing
// special to it. It reports what is wrong with cfg, and connects to nothing.
func NewPostgres(cfg PostgresConfig) (Source, error) {
	if (cfg.DSN == "") == (cfg.DSNFile == "") {
		return nil, errors.New("postgres: must have one of dsn and dsn_file")
	}
	if cfg.Query == "" {
		cfg.Query = DefaultQuery
	}
	p := &postgres{cfg}
	if _, err := p.connConfig(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *postgres) List(ctx context.Context, found func(Import)) error {
	cfg, err := p.connConfig()
	if err != nil {
		return err
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("postgres: connect: %s", postgresReason(err))
	}
	defer conn.Close(ctx)
	if err := begin(ctx, conn); err != nil {
		return fmt.Errorf("postgres: begin: %s", postgresReason(err))
	}
	rows := conn.ExecParams(ctx, p.Query, nil, nil, nil, nil)
	var repository string
	for rows.NextRow() {
		values := rows.Values()
		if len(values) != 2 {
			return fmt.Errorf("postgres: query returns %d columns, must return repository and import ID", len(values))
		}
		if string(values[0]) != repository { // rows of a repository share its name
			repository = string(values[0])
		}
		found(Import{repository, string(values[1])})
	}
	if _, err = rows.Close(); err == nil {
		// Otherwise PostgreSQL's statistics would count a rollback, and no query.
		_, err = conn.Exec(ctx, "COMMIT").ReadAll()
	}
	if err != nil {
		return fmt.Errorf("postgres: query: %s", postgresReason(err))
	}
	return nil
}

// begin begins a transaction that can only read, and that PostgreSQL itself ends
// at ctx's deadline. Where statistics are old, the planner takes the query for a
// hundred times what it is: it would compile it (jit) for seconds, and scan
// sequentially. As SET LOCAL, not as startup parameters: connection poolers refuse
// those.
func begin(ctx context.Context, conn *pgconn.PgConn) error {
	const statements = `BEGIN READ ONLY; SET LOCAL jit = off; SET LOCAL enable_seqscan = off;
		SET LOCAL statement_timeout = %d`
	timeout := maxRefreshTime
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	// 0 would be none.
	_, err := conn.Exec(ctx, fmt.Sprintf(statements, max(1, timeout.Milliseconds()))).ReadAll()
	return err
}

func (p *postgres) connConfig() (*pgconn.Config, error) {
	dsn, source := p.DSN, "dsn"
	if p.DSNFile != "" {
		var err error
		source = "dsn_file " + p.DSNFile
		if dsn, err = readDSN(p.DSNFile); err != nil {
			return nil, fmt.Errorf("postgres: %s: %w", source, err)
		}
	}
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		// The error quotes what it could not parse.
		return nil, fmt.Errorf("postgres: %s: is not a valid connection string", source)
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "lakefs_import_exporter"
	}
	return cfg, nil
}

// readDSN reads a DSN from the file at path. The error does not repeat path.
func readDSN(path string) (string, error) {
	data, _, err := disk.ReadFile(path, maxDSNBytes)
	dsn := strings.TrimSpace(string(data))
	if err == nil && dsn == "" {
		err = errors.New("empty")
	}
	return dsn, disk.Reason(err)
}

var sqlStatePattern = regexp.MustCompile(`^[0-9A-Z]{5}$`)

// sqlStates has the errors that an operator can do something about.
var sqlStates = map[string]string{
	"28000": "not authorized to log in, see pg_hba.conf",
	"28P01": "wrong user or password",
	"3D000": "no such database",
	"42P01": "no such view, see deploy/lakefs/postgres.sql",
	"42501": "permission denied",
	"53300": "too many connections",
	"57014": "statement timeout",
	"57P01": "the server is shutting down",
	"57P03": "the server is starting up or shutting down",
}

// postgresReason tells what kind of error err is.
func postgresReason(err error) string {
	var (
		pgErr   *pgconn.PgError
		certErr *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &pgErr) && sqlStatePattern.MatchString(pgErr.Code):
		return cmp.Or(sqlStates[pgErr.Code], "SQLSTATE "+pgErr.Code)
	case errors.As(err, &certErr):
		return "the server's certificate was not accepted"
	default:
		return cmp.Or(networkReason(err), "the server does not speak as the DSN says (TLS, authentication, protocol)")
	}
}
