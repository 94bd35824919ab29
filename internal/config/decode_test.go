package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestDecodeErrors(t *testing.T) {
	keys := new(strings.Builder)
	for i := range maxKeys + 1 {
		fmt.Fprintf(keys, "k%d: x\n", i)
	}
	for name, tt := range map[string]struct{ data, want string }{
		"too many labels":   {"\n- labels:\n    " + strings.ReplaceAll(keys.String(), "\n", "\n    "), "line 3: more than 1000 keys in one mapping"},
		"control character": {"[]\n# \a", "not valid YAML: control characters are not allowed"},
		"not UTF-8":         {"[]\n# \xff", "not valid YAML: invalid leading UTF-8 octet"},
		"long key":          {"- " + strings.Repeat("k", 41) + ": x", "line 1: unknown or duplicate key"},
		"deep":              {strings.Repeat("- ", 20000), "not valid YAML: exceeded max depth of 10000"},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := decodeImports([]byte(tt.data), []string{"prod"})
			checkError(t, errors.Join(errs...), tt.want)
		})
	}
}
