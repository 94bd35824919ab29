package lakefs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/prometheus/common/config"
)

// maxFileBytes bounds a file of a secret or certificates: bundles of authorities
// have hundreds of KiB.
const maxFileBytes = 1 << 20

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
// must not be empty: without authorities, the system's would be trusted. It opens
// the file without waiting for the other end of a pipe.
func readFile(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	var content []byte
	if info.Mode().IsRegular() && info.Size() <= maxFileBytes {
		content, err = io.ReadAll(io.LimitReader(f, maxFileBytes))
	}
	text := strings.TrimSpace(string(content))
	if err == nil && text == "" {
		err = &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file with 1 byte to 1 MiB of text")}
	}
	return text, err
}
