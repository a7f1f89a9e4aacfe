package main

import (
	"runtime"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	r := runEnv(t, nil, "version")
	if r.code != 0 || !strings.HasPrefix(r.stdout, "pgbell ") || !strings.Contains(r.stdout, runtime.Version()) || strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("version: %+v", r)
	}
	if flag := runEnv(t, nil, "--version"); flag != r {
		t.Errorf("--version: %+v, version: %+v", flag, r)
	}
	r = runEnv(t, nil, "version", "--json")
	got := decode[struct{ Version, Commit, Go string }](t, r.stdout)
	if got.Version == "" || got.Commit == "" || got.Go != runtime.Version() {
		t.Errorf("version --json: %+v", got)
	}
}
