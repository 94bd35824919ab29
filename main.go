// Command lakefs_import_exporter tells Prometheus how the data imports of
// lakeFS are getting on.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"
	sloggokit "github.com/tjhop/slog-gokit"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/config"
	"lakefs_import_exporter/internal/demo"
	"lakefs_import_exporter/internal/storage"
	"lakefs_import_exporter/internal/web"
)

const (
	program = "lakefs_import_exporter"
	// stopTimeout is how long requests under way have after a signal to stop.
	stopTimeout = 4 * time.Second
	// gcPercent stands in for GOGC where that is not set. What a scrape is made
	// of is garbage as soon as it is answered; by Go's default of 100, a heap
	// that was measured in the middle of a scrape may grow to twice its size.
	gcPercent = 70
)

func main() {
	if version.Version == "" {
		version.Version = moduleVersion()
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// moduleVersion returns the version for a binary that was built without the
// Makefile, by go install or go run.
func moduleVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "unknown"
}

// flags are what the command line and the environment say.
type flags struct {
	configFile      *string
	configCheck     *bool
	demo            *bool
	web             *toolkit.FlagConfig
	telemetryPath   *string
	enableLifecycle *bool
	enableImportAPI *bool
	maxImports      *int
	storagePath     *string
	retention       model.Duration
	shard           collector.Shard
	timeoutOffset   *float64
	logLevel        *string
	logFormat       *string
}

// parseFlags returns the flags. done is true if there is nothing left to do,
// because help or the version was asked for.
func parseFlags(args []string, stdout, stderr io.Writer) (f flags, done bool, err error) {
	app := kingpin.New(program, "Tells Prometheus how the data imports of lakeFS are getting on.")
	app.DefaultEnvars()
	app.UsageWriter(stdout).ErrorWriter(stderr)
	app.Terminate(func(int) { done = true })
	app.Version(version.Print(program))
	app.HelpFlag.Short('h')
	f = flags{
		configFile: app.Flag("config.file", "Path to the configuration file.").
			Default("config.yml").String(),
		configCheck: app.Flag("config.check", "Load the configuration and its import files, say what is wrong with them, and exit.").
			Bool(),
		demo: app.Flag("demo", "Watch the imports of a simulated lakeFS. Needs no lakeFS and no configuration file.").
			Bool(),
		web: kingpinflag.AddFlags(app, ":10470"),
		telemetryPath: app.Flag("web.telemetry-path", "Path under which to expose metrics.").
			Default("/metrics").String(),
		enableLifecycle: app.Flag("web.enable-lifecycle", "Enable reloading the configuration by POST /-/reload.").
			Bool(),
		enableImportAPI: app.Flag("web.enable-import-api", "Enable registering and unregistering imports by PUT and DELETE. Needs --storage.path.").
			Bool(),
		maxImports: app.Flag("web.max-imports", "How many imports can be registered by PUT.").
			Default("10000").Int(),
		storagePath: app.Flag("storage.path", "Path to the file that registered imports and what was last seen of all imports are kept in, or to a directory for it. None if empty.").
			Default("").String(),
		timeoutOffset: app.Flag("timeout-offset", "Seconds to subtract from Prometheus' scrape timeout.").
			Default("0.5").Float64(),
		logLevel: app.Flag("log.level", "Only log messages with the given severity or above. One of: debug, info, warn, error.").
			Default("info").Enum("debug", "info", "warn", "error"),
		logFormat: app.Flag("log.format", "Output format of log messages. One of: logfmt, json.").
			Default("logfmt").Enum("logfmt", "json"),
	}
	app.Flag("storage.retention", "How long registered imports stay after they finished, or after lakeFS began not to find them; without any status, seven times as long.").
		Default("24h").SetValue(&f.retention)
	app.Flag("shard", "Which part of the imports to watch, from 0 to --total-shards less 1.").
		Default("0").Uint64Var(&f.shard.Index)
	app.Flag("total-shards", "How many exporters share out the imports of the same configuration.").
		Default("1").Uint64Var(&f.shard.Total)
	if _, err := app.Parse(args); err != nil {
		return f, false, fmt.Errorf("%w, try --help", err)
	}
	if done {
		return f, true, nil
	}
	return f, false, f.validate()
}

// validate reports the first flag that is wrong by itself or beside another.
func (f flags) validate() error {
	if math.IsNaN(*f.timeoutOffset) || *f.timeoutOffset < 0 || *f.timeoutOffset > 3600 {
		return fmt.Errorf("--timeout-offset: must be from 0 to 3600, not %g", *f.timeoutOffset)
	}
	if err := web.ValidateTelemetryPath(*f.telemetryPath); err != nil {
		return fmt.Errorf("--web.telemetry-path: %w", err)
	}
	if f.shard.Total < 1 {
		return errors.New("--total-shards: must be at least 1")
	}
	if err := f.shard.Validate(); err != nil {
		return fmt.Errorf("--shard: %w", err)
	}
	switch {
	case f.retention <= 0:
		return fmt.Errorf("--storage.retention: must be positive, not %s", f.retention)
	case *f.maxImports < 1:
		return fmt.Errorf("--web.max-imports: must be at least 1, not %d", *f.maxImports)
	case *f.enableImportAPI && *f.storagePath == "":
		return errors.New("--web.enable-import-api: needs --storage.path, or what is registered would be lost with a restart")
	case *f.enableImportAPI && f.shard.Total > 1:
		return errors.New("--web.enable-import-api: not with --total-shards, what is registered belongs to one exporter")
	}
	return nil
}

// newLogger returns the program's logger, and one that writes to the same
// place for libraries that want log/slog.
func newLogger(w io.Writer, format, lowest string) (log.Logger, *slog.Logger) {
	w = log.NewSyncWriter(w)
	logger := log.NewLogfmtLogger(w)
	if format == "json" {
		logger = log.NewJSONLogger(w)
	}
	logger = level.NewFilter(logger, level.Allow(level.ParseDefault(lowest, level.InfoValue())))
	// The handler names time and caller itself, by these keys.
	return log.With(logger, "time", log.DefaultTimestampUTC, "caller", log.DefaultCaller),
		slog.New(sloggokit.NewGoKitHandler(logger, slog.LevelDebug))
}

// run is main, but returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	f, done, err := parseFlags(args, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "%s: error: %v\n", program, err)
		return 1
	}
	if done {
		return 0
	}
	logger, slogger := newLogger(stderr, *f.logFormat, *f.logLevel)
	loader := config.NewLoader(*f.configFile, version.ComponentUserAgent(program), logger)
	if *f.configCheck {
		if err := loader.Check(); err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		fmt.Fprintln(stdout, "ok")
		return 0
	}

	level.Info(logger).Log("msg", "Starting "+program, "version", version.Info(), "build_context", version.BuildContext())
	if err := serve(f, loader, logger, slogger, stdout); err != nil {
		level.Error(logger).Log("msg", "The exporter stops", "err", err)
		return 1
	}
	level.Info(logger).Log("msg", "The exporter has stopped")
	return 0
}

