package pgtemp

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestVersionInPath(t *testing.T) {
	dirs := []string{
		"/usr/local/bin", "/usr/lib/postgresql/9.6/bin", "/usr/lib64/postgresql-14/bin",
		"/usr/libexec/postgresql16", "/opt/homebrew/opt/postgresql@17/bin",
	}
	if !slices.IsSortedFunc(dirs, func(a, b string) int { return int(10 * (versionIn(a) - versionIn(b))) }) {
		t.Errorf("not in order: %v", dirs)
	}
}

func TestBinEnvComesFirst(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(BinEnv, dir)
	if _, err := chooseBinDir(""); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("%s without binaries: got error %v, want one that names it", BinEnv, err)
	}
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if dirs := FindBinDirs(); len(dirs) == 0 || dirs[0] != dir {
		t.Errorf("got %v, want %s first", dirs, dir)
	}
	if got, err := chooseBinDir(""); err != nil || got != dir {
		t.Errorf("got %q, %v; want %q", got, err, dir)
	}
}
