package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pgbell/pgbell/internal/npm"
)

// dist is where the page is that npm run build makes, which checks its types and those
// of pgbell.js as well.
func dist(t *testing.T) string {
	t.Helper()
	npm.Need(t)
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "examples", "react", "dist")
}

// build copies what the page is made of, and builds it there. What it made is kept until
// a source changes.
var build = sync.OnceValues(func() (string, error) {
	sources, sum := map[string][]byte{}, sha256.New()
	for _, root := range []string{"js", "examples/react"} {
		err := filepath.WalkDir(filepath.Join("../../..", root), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && strings.Contains("node_modules dist server test", d.Name()):
				return fs.SkipDir
			case d.IsDir() || strings.HasSuffix(path, ".go"):
				return nil
			}
			text, err := os.ReadFile(path)
			name := strings.TrimPrefix(path, "../../../")
			sources[name] = text
			fmt.Fprintf(sum, "%s %x\n", name, sha256.Sum256(text))
			return err
		})
		if err != nil {
			return "", err
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, fmt.Sprintf("pgbell-react-%x", sum.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	work := fmt.Sprintf("%s.%d", dir, os.Getpid())
	defer os.RemoveAll(work)
	for name, text := range sources {
		path := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return "", err
		}
	}
	for _, args := range [][]string{{"ci", "--no-audit", "--no-fund"}, {"run", "build"}} {
		install := exec.Command("npm", args...)
		install.Dir = filepath.Join(work, "examples", "react")
		if out, err := install.CombinedOutput(); err != nil {
			return "", fmt.Errorf("npm %q: %w\n%s", args, err, out)
		}
	}
	if err := os.RemoveAll(filepath.Join(work, "examples", "react", "node_modules")); err != nil {
		return "", err
	}
	return dir, os.Rename(work, dir)
})
