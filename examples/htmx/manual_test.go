package main

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

const manual = "../../docs/htmx.md"

// unindented is a text without the space around its lines.
func unindented(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}

// Users copy from the manual, and the tests here try only what is in this directory.
func TestManualShowsWhatIsHere(t *testing.T) {
	var files []string
	if err := fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		files = append(files, unindented(string(data)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```(html|js|go|sql)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Fatal("the manual shows nothing: this test checks nothing")
	}
	for _, block := range blocks {
		found := false
		for _, file := range files {
			found = found || strings.Contains(file, strings.TrimSpace(unindented(block[2])))
		}
		if !found {
			t.Errorf("%s shows what is nowhere here:\n%s", manual, block[2])
		}
	}
}

func TestManualNamesTheVersionsThatAreTested(t *testing.T) {
	readme, err := static.ReadFile("static/README.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	fetched := regexp.MustCompile(`\S+@(\d+\.\d+\.\d+)`).FindAllStringSubmatch(string(readme), -1)
	if len(fetched) != 3 {
		t.Fatalf("static/README.md names %d packages, want 3", len(fetched))
	}
	for _, p := range fetched {
		if !strings.Contains(string(text), p[1]) {
			t.Errorf("%s doesn't name the version of %s", manual, p[0])
		}
	}
}
