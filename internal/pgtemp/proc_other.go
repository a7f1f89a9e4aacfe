//go:build unix && !linux

package pgtemp

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
)

// procAttr puts a child process in a group of its own, out of reach of a
// terminal's Ctrl-C.
func procAttr(cred *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: cred, Setpgid: true}
}

// children returns the child processes of pid.
func children(pid int) []int {
	out, err := exec.Command("ps", "-A", "-o", "pid=", "-o", "ppid=").Output()
	if err != nil {
		return nil
	}
	var found []int
	for line := range strings.Lines(string(out)) {
		var child, parent int
		if _, err := fmt.Sscan(line, &child, &parent); err == nil && parent == pid {
			found = append(found, child)
		}
	}
	return found
}

// removeSharedMemory does nothing here: a killed server's few bytes of System V
// shared memory stay until the machine restarts.
func removeSharedMemory(string) {}
