package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/go-kit/log/level"

	"lakefs_import_exporter/collector"
)

// settleTime is the coarsest tick by which a file system tells modification
// times apart.
const settleTime = 2 * time.Second

// importFile is an import file as it was last looked at.
type importFile struct {
	info    fs.FileInfo // nil where the file could not be read
	settled bool        // info would differ after any further change
	sum     [sha256.Size]byte

	// entries are what stands there now, unless err says why that is not known.
	entries []entry
	err     error

	// good are the last entries that were all right, imports what is left of
	// them for the servers of now, and failure is why good is not entries.
	good    []entry
	imports []collector.Import
	failure error
	overlap string // says which of imports another file holds

	reportedFailure, reportedOverlap string // what was logged last
}

// refresh brings f up to date with the file at path and reports whether
// anything is different from before. It reads only a file that has changed.
func (f *importFile) refresh(path string) bool {
	info, err := os.Stat(path) // Follows symlinks, such as those of a ConfigMap.
	if err == nil && f.settled && sameFile(f.info, info) {
		return false
	}
	var data []byte
	switch {
	case err != nil:
		err = reason(err)
	case !info.Mode().IsRegular():
		err = errors.New("not a regular file") // To open a FIFO would be to wait for a writer.
	default:
		data, info, err = readFile(path)
	}
	if err != nil {
		known := f.info == nil && f.err != nil && f.err.Error() == err.Error()
		// Without info it is read again next time: that a file has become
		// readable shows in no modification time.
		f.info, f.settled, f.entries, f.err = nil, false, nil, err
		return !known
	}
	sum := sha256.Sum256(data)
	known := f.info != nil && f.sum == sum
	age := time.Since(info.ModTime())
	f.info, f.sum, f.settled = info, sum, age > settleTime || age < -settleTime
	if known {
		return false
	}
	f.entries = nil
	f.err = decode(data, &f.entries)
	return true
}

// sameFile reports whether a file that was a and is b now has not been touched
// or replaced in between.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// resolve holds the content of f against servers. If that is not all right, the
// last good content stays, but for imports of servers that are no more.
func (f *importFile) resolve(servers []string) {
	f.failure = f.err
	if f.err == nil {
		imports, err := resolve(f.entries, servers)
		if err == nil {
			f.good, f.imports, f.failure = f.entries, imports, nil
			return
		}
		f.failure = err
	}
	f.imports, _ = resolve(f.good, servers)
}

// source is the collector.Source over the import files of one config. What is
// known of the files belongs to its Loader, so that the next config's source
// goes on with it.
type source struct {
	loader   *Loader
	patterns []string
	servers  []string // by name
	set      collector.FileSet
}

// Load implements collector.Source.
func (s *source) Load() collector.FileSet {
	s.loader.mu.Lock()
	defer s.loader.mu.Unlock()
	if s.look() {
		s.loader.report()
	}
	return s.set
}

// look brings the Loader's files and s.set up to date, and reports whether
// anything is different from before.
func (s *source) look() bool {
	l := s.loader
	found := s.find()
	// What another config's source has left was held against other servers.
	changed := l.owner != s
	newOwner := changed
	l.owner = s
	paths := found[:0]
	for _, path := range found {
		f := l.files[path]
		if f == nil {
			f = &importFile{}
			l.files[path] = f
		}
		refreshed := f.refresh(path)
		if errors.Is(f.err, fs.ErrNotExist) && !exists(path) {
			continue
		}
		paths = append(paths, path)
		if refreshed || newOwner {
			f.resolve(s.servers)
			changed = true
		}
	}
	maps.DeleteFunc(l.files, func(path string, _ *importFile) bool {
		_, there := slices.BinarySearch(paths, path)
		changed = changed || !there
		return !there
	})
	if changed {
		s.merge(paths)
	}
	return changed
}

// find returns the paths of the files to look at, sorted. Known ones are among
// them even if no pattern finds them: filepath.Glob passes in silence over a
// directory that cannot be listed, which takes no file away.
func (s *source) find() []string {
	var paths []string
	for _, pattern := range s.patterns {
		found, _ := filepath.Glob(pattern) // Its only error is a bad pattern, which Loader.pattern refuses.
		paths = append(paths, found...)
	}
	if s.loader.owner == s {
		paths = slices.AppendSeq(paths, maps.Keys(s.loader.files))
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// exists reports whether anything stands at path: a symlink to nowhere does, and
// so may what cannot be asked for.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// merge makes s.set of the files at paths. Where two of them hold the same
// import, the first holds it.
func (s *source) merge(paths []string) {
	l := s.loader
	set := collector.FileSet{Version: s.set.Version, Failed: make(map[string]bool, len(paths))}
	holders := make(map[collector.Key]string)
	for _, path := range paths {
		f := l.files[path]
		set.Failed[path] = f.failure != nil
		f.overlap = ""
		for _, imp := range f.imports {
			holder, held := holders[imp.Key]
			if !held {
				holders[imp.Key] = path
				set.Imports = append(set.Imports, imp)
			} else if f.overlap == "" {
				f.overlap = fmt.Sprintf("%s on server %q is in %s already", imp.Ref, imp.Server, holder)
			}
		}
	}
	if set.Version == 0 || !reflect.DeepEqual(set.Imports, s.set.Imports) {
		l.version++
		set.Version = l.version
	}
	s.set = set
}

// report logs what has changed since it last did, so that nothing is logged at
// every scrape.
func (l *Loader) report() {
	for _, path := range slices.Sorted(maps.Keys(l.files)) {
		f := l.files[path]
		failure := ""
		if f.failure != nil {
			failure = f.failure.Error()
		}
		switch {
		case failure == f.reportedFailure:
		case failure != "":
			level.Error(l.logger).Log("msg", "import file does not load, what was last good of it stays", "file", path, "imports", len(f.imports), "err", failure)
		default:
			level.Info(l.logger).Log("msg", "import file loads again", "file", path, "imports", len(f.imports))
		}
		f.reportedFailure = failure
		if f.overlap != f.reportedOverlap {
			f.reportedOverlap = f.overlap
			l.warnOfOverlap(path, f)
		}
	}
}

func (l *Loader) warnOfOverlap(path string, f *importFile) {
	if f.overlap != "" {
		level.Warn(l.logger).Log("msg", "import file repeats an import of another, which holds", "file", path, "import", f.overlap)
	}
}

// check reports every file that does not load, and logs what is probably
// not meant.
func (s *source) check() error {
	l := s.loader
	l.mu.Lock()
	defer l.mu.Unlock()
	s.look()
	for _, pattern := range s.patterns {
		if found, _ := filepath.Glob(pattern); found == nil {
			level.Warn(l.logger).Log("msg", "no import file matches", "pattern", pattern)
		}
	}
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(l.files)) {
		f := l.files[path]
		l.warnOfOverlap(path, f)
		if f.failure != nil {
			errs = append(errs, fmt.Errorf("import file %s: %w", path, f.failure))
		}
	}
	return errors.Join(errs...)
}
