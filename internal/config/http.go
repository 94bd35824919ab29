package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	common "github.com/prometheus/common/config"

	"lakefs_import_exporter/internal/disk"
	"lakefs_import_exporter/lakefs"
)

// prepareHTTP validates c and makes its paths relative to dir.
func prepareHTTP(c *common.HTTPClientConfig, dir string) error {
	if err := prepareFiles(reflect.ValueOf(c), "", dir); err != nil {
		return err
	}
	c.HTTPHeaders.SetDirectory(dir)
	if err := c.Validate(); err != nil {
		return err
	}
	if err := checkConnection(&c.TLSConfig, c.ProxyURL); err != nil {
		return err
	}
	if c.OAuth2 != nil {
		if err := checkConnection(&c.OAuth2.TLSConfig, c.OAuth2.ProxyURL); err != nil {
			return fmt.Errorf("oauth2: %w", err)
		}
	}
	return nil
}

// checkConnection finds what would else be found when a connection is made.
func checkConnection(cfg *common.TLSConfig, proxy common.URL) error {
	if proxy.URL != nil && !slices.Contains([]string{"http", "https", "socks5", "socks5h", ""}, proxy.Scheme) {
		return errors.New("proxy_url: must begin with http://, https:// or socks5://")
	}
	if _, err := common.NewTLSConfig(cfg); err != nil {
		return fmt.Errorf("tls_config: %w", err)
	}
	return nil
}

// prepareFiles makes every setting of the struct at v that names a file relative to
// dir, sees whether the file can be read, and refuses references to secrets of a
// secret manager. It finds settings by their keys, so that it misses none that
// prometheus/common has or adds: its SetDirectory leaves one out.
func prepareFiles(v reflect.Value, prefix, dir string) error {
	v = reflect.Indirect(v)
	if v.Kind() != reflect.Struct {
		return nil
	}
	var errs []error
	for field, value := range v.Fields() {
		key, _, ok := strings.Cut(field.Tag.Get("yaml"), ",")
		var err error
		switch {
		case !ok:
		case strings.HasSuffix(key, "_file"):
			value.SetString(common.JoinDir(dir, value.String()))
			if path := value.String(); path != "" {
				if _, _, err = disk.ReadFile(path, lakefs.MaxFileBytes); err != nil {
					err = fmt.Errorf("%s: %w", prefix+key, err)
				}
			}
		case strings.HasSuffix(key, "_ref"):
			if !value.IsZero() {
				err = fmt.Errorf("%s: secret references are not supported", prefix+key)
			}
		case key == "": // inline
			err = prepareFiles(value, prefix, dir)
		default:
			err = prepareFiles(value, prefix+key+".", dir)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
