package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/web"
)

// flags are what the command line and the environment say.
type flags struct {
	configFile  string
	configCheck bool
	demo        bool
	listen      *toolkit.FlagConfig
	web         web.Options
	collector   collector.Options
	storagePath string
	logLevel    string
	logFormat   string
}

// seconds is the value of --timeout-offset: a duration, or a bare number of
// seconds.
type seconds time.Duration

const maxTimeoutOffset = time.Hour

// Set implements kingpin.Value.
func (s *seconds) Set(text string) error {
	d, err := time.ParseDuration(text)
	if n, notNumber := strconv.ParseFloat(text, 64); notNumber == nil && n >= 0 && n <= maxTimeoutOffset.Seconds() {
		d, err = time.Duration(n*float64(time.Second)), nil
	}
	if err != nil || d < 0 || d > maxTimeoutOffset {
		return fmt.Errorf("must be from 0s to 1h, such as 500ms, not %q", text)
	}
	*s = seconds(d)
	return nil
}

// String implements kingpin.Value.
func (s *seconds) String() string { return time.Duration(*s).String() }

// routePrefix is the value of --web.external-url: the path of that URL, without a slash
// at the end.
type routePrefix string

var prefixPattern = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$`)

// Set implements kingpin.Value.
func (p *routePrefix) Set(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		u = &url.URL{}
	}
	prefix := strings.TrimRight(u.EscapedPath(), "/")
	if text != "" && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || !prefixPattern.MatchString(prefix)) {
		return fmt.Errorf("must be a URL such as https://example.com/lakefs-imports, not %q", text)
	}
	*p = routePrefix(prefix)
	return nil
}

// String implements kingpin.Value.
func (p *routePrefix) String() string { return string(*p) }

// named has the errors of a flag's value name the flag.
type named struct {
	kingpin.Value
	name string
}

// Set implements kingpin.Value.
func (n named) Set(text string) error {
	err := n.Value.Set(text)
	if errors.As(err, new(*strconv.NumError)) { // which would name a function
		return fmt.Errorf("--%s: invalid value %q", n.name, text)
	}
	if err != nil {
		return fmt.Errorf("--%s: %w", n.name, err)
	}
	return nil
}

// IsBoolFlag is how kingpin knows flags that take no value.
func (n named) IsBoolFlag() bool {
	v, ok := n.Value.(interface{ IsBoolFlag() bool })
	return ok && v.IsBoolFlag()
}

// IsCumulative is how kingpin knows flags that can be repeated.
func (n named) IsCumulative() bool {
	v, ok := n.Value.(interface{ IsCumulative() bool })
	return ok && v.IsCumulative()
}

// topic is a part of --help.
type topic struct {
	Title string
	Flags []*kingpin.FlagModel
}

const usageTemplate = `usage: {{.App.Name}} [<flags>]

