package deploy_test

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	kyaml "sigs.k8s.io/yaml"
)

// cluster is the API server of a Kubernetes, with etcd: it takes objects or refuses
// them, and nothing runs.
type cluster struct {
	t          *testing.T
	client     *http.Client
	url        string
	kubeconfig string
}

const clusterToken = "token-of-an-administrator"

// startKubernetes starts etcd and an API server, which listens at an address.
func startKubernetes(t *testing.T, address string, flags ...string) *cluster {
	t.Helper()
	dir := t.TempDir()
	etcd, peer := "http://"+freeAddress(t), "http://"+freeAddress(t)
	background(t, exec.Command(need(t, "etcd"), "--data-dir="+dir+"/etcd", "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd, "--listen-peer-urls="+peer))

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/sa.key", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	write(t, dir+"/tokens.csv", clusterToken+",admin,1,system:masters\n")
	host, port, _ := strings.Cut(address, ":")
	background(t, exec.Command(need(t, "kube-apiserver"), append(flags, "--etcd-servers="+etcd, "--bind-address="+host, "--secure-port="+port, "--cert-dir="+dir,
		"--token-auth-file="+dir+"/tokens.csv", "--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+dir+"/sa.key", "--service-account-signing-key-file="+dir+"/sa.key")...))
	c := &cluster{
		t: t, url: "https://" + address, kubeconfig: dir + "/kubeconfig",
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}, // its certificate is made at its start
	}
	write(t, c.kubeconfig, fmt.Sprintf(`
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q, insecure-skip-tls-verify: true}}]
users: [{name: test, user: {token: %q}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
`, c.url, clusterToken))
	eventually(t, "the API server", func() error { return c.do(http.MethodGet, "/readyz", nil, nil) })
	return c
}

// in returns the cluster for a test of its own.
func (c cluster) in(t *testing.T) *cluster {
	c.t = t
	return &c
}

// do sends an object to the API server, and decodes its answer.
func (c *cluster) do(method, path string, object, into any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+clusterToken)
	req.Header.Set("Content-Type", map[bool]string{true: "application/merge-patch+json", false: "application/json"}[method == http.MethodPatch])
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

func (c *cluster) must(method, path string, object, into any) {
	c.t.Helper()
	if err := c.do(method, path, object, into); err != nil {
		c.t.Fatal(err)
	}
}

// helm runs helm in a namespace of the cluster.
func (c *cluster) helm(namespace string, args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), need(c.t, "helm"), append(args, "--namespace="+namespace)...)
	cmd.Env = []string{"HOME=" + filepath.Dir(c.kubeconfig), "KUBECONFIG=" + c.kubeconfig}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cluster) mustHelm(namespace string, args ...string) {
	c.t.Helper()
	if out, err := c.helm(namespace, args...); err != nil || strings.Contains(out, "arning: would violate PodSecurity") {
		c.t.Errorf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// namespace makes one that takes only pods of the profile "restricted".
func (c *cluster) namespace(name string) string {
	c.t.Helper()
	labels := map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
	c.must(http.MethodPost, "/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": name, "labels": labels}}, nil)
	return name
}

// install makes the kinds that the chart knows, but Kubernetes does not.
func (c *cluster) install(crds ...string) {
	c.t.Helper()
	for _, file := range crds {
		var crd struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
			Status struct {
				Conditions []struct{ Type, Status string } `json:"conditions"`
			} `json:"status"`
		}
		var object map[string]any
		if err := kyaml.Unmarshal([]byte(read(c.t, file)), &object); err != nil {
			c.t.Fatal(err)
		}
		const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
		c.must(http.MethodPost, path, object, &crd)
		eventually(c.t, file, func() error {
			if err := c.do(http.MethodGet, path+"/"+crd.Metadata.Name, nil, &crd); err != nil {
				return err
			}
			for _, condition := range crd.Status.Conditions {
				if condition.Type == "Established" && condition.Status == "True" {
					return nil
				}
			}
			return errors.New("not established")
		})
	}
}

// kinds are the objects that the chart makes, by their paths in a namespace.
var kinds = []string{
	"/api/v1/namespaces/%s/configmaps", "/api/v1/namespaces/%s/services", "/api/v1/namespaces/%s/serviceaccounts", "/api/v1/namespaces/%s/persistentvolumeclaims",
	"/apis/apps/v1/namespaces/%s/deployments", "/apis/apps/v1/namespaces/%s/statefulsets", "/apis/networking.k8s.io/v1/namespaces/%s/networkpolicies",
	"/apis/networking.k8s.io/v1/namespaces/%s/ingresses", "/apis/monitoring.coreos.com/v1/namespaces/%s/servicemonitors",
	"/apis/monitoring.coreos.com/v1/namespaces/%s/prometheusrules", "/apis/gateway.networking.k8s.io/v1/namespaces/%s/httproutes",
}

// objects returns kind and name of what is in a namespace.
func (c *cluster) objects(namespace string) []string {
	c.t.Helper()
	var names []string
	for _, kind := range kinds {
		var list struct {
			Items []struct {
				Metadata struct {
					Name string `json:"name"`
				} `json:"metadata"`
			} `json:"items"`
		}
		c.must(http.MethodGet, fmt.Sprintf(kind, namespace), nil, &list)
		for _, item := range list.Items {
			names = append(names, filepath.Base(kind)+" "+item.Metadata.Name)
		}
	}
	return names
}

// takes reports whether a namespace takes a pod.
func (c *cluster) takes(namespace string, pod core.PodTemplateSpec) {
	c.t.Helper()
	if err := c.do(http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", core.Pod{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}, nil); err != nil {
		c.t.Errorf("%s: %v", namespace, err)
	}
}

// The chart in a real API server, with every set of values.
func TestKubernetes(t *testing.T) {
	crds := glob(t, filepath.Join(filepath.Dir(need(t, "kube-apiserver")), "crds", "*.yaml"))
	// For want of a controller that makes the account "default".
	c := startKubernetes(t, freeAddress(t), "--disable-admission-plugins=ServiceAccount")

	t.Run("without prometheus-operator", func(t *testing.T) {
		c := c.in(t)
		ns := c.namespace("plain")
		c.mustHelm(ns, "install", "test", chart)
		c.mustHelm(ns, "uninstall", "test")
	})
	c.install(crds...)

	files := values(t)
	for i, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), "-values.yaml"), func(t *testing.T) {
			c := c.in(t)
			ns := c.namespace("with-" + strings.TrimSuffix(filepath.Base(file), "-values.yaml"))
			// The namespace of another set's dashboard is not this one's.
			args := []string{"--values=" + file, "--set=configCheck.enabled=false,dashboard.namespace=" + ns}
			c.mustHelm(ns, append([]string{"install", "test", chart}, args...)...)
			installed := c.objects(ns)
			r := template(t, "--values="+file)
			pod, _ := r.pod(t)
			for _, set := range r.statefulSets { // whose controller adds them
				for _, claim := range set.Spec.VolumeClaimTemplates {
					pod.Spec.Volumes = append(pod.Spec.Volumes, core.Volume{Name: claim.Name})
				}
			}
			c.takes(ns, named(pod, "test"))
			c.takes(ns, named(r.jobs[0].Spec.Template, "check"))
			c.takes(ns, named(core.PodTemplateSpec{Spec: r.pods[0].Spec}, "test"))

			c.mustHelm(ns, append([]string{"upgrade", "test", chart}, args...)...)
			if got := c.objects(ns); !slices.Equal(got, installed) {
				t.Errorf("an upgrade to the same leaves %q, not %q", got, installed)
			}
			next := files[(i+1)%len(files)]
			c.mustHelm(ns, "upgrade", "test", chart, "--values="+next, "--set=configCheck.enabled=false,dashboard.namespace="+ns, "--set=extraManifests=null")
			c.mustHelm(ns, "rollback", "test", "1")
			got := c.objects(ns)
			if left := slices.DeleteFunc(got, func(name string) bool {
				return slices.Contains(installed, name) || strings.HasPrefix(name, "persistentvolumeclaims ")
			}); len(left) > 0 {
				t.Errorf("a rollback leaves %q", left)
			}
			c.mustHelm(ns, "uninstall", "test")
			if left := slices.DeleteFunc(c.objects(ns), func(name string) bool { return strings.HasPrefix(name, "persistentvolumeclaims ") }); len(left) > 0 {
				t.Errorf("an uninstall leaves %q", left)
			}
		})
	}

	t.Run("names", func(t *testing.T) {
		c := c.in(t)
		ns, long := c.namespace("names"), strings.Repeat("x", 51)
		for _, name := range []string{"y", "no", "123", "1e3", "a.b", long + "-a", long + "-b"} {
			c.mustHelm(ns, "install", name, chart)
		}
		c.mustHelm(ns, "install", "null", chart, "--set=fullnameOverride=null,nameOverride=null")
		c.mustHelm(ns, "install", "override", chart, "--set=fullnameOverride=y")
	})
	t.Run("quota", func(t *testing.T) {
		c := c.in(t)
		ns := c.namespace("quota")
		hard := map[string]string{"limits.cpu": "4", "limits.memory": "4Gi", "requests.cpu": "4", "requests.memory": "4Gi"}
		path := "/api/v1/namespaces/" + ns + "/resourcequotas"
		c.must(http.MethodPost, path, map[string]any{"metadata": map[string]any{"name": "quota"}, "spec": map[string]any{"hard": hard}}, nil)
		zero := map[string]string{}
		for resource := range maps.Keys(hard) {
			zero[resource] = "0"
		}
		c.must(http.MethodPatch, path+"/quota/status", map[string]any{"status": map[string]any{"hard": hard, "used": zero}}, nil)
		r := template(t)
		pod, _ := r.pod(t)
		c.takes(ns, named(pod, "test"))
		c.takes(ns, named(r.jobs[0].Spec.Template, "check"))
		c.takes(ns, named(core.PodTemplateSpec{Spec: r.pods[0].Spec}, "test"))
	})
	t.Run("volumes", func(t *testing.T) { testVolumes(t, c) })
}

