package config

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"

	"lakefs_import_exporter/collector"
)

// fixture is a config file with servers prod and staging, the import files
// imports/*.yml and *.json, and what is logged about them.
type fixture struct {
	*testing.T
	dir    string
	loader *Loader
	source collector.Source
	logged bytes.Buffer
}

const fixtureConfig = `
servers:
  - {name: prod, endpoint_url: http://prod}
  - {name: staging, endpoint_url: http://staging}
import_files: [imports/*.yml, imports/*.json]
`

// newFixture writes files into imports, as write does.
func newFixture(t *testing.T, files ...string) *fixture {
	f := &fixture{T: t, dir: t.TempDir()}
	f.loader = newLoader(filepath.Join(f.dir, "config.yml"))
	f.loader.logger = log.NewLogfmtLogger(&f.logged)
	f.write(files...)
	f.reload(fixtureConfig)
	return f
}

func (f *fixture) reload(config string) {
	f.Helper()
	write(f.T, f.dir, "config.yml", config)
	f.source = mustLoad(f.T, f.loader).Files
}

// write writes files into imports, and makes them older than the last tick of
// any file system's clock, each time by another minute.
func (f *fixture) write(files ...string) {
	f.Helper()
	for i := 0; i < len(files); i += 2 {
		path := f.path(files[i])
		age := time.Hour
		if info, err := os.Stat(path); err == nil {
			age = time.Since(info.ModTime()) - time.Minute
		}
		write(f.T, f.dir, filepath.Join("imports", files[i]), files[i+1])
		f.age(path, age)
	}
}

func (f *fixture) age(path string, age time.Duration) {
	f.Helper()
	mtime := time.Now().Add(-age)
	f.must(os.Chtimes(path, mtime, mtime))
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, "imports", name) }

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// want checks what is loaded now: the IDs of imports and the names of files
// that do not load, and the lines that are logged.
func (f *fixture) want(ids, failed string, logged ...string) collector.FileSet {
	f.Helper()
	set := f.source.Load()
	var gotIDs, gotFailed []string
	for _, imp := range set.Imports {
		gotIDs = append(gotIDs, imp.ID)
		if err := imp.Validate(); err != nil {
			f.Errorf("%s: %v", imp.ID, err)
		}
	}
	for path, bad := range set.Failed {
		if bad {
			gotFailed = append(gotFailed, filepath.Base(path))
		}
	}
	slices.Sort(gotFailed)
	if got := strings.Join(gotIDs, " "); got != ids {
		f.Errorf("got imports %q, want %q", got, ids)
	}
	if got := strings.Join(gotFailed, " "); got != failed {
		f.Errorf("got failed %q, want %q", got, failed)
	}
	f.wantLogged(logged...)
	return set
}

// wantLogged checks the lines logged since it last did.
func (f *fixture) wantLogged(lines ...string) {
	f.Helper()
	got := strings.ReplaceAll(f.logged.String(), f.dir+string(filepath.Separator), "")
	if want := strings.Join(append(lines, ""), "\n"); got != want {
		f.Errorf("logged:\n%swant:\n%s", got, want)
	}
	f.logged.Reset()
}

// imports returns a file of imports of prod.
func imports(ids ...string) string {
	var b strings.Builder
	b.WriteString("[]")
	for i, id := range ids {
		if i == 0 {
			b.Reset()
		}
		fmt.Fprintf(&b, "- {repository: my-repo, branch: main, id: %s, server: prod}\n", id)
	}
	return b.String()
}

func failedLine(file string, n int, err string) string {
	if strings.ContainsAny(err, ` "=`) {
		err = fmt.Sprintf("%q", err)
	}
	return fmt.Sprintf(`level=error msg="import file does not load, what was last good of it stays" file=imports/%s imports=%d err=%s`, file, n, err)
}

func loadsLine(file string, n int) string {
	return fmt.Sprintf(`level=info msg="import file loads again" file=imports/%s imports=%d`, file, n)
}

