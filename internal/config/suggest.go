package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	common "github.com/prometheus/common/config"

	"lakefs_import_exporter/internal/discovery"
)

// maxListedKeys bounds the list of what a key must be one of.
const maxListedKeys = 20

// knownKeys are the keys of the mappings in the config, by the mapping's type as yaml.v3
// names it. Types of prometheus/common are all called plain while they are decoded.
var knownKeys = map[string][]string{
	"config.file":              keysOf[file](),
	"config.server":            slices.Concat(keysOf[server](), keysOf[common.HTTPClientConfig]()),
	"config.discoveryConfig":   keysOf[discoveryConfig](),
	"config.discoveryRule":     keysOf[discoveryRule](),
	"discovery.PostgresConfig": keysOf[discovery.PostgresConfig](),
	"discovery.DynamoDBConfig": keysOf[discovery.DynamoDBConfig](),
	"config.entry":             keysOf[entry](),
	"config.settings":          keysOf[settings](),
	"config.repository":        keysOf[repository](),
	"config.Authorization":     keysOf[common.Authorization](),
	"config.Header":            keysOf[common.Header](),
	"config.plain":             slices.Concat(keysOf[common.BasicAuth](), keysOf[common.OAuth2](), keysOf[common.TLSConfig]()),
}

func keysOf[T any]() (keys []string) {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if key, _, _ := strings.Cut(field.Tag.Get("yaml"), ","); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// hint returns, in parentheses, the first of the known keys that is like key, or all
// of them if they are few.
func hint(key string, known []string) string {
	words := strings.Split(strings.ToLower(key), "_")
	for _, k := range known {
		isIn := func(word string) bool { return strings.Contains("_"+k+"_", "_"+word+"_") }
		if strings.HasPrefix(k, strings.ToLower(key)) || slices.ContainsFunc(words, isIn) {
			return fmt.Sprintf(" (did you mean %q?)", k)
		}
	}
	if len(known) == 0 || len(known) > maxListedKeys {
		return ""
	}
	return fmt.Sprintf(" (must be one of %s)", strings.Join(known, ", "))
}
