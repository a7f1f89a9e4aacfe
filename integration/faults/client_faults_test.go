package faults

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
)

// Some clients read slowly, some stop reading for long enough to lose events, or
// to be cut; others are not held up by them.
func TestFaultClientsDoNotRead(t *testing.T) {
	t.Parallel()
	overflow, cut := make(chan struct{}), make(chan struct{})
	var all []manner
	for i := range 12 {
		m := manner{page: i%2 == 0, buffer: 64 << 10}
		switch i % 4 {
		case 0:
			m.pause = 10 * time.Millisecond
		case 1:
			m.stalls, m.all = overflow, true
		case 2:
			m.stalls, m.all = cut, true
		default:
			m.buffer = 0
		}
		all = append(all, m)
	}
	w := newWorld(t, config{clients: all, pad: 20_000, pause: 200 * time.Millisecond, changes: changes{
		{8, (*change).insertNote}, {2, (*change).insertTask}, {2, (*change).updateHotNote}, {2, (*change).updateTask}, {2, (*change).insertMood}, {1, (*change).insertBulk},
	}})
	w.run(func(ctx context.Context) {
		w.workUntil(ctx, func() bool { return w.bells[0].count(ctx, "pgbell_events_dropped_total") > 0 })
		close(overflow)
		w.workUntil(ctx, func() bool { return w.bells[0].count(ctx, "pgbell_streams_cut_total") > 0 })
		close(cut)
		w.workUntil(ctx, func() bool { return w.resets(bus.ReasonOverflow) > 0 })
	})
	overflows := w.resets(bus.ReasonOverflow)
	t.Logf("%d resets since a queue overflowed", overflows)
	if overflows == 0 {
		t.Error("no client's queue overflowed: this test tests nothing")
	}
	if !strings.Contains(w.bells[0].log.String(), "slow client cut") {
		t.Error("no client was cut")
	}
}

// Whoever comes back at once, again and again, misses nothing and gets next to
// nothing twice.
func TestFaultClientsDropAndResume(t *testing.T) {
	t.Parallel()
	var all []manner
	for i := range 30 {
		all = append(all, manner{page: i%3 == 0, stays: time.Duration(30+20*i) * time.Millisecond})
	}
	w := newWorld(t, config{clients: all})
	w.run(func(ctx context.Context) { w.work(ctx, 400) })
}

// Whoever never stays until the end of what it missed gets on all the same: only
// the transaction amid which it left comes again.
func TestFaultClientsLeaveAmidReplays(t *testing.T) {
	long(t)
	t.Parallel()
	var all []manner
	for i := range 8 {
		all = append(all, manner{page: i%3 == 0, leaves: 20, away: time.Second, all: i%2 == 0})
	}
	w := newWorld(t, config{clients: all, pause: 20 * time.Millisecond, mayRepeat: true})
	r := w.run(func(ctx context.Context) { w.work(ctx, 700) })
	// A client whose id stood still during a replay would get nearly all its 20 frames
	// again each time; the transactions amid which it left are 2 to 4 frames of them.
	if most := 10 * r.conns; r.repeats > most {
		t.Errorf("%d repeats over %d connections, want at most %d", r.repeats, r.conns, most)
	}
}
