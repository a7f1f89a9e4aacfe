package leaks

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// rows are the rows that there are, by table and key. A row is not changed once there.
type rows map[string]map[string]*row

func (r rows) clone() rows {
	c := maps.Clone(r)
	for name := range c {
		c[name] = maps.Clone(c[name])
	}
	return c
}

// sorted returns the rows of a table in the order in which they came: a seed then draws
// the same again, which it could not by their random keys.
func (r rows) sorted(tb *table) []*row {
	return slices.SortedFunc(maps.Values(r[tb.name]), func(a, b *row) int { return a.born - b.born })
}

// tx is a transaction, in the database and in the model.
type tx struct {
	w       *world
	conn    *pgx.Conn
	rows    rows
	members []member
	touched map[string]bool // whose memberships it may have changed
	all     bool            // or those of all
	changes []*change
	origin  string
	saved   []saved
}

// saved is what a savepoint goes back to.
type saved struct {
	rows    rows
	members []member
	changes int
}

func (w *world) begin(conn *pgx.Conn, origin string) *tx {
	x := &tx{w: w, conn: conn, rows: w.rows.clone(), members: slices.Clone(w.members), touched: map[string]bool{}, origin: origin}
	x.exec("begin")
	if origin != "" {
		x.exec("select set_config('pgbell.origin', $1, true)", origin)
	}
	return x
}

func (x *tx) exec(sql string, args ...any) {
	x.w.t.Helper()
	if _, err := x.conn.Exec(context.Background(), sql, args...); err != nil {
		x.w.t.Fatalf("%s: %v", sql, err)
	}
}

// commit makes the transaction part of the history.
func (x *tx) commit() {
	x.exec("commit")
	x.w.rows = x.rows
	if before := x.w.teams; x.all || len(x.touched) > 0 {
		x.w.members, x.w.teams = x.members, teamsOf(x.members)
		x.w.history = append(x.w.history, &change{regroup: &regroup{x.touched, x.all, before, x.w.teams}})
	}
	for _, c := range x.changes {
		c.teams = x.w.teams
	}
	x.w.history = append(x.w.history, x.changes...)
}

// rollback leaves no trace, and reports no error: the world may be at its end.
func (x *tx) rollback() {
	if _, err := x.conn.Exec(context.Background(), "rollback"); err != nil {
		x.w.fault("rollback: %v", err)
	}
}

func (x *tx) savepoint() {
	x.saved = append(x.saved, saved{x.rows.clone(), slices.Clone(x.members), len(x.changes)})
	x.exec(fmt.Sprintf("savepoint s%d", len(x.saved)))
}

// back goes back to the last savepoint, if there is one.
func (x *tx) back() {
	if n := len(x.saved); n > 0 {
		x.exec(fmt.Sprintf("rollback to savepoint s%d", n))
		x.rows, x.members, x.changes = x.saved[n-1].rows, x.saved[n-1].members, x.changes[:x.saved[n-1].changes]
		x.saved = x.saved[:n-1]
	}
}

// note notes what happened to one row. A row that goes to another partition is
// deleted and inserted, for the trigger as for Postgres.
func (x *tx) note(tb *table, old, new *row) {
	if old != nil {
		delete(x.rows[tb.name], old.ID)
	}
	if new != nil {
		x.rows[tb.name][new.ID] = new
	}
	switch {
	case !tb.attached:
	case tb.partitioned && old != nil && new != nil && tb.partition(old) != tb.partition(new):
		x.changes = append(x.changes, &change{table: tb, old: tb.side(old), origin: x.origin},
			&change{table: tb, new: tb.side(new), origin: x.origin})
	default:
		x.changes = append(x.changes, &change{table: tb, old: tb.side(old), new: tb.side(new), origin: x.origin})
	}
}

const (
	columns = "id, project_id, owner, members, secret, hidden"
	typed   = "id text, project_id int, owner text, members text[], secret text, hidden text"
)

