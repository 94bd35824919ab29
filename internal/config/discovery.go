package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	common "github.com/prometheus/common/config"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/discovery"
	"lakefs_import_exporter/lakefs"
)

const (
	defaultRefreshInterval = 30 * time.Second
	defaultMaxImports      = 10_000
)

// discoveryConfig is the discovery of a server as it is written.
type discoveryConfig struct {
	Postgres        *discovery.PostgresConfig `yaml:"postgres"`
	DynamoDB        *discovery.DynamoDBConfig `yaml:"dynamodb"`
	RefreshInterval duration                  `yaml:"refresh_interval"`
	MaxImports      count                     `yaml:"max_imports"`
	Rules           []discoveryRule           `yaml:"rules"`
}

// discoveryRule says how to watch the discovered imports of some repositories.
type discoveryRule struct {
	Repository      string            `yaml:"repository"`
	Ignore          bool              `yaml:"ignore"`
	NoProgressAfter duration          `yaml:"no_progress_after"`
	MaxDuration     duration          `yaml:"max_duration"`
	Labels          map[string]string `yaml:"labels"`

	pattern *regexp.Regexp
}

// build returns the discovery of a server. Relative paths are relative to dir.
func (d *discoveryConfig) build(server, dir string) (collector.Discovery, error) {
	built := &discoverer{server: server, rules: d.Rules, opts: discovery.Options{
		Interval:   cmp.Or(time.Duration(d.RefreshInterval), defaultRefreshInterval),
		MaxImports: int(cmp.Or(d.MaxImports, defaultMaxImports)),
	}}
	built.opts.Ignore = func(repository string) bool { return built.rule(repository).Ignore }
	var errs []error
	for i := range d.Rules {
		errs = append(errs, prefixed(fmt.Sprintf("rules: entry %d", i+1), explain(d.Rules[i].compile())))
	}
	if built.opts.Interval < time.Second {
		errs = append(errs, errors.New("refresh_interval: must be at least 1s"))
	}
	var err error
	switch {
	case (d.Postgres == nil) == (d.DynamoDB == nil):
		err = errors.New("must have one of postgres and dynamodb")
	case d.Postgres != nil:
		d.Postgres.DSNFile = common.JoinDir(dir, d.Postgres.DSNFile)
		built.source, err = discovery.NewPostgres(*d.Postgres)
	default:
		built.source, err = discovery.NewDynamoDB(*d.DynamoDB)
	}
	return built, errors.Join(append(errs, err)...)
}

func (r *discoveryRule) compile() (err error) {
	if r.Repository == "" {
		return errors.New("repository is missing")
	}
	if r.pattern, err = regexp.Compile("^(?:" + r.Repository + ")$"); err != nil {
		return fmt.Errorf("repository %q: not a regular expression", r.Repository)
	}
	return collector.ValidateLabels(r.Labels)
}

// discoverer implements collector.Discovery.
type discoverer struct {
	server string
	source discovery.Source
	opts   discovery.Options
	rules  []discoveryRule
}

// Run implements collector.Discovery.
func (d *discoverer) Run(ctx context.Context, refreshed func(found []collector.Import, dropped int, err error)) {
	discovery.Run(ctx, d.source, d.opts, func(set discovery.Set, err error) {
		found := make([]collector.Import, 0, len(set.Imports))
		for _, i := range set.Imports {
			if imp, ok := d.Describe(i.Repository, i.ID); ok {
				found = append(found, imp)
			}
		}
		refreshed(found, set.Dropped, err)
	})
}

// Describe implements collector.Discovery.
func (d *discoverer) Describe(repository, id string) (collector.Import, bool) {
	r := d.rule(repository)
	s := settings{NoProgressAfter: r.NoProgressAfter, MaxDuration: r.MaxDuration, Labels: r.Labels}
	imp, err := s.importOf(collector.Key{Server: d.server, Repository: repository, ID: id}, lakefs.UnknownBranch)
	return imp, err == nil && !r.Ignore
}

// rule returns the first rule for a repository, or an empty one.
func (d *discoverer) rule(repository string) *discoveryRule {
	for i := range d.rules {
		if d.rules[i].pattern.MatchString(repository) {
			return &d.rules[i]
		}
	}
	return &discoveryRule{}
}
