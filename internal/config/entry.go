package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"lakefs_import_exporter/collector"
)

// maxIndicators bounds the indicators of YAML in an import file, of which there
// is one for at most two values. 1 MiB of entries has fewer, while 1 MiB of
// [1,1,...] would take 180 MiB of memory.
const maxIndicators = 150_000

// entry is an import as it is written, in the config file and in import files.
type entry struct {
	Repository string `yaml:"repository"`
	Branch     string `yaml:"branch"`
	ID         string `yaml:"id"`
	Server     string `yaml:"server"`
	settings   `yaml:",inline"`
}

// repository is a repository as it is written.
type repository struct {
	Repository   string            `yaml:"repository"`
	Server       string            `yaml:"server"`
	MaxImportAge duration          `yaml:"max_import_age"`
	Labels       map[string]string `yaml:"labels"`
}

// decodeImports returns the validated imports in data, the content of an import
// file, or what is wrong with it.
func decodeImports(data []byte, servers []string) ([]*collector.Import, []error) {
	indicators := 0
	for _, s := range []string{",", "[", "{", ":", "?", "- ", "-\n", "-\r"} {
		indicators += bytes.Count(data, []byte(s))
	}
	if indicators > maxIndicators {
		return nil, []error{errors.New("too many YAML values")}
	}
	entries, errs := decode[[]written[entry]](data)
	imports, entryErrs := resolveImports("", entries, servers)
	if errs = append(errs, entryErrs...); errs != nil {
		return nil, bounded(errs)
	}
	return imports, nil
}

func resolveImports(list string, entries []written[entry], servers []string) ([]*collector.Import, []error) {
	var labels map[string]string
	resolve := func(e *entry) (*collector.Import, error) {
		if maps.Equal(e.Labels, labels) {
			e.Labels = labels // one map instead of thousands
		}
		labels = e.Labels
		server, serverErr := serverName(e.Server, servers)
		imp, err := e.importOf(collector.Key{Server: server, Repository: e.Repository, ID: e.ID}, e.Branch)
		return &imp, errors.Join(serverErr, err)
	}
	return resolveAll(list, entries, resolve, func(imp *collector.Import) collector.Key { return imp.Key })
}

func resolveRepositories(list string, entries []written[repository], servers []string) ([]collector.Repository, []error) {
	resolve := func(e *repository) (collector.Repository, error) {
		server, err := serverName(e.Server, servers)
		r := collector.Repository{Server: server, Name: e.Repository, MaxImportAge: time.Duration(e.MaxImportAge), Labels: e.Labels}
		return r, errors.Join(err, r.Validate())
	}
	return resolveAll(list, entries, resolve, func(r collector.Repository) [2]string { return [2]string{r.Server, r.Name} })
}

// resolveAll returns the entries of a list resolved, and what is wrong with the
// first that are wrong or have the key of one before.
func resolveAll[E, V any, K comparable](list string, entries []written[E], resolve func(*E) (V, error), key func(V) K) ([]V, []error) {
	var errs []error
	values := make([]V, 0, len(entries))
	numbers := make(map[K]int, len(entries))
	for i := 0; i < len(entries) && len(errs) <= maxErrors; i++ {
		e, number := &entries[i], i+1
		var value V
		err := e.err
		if err == nil {
			value, err = resolve(&e.value)
		}
		if err == nil {
			if first := numbers[key(value)]; first != 0 {
				err = fmt.Errorf("duplicate of entry %d", first)
			} else {
				values, numbers[key(value)] = append(values, value), number
			}
		}
		for _, err := range explain(err) {
			if !startsWithLine.MatchString(err.Error()) {
				err = fmt.Errorf("line %d: %sentry %d: %w", e.line, list, number, err)
			}
			errs = append(errs, err)
		}
	}
	return values, errs
}

// serverName returns the name of the server that is written, or of the only one if
// none is. The name of a server that was not decoded is empty.
func serverName(written string, servers []string) (string, error) {
	name := cmp.Or(written, servers[0])
	switch {
	case slices.Contains(servers, ""):
		return name, nil
	case written == "" && len(servers) > 1:
		return name, errors.New("server is missing: required where there is more than one")
	case !slices.Contains(servers, name):
		return name, fmt.Errorf("server %q is not configured: must be one of %s", name, strings.Join(servers, ", "))
	}
	return name, nil
}
