package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// teams is a database in which one session writes, so that the order of its commits is known
// and with it who was in which team at each. Nobody comes back to a team that he has left.
const teams = `
	create table rooms (id int primary key, n bigint);
	create table members (team int, who text, primary key (team, who));
	select pgbell.attach('rooms', array['rooms'], audience => array['team:{id}'], payload => array['n']);
	select pgbell.attach('members', array['members'], audience => array[]::text[], regroup => 'who');
	create function groups_of(user_id text) returns text[] language sql stable
	as $$ select array_agg('team:' || m.team) from public.members m where m.who = $1 $$;`

// member is a client of one user, that comes back to either server.
type member struct {
	user string

	mu      sync.Mutex
	started time.Time
	got     map[int64]bool // changes that came
	resets  []time.Time
	last    bool // the last word came
}

func (m *member) run(ctx context.Context, bells []*bell, rnd *rand.Rand, flaw func(string, ...any)) {
	lastID := ""
	for ctx.Err() == nil {
		conn, body, err := openStream(ctx, bells[rnd.IntN(len(bells))].addr, url.Values{"scope": {"rooms"}}, m.user, lastID, 0)
		if err != nil {
			pause(ctx, 50*time.Millisecond)
			continue
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		events := &eventReader{in: bufio.NewReader(body), buffer: lastID, lastID: lastID}
		for {
			b, err := events.next()
			lastID = events.lastID
			if err != nil {
				break
			}
			m.receive(b, flaw)
		}
		stop()
		conn.Close()
	}
}

func (m *member) receive(b block, flaw func(string, ...any)) {
	var d struct {
		Op   string
		Data struct{ N int64 }
	}
	if err := json.Unmarshal([]byte(b.data), &d); err != nil {
		flaw("%s got %s: %v", m.user, b.data, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case b.name == "ready" && m.started.IsZero():
		m.started = time.Now()
	case d.Op == "reset":
		m.resets = append(m.resets, time.Now())
	case d.Op == "publish":
		m.last = true
	case d.Data.N > 0:
		m.got[d.Data.N] = true
	}
}

// Servers are killed and lose their connections while people leave teams: of a team that a
// user has left, no change that was committed later reaches the user, and of one that the
// user is in each change or a later reset does.
func TestFaultRevocationsHold(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(seedOf(t), 0))
	database := newDatabase(t)
	if err := execute(database, teams); err != nil {
		t.Fatal(err)
	}
	var bells []*bell
	for range 2 {
		b := newBell(t, database, "--groups-sql", "groups_of")
		b.start()
		bells = append(bells, b)
	}
	for _, b := range bells {
		b.awaitReady(t.Context(), true, patience)
	}
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())

	l := &ledger{members: map[string]map[int]*membership{}}
	people := []string{"ann", "bob", "cy", "team:1"}
	var clients []*member
	ctx, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(func() { leave(); all.Wait() })
	for i, u := range people {
		l.members[u] = map[int]*membership{}
		for j := range 2 {
			m := &member{user: u, got: map[int64]bool{}}
			clients = append(clients, m)
			fork := rand.New(rand.NewPCG(uint64(i), uint64(j)))
			all.Go(func() { m.run(ctx, bells, fork, t.Errorf) })
		}
	}
	settled := func(what string, so func(*member) bool) {
		for _, m := range clients {
			for deadline := time.Now().Add(patience); ; pause(ctx, 10*time.Millisecond) {
				m.mu.Lock()
				done := so(m)
				m.mu.Unlock()
				if done {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("a stream of %s: waited in vain until it %s", m.user, what)
				}
			}
		}
	}
	settled("begins", func(m *member) bool { return !m.started.IsZero() })

	// The faults come by the number of commits, so that some are amid each.
	var commits atomic.Int64
	faults := make(chan struct{})
	go func() {
		defer close(faults)
		for i := range 6 {
			for until := commits.Load() + 60; commits.Load() < until; pause(ctx, time.Millisecond) {
				if ctx.Err() != nil {
					return
				}
			}
			if i%2 == 0 {
				bells[i/2%2].kill()
				bells[i/2%2].start()
				continue
			}
			if err := execute(database, "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'pgbell%' and datname = current_database()"); err != nil {
				t.Error(err)
			}
		}
	}()
	team := 0
	for over := false; !over; {
		if team, err = l.write(t.Context(), conn, rnd, team, people); err != nil {
			t.Fatal(err)
		}
		commits.Add(1)
		select {
		case <-faults:
			over = true
		default:
		}
	}
	for _, b := range bells {
		b.awaitReady(t.Context(), true, patience)
	}
	for range 100 {
		if team, err = l.write(t.Context(), conn, rnd, team, people); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), "select pgbell.publish('rooms')"); err != nil {
		t.Fatal(err)
	}
	settled("has the last word", func(m *member) bool { return m.last })
	l.check(t, clients)
}