// serve runs the exporter until it is told to stop.
func serve(f flags, loader *config.Loader, logger log.Logger, slogger *slog.Logger, stdout io.Writer) (err error) {
	if err := toolkit.Validate(*f.web.WebConfigFile); err != nil {
		return fmt.Errorf("--web.config.file: %w", err)
	}
	if *f.enableImportAPI && !web.Authenticates(*f.web.WebConfigFile) {
		level.Warn(logger).Log("msg", "Whoever reaches the exporter can register and unregister imports: --web.config.file asks for no authentication")
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector(program),
	)
	now, load := time.Now, loader.Load
	var sim *demo.Demo
	if *f.demo {
		var err error
		if sim, err = demo.Start(version.ComponentUserAgent(program)); err != nil {
			return fmt.Errorf("starting the demo: %w", err)
		}
		defer sim.Close()
		now, load = sim.Now, sim.Config
	}
	opts := collector.Options{
		Now:           now,
		Logger:        logger,
		Registerer:    registry,
		Shard:         f.shard,
		Retention:     time.Duration(f.retention),
		MaxRegistered: *f.maxImports,
	}
	if *f.storagePath != "" {
		store, openErr := storage.Open(*f.storagePath)
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		opts.Store = store
	}
	coll, err := collector.New(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, coll.Close()) }()
	reloader := newReloader(load, coll, logger, registry)
	if err := reloader.load(); err != nil {
		return err
	}
	handler, err := web.New(web.Options{
		Collector:       coll,
		Registry:        registry,
		Logger:          logger,
		Reload:          reloader.request,
		EnableLifecycle: *f.enableLifecycle,
		EnableImportAPI: *f.enableImportAPI,
		TelemetryPath:   *f.telemetryPath,
		TimeoutOffset:   time.Duration(*f.timeoutOffset * float64(time.Second)),
		Version:         version.Info(),
	})
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go reloader.run(ctx)
	if sim != nil {
		sim.Rehearse(coll.Scrape)
		printDemoURLs(stdout, (*f.web.WebListenAddresses)[0], *f.telemetryPath)
	}
	return listenAndServe(ctx, handler, f.web, logger, slogger)
}

