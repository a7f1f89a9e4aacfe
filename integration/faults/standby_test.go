package faults

import (
	"context"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pgbell/pgbell/internal/pgtemp"
	"github.com/pgbell/pgbell/internal/pgtest"
)

// newStandby starts a server that follows that of w, and waits until it does.
func newStandby(w *world) *pgtemp.Server {
	w.t.Helper()
	s := pgtest.OwnServer(w.t, settings)
	standby := &world{t: w.t}
	url := s.URL()
	standby.url.Store(&url)
	data := ask[string](standby, "show data_directory")
	s.StopFast()

	owner, err := os.Stat(data)
	if err == nil {
		err = os.RemoveAll(data)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	copying := exec.Command(filepath.Join(s.BinDir(), "pg_basebackup"), "-D", data, "-R", "-c", "fast", "-d", w.server.URL())
	if out, err := copying.CombinedOutput(); err != nil {
		w.t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	uid, gid := owner.Sys().(*syscall.Stat_t).Uid, owner.Sys().(*syscall.Stat_t).Gid
	err = filepath.WalkDir(data, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(uid), int(gid))
	})
	if err == nil {
		err = s.Restart(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for ask[int](w, "select count(*) from pg_stat_replication where state = 'streaming'") == 0 {
		pause(w.t.Context(), 20*time.Millisecond)
	}
	return s
}

// The primary dies, with work that the standby may not have; pgbell and all others
// go on with the standby.
func TestFaultStandbyPromoted(t *testing.T) {
	long(t)
	t.Parallel()
	w := newWorld(t, config{own: true, settings: settings, mayForget: true})
	standby := newStandby(w)
	w.run(func(ctx context.Context) {
		w.work(ctx, 100)
		w.server.Kill()
		w.failOver(standby)
		w.work(ctx, 100)
	})
	if recovering := ask[bool](w, "select pg_is_in_recovery()"); recovering {
		t.Error("the standby was not promoted")
	}
}

// The standby is promoted while the primary lives on, and is still written to for a
// moment: what it takes then is gone.
func TestFaultStandbyPromotedTooEarly(t *testing.T) {
	long(t)
	t.Parallel()
	w := newWorld(t, config{own: true, settings: settings, mayForget: true})
	standby := newStandby(w)
	w.run(func(ctx context.Context) {
		w.work(ctx, 100)
		old := w.server
		promote(w, standby)
		w.work(ctx, 50)
		old.Kill()
		w.failOver(standby)
		w.work(ctx, 100)
	})
}

// promote makes a primary of s.
func promote(w *world, s *pgtemp.Server) {
	w.t.Helper()
	url := s.URL()
	other := &world{t: w.t}
	other.url.Store(&url)
	other.exec("select pg_promote()")
}

// failOver sends everybody to s, and promotes it if need be.
func (w *world) failOver(s *pgtemp.Server) {
	w.t.Helper()
	url := s.URL()
	w.url.Store(&url)
	w.server = s
	if ask[bool](w, "select pg_is_in_recovery()") {
		promote(w, s)
	}
	w.proxy.switchTo(net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port())))
}
