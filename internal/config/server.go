package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	common "github.com/prometheus/common/config"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

const (
	defaultTimeout               = 5 * time.Second
	defaultMaxConcurrentRequests = 32
	// maxNameBytes bounds a server's name, a label of every series.
	maxNameBytes = 128
)

// server is a server as it is written. The HTTP settings are not embedded:
// their UnmarshalYAML would become that of server.
type server struct {
	Name                  string                  `yaml:"name"`
	EndpointURL           string                  `yaml:"endpoint_url"`
	Timeout               duration                `yaml:"timeout"`
	MaxConcurrentRequests count                   `yaml:"max_concurrent_requests"`
	Discovery             *discoveryConfig        `yaml:"discovery"`
	HTTP                  common.HTTPClientConfig `yaml:",inline"`
}

func (s *server) setDefaults() { s.HTTP = common.DefaultHTTPClientConfig }

// name returns the value of the label server, "" if there is none.
func (s *server) name() string {
	if u, err := lakefs.ParseEndpoint(s.EndpointURL); s.Name == "" && err == nil {
		return u.Host
	}
	return s.Name
}

// build returns the server to poll. Relative paths are relative to dir.
func (s *server) build(dir, userAgent string) (built collector.Server, err error) {
	built = collector.Server{
		Name:                  s.name(),
		Timeout:               cmp.Or(time.Duration(s.Timeout), defaultTimeout),
		MaxConcurrentRequests: int(min(cmp.Or(s.MaxConcurrentRequests, defaultMaxConcurrentRequests), math.MaxInt32)),
	}
	var errs []error
	if s.EndpointURL == "" {
		errs = append(errs, errors.New("endpoint_url is missing"))
	} else if _, err := lakefs.ParseEndpoint(s.EndpointURL); err != nil {
		errs = append(errs, fmt.Errorf("endpoint_url: %w", err))
	}
	if len(built.Name) > maxNameBytes || !utf8.ValidString(built.Name) || strings.ContainsFunc(built.Name, unicode.IsControl) {
		errs = append(errs, fmt.Errorf("name %q: must be at most %d bytes of UTF-8 without control characters", built.Name, maxNameBytes))
	}
	if err := prepareHTTP(&s.HTTP, dir); err != nil {
		errs = append(errs, err)
	}
	if s.Discovery != nil {
		if built.Discovery, err = s.Discovery.build(built.Name, dir); err != nil {
			errs = append(errs, prefixed("discovery", explain(err)))
		}
	}
	if errs == nil {
		built.Client, err = lakefs.NewClient(lakefs.ClientConfig{EndpointURL: s.EndpointURL, HTTP: s.HTTP, UserAgent: userAgent})
		errs = append(errs, err)
	}
	return built, errors.Join(errs...)
}
