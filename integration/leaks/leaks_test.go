package leaks

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNobodyGetsWhatIsNotTheirs(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	var total world
	steps := 0
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t, db, rapid.SampledFrom([]int{0, 0, 3}).Draw(t, "queue"), seams{servers: 2})
		actions := m.all()
		actions[""] = func(t *rapid.T) {
			steps++
			m.check()
			m.report(t)
		}
		t.Repeat(actions)
		m.end(t)
		m.report(t)
		total.add(m.world)
	})
	t.Logf("%d steps, %s", steps, total.String())
	if total.events == 0 {
		t.Errorf("nothing was tested: %s", total.String())
	}
}

func (m *machine) report(t *rapid.T) {
	if len(m.faults) > 0 {
		t.Fatalf("%d faults:\n%s", len(m.faults), strings.Join(m.faults, "\n"))
	}
}
