//go:build node

package deploy_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"golang.org/x/net/dns/dnsmessage"
	core "k8s.io/api/core/v1"
	kyaml "sigs.k8s.io/yaml"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// Where the node is: in a network of its own, behind the machine's end of a pair of
// devices.
const (
	nodeHost, nodeIP = "10.199.77.1", "10.199.77.2"
	podNetwork       = "10.199.78.0/24"
)

// node is a Kubernetes of one node, in namespaces of its own.
type node struct {
	*cluster
	dir  string
	init *exec.Cmd // of its namespaces: when it ends, all in them does
	pid  string
}

// startNode starts a node, with these images.
func startNode(t *testing.T, e *engine, images ...string) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "node") //nolint:usetesting // sockets have short names, and it is emptied with care
	if err != nil {
		t.Fatal(err)
	}
	n := &node{dir: dir}
	n.unshare(t)
	n.cluster = startKubernetes(t, net.JoinHostPort(nodeHost, "6443"), "--allow-privileged", "--kubelet-preferred-address-types=InternalIP")
	host := func(name string, args ...string) {
		t.Helper()
		background(t, exec.Command(need(t, name), append(args, "--kubeconfig="+n.kubeconfig, "--leader-elect=false")...))
	}
	host("kube-controller-manager", "--controllers=*,-nodeipam", "--use-service-account-credentials=false",
		"--service-account-private-key-file="+filepath.Join(filepath.Dir(n.kubeconfig), "sa.key"), "--cert-dir="+dir, "--secure-port=0")
	host("kube-scheduler", "--cert-dir="+dir, "--secure-port=0")

	write(t, dir+"/containerd.toml", fmt.Sprintf(`version = 2
root = "%[1]s/containerd"
state = "%[1]s/run"
[grpc]
  address = "%[1]s/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%[2]s"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "%[1]s/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`, dir, images[0]))
	write(t, dir+"/cni/10-bridge.conflist", fmt.Sprintf(`{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "%s/ipam", "ranges": [[{"subnet": "%s"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}`, dir, podNetwork))
	write(t, dir+"/kubelet.yaml", fmt.Sprintf(`
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix://%[1]s/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: 10000
featureGates: {KubeletInUserNamespace: true}
clusterDNS: [%[2]s]
clusterDomain: cluster.local
evictionHard: {memory.available: 1Mi, nodefs.available: 1Mi, nodefs.inodesFree: "1", imagefs.available: 1Mi}
imageGCHighThresholdPercent: 100
syncFrequency: 5s
`, dir, nodeHost))
	background(t, n.command("containerd", "--config="+dir+"/containerd.toml"))
	eventually(t, "containerd", func() error { return n.command("ctr", "--address="+dir+"/containerd.sock", "version").Run() })
	for i, image := range images {
		archive := fmt.Sprintf("%s/image%d.tar", dir, i)
		e.podman("save", "--output="+archive, image)
		if out, err := n.command("ctr", "--address="+dir+"/containerd.sock", "--namespace=k8s.io", "images", "import", archive).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", image, err, out)
		}
	}
	background(t, n.command(need(t, "kubelet"), "--config="+dir+"/kubelet.yaml", "--kubeconfig="+n.kubeconfig, "--hostname-override=node", "--node-ip="+nodeIP, "--root-dir="+dir+"/kubelet", "--cert-dir="+dir))
	background(t, n.command(need(t, "kube-proxy"), "--kubeconfig="+n.kubeconfig, "--hostname-override=node", "--proxy-mode=iptables", "--conntrack-max-per-core=0", "--conntrack-min=0",
		"--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0", "--oom-score-adj=0"))
	eventually(t, "the node", func() error {
		var got core.Node
		if err := n.do(http.MethodGet, "/api/v1/nodes/node", nil, &got); err != nil {
			return err
		}
		for _, c := range got.Status.Conditions {
			if c.Type == core.NodeReady && c.Status == core.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("not ready: %+v", got.Status.Conditions)
	})
	return n
}

