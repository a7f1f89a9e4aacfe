package demo

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// users are those whose rows the page shows. Each can give rows to the other.
var users = map[string]string{"alice": "bob", "bob": "alice"}

// shown is how many rows of a list the page shows.
const shown = 6

// rows is what one user sees.
type rows struct {
	User, Other string
	Cursor      string // what the query saw: the stream goes on from here
	Tasks       []task
	Notes       []note
	TaskCount   int // shown or not
	NoteCount   int
	Many        bool // the thousand are there
}

type task struct {
	ID      int64  `json:"id"`
	Project int    `json:"project_id"`
	Title   string `json:"title"`
	Done    bool   `json:"done"`
}

type note struct {
	ID     int64  `json:"id"`
	Owner  string `json:"owner"`
	Body   string `json:"body"`
	Shared bool   `json:"shared"` // with the other one
}

// HiddenTasks is how many tasks are not shown.
func (r rows) HiddenTasks() int { return r.TaskCount - len(r.Tasks) }

// HiddenNotes is how many notes are not shown.
func (r rows) HiddenNotes() int { return r.NoteCount - len(r.Notes) }

// One statement, so that rows and cursor are of one snapshot: what this does not
// see comes on the stream, and nothing falls in between.
const selectRows = `
select pgbell.cursor(),
	(select count(*) from tasks where owner = $1),
	(select coalesce(json_agg(t), '[]') from (
		select id, project_id, title, done from tasks
		where owner = $1
		order by project_id, id desc limit $3) t),
	(select count(*) from notes where owner = $1 or $1 = any(shared_with)),
	(select coalesce(json_agg(n), '[]') from (
		select id, owner, body, $2 = any(shared_with) as shared from notes
		where owner = $1 or $1 = any(shared_with)
		order by id desc limit $3) n),
	exists (select from tasks where project_id = 1000)`

// rowsOf returns what user, one of users, may see.
func (p *Page) rowsOf(ctx context.Context, user string) (rows, error) {
	r := rows{User: user, Other: users[user]}
	err := p.db.QueryRow(ctx, selectRows, user, r.Other, shown).
		Scan(&r.Cursor, &r.TaskCount, &r.Tasks, &r.NoteCount, &r.Notes, &r.Many)
	if err != nil {
		return rows{}, fmt.Errorf("rows of %s: %w", user, err)
	}
	return r, nil
}

// change is what a button of the page asks for.
type change struct {
	action string
	user   string // who asks, one of users
	id     int64  // of the row
	text   string // of a new row
	origin string // comes back with the events
}

// actions are the statements behind the buttons. Each changes only rows of the user
// who asks, except for the thousand, which belong to both.
var actions = map[string]string{
	"add-task":    `insert into tasks (title, owner) values (@text, @user)`,
	"toggle-task": `update tasks set done = not done where id = @id and owner = @user`,
	"give-task":   `update tasks set owner = @other where id = @id and owner = @user`,
	"delete-task": `delete from tasks where id = @id and owner = @user`,
	"add-note":    `insert into notes (body, owner) values (@text, @user)`,
	"share-note":  `update notes set shared_with = shared_with || @other::text where id = @id and owner = @user and @other <> all(shared_with)`,
	"keep-note":   `update notes set shared_with = array_remove(shared_with, @other) where id = @id and owner = @user`,
	"delete-note": `delete from notes where id = @id and owner = @user`,
	"add-many": `insert into tasks (project_id, title, owner)
		select 1000, 'Row ' || n || ' of 1,000', case n % 2 when 1 then 'alice' else 'bob' end
		from generate_series(1, 1000) n
		where not exists (select from tasks where project_id = 1000)`,
	"toggle-many": `update tasks set done = not done where project_id = 1000`,
	"delete-many": `delete from tasks where project_id = 1000`,
}

// apply makes a change and returns how many rows it was.
func (p *Page) apply(ctx context.Context, c change) (int64, error) {
	var n int64
	err := pgx.BeginFunc(ctx, p.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select set_config('pgbell.origin', $1, true)`, c.origin); err != nil {
			return err
		}
		done, err := tx.Exec(ctx, actions[c.action], pgx.NamedArgs{
			"user": c.user, "other": users[c.user], "id": c.id, "text": c.text,
		})
		n = done.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.action, err)
	}
	return n, nil
}
