package deploy_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"go.yaml.in/yaml/v3"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	kyaml "sigs.k8s.io/yaml"
)

const chart = "helm"

// helm returns what helm prints, and what it complains of.
func helm(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	if slices.Contains([]string{"template", "lint"}, args[0]) && !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--kube-version=") }) {
		args = append(args, "--kube-version=1.34.0")
	}
	cmd := exec.CommandContext(t.Context(), need(t, "helm"), args...)
	// It keeps nothing, and knows no cluster.
	dir := t.TempDir()
	cmd.Env = []string{"HOME=" + dir, "KUBECONFIG=" + filepath.Join(dir, "none")}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	return string(out), errs.String(), err
}

// release is what the chart makes of some values.
type release struct {
	configMaps      map[string]*core.ConfigMap // by name
	claims          []*core.PersistentVolumeClaim
	services        []*core.Service
	accounts        []*core.ServiceAccount
	deployments     []*apps.Deployment
	statefulSets    []*apps.StatefulSet
	policies        []*networking.NetworkPolicy
	serviceMonitors []*monitoring.ServiceMonitor
	rules           []*monitoring.PrometheusRule
	ingresses       []*networking.Ingress
	jobs            []*batch.Job // of hooks, as are the pods
	pods            []*core.Pod
	others          []map[string]any

	manifests string // but for what TestChartShipsTheFiles compares
}

// template renders the chart as release "test" in namespace "data", in a cluster
// with prometheus-operator. Every object must be of a kind that this test knows,
// and have no field that Kubernetes does not.
func template(t *testing.T, args ...string) *release {
	t.Helper()
	return templateAs(t, "test", args...)
}

// templateAs is template with another name of the release.
func templateAs(t *testing.T, name string, args ...string) *release {
	t.Helper()
	out, errs, err := helm(t, append([]string{"template", name, chart, "--namespace=data", "--api-versions=monitoring.coreos.com/v1"}, args...)...)
	if err != nil || errs != "" {
		t.Fatalf("helm template: %v\n%s", err, errs)
	}
	return parseRelease(t, out)
}

func parseRelease(t *testing.T, manifests string) *release {
	t.Helper()
	r := &release{configMaps: map[string]*core.ConfigMap{}}
	for decoder := yaml.NewDecoder(strings.NewReader(manifests)); ; {
		var object map[string]any
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return r
		} else if err != nil {
			t.Fatal(err)
		}
		document, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		kind := fmt.Sprintf("%s %s", object["apiVersion"], object["kind"])
		switch kind {
		case "v1 ConfigMap":
			c := strictly[core.ConfigMap](t, document)
			r.configMaps[c.Name] = c
			if strings.HasSuffix(c.Name, "-dashboard") {
				delete(object, "data")
			}
		case "v1 PersistentVolumeClaim":
			r.claims = append(r.claims, strictly[core.PersistentVolumeClaim](t, document))
		case "v1 Service":
			r.services = append(r.services, strictly[core.Service](t, document))
		case "v1 ServiceAccount":
			r.accounts = append(r.accounts, strictly[core.ServiceAccount](t, document))
		case "apps/v1 Deployment":
			r.deployments = append(r.deployments, strictly[apps.Deployment](t, document))
		case "apps/v1 StatefulSet":
			r.statefulSets = append(r.statefulSets, strictly[apps.StatefulSet](t, document))
		case "networking.k8s.io/v1 NetworkPolicy":
			r.policies = append(r.policies, strictly[networking.NetworkPolicy](t, document))
		case "monitoring.coreos.com/v1 ServiceMonitor":
			r.serviceMonitors = append(r.serviceMonitors, strictly[monitoring.ServiceMonitor](t, document))
		case "monitoring.coreos.com/v1 PrometheusRule":
			r.rules = append(r.rules, strictly[monitoring.PrometheusRule](t, document))
			delete(object, "spec")
		case "networking.k8s.io/v1 Ingress":
			r.ingresses = append(r.ingresses, strictly[networking.Ingress](t, document))
		case "batch/v1 Job":
			r.jobs = append(r.jobs, strictly[batch.Job](t, document))
		case "v1 Pod":
			r.pods = append(r.pods, strictly[core.Pod](t, document))
		default:
			r.others = append(r.others, object)
		}
		if document, err = kyaml.Marshal(object); err != nil {
			t.Fatal(err)
		}
		r.manifests += "---\n" + string(document)
	}
}

// strictly decodes a Kubernetes object. An unknown field, and one that stands
// there twice, fail the test.
func strictly[T any](t *testing.T, document []byte) *T {
	t.Helper()
	var object T
	if err := kyaml.UnmarshalStrict(document, &object); err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	return &object
}

// pod returns the one template of pods, and how many of it there are to be.
func (r *release) pod(t *testing.T) (pod core.PodTemplateSpec, replicas int32) {
	t.Helper()
	switch {
	case len(r.deployments) == 1 && len(r.statefulSets) == 0:
		return r.deployments[0].Spec.Template, *r.deployments[0].Spec.Replicas
	case len(r.statefulSets) == 1 && len(r.deployments) == 0:
		return r.statefulSets[0].Spec.Template, *r.statefulSets[0].Spec.Replicas
	}
	t.Fatalf("%d Deployments and %d StatefulSets", len(r.deployments), len(r.statefulSets))
	return pod, 0
}