// unshare makes the namespaces of the node, and its network.
func (n *node) unshare(t *testing.T) {
	t.Helper()
	n.init = exec.Command("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sleep", "infinity")
	if err := n.init.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.init.Process.Kill()
		_ = n.init.Wait()
		_ = exec.Command("ip", "link", "delete", "nodetest0").Run()
		_ = os.RemoveAll(n.dir)
	})
	eventually(t, "the namespaces", func() error {
		out, err := exec.Command("pgrep", "--parent", fmt.Sprint(n.init.Process.Pid)).Output()
		n.pid = strings.TrimSpace(string(out))
		return err
	})
	for _, line := range []string{
		"link add nodetest0 type veth peer name node0 netns " + n.pid,
		"address add " + nodeHost + "/30 dev nodetest0",
		"link set nodetest0 up",
	} {
		run(t, "ip", strings.Fields(line)...)
	}
	// The kubelet wants to set these, which is not for a guest to do.
	script := `set -e
ip link set lo up
ip address add ` + nodeIP + `/30 dev node0
ip link set node0 up
ip route add default via ` + nodeHost + `
mount --make-rshared /
for setting in kernel/panic kernel/panic_on_oops vm/overcommit_memory; do
  file=` + n.dir + `/$(basename $setting)
  case $setting in kernel/panic) echo 10;; *) echo 1;; esac >$file
  mount --bind $file /proc/sys/$setting
done
`
	if out, err := n.command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run(t, "ip", "route", "add", podNetwork, "via", nodeIP)
}

// command returns one that runs in the namespaces of the node.
func (n *node) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--target=" + n.pid, "--net", "--mount", "--pid", "--"}, args...)...)
}

// keyedLakeFS is a lakeFS that pods reach, and whose keys can be changed.
type keyedLakeFS struct {
	*lakefstest.Server
	url string
	mu  sync.Mutex
	key string
}

func newKeyedLakeFS(t *testing.T) *keyedLakeFS {
	t.Helper()
	f := &keyedLakeFS{Server: startLakeFS(t), key: "one"}
	endpoint, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(endpoint)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		key := f.key
		f.mu.Unlock()
		if user, password, _ := r.BasicAuth(); user == key && password == key {
			r.SetBasicAuth(lakefstest.AccessKeyID, lakefstest.SecretAccessKey)
		} else {
			r.SetBasicAuth("wrong", "wrong")
		}
		proxy.ServeHTTP(w, r)
	}))
	if server.Listener, err = net.Listen("tcp", nodeHost+":0"); err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *keyedLakeFS) rotate(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key = key
}

// serveDNS answers for the Services of the cluster, as the cluster's DNS would.
func (n *node) serveDNS(t *testing.T) {
	t.Helper()
	conn, err := net.ListenPacket("udp", nodeHost+":53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var message dnsmessage.Message
			if message.Unpack(buffer[:size]) != nil || len(message.Questions) != 1 {
				continue
			}
			message.Response, message.Authoritative = true, true
			question, service := message.Questions[0], core.Service{}
			name, ok := strings.CutSuffix(question.Name.String(), ".svc.cluster.local.")
			parts := strings.Split(name, ".")
			if !ok || len(parts) != 2 || n.do(http.MethodGet, "/api/v1/namespaces/"+parts[1]+"/services/"+parts[0], nil, &service) != nil {
				message.RCode = dnsmessage.RCodeNameError
			} else if ip := net.ParseIP(service.Spec.ClusterIP).To4(); question.Type == dnsmessage.TypeA && ip != nil {
				message.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: question.Name, Class: question.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte(ip)}}}
			}
			if answer, err := message.Pack(); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
}

// volumes makes folders that claims can have, of root and for nobody else.
func (n *node) volumes(t *testing.T, count int) {
	t.Helper()
	n.must(http.MethodPost, "/apis/storage.k8s.io/v1/storageclasses", map[string]any{
		"metadata": map[string]any{"name": "local"}, "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
	}, nil)
	for i := range count {
		path := fmt.Sprintf("%s/volume%d", n.dir, i)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		n.must(http.MethodPost, "/api/v1/persistentvolumes", map[string]any{
			"metadata": map[string]any{"name": fmt.Sprintf("local-%d", i)},
			"spec": map[string]any{
				"capacity": map[string]any{"storage": "1Gi"}, "accessModes": []string{"ReadWriteOnce"}, "storageClassName": "local", "local": map[string]any{"path": path},
				"nodeAffinity": map[string]any{"required": map[string]any{"nodeSelectorTerms": []any{map[string]any{
					"matchExpressions": []any{map[string]any{"key": "kubernetes.io/hostname", "operator": "In", "values": []string{"node"}}},
				}}}},
			},
		}, nil)
	}
}

