package pgtemp

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// procAttr puts a child process in a group of its own, out of reach of a
// terminal's Ctrl-C, and has it shut down at once when this process dies.
func procAttr(cred *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: cred, Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}

// children returns the child processes of pid.
func children(pid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // no error: a fixed pattern
	var found []int
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		// "pid (name) state ppid ...", where the name may hold anything: proc(5).
		_, rest, _ := strings.Cut(string(text[max(0, bytes.LastIndexByte(text, ')')):]), " ")
		var state string
		var parent int
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil || parent != pid {
			continue
		}
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			found = append(found, child)
		}
	}
	return found
}

// removeSharedMemory removes the System V segment that a killed server left,
// as its lock file in dataDir tells.
func removeSharedMemory(dataDir string) {
	lines := lockFileLines(dataDir)
	if len(lines) < lockLineShmem {
		return // shut down in order, or never up
	}
	if ids := strings.Fields(lines[lockLineShmem-1]); len(ids) == 2 {
		if id, err := strconv.Atoi(ids[1]); err == nil {
			_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) // gone already: as good
		}
	}
}
