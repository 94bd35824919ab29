package deploy_test

import (
	"bytes"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"

	"lakefs_import_exporter/lakefs/lakefstest"
)

const composeFile = "docker/compose.yml"

// compose returns the compose file. It is loaded as Docker Compose does: it must
// keep to the published schema, and what it refers to must be there.
func compose(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(filepath.Dir(composeFile))
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, filepath.Base(composeFile))}},
		Environment: types.Mapping{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// mounts returns where in a service's container files of this folder are.
func mounts(project *types.Project, service string) map[string]string {
	from := map[string]string{}
	for _, v := range project.Services[service].Volumes {
		if v.Type == types.VolumeTypeBind {
			from[v.Target] = v.Source
		}
	}
	for _, s := range project.Services[service].Secrets {
		from["/run/secrets/"+s.Source] = project.Secrets[s.Source].File
	}
	return from
}

// Nothing is open to other machines, nothing has rights that it has no use for, and
// nothing is mounted that is not there.
func TestComposeIsSafe(t *testing.T) {
	project := compose(t)
	if got := slices.Sorted(slices.Values(project.ServiceNames())); !slices.Equal(got, []string{"alertmanager", "exporter", "grafana", "import", "lakefs", "prometheus"}) {
		t.Errorf("services: %q", got)
	}
	for name, s := range project.Services {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to other machines", name, port.Published)
			}
		}
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || s.CapAdd != nil || s.Privileged || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s has rights that it has no use for", name)
		}
		if s.Build == nil && !regexp.MustCompile(`:v?\d+\.\d+\.\d+$`).MatchString(s.Image) {
			t.Errorf("%s: image %s: name its version", name, s.Image)
		}
		for target, source := range mounts(project, name) {
			if _, err := os.Stat(source); err != nil {
				t.Errorf("%s: %s: %v", name, target, err)
			}
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind && !v.ReadOnly {
				t.Errorf("%s can write to %s", name, v.Source)
			}
		}
	}
	exporter := project.Services["exporter"]
	if !exporter.ReadOnly || exporter.User != "65534:65534" {
		t.Errorf("exporter: user %s, root read-only: %t", exporter.User, exporter.ReadOnly)
	}
	if want, err := filepath.Abs(dockerfile); err != nil || filepath.Join(exporter.Build.Context, exporter.Build.Dockerfile) != want {
		t.Errorf("exporter is built from %s", exporter.Build.Dockerfile)
	}
}

// The services find each other, by their names and ports.
func TestComposeIsWired(t *testing.T) {
	project := compose(t)
	// serves reports whether a service listens where an address says.
	serves := func(service, address string) bool {
		host, port, _ := strings.Cut(address, ":")
		names := []string{service}
		if network := project.Services[service].Networks["default"]; network != nil {
			names = append(names, network.Aliases...)
		}
		return slices.Contains(names, host) &&
			slices.ContainsFunc(project.Services[service].Ports, func(p types.ServicePortConfig) bool { return port == p.Published })
	}
	var exporter struct {
		Servers []struct {
			EndpointURL string `yaml:"endpoint_url"`
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "docker/config.yml")), &exporter); err != nil {
		t.Fatal(err)
	}
	lakeFS := project.Services["lakefs"].Environment
	for _, endpoint := range []string{exporter.Servers[0].EndpointURL, *project.Services["import"].Environment["LAKEFS"]} {
		if u, err := url.Parse(endpoint); err != nil || !serves("lakefs", u.Host) {
			t.Errorf("lakeFS is not at %s", endpoint)
		}
	}
	for file, variable := range map[string]string{"access_key_id": "LAKEFS_INSTALLATION_ACCESS_KEY_ID", "secret_access_key": "LAKEFS_INSTALLATION_SECRET_ACCESS_KEY"} {
		if got := strings.TrimSpace(read(t, "docker/secrets/"+file)); got != *lakeFS[variable] {
			t.Errorf("secrets/%s is %s, and lakeFS has %s", file, got, *lakeFS[variable])
		}
	}

	shipped, composed := readPrometheus(t, "prometheus/prometheus.yml"), readPrometheus(t, "docker/prometheus.yml")
	if shipped.Global != composed.Global {
		t.Errorf("prometheus.yml has %+v, and the shipped one %+v", composed.Global, shipped.Global)
	}
	if target := composed.ScrapeConfigs[0].StaticConfigs[0].Targets[0]; composed.ScrapeConfigs[0].JobName != shipped.ScrapeConfigs[0].JobName || !serves("exporter", target) {
		t.Errorf("the exporter is not at %s, or the job has another name", target)
	}
	if target := composed.Alerting.Alertmanagers[0].StaticConfigs[0].Targets[0]; !serves("alertmanager", target) {
		t.Errorf("Alertmanager is not at %s", target)
	}

	var datasources struct{ Datasources []struct{ URL string } }
	if err := yaml.Unmarshal([]byte(read(t, "grafana/provisioning/datasources/prometheus.yml")), &datasources); err != nil {
		t.Fatal(err)
	}
	if u, err := url.Parse(datasources.Datasources[0].URL); err != nil || !serves("prometheus", u.Host) {
		t.Errorf("Prometheus is not at %s", datasources.Datasources[0].URL)
	}
	var dashboards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	if err := yaml.Unmarshal([]byte(read(t, "grafana/provisioning/dashboards/lakefs.yml")), &dashboards); err != nil {
		t.Fatal(err)
	}
	folder := dashboards.Providers[0].Options.Path
	home := *project.Services["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if _, err := os.Stat(filepath.Join(mounts(project, "grafana")[folder], filepath.Base(home))); err != nil || filepath.Dir(home) != folder {
		t.Errorf("the dashboard is not at %s: %v", home, err)
	}
}

