package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

const (
	historyLength = 300 // seconds
	resetsKept    = 20
)

// second is what happened within one second.
type second struct {
	events uint64        // emitted
	frames uint64        // written to streams
	lost   uint64        // deliveries dropped, and streams cut
	lag    time.Duration // the longest; negative where nothing came
}

// wasReset is a reset that went to scopes, with those like it: a feed that doesn't fit
// its table gives one at each write.
type wasReset struct {
	at     time.Time // of the last one
	table  string    // empty: all feeds
	reason string
	times  uint64
	scopes uint64 // of all of them
}

// totals are the counters that a history is made from.
type totals struct {
	events, frames, lost uint64
	position             string // of the bus
}

// history is what happened lately, second by second. Its methods are safe for
// concurrent use; those called for each record or reset do next to nothing.
type history struct {
	mu          sync.Mutex
	seconds     []second // the newest last
	before      totals
	moved       time.Time     // when the position was seen to be another
	lag         time.Duration // the longest since the last second ended; negative if none
	resets      []wasReset    // the newest first
	scopesReset uint64
}

func newHistory() *history { return &history{lag: -1} }

// observe notes how late a record is.
func (h *history) observe(r journal.Record) {
	if r.At.IsZero() {
		return
	}
	late := max(0, time.Since(r.At))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lag = max(h.lag, late)
}

// reset is bus.Config's OnReset.
func (h *history) reset(e bus.ChangeEvent, scopes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scopesReset += uint64(scopes)
	r := wasReset{table: e.Table, reason: e.Reason}
	if i := slices.IndexFunc(h.resets, func(r wasReset) bool { return r.table == e.Table && r.reason == e.Reason }); i >= 0 {
		r = h.resets[i]
		h.resets = slices.Delete(h.resets, i, i+1)
	}
	r.at, r.times, r.scopes = time.Now(), r.times+1, r.scopes+uint64(scopes)
	h.resets = slices.Insert(h.resets, 0, r)
	h.resets = h.resets[:min(len(h.resets), resetsKept)]
}

// resetTotal is how many scopes were reset, one as often as it was.
func (h *history) resetTotal() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.scopesReset
}

// tick ends a second.
func (h *history) tick(now totals) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seconds = append(h.seconds, second{
		events: now.events - h.before.events, frames: now.frames - h.before.frames, lost: now.lost - h.before.lost, lag: h.lag,
	})
	if extra := len(h.seconds) - historyLength; extra > 0 {
		h.seconds = append(h.seconds[:0], h.seconds[extra:]...)
	}
	if now.position != h.before.position {
		h.moved = time.Now()
	}
	h.before, h.lag = now, -1
}

// recent returns copies of the seconds, the newest last, and of the resets, the
// newest first, and when the position moved last.
func (h *history) recent() ([]second, []wasReset, time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]second(nil), h.seconds...), append([]wasReset(nil), h.resets...), h.moved
}

// run ends the seconds until ctx is done, and calls after at the end of each.
func (h *history) run(ctx context.Context, count func() totals, after func()) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			h.tick(count())
			after()
		}
	}
}
