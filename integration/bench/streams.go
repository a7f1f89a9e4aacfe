//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// spareFiles is how many file descriptors a process needs besides those of streams.
const spareFiles = 500

// within returns the plan with as many streams as one process may have open.
func (p plan) within(files uint64) plan {
	most := int(min(max(files, spareFiles+1)-spareFiles, 1<<30))
	p.scopes = min(p.scopes, most)
	p.most.streams = min(p.most.streams, most)
	p.live.streams = min(p.live.streams, most)
	counts := make([]int, 0, len(p.streams))
	for _, n := range p.streams {
		if n = min(n, most); !slices.Contains(counts, n) {
			counts = append(counts, n)
		}
	}
	p.streams = counts
	return p
}

// streams are many clients of one server, read by one goroutine with epoll: a client
// that cost more than it must would take the processor from the servers.
type streams struct {
	poll  int
	wake  int // an eventfd, to end the reader
	ended chan struct{}

	mu  sync.Mutex
	all []*stream // by what epoll is told
	run *tally    // what frames are counted for; nil for nothing
	err error     // why a stream did not begin

	ready, gone atomic.Int64 // streams that are live, that have ended
}

// newStreams starts the reader. Close ends it, and all streams.
func newStreams() (*streams, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err == nil {
		err = unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), unix.Close(poll))
	}
	s := &streams{poll: poll, wake: wake, ended: make(chan struct{})}
	go s.read()
	return s, nil
}

func (s *streams) close() {
	_, _ = unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // an eventfd at zero takes it
	<-s.ended
	for _, one := range s.all {
		// With a reset, so that no port stays taken for a minute: SO_LINGER in socket(7).
		_ = unix.SetsockoptLinger(one.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(one.fd)
	}
	unix.Close(s.wake)
	unix.Close(s.poll)
}

// hangUp ends all streams.
func (s *streams) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		unix.Close(one.fd)
	}
	s.all = nil
}

// count has the frames that come from now on counted for t, which may be nil.
func (s *streams) count(t *tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run = t
}

// atOnce is how many streams are on their way at a time: fewer than a listener's backlog.
const atOnce = 200

// open opens a stream of a contender's server for each scope and returns when all are live.
func (s *streams) open(ctx context.Context, name, addr string, scopes []string) error {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	for len(scopes) > 0 {
		n := min(atOnce, len(scopes))
		for _, scope := range scopes[:n] {
			if err := s.dial(to, name, scope, 0); err != nil {
				return err
			}
		}
		scopes = scopes[n:]
		if err := s.waitLive(ctx); err != nil {
			return err
		}
	}
	return nil
}

// openStalled opens a stream that, once live, reads no more.
func (s *streams) openStalled(ctx context.Context, name, addr, scope string) error {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	if err := s.dial(to, name, scope, 8<<10); err != nil {
		return err
	}
	if err := s.waitLive(ctx); err != nil {
		return err
	}
	return unix.EpollCtl(s.poll, unix.EPOLL_CTL_DEL, s.all[len(s.all)-1].fd, nil)
}

// dial connects and asks for the scope. buffer is what the socket receives at most
// without being read, about; 0 leaves it to the system.
func (s *streams) dial(to netip.AddrPort, name, scope string, buffer int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if buffer > 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) // more only takes longer to fill
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		unix.Close(fd)
		return fmt.Errorf("connect to %s: %w", to, err)
	}
	if _, err := unix.Write(fd, []byte(request(name, scope))); err != nil {
		unix.Close(fd)
		return fmt.Errorf("ask for a stream: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, &stream{fd: fd, waits: contender(name) == pgbell})
	return unix.EpollCtl(s.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(len(s.all) - 1)})
}

// waitLive waits until all streams are live.
func (s *streams) waitLive(ctx context.Context) error {
	return waitFor(ctx, 30*time.Second, func() (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return int(s.ready.Load()) == len(s.all), s.err
	})
}

// read is the reader.
func (s *streams) read() {
	defer close(s.ended)
	events := make([]unix.EpollEvent, 512)
	buffer := make([]byte, 128<<10)
	for {
		n, err := unix.EpollWait(s.poll, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			s.fail(fmt.Errorf("epoll_wait: %w", err))
			return
		}
		s.mu.Lock()
		for _, e := range events[:n] {
			if e.Fd < 0 {
				s.mu.Unlock()
				return
			}
			if int(e.Fd) < len(s.all) { // they were not hung up since
				s.readOne(s.all[e.Fd], buffer)
			}
		}
		s.mu.Unlock()
	}
}

func (s *streams) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
}

// readOne reads what one stream has. With mu held.
func (s *streams) readOne(one *stream, buffer []byte) {
	n, err := unix.Read(one.fd, buffer)
	if err == unix.EINTR || err == unix.EAGAIN {
		return
	}
	if n <= 0 {
		_ = unix.EpollCtl(s.poll, unix.EPOLL_CTL_DEL, one.fd, nil) // it would be ready for ever
		s.gone.Add(1)
		if !one.live {
			s.err = errors.Join(s.err, fmt.Errorf("a stream ended before it began: %v", err))
		}
		return
	}
	at, wasLive := now(), one.live
	if err := one.feed(buffer[:n], func(f frame) { s.got(f, at) }); err != nil {
		s.err = errors.Join(s.err, err)
	}
	if one.live && !wasLive {
		s.ready.Add(1)
	}
}

func (s *streams) got(f frame, at int64) {
	switch {
	case s.run == nil:
	case f.reset:
		s.run.resets.Add(1)
	default:
		s.run.frame(f.id, at)
	}
}
