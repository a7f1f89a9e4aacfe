package copies

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pgbell/pgbell/internal/pgtest"
)

// pg_upgrade keeps the tables' numbers: all works at once, and who comes back gets a reset.
func TestUpgradedClusterWorksAtOnce(t *testing.T) {
	was, is := pgtest.OwnServer(t, nil), pgtest.OwnServer(t, nil)
	upgrade := filepath.Join(was.BinDir(), "pg_upgrade")
	if _, err := os.Stat(upgrade); err != nil {
		t.Skip("this PostgreSQL comes without pg_upgrade")
	}
	if err := original.Make(t.Context(), was.URL()); err != nil {
		t.Fatal(err)
	}
	before, after := open(t, was.URL()), open(t, is.URL())
	cursor := before.ask(`select pgbell.cursor()`)
	old, data := before.ask(`show data_directory`), after.ask(`show data_directory`)
	was.StopFast()
	is.StopFast()

	owner, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "pgbell-upgrade") // sockets' paths must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	cmd := exec.CommandContext(t.Context(), upgrade, "-b", was.BinDir(), "-B", was.BinDir(), "-d", old, "-D", data, "-U", "postgres", "-p", "50432", "-P", "50433")
	cmd.Dir = dir
	if stat := owner.Sys().(*syscall.Stat_t); int(stat.Uid) != os.Getuid() {
		if err := os.Chown(dir, int(stat.Uid), int(stat.Gid)); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pg_upgrade: %v\n%s", err, out)
	}
	if err := is.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := open(t, is.URL())
	d.allOK("big", "notes", "parts", "posts")
	d.serve()
	d.works("posts", "notes", "big", "parts")
	if p := d.replay(cursor); p == "" {
		t.Error("a cursor of before is taken for one of this cluster")
	}
	d.allOK("big", "notes", "parts", "posts")
}
