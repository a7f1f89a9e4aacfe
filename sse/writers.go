package sse

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// writers write to streams that wait, in their stead: to wake a goroutine for one
// frame, and have it wait again, costs half as much as the system call that sends the
// frame. There is one writer for each processor. It never blocks, and runs only while
// there is something to do, so that nobody has to end it.
type writers struct {
	each []writer
	next atomic.Uint32
}

func newWriters() *writers { return &writers{each: make([]writer, runtime.GOMAXPROCS(0))} }

// assign returns the writer for one more stream.
func (w *writers) assign() *writer { return &w.each[int(w.next.Add(1))%len(w.each)] }

// writer serves some of the streams, one after the other.
type writer struct {
	mu       sync.Mutex
	queue    []*socket // to be served
	running  bool      // a goroutine is at it
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

// settle has c served again at that time, unless it is called for it once more before.
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

func (w *writer) look() { time.AfterFunc(settle/4, w.settled) }

// settled wakes those whose time has come, and looks again for the others.
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
		c.wake()
	}
}
