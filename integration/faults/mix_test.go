package faults

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

// faults are what the mix chooses from. Each is over when it returns, except that
// long transactions go on until the end.
func (w *world) faults() map[string]func(context.Context) {
	of := func() *bell { return w.bells[w.rnd.IntN(len(w.bells))] }
	return map[string]func(context.Context){
		"terminate the listener": func(ctx context.Context) { every(ctx, 200*time.Millisecond, 5, w.terminateListener) },
		"kill pgbell":            func(context.Context) { b := of(); b.kill(); b.start() },
		"end pgbell": func(ctx context.Context) {
			b := of()
			b.awaitAlive(ctx) // before it listens, a signal just ends it
			if code := b.terminate(); code != 0 {
				w.t.Errorf("exit code %d after SIGTERM", code)
			}
			b.start()
		},
		"pause pgbell": func(ctx context.Context) {
			b := of()
			_ = b.cmd.Process.Signal(syscall.SIGSTOP)
			pause(ctx, time.Duration(w.rnd.Int64N(int64(time.Second))))
			_ = b.cmd.Process.Signal(syscall.SIGCONT)
		},
		"cut the network": func(context.Context) { w.proxy.cut() },
		"slow network": func(ctx context.Context) {
			w.proxy.slow(func() time.Duration { return 30 * time.Millisecond })
			pause(ctx, time.Second)
			w.proxy.slow(nil)
		},
		"half-open network": func(ctx context.Context) {
			w.proxy.halfOpen()
			pause(ctx, time.Second)
			w.proxy.heal()
			if *soakFlag == 0 {
				w.proxy.cut() // else it takes pgbell ten seconds to find out
			}
		},
		"restart Postgres": w.restart,
		"shut Postgres down in order": func(ctx context.Context) {
			w.server.StopFast()
			if err := w.server.Restart(ctx); err != nil {
				w.t.Error(err)
			}
		},
		"kill a backend": func(context.Context) { w.killBackend() },
		"pause Postgres": func(ctx context.Context) {
			w.server.Pause()
			pause(ctx, time.Duration(w.rnd.Int64N(int64(time.Second))))
			w.server.Resume()
		},
		"attach again": func(ctx context.Context) {
			w.flip("select pgbell.detach('flips')")
			pause(ctx, 200*time.Millisecond)
			w.flip(attachFlips)
		},
		"rotate the journal early": func(context.Context) {
			_ = w.try("select pgbell.rotate('0')") // a reader may be in the way
		},
		"long transaction": func(ctx context.Context) {
			if commit, err := w.longTransaction(ctx); err == nil {
				w.long.Go(func() { pause(w.busy, 5*time.Second); commit() })
			}
		},
	}
}

// mixed is what the world of a mix is like.
func mixed() config {
	return config{
		own: true, bells: 2, flags: []string{"--retention", "3s"}, mayForget: true, mayRepeat: true,
		settings: with(settings, map[string]string{"synchronous_commit": "off"}),
		changes:  append(changes{{1, func(c *change) error { return c.bulk(1 + c.rnd.IntN(100)) }}}, allChanges...),
	}
}

// wreak does random faults for a while, and returns how many.
func (w *world) wreak(ctx context.Context, lasting time.Duration) (n int) {
	faults := w.faults()
	names := make([]string, 0, len(faults))
	for name := range faults {
		names = append(names, name)
	}
	slices.Sort(names) // so that the seed chooses
	for deadline := time.Now().Add(lasting); time.Now().Before(deadline) && !w.t.Failed(); n++ {
		name := names[w.rnd.IntN(len(names))]
		for _, s := range w.subs {
			s.tell("fault: %s", name)
		}
		faults[name](ctx)
		if w.rnd.IntN(3) > 0 { // else the next hits what has not yet recovered
			pause(ctx, time.Duration(w.rnd.Int64N(int64(time.Second))))
		}
	}
	w.flip(attachFlips) // a crash may have undone it
	return n
}

func TestFaultMix(t *testing.T) {
	long(t)
	t.Parallel()
	w := newWorld(t, mixed())
	w.run(func(ctx context.Context) { t.Logf("%d faults", w.wreak(ctx, 10*time.Second)) })
}

// TestSoak is the mix for as long as -soak says, in rounds of a minute, on one
// database that gets older.
func TestSoak(t *testing.T) {
	if *soakFlag == 0 {
		t.Skip("only with -soak DURATION")
	}
	w := newWorld(t, mixed())
	began := time.Now()
	for round := 1; time.Since(began) < *soakFlag && !t.Failed(); round++ {
		if round > 1 {
			w.exec("truncate ledger, tasks, moods, bulk, flips") // not notes: clients would be told
		}
		commit := []string{"on", "off"}[w.rnd.IntN(2)]
		w.exec("alter system set synchronous_commit = " + commit)
		w.exec("select pg_reload_conf()")
		n := 0
		r := w.run(func(ctx context.Context) { n = w.wreak(ctx, min(time.Minute, *soakFlag)) })
		fmt.Printf("%s round %d, synchronous_commit %s: %d faults, %d changes; %v\n",
			time.Since(began).Round(time.Second), round, commit, n, len(w.history.ops), r)
	}
}
