package bus

import (
	"sync"
	"time"
)

// warnEvery is how often a scope's drops are logged at most.
const warnEvery = 10 * time.Second

// throttle counts a scope's drops between two warnings.
type throttle struct {
	mu      sync.Mutex
	last    time.Time // of the last warning; zero before the first
	pending int       // drops since
}

// add counts n drops and returns how many to warn of now, 0 for no warning.
func (t *throttle) add(n int) int {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending += n
	if !t.last.IsZero() && now.Sub(t.last) < warnEvery {
		return 0
	}
	report := t.pending
	t.last, t.pending = now, 0
	return report
}

// dropped accounts for n subscribers of sc whose queue had no room for e. The
// caller holds no lock: OnDrop and the logger may call back into the bus.
func (b *Bus) dropped(sc *scope, e *ChangeEvent, n int) {
	if n == 0 {
		return
	}
	b.drops.Add(uint64(n))
	if report := sc.warn.add(n); report > 0 {
		b.log.Warn("events dropped, subscriber too slow",
			"scope", e.Scope, "dropped", report, "queue_size", b.size)
	}
	if b.onDrop == nil {
		return
	}
	for range n {
		b.guard("OnDrop", e.Scope, func() { b.onDrop(e.Scope, *e) })
	}
}

// guard runs a hook of the caller's. A panic of it is logged and goes no further.
func (b *Bus) guard(hook, scope string, f func()) {
	defer func() {
		if p := recover(); p != nil {
			b.log.Error("hook panicked", "hook", hook, "scope", scope, "panic", p)
		}
	}()
	f()
}
