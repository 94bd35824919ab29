package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"lakefs_import_exporter/collector"
)

// Bounds of what comes over the API, since it is kept in memory, on disk and in
// Prometheus.
const (
	// MaxSettingsBytes is how long the JSON of settings may be.
	MaxSettingsBytes = 64 << 10

	maxLabels     = 32
	maxLabelBytes = 4 << 10 // names and values of all
)

// settings are what may be written about an import besides its identity.
type settings struct {
	ExpectedObjects count             `yaml:"expected_objects"`
	NoProgressAfter duration          `yaml:"no_progress_after"`
	MaxDuration     duration          `yaml:"max_duration"`
	Labels          map[string]string `yaml:"labels"`
}

// importOf returns the validated import with s.
func (s *settings) importOf(key collector.Key, branch string) (collector.Import, error) {
	imp := collector.Import{
		Key:             key,
		Branch:          branch,
		ExpectedObjects: int64(s.ExpectedObjects),
		NoProgressAfter: cmp.Or(time.Duration(s.NoProgressAfter), collector.DefaultNoProgressAfter),
		MaxDuration:     time.Duration(s.MaxDuration),
		Labels:          s.Labels,
	}
	return imp, imp.Validate()
}

// DecodeSettings returns the import with key and branch, and the settings in
// body: a JSON object of expected_objects, no_progress_after, max_duration and
// labels, each optional, or nothing. The error has a line for each problem of
// body, key or branch. It does not know which servers exist.
func DecodeSettings(body []byte, key collector.Key, branch string) (collector.Import, error) {
	var s settings
	if body = bytes.TrimSpace(body); len(body) > 0 {
		if err := s.decodeJSON(body); err != nil {
			return collector.Import{}, err
		}
	}
	imp, err := s.importOf(key, branch)
	if err != nil {
		return collector.Import{}, err
	}
	return imp, nil
}

var jsonString = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// decodeJSON decodes body as YAML, which JSON is but for some escapes in strings:
// encoding/json would accept duplicates and keys in capitals.
func (s *settings) decodeJSON(body []byte) error {
	switch {
	case len(body) > MaxSettingsBytes:
		return fmt.Errorf("larger than %d KiB", MaxSettingsBytes>>10)
	case !json.Valid(body) || body[0] != '{':
		return errors.New("must be a JSON object")
	}
	body = jsonString.ReplaceAllFunc(body, func(literal []byte) []byte {
		var text string
		_ = json.Unmarshal(literal, &text) // valid, as body is
		return strconv.AppendQuoteToASCII(nil, text)
	})
	decoded, errs := decode[settings](body)
	if errs != nil {
		return errs[0]
	}
	*s = decoded
	size := 0
	for name, value := range s.Labels {
		size += len(name) + len(value)
	}
	if len(s.Labels) > maxLabels || size > maxLabelBytes {
		return fmt.Errorf("labels: more than %d, or more than %d bytes of names and values", maxLabels, maxLabelBytes)
	}
	return nil
}

// count is a positive whole number, or 0 if there is none. An int64 would take
// 1.5 for 1.
type count int64

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *count) UnmarshalYAML(n *yaml.Node) error {
	if n.ShortTag() != "!!int" || n.Decode((*int64)(c)) != nil || *c < 1 {
		return valueError(n, "is not a positive whole number")
	}
	return nil
}

// duration is a positive duration as Prometheus writes it, or 0 if there is none.
type duration time.Duration

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *duration) UnmarshalYAML(n *yaml.Node) error {
	parsed, err := model.ParseDuration(n.Value)
	if err != nil || parsed == 0 {
		return valueError(n, "is not a positive duration, such as 30m")
	}
	*d = duration(parsed)
	return nil
}

// valueError returns an error that yaml.v3 collects with those of its own.
func valueError(n *yaml.Node, problem string) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %.40q %s", n.Line, n.Value, problem)}}
}
