package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// membership is what the ledger says of a user and a team: since and until which commit.
type membership struct{ from, to int64 }

// roomChange is a commit that changed the room of a team.
type roomChange struct {
	n             int64
	team          int
	before, after time.Time // COMMIT was sent and answered
}

// ledger is what was committed.
type ledger struct {
	n       int64
	members map[string]map[int]*membership
	changes []roomChange
}

// is says whether a user was in a team once commit n was done.
func (l *ledger) is(user string, team int, n int64) bool {
	m := l.members[user][team]
	return m != nil && m.from <= n && n < m.to
}

const never = int64(1) << 62

// write commits one transaction: a new team, somebody leaves one, or a room changes.
func (l *ledger) write(ctx context.Context, conn *pgx.Conn, rnd *rand.Rand, last int, people []string) (team int, err error) {
	l.n++
	changed := -1
	tx, err := conn.Begin(ctx)
	if err != nil {
		return last, err
	}
	exec := func(sql string, args ...any) {
		if err == nil {
			_, err = tx.Exec(ctx, sql, args...)
		}
	}
	switch team = last - rnd.IntN(3); rnd.IntN(8) {
	case 0:
		last++
		exec("insert into rooms values ($1, $2)", last, l.n)
		for _, u := range people {
			if rnd.IntN(2) == 0 {
				exec("insert into members values ($1, $2)", last, u)
				l.members[u][last] = &membership{l.n, never}
			}
		}
		changed = last
	case 1, 2:
		u := people[rnd.IntN(len(people))]
		exec("delete from members where team = $1 and who = $2", team, u)
		if m := l.members[u][team]; m != nil {
			m.to = min(m.to, l.n)
		}
		if rnd.IntN(2) == 0 {
			break
		}
		fallthrough // a secret in the same transaction
	default:
		exec("update rooms set n = $2 where id = $1", team, l.n)
		changed = team
	}
	if err != nil {
		return last, err
	}
	before := time.Now()
	if err = tx.Commit(ctx); err == nil && changed > 0 {
		l.changes = append(l.changes, roomChange{l.n, changed, before, time.Now()})
	}
	return last, err
}

// check compares what came with what was committed.
func (l *ledger) check(t *testing.T, clients []*member) {
	told, byReset := 0, 0
	for _, m := range clients {
		m.mu.Lock()
		for _, c := range l.changes {
			mine := l.is(m.user, c.team, c.n)
			switch came := m.got[c.n]; {
			case came && !mine:
				t.Errorf("LEAK: %s got change %d of team %d, being in it %+v", m.user, c.n, c.team, l.members[m.user][c.team])
			case came:
				told++
			case !mine, c.before.Before(m.started):
			case slices.ContainsFunc(m.resets, c.before.Before):
				byReset++
			default:
				t.Errorf("LOST: %s was not told of change %d of team %d", m.user, c.n, c.team)
			}
		}
		m.mu.Unlock()
	}
	what := fmt.Sprintf("%d commits, %d changes told by their event, %d by a reset", l.n, told, byReset)
	if t.Log(what); told == 0 || byReset == 0 {
		t.Error("nothing was tried: " + what)
	}
}