func named(pod core.PodTemplateSpec, name string) core.PodTemplateSpec {
	pod.Name = name
	if pod.Spec.PriorityClassName != "" { // its class is one of the release's own
		pod.Spec.PriorityClassName = "system-cluster-critical"
	}
	return pod
}

// What Kubernetes cannot change of a volume is refused with a sentence that says
// what to do, and what that says does it.
func testVolumes(t *testing.T, c *cluster) {
	for name, tc := range map[string]struct{ before, after, says string }{
		"same size":         {"persistentVolume.size=1Gi", "persistentVolume.size=1024Mi", ""},
		"same annotations":  {"persistentVolume.annotations.a=b,persistentVolume.annotations.c=d", "persistentVolume.annotations.c=d,persistentVolume.annotations.a=b", ""},
		"smaller":           {"persistentVolume.size=2Gi", "persistentVolume.size=1500Mi", `persistentVolume.size: is 2Gi. Kubernetes cannot change this in an existing claim. To do without what was seen, delete it by "kubectl --namespace smaller delete pvc test-lakefs-import-exporter", and upgrade again`},
		"class":             {"persistentVolume.storageClass=a", "persistentVolume.storageClass=b", `persistentVolume.storageClass: is "a". Kubernetes cannot change this`},
		"mode":              {"", "persistentVolume.accessModes={ReadWriteOncePod}", "persistentVolume.accessModes: is ReadWriteOnce. Kubernetes cannot change this"},
		"shards off":        {"shards=2", "shards=2,persistentVolume.enabled=false", "persistentVolume.enabled: Kubernetes cannot change this in a StatefulSet"},
		"shards on":         {"shards=2,persistentVolume.enabled=false", "shards=2", `Delete it without its pods by "kubectl --namespace shards-on delete statefulset test-lakefs-import-exporter --cascade=orphan", and upgrade again`},
		"shards larger":     {"shards=2", "shards=2,persistentVolume.size=2Gi", "persistentVolume.size: is 1Gi. Kubernetes cannot change this in a StatefulSet"},
		"shards class":      {"shards=2", "shards=2,persistentVolume.storageClass=b", `persistentVolume.storageClass: is "". Kubernetes cannot change this`},
		"shards annotation": {"shards=2", "shards=2,persistentVolume.annotations.a=b", "persistentVolume.annotations: Kubernetes cannot change this"},
		"more shards":       {"shards=2,persistentVolume.annotations.a=b,persistentVolume.storageClass=a", "shards=3,persistentVolume.annotations.a=b,persistentVolume.storageClass=a", ""},
		"to shards":         {"", "shards=2", ""},
		"from shards":       {"shards=2", "shards=1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			ns := c.namespace(strings.ReplaceAll(name, " ", "-"))
			const stored = "--set=configCheck.enabled=false,persistentVolume.enabled=true"
			c.mustHelm(ns, "install", "test", chart, stored, "--set="+tc.before)
			out, err := c.helm(ns, "upgrade", "test", chart, stored, "--set="+tc.after)
			if (err == nil) != (tc.says == "") || !strings.Contains(out, tc.says) {
				t.Fatalf("%v\n%s\nwant: %s", err, out, tc.says)
			}
			if err == nil {
				return
			}
			resource := "/api/v1/namespaces/" + ns + "/persistentvolumeclaims/"
			if strings.Contains(out, "cascade=orphan") {
				resource = "/apis/apps/v1/namespaces/" + ns + "/statefulsets/"
			}
			c.must(http.MethodDelete, resource+"test-lakefs-import-exporter", map[string]string{"propagationPolicy": "Orphan"}, nil)
			eventually(t, "the deletion", func() error {
				if err := c.do(http.MethodGet, resource+"test-lakefs-import-exporter", nil, &apps.StatefulSet{}); err == nil {
					// Nobody removes the finalizers of controllers that do not run.
					return cmp.Or(c.do(http.MethodPatch, resource+"test-lakefs-import-exporter", map[string]any{"metadata": map[string]any{"finalizers": nil}}, nil), errors.New("still there"))
				}
				return nil
			})
			c.mustHelm(ns, "upgrade", "test", chart, stored, "--set="+tc.after)
		})
	}
}
