package deploy_test

import (
	"context"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
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

// environment returns the variables that a service is given.
func environment(project *types.Project, service string) map[string]string {
	variables := map[string]string{}
	for key, value := range project.Services[service].Environment {
		variables[key] = *value
	}
	return variables
}

// Nothing is open to other machines, nothing has rights that it has no use for, and
// nothing is mounted that is not there.
func TestComposeIsSafe(t *testing.T) {
	project := compose(t)
	for name, s := range project.Services {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to other machines", name, port.Published)
			}
		}
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || (s.CapAdd != nil && name != "import") || s.Privileged || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s has rights that it has no use for", name)
		}
		if s.Build == nil && !regexp.MustCompile(`:v?\d+(\.\d+)+$`).MatchString(s.Image) {
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
	if limit, memory := environment(project, "exporter")["GOMEMLIMIT"], exporter.MemLimit; limit != "205MiB" || memory != 256<<20 {
		t.Errorf("GOMEMLIMIT=%s of %d", limit, memory)
	}
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
	listens, published, told := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for name, s := range project.Services {
		for _, p := range s.Ports {
			published[p.Published] = true
			// To a browser as to another service: the page links to both.
			if p.Published == strconv.Itoa(int(p.Target)) {
				listens[name+":"+p.Published], listens[s.ContainerName+":"+p.Published] = true, true
			}
		}
	}
	// People find what they are told of.
	for _, m := range regexp.MustCompile(`localhost:(\d+)`).FindAllStringSubmatch(read(t, "docker/README.md")+read(t, "docker/import.sh"), -1) {
		told[m[1]] = true
	}
	if !maps.Equal(published, told) {
		t.Errorf("the README has ports %v, and the services %v", told, published)
	}
	for from, text := range map[string]string{
		"the exporter": read(t, "docker/config.yml"), "the import job": environment(project, "import")["LAKEFS"],
		"Prometheus": read(t, "docker/prometheus.yml"), "Grafana": read(t, "grafana/provisioning/datasources/prometheus.yml"),
	} {
		addresses := regexp.MustCompile(`[a-z.]+:\d{4,5}`).FindAllString(text, -1)
		for _, address := range addresses {
			if !listens[address] {
				t.Errorf("%s finds nothing at %s", from, address)
			}
		}
		if len(addresses) == 0 {
			t.Errorf("%s asks nobody", from)
		}
	}

	for variable, file := range map[string]string{"LAKECTL_CREDENTIALS_ACCESS_KEY_ID": "access_key_id", "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": "secret_access_key"} {
		if want := strings.TrimSpace(read(t, "docker/secrets/"+file)); environment(project, "lakefs")[variable] != want {
			t.Errorf("lakeFS is set up with another %s than the exporter has", variable)
		}
	}
	for service, needed := range map[string]string{"lakefs": "postgres", "discovery": "lakefs", "import": "lakefs"} {
		if on := project.Services[service].DependsOn[needed]; on.Condition != types.ServiceConditionHealthy || project.Services[needed].HealthCheck == nil {
			t.Errorf("%s starts when %s is %q", service, needed, on.Condition)
		}
	}

	var dashboards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	if err := yaml.Unmarshal([]byte(read(t, "grafana/provisioning/dashboards/lakefs.yml")), &dashboards); err != nil {
		t.Fatal(err)
	}
	folder := dashboards.Providers[0].Options.Path
	home := environment(project, "grafana")["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if _, err := os.Stat(filepath.Join(mounts(project, "grafana")[folder], filepath.Base(home))); err != nil || filepath.Dir(home) != folder {
		t.Errorf("the dashboard is not at %s: %v", home, err)
	}
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

// composeExporter starts the exporter in its container with what is mounted there,
// but with the keys and the address of lakefstest, and with PostgreSQL at postgres.
func composeExporter(t *testing.T, project *types.Project, lakeFS *lakefstest.Server, postgres string) *process {
	t.Helper()
	c := newContainer(t)
	for target, source := range mounts(project, "exporter") {
		c.mount(source, target)
	}
	for file, content := range map[string]string{"access_key_id": lakefstest.AccessKeyID, "secret_access_key": lakefstest.SecretAccessKey} {
		read(t, c.path("/run/secrets/"+file))
		write(t, c.path("/run/secrets/"+file), content)
	}
	dsn, config := c.path("/run/secrets/postgres_dsn"), c.path("/etc/lakefs_import_exporter/config.yml")
	rewrite(t, dsn).replace("@postgres/", "@"+postgres+"/").write(dsn)
	rewrite(t, config).replace("http://lakefs.localhost:8000", lakeFS.URL).write(config)
	c.mkdir("/etc/lakefs_import_exporter/imports")
	return c.start(project.Services["exporter"].Command...)
}

// freeAddress returns a loopback address at which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// startPostgres starts a PostgreSQL with the superuser, password and database that the
// image of compose.yml has. Only root can do that.
func startPostgres(t *testing.T, address string, variables map[string]string) {
	t.Helper()
	bin := "/usr/bin"
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin"); len(found) > 0 { // Debian's
		bin = found[len(found)-1]
	}
	initdb := need(t, bin+"/initdb")
	owner, err := user.Lookup("postgres") // it refuses to be root
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	dir, err := os.MkdirTemp("", "postgres") //nolint:usetesting // that of t is root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	write(t, dir+"/password", variables["POSTGRES_PASSWORD"])
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, append(args, "-D", dir+"/data")...)
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		return cmd
	}
	if out, err := command(initdb, "-U", variables["POSTGRES_USER"], "--pwfile=password", "-A", "scram-sha-256", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	create := command(bin+"/postgres", "--single")
	create.Args = append(create.Args, "postgres")
	create.Stdin = strings.NewReader("CREATE DATABASE " + variables["POSTGRES_USER"] + "\n")
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("postgres --single: %v\n%s", err, out)
	}
	host, port, _ := net.SplitHostPort(address)
	server := background(t, command(bin+"/postgres", "-h", host, "-p", port, "-k", "", "-F"))
	t.Cleanup(func() {
		_ = server.cmd.Process.Signal(syscall.SIGQUIT)
		<-server.ended
	})
	eventually(t, "PostgreSQL", func() error { return exec.CommandContext(t.Context(), bin+"/pg_isready", "-h", host, "-p", port).Run() })
}

