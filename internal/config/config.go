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
	"time"

	"github.com/go-kit/log"
	common "github.com/prometheus/common/config"

	"lakefs_import_exporter/collector"
)

// The environment variables of lakectl, used where the config has no servers.
const (
	envEndpoint = "LAKECTL_SERVER_ENDPOINT_URL"
	envKeyID    = "LAKECTL_CREDENTIALS_ACCESS_KEY_ID"
	envSecret   = "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY" //nolint:gosec // G101: the name of a variable
)

// file is the config file as it is written.
type file struct {
	Servers      []server     `yaml:"servers"`
	Imports      []entry      `yaml:"imports"`
	ImportFiles  []string     `yaml:"import_files"`
	Repositories []repository `yaml:"repositories"`
}

// Loader loads a config file, any number of times. What is known of import files
// carries over from one config to the next. It is safe for concurrent use.
type Loader struct {
	path, userAgent string
	logger          log.Logger

	// Tests replace these.
	getenv   func(string) string
	readFile func(path string, maxBytes int64) ([]byte, fs.FileInfo, error) // of import files
	interval time.Duration                                                  // between looks at import files

	mu    sync.Mutex // never held during file I/O
	known importFiles
}

// NewLoader returns a Loader of the config file at path. The lakeFS clients it
// makes send userAgent. Nothing is read yet.
func NewLoader(path, userAgent string, logger log.Logger) *Loader {
	return &Loader{
		path: path, userAgent: userAgent, logger: logger,
		getenv: os.Getenv, readFile: readFile, interval: 2 * time.Second,
	}
}

// Load reads the config file, but no import files: these are for the Watch of
// Files in the result, which is never nil. The error names the config file, the
// line or entry, and the problem; it never contains a secret.
func (l *Loader) Load() (collector.Config, error) {
	cfg, err := l.load()
	if err != nil {
		return collector.Config{}, fmt.Errorf("%s: %w", l.path, err)
	}
	return cfg, nil
}

// Check reports problems of the config file, or else of all import files, which
// it reads once. No Watch is affected.
func (l *Loader) Check() error {
	cfg, err := l.Load()
	if err != nil {
		return err
	}
	return cfg.Files.(*watcher).check()
}

func (l *Loader) load() (cfg collector.Config, err error) {
	data, _, err := readFile(l.path, maxConfigBytes)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: copy config.example.yml there, or try --demo, which needs no config and no lakeFS", err)
	}
	if err != nil {
		return cfg, err
	}
	var f file
	if err := decode(data, &f); err != nil {
		return cfg, err
	}
	if len(f.Servers) > 0 {
		cfg.Servers, err = l.servers(f.Servers)
	} else {
		cfg.Servers, err = l.serverOfEnvironment()
	}
	if err != nil {
		return cfg, err
	}
	files := &watcher{loader: l}
	for _, s := range cfg.Servers {
		files.servers = append(files.servers, s.Name)
	}
	if cfg.Imports, err = resolveImports(f.Imports, files.servers); err != nil {
		return cfg, fmt.Errorf("imports: %w", err)
	}
	if cfg.Repositories, err = resolveRepositories(f.Repositories, files.servers); err != nil {
		return cfg, fmt.Errorf("repositories: %w", err)
	}
	for i, p := range f.ImportFiles {
		pattern, err := l.pattern(p)
		if err != nil {
			return cfg, fmt.Errorf("import_files: entry %d: %q: %w", i+1, p, err)
		}
		files.patterns = append(files.patterns, pattern)
	}
	cfg.Files = files
	return cfg, nil
}

func (l *Loader) servers(written []server) ([]collector.Server, error) {
	build := func(w *server) (collector.Server, error) { return w.build(filepath.Dir(l.path), l.userAgent) }
	servers, err := resolveAll(written, build, func(s collector.Server) string { return s.Name })
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	return servers, nil
}

func (l *Loader) serverOfEnvironment() ([]collector.Server, error) {
	var missing []string
	for _, name := range []string{envEndpoint, envKeyID, envSecret} {
		if l.getenv(name) == "" {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("no servers, and the environment does not define one: %s not set", strings.Join(missing, ", "))
	}
	w := server{EndpointURL: l.getenv(envEndpoint), HTTP: common.DefaultHTTPClientConfig}
	w.HTTP.BasicAuth = &common.BasicAuth{Username: l.getenv(envKeyID), Password: common.Secret(l.getenv(envSecret))}
	s, err := w.build("", l.userAgent)
	if err != nil {
		return nil, fmt.Errorf("server of %s: %w", envEndpoint, err)
	}
	return []collector.Server{s}, nil
}

// globEscaper escapes what filepath.Match would interpret in a directory's name.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// pattern returns p relative to the config file's directory.
func (l *Loader) pattern(p string) (string, error) {
	if _, err := filepath.Match(p, ""); err != nil {
		return "", errors.New("not a valid pattern")
	}
	if !slices.Contains([]string{".yml", ".yaml", ".json"}, filepath.Ext(p)) {
		return "", errors.New("must end in .yml, .yaml or .json")
	}
	return common.JoinDir(globEscaper.Replace(filepath.Dir(l.path)), p), nil
}
