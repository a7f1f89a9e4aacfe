package pgtemp

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const dirPrefix = "pgbell-pg-"

// tempDir is a directory with a lock on it, held for as long as this process
// lives. A directory that can be locked belongs to nobody any more.
type tempDir struct {
	path string
	lock *os.File
}

// makeTempDir makes a directory in parent for account to work in.
func makeTempDir(parent string, account *account) (*tempDir, error) {
	for {
		path, err := os.MkdirTemp(parent, dirPrefix)
		if err != nil {
			return nil, err
		}
		dir, err := lockDir(path, unix.LOCK_EX)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another Start's sweep was quicker than the lock
		}
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(path))
		}
		// Sockets are in here: open to be passed through, not to be written.
		if err = errors.Join(os.Chmod(path, 0o755), account.own(path)); err != nil {
			return nil, errors.Join(err, dir.remove())
		}
		return dir, nil
	}
}

// lockDir takes the lock of a directory that still is at path afterwards.
func lockDir(path string, how int) (*tempDir, error) {
	lock, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	dir := &tempDir{path: path, lock: lock}
	if err := unix.Flock(int(lock.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), lock.Close())
	}
	locked, err := lock.Stat()
	if err == nil {
		var there fs.FileInfo
		if there, err = os.Lstat(path); err == nil && !os.SameFile(locked, there) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return dir, nil
}

// remove deletes the directory with all that is in it, and lets the lock go.
func (d *tempDir) remove() error {
	removeSharedMemory(filepath.Join(d.path, "data"))
	return errors.Join(os.RemoveAll(d.path), d.lock.Close())
}

// sweep removes the directories in parent whose owners are dead. It leaves
// alone what it may not touch: another user's, most likely.
func sweep(parent string) {
	paths, _ := filepath.Glob(filepath.Join(parent, dirPrefix+"*")) // no error: a fixed pattern
	for _, path := range paths {
		if dir, err := lockDir(path, unix.LOCK_EX|unix.LOCK_NB); err == nil {
			_ = dir.remove() // best effort, as said above
		}
	}
}