func TestFilesComeAndGo(t *testing.T) {
	f := newFixture(t)
	first := f.want("", "")
	f.write("b.yml", imports("b1", "b2"))
	second := f.want("b1 b2", "")
	f.write("a.json", `[{"repository":"my-repo","branch":"main","id":"a1","server":"prod"}]`, "ignored.txt", "x", "sub/c.yml", "x")
	third := f.want("a1 b1 b2", "")
	f.must(os.Remove(f.path("b.yml")))
	fourth := f.want("a1", "")
	f.must(os.RemoveAll(f.path("")))
	fifth := f.want("", "")
	if len(fifth.Failed) != 0 {
		t.Errorf("got %v", fifth.Failed)
	}
	versions := []uint64{first.Version, second.Version, third.Version, fourth.Version, fifth.Version}
	if !slices.IsSorted(versions) || len(slices.Compact(versions)) != 5 || versions[0] == 0 {
		t.Errorf("versions %d do not grow", versions)
	}
	if want := map[string]bool{f.path("a.json"): false, f.path("b.yml"): false}; !reflect.DeepEqual(third.Failed, want) {
		t.Errorf("got %v, want %v", third.Failed, want)
	}
}

func TestNothingHasChanged(t *testing.T) {
	f := newFixture(t, "a.yml", imports("a1"), "b.yml", "x", "empty.yml", "")
	before := f.want("a1", "b.yml", failedLine("b.yml", 0, "line 1: must be a list, not a single value"))
	after := f.want("a1", "b.yml")
	if !reflect.DeepEqual(before, after) || &before.Imports[0] != &after.Imports[0] {
		t.Errorf("got %+v, before %+v", after, before)
	}
	// Content that was changed behind the back of size and time is not seen,
	// which shows that nothing is read.
	info, err := os.Stat(f.path("a.yml"))
	f.must(err)
	f.must(os.WriteFile(f.path("a.yml"), []byte(imports("a2")), 0o600))
	f.must(os.Chtimes(f.path("a.yml"), info.ModTime(), info.ModTime()))
	f.want("a1", "b.yml")
	// A file that is touched is read, but is as it was.
	f.write("a.yml", imports("a1"))
	if touched := f.want("a1", "b.yml"); touched.Version != before.Version {
		t.Errorf("got version %d for %d", touched.Version, before.Version)
	}
}

// A change within the same tick of the file system's clock shows in neither
// size nor time.
func TestChangeRightAfterAnother(t *testing.T) {
	f := newFixture(t)
	for _, age := range []time.Duration{0, time.Second, -time.Second} {
		mtime := time.Now().Add(-age)
		for _, id := range []string{"a1", "a2"} {
			write(t, f.dir, "imports/a.yml", imports(id))
			f.must(os.Chtimes(f.path("a.yml"), mtime, mtime))
			f.want(id, "")
		}
	}
	// A clock that is ahead does not make every load read the file.
	mtime := time.Now().Add(time.Hour)
	for _, id := range []string{"a1", "a2"} {
		write(t, f.dir, "imports/a.yml", imports(id))
		f.must(os.Chtimes(f.path("a.yml"), mtime, mtime))
		f.want("a1", "")
	}
}

func TestBrokenFileKeepsItsLastGoodContent(t *testing.T) {
	const notAList = "line 1: must be a list, not a single value"
	f := newFixture(t, "a.yml", imports("a1", "a2"), "b.yml", imports("b1"))
	good := f.want("a1 a2 b1", "")
	f.write("a.yml", "x")
	broken := f.want("a1 a2 b1", "a.yml", failedLine("a.yml", 2, notAList))
	if broken.Version != good.Version {
		t.Errorf("version goes from %d to %d", good.Version, broken.Version)
	}
	if good.Failed[f.path("a.yml")] {
		t.Error("an earlier result has changed")
	}
	f.want("a1 a2 b1", "a.yml")
	f.write("a.yml", "y") // Logged once for each distinct error.
	f.want("a1 a2 b1", "a.yml")
	f.write("a.yml", imports("a3", "A/4"))
	f.want("a1 a2 b1", "a.yml", failedLine("a.yml", 2, `entry 2: id "A/4": must match ^[A-Za-z0-9_-]{1,128}$`))
	f.write("a.yml", imports("a3"))
	if again := f.want("a3 b1", "", loadsLine("a.yml", 1)); again.Version == good.Version {
		t.Error("the version stays")
	}
	f.write("a.yml", "x")
	f.want("a3 b1", "a.yml", failedLine("a.yml", 1, notAList))
	f.must(os.Remove(f.path("a.yml"))) // Gone is not broken.
	f.want("b1", "")
	f.write("a.yml", "x")
	f.want("b1", "a.yml", failedLine("a.yml", 0, notAList))
}