// prometheusConfig is what the two files must have in common.
type prometheusConfig struct {
	Global struct {
		ScrapeInterval     string `yaml:"scrape_interval"`
		ScrapeTimeout      string `yaml:"scrape_timeout"`
		EvaluationInterval string `yaml:"evaluation_interval"`
	}
	Alerting struct {
		Alertmanagers []struct {
			StaticConfigs []staticConfig `yaml:"static_configs"`
		}
	}
	ScrapeConfigs []struct {
		JobName       string         `yaml:"job_name"`
		StaticConfigs []staticConfig `yaml:"static_configs"`
	} `yaml:"scrape_configs"`
}

type staticConfig struct{ Targets []string }

func readPrometheus(t *testing.T, file string) prometheusConfig {
	t.Helper()
	var c prometheusConfig
	if err := yaml.Unmarshal([]byte(read(t, file)), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// What is mounted into Prometheus and Alertmanager is what they can load.
func TestComposeConfigs(t *testing.T) {
	project := compose(t)
	lay := func(service string) (root string) {
		c := &container{t: t, root: t.TempDir()}
		for target, source := range mounts(project, service) {
			c.mount(source, target)
		}
		return c.root
	}
	out := run(t, "promtool", "check", "config", "--lint-fatal", lay("prometheus")+"/etc/prometheus/prometheus.yml")
	if strings.Count(out, "rules found") != len(glob(t, rulesFiles)) {
		t.Errorf("Prometheus does not load every file of rules:\n%s", out)
	}
	run(t, "amtool", "check-config", lay("alertmanager")+"/etc/alertmanager/alertmanager.yml")
}

// The exporter, in its container with what is mounted there, watches what the
// import job starts: the job's own script, from its start of an import to its end.
func TestComposeImport(t *testing.T) {
	project := compose(t)
	lakeFS, err := lakefstest.New(lakefstest.Options{Script: lakefstest.Script{Objects: 50_000, Rate: 50_000}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lakeFS.Close)
	lakeFS.AddRepository("my-repo")

	c := newContainer(t)
	for target, source := range mounts(project, "exporter") {
		c.mount(source, target)
	}
	// lakefstest has other keys, and is elsewhere.
	rewrite(t, "docker/config.yml").replace("http://lakefs.localhost:8000", lakeFS.URL).write(c.path("/etc/lakefs_import_exporter/config.yml"))
	write(t, c.path("/run/secrets/access_key_id"), lakefstest.AccessKeyID)
	write(t, c.path("/run/secrets/secret_access_key"), lakefstest.SecretAccessKey)
	imports := c.path("/etc/lakefs_import_exporter/imports")
	c.mkdir(imports)
	exporter := startCommand(t, c.command(append(slices.Clone(project.Services["exporter"].Command), "--web.listen-address=127.0.0.1:0")...))

	need(t, "curl")
	source, script := t.TempDir(), filepath.Join(t.TempDir(), "import.sh")
	rewrite(t, "docker/import.sh").replaceAll("/run/secrets", c.path("/run/secrets")).replaceAll("/imports/", imports+"/").replace("=/source/", "="+source+"/").write(script)
	job := exec.CommandContext(t.Context(), "sh", append([]string{script}, project.Services["import"].Command...)...)
	job.Env = append(os.Environ(), "LAKEFS="+lakeFS.URL)
	out, err := job.CombinedOutput()
	said := regexp.MustCompile(`^import ([0-9a-v]{20}) of `).FindSubmatch(out)
	if err != nil || said == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	eventually(t, "the import's end", func() error {
		return errors.Join(
			exporter.hasSample(`lakefs_import_completed{.*import_id="`+string(said[1])+`".*} 1`),
			exporter.hasSample(`lakefs_import_ingested_objects{.*import_id="`+string(said[1])+`".*team="ingest"} 50000`),
			exporter.hasSample(`lakefs_import_expected_objects{.*import_id="`+string(said[1])+`".*} 50000`))
	})
	if files := glob(t, source+"/*/*"); len(files) != 50_000 {
		t.Errorf("the job has made %d files to import", len(files))
	}
	if left, err := filepath.Glob(imports + "/*.new"); err != nil || left != nil {
		t.Errorf("the job leaves %q", left)
	}

	// Whoever refuses is quoted.
	job = exec.CommandContext(t.Context(), "sh", script, "nightly")
	job.Env = append(os.Environ(), "LAKEFS="+lakeFS.URL)
	write(t, c.path("/run/secrets/secret_access_key"), "wrong")
	if out, err := job.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("error authenticating request")) {
		t.Errorf("with a wrong key: %v\n%s", err, out)
	}
}
