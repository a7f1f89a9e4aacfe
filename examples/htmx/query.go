package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// project is one list of the board, as one user sees it.
type project struct {
	ID    int64
	Name  string
	Tasks []task
}

// task is a row of board.tasks.
type task struct {
	ID         int64
	ProjectID  int64
	Project    string
	Title      string
	Done       bool
	Owner      string
	SharedWith []string
	Team       *string
}

// summary is what the top of the board says.
type summary struct{ Open, Done int64 }

// snapshot runs query on one state of the database, and returns the cursor of just
// that state: a stream that starts there brings all that query didn't see.
func snapshot(ctx context.Context, db *pgxpool.Pool, query func(pgx.Tx) error) (cursor string, err error) {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, db, options, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "select pgbell.cursor()").Scan(&cursor); err != nil {
			return err
		}
		return query(tx)
	})
	return cursor, err
}

// querier is what a transaction and the pool have in common.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

const selectTasks = `
	select t.id, t.project_id, p.name, t.title, t.done, t.owner, t.shared_with, t.team
	from board.tasks t join board.projects p on p.id = t.project_id
	where (t.owner = $1 or $1 = any (t.shared_with) or t.team in (select m.team from board.members m where m.user_id = $1))`

// tasksOf returns the tasks of a project that u may see.
func tasksOf(ctx context.Context, db querier, u user, project int64) ([]task, error) {
	rows, err := db.Query(ctx, selectTasks+" and t.project_id = $2 order by t.done, t.id", u.ID, project)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[task])
}

// taskOf returns one task that u may see, else [pgx.ErrNoRows].
func taskOf(ctx context.Context, db querier, u user, id int64) (task, error) {
	rows, err := db.Query(ctx, selectTasks+" and t.id = $2", u.ID, id)
	if err != nil {
		return task{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[task])
}

// projects returns all projects, without their tasks.
func projects(ctx context.Context, db querier) ([]project, error) {
	rows, err := db.Query(ctx, "select id, name from board.projects order by id")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p project, err error) {
		return p, row.Scan(&p.ID, &p.Name)
	})
}

// summaryOf counts the tasks that u owns.
func summaryOf(ctx context.Context, db querier, u user) (s summary, err error) {
	err = db.QueryRow(ctx, `
		select count(*) filter (where not done), count(*) filter (where done)
		from board.tasks where owner = $1`, u.ID).Scan(&s.Open, &s.Done)
	return s, err
}
