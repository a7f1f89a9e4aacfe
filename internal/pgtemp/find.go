package pgtemp

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// BinEnv names the environment variable that points to the directory with
// the binaries to use. When it is set, no others are considered by Start.
const BinEnv = "PGBELL_PG_BIN"

// ErrNotInstalled is returned by Start where no PostgreSQL server is installed.
// Its text says what to install.
var ErrNotInstalled = errors.New("no PostgreSQL server is installed: install one " +
	"(Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; " +
	"macOS: brew install postgresql@17), or set " + BinEnv + " to the directory with postgres and initdb")

// binDirGlobs are the places where packages put server binaries off the PATH.
var binDirGlobs = []string{
	"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
	"/usr/lib/postgresql[0-9]*/bin",                      // SUSE
	"/usr/pgsql-*/bin",                                   // PGDG on Red Hat
	"/usr/lib64/postgresql-*/bin",                        // Gentoo
	"/usr/libexec/postgresql[0-9]*",                      // Alpine
	"/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew
	"/usr/local/opt/postgresql@*/bin",                    // Homebrew on Intel
	"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
	"/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin", // from source, BSD, Fedora
}

// FindBinDirs returns the directories of this machine that hold a PostgreSQL
// server and initdb: that of PGBELL_PG_BIN, then that of the PATH, then the
// usual places, newest first. It returns nil if there are none.
func FindBinDirs() []string {
	var found []string
	add := func(dir string) {
		if checkBinDir(dir) != nil {
			return
		}
		if real, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")); err == nil && checkBinDir(filepath.Dir(real)) == nil {
			dir = filepath.Dir(real)
		}
		if !slices.Contains(found, dir) {
			found = append(found, dir)
		}
	}

	if dir := os.Getenv(BinEnv); dir != "" {
		add(dir)
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		add(filepath.Dir(path))
	}
	var usual []string
	for _, glob := range binDirGlobs {
		dirs, _ := filepath.Glob(glob) // the only error is a bad pattern
		usual = append(usual, dirs...)
	}
	slices.SortStableFunc(usual, func(a, b string) int { return cmp.Compare(versionIn(b), versionIn(a)) })
	for _, dir := range usual {
		add(dir)
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		add(strings.TrimSpace(string(out)))
	}
	return found
}

// chooseBinDir returns the directory to run binaries from.
func chooseBinDir(want string) (string, error) {
	if want == "" {
		want = os.Getenv(BinEnv)
	}
	if want != "" {
		if err := checkBinDir(want); err != nil {
			return "", fmt.Errorf("PostgreSQL binaries: %w", err)
		}
		return filepath.Abs(want)
	}
	if dirs := FindBinDirs(); len(dirs) > 0 {
		return dirs[0], nil
	}
	return "", ErrNotInstalled
}

// checkBinDir reports why dir can't be used to run a server.
func checkBinDir(dir string) error {
	for _, name := range []string{"postgres", "initdb"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if info.IsDir() || info.Mode()&0o111 == 0 {
			return fmt.Errorf("%s is not executable", filepath.Join(dir, name))
		}
	}
	return nil
}

var versionPattern = regexp.MustCompile(`\d+(\.\d+)?`)

// versionIn returns the last number in a path such as /usr/lib64/postgresql-15/bin,
// 0 if it has none.
func versionIn(dir string) float64 {
	numbers := versionPattern.FindAllString(dir, -1)
	if len(numbers) == 0 {
		return 0
	}
	version, _ := strconv.ParseFloat(numbers[len(numbers)-1], 64) // no error: see the pattern
	return version
}
