package deploy_test

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const unitFile = "systemd/lakefs_import_exporter.service"

// unitSettings returns the values of every setting of the unit.
func unitSettings(t *testing.T) map[string][]string {
	t.Helper()
	settings := map[string][]string{}
	for line := range strings.Lines(read(t, unitFile)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			settings[key] = append(settings[key], value)
		}
	}
	return settings
}

// Who changes the unit means to, since most of what stands there is missed by nobody
// until it is too late.
func TestUnitSettings(t *testing.T) {
	want := map[string][]string{
		"After":    {"network-online.target"},
		"Wants":    {"network-online.target"},
		"WantedBy": {"multi-user.target"},

		"Description": {"Prometheus exporter of lakeFS imports"},
		"Type":        {"exec"},
		"ExecStart":   {"/usr/local/bin/lakefs_import_exporter --config.file=/etc/lakefs_import_exporter/config.yml --storage.path=/var/lib/lakefs_import_exporter"},
		"ExecReload":  {`/bin/sh -c 'kill -HUP "$MAINPID"'`}, /* a builtin: /bin/kill is not everywhere */
		"Restart":     {"on-failure"},
		"RestartSec":  {"5s"},
		"LoadCredential": {
			"access_key_id:/etc/lakefs_import_exporter/access_key_id",
			"secret_access_key:/etc/lakefs_import_exporter/secret_access_key",
		},
		"# LoadCredential":   {"postgres_dsn:/etc/lakefs_import_exporter/postgres_dsn"},
		"DynamicUser":        {"yes"},
		"StateDirectory":     {"lakefs_import_exporter"},
		"StateDirectoryMode": {"0700"},
		"UMask":              {"0077"},
		"LimitNOFILE":        {"16384"},
		"MemoryMax":          {"512M"},
		"Environment":        {"GOMEMLIMIT=460MiB"},
		"TasksMax":           {"512"},

		"CapabilityBoundingSet":   {""},
		"LockPersonality":         {"yes"},
		"MemoryDenyWriteExecute":  {"yes"},
		"NoNewPrivileges":         {"yes"},
		"PrivateDevices":          {"yes"},
		"PrivateMounts":           {"yes"},
		"PrivateTmp":              {"yes"},
		"PrivateUsers":            {"yes"},
		"ProtectClock":            {"yes"},
		"ProtectControlGroups":    {"yes"},
		"ProtectHome":             {"yes"},
		"ProtectHostname":         {"yes"},
		"ProtectKernelLogs":       {"yes"},
		"ProtectKernelModules":    {"yes"},
		"ProtectKernelTunables":   {"yes"},
		"ProtectProc":             {"invisible"},
		"ProtectSystem":           {"strict"},
		"RemoveIPC":               {"yes"},
		"RestrictAddressFamilies": {"AF_INET AF_INET6"},
		"RestrictNamespaces":      {"yes"},
		"RestrictRealtime":        {"yes"},
		"RestrictSUIDSGID":        {"yes"},
		"SystemCallArchitectures": {"native"},
		"SystemCallErrorNumber":   {"EPERM"},
		"SystemCallFilter":        {"@system-service", "~@privileged @resources"},
	}
	if diff := cmp.Diff(want, unitSettings(t)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", unitFile, diff)
	}
}

// systemd finds nothing to say about the unit, and next to nothing that could be
// taken from it.
func TestUnit(t *testing.T) {
	// The unit as it is, but with the program where it was built.
	unit := filepath.Join(t.TempDir(), filepath.Base(unitFile))
	rewrite(t, unitFile).replaceAll("/usr/local/bin/"+program, buildExporter(t)).write(unit)
	if out := run(t, "systemd-analyze", "verify", "--man=no", unit); out != "" {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}
	// In tenths, and what one systemd finds next to nothing may be more to the next. What
	// is left is the network, which it is there for.
	run(t, "systemd-analyze", "security", "--offline=true", "--threshold=15", unit)
}

// The exporter understands the command line of the unit, and finds the credentials,
// those of drop-ins too, where the configs in the README have them.
func TestUnitRuns(t *testing.T) {
	unit := unitSettings(t)
	readme := read(t, "systemd/README.md")
	configs := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readme, -1)
	if len(configs) != 2 {
		t.Fatalf("the README has %d configs", len(configs))
	}
	c := newContainer(t)
	for _, credential := range slices.Concat(unit["LoadCredential"], unit["# LoadCredential"]) {
		name, from, _ := strings.Cut(credential, ":")
		write(t, c.path("/run/credentials/"+filepath.Base(unitFile)+"/"+name), "host=localhost") // a DSN, too
		if !strings.Contains(readme, from) {
			t.Errorf("the README does not say what is in %s", from)
		}
	}
	start := strings.Fields(unit["ExecStart"][0])
	if start[0] != "/usr/local/bin/"+program || !slices.Contains(start, "--storage.path=/var/lib/"+unit["StateDirectory"][0]) {
		t.Errorf("runs %q, with the StateDirectory %q", start, unit["StateDirectory"])
	}
	for _, config := range configs {
		write(t, c.path("/etc/lakefs_import_exporter/config.yml"), config[1])
		c.check(start[1:]...)
	}
}

// The policy for lakeFS grants what the exporter asks for, and no more.
func TestPolicy(t *testing.T) {
	var policy struct {
		Statement []struct {
			Effect   string   `json:"effect"`
			Action   []string `json:"action"`
			Resource string   `json:"resource"`
		} `json:"statement"`
	}
	decoder := json.NewDecoder(strings.NewReader(read(t, "lakefs/policy.json")))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&policy); err != nil {
		t.Fatal(err)
	}
	granted := map[string]string{}
	for _, s := range policy.Statement {
		if s.Effect != "allow" {
			t.Errorf("effect %s", s.Effect)
		}
		for _, action := range s.Action {
			granted[action] = s.Resource
		}
	}
	want := map[string]string{
		"fs:ReadBranch":     "arn:lakefs:fs:::repository/*/branch/*",
		"fs:ReadRepository": "arn:lakefs:fs:::repository/*",
	}
	if len(granted) != len(want) {
		t.Errorf("grants %v", granted)
	}
	for action, resource := range want {
		if granted[action] != resource {
			t.Errorf("%s is granted on %q, want %q", action, granted[action], resource)
		}
	}
}
