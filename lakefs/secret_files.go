package lakefs

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/config"
)

const (
	// settleTime is the coarsest tick by which a file system tells modification
	// times, with some to spare: a file that was modified less long ago may be
	// modified again and not show it.
	settleTime = 2 * time.Second
	// lookInterval is how often a file is looked at while there are many requests.
	lookInterval = 100 * time.Millisecond
)

// secretFiles has what stands in files, and reads them again when they change.
// It is a config.SecretManager, whose references are paths. Without one, every
// file is read for every request, which takes a fifth of the exporter's CPU.
type secretFiles struct {
	mu    sync.Mutex
	files map[string]secretFile
}

// secretFile is a file as it was read.
type secretFile struct {
	info     fs.FileInfo
	secret   string
	lookedAt time.Time // zero if a further change might not show in info
}

// adopt returns settings that have s read the files of credentials that cfg
// names. Those of certificates it leaves alone: the errors about them name files
// as such.
func (s *secretFiles) adopt(cfg config.HTTPClientConfig) config.HTTPClientConfig {
	refer := func(file, ref *string) {
		if *file != "" {
			*file, *ref = "", *file
		}
	}
	if cfg.BasicAuth != nil {
		auth := *cfg.BasicAuth
		refer(&auth.UsernameFile, &auth.UsernameRef)
		refer(&auth.PasswordFile, &auth.PasswordRef)
		cfg.BasicAuth = &auth
	}
	if cfg.Authorization != nil {
		auth := *cfg.Authorization
		refer(&auth.CredentialsFile, &auth.CredentialsRef)
		cfg.Authorization = &auth
	}
	return cfg
}

// Fetch implements config.SecretManager. It returns what stands in the file at
// path now, or stood there a moment ago, without white space around it.
func (s *secretFiles) Fetch(_ context.Context, path string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[path]
	now := time.Now()
	if now.Sub(f.lookedAt) < lookInterval {
		return f.secret, nil
	}
	delete(s.files, path)
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("unable to read file %s: %w", path, err)
	}
	if f.lookedAt.IsZero() || !unchanged(f.info, info) {
		// The info is older than the content: a change in between shows next time.
		content, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("unable to read file %s: %w", path, err)
		}
		f = secretFile{info: info, secret: strings.TrimSpace(string(content))}
	}
	if age := now.Sub(info.ModTime()); age > settleTime || age < -settleTime {
		f.lookedAt = now
	}
	s.files[path] = f
	return f.secret, nil
}

// unchanged reports whether a file that was a and is b now has not been touched
// or replaced in between.
func unchanged(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}
