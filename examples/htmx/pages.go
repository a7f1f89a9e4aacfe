package main

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/journal/scope"
)

// everyPage is what every page knows: who asks, and which stream keeps it up to date.
type everyPage struct {
	User   user
	Users  []user
	Stream string // the address
}

func newPage(r *http.Request) everyPage {
	return everyPage{User: asking(r), Users: users}
}

// stream returns the address of a stream that goes on where a page's query ended.
// A burst of changes, by one statement say, comes as one event of each scope.
func stream(cursor string, scopes ...string) string {
	return "/events?" + url.Values{"since": {cursor}, "coalesce": {"50ms"}, "scope": scopes}.Encode()
}

// Scope is what a task's owner listens to. A trigger needs the name as it comes in
// the stream: with percent-encoding, where it holds a ë, say.
func (u user) Scope() string { return scope.Canonical("user:" + u.ID) }

// Scope is what those listen to who show a project.
func (p project) Scope() string { return "project:" + strconv.FormatInt(p.ID, 10) }

// Scope is what those listen to who show a task.
func (t task) Scope() string { return "task:" + strconv.FormatInt(t.ID, 10) }

type boardPage struct {
	everyPage
	Projects []project
	Summary  summary
}

// boardPage answers with the whole board.
func (b *board) boardPage(w http.ResponseWriter, r *http.Request) {
	p := boardPage{everyPage: newPage(r)}
	scopes := []string{"projects", p.User.Scope()}
	cursor, err := snapshot(r.Context(), b.db, func(tx pgx.Tx) (err error) {
		if p.Projects, err = projects(r.Context(), tx); err != nil {
			return err
		}
		for i := range p.Projects {
			scopes = append(scopes, p.Projects[i].Scope())
			if p.Projects[i].Tasks, err = tasksOf(r.Context(), tx, p.User, p.Projects[i].ID); err != nil {
				return err
			}
		}
		p.Summary, err = summaryOf(r.Context(), tx, p.User)
		return err
	})
	if err != nil {
		b.fail(w, err)
		return
	}
	p.Stream = stream(cursor, scopes...)
	b.render(w, r, http.StatusOK, "board-page", p)
}

type taskPage struct {
	everyPage
	Task     task // zero if it is gone, or not for the user
	TaskID   int64
	Projects []project
}

// Scope is there for a task that is gone, too: it may come back.
func (p taskPage) Scope() string { return task{ID: p.TaskID}.Scope() }

// readTask fills what is shown of a task.
func (p *taskPage) readTask(r *http.Request, db querier) (err error) {
	p.TaskID = number(r, "task")
	if p.Projects, err = projects(r.Context(), db); err != nil {
		return err
	}
	p.Task, err = taskOf(r.Context(), db, p.User, p.TaskID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // the page says so, and is there when the task comes back
	}
	return err
}

// taskPage answers with the page of one task.
func (b *board) taskPage(w http.ResponseWriter, r *http.Request) {
	p := taskPage{everyPage: newPage(r)}
	cursor, err := snapshot(r.Context(), b.db, func(tx pgx.Tx) error { return p.readTask(r, tx) })
	if err != nil {
		b.fail(w, err)
		return
	}
	p.Stream = stream(cursor, p.Scope(), "projects")
	b.render(w, r, http.StatusOK, "task-page", p)
}

// The fragments. They are read when their event has come, hence after the change,
// and need no cursor.

func (b *board) taskFragment(w http.ResponseWriter, r *http.Request) {
	p := taskPage{everyPage: newPage(r)}
	if err := p.readTask(r, b.db); err != nil {
		b.fail(w, err)
		return
	}
	b.render(w, r, http.StatusOK, "task", p)
}

func (b *board) tasksFragment(w http.ResponseWriter, r *http.Request) {
	tasks, err := tasksOf(r.Context(), b.db, asking(r), number(r, "project"))
	if err != nil {
		b.fail(w, err)
		return
	}
	b.render(w, r, http.StatusOK, "tasks", tasks)
}

func (b *board) summaryFragment(w http.ResponseWriter, r *http.Request) {
	s, err := summaryOf(r.Context(), b.db, asking(r))
	if err != nil {
		b.fail(w, err)
		return
	}
	b.render(w, r, http.StatusOK, "summary", s)
}