// secrets returns the Secrets that must exist for values, and their keys: those of
// the last of the files that says so, and else of the chart itself.
func secrets(t *testing.T, files ...string) map[string][]string {
	t.Helper()
	var values struct {
		Secrets []struct {
			Name string
			Keys []string
		}
		WebConfig struct {
			ExistingSecret string `yaml:"existingSecret"`
			Key            string
		} `yaml:"webConfig"`
	}
	for _, file := range append([]string{chart + "/values.yaml"}, files...) {
		if err := yaml.Unmarshal([]byte(read(t, file)), &values); err != nil {
			t.Fatal(err)
		}
	}
	keys := map[string][]string{values.WebConfig.ExistingSecret: {values.WebConfig.Key}}
	for _, s := range values.Secrets {
		keys[s.Name] = s.Keys
	}
	return keys
}

// container returns the pod's container with its volumes mounted, in a cluster with
// these Secrets: as a web config they have one that asks for nothing, and else a
// certificate, which is good wherever a file of any kind is wanted but a DSN.
func (r *release) container(t *testing.T, secrets map[string][]string) *container {
	t.Helper()
	c := newContainer(t)
	certificate, _ := newCertificate(t)
	pod, _ := r.pod(t)
	// put puts a key of a Secret or ConfigMap where nobody else can read it.
	put := func(path, content string, mode *int32) {
		t.Helper()
		write(t, path, content)
		if err := errors.Join(os.Chown(path, 0, nobody), os.Chmod(path, os.FileMode(*mode))); err != nil {
			t.Fatal(err)
		}
	}
	volumes := map[string]core.VolumeSource{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = v.VolumeSource
	}
	for _, s := range r.statefulSets {
		for _, claim := range s.Spec.VolumeClaimTemplates {
			volumes[claim.Name] = core.VolumeSource{PersistentVolumeClaim: &core.PersistentVolumeClaimVolumeSource{}}
		}
	}
	for _, mount := range pod.Spec.Containers[0].VolumeMounts {
		at := c.path(mount.MountPath)
		c.mkdir(mount.MountPath)
		switch v := volumes[mount.Name]; {
		case v.PersistentVolumeClaim != nil:
			if err := os.Chown(at, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		case v.Projected != nil:
			for _, source := range v.Projected.Sources {
				if source.ConfigMap != nil {
					for key, content := range r.configMaps[source.ConfigMap.Name].Data {
						put(filepath.Join(at, key), content, v.Projected.DefaultMode)
					}
					continue
				}
				for _, item := range source.Secret.Items {
					if !slices.Contains(secrets[source.Secret.Name], item.Key) {
						t.Fatalf("no Secret %s with a key %s", source.Secret.Name, item.Key)
					}
					content := certificate
					if item.Key == "dsn" {
						content = "postgres://lakefs_import_exporter:secret@127.0.0.1:1/lakefs"
					}
					put(filepath.Join(at, item.Path), content, v.Projected.DefaultMode)
				}
			}
		case v.Secret != nil:
			for _, key := range secrets[v.Secret.SecretName] {
				put(filepath.Join(at, key), "{}", v.Secret.DefaultMode)
			}
		case v.ConfigMap != nil, v.EmptyDir != nil:
			// Of the user's own: it is empty.
		default:
			t.Fatalf("no volume %s", mount.Name)
		}
	}
	return c
}

// values returns the sets of values that the chart is tested with.
func values(t *testing.T) []string {
	t.Helper()
	files := glob(t, chart+"/ci/*-values.yaml")
	if len(files) < 8 {
		t.Fatalf("only %d sets of values", len(files))
	}
	return files
}

// Whatever the values, the chart renders what Kubernetes takes, safe by default,
// and the exporter loads its config with the flags it gets.
func TestChart(t *testing.T) {
	for _, file := range values(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), "-values.yaml"), func(t *testing.T) {
			t.Parallel()
			if out, errs, err := helm(t, "lint", "--strict", chart, "--values="+file); err != nil || errs != "" {
				t.Errorf("helm lint: %v\n%s%s", err, out, errs)
			}
			r := template(t, "--values="+file)
			if name := goldenOf(file, ".yaml"); name == "helm/default.yaml" || name == "helm/placement.yaml" {
				golden(t, name, r.manifests)
			}
			pod, replicas := r.pod(t)
			r.checkJob(t)
			for _, spec := range []core.PodSpec{pod.Spec, r.jobs[0].Spec.Template.Spec, r.pods[0].Spec} {
				checkPod(t, spec)
			}
			if c := pod.Spec.Containers[0]; c.Ports[0].ContainerPort != port || c.StartupProbe == nil || c.ReadinessProbe == nil || c.LivenessProbe == nil {
				t.Errorf("listens on %+v, and is probed by %v, %v, %v", c.Ports, c.StartupProbe, c.ReadinessProbe, c.LivenessProbe)
			}
			if len(r.deployments) == 1 && (replicas > 1 || r.deployments[0].Spec.Strategy.Type != apps.RecreateDeploymentStrategyType) {
				t.Errorf("two exporters at once are possible: %d replicas, strategy %s", replicas, r.deployments[0].Spec.Strategy.Type)
			}
			for _, labels := range []map[string]string{r.services[0].Spec.Selector, selector(r)} {
				if len(labels) == 0 || !contains(pod.Labels, labels) {
					t.Errorf("%v does not select the pods, which have %v", labels, pod.Labels)
				}
			}
			for _, m := range r.serviceMonitors {
				if !contains(r.services[0].Labels, m.Spec.Selector.MatchLabels) || m.Spec.Endpoints[0].Port != r.services[0].Spec.Ports[0].Name {
					t.Error("the ServiceMonitor does not select the Service")
				}
			}
			for _, policy := range r.policies {
				if !contains(pod.Labels, policy.Spec.PodSelector.MatchLabels) || len(policy.Spec.PolicyTypes) != 2 {
					t.Error("the NetworkPolicy is not about the pods, both ways")
				}
			}
			if s := r.services[0].Spec.Ports[0]; s.TargetPort.StrVal != pod.Spec.Containers[0].Ports[0].Name {
				t.Errorf("the Service leads to port %s", s.TargetPort.StrVal)
			}
			c := r.container(t, secrets(t, file))
			c.start(inPod(pod.Spec.Containers[0].Args, "0")...).kill()
			for _, m := range pod.Spec.Containers[0].VolumeMounts {
				if m.Name == "storage" {
					glob(t, c.path(m.MountPath+"/*")) // what it stores
				}
			}
		})
	}
}

