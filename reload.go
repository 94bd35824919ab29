package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"lakefs_import_exporter/collector"
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
func (r *reloader) reload() error {
	cfg, err := r.load()
	if err != nil {
		r.successful.Set(0)
		return err
	}
	r.apply(cfg)
	level.Info(r.logger).Log("msg", "Loaded configuration",
		"servers", len(cfg.Servers), "imports", len(cfg.Imports), "repositories", len(cfg.Repositories))
	r.successful.Set(1)
	r.successTime.SetToCurrentTime()
	return nil
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
		err := r.reload()
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
		return <-answer
	case <-ctx.Done():
		return ctx.Err()
	}
}