// The exporter discovers an import that nobody has registered, once the job for that
// has given it access to lakeFS's table. The job runs at every start.
func TestComposeDiscovery(t *testing.T) {
	project := compose(t)
	lakeFS := startLakeFS(t)
	ref := lakeFS.Start("my-repo", "main", slow)
	postgres := freeAddress(t)
	host, port, _ := net.SplitHostPort(postgres)
	exporter := composeExporter(t, project, lakeFS, postgres)
	startPostgres(t, postgres, environment(project, "postgres"))

	// As lakeFS does, with one import.
	run(t, "psql", "--set=ON_ERROR_STOP=1",
		strings.Replace(environment(project, "lakefs")["LAKEFS_DATABASE_POSTGRES_CONNECTION_STRING"], "@postgres/", "@"+postgres+"/", 1),
		"--command=CREATE TABLE kv (partition_key bytea NOT NULL, key bytea NOT NULL, value bytea NOT NULL, PRIMARY KEY (partition_key, key))",
		`--command=INSERT INTO kv VALUES ('graveler', 'repos/my-repo', '2\024dc1chj1ksduerdki88b0'), ('my-repo-dc1chj1ksduerdki88b0', 'imports/`+ref.ID+`', '')`)
	job, given, variables := project.Services["discovery"], mounts(project, "discovery"), environment(project, "discovery")
	password := filepath.Join(t.TempDir(), "password.sql")
	rewrite(t, given["/password.sql"]).replace("/run/secrets/postgres_password", given["/run/secrets/postgres_password"]).write(password)
	for range 2 {
		cmd := exec.CommandContext(t.Context(), need(t, job.Entrypoint[0]), job.Entrypoint[1:]...)
		for i, arg := range cmd.Args {
			cmd.Args[i] = strings.NewReplacer("=/postgres.sql", "="+given["/postgres.sql"], "=/password.sql", "="+password).Replace(arg)
		}
		cmd.Env = append(os.Environ(), "PGHOST="+host, "PGPORT="+port, "PGUSER="+variables["PGUSER"], "PGPASSWORD="+variables["PGPASSWORD"])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	eventually(t, "the import", func() error {
		return exporter.hasSample(`lakefs_import_ingested_objects{.*branch="-",import_id="` + ref.ID + `".*`)
	})
}
