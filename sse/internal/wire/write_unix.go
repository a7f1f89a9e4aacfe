//go:build unix && !linux

package wire

import "syscall"

func write(fd int, b []byte) (int, error) { return syscall.Write(fd, b) }
