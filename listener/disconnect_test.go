package listener

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pgbell/pgbell/bus"
)

// streams opens subscriptions of ann, bob and an anonymous one to each of scopes.
func (w *world) streams(scopes ...string) map[string]*bus.Subscription {
	all := map[string]*bus.Subscription{}
	for _, user := range []string{"ann", "bob", ""} {
		for _, scope := range scopes {
			s := w.bus.Subscribe([]string{scope}, bus.Options{Connection: &bus.Connection{UserID: user}})
			w.t.Cleanup(s.Close)
			all[user+" at "+scope] = s
		}
	}
	return all
}

// closed waits until just those have ended.
func (w *world) closed(all map[string]*bus.Subscription, want ...string) {
	w.t.Helper()
	var got []string
	await(w.t, fmt.Sprint("the end of ", want), func() bool {
		got = nil
		for name, s := range all {
			for _, ok := s.TryNext(); ok; _, ok = s.TryNext() {
			}
			if s.Closed() {
				got = append(got, name)
			}
		}
		return len(got) >= len(want)
	})
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Errorf("ended are %q, want %q", got, want)
	}
}

func TestDisconnectEndsTheStreamsOfAUserOnEachServer(t *testing.T) {
	url := example.Database(t)
	w, other := start(t, url, options{}), start(t, url, options{})
	all, others := w.streams("tasks", "a%20b"), other.streams("tasks", "a%20b")
	w.exec("begin; select pgbell.disconnect('bob'); rollback")
	w.exec("select pgbell.disconnect('ann', 'a b')")
	w.closed(all, "ann at a%20b")
	other.closed(others, "ann at a%20b")
	w.exec("select pgbell.disconnect('bob')")
	w.closed(all, "ann at a%20b", "bob at a%20b", "bob at tasks")
	other.closed(others, "ann at a%20b", "bob at a%20b", "bob at tasks")
	for _, nobody := range []string{"null", "''"} {
		if _, err := w.db.Exec(t.Context(), "select pgbell.disconnect("+nobody+")"); err == nil {
			t.Errorf("disconnect(%s) says nothing", nobody)
		}
	}
}

func TestDisconnectIsNotMissedWhileTheListenerIsAway(t *testing.T) {
	w := start(t, example.Database(t), options{Config: quick})
	all := w.streams("tasks")
	w.exec("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgbell' and datname = current_database()")
	w.exec("select pgbell.disconnect('ann')")
	w.closed(all, "ann at tasks")
}

// After a crash the cursor proves nothing, but the journal is there.
func TestDisconnectIsNotMissedInACrash(t *testing.T) {
	long(t)
	s := server(t)
	var held atomic.Pointer[chan struct{}]
	w := start(t, s.URL(), options{Config: quick, query: func(string) {
		if wait := held.Load(); wait != nil {
			<-*wait
		}
	}})
	w.exec("select pgbell.disconnect('bob')") // long before
	w.exec("update pgbell.journal set at = at - interval '1 hour'")
	w.goesOn(w.subscribe("tasks"))
	all := w.streams("tasks")
	wait := make(chan struct{})
	release := sync.OnceFunc(func() { close(wait) })
	defer release()
	held.Store(&wait)
	w.exec("select pgbell.disconnect('ann')")
	s.Kill()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	held.Store(nil)
	release()
	w.closed(all, "ann at tasks")
}
