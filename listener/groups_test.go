package listener

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// However soon a change is committed after a regrouping, the bus knows of the regrouping
// before it gets the change: also of a feed that isn't durable, which comes by a
// notification, while the regrouping comes by the journal.
func TestARegroupingIsToldBeforeWhatCommitsLater(t *testing.T) {
	var sub atomic.Pointer[bus.Subscription]
	told, resume := make(chan uint64), make(chan bool)
	url := example.Database(t)
	feeds := map[string]bool{"notes": false, "tasks": true}
	for table, durable := range feeds {
		execOn(t, connect(t, url), fmt.Sprintf("alter table %s add team text; select pgbell.attach('%s', array['%s'], audience => array['team:{team}'], durable => %v)",
			table, table, table, durable))
	}
	// Where nobody rings, a notification is read before the journal.
	w := start(t, url, options{Config: Config{Poll: true, OnRecord: func(r journal.Record) {
		if s := sub.Load(); s != nil && r.Op == bus.OpInsert {
			told <- s.Regrouped()
			<-resume
		}
	}}})
	for table := range feeds {
		s := w.bus.Subscribe([]string{table}, bus.Options{Connection: &bus.Connection{UserID: "ann"}})
		defer s.Close()
		sub.Store(s)
		insert := "insert into " + table + " (id, team) values (%d, 'a')"
		for n := range 5 {
			w.exec(fmt.Sprintf(insert, 2*n))
			before := <-told // the Listener stands still, and finds both of these at once
			w.exec("select pgbell.regroup('ann')")
			w.exec(fmt.Sprintf(insert, 2*n+1))
			resume <- true
			if got := <-told; got == before {
				t.Errorf("%s, change %d: it came before the regrouping was told that was committed before it", table, n)
			}
			resume <- true
		}
	}
}
