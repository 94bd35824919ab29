package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs/lakefstest"
)

// need skips a test if a program is missing, and fails it in CI.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		skip(t, "%s is missing", program)
	}
}

// block returns the code block of docs/pipelines.md in a language that contains a text.
func block(t *testing.T, language, text string) string {
	t.Helper()
	readme, err := os.ReadFile("docs/pipelines.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		if strings.Contains(m[1], text) {
			return m[1]
		}
	}
	t.Fatalf("docs/pipelines.md has no block of %s with %q", language, text)
	return ""
}

// The recipes of docs/pipelines.md, unchanged, start imports, register them and wait for
// them: for a success and for a failure.
func TestRecipes(t *testing.T) {
	t.Parallel()
	for program, recipe := range map[string]func(t *testing.T) []string{
		"bash": func(t *testing.T) []string {
			need(t, "curl")
			need(t, "jq")
			return []string{"bash", "-c", block(t, "bash", "--fail-with-body")}
		},
		"python3": func(t *testing.T) []string {
			return []string{"python3", "-c", block(t, "python", "def import_and_wait") + `
import os
e = os.environ
print(import_and_wait(e["LAKEFS"], e["LAKEFS_KEYS"], e["EXPORTER"], e["EXPORTER_USER"], e["REPO"], e["BRANCH"], e["SOURCE"], interval=0.1))
`}
		},
		// Airflow itself is not needed: its decorator here runs the task at once.
		"airflow": func(t *testing.T) []string {
			need(t, "python3")
			return []string{"python3", "-c", `
import sys, types
sys.modules["airflow"] = types.ModuleType("airflow")
sys.modules["airflow.decorators"] = types.ModuleType("airflow.decorators")
sys.modules["airflow.decorators"].task = lambda function: function
` + block(t, "python", "def import_and_wait") + block(t, "python", "@task") + `
print(nightly_import())
`}
		},
	} {
		for end, script := range map[string]lakefstest.Script{
			"succeeds": {Objects: 1000, Rate: 1000},
			"fails":    {Objects: 1000, End: lakefstest.Failure, Message: lakefstest.MessageDirtyBranch},
		} {
			t.Run(program+" "+end, func(t *testing.T) {
				t.Parallel()
				if program != "airflow" {
					need(t, program)
				}
				lakeFS := newLakeFS(t, lakefstest.Options{Script: script})
				lakeFS.AddRepository("my-repo")
				dir := t.TempDir()
				write(t, dir, "config.yml", watchYAML(t, dir, lakeFS))
				// The password is "secret".
				write(t, dir, "web.yml", "basic_auth_users: {pipeline: $2a$04$uWOXW7Rto7Wkd1N/UaxCq.nqY/mv5OZQykEfulrusbtPRQxmHESMq}\n")
				e := start(t, dir, nil, importAPI, "--storage.path=imports.db", "--web.config.file=web.yml")
				args := recipe(t)
				cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
				cmd.Dir = filepath.Dir(dir)
				cmd.Env = append(os.Environ(),
					"LAKEFS="+lakeFS.URL, "LAKEFS_KEYS="+lakefstest.AccessKeyID+":"+lakefstest.SecretAccessKey,
					"EXPORTER="+e.url, "EXPORTER_USER=pipeline:secret",
					"REPO=my-repo", "BRANCH=main", "SOURCE=s3://bucket/nightly/", "INTERVAL=0.1")
				cmd.WaitDelay = time.Second
				out, err := cmd.CombinedOutput()
				if end == "succeeds" {
					if err != nil || !regexp.MustCompile(`^[0-9a-f]{64}\n$`).Match(out) {
						t.Errorf("%v, and not the ID of a commit:\n%s", err, out)
					}
				} else if err == nil || !strings.Contains(string(out), "failed: "+lakefstest.MessageDirtyBranch) {
					t.Errorf("%v, and not the message of the failure:\n%s", err, out)
				}
			})
		}
	}
}
