package config

import (
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
	// maxNameBytes keeps a server's name, a label of every series, reasonable.
	maxNameBytes = 128
)

// server is a server as it is written. The HTTP settings are not embedded:
// their UnmarshalYAML would become that of server.
type server struct {
	Name                  *string                 `yaml:"name"`
	EndpointURL           string                  `yaml:"endpoint_url"`
	Timeout               *string                 `yaml:"timeout"`
	MaxConcurrentRequests any                     `yaml:"max_concurrent_requests"`
	HTTP                  common.HTTPClientConfig `yaml:",inline"`

	invalid error // of decoding it
}

// UnmarshalYAML implements the older form of yaml.Unmarshaler.
func (s *server) UnmarshalYAML(unmarshal func(any) error) error {
	type written server
	*s = server{HTTP: common.DefaultHTTPClientConfig}
	s.invalid = decodeEntry(unmarshal, (*written)(s))
	return nil
}

// build returns the server to poll. Relative paths are relative to dir.
func (s *server) build(dir, userAgent string) (built collector.Server, err error) {
	if s.invalid != nil {
		return built, s.invalid
	}
	if s.EndpointURL == "" {
		return built, errors.New("endpoint_url is missing")
	}
	u, err := lakefs.ParseEndpoint(s.EndpointURL)
	if err != nil {
		return built, fmt.Errorf("endpoint_url: %w", err)
	}
	built.Name = u.Host
	if s.Name != nil {
		built.Name = *s.Name
	}
	if err := validateName(built.Name); err != nil {
		return built, fmt.Errorf("name %q: %w", built.Name, err)
	}
	if built.Timeout, err = duration("timeout", s.Timeout, defaultTimeout); err != nil {
		return built, err
	}
	requests, err := wholeNumber("max_concurrent_requests", s.MaxConcurrentRequests, defaultMaxConcurrentRequests)
	if err != nil {
		return built, err
	}
	built.MaxConcurrentRequests = int(min(requests, math.MaxInt32)) // As good as no bound.
	if err := prepareHTTP(&s.HTTP, dir); err != nil {
		return built, err
	}
	built.Client, err = lakefs.NewClient(lakefs.ClientConfig{EndpointURL: s.EndpointURL, HTTP: s.HTTP, UserAgent: userAgent})
	return built, err
}

func validateName(name string) error {
	switch {
	case name == "":
		return errors.New("must not be empty")
	case len(name) > maxNameBytes:
		return fmt.Errorf("is over %d bytes long", maxNameBytes)
	case !utf8.ValidString(name):
		return errors.New("is not valid UTF-8")
	case strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("has a control character")
	}
	return nil
}
