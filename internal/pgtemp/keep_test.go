package pgtemp

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		all = append(all, f.Name())
	}
	return all
}

func run(t *testing.T, s *Server, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestKeptFilesAreStartedAgain(t *testing.T) {
	dir := filepath.Join(openTempDir(t), "a", "new one")
	s := start(t, Config{Keep: dir})
	if s.Kept() {
		t.Error("a new directory is said to be of an earlier run")
	}
	if err := s.Keep(); err != nil {
		t.Fatal(err)
	}
	run(t, s, "create table kept (id int)")
	url := s.URL()
	_, err := Start(t.Context(), Config{Keep: dir})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second one in the same directory: %v", err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}

	again := start(t, Config{Keep: dir})
	if !again.Kept() || again.URL() != url {
		t.Errorf("kept %v, %s; want it kept, %s", again.Kept(), again.URL(), url)
	}
	run(t, again, "drop table kept")
	if log, err := os.ReadFile(filepath.Join(dir, "log")); err != nil || strings.Contains(string(log), "not properly shut down") {
		t.Errorf("%v, the log has\n%s", err, log)
	}
}

func TestFilesThatAreNotKeptYetAreRemoved(t *testing.T) {
	dir := filepath.Join(openTempDir(t), "new")
	if err := start(t, Config{Keep: dir}).Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s: %v, want it gone", dir, err)
	}
}

func TestSomebodysDirectoryIsLeftAlone(t *testing.T) {
	dir := openTempDir(t)
	if err := os.WriteFile(filepath.Join(dir, "thesis"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err := Start(t.Context(), Config{Keep: dir}); err == nil {
		s.Stop()
		t.Error("it runs in a directory that holds something else")
	} else if !strings.Contains(err.Error(), "not empty") {
		t.Error(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"data", "thesis"}) {
		t.Errorf("the directory has %q", got)
	}
}
