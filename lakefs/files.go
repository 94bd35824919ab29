package lakefs

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/prometheus/common/config"

	"lakefs_import_exporter/internal/disk"
)

// MaxFileBytes bounds a file of a secret or certificates: bundles of authorities
// have hundreds of KiB.
const MaxFileBytes = 1 << 20

// fileReader reads files of secrets and certificates. prometheus/common would read
// each for every request, however large it is and whatever it is.
type fileReader struct {
	contents []string // in a fixed order
	err      error    // the first
}

// value returns text, or the content of the file at path if there is a path.
func (r *fileReader) value(text, path string) string {
	if path == "" || r.err != nil {
		return text
	}
	content, err := readFile(path)
	r.contents, r.err = append(r.contents, content), err
	return content
}

// tls returns cfg with the contents of files in the place of their paths.
func (r *fileReader) tls(cfg config.TLSConfig) config.TLSConfig {
	cfg.CA, cfg.CAFile = r.value(cfg.CA, cfg.CAFile), ""
	cfg.Cert, cfg.CertFile = r.value(cfg.Cert, cfg.CertFile), ""
	cfg.Key, cfg.KeyFile = config.Secret(r.value(string(cfg.Key), cfg.KeyFile)), ""
	return cfg
}

// readFile returns the content of a file without white space around it, which
// must not be empty: without authorities, the system's would be trusted.
func readFile(path string) (string, error) {
	content, _, err := disk.ReadFile(path, MaxFileBytes)
	text := strings.TrimSpace(string(content))
	if err == nil && text == "" {
		err = &fs.PathError{Op: "read", Path: path, Err: errors.New("empty")}
	}
	return text, err
}
