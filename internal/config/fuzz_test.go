package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lakefs_import_exporter/collector"
)

// addFiles adds the content of files to the corpus, and the sections of bad.
func addFiles(f *testing.F, bad string, patterns ...string) {
	for _, section := range badFiles(f, bad) {
		f.Add([]byte(section.content))
	}
	for _, pattern := range patterns {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			data, err := os.ReadFile(path)
			must(f, err)
			f.Add(data)
		}
	}
}

// checkImports fails where imports are not what a Collector may be given.
func checkImports(t *testing.T, imports []*collector.Import, servers []string) {
	seen := make(map[collector.Key]bool)
	for _, imp := range imports {
		if err := imp.Validate(); err != nil || !slices.Contains(servers, imp.Server) || seen[imp.Key] {
			t.Errorf("got import %+v, which is valid: %v", imp, err)
		}
		seen[imp.Key] = true
	}
}

func FuzzConfig(f *testing.F) {
	addFiles(f, "testdata/bad_configs.txtar", "testdata/good/*.yml", "../../config.example.yml")
	path := filepath.Join(f.TempDir(), "config.yml")
	for _, name := range []string{envEndpoint, envKeyID, envSecret} {
		f.Setenv(name, "http://lakefs")
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		must(t, os.WriteFile(path, data, 0o600))
		cfg, err := newLoader(path).Load()
		if err != nil {
			return
		}
		var names []string
		for _, s := range cfg.Servers {
			if s.Client == nil || s.Timeout <= 0 || s.MaxConcurrentRequests < 1 || slices.Contains(names, s.Name) {
				t.Errorf("got server %+v", s)
			}
			names = append(names, s.Name)
		}
		if len(names) == 0 {
			t.Error("no servers")
		}
		checkImports(t, cfg.Imports, names)
	})
}

// FuzzImportFile decodes the same bytes as the body of a PUT too.
func FuzzImportFile(f *testing.F) {
	addFiles(f, "testdata/bad_import_files.txtar", "testdata/good/imports/*")
	addFiles(f, "testdata/bad_settings.txtar")
	f.Fuzz(func(t *testing.T, data []byte) {
		servers := []string{"prod", "staging"}
		for n := range servers {
			imports, errs := decodeImports(data, servers[:n+1])
			if errs != nil && imports != nil {
				t.Errorf("%d imports with errors %v", len(imports), errs)
			}
			checkImports(t, imports, servers[:n+1])
		}
		want := newImport("prod", "abc")
		if imp, err := DecodeSettings(data, want.Key, want.Branch); err == nil {
			checkImports(t, []*collector.Import{&imp}, servers)
			if imp.Key != want.Key || imp.Branch != want.Branch {
				t.Errorf("got %+v", imp)
			}
		}
	})
}
