// Command lakefs_import_exporter exports the state of lakeFS data imports to
// Prometheus.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	sloggokit "github.com/tjhop/slog-gokit"
	"golang.org/x/crypto/bcrypt"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/config"
	"lakefs_import_exporter/internal/demo"
	"lakefs_import_exporter/internal/storage"
	"lakefs_import_exporter/internal/web"
)

const (
	program = "lakefs_import_exporter"
	// stopTimeout is how long requests in flight may take after a signal to stop.
	stopTimeout = 4 * time.Second
)

func main() {
	if version.Version == "" {
		version.Version = moduleVersion()
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
	logger, slogger := newLogger(stderr, f.logFormat, f.logLevel)
	redirectStandardLog(logger)
	loader := config.NewLoader(f.configFile, version.ComponentUserAgent(program), logger)
	if f.configCheck {
		summary, err := loader.Check()
		if err := errors.Join(err, validateWebConfig(*f.listen.WebConfigFile)); err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		fmt.Fprintf(stdout, "ok (%s)\n", summary)
		return 0
	}

	level.Info(logger).Log("msg", "Starting "+program, "version", version.Info(), "build_context", version.BuildContext())
	if err := serve(f, loader, logger, slogger, stdout); err != nil {
		level.Error(logger).Log("msg", "Stopped because of an error", "err", err)
		return 1
	}
	level.Info(logger).Log("msg", "Stopped")
	return 0
}

// serve runs the exporter until it is told to stop.
func serve(f flags, loader *config.Loader, logger log.Logger, slogger *slog.Logger, stdout io.Writer) (err error) {
	if err := validateWebConfig(*f.listen.WebConfigFile); err != nil {
		return err
	}
	if f.web.EnableImportAPI && !web.Authenticates(*f.listen.WebConfigFile) {
		level.Warn(logger).Log("msg", "Anybody can register and unregister imports: --web.config.file sets up no authentication")
	}
	registry := newRegistry()
	opts := f.collector
	opts.Now, opts.Logger, opts.Registerer = time.Now, logger, registry
	load := loader.Load
	var sim *demo.Demo
	if f.demo {
		if sim, err = demo.Start(version.ComponentUserAgent(program)); err != nil {
			return fmt.Errorf("starting the demo: %w", err)
		}
		defer sim.Close()
		opts.Now, load = sim.Now, sim.Config
	}
	if f.storagePath != "" {
		store, openErr := storage.Open(f.storagePath)
		if openErr != nil {
			return openErr
		}
		defer func() {
			if !errors.Is(err, collector.ErrStorageTimeout) { // or else Close would hang, too
				err = errors.Join(err, store.Close())
			}
		}()
		opts.Store = store
	}
	coll, err := collector.New(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, coll.Close()) }()
	reloader := newReloader(load, coll.Apply, logger, registry)
	cfg, err := reloader.reload()
	if err != nil {
		return err
	}
	if sim == nil {
		checkServers(cfg.Servers, logger)
	}
	f.web.Collector, f.web.Registry, f.web.Logger = coll, registry, logger
	f.web.Reload, f.web.Version = reloader.request, version.Info()
	server := web.NewServer(web.New(f.web))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go reloader.run(ctx)
	if sim != nil {
		sim.Rehearse(coll.Poll)
		server.BaseContext = func(bound net.Listener) context.Context {
			printDemoURLs(stdout, bound.Addr().String(), f.web.RoutePrefix, f.web.TelemetryPath)
			return context.Background()
		}
	}
	return listenAndServe(ctx, server, f.listen, logger, slogger)
}

// newRegistry returns a registry with the metrics of any program.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector(program),
	)
	return registry
}

func validateWebConfig(file string) error {
	err := toolkit.Validate(file)
	if errors.Is(err, bcrypt.ErrHashTooShort) || errors.As(err, new(bcrypt.InvalidHashPrefixError)) {
		err = fmt.Errorf("basic_auth_users: a password must be hashed by bcrypt, such as by htpasswd -nBC 10 USER (%w)", err)
	}
	if err != nil {
		return fmt.Errorf("--web.config.file: %w", err)
	}
	return nil
}

// listenAndServe answers requests until ctx is done, and then waits a while for
// those in flight.
func listenAndServe(ctx context.Context, server *http.Server, f *toolkit.FlagConfig, logger log.Logger, slogger *slog.Logger) error {
	failed := make(chan error, 1)
	go func() {
		failed <- toolkit.ListenAndServe(server, f, slogger)
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	level.Info(logger).Log("msg", "Received a signal to stop; waiting for requests in flight", "timeout", stopTimeout)
	deadline, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		level.Warn(logger).Log("msg", "Closed requests that did not end in time", "err", err)
		return server.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func printDemoURLs(w io.Writer, address, prefix, telemetryPath string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return // a Unix or vsock socket has no URL
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	base := "http://" + net.JoinHostPort(host, port) + prefix
	fmt.Fprintf(w, "A simulated lakeFS is running, with imports in every state. Open:\n\n  %s/\n  %s%s\n  %s/api/v1/imports\n\n",
		base, base, telemetryPath, base)
}