// secret makes or changes a Secret.
func (n *node) secret(namespace, name string, data map[string]string) {
	n.t.Helper()
	path, object := "/api/v1/namespaces/"+namespace+"/secrets", map[string]any{"metadata": map[string]any{"name": name}, "stringData": data}
	if n.do(http.MethodPost, path, object, nil) != nil {
		n.must(http.MethodPatch, path+"/"+name, object, nil)
	}
}

// exporters returns the exporter's pods that are ready, in the order of their names.
func (n *node) exporters(namespace string) ([]core.Pod, error) {
	var list core.PodList
	if err := n.do(http.MethodGet, "/api/v1/namespaces/"+namespace+"/pods?labelSelector=app.kubernetes.io/name=lakefs-import-exporter", nil, &list); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(pod core.Pod) bool {
		return pod.DeletionTimestamp != nil || !slices.ContainsFunc(pod.Status.Conditions, func(c core.PodCondition) bool { return c.Type == core.PodReady && c.Status == core.ConditionTrue })
	}), nil
}

// exporter returns the only one.
func (n *node) exporter(namespace string) (core.Pod, *process) {
	n.t.Helper()
	pods, err := n.exporters(namespace)
	if err != nil || len(pods) != 1 {
		n.t.Fatalf("%d exporters are ready: %v", len(pods), err)
	}
	return pods[0], &process{URL: "http://" + pods[0].Status.PodIP + ":10470"}
}