// goldenOf returns where what the chart makes of a file of values is kept.
func goldenOf(values, ext string) string {
	return filepath.Join("helm", strings.TrimSuffix(filepath.Base(values), "-values.yaml")+ext)
}

// contains reports whether all has every pair of some.
func contains(all, some map[string]string) bool {
	for key, value := range some {
		if all[key] != value {
			return false
		}
	}
	return true
}

// selector returns what the workload selects its pods by.
func selector(r *release) map[string]string {
	if len(r.deployments) > 0 {
		return r.deployments[0].Spec.Selector.MatchLabels
	}
	return r.statefulSets[0].Spec.Selector.MatchLabels
}

// checkPod holds a pod against what it can do without, beyond the profile "restricted" of
// Kubernetes' Pod Security Standards, to which TestKubernetes holds it.
func checkPod(t *testing.T, pod core.PodSpec) {
	t.Helper()
	c := pod.Containers[0]
	for what, ok := range map[string]bool{
		"runs as nobody":              isNobody(pod.SecurityContext.RunAsUser),
		"owns its storage":            isNobody(pod.SecurityContext.FSGroup),
		"read-only root":              *c.SecurityContext.ReadOnlyRootFilesystem,
		"only storage can be written": !slices.ContainsFunc(c.VolumeMounts, func(m core.VolumeMount) bool { return !m.ReadOnly && m.Name != "storage" }),
		"no token":                    !*pod.AutomountServiceAccountToken,
		"memory is bounded":           !c.Resources.Limits.Memory().IsZero(),
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
}

// isNobody reports whether a pod runs as the user or group of the image, or has one of
// the cluster's choice.
func isNobody(id *int64) bool { return id == nil || *id == nobody }

// What is shipped under deploy/ is what arrives in the cluster, rule by rule and
// byte by byte.
func TestChartShipsTheFiles(t *testing.T) {
	r := template(t, "--values="+chart+"/ci/kube-prometheus-stack-values.yaml")
	spec, err := kyaml.Marshal(r.rules[0].Spec)
	if err != nil {
		t.Fatal(err)
	}
	rules := strings.ReplaceAll(read(t, alertsFile), "runbook_url: https://lakefs-import-exporter.example.com/runbook#", "runbook_url: https://wiki.example.com/lakefs#")
	var got, want any
	if err := errors.Join(yaml.Unmarshal(spec, &got), yaml.Unmarshal([]byte(rules), &want)); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}

	boards := r.configMaps["test-lakefs-import-exporter-dashboard"]
	if boards == nil || boards.Namespace != "monitoring" || boards.Labels["grafana_dashboard"] != "1" || boards.Annotations["grafana_folder"] != "Data" {
		t.Fatalf("no dashboards as they are wanted: %+v", boards)
	}
	for _, file := range glob(t, "grafana/dashboards/*.json") {
		if boards.Data[filepath.Base(file)] != read(t, file) {
			t.Errorf("%s is not what is shipped", file)
		}
		delete(boards.Data, filepath.Base(file))
	}
	if len(boards.Data) > 0 {
		t.Errorf("there are more dashboards than are shipped: %d", len(boards.Data))
	}
	if m := r.serviceMonitors[0]; m.Labels["release"] != "kube-prometheus-stack" || m.Spec.Endpoints[0].Interval != "30s" || !m.Spec.Endpoints[0].HonorLabels {
		t.Errorf("not the ServiceMonitor that is wanted: %+v", m)
	}
}

