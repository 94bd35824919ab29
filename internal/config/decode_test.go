package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func TestDecodeErrors(t *testing.T) {
	keys := new(strings.Builder)
	for i := range maxKeys + 1 {
		fmt.Fprintf(keys, "k%d: x\n", i)
	}
	for name, tt := range map[string]struct{ data, want string }{
		"too many keys":         {keys.String(), "line 1: over 1000 keys in one mapping"},
		"too many labels":       {"\n- labels:\n    " + strings.ReplaceAll(keys.String(), "\n", "\n    "), "entry 1: line 3: over 1000 keys in one mapping"},
		"UTF-16 cut short":      {"\xff\xfe[", "line 1: not valid YAML: incomplete UTF-16 character"},
		"key over many lines":   {`- "a\nb": x`, `entry 1: line 1: unknown key "a…"`},
		"long key":              {"- " + strings.Repeat("k", 41) + ": x", `entry 1: line 1: unknown key "` + strings.Repeat("k", 40) + `…"`},
		"null key":              {"- {null: x}", "entry 1: line 1: a key must be text"},
		"alias as key":          {"- {id: &a x, *a : y}", "entry 1: line 1: a key must be text"},
		"alias to null":         {"- {id: &a null, branch: b}\n- *a", "line 2: entry 2 of the list is empty"},
		"merge of a list":       {"- {<<: [{id: x}]}", "entry 1: line 1: << must be a mapping"},
		"merge of an alias":     {"- {id: &a x, <<: *a}", "entry 1: line 1: << must be a mapping"},
		"tag in a label":        {"- {labels: {team: !!binary aHVudGVyMg==}}", "entry 1: line 1: YAML tags are not supported (a value that begins with ! needs quotes)"},
		"tag of a list":         {"!!seq []", "line 1: YAML tags are not supported (a value that begins with ! needs quotes)"},
		"tag in a second entry": {"- id: x\n- id: !hunter2 x\n  foo: x\n", `entry 1: repository "": must match ^[a-z0-9][a-z0-9-]{2,62}$`},
		"third document":        {"[]\n---\n[]\n---\n[]", "line 2: another YAML document begins, where one is all there can be"},
	} {
		t.Run(name, func(t *testing.T) {
			var entries []entry
			err := decode([]byte(tt.data), &entries)
			if err == nil {
				_, err = resolve(entries, []string{"prod"})
			}
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestDecodeTakesTheEmpty(t *testing.T) {
	for _, data := range []string{"", "\n", "# nothing\n", "~", "null", "---\n", "---\n...\n", "[]", "\ufeff[]"} {
		var entries []entry
		if err := decode([]byte(data), &entries); err != nil || len(entries) != 0 {
			t.Errorf("%q: got %v, error %v", data, entries, err)
		}
	}
}

// The cost of an alias bomb must not be what it would blow up to.
func TestAliasBombs(t *testing.T) {
	for name, format := range map[string]string{
		"values": "- expected_objects: {a0: &a0 x, %s}",
		"merges": "- labels: {a: b}\n  expected_objects: {a0: &a0 {a: b}, %s}",
	} {
		t.Run(name, func(t *testing.T) {
			levels := make([]string, 20)
			for i := range levels {
				levels[i] = fmt.Sprintf("a%d: &a%d [%s]", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 20))
			}
			var entries []entry
			start := time.Now()
			if err := decode(fmt.Appendf(nil, format, strings.Join(levels, ", ")), &entries); err != nil {
				t.Fatal(err)
			}
			const want = "entry 1: not valid YAML: document contains excessive aliasing"
			if _, err := resolve(entries, []string{"prod"}); err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("took %s", d)
			}
		})
	}
}

type panics struct{}

func (*panics) UnmarshalYAML(n *yaml.Node) error {
	n.Content = n.Content[:len(n.Content)+1<<20]
	return nil
}

func TestDecodeSurvivesPanics(t *testing.T) {
	if err := decode([]byte("a: b"), &panics{}); err == nil || err.Error() != "not valid YAML" {
		t.Errorf("got %v", err)
	}
}

// What yaml.v3 might say in a later version must not be passed on unseen.
func TestUnknownTypeError(t *testing.T) {
	err := explain(&yaml.TypeError{Errors: []string{"line 1: hunter2", "line 2: hunter2"}}, nil)
	if want := "something is of the wrong type (and 1 more like it)"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	other := errors.New("other")
	if err := explain(other, nil); !errors.Is(err, other) {
		t.Errorf("got %v", err)
	}
}

func TestDeepNesting(t *testing.T) {
	for _, data := range []string{strings.Repeat("[", 20000), strings.Repeat("- ", 20000), strings.Repeat("{a: ", 9000) + strings.Repeat("}", 9000)} {
		var entries []entry
		if err := decode([]byte(data), &entries); err == nil {
			if _, err = resolve(entries, []string{"prod"}); err == nil {
				t.Errorf("%.9q...: loads", data)
			}
		}
	}
}

func TestFileTooLarge(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(path, bytes.Repeat([]byte("#\n"), maxFileBytes/2), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, info, err := readFile(path); len(data) != maxFileBytes || info == nil || err != nil {
		t.Errorf("16 MiB: got %d bytes, %v, error %v", len(data), info, err)
	}
	if err := os.Truncate(path, maxFileBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := newLoader(path).Load(); err == nil || err.Error() != path+": is over 16 MiB" {
		t.Errorf("got %v", err)
	}
	// What tells no size beforehand is bounded too.
	if _, _, err := readFile("/dev/zero"); err == nil || err.Error() != "is over 16 MiB" {
		t.Errorf("got %v", err)
	}
}
