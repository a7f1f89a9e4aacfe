package listener

import (
	"fmt"
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
)

// A feed that isn't durable comes by a notification, a regrouping by the journal. However
// soon one is committed after the other, the bus knows of the regrouping first.
func TestARegroupingIsToldBeforeWhatCommitsLater(t *testing.T) {
	w := start(t, example.Database(t), options{Config: Config{Tick: time.Hour}})
	w.exec("select pgbell.attach('notes', array['notes'], audience => array['owner', 'team:{owner}'], durable => false)")
	s := w.bus.Subscribe([]string{"notes", "end"}, bus.Options{Connection: &bus.Connection{UserID: "ann"}, Groups: []string{"team:a"}})
	defer s.Close()
	before := s.Stale()
	for n := range uint64(50) {
		w.exec(fmt.Sprintf("begin; select pgbell.regroup('ann'); commit; begin; insert into notes (id, owner) values (%d, 'a'); commit", n))
		for {
			e, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if e.Op == bus.OpInsert {
				break
			}
		}
		if got := s.Stale(); got-before < n+1 {
			t.Fatalf("a change came after %d regroupings were told, %d were committed before it", got-before, n+1)
		}
	}
}