// target returns what a statement on some rows may name: a partition, where it
// holds them all.
func target(tb *table, direct bool, all []*row) string {
	if !tb.partitioned || !direct {
		return tb.name
	}
	name := tb.partition(all[0])
	for _, r := range all {
		if tb.partition(r) != name {
			return tb.name
		}
	}
	return name
}

func (x *tx) insert(tb *table, direct bool, added []*row) {
	x.exec("insert into "+target(tb, direct, added)+" select "+columns+" from jsonb_to_recordset($1::jsonb) v ("+typed+")", asJSON(added))
	for _, r := range added {
		x.note(tb, nil, r)
	}
}

// pair is a row before and after an update.
type pair struct {
	Old string `json:"old"`
	*row
}

// update changes the rows of the keys, all in one statement.
func (x *tx) update(tb *table, direct bool, pairs []pair) {
	var all []*row
	for _, p := range pairs {
		all = append(all, x.rows[tb.name][p.Old], p.row)
	}
	x.exec("update "+target(tb, direct, all)+` t set id = v.id, project_id = v.project_id, owner = v.owner, members = v.members,
		secret = v.secret, hidden = v.hidden from jsonb_to_recordset($1::jsonb) v (old text, `+typed+`) where t.id = v.old`, asJSON(pairs))
	for _, p := range pairs {
		x.note(tb, x.rows[tb.name][p.Old], p.row)
	}
}

// upsert inserts rows or, where their key is there, updates them.
func (x *tx) upsert(tb *table, all []*row) {
	conflict := "id"
	if tb.partitioned {
		conflict = "id, project_id"
	}
	x.exec("insert into "+tb.name+" select "+columns+" from jsonb_to_recordset($1::jsonb) v ("+typed+`)
		on conflict (`+conflict+`) do update set project_id = excluded.project_id, owner = excluded.owner,
		members = excluded.members, secret = excluded.secret, hidden = excluded.hidden`, asJSON(all))
	for _, r := range all {
		x.note(tb, x.rows[tb.name][r.ID], r)
	}
}

func (x *tx) delete(tb *table, direct bool, all []*row) {
	x.exec("delete from "+target(tb, direct, all)+" where id = any($1)", keys(all))
	for _, r := range all {
		x.note(tb, r, nil)
	}
}

// move takes rows from one table to another, in one statement.
func (x *tx) move(from, to *table, all []*row) {
	x.exec("with gone as (delete from "+from.name+" where id = any($1) returning "+columns+")"+
		" insert into "+to.name+" select "+columns+" from gone", keys(all))
	for _, r := range all {
		x.note(from, r, nil)
		x.note(to, nil, r)
	}
}

func (x *tx) truncate(tb *table) {
	x.exec("truncate " + tb.name)
	x.rows[tb.name] = map[string]*row{}
	if tb.attached {
		x.changes = append(x.changes, &change{table: tb, reset: true})
	}
}

// publish sends an event of the application's own. A nil audience is everyone.
func (x *tx) publish(scope string, audience []*string) {
	s := &side{scopes: []string{scope}, everyone: audience == nil, data: secretly(token("s"))}
	for _, element := range audience {
		switch {
		case element == nil || *element == "" || *element == "group:":
		case strings.HasPrefix(*element, "group::"):
			s.users = append(s.users, "group:"+strings.TrimPrefix(*element, "group::"))
		case strings.HasPrefix(*element, "group:"):
			s.groups = append(s.groups, strings.TrimPrefix(*element, "group:"))
		default:
			s.users = append(s.users, *element)
		}
	}
	x.exec("select pgbell.publish($1, $2::jsonb, $3)", scope, s.data, audience)
	x.changes = append(x.changes, &change{new: s, origin: x.origin})
}

func keys(all []*row) []string {
	var ids []string
	for _, r := range all {
		ids = append(ids, r.ID)
	}
	return ids
}
