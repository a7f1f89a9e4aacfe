package pgtemp

import (
	"context"
	"errors"
	"syscall"
)

// errStopped is returned once Stop has removed the server's files.
var errStopped = errors.New("the server is stopped for good")

// Stop ends the server at once and removes its files, or shuts it down in order and
// leaves them if they are kept. Calling it again does nothing.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	s.stopped = true
	sig := syscall.SIGQUIT // quicker than a fast shutdown, which writes out what is then removed
	if s.kept {
		sig = syscall.SIGINT
	}
	s.shut(sig)
	var err error
	if s.log != nil {
		err = s.log.Close()
	}
	if s.kept {
		return errors.Join(err, s.dir.lock.Close())
	}
	return errors.Join(err, s.dir.remove())
}

// Restart runs the server again, on the same port and the same data. One that
// is up is first shut down in order (a fast shutdown).
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errStopped
	}
	s.shut(syscall.SIGINT)
	return s.launch(ctx)
}

// StopFast shuts the server down in order, as a planned restart does. Its files stay
// for Restart.
func (s *Server) StopFast() { s.locked(func() { s.shut(syscall.SIGINT) }) }

// StopImmediate ends the server without a checkpoint: it recovers at the next
// Restart, and clients are told.
func (s *Server) StopImmediate() { s.locked(func() { s.shut(syscall.SIGQUIT) }) }

// Kill ends all of the server's processes with SIGKILL, as a crash of the
// machine would, except that the files are as written.
func (s *Server) Kill() {
	s.locked(func() {
		if s.process.running() {
			s.process.kill()
		}
	})
}

// Pause stops all of the server's processes in their tracks: connections stay
// open and nobody answers. A connection made during the pause waits in the backlog.
func (s *Server) Pause() { s.locked(func() { s.signalAll(syscall.SIGSTOP) }) }

// Resume undoes Pause.
func (s *Server) Resume() { s.locked(func() { s.signalAll(syscall.SIGCONT) }) }

func (s *Server) locked(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// shut ends the server if it is up, paused or not.
func (s *Server) shut(sig syscall.Signal) {
	if s.process.running() {
		s.signalAll(syscall.SIGCONT)
		s.process.end(sig)
	}
}

// signalAll signals the postmaster, then its children.
func (s *Server) signalAll(sig syscall.Signal) {
	if !s.process.running() {
		return
	}
	_ = syscall.Kill(s.process.pid, sig) // no such process: it has just ended
	for _, child := range children(s.process.pid) {
		_ = syscall.Kill(child, sig)
	}
}
