package wire

import (
	"bytes"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// SettleAfter is how long nothing has come for a stream when it settles: a writer looks
// four times as often for streams to wake, and a socket from which nothing was read for
// so long is looked at again.
const SettleAfter = 500 * time.Millisecond

// Served is a stream as its writer knows it.
type Served interface {
	// Serve does what there is to do, without blocking, and says what is left.
	Serve(Turn) Outcome
}

// Outcome is what is left to do for a stream after a turn.
type Outcome int

const (
	Done     Outcome = iota // nothing, until the stream is woken
	More                    // another turn
	HandBack                // what only the stream's own goroutine does: its Wait returns
)

// Turn is a writer's turn at a stream. It can do all that may be done in one.
type Turn struct{ c *socket }

// Send writes b, or reports false if there is no room for all of it: the rest goes with
// the next Write, and must before the next turn. An error comes again with that Write.
func (t Turn) Send(b []byte) bool {
	framed := t.c.frame(b)
	defer framed.free()
	n := t.c.conn.(sender).send(framed.bytes())
	t.c.unsent = bytes.Clone(framed.bytes()[n:])
	return len(t.c.unsent) == 0
}

// Settle has the stream woken at that time, or a little later, unless it is called
// again before.
func (t Turn) Settle(at time.Time) { t.c.writer.settle(t.c, at) }

// sender is an endpoint that can be written to without blocking.
type sender interface {
	// send writes as much of b as there is room for. Its error comes again with the
	// next Write.
	send(b []byte) (n int)
}

// Writers serve streams that wait: to wake a goroutine for one frame, and have it wait
// again, costs half as much as the system call that sends the frame. There is one
// writer for each processor. It never blocks, and runs only while there is something
// to do, so that nobody has to stop it.
type Writers struct {
	each []writer
	next atomic.Uint32
}

// NewWriters returns writers for any number of streams.
func NewWriters() *Writers { return &Writers{each: make([]writer, runtime.GOMAXPROCS(0))} }

// assign returns the writer for one more stream.
func (w *Writers) assign() *writer { return &w.each[int(w.next.Add(1))%len(w.each)] }

// writer serves some of the streams, one after the other.
type writer struct {
	mu       sync.Mutex
	queue    []*socket // to be served
	running  bool      // a goroutine serves the queue
	settling []*socket // to be served again when nothing more comes for them
}

// add has c served soon.
func (w *writer) add(c *socket) {
	w.mu.Lock()
	w.queue = append(w.queue, c)
	start := !w.running
	w.running = true
	w.mu.Unlock()
	if start {
		go w.run()
	}
}

func (w *writer) run() {
	var batch []*socket
	for {
		w.mu.Lock()
		batch, w.queue = w.queue, batch[:0]
		if len(batch) == 0 {
			w.queue, w.running = nil, false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		for i, c := range batch {
			batch[i] = nil
			c.serve()
		}
	}
}

// settle has c woken at that time, unless it is called for c again before.
func (w *writer) settle(c *socket, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.settleAt.IsZero() {
		w.settling = append(w.settling, c)
		if len(w.settling) == 1 {
			w.look()
		}
	}
	c.settleAt = at
}

func (w *writer) look() { time.AfterFunc(SettleAfter/4, w.settled) }

// settled wakes the sockets whose time has come, and looks again for the others.
func (w *writer) settled() {
	now := time.Now()
	var due []*socket
	w.mu.Lock()
	rest := w.settling[:0]
	for _, c := range w.settling {
		if c.settleAt.After(now) {
			rest = append(rest, c)
			continue
		}
		c.settleAt = time.Time{}
		due = append(due, c)
	}
	clear(w.settling[len(rest):])
	if w.settling = rest; len(rest) == 0 {
		w.settling = nil
	} else {
		w.look()
	}
	w.mu.Unlock()
	for _, c := range due {
		c.Wake()
	}
}
