package config

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/disk"
)

// firstSet returns what the import files of cfg contain now.
func firstSet(t testing.TB, cfg collector.Config) (set collector.FileSet) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg.Files.Watch(ctx, func(s collector.FileSet) {
		set = s
		cancel()
	})
	return set
}

// fixture is a config file with servers prod and staging, a Watch of its import
// files imports/*.yml and *.json, and what is logged about them. It is in a
// bubble of synctest, where time is passed by look alone.
type fixture struct {
	*testing.T
	dir    string
	loader *Loader
	stop   func() // the Watch
	writes int

	hang sync.Map // of chan struct{}: files that cannot be read before it is closed, by path

	mu     sync.Mutex
	logged []string            // each "LEVEL FILE"
	sets   []collector.FileSet // handed over by the newest Watch
}

// Log implements log.Logger.
func (f *fixture) Log(keyvals ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logged = append(f.logged, fmt.Sprintf("%v %v", keyvals[1], filepath.Base(fmt.Sprint(keyvals[5]))))
	return nil
}

func (f *fixture) readFile(path string, maxBytes int64) ([]byte, fs.FileInfo, error) {
	if hang, ok := f.hang.Load(path); ok {
		<-hang.(chan struct{})
	}
	return disk.ReadFile(path, maxBytes)
}

const fixtureConfig = `
servers:
  - {name: prod, endpoint_url: http://prod}
  - {name: staging, endpoint_url: http://staging}
import_files: [imports/*.yml, imports/*.json]
`

// testFiles runs a test with a fixture that has files in imports, given as to write.
func testFiles(t *testing.T, test func(f *fixture), files ...string) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{T: t, dir: dir, loader: newLoader(filepath.Join(dir, "config.yml")), stop: func() {}}
		f.loader.logger = f
		f.loader.readFile = f.readFile
		f.write(files...)
		f.reload(fixtureConfig)
		test(f)
		f.stop()
		synctest.Wait()
	})
}

// reload replaces the config and its Watch.
func (f *fixture) reload(config string) {
	f.Helper()
	write(f.T, f.dir, "config.yml", config)
	files := mustLoad(f.T, f.loader).Files
	f.stop()
	f.mu.Lock()
	f.sets = nil
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(f.Context())
	f.stop = cancel
	go files.Watch(ctx, func(set collector.FileSet) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if ctx.Err() != nil {
			f.Errorf("after the end of its Watch: %+v", set)
		}
		f.sets = append(f.sets, set)
	})
	synctest.Wait()
}

// write writes files into imports, each time with another modification time,
// older than the last tick of any file system's clock.
func (f *fixture) write(files ...string) {
	f.Helper()
	for i := 0; i < len(files); i += 2 {
		write(f.T, f.dir, filepath.Join("imports", files[i]), files[i+1])
		f.writes++
		f.touch(files[i], time.Now().Add(-time.Hour+time.Duration(f.writes)*time.Second))
	}
}

func (f *fixture) touch(name string, mtime time.Time) {
	f.Helper()
	must(f.T, os.Chtimes(f.path(name), mtime, mtime))
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, "imports", name) }

// look waits for the Watch to look once more, and returns the sets that were
// handed over up to then.
func (f *fixture) look() []collector.FileSet {
	<-time.After(lookInterval)
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sets)
}

// want checks what is known after the next look: the IDs of imports and the
// names of files that do not load, and what was logged since the last check.
func (f *fixture) want(ids, failed string, logged ...string) collector.FileSet {
	f.Helper()
	sets := f.look()
	if len(sets) == 0 {
		f.Fatal("no set of files")
	}
	set := sets[len(sets)-1]
	var gotIDs, gotFailed []string
	for _, imp := range set.Imports {
		gotIDs = append(gotIDs, imp.ID)
	}
	for _, path := range slices.Sorted(maps.Keys(set.Errors)) {
		if set.Errors[path] != "" {
			gotFailed = append(gotFailed, filepath.Base(path))
		}
	}
	if strings.Join(gotIDs, " ") != ids || strings.Join(gotFailed, " ") != failed {
		f.Errorf("got imports %q, failed %q, want %q, %q", gotIDs, gotFailed, ids, failed)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.logged, logged) {
		f.Errorf("logged %q, want %q", f.logged, logged)
	}
	f.logged = nil
	return set
}