func TestFilesThatCannotBeRead(t *testing.T) {
	f := newFixture(t, "a.yml", imports("a1"), "b.yml", imports("b1"), "c.yml", imports("c1"), "d.yml", imports("d1"))
	f.want("a1 b1 c1 d1", "")
	for _, name := range []string{"a.yml", "b.yml", "c.yml", "d.yml"} {
		f.must(os.Remove(f.path(name)))
	}
	f.must(os.Mkdir(f.path("a.yml"), 0o755))
	f.must(os.Symlink("nowhere", f.path("b.yml")))
	f.must(syscall.Mkfifo(f.path("c.yml"), 0o600)) // To open it would be to wait.
	f.must(os.Symlink("d.yml", f.path("d.yml")))
	f.want("a1 b1 c1 d1", "a.yml b.yml c.yml d.yml",
		failedLine("a.yml", 1, "not a regular file"),
		failedLine("b.yml", 1, "no such file or directory"),
		failedLine("c.yml", 1, "not a regular file"),
		failedLine("d.yml", 1, "too many levels of symbolic links"))
	f.want("a1 b1 c1 d1", "a.yml b.yml c.yml d.yml")
	// The same content as before is good again.
	f.write("nowhere", imports("b1"))
	f.want("a1 b1 c1 d1", "a.yml c.yml d.yml", loadsLine("b.yml", 1))
	f.must(os.Truncate(f.path("nowhere"), maxFileBytes+1))
	f.want("a1 b1 c1 d1", "a.yml b.yml c.yml d.yml", failedLine("b.yml", 1, "is over 16 MiB"))
	f.want("a1 b1 c1 d1", "a.yml b.yml c.yml d.yml")
}

// filepath.Glob finds nothing in a directory that cannot be listed. To have no
// pattern is as near as that comes for root.
func TestUnlistableDirectory(t *testing.T) {
	f := newFixture(t, "a.yml", imports("a1"), "b.yml", imports("b1"))
	before := f.want("a1 b1", "")
	src := f.source.(*source)
	src.patterns = nil
	if after := f.want("a1 b1", ""); !reflect.DeepEqual(before, after) {
		t.Errorf("got %+v, before %+v", after, before)
	}
	f.write("a.yml", imports("a2"))
	f.want("a2 b1", "")
	f.must(os.Remove(f.path("b.yml")))
	f.want("a2", "")
}

func TestUnreadableFile(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	f := newFixture(t, "a.yml", imports("a1"))
	f.want("a1", "")
	f.write("a.yml", imports("a2"))
	f.must(os.Chmod(f.path("a.yml"), 0))
	f.want("a1", "a.yml", failedLine("a.yml", 1, "permission denied"))
	f.must(os.Chmod(f.path("a.yml"), 0o600)) // Changes neither size nor time.
	f.want("a2", "", loadsLine("a.yml", 1))
	f.must(os.Chmod(f.path(""), 0o100))
	f.want("a2", "")
	f.must(os.Chmod(f.path(""), 0))
	f.want("a2", "a.yml", failedLine("a.yml", 1, "permission denied"))
	f.must(os.Chmod(f.path(""), 0o700))
	f.want("a2", "", loadsLine("a.yml", 1))
}

// Kubernetes updates a ConfigMap by swapping one symlink to a directory.
func TestSymlinkSwap(t *testing.T) {
	f := newFixture(t, "..v1/a.yml", imports("a1"), "..v2/a.yml", imports("a2"))
	mtime := time.Now().Add(-time.Hour)
	for _, name := range []string{"..v1/a.yml", "..v2/a.yml"} {
		f.must(os.Chtimes(f.path(name), mtime, mtime))
	}
	f.must(os.Symlink("..v1", f.path("..data")))
	f.must(os.Symlink("..data/a.yml", f.path("a.yml")))
	f.want("a1", "")
	f.must(os.Symlink("..v2", f.path("..data_tmp")))
	f.must(os.Rename(f.path("..data_tmp"), f.path("..data")))
	f.want("a2", "")
}

func TestAtomicReplacement(t *testing.T) {
	f := newFixture(t, "a.yml", imports("a1"), "a.yml.new", imports("a2"))
	mtime := time.Now().Add(-time.Hour)
	for _, name := range []string{"a.yml", "a.yml.new"} {
		f.must(os.Chtimes(f.path(name), mtime, mtime))
	}
	f.want("a1", "")
	f.must(os.Rename(f.path("a.yml.new"), f.path("a.yml")))
	f.want("a2", "")
}

