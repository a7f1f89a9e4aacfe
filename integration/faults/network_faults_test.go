package faults

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// foundOut is when it is known at the latest that Postgres does not answer: after some 13 s,
// and a busy machine's delay. TCP by itself would take a quarter of an hour.
const foundOut = 5 * time.Minute

func TestFaultHalfOpenConnection(t *testing.T) {
	long(t)
	t.Parallel()
	w := newWorld(t, config{pause: 500 * time.Millisecond})
	w.run(func(ctx context.Context) {
		w.proxy.halfOpen()
		took, words := w.bells[0].awaitReady(ctx, false, foundOut)
		t.Logf("after %v: %v", took, words)
		if words == nil || len(words.Error()) < 20 {
			t.Errorf("/readyz says %v: no words for an operator", words)
		}
		if metrics, _, err := w.bells[0].get(ctx, "/metrics"); err != nil || !strings.Contains(metrics, "\npgbell_listener_connected 0\n") {
			t.Errorf("the metrics do not tell: %v", err)
		}
		w.proxy.heal()
	})
}

func TestFaultBytesAreDelayed(t *testing.T) {
	long(t)
	t.Parallel()
	w := newWorld(t, config{})
	w.run(func(ctx context.Context) {
		w.proxy.slow(func() time.Duration { return rand.N(100 * time.Millisecond) })
		w.work(ctx, 300)
		w.proxy.slow(nil)
	})
}

func TestFaultConnectionsAreCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config{bells: 2})
	w.run(func(ctx context.Context) { every(ctx, 300*time.Millisecond, 10, w.proxy.cut) })
}