// imports returns a file of imports of prod.
func imports(ids ...string) string {
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&b, "- {repository: my-repo, branch: main, id: %s, server: prod}\n", id)
	}
	return b.String()
}

func TestBadImportFiles(t *testing.T) {
	for _, bad := range badFiles(t, "testdata/bad_import_files.txtar") {
		t.Run(bad.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			write(t, ".", "config.yml", fixtureConfig, "imports/a.yml", bad.content, "imports/b.json", imports("b1"))
			l := newLoader("config.yml")
			const file = "import file imports/a.yml: "
			_, err := l.Check()
			checkError(t, err, file+strings.ReplaceAll(bad.want, " | ", "\n"+file))
			// One bad file breaks neither the config nor another file.
			if set := firstSet(t, mustLoad(t, l)); len(set.Imports) != 1 || set.Errors["imports/a.yml"] == "" || set.Errors["imports/b.json"] != "" {
				t.Errorf("got %+v", set)
			}
		})
	}
}

func TestFilesComeAndGo(t *testing.T) {
	testFiles(t, func(f *fixture) {
		f.want("", "")
		f.write("b.yml", imports("b1", "x"))
		f.want("b1 x", "")
		f.write("a.json", `[{"repository":"my-repo","branch":"main","id":"x","server":"prod"}]`, "ignored.txt", "x", "sub/c.yml", "x")
		set := f.want("x b1", "") // An import in two files is that of the first.
		if want := map[string]string{f.path("a.json"): "", f.path("b.yml"): ""}; !reflect.DeepEqual(set.Errors, want) {
			f.Errorf("got %v, want %v", set.Errors, want)
		}
		must(f.T, os.Remove(f.path("a.json")))
		f.want("b1 x", "")
		must(f.T, os.RemoveAll(f.path("")))
		if set := f.want("", ""); len(set.Errors) != 0 {
			f.Errorf("got %v", set.Errors)
		}
	})
}

// A change within the same tick of the file system's clock shows in neither size
// nor time. Other files that look the same are not read.
func TestChangeThatDoesNotShow(t *testing.T) {
	testFiles(t, func(f *fixture) {
		for _, age := range []time.Duration{-time.Hour, 0, time.Second, time.Hour} {
			mtime := time.Now().Add(age)
			for _, id := range []string{"a1", "a2"} {
				f.write("a.yml", imports(id))
				f.touch("a.yml", mtime)
				if age.Abs() == time.Hour {
					id = "a1"
				}
				f.want(id, "")
			}
		}
		if before, after := f.look(), f.look(); len(after) != len(before) {
			f.Errorf("nothing has changed, but handed over: %+v", after[len(before):])
		}
	})
}

func TestBrokenFileKeepsItsLastGoodContent(t *testing.T) {
	testFiles(t, func(f *fixture) {
		f.want("a1 a2 b1", "")
		f.write("a.yml", "x")
		f.want("a1 a2 b1", "a.yml", "error a.yml")
		f.write("a.yml", "y") // Logged once for each distinct error.
		f.want("a1 a2 b1", "a.yml")
		f.write("a.yml", imports("a3", "A/4"))
		f.want("a1 a2 b1", "a.yml", "error a.yml")
		f.write("a.yml", imports("a3"))
		f.want("a3 b1", "", "info a.yml")
		f.write("a.yml", "x")
		f.want("a3 b1", "a.yml", "error a.yml")
		must(f.T, os.Remove(f.path("a.yml"))) // Gone is not broken.
		f.want("b1", "")
		f.write("a.yml", "x")
		f.want("b1", "a.yml", "error a.yml")
	}, "a.yml", imports("a1", "a2"), "b.yml", imports("b1"))
}

