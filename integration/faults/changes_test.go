package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/jackc/pgx/v5"
)

// change is one change in the making.
type change struct {
	*writer
	ctx  context.Context
	tx   pgx.Tx
	rows *[]row
	op   *op
}

// changes are kinds of changes with how often each is to be made.
type changes []struct {
	weight int
	make   func(*change) error
}

func (cs changes) choose(rnd *rand.Rand) func(*change) error {
	total := 0
	for _, c := range cs {
		total += c.weight
	}
	n := rnd.IntN(total)
	for _, c := range cs {
		if n -= c.weight; n < 0 {
			return c.make
		}
	}
	panic("unreachable")
}

var allChanges = changes{
	{6, (*change).insertTask}, {4, (*change).updateTask}, {4, (*change).moveTask}, {2, (*change).deleteTask},
	{2, (*change).insertNote}, {4, (*change).updateHotNote}, {1, (*change).deleteNote},
	{3, (*change).insertMood}, {1, (*change).deleteMood},
	{2, (*change).publish}, {1, (*change).insertBulk}, {1, (*change).insertFlip},
}

// exec runs a statement that ends by returning a row for each row that it changed,
// and writes the ledger along; it says how many rows there were.
func (c *change) exec(returning string, args ...any) (int, error) {
	tag, err := c.tx.Exec(c.ctx, fmt.Sprintf(
		"with made as (%s) insert into ledger (op) select %d where exists (select from made)", returning, c.op.id), args...)
	return int(tag.RowsAffected()), err
}

func (c *change) want(wants ...want) { c.w.history.want(c.op, wants...) }

// some returns a few users, none or all.
func (c *change) some() []string {
	owners := []string{}
	for _, u := range users {
		if c.rnd.IntN(2) == 0 {
			owners = append(owners, u)
		}
	}
	return owners
}

func (c *change) project() int { return 1 + c.rnd.IntN(projects) }

// pick returns the index of an own row of table that is as wanted, or -1.
func (c *change) pick(table string, as func(row) bool) int {
	from := c.rnd.IntN(len(*c.rows) + 1)
	for i := range *c.rows {
		i = (i + from) % len(*c.rows)
		if r := (*c.rows)[i]; r.table == table && as(r) {
			return i
		}
	}
	return -1
}

func whatever(row) bool { return true }

func (c *change) insertTask() error {
	r := row{table: "tasks", id: c.w.history.ids(1), project: c.project(), owners: c.some()}
	ident := written(r.table, c.op.id, r.id)
	c.want(want{ident, scope("project", r.project), r.owners}, want{ident, "tasks", r.owners})
	_, err := c.exec("insert into tasks values ($1, $2, $3, $4, 1, repeat('x', $5)) returning 1", r.id, r.project, r.owners, c.op.id, c.w.cfg.pad)
	*c.rows = append(*c.rows, r)
	return err
}

func (c *change) updateTask() error {
	i := c.pick("tasks", whatever)
	if i < 0 {
		return c.insertTask()
	}
	r := (*c.rows)[i]
	ident := written(r.table, c.op.id, r.id)
	c.want(want{ident, scope("project", r.project), r.owners}, want{ident, "tasks", r.owners})
	_, err := c.exec("update tasks set op = $2, ver = ver + 1 where id = $1 returning 1", r.id, c.op.id)
	return err
}

// moveTask gives a task to another project, to other owners, or both.
func (c *change) moveTask() error {
	i := c.pick("tasks", func(r row) bool { return !r.moved })
	if i < 0 {
		return c.insertTask()
	}
	old := (*c.rows)[i]
	r := old
	r.moved = true
	if c.rnd.IntN(3) > 0 {
		r.project = c.project()
	}
	if c.rnd.IntN(3) > 0 || r.project == old.project {
		r.owners = c.some()
	}
	ident, left := written(r.table, c.op.id, r.id), gone(r.table, r.id)
	losers := slices.DeleteFunc(slices.Clone(old.owners), func(u string) bool { return slices.Contains(r.owners, u) })
	if losers == nil {
		losers = []string{}
	}
	c.want(want{ident, scope("project", r.project), r.owners}, want{ident, "tasks", r.owners}, want{left, "tasks", losers})
	if r.project == old.project {
		c.want(want{left, scope("project", old.project), losers})
	} else {
		c.want(want{left, scope("project", old.project), old.owners})
	}
	_, err := c.exec("update tasks set project = $2, owners = $3, op = $4, ver = ver + 1 where id = $1 returning 1",
		r.id, r.project, r.owners, c.op.id)
	(*c.rows)[i] = r
	return err
}

