package pgtemp

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// portFile is in a directory that is kept, and in no other: it holds the server's port.
const portFile = "port"

// keptDir opens the directory named by Config.Keep, and returns the port of the server whose files it
// has, 0 if it is new or empty. Another one is refused: what is in it is somebody's.
func keptDir(path string, account *account) (*tempDir, int, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, 0, err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, 0, err
	}
	if err := account.reaches(filepath.Dir(path)); err != nil {
		return nil, 0, fmt.Errorf("%w: choose a directory such as /var/tmp/pgbell-demo", err)
	}
	dir, err := lockDir(path, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, 0, fmt.Errorf("%s is in use: another one runs with it", path)
	}
	if err != nil {
		return nil, 0, err
	}
	port, err := dir.port(account)
	if err == nil {
		err = account.own(path)
	}
	if err != nil {
		return nil, 0, errors.Join(err, dir.lock.Close())
	}
	return dir, port, nil
}

// port returns what the port file says, 0 for an empty directory.
func (d *tempDir) port(account *account) (int, error) {
	info, err := d.lock.Stat()
	if err != nil {
		return 0, err
	}
	uid := os.Geteuid()
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != uid && (account == nil || int(stat.Uid) != account.uid) {
		return 0, fmt.Errorf("%s is another user's: choose another directory", d.path)
	}
	text, err := os.ReadFile(filepath.Join(d.path, portFile))
	if errors.Is(err, fs.ErrNotExist) {
		files, err := os.ReadDir(d.path)
		if err == nil && len(files) > 0 {
			err = fmt.Errorf("%s is not empty, and nothing in it was kept by an earlier run: choose another directory", d.path)
		}
		return 0, err
	}
	if err != nil {
		return 0, err
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || port <= 0 {
		return 0, fmt.Errorf("%s says no port: %q", filepath.Join(d.path, portFile), text)
	}
	return port, nil
}

// Kept says whether the files are those of an earlier run, or have been kept by Keep.
func (s *Server) Kept() bool { return s.kept }

// Keep has Stop leave the files in Config.Keep, for the next Start. Until then a new server's are removed,
// so that nothing half made is found later.
func (s *Server) Keep() error {
	err := os.WriteFile(filepath.Join(s.dir.path, portFile), []byte(strconv.Itoa(s.port)+"\n"), 0o644)
	s.kept = err == nil
	return err
}