// None of these makes a look hang.
func TestFilesThatCannotBeRead(t *testing.T) {
	symlink := func(target string) func(string) error {
		return func(path string) error { return os.Symlink(target, path) }
	}
	for name, create := range map[string]func(path string) error{
		"directory":           func(path string) error { return os.Mkdir(path, 0o755) },
		"FIFO":                func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"symlink to a device": symlink("/dev/zero"),
		"symlink to nowhere":  symlink("nowhere"),
		"symlink to itself":   symlink("a.yml"),
		"too large":           func(path string) error { return os.WriteFile(path, make([]byte, 1<<20+1), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			testFiles(t, func(f *fixture) {
				f.want("a1 b1", "")
				must(f.T, os.Remove(f.path("a.yml")))
				must(f.T, create(f.path("a.yml")))
				f.want("a1 b1", "a.yml", "error a.yml")
				f.want("a1 b1", "a.yml")
				must(f.T, os.Remove(f.path("a.yml")))
				f.write("a.yml", imports("a2"))
				f.want("a2 b1", "", "info a.yml")
			}, "a.yml", imports("a1"), "b.yml", imports("b1"))
		})
	}
}

// filepath.Glob finds nothing in a directory that cannot be listed.
func TestUnlistableDirectory(t *testing.T) {
	testFiles(t, func(f *fixture) {
		f.want("a1", "")
		must(f.T, os.Rename(f.path(""), f.path("../moved")))
		must(f.T, os.Symlink("imports", f.path("")))
		f.want("a1", "a.yml", "error a.yml")
		must(f.T, os.Remove(f.path("")))
		must(f.T, os.Rename(f.path("../moved"), f.path("")))
		f.want("a1", "", "info a.yml")
	}, "a.yml", imports("a1"))
}

// Kubernetes updates a ConfigMap by replacing one symlink to a directory.
func TestReplacedFiles(t *testing.T) {
	testFiles(t, func(f *fixture) {
		f.touch("..v1/a.yml", time.Now().Add(-time.Hour))
		f.touch("..v2/a.yml", time.Now().Add(-time.Hour))
		must(f.T, os.Symlink("..v1", f.path("..data")))
		must(f.T, os.Symlink("..data/a.yml", f.path("a.yml")))
		f.want("a1", "")
		must(f.T, os.Symlink("..v2", f.path("..data_tmp")))
		must(f.T, os.Rename(f.path("..data_tmp"), f.path("..data")))
		f.want("a2", "")
	}, "..v1/a.yml", imports("a1"), "..v2/a.yml", imports("a2"))
}

// Check sees what is wrong now, whatever was good before, and a Watch does not
// notice.
func TestCheckOfFiles(t *testing.T) {
	testFiles(t, func(f *fixture) {
		f.want("a1 b1", "")
		f.write("a.yml", "x", "b.yml", imports("b1", "b1"))
		if _, err := f.loader.Check(); err == nil || strings.Count(err.Error(), "import file "+f.path("")) != 2 {
			f.Errorf("got %v, want two files", err)
		}
		f.want("a1 b1", "a.yml b.yml", "warn *.json", "error a.yml", "error b.yml")
	}, "a.yml", imports("a1"), "b.yml", imports("b1"))
}

