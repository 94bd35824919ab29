// Command generate writes the files that the mixin makes, for those without
// jsonnet. It runs in the folder deploy/.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-jsonnet"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run() error {
	files, err := render(".")
	if err != nil {
		return err
	}
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // G301: for everybody to read
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil { //nolint:gosec // G306: likewise
			return err
		}
	}
	return nil
}

// mixin is what mixins export.
type mixin struct {
	Alerts       ruleGroups                 `json:"alerts"`
	AlertTable   string                     `json:"alertTable"`
	Alertmanager string                     `json:"alertmanager"`
	Dashboards   map[string]json.RawMessage `json:"dashboards"`
}

type ruleGroups struct {
	Groups []struct {
		Name  string `json:"name"  yaml:"name"`
		Rules []rule `json:"rules" yaml:"rules"`
	} `json:"groups" yaml:"groups"`
}

// rule gives the fields their usual order.
type rule struct {
	Record        string            `json:"record"          yaml:"record,omitempty"`
	Alert         string            `json:"alert"           yaml:"alert,omitempty"`
	Expr          string            `json:"expr"            yaml:"expr"`
	For           model.Duration    `json:"for"             yaml:"for,omitempty"`
	KeepFiringFor model.Duration    `json:"keep_firing_for" yaml:"keep_firing_for,omitempty"`
	Labels        map[string]string `json:"labels"          yaml:"labels,omitempty"`
	Annotations   map[string]string `json:"annotations"     yaml:"annotations,omitempty"`
}

// render returns the generated files by their paths below deploy.
func render(deploy string) (map[string][]byte, error) {
	path := filepath.Join(deploy, "mixin", "mixin.libsonnet")
	text, err := jsonnet.MakeVM().EvaluateAnonymousSnippet("mixin", fmt.Sprintf(
		`local mixin = import %q; {alerts: mixin.prometheusAlerts, alertmanager: mixin.alertmanagerConfig, alertTable: mixin.alertTable, dashboards: mixin.grafanaDashboards}`, path))
	if err != nil {
		return nil, err
	}
	var m mixin
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	files := map[string][]byte{filepath.Join(deploy, "alertmanager", "alertmanager.yml"): []byte(header + m.Alertmanager)}
	rules, err := marshal(m.Alerts)
	if err != nil {
		return nil, err
	}
	files[filepath.Join(deploy, "prometheus", "rules", "alerts.yml")] = rules
	files[filepath.Join(deploy, "helm", "files", "rules", "alerts.yml")] = rules
	if files[filepath.Join(deploy, "prometheus", "runbook.md")], err = insert(filepath.Join(deploy, "prometheus", "runbook.md"), m.AlertTable); err != nil {
		return nil, err
	}
	for name, dashboard := range m.Dashboards {
		var content bytes.Buffer
		if err := json.Indent(&content, dashboard, "", "  "); err != nil {
			return nil, err
		}
		content.WriteByte('\n')
		files[filepath.Join(deploy, "grafana", "dashboards", name)] = content.Bytes()
		files[filepath.Join(deploy, "helm", "files", "dashboards", name)] = content.Bytes()
	}
	return files, nil
}

const begin, end = "<!-- make generate: -->\n", "<!-- end -->\n"

// insert returns a file with the text between its markers replaced.
func insert(path, text string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	before, rest, found := strings.Cut(string(content), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return nil, fmt.Errorf("%s: the markers are missing", path)
	}
	return []byte(before + begin + text + end + after), nil
}

const header = "# Generated from deploy/mixin by make generate: change it there.\n\n"

func marshal(groups ruleGroups) ([]byte, error) {
	content := bytes.NewBufferString(header)
	encoder := yaml.NewEncoder(content)
	encoder.SetIndent(2)
	if err := encoder.Encode(groups); err != nil {
		return nil, err
	}
	return content.Bytes(), encoder.Close()
}
