// Package config reads the config file and the import files that it names, and
// returns validated values for the collector.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-kit/log"
	common "github.com/prometheus/common/config"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/disk"
	"lakefs_import_exporter/lakefs"
)

// The environment variables of lakectl, used where the config has no servers.
const (
	envEndpoint = "LAKECTL_SERVER_ENDPOINT_URL"
	envKeyID    = "LAKECTL_CREDENTIALS_ACCESS_KEY_ID"
	envSecret   = "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY" //nolint:gosec // G101: the name of a variable
)

const maxConfigBytes = 16 << 20

// file is the config file as it is written.
type file struct {
	Servers      []written[server]     `yaml:"servers"`
	Imports      []written[entry]      `yaml:"imports"`
	ImportFiles  []written[string]     `yaml:"import_files"`
	Repositories []written[repository] `yaml:"repositories"`
}

// Loader loads a config file, any number of times. What is known of import files
// carries over from one config to the next. It is safe for concurrent use.
type Loader struct {
	path, userAgent string
	logger          log.Logger

	readFile func(path string, maxBytes int64) ([]byte, fs.FileInfo, error) // of import files; a test replaces it

	mu    sync.Mutex // never held during file I/O
	known importFiles
}

// NewLoader returns a Loader of the config file at path. The lakeFS clients it
// makes send userAgent. Nothing is read yet.
func NewLoader(path, userAgent string, logger log.Logger) *Loader {
	return &Loader{path: path, userAgent: userAgent, logger: logger, readFile: disk.ReadFile}
}

// Load reads the config file, but no import files: these are for the Watch of
// Files in the result, which is never nil. The error has a line for each problem,
// with the config file, the line in it, and what is wrong; it never contains a
// secret.
func (l *Loader) Load() (collector.Config, error) {
	cfg, errs := l.load()
	if errs != nil {
		return collector.Config{}, prefixed(l.path, bounded(errs))
	}
	return cfg, nil
}

// prefixed makes one error of errs, with a line for each.
func prefixed(prefix string, errs []error) error {
	lines := make([]error, len(errs))
	for i, err := range errs {
		lines[i] = fmt.Errorf("%s: %w", prefix, err)
	}
	return errors.Join(lines...)
}

// Check reports problems of the config file, or else of all import files, which
// it reads once, or says how much there is of what. No Watch is affected.
func (l *Loader) Check() (summary string, err error) {
	cfg, err := l.Load()
	if err != nil {
		return "", err
	}
	files, imports, err := cfg.Files.(*watcher).check()
	return fmt.Sprintf("servers: %d, imports: %d, import files: %d, repositories: %d",
		len(cfg.Servers), len(cfg.Imports)+imports, files, len(cfg.Repositories)), err
}

func (l *Loader) load() (cfg collector.Config, errs []error) {
	data, _, err := disk.ReadFile(l.path, maxConfigBytes)
	if err = disk.Reason(err); errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: copy config.example.yml there, or try --demo, which needs no config and no lakeFS", err)
	}
	if err != nil {
		return cfg, []error{err}
	}
	f, errs := decode[file](data)
	if len(f.Servers) == 0 {
		if errs != nil {
			return cfg, errs
		}
		s, err := serverOfEnvironment()
		if err != nil {
			return cfg, []error{err}
		}
		f.Servers = []written[server]{{value: s}}
	}
	files := &watcher{loader: l}
	for i := range f.Servers {
		files.servers = append(files.servers, f.Servers[i].value.name())
	}
	build := func(s *server) (collector.Server, error) { return s.build(filepath.Dir(l.path), l.userAgent) }
	var serverErrs, importErrs, patternErrs, repositoryErrs []error
	cfg.Servers, serverErrs = resolveAll("servers: ", f.Servers, build, func(s collector.Server) string { return s.Name })
	cfg.Imports, importErrs = resolveImports("imports: ", f.Imports, files.servers)
	files.patterns, patternErrs = resolveAll("import_files: ", f.ImportFiles, l.pattern, func(p string) string { return p })
	cfg.Repositories, repositoryErrs = resolveRepositories("repositories: ", f.Repositories, files.servers)
	cfg.Files = files
	return cfg, slices.Concat(errs, serverErrs, importErrs, patternErrs, repositoryErrs)
}

// serverOfEnvironment returns the server that lakectl would use.
func serverOfEnvironment() (w server, err error) {
	w.setDefaults()
	var missing []string
	for _, name := range []string{envEndpoint, envKeyID, envSecret} {
		if os.Getenv(name) == "" {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return w, fmt.Errorf("no servers, and the environment does not define one: %s not set", strings.Join(missing, ", "))
	}
	w.EndpointURL = os.Getenv(envEndpoint)
	w.HTTP.BasicAuth = &common.BasicAuth{Username: os.Getenv(envKeyID), Password: common.Secret(os.Getenv(envSecret))}
	if _, err := lakefs.ParseEndpoint(w.EndpointURL); err != nil {
		return w, fmt.Errorf("%s: %w", envEndpoint, err)
	}
	return w, nil
}

// globEscaper escapes what filepath.Match would interpret in a directory's name.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// pattern returns p relative to the config file's directory.
func (l *Loader) pattern(p *string) (string, error) {
	if _, err := filepath.Match(*p, ""); err != nil {
		return "", fmt.Errorf("%q: not a valid pattern", *p)
	}
	if !slices.Contains([]string{".yml", ".yaml", ".json"}, filepath.Ext(*p)) {
		return "", fmt.Errorf("%q: must end in .yml, .yaml or .json", *p)
	}
	return common.JoinDir(globEscaper.Replace(filepath.Dir(l.path)), *p), nil
}