func TestReload(t *testing.T) {
	const prodOnly = "servers: [{name: prod, endpoint_url: http://prod}]\nimport_files: [imports/*.yml]\n"
	mixed := func(prod, staging string) string {
		return imports(prod) + strings.ReplaceAll(imports(staging), "prod", "staging")
	}
	testFiles(t, func(f *fixture) {
		f.want("a1 m1 m2 n1 n2", "")
		f.write("broken.yml", "x")
		f.want("a1 m1 m2 n1 n2", "broken.yml", "error broken.yml")

		// The last good content survives the reload, except for the server that is gone.
		f.reload(prodOnly)
		f.want("a1 m1 n1", "broken.yml mixed.yml", "error mixed.yml")
		f.reload(fixtureConfig)
		f.want("a1 m1 m2 n1 n2", "broken.yml", "info mixed.yml")

		// Without the pattern, nothing of the files remains.
		f.reload("servers: [{name: prod, endpoint_url: http://prod}]\n")
		f.want("", "")
		f.reload(fixtureConfig)
		f.want("a1 n1 n2", "broken.yml", "error broken.yml")
	}, "a.yml", imports("a1"), "broken.yml", mixed("m1", "m2"), "mixed.yml", mixed("n1", "n2"))
}

// While a file system hangs, configs load, and their other files too.
func TestReloadWhileAFileHangs(t *testing.T) {
	testFiles(t, func(f *fixture) {
		f.want("a1 b1", "")
		hang := make(chan struct{})
		f.hang.Store(f.path("a.yml"), hang)
		f.write("a.yml", "x", "b.yml", imports("b2"))
		f.want("a1 b1", "")

		f.reload(strings.ReplaceAll(fixtureConfig, "*.yml", "b.yml"))
		f.want("b2", "")
		close(hang)
		f.want("b2", "")
		f.reload(fixtureConfig)
		f.want("b2", "a.yml", "error a.yml")
	}, "a.yml", imports("a1"), "b.yml", imports("b1"))
}

func TestPatterns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[a*b?]\\")
	write(t, dir, "imports/a.yml", imports("a1"), "imports/b.yml", imports("b1"), "c.json", "[]", "../d.yaml", imports("d1"))
	write(t, dir, "config.yml", "servers: [{name: prod, endpoint_url: http://prod}]\n"+
		"import_files: ['imports/[a-b].yml', imports/a.yml, ./c.json, ../d.yaml, imports/nothing.yml, "+filepath.Dir(dir)+"/*.yaml]\n")
	set := firstSet(t, mustLoad(t, newLoader(filepath.Join(dir, "config.yml"))))
	want := map[string]string{
		filepath.Join(dir, "imports/a.yml"): "", filepath.Join(dir, "imports/b.yml"): "",
		filepath.Join(dir, "c.json"): "", filepath.Join(dir, "../d.yaml"): "",
	}
	if !reflect.DeepEqual(set.Errors, want) || len(set.Imports) != 3 {
		t.Errorf("got %+v", set)
	}
}

// The name of a file becomes the value of a label.
func TestFileNameNotUTF8(t *testing.T) {
	testFiles(t, func(f *fixture) {
		f.want("a1", "a\ufffd.yml", "error a\xfe.yml")
	}, "a\xfe.yml", "x", "a\xff.yml", imports("a1"))
}

// A file of 1 MiB costs little memory, whatever it contains.
func TestImportFileMemory(t *testing.T) {
	repeat := func(head, s, tail string) string {
		return head + strings.Repeat(s, (1<<20-len(head)-len(tail))/len(s)) + tail
	}
	labels := new(strings.Builder)
	for i := range maxKeys {
		fmt.Fprintf(labels, "k%d: v, ", i)
	}
	for name, content := range map[string]string{
		"numbers":           repeat("[1", ",1", "]"),
		"numbers in blocks": repeat("", "- 1\n", ""),
		"keys":              repeat("{a", ",a", "}"),
		"keys in blocks":    repeat("", "? \n", ""),
		"wrong entries":     repeat("", "- 1234567\n", ""),
		"nested":            repeat("", "[", ""),
		"aliases":           repeat("[&a [1,1,1,1,1,1,1]", ",*a     ", "]"),
		"aliases of labels": repeat("- &a {labels: {"+labels.String()+"}}\n", "- {<<: *a}\n", ""),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, errs := decodeImports([]byte(content), []string{"prod"})
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; errs == nil || n > 128<<20 {
				t.Errorf("allocates %d MiB, %d errors", n>>20, len(errs))
			}
		})
	}
}