// Releases get along with each other, with the 63 characters of a label, and with
// names that YAML or Kubernetes takes for something else.
func TestChartNames(t *testing.T) {
	long := strings.Repeat("x", 51) + "-y"
	for _, tc := range []struct{ release, set, want string }{
		{"test", "", "test-lakefs-import-exporter"},
		{"test", "fullnameOverride=null", "test-lakefs-import-exporter"},
		{"lakefs-import-exporter", "", "lakefs-import-exporter"},
		{"my-lakefs-import-exporter-2", "", "my-lakefs-import-exporter-2"},
		{"test", "nameOverride=imports", "test-imports"},
		{"imports", "nameOverride=imports", "imports"},
		{"y", "", "y-lakefs-import-exporter"},
		{"no", "nameOverride=null", "no-lakefs-import-exporter"},
		{"123", "", "lakefs-import-exporter-123"},
		{"1e3", "", "lakefs-import-exporter-1e3"},
		{"a.b", "", "a-b-lakefs-import-exporter"},
		{"test", "fullnameOverride=y", "y"},
		{long, "", long[:43] + "-ba56f7be"},
		{long[:52] + "z", "", long[:43] + "-00b78b76"},
		{"test", "fullnameOverride=" + long, long[:43] + "-fd05498c"},
		{"test", "fullnameOverride=" + long[:52] + "z", long[:43] + "-972099e0"},
	} {
		t.Run(tc.release+" "+tc.set, func(t *testing.T) {
			t.Parallel()
			r := templateAs(t, tc.release, "--set="+tc.set)
			d := r.deployments[0]
			if d.Name != tc.want || d.Labels["app.kubernetes.io/instance"] != tc.release {
				t.Errorf("got %s of release %q, want %s", d.Name, d.Labels["app.kubernetes.io/instance"], tc.want)
			}
		})
	}
}

// The chart is whole wherever it is copied to: rules and dashboards are files of its own,
// which make generate writes, and it says so when they are missing.
func TestChartIsWhole(t *testing.T) {
	for _, folder := range []string{"rules", "dashboards"} {
		for _, file := range glob(t, filepath.Join(chart, "files", folder, "*")) {
			if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() {
				t.Errorf("%s is no file: %v", file, err)
			}
		}
		dir := filepath.Join(t.TempDir(), "chart")
		if err := os.CopyFS(dir, os.DirFS(chart)); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "files", folder)); err != nil {
			t.Fatal(err)
		}
		_, errs, err := helm(t, "template", "test", dir, "--set=prometheusRule.enabled=true")
		if want := "the chart has no files/" + folder + ": its copy is not complete"; err == nil || !strings.Contains(errs, want) {
			t.Errorf("without %s: %v\n%s", folder, err, errs)
		}
	}
}

// What is null in the values of an umbrella chart is as if it were not there.
func TestChartInUmbrella(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "Chart.yaml"), "apiVersion: v2\nname: umbrella\nversion: 1.0.0\n")
	write(t, filepath.Join(dir, "values.yaml"), `
global: {imageRegistry: registry.example.com, other: 1}
lakefs-import-exporter: {fullnameOverride: null, nameOverride: null, namespaceOverride: null, image: {registry: null, tag: null}, priorityClassName: null}
`)
	if err := os.CopyFS(filepath.Join(dir, "charts", "lakefs-import-exporter"), os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	out, errs, err := helm(t, "template", "test", dir, "--namespace=data")
	if err != nil || errs != "" {
		t.Fatalf("%v\n%s", err, errs)
	}
	r := parseRelease(t, out)
	pod, _ := r.pod(t)
	if image := pod.Spec.Containers[0].Image; r.deployments[0].Name != "test-lakefs-import-exporter" || !strings.HasPrefix(image, "registry.example.com/lakefs_import_exporter:") {
		t.Errorf("%s runs %s", r.deployments[0].Name, image)
	}
}

// Go knows of the memory limit, and leaves headroom below it.
func TestChartMemoryLimit(t *testing.T) {
	for limit, want := range map[string]string{
		"limits.memory=256Mi":               "214748364",
		"limits.memory=1G":                  "800000000",
		"limits.memory=1.5Gi":               "1288490188",
		"limits.memory=268435456":           "214748364",
		"limits.memory=100000000000m":       "", // no size that the chart can tell
		"limits.memory=null":                "",
		"limits=null":                       "",
		"limits=null,extraEnv[0].name=NONE": "",
	} {
		pod, _ := template(t, "--set=resources."+limit).pod(t)
		got := ""
		for _, e := range pod.Spec.Containers[0].Env {
			if e.Name == "GOMEMLIMIT" {
				got = e.Value
			}
		}
		if got != want {
			t.Errorf("%s: GOMEMLIMIT=%q, want %q", limit, got, want)
		}
	}
	pod, _ := template(t, "--values="+chart+"/ci/placement-values.yaml").pod(t)
	if env := pod.Spec.Containers[0].Env; len(env) != 1 || env[0].Value != "200MiB" {
		t.Errorf("not the user's own: %+v", env)
	}
}

