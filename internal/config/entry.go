package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

// entry is an import as it is written, in the config file and in import files.
type entry struct {
	Repository      string            `yaml:"repository"`
	Branch          string            `yaml:"branch"`
	ID              string            `yaml:"id"`
	Server          string            `yaml:"server"`
	ExpectedObjects any               `yaml:"expected_objects"`
	NoProgressAfter *string           `yaml:"no_progress_after"`
	Labels          map[string]string `yaml:"labels"`

	invalid error // of decoding it
}

// UnmarshalYAML implements the older form of yaml.Unmarshaler.
func (e *entry) UnmarshalYAML(unmarshal func(any) error) error {
	type written entry
	e.invalid = decodeEntry(unmarshal, (*written)(e))
	return nil
}

// resolve returns the validated imports of those entries that are good and
// are not in an earlier entry, and what is wrong with the first that is not.
func resolve(entries []entry, servers []string) (imports []collector.Import, first error) {
	seen := make(map[collector.Key]int, len(entries))
	for i := range entries {
		e := &entries[i]
		if i > 0 && maps.Equal(e.Labels, entries[i-1].Labels) {
			e.Labels = entries[i-1].Labels // one map instead of thousands
		}
		imp, err := e.resolve(servers)
		if earlier, dup := seen[imp.Key]; err == nil && dup {
			err = fmt.Errorf("%s on server %q: is in entry %d already", imp.Ref, imp.Server, earlier)
		}
		if err == nil {
			seen[imp.Key] = i + 1
			imports = append(imports, imp)
		} else if first == nil {
			first = fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	return imports, first
}

func (e *entry) resolve(servers []string) (imp collector.Import, err error) {
	if e.invalid != nil {
		return imp, e.invalid
	}
	imp.Ref = lakefs.Ref{Repository: e.Repository, Branch: e.Branch, ID: e.ID}
	if imp.Server, err = serverName(e.Server, servers); err != nil {
		return imp, err
	}
	if imp.ExpectedObjects, err = wholeNumber("expected_objects", e.ExpectedObjects, 0); err != nil {
		return imp, err
	}
	if imp.NoProgressAfter, err = duration("no_progress_after", e.NoProgressAfter, collector.DefaultNoProgressAfter); err != nil {
		return imp, err
	}
	imp.Labels = e.Labels
	return imp, imp.Validate()
}

// serverName returns the one of servers that is written, or the only one if
// none is.
func serverName(written string, servers []string) (string, error) {
	switch {
	case written == "" && len(servers) != 1:
		return "", errors.New("server is missing: the config has more than one")
	case written == "":
		return servers[0], nil
	case !slices.Contains(servers, written):
		return "", fmt.Errorf("server %q: the config has none of that name", written)
	}
	return written, nil
}

// wholeNumber returns v, the value of key as YAML has it, if it is a positive
// whole number, and otherwise where there is none. An int64 field would take
// 1.5 for 1.
func wholeNumber(key string, v any, otherwise int64) (int64, error) {
	if v == nil {
		return otherwise, nil
	}
	n := reflect.ValueOf(v) // An int, or where that is too small an int64.
	switch {
	case !n.CanInt():
		return 0, fmt.Errorf("%s: must be a whole number", key)
	case n.Int() < 1:
		return 0, fmt.Errorf("%s %d: must be positive", key, n.Int())
	}
	return n.Int(), nil
}

// duration returns what s, the value of key, means if it is a positive
// duration, and otherwise where there is none.
func duration(key string, s *string, otherwise time.Duration) (time.Duration, error) {
	if s == nil {
		return otherwise, nil
	}
	d, err := model.ParseDuration(*s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", key, err)
	case d == 0:
		return 0, fmt.Errorf("%s %s: must be positive", key, *s)
	}
	return time.Duration(d), nil
}
