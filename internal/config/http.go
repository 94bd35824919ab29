package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	common "github.com/prometheus/common/config"
)

// prepareHTTP validates c and makes its paths relative to dir. Every file that
// c names must be readable now, although it is read again when it is used.
func prepareHTTP(c *common.HTTPClientConfig, dir string) error {
	settings := fileSettings(c)
	for i, s := range settings {
		if s.ref != "" {
			return fmt.Errorf("%sref: there is no secret manager to ask: use %s", strings.TrimSuffix(s.key, "file"), s.key)
		}
		*s.path = common.JoinDir(dir, *s.path)
		path := *s.path // Validate moves a bearer_token_file elsewhere.
		settings[i].path = &path
	}
	if err := c.Validate(); err != nil {
		return err
	}
	for _, s := range settings {
		if *s.path == "" {
			continue
		}
		if err := readable(*s.path); err != nil {
			return fmt.Errorf("%s: %s: %w", s.key, *s.path, err)
		}
	}
	if c.OAuth2 != nil {
		// The client looks at these no sooner than when it first wants a token.
		if _, err := common.NewTLSConfig(&c.OAuth2.TLSConfig); err != nil {
			return fmt.Errorf("oauth2.tls_config: %w", err)
		}
	}
	return nil
}

// fileSetting is a setting that names a file.
type fileSetting struct {
	// key ends in _file, or in files.
	key  string
	path *string
	// ref is the value of the setting with _ref in place of _file: the same
	// from a secret manager.
	ref string
}

// fileSettings returns every setting of c that can name a file, set or not. It
// does what c.SetDirectory would be for, which leaves one of them out, and
// does not tell their names.
func fileSettings(c *common.HTTPClientConfig) []fileSetting {
	settings := append(tlsFileSettings("tls_config.", &c.TLSConfig), fileSetting{"bearer_token_file", &c.BearerTokenFile, ""})
	if a := c.BasicAuth; a != nil {
		settings = append(settings,
			fileSetting{"basic_auth.username_file", &a.UsernameFile, a.UsernameRef},
			fileSetting{"basic_auth.password_file", &a.PasswordFile, a.PasswordRef})
	}
	if a := c.Authorization; a != nil {
		settings = append(settings, fileSetting{"authorization.credentials_file", &a.CredentialsFile, a.CredentialsRef})
	}
	if o := c.OAuth2; o != nil {
		settings = append(settings,
			fileSetting{"oauth2.client_secret_file", &o.ClientSecretFile, o.ClientSecretRef},
			fileSetting{"oauth2.client_certificate_key_file", &o.ClientCertificateKeyFile, o.ClientCertificateKeyRef})
		settings = append(settings, tlsFileSettings("oauth2.tls_config.", &o.TLSConfig)...)
	}
	if c.HTTPHeaders != nil {
		for _, name := range slices.Sorted(maps.Keys(c.HTTPHeaders.Headers)) {
			paths := c.HTTPHeaders.Headers[name].Files
			for i := range paths {
				settings = append(settings, fileSetting{"http_headers." + name + ".files", &paths[i], ""})
			}
		}
	}
	return settings
}

func tlsFileSettings(prefix string, c *common.TLSConfig) []fileSetting {
	return []fileSetting{
		{prefix + "ca_file", &c.CAFile, c.CARef},
		{prefix + "cert_file", &c.CertFile, c.CertRef},
		{prefix + "key_file", &c.KeyFile, c.KeyRef},
	}
}

// readable reports why the file at path cannot be read, without naming it.
func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return reason(err)
	}
	defer f.Close()
	// A directory can be opened, but not read.
	if _, err := f.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
		return reason(err)
	}
	return nil
}
