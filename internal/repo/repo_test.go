// Package repo tests the repository as a whole: who imports whom, and whether what
// its documents show is so.
package repo

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbell/pgbell/internal/pgtest"
)

const root = "../.."

func TestMain(m *testing.M) { pgtest.Main(m) }

// readTree reads the module's directories. What the go command reads when a test runs it is
// unknown to go test, which would go on showing a cached pass after a change.
func readTree(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