// listenAndServe answers requests until ctx is done, and lets those under way
// end for a while then.
func listenAndServe(ctx context.Context, handler http.Handler, f *toolkit.FlagConfig, logger log.Logger, slogger *slog.Logger) error {
	server := web.NewServer(handler)
	server.ErrorLog = stdlog.New(serverErrors{logger}, "", 0)
	failed := make(chan error, 1)
	go func() {
		failed <- toolkit.ListenAndServe(server, f, slogger)
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	level.Info(logger).Log("msg", "Told to stop, letting the requests under way end", "timeout", stopTimeout)
	deadline, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		level.Warn(logger).Log("msg", "Some requests did not end in time", "err", err)
		return server.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serverErrors is how net/http logs.
type serverErrors struct{ logger log.Logger }

// Write implements io.Writer: it takes one line of the log.
func (e serverErrors) Write(line []byte) (int, error) {
	msg := strings.TrimSpace(string(line))
	logger := level.Warn(e.logger)
	// Whoever only looks whether the port is open, as kubelet and load balancers
	// do, connects to it and leaves.
	if strings.HasPrefix(msg, "http: TLS handshake error") && strings.HasSuffix(msg, ": EOF") {
		logger = level.Debug(e.logger)
	}
	logger.Log("msg", msg)
	return len(line), nil
}

func printDemoURLs(w io.Writer, address, telemetryPath string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return // the server is about to say what is wrong with it
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	base := "http://" + net.JoinHostPort(host, port)
	fmt.Fprintf(w, "A simulated lakeFS is running, with imports in every state. Open:\n\n  %s/\n  %s%s\n  %s/api/v1/imports\n\n",
		base, base, telemetryPath, base)
}

// reloader loads the configuration, one load at a time.
type reloader struct {
	source    func() (collector.Config, error)
	collector *collector.Collector
	logger    log.Logger
	hangups   chan os.Signal
	requests  chan chan error

	successful  prometheus.Gauge
	successTime prometheus.Gauge
}

func newReloader(source func() (collector.Config, error), c *collector.Collector, logger log.Logger, reg prometheus.Registerer) *reloader {
	factory := promauto.With(reg)
	hangups := make(chan os.Signal, 1)
	// From now on, so that a SIGHUP while the exporter starts does not end it.
	signal.Notify(hangups, syscall.SIGHUP)
	return &reloader{
		source:    source,
		collector: c,
		logger:    logger,
		hangups:   hangups,
		requests:  make(chan chan error),
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

// load loads the configuration and applies it. If it does not load, the one in
// force stays.
func (r *reloader) load() error {
	cfg, err := r.source()
	if err != nil {
		r.successful.Set(0)
		return err
	}
	r.collector.Apply(cfg)
	level.Info(r.logger).Log("msg", "The configuration is loaded",
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
		case answer = <-r.requests:
		}
		err := r.load()
		if err != nil {
			level.Error(r.logger).Log("msg", "The configuration does not load, the old one stays in force", "err", err)
		} else {
			level.Info(r.logger).Log("msg", "The configuration was reloaded")
		}
		if answer != nil {
			answer <- err
		}
	}
}

// request has the configuration reloaded, and returns how that went.
func (r *reloader) request(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case r.requests <- answer:
		return <-answer
	case <-ctx.Done():
		return ctx.Err()
	}
}