// checkJob holds the check before an upgrade against what the exporter will run with.
func (r *release) checkJob(t *testing.T) {
	t.Helper()
	pod, _ := r.pod(t)
	job := r.jobs[0]
	runs, checks := pod.Spec.Containers[0], job.Spec.Template.Spec.Containers[0]
	want := slices.DeleteFunc(slices.Clone(runs.Args), func(arg string) bool { return strings.HasPrefix(arg, "--shard=") })
	slices.Sort(want)
	got := slices.Clone(checks.Args)
	slices.Sort(got)
	if !slices.Equal(got, slices.Sorted(slices.Values(append(want, "--config.check")))) {
		t.Errorf("checks with %q what runs with %q", checks.Args, runs.Args)
	}
	if checks.Image != runs.Image || !reflect.DeepEqual(checks.EnvFrom, runs.EnvFrom) || !reflect.DeepEqual(checks.Resources, runs.Resources) {
		t.Error("what is checked is not what runs")
	}
	config := r.configMaps[job.Spec.Template.Spec.Volumes[0].Projected.Sources[0].ConfigMap.Name]
	if config == nil || !reflect.DeepEqual(config.Data, r.configMaps[pod.Spec.Volumes[0].Projected.Sources[0].ConfigMap.Name].Data) {
		t.Error("the checked config is not the one of the exporter")
	}
	if job.Annotations["helm.sh/hook"] != "pre-upgrade" || config.Annotations["helm.sh/hook"] != "pre-upgrade" || *job.Spec.ActiveDeadlineSeconds != 60 {
		t.Errorf("is checked %s, with a config %s, for %d s", job.Annotations["helm.sh/hook"], config.Annotations["helm.sh/hook"], *job.Spec.ActiveDeadlineSeconds)
	}
	for _, pod := range []map[string]string{job.Spec.Template.Labels, r.pods[0].Labels} {
		if contains(pod, r.services[0].Spec.Selector) {
			t.Errorf("the Service leads to a pod with %v", pod)
		}
	}
}

// A flag or a config that the exporter would not start with does not pass the check,
// and it says what is wrong.
func TestChartConfigCheck(t *testing.T) {
	for name, want := range map[string]struct{ set, says string }{
		"flag":       {"extraArgs[0]=--nope", "unknown long flag '--nope'"},
		"config":     {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].oauth2.client_id=x", "oauth2"},
		"web config": {"webConfig.existingSecret=exporter-web", "--web.config.file: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := template(t, "--set="+want.set)
			c := r.container(t, map[string][]string{"lakefs-credentials": {"access_key_id", "secret_access_key"}, "exporter-web": {"web.yml"}})
			if name == "web config" {
				write(t, c.path("/etc/lakefs_import_exporter_web/web.yml"), "basic_auth_users: {a: plain}")
			}
			out, err := c.command(r.jobs[0].Spec.Template.Spec.Containers[0].Args...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), want.says) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// Constraints of the pods' spread are about these pods.
func TestChartSpread(t *testing.T) {
	r := template(t, "--values="+chart+"/ci/placement-values.yaml")
	pod, _ := r.pod(t)
	if c := pod.Spec.TopologySpreadConstraints[0]; c.LabelSelector == nil || !contains(pod.Labels, c.LabelSelector.MatchLabels) || len(c.LabelSelector.MatchLabels) == 0 {
		t.Errorf("%+v matches no pod", c)
	}
	if classes := slices.IndexFunc(r.others, func(o map[string]any) bool { return o["kind"] == "PriorityClass" }); classes < 0 {
		t.Error("the PriorityClass is missing")
	}
}

func TestChartStorage(t *testing.T) {
	const made = " test-lakefs-import-exporter keep"
	for name, tc := range map[string]struct {
		set    string
		claims []string // of the chart, by the pod, and of each shard
	}{
		"none":     {"persistentVolume.enabled=false", nil},
		"new":      {"persistentVolume.enabled=true", []string{"made" + made, "pod test-lakefs-import-exporter"}},
		"class":    {"persistentVolume.enabled=true,persistentVolume.storageClass=fast", []string{"made" + made + ` "fast"`, "pod test-lakefs-import-exporter"}},
		"no class": {"persistentVolume.enabled=true,persistentVolume.storageClass=-", []string{"made" + made + ` ""`, "pod test-lakefs-import-exporter"}},
		"existing": {"persistentVolume.enabled=true,persistentVolume.existingClaim=mine", []string{"pod mine"}},
		"shards":   {"persistentVolume.enabled=true,shards=2", []string{"shard storage"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := template(t, "--set="+tc.set)
			var claims []string
			for _, c := range r.claims {
				claim := "made " + c.Name + " " + c.Annotations["helm.sh/resource-policy"]
				if c.Spec.StorageClassName != nil {
					claim += fmt.Sprintf(" %q", *c.Spec.StorageClassName)
				}
				claims = append(claims, claim)
			}
			pod, _ := r.pod(t)
			for _, v := range pod.Spec.Volumes {
				if v.PersistentVolumeClaim != nil {
					claims = append(claims, "pod "+v.PersistentVolumeClaim.ClaimName)
				}
			}
			for _, s := range r.statefulSets {
				for _, c := range s.Spec.VolumeClaimTemplates {
					claims = append(claims, "shard "+c.Name)
				}
			}
			if !slices.Equal(claims, tc.claims) {
				t.Errorf("got claims %q, want %q", claims, tc.claims)
			}
			if stored := slices.Contains(pod.Spec.Containers[0].Args, "--storage.path=/var/lib/lakefs_import_exporter"); stored != (tc.claims != nil) {
				t.Errorf("stored: %t", stored)
			}
		})
	}
}

// Each pod of a StatefulSet takes its own share.
func TestChartShards(t *testing.T) {
	r := template(t, "--set=shards=3")
	pod, replicas := r.pod(t)
	c := pod.Spec.Containers[0]
	if replicas != 3 || !slices.Contains(c.Args, "--total-shards=3") {
		t.Errorf("%d pods, and %q", replicas, c.Args)
	}
	if len(c.Env) != 2 || c.Env[0].Name != "POD_INDEX" || c.Env[0].ValueFrom.FieldRef.FieldPath != "metadata.labels['apps.kubernetes.io/pod-index']" {
		t.Errorf("the pods do not learn which they are: %+v", c.Env)
	}
	if s := r.services[0]; !strings.HasSuffix(s.Name, "-shards") || s.Spec.ClusterIP != core.ClusterIPNone || r.statefulSets[0].Spec.ServiceName != s.Name {
		t.Error("the shards have no addresses of their own")
	}
	// The exporter refuses to be what is not there, such as where Kubernetes does not
	// say which pod it is.
	shard := r.container(t, secrets(t))
	shard.check(inPod(c.Args, "2")...)
	for index, complaint := range map[string]string{"3": "--shard", "": `--shard: invalid value ""`} {
		cmd := shard.command(append(inPod(c.Args, index), "--config.check")...)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), complaint) {
			t.Errorf("shard %q of three: %v\n%s", index, err, out)
		}
	}
}