func (c *change) deleteTask() error {
	i := c.pick("tasks", whatever)
	if i < 0 {
		return c.insertTask()
	}
	r := (*c.rows)[i]
	*c.rows = slices.Delete(*c.rows, i, i+1)
	ident := deleted(r.table, r.id)
	c.want(want{ident, scope("project", r.project), r.owners}, want{ident, "tasks", r.owners})
	_, err := c.exec("delete from tasks where id = $1 returning 1", r.id)
	return err
}

func (c *change) insertNote() error {
	r := row{table: "notes", id: c.w.history.ids(1), project: c.project()}
	c.want(want{written(r.table, c.op.id, r.id), scope("notes", r.project), nil})
	_, err := c.exec("insert into notes values ($1, $2, $3, 1, repeat('x', $4)) returning 1", r.id, r.project, c.op.id, c.w.cfg.pad)
	*c.rows = append(*c.rows, r)
	return err
}

// updateHotNote updates a row that other writers update, too.
func (c *change) updateHotNote() error {
	n := 1 + c.rnd.IntN(hotNotes)
	id := int64(-n)
	c.want(want{written("notes", c.op.id, id), scope("notes", 1+n%projects), nil})
	_, err := c.exec("update notes set op = $2, ver = ver + 1 where id = $1 returning 1", id, c.op.id)
	return err
}

func (c *change) deleteNote() error {
	i := c.pick("notes", whatever)
	if i < 0 {
		return c.insertNote()
	}
	r := (*c.rows)[i]
	*c.rows = slices.Delete(*c.rows, i, i+1)
	c.want(want{deleted(r.table, r.id), scope("notes", r.project), nil})
	_, err := c.exec("delete from notes where id = $1 returning 1", r.id)
	return err
}

func (c *change) insertMood() error {
	r := row{table: "moods", id: c.w.history.ids(1), project: c.project(), owners: c.some()}
	c.want(want{written(r.table, 0, r.id), scope("mood", r.project), r.owners})
	_, err := c.exec("insert into moods values ($1, $2, $3) returning 1", r.id, r.project, r.owners)
	*c.rows = append(*c.rows, r)
	return err
}

func (c *change) deleteMood() error {
	i := c.pick("moods", whatever)
	if i < 0 {
		return c.insertMood()
	}
	r := (*c.rows)[i]
	*c.rows = slices.Delete(*c.rows, i, i+1)
	c.want(want{deleted(r.table, r.id), scope("mood", r.project), r.owners})
	_, err := c.exec("delete from moods where id = $1 returning 1", r.id)
	return err
}

func (c *change) publish() error {
	var readers []string // everyone
	if c.rnd.IntN(2) == 0 {
		readers = c.some()
	}
	s := scope("news", c.project())
	c.want(want{published(c.op.id), s, readers})
	_, err := c.exec("select pgbell.publish($1, jsonb_build_object('op', $2::bigint), $3::text[])::text", s, c.op.id, readers)
	return err
}

func (c *change) insertBulk() error { return c.bulk(3 + c.rnd.IntN(10)) }

// bulk inserts n rows by one statement.
func (c *change) bulk(n int) error {
	first, project := c.w.history.ids(n), c.project()
	for id := first; id < first+int64(n); id++ {
		c.want(want{written("bulk", c.op.id, id), scope("bulk", project), nil})
	}
	_, err := c.exec("insert into bulk select i, $2, $3 from generate_series($1::bigint, $1 + $4 - 1) i returning 1", first, project, c.op.id, n)
	return err
}

// insertFlip writes to a table that is at times not attached: then there is no
// event, but a reset once it is attached again. Attaching and detaching wait for the
// locks of a write, so that it may be asked after it.
func (c *change) insertFlip() error {
	id, project := c.w.history.ids(1), c.project()
	if _, err := c.exec("insert into flips values ($1, $2, $3) returning 1", id, project, c.op.id); err != nil {
		return err
	}
	var attached bool
	err := c.tx.QueryRow(c.ctx, "select exists (select from pgbell.feed where target = 'flips'::regclass)").Scan(&attached)
	if attached {
		c.want(want{written("flips", c.op.id, id), scope("flip", project), nil})
	} else {
		c.want(want{"", scope("flip", project), nil})
	}
	return err
}

// truncate tells nothing of the rows: each scope that they may be in gets a reset.
func (c *change) truncate() error {
	if _, err := c.tx.Exec(c.ctx, "truncate bulk"); err != nil {
		return err
	}
	for p := range projects {
		c.want(want{"", scope("bulk", 1+p), nil})
	}
	_, err := c.exec("select")
	return err
}

func scope(kind string, n int) string { return fmt.Sprintf("%s:%d", kind, n) }
