package faults

import (
	"context"
	"testing"
	"time"
)

func TestFaultTruncateAndBulk(t *testing.T) {
	t.Parallel()
	more := append(changes{{2, (*change).truncate}, {1, func(c *change) error { return c.bulk(1200) }}}, allChanges...)
	// A client that drops amid the events of one statement gets them all again.
	w := newWorld(t, config{changes: more, pause: 200 * time.Millisecond, mayRepeat: true})
	w.run(func(ctx context.Context) { every(ctx, time.Second, 3, w.terminateListener) })
}

func TestFaultFeedDetachedAndAttached(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config{changes: append(changes{{20, (*change).insertFlip}}, allChanges...)})
	w.run(func(ctx context.Context) {
		every(ctx, 300*time.Millisecond, 4, func() {
			w.flip("select pgbell.detach('flips')")
			pause(ctx, 300*time.Millisecond)
			w.flip(attachFlips)
		})
	})
}

// flip changes the attachment of flips. The database may not have recovered yet, and
// the deadlock detector may choose a victim.
func (w *world) flip(sql string) {
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); pause(w.t.Context(), 20*time.Millisecond) {
		if err = w.try(sql); err == nil {
			return
		}
	}
	w.t.Errorf("%s: %v", sql, err)
}

// A feed that isn't durable has no journal: what the listener didn't hear is told
// by resets.
func TestFaultFeedThatIsNotDurable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config{changes: changes{{3, (*change).insertMood}, {1, (*change).deleteMood}, {1, (*change).insertNote}}})
	r := w.run(func(ctx context.Context) {
		every(ctx, 500*time.Millisecond, 3, w.terminateListener)
		every(ctx, 500*time.Millisecond, 3, w.proxy.cut)
		w.bells[0].kill()
		w.work(ctx, 50) // which nobody hears of
		w.bells[0].start()
		w.awaitBells()
	})
	if r.byReset == 0 {
		t.Error("no change was told by a reset: the listener was never away")
	}
}
