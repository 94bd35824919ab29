package config

import (
	"fmt"

	"lakefs_import_exporter/collector"
)

// repository is a repository as it is written.
type repository struct {
	Repository   string            `yaml:"repository"`
	Server       string            `yaml:"server"`
	MaxImportAge *string           `yaml:"max_import_age"`
	Labels       map[string]string `yaml:"labels"`

	invalid error // of decoding it
}

// UnmarshalYAML implements the older form of yaml.Unmarshaler.
func (r *repository) UnmarshalYAML(unmarshal func(any) error) error {
	type written repository
	r.invalid = decodeEntry(unmarshal, (*written)(r))
	return nil
}

// resolveRepositories returns the validated repositories of entries. The error
// is about the first entry that is wrong.
func resolveRepositories(entries []repository, servers []string) ([]collector.Repository, error) {
	type key struct{ server, repository string }
	seen := make(map[key]int, len(entries))
	repositories := make([]collector.Repository, len(entries))
	for i, e := range entries {
		r, err := e.resolve(servers)
		k := key{r.Server, r.Name}
		if first, dup := seen[k]; err == nil && dup {
			err = fmt.Errorf("repository %s on server %q: is in entry %d already", r.Name, r.Server, first)
		}
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		repositories[i], seen[k] = r, i+1
	}
	return repositories, nil
}

func (r *repository) resolve(servers []string) (resolved collector.Repository, err error) {
	if r.invalid != nil {
		return resolved, r.invalid
	}
	resolved = collector.Repository{Name: r.Repository, Labels: r.Labels}
	if resolved.Server, err = serverName(r.Server, servers); err != nil {
		return resolved, err
	}
	if resolved.MaxImportAge, err = duration("max_import_age", r.MaxImportAge, 0); err != nil {
		return resolved, err
	}
	return resolved, resolved.Validate()
}
