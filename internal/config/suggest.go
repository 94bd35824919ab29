package config

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// knownKeys returns the keys that there are, by the type of the mapping as yaml.v3
// names it.
var knownKeys = sync.OnceValue(func() map[string][]string {
	keys := make(map[string][]string)
	addKeys(keys, "", reflect.TypeFor[file]())
	addKeys(keys, "", reflect.TypeFor[settings]())
	return keys
})

// addKeys adds the keys of typ, which is inline in a type called outer unless that
// is empty, and of all types within it.
func addKeys(keys map[string][]string, outer string, typ reflect.Type) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct {
		return
	}
	name := typ.String()
	if _, ok := reflect.PointerTo(typ).MethodByName("UnmarshalYAML"); ok {
		name = "config.plain" // as prometheus/common calls a type within its UnmarshalYAML
	}
	if outer != "" {
		name = outer
	}
	for field := range typ.Fields() {
		tag, ok := field.Tag.Lookup("yaml")
		key, _, _ := strings.Cut(tag, ",")
		switch {
		case field.Name == "value": // of a written
			addKeys(keys, "", field.Type)
		case !ok: // is not in the YAML
		case key == "":
			addKeys(keys, name, field.Type)
		default:
			keys[name] = append(keys[name], key)
			addKeys(keys, "", field.Type)
		}
	}
}

// hint returns, in parentheses, the first of the known keys that is like key, or all
// of them if they are few.
func hint(key string, known []string) string {
	for _, k := range known {
		word := strings.Contains("_"+k+"_", "_"+key+"_") || strings.Contains("_"+key+"_", "_"+k+"_")
		if word || strings.HasPrefix(k, key) || distance(key, k) <= min(2, len(key)/3) {
			return fmt.Sprintf(" (did you mean %q?)", k)
		}
	}
	if len(known) == 0 || len(known) > 10 {
		return ""
	}
	return fmt.Sprintf(" (must be one of %s)", strings.Join(known, ", "))
}

// distance is the number of bytes to insert, remove or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // of the table of Wagner and Fischer
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := min(diagonal, row[j], row[j+1]) + 1
			if a[i] == b[j] {
				next = diagonal
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
