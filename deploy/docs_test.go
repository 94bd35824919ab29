package deploy_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// documents returns the paths of all Markdown files of the project.
func documents(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "dist") {
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			files = append(files, path)
		}
		return err
	})
	if err != nil || !slices.Contains(files, "../docs/metrics.md") {
		t.Fatalf("found %q: %v", files, err)
	}
	return files
}

var (
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)|src="([^"]+)"`)
	codeBlock = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	heading   = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns the anchors that GitHub, GitLab and others give to the headings of a document.
func anchors(text string) []string {
	var all []string
	for _, m := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		all = append(all, strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

// Every link to a file of the project, and to a section of one, leads somewhere.
func TestLinks(t *testing.T) {
	links := 0
	for _, file := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(codeBlock.ReplaceAllString(read(t, file), ""), -1) {
			target := m[1] + m[2]
			if strings.Contains(target, "://") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(target, "#")
			path = filepath.Join(filepath.Dir(file), path)
			if strings.HasPrefix(target, "#") {
				path = file
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Errorf("%s: %s leads nowhere: %v", file, target, err)
				continue
			}
			if info.IsDir() && anchor != "" {
				path = filepath.Join(path, "README.md")
			}
			if anchor != "" && !slices.Contains(anchors(read(t, path)), anchor) {
				t.Errorf("%s: %s has no section %q", file, path, anchor)
			}
		}
	}
	if links < 50 {
		t.Errorf("found only %d links", links)
	}
}

// lakefsMetrics are the names of the project's metrics in a text.
func lakefsMetrics(text, pattern string) map[string]bool {
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		names[m[1]] = true
	}
	return names
}

// docs/metrics.md has every metric of the exporter, and no other. promtool has nothing
// to say about them.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	demo := start(t, buildExporter(t), "--demo", "--web.listen-address=127.0.0.1:0")
	exposition, err := send(http.MethodGet, demo.URL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	// The demo has none that fail, and no limits.
	exported := lakefsMetrics(string(exposition)+`
# HELP lakefs_import_max_duration_seconds
# HELP lakefs_import_exporter_import_file_error
`, `(?m)^# HELP (lakefs_\w+)`)
	documented := lakefsMetrics(read(t, "../docs/metrics.md"), "(?m)`(lakefs_\\w+)(?:{.*?})?`")
	for name := range exported {
		if !documented[name] {
			t.Errorf("docs/metrics.md does not have %s", name)
		}
	}
	for name := range documented {
		if !exported[name] {
			t.Errorf("docs/metrics.md has %s, and the exporter has not", name)
		}
	}
	promtool := exec.Command(need(t, "promtool"), "check", "metrics")
	promtool.Stdin = bytes.NewReader(exposition)
	if out, err := promtool.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// docs/configuration.md has every flag of the exporter with its default, and no other.
func TestFlagsAreDocumented(t *testing.T) {
	t.Parallel()
	help := run(t, buildExporter(t), "--help")
	flags := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^ +--(\[no-\])?([a-z.-]+)(?:=(\S*))?`).FindAllStringSubmatch(help, -1) {
		flags["--"+m[2]] = strings.Trim(m[3], `"`)
	}
	delete(flags, "--version")
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| (`--.*?`) \\|(.*?) \\| ").FindAllStringSubmatch(read(t, "../docs/configuration.md"), -1) {
		defaults := strings.Split(strings.TrimSpace(m[2]), ", ")
		for i, flag := range strings.Split(m[1], ", ") {
			documented[strings.Trim(flag, "`")] = strings.Trim(defaults[min(i, len(defaults)-1)], "`")
		}
	}
	if diff := cmp.Diff(flags, documented); diff != "" {
		t.Errorf("flags (-help +documented):\n%s", diff)
	}
}

var (
	sampleBlock = regexp.MustCompile("(?ms)^```console\n\\$ (.*?)\n(.*?)^```$")
	varying     = regexp.MustCompile(`[0-9a-v]{20}|[0-9a-f]{64}|[0-9][0-9.,:TZ-]*| +`)
)

// unvaried returns the lines of a text without what varies, in order.
func unvaried(text string) []string {
	lines := strings.Split(varying.ReplaceAllString(text, " "), "\n")
	slices.Sort(lines)
	return lines
}

// What programs print in the documents is what they do print, with the demo, but for IDs,
// numbers and spaces. -update writes it.
func TestSamples(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"curl", "jq", "amtool"} {
		need(t, program)
	}
	demo := start(t, buildExporter(t), "--demo", "--web.listen-address=127.0.0.1:0")
	alertmanager := startAlertmanager(t, newInbox(t))
	startPrometheus(t, demo.addr, alertmanager.addr)
	addresses := strings.NewReplacer("localhost:10470", demo.addr, "localhost:9093", alertmanager.addr, "amtool ", need(t, "amtool")+" ")
	samples := 0
	for _, file := range documents(t) {
		text := read(t, file)
		for _, m := range sampleBlock.FindAllStringSubmatch(text, -1) {
			samples++
			command, want, got := m[1], m[2], ""
			eventually(t, command, func() error {
				out, err := exec.Command("bash", "-o", "pipefail", "-c", addresses.Replace(command)).CombinedOutput()
				got = regexp.MustCompile(`(?m) +$`).ReplaceAllString(string(out), "")
				enough := strings.Count(got, "\n") >= max(1, strings.Count(want, "\n"))
				if diff := cmp.Diff(unvaried(want), unvaried(got)); err == nil && diff != "" && (!*update || !enough) {
					return fmt.Errorf("%s (-want +got):\n%s", file, diff)
				}
				return err
			})
			if *update {
				text = strings.Replace(text, command+"\n"+want, command+"\n"+got, 1)
				write(t, file, text)
			}
		}
	}
	if samples < 3 {
		t.Errorf("found only %d samples", samples)
	}
}