{{.App.Help}}
{{range .Context.Flags|Topics}}
{{.Title}}:
{{.Flags|FlagsToTwoColumns|FormatTwoColumns}}{{end}}`

// topics groups flags by what they are about.
func topics(flags []*kingpin.FlagModel) []*topic {
	all := []*topic{{Title: "General"}, {Title: "Web server"}, {Title: "Storage and metrics"}, {Title: "Scrapes and shards"}, {Title: "Log"}}
	for _, f := range flags {
		i := 0
		switch prefix, _, _ := strings.Cut(f.Name, "."); prefix {
		case "web":
			i = 1
		case "storage", "metrics":
			i = 2
		case "timeout-offset", "shard", "total-shards":
			i = 3
		case "log":
			i = 4
		}
		all[i].Flags = append(all[i].Flags, f)
	}
	return all
}

// unknown is what version.Print says of what is not known.
var unknown = regexp.MustCompile(`\n +[a-z ]+: +(unknown)?(?m:$)| \(branch: , revision: unknown\)`)

// parseFlags returns the flags. done is true if there is nothing left to do,
// because help or the version was asked for.
func parseFlags(args []string, stdout, stderr io.Writer) (f flags, done bool, err error) {
	app := kingpin.New(program, "Exports the state of lakeFS data imports to Prometheus.")
	app.DefaultEnvars()
	app.UsageWriter(stdout).ErrorWriter(stderr)
	app.Terminate(func(int) { done = true })
	app.Version(unknown.ReplaceAllString(version.Print(program), ""))
	app.HelpFlag.Short('h').Help("Show this help.")
	app.VersionFlag.Help("Show the version.")
	app.UsageTemplate(usageTemplate).UsageFuncs(template.FuncMap{"Topics": topics})
	app.Flag("config.file", "Path to the configuration file.").
		Default("config.yml").StringVar(&f.configFile)
	app.Flag("config.check", "Load the configuration and its import files, say what is wrong with them, and exit.").
		BoolVar(&f.configCheck)
	app.Flag("demo", "Watch the imports of a simulated lakeFS. Needs no lakeFS and no configuration file.").
		BoolVar(&f.demo)
	f.listen = kingpinflag.AddFlags(app, ":10470")
	app.Flag("web.telemetry-path", "Path under which to expose metrics.").
		Default("/metrics").StringVar(&f.web.TelemetryPath)
	app.Flag("web.external-url", "URL under which the exporter is externally reachable (for example, if it is served via a reverse proxy). If the URL has a path, all paths begin with it.").
		Default("").SetValue((*routePrefix)(&f.web.RoutePrefix))
	app.Flag("web.enable-lifecycle", "Enable reloading the configuration with POST /-/reload.").
		BoolVar(&f.web.EnableLifecycle)
	app.Flag("web.enable-import-api", "Enable registering and unregistering imports with PUT and DELETE. Needs --storage.path.").
		BoolVar(&f.web.EnableImportAPI)
	app.Flag("web.max-imports", "Maximum number of imports registered with PUT.").
		Default("10000").IntVar(&f.collector.MaxRegistered)
	app.Flag("storage.path", "File, or directory for a file, to store registered imports and the last known state of all imports in. Nothing is stored if empty.").
		Default("").StringVar(&f.storagePath)
	app.Flag("storage.retention", "How long to keep registered imports after they finished, or since lakeFS has not found them; seven times as long without any status.").
		Default("24h").SetValue((*model.Duration)(&f.collector.Retention))
	app.Flag("metrics.finished-for", "How long succeeded and canceled imports keep their own series after they finished.").
		Default("24h").SetValue((*model.Duration)(&f.collector.FinishedFor))
	app.Flag("timeout-offset", "Offset to subtract from Prometheus' scrape timeout, as a duration or in seconds.").
		Default("0.5").SetValue((*seconds)(&f.web.TimeoutOffset))
	app.Flag("shard", "Which part of the imports to watch, from 0 to --total-shards less 1.").
		Default("0").Uint64Var(&f.collector.Shard.Index)
	app.Flag("total-shards", "Number of exporters that share the imports of the same configuration.").
		Default("1").Uint64Var(&f.collector.Shard.Total)
	app.Flag("log.level", "Only log messages with the given severity or above. One of: debug, info, warn, error.").
		Default("info").EnumVar(&f.logLevel, "debug", "info", "warn", "error")
	app.Flag("log.format", "Output format of log messages. One of: logfmt, json.").
		Default("logfmt").EnumVar(&f.logFormat, "logfmt", "json")
	for _, m := range app.Model().Flags {
		flag := app.GetFlag(m.Name)
		flag.SetValue(named{m.Value, m.Name})
		if m.Hidden || flag == app.HelpFlag || flag == app.VersionFlag {
			flag.NoEnvar() // which others may use
		}
	}
	if _, err := app.Parse(args); err != nil {
		return f, false, fmt.Errorf("%w, try --help", err)
	}
	if done {
		return f, true, nil
	}
	return f, false, f.validate()
}

// validate reports the first flag that is wrong by itself or with another.
func (f *flags) validate() error {
	if err := web.ValidateTelemetryPath(f.web.TelemetryPath); err != nil {
		return fmt.Errorf("--web.telemetry-path: %w", err)
	}
	if f.collector.Shard.Total < 1 {
		return errors.New("--total-shards: must be at least 1")
	}
	if err := f.collector.Shard.Validate(); err != nil {
		return fmt.Errorf("--shard: %w", err)
	}
	switch {
	case f.collector.Retention <= 0:
		return fmt.Errorf("--storage.retention: must be positive, not %s", model.Duration(f.collector.Retention))
	case f.collector.FinishedFor <= 0:
		return fmt.Errorf("--metrics.finished-for: must be positive, not %s", model.Duration(f.collector.FinishedFor))
	case f.collector.MaxRegistered < 1:
		return fmt.Errorf("--web.max-imports: must be at least 1, not %d", f.collector.MaxRegistered)
	case f.web.EnableImportAPI && f.storagePath == "":
		return errors.New("--web.enable-import-api: needs --storage.path, or registered imports would be lost with a restart")
	case f.web.EnableImportAPI && f.collector.Shard.Total > 1:
		return errors.New("--web.enable-import-api: cannot be used with --total-shards: a registered import belongs to one exporter")
	}
	return nil
}
