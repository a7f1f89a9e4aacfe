//go:build linux

package main

import (
	"context"
	"sync/atomic"
	"time"
)

// tally is what all streams got of the changes of one load. The histograms are the
// reader's until the tally is taken away.
type tally struct {
	load    *load
	sent    histogram     // from when the change was sent
	window  time.Duration // 0 for one window over all
	windows []*histogram  // from when the change was due, by when the frame came

	frames, resets atomic.Int64
}

// unsent counts the changes that no writer got to as if they came now, which is too
// good for them. Call it once the tally is taken away.
func (t *tally) unsent() {
	at := now()
	for i := range t.load.sent {
		if t.load.sent[i].Load() == 0 {
			t.windows[len(t.windows)-1].add(time.Duration(at - t.load.dueAt(i)))
		}
	}
}

func newTally(l *load, window time.Duration) *tally {
	return &tally{load: l, window: window, windows: []*histogram{{}}}
}

// due returns the latencies of all windows.
func (t *tally) due() *histogram {
	all := &histogram{}
	for _, h := range t.windows {
		all.merge(h)
	}
	return all
}

// frame counts a frame about the row with this id, read at this time.
func (t *tally) frame(id int, at int64) {
	i := id - t.load.first
	if i < 0 || i >= len(t.load.due) {
		return // of a load before
	}
	sent := t.load.sent[i].Load()
	if sent == 0 {
		return // not of a change at all
	}
	t.sent.add(time.Duration(at - sent))
	n := 0
	if t.window > 0 {
		n = int((at - t.load.base) / int64(t.window))
	}
	for len(t.windows) <= n {
		t.windows = append(t.windows, &histogram{})
	}
	t.windows[n].add(time.Duration(at - t.load.dueAt(i)))
	t.frames.Add(1)
}

// waitFrames waits until t has counted so many frames, or none has come for quiet.
func (t *tally) waitFrames(ctx context.Context, want int64, quiet time.Duration) error {
	last, since := int64(-1), time.Now()
	return waitFor(ctx, time.Hour, func() (bool, error) {
		n := t.frames.Load()
		if n != last {
			last, since = n, time.Now()
		}
		return n >= want || time.Since(since) > quiet, nil
	})
}

// waitFor asks each millisecond, for so long at most.
func waitFor(ctx context.Context, most time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
