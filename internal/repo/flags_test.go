package repo

import (
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var flagName = regexp.MustCompile(`--[a-z][a-z0-9-]*`)

// TestDocumentsNameFlagsOfPgbell: a flag behind a command of pgbell must be that command's, one that stands
// alone must be some command's.
func TestDocumentsNameFlagsOfPgbell(t *testing.T) {
	pgbell, found := build(t), 0
	flags := map[string]map[string]bool{"": {}}
	for _, command := range commandsOf(t, pgbell) {
		flags[command] = map[string]bool{}
		for _, name := range flagName.FindAllString(helpOf(t, pgbell, command), -1) {
			flags[command][name], flags[""][name] = true, true
		}
	}
	call := regexp.MustCompile(`(?:^|[ (/])pgbell ([a-z]+)([^|;&)]*)`)
	for name, text := range documents(t) {
		for line := range strings.Lines(strings.ReplaceAll(code(text), "\\\n", " ")) {
			command, arguments := "", ""
			if match := call.FindStringSubmatch(line); match != nil {
				command, arguments = match[1], match[2]
			} else if strings.HasPrefix(line, "--") {
				arguments, _, _ = strings.Cut(line, " -- ")
			}
			for _, flag := range flagName.FindAllString(arguments, -1) {
				if found++; !flags[command][flag] {
					t.Errorf("%s: %s: no flag %s in pgbell %s --help", name, strings.TrimSpace(line), flag, command)
				}
			}
		}
	}
	if found == 0 {
		t.Error("no document names a flag: this test checks nothing")
	}
}

func helpOf(t *testing.T, pgbell string, command ...string) string {
	t.Helper()
	out, err := exec.Command(pgbell, append(command, "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("pgbell %v --help: %v\n%s", command, err, out)
	}
	return string(out)
}

// commandsOf returns the names of the commands, as the help lists them, and the hidden ones.
func commandsOf(t *testing.T, pgbell string) []string {
	t.Helper()
	_, list, _ := strings.Cut(helpOf(t, pgbell), "COMMANDS:")
	list, _, _ = strings.Cut(list, "GLOBAL OPTIONS:")
	names := map[string]bool{"healthcheck": true}
	for _, match := range regexp.MustCompile(`(?m)^   ([a-z]+)`).FindAllStringSubmatch(list, -1) {
		if match[1] != "help" {
			names[match[1]] = true
		}
	}
	if !names["serve"] {
		t.Fatalf("the help lists no commands:\n%s", list)
	}
	return slices.Sorted(maps.Keys(names))
}
