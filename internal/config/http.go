package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	common "github.com/prometheus/common/config"
)

// prepareHTTP validates c and makes its paths relative to dir. Every file that
// c names must be readable now, although it is read again when it is used.
func prepareHTTP(c *common.HTTPClientConfig, dir string) error {
	if err := prepareFiles(reflect.ValueOf(c), "", dir); err != nil {
		return err
	}
	if c.HTTPHeaders != nil {
		for _, name := range slices.Sorted(maps.Keys(c.HTTPHeaders.Headers)) {
			paths := c.HTTPHeaders.Headers[name].Files
			for i, path := range paths {
				var err error
				if paths[i], err = prepareFile(path, "http_headers."+name+".files", dir); err != nil {
					return err
				}
			}
		}
	}
	if err := c.Validate(); err != nil {
		return err
	}
	proxies := []common.URL{c.ProxyURL}
	if c.OAuth2 != nil {
		proxies = append(proxies, c.OAuth2.ProxyURL)
	}
	for _, u := range proxies {
		if u.URL != nil && !slices.Contains([]string{"http", "https", "socks5", "socks5h", ""}, u.Scheme) {
			return errors.New("proxy_url: must begin with http://, https:// or socks5://")
		}
	}
	// The client would name neither the setting nor the file.
	if _, err := common.NewTLSConfig(&c.TLSConfig); err != nil {
		return fmt.Errorf("tls_config: %w", err)
	}
	if c.OAuth2 != nil {
		if _, err := common.NewTLSConfig(&c.OAuth2.TLSConfig); err != nil {
			return fmt.Errorf("oauth2.tls_config: %w", err)
		}
	}
	return nil
}

// prepareFiles prepares every setting of the struct at v that names a file, and
// refuses references to secrets of a secret manager. It finds settings by their
// keys, so that it misses none that prometheus/common has or adds: its
// SetDirectory leaves one out.
func prepareFiles(v reflect.Value, prefix, dir string) error {
	v = reflect.Indirect(v)
	if v.Kind() != reflect.Struct {
		return nil
	}
	for field, value := range v.Fields() {
		key, _, ok := strings.Cut(field.Tag.Get("yaml"), ",")
		var err error
		switch {
		case !ok:
		case strings.HasSuffix(key, "_file"):
			var path string
			path, err = prepareFile(value.String(), prefix+key, dir)
			value.SetString(path)
		case strings.HasSuffix(key, "_ref"):
			if !value.IsZero() {
				err = fmt.Errorf("%s: secret references are not supported", prefix+key)
			}
		case key == "": // inline
			err = prepareFiles(value, prefix, dir)
		default:
			err = prepareFiles(value, prefix+key+".", dir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// prepareFile returns path relative to dir and reads the file, if path is set.
func prepareFile(path, key, dir string) (string, error) {
	if path == "" {
		return "", nil
	}
	path = common.JoinDir(dir, path)
	if _, _, err := readFile(path, maxSecretBytes); err != nil {
		return "", fmt.Errorf("%s: %s: %w", key, path, err)
	}
	return path, nil
}
