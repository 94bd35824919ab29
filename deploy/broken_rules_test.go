package deploy_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// operator is what begins a line of an expression that goes on with the one before.
var operator = regexp.MustCompile(`^ *(and|or|unless|[<>*+-])( |$)`)

// broken returns an expression without each of its clauses in turn, which begin with
// an operator and end where the indentation does.
func broken(expr string) []string {
	lines := strings.Split(strings.TrimSuffix(expr, "\n"), "\n")
	indent := func(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }
	var all []string
	for begin, line := range lines {
		if !operator.MatchString(line) {
			continue
		}
		end, depth := begin+1, strings.Count(line, "(")-strings.Count(line, ")")
		for end < len(lines) && (indent(lines[end]) > indent(line) || depth > 0) {
			depth += strings.Count(lines[end], "(") - strings.Count(lines[end], ")")
			end++
		}
		all = append(all, strings.Join(slices.Concat(lines[:begin], lines[end:]), "\n"))
	}
	return all
}

// breakRules returns the rules with each of them broken in each way, by what was done.
func breakRules(t *testing.T) map[string]string {
	t.Helper()
	var file map[string][]map[string]any
	if err := yaml.Unmarshal([]byte(read(t, alertsFile)), &file); err != nil {
		t.Fatal(err)
	}
	rulesOf := file["groups"][0]["rules"].([]any)
	all := map[string]string{}
	with := func(r map[string]any, key string, value any, what string) {
		before := r[key]
		if r[key] = value; value == nil {
			delete(r, key)
		}
		b, err := yaml.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		r[key] = before
		all[what] = string(b)
	}
	for _, r := range rulesOf {
		r := r.(map[string]any)
		name := fmt.Sprint(r["alert"])
		if r["alert"] == nil {
			name = fmt.Sprint(r["record"])
		}
		expr := r["expr"].(string)
		with(r, "expr", "("+strings.TrimSpace(expr)+") > 1e99", name+" never has a value")
		for i, clause := range broken(expr) {
			with(r, "expr", clause, fmt.Sprintf("%s without clause %d", name, i+1))
		}
		for what, pattern := range map[string]string{
			"looks back 1m only": `\[\d+[mhd]\]`, "knows no offset": ` offset \w+`, "knows no cluster": `\bcluster, `, "knows no namespace": `\bnamespace, `,
		} {
			with1 := map[string]string{"looks back 1m only": "[1m]"}[what]
			if changed := regexp.MustCompile(pattern).ReplaceAllString(expr, with1); changed != expr {
				with(r, "expr", changed, name+" "+what)
			}
		}
		for _, key := range []string{"for", "keep_firing_for"} {
			if r[key] != nil {
				with(r, key, nil, name+" without "+key)
			}
		}
	}
	return all
}

// caught reports whether a case fails with broken rules. The likeliest are asked first:
// those in which the alert fires; of the others, those that last for days are not.
func caught(t *testing.T, promtool, rules, alert string) bool {
	t.Helper()
	fails := func(c alertCase, s scrape, evaluation time.Duration) bool {
		return exec.CommandContext(t.Context(), promtool, "test", "rules", writeCases(t, rules, s, evaluation, []alertCase{c})).Run() != nil
	}
	fires := func(c alertCase) bool {
		return regexp.MustCompile(`\b` + alert + `\b`).MatchString(fmt.Sprint(c.firing))
	}
	short, long := byLength(t)
	minute, five := scrape{interval: time.Minute}, scrape{interval: 5 * time.Minute, fails: 4}
	return slices.ContainsFunc(short, func(c alertCase) bool { return fires(c) && fails(c, minute, time.Minute) }) ||
		slices.ContainsFunc(short, func(c alertCase) bool { return fires(c) && fails(c, five, time.Minute) }) ||
		slices.ContainsFunc(long, func(c alertCase) bool { return fires(c) && fails(c, minute, 4*time.Minute) }) ||
		slices.ContainsFunc(short, func(c alertCase) bool { return !fires(c) && fails(c, minute, time.Minute) })
}

// Each clause of a rule, each duration and each label that keeps clusters apart is
// there for a case.
func TestBrokenRules(t *testing.T) {
	if !*matrix {
		t.Skip("only with -matrix (make lint-alerts)")
	}
	promtool := built(t, "../.tools/promtool-*/promtool")[0]
	for what, content := range breakRules(t) {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			rules := filepath.Join(t.TempDir(), "alerts.yml")
			write(t, rules, content)
			runPath(t, promtool, "check", "rules", rules)
			name, _, _ := strings.Cut(what, " ")
			if !caught(t, promtool, rules, name) {
				t.Error("no case fails")
			}
		})
	}
}
