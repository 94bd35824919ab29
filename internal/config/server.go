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
	if s.EndpointURL == "" {
		return built, errors.New("endpoint_url is missing")
	}
	if _, err := lakefs.ParseEndpoint(s.EndpointURL); err != nil {
		return built, fmt.Errorf("endpoint_url: %w", err)
	}
	built = collector.Server{
		Name:                  s.name(),
		Timeout:               cmp.Or(time.Duration(s.Timeout), defaultTimeout),
		MaxConcurrentRequests: int(min(cmp.Or(s.MaxConcurrentRequests, defaultMaxConcurrentRequests), math.MaxInt32)),
	}
	if len(built.Name) > maxNameBytes || !utf8.ValidString(built.Name) || strings.ContainsFunc(built.Name, unicode.IsControl) {
		return built, fmt.Errorf("name %q: must be at most %d bytes of UTF-8 without control characters", built.Name, maxNameBytes)
	}
	if err := prepareHTTP(&s.HTTP, dir); err != nil {
		return built, err
	}
	if s.Discovery != nil {
		if built.Discovery, err = s.Discovery.build(built.Name, dir); err != nil {
			return built, fmt.Errorf("discovery: %w", err)
		}
	}
	built.Client, err = lakefs.NewClient(lakefs.ClientConfig{EndpointURL: s.EndpointURL, HTTP: s.HTTP, UserAgent: userAgent})
	return built, err
}
