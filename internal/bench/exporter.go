package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// startExporter starts the exporter, which watches n imports of a lakeFS.
func startExporter(binary, lakeFS string, n, maxRequests int) (*process, error) {
	dir, err := os.MkdirTemp(filepath.Dir(binary), "exporter")
	if err != nil {
		return nil, err
	}
	files := map[string]string{
		"access_key_id":     accessKeyID + "\n",
		"secret_access_key": secretAccessKey + "\n",
		"config.yml": fmt.Sprintf(`servers:
- name: prod
  endpoint_url: %s
  basic_auth: {username_file: access_key_id, password_file: secret_access_key}
  max_concurrent_requests: %d
import_files: [imports-*.yml]
`, lakeFS, maxRequests),
	}
	const each = 5000 // in a file, which may be 1 MiB long
	for i := range n {
		name := fmt.Sprintf("imports-%d.yml", i/each)
		files[name] += fmt.Sprintf("- {repository: %s, branch: main, id: %s, labels: {team: ingest}}\n", repository(i), importID(i))
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	return runExporter(binary, dir)
}
