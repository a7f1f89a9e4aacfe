package leaks

import (
	"context"
	"slices"

	"pgregory.net/rapid"
)

// users are those who listen: one is anonymous, some look like others, or like groups.
var users = []string{"ann", "Ann", "аnn", "bob", `b,"{o}'\b`, "team:1", "group:team:1", ""}

// owners are what an ownership column holds: often a user, or nobody.
var owners = rapid.SampledFrom([]*string{new("ann"), new("ann"), new("ann"), new("bob"), new("bob"), &users[1], &users[2], &users[4],
	&users[5], &users[6], nil, nil, new(""), new(" "), new("NULL"), new("ann,bob")})

// ownerList is null at times, or empty, or holds nulls.
var ownerList = rapid.OneOf(rapid.Just([]*string(nil)), rapid.SliceOfN(owners, 0, 3))

// audience is that of a publish, which may name groups, too.
var audience = rapid.OneOf(rapid.Just([]*string(nil)), rapid.SliceOfN(rapid.OneOf(owners, rapid.SampledFrom([]*string{
	new("group:team:1"), new("group:team:2"), new("group:ann"), new("group::team:1"), new("group::team:1"), new("group::ann"), new("group:")})), 0, 3))

// machine is the state machine: what may happen to a world.
type machine struct {
	*world
	born    int
	settled bool // memberships stay as they began
}

func newMachine(t *rapid.T, db *database, queue int, seams seams) *machine {
	m := &machine{world: newWorld(t, db, queue, seams)}
	t.Cleanup(m.close)
	x := m.begin(m.db.writer, "")
	for range 6 {
		x.join(m.member(t), false)
	}
	x.commit()
	for _, user := range []string{"ann", "bob", "", "Ann", "аnn", "team:1"} {
		m.arrive(t, user)
	}
	return m
}

// row draws a new row of tb, or a new version of one.
func (m *machine) row(t *rapid.T, tb *table, id string) *row {
	m.born++
	r := &row{ID: id, Owner: owners.Draw(t, "owner"), Members: ownerList.Draw(t, "members"),
		Secret: token("s"), Hidden: token("h"), born: m.born}
	if p := rapid.IntRange(0, 3).Draw(t, "project"); p > 0 || tb.partitioned {
		r.Project = new(max(p, 1))
	}
	return r
}

func (m *machine) table(t *rapid.T) *table { return rapid.SampledFrom(m.tables).Draw(t, "table") }

// some draws rows of tb, all different.
func (m *machine) some(t *rapid.T, x *tx, tb *table) []*row {
	all := x.rows.sorted(tb)
	if len(all) == 0 {
		return nil
	}
	return rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, min(3, len(all)), func(r *row) string { return r.ID }).Draw(t, "rows")
}

// version draws what becomes of r.
func (m *machine) version(t *rapid.T, tb *table, r *row) *row {
	next := m.row(t, tb, r.ID)
	next.born = r.born
	// Often one thing alone changes.
	what := rapid.SampledFrom([]string{"value", "owner", "owner", "members", "project", "key", "all", "all", "all but key"}).Draw(t, "what")
	if what != "owner" && what != "all" && what != "all but key" {
		next.Owner = r.Owner
	}
	if what != "members" && what != "all" && what != "all but key" {
		next.Members = r.Members
	}
	if what != "project" && what != "all" && what != "all but key" {
		next.Project = r.Project
	}
	if what == "key" || what == "all" {
		next.ID = token("k")
	}
	return next
}

// statement draws a statement and executes it in x.
func (m *machine) statement(t *rapid.T, x *tx) {
	if !m.settled && rapid.IntRange(0, 4).Draw(t, "of memberships") == 0 {
		m.membership(t, x)
		return
	}
	tb := m.table(t)
	direct := rapid.Bool().Draw(t, "names the partition")
	some := m.some(t, x, tb)
	kind := rapid.SampledFrom([]string{"insert", "update", "update", "update", "upsert", "delete", "move", "publish", "publish"}).Draw(t, "statement")
	if some == nil && kind != "publish" && kind != "upsert" {
		kind = "insert"
	}
	switch kind {
	case "insert":
		added := make([]*row, rapid.IntRange(1, 3).Draw(t, "n"))
		for i := range added {
			added[i] = m.row(t, tb, token("k"))
		}
		x.insert(tb, direct, added)
	case "update":
		var pairs []pair
		for _, r := range some {
			pairs = append(pairs, pair{r.ID, m.version(t, tb, r)})
		}
		x.update(tb, direct, pairs)
	case "upsert":
		all := []*row{m.row(t, tb, token("k"))}
		for _, r := range some {
			next := m.row(t, tb, r.ID)
			if next.born = r.born; tb.partitioned {
				next.Project = r.Project // part of the key
			}
			all = append(all, next)
		}
		x.upsert(tb, all)
	case "delete":
		x.delete(tb, direct, some)
	case "move":
		to := m.table(t)
		some = slices.DeleteFunc(some, func(r *row) bool { return to.partitioned && r.Project == nil })
		if to != tb && len(some) > 0 {
			x.move(tb, to, some)
		}
	case "publish":
		scope := rapid.SampledFrom([]string{"docs", "project:1", "private:1", "quick"}).Draw(t, "scope")
		x.publish(scope, audience.Draw(t, "audience"))
	}
}

