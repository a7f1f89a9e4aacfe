package main

import (
	"encoding/json"
	"log"
	"net/http"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// api answers for the rows. It knows nothing of pgbell.
type api struct{ db *pgxpool.Pool }

type task struct {
	ID    int64  `json:"id"`
	Title string `json:"title"`
	Done  bool   `json:"done"`
}

func (a api) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/tasks", a.list)
	mux.HandleFunc("POST /api/tasks", a.add)
	mux.HandleFunc("PATCH /api/tasks/{id}", a.set)
	return mux
}

func (a api) list(w http.ResponseWriter, r *http.Request) {
	project, err := strconv.Atoi(r.FormValue("project"))
	if err != nil {
		http.Error(w, "Say which project.", http.StatusBadRequest)
		return
	}
	rows, err := a.db.Query(r.Context(), "select id, title, done from react_tasks.tasks where project = $1 order by id", project)
	if err != nil {
		unavailable(w, err)
		return
	}
	tasks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[task])
	if err != nil {
		unavailable(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(tasks)
}

func (a api) add(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Project int
		Title   string
	}
	if !read(w, r, &in) {
		return
	}
	if _, err := a.db.Exec(r.Context(), "insert into react_tasks.tasks (project, title) values ($1, $2)", in.Project, in.Title); err != nil {
		unavailable(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a api) set(w http.ResponseWriter, r *http.Request) {
	var in struct{ Done bool }
	if !read(w, r, &in) {
		return
	}
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64) // 0, which no row has, if it is none
	if _, err := a.db.Exec(r.Context(), "update react_tasks.tasks set done = $2 where id = $1", id, in.Done); err != nil {
		unavailable(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// read reads a small JSON body, or answers that it can't.
func read(w http.ResponseWriter, r *http.Request, in any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 8<<10)).Decode(in); err != nil {
		http.Error(w, "The body is not the JSON expected.", http.StatusBadRequest)
		return false
	}
	return true
}

func unavailable(w http.ResponseWriter, err error) {
	log.Print(err)
	http.Error(w, "The database does not answer.", http.StatusServiceUnavailable)
}
