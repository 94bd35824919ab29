package config

import (
	"os"
	"path/filepath"
	"testing"

	"lakefs_import_exporter/collector"
)

// addFiles adds the content of the files that patterns match to the corpus.
func addFiles(f *testing.F, patterns ...string) {
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatalf("no files %s: %v", pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
}

// checkImports fails where imports are not what a Collector may be given.
func checkImports(t *testing.T, imports []collector.Import, servers map[string]bool) {
	seen := make(map[collector.Key]bool)
	for _, imp := range imports {
		if err := imp.Validate(); err != nil {
			t.Error(err)
		}
		if !servers[imp.Server] {
			t.Errorf("server %q is not configured", imp.Server)
		}
		if seen[imp.Key] {
			t.Errorf("%+v is there twice", imp.Key)
		}
		seen[imp.Key] = true
	}
}

func FuzzConfig(f *testing.F) {
	addFiles(f, "testdata/good/*.yml", "testdata/bad/*.yml", "testdata/*.yml", examplePath)
	path := filepath.Join(f.TempDir(), "config.yml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		l := newLoader(path)
		l.getenv = func(string) string { return "http://lakefs" }
		cfg, err := l.Load()
		if err != nil {
			return
		}
		if len(cfg.Servers) == 0 {
			t.Error("no servers")
		}
		names := make(map[string]bool)
		for _, s := range cfg.Servers {
			if s.Client == nil || s.Timeout <= 0 || s.MaxConcurrentRequests < 1 || validateName(s.Name) != nil || names[s.Name] {
				t.Errorf("got server %+v", s)
			}
			names[s.Name] = true
		}
		checkImports(t, cfg.Imports, names)
	})
}

func FuzzImportFile(f *testing.F) {
	addFiles(f, "testdata/good/imports/*", "testdata/bad_imports/*")
	f.Fuzz(func(t *testing.T, data []byte) {
		var entries []entry
		if decode(data, &entries) != nil {
			return
		}
		for _, servers := range [][]string{{"prod"}, {"prod", "staging"}} {
			imports, err := resolve(entries, servers)
			if err == nil && len(imports) != len(entries) {
				t.Errorf("%d imports of %d entries", len(imports), len(entries))
			}
			checkImports(t, imports, map[string]bool{"prod": true, servers[len(servers)-1]: true})
		}
	})
}
