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

// systemd finds nothing to say about the unit, and next to nothing that could be
// taken from it.
func TestUnit(t *testing.T) {
	// The unit as it is, but with the program where it was built.
	unit := filepath.Join(t.TempDir(), filepath.Base(unitFile))
	rewrite(t, unitFile).replaceAll("/usr/local/bin/"+program, buildExporter(t)).write(unit)
	if out := run(t, "systemd-analyze", "verify", "--man=no", unit); out != "" {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}
	// In tenths, and what one systemd finds next to nothing may be more to the next:
	// TestPackage asks that of Debian 12. What is left is the network, which it is there for.
	run(t, "systemd-analyze", "security", "--offline=true", "--threshold=15", unit)
	if settings := unitSettings(t); settings["MemoryMax"][0] != "512M" || settings["Environment"][0] != "GOMEMLIMIT=410MiB" {
		t.Errorf("%s of %s", settings["Environment"], settings["MemoryMax"])
	}
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
			Effect, Resource string
			Action           []string
		}
	}
	if err := json.Unmarshal([]byte(read(t, "lakefs/policy.json")), &policy); err != nil {
		t.Fatal(err)
	}
	granted := map[string]string{}
	for _, s := range policy.Statement {
		for _, action := range s.Action {
			granted[s.Effect+" "+action] = s.Resource
		}
	}
	want := map[string]string{
		"allow fs:ReadBranch":     "arn:lakefs:fs:::repository/*/branch/*",
		"allow fs:ReadRepository": "arn:lakefs:fs:::repository/*",
	}
	if diff := cmp.Diff(want, granted); diff != "" {
		t.Errorf("grants (-want +got):\n%s", diff)
	}
}
