package config

import (
	"cmp"
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

// hint returns, in parentheses, the known key that is most like key, or all of them
// if none is like it and they are few.
func hint(key string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	key = strings.ToLower(key)
	best := slices.MaxFunc(known, func(a, b string) int { return cmp.Compare(likeness(key, a), likeness(key, b)) })
	same := likeness(key, best)
	if same == min(len(key), len(best)) || 4*same >= len(key)+len(best) {
		return fmt.Sprintf(" (did you mean %q?)", best)
	}
	if len(known) > maxListedKeys {
		return ""
	}
	return fmt.Sprintf(" (must be one of %s)", strings.Join(known, ", "))
}

// likeness is how many bytes are the same at the beginnings and ends of a and b.
func likeness(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	a, b = a[n:], b[n:]
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
		n++
	}
	return n
}
