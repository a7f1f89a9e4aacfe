package main

import (
	"net/http"
	"strconv"

	"github.com/gorilla/mux"
)

// The changes answer 204 and no HTML: the event brings the new state, to this tab
// as to all others. An answer with HTML of its own could come later than a newer
// one that an event asked for, and put the older state in its place.

// add makes a task.
func (b *board) add(w http.ResponseWriter, r *http.Request) {
	b.write(w, r, `insert into board.tasks (project_id, title, owner) values ($1, $2, $3)`,
		number(r, "project"), r.FormValue("title"), asking(r).ID)
}

// change changes one column of a task, or deletes it.
func (b *board) change(w http.ResponseWriter, r *http.Request) {
	const mine = ` where id = $1 and (owner = $2 or $2 = any (shared_with) or team in (select m.team from board.members m where m.user_id = $2))`
	id, me := number(r, "task"), asking(r).ID
	switch mux.Vars(r)["what"] {
	case "done":
		b.write(w, r, `update board.tasks set done = $3`+mine, id, me, r.FormValue("done") == "yes")
	case "title":
		b.write(w, r, `update board.tasks set title = $3`+mine, id, me, r.FormValue("title"))
	case "project":
		project, err := strconv.ParseInt(r.FormValue("project"), 10, 64)
		if err != nil {
			http.Error(w, "no such project", http.StatusBadRequest)
			return
		}
		b.write(w, r, `update board.tasks set project_id = $3`+mine, id, me, project)
	case "owner":
		if _, err := known(r.FormValue("owner")); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		b.write(w, r, `update board.tasks set owner = $3`+mine, id, me, r.FormValue("owner"))
	case "team":
		b.write(w, r, `update board.tasks set team = nullif($3, '')`+mine, id, me, r.FormValue("team"))
	case "members":
		if err := r.ParseForm(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		members := append([]string{}, r.PostForm["member"]...) // not nil: the column holds no null
		b.write(w, r, `update board.tasks set shared_with = $3`+mine, id, me, members)
	case "delete":
		b.write(w, r, `delete from board.tasks`+mine, id, me)
	}
}

// write runs a statement that is to change one row.
func (b *board) write(w http.ResponseWriter, r *http.Request, sql string, args ...any) {
	switch tag, err := b.db.Exec(r.Context(), sql, args...); {
	case err != nil:
		b.fail(w, err)
	case tag.RowsAffected() == 0:
		http.Error(w, "no such task", http.StatusNotFound)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}