func TestImportInTwoFiles(t *testing.T) {
	warning := func(file, imp, other string) string {
		return fmt.Sprintf(`level=warn msg="import file repeats an import of another, which holds" file=imports/%s `+
			`import="my-repo/main/%s on server \"prod\" is in imports/%s already"`, file, imp, other)
	}
	f := newFixture(t, "a.yml", imports("x", "a"), "b.yml", imports("b", "x", "a"), "c.yml", imports("x"))
	f.want("x a b", "", warning("b.yml", "x", "a.yml"), warning("c.yml", "x", "a.yml"))
	f.want("x a b", "")
	f.write("b.yml", imports("x", "b2", "a")) // The same import is not warned of again.
	f.want("x a b2", "")
	f.must(os.Remove(f.path("a.yml")))
	f.want("x b2 a", "", warning("c.yml", "x", "b.yml"))
	f.write("b.yml", imports("b2"))
	f.want("b2 x", "")
	f.write("b.yml", imports("x"))
	f.want("x", "", warning("c.yml", "x", "b.yml"))

	if err := f.loader.Check(); err != nil {
		t.Errorf("Check: %v", err)
	}
	f.wantLogged(`level=warn msg="no import file matches" pattern=imports/*.json`, warning("c.yml", "x", "b.yml"))
}

func TestCheckOfFiles(t *testing.T) {
	f := newFixture(t, "a.yml", imports("a1"), "b.yml", imports("b1"), "c.json", "[]")
	f.want("a1 b1", "")
	f.write("a.yml", "x", "b.yml", imports("b1", "b1"))
	err := f.loader.Check()
	want := "import file " + f.path("a.yml") + ": line 1: must be a list, not a single value\n" +
		"import file " + f.path("b.yml") + `: entry 2: my-repo/main/b1 on server "prod": is in entry 1 already`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	// It has neither logged what it returns, nor changed what the source knows.
	f.want("a1 b1", "a.yml b.yml",
		failedLine("a.yml", 1, "line 1: must be a list, not a single value"),
		failedLine("b.yml", 1, `entry 2: my-repo/main/b1 on server "prod": is in entry 1 already`))
}

func TestReload(t *testing.T) {
	const prodOnly = "servers: [{name: prod, endpoint_url: http://prod}]\nimport_files: [imports/*.yml]\n"
	mixed := func(prod, staging string) string {
		return imports(prod) + strings.ReplaceAll(imports(staging), "prod", "staging")
	}
	f := newFixture(t, "a.yml", imports("a1"), "broken.yml", mixed("m1", "m2"), "mixed.yml", mixed("n1", "n2"))
	f.want("a1 m1 m2 n1 n2", "")
	f.write("broken.yml", "x")
	before := f.want("a1 m1 m2 n1 n2", "broken.yml", failedLine("broken.yml", 2, "line 1: must be a list, not a single value"))
	old := f.source

	// The last good content survives the reload, but for the server that is gone.
	f.reload(prodOnly)
	after := f.want("a1 m1 n1", "broken.yml mixed.yml",
		failedLine("mixed.yml", 1, `entry 2: server "staging": the config has none of that name`))
	if after.Version <= before.Version {
		t.Errorf("version goes from %d to %d", before.Version, after.Version)
	}
	f.want("a1 m1 n1", "broken.yml mixed.yml")

	// Until it is replaced, the source of the config before has its own servers.
	if set := old.Load(); len(set.Imports) != 5 {
		t.Errorf("the old source has %+v", set.Imports)
	}
	f.logged.Reset()
	f.source.Load()
	f.logged.Reset()

	f.reload(fixtureConfig)
	f.want("a1 m1 m2 n1 n2", "broken.yml", loadsLine("mixed.yml", 2))

	// Without the pattern, nothing of the files is left.
	f.reload("servers: [{name: prod, endpoint_url: http://prod}]\n")
	f.want("", "")
	f.reload(fixtureConfig)
	f.want("a1 n1 n2", "broken.yml", failedLine("broken.yml", 0, "line 1: must be a list, not a single value"))
}