// The chart on a node that runs pods.
func TestNode(t *testing.T) {
	e := newEngine(t)
	const image = "localhost/lakefs_import_exporter_test:latest"
	e.build(image, clone(t))
	dir := t.TempDir()
	run(t, "cp", need(t, "busybox"), dir+"/busybox")
	write(t, dir+"/Dockerfile", "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/wget\nCOPY busybox /bin/nc\nCOPY busybox /bin/sh\nENV PATH=/bin\nENTRYPOINT [\"busybox\", \"sleep\", \"1000000000\"]\n")
	e.podman("build", "--quiet", "--tag=localhost/busybox:1", dir)

	began := time.Now()
	n := startNode(t, e, "localhost/busybox:1", image)
	t.Logf("the node is ready after %s", time.Since(began).Round(time.Second))
	n.install(glob(t, filepath.Join(filepath.Dir(need(t, "kube-apiserver")), "crds", "*.yaml"))...)
	n.serveDNS(t)
	n.volumes(t, 4)
	ns := n.namespace("data")
	lakeFS := newKeyedLakeFS(t)
	first, second := lakeFS.Start("my-repo", "main", slow), lakeFS.Start("my-repo", "main", slow)
	n.secret(ns, "lakefs-credentials", map[string]string{"access_key_id": "one", "secret_access_key": "one"})
	base := []string{
		chart, "--wait", "--timeout=2m", "--set=image.repository=localhost/lakefs_import_exporter_test,image.tag=latest,image.pullPolicy=Never,tests.image=localhost/busybox:1",
		"--set=config.servers[0].name=prod,config.servers[0].endpoint_url=" + lakeFS.url + ",config.servers[0].basic_auth.username_file=secrets/lakefs-credentials/access_key_id,config.servers[0].basic_auth.password_file=secrets/lakefs-credentials/secret_access_key",
		"--set=persistentVolume.enabled=true,persistentVolume.storageClass=local",
	}
	watch := func(refs ...lakefs.Ref) (args []string) {
		for i, ref := range refs {
			args = append(args, fmt.Sprintf("--set=config.imports[%[1]d].repository=%[2]s,config.imports[%[1]d].branch=%[3]s,config.imports[%[1]d].id=%[4]s", i, ref.Repository, ref.Branch, ref.ID))
		}
		return args
	}
	began = time.Now()
	n.mustHelm(ns, slices.Concat([]string{"install", "test"}, base, watch(first))...)
	t.Logf("the exporter is ready after %s", time.Since(began).Round(100*time.Millisecond))

	t.Run("storage", func(t *testing.T) { // root's own, but for fsGroup
		n := n.in(t)
		_, exporter := n.exporter(ns)
		eventually(t, "the import", func() error { return exporter.hasSample(`lakefs_import_poll_success{.*} 1`) })
		if err := exporter.hasSample("go_gc_gomemlimit_bytes 2.14748364e\\+08"); err != nil {
			t.Error(err)
		}
	})
	t.Run("helm test", func(t *testing.T) { n.in(t).mustHelm(ns, "test", "test") })
	t.Run("rotation of keys", func(t *testing.T) {
		n := n.in(t)
		pod, exporter := n.exporter(ns)
		lakeFS.rotate("two")
		eventually(t, "the refusal", func() error { return exporter.hasSample(`lakefs_authorized{server="prod"} 0`) })
		n.secret(ns, "lakefs-credentials", map[string]string{"access_key_id": "two", "secret_access_key": "two"})
		began := time.Now()
		eventuallyBy(t, began.Add(3*time.Minute), "the new keys", func() error { return exporter.hasSample(`lakefs_authorized{server="prod"} 1`) })
		t.Logf("new keys are used after %s", time.Since(began).Round(time.Second))
		if now, _ := n.exporter(ns); now.UID != pod.UID || now.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Error("the exporter was restarted")
		}
	})
	t.Run("bad upgrade", func(t *testing.T) {
		n := n.in(t)
		pod, _ := n.exporter(ns)
		began := time.Now()
		out, err := n.helm(ns, slices.Concat([]string{"upgrade", "test"}, base, watch(first), []string{"--set=extraArgs[0]=--nope"})...)
		if err == nil || !strings.Contains(out, "unknown long flag '--nope'") {
			t.Errorf("%v\n%s", err, out)
		}
		t.Logf("refused after %s", time.Since(began).Round(100*time.Millisecond))
		if now, _ := n.exporter(ns); now.UID != pod.UID {
			t.Error("the exporter was replaced")
		}
	})
	t.Run("new config", func(t *testing.T) {
		n := n.in(t)
		pod, _ := n.exporter(ns)
		n.mustHelm(ns, slices.Concat([]string{"upgrade", "test"}, base, watch(first, second))...)
		now, exporter := n.exporter(ns)
		if now.UID == pod.UID {
			t.Error("the exporter was not replaced")
		}
		eventually(t, "the new import", func() error {
			return exporter.hasSample(`lakefs_import_poll_success{.*import_id="` + second.ID + `".*} 1`)
		})
	})
	t.Run("memory", func(t *testing.T) {
		n := n.in(t)
		pod, _ := n.exporter(ns)
		lakeFS.Forget(first)
		n.must(http.MethodDelete, "/api/v1/namespaces/"+ns+"/pods/"+pod.Name, nil, nil)
		eventually(t, "another pod", func() error {
			pods, err := n.exporters(ns)
			if err == nil && (len(pods) != 1 || pods[0].UID == pod.UID) {
				err = errors.New("not yet")
			}
			return err
		})
		_, exporter := n.exporter(ns)
		eventually(t, "what was seen", func() error {
			return exporter.hasSample(`lakefs_import_state{.*import_id="` + first.ID + `".*state="lost".*} 1`)
		})
	})
	t.Run("TLS and authentication", func(t *testing.T) {
		n := n.in(t)
		certificate, key := newCertificate(t)
		n.secret(ns, "exporter-web", map[string]string{
			"web.yml": "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\nbasic_auth_users: {prometheus: $2a$04$uWOXW7Rto7Wkd1N/UaxCq.nqY/mv5OZQykEfulrusbtPRQxmHESMq}\n",
			"tls.crt": certificate,
			"tls.key": key,
		})
		n.mustHelm(ns, slices.Concat([]string{"upgrade", "test"}, base, watch(first, second), []string{"--set=webConfig.existingSecret=exporter-web"})...)
		n.mustHelm(ns, "test", "test")
		pod, _ := n.exporter(ns)
		resp, err := n.client.Get("https://" + pod.Status.PodIP + ":10470/metrics") // without credentials
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("without credentials: %s", resp.Status)
		}
		n.mustHelm(ns, "rollback", "test", "--wait", "--timeout=2m")
		if _, exporter := n.exporter(ns); exporter.hasSample(`lakefs_up{server="prod"} 1`) != nil {
			t.Error("a rollback does not bring back plain HTTP")
		}
	})
	t.Run("shards", func(t *testing.T) {
		n := n.in(t)
		refs := []lakefs.Ref{}
		for range 30 {
			refs = append(refs, lakeFS.Start("my-repo", "main", slow))
		}
		for _, shards := range []int{1, 3, 2} {
			n.mustHelm(ns, slices.Concat([]string{"upgrade", "test"}, base, watch(refs...), []string{fmt.Sprintf("--set=shards=%d,persistentVolume.enabled=false", shards)})...)
			eventually(t, fmt.Sprintf("%d shards", shards), func() error {
				pods, err := n.exporters(ns)
				if err != nil || len(pods) != shards {
					return fmt.Errorf("%d pods: %w", len(pods), err)
				}
				total := 0
				for _, pod := range pods {
					metrics, err := send(http.MethodGet, "http://"+pod.Status.PodIP+":10470/metrics", nil)
					if err != nil {
						return err
					}
					total += strings.Count(string(metrics), "\nlakefs_import_poll_success{")
				}
				if total != len(refs) {
					return fmt.Errorf("%d of %d imports", total, len(refs))
				}
				return nil
			})
		}
	})
	t.Run("Prometheus", func(t *testing.T) { testPrometheusOnNode(n.in(t), ns, lakeFS, base, watch) })
	n.mustHelm(ns, "uninstall", "test", "--wait")
	if left := slices.DeleteFunc(n.objects(ns), func(name string) bool {
		return name == "configmaps kube-root-ca.crt" || name == "serviceaccounts default"
	}); !slices.Equal(left, []string{"persistentvolumeclaims test-lakefs-import-exporter"}) {
		t.Errorf("an uninstall leaves %q", left)
	}
}