// inPod returns the arguments as Kubernetes gives them to the pod of this index.
func inPod(args []string, index string) []string {
	expanded := slices.Clone(args)
	for i, arg := range expanded {
		expanded[i] = strings.ReplaceAll(arg, "$(POD_INDEX)", index)
	}
	return expanded
}

func TestChartNetworkPolicy(t *testing.T) {
	for name, want := range map[string]struct {
		args    []string
		lakeFS  []int // ports
		peers   int   // who may connect
		lakeFSs int   // to whom the exporter may connect
	}{
		"default":         {lakeFS: []int{8000, 80}, peers: 2, lakeFSs: 3},
		"https":           {args: []string{"--set=config.servers[0].endpoint_url=https://lakefs.example.com"}, lakeFS: []int{8000, 443}, peers: 2, lakeFSs: 3},
		"IPv6":            {args: []string{"--set=config.servers[0].endpoint_url=http://[2001:db8::1]:8080/lakefs"}, lakeFS: []int{8000, 8080}, peers: 2, lakeFSs: 3},
		"several servers": {args: []string{"--values=" + chart + "/ci/servers-values.yaml"}, lakeFS: []int{8000, 443, 8080, 3128, 8443}, peers: 2, lakeFSs: 1},
		"pipelines":       {args: []string{"--values=" + chart + "/ci/api-values.yaml"}, lakeFS: []int{8000, 80}, peers: 3, lakeFSs: 3},
		"nobody":          {args: []string{"--values=" + chart + "/ci/storage-values.yaml"}, lakeFS: []int{443}, peers: 1, lakeFSs: 3},
		"discovery":       {args: []string{"--values=" + chart + "/ci/discovery-values.yaml"}, lakeFS: []int{8000, 443, 5432}, peers: 2, lakeFSs: 3},
		"DynamoDB":        {args: []string{"--set=config.servers[0].endpoint_url=http://lakefs,config.servers[0].discovery.dynamodb.endpoint=http://dynamodb:4567"}, lakeFS: []int{8000, 80, 4567}, peers: 2, lakeFSs: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := template(t, want.args...).policies[0].Spec
			peers := 0
			for _, rule := range spec.Ingress {
				if peers = len(rule.From); peers == 0 || len(rule.Ports) != 1 || rule.Ports[0].Port.StrVal != "http" {
					t.Errorf("lets in %+v", rule)
				}
			}
			if peers != want.peers {
				t.Errorf("%d peers may connect, want %d", peers, want.peers)
			}
			if dns := spec.Egress[0]; len(dns.To) == 0 || len(dns.Ports) != 2 || dns.Ports[0].Port.IntVal != 53 || *dns.Ports[0].Protocol != core.ProtocolUDP {
				t.Errorf("DNS: %+v", dns)
			}
			var ports []int
			for _, p := range spec.Egress[1].Ports {
				ports = append(ports, p.Port.IntValue())
			}
			if !slices.Equal(ports, want.lakeFS) || len(spec.Egress[1].To) != want.lakeFSs {
				t.Errorf("lakeFS: ports %d, %+v", ports, spec.Egress[1].To)
			}
		})
	}
}

