package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// whenReaderIsGone calls f once nobody can read out any more, if it is a pipe. A
// write would tell, too, but only at the next change.
func whenReaderIsGone(out io.Writer, f func()) {
	file, ok := out.(*os.File)
	if !ok {
		return
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return
	}
	go func() {
		// Without events asked for, only an error wakes it: POLLERR, see poll(2).
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(file.Fd())}}, -1)
		for err == unix.EINTR {
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(file.Fd())}}, -1)
		}
		if err == nil {
			f()
		}
	}()
}
