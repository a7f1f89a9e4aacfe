package repo

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestManualListsEveryRefusal compares the table in docs/http.md with sse/problem.go.
func TestManualListsEveryRefusal(t *testing.T) {
	statuses := map[string]int{
		"BadRequest": 400, "Unauthorized": 401, "Forbidden": 403, "NotFound": 404, "MethodNotAllowed": 405, "TooManyRequests": 429,
		"InternalServerError": 500, "ServiceUnavailable": 503,
	}
	var want, got []string
	for _, match := range regexp.MustCompile(`&refusal\{"([^"]+)", "([^"]+)", http\.Status(\w+)`).FindAllStringSubmatch(readFile(t, "sse/problem.go"), -1) {
		want = append(want, fmt.Sprintf("%d %s: %s", statuses[match[3]], match[1], match[2]))
	}
	for _, match := range regexp.MustCompile("(?m)^\\| ([0-9]{3}) \\| `([^`]+)` \\| ([^|]+) \\|").FindAllStringSubmatch(readFile(t, "docs/http.md"), -1) {
		got = append(got, fmt.Sprintf("%s %s: %s", match[1], match[2], match[3]))
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("docs/http.md has\n%s\nthe code\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// quotes stands above a table whose first column quotes what the code says.
const quotes = "<!-- quotes the code -->"

// TestManualQuotesTheCode: what the code says in other words now must not go on in the manual. An
// ellipsis stands for what varies.
func TestManualQuotesTheCode(t *testing.T) {
	code, found := sources(t), 0
	for name, text := range documents(t) {
		for _, part := range strings.Split(text, quotes)[1:] {
			table, _, _ := strings.Cut(strings.TrimLeft(part, "\n"), "\n\n")
			for row := range strings.Lines(table) {
				cell, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), " |")
				for _, span := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
					for _, piece := range strings.Split(span[1], "…") {
						if found++; !strings.Contains(code, strings.TrimSpace(piece)) {
							t.Errorf("%s quotes %q, which the code does not say", name, piece)
						}
					}
				}
			}
		}
	}
	if found == 0 {
		t.Error("no document quotes the code: this test checks nothing")
	}
}

// sources returns the text of the Go and SQL files, tests apart. A string that goes over several
// lines is made one.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "examples") {
			return fs.SkipDir
		}
		if entry.IsDir() || strings.HasSuffix(name, "_test.go") || filepath.Ext(name) != ".go" && filepath.Ext(name) != ".sql" {
			return nil
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`" \+\n\s*"`).ReplaceAllString(all.String(), "")
}
