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
		"looks back 1m only": `\[\d+[mhd]\]`, "knows no offset": ` offset \w+`, "knows no cluster": `\bcluster\b(, )?`, "knows no namespace": `, namespace\b`,
	} {
		with := map[string]string{"looks back 1m only": "[1m]"}[what]
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

// alertsBy returns the alerts that a rule can break: itself, or those that use what it
// records.
func (f ruleFile) alertsBy(broken anyRule) []string {
	if broken["alert"] != nil {
		return []string{broken.name()}
	}
	var names []string
	for _, r := range f {
		if r.name() != broken.name() && r.uses(broken.name()) {
			names = append(names, f.alertsBy(r)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
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

// write writes the rules, with one of them replaced.
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

// caught returns the case that fails with broken rules, of those that tell of the
// alerts. The likeliest come first: those in which one of the alerts fires.
func caught(t *testing.T, promtool, rules string, alerts []string) (name string, ok bool) {
	t.Helper()
	pattern := strings.Join(alerts, "|")
	fires := func(c alertCase) bool {
		return regexp.MustCompile(`\b(` + pattern + `)\b`).MatchString(fmt.Sprint(c.firing))
	}
	minute, five := scrape{interval: time.Minute}, scrape{interval: 5 * time.Minute, fails: 4}
	short, long := byLength(t)
	for _, way := range []struct {
		cases      []alertCase
		fires      bool
		scrape     scrape
		evaluation time.Duration
	}{
		{short, true, minute, time.Minute},
		{short, true, five, time.Minute},
		{long, true, minute, 4 * time.Minute},
		{short, false, minute, time.Minute},
	} {
		for _, c := range way.cases {
			if fires(c) != way.fires {
				continue
			}
			c.only = pattern
			file := writeCases(t, rules, way.scrape, way.evaluation, []alertCase{c})
			if exec.CommandContext(t.Context(), promtool, "test", "rules", file).Run() != nil {
				return fmt.Sprintf("%s (%s)", c.name, way.scrape), true
			}
		}
	}
	return "", false
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
		t.Run(rule.name()+" as it is", func(t *testing.T) {
			t.Parallel()
			if name, fails := caught(t, promtool, used.write(t, rule), alerts); fails {
				t.Error("fails: " + name)
			}
		})
		for what, replacement := range rule.broken() {
			t.Run(rule.name()+" "+what, func(t *testing.T) {
				t.Parallel()
				if why := needless[rule.name()+" "+what]; why != "" {
					t.Skip(why)
				}
				rules := used.write(t, replacement)
				runPath(t, promtool, "check", "rules", rules)
				name, ok := caught(t, promtool, rules, alerts)
				if !ok {
					t.Error("no case fails")
				}
				t.Log(name)
			})
		}
	}
}
