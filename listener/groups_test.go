package listener

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// However soon a change is committed after a regrouping, the bus knows of the regrouping
// before it gets the change: also of a feed that isn't durable, which comes by a
// notification, while the regrouping comes by the journal.
func TestARegroupingIsToldBeforeWhatCommitsLater(t *testing.T) {
	var sub atomic.Pointer[bus.Subscription]
	told := make(chan uint64, 1)
	url := example.Database(t)
	feeds := map[string]bool{"notes": false, "tasks": true}
	for table, durable := range feeds {
		execOn(t, connect(t, url), fmt.Sprintf("alter table %s add team text; select pgbell.attach('%s', array['%s'], audience => array['team:{team}'], durable => %v)",
			table, table, table, durable))
	}
	w := start(t, url, options{Config: Config{Tick: time.Hour, OnRecord: func(r journal.Record) {
		if s := sub.Load(); s != nil && r.Op == bus.OpInsert {
			told <- s.Regrouped()
		}
	}}})
	for table := range feeds {
		s := w.bus.Subscribe([]string{table}, bus.Options{Connection: &bus.Connection{UserID: "ann"}})
		defer s.Close()
		sub.Store(s)
		var before uint64
		for n := range 20 {
			w.exec(fmt.Sprintf("begin; select pgbell.regroup('ann'); commit; begin; insert into %s (id, team) values (%d, 'a'); commit", table, n))
			got := <-told
			if got == before {
				t.Errorf("%s, change %d: it came before the regrouping was told that was committed before it", table, n)
			}
			before = s.Regrouped()
		}
	}
}
