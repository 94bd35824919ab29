package deploy_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// valuesSchema is the chart's, read as helm does.
func valuesSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(read(t, chart+"/values.schema.json")))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("values.schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// faults returns where a schema finds fault with values that have only what is at
// path.
func faults(schema *jsonschema.Schema, path string, value any) (at []string) {
	keys := strings.Split(path, "/")[1:]
	for _, key := range slices.Backward(keys) {
		if key == "0" {
			value = []any{value}
		} else {
			value = map[string]any{key: value}
		}
	}
	var add func(*jsonschema.ValidationError)
	add = func(err *jsonschema.ValidationError) {
		if len(err.Causes) == 0 {
			at = append(at, "/"+strings.Join(err.InstanceLocation, "/"))
		}
		for _, cause := range err.Causes {
			add(cause)
		}
	}
	if invalid := (*jsonschema.ValidationError)(nil); errors.As(schema.Validate(value), &invalid) {
		add(invalid)
	}
	return at
}

// Whatever has a default has a type, and no value is taken that the chart does not
// know.
func TestChartSchemaTypes(t *testing.T) {
	// As Kubernetes and the exporter have them, who look at them themselves.
	open := []string{
		"/affinity", "/podSecurityContext", "/resources", "/securityContext", "/config/servers/0/basic_auth",
		"/networkPolicy/dns/to/0", "/networkPolicy/lakefs/to/0", "/networkPolicy/prometheus/0",
		"/serviceMonitor/authorization", "/serviceMonitor/basicAuth", "/serviceMonitor/tlsConfig",
		"/dnsConfig", "/livenessProbe", "/readinessProbe", "/route/main/matches/0", "/startupProbe",
		"/global", // of other charts, too
	}
	schema := valuesSchema(t)
	refuses := func(path string, value any, at string) {
		t.Helper()
		if !slices.Contains(faults(schema, path, value), at) {
			t.Errorf("%s: takes %v", path, value)
		}
	}
	var look func(path string, value any)
	look = func(path string, value any) {
		switch v := value.(type) {
		case map[string]any:
			refuses(path, "text", path)
			if slices.Contains(open, path) {
				return
			}
			if len(v) == 0 {
				refuses(path, map[string]any{"nope": 1}, path+"/nope")
			} else if !strings.HasPrefix(path, "/dashboard/") { // labels and annotations
				refuses(path, map[string]any{"nope": 1}, path)
			}
			for key, value := range v {
				look(path+"/"+key, value)
			}
		case []any:
			refuses(path, "text", path)
			refuses(path, []any{[]any{}}, path+"/0")
			if len(v) > 0 {
				look(path+"/0", v[0])
			}
		default:
			refuses(path, map[string]any{}, path)
		}
	}
	var defaults map[string]any
	if err := yaml.Unmarshal([]byte(read(t, chart+"/values.yaml")), &defaults); err != nil {
		t.Fatal(err)
	}
	for key, value := range defaults {
		look("/"+key, value)
	}
	refuses("/nope", 1, "/")
}

// values.yaml has every value that there is, as the README says.
func TestChartValues(t *testing.T) {
	var look func(path string, schema *jsonschema.Schema, defaults map[string]any)
	look = func(path string, schema *jsonschema.Schema, defaults map[string]any) {
		for key, of := range schema.Properties {
			value, ok := defaults[key]
			if !ok && path+key != "global" { // helm's own
				t.Errorf("%s%s is not there", path, key)
			}
			if values, ok := value.(map[string]any); ok {
				look(path+key+".", of, values)
			}
		}
	}
	var defaults map[string]any
	if err := yaml.Unmarshal([]byte(read(t, chart+"/values.yaml")), &defaults); err != nil {
		t.Fatal(err)
	}
	look("", valuesSchema(t), defaults)
}

// Each definition and each pattern of the schema, and what must be there.
func TestChartSchemaRefuses(t *testing.T) {
	schema := valuesSchema(t)
	for path, wrong := range map[string][]any{
		"/image/digest":       {"sha256:123", "latest"},
		"/imagePullSecrets/0": {map[string]any{}},
		"/fullnameOverride":   {"Imports", "-imports", "imports-", "1"},
		"/extraArgs/0":        {"x", "-x"},
		"/replicaCount":       {-1, 0.5},

		"/config":                              {map[string]any{}},
		"/config/servers":                      {[]any{}},
		"/config/servers/0":                    {map[string]any{}, map[string]any{"endpoint_url": "http://x", "basic_auht": 1}},
		"/config/servers/0/endpoint_url":       {"", "x", "ftp://x", "http://", "http://a:b@x", "http://x?y", "http://x#y", "http://x/a@b"},
		"/config/servers/0/timeout":            {"", "5", "5x", "-5s", 5},
		"/config/servers/0/discovery":          {map[string]any{"nope": 1}},
		"/config/servers/0/discovery/postgres": {map[string]any{"nope": 1}},
		"/config/servers/0/discovery/dynamodb": {map[string]any{"nope": 1}},
		"/config/servers/0/discovery/rules/0":  {map[string]any{"ignore": true}, map[string]any{"repository": "x", "nope": 1}},
		"/config/imports/0": {
			map[string]any{"repository": "my-repo", "branch": "main"}, map[string]any{"repository": "my-repo", "id": "x"},
			map[string]any{"branch": "main", "id": "x"}, map[string]any{"repository": "my-repo", "branch": "main", "id": "x", "nope": 1},
		},
		"/config/imports/0/repository":       {"", "My_Repo", "ab", "-abc"},
		"/config/imports/0/branch":           {"", "a/b", "-a"},
		"/config/imports/0/id":               {"", "a/b", strings.Repeat("x", 129)},
		"/config/imports/0/expected_objects": {0, 1.5},
		"/config/imports/0/labels":           {map[string]any{"__name__": "x"}, map[string]any{"a-b": "x"}, map[string]any{"1": "x"}},
		"/config/imports/0/labels/team":      {1},
		"/config/import_files/0":             {"imports/*", "imports/*.txt"},
		"/config/repositories/0":             {map[string]any{}, map[string]any{"repository": "my-repo", "nope": 1}},

		"/secrets/0":                      {map[string]any{"name": "x"}, map[string]any{"keys": []any{"x"}}},
		"/secrets/0/name":                 {"", "My_Secret", "x-", strings.Repeat("x", 254)},
		"/secrets/0/keys":                 {[]any{}},
		"/secrets/0/keys/0":               {"", "a/b"},
		"/persistentVolume/size":          {"", "1 GB", "-1"},
		"/persistentVolume/accessModes/0": {"ReadWriteMany", "ReadOnlyMany"},
		"/service/port":                   {0, 65536, 1.5},
		"/serviceMonitor/enabled":         {"", "maybe"},
		"/prometheusRule/runbookUrl":      {"x", "https://", "https://x y", `https://x"`, "https://x'"},
		"/networkPolicy/dns/ports":        {[]any{}},
	} {
		for _, value := range wrong {
			if at := faults(schema, path, value); !slices.Contains(at, path) {
				t.Errorf("%s: takes %v, with fault at %q", path, value, at)
			}
		}
	}
}

// Every word that is a choice.
func TestChartSchemaTakes(t *testing.T) {
	schema := valuesSchema(t)
	for path, right := range map[string][]any{
		"/image/pullPolicy":               {"Always", "IfNotPresent", "Never"},
		"/log/format":                     {"logfmt", "json"},
		"/log/level":                      {"debug", "info", "warn", "error"},
		"/prometheusRule/enabled":         {"auto", true, false},
		"/service/type":                   {"ClusterIP", "NodePort", "LoadBalancer"},
		"/serviceMonitor/enabled":         {"auto", true, false},
		"/serviceMonitor/scheme":          {"http", "https"},
		"/persistentVolume/accessModes/0": {"ReadWriteOnce", "ReadWriteOncePod"},
	} {
		for _, value := range right {
			if at := faults(schema, path, value); at != nil {
				t.Errorf("%s: does not take %v", path, value)
			}
		}
	}
}
