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
		rest := slices.Concat(lines[:begin], lines[end:])
		if strings.HasSuffix(lines[end-1], ",") && !strings.HasSuffix(rest[begin-1], ",") {
			rest[begin-1] += ","
		}
		all = append(all, strings.Join(rest, "\n"))
	}
	return all
}

// anyRule is a rule as it is in the file.
type anyRule map[string]any

func (r anyRule) name() string {
	if r["alert"] != nil {
		return fmt.Sprint(r["alert"])
	}
	return fmt.Sprint(r["record"])
}

func (r anyRule) uses(name string) bool {
	return regexp.MustCompile(`\b` + name + `\b`).MatchString(fmt.Sprint(r["expr"]))
}

// with returns the rule with another value of a key, nil for none.
func (r anyRule) with(key string, value any) anyRule {
	changed := anyRule{}
	for k, v := range r {
		if k != key {
			changed[k] = v
		}
	}
	if value != nil {
		changed[key] = value
	}
	return changed
}

// broken returns the rule broken in each way, by what was done.
func (r anyRule) broken() map[string]anyRule {
	expr := fmt.Sprint(r["expr"])
	all := map[string]anyRule{"never has a value": r.with("expr", "("+strings.TrimSpace(expr)+") > 1e99")}
	for i, clause := range broken(expr) {
		all[fmt.Sprintf("without clause %d", i+1)] = r.with("expr", clause)
	}
	for what, pattern := range map[string]string{
		"looks back 1m only": `\[\d+[mhd]\]`, "knows no offset": ` offset \w+`, "knows no cluster": `\bcluster\b(, )?`, "knows no namespace": `, namespace([,)])`,
	} {
		with := map[string]string{"looks back 1m only": "[1m]", "knows no namespace": "$1"}[what]
		if changed := regexp.MustCompile(pattern).ReplaceAllString(expr, with); changed != expr {
			all[what] = r.with("expr", changed)
		}
	}
	for _, key := range []string{"for", "keep_firing_for"} {
		if r[key] != nil {
			all["without "+key] = r.with(key, nil)
		}
	}
	return all
}

// ruleFile is what the rules file holds.
type ruleFile []anyRule

func readRuleFile(t *testing.T) ruleFile {
	t.Helper()
	var file struct{ Groups []struct{ Rules ruleFile } }
	if err := yaml.Unmarshal([]byte(read(t, alertsFile)), &file); err != nil {
		t.Fatal(err)
	}
	return file.Groups[0].Rules
}

// alertsBy returns the alerts that a rule can break: itself first, and those that use it.
func (f ruleFile) alertsBy(broken anyRule) []string {
	var names []string
	if broken["alert"] != nil {
		names = append(names, broken.name())
	}
	for _, r := range f {
		if r.name() != broken.name() && r.uses(broken.name()) {
			names = append(names, f.alertsBy(r)...)
		}
	}
	return names
}

// only returns the rules of these names and those that they use.
func (f ruleFile) only(names []string) ruleFile {
	needed := map[string]bool{}
	for _, name := range names {
		needed[name] = true
	}
	for before := -1; before < len(needed); {
		before = len(needed)
		for _, r := range f {
			if !needed[r.name()] {
				continue
			}
			for _, other := range f {
				if r.uses(other.name()) {
					needed[other.name()] = true
				}
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(f), func(r anyRule) bool { return !needed[r.name()] })
}

// write writes the rules, with that of the same name replaced.
func (f ruleFile) write(t *testing.T, replacement anyRule) string {
	t.Helper()
	rules := slices.Clone(f)
	for i, r := range rules {
		if r.name() == replacement.name() {
			rules[i] = replacement
		}
	}
	content, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "broken", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "alerts.yml")
	write(t, path, string(content))
	return path
}

// way is how cases are told to Prometheus.
type way struct {
	cases      []alertCase
	scrape     scrape
	evaluation time.Duration
}

// caught returns the case that fails with broken rules, and not with good ones. The likeliest
// come first: those in which the first of the alerts fires, then another of them, then
// none.
func caught(t *testing.T, promtool, broken, good string, alerts []string) string {
	t.Helper()
	fails := func(rules string, w way, c alertCase) bool {
		c.only = strings.Join(alerts, "|")
		file := writeCases(t, rules, w.scrape, w.evaluation, []alertCase{c})
		return exec.CommandContext(t.Context(), promtool, "test", "rules", file).Run() != nil
	}
	rank := func(c alertCase) int {
		return slices.IndexFunc([]string{alerts[0], strings.Join(alerts, "|"), ""}, func(names string) bool {
			return regexp.MustCompile(`\b(` + names + `)\b`).MatchString(fmt.Sprint(c.firing))
		})
	}
	minute, misses, five := scrape{interval: time.Minute}, scrape{interval: time.Minute, fails: 4}, scrape{interval: 5 * time.Minute, fails: 4}
	short, long := byLength(t)
	ways := []way{{short, minute, time.Minute}, {short, five, time.Minute}, {long, minute, 4 * time.Minute}, {short, misses, time.Minute}}
	for i, ways := range [][]way{ways, ways, ways[:1]} {
		for _, w := range ways {
			for _, c := range w.cases {
				if rank(c) != i || !fails(broken, w, c) {
					continue
				}
				if fails(good, w, c) {
					t.Errorf("%s (%s) fails with the rules as they are", c.name, w.scrape)
				}
				return fmt.Sprintf("%s (%s)", c.name, w.scrape)
			}
		}
	}
	return ""
}

// needless is what no case can tell, and why it is there.
var needless = map[string]string{
	"import:lakefs_import_state:over without clause 1": "it keeps the recording small",
}

// Each clause of a rule, each duration and each label that keeps clusters apart is
// there for a case.
func TestBrokenRules(t *testing.T) {
	if !*matrix {
		t.Skip("only with -matrix (make lint-alerts)")
	}
	promtool := built(t, "../.tools/promtool-*/promtool")[0]
	all := readRuleFile(t)
	for _, rule := range all {
		alerts := all.alertsBy(rule)
		used := all.only(alerts)
		for what, replacement := range rule.broken() {
			t.Run(rule.name()+" "+what, func(t *testing.T) {
				t.Parallel()
				if why := needless[rule.name()+" "+what]; why != "" {
					t.Skip(why)
				}
				broken := used.write(t, replacement)
				runPath(t, promtool, "check", "rules", broken)
				name := caught(t, promtool, broken, used.write(t, rule), alerts)
				if name == "" {
					t.Error("no case fails")
				}
				t.Log(name)
			})
		}
	}
}