// Pods with a web config are probed without credentials, and others by what the
// exporter says of itself. Both kinds of probe succeed.
func TestChartProbes(t *testing.T) {
	lakeFS := startLakeFS(t)
	for name, webConfig := range map[string]string{
		"plain":          "",
		"authentication": "basic_auth_users: {prometheus: $2a$04$uWOXW7Rto7Wkd1N/UaxCq.nqY/mv5OZQykEfulrusbtPRQxmHESMq}\n",
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"--set=config.servers[0].endpoint_url=" + lakeFS.URL}
			if webConfig != "" {
				args = append(args, "--set=webConfig.existingSecret=exporter-web")
			}
			r := template(t, args...)
			pod, _ := r.pod(t)
			exporter := pod.Spec.Containers[0]
			c := r.container(t, map[string][]string{"lakefs-credentials": {"access_key_id", "secret_access_key"}, "exporter-web": {"web.yml"}})
			if webConfig != "" {
				write(t, c.path("/etc/lakefs_import_exporter_web/web.yml"), webConfig)
			}
			p := c.start(exporter.Args...)
			for _, probe := range []*core.Probe{exporter.StartupProbe, exporter.ReadinessProbe, exporter.LivenessProbe} {
				switch {
				case webConfig == "" && probe.HTTPGet != nil:
					if _, err := send("GET", p.URL+probe.HTTPGet.Path, nil); err != nil {
						t.Error(err)
					}
				case webConfig != "" && probe.TCPSocket != nil && probe.TCPSocket.Port.StrVal == exporter.Ports[0].Name:
					// It listens, which start has waited for.
				default:
					t.Errorf("cannot succeed: %+v", probe.ProbeHandler)
				}
			}
			if err := p.hasSample("lakefs_up.*"); (err == nil) != (webConfig == "") {
				t.Errorf("a scrape without credentials: %v", err)
			}
		})
	}
}

