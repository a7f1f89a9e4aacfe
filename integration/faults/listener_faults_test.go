package faults

import (
	"context"
	"testing"
	"time"
)

// every calls do at once and every so often, n times.
func every(ctx context.Context, interval time.Duration, n int, do func()) {
	for range n {
		do()
		pause(ctx, interval)
	}
}

func (w *world) terminateListener() {
	_ = w.try("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgbell' and datname = current_database()")
}

func TestFaultListenerTerminatedAgainAndAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config{})
	w.run(func(ctx context.Context) { every(ctx, 200*time.Millisecond, 12, w.terminateListener) })
}
