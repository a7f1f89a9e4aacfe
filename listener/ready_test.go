package listener

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
)

func TestStatsSaySinceWhenItListensOrDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := bus.New(bus.Config{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := New(&pgx.ConnConfig{}, b, Config{})
		if err != nil {
			t.Fatal(err)
		}
		var since, caughtUp time.Time
		for i, step := range []struct {
			err     error
			changes bool
		}{
			{errors.New("no route"), false}, // as it was before the first try
			{nil, true},
			{nil, false},
			{errors.New("no route"), true},
			{errors.New("still none"), false},
			{nil, true},
		} {
			time.Sleep(time.Second)
			l.setReady(step.err)
			if step.changes {
				since = time.Now()
			}
			if step.err == nil {
				caughtUp = time.Now()
			}
			if got := l.Stats(); !got.Since.Equal(since) || !got.CaughtUp.Equal(caughtUp) || got.Connected != (step.err == nil) {
				t.Errorf("step %d: got %+v, want connected: %v since %v, caught up %v", i, got, step.err == nil, since, caughtUp)
			}
		}
	})
}

func TestReadySaysHowFarTheFirstConnectionIs(t *testing.T) {
	passes, reads := make(chan struct{}), make(chan struct{})
	pass, read := sync.OnceFunc(func() { close(passes) }), sync.OnceFunc(func() { close(reads) })
	w := start(t, example.Database(t), options{
		conf: func(conf *pgx.ConnConfig) {
			startProxy(t, conf, func(bool) bool { <-passes; return false })
		},
		query: func(sql string) {
			if strings.Contains(sql, "pgbell.feeds") {
				<-reads
			}
		},
		apart: true,
	})
	t.Cleanup(func() { pass(); read() }) // before the Listener is to end
	w.notReady("connected, waiting for its own notification to arrive (10s at most)")
	pass()
	w.notReady("connected, reading the journal")
	read()
	w.ready()
	w.stop()
}

// Else it would say for most of the time that it is trying.
func TestReadyKeepsSayingWhatWentWrong(t *testing.T) {
	l := &Listener{notReady: progress("not connected yet"), cfg: Config{Timeout: time.Hour}}
	l.setReady(errDeaf)
	l.setProgress("connected")
	if got := l.Ready(); got != errDeaf {
		t.Errorf("got %v, want %v", got, errDeaf)
	}
	l.setReady(nil)
	l.setProgress("connected")
	if got := l.Ready(); got != nil {
		t.Errorf("a listener that is ready says %v", got)
	}
}
