package listener

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// gate holds up a listener's readings.
type gate struct{ held atomic.Pointer[chan struct{}] }

func (g *gate) query(string) {
	if wait := g.held.Load(); wait != nil {
		<-*wait
	}
}

// hold has the next query wait until release is called.
func (g *gate) hold(t *testing.T) (release func()) {
	wait := make(chan struct{})
	g.held.Store(&wait)
	release = sync.OnceFunc(func() { g.held.Store(nil); close(wait) })
	t.Cleanup(release)
	return release
}

// as subscribes a user to scopes.
func (w *world) as(user string, scopes ...string) *bus.Subscription {
	s := w.bus.Subscribe(scopes, bus.Options{Connection: &bus.Connection{UserID: user}})
	w.t.Cleanup(s.Close)
	return s
}

// stale waits until s is, since a call of Regroup that was after the first n.
func (w *world) stale(s *bus.Subscription, n uint64) {
	w.t.Helper()
	await(w.t, "the groups to be stale", func() bool { return s.Stale() > n })
}

// A change that stands before a regrouping in the journal was perhaps committed after it:
// no event of one reading comes before the groups are stale.
func TestNothingOfAReadingComesBeforeItsRegroupings(t *testing.T) {
	for name, limit := range map[string]int{"a batch": 0, "too much to hold": 1} {
		t.Run(name, func(t *testing.T) {
			var g gate
			w := start(t, example.Database(t), options{Config: quick, query: g.query, limit: limit})
			w.exec(`create table members (team int, who text); select pgbell.attach('members', array['members'], regroup => 'who')`)
			for i, regroup := range []string{
				`select pgbell.regroup('ann')`, `insert into members values (1, 'ann')`, `truncate members`,
				`with gone as (delete from members returning *) select pgbell.regroup('ann')`,
			} {
				w.goesOn(w.subscribe("tasks"))
				ann, bob := w.as("ann", "tasks"), w.as("bob", "tasks")
				before := w.bus.Regroups()
				late := connect(t, w.url)
				release := g.hold(t)
				execOn(t, late, `begin`)
				execOn(t, late, `insert into tasks values ($1)`, -1-i)
				w.exec(regroup)
				execOn(t, late, `commit`)
				release()
				await(t, "the change", func() bool {
					_, ok := ann.TryNext()
					return ok
				})
				if ann.Stale() <= before {
					t.Errorf("%s: a change came before the groups were stale", regroup)
				}
				all := limit == 1 || regroup == `truncate members`
				if stale := bob.Stale() > before; stale && !all {
					t.Errorf("%s: bob's groups are stale", regroup)
				} else if all {
					w.stale(bob, before)
				}
			}
		})
	}
}

// What happened while nobody listened may have been a regrouping.
func TestAllAreRegroupedAfterAGap(t *testing.T) {
	w := start(t, example.Database(t), options{Config: quick})
	ann := w.as("ann", "tasks")
	before := w.bus.Regroups()
	w.exec(`update pgbell.incarnation set mark = 'another'`)
	w.exec(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgbell' and datname = current_database()`)
	w.stale(ann, before)
}

// The members' table tells nothing any more.
func TestAllAreRegroupedWhileMembersAreNotHeard(t *testing.T) {
	for _, drift := range []string{
		`drop table members`, `alter table members disable trigger user`, `alter table members rename who to whom`, `select pgbell.detach('members')`,
	} {
		t.Run(drift, func(t *testing.T) {
			w := start(t, example.Database(t), options{Config: quick})
			w.exec(`create table members (team int, who text); select pgbell.attach('members', array['members'], regroup => 'who')`)
			w.goesOn(w.subscribe("tasks"))
			ann := w.as("ann", "tasks")
			before := w.bus.Regroups()
			w.exec(drift)
			w.stale(ann, before)
		})
	}
}

func TestReplayKnowsOfRegroupings(t *testing.T) {
	w := start(t, example.Database(t), options{Config: quick})
	w.exec(`create table members (team int, who text); select pgbell.attach('members', array['members'], regroup => 'who')`)
	since, err := journal.ParseCursor(ask[string](t, w.db, "select pgbell.cursor()"))
	if err != nil {
		t.Fatal(err)
	}
	w.exec(`insert into members values (1, 'ann')`)
	w.exec(`select pgbell.regroup('bob')`)
	w.goesOn(w.subscribe("tasks"))
	for _, ahead := range []bool{false, true} {
		if ahead { // the journal is read for it
			w.stop()
			w.l.tail.Start(journal.Cursor{}, 0)
		}
		p, err := w.l.Replay(t.Context(), since)
		if err != nil || p.Reset != "" {
			t.Fatal(err, p)
		}
		if !p.Regrouped("ann") || !p.Regrouped("bob") || p.Regrouped("carol") || p.Regrouped("") {
			t.Errorf("ann %v, bob %v, carol %v", p.Regrouped("ann"), p.Regrouped("bob"), p.Regrouped("carol"))
		}
		if p.Ahead != ahead {
			t.Errorf("ahead: %v, want %v", p.Ahead, ahead)
		}
	}
}

// A stream that begins while its user is being regrouped finds that in its replay: the bus
// tells only those that were there.
func TestStreamThatBeginsAmidARegroupingIsTold(t *testing.T) {
	w := start(t, example.Database(t), options{Config: quick})
	w.exec(`create table members (team int, who text); select pgbell.attach('members', array['members'], regroup => 'who')`)
	for _, regroup := range []string{`select pgbell.regroup('ann')`, `truncate members`} {
		w.goesOn(w.subscribe("tasks"))
		since, err := journal.ParseCursor(ask[string](t, w.db, "select pgbell.cursor()"))
		if err != nil {
			t.Fatal(err)
		}
		told := make(chan bool, 1)
		first := w.bus.Subscribe([]string{"tasks"}, bus.Options{Connection: &bus.Connection{UserID: "ann"}, Wake: func() {
			p, err := w.l.Replay(t.Context(), since)
			if err != nil {
				t.Error(err)
			}
			select {
			case told <- err == nil && p.Regrouped("ann"):
			default: // that was the first time
			}
		}})
		w.exec(regroup)
		if !<-told {
			t.Errorf("%s: a stream that began just then would hear of it from nobody", regroup)
		}
		first.Close()
	}
}