var origins = rapid.SampledFrom([]string{"", "", "tab-1", "tab-2"})

// Write is a transaction of a few statements.
func (m *machine) Write(t *rapid.T) {
	x := m.begin(m.db.writer, origins.Draw(t, "origin"))
	for range rapid.IntRange(1, 4).Draw(t, "statements") {
		switch rapid.IntRange(0, 9).Draw(t, "step") {
		case 0:
			x.savepoint()
		case 1:
			x.back()
		}
		m.statement(t, x)
	}
	if rapid.IntRange(0, 7).Draw(t, "end") == 0 {
		x.rollback()
		return
	}
	x.commit()
}

// Bulk is more than a short queue holds.
func (m *machine) Bulk(t *rapid.T) {
	tb := m.table(t)
	added := make([]*row, rapid.SampledFrom([]int{20, 60}).Draw(t, "n"))
	for i, pattern := range slices.Repeat([]*row{m.row(t, tb, "")}, len(added)) {
		r := *pattern
		r.ID, r.Secret, r.Hidden, r.born = token("k"), token("s"), token("h"), m.born+i
		added[i] = &r
	}
	m.born += len(added)
	x := m.begin(m.db.writer, "")
	x.insert(tb, false, added)
	x.commit()
}

// Sweep deletes or truncates all of a table.
func (m *machine) Sweep(t *rapid.T) {
	if m.held != nil {
		t.Skip("its locks would be in the way")
	}
	tb := m.table(t)
	x := m.begin(m.db.writer, "")
	all := x.rows.sorted(tb)
	if len(all) > 0 && rapid.Bool().Draw(t, "by delete") {
		x.delete(tb, false, all)
	} else {
		x.truncate(tb)
	}
	m.statement(t, x)
	x.commit()
}

// Hold opens a transaction that stays open, or ends it.
func (m *machine) Hold(t *rapid.T) {
	if m.held == nil {
		tb := m.table(t)
		if !tb.attached {
			t.Skip("nobody hears of it")
		}
		m.held = m.begin(m.db.held, origins.Draw(t, "origin"))
		m.held.insert(tb, false, []*row{m.row(t, tb, token("k"))})
		if !m.settled && rapid.Bool().Draw(t, "somebody joins") {
			m.held.join(m.member(t), false)
		}
		return
	}
	x := m.held
	m.held = nil
	if rapid.Bool().Draw(t, "rollback") {
		x.rollback()
		return
	}
	r := x.changes[0].new.row
	x.rows = m.rows.clone() // as others left them since
	x.members = append(slices.Clone(m.members), x.members[len(x.members)-len(x.touched):]...)
	x.rows[x.changes[0].table.name][r.ID] = r
	x.commit()
}

// Attach attaches a table in another way, or detaches it.
func (m *machine) Attach(t *rapid.T) {
	if m.held != nil {
		t.Skip("its locks would be in the way")
	}
	tb := m.table(t)
	if tb.attached && rapid.IntRange(0, 3).Draw(t, "detach") == 0 {
		m.detach(tb)
		return
	}
	audience := rapid.SampledFrom([][]string{nil, {}, {"owner"}, {"members"}, {"owner", "members"},
		{"owner", "team:{project_id}"}, {"team:{project_id}"}, {"owner", "team:{members}"}, {"{owner}"}, {"members", "team:{owner}"}}).Draw(t, "audience")
	if tb.attached && (audience == nil) == (tb.audience == nil) && slices.Equal(audience, tb.audience) {
		t.Skip("it is so already")
	}
	tb.audience = audience
	m.attach(tb)
}

// Terminate breaks pgbell's connections.
func (m *machine) Terminate(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "really") > 0 {
		t.Skip("it takes long")
	}
	m.exec("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgbell' and datname = current_database()")
}

// Cursor keeps pgbell.cursor() for a client that comes later.
func (m *machine) Cursor(t *rapid.T) {
	c := cursor{at: len(m.history)}
	m.must(m.db.writer.QueryRow(context.Background(), "select pgbell.cursor()").Scan(&c.text))
	m.cursors = append(m.cursors, c)
}
