package config

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/disk"
)

const maxImportFileBytes = 1 << 20

// lookInterval is the time between looks at import files.
const lookInterval = 2 * time.Second

// settleTime is the coarsest tick by which a file system tells modification
// times apart.
const settleTime = 2 * time.Second

// watcher is the collector.Files of one config. Because files may be on a file
// system that hangs, it holds no lock while it looks at them.
type watcher struct {
	loader   *Loader
	patterns []string
	servers  []string // by name
}

// importFile is what is known of an import file. It is never changed.
type importFile struct {
	// info is that of the file as it was read; nil if it must be read again
	// although it looks the same.
	info fs.FileInfo
	errs []error // why the file does not load
	// imports are the last good content, for the servers of then.
	imports []*collector.Import
}

// importFiles are what is known of all import files at one time, by path. They
// are never changed.
type importFiles map[string]*importFile

// Watch implements collector.Files. The ctx of the Watch of an earlier config
// must be done before this one begins.
func (w *watcher) Watch(ctx context.Context, changed func(collector.FileSet)) {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	w.loader.mu.Lock()
	known := w.loader.known
	w.loader.mu.Unlock()
	for first := true; ; first = false {
		// The config may have other servers than the one before.
		files, differ := w.look(ctx, known, first)
		if first || differ {
			if !w.loader.remember(ctx, files) {
				return
			}
			changed(w.merge(files))
			known = files
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// remember makes files known to later Watches and logs what is new in them. It
// does nothing and reports false once ctx is done: a later Watch may have begun.
func (l *Loader) remember(ctx context.Context, files importFiles) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		switch was, is := l.known.failure(path), files.failure(path); {
		case was == is:
		case is == "":
			level.Info(l.logger).Log("msg", "Import file loads again", "file", path)
		default:
			level.Error(l.logger).Log("msg", "Failed to load import file; keeping its last good content", "file", path, "err", is)
		}
	}
	l.known = files
	return true
}

// failure returns why the file at path does not load, or "".
func (f importFiles) failure(path string) string {
	if file := f[path]; file != nil && file.errs != nil {
		return strings.ReplaceAll(errors.Join(file.errs...).Error(), "\n", "; ")
	}
	return ""
}

// look returns the files that are at the patterns now, and whether any of them
// may be different from what is known. It reads them again if they look different, or
// all of them. It is incomplete when ctx is done.
func (w *watcher) look(ctx context.Context, known importFiles, all bool) (files importFiles, differ bool) {
	files = make(importFiles, len(known))
	visit := func(path string) {
		if files[path] != nil || ctx.Err() != nil {
			return
		}
		if f := w.refresh(path, known[path], all); f != nil {
			files[path] = f
			differ = differ || f != known[path]
		}
	}
	for _, pattern := range w.patterns {
		paths, _ := filepath.Glob(pattern) // Its only error is a bad pattern, which Loader.pattern refuses.
		for _, path := range paths {
			visit(path)
		}
	}
	// Glob silently skips a directory that cannot be listed: that removes no file.
	for path := range known {
		if files[path] == nil && w.matches(path) {
			visit(path)
		}
	}
	return files, differ || len(files) != len(known)
}

func (w *watcher) matches(path string) bool {
	return slices.ContainsFunc(w.patterns, func(pattern string) bool {
		matches, _ := filepath.Match(pattern, path)
		return matches
	})
}

// refresh returns what is at path now: known, which may be nil, if that has not
// changed, and nil if nothing is there any more.
func (w *watcher) refresh(path string, known *importFile, reread bool) *importFile {
	if known == nil {
		known = &importFile{}
	}
	if known.info != nil && !reread {
		info, err := os.Stat(path) // Follows symlinks, such as those of a ConfigMap.
		if err == nil && sameFile(known.info, info) {
			return known
		}
	}
	data, info, err := w.loader.readFile(path, maxImportFileBytes)
	if err != nil {
		if _, gone := os.Lstat(path); errors.Is(gone, fs.ErrNotExist) {
			return nil
		}
		err = disk.Reason(err)
		if known.info == nil && len(known.errs) == 1 && known.errs[0].Error() == err.Error() {
			return known
		}
		return &importFile{errs: []error{err}, imports: known.imports}
	}
	next := &importFile{}
	if time.Since(info.ModTime()).Abs() > settleTime {
		next.info = info
	}
	if next.imports, next.errs = decodeImports(data, w.servers); next.errs != nil {
		next.imports = known.imports
	}
	return next
}

// sameFile reports whether a file that was a and is b now has not been touched
// or replaced in between.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// merge returns the content of files. Of an import in several files, it takes
// that of the first by path.
func (w *watcher) merge(files importFiles) collector.FileSet {
	set := collector.FileSet{Errors: make(map[string]string, len(files))}
	seen := make(map[collector.Key]bool)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		f := files[path]
		name := strings.ToValidUTF8(path, "\ufffd")
		set.Errors[name] = cmp.Or(files.failure(path), set.Errors[name])
		for _, imp := range f.imports {
			// The last good content from before a reload may have other servers.
			if !seen[imp.Key] && slices.Contains(w.servers, imp.Server) {
				seen[imp.Key] = true
				set.Imports = append(set.Imports, imp)
			}
		}
	}
	return set
}

// check reports every file that does not load, and warns of patterns without
// any file. It returns how many files and imports in them there are.
func (w *watcher) check() (n, imports int, err error) {
	for _, pattern := range w.patterns {
		if found, _ := filepath.Glob(pattern); found == nil {
			level.Warn(w.loader.logger).Log("msg", "No import file matches", "pattern", pattern)
		}
	}
	files, _ := w.look(context.Background(), nil, true)
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(files)) {
		errs = append(errs, prefixed("import file "+path, files[path].errs))
	}
	return len(files), len(w.merge(files).Imports), errors.Join(errs...)
}
