package sse

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestLifeOfAStreamNamesFunctionsThatExist(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(b)
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	methods := regexp.MustCompile(`\b(Handler|stream|gate|rate)\.(\w+)`).FindAllSubmatch(doc, -1)
	if len(methods) < 15 {
		t.Fatalf("found %q", methods)
	}
	for _, m := range methods {
		if !regexp.MustCompile(`\nfunc \(\w \*` + string(m[1]) + `\) ` + string(m[2]) + `\(`).MatchString(code.String()) {
			t.Errorf("there is no %s", m[0])
		}
	}
}