// in returns the node for a test of its own.
func (n *node) in(t *testing.T) *node {
	c := *n
	c.cluster = n.cluster.in(t)
	return &c
}

// A real Prometheus scrapes the exporter in the cluster, and an alert of the
// PrometheusRule fires.
func testPrometheusOnNode(n *node, ns string, lakeFS *keyedLakeFS, base []string, watch func(...lakefs.Ref) []string) {
	t := n.t
	failed := lakeFS.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Script{End: lakefstest.Failure}, time.Now().Add(-time.Minute))
	n.mustHelm(ns, slices.Concat([]string{"upgrade", "test"}, base, watch(failed))...)
	_, exporter := n.exporter(ns)
	var rules monitoring.PrometheusRule
	n.must(http.MethodGet, "/apis/monitoring.coreos.com/v1/namespaces/"+ns+"/prometheusrules/test-lakefs-import-exporter", nil, &rules)
	spec, err := kyaml.Marshal(rules.Spec)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir+"/rules.yml", strings.ReplaceAll(string(spec), "interval: 30s", "interval: 1s"))
	write(t, dir+"/prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: lakefs-imports
    honor_labels: true
    static_configs: [{targets: [%q]}] # Debian's finds nothing in Kubernetes by itself
`, strings.TrimPrefix(exporter.URL, "http://")))
	prometheus := start(t, need(t, "prometheus"), "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address=127.0.0.1:0")
	answers(t, prometheus, `count(up{job="lakefs-imports"} == 1)`, "1")
	answers(t, prometheus, `count(ALERTS{alertname="LakeFSImportFailed",alertstate="firing",import_id="`+failed.ID+`"})`, "1")
}
