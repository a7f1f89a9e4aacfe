package leaks

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// mutant is pgbell with one rule broken.
type mutant struct {
	name  string
	want  string // how the fault begins that must be found
	seams seams
}

// Each mutant must be found, by the rule that it breaks; with -short one of each kind.
func TestEachMutantIsFound(t *testing.T) {
	for i, group := range [][]mutant{groupMutants, recordMutants, moreMutants, replayMutants, requestMutants, triggerMutants, teamMutants} {
		settled := i > 0 // a reset for each regrouping would hide what else is wrong
		if testing.Short() {
			group = group[:1]
		}
		t.Run(group[0].name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t)
			for _, m := range group {
				t.Run(m.name, func(t *testing.T) {
					found, steps := hunt(t, db, m, settled)
					if found == "" {
						t.Fatalf("not found in %d steps", steps)
					}
					t.Logf("found in %d steps: %.300s", steps, found)
				})
			}
		})
	}
}

// most is how many steps a hunt takes at most. The mutants that are found last are found
// after some 200, each step as likely as any other: of e^50 hunts one is in vain.
const most = 10_000

// hunt looks for a fault of the kind that m must have, and returns it. It does not
// let rapid fail, which would look for a shorter history, nor choose how long to look,
// which it does by the time that is left.
func hunt(t *testing.T, db *database, mutant mutant, settled bool) (found string, steps int) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		for found == "" && steps < most {
			if mutant.seams.servers = 2; settled {
				mutant.seams.servers = 1
			}
			m := newMachine(t, db, 0, mutant.seams)
			m.settled = settled
			actions := m.common()
			for name, act := range actions {
				actions[name] = func(t *rapid.T) {
					if found == "" {
						act(t)
					}
				}
			}
			actions[""] = func(*rapid.T) {
				if found == "" {
					steps++
					m.check()
					found = m.first(mutant.want)
				}
			}
			t.Repeat(actions)
			m.close()
		}
	})
	return found, steps
}

// first returns the first fault that begins with prefix, "" if there is none, and
// forgets the others.
func (w *world) first(prefix string) string {
	faults := w.faults
	w.faults = nil
	for _, fault := range faults {
		if strings.HasPrefix(fault, prefix) {
			return fault
		}
	}
	return ""
}