// An import without a server follows the only server there is.
func TestReloadOfTheOnlyServer(t *testing.T) {
	const config = "servers: [{name: %s, endpoint_url: http://lakefs}]\nimport_files: [imports/a.yml]\n"
	f := newFixture(t, "a.yml", "- {repository: my-repo, branch: main, id: a1}\n")
	for _, server := range []string{"prod", "staging"} {
		f.reload(fmt.Sprintf(config, server))
		if set := f.want("a1", ""); set.Imports[0].Server != server {
			t.Errorf("got %+v", set.Imports)
		}
	}
	f.reload(fixtureConfig)
	f.want("", "a.yml", failedLine("a.yml", 0, "entry 1: server is missing: the config has more than one"))
}

func TestPatterns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[a*b?]\\")
	write(t, dir, "imports/a.yml", imports("a1"), "imports/b.yml", imports("b1"), "c.json", "[]", "../d.yaml", imports("d1"))
	write(t, dir, "config.yml", "servers: [{name: prod, endpoint_url: http://prod}]\n"+
		"import_files: ['imports/[a-b].yml', imports/a.yml, ./c.json, ../d.yaml, imports/nothing.yml, "+filepath.Dir(dir)+"/*.yaml]\n")
	set := mustLoad(t, newLoader(filepath.Join(dir, "config.yml"))).Files.Load()
	want := map[string]bool{
		filepath.Join(dir, "imports/a.yml"): false, filepath.Join(dir, "imports/b.yml"): false,
		filepath.Join(dir, "c.json"): false, filepath.Join(dir, "../d.yaml"): false,
	}
	if !reflect.DeepEqual(set.Failed, want) || len(set.Imports) != 3 {
		t.Errorf("got %+v", set)
	}
	// Beside a config that is named without a directory, so are the files.
	t.Chdir(dir)
	set = mustLoad(t, newLoader("config.yml")).Files.Load()
	if _, ok := set.Failed[filepath.FromSlash("imports/a.yml")]; !ok {
		t.Errorf("got files %v", set.Failed)
	}
}

// Reloads happen while a scrape looks at the files, and while they change.
func TestConcurrentUse(t *testing.T) {
	f := newFixture(t, "a.yml", imports("a1"))
	f.loader.logger = log.NewSyncLogger(log.NewLogfmtLogger(io.Discard))
	var wg sync.WaitGroup
	for worker := range 3 {
		wg.Go(func() {
			for i := range 50 {
				switch worker {
				case 0:
					cfg, err := f.loader.Load()
					if err != nil {
						t.Error(err)
						return
					}
					cfg.Files.Load()
				case 1:
					for _, imp := range f.source.Load().Imports {
						if err := imp.Validate(); err != nil {
							t.Error(err)
						}
					}
					if err := f.loader.Check(); err != nil {
						t.Error(err)
					}
				case 2:
					path := f.path("a.yml")
					if err := os.WriteFile(path+".new", []byte(imports(fmt.Sprintf("a%d", i))), 0o600); err != nil {
						t.Error(err)
					}
					if err := os.Rename(path+".new", path); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	f.logged.Reset()
	f.want("a49", "")
}

// 10,000 imports in 100 files, as large as it gets by default.
func newLargeFixture(b *testing.B) *source {
	dir := b.TempDir()
	old := time.Now().Add(-time.Hour)
	if err := os.Mkdir(filepath.Join(dir, "imports"), 0o755); err != nil {
		b.Fatal(err)
	}
	for i := range 100 {
		ids := make([]string, 100)
		for j := range ids {
			ids[j] = fmt.Sprintf("id-%d-%d", i, j)
		}
		path := filepath.Join(dir, "imports", fmt.Sprintf("%d.yml", i))
		if err := os.WriteFile(path, []byte(imports(ids...)), 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			b.Fatal(err)
		}
	}
	path := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(path, []byte(fixtureConfig), 0o600); err != nil {
		b.Fatal(err)
	}
	cfg, err := newLoader(path).Load()
	if err != nil {
		b.Fatal(err)
	}
	return cfg.Files.(*source)
}

func BenchmarkLoadUnchanged(b *testing.B) {
	src := newLargeFixture(b)
	first := src.Load()
	if len(first.Imports) != 10000 {
		b.Fatalf("%d imports", len(first.Imports))
	}
	b.ReportAllocs()
	for b.Loop() {
		if set := src.Load(); set.Version != first.Version || &set.Imports[0] != &first.Imports[0] {
			b.Fatal("has changed")
		}
	}
}

func BenchmarkLoadAll(b *testing.B) {
	src := newLargeFixture(b)
	b.ReportAllocs()
	for b.Loop() {
		clear(src.loader.files)
		src.Load()
	}
}
