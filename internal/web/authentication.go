package web

import (
	"os"
	"strings"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"
)

// Authenticates reports whether the web config file at path, which is one of
// exporter-toolkit's, has clients authenticate themselves.
func Authenticates(path string) bool {
	data, _ := os.ReadFile(path) // exporter-toolkit says why it cannot be read
	var cfg toolkit.Config
	if err := yaml.Unmarshal(data, &cfg); err != nil {
		return false
	}
	return len(cfg.Users) > 0 || strings.HasPrefix(cfg.TLSConfig.ClientAuth, "Require")
}
