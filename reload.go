package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

// reloader loads the configuration, one load at a time.
type reloader struct {
	load    func() (collector.Config, error)
	apply   func(collector.Config)
	logger  log.Logger
	hangups chan os.Signal
	asked   chan chan error

	successful  prometheus.Gauge
	successTime prometheus.Gauge
}

func newReloader(load func() (collector.Config, error), apply func(collector.Config), logger log.Logger, reg prometheus.Registerer) *reloader {
	factory := promauto.With(reg)
	hangups := make(chan os.Signal, 1)
	// From now on, so that a SIGHUP while the exporter starts does not end it.
	signal.Notify(hangups, syscall.SIGHUP)
	return &reloader{
		load:    load,
		apply:   apply,
		logger:  logger,
		hangups: hangups,
		asked:   make(chan chan error),
		successful: factory.NewGauge(prometheus.GaugeOpts{
			Name: program + "_config_last_reload_successful",
			Help: "Whether the last attempt to load the configuration succeeded: 1 if so, else 0.",
		}),
		successTime: factory.NewGauge(prometheus.GaugeOpts{
			Name: program + "_config_last_reload_success_timestamp_seconds",
			Help: "Unix time at which the configuration was last loaded.",
		}),
	}
}

// reload loads the configuration and applies it. If it does not load, the
// previous one is kept.
func (r *reloader) reload() (collector.Config, error) {
	cfg, err := r.load()
	if err != nil {
		r.successful.Set(0)
		return cfg, err
	}
	r.apply(cfg)
	level.Info(r.logger).Log("msg", "Loaded configuration",
		"servers", len(cfg.Servers), "imports", len(cfg.Imports), "repositories", len(cfg.Repositories))
	r.successful.Set(1)
	r.successTime.SetToCurrentTime()
	return cfg, nil
}

// checkServers asks each server for something that takes keys, and warns of those
// that refuse them, answer with an error or do not answer: it is better known now
// than at the first scrape, or when an import is registered.
func checkServers(servers []collector.Server, logger log.Logger) {
	for _, s := range servers {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
			defer cancel()
			err := s.Client.CheckKeys(ctx)
			var answer *lakefs.Error
			msg := "No answer from lakeFS"
			switch {
			case err == nil:
				return
			case !errors.As(err, &answer) || answer.StatusCode == 0:
			case answer.Kind == lakefs.Unauthorized:
				msg = "lakeFS refuses the access keys"
			default:
				msg = "Unexpected answer from lakeFS"
			}
			level.Warn(logger).Log("msg", msg, "server", s.Name, "err", err)
		}()
	}
}

// run reloads at every SIGHUP and at every request, until ctx is done.
func (r *reloader) run(ctx context.Context) {
	for {
		var answer chan error
		select {
		case <-ctx.Done():
			return
		case <-r.hangups:
		case answer = <-r.asked:
		}
		_, err := r.reload()
		if err != nil {
			level.Error(r.logger).Log("msg", "Failed to reload configuration; keeping the previous one", "err", err)
		}
		if answer != nil {
			answer <- err
		}
	}
}

// request has the configuration reloaded, and returns how that ended.
func (r *reloader) request(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case r.asked <- answer:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done(): // the config may be on a file system that hangs
		return ctx.Err()
	}
}
