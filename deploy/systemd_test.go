package deploy_test

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const unitFile = "systemd/lakefs_import_exporter.service"

// unitSettings returns the values of every setting of the unit.
func unitSettings(t *testing.T) map[string][]string {
	t.Helper()
	settings := map[string][]string{}
	for line := range strings.Lines(read(t, unitFile)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			settings[key] = append(settings[key], value)
		}
	}
	return settings
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

// The exporter understands the command line of the unit, and finds the credentials
// where the README has the config say they are.
func TestUnitRuns(t *testing.T) {
	unit := unitSettings(t)
	readme := read(t, "systemd/README.md")
	config := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(readme)
	if config == nil {
		t.Fatal("the README has no config")
	}
	c := newContainer(t)
	write(t, c.path("/etc/lakefs_import_exporter/config.yml"), config[1])
	for _, credential := range unit["LoadCredential"] {
		name, from, _ := strings.Cut(credential, ":")
		write(t, c.path("/run/credentials/"+filepath.Base(unitFile)+"/"+name), "secret")
		if !strings.Contains(readme, from) {
			t.Errorf("the README does not say what is in %s", from)
		}
	}
	start := strings.Fields(unit["ExecStart"][0])
	if start[0] != "/usr/local/bin/"+program || !slices.Contains(start, "--storage.path=/var/lib/"+unit["StateDirectory"][0]) {
		t.Errorf("runs %q, with the StateDirectory %q", start, unit["StateDirectory"])
	}
	c.check(start[1:]...)
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
