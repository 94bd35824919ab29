// Package config reads the config file and the import files it names, and
// hands out what the collector works by: validated values only.
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

// Loader loads a config file, as often as asked. It keeps the last good content
// of import files from one config to the next. It is safe for concurrent use.
type Loader struct {
	path, userAgent string
	logger          log.Logger
	getenv          func(string) string

	mu      sync.Mutex
	files   map[string]*importFile // by path
	owner   *source                // whose servers the files were last held against
	version uint64                 // of the newest FileSet
}

// NewLoader returns a Loader of the config file at path. The lakeFS clients it
// makes send userAgent. Nothing is read yet.
func NewLoader(path, userAgent string, logger log.Logger) *Loader {
	return &Loader{
		path: path, userAgent: userAgent, logger: logger, getenv: os.Getenv,
		files: make(map[string]*importFile),
	}
}

// Load reads the config file. Files of the result is never nil; it reads the
// import files when it is asked for them, and until then nothing changes for
// the Source of an earlier config. The error names the config file, the line or
// entry, and what is wrong; no secret is ever in it.
func (l *Loader) Load() (collector.Config, error) {
	cfg, err := l.load()
	if err != nil {
		return collector.Config{}, fmt.Errorf("%s: %w", l.path, err)
	}
	return cfg, nil
}

// Check reports what is wrong with the config file or with any import file,
// which Load alone would put up with. It changes nothing for any Source.
func (l *Loader) Check() error {
	// Another Loader, so that no last good content hides what stands there now.
	fresh := NewLoader(l.path, l.userAgent, l.logger)
	fresh.getenv = l.getenv
	cfg, err := fresh.Load()
	if err != nil {
		return err
	}
	return cfg.Files.(*source).check()
}

func (l *Loader) load() (cfg collector.Config, err error) {
	data, _, err := readFile(l.path)
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
	src := &source{loader: l}
	for _, s := range cfg.Servers {
		src.servers = append(src.servers, s.Name)
	}
	if cfg.Imports, err = resolve(f.Imports, src.servers); err != nil {
		return cfg, fmt.Errorf("imports: %w", err)
	}
	if cfg.Repositories, err = resolveRepositories(f.Repositories, src.servers); err != nil {
		return cfg, fmt.Errorf("repositories: %w", err)
	}
	for i, p := range f.ImportFiles {
		pattern, err := l.pattern(p)
		if err != nil {
			return cfg, fmt.Errorf("import_files: entry %d: %q: %w", i+1, p, err)
		}
		src.patterns = append(src.patterns, pattern)
	}
	cfg.Files = src
	return cfg, nil
}

func (l *Loader) servers(written []server) ([]collector.Server, error) {
	servers := make([]collector.Server, len(written))
	entries := make(map[string]int, len(written)) // by name
	for i, w := range written {
		s, err := w.build(filepath.Dir(l.path), l.userAgent)
		if first, dup := entries[s.Name]; err == nil && dup {
			err = fmt.Errorf("name %q: is that of entry %d too", s.Name, first)
		}
		if err != nil {
			return nil, fmt.Errorf("servers: entry %d: %w", i+1, err)
		}
		servers[i], entries[s.Name] = s, i+1
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
		return nil, fmt.Errorf("no servers, and the environment does not name one: %s not set", strings.Join(missing, ", "))
	}
	w := server{EndpointURL: l.getenv(envEndpoint), HTTP: common.DefaultHTTPClientConfig}
	w.HTTP.BasicAuth = &common.BasicAuth{Username: l.getenv(envKeyID), Password: common.Secret(l.getenv(envSecret))}
	s, err := w.build("", l.userAgent)
	if err != nil {
		return nil, fmt.Errorf("server of %s: %w", envEndpoint, err)
	}
	return []collector.Server{s}, nil
}

// globEscaper takes the meaning away from what filepath.Match would read in a
// directory's name.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// pattern returns p relative to the config file's directory.
func (l *Loader) pattern(p string) (string, error) {
	if _, err := filepath.Match(p, ""); err != nil {
		return "", errors.New("not a pattern of file names")
	}
	if !slices.Contains([]string{".yml", ".yaml", ".json"}, filepath.Ext(p)) {
		return "", errors.New("must end in .yml, .yaml or .json")
	}
	return common.JoinDir(globEscaper.Replace(filepath.Dir(l.path)), p), nil
}