// Where the exporter is behind a path, kubelet, Prometheus and helm test ask there.
func TestChartExternalURL(t *testing.T) {
	r := template(t, "--set=externalUrl=https://tools.example.com/{{ .Release.Name }}/")
	pod, _ := r.pod(t)
	exporter := pod.Spec.Containers[0]
	p := r.container(t, secrets(t)).start(exporter.Args...)
	_, tested, _ := strings.Cut(strings.Join(r.pods[0].Spec.Containers[0].Command, " "), ":10470")
	for _, path := range []string{
		exporter.StartupProbe.HTTPGet.Path, exporter.ReadinessProbe.HTTPGet.Path, exporter.LivenessProbe.HTTPGet.Path,
		r.serviceMonitors[0].Spec.Endpoints[0].Path, tested,
	} {
		if _, err := send("GET", p.URL+path, nil); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// What is wrong is refused before it reaches the cluster, in words that say what
// to do.
func TestChartRefuses(t *testing.T) {
	for name, want := range map[string]struct{ set, message string }{
		"unknown value":         {"replcaCount=1", "additional properties 'replcaCount' not allowed"},
		"wrong type":            {"shards=two", "at '/shards': got string, want integer"},
		"no secrets":            {"secrets=null", "config.servers[0].basic_auth.password_file: secrets/lakefs-credentials/secret_access_key is none of the files that secrets brings: none"},
		"two replicas":          {"replicaCount=2", "replicaCount: must be 1 or 0: two exporters of the same imports would remember differently. To share out the imports, set shards"},
		"replicas of shards":    {"replicaCount=0,shards=2", "replicaCount: not together with shards"},
		"API without storage":   {"importApi.enabled=true", "importApi.enabled: needs persistentVolume.enabled, or what is registered would be lost with a restart"},
		"API with shards":       {"importApi.enabled=true,persistentVolume.enabled=true,shards=2", "importApi.enabled: not with shards"},
		"one claim for shards":  {"persistentVolume.enabled=true,persistentVolume.existingClaim=mine,shards=2", "persistentVolume.existingClaim: not with shards"},
		"password in config":    {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].basic_auth.password=x", "config.servers[0].basic_auth.password: must not be in config, which becomes a ConfigMap. Put it into a Secret, name that in secrets, and use password_file"},
		"key in config":         {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].oauth2.tls_config.key=x", "config.servers[0].oauth2.tls_config.key: must not be in config"},
		"header in config":      {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].http_headers.X-Key.secrets[0]=x", "config.servers[0].http_headers.X-Key.secrets: must not be in config, which becomes a ConfigMap. Put it into a Secret, name that in secrets, and use files"},
		"headers of a proxy":    {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].proxy_connect_header.X-Key[0]=x", "config.servers[0].proxy_connect_header: must not be in config, which becomes a ConfigMap"},
		"parameters of a token": {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].oauth2.endpoint_params.key=x", "config.servers[0].oauth2.endpoint_params: must not be in config, which becomes a ConfigMap"},
		"proxy with keys":       {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].proxy_url=http://a:b@proxy", "config.servers[0].proxy_url: must not have credentials: config becomes a ConfigMap"},
		"token from keys":       {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].oauth2.token_url=http://a:b@sso/token", "config.servers[0].oauth2.token_url: must not have credentials"},
		"file of no Secret":     {"secrets[0].name=lakefs-credentials,secrets[0].keys[0]=access_key_id", "config.servers[0].basic_auth.password_file: secrets/lakefs-credentials/secret_access_key is none of the files that secrets brings: secrets/lakefs-credentials/access_key_id"},
		"unknown server":        {"config.imports[0].repository=my-repo,config.imports[0].branch=main,config.imports[0].id=x,config.imports[0].server=prod", "config.imports[0].server: prod is none of lakefs"},
		"DSN in config":         {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].discovery.postgres.dsn=x", "config.servers[0].discovery.postgres.dsn: must not be in config, which becomes a ConfigMap. Put it into a Secret, name that in secrets, and use dsn_file"},
		"no DSN":                {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].discovery.postgres.query=x", "config.servers[0].discovery.postgres.dsn_file: is missing"},
		"DSN of no Secret":      {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].discovery.postgres.dsn_file=secrets/lakefs-postgres/dsn", "config.servers[0].discovery.postgres.dsn_file: secrets/lakefs-postgres/dsn is none of the files that secrets brings"},
		"AWS keys in config":    {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].discovery.dynamodb.aws_secret_access_key=x", "config.servers[0].discovery.dynamodb.aws_secret_access_key: must not be in config, which becomes a ConfigMap. Give the service account an IAM role, or take AWS_SECRET_ACCESS_KEY from a Secret by extraEnv"},
		"discovery of nothing":  {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].discovery.max_imports=1", "config.servers[0].discovery: must have one of postgres and dynamodb"},
		"rule's label":          {"config.servers[0].endpoint_url=http://lakefs,config.servers[0].discovery.dynamodb.region=x,config.servers[0].discovery.rules[0].repository=x,config.servers[0].discovery.rules[0].labels.job=x", "config.servers[0].discovery.rules[0].labels.job: reserved"},
		"repository nowhere":    {"config.repositories[0].repository=my-repo,config.repositories[0].max_import_age=1h,config.repositories[0].server=prod", "config.repositories[0].server: prod is none of lakefs"},
		"which server":          {"config.servers[0].endpoint_url=http://a:8000/lakefs,config.servers[1].endpoint_url=http://b,config.imports[0].repository=my-repo,config.imports[0].branch=main,config.imports[0].id=x", "config.imports[0].server: must be one of a:8000, b"},
		"reserved label":        {"config.imports[0].repository=my-repo,config.imports[0].branch=main,config.imports[0].id=x,config.imports[0].labels.severity=info", "config.imports[0].labels.severity: reserved for the exporter and Prometheus"},
		"repository's label":    {"config.repositories[0].repository=my-repo,config.repositories[0].max_import_age=1h,config.repositories[0].labels.job=x", "config.repositories[0].labels.job: reserved"},
		"pods' own label":       {"podLabels.app\\.kubernetes\\.io/name=x", "podLabels: app.kubernetes.io/name is what the pods are selected by"},
		"shards in 1.27":        {"shards=2,kube=1.27", "shards: needs Kubernetes 1.28 or later, which tells pods their index, not v1.27.0"},
		"shards behind one URL": {"shards=2,ingress.enabled=true", "ingress, route: not with shards, each of which has an address of its own"},
		"old Kubernetes":        {"kube=1.24", "chart requires kubeVersion: >=1.25.0-0 which is incompatible with Kubernetes v1.24.0"},
		"address of shards":     {"shards=2,service.type=LoadBalancer", "service.type: must be ClusterIP with shards, each of which has an address of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, kube, _ := strings.Cut(want.set, "kube=")
			out, errs, err := helm(t, "template", "test", chart, "--set="+strings.TrimSuffix(set, ","), "--kube-version="+cmp.Or(kube, "1.34")+".0")
			if err == nil || out != "" || !strings.Contains(errs, want.message) {
				t.Errorf("%v\n%s\nwant: %s", err, errs, want.message)
			}
		})
	}
}

// The notes say what to do next, whatever the values.
func TestChartNotes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "chart")
	for _, part := range []string{"Chart.yaml", "values.yaml", "templates/_helpers.tpl", "templates/_pod.tpl"} {
		write(t, filepath.Join(dir, part), read(t, filepath.Join(chart, part)))
	}
	// helm template prints no notes.
	write(t, filepath.Join(dir, "templates/notes.yaml"), "notes: |\n  {{- include \"notes\" . | nindent 2 }}\n{{- define \"notes\" }}\n"+read(t, chart+"/templates/NOTES.txt")+"{{ end }}\n")
	for _, file := range values(t) {
		out, errs, err := helm(t, "template", "test", dir, "--namespace=data", "--values="+file)
		var rendered struct{ Notes string }
		if err != nil || yaml.Unmarshal([]byte(out), &rendered) != nil {
			t.Fatalf("%s: %v\n%s", file, err, errs)
		}
		if name := goldenOf(file, ".txt"); slices.Contains([]string{"helm/default.txt", "helm/api.txt", "helm/shards.txt", "helm/minimal.txt"}, name) {
			golden(t, name, rendered.Notes)
		}
	}
}
