package wire

import (
	"bytes"
	"runtime"
	"sync"
	"testing"
	"time"
)

// turns counts its turns, and answers each with the next of answers.
type turns struct {
	n       int
	answers []func() Outcome
}

func (s *turns) Serve(Turn) Outcome {
	s.n++
	return s.answers[s.n-1]()
}

// endless is an endpoint that can be sent to, on which Read waits for its deadline.
type endless struct {
	mu    sync.Mutex
	woken *sync.Cond
	past  bool
}

func (e *endless) Read([]byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for !e.past {
		e.woken.Wait()
	}
	e.past = false
	return 0, bytes.ErrTooLarge // any
}
func (e *endless) SetReadDeadline(at time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.past = at.Equal(longAgo)
	e.woken.Broadcast()
	return nil
}
func (e *endless) Write(b []byte) (int, error)      { return len(b), nil }
func (e *endless) SetWriteDeadline(time.Time) error { return nil }
func (e *endless) Close() error                     { return nil }
func (e *endless) send(b []byte) int                { return len(b) }

// A stream that is woken while a writer serves it is served once more, and what a
// writer leaves to it has it go on.
func TestWakeDuringATurnIsNotLost(t *testing.T) {
	e := &endless{}
	e.woken = sync.NewCond(&e.mu)
	pool := NewWriters()
	c := &socket{conn: e, writer: pool.assign()}
	s := &turns{}
	s.answers = []func() Outcome{
		func() Outcome { c.Wake(); c.Wake(); return Done },
		func() Outcome { return More },
		func() Outcome { c.Wake(); return HandBack },
	}
	c.Lend(s)
	waits := make(chan error)
	go func() { waits <- c.Wait(time.Time{}) }()
	for c.state.Load() != isWaiting {
		runtime.Gosched()
	}
	c.Wake()
	if err := <-waits; err != bytes.ErrTooLarge {
		t.Fatal(err)
	}
	c.turn.Lock()
	defer c.turn.Unlock()
	if s.n != 3 || c.state.Load() != isBusy {
		t.Errorf("%d turns, state %d", s.n, c.state.Load())
	}
}
