package repo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// documents returns the text of the Markdown files at the root and of the manual, by
// their paths from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			name := filepath.ToSlash(filepath.Join(filepath.Dir(pattern), filepath.Base(path)))
			texts[name] = readFile(t, name)
		}
	}
	if texts["README.md"] == "" || texts["docs/attach.md"] == "" {
		t.Fatal("no README.md, or no manual")
	}
	return texts
}

// TestReadmeIsShort: who has ninety seconds reads it to the end. The rest is for the manual.
func TestReadmeIsShort(t *testing.T) {
	if lines := strings.Count(readFile(t, "README.md"), "\n"); lines > 140 {
		t.Errorf("README.md has %d lines, want at most 140", lines)
	}
}

// code returns what a document sets as code: fenced blocks and spans.
func code(text string) string {
	var fenced, prose strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			inside = !inside
		case inside:
			fenced.WriteString(line)
		default:
			prose.WriteString(line)
		}
	}
	for _, span := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(prose.String(), -1) {
		fenced.WriteString(strings.ReplaceAll(span[1], "\n", " ") + "\n")
	}
	return fenced.String()
}

func TestDocumentsNameTargetsOfMake(t *testing.T) {
	makefile, found := readFile(t, "Makefile"), 0
	for name, text := range documents(t) {
		for _, call := range regexp.MustCompile(`(?m)^make ([a-z][a-z-]*)`).FindAllStringSubmatch(code(text), -1) {
			found++
			if !strings.Contains(makefile, "\n"+call[1]+":") {
				t.Errorf("%s: make %s: the Makefile has no such target", name, call[1])
			}
		}
	}
	if found == 0 {
		t.Error("no document shows a make command: this test checks nothing")
	}
}

func TestDocumentsNameCommandsOfPgbell(t *testing.T) {
	pgbell, found := build(t), 0
	asked := map[string]bool{}
	for name, text := range documents(t) {
		for _, call := range regexp.MustCompile(`(?m)^(?:\./)?(?:bin/)?pgbell ([a-z]+)(?: |$)`).FindAllStringSubmatch(code(text), -1) {
			found++
			if asked[call[1]] {
				continue
			}
			asked[call[1]] = true
			if out, err := exec.Command(pgbell, call[1], "--help").CombinedOutput(); err != nil {
				t.Errorf("%s: pgbell %s: %v\n%s", name, call[1], err, out)
			}
		}
	}
	if found == 0 {
		t.Error("no document shows a pgbell command: this test checks nothing")
	}
}

// build returns the path of a fresh pgbell.
func build(t *testing.T) string {
	t.Helper()
	readTree(t)
	program, err := built()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pgbell")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// built makes the pgbell of all tests: to link it takes long.
var built = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "pgbell-repo-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "pgbell")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/pgbell")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return os.ReadFile(path)
})
