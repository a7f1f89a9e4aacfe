package repo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestSQLFitsAScreen: a DBA reads it, in an editor or in psql. The manual has the
// function of a table of five columns as it is made.
func TestSQLFitsAScreen(t *testing.T) {
	files, err := filepath.Glob(root + "/migrations/*/*.sql")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if filepath.Base(filepath.Dir(file)) == "former" {
			continue // it goes over what others wrote
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		narrow(t, file, string(text))
	}
	_, shown, _ := strings.Cut(readFile(t, "docs/sql.md"), "```plpgsql\n")
	shown, _, found := strings.Cut(shown, "```")
	if !found {
		t.Fatal("docs/sql.md shows no trigger function")
	}
	narrow(t, "docs/sql.md", shown)
	if lines := strings.Count(shown, "\n"); lines > 60 || len(shown) > 5000 {
		t.Errorf("the trigger function has %d lines, %d bytes", lines, len(shown))
	}
}

func narrow(t *testing.T, name, text string) {
	t.Helper()
	for number, line := range strings.Split(text, "\n") {
		if n := utf8.RuneCountInString(line); n > 120 {
			t.Errorf("%s:%d has %d characters", name, number+1, n)
		}
	}
}
