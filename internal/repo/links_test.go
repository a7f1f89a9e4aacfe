package repo

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestDocumentsLinkToWhatThereIs: files, and where there is an anchor, headings.
func TestDocumentsLinkToWhatThereIs(t *testing.T) {
	all, found := documents(t), 0
	for name, text := range all {
		for _, match := range link.FindAllStringSubmatch(withoutFences(text), -1) {
			file, anchor, anchored := strings.Cut(match[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s: %v", name, match[1], err)
				continue
			}
			if !anchored {
				continue
			}
			found++
			if there, ok := all[target]; !ok || !headings(there)[anchor] {
				t.Errorf("%s links to %s: there is no such heading", name, match[1])
			}
		}
	}
	if found == 0 {
		t.Error("no document links to a heading: this test checks nothing")
	}
}

// withoutFences returns what is not in fenced blocks.
func withoutFences(text string) string {
	var prose strings.Builder
	for i, part := range strings.Split("\n"+text, "\n```") {
		if i%2 == 0 {
			prose.WriteString(part)
		}
	}
	return prose.String()
}

// headings returns the anchors of a document as GitHub makes them.
func headings(text string) map[string]bool {
	anchors := make(map[string]bool)
	for _, match := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(withoutFences(text), -1) {
		title := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(match[1], "$1")
		base := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, title)
		anchor := base
		for i := 1; anchors[anchor]; i++ {
			anchor = fmt.Sprintf("%s-%d", base, i)
		}
		anchors[anchor] = true
	}
	return anchors
}

func TestManualIsIndexed(t *testing.T) {
	all, found := documents(t), 0
	for name := range all {
		page, ok := strings.CutPrefix(name, "docs/")
		if !ok || page == "README.md" {
			continue
		}
		if found++; !strings.Contains(all["docs/README.md"], "("+page+")") {
			t.Errorf("docs/README.md does not link to %s", page)
		}
	}
	if found == 0 {
		t.Error("no pages: this test checks nothing")
	}
}
