package repo

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pgbell/pgbell/"

// mayImport lists, for the packages that users build upon and what is inside them,
// all packages of this module that they may depend on, directly or not.
var mayImport = map[string][]string{
	"bus":           nil,
	"journal":       {"bus", "journal/scope"},
	"journal/scope": nil,
	"listener":      {"bus", "journal", "journal/scope"},
	"sse":           {"bus", "journal", "journal/scope", "sse/internal/wire"},
	"sse/jwtauth":   {"bus", "journal", "journal/scope", "sse", "sse/internal/wire", "internal/loopback", "internal/reload"},
	"sse/pgauth":    {"bus", "journal", "journal/scope", "sse", "sse/internal/wire"},
	"sse/pglive":    {"bus", "journal", "journal/scope", "sse", "sse/internal/wire", "triggers", "triggers/deps"},
	"triggers":      {"journal/scope", "triggers/deps"},
	"triggers/deps": nil,
	"migrations":    nil,
	"js":            nil,

	"sse/internal/wire": nil,
}

// list returns the lines of go list with these arguments.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	readTree(t)
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.String())
	}
	return strings.Fields(string(out))
}

func TestImportsGoOneWay(t *testing.T) {
	for name, allowed := range mayImport {
		for _, dep := range list(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./"+name) {
			other, ours := strings.CutPrefix(dep, module)
			if ours && other != name && !slices.Contains(allowed, other) {
				t.Errorf("%s depends on %s; it may on %v", name, other, allowed)
			}
			if !ours && (name == "bus" || name == "sse/internal/wire") {
				t.Errorf("%s depends on %s; it may on the standard library alone", name, dep)
			}
			if !ours && name == "sse" && strings.HasPrefix(dep, "github.com/lestrrat-go/") {
				t.Errorf("sse depends on %s; tokens are for sse/jwtauth, which not everyone needs", dep)
			}
		}
	}
}

// TestTestHelpersStayInTests: what starts servers is for the commands and for tests.
func TestTestHelpersStayInTests(t *testing.T) {
	for _, line := range list(t, "-e", "-f", `{{.ImportPath}}:{{join .Imports ","}}`, "./...") {
		from, imports, _ := strings.Cut(strings.TrimPrefix(line, module), ":")
		for _, imported := range strings.Split(imports, ",") {
			switch imported {
			case module + "internal/pgtemp":
				if !strings.HasPrefix(from, "cmd/") && from != "internal/pgtest" && from != "integration/bench" {
					t.Errorf("%s imports internal/pgtemp outside its tests", from)
				}
			case module + "internal/pgtest":
				t.Errorf("%s imports internal/pgtest outside its tests", from)
			}
		}
	}
}

// TestEveryPackageHasARule: a new package that users can import needs a line above.
func TestEveryPackageHasARule(t *testing.T) {
	for _, path := range list(t, "-e", "./...") {
		name := strings.TrimPrefix(path, module)
		top, _, _ := strings.Cut(name, "/")
		if slices.Contains([]string{"cmd", "integration", "internal", "examples"}, top) {
			continue
		}
		if _, ok := mayImport[name]; !ok {
			t.Errorf("%s has no rule", name)
		}
	}
}
